//! The queue without its ledger, for `benches/queue`: what the port does by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::apalis::{ApalisQueue, Setup};
use super::ledger::Ticket;
use super::port::{Drained, Queue};
use super::runner::{Attempt, Attempts, Outcome, Stop};
use crate::base::id::{JobId, SharedIds, TypedId};
use crate::base::problem::Problem;
use crate::platform::store::Store;

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

/// The embedded queue with a handler that does nothing.
pub struct PortAlone {
    queue: ApalisQueue,
    store: Store,
    ids: SharedIds,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    attempts: AtomicU64,
    changed: Notify,
}

impl Attempts for Ended {
    fn attempt<'a>(&'a self, _: &'a JobId) -> Attempt<'a> {
        Box::pin(async {
            self.attempts.fetch_add(1, Ordering::AcqRel);
            self.changed.notify_waiters();
            Outcome::Over
        })
    }
}

impl std::fmt::Debug for PortAlone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortAlone").field("store", &self.store).finish_non_exhaustive()
    }
}

impl PortAlone {
    /// Prepares `store` as `queue.db`, beside a `ledger` that stays empty. Nothing runs yet.
    pub async fn open(
        store: Store,
        ledger: Store,
        ids: SharedIds,
        concurrency: u32,
    ) -> Result<Self, Problem> {
        let ended = Arc::new(Ended::default());
        let queue = ApalisQueue::open(Setup {
            store: store.clone(),
            ledger,
            runner: Arc::clone(&ended) as Arc<dyn Attempts>,
            clock: store.clock().clone(),
            stop: Stop::default(),
            concurrency,
        })
        .await?;
        Ok(Self { queue, store, ids, ended })
    }

    /// Puts `jobs` jobs in that are due now, in one call.
    pub async fn add(&self, jobs: usize) -> Result<(), Problem> {
        let now = self.store.clock().now();
        let ticket = |_| Ticket {
            id: JobId::generate(now, self.ids.as_ref()),
            run_at: now,
            calls_out: false,
            name: "probe".to_owned(),
            payload: "{}".to_owned(),
            created_at: now,
            attempts_made: 0,
            fence: 0,
            foreign_id: None,
        };
        self.queue.add((0..jobs).map(ticket).collect()).await
    }

    /// Starts to work them off.
    pub fn run(&self) {
        self.queue.run();
    }

    /// Ready when `attempts` attempts ended.
    pub async fn until_ended(&self, attempts: u64) {
        loop {
            let changed = self.ended.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.ended.attempts.load(Ordering::Acquire) >= attempts {
                return;
            }
            changed.await;
        }
    }

    /// Ready when nothing runs and the queue knows it.
    pub async fn drain(&self) -> Result<Drained, Problem> {
        self.queue.drain(self.store.clock().now().plus(DRAIN)).await
    }
}
