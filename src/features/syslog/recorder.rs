//! Carries records from the queue of telemetry into `logs.db`, in batches.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::store;
use crate::platform::store::Store;
use crate::platform::telemetry::{LogRecord, LogRecords};

/// Records that one transaction takes.
const BATCH: usize = 500;
/// How long records are gathered after the first.
const GATHER: Duration = Duration::from_millis(200);
/// How long to leave a store alone that refused a batch. Nothing is said about it in the log: that
/// would be one more record for the same store.
const REST: Duration = Duration::from_secs(1);

/// The task that keeps the system log.
#[derive(Debug)]
pub struct Recorder {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Recorder {
    /// Begins to keep what comes out of `records`.
    pub fn start(logs: Store, records: LogRecords) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(logs, records, stop.clone()));
        Self { stop, task }
    }

    /// Keeps what was said until now, then ends. To be called before the store is closed.
    pub async fn stop(self) {
        self.stop.cancel();
        // A panic in the task has been said already; the log simply ends there.
        let _ = self.task.await;
    }
}

async fn run(logs: Store, mut records: LogRecords, stop: CancellationToken) {
    let mut batch: Vec<LogRecord> = Vec::with_capacity(BATCH);
    loop {
        let more = tokio::select! {
            biased;
            n = records.receive(&mut batch, BATCH) => n > 0,
            () = stop.cancelled() => false,
        };
        if more && !stop.is_cancelled() && batch.len() < BATCH {
            pause(GATHER, &stop).await;
        }
        records.take_ready(&mut batch, BATCH);
        if !batch.is_empty() {
            let kept = keep(&logs, &batch).await;
            if !kept {
                records.count_dropped(batch.len() as u64);
                pause(REST, &stop).await;
            }
            batch.clear();
        } else if !more {
            return;
        }
    }
}

async fn keep(logs: &Store, batch: &[LogRecord]) -> bool {
    let batch = batch.to_vec();
    logs.write(move |tx| store::insert_records(tx, &batch)).await.is_ok()
}

async fn pause(time: Duration, stop: &CancellationToken) {
    // The machine's time, whatever clock the rules follow: this only sets how large batches get.
    let _ = tokio::time::timeout(time, stop.cancelled()).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::time::Timestamp;
    use crate::features::syslog::LogFilter;
    use crate::features::syslog::ops;
    use crate::platform::clock::{ManualClock, SeededIds};
    use crate::platform::store::{Durability, Geometry, MigrationSet, Options};
    use crate::platform::telemetry::{self, Format};

    fn logs(clock: &Arc<ManualClock>) -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options {
            durability: Durability::Normal,
            geometry: Geometry::Shrinking,
            ..Options::small(dir.path().join("logs.db"))
        };
        let ids = Arc::new(SeededIds::new(1));
        let store = Store::open(&options, &MigrationSet::logs(), clock.clone(), ids, None).expect("opens");
        (store, dir)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_said_before_the_stop_is_kept_and_purged_when_it_is_old() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let (store, _dir) = logs(&clock);
        let (subscriber, _, records) =
            telemetry::subscriber("info", Format::Json, clock.clone(), |_| {}).expect("a filter");
        let recorder = Recorder::start(store.clone(), records);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(pool = "full", "old");
            clock.set(Timestamp::from_millis(2_000));
            tracing::info!("new");
        });
        recorder.stop().await;
        let filter = LogFilter { q: Some("FULL".to_owned()), level: Some("warn".to_owned()) };
        let found = store.read(move |tx| store::list_entries(tx, &filter, None, 10)).await.expect("reads");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "old");
        let gone = ops::purge_all(&store, Timestamp::from_millis(2_000), || false).await.expect("purges");
        assert_eq!(gone, 1);
        let left = store.read(|tx| store::list_entries(tx, &LogFilter::default(), None, 10)).await.expect("reads");
        assert_eq!(left.iter().map(|e| e.message.as_str()).collect::<Vec<_>>(), ["new"]);
    }
}
