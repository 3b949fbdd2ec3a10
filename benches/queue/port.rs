//! At the Queue port: jobs go in in bulk, a handler that does nothing works them off.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tenure::platform::queue::bench::PortAlone;
use tenure::platform::store::MigrationSet;

use super::{BULK, CONCURRENCY, count, open, rate};

pub(super) async fn measure(dir: &Path, jobs: usize, passes: usize) -> Value {
    let mut found = once(dir, jobs).await;
    if passes > 0 {
        pass(dir, passes).await;
        found["after"] = once(dir, jobs).await;
    }
    found
}

/// Everything is put in first and worked off then, as with the peer.
async fn once(dir: &Path, jobs: usize) -> Value {
    let (store, queue) = start(dir).await;
    let began = Instant::now();
    for _ in 0..jobs / BULK {
        queue.add(BULK).await.unwrap();
    }
    let jobs = jobs / BULK * BULK;
    let adds = rate(jobs, began);
    let began = Instant::now();
    queue.run();
    queue.until_ended(jobs as u64).await;
    let works = rate(jobs, began);
    queue.drain().await.unwrap();
    assert_eq!(count(&store, "Jobs").await, 0, "jobs that are over are gone");
    store.close().await;
    json!({ "addsPerSecond": adds, "jobsPerSecond": works })
}

async fn pass(dir: &Path, jobs: usize) {
    let (store, queue) = start(dir).await;
    queue.run();
    let mut added = 0;
    while added < jobs {
        queue.add(BULK).await.unwrap();
        added += BULK;
        queue.until_ended(added.saturating_sub(10 * BULK) as u64).await;
    }
    queue.until_ended(added as u64).await;
    queue.drain().await.unwrap();
    store.close().await;
}

async fn start(dir: &Path) -> (tenure::platform::store::Store, PortAlone) {
    let store = open(dir, "queue.db", &MigrationSet::queue());
    let queue = PortAlone::open(store.clone(), CONCURRENCY).await.unwrap();
    (store, queue)
}
