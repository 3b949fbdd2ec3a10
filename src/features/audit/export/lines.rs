//! Checking JSON Lines that were exported: each by itself, and all of them together where nothing was left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::bundle::{Bundle, Given, Stop, fault, is_whole};
use super::{CHECKPOINT, Signed};
use crate::base::problem::Problem;
use crate::features::audit::merkle::Frontier;
use crate::features::audit::note::{VerifierKey, open_note};
use crate::features::audit::{Commitment, Hash, Leaf, canonical, commit, encode_hash, leaf_hash};

/// Compares every line with the hash of its leaf and what it opens with the digests there; and, when the whole log was
/// exported, the tree over the lines with the checkpoint.
pub(super) fn check(bundle: &mut Bundle, given: &Given) -> Result<(), Stop> {
    let about = bundle.about()?.ok_or_else(|| Problem::internal("JSON Lines without a manifest"))?;
    let whole = is_whole(&about.filter);
    let signed = signed(bundle, given, about.checkpoint, &about.verifier_keys)?;
    let (mut frontier, mut prev): (Frontier, Hash) = (Frontier::default(), [0; 32]);
    let mut last = 0;
    for line in bundle.lines("audit-") {
        let (place, line) = line?;
        let (leaf, hash) = leaf_in(&place, &line)?;
        if leaf.seq <= last || (whole && leaf.seq != last + 1) {
            return Err(fault(last + 1, "gap", format!("{place} has entry {} instead", leaf.seq)));
        }
        if whole && leaf.prev != encode_hash(&prev) {
            return Err(fault(leaf.seq, "link", "does not name the hash of the entry before"));
        }
        (last, prev) = (leaf.seq, hash);
        check_states(bundle, &leaf, &line)?;
        bundle.verdict.entries += 1;
        frontier.push(&hash);
        if let Some(signed) = signed.as_ref().filter(|s| whole && s.checkpoint.size == frontier.size()) {
            if signed.checkpoint.root != frontier.root() {
                let detail = format!("the first {last} entries are not those that the {CHECKPOINT} was signed for");
                return Err(fault(last, "root", detail));
            }
            bundle.verdict.checkpoints_checked += 1;
        }
    }
    if bundle.verdict.entries != about.entries {
        return Err(fault(last + 1, "gap", format!("{} entries were exported; here are {}", about.entries, bundle.verdict.entries)));
    }
    if let Some(signed) = signed.filter(|s| whole && s.checkpoint.size > frontier.size()) {
        return Err(fault(last + 1, "short", format!("the {CHECKPOINT} was signed for {} entries", signed.checkpoint.size)));
    }
    if !whole {
        bundle.verdict.warnings.push("entries were selected; that none was left out can be seen from tiles only".to_owned());
    }
    Ok(())
}

fn signed(bundle: &mut Bundle, given: &Given, note: Option<String>, named: &[String]) -> Result<Option<Signed>, Stop> {
    let Some(note) = note else {
        bundle.verdict.warnings.push("there was no checkpoint when it was exported".to_owned());
        return Ok(None);
    };
    let mut keys = given.keys.clone();
    if keys.is_empty() {
        let parsed: Result<Vec<VerifierKey>, String> = named.iter().map(|key| key.parse()).collect();
        keys = parsed.map_err(|why| fault(0, "note", why))?;
        bundle.verdict.warnings.push("the key came with the folder; compare it with what you were told on another way".to_owned());
    }
    let checkpoint = open_note(&note, &keys)
        .map_err(|why| fault(0, "note", format!("the checkpoint in the manifest was not signed by this log: {why}")))?;
    Ok(Some(Signed { checkpoint, note, keys }))
}

fn leaf_in(place: &str, line: &Value) -> Result<(Leaf, Hash), Stop> {
    let seq = line["seq"].as_u64().unwrap_or(0);
    let hash = leaf_hash(&canonical(&line["leaf"])?);
    if line["leafHash"] != encode_hash(&hash) {
        return Err(fault(seq, "hash", format!("{place}: the hash is not the hash of the leaf")));
    }
    let leaf: Leaf = serde_json::from_value(line["leaf"].clone())
        .map_err(|e| fault(seq, "leaf", format!("{place} cannot be read: {e}")))?;
    if leaf.seq == seq { Ok((leaf, hash)) } else { Err(fault(seq, "gap", format!("{place} has the leaf of entry {}", leaf.seq))) }
}

fn check_states(bundle: &mut Bundle, leaf: &Leaf, line: &Value) -> Result<(), Stop> {
    let erased = line["erased"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, commitment) in
        [("context", &leaf.context), ("prevState", &leaf.prev_state), ("newState", &leaf.new_state)]
    {
        let Some(commitment) = commitment else { continue };
        if erased.iter().any(|e| e == name) {
            bundle.verdict.erased += 1;
            continue;
        }
        let salt = line["salts"][name].as_str().unwrap_or_default();
        if !is_opened_by(commitment, salt, &canonical(&line[name])?) {
            return Err(fault(leaf.seq, "state", format!("its {name} is not what was sealed")));
        }
        bundle.verdict.opened += 1;
    }
    Ok(())
}

/// Whether a digest stands for this state under this salt, base64.
pub fn is_opened_by(commitment: &Commitment, salt: &str, state: &[u8]) -> bool {
    STANDARD.decode(salt).is_ok_and(|salt| salt.len() == 16 && *commitment == commit(&salt, state))
}
