//! Checkpoints: signed statements of how far the audit log went and what it was, kept where its database does not reach.
//!
//! # Invariants
//! - Nothing is signed over a log that is not what an earlier checkpoint says ([`judge`]), or in which a fault stands
//!   ([`verification`]).
//! - Two checkpoints of one log never contradict each other.
//! - Each place is tried again until it has every checkpoint; one that is out of reach holds up no other.
//! - A checkpoint is no entry of the log.
//!
//! # Not here
//! The tree and the form of a note are `audit`.

pub mod api;
pub mod jobs;
pub mod keep;
pub mod ops;
pub mod service;
pub mod store;
pub mod verification;

use std::time::Duration;

use serde::Serialize;

use crate::base::cron::Schedule;
use crate::base::time::Timestamp;
use crate::features::audit::Writes;
use crate::features::audit::note::Checkpoint;
use crate::features::audit::{Hash, encode_hash};

/// Puts one checkpoint into one place.
pub const KEEP_CHECKPOINT: &str = "keep-checkpoint";
/// Tells administrators that nothing is signed any more.
pub const TELL_REFUSAL: &str = "tell-refusal";

/// A place counts as out of reach after so many attempts in a row.
pub const DOWN_AFTER: u32 = 4;

/// Why a checkpoint was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Its time had come.
    Schedule,
    /// Somebody asked for it.
    Manual,
    /// Tenure went down in order.
    Shutdown,
}

impl Reason {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::Shutdown => "shutdown",
        }
    }

    /// From what is stored.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Schedule, Self::Manual, Self::Shutdown].into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A checkpoint that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which one, counted from 1.
    pub number: u64,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// It as it is signed.
    pub note: String,
    /// Why it was made.
    pub reason: Reason,
    /// When.
    pub made_at: Timestamp,
}

impl Record {
    /// The name that it is kept under: sorted by name is sorted by size and time.
    pub fn file_name(&self) -> String {
        let compact: String = self.made_at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        format!("{:020}-{compact}.note", self.checkpoint.size)
    }
}

/// Why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub kind: RefusalKind,
    /// In words.
    pub detail: String,
}

/// What is wrong with the log, or with what is said to be its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefusalKind {
    /// An earlier checkpoint has more entries.
    Shorter,
    /// An earlier checkpoint has another root at its size.
    Different,
    /// What stands for a checkpoint was not signed by this log.
    Unsigned,
    /// The whole log was read again, and something in it is not what was written or signed.
    Tampered,
}

impl RefusalKind {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shorter => "shorter",
            Self::Different => "different",
            Self::Unsigned => "unsigned",
            Self::Tampered => "tampered",
        }
    }

    /// From what is stored.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Shorter, Self::Different, Self::Unsigned, Self::Tampered].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Whether a log of `size` entries may be signed for beside an earlier checkpoint that is kept in `place`.
///
/// `root` is the root of the log's first `earlier.size` entries; absent when it has not so many.
pub fn judge(earlier: &Checkpoint, place: &str, size: u64, root: Option<Hash>) -> Result<(), Refusal> {
    let there = earlier.size;
    match root {
        None => Err(Refusal {
            kind: RefusalKind::Shorter,
            detail: format!("The log has {size} entries; the checkpoint in {place} is of {there}: entries were cut off, or an older database was put back."),
        }),
        Some(root) if root != earlier.root => Err(Refusal {
            kind: RefusalKind::Different,
            detail: format!(
                "The first {there} entries have the root {}; the checkpoint in {place} says {}: entries were changed.",
                encode_hash(&root),
                encode_hash(&earlier.root)
            ),
        }),
        Some(_) => Ok(()),
    }
}

/// How long after a failed attempt the next one is: 5 s, then twice as long each time, at most ten minutes.
pub fn wait_after(attempts: u32) -> Duration {
    Duration::from_secs((5_u64 << attempts.saturating_sub(1).min(10)).min(600))
}

/// What somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing is signed: the log is not what was signed before.
    Refused(String),
    /// No checkpoint came when it should have, or it did not come to a place; or nobody can tell how the log is.
    Late(String),
}

/// Whether a checkpoint should have been made already: a slot of the schedule lies five minutes back or more, and the
/// newest one is from before it.
pub fn is_overdue(newest: Option<&Record>, schedule: &Schedule, now: Timestamp) -> bool {
    const GRACE: i64 = 5 * 60 * 1_000;
    let by_now = Timestamp::from_millis(now.as_millis() - GRACE);
    let Some(newest) = newest else { return false };
    schedule.last_at_or_before(by_now).is_some_and(|slot| newest.made_at < slot)
}

/// What the operations and jobs of this feature write into the log: a checkpoint is no entry of it.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/audit/checkpoints", &[]),
    Writes::of("POST /api/audit/verify", &[]),
    Writes::of("audit-checkpoint", &[]),
    Writes::of("keep-checkpoint", &[]),
    Writes::of("tell-refusal", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn earlier() -> Checkpoint {
        Checkpoint { origin: "log".into(), size: 10, root: [1; 32] }
    }

    #[test]
    fn what_an_earlier_checkpoint_says_has_to_be_true_still() {
        assert_eq!(judge(&earlier(), "file", 10, Some([1; 32])), Ok(()));
        assert_eq!(judge(&earlier(), "file", 99, Some([1; 32])), Ok(()));
        assert_eq!(judge(&earlier(), "file", 99, Some([2; 32])).unwrap_err().kind, RefusalKind::Different);
        assert_eq!(judge(&earlier(), "file", 9, None).unwrap_err().kind, RefusalKind::Shorter);
    }

    #[test]
    fn attempts_come_further_apart_up_to_ten_minutes() {
        let seconds: Vec<u64> = (1..=9).map(|n| wait_after(n).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(wait_after(u32::MAX).as_secs(), 600);
    }

    #[test]
    fn names_sort_by_size_and_time() {
        let record = Record {
            number: 1,
            checkpoint: earlier(),
            note: String::new(),
            reason: Reason::Manual,
            made_at: "2026-12-01T02:03:04.005Z".parse().unwrap(),
        };
        assert_eq!(record.file_name(), "00000000000000000010-20261201T020304.005Z.note");
    }
}
