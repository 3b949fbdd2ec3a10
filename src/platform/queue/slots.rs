//! The slots of the worker: how many jobs run at once, and how many of those may call out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// After the cut, how long what is left of an attempt may take to let go.
const LET_GO: Duration = Duration::from_secs(2);

/// Free slots: of all, and of those that jobs which call out may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Free {
    pub(super) all: u32,
    pub(super) calling: u32,
}

impl Free {
    pub(super) const NONE: Self = Self { all: 0, calling: 0 };
}

/// The slots of the worker. Jobs that call out get three quarters, at least one.
pub(super) struct Slots {
    limit: Free,
    taken: Arc<Taken>,
}

struct Taken {
    now: Mutex<Busy>,
    wake: Arc<Notify>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Busy {
    all: u32,
    calling: u32,
    released: u64,
}

/// A taken slot; free again when it is dropped.
pub(super) struct Slot {
    taken: Arc<Taken>,
    calls_out: bool,
}

impl Slots {
    pub(super) fn new(concurrency: u32, wake: Arc<Notify>) -> Self {
        let all = concurrency.max(1);
        let taken =
            Taken { now: Mutex::new(Busy::default()), wake, changed: Notify::new() };
        Self { limit: Free { all, calling: (all * 3 / 4).max(1) }, taken: Arc::new(taken) }
    }

    pub(super) fn free(&self) -> Free {
        let busy = lock(&self.taken.now);
        let all = self.limit.all.saturating_sub(busy.all);
        Free { all, calling: self.limit.calling.saturating_sub(busy.calling).min(all) }
    }

    pub(super) fn take(&self, calls_out: bool) -> Slot {
        let mut busy = lock(&self.taken.now);
        busy.all += 1;
        busy.calling += u32::from(calls_out);
        Slot { taken: Arc::clone(&self.taken), calls_out }
    }

    pub(super) fn count_released(&self) {
        lock(&self.taken.now).released += 1;
    }

    pub(super) fn released(&self) -> u64 {
        lock(&self.taken.now).released
    }

    /// Ready when no slot is taken.
    pub(super) async fn idle(&self) {
        loop {
            let changed = self.taken.changed.notified();
            if lock(&self.taken.now).all == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut busy = lock(&self.taken.now);
            busy.all -= 1;
            busy.calling -= u32::from(self.calls_out);
        }
        self.taken.wake.notify_one();
        self.taken.changed.notify_waiters();
    }
}

/// Waits a last moment for attempts that were cut.
#[allow(clippy::disallowed_methods, reason = "the last moments of the process, not a rule's time")]
pub(super) async fn let_go(idle: impl Future<Output = ()>) -> Result<(), tokio::time::error::Elapsed> {
    tokio::time::timeout(LET_GO, idle).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
