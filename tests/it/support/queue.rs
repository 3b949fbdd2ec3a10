//! A queue with its worker on real stores, embedded or in Redis, and a job that does as it is told.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::clock::{Clock as _, SharedClock};
use tenure::base::id::JobId;
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::params;
use tenure::platform::clock::{ManualClock, SystemClock, SystemIds};
use tenure::platform::queue::views::{self, JobCounts, JobView};
use tenure::platform::queue::{
    BulkHandler, Drained, JobCx, JobDraft, JobFuture, JobHandler, Parts, QueueRuntime, Registry, enqueue,
};
use tenure::platform::redis::{Redis, RedisSettings};
use tenure::platform::store::{MigrationSet, Options, Store, Tx};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};

use super::eventually;
use super::redis::RedisServer;

/// Which queue carries the jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Embedded,
    Redis,
}

/// The name of the job that does as its payload says.
pub const PROBE: &str = "probe";
/// The same, and it counts as calling other systems.
pub const CALLER: &str = "probe-out";

/// Long enough for anything that needs no wait.
pub const SOON: Duration = Duration::from_secs(20);

/// One attempt as the handler saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub id: JobId,
    pub attempt: u32,
    pub at: Timestamp,
}

/// What the handlers saw, and the gate at which `wait` jobs wait.
#[derive(Clone)]
pub struct Diary {
    seen: Arc<Mutex<Vec<Seen>>>,
    pub gate: Arc<Semaphore>,
}

impl Diary {
    pub fn new() -> Self {
        Self { seen: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The attempts of each job, in order.
    pub fn by_job(&self) -> HashMap<JobId, Vec<Seen>> {
        let mut all: HashMap<JobId, Vec<Seen>> = HashMap::new();
        for seen in self.seen() {
            all.entry(seen.id.clone()).or_default().push(seen);
        }
        all
    }
}

/// `{"act": "ok" | "fail" | "wait" | "hang" | "effect", "until": N}`: `until` is the last attempt that
/// fails; `effect` waits like `wait`, then leaves a mark in its last transaction.
struct Probe {
    name: &'static str,
    calls_out: bool,
    diary: Diary,
}

impl JobHandler for Probe {
    fn name(&self) -> &'static str {
        self.name
    }

    fn calls_out(&self) -> bool {
        self.calls_out
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let at = cx.store().clock().now();
            self.diary.seen.lock().unwrap().push(Seen { id: cx.id().clone(), attempt: cx.attempt(), at });
            match payload["act"].as_str().unwrap_or("ok") {
                "fail" if payload["until"].as_u64().is_none_or(|n| u64::from(cx.attempt()) <= n) => {
                    let why = payload["why"].as_str().unwrap_or("the probe says no");
                    Err(Problem::refused(why))
                }
                "wait" => {
                    self.diary.gate.acquire().await.unwrap().forget();
                    Ok(())
                }
                "effect" => {
                    self.diary.gate.acquire().await.unwrap().forget();
                    let id = cx.id().to_string();
                    cx.complete(move |tx| {
                        tx.execute("INSERT INTO effect (job) VALUES (?1)", params![id])?;
                        Ok(())
                    })
                    .await
                }
                "hang" => std::future::pending().await,
                _ => Ok(()),
            }
        })
    }
}

/// Stores, clock, perhaps a Redis, and the runtime on them.
pub struct Bench {
    pub mode: Mode,
    pub dir: tempfile::TempDir,
    pub clock: SharedClock,
    pub manual: Option<Arc<ManualClock>>,
    pub redis: Option<RedisServer>,
    pub store: Store,
    pub queue_store: Store,
    pub diary: Diary,
    pub concurrency: u32,
    /// Held so long as no measuring test may run.
    _shared: Option<RwLockReadGuard<'static, ()>>,
    runtime: Option<QueueRuntime>,
    /// Each start has threads of its own, so that a crash ends everything it began.
    threads: Vec<tokio::runtime::Runtime>,
}

/// A test that measures time runs while no other bench does.
static ALONE: RwLock<()> = RwLock::const_new(());

/// Waits until no other bench is at work, and keeps new ones waiting while it is held.
pub async fn alone() -> RwLockWriteGuard<'static, ()> {
    ALONE.write().await
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.threads.drain(..).for_each(tokio::runtime::Runtime::shutdown_background);
    }
}

fn open(dir: &Path, file: &str, set: &MigrationSet, clock: &SharedClock) -> Store {
    let options = Options { max: 4, ..Options::small(dir.join(file)) };
    Store::open(&options, set, clock.clone(), Arc::new(SystemIds), None).unwrap()
}

impl Bench {
    /// By the machine's clock.
    pub async fn real(mode: Mode) -> Self {
        Self::new(mode, Arc::new(SystemClock), None).await
    }

    /// By a clock that the test moves; it starts at the present, because Redis and its scripts may
    /// not take an instant in the far future for a delay.
    pub async fn manual(mode: Mode) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self::new(mode, clock.clone(), Some(clock)).await
    }

    /// By the machine's clock, for a test that holds [`alone`].
    pub async fn measured(mode: Mode) -> Self {
        let redis = if mode == Mode::Redis { Some(RedisServer::start().await) } else { None };
        let mut bench = Self::stopped(mode, Arc::new(SystemClock), None, redis).await;
        bench.concurrency = 16;
        bench.start().await;
        bench
    }

    async fn new(mode: Mode, clock: SharedClock, manual: Option<Arc<ManualClock>>) -> Self {
        let shared = ALONE.read().await;
        let redis = match mode {
            Mode::Embedded => None,
            Mode::Redis => Some(RedisServer::start().await),
        };
        let mut bench = Self::stopped(mode, clock, manual, redis).await;
        bench._shared = Some(shared);
        bench.start().await;
        bench
    }

    /// Opened and not started yet.
    pub async fn stopped(
        mode: Mode,
        clock: SharedClock,
        manual: Option<Arc<ManualClock>>,
        redis: Option<RedisServer>,
    ) -> Self {
        tenure::app::install_crypto();
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), "tenure.db", &MigrationSet::tenure(), &clock);
        let queue_store = open(dir.path(), "queue.db", &MigrationSet::queue(), &clock);
        store.write(|tx| tx.execute("CREATE TABLE effect (job TEXT NOT NULL)", params![])).await.unwrap();
        Self {
            mode,
            dir,
            clock,
            manual,
            redis,
            store,
            queue_store,
            diary: Diary::new(),
            concurrency: 8,
            _shared: None,
            runtime: None,
            threads: Vec::new(),
        }
    }

    pub fn client(&self) -> Option<Redis> {
        let redis = self.redis.as_ref().filter(|_| self.mode == Mode::Redis)?;
        let settings = RedisSettings { url: redis.url(), prefix: "bull".to_owned(), extra_ca_pem: None };
        Some(Redis::new(&settings).unwrap())
    }

    pub async fn try_start(&mut self) -> Result<(), Problem> {
        let probe = |name, calls_out| {
            Arc::new(Probe { name, calls_out, diary: self.diary.clone() }) as Arc<dyn JobHandler>
        };
        let registry = Registry::new([probe(PROBE, false), probe(CALLER, true), Arc::new(BulkHandler)]);
        let parts = Parts {
            store: self.store.clone(),
            queue_store: self.queue_store.clone(),
            registry,
            concurrency: self.concurrency,
            redis: self.client(),
        };
        let threads =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
        let handle = threads.handle().clone();
        let started = threads.spawn_blocking(move || handle.block_on(QueueRuntime::start(parts)));
        let started = started.await.expect("no panic");
        self.threads.push(threads);
        self.runtime = Some(started?);
        Ok(())
    }

    pub async fn start(&mut self) {
        self.try_start().await.expect("the queue starts");
    }

    pub fn runtime(&self) -> &QueueRuntime {
        self.runtime.as_ref().expect("it runs")
    }

    /// In order, as at SIGTERM.
    pub async fn stop(&mut self, within: Duration) -> Drained {
        let runtime = self.runtime.take().expect("it runs");
        runtime.drain(self.clock.now().plus(within)).await
    }

    /// As if the process were killed: nothing of it goes on. The stores are opened again, nothing
    /// runs on them.
    pub async fn crash(&mut self) {
        self.threads.drain(..).for_each(tokio::runtime::Runtime::shutdown_background);
        self.runtime = None;
        self.store.close().await;
        self.queue_store.close().await;
        self.store = open(self.dir.path(), "tenure.db", &MigrationSet::tenure(), &self.clock);
        self.queue_store = open(self.dir.path(), "queue.db", &MigrationSet::queue(), &self.clock);
    }

    /// Stops, picks the other queue, starts.
    pub async fn switch_to(&mut self, mode: Mode) {
        self.stop(SOON).await;
        self.mode = mode;
        self.start().await;
    }

    pub fn advance(&self, by: Duration) {
        self.manual.as_ref().expect("a clock to move").advance(by);
    }

    pub async fn add(&self, payload: Value) -> JobId {
        self.enqueue(JobDraft::now(PROBE, payload)).await
    }

    pub async fn add_many(&self, n: usize, payload: Value) -> Vec<JobId> {
        self.store
            .write(move |tx| (0..n).map(|_| enqueue(tx, JobDraft::now(PROBE, payload.clone()))).collect())
            .await
            .unwrap()
    }

    /// A job of which three attempts failed already.
    pub async fn add_last_chance(&self, payload: Value) -> JobId {
        self.store
            .write(move |tx| {
                let id = enqueue(tx, JobDraft::now(PROBE, payload.clone()))?;
                tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![id])?;
                Ok(id)
            })
            .await
            .unwrap()
    }

    pub async fn enqueue(&self, draft: JobDraft) -> JobId {
        self.store.write(move |tx| enqueue(tx, draft.clone())).await.unwrap()
    }

    pub async fn job(&self, id: &JobId) -> JobView {
        let id = id.clone();
        self.store.read(move |tx| views::get_job(tx, &id)).await.unwrap()
    }

    pub async fn counts(&self) -> JobCounts {
        self.store.read(views::count_jobs).await.unwrap()
    }

    /// A change by hand.
    pub async fn change<T: Send + 'static>(
        &self,
        f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.write(f).await
    }

    pub async fn eventually(&self, what: &str, ask: impl AsyncFn(&Self) -> bool) {
        eventually(what, SOON, || async { ask(self).await.then_some(()) }).await;
    }

    /// Waits until the handlers saw this many attempts.
    pub async fn until_seen(&self, n: usize) {
        self.eventually(&format!("{n} attempts"), async |b| b.diary.count() >= n).await;
    }

    /// Waits until no job is waiting or running, and the queue has been told.
    pub async fn until_quiet(&self) {
        self.eventually("nothing waits and nothing runs", async |b| {
            let counts = b.counts().await;
            let queue = b.runtime().counts().await;
            counts.waiting + counts.active == 0 && queue.is_ok_and(|q| q.waiting + q.active == 0)
        })
        .await;
    }
}

/// What the probe is told to do.
pub fn act(act: &str) -> Value {
    json!({ "act": act })
}
