//! The embedded queue as it is stopped, killed, and robbed of its file.

use super::server::*;
use super::*;

/// What finishes in time is done; what does not waits again and has lost no attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_it_can_and_releases_the_rest_uncounted() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let server = Server::start(&dir, probe, 2).await;
    server.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 2).await;
    let store = server.store.clone();
    let drained = server.runtime.drain(SystemClock.now().plus(Duration::from_millis(100))).await;
    assert_eq!(drained.released, 2);
    let counts = store.read(views::count_jobs).await.unwrap();
    assert_eq!((counts.waiting, counts.active), (3, 0));
    server.stop(SOON).await;

    let (probe, seen) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 2).await;
    eventually(SOON, async || server.counts().await.completed == 3).await;
    assert!(seen.attempts().iter().all(|(attempt, _)| *attempt == 1));
    server.stop(SOON).await;
}

/// A crash is a runtime that is never drained: its jobs run again within a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_on_queue_db_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let crashed = Server::start(&dir, probe, 2).await;
    crashed.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 2).await;
    crashed.store.close().await;
    crashed.queue_store.close().await;

    let (probe, seen) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 2).await;
    eventually(Duration::from_secs(1), async || server.counts().await.completed == 3).await;
    let mut attempts: Vec<u32> = seen.attempts().iter().map(|a| a.0).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 1, 1], "two ran: neither is known to have ended the process");
    server.stop(SOON).await;
}

/// The ledger is the memory: a queue that forgot everything gets it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_db_that_was_lost_is_refilled() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, seen) = Probe::new(Act::Hang);
    let first = Server::start(&dir, probe, 1).await;
    first.enqueue(5).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 1).await;
    first.stop(Duration::from_millis(1)).await;
    for file in ["queue.db", "queue.db-wal", "queue.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(file));
    }
    let (probe, _) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 4).await;
    eventually(SOON, async || server.counts().await.completed == 5).await;
    server.stop(SOON).await;
}

/// A slot is free before `queue.db` knows how its attempt ended; that end must not get lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_queue_db_could_not_take_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let gate = Arc::new(Semaphore::new(0));
    let (probe, seen) = Probe::new(Act::Wait(Arc::clone(&gate)));
    let server = Server::start_with(&dir, probe, 4, Arc::clone(&faults)).await;
    server.enqueue(3).await;
    eventually(SOON, async || seen.running.load(Ordering::SeqCst) == 3).await;
    faults.arm("writer:before_commit", Fault::Error);
    gate.add_permits(3);
    eventually(SOON, async || server.counts().await.completed == 3).await;
    assert_eq!(server.runtime.counts().await.unwrap().active, 3, "queue.db could not be told");
    faults.disarm("writer:before_commit");
    eventually(SOON, async || server.runtime.counts().await.unwrap() == Default::default()).await;
    server.stop(SOON).await;
}

/// A drain in the midst of it: what ended is gone, what was claimed and not started waits.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_drain_no_row_of_queue_db_is_locked() {
    let dir = tempfile::tempdir().unwrap();
    let (probe, _) = Probe::new(Act::Succeed);
    let server = Server::start(&dir, probe, 16).await;
    server.enqueue(400).await;
    eventually(SOON, async || server.counts().await.completed > 0).await;
    server.runtime.drain(SystemClock.now().plus(SOON)).await;
    assert_eq!(server.runtime.counts().await.unwrap().active, 0);
    let counts = server.counts().await;
    assert_eq!((counts.active, counts.waiting + counts.completed), (0, 400));
    server.stop(SOON).await;
}
