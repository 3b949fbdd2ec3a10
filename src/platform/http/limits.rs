//! How many requests are taken per minute, by whom: token buckets.
//!
//! A bucket holds one minute's worth, so a burst passes and a flood does not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::base::clock::SharedClock;
use crate::base::problem::Problem;

/// Where somebody proves who they are: no guess is made faster than by the limit, and a session that is there
/// already counts for nothing.
pub fn is_sign_in(path: &str) -> bool {
    matches!(path, "/api/auth/login" | "/api/setup") || path.starts_with("/api/auth/oidc/")
        || matches!(path, "/api/auth/passkeys/challenge" | "/api/auth/passkeys/login")
}

/// Buckets that are kept; the fullest are forgotten first, which costs nobody anything.
const MAX_BUCKETS: usize = 50_000;

/// Requests per minute; 0 turns a limit off.
#[derive(Debug, Clone, Copy)]
pub struct Rates {
    /// Per account.
    pub account: u32,
    /// Per address, when nobody is signed in.
    pub address: u32,
    /// Per address, on sign-in, setup and one-time links.
    pub sign_in: u32,
    /// Per address, on inbound hooks.
    pub hooks: u32,
}

/// The buckets of this process.
#[derive(Debug)]
pub struct Limits {
    rates: Rates,
    clock: SharedClock,
    buckets: Mutex<HashMap<(Kind, String), Bucket>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Account,
    Address,
    SignIn,
    Hooks,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at_ms: i64,
}

impl Limits {
    /// Full buckets for everybody.
    pub fn new(rates: Rates, clock: SharedClock) -> Self {
        Self { rates, clock, buckets: Mutex::default() }
    }

    /// Takes one token for this request, or says when there will be one.
    pub fn check(&self, path: &str, account: Option<&str>, address: Option<IpAddr>) -> Result<(), Problem> {
        let from = address.map(|a| a.to_string()).unwrap_or_default();
        if is_sign_in(path) || path.starts_with("/api/links/") {
            self.take(Kind::SignIn, &from, self.rates.sign_in)?;
        } else if path.starts_with("/api/hooks/") {
            self.take(Kind::Hooks, &from, self.rates.hooks)?;
        }
        match account {
            Some(account) => self.take(Kind::Account, account, self.rates.account),
            None => self.take(Kind::Address, &from, self.rates.address),
        }
    }

    fn take(&self, kind: Kind, who: &str, per_minute: u32) -> Result<(), Problem> {
        if per_minute == 0 {
            return Ok(());
        }
        let full = f64::from(per_minute);
        let now = self.clock.now().as_millis();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, b| now - b.at_ms < 60_000);
        }
        let bucket = buckets.entry((kind, who.to_owned())).or_insert(Bucket { tokens: full, at_ms: now });
        let passed = (now - bucket.at_ms).max(0) as f64;
        bucket.tokens = (bucket.tokens + passed * full / 60_000.0).min(full);
        bucket.at_ms = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = ((1.0 - bucket.tokens) * 60.0 / full).ceil().max(1.0);
        Err(Problem::TooMany {
            detail: format!("More than {per_minute} requests in a minute. Wait a moment."),
            retry_after: wait as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::time::Timestamp;
    use crate::platform::clock::ManualClock;

    #[test]
    fn the_twenty_first_sign_in_of_a_minute_waits() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let rates = Rates { account: 1200, address: 200, sign_in: 20, hooks: 30 };
        let limits = Limits::new(rates, clock.clone());
        for _ in 0..20 {
            limits.check("/api/auth/login", None, None).expect("within the limit");
        }
        let refused = limits.check("/api/auth/login", None, None);
        assert!(matches!(refused, Err(Problem::TooMany { retry_after: 3, .. })), "{refused:?}");
        assert!(limits.check("/api/links/guess", None, None).is_err(), "links are guessed no faster");
        clock.advance(std::time::Duration::from_secs(3));
        limits.check("/api/auth/login", None, None).expect("a token came back");
    }
}
