//! Reading the log again and saying whether it is what was written.

use serde::Serialize;

use super::store::{self, StoredLeaf, StoredState};
use super::{Commitment, Hash, Leaf, commit, encode_hash, leaf_hash};
use crate::base::problem::Problem;
use crate::platform::store::Store;

/// How many rows one read transaction covers.
const PAGE: u32 = 1_000;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Rows read.
    pub rows: u64,
    /// States that were erased; the proof of their rows holds.
    pub erased: u64,
    /// The first fault, if there is one.
    pub fault: Option<Fault>,
}

/// The first row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// Which row.
    pub seq: u64,
    /// `gap`, `hash`, `link`, `leaf`, `copy` or `state`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// Walks the whole log, page by page.
pub async fn verify_chain(store: &Store) -> Result<Verdict, Problem> {
    let mut walk = Walk::default();
    loop {
        let after = walk.rows;
        let page = store
            .read(move |tx| {
                let leaves = store::list_from(tx, after, PAGE)?;
                leaves
                    .into_iter()
                    .map(|leaf| store::list_states(tx, leaf.seq).map(|states| (leaf, states)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let last = page.len() < PAGE as usize;
        for (leaf, states) in &page {
            if let Err(fault) = walk.step(leaf, states) {
                return Ok(walk.verdict(Some(fault)));
            }
        }
        if last {
            let fault = walk.finish().err();
            return Ok(walk.verdict(fault));
        }
    }
}

/// Where a walk over the log stands.
#[derive(Debug, Default)]
pub struct Walk {
    rows: u64,
    erased: u64,
    prev: Hash,
}

impl Walk {
    /// Checks the next row.
    pub fn step(&mut self, row: &StoredLeaf, states: &[StoredState]) -> Result<(), Fault> {
        let expected = self.rows + 1;
        let fault = |kind, detail: String| Fault { seq: expected, kind, detail };
        if row.seq != expected {
            return Err(fault("gap", format!("found row {} instead", row.seq)));
        }
        let hash = leaf_hash(&row.leaf);
        if row.leaf_hash != hash {
            return Err(fault("hash", "the stored hash is not the hash of the leaf".to_owned()));
        }
        let leaf: Leaf =
            serde_json::from_slice(&row.leaf).map_err(|e| fault("leaf", format!("cannot be read: {e}")))?;
        if leaf.prev != encode_hash(&self.prev) {
            return Err(fault("link", "does not name the hash of the row before".to_owned()));
        }
        if leaf.seq != row.seq
            || leaf.ts != row.at.to_string()
            || leaf.actor.id != row.actor_id
            || leaf.action != row.action
            || leaf.entity != row.entity
            || leaf.entity_id != row.entity_id
        {
            return Err(fault("copy", "a column differs from the leaf".to_owned()));
        }
        for (part, commitment) in
            [("context", &leaf.context), ("prev", &leaf.prev_state), ("new", &leaf.new_state)]
        {
            self.check_state(part, commitment.as_ref(), states).map_err(|d| fault("state", d))?;
        }
        self.prev = hash;
        self.rows = expected;
        Ok(())
    }

    /// Checks that there was a row at all: what was emptied has no link that could be broken.
    pub fn finish(&self) -> Result<(), Fault> {
        if self.rows > 0 {
            return Ok(());
        }
        let detail = "the log is empty; even a new one has an entry that names it".to_owned();
        Err(Fault { seq: 1, kind: "gap", detail })
    }

    fn verdict(&self, fault: Option<Fault>) -> Verdict {
        Verdict { rows: self.rows, erased: self.erased, fault }
    }

    fn check_state(
        &mut self,
        part: &str,
        commitment: Option<&Commitment>,
        states: &[StoredState],
    ) -> Result<(), String> {
        let stored = states.iter().find(|(p, ..)| p == part);
        match (commitment, stored) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(format!("there is a {part} state that the leaf does not name")),
            (Some(_), None) => Err(format!("the {part} state is gone without a trace")),
            (Some(_), Some((_, _, None))) => {
                self.erased += 1;
                Ok(())
            }
            (Some(c), Some((_, salt, Some(state)))) if *c == commit(salt, state) => Ok(()),
            (Some(_), Some(_)) => Err(format!("the {part} state is not what was sealed")),
        }
    }
}
