//! The queue of tests: runs due jobs when asked, on the caller's task, by the caller's clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ledger::{self, Ticket};
use super::port::{Condition, Drained, Known, Queue, QueueCounts, QueueFuture, Trouble};
use super::registry::Registry;
use super::relay::Relay;
use super::runner::{Outcome, Runner, Stop};
use super::schedule::Scheduler;
use super::{JobDraft, views};
use crate::base::clock::SharedClock;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Store;

/// Waiting jobs with their instants.
#[derive(Debug, Default)]
struct Waiting {
    jobs: Mutex<BTreeMap<JobId, Timestamp>>,
    paused: AtomicBool,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, Timestamp>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relay, scheduler and worker in one, moved by hand. Clones share everything.
#[derive(Clone)]
pub struct InlineQueue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    clock: SharedClock,
    waiting: Arc<Waiting>,
    relay: Relay,
    scheduler: Scheduler,
    runner: Runner,
}

impl InlineQueue {
    /// A queue over the ledger in `store`; takes over what a former process left.
    pub async fn start(store: Store, registry: Registry) -> Result<Self, Problem> {
        let clock = store.clock().clone();
        let stop = Stop::default();
        let waiting = Arc::new(Waiting::default());
        let scheduler =
            Scheduler::new(store.clone(), &registry, clock.clone(), stop.stopping.clone());
        let relay = Relay {
            store: store.clone(),
            queue: Arc::new(InlinePort { waiting: Arc::clone(&waiting), clock: clock.clone(), stop: stop.clone() }),
            registry: registry.clone(),
            clock: clock.clone(),
            stopping: stop.stopping.clone(),
            trouble: Trouble::default(),
        };
        store.write(ledger::recover).await?;
        relay.reconcile().await?;
        scheduler.forget_unknown().await?;
        let runner = Runner::new(store.clone(), registry, clock.clone(), stop);
        let queue = Self { inner: Arc::new(Inner { store, clock, waiting, relay, scheduler, runner }) };
        queue.inner.scheduler.tick().await?;
        Ok(queue)
    }

    /// Fires due slots and runs due jobs until nothing is due; answers how many attempts ran.
    pub async fn run_due(&self) -> Result<usize, Problem> {
        self.run_at_most(usize::MAX).await
    }

    /// The same, but stops after so many attempts: what never ends can be looked at in between.
    pub async fn run_at_most(&self, most: usize) -> Result<usize, Problem> {
        let mut attempts = 0;
        while attempts < most {
            self.inner.scheduler.tick().await?;
            self.inner.relay.hand_over_due().await?;
            let now = self.inner.clock.now();
            let next = {
                let waiting = self.inner.waiting.lock();
                waiting.iter().filter(|(_, at)| **at <= now).min_by_key(|(id, at)| (**at, (*id).clone()))
                    .map(|(id, _)| id.clone())
            };
            let paused = self.inner.waiting.paused.load(Ordering::Acquire);
            let Some(id) = next.filter(|_| !paused) else { break };
            self.attempt(&id).await?;
            attempts += 1;
        }
        Ok(attempts)
    }

    /// Holds all jobs back, or lets them go on.
    pub fn pause(&self, paused: bool) {
        self.inner.waiting.paused.store(paused, Ordering::Release);
    }

    /// Makes a job of this name with an empty payload and runs it, it alone, once.
    ///
    /// An attempt that fails is an error with the reason.
    pub async fn run_job(&self, name: &'static str) -> Result<(), Problem> {
        let id = self
            .inner
            .store
            .write(move |tx| {
                let id = ledger::enqueue(tx, JobDraft::now(name, serde_json::json!({})))?;
                ledger::hand_over_one(tx, &id)?;
                Ok(id)
            })
            .await?;
        self.attempt(&id).await?;
        let job = self.inner.store.read(move |tx| views::get_job(tx, &id)).await?;
        match job.failed_reason {
            Some(reason) => Err(Problem::refused(reason)),
            None => Ok(()),
        }
    }

    /// When the next thing happens: a slot, a held job, an attempt.
    pub async fn next_instant(&self) -> Result<Option<Timestamp>, Problem> {
        let slot = self.inner.scheduler.tick().await?;
        let held = self.inner.store.read(ledger::next_due).await?;
        let waiting = self.inner.waiting.lock().values().min().copied();
        Ok([slot, held, waiting].into_iter().flatten().min())
    }

    async fn attempt(&self, id: &JobId) -> Result<(), Problem> {
        self.inner.waiting.lock().remove(id);
        match self.inner.runner.attempt(id).await {
            Outcome::Over => {}
            Outcome::Again(at) => {
                self.inner.waiting.lock().insert(id.clone(), at);
            }
            Outcome::Released => {
                self.inner.waiting.lock().insert(id.clone(), self.inner.clock.now());
            }
            Outcome::Snoozed(claim) => {
                self.inner.store.write(move |tx| ledger::release(tx, &claim)).await?;
            }
        }
        Ok(())
    }
}

/// The port's side of it.
struct InlinePort {
    waiting: Arc<Waiting>,
    clock: SharedClock,
    stop: Stop,
}

impl Queue for InlinePort {
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()> {
        self.waiting.lock().extend(tickets.into_iter().map(|t| (t.id, t.run_at)));
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, id: JobId) -> QueueFuture<'_, bool> {
        let removed = self.waiting.lock().remove(&id).is_some();
        Box::pin(std::future::ready(Ok(removed)))
    }

    fn list_known(&self) -> QueueFuture<'_, Vec<Known>> {
        let known = |(id, at): (&JobId, &Timestamp)| Known { id: id.to_string(), not_before: Some(*at) };
        let known = self.waiting.lock().iter().map(known).collect();
        Box::pin(std::future::ready(Ok(known)))
    }

    fn pause(&self, paused: bool) -> QueueFuture<'_, ()> {
        self.waiting.paused.store(paused, Ordering::Release);
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_paused(&self) -> QueueFuture<'_, bool> {
        Box::pin(std::future::ready(Ok(self.waiting.paused.load(Ordering::Acquire))))
    }

    fn counts(&self) -> QueueFuture<'_, QueueCounts> {
        let now = self.clock.now();
        let waiting = self.waiting.lock();
        let due = waiting.values().filter(|at| **at <= now).count() as u64;
        let counts = QueueCounts { waiting: due, delayed: waiting.len() as u64 - due, active: 0 };
        Box::pin(std::future::ready(Ok(counts)))
    }

    fn drain(&self, _: Timestamp) -> QueueFuture<'_, Drained> {
        self.stop.stopping.cancel();
        Box::pin(std::future::ready(Ok(Drained::default())))
    }

    fn condition(&self) -> Condition {
        Condition::ok()
    }
}
