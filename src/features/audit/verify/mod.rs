//! Reading the log again and saying whether it is what was written and what was signed.
//!
//! # Invariants
//! - The bytes are hashed as they are stored, and where they stand: nothing is serialised again.
//! - Memory does not grow with the log: a page at a time, each in a read transaction of its own.
//! - The fault that is told is the first: no row before it is known to be anything but what was written.

mod walk;

use serde::{Deserialize, Serialize};

use super::Hash;
use super::keys::Opened;
use super::note::Checkpoint;
use crate::base::problem::Problem;
use crate::platform::store::Store;

pub use walk::Walk;

/// How many rows one read transaction covers.
pub const PAGE: u32 = 1_024;

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditVerdict)]
pub struct Verdict {
    /// Rows read.
    pub rows: u64,
    /// States that were erased; the proof of their rows holds.
    pub erased: u64,
    /// Signed checkpoints that the rows were compared with.
    pub checkpoints_checked: u64,
    /// Signed checkpoints of entries that were left behind when the log was put back from a backup.
    pub left_behind: u64,
    /// The first fault, if there is one.
    pub fault: Option<Fault>,
}

/// The first row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// Which row; 0 when it is no row but a checkpoint.
    pub seq: u64,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// What can be wrong with the log.
pub const KINDS: [&str; 11] =
    ["gap", "hash", "link", "leaf", "copy", "state", "erased", "node", "root", "short", "note"];

impl Fault {
    /// What was written down of one.
    pub fn stored(seq: u64, kind: &str, detail: String) -> Self {
        Self { seq, kind: KINDS.into_iter().find(|known| *known == kind).unwrap_or("leaf"), detail }
    }

    /// Whether it was told from a checkpoint, and would not have been noticed without.
    pub fn needs_checkpoint(&self) -> bool {
        matches!(self.kind, "root" | "short" | "note")
    }
}

/// Where a walk stood when it was stopped. Its checkpoints are not part of it: they are asked for anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Rows that were read.
    pub rows: u64,
    erased: u64,
    last: [Hash; 2],
    edge: Vec<Hash>,
}

impl Verdict {
    /// Of a fault that is in no row.
    pub fn of(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }
}

/// A signed checkpoint that the log is compared with.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where it is from, for people.
    pub place: String,
    /// What it says, its signature checked.
    pub checkpoint: Checkpoint,
}

/// Walks the whole log, page by page.
pub async fn verify_chain(store: &Store) -> Result<Verdict, Problem> {
    verify_log(store, Opened::default()).await
}

/// Walks the whole log, page by page, and compares its tree with these checkpoints on the way.
pub async fn verify_log(store: &Store, opened: Opened) -> Result<Verdict, Problem> {
    let left_behind = opened.left_behind;
    let mut walk = Walk::new(opened.expected);
    loop {
        let page = store.read(move |tx| {
            let more = walk.page(tx, PAGE)?;
            Ok((walk, more))
        });
        let (walked, more) = page.await?;
        if !more {
            return Ok(Verdict { left_behind, ..walked.verdict() });
        }
        walk = walked;
    }
}
