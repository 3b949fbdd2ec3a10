//! How fast guesses are made: whoever fails again and again waits longer each time.
//!
//! # Invariants
//! - Failures count for an address and the account that was typed, together: whoever guesses from elsewhere keeps
//!   nobody from signing in where they are.
//! - Accounts that do not exist are counted like those that do.
//! - An attempt counts before it is looked at, so that many at once are many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 5;
/// The first wait; each failure after it doubles it.
const FIRST: Duration = Duration::from_secs(2);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Failures are forgotten this long after the last one.
const MEMORY: Duration = Duration::from_secs(3600);
/// Wrong codes after the right password that cost nothing, wherever they come from.
const FREE_CODES: u32 = 30;
/// Entries that are kept.
const MOST: usize = 50_000;

/// Who guesses at what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guess {
    /// At the password of the account with this address, from there.
    Password(String, String),
    /// At the code of an account, from there.
    Code(String, String),
    /// At the code of an account, from anywhere: whoever does has the password.
    AnyCode(String),
}

impl Guess {
    /// At the password of whoever has this address; upper and lower case are the same.
    pub fn password(email: &str, address: Option<&str>) -> Self {
        Self::Password(email.trim().to_lowercase().chars().take(254).collect(), place(address))
    }

    /// At the code of an account.
    pub fn code(account: &str, address: Option<&str>) -> Self {
        Self::Code(account.to_owned(), place(address))
    }

    fn free(&self) -> u32 {
        match self {
            Self::Password(..) | Self::Code(..) => FREE,
            Self::AnyCode(_) => FREE_CODES,
        }
    }
}

/// An address; of IPv6 the network that one customer has, as each of them has very many addresses.
fn place(address: Option<&str>) -> String {
    match address.and_then(|a| a.parse().ok()) {
        Some(IpAddr::V6(a)) if a.to_ipv4_mapped().is_none() => format!("{:x?}", &a.segments()[..4]),
        Some(other) => other.to_canonical().to_string(),
        None => String::new(),
    }
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Timestamp,
}

/// The failures of this process.
#[derive(Debug, Default)]
pub struct Throttle {
    failed: Mutex<HashMap<Guess, Failures>>,
}

impl Throttle {
    /// Lets a guess be made, and counts it as one that failed until [`Throttle::forget`]; or says when there may be one.
    pub fn begin(&self, guess: Guess, now: Timestamp) -> Result<(), Problem> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.len() >= MOST {
            // What is over goes first; if that is not enough, those who hardly failed.
            failed.retain(|_, f| now < f.last.plus(MEMORY));
            if failed.len() >= MOST {
                failed.retain(|guess, f| f.count > guess.free());
            }
        }
        let free = guess.free();
        let known = failed.get(&guess).copied().filter(|f| now < f.last.plus(MEMORY));
        let before = known.map_or(0, |f| f.count);
        if let Some(f) = known.filter(|f| f.count >= free) {
            let ready = f.last.plus(wait(f.count - free));
            if now < ready {
                let seconds = ready.since(now).as_secs_f64().ceil().max(1.0);
                return Err(Problem::TooMany {
                    detail: "There were too many failed attempts from where you are. Wait before you try again.".to_owned(),
                    retry_after: seconds as u32,
                });
            }
        }
        failed.insert(guess, Failures { count: before.saturating_add(1), last: now });
        Ok(())
    }

    /// Forgets the failures of somebody who succeeded.
    pub fn forget(&self, guess: &Guess) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(guess);
    }
}

/// How long after the `over`th failure that costs something.
fn wait(over: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(over)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(0).plus(Duration::from_secs(seconds))
    }

    fn wait_of(answer: Result<(), Problem>) -> u32 {
        match answer {
            Err(Problem::TooMany { retry_after, .. }) => retry_after,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_failure_after_the_fifth_doubles_the_wait_up_to_a_quarter_of_an_hour() {
        let throttle = Throttle::default();
        let guess = || Guess::password("Ada@example.org", Some("192.0.2.1"));
        let mut now = 0;
        for _ in 0..FREE {
            throttle.begin(guess(), at(now)).expect("mistyped");
        }
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(wait_of(throttle.begin(guess(), at(now))), expected);
            now += u64::from(expected);
            throttle.begin(guess(), at(now)).expect("waited");
        }
        // Asking again does not prolong it; success ends it, and so does an hour.
        assert_eq!(wait_of(throttle.begin(guess(), at(now + 899))), 1);
        throttle.begin(guess(), at(now + 3600)).expect("forgotten");
        for _ in 0..20 {
            throttle.begin(guess(), at(now + 3600)).ok();
        }
        throttle.forget(&guess());
        throttle.begin(guess(), at(now + 3600)).expect("succeeded before");
    }

    #[test]
    fn who_guesses_from_elsewhere_keeps_nobody_out() {
        let throttle = Throttle::default();
        for _ in 0..20 {
            throttle.begin(Guess::password("ada@example.org", Some("192.0.2.1")), at(0)).ok();
            throttle.begin(Guess::password("ada@example.org", Some("2001:db8:1:2::1")), at(0)).ok();
        }
        throttle.begin(Guess::password("ada@example.org", Some("192.0.2.2")), at(0)).expect("elsewhere");
        throttle.begin(Guess::password("bo@example.org", Some("192.0.2.1")), at(0)).expect("somebody else");
        // The same, however they write it.
        for (email, address) in [(" ADA@Example.org", "192.0.2.1"), ("ada@example.org", "::ffff:192.0.2.1"), ("ada@example.org", "2001:db8:1:2:ff::9")] {
            wait_of(throttle.begin(Guess::password(email, Some(address)), at(0)));
        }
    }

    #[test]
    fn very_many_accounts_do_not_fill_the_memory() {
        let throttle = Throttle::default();
        for n in 0..=MOST {
            throttle.begin(Guess::password(&n.to_string(), None), at(0)).expect("the first");
        }
        assert!(throttle.failed.lock().expect("nobody panicked").len() <= MOST);
    }
}
