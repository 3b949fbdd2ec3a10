//! The promises of the queue, on real stores: by the manual clock inline, by wall time on `queue.db`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as JsonValue, json};
use tokio::sync::Semaphore;

use super::schedule::list_schedules;
use super::views::{self, JobState};
use super::*;
use crate::base::clock::{Clock, SharedClock};
use crate::base::id::JobId;
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds, SystemClock, SystemIds};
use crate::platform::faults::{Fault, Faults};
use crate::platform::store::{MigrationSet, Options, Store};

const PROBE: &str = "probe";

#[derive(Clone)]
enum Act {
    Succeed,
    FailFirst(u32),
    Panic,
    SnoozeOnce(Duration),
    /// Waits for a permit that the test gives.
    Wait(Arc<Semaphore>),
    /// Never ends by itself.
    Hang,
}

struct Probe {
    name: &'static str,
    cron: Option<&'static str>,
    calls_out: bool,
    act: Act,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    attempts: Mutex<Vec<(u32, Timestamp)>>,
    running: AtomicU32,
    most: AtomicU32,
}

impl Seen {
    fn attempts(&self) -> Vec<(u32, Timestamp)> {
        self.attempts.lock().unwrap().clone()
    }
}

impl Probe {
    fn new(act: Act) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Self { name: PROBE, cron: None, calls_out: false, act, seen: Arc::clone(&seen) }, seen)
    }
}

impl JobHandler for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schedule(&self) -> Option<Schedule> {
        self.cron.map(|c| Schedule::utc(c).unwrap())
    }

    fn calls_out(&self) -> bool {
        self.calls_out
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: JsonValue) -> JobFuture<'a> {
        Box::pin(async move {
            let now = cx.store().clock().now();
            let before = self.seen.attempts.lock().unwrap().len();
            self.seen.attempts.lock().unwrap().push((cx.attempt(), now));
            let running = self.seen.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.seen.most.fetch_max(running, Ordering::SeqCst);
            let result = match &self.act {
                Act::Succeed => Ok(()),
                Act::FailFirst(n) if cx.attempt() <= *n => Err(Problem::refused("the probe says no")),
                Act::FailFirst(_) => Ok(()),
                Act::Panic => panic!("the probe panics"),
                Act::SnoozeOnce(by) if before == 0 => cx.snooze(now.plus(*by)).await,
                Act::SnoozeOnce(_) => Ok(()),
                Act::Wait(gate) => {
                    gate.acquire().await.unwrap().forget();
                    Ok(())
                }
                Act::Hang => std::future::pending().await,
            };
            self.seen.running.fetch_sub(1, Ordering::SeqCst);
            result
        })
    }
}

fn registry(probe: Probe) -> Registry {
    Registry::new([Arc::new(probe) as Arc<dyn JobHandler>])
}

fn start_of_2031() -> Timestamp {
    "2031-03-01T11:30:00Z".parse().unwrap()
}

fn open(dir: &tempfile::TempDir, file: &str, set: &MigrationSet, clock: SharedClock) -> Store {
    let ids: crate::base::id::SharedIds =
        if file == "queue.db" { Arc::new(SystemIds) } else { Arc::new(SeededIds::new(1)) };
    Store::open(&Options::small(dir.path().join(file)), set, clock, ids, None).unwrap()
}

struct Bench {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(start_of_2031()));
        let store = open(&dir, "tenure.db", &MigrationSet::tenure(), clock.clone());
        Self { _dir: dir, clock, store }
    }

    async fn enqueue(&self, draft: JobDraft) -> JobId {
        self.store.write(move |tx| enqueue(tx, draft.clone())).await.unwrap()
    }

    async fn job(&self, id: &JobId) -> views::JobView {
        let id = id.clone();
        self.store.read(move |tx| views::get_job(tx, &id)).await.unwrap()
    }
}

fn probe_job() -> JobDraft {
    JobDraft::now(PROBE, json!({}))
}

/// The wait counts from the failure, and one millisecond before its end nothing runs.
#[tokio::test]
async fn four_attempts_after_5_10_and_20_seconds_then_failed() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::FailFirst(9));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    for (n, delay) in [5, 10, 20].into_iter().enumerate() {
        assert_eq!(queue.run_due().await.unwrap(), 1);
        let job = b.job(&id).await;
        assert_eq!((job.state, job.attempts_made), (JobState::Delayed, n as u32 + 1));
        assert_eq!(job.failed_reason.as_deref(), Some("the probe says no"));
        b.clock.advance(Duration::from_millis(delay * 1000 - 1));
        assert_eq!(queue.run_due().await.unwrap(), 0);
        b.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(queue.run_due().await.unwrap(), 1);
    let job = b.job(&id).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
    b.clock.advance(Duration::from_secs(3600));
    assert_eq!(queue.run_due().await.unwrap(), 0);
    let attempts: Vec<u32> = seen.attempts().into_iter().map(|(n, _)| n).collect();
    assert_eq!(attempts, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_panic_and_an_unknown_name_are_failures_with_a_reason() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Panic);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let panics = b.enqueue(probe_job()).await;
    let unknown = b.enqueue(JobDraft::now("no-such-job", json!({}))).await;
    queue.run_due().await.unwrap();
    assert!(b.job(&panics).await.failed_reason.unwrap().contains("panicked"));
    let job = b.job(&unknown).await;
    assert_eq!(job.attempts_made, 1);
    assert!(job.failed_reason.unwrap().contains("`no-such-job`"));
}

/// Open and done jobs hold their key; a failed one gives it away; a rolled-back one never was.
#[tokio::test]
async fn a_key_makes_one_job() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::Succeed);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let draft = probe_job().with_key("once");
    let refused: Result<(), Problem> = b
        .store
        .write(|tx| {
            enqueue(tx, probe_job().with_key("once"))?;
            Err(Problem::refused("taken back"))
        })
        .await;
    assert!(refused.is_err());
    let first = b.enqueue(draft.clone()).await;
    assert_eq!(b.enqueue(draft.clone()).await, first);
    queue.run_due().await.unwrap();
    assert_eq!(b.enqueue(draft.clone()).await, first);
    assert_eq!(queue.run_due().await.unwrap(), 0);
    assert_eq!(seen.attempts().len(), 1);
    let id = first.clone();
    b.store
        .write(move |tx| tx.execute("UPDATE job SET state = 'failed' WHERE id = ?1", params![id]))
        .await
        .unwrap();
    assert_ne!(b.enqueue(draft).await, first);
}

#[tokio::test]
async fn a_job_waits_for_its_instant_and_can_be_cancelled_before() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Succeed);
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let at = b.clock.now().plus(Duration::from_secs(60));
    let one = b.enqueue(JobDraft::at(PROBE, json!({}), at)).await;
    let two = b.enqueue(JobDraft::at(PROBE, json!({}), at)).await;
    assert_eq!(b.job(&one).await.state, JobState::Delayed);
    assert_eq!(queue.next_instant().await.unwrap(), Some(at));
    assert_eq!(queue.run_due().await.unwrap(), 0);
    assert!(b.store.write(move |tx| cancel(tx, &two)).await.unwrap());
    b.clock.set(at);
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(b.job(&one).await.state, JobState::Completed);
    assert!(!b.store.write(move |tx| cancel(tx, &one)).await.unwrap());
}

#[tokio::test]
async fn a_snooze_counts_no_attempt() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::SnoozeOnce(Duration::from_secs(300)));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    queue.run_due().await.unwrap();
    let job = b.job(&id).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Delayed, 0));
    b.clock.advance(Duration::from_secs(300));
    queue.run_due().await.unwrap();
    assert_eq!(b.job(&id).await.state, JobState::Completed);
    assert_eq!(seen.attempts().iter().map(|a| a.0).collect::<Vec<_>>(), [1, 1]);
}

/// Two attempts of one job: the one that lost the job changes nothing, whatever it does.
#[tokio::test]
async fn a_result_that_comes_too_late_is_discarded() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::Succeed);
    let _queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    let same = id.clone();
    let claim = b
        .store
        .write(move |tx| {
            ledger::hand_over_one(tx, &same)?;
            Ok(ledger::start(tx, &same)?.unwrap().claim)
        })
        .await
        .unwrap();
    // The process "ends"; the next one takes over and starts the second attempt.
    b.store.write(ledger::recover).await.unwrap();
    let same = id.clone();
    let second = b.store.write(move |tx| Ok(ledger::start(tx, &same)?.unwrap().claim)).await.unwrap();
    assert_eq!(second.attempt, 2);
    let old = JobCx::new(claim, b.store.clone(), tokio_util::sync::CancellationToken::new());
    let late = old.complete(|tx| tx.execute("DELETE FROM job", params![])).await;
    assert!(matches!(late, Err(Problem::Conflict(_))));
    assert!(old.page(|tx| tx.execute("DELETE FROM job", params![])).await.is_err());
    assert!(old.snooze(b.clock.now()).await.is_err());
    assert_eq!(b.job(&id).await.state, JobState::Active);
    let new = JobCx::new(second, b.store.clone(), tokio_util::sync::CancellationToken::new());
    new.complete(|_| Ok(())).await.unwrap();
    assert_eq!(b.job(&id).await.state, JobState::Completed);
}

/// Handed rows of a former process run again; one in the middle of an attempt has used that attempt.
#[tokio::test]
async fn a_restart_hands_over_again_and_counts_the_attempt_that_was_cut() {
    let b = Bench::new();
    let (probe, seen) = Probe::new(Act::Succeed);
    let waiting = b.enqueue(probe_job()).await;
    let running = b.enqueue(probe_job()).await;
    let last = b.enqueue(probe_job()).await;
    let ids = [waiting.clone(), running.clone(), last.clone()];
    b.store
        .write(move |tx| {
            for id in &ids {
                ledger::hand_over_one(tx, id)?;
            }
            ledger::start(tx, &ids[1])?;
            tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![ids[2]])?;
            ledger::start(tx, &ids[2])?;
            Ok(())
        })
        .await
        .unwrap();
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 2);
    assert_eq!(b.job(&waiting).await.attempts_made, 1);
    let job = b.job(&running).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Completed, 2));
    let job = b.job(&last).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
    assert_eq!(seen.attempts().len(), 2);
}

/// A restart or a second look makes no second job; what was missed fires once, the latest, late.
#[tokio::test]
async fn a_slot_fires_once_and_missed_slots_fire_once_together() {
    let b = Bench::new();
    let scheduled = || {
        let (mut probe, seen) = Probe::new(Act::Succeed);
        probe.cron = Some("0 * * * *");
        (registry(probe), seen)
    };
    let (handlers, seen) = scheduled();
    let queue = InlineQueue::start(b.store.clone(), handlers).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 0, "a new schedule starts with its next slot");
    b.clock.set("2031-03-01T12:00:00Z".parse().unwrap());
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(queue.run_due().await.unwrap(), 0);
    drop(queue);
    let (handlers, again) = scheduled();
    b.clock.set("2031-03-08T09:20:00Z".parse().unwrap());
    let queue = InlineQueue::start(b.store.clone(), handlers).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!((seen.attempts().len(), again.attempts().len()), (1, 1));
    let keys: Vec<(String, bool)> = b
        .store
        .read(|tx| {
            tx.query("SELECT key, late FROM job ORDER BY id", params![], |r| {
                Ok((r.get("key")?, r.get("late")?))
            })
        })
        .await
        .unwrap();
    assert_eq!(
        keys,
        [("probe@20310301T120000Z".to_owned(), false), ("probe@20310308T090000Z".to_owned(), true)]
    );
    let row = b.store.read(list_schedules).await.unwrap().remove(0);
    assert_eq!(row.last_slot_at, Some("2031-03-08T09:00:00Z".parse().unwrap()));
    assert_eq!(row.next_slot_at, Some("2031-03-08T10:00:00Z".parse().unwrap()));
    assert_eq!(row.last_state.as_deref(), Some("completed"));
}

#[tokio::test]
async fn the_newest_thousand_completed_jobs_are_kept() {
    let b = Bench::new();
    b.store
        .write(|tx| {
            for n in 0..1010_i64 {
                let id: JobId = tx.new_id();
                tx.execute(
                    "INSERT INTO job (id, name, payload, state, run_at, created_at, finished_on)
                     VALUES (?1, 'x', '{}', 'done', 0, 0, ?2)",
                    params![id, n],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(b.store.write(ledger::trim).await.unwrap(), 10);
    let oldest: i64 =
        b.store.read(|tx| tx.scalar("SELECT min(finished_on) FROM job", params![])).await.unwrap();
    assert_eq!(oldest, 10);
}

#[tokio::test]
async fn by_hand_a_failed_job_starts_over_and_a_delayed_one_runs_now() {
    let b = Bench::new();
    let (probe, _) = Probe::new(Act::FailFirst(1));
    let queue = InlineQueue::start(b.store.clone(), registry(probe)).await.unwrap();
    let id = b.enqueue(probe_job()).await;
    queue.run_due().await.unwrap();
    let same = id.clone();
    assert!(b.store.write(move |tx| views::retry_job(tx, &same)).await.is_err());
    let same = id.clone();
    b.store.write(move |tx| views::promote_job(tx, &same)).await.unwrap();
    assert_eq!(queue.run_due().await.unwrap(), 1);
    assert_eq!(b.job(&id).await.state, JobState::Completed);
    let counts = b.store.read(views::count_jobs).await.unwrap();
    assert_eq!(counts, views::JobCounts { completed: 1, ..Default::default() });
    let filter = views::JobFilter { state: Some(JobState::Completed), q: Some("PROBE".into()), ..Default::default() };
    let listed = b.store.read(move |tx| views::list_jobs(tx, &filter, None, 10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    b.store.write(move |tx| views::remove_job(tx, &id)).await.unwrap();
}

// --- on queue.db, by wall time ---

struct Server {
    runtime: QueueRuntime,
    store: Store,
    queue_store: Store,
}

impl Server {
    async fn start(dir: &tempfile::TempDir, probe: Probe, concurrency: u32) -> Self {
        Self::start_with(dir, probe, concurrency, Arc::default()).await
    }

    /// With fault points in the writer of `queue.db`.
    async fn start_with(dir: &tempfile::TempDir, probe: Probe, concurrency: u32, faults: Arc<Faults>) -> Self {
        let clock: SharedClock = Arc::new(SystemClock);
        let ids = Arc::new(SystemIds);
        let store = Store::open(
            &Options::small(dir.path().join("tenure.db")),
            &MigrationSet::tenure(),
            clock.clone(),
            ids,
            None,
        )
        .unwrap();
        let options = Options { faults, ..Options::small(dir.path().join("queue.db")) };
        let queue_store =
            Store::open(&options, &MigrationSet::queue(), clock.clone(), Arc::new(SystemIds), None).unwrap();
        let runtime = QueueRuntime::start(Parts {
            store: store.clone(),
            queue_store: queue_store.clone(),
            registry: registry(probe),
            concurrency,
            redis: None,
        })
        .await
        .unwrap();
        Self { runtime, store, queue_store }
    }

    async fn enqueue(&self, n: usize) -> Vec<JobId> {
        self.store
            .write(move |tx| (0..n).map(|_| enqueue(tx, probe_job())).collect())
            .await
            .unwrap()
    }

    async fn counts(&self) -> views::JobCounts {
        self.store.read(views::count_jobs).await.unwrap()
    }

    async fn stop(&self, within: Duration) -> Drained {
        let drained = self.runtime.drain(SystemClock.now().plus(within)).await;
        self.store.close().await;
        self.queue_store.close().await;
        drained
    }
}

/// Waits for a fact.
async fn eventually(within: Duration, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now().plus(within);
    while !fact().await {
        assert!(SystemClock.now() < deadline, "not within {within:?}");
        SystemClock.sleep_until(SystemClock.now().plus(Duration::from_millis(5))).await;
    }
}

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_on_queue_db_and_leave_it_empty() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 16).await;
    server.enqueue(200).await;
    eventually(SOON, async || server.counts().await.completed == 200).await;
    eventually(SOON, async || server.runtime.counts().await.unwrap() == Default::default()).await;
    assert_eq!(seen.attempts().len(), 200);
    assert!(seen.most.load(Ordering::SeqCst) <= 16);
    let health = server.runtime.health();
    assert!(health.worker.ok && health.scheduler.ok, "{health:?}");
    let plan: Vec<String> = server
        .queue_store
        .read(|tx| {
            let sql = format!("EXPLAIN QUERY PLAN {}", super::queue_db::DUE);
            tx.query(&sql, params!["q", 1, 0, 1], |r| r.get("detail"))
        })
        .await
        .unwrap();
    assert!(plan.len() == 1 && plan[0].contains("idx_jobs_pending"), "{plan:?}");
    let sync: i64 =
        server.queue_store.write(|tx| tx.scalar("PRAGMA synchronous", params![])).await.unwrap();
    assert_eq!(sync, 2);
    server.stop(SOON).await;
}

/// `run_at` counts whole seconds there; rounding must make a retry late, not early.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_on_queue_db_is_not_early_and_at_most_a_second_and_a_half_late() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::FailFirst(1));
    let server = Server::start(&dir, probe, 4).await;
    server.enqueue(1).await;
    eventually(SOON, async || server.counts().await.completed == 1).await;
    let attempts = seen.attempts();
    let wait = attempts[1].1.since(attempts[0].1);
    assert!(wait >= Duration::from_secs(5) && wait < Duration::from_millis(6500), "{wait:?}");
    server.stop(SOON).await;
}

/// Jobs that call out never take the last quarter of the slots.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_call_out_leave_slots_free() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let (mut probe, seen) = Probe::new(Act::Wait(Arc::clone(&gate)));
    probe.calls_out = true;
    let server = Server::start(&dir, probe, 8).await;
    server.enqueue(20).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 6).await;
    let counts = server.counts().await;
    assert_eq!((counts.active, counts.waiting), (6, 14));
    gate.add_permits(20);
    eventually(SOON, async || server.counts().await.completed == 20).await;
    assert_eq!(seen.most.load(Ordering::SeqCst), 6);
    server.stop(SOON).await;
}

/// What finishes in time is done; what does not waits again and has lost no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_it_can_and_releases_the_rest_uncounted() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let server = Server::start(&dir, probe, 2).await;
    server.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 2).await;
    let store = server.store.clone();
    let drained = server.runtime.drain(SystemClock.now().plus(Duration::from_millis(100))).await;
    assert_eq!(drained.released, 2);
    let counts = store.read(views::count_jobs).await.unwrap();
    assert_eq!((counts.waiting, counts.active), (3, 0));
    server.stop(SOON).await;

    let (probe, seen) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 2).await;
    eventually(SOON, async || server.counts().await.completed == 3).await;
    assert!(seen.attempts().iter().all(|(attempt, _)| *attempt == 1));
    server.stop(SOON).await;
}

/// A crash is a runtime that is never drained: its attempts count, its jobs run within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_on_queue_db_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let crashed = Server::start(&dir, probe, 2).await;
    crashed.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 2).await;
    crashed.store.close().await;
    crashed.queue_store.close().await;

    let (probe, seen) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 2).await;
    eventually(Duration::from_secs(1), async || server.counts().await.completed == 3).await;
    let mut attempts: Vec<u32> = seen.attempts().iter().map(|a| a.0).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2, 2]);
    server.stop(SOON).await;
}

/// The ledger is the memory: a queue that forgot everything gets it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_db_that_was_lost_is_refilled() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let first = Server::start(&dir, probe, 1).await;
    first.enqueue(5).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 1).await;
    first.stop(Duration::from_millis(1)).await;
    for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    let (probe, _) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 4).await;
    eventually(SOON, async || server.counts().await.completed == 5).await;
    server.stop(SOON).await;
}

/// A slot is free before `queue.db` knows how its attempt ended; that end must not get lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_queue_db_could_not_take_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let gate = Arc::new(Semaphore::new(0));
    let (probe, seen) = Probe::new(Act::Wait(Arc::clone(&gate)));
    let server = Server::start_with(&dir, probe, 4, Arc::clone(&faults)).await;
    server.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 3).await;
    faults.arm("writer:before_commit", Fault::Error);
    gate.add_permits(3);
    eventually(SOON, async || server.counts().await.completed == 3).await;
    assert_eq!(server.runtime.counts().await.unwrap().active, 3, "queue.db could not be told");
    faults.disarm("writer:before_commit");
    eventually(SOON, async || server.runtime.counts().await.unwrap() == Default::default()).await;
    server.stop(SOON).await;
}

/// A drain in the midst of it: what ended is gone, what was claimed and not started waits.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_drain_no_row_of_queue_db_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, _) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 16).await;
    server.enqueue(400).await;
    eventually(SOON, async || server.counts().await.completed > 0).await;
    server.runtime.drain(SystemClock.now().plus(SOON)).await;
    assert_eq!(server.runtime.counts().await.unwrap().active, 0);
    let counts = server.counts().await;
    assert_eq!((counts.active, counts.waiting + counts.completed), (0, 400));
    server.stop(SOON).await;
}

/// Every index is written for each job, so one that no statement reads is a loss.
#[tokio::test(flavor = "multi_thread")]
async fn queue_db_keeps_the_indexes_that_are_read_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, _) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 1).await;
    let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'Jobs' ORDER BY name";
    let indexes: Vec<String> =
        server.queue_store.read(move |tx| tx.query(sql, params![], |r| r.get("name"))).await.unwrap();
    assert_eq!(indexes, ["idx_jobs_pending", "sqlite_autoindex_Jobs_1"]);
    server.stop(SOON).await;
}
