//! The embedded queue: an apalis worker over apalis-sqlite's tables in `queue.db`.
//!
//! The tables are made by apalis-sqlite's own migrations; a row of `Jobs` carries the ledger's job id
//! and an instant. The worker is apalis', its [`Backend`] ours: apalis-sqlite's own backend writes an
//! acknowledgement only when something else wakes it, claims more than it has slots for, ends at the
//! first database error, and runs a failed job again at once. Here a claim takes as many jobs as slots
//! are free, and everything goes through the one writer of `queue.db`, which commits in groups.
//!
//! # Invariants
//! - A row that is over is deleted after the ledger recorded the end, never before.
//! - No more is claimed than slots are free; what is claimed is given out at once.

use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::context::WorkerContext;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use apalis_sqlite::SqliteStorage;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Notify, mpsc};
use tower::layer::util::Identity;

use super::control;
use super::ledger::{self, Ticket, ulid_of};
use super::port::{Condition, Drained, Queue, QueueCounts, QueueFuture, Trouble};
use super::queue_db::{self, Settle};
use super::runner::{Outcome, PAUSE, Runner, Stop};
use super::slots::{Slot, Slots, let_go};
use crate::base::clock::SharedClock;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Store;

/// The queue on `queue.db`. Clones share it.
#[derive(Clone)]
pub(super) struct ApalisQueue {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    ledger: Store,
    runner: Runner,
    clock: SharedClock,
    stop: Stop,
    worker: String,
    slots: Slots,
    wake: Arc<Notify>,
    sender: Mutex<Option<mpsc::UnboundedSender<Claimed>>>,
    receiver: Receiver,
    strays: Strays,
    trouble: Trouble,
    dead: Mutex<Option<String>>,
    paused: AtomicBool,
}

type Receiver = Arc<Mutex<mpsc::UnboundedReceiver<Claimed>>>;

/// What the queue is made of.
pub(super) struct Setup {
    pub(super) store: Store,
    pub(super) ledger: Store,
    pub(super) runner: Runner,
    pub(super) clock: SharedClock,
    pub(super) stop: Stop,
    pub(super) concurrency: u32,
}

impl ApalisQueue {
    /// Prepares the tables and takes over what former boots held. Nothing runs yet.
    pub(super) async fn open(setup: Setup) -> Result<Self, Problem> {
        prepare_tables(setup.store.path()).await?;
        let boot = setup.store.write(|tx| Ok(format!("{:016x}", tx.random() as u64))).await?;
        let worker = format!("tenure:{boot}");
        let name = worker.clone();
        setup.store.write(move |tx| queue_db::take_over(tx, &name)).await?;
        let paused = setup.ledger.read(control::is_paused).await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let wake = Arc::new(Notify::new());
        Ok(Self {
            inner: Arc::new(Inner {
                store: setup.store,
                ledger: setup.ledger,
                runner: setup.runner,
                clock: setup.clock,
                stop: setup.stop,
                worker,
                slots: Slots::new(setup.concurrency, Arc::clone(&wake)),
                wake,
                sender: Mutex::new(Some(sender)),
                receiver: Arc::new(Mutex::new(receiver)),
                strays: Strays::default(),
                trouble: Trouble::default(),
                dead: Mutex::new(None),
                paused: AtomicBool::new(paused),
            }),
        })
    }

    /// Starts claiming and working.
    pub(super) fn run(&self) {
        let claimer = self.clone();
        tokio::spawn(async move { claimer.claim_until_stopped().await });
        let supervisor = self.clone();
        tokio::spawn(async move { supervisor.supervise().await });
    }

    /// Keeps an apalis worker running until the channel closes.
    async fn supervise(&self) {
        let mut starts = 0_u32;
        loop {
            starts += 1;
            let queue = self.clone();
            let worker = WorkerBuilder::new(format!("{}:{starts}", self.inner.worker))
                .backend(Claims { receiver: Arc::clone(&self.inner.receiver), given: 0 })
                .parallelize(tokio::spawn)
                .build(move |claimed: Claimed| {
                    let queue = queue.clone();
                    async move { queue.work(claimed).await }
                });
            let ended = tokio::spawn(worker.run()).await;
            if lock(&self.inner.sender).is_none() {
                return;
            }
            let why = match ended {
                Ok(Ok(())) => "it stopped by itself".to_owned(),
                Ok(Err(e)) => e.to_string(),
                Err(e) => e.to_string(),
            };
            tracing::error!(why, "the worker of the job queue ended; it is started again");
            *lock(&self.inner.dead) = Some(format!("The worker ended and is started again: {why}"));
            self.inner.clock.sleep_until(self.inner.clock.now().plus(PAUSE)).await;
            *lock(&self.inner.dead) = None;
        }
    }

    async fn claim_until_stopped(&self) {
        let inner = &self.inner;
        while !inner.stop.stopping.is_cancelled() {
            let wake_at = match self.claim().await {
                Ok(Next::More) => continue,
                Ok(Next::At(at)) => {
                    inner.trouble.clear();
                    at
                }
                Err(problem) => {
                    tracing::warn!(?problem, "due jobs could not be claimed; trying again");
                    let now = inner.clock.now();
                    inner.trouble.note(now, format!("Due jobs cannot be claimed: {problem}"));
                    Some(now.plus(PAUSE))
                }
            };
            let sleep = async {
                match wake_at {
                    Some(at) => inner.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = inner.stop.stopping.cancelled() => return,
                () = inner.wake.notified() => {}
                () = sleep => {}
            }
        }
    }

    /// Claims as many due jobs as slots are free and gives them to the worker.
    async fn claim(&self) -> Result<Next, Problem> {
        let inner = &self.inner;
        let strays = std::mem::take(&mut *lock(&inner.strays));
        for id in strays {
            self.settle(ulid_of(&id), Settle::Release).await;
        }
        let free = inner.slots.free();
        if free.all == 0 || inner.paused.load(Ordering::Acquire) {
            return Ok(Next::At(None));
        }
        let (due, now) = inner.store.read(move |tx| Ok((queue_db::next_due(tx, free)?, tx.now()))).await?;
        if due.is_none_or(|at| at > now) {
            return Ok(Next::At(due));
        }
        let worker = inner.worker.clone();
        let claimed = inner.store.write(move |tx| queue_db::claim(tx, &worker, free)).await?;
        for (id, calls_out) in claimed {
            let slot = inner.slots.take(calls_out);
            // Closed only when the drain is over; the row is then freed by the next start.
            if let Some(sender) = &*lock(&inner.sender) {
                let strays = Arc::clone(&inner.strays);
                let _ = sender.send(Claimed { id, worked: false, strays, _slot: slot });
            }
        }
        Ok(Next::More)
    }

    async fn work(&self, mut claimed: Claimed) {
        let inner = &self.inner;
        let outcome = inner.runner.attempt(&claimed.id).await;
        let released = matches!(outcome, Outcome::Released);
        let ulid = ulid_of(&claimed.id);
        match outcome {
            Outcome::Over => self.settle(ulid, Settle::Forget).await,
            Outcome::Again(at) => self.settle(ulid, Settle::Again(queue_db::seconds_up(at))).await,
            Outcome::Released => self.settle(ulid, Settle::Release).await,
            Outcome::Snoozed(claim) => {
                self.settle(ulid, Settle::Forget).await;
                loop {
                    let claim = claim.clone();
                    let done =
                        inner.ledger.write_in_background(move |tx| ledger::release(tx, &claim)).await;
                    match done {
                        Err(problem) if !inner.stop.cut.is_cancelled() => {
                            tracing::warn!(?problem, "a snoozed job is not released yet");
                            inner.clock.sleep_until(inner.clock.now().plus(PAUSE)).await;
                        }
                        _ => break,
                    }
                }
            }
        }
        if released {
            inner.slots.count_released();
        }
        claimed.worked = true;
    }

    /// Records in `queue.db` what the ledger knows already; a failure is mended by the next start or
    /// by the relay.
    async fn settle(&self, ulid: String, what: Settle) {
        let inner = &self.inner;
        loop {
            let (ulid, worker) = (ulid.clone(), inner.worker.clone());
            match inner.store.write(move |tx| queue_db::settle(tx, &ulid, &worker, what)).await {
                Ok(()) => return,
                Err(problem) if inner.stop.cut.is_cancelled() => {
                    tracing::warn!(?problem, "queue.db was not told how an attempt ended");
                    return;
                }
                Err(problem) => {
                    tracing::warn!(?problem, "queue.db could not be told yet how an attempt ended");
                    inner.clock.sleep_until(inner.clock.now().plus(PAUSE)).await;
                }
            }
        }
    }

    async fn drain_until(&self, deadline: Timestamp) -> Drained {
        let inner = &self.inner;
        inner.stop.stopping.cancel();
        tokio::select! {
            biased;
            () = inner.slots.idle() => {}
            () = inner.clock.sleep_until(deadline) => {
                inner.stop.cut.cancel();
                let _ = let_go(inner.slots.idle()).await;
            }
        }
        inner.stop.cut.cancel();
        *lock(&inner.sender) = None;
        Drained { released: inner.slots.released() }
    }
}

impl Queue for ApalisQueue {
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            if tickets.is_empty() {
                return Ok(());
            }
            let tickets = Arc::new(tickets);
            self.inner.store.write(move |tx| tickets.iter().try_for_each(|t| queue_db::add(tx, t))).await?;
            self.inner.wake.notify_one();
            Ok(())
        })
    }

    fn remove(&self, id: JobId) -> QueueFuture<'_, bool> {
        Box::pin(self.inner.store.write(move |tx| queue_db::remove(tx, &id)))
    }

    fn list_known(&self) -> QueueFuture<'_, Vec<String>> {
        Box::pin(self.inner.store.read(queue_db::list_known))
    }

    fn pause(&self, paused: bool) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            self.inner.ledger.write(move |tx| control::set_paused(tx, paused)).await?;
            self.inner.paused.store(paused, Ordering::Release);
            self.inner.wake.notify_one();
            Ok(())
        })
    }

    fn is_paused(&self) -> QueueFuture<'_, bool> {
        Box::pin(std::future::ready(Ok(self.inner.paused.load(Ordering::Acquire))))
    }

    fn counts(&self) -> QueueFuture<'_, QueueCounts> {
        Box::pin(self.inner.store.read(queue_db::counts))
    }

    fn drain(&self, deadline: Timestamp) -> QueueFuture<'_, Drained> {
        Box::pin(async move { Ok(self.drain_until(deadline).await) })
    }

    fn condition(&self) -> Condition {
        match &*lock(&self.inner.dead) {
            Some(why) => Condition::down(why),
            None => self.inner.trouble.condition(self.inner.clock.now()),
        }
    }
}

/// Lets apalis-sqlite make its tables, over a connection of its own that is closed again.
///
/// Its `setup()` would set `synchronous=OFF`, so only its migrations run. The file exists already,
/// with our page layout. The index `LIdx` makes every acknowledgement walk all rows of a worker.
pub(super) async fn prepare_tables(path: &Path) -> Result<(), Problem> {
    let failed = |e: String| Problem::internal(format!("preparing {}: {e}", path.display()));
    let mut conn = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .connect()
        .await
        .map_err(|e| failed(e.to_string()))?;
    SqliteStorage::migrations().run(&mut conn).await.map_err(|e| failed(e.to_string()))?;
    sqlx::query("DROP INDEX IF EXISTS LIdx")
        .execute(&mut conn)
        .await
        .map_err(|e| failed(e.to_string()))?;
    conn.close().await.map_err(|e| failed(e.to_string()))
}

/// What the claimer does next.
enum Next {
    /// Look again at once: there may be more.
    More,
    /// Sleep until then, or until something changes.
    At(Option<Timestamp>),
}

/// A job that this process has locked, with the slot it runs in.
struct Claimed {
    id: JobId,
    worked: bool,
    strays: Strays,
    /// Dropped last, so that the claimer it wakes finds the stray.
    _slot: Slot,
}

/// Jobs that the worker dropped before it came to them.
type Strays = Arc<Mutex<Vec<JobId>>>;

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.worked {
            lock(&self.strays).push(self.id.clone());
        }
    }
}

/// Our claims as a source of tasks for apalis' worker.
struct Claims {
    receiver: Receiver,
    /// Apalis panics on a second task with the id of one that it has not cleared away yet, which a
    /// quick second attempt would be: its task ids count the claims of this worker.
    given: u64,
}

impl Backend for Claims {
    type Task = Task<Claimed>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        let Poll::Ready(claimed) = lock(&self.receiver).poll_recv(cx) else { return Poll::Pending };
        self.given += 1;
        let id = TaskId::from_int(self.given);
        Poll::Ready(claimed.map(|claimed| Ok(TaskBuilder::new(claimed).task_id(id).build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Claims {
    type Args = Claimed;
    type Id = ();
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
