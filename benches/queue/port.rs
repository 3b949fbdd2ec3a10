//! At the Queue port: jobs go in in bulk, a handler that does nothing works them off.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tenure::platform::clock::SystemIds;
use tenure::platform::queue::bench::PortAlone;
use tenure::platform::store::{MigrationSet, Store};

use super::{BULK, CONCURRENCY, TRIES, count, open, rate, report};

pub(super) async fn measure(dir: &Path, jobs: usize, passes: usize) -> Value {
    if passes == 0 {
        return once(dir, jobs).await;
    }
    let mut found = often(dir, jobs).await;
    pass(dir, passes).await;
    found["after"] = often(dir, jobs).await;
    found
}

async fn often(dir: &Path, jobs: usize) -> Value {
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        tries.push(once(dir, jobs).await);
    }
    report::best(&tries)
}

/// Everything is put in first and worked off then, as with the peer.
async fn once(dir: &Path, jobs: usize) -> Value {
    let (files, queue) = start(dir).await;
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
    assert_eq!(count(&files.queue, "Jobs").await, 0, "jobs that are over are gone");
    files.close().await;
    json!({ "addsPerSecond": adds, "jobsPerSecond": works })
}

async fn pass(dir: &Path, jobs: usize) {
    let (files, queue) = start(dir).await;
    queue.run();
    let mut added = 0;
    while added < jobs {
        queue.add(BULK).await.unwrap();
        added += BULK;
        queue.until_ended(added.saturating_sub(10 * BULK) as u64).await;
    }
    queue.until_ended(added as u64).await;
    queue.drain().await.unwrap();
    files.close().await;
}

/// The files of a boot: the second one takes over what the first one left.
struct Files {
    queue: Store,
    ledger: Store,
}

impl Files {
    async fn close(self) {
        self.queue.close().await;
        self.ledger.close().await;
    }
}

async fn start(dir: &Path) -> (Files, PortAlone) {
    let files = Files {
        queue: open(dir, "queue.db", &MigrationSet::queue()),
        ledger: open(dir, "tenure.db", &MigrationSet::tenure()),
    };
    let stores = (files.queue.clone(), files.ledger.clone());
    let queue = PortAlone::open(stores.0, stores.1, Arc::new(SystemIds), CONCURRENCY).await.unwrap();
    (files, queue)
}
