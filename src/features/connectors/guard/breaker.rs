//! When nobody calls a system for a while: after failures, until one call shows that it is there again.

use std::time::Duration;

use serde::Serialize;

use super::{Policy, Sign};
use crate::base::time::Timestamp;

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go out.
    Closed,
    /// Nobody calls.
    Open,
    /// One call tries, or may try.
    HalfOpen,
}

/// Where the breaker of a connector stands, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// Where it stands.
    pub state: BreakerState,
    /// How many calls failed in a row.
    pub failures: u32,
    /// Until when nobody calls.
    pub open_until: Option<Timestamp>,
    /// Why the last of them failed.
    pub last_error: Option<String>,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Pass,
    /// Yes, and its outcome decides.
    Probe,
    /// Not before this instant.
    Refused(Timestamp),
}

#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// Since when, and until when, nobody calls.
    open: Option<(Timestamp, Timestamp)>,
    probing: bool,
    pub(super) last_error: Option<String>,
}

impl Breaker {
    /// Asks to call; `by_hand` is somebody who wants to know whether the system is there again.
    pub(super) fn admit(&mut self, now: Timestamp, by_hand: bool) -> Admission {
        if self.open.is_none() {
            return Admission::Pass;
        }
        if let (Some(until), false) = (self.refuses(now), by_hand) {
            return Admission::Refused(until);
        }
        self.probing = true;
        Admission::Probe
    }

    /// Until when nobody calls, if so.
    pub(super) fn refuses(&self, now: Timestamp) -> Option<Timestamp> {
        let (since, until) = self.open?;
        // A clock that was set back keeps nobody out for longer than was meant.
        let waits = now < until && now >= since;
        (waits || self.probing).then_some(until)
    }

    /// Takes in what a call showed.
    pub(super) fn settle(&mut self, admission: Admission, sign: Sign, why: Option<&str>, now: Timestamp, policy: &Policy) {
        if admission == Admission::Probe {
            self.probing = false;
        }
        match sign {
            Sign::None => {}
            Sign::Alive => *self = Self::default(),
            Sign::Failing => {
                self.failures = self.failures.saturating_add(1);
                self.last_error = why.map(|text| text.chars().take(300).collect());
                let many = policy.breaker_failures > 0 && self.failures >= policy.breaker_failures;
                if many || admission == Admission::Probe {
                    let time = Duration::from_secs(policy.breaker_open_seconds.into());
                    self.open = Some((now, now.plus(time)));
                }
            }
        }
    }

    pub(super) fn view(&self, now: Timestamp) -> BreakerView {
        let state = match self.open {
            None => BreakerState::Closed,
            Some((since, until)) if now < until && now >= since && !self.probing => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        };
        BreakerView {
            state,
            failures: self.failures,
            open_until: self.open.map(|(_, until)| until),
            last_error: self.last_error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + second * 1000)
    }

    fn policy() -> Policy {
        Policy { breaker_failures: 3, breaker_open_seconds: 30, ..Policy::default() }
    }

    fn fail(breaker: &mut Breaker, second: i64) -> Admission {
        let admission = breaker.admit(at(second), false);
        if !matches!(admission, Admission::Refused(_)) {
            breaker.settle(admission, Sign::Failing, Some("down"), at(second), &policy());
        }
        admission
    }

    #[test]
    fn it_opens_after_so_many_failures_in_a_row_and_one_call_tries_later() {
        let mut breaker = Breaker::default();
        assert_eq!((fail(&mut breaker, 0), fail(&mut breaker, 1)), (Admission::Pass, Admission::Pass));
        breaker.settle(Admission::Pass, Sign::Alive, None, at(1), &policy());
        for second in 2..5 {
            assert_eq!(fail(&mut breaker, second), Admission::Pass);
        }
        assert_eq!(fail(&mut breaker, 5), Admission::Refused(at(34)));
        assert_eq!(breaker.view(at(5)).state, BreakerState::Open);
        assert_eq!(breaker.admit(at(34), false), Admission::Probe);
        assert_eq!(breaker.admit(at(34), false), Admission::Refused(at(34)), "one alone");
        assert_eq!(breaker.view(at(34)).state, BreakerState::HalfOpen);
        breaker.settle(Admission::Probe, Sign::Failing, Some("down"), at(35), &policy());
        assert_eq!(breaker.admit(at(36), false), Admission::Refused(at(65)));
        assert_eq!(breaker.admit(at(65), false), Admission::Probe);
        breaker.settle(Admission::Probe, Sign::Alive, None, at(66), &policy());
        let view = breaker.view(at(66));
        assert_eq!((view.state, view.failures, view.last_error), (BreakerState::Closed, 0, None));
    }

    #[test]
    fn a_try_that_ends_in_nothing_lets_the_next_one_try() {
        let mut breaker = Breaker::default();
        for second in 0..3 {
            fail(&mut breaker, second);
        }
        assert_eq!(breaker.admit(at(40), false), Admission::Probe);
        breaker.settle(Admission::Probe, Sign::None, None, at(41), &policy());
        assert_eq!(breaker.admit(at(41), false), Admission::Probe);
        breaker.settle(Admission::Probe, Sign::None, None, at(41), &policy());
        assert_eq!(breaker.admit(at(3), true), Admission::Probe, "somebody asks by hand");
        breaker.settle(Admission::Probe, Sign::None, None, at(41), &policy());
        assert_eq!(breaker.admit(at(-900), false), Admission::Probe, "the clock was set back");
    }

    #[test]
    fn it_never_opens_where_that_is_switched_off() {
        let mut breaker = Breaker::default();
        let never = Policy { breaker_failures: 0, ..policy() };
        for second in 0..50 {
            assert_eq!(breaker.admit(at(second), false), Admission::Pass);
            breaker.settle(Admission::Pass, Sign::Failing, None, at(second), &never);
        }
        assert_eq!((breaker.view(at(50)).state, breaker.view(at(50)).failures), (BreakerState::Closed, 50));
    }
}
