//! Reading the whole log again, by itself every day or when somebody asks, and remembering what was found.
//!
//! # Invariants
//! - A fault stands until a reading that could have noticed it finds the log sound; nothing is signed meanwhile.
//! - A reading that did not come to its end says nothing about the log.
//! - A reading that was stopped goes on where it was, and not with what a reading of yesterday found.

pub mod jobs;
pub mod ops;
pub mod store;

use std::time::Duration;

use serde::Serialize;

use crate::base::time::Timestamp;
use crate::features::audit::verify::{Fault, Position, Verdict};

/// Reads the whole log again.
pub const AUDIT_VERIFY: &str = "audit-verify";

/// A reading that began longer ago begins anew: what it read then may not be what is there now.
pub const GOES_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// What can be said of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = VerificationOutcome)]
pub enum Outcome {
    /// It is what was written, and what was signed.
    Sound,
    /// It is not.
    Tampered,
    /// Nobody can tell: it could not be read to its end.
    Unknown,
}

impl Outcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Tampered => "tampered",
            Self::Unknown => "unknown",
        }
    }

    /// From what is stored.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sound, Self::Tampered, Self::Unknown].into_iter().find(|outcome| outcome.as_str() == text)
    }
}

/// What a reading found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was read and compared; without a fault when nobody can tell.
    pub verdict: Verdict,
    /// Why nobody can tell, if so.
    pub unknown: Option<String>,
    /// Places that did not answer when they were asked for their newest checkpoint.
    pub silent: Vec<String>,
    /// How long it took.
    pub duration: Duration,
}

impl Finding {
    /// What can be said.
    pub fn outcome(&self) -> Outcome {
        match (&self.verdict.fault, &self.unknown) {
            (Some(_), _) => Outcome::Tampered,
            (None, Some(_)) => Outcome::Unknown,
            (None, None) => Outcome::Sound,
        }
    }
}

/// A finding, and when it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// What was found.
    pub finding: Finding,
    /// When the reading ended.
    pub at: Timestamp,
}

/// Where a reading was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// The place in the log.
    pub position: Position,
    /// When it began.
    pub begun_at: Timestamp,
    /// How long it has taken so far.
    pub duration: Duration,
}

impl Paused {
    /// Whether it is too old to go on from; so is one that began in the future, whatever the clock did.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now < self.begun_at || now.since(self.begun_at) > GOES_STALE
    }
}

/// Whether a sound reading settles this fault: one that only a checkpoint can tell, not while a place is silent.
pub fn settles(sound: &Finding, fault: &Fault) -> bool {
    sound.outcome() == Outcome::Sound && (sound.silent.is_empty() || !fault.needs_checkpoint())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(silent: &[&str]) -> Finding {
        let verdict = Verdict { rows: 9, checkpoints_checked: 1, ..Verdict::default() };
        let silent = silent.iter().map(|place| (*place).to_owned()).collect();
        Finding { verdict, unknown: None, silent, duration: Duration::ZERO }
    }

    #[test]
    fn a_fault_that_a_checkpoint_told_is_not_settled_while_a_place_is_silent() {
        let short = Fault::stored(7, "short", String::new());
        let link = Fault::stored(7, "link", String::new());
        assert!(settles(&finding(&[]), &short) && settles(&finding(&[]), &link));
        assert!(!settles(&finding(&["s3"]), &short), "what s3 has may say the same as before");
        assert!(settles(&finding(&["s3"]), &link));
        let cut = Finding { unknown: Some("the disk failed".to_owned()), ..finding(&[]) };
        assert_eq!(cut.outcome(), Outcome::Unknown);
        assert!(!settles(&cut, &link), "what was not read settles nothing");
    }
}
