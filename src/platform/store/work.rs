//! A closure without its types: what carries it to a connection and back exists once in the binary, not once for each
//! of several hundred closures.

use std::sync::{Arc, Mutex, PoisonError};

use super::tx::Tx;
use crate::base::problem::Problem;

/// What runs in a transaction; it leaves its value in a [`Slot`].
pub(super) type Work = Box<dyn FnMut(&Tx<'_>) -> Result<(), Problem> + Send>;

/// Where the value of a [`Work`] is, once it ran.
pub(super) struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    /// The value that the last run left.
    pub(super) fn take(&self) -> Result<T, Problem> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Problem::internal("a closure was answered before it ran"))
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A closure that may run more than once: of several runs the last one counts.
pub(super) fn repeatable<T, F>(f: F) -> (Work, Slot<T>)
where
    T: Send + 'static,
    F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
{
    let slot = Slot::new();
    let into = slot.share();
    (Box::new(move |tx| f(tx).map(|value| into.put(value))), slot)
}

/// A closure that runs once.
pub(super) fn once<T, F>(f: F) -> (Work, Slot<T>)
where
    T: Send + 'static,
    F: FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
{
    let slot = Slot::new();
    let into = slot.share();
    let mut f = Some(f);
    let work = move |tx: &Tx<'_>| {
        let f = f.take().ok_or_else(|| Problem::internal("a read was run twice"))?;
        f(tx).map(|value| into.put(value))
    };
    (Box::new(work), slot)
}
