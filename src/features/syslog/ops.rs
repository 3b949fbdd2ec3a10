//! Storing what is logged, and purging what is old.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::Receiver;

use super::store as sql;
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::platform::store::{Store, Tx};
use crate::platform::telemetry::Record;

/// Records stored in one transaction.
const BATCH: usize = 500;
/// Entries purged in one transaction, so that writers are not kept waiting.
const PURGE_BATCH: u32 = 2_000;
/// Pages that one transaction gives back to the file system.
const SHRINK_PAGES: u32 = 1_000;

/// Stores records until their sender is gone or the store is closed.
pub async fn collect(logs: Store, mut records: Receiver<Record>) {
    let mut batch = Vec::with_capacity(BATCH);
    while records.recv_many(&mut batch, BATCH).await > 0 {
        let full = std::mem::take(&mut batch);
        let stored = logs.write(move |tx| full.iter().try_for_each(|r| sql::insert(tx, r))).await;
        if stored.is_err() && !logs.is_open() {
            return;
        }
        // A record about a log that cannot be written would go the same way; stderr has it.
    }
}

/// The instant before which entries go when they are kept for `days`.
pub fn cutoff(now: Timestamp, days: u32) -> Timestamp {
    now.minus(Duration::from_secs(u64::from(days) * 86_400))
}

/// How far a purge came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries that are gone.
    pub purged: u64,
    /// Whether nothing older is left.
    pub done: bool,
}

/// Removes entries older than `before`, batch by batch, until none is left or `stop` says so.
pub async fn purge(logs: &Store, before: Timestamp, stop: impl Fn() -> bool) -> Result<Progress, Problem> {
    let mut purged = 0;
    loop {
        if stop() {
            return Ok(Progress { purged, done: false });
        }
        let n = logs
            .write_in_background(move |tx| {
                let n = sql::delete_before(tx, before, PURGE_BATCH)?;
                sql::shrink(tx, SHRINK_PAGES)?;
                Ok(n)
            })
            .await?;
        purged += n as u64;
        if n < PURGE_BATCH as usize {
            return Ok(Progress { purged, done: true });
        }
    }
}

/// Writes into the audit log, in `tenure.db`, that entries were purged.
pub fn record_purge(tx: &Tx<'_>, by: &Principal, before: Timestamp, entries: u64) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action: "log.purged",
            entity: "system_log",
            entity_id: "system_log".to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({ "olderThan": before, "entries": entries })),
        },
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::platform::clock::{ManualClock, SeededIds};
    use crate::platform::store::{Durability, Geometry, MigrationSet, Options};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn old_entries_go_and_young_ones_stay() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options {
            durability: Durability::Normal,
            geometry: Geometry::Shrinking,
            ..Options::small(dir.path().join("logs.db"))
        };
        let ids = Arc::new(SeededIds::new(1));
        let logs = Store::open(&options, &MigrationSet::logs(), clock.clone(), ids, None).expect("opens");
        for (at, message) in [(1_000, "old"), (2_000, "new")] {
            clock.set(Timestamp::from_millis(at));
            let (send, receive) = tokio::sync::mpsc::channel(1);
            let fields = json!({ "pool": "Full" }).as_object().cloned().unwrap_or_default();
            let record = Record {
                level: "warn",
                target: "t".to_owned(),
                message: message.to_owned(),
                fields,
                request_id: None,
            };
            send.send(record).await.expect("room");
            drop(send);
            collect(logs.clone(), receive).await;
        }
        let list = |q: Option<&'static str>| {
            let logs = logs.clone();
            async move {
                let found = logs.read(move |tx| sql::list(tx, Some("warn"), q, None, 10)).await.expect("reads");
                found.into_iter().map(|e| e.message).collect::<Vec<_>>()
            }
        };
        assert_eq!(list(Some("full")).await, ["new", "old"]);
        let before = Timestamp::from_millis(2_000);
        let purged = purge(&logs, before, || false).await.expect("purges");
        assert_eq!(purged, Progress { purged: 1, done: true });
        assert_eq!(list(None).await, ["new"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_purge_stops_between_two_batches_when_it_is_told_to() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
        let dir = tempfile::tempdir().expect("a folder");
        let options = Options { geometry: Geometry::Shrinking, ..Options::small(dir.path().join("logs.db")) };
        let ids = Arc::new(SeededIds::new(1));
        let logs = Store::open(&options, &MigrationSet::logs(), clock, ids, None).expect("opens");
        let all = u64::from(PURGE_BATCH) * 2 + 1;
        let fill = move |tx: &Tx<'_>| {
            let record = Record {
                level: "info",
                target: "t".to_owned(),
                message: "old".to_owned(),
                fields: serde_json::Map::new(),
                request_id: None,
            };
            (0..all).try_for_each(|_| sql::insert(tx, &record))
        };
        logs.write(fill).await.expect("fills");
        let before = Timestamp::from_millis(2_000);
        let asked = std::cell::Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            asked.get() > 1
        };
        let first = purge(&logs, before, stop).await.expect("purges");
        assert_eq!(first, Progress { purged: PURGE_BATCH.into(), done: false });
        let rest = purge(&logs, before, || false).await.expect("purges");
        assert_eq!(rest, Progress { purged: all - u64::from(PURGE_BATCH), done: true });
    }
}
