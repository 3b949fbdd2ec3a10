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
}

/// A clock that many parts share.
pub type SharedClock = Arc<dyn Clock>;
