//! The whole way: a change with its job in one transaction, the relay, the handler's transaction, done.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::base::clock::Clock;
use tenure::params;
use tenure::platform::clock::SystemClock;
use tenure::platform::queue::{
    JobCx, JobDraft, JobFuture, JobHandler, Parts, QueueRuntime, Registry, enqueue,
};
use tenure::platform::store::{MigrationSet, Store};
use tokio::sync::{Notify, mpsc};

use super::{CONCURRENCY, TRIES, count, cpu, open, percentile, rate, report};

/// Callers that change something, each in a transaction of its own.
const CALLERS: usize = 64;
/// Jobs that may wait while 1,000,000 pass through.
const BACKLOG: u64 = 5_000;
const IDLE_SAMPLES: usize = 200;
const LOAD_TICK: Duration = Duration::from_millis(10);
const LOAD_PER_TICK: usize = 10;
const PROBE: &str = "probe";
/// Rows that the handlers count in.
const COUNTERS: u64 = 64;

pub(super) async fn measure(dir: &Path, asked: &Value) -> Value {
    let number = |name: &str| asked[name].as_u64().unwrap();
    let way = Way::start(dir).await;
    let (jobs, load, idle) = (number("jobs"), number("load"), number("idle"));
    let found = if number("passes") == 0 {
        way.figures(jobs, load, idle).await
    } else {
        let mut found = way.often(jobs, load, idle).await;
        way.work_off(number("passes"), BACKLOG).await;
        found["after"] = way.often(jobs, load, idle).await;
        found
    };
    way.stop().await;
    found
}

/// A job of the latency measurements tells when it started.
type Started = mpsc::UnboundedSender<Instant>;

#[derive(Default)]
struct Seen {
    ended: AtomicU64,
    changed: Notify,
    started: std::sync::Mutex<std::collections::HashMap<u64, Started>>,
}

struct Probe(Arc<Seen>);

impl JobHandler for Probe {
    fn name(&self) -> &'static str {
        PROBE
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let at = Instant::now();
            let n = payload["n"].as_u64().unwrap_or(0);
            if let Some(waiting) = self.0.started.lock().unwrap().remove(&n) {
                let _ = waiting.send(at);
            }
            cx.complete(move |tx| {
                tx.execute("UPDATE bench_counter SET n = n + 1 WHERE id = ?1", params![n % COUNTERS])
            })
            .await?;
            self.0.ended.fetch_add(1, Ordering::AcqRel);
            self.0.changed.notify_waiters();
            Ok(())
        })
    }
}

/// A server's stores and queue, without the server.
struct Way {
    store: Store,
    queue_store: Store,
    queue: QueueRuntime,
    seen: Arc<Seen>,
    made: AtomicU64,
}

impl Way {
    async fn start(dir: &Path) -> Self {
        let store = open(dir, "tenure.db", &MigrationSet::tenure());
        let queue_store = open(dir, "queue.db", &MigrationSet::queue());
        store
            .write(|tx| {
                tx.execute("CREATE TABLE bench_counter (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", params![])?;
                tx.execute("CREATE TABLE bench_change (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)", params![])?;
                for id in 0..COUNTERS {
                    tx.execute("INSERT INTO bench_counter VALUES (?1, 0)", params![id])?;
                    tx.execute("INSERT INTO bench_change VALUES (?1, 0)", params![id])?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let seen = Arc::new(Seen::default());
        let queue = QueueRuntime::start(Parts {
            store: store.clone(),
            queue_store: queue_store.clone(),
            registry: Registry::new([Arc::new(Probe(Arc::clone(&seen))) as Arc<dyn JobHandler>]),
            concurrency: CONCURRENCY,
            redis: None,
        })
        .await
        .unwrap();
        Self { store, queue_store, queue, seen, made: AtomicU64::new(0) }
    }

    async fn often(&self, jobs: u64, load: u64, idle: u64) -> Value {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            tries.push(self.figures(jobs, load, idle).await);
        }
        report::best(&tries)
    }

    async fn figures(&self, jobs: u64, load: u64, idle: u64) -> Value {
        let began = Instant::now();
        self.work_off(jobs, u64::MAX).await;
        let jobs_per_second = rate(usize::try_from(jobs).unwrap(), began);
        let mut waits = self.one_by_one().await;
        let mut loaded = self.under_load(Duration::from_secs(load)).await;
        let mut found = json!({
            "jobsPerSecond": jobs_per_second,
            "idleP50": percentile(&mut waits, 50),
            "idleP99": percentile(&mut waits, 99),
            "loadP50": percentile(&mut loaded, 50),
            "loadP99": percentile(&mut loaded, 99),
        });
        if idle > 0 {
            found["idleCpuPercent"] = json!(idle_cpu(Duration::from_secs(idle)).await);
        }
        self.check().await;
        found
    }

    /// 64 callers change something and want a job for it; ready when the last of `jobs` is done.
    async fn work_off(&self, jobs: u64, backlog: u64) {
        let target = self.made.load(Ordering::Acquire) + jobs;
        let callers = (0..CALLERS).map(|_| async {
            loop {
                let n = self.made.fetch_add(1, Ordering::AcqRel);
                if n >= target {
                    self.made.fetch_sub(1, Ordering::AcqRel);
                    return;
                }
                self.until_ended(n.saturating_sub(backlog)).await;
                change(&self.store, n).await;
            }
        });
        futures::future::join_all(callers).await;
        self.until_ended(target).await;
    }

    async fn until_ended(&self, jobs: u64) {
        loop {
            let changed = self.seen.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.seen.ended.load(Ordering::Acquire) >= jobs {
                return;
            }
            changed.await;
        }
    }

    /// From the call that makes the change to the start of its job, the COMMIT of the change included.
    async fn one(&self) -> Duration {
        let n = self.made.fetch_add(1, Ordering::AcqRel);
        let (started, mut wait) = mpsc::unbounded_channel();
        self.seen.started.lock().unwrap().insert(n, started);
        let began = Instant::now();
        change(&self.store, n).await;
        wait.recv().await.unwrap() - began
    }

    async fn one_by_one(&self) -> Vec<Duration> {
        let mut waits = Vec::new();
        for i in 0..IDLE_SAMPLES {
            tokio::time::sleep(Duration::from_millis(5 + i as u64 % 20)).await;
            waits.push(self.one().await);
        }
        waits
    }

    /// 1,000 changes a second, each in a transaction of its own.
    async fn under_load(&self, duration: Duration) -> Vec<Duration> {
        let mut ticks = tokio::time::interval(LOAD_TICK);
        let began = Instant::now();
        let mut waiting = futures::stream::FuturesUnordered::new();
        let mut waits = Vec::new();
        while began.elapsed() < duration {
            tokio::select! {
                _ = ticks.tick() => waiting.extend((0..LOAD_PER_TICK).map(|_| self.one())),
                Some(wait) = futures::StreamExt::next(&mut waiting) => waits.push(wait),
            }
        }
        while let Some(wait) = futures::StreamExt::next(&mut waiting).await {
            waits.push(wait);
        }
        waits
    }

    /// Every job was done, each once.
    async fn check(&self) {
        let made = self.made.load(Ordering::Acquire);
        self.until_ended(made).await;
        let sum = |table: &str| format!("SELECT sum(n) FROM {table}");
        let (changes, effects) = (sum("bench_change"), sum("bench_counter"));
        let counted: (u64, u64) = self
            .store
            .read(move |tx| Ok((tx.scalar(&changes, params![])?, tx.scalar(&effects, params![])?)))
            .await
            .unwrap();
        assert_eq!(counted, (made, made), "a job for each change, an effect for each job");
    }

    async fn stop(self) {
        self.queue.drain(SystemClock.now().plus(Duration::from_secs(30))).await;
        assert_eq!(count(&self.queue_store, "Jobs").await, 0, "jobs that are over are gone");
        self.queue_store.close().await;
        self.store.close().await;
    }
}

/// A change and the job that it wants, in one transaction.
async fn change(store: &Store, n: u64) {
    store
        .write(move |tx| {
            tx.execute("UPDATE bench_change SET n = n + 1 WHERE id = ?1", params![n % COUNTERS])?;
            enqueue(tx, JobDraft::now(PROBE, json!({ "n": n })))
        })
        .await
        .unwrap();
}

/// Per cent of one core while nothing happens.
async fn idle_cpu(duration: Duration) -> f64 {
    let (before, began) = (cpu(), Instant::now());
    tokio::time::sleep(duration).await;
    (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0
}
