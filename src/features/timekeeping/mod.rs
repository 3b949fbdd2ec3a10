//! Timekeeping: whether the clock can be believed, and what waits while it cannot.
//!
//! A clock that shows 2099 would end everybody's access at once. So nothing that time alone brings about
//! happens while the clock is in doubt: access and documents do not end or begin, deadlines and timers do
//! not come, and nothing is removed for its age. What people do goes on.
//!
//! # Invariants
//! - Doubt and deed are judged in one transaction: a clock that is set between them ends nothing.
//! - Doubt is stored. It ends by an administrator's word, not by a restart nor by setting the clock right.
//! - A job that came meanwhile is not lost: it stands back and goes on from the instant that it came for.
//! - A start is judged before it writes anything: newer audit entries would hide what it is compared with.
//!
//! # Not here
//! Telling administrators, their word over HTTP, and what is looked after then: the feature `clock`.

pub mod ops;
pub mod store;

use serde::Serialize;

use crate::base::time::Timestamp;
use crate::features::audit::{self, Writes};

/// The job that tells administrators that the clock is in doubt.
pub const TELL_DOUBT: &str = "tell-clock-doubt";
/// The job that lets what stood back go on.
pub const RESUME_EXPIRY: &str = "resume-expiry";

/// How far the clock may leave a steady one, or show less than the newest audit entry, in milliseconds.
pub const MOST_MOVED_MS: i64 = 5 * 60_000;
/// How far a start may lie after the newest audit entry, in milliseconds.
pub const MOST_AHEAD_MS: i64 = 30 * 86_400_000;

/// What casts doubt on the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DoubtKind {
    /// It was set while Tenure ran.
    Moved,
    /// At a start it showed a time before the newest audit entry.
    Behind,
    /// At a start it showed a time long after the newest audit entry.
    Ahead,
}

impl DoubtKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::Behind => "behind",
            Self::Ahead => "ahead",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Moved, Self::Behind, Self::Ahead].into_iter().find(|k| k.as_str() == text)
    }
}

/// Why the clock is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// What casts it.
    pub kind: DoubtKind,
    /// What the clock showed when that was noticed.
    pub shown_at: Timestamp,
    /// What it should have been near.
    pub expected_at: Timestamp,
}

impl Doubt {
    /// In words for an administrator; holds no secret.
    pub fn why(&self) -> String {
        let by = span(self.shown_at.as_millis().saturating_sub(self.expected_at.as_millis()));
        let (shown, expected) = (self.shown_at, self.expected_at);
        match self.kind {
            DoubtKind::Moved => {
                let way = if shown > expected { "ahead" } else { "back" };
                format!("The clock was set {way} by {by} while Tenure ran: it showed {shown}, expected about {expected}.")
            }
            DoubtKind::Behind => format!(
                "At the start the clock showed {shown}, which is {by} before the newest audit entry, of {expected}."
            ),
            DoubtKind::Ahead => format!(
                "At the start the clock showed {shown}, which is {by} after the newest audit entry, of {expected}."
            ),
        }
    }
}

/// What a drift of the clock says about it.
pub fn judge_drift(now: Timestamp, drift_ms: i64) -> Option<Doubt> {
    if drift_ms.unsigned_abs() < MOST_MOVED_MS.unsigned_abs() {
        return None;
    }
    let expected_at = Timestamp::from_millis(now.as_millis().saturating_sub(drift_ms));
    Some(Doubt { kind: DoubtKind::Moved, shown_at: now, expected_at })
}

/// What the newest audit entry says about the clock of a start.
pub fn judge_start(now: Timestamp, newest: Timestamp) -> Option<Doubt> {
    let ahead_ms = now.as_millis().saturating_sub(newest.as_millis());
    let kind = if ahead_ms < -MOST_MOVED_MS {
        DoubtKind::Behind
    } else if ahead_ms > MOST_AHEAD_MS {
        DoubtKind::Ahead
    } else {
        return None;
    };
    Some(Doubt { kind, shown_at: now, expected_at: newest })
}

/// A length of time in words, in the largest unit of which there are two.
fn span(ms: i64) -> String {
    let minutes = ms.unsigned_abs() / 60_000;
    match minutes {
        0..120 => format!("{minutes} minutes"),
        120..2_880 => format!("{} hours", minutes / 60),
        _ => format!("{} days", minutes / 1_440),
    }
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of(audit::WHEN_NOTICED, &["clock.doubted"]),
    Writes::of("POST /api/clock/confirm", &["clock.confirmed"]),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn a_clock_that_left_a_steady_one_by_five_minutes_is_in_doubt_either_way() {
        let now = at(1_900_000_000_000);
        for far in [MOST_MOVED_MS, 73 * 365 * 86_400_000] {
            for drift in [far, -far] {
                let doubt = judge_drift(now, drift).expect("a doubt");
                assert_eq!((doubt.kind, doubt.shown_at), (DoubtKind::Moved, now));
                assert_eq!(doubt.expected_at.as_millis(), now.as_millis() - drift);
            }
            assert_eq!(judge_drift(now, far.min(MOST_MOVED_MS) - 1), None);
        }
        assert!(judge_drift(now, MOST_MOVED_MS).expect("a doubt").why().contains("set ahead by 5 minutes"));
        assert!(judge_drift(now, -MOST_MOVED_MS).expect("a doubt").why().contains("set back by 5 minutes"));
    }

    #[test]
    fn a_start_is_in_doubt_before_the_newest_entry_and_long_after_it() {
        let newest = at(1_900_000_000_000);
        let kind = |ms: i64| judge_start(at(newest.as_millis() + ms), newest).map(|d| d.kind);
        assert_eq!(kind(-MOST_MOVED_MS), None, "clocks are corrected by little all the time");
        assert_eq!(kind(-MOST_MOVED_MS - 1), Some(DoubtKind::Behind));
        assert_eq!(kind(MOST_AHEAD_MS), None, "Tenure may have been off for a while");
        assert_eq!(kind(MOST_AHEAD_MS + 1), Some(DoubtKind::Ahead));
        let doubt = judge_start(at(newest.as_millis() + 2 * MOST_AHEAD_MS), newest).expect("a doubt");
        assert!(doubt.why().contains("60 days after the newest audit entry"), "{}", doubt.why());
    }

    proptest! {
        /// What is judged never overflows, and the doubt names the time that was left.
        #[test]
        fn any_two_clocks_can_be_compared(now in any::<i64>(), other in any::<i64>()) {
            let start = judge_start(at(now), at(other));
            let apart = i128::from(now) - i128::from(other);
            let told = apart < i128::from(-MOST_MOVED_MS) || apart > i128::from(MOST_AHEAD_MS);
            prop_assert_eq!(start.is_some(), told);
            let drift = judge_drift(at(now), other);
            prop_assert_eq!(drift.is_some(), i128::from(other).abs() >= i128::from(MOST_MOVED_MS));
            for doubt in start.into_iter().chain(drift) {
                prop_assert!(!doubt.why().is_empty());
                prop_assert_eq!(DoubtKind::parse(doubt.kind.as_str()), Some(doubt.kind));
            }
        }
    }
}
