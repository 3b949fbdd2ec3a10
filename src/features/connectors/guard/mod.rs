//! How calls of one connector are repeated, limited and broken off: the rules, and what they hold.
//!
//! # Invariants
//! - A call that may have been carried out is not repeated here unless it only reads.
//! - After so many passing failures one after the other nobody calls until a time is over; then one call
//!   alone tries, and its outcome decides.
//! - A failure that the system answered itself shows that the system is there.

mod breaker;
mod gates;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use breaker::{BreakerState, BreakerView};
pub(super) use gates::Gates;

use super::CallFailure;
use crate::base::problem::FieldError;

/// How calls of a connector are repeated and limited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Policy {
    /// How often a call is repeated at once when that is safe, 0 to 5.
    pub retries: u32,
    /// After how many passing failures in a row nobody calls for a while, 0 to 100; 0 never.
    pub breaker_failures: u32,
    /// For how long nobody calls then, 1 to 3600.
    pub breaker_open_seconds: u32,
    /// How many calls are made at a time, 1 to 64.
    pub max_concurrent: u32,
    /// How many calls are made in a minute, 0 to 100000; 0 any number.
    pub max_per_minute: u32,
    /// How many bytes an answer may have, 1024 to 16777216.
    pub max_answer_bytes: usize,
    /// The names of the events that its hook may bring; `hr.*` stands for all that begin so. None at first.
    pub hook_events: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retries: 2,
            breaker_failures: 5,
            breaker_open_seconds: 15,
            max_concurrent: 8,
            max_per_minute: 0,
            max_answer_bytes: 1024 * 1024,
            hook_events: Vec::new(),
        }
    }
}

impl Policy {
    /// Its faults, field by field.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut within = |name: &str, value: u64, low: u64, high: u64| {
            if !(low..=high).contains(&value) {
                let message = format!("got {value}; expected {low} to {high}");
                faults.push(FieldError { field: format!("policy.{name}"), message });
            }
        };
        within("retries", self.retries.into(), 0, 5);
        within("breakerFailures", self.breaker_failures.into(), 0, 100);
        within("breakerOpenSeconds", self.breaker_open_seconds.into(), 1, 3600);
        within("maxConcurrent", self.max_concurrent.into(), 1, 64);
        within("maxPerMinute", self.max_per_minute.into(), 0, 100_000);
        within("maxAnswerBytes", self.max_answer_bytes as u64, 1024, 16 * 1024 * 1024);
        within("hookEvents", self.hook_events.len() as u64, 0, 50);
        for (at, event) in self.hook_events.iter().enumerate() {
            let bare = event.strip_suffix(".*").unwrap_or(event);
            if bare.is_empty() || bare.contains('*') || event.chars().count() > 200 {
                let message = "expected the name of an event, or the beginning of names such as hr.*".to_owned();
                faults.push(FieldError { field: format!("policy.hookEvents.{at}"), message });
            }
        }
        faults
    }

    /// Whether its hook may bring this event.
    pub fn may_bring(&self, event: &str) -> bool {
        self.hook_events.iter().any(|allowed| match allowed.strip_suffix('*') {
            Some(beginning) => event.starts_with(beginning),
            None => allowed == event,
        })
    }

    /// Whether a call that failed so is made once more; `tried` is how often it was repeated already.
    pub(super) fn repeats(&self, failure: &CallFailure, only_reads: bool, tried: u32) -> bool {
        // A wait that was in vain once is not doubled while somebody looks on; the queue tries later.
        let nothing_was_sent = matches!(failure.code.as_str(), "unreachable" | "no_such_name");
        let safe = nothing_was_sent || (only_reads && failure.code != "timeout" && !is_ours(failure));
        tried < self.retries && failure.retryable && safe
    }
}

/// How long to wait before the repetition with this number, counted from 1: twice as long each time, and not
/// the same for all who failed together.
pub(super) fn delay_before(repetition: u32, random: u128) -> Duration {
    let whole = 200_u64 << repetition.saturating_sub(1).min(5);
    let spread = u64::try_from(random % u128::from(whole / 2 + 1)).unwrap_or_default();
    Duration::from_millis(whole / 2 + spread)
}

/// What Tenure itself held back.
fn is_ours(failure: &CallFailure) -> bool {
    matches!(failure.code.as_str(), "circuit_open" | "busy" | "rate_limited" | "unavailable")
}

/// What a call says about the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It is there.
    Alive,
    /// It could not be reached, or was not able to answer.
    Failing,
    /// Nothing: the call was never made.
    None,
}

fn sign(outcome: Result<(), &CallFailure>) -> Sign {
    match outcome {
        Ok(()) => Sign::Alive,
        Err(failure) if is_ours(failure) => Sign::None,
        Err(failure) if failure.retryable => Sign::Failing,
        Err(failure) => match failure.code.as_str() {
            "bad_params" | "bad_config" | "no_secret" | "unknown_command" | "address_refused" | "not_listed" => Sign::None,
            _ => Sign::Alive,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_repeated() {
        let policy = Policy::default();
        let repeats = |code: &str, reads: bool, tried: u32| policy.repeats(&CallFailure::passing(code, ""), reads, tried);
        assert!(repeats("unreachable", false, 0) && repeats("http_503", true, 1));
        assert!(!repeats("http_503", false, 0), "it may have been done");
        assert!(!repeats("broken", false, 0) && !repeats("timeout", true, 0) && !repeats("circuit_open", true, 0));
        assert!(!repeats("unreachable", true, 2), "enough");
        assert!(!policy.repeats(&CallFailure::lasting("http_404", ""), true, 0));
    }

    #[test]
    fn repetitions_come_later_each_time_and_not_together() {
        for (repetition, low, high) in [(1, 100, 200), (2, 200, 400), (3, 400, 800), (60, 3200, 6400)] {
            for random in [0, 1, 7_777, u128::MAX] {
                let delay = delay_before(repetition, random).as_millis();
                assert!((low..=high).contains(&delay), "{repetition}: {delay}");
            }
        }
        assert_ne!(delay_before(1, 3), delay_before(1, 4));
    }

    #[test]
    fn a_hook_brings_what_it_was_allowed_to_and_nothing_at_first() {
        assert!(!Policy::default().may_bring("hr.joined"));
        let policy = Policy { hook_events: vec!["hr.*".to_owned(), "door.opened".to_owned()], ..Policy::default() };
        assert!(policy.may_bring("hr.joined") && policy.may_bring("door.opened"));
        assert!(!policy.may_bring("hrx.joined") && !policy.may_bring("door.opened.twice"));
        let wrong = Policy { hook_events: vec!["*".to_owned(), "a*b".to_owned()], retries: 9, ..Policy::default() };
        assert_eq!(wrong.faults().len(), 3);
    }
}
