//! Storing and purging, on a real `logs.db`.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::platform::clock::{ManualClock, SeededIds, SystemClock};
use crate::platform::store::{Durability, Geometry, MigrationSet, Options};

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    logs: Store,
}

impl Bench {
    fn start() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options {
            durability: Durability::Normal,
            geometry: Geometry::Shrinking,
            ..Options::small(dir.path().join("logs.db"))
        };
        let ids = Arc::new(SeededIds::new(1));
        let logs = Store::open(&options, &MigrationSet::logs(), clock.clone(), ids, None).expect("opens");
        Self { dir, clock, logs }
    }

    /// Entries of this instant.
    async fn fill(&self, at: i64, entries: u64, text: &str) {
        self.clock.set(Timestamp::from_millis(at));
        let record = record(text);
        self.logs.write(move |tx| (0..entries).try_for_each(|_| sql::insert(tx, &record))).await.expect("fills");
    }

    /// Purges what is older than an instant, and says nothing of it.
    async fn purge(&self, before: i64, stop: impl Fn() -> bool) -> Progress {
        let before = Timestamp::from_millis(before);
        purge(&self.logs, Plan { before, entries: 1 }, ready(Ok(())), stop).await.expect("purges")
    }

    async fn messages(&self, q: Option<&'static str>) -> Vec<String> {
        let found = self.logs.read(move |tx| sql::list(tx, Some("warn"), q, None, 10)).await.expect("reads");
        found.into_iter().map(|e| e.message).collect()
    }
}

fn record(message: &str) -> Record {
    let fields = json!({ "pool": "Full" }).as_object().cloned().unwrap_or_default();
    Record { level: "warn", target: "t".to_owned(), message: message.to_owned(), fields, request_id: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_logged_is_stored_and_found() {
    let bench = Bench::start();
    for (at, message) in [(1_000, "old"), (2_000, "new")] {
        bench.clock.set(Timestamp::from_millis(at));
        let (send, receive) = tokio::sync::mpsc::channel(1);
        send.send(record(message)).await.expect("room");
        drop(send);
        collect(bench.logs.clone(), receive).await;
    }
    assert_eq!(bench.messages(Some("full")).await, ["new", "old"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_exactly_as_old_as_the_retention_stays_and_one_that_is_older_goes() {
    let bench = Bench::start();
    let now = Timestamp::from_millis(40 * 86_400_000);
    let days_30 = 10 * 86_400_000;
    assert_eq!(cutoff(now, 30), Timestamp::from_millis(days_30));
    for (at, message) in [(days_30 - 1, "older"), (days_30, "exactly"), (days_30 + 1, "younger")] {
        bench.fill(at, 1, message).await;
    }
    assert_eq!(bench.purge(days_30, || false).await, Progress { purged: 1, done: true });
    assert_eq!(bench.messages(None).await, ["younger", "exactly"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_stops_between_two_batches_when_it_is_told_to() {
    let bench = Bench::start();
    let all = u64::from(PURGE_BATCH) * 2 + 1;
    bench.fill(1_000, all, "old").await;
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 1
    };
    assert_eq!(bench.purge(2_000, stop).await, Progress { purged: PURGE_BATCH.into(), done: false });
    let rest = bench.purge(2_000, || false).await;
    assert_eq!(rest, Progress { purged: all - u64::from(PURGE_BATCH), done: true });
}

/// A purge that could not be audited does not begin; one without anything to remove says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_audited_before_it_begins() {
    let bench = Bench::start();
    bench.fill(1_000, 3, "old").await;
    let plan = Plan { before: Timestamp::from_millis(2_000), entries: 3 };
    let refused = purge(&bench.logs, plan, ready(Err(Problem::unavailable("full", 1))), || false).await;
    assert!(refused.is_err());
    assert_eq!(bench.messages(None).await.len(), 3);
    let told = AtomicBool::new(false);
    let tell = async {
        told.store(true, Ordering::Relaxed);
        Ok(())
    };
    let nothing = Plan { before: Timestamp::from_millis(500), entries: 0 };
    purge(&bench.logs, nothing, tell, || false).await.expect("purges nothing");
    assert!(!told.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_gives_the_space_back() {
    let bench = Bench::start();
    let text = "x".repeat(500);
    for _ in 0..8 {
        bench.fill(1_000, 2_500, &text).await;
    }
    bench.fill(3_000, 10, "young").await;
    let size = || std::fs::metadata(bench.dir.path().join("logs.db")).expect("a file").len();
    let before = size();
    assert!(before > 8_000_000, "{before} bytes");
    assert_eq!(bench.purge(2_000, || false).await, Progress { purged: 20_000, done: true });
    // What is written next comes after the file was made smaller.
    bench.fill(3_000, 1, "young").await;
    let after = size();
    assert!(after < before / 10, "{before} bytes became {after}");
}

/// `tenure.db` is a file of its own with a writer of its own. The bound is far above what a commit takes
/// and far below what it would take behind the purge of a large log in one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "it measures")]
async fn business_writes_are_not_held_up_by_a_purge() {
    let bench = Bench::start();
    let text = "x".repeat(500);
    for _ in 0..20 {
        bench.fill(1_000, 2_500, &text).await;
    }
    let options = Options::small(bench.dir.path().join("tenure.db"));
    let ids = Arc::new(SeededIds::new(2));
    let store = Store::open(&options, &MigrationSet::tenure(), Arc::new(SystemClock), ids, None).expect("opens");
    let purging = bench.purge(2_000, || false);
    let over = AtomicBool::new(false);
    let writing = async {
        let mut took = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let begun = std::time::Instant::now();
            store.write(|tx| settings::store::save(tx, "t", "1", "test")).await.expect("writes");
            took.push(begun.elapsed());
        }
        took.sort();
        took
    };
    let purging = async {
        let progress = purging.await;
        over.store(true, Ordering::Relaxed);
        progress
    };
    let (progress, took) = tokio::join!(purging, writing);
    assert_eq!(progress, Progress { purged: 50_000, done: true });
    let p99 = took[(took.len() - 1) * 99 / 100];
    assert!(took.len() >= 20, "{} writes went on beside the purge", took.len());
    assert!(p99 < Duration::from_millis(250), "p99 of {} writes is {p99:?}", took.len());
}
