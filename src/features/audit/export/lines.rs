//! Checking JSON Lines that were exported: each by itself, and all of them together where nothing was left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::bundle::{Bundle, Given, Stop, fault, is_whole};
use super::names::Names;
use super::{CHECKPOINT, Signed};
use crate::base::problem::Problem;
use crate::features::audit::erasure::{Claims, ERASED, PARTS, is_kept};
use crate::features::audit::keys::ORIGIN_CHANGED;
use crate::features::audit::merkle::Frontier;
use crate::features::audit::note::{VerifierKey, open_note};
use crate::features::audit::verify::Expected;
use crate::features::audit::{Commitment, Hash, Leaf, canonical, commit, encode_hash, leaf_hash};

/// Compares every line with the hash of its leaf and what it opens with the digests there; and, when the whole log was
/// exported, the tree over the lines with the checkpoint.
pub(super) fn check(bundle: &mut Bundle, given: &Given) -> Result<(), Stop> {
    let about = bundle.about()?.ok_or_else(|| Problem::internal("JSON Lines without a manifest"))?;
    let whole = is_whole(&about.filter);
    let signed = signed(bundle, given, about.checkpoint, &about.verifier_keys)?;
    let (mut frontier, mut prev): (Frontier, Hash) = (Frontier::default(), [0; 32]);
    let (mut last, mut erasures) = (0, Erasures::default());
    let mut names = signed.as_ref().filter(|_| whole).map(|signed| names(signed, given)).transpose()?;
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
        check_states(bundle, &leaf, &line, &mut erasures)?;
        bundle.verdict.entries += 1;
        if let (Some(names), Some(signed)) = (&mut names, &signed) {
            renamed(names, signed, &leaf, &line, &frontier)?;
        }
        frontier.push(&hash);
        if let Some(names) = &mut names {
            names.take(&leaf, || frontier.root());
        }
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
    if whole {
        erasures.check()?;
    }
    if let (Some(names), Some(signed)) = (names, &signed) {
        let (agree, behind) = names.check(&signed.checkpoint.origin)?;
        bundle.verdict.checkpoints_checked += agree;
        bundle.left_behind(behind);
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
    let checkpoint = open(&keys, "the manifest", &note)?.checkpoint;
    Ok(Some(Signed { checkpoint, note, keys, continued: Vec::new() }))
}

/// A note by a key that is believed, under whichever name of the log.
fn open(believed: &[VerifierKey], place: &str, note: &str) -> Result<Expected, Stop> {
    let name = note.lines().next().unwrap_or_default();
    let keys: Vec<VerifierKey> = believed.iter().cloned().chain(believed.iter().map(|key| key.named(name))).collect();
    let checkpoint = open_note(note, &keys)
        .map_err(|why| fault(0, "note", format!("the checkpoint in {place} was not signed by this log: {why}")))?;
    Ok(Expected { place: place.to_owned(), checkpoint })
}

/// The notes that were kept elsewhere, to be compared on the way.
fn names(signed: &Signed, given: &Given) -> Result<Names, Stop> {
    let opened = given.notes.iter().map(|(place, note)| Ok((open(&signed.keys, place, note)?, note.clone())));
    let believed = signed.keys.iter().map(|key| key.name().to_owned()).collect();
    Ok(Names::new(opened.collect::<Result<_, Stop>>()?, believed))
}

/// An entry that gives the log another name has the note that its key signed for that.
fn renamed(names: &mut Names, signed: &Signed, leaf: &Leaf, line: &Value, before: &Frontier) -> Result<(), Stop> {
    if leaf.action != ORIGIN_CHANGED {
        return Ok(());
    }
    let note = line["newState"]["note"].as_str().unwrap_or_default();
    let expected = open(&signed.keys, &format!("entry {}", leaf.seq), note)?;
    let agrees = expected.checkpoint.size == before.size() && expected.checkpoint.root == before.root();
    names.reached(expected, note, agrees);
    Ok(())
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

fn check_states(bundle: &mut Bundle, leaf: &Leaf, line: &Value, erasures: &mut Erasures) -> Result<(), Stop> {
    let erased = line["erased"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, commitment) in
        [("context", &leaf.context), ("prevState", &leaf.prev_state), ("newState", &leaf.new_state)]
    {
        let Some(commitment) = commitment else { continue };
        if erased.iter().any(|e| e == name) {
            bundle.verdict.erased += 1;
            erasures.miss(leaf.seq, &leaf.action, name)?;
            continue;
        }
        let salt = line["salts"][name].as_str().unwrap_or_default();
        if !is_opened_by(commitment, salt, &canonical(&line[name])?) {
            return Err(fault(leaf.seq, "state", format!("its {name} is not what was sealed")));
        }
        bundle.verdict.opened += 1;
    }
    if leaf.action == ERASED {
        erasures.claims.take(&line["newState"]);
    }
    Ok(())
}

/// What is missing, and what entries say was erased: they come behind it.
#[derive(Debug, Default)]
pub struct Erasures {
    /// What entries say.
    pub claims: Claims,
    /// The entry, and the place of the part in [`PARTS`].
    missed: Vec<(u64, u8)>,
}

impl Erasures {
    /// A part is missing, by its name in the leaf.
    pub fn miss(&mut self, seq: u64, action: &str, name: &str) -> Result<(), Stop> {
        let place = PARTS.iter().position(|(_, known)| *known == name);
        let place = place.ok_or_else(|| fault(seq, "state", format!("{name} is no part of an entry")))?;
        if is_kept(action, PARTS[place].0) {
            return Err(fault(seq, "erased", format!("its {name} was erased, which that of an entry about the log never is")));
        }
        self.missed.push((seq, u8::try_from(place).map_err(Problem::internal)?));
        Ok(())
    }

    /// Each that is missing has an entry that says so.
    pub fn check(&self) -> Result<(), Stop> {
        match self.missed.iter().find(|(seq, place)| !self.claims.has(usize::from(*place), *seq)) {
            None => Ok(()),
            Some((seq, place)) => {
                let name = PARTS[usize::from(*place)].1;
                Err(fault(*seq, "erased", format!("its {name} was erased, and no entry says so")))
            }
        }
    }
}

/// Whether a digest stands for this state under this salt, base64.
pub fn is_opened_by(commitment: &Commitment, salt: &str, state: &[u8]) -> bool {
    STANDARD.decode(salt).is_ok_and(|salt| salt.len() == 16 && *commitment == commit(&salt, state))
}
