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
//! - `run_at` counts whole seconds and is rounded up for retries: late by less than a second, never
//!   early.
//! - A row that is locked is being run by this process: at start all locks are those of former boots.

use std::convert::Infallible;
use std::path::Path;
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

use super::ledger::{self, Ticket, id_of_ulid, ulid_of};
use super::names::QUEUE;
use super::port::{Condition, Drained, Queue, QueueCounts, QueueFuture};
use super::retry::MAX_ATTEMPTS;
use super::runner::{Outcome, PAUSE, Runner, Stop};
use crate::base::clock::SharedClock;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Store, Tx};

/// `priority` of a job that stays inside Tenure, and of one that calls out: the two are claimed
/// apart, each by the index that apalis-sqlite keeps for claims.
const INSIDE: i64 = 1;
const CALLS_OUT: i64 = 0;
/// After the cut, how long what is left of an attempt may take to let go.
const LET_GO: Duration = Duration::from_secs(2);

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
    fault: Mutex<Option<String>>,
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
        setup.store.write(move |tx| take_over(tx, &name)).await?;
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
                fault: Mutex::new(None),
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
            self.set_fault(Some(format!("The worker ended and is started again: {why}")));
            self.inner.clock.sleep_until(self.inner.clock.now().plus(PAUSE)).await;
            self.set_fault(None);
        }
    }

    async fn claim_until_stopped(&self) {
        let inner = &self.inner;
        while !inner.stop.stopping.is_cancelled() {
            let wake_at = match self.claim().await {
                Ok(Next::More) => continue,
                Ok(Next::At(at)) => {
                    self.set_fault(None);
                    at
                }
                Err(problem) => {
                    tracing::warn!(?problem, "due jobs could not be claimed; trying again");
                    self.set_fault(Some(format!("Due jobs cannot be claimed: {problem}")));
                    Some(inner.clock.now().plus(PAUSE))
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
        let free = inner.slots.free();
        if free.all == 0 {
            return Ok(Next::At(None));
        }
        let (due, now) = inner.store.read(move |tx| Ok((next_due(tx, free)?, tx.now()))).await?;
        if due.is_none_or(|at| at > now) {
            return Ok(Next::At(due));
        }
        let worker = inner.worker.clone();
        let claimed = inner.store.write(move |tx| claim(tx, &worker, free)).await?;
        for (id, calls_out) in claimed {
            let slot = inner.slots.take(calls_out);
            // Closed only when the drain is over; the row is then freed by the next start.
            if let Some(sender) = &*lock(&inner.sender) {
                let _ = sender.send(Claimed { id, _slot: slot });
            }
        }
        Ok(Next::More)
    }

    async fn work(&self, claimed: Claimed) {
        let inner = &self.inner;
        let outcome = inner.runner.attempt(&claimed.id).await;
        let released = matches!(outcome, Outcome::Released);
        let ulid = ulid_of(&claimed.id);
        match outcome {
            Outcome::Over => self.settle(ulid, Settle::Forget).await,
            Outcome::Again(at) => self.settle(ulid, Settle::Again(seconds_up(at))).await,
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
    }

    /// Records in `queue.db` what the ledger knows already; a failure is mended by the next start or
    /// by the relay.
    async fn settle(&self, ulid: String, what: Settle) {
        let inner = &self.inner;
        loop {
            let (ulid, worker) = (ulid.clone(), inner.worker.clone());
            match inner.store.write(move |tx| settle(tx, &ulid, &worker, what)).await {
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

    fn set_fault(&self, fault: Option<String>) {
        *lock(&self.inner.fault) = fault;
    }
}

#[allow(clippy::disallowed_methods, reason = "the last moments of the process, not a rule's time")]
async fn let_go(idle: impl Future<Output = ()>) -> Result<(), tokio::time::error::Elapsed> {
    tokio::time::timeout(LET_GO, idle).await
}

impl Queue for ApalisQueue {
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            if tickets.is_empty() {
                return Ok(());
            }
            let tickets = Arc::new(tickets);
            self.inner.store.write(move |tx| tickets.iter().try_for_each(|t| add(tx, t))).await?;
            self.inner.wake.notify_one();
            Ok(())
        })
    }

    fn remove(&self, id: JobId) -> QueueFuture<'_, bool> {
        Box::pin(async move {
            let ulid = ulid_of(&id);
            self.inner
                .store
                .write(move |tx| {
                    let sql = "DELETE FROM Jobs WHERE id = ?1 AND lock_by IS NULL";
                    Ok(tx.execute(sql, params![ulid])? == 1)
                })
                .await
        })
    }

    fn list_known(&self) -> QueueFuture<'_, Vec<JobId>> {
        Box::pin(self.inner.store.read(|tx| {
            tx.query("SELECT id FROM Jobs WHERE job_type = ?1", params![QUEUE], |r| {
                Ok(id_of_ulid(&r.get::<String>("id")?))
            })
        }))
    }

    fn counts(&self) -> QueueFuture<'_, QueueCounts> {
        Box::pin(self.inner.store.read(|tx| {
            let found = tx.query_opt(
                "SELECT count(*) FILTER (WHERE lock_by IS NULL AND run_at <= ?2) AS waiting,
                        count(*) FILTER (WHERE lock_by IS NULL AND run_at > ?2) AS delayed,
                        count(*) FILTER (WHERE lock_by IS NOT NULL) AS active
                 FROM Jobs WHERE job_type = ?1",
                params![QUEUE, seconds(tx.now())],
                |r| {
                    Ok(QueueCounts {
                        waiting: r.get("waiting")?,
                        delayed: r.get("delayed")?,
                        active: r.get("active")?,
                    })
                },
            )?;
            Ok(found.unwrap_or_default())
        }))
    }

    fn drain(&self, deadline: Timestamp) -> QueueFuture<'_, Drained> {
        Box::pin(async move { Ok(self.drain_until(deadline).await) })
    }

    fn condition(&self) -> Condition {
        lock(&self.inner.fault).as_ref().map_or_else(Condition::ok, Condition::down)
    }
}

/// Lets apalis-sqlite make its tables, over a connection of its own that is closed again.
///
/// Its `setup()` would set `synchronous=OFF`, so only its migrations run. The file exists already,
/// with our page layout. The index `LIdx` makes every acknowledgement walk all rows of a worker.
async fn prepare_tables(path: &Path) -> Result<(), Problem> {
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

/// Frees what former boots held, and registers this one.
fn take_over(tx: &Tx<'_>, worker: &str) -> Result<(), Problem> {
    let freed = tx.execute(
        "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL WHERE lock_by IS NOT NULL",
        params![],
    )?;
    if freed > 0 {
        tracing::info!(freed, "jobs that a former process held wait again");
    }
    tx.execute("DELETE FROM Workers", params![])?;
    tx.execute(
        "INSERT INTO Workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES (?1, ?2, 'Tenure', '', ?3, ?3)",
        params![worker, QUEUE, seconds(tx.now())],
    )?;
    Ok(())
}

fn add(tx: &Tx<'_>, ticket: &Ticket) -> Result<(), Problem> {
    // What is due is due now; only a wait is rounded up.
    let run_at = if ticket.run_at <= tx.now() { seconds(ticket.run_at) } else { seconds_up(ticket.run_at) };
    tx.execute(
        "INSERT INTO Jobs (job, id, job_type, status, attempts, max_attempts, run_at, priority)
         VALUES (CAST(?1 AS BLOB), ?2, ?3, 'Pending', 0, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET run_at = ?5, priority = ?6 WHERE lock_by IS NULL",
        params![
            format!("\"{}\"", ticket.id),
            ulid_of(&ticket.id),
            QUEUE,
            MAX_ATTEMPTS,
            run_at,
            if ticket.calls_out { CALLS_OUT } else { INSIDE }
        ],
    )?;
    Ok(())
}

/// When the next job is due for which a slot is free.
fn next_due(tx: &Tx<'_>, free: Free) -> Result<Option<Timestamp>, Problem> {
    let mut next: Option<Timestamp> = None;
    for (priority, slots) in [(INSIDE, free.all), (CALLS_OUT, free.calling)] {
        if slots == 0 {
            continue;
        }
        let at: Option<i64> = tx.scalar(
            "SELECT min(run_at) FROM Jobs
             WHERE job_type = ?1 AND priority = ?2 AND status = 'Pending' AND lock_by IS NULL",
            params![QUEUE, priority],
        )?;
        let at = at.map(|s| Timestamp::from_millis(s.saturating_mul(1000)));
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next)
}

/// Locks the jobs that are due longest, of both kinds together.
fn claim(tx: &Tx<'_>, worker: &str, free: Free) -> Result<Vec<(JobId, bool)>, Problem> {
    let now = seconds(tx.now());
    let mut due: Vec<(i64, String, bool)> = Vec::new();
    for (priority, slots) in [(INSIDE, free.all), (CALLS_OUT, free.calling)] {
        let page = tx.query(
            "SELECT id, run_at FROM Jobs
             WHERE job_type = ?1 AND priority = ?2 AND status = 'Pending' AND lock_by IS NULL
               AND run_at <= ?3
             ORDER BY run_at, id LIMIT ?4",
            params![QUEUE, priority, now, slots],
            |r| Ok((r.get("run_at")?, r.get("id")?, priority == CALLS_OUT)),
        )?;
        due.extend(page);
    }
    due.sort();
    due.truncate(free.all as usize);
    for (_, id, _) in &due {
        tx.execute(
            "UPDATE Jobs SET status = 'Running', lock_by = ?2, lock_at = ?3, attempts = attempts + 1
             WHERE id = ?1 AND lock_by IS NULL",
            params![id, worker, now],
        )?;
    }
    Ok(due.into_iter().map(|(_, id, calls_out)| (id_of_ulid(&id), calls_out)).collect())
}

#[derive(Debug, Clone, Copy)]
enum Settle {
    Forget,
    Again(i64),
    Release,
}

fn settle(tx: &Tx<'_>, ulid: &str, worker: &str, what: Settle) -> Result<(), Problem> {
    match what {
        Settle::Forget => {
            tx.execute("DELETE FROM Jobs WHERE id = ?1 AND lock_by = ?2", params![ulid, worker])?
        }
        Settle::Again(run_at) => tx.execute(
            "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, run_at = ?3
             WHERE id = ?1 AND lock_by = ?2",
            params![ulid, worker, run_at],
        )?,
        Settle::Release => tx.execute(
            "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL,
                             attempts = max(attempts - 1, 0)
             WHERE id = ?1 AND lock_by = ?2",
            params![ulid, worker],
        )?,
    };
    Ok(())
}

fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

fn seconds_up(at: Timestamp) -> i64 {
    seconds(Timestamp::from_millis(at.as_millis().saturating_add(999)))
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
    _slot: Slot,
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

/// Free slots: of all, and of those that jobs which call out may take.
#[derive(Debug, Clone, Copy)]
struct Free {
    all: u32,
    calling: u32,
}

/// The slots of the worker. Jobs that call out get three quarters, at least one.
struct Slots {
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

struct Slot {
    taken: Arc<Taken>,
    calls_out: bool,
}

impl Slots {
    fn new(concurrency: u32, wake: Arc<Notify>) -> Self {
        let all = concurrency.max(1);
        let taken =
            Taken { now: Mutex::new(Busy::default()), wake, changed: Notify::new() };
        Self { limit: Free { all, calling: (all * 3 / 4).max(1) }, taken: Arc::new(taken) }
    }

    fn free(&self) -> Free {
        let busy = lock(&self.taken.now);
        let all = self.limit.all.saturating_sub(busy.all);
        Free { all, calling: self.limit.calling.saturating_sub(busy.calling).min(all) }
    }

    fn take(&self, calls_out: bool) -> Slot {
        let mut busy = lock(&self.taken.now);
        busy.all += 1;
        busy.calling += u32::from(calls_out);
        Slot { taken: Arc::clone(&self.taken), calls_out }
    }

    fn count_released(&self) {
        lock(&self.taken.now).released += 1;
    }

    fn released(&self) -> u64 {
        lock(&self.taken.now).released
    }

    /// Ready when no slot is taken.
    async fn idle(&self) {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
