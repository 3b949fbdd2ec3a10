//! Telling browsers that something changed: hints along the audit log.
//!
//! A hint says of what kind of thing which ones changed, and up to which entry of the log. It carries
//! no state: whoever wants to know asks the ordinary routes, with their own permissions.
//!
//! # Invariants
//! - Hints come after the COMMIT that holds the change, in the order of the log.
//! - A listener that was away for less than [`PAGE`] entries is told what it missed; one that was away
//!   longer is told to look at everything again.

pub mod api;
mod head;

pub use head::{Head, LiveJournal};

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::store::StoredLeaf;

/// The most entries that one look at the log turns into hints.
pub const PAGE: u32 = 200;

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Hint {
    /// The kind of thing, as the audit log calls it; `resync` when everything may have changed.
    pub topic: String,
    /// Which ones; empty for who may not read the audit log.
    pub ids: Vec<String>,
    /// The newest entry this speaks of; sent back as `Last-Event-ID`, what came after it is told.
    pub seq: u64,
}

impl Hint {
    /// Everything may have changed up to this entry.
    pub fn resync(seq: u64) -> Self {
        Self { topic: "resync".to_owned(), ids: Vec::new(), seq }
    }
}

/// One hint per kind of thing; `with_ids` says which ones.
pub fn hints(rows: &[StoredLeaf], with_ids: bool) -> Vec<Hint> {
    let mut topics: BTreeMap<&str, (BTreeSet<&str>, u64)> = BTreeMap::new();
    for row in rows {
        let topic = topics.entry(&row.entity).or_default();
        topic.0.insert(&row.entity_id);
        topic.1 = row.seq;
    }
    let mut found: Vec<_> = topics
        .into_iter()
        .map(|(topic, (ids, seq))| {
            let ids = if with_ids { ids.into_iter().map(str::to_owned).collect() } else { Vec::new() };
            Hint { topic: topic.to_owned(), ids, seq }
        })
        .collect();
    // The last one sent names the newest entry, so that resuming there misses nothing.
    found.sort_by_key(|h| h.seq);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64, entity: &str, id: &str) -> StoredLeaf {
        StoredLeaf {
            seq,
            leaf: Vec::new(),
            leaf_hash: Vec::new(),
            at: "2031-03-01T12:00:00Z".parse().unwrap(),
            actor_id: String::new(),
            action: String::new(),
            entity: entity.to_owned(),
            entity_id: id.to_owned(),
        }
    }

    #[test]
    fn entries_become_one_hint_per_kind_and_the_newest_comes_last() {
        let rows = [row(7, "run", "b"), row(8, "approval", "x"), row(9, "run", "a"), row(10, "run", "a")];
        let hint = |topic: &str, ids: &[&str], seq| Hint {
            topic: topic.to_owned(),
            ids: ids.iter().map(|i| (*i).to_owned()).collect(),
            seq,
        };
        assert_eq!(hints(&rows, true), [hint("approval", &["x"], 8), hint("run", &["a", "b"], 10)]);
        assert_eq!(hints(&rows, false), [hint("approval", &[], 8), hint("run", &[], 10)]);
    }
}
