//! A queue with its worker on the two files of a folder.

use super::*;

pub(super) struct Server {
    pub(super) runtime: QueueRuntime,
    pub(super) store: Store,
    pub(super) queue_store: Store,
}

impl Server {
    pub(super) async fn start(dir: &tempfile::TempDir, probe: Probe, concurrency: u32) -> Self {
        Self::start_with(dir, probe, concurrency, Arc::default()).await
    }

    /// With fault points in the writer of `queue.db`.
    pub(super) async fn start_with(
        dir: &tempfile::TempDir,
        probe: Probe,
        concurrency: u32,
        faults: Arc<Faults>,
    ) -> Self {
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

    pub(super) async fn enqueue(&self, n: usize) -> Vec<JobId> {
        self.store
            .write(move |tx| (0..n).map(|_| enqueue(tx, probe_job())).collect())
            .await
            .unwrap()
    }

    pub(super) async fn counts(&self) -> views::JobCounts {
        self.store.read(views::count_jobs).await.unwrap()
    }

    pub(super) async fn stop(&self, within: Duration) -> Drained {
        let drained = self.runtime.drain(SystemClock.now().plus(within)).await;
        self.store.close().await;
        self.queue_store.close().await;
        drained
    }
}

/// Waits for a fact.
pub(super) async fn eventually(within: Duration, mut fact: impl AsyncFnMut() -> bool) {
    let deadline = SystemClock.now().plus(within);
    while !fact().await {
        assert!(SystemClock.now() < deadline, "not within {within:?}");
        SystemClock.sleep_until(SystemClock.now().plus(Duration::from_millis(5))).await;
    }
}

pub(super) const SOON: Duration = Duration::from_secs(10);
