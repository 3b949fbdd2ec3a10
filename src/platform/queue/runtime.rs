//! Everything about background jobs that runs in a server process, started and drained as one.

use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use super::apalis::{self, ApalisQueue, Setup};
use super::bullmq::{self, BullQueue};
use super::{control, ledger, queue_db};
use super::port::{Condition, Drained, Queue, QueueCounts, Trouble};
use super::registry::Registry;
use super::relay::Relay;
use super::runner::{Runner, Stop};
use super::schedule::Scheduler;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::redis::{Owner, Redis};
use crate::platform::store::Store;

/// What the runtime needs.
#[derive(Debug)]
pub struct Parts {
    /// `tenure.db`, where the ledger is; its clock is the clock of due instants, retries and slots.
    pub store: Store,
    /// `queue.db`, opened with the same clock.
    pub queue_store: Store,
    /// Every handler.
    pub registry: Registry,
    /// Jobs that run at the same time, 1 to 256.
    pub concurrency: u32,
    /// Full-spec mode: the queue is in Redis, and `queue_store` is emptied of jobs.
    pub redis: Option<Redis>,
}

/// How worker and scheduler are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueHealth {
    /// Handing over, claiming, running.
    pub worker: Condition,
    /// Making the jobs of schedules.
    pub scheduler: Condition,
}

/// The relay, the scheduler and the embedded queue of one process.
pub struct QueueRuntime {
    queue: Arc<dyn Queue>,
    relay: Arc<Relay>,
    scheduler: Arc<Scheduler>,
    stop: Stop,
    relay_task: Mutex<Option<JoinHandle<()>>>,
    scheduler_task: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for QueueRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueRuntime").field("health", &self.health()).finish_non_exhaustive()
    }
}

impl QueueRuntime {
    /// Takes over what a former process left, then starts all parts.
    ///
    /// To be called once per process, inside a tokio runtime, by the owner of the data directory.
    pub async fn start(parts: Parts) -> Result<Self, Problem> {
        let Parts { store, queue_store, registry, concurrency, redis } = parts;
        let clock = store.clock().clone();
        let stop = Stop::default();
        let runner = Runner::new(store.clone(), registry.clone(), clock.clone(), stop.clone());
        let backend = match redis {
            // Taken before anything is counted: a queue that somebody else owns is left alone.
            Some(redis) => Backend::Redis(
                BullQueue::open(bullmq::Setup {
                    redis,
                    owner: owner(&store).await?,
                    ledger: store.clone(),
                    runner,
                    registry: registry.clone(),
                    clock: clock.clone(),
                    stop: stop.clone(),
                    concurrency,
                })
                .await?,
            ),
            None => Backend::Embedded(
                ApalisQueue::open(Setup {
                    store: queue_store.clone(),
                    ledger: store.clone(),
                    runner: Arc::new(runner),
                    clock: clock.clone(),
                    stop: stop.clone(),
                    concurrency,
                })
                .await?,
            ),
        };
        if let Backend::Redis(_) = &backend {
            forget_embedded(&queue_store).await?;
        }
        let recovered = store.write(ledger::recover).await?;
        if recovered != ledger::Recovered::default() {
            tracing::warn!(
                again = recovered.again,
                failed = recovered.failed,
                "jobs were running when the former process ended"
            );
        }
        let port = backend.port();
        let stopping = stop.stopping.clone();
        let relay = Arc::new(Relay {
            store: store.clone(),
            queue: Arc::clone(&port),
            registry: registry.clone(),
            clock: clock.clone(),
            stopping: stopping.clone(),
            trouble: Trouble::default(),
        });
        let scheduler = Arc::new(Scheduler::new(store, &registry, clock, stopping));
        scheduler.forget_unknown().await?;
        relay.reconcile().await?;
        relay.trim().await?;
        backend.run();
        let relay_task = {
            let relay = Arc::clone(&relay);
            tokio::spawn(async move { relay.run().await })
        };
        let scheduler_task = {
            let scheduler = Arc::clone(&scheduler);
            tokio::spawn(async move { scheduler.run().await })
        };
        Ok(Self {
            queue: port,
            relay,
            scheduler,
            stop,
            relay_task: Mutex::new(Some(relay_task)),
            scheduler_task: Mutex::new(Some(scheduler_task)),
        })
    }

    /// Holds all jobs back until [`QueueRuntime::resume`], over restarts too. What runs goes on; the
    /// scheduler goes on making jobs. In Redis it is BullMQ's pause, and holds other workers, too.
    pub async fn pause(&self) -> Result<(), Problem> {
        self.queue.pause(true).await
    }

    /// Lets jobs go on.
    pub async fn resume(&self) -> Result<(), Problem> {
        self.queue.pause(false).await
    }

    /// Whether jobs are held back.
    pub async fn is_paused(&self) -> Result<bool, Problem> {
        self.queue.is_paused().await
    }

    /// What the queue itself holds; the job list reads the ledger instead.
    pub async fn counts(&self) -> Result<QueueCounts, Problem> {
        self.queue.counts().await
    }

    /// How worker and scheduler are, without waiting for anything.
    pub fn health(&self) -> QueueHealth {
        let relay = alive(&self.relay_task, "The relay", || self.relay.condition());
        let worker = if relay.ok { self.queue.condition() } else { relay };
        let scheduler = alive(&self.scheduler_task, "The scheduler", || self.scheduler.condition());
        QueueHealth { worker, scheduler }
    }

    /// Starts nothing more, waits for running jobs until `deadline`; what does not finish is released
    /// to `waiting` without counting an attempt. The stores may be closed after it.
    pub async fn drain(&self, deadline: Timestamp) -> Drained {
        self.stop.stopping.cancel();
        for task in [&self.relay_task, &self.scheduler_task] {
            let task = task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            if let Some(task) = task {
                // It ends by itself; a panic in it was reported by `health`.
                let _ = task.await;
            }
        }
        self.queue.drain(deadline).await.unwrap_or_default()
    }
}

/// The queue that was picked.
enum Backend {
    Embedded(ApalisQueue),
    Redis(BullQueue),
}

impl Backend {
    fn port(&self) -> Arc<dyn Queue> {
        match self {
            Self::Embedded(queue) => Arc::new(queue.clone()),
            Self::Redis(queue) => Arc::new(queue.clone()),
        }
    }

    fn run(&self) {
        match self {
            Self::Embedded(queue) => queue.run(),
            Self::Redis(queue) => queue.run(),
        }
    }
}

/// Who we are to a Redis that others may use.
async fn owner(store: &Store) -> Result<Owner, Problem> {
    let folder = store.path().parent().unwrap_or(store.path());
    let data_dir = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let (instance, boot) =
        store.write(|tx| Ok((control::instance(tx)?, format!("{:016x}", tx.random() as u64)))).await?;
    Ok(Owner {
        instance,
        boot,
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        data_dir: data_dir.display().to_string(),
        pid: std::process::id(),
    })
}

/// The jobs are in Redis now; what `queue.db` still holds would run twice after a switch back.
async fn forget_embedded(queue_store: &Store) -> Result<(), Problem> {
    apalis::prepare_tables(queue_store.path()).await?;
    let forgotten = queue_store.write(queue_db::clear).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "jobs of the embedded queue are carried by Redis now");
    }
    Ok(())
}

fn alive(
    task: &Mutex<Option<JoinHandle<()>>>,
    what: &str,
    condition: impl FnOnce() -> Condition,
) -> Condition {
    match &*task.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
        None => Condition::down(format!("{what} is draining.")),
        Some(task) if task.is_finished() => {
            Condition::down(format!("{what} ended unexpectedly; restart Tenure."))
        }
        Some(_) => condition(),
    }
}
