//! Many jobs that fail at once: each runs four times, never early, hardly late.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::base::clock::Clock as _;
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::audit::AuditJournal;
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::queue::{self, JobCx, JobDraft, JobFuture, JobHandler, Parts, QueueRuntime, Registry};
use tenure::platform::store::{MigrationSet, Options, Store};

use super::{spread, the_machine};
use crate::support::load::administrator;
use crate::support::{Server, eventually, http};

const JOBS: u64 = 1000;
const NAME: &str = "fails-at-once";
const DELAYS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(20)];
/// The most that 99 of 100 attempts may come late.
const LATE: Duration = Duration::from_millis(1500);
/// As many as a server runs unless it is told otherwise.
const CONCURRENCY: u32 = 16;

/// When the attempts of a job began and failed.
type Seen = BTreeMap<u64, Vec<(Timestamp, Timestamp)>>;

#[derive(Default)]
struct Fails(Mutex<Seen>);

impl JobHandler for Fails {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let began = cx.store().clock().now();
            let number = payload["number"].as_u64().expect("a number");
            let mut seen = self.0.lock().expect("nobody panicked with it");
            let attempts = seen.entry(number).or_default();
            assert_eq!(attempts.len() as u32 + 1, cx.attempt(), "the attempts are counted");
            attempts.push((began, cx.store().clock().now()));
            Err(Problem::refused(format!("Number {number} never works.")))
        })
    }
}

/// Runs the jobs on the stores of a data directory until all have failed.
async fn fail_all(data: &Path) -> Seen {
    let open = |name: &str, set: MigrationSet, journal| {
        let options = Options { max: 4, ..Options::small(data.join(name)) };
        Store::open(&options, &set, Arc::new(SystemClock), Arc::new(SystemIds), journal).expect("the store opens")
    };
    let store = open("tenure.db", MigrationSet::tenure(), Some(Arc::new(AuditJournal)));
    let queue_store = open("queue.db", MigrationSet::queue(), None);
    let handler = Arc::new(Fails::default());
    let parts = Parts {
        store: store.clone(),
        queue_store: queue_store.clone(),
        registry: Registry::new([Arc::clone(&handler) as Arc<dyn JobHandler>]),
        concurrency: CONCURRENCY,
        redis: None,
    };
    let runtime = QueueRuntime::start(parts).await.expect("the queue starts");
    store
        .write(move |tx| {
            (0..JOBS).try_for_each(|number| {
                queue::enqueue(tx, JobDraft::now(NAME, json!({ "number": number }))).map(drop)
            })
        })
        .await
        .expect("the jobs are there");
    eventually("every job has failed for good", Duration::from_secs(90), || async {
        let counts = store.read(queue::views::count_jobs).await.ok()?;
        (counts.failed == JOBS).then_some(())
    })
    .await;
    runtime.drain(SystemClock.now()).await;
    queue_store.close().await;
    store.close().await;
    handler.0.lock().expect("nobody panicked with it").clone()
}

/// How late each of the three retries came, by job; fails when one was early.
fn lateness(seen: &Seen) -> Vec<Vec<Duration>> {
    let mut late = vec![Vec::new(); DELAYS.len()];
    for (number, attempts) in seen {
        assert_eq!(attempts.len(), 4, "attempts of {number}");
        for (retry, pair) in attempts.windows(2).enumerate() {
            let due = pair[0].1.plus(DELAYS[retry]);
            let began = pair[1].0;
            assert!(began >= due, "retry {} of {number} came early: at {began}, due at {due}", retry + 1);
            late[retry].push(began.since(due));
        }
    }
    late
}

/// What the API says of every failed job, by number: its reason and its attempts.
async fn told(data: &Path, token: &str) -> BTreeMap<u64, (String, u64)> {
    let server = Server::start(&["serve"], data, &[]).await;
    let (mut found, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let url = format!("{}/api/jobs?state=failed&name={NAME}&limit=200&cursor={cursor}", server.base);
        let answer = http().get(url).bearer_auth(token).send().await.expect("an answer");
        let page: Value = answer.json().await.expect("JSON");
        for job in page["items"].as_array().expect("jobs") {
            let number = job["payload"]["number"].as_u64().expect("a number");
            let reason = job["failedReason"].as_str().expect("a reason").to_owned();
            found.insert(number, (reason, job["attemptsMade"].as_u64().expect("a count")));
        }
        match page["nextCursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return found,
        }
    }
}

async fn retried(mode: &str) {
    let _machine = the_machine().await;
    let began = Instant::now();
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let token = administrator(&data);
    let seen = fail_all(&data).await;
    assert_eq!(seen.len() as u64, JOBS);
    let mut late = lateness(&seen);
    for (retry, times) in late.iter_mut().enumerate() {
        println!("{mode}: retry {} of {JOBS} jobs, late by {}", retry + 1, spread(times));
    }
    println!("{mode}: in all {:?}", began.elapsed());
    let told = told(&data, &token).await;
    let expected: BTreeMap<u64, (String, u64)> = (0..JOBS).map(|n| (n, (format!("Number {n} never works."), 4))).collect();
    assert_eq!(told, expected);
    for (retry, times) in late.iter().enumerate() {
        let p99 = times[times.len() * 99 / 100 - 1];
        assert!(p99 <= LATE, "99 of 100 times retry {} is late by up to {p99:?}", retry + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_jobs_that_fail_at_once_run_four_times_never_early_and_hardly_late() {
    retried("embedded").await;
}
