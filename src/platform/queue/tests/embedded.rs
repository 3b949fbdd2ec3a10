//! The embedded queue on `queue.db`, by wall time.

use super::server::*;
use super::*;

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
            let sql = format!("EXPLAIN QUERY PLAN {}", queue_db::DUE);
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

/// Instants there are exact: a retry does not wait for the next whole second.
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
