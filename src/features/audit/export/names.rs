//! The names that a log had, as its entries tell them to whoever has nothing but the entries, and what checkpoints in
//! those names say.

use super::bundle::{Stop, fault};
use crate::features::audit::keys::ORIGIN_CHANGED;
use crate::features::audit::note::continued_as;
use crate::features::audit::verify::Expected;
use crate::features::audit::{Hash, Leaf, OPENED};

/// A checkpoint in whichever name.
#[derive(Debug)]
struct Note {
    expected: Expected,
    /// Under which name it says that the log goes on.
    continued: Option<String>,
    /// Whether the entries have its root at its size; nothing when they are fewer.
    agrees: Option<bool>,
}

/// The names, and the checkpoints in names before the present one.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each with the entry that gave it.
    names: Vec<(String, u64)>,
    /// By size, the smallest last; those that were reached come behind.
    notes: Vec<Note>,
    reached: Vec<Note>,
    /// The names of the keys that are believed: the log had one of them.
    believed: Vec<String>,
}

impl Names {
    /// These checkpoints, each with its note, and the names of the keys that are believed.
    pub(super) fn new(notes: Vec<(Expected, String)>, believed: Vec<String>) -> Self {
        let note = |(expected, text): (Expected, String)| {
            Note { expected, continued: continued_as(&text).map(str::to_owned), agrees: None }
        };
        let mut notes: Vec<Note> = notes.into_iter().map(note).collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.expected.checkpoint.size));
        Self { names: Vec::new(), notes, reached: Vec::new(), believed }
    }

    /// Another checkpoint, of entries that were taken already, and whether they have its root.
    pub(super) fn reached(&mut self, expected: Expected, text: &str, agrees: bool) {
        let continued = continued_as(text).map(str::to_owned);
        self.reached.push(Note { expected, continued, agrees: Some(agrees) });
    }

    /// The next entry, and the root of the tree up to it, when it is asked for.
    pub(super) fn take(&mut self, leaf: &Leaf, root: impl Fn() -> Hash) {
        if (leaf.seq == 1 && leaf.action == OPENED) || (leaf.action == ORIGIN_CHANGED && !self.names.is_empty()) {
            self.names.push((leaf.entity_id.clone(), leaf.seq));
        }
        while let Some(mut note) = self.notes.pop_if(|note| note.expected.checkpoint.size <= leaf.seq) {
            let Expected { checkpoint, .. } = &note.expected;
            note.agrees = Some(checkpoint.size == leaf.seq && checkpoint.root == root());
            self.reached.push(note);
        }
    }

    /// Whether each of the checkpoints says what the log is, or was left behind by a change of the name that its key
    /// signed for; how many agree, and how many were left behind.
    pub(super) fn check(mut self, present: &str) -> Result<(u64, u64), Stop> {
        self.reached.append(&mut self.notes);
        let (mut agree, mut behind) = (0, 0);
        if self.names.last().is_some_and(|(last, _)| last != present) {
            return Err(fault(0, "note", format!("the checkpoint is in the name {present}, which is not the last that the entries tell")));
        }
        let had = |name: &String| name == present || self.names.iter().any(|(known, _)| known == name);
        if !self.believed.is_empty() && !self.believed.iter().any(had) {
            return Err(fault(0, "note", format!("the key is of {}, a name that the log never had", self.believed.join(" and "))));
        }
        for pair in self.names.windows(2) {
            let ((before, _), (after, seq)) = (&pair[0], &pair[1]);
            let signed = self.reached.iter().any(|note| {
                let checkpoint = &note.expected.checkpoint;
                checkpoint.origin == *before && checkpoint.size < *seq && note.agrees == Some(true)
                    && note.continued.as_deref() == Some(after)
            });
            if !signed {
                let detail = "says that the log was put back and has another name, and no key of the log signed for that";
                return Err(fault(*seq, "note", detail));
            }
        }
        for note in &self.reached {
            let Expected { place, checkpoint } = &note.expected;
            let at = self.names.iter().position(|(name, _)| *name == checkpoint.origin);
            let at = at.ok_or_else(|| fault(0, "note", format!("the checkpoint in {place} is of {}, a name that the log never had", checkpoint.origin)))?;
            let until = self.names.get(at + 1).map_or(u64::MAX, |(_, next)| next - 1);
            match note.agrees {
                _ if checkpoint.size > until => behind += 1,
                Some(true) => agree += 1,
                Some(false) => {
                    let detail = format!("the first {} entries are not those that the checkpoint in {place} was signed for", checkpoint.size);
                    return Err(fault(checkpoint.size, "root", detail));
                }
                None => return Err(fault(0, "short", format!("the checkpoint in {place} was signed for {} entries", checkpoint.size))),
            }
        }
        Ok((agree, behind))
    }
}
