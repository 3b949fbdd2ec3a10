//! The one writer: a thread with a bounded queue that commits in groups.
//!
//! Closures that wait run in one `BEGIN IMMEDIATE`, each in a savepoint, then one COMMIT. A batch
//! forms while the previous one syncs; nobody waits for company. On FULL, IOERR and NOMEM SQLite may
//! roll back the whole transaction, after which the next closure would commit alone: so after each
//! failed closure the writer asks whether the transaction is still there.
//!
//! A writer that was idle for a while folds the write-ahead log into the file and empties it. It waits
//! for no reader; what one keeps from being folded is tried again after the next pause.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::connection::BUSY_TIMEOUT;
use super::error::{from_sqlite, is_sync_failure};
use super::journal::{Draft, Journal};
use super::pool::in_snapshot;
use super::tx::{AfterCommit, Tx};
use super::work::Work;
use crate::base::clock::SharedClock;
use crate::base::id::SharedIds;
use crate::base::problem::Problem;
use crate::platform::faults::Faults;
use crate::platform::metrics::{Metrics, Stopwatch};

/// A batch ends at this many closures …
const BATCH_CLOSURES: usize = 256;
/// … or after this time, so that the first one is not kept waiting.
const BATCH_TIME: Duration = Duration::from_millis(10);
/// More waiting closures than this are refused at once.
const QUEUE_LIMIT: usize = 8192;

/// Who goes first when both wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Request,
    Background,
    /// A read, when there is no reader.
    Read,
}

pub(super) struct Setup {
    pub(super) clock: SharedClock,
    pub(super) ids: SharedIds,
    pub(super) journal: Option<Arc<dyn Journal>>,
    pub(super) acquire_timeout: Duration,
    pub(super) idle_fold: Duration,
    pub(super) doorbell: Arc<Notify>,
    pub(super) faults: Arc<Faults>,
    pub(super) metrics: Metrics,
}

/// What the writer did since the start.
#[derive(Debug, Clone, Copy, Default, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriterStats {
    /// Closures that wait now.
    pub queued: u32,
    /// COMMITs.
    pub batches: u64,
    /// Closures committed.
    pub writes: u64,
    /// Most closures in one COMMIT.
    pub largest_batch: u64,
}

/// A closure with its way back.
struct Unit {
    work: Work,
    reply: oneshot::Sender<Result<(), Problem>>,
}

impl Unit {
    fn run(&mut self, tx: &Tx<'_>) -> Result<(), Problem> {
        tx.enter(&mut self.work)
    }

    fn finish(self, outcome: Result<(), Problem>) {
        // What the closure holds is gone before its caller goes on.
        drop(self.work);
        // A caller that went away does not want the answer.
        let _ = self.reply.send(outcome);
    }

    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

struct Waiting {
    unit: Unit,
    deadline: Instant,
    since: Stopwatch,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Waiting>,
    background: VecDeque<Waiting>,
    /// Reads, when there is no reader: `DB_POOL_MAX=1`.
    reads: VecDeque<Waiting>,
    closing: bool,
}

impl Queue {
    fn len(&self) -> usize {
        self.requests.len() + self.background.len() + self.reads.len()
    }

    fn next_write(&mut self) -> Option<Waiting> {
        self.requests.pop_front().or_else(|| self.background.pop_front())
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    busy: AtomicBool,
    /// Whether the WAL is to be folded into the file before the next batch.
    fold: AtomicBool,
    batches: AtomicU64,
    writes: AtomicU64,
    largest: AtomicU64,
    timeouts: AtomicU64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    timeout: Duration,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Writer {
    pub(super) fn start(conn: Connection, setup: Setup) -> Result<Self, Problem> {
        let shared = Arc::new(Shared::default());
        let (end, ended) = oneshot::channel();
        let timeout = setup.acquire_timeout;
        // What the migrations wrote stands in the log, too.
        let worker = Worker { conn, setup, shared: Arc::clone(&shared), log_grew: Cell::new(true) };
        std::thread::Builder::new()
            .name("tenure-writer".to_owned())
            .spawn(move || {
                worker.run();
                let _ = end.send(());
            })
            .map_err(|e| Problem::internal(format!("no thread for the writer: {e}")))?;
        Ok(Self { shared, timeout, ended: Mutex::new(Some(ended)) })
    }

    /// Waits in `lane`, runs, and answers after the COMMIT.
    pub(super) async fn run(&self, lane: Lane, work: Work) -> Result<(), Problem> {
        let (reply, answer) = oneshot::channel();
        let unit = Unit { work, reply };
        {
            let mut queue = self.shared.lock();
            if queue.closing {
                return Err(Problem::unavailable("Tenure is shutting down.", 5));
            }
            if queue.len() >= QUEUE_LIMIT {
                return Err(Problem::unavailable("Too many changes are waiting to be written.", 1));
            }
            let waiting = Waiting { unit, deadline: deadline(self.timeout), since: Stopwatch::start() };
            match lane {
                Lane::Request => queue.requests.push_back(waiting),
                Lane::Background => queue.background.push_back(waiting),
                Lane::Read => queue.reads.push_back(waiting),
            }
        }
        self.shared.wake.notify_one();
        answer.await.map_err(|_| Problem::internal("the writer ended before it answered"))?
    }

    pub(super) fn fold(&self) {
        // Under the lock, so that a writer about to sleep does not miss it.
        let _queue = self.shared.lock();
        self.shared.fold.store(true, Ordering::Relaxed);
        self.shared.wake.notify_one();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.shared.busy.load(Ordering::Relaxed)
    }

    pub(super) fn queued(&self) -> u32 {
        u32::try_from(self.shared.lock().len()).unwrap_or(u32::MAX)
    }

    pub(super) fn timeouts(&self) -> u64 {
        self.shared.timeouts.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> WriterStats {
        WriterStats {
            queued: self.queued(),
            batches: self.shared.batches.load(Ordering::Relaxed),
            writes: self.shared.writes.load(Ordering::Relaxed),
            largest_batch: self.shared.largest.load(Ordering::Relaxed),
        }
    }

    pub(super) async fn close(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_one();
    }
}

/// A monotonic deadline: how long a caller waits does not depend on the wall clock.
#[allow(clippy::disallowed_methods, reason = "monotonic waiting time, not a rule's time")]
fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

#[allow(clippy::disallowed_methods, reason = "monotonic waiting time, not a rule's time")]
fn passed(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

/// A closure of the batch that ran, with how it went.
struct Ran {
    unit: Unit,
    outcome: Result<(), Problem>,
}

/// What a batch has gathered on its way to COMMIT.
#[derive(Default)]
struct Batch {
    ran: Vec<Ran>,
    drafts: Vec<Draft>,
    after: Vec<AfterCommit>,
    /// Rows that the connection had changed before this batch.
    changes_before: u64,
}

impl Batch {
    fn fail(self, problem: &Problem) {
        for ran in self.ran {
            let outcome = ran.outcome.and_then(|()| Err(problem.clone()));
            ran.unit.finish(outcome);
        }
    }
}

struct Worker {
    conn: Connection,
    setup: Setup,
    shared: Arc<Shared>,
    /// Whether something was committed since the write-ahead log was last empty.
    log_grew: Cell<bool>,
}

impl Worker {
    fn run(self) {
        while self.wait_for_work() {
            self.shared.busy.store(true, Ordering::Relaxed);
            self.serve_reads();
            self.commit_batch();
            self.shared.busy.store(false, Ordering::Relaxed);
        }
        // The WAL is folded into the file, so that a copy of the file alone is whole.
        if let Err(e) = self.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE);") {
            tracing::warn!(error = %e, "the write-ahead log was not truncated");
        }
    }

    /// As far as readers let it: it waits for none.
    fn fold(&self) {
        if let Err(e) = self.conn.execute_batch("PRAGMA wal_checkpoint(PASSIVE);") {
            tracing::warn!(error = %e, "the write-ahead log was not folded into the file");
        }
    }

    /// Empties the write-ahead log, unless somebody is in the way: then it is for the next pause.
    fn fold_idle(&self) {
        let empty = || -> rusqlite::Result<bool> {
            // A write may come at any moment, so that nothing is waited for.
            self.conn.busy_timeout(Duration::ZERO)?;
            let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |r| r.get::<_, bool>(0));
            self.conn.busy_timeout(BUSY_TIMEOUT)?;
            Ok(!busy?)
        };
        match empty() {
            Ok(emptied) => self.log_grew.set(!emptied),
            Err(e) => {
                // Once per burst of writes: a disk that is full stays so for a while.
                self.log_grew.set(false);
                tracing::warn!(error = %e, "the write-ahead log was not emptied while idle");
            }
        }
    }

    /// Blocks until there is work; false when there will be none any more.
    fn wait_for_work(&self) -> bool {
        let mut queue = self.shared.lock();
        loop {
            if self.shared.fold.swap(false, Ordering::Relaxed) {
                drop(queue);
                self.fold();
                queue = self.shared.lock();
            }
            if queue.len() > 0 {
                return true;
            }
            if queue.closing {
                return false;
            }
            if !self.log_grew.get() {
                queue = self.shared.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let woken = self.shared.wake.wait_timeout(queue, self.setup.idle_fold);
            let (back, waited) = woken.unwrap_or_else(PoisonError::into_inner);
            queue = back;
            if waited.timed_out() && queue.len() == 0 && !queue.closing {
                drop(queue);
                self.fold_idle();
                queue = self.shared.lock();
            }
        }
    }

    fn serve_reads(&self) {
        loop {
            let Some(mut waiting) = self.shared.lock().reads.pop_front() else { return };
            if self.refuse_late(&waiting) {
                waiting.unit.finish(Err(late()));
                continue;
            }
            // The one connection reads too; it is held to reading meanwhile.
            let result = self
                .query_only(true)
                .and_then(|()| {
                    in_snapshot(&self.conn, &self.setup.clock, &self.setup.ids, &mut waiting.unit.work)
                });
            let back = self.query_only(false);
            waiting.unit.finish(result.and(back));
        }
    }

    fn query_only(&self, on: bool) -> Result<(), Problem> {
        let sql = if on { "PRAGMA query_only=ON" } else { "PRAGMA query_only=OFF" };
        self.conn.execute_batch(sql).map_err(|e| from_sqlite(&e, sql))
    }

    fn commit_batch(&self) {
        let Some(first) = self.next() else { return };
        if let Err(e) = self.conn.execute_batch("BEGIN IMMEDIATE") {
            first.finish(Err(from_sqlite(&e, "BEGIN IMMEDIATE")));
            return;
        }
        let mut batch = Batch { changes_before: self.conn.total_changes(), ..Batch::default() };
        let until = deadline(BATCH_TIME);
        let mut next = Some(first);
        while let Some(unit) = next {
            if let Err(lost) = self.run_one(unit, &mut batch) {
                // SQLite took the whole transaction back: nobody's change is there any more.
                batch.fail(&lost);
                return;
            }
            next = if batch.ran.len() >= BATCH_CLOSURES || passed(until) { None } else { self.next() };
        }
        self.commit(batch);
    }

    /// The next closure whose caller still waits for it.
    fn next(&self) -> Option<Unit> {
        loop {
            let waiting = self.shared.lock().next_write()?;
            if waiting.unit.abandoned() {
                continue;
            }
            if self.refuse_late(&waiting) {
                waiting.unit.finish(Err(late()));
                continue;
            }
            return Some(waiting.unit);
        }
    }

    /// Whether its caller waited too long; how long it was is counted either way.
    fn refuse_late(&self, waiting: &Waiting) -> bool {
        self.setup.metrics.waited("write", waiting.since.seconds());
        let late = passed(waiting.deadline);
        if late {
            self.shared.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        late
    }

    /// Runs one closure in its savepoint. `Err` when the transaction itself is gone.
    fn run_one(&self, mut unit: Unit, batch: &mut Batch) -> Result<(), Problem> {
        let tx = Tx::new(&self.conn, self.setup.clock.as_ref(), self.setup.ids.as_ref())
            .with_doorbell(&self.setup.doorbell);
        let outcome = self
            .exec_cached("SAVEPOINT one")
            .and_then(|()| unit.run(&tx))
            .and_then(|()| self.exec_cached("RELEASE one"));
        let (drafts, after) = tx.into_effects();
        if let Err(problem) = outcome {
            let gone = self.conn.is_autocommit()
                || self.exec("ROLLBACK TO one; RELEASE one").is_err();
            batch.ran.push(Ran { unit, outcome: Err(problem.clone()) });
            if gone {
                self.roll_back();
                return Err(problem);
            }
        } else {
            batch.drafts.extend(drafts);
            batch.after.extend(after);
            batch.ran.push(Ran { unit, outcome: Ok(()) });
        }
        Ok(())
    }

    fn commit(&self, mut batch: Batch) {
        let drafts = std::mem::take(&mut batch.drafts);
        let appended = self.append(drafts).and_then(|after| self.hit(&batch, "writer:before_commit").map(|()| after));
        match appended {
            Ok(after) => batch.after.extend(after),
            Err(problem) => {
                self.roll_back();
                batch.fail(&problem);
                return;
            }
        }
        if let Err(e) = self.conn.execute_batch("COMMIT") {
            if is_sync_failure(&e) {
                // What the kernel holds is unknown now; only a restart from the WAL is safe.
                tracing::error!(error = %e, "fsync failed; the process ends and recovers at its next start");
                std::process::abort();
            }
            self.roll_back();
            batch.fail(&from_sqlite(&e, "COMMIT"));
            return;
        }
        self.log_grew.set(true);
        let told = self.hit(&batch, "writer:after_commit");
        let size = batch.ran.len() as u64;
        self.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.shared.writes.fetch_add(size, Ordering::Relaxed);
        self.shared.largest.fetch_max(size, Ordering::Relaxed);
        for effect in batch.after {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(effect)).is_err() {
                tracing::error!("a wake-up after a commit panicked");
            }
        }
        for ran in batch.ran {
            ran.unit.finish(told.clone().and(ran.outcome));
        }
    }

    /// A fault point of batches that changed something: an empty one proves nothing.
    fn hit(&self, batch: &Batch, point: &str) -> Result<(), Problem> {
        if self.conn.total_changes() == batch.changes_before { Ok(()) } else { self.setup.faults.hit(point) }
    }

    /// Hands the entries of a batch to the journal; answers what is to follow the COMMIT.
    fn append(&self, drafts: Vec<Draft>) -> Result<Vec<AfterCommit>, Problem> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let Some(journal) = &self.setup.journal else {
            return Err(Problem::internal("an entry was staged in a store without a journal"));
        };
        let tx = Tx::new(&self.conn, self.setup.clock.as_ref(), self.setup.ids.as_ref());
        tx.enter(|tx| journal.append(tx, drafts))?;
        Ok(tx.into_effects().1)
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(e) = self.conn.execute_batch("ROLLBACK")
        {
            tracing::error!(error = %e, "a transaction could not be rolled back");
        }
    }

    /// One statement, compiled once: each closure needs it.
    fn exec_cached(&self, sql: &str) -> Result<(), Problem> {
        let run = || self.conn.prepare_cached(sql)?.execute([]);
        run().map(drop).map_err(|e| from_sqlite(&e, sql))
    }

    fn exec(&self, sql: &str) -> Result<(), Problem> {
        self.conn.execute_batch(sql).map_err(|e| from_sqlite(&e, sql))
    }
}

fn late() -> Problem {
    Problem::unavailable("The database was busy for too long; nothing was changed.", 1)
}
