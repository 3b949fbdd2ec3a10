//! The clock as a port: whoever needs the time is given one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::time::Timestamp;

/// A future that is ready at an instant.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Where time comes from. Production uses the system's, tests and `tenure demo` move their own.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Ready once [`Clock::now`] is at or past `at`, never earlier; except that a machine's clock which is
    /// set back meanwhile prolongs no sleep. Whoever acts on an instant looks at the clock again.
    fn sleep_until(&self, at: Timestamp) -> Sleep;

    /// Whether its time is that of a story that somebody tells: then nothing can be wrong with it.
    fn tells_a_story(&self) -> bool {
        false
    }

    /// How far [`Clock::now`] has left a clock that nobody sets, in milliseconds: more than zero when it runs
    /// ahead. Read it after the instant that it is to judge, never before: then whatever moved that instant
    /// is in it. A clock that is only moved on purpose says zero.
    fn drift_ms(&self) -> i64 {
        0
    }

    /// Takes a drift for right from now on: [`Clock::drift_ms`] counts from there.
    fn accept_drift(&self, _drift_ms: i64) {}
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;
