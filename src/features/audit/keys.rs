//! Under which name and with which keys the log is signed for: what the log itself says.
//!
//! A log that was put back from a backup goes on under another name. Its key signs for that: a checkpoint in the old name
//! over the entries that go on, with the line `continued as NEW NAME` behind the root. So whoever can write the database
//! and has no key cannot make a rollback look like a restore.

use serde_json::{Value, json};

use super::merkle;
use super::note::{Checkpoint, Signer, VerifierKey, continued_as, open_note};
use super::ops::{Entry, append, state_of};
use super::store::StoredNodes;
use super::verify::{Expected, Fault};
use super::{OPENED, encode_hash, store};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::platform::store::Tx;

/// Another key signs from here on.
pub const KEY_CHANGED: &str = "audit.key_changed";
/// The log goes on under another name: it was put back from a backup.
pub const ORIGIN_CHANGED: &str = "audit.origin_changed";

/// A name that the log had before.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The name.
    pub origin: String,
    /// How many of the entries under it go on. What was signed of more was left behind.
    pub until: u64,
    /// The entry that ends it.
    pub seq: u64,
    /// The note that says so, signed in that name.
    pub note: String,
}

/// Whom to believe about this log.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name now.
    pub origin: String,
    /// Every key that signed for it, the present one last.
    pub keys: Vec<VerifierKey>,
    /// Its names before, the oldest first.
    pub earlier: Vec<Earlier>,
    /// An entry that gives the log another name although no key of it signed for that.
    pub forged: Option<u64>,
}

/// What a checkpoint says of this log, by its name and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Of entries that are in it.
    Ours,
    /// Of entries that were left behind when the log was put back.
    LeftBehind,
    /// Of a log of another name, which this one never had.
    Stranger,
}

/// Notes that were opened.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    /// What the log is compared with.
    pub expected: Vec<Expected>,
    /// How many others are of entries that were left behind when the log was put back.
    pub left_behind: u64,
}

impl Known {
    /// What a checkpoint says of this log.
    pub fn standing(&self, checkpoint: &Checkpoint) -> Standing {
        if checkpoint.origin == self.origin {
            return Standing::Ours;
        }
        match self.earlier.iter().find(|earlier| earlier.origin == checkpoint.origin) {
            Some(earlier) if checkpoint.size <= earlier.until => Standing::Ours,
            Some(_) => Standing::LeftBehind,
            None => Standing::Stranger,
        }
    }

    /// The same, but only these keys are believed, under whichever of the log's names.
    pub fn believing(self, given: &[VerifierKey]) -> Self {
        let names: Vec<&str> = self.earlier.iter().map(|e| e.origin.as_str()).chain([self.origin.as_str()]).collect();
        let ours = given.iter().filter(|key| names.contains(&key.name()));
        let named = ours.flat_map(|key| names.iter().map(|name| key.named(name)));
        let keys: Vec<VerifierKey> = given.iter().cloned().chain(named).collect();
        let forged = self.earlier.iter().find(|e| open_note(&e.note, &keys).is_err()).map(|e| e.seq);
        Self { keys, forged: self.forged.or(forged), ..self }
    }

    /// What there is to complain of in the entries that name it.
    pub fn fault(&self) -> Option<Fault> {
        self.forged.map(|seq| {
            let detail = "says that the log was put back and has another name, and no key of the log signed for that".to_owned();
            Fault { seq, kind: "note", detail }
        })
    }

    /// Opens notes, with where each is from, and adds those by which the log was put back; one that it did not sign, or
    /// that is of another log, is a fault.
    pub fn open_all(&self, notes: Vec<(String, String)>) -> Result<Opened, Fault> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let own = self.earlier.iter().map(|e| (format!("entry {}", e.seq), e.note.clone()));
        let mut opened = Opened::default();
        for (place, note) in own.chain(notes) {
            let fault = |why: String| Err(Fault { seq: 0, kind: "note", detail: format!("what stands for a checkpoint in {place} is not ours: {why}") });
            let checkpoint = match open_note(&note, &self.keys) {
                Ok(checkpoint) => checkpoint,
                Err(why) => return fault(why.to_string()),
            };
            match self.standing(&checkpoint) {
                Standing::Ours => opened.expected.push(Expected { place, checkpoint }),
                Standing::LeftBehind => opened.left_behind += 1,
                Standing::Stranger => return fault(format!("this log never had the name {}", checkpoint.origin)),
            }
        }
        Ok(opened)
    }
}

/// What the log says of its name and its keys.
pub fn list(tx: &Tx<'_>) -> Result<Known, Problem> {
    let mut known = Known { origin: String::new(), keys: Vec::new(), earlier: Vec::new(), forged: None };
    for row in store::list_of_actions(tx, [OPENED, KEY_CHANGED, ORIGIN_CHANGED])? {
        let missing = || Problem::internal(format!("entry {} does not say its name or its key any more", row.seq));
        let state = state_of(tx, row.seq, "new")?.ok_or_else(missing)?;
        if row.action == ORIGIN_CHANGED {
            rename(&mut known, row.seq, &state);
        } else if let Some(origin) = state["origin"].as_str() {
            origin.clone_into(&mut known.origin);
        }
        if let Some(key) = state["verifierKey"].as_str() {
            known.keys.push(key.parse().map_err(|e: String| Problem::internal(e))?);
        }
    }
    if known.origin.is_empty() { Err(Problem::internal("the audit log has no name")) } else { Ok(known) }
}

/// Believes an entry that gives the log another name, if a key that signed before it signed for that.
fn rename(known: &mut Known, seq: u64, state: &Value) {
    let (origin, note) = (state["origin"].as_str().unwrap_or_default(), state["note"].as_str().unwrap_or_default());
    let signed = open_note(note, &known.keys).ok().filter(|signed| {
        signed.origin == known.origin && signed.size < seq && !origin.is_empty() && continued_as(note) == Some(origin)
    });
    let Some(signed) = signed else {
        known.forged = known.forged.or(Some(seq));
        return;
    };
    let before = std::mem::replace(&mut known.origin, origin.to_owned());
    known.earlier.push(Earlier { origin: before, until: signed.size, seq, note: note.to_owned() });
}

/// Writes down that another key signs from now on, if it is another.
pub fn ensure(tx: &Tx<'_>, seed: &[u8; 32]) -> Result<(), Problem> {
    let known = list(tx)?;
    let verifier = Signer::new(&known.origin, seed).verifier();
    let before = known.keys.last();
    if before == Some(&verifier) {
        return Ok(());
    }
    tracing::warn!(key = %verifier, "the audit log is signed with another key from now on");
    let before = before.map(|key| json!({ "verifierKey": key.to_string() }));
    let id = name_of_log(tx)?;
    entry(tx, &Principal::system("audit"), (KEY_CHANGED, id), before, json!({ "verifierKey": verifier.to_string() }))
}

/// The newest checkpoint of a log that is left behind.
#[derive(Debug, Clone)]
pub struct Newest {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// SHA-256 of the whole note, hexadecimal.
    pub note_sha256: String,
}

/// Gives the log a new name: what is put back from a backup goes on differently from what was signed after it. The entry
/// names the old log's newest checkpoint, as far as one is known, and its key; the key signs for the change.
pub fn renew_origin(tx: &Tx<'_>, by: &Principal, seed: &[u8; 32], newest: Option<&Newest>) -> Result<(), Problem> {
    let before = list(tx)?.origin;
    let host = before.split('/').next().unwrap_or("localhost");
    let origin = format!("{host}/audit/{:016x}", tx.random() as u64);
    let size = store::head(tx)?.map_or(0, |(seq, _)| seq);
    let root = merkle::root(size, &StoredNodes(tx))?;
    let signer = Signer::new(&before, seed);
    let note = signer.sign_continued(&Checkpoint { origin: before.clone(), size, root }, &origin);
    let newest = newest.map(|newest| {
        let Checkpoint { size, root, .. } = &newest.checkpoint;
        json!({ "size": size, "root": encode_hash(root), "noteSha256": newest.note_sha256 })
    });
    let prev = json!({ "origin": before, "verifierKey": signer.verifier().to_string(), "newest": newest });
    entry(tx, by, (ORIGIN_CHANGED, origin.clone()), Some(prev), json!({ "origin": origin, "note": note }))
}

fn name_of_log(tx: &Tx<'_>) -> Result<String, Problem> {
    Ok(store::find_leaf(tx, 1)?.map(|row| row.entity_id).unwrap_or_default())
}

fn entry(
    tx: &Tx<'_>,
    by: &Principal,
    (action, id): (&'static str, String),
    prev: Option<Value>,
    new: Value,
) -> Result<(), Problem> {
    append(tx, by, Entry { action, entity: "audit_log", entity_id: id, reason: None, prev, new: Some(new) })
}
