//! The promises of the two doors, on real files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::params;
use crate::platform::clock::{SeededIds, SystemClock};

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
}

fn open(max: u32, min: u32, timeout_ms: u64) -> Fixture {
    // No test waits for as long as it takes until an idle writer folds its log.
    open_with(max, min, timeout_ms, Duration::from_secs(600))
}

fn open_with(max: u32, min: u32, timeout_ms: u64, idle_fold: Duration) -> Fixture {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = Options::small(dir.path().join("t.db"));
    options.max = max;
    options.min = min;
    options.acquire_timeout = Duration::from_millis(timeout_ms);
    options.idle_fold = idle_fold;
    let migrations = MigrationSet::of(vec![Migration {
        version: 1,
        name: "t".to_owned(),
        sql: "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT NOT NULL UNIQUE) STRICT;".to_owned(),
    }]);
    let store = Store::open(&options, &migrations, Arc::new(SystemClock), Arc::new(SeededIds::new(1)), None)
        .expect("opens");
    Fixture { _dir: dir, store }
}

async fn count(store: &Store) -> i64 {
    store.read(|tx| tx.scalar("SELECT count(*) FROM t", params![])).await.expect("reads")
}

fn insert(tx: &Tx<'_>, body: &str) -> Result<usize, Problem> {
    tx.execute("INSERT INTO t (body) VALUES (?1)", params![body])
}

#[tokio::test]
async fn what_was_answered_is_stored_and_what_failed_is_not() {
    let f = open(3, 1, 5_000);
    let mut tasks = Vec::new();
    for i in 0..200_u32 {
        let store = f.store.clone();
        tasks.push(tokio::spawn(async move {
            store
                .write(move |tx| {
                    insert(tx, &format!("row {i}"))?;
                    if i % 3 == 0 { Err(Problem::refused("every third")) } else { Ok(i) }
                })
                .await
        }));
    }
    let mut kept = 0;
    for task in tasks {
        kept += i64::from(task.await.expect("joins").is_ok());
    }
    assert_eq!(kept, 133);
    assert_eq!(count(&f.store).await, kept);
}

#[tokio::test]
async fn writers_that_wait_share_a_commit() {
    let f = open(2, 1, 5_000);
    let tasks: Vec<_> = (0..500)
        .map(|i| {
            let store = f.store.clone();
            tokio::spawn(async move { store.write(move |tx| insert(tx, &i.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("joins").expect("writes");
    }
    let stats = f.store.writer_stats();
    assert_eq!(stats.writes, 500);
    assert!(stats.batches < 400, "500 writes took {} commits", stats.batches);
}

#[tokio::test]
async fn a_panic_is_that_closures_error_alone() {
    let f = open(2, 1, 5_000);
    let failed = f.store.write(|tx| -> Result<(), Problem> {
        insert(tx, "lost")?;
        panic!("on purpose")
    });
    assert!(matches!(failed.await, Err(Problem::Internal(_))));
    f.store.write(|tx| insert(tx, "kept")).await.expect("the writer goes on");
    assert_eq!(count(&f.store).await, 1);
}

#[tokio::test]
async fn what_follows_a_commit_is_dropped_with_its_rollback() {
    let f = open(2, 1, 5_000);
    let woken = Arc::new(AtomicU32::new(0));
    for fails in [true, false] {
        let woken = Arc::clone(&woken);
        let _ = f
            .store
            .write(move |tx| {
                let woken = Arc::clone(&woken);
                tx.after_commit(move || {
                    woken.fetch_add(1, Ordering::SeqCst);
                });
                if fails { Err(Problem::refused("no")) } else { Ok(()) }
            })
            .await;
    }
    assert_eq!(woken.load(Ordering::SeqCst), 1);
}

/// A part that fails takes back its rows and what was to follow them, and nothing of what stands around it.
#[tokio::test]
async fn a_savepoint_rolls_back_alone() {
    let f = open(3, 1, 5_000);
    let followed = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&followed);
    let inner = f
        .store
        .write(move |tx| {
            let follow = |by: u32| {
                let counted = Arc::clone(&counted);
                tx.after_commit(move || {
                    counted.fetch_add(by, Ordering::SeqCst);
                });
            };
            insert(tx, "before")?;
            follow(1);
            let failed = tx.savepoint(|tx| {
                insert(tx, "lost")?;
                follow(10);
                // One that went well goes with the one around it.
                tx.savepoint(|tx| insert(tx, "lost too"))??;
                Err::<(), _>(Problem::refused("the part failed"))
            })?;
            let kept = tx.savepoint(|tx| insert(tx, "kept"))?;
            insert(tx, "after")?;
            follow(100);
            Ok((failed, kept))
        })
        .await
        .expect("the whole goes on");
    assert!(matches!(inner, (Err(Problem::Invalid { .. }), Ok(1))), "{inner:?}");
    let rows = f.store.read(|tx| tx.query("SELECT body FROM t ORDER BY id", params![], |r| r.get::<String>("body")));
    assert_eq!(rows.await.expect("reads"), ["before", "kept", "after"]);
    assert_eq!(followed.load(Ordering::SeqCst), 101);
}

#[tokio::test]
async fn a_single_connection_reads_and_writes() {
    let f = open(1, 0, 5_000);
    f.store.write(|tx| insert(tx, "one")).await.expect("writes");
    assert_eq!(count(&f.store).await, 1);
    let refused = f.store.read(|tx| insert(tx, "two")).await;
    assert!(refused.is_err(), "a read must not write");
    f.store.write(|tx| insert(tx, "two")).await.expect("writes again");
    assert_eq!(count(&f.store).await, 2);
    f.store.close().await;
}

#[tokio::test]
async fn readers_cannot_write() {
    let f = open(2, 1, 5_000);
    assert!(f.store.read(|tx| insert(tx, "no")).await.is_err());
    assert_eq!(count(&f.store).await, 0);
}

/// Two readers are held; the third caller is told in time, and the figures are right meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starved_pool_answers_503_in_time_and_says_so_in_its_figures() {
    let f = open(3, 1, 200);
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let (ready, mut is_ready) = tokio::sync::mpsc::channel(2);
    let mut slow = Vec::new();
    for _ in 0..2 {
        let (store, held, ready) = (f.store.clone(), Arc::clone(&held), ready.clone());
        slow.push(tokio::spawn(async move {
            store
                .read(move |_| {
                    let _ = ready.blocking_send(());
                    let _ = held.lock().expect("not poisoned").recv();
                    Ok(())
                })
                .await
        }));
    }
    is_ready.recv().await.expect("first reader");
    is_ready.recv().await.expect("second reader");
    let stats = f.store.pool_stats();
    assert_eq!((stats.max, stats.active, stats.idle), (3, 2, 1));
    let refused = f.store.read(|_| Ok(())).await;
    assert!(matches!(refused, Err(Problem::Unavailable { .. })));
    assert_eq!(f.store.pool_stats().timeouts, 1);
    drop(hold);
    for task in slow {
        task.await.expect("joins").expect("reads");
    }
    assert_eq!(f.store.pool_stats().active, 0);
}

#[tokio::test]
async fn a_write_that_waited_too_long_is_never_carried_out() {
    let f = open(2, 1, 50);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (started, is_started) = tokio::sync::oneshot::channel();
    let started = std::sync::Mutex::new(Some(started));
    let store = f.store.clone();
    let blocker = tokio::spawn(async move {
        store
            .write(move |_| {
                if let Some(started) = started.lock().expect("not poisoned").take() {
                    let _ = started.send(());
                }
                let _ = wait.lock().expect("not poisoned").recv();
                Ok(())
            })
            .await
    });
    is_started.await.expect("the blocker runs");
    let store = f.store.clone();
    let late = tokio::spawn(async move { store.write(|tx| insert(tx, "late")).await });
    while f.store.writer_stats().queued == 0 {
        tokio::task::yield_now().await;
    }
    // The deadline is monotonic, so only time itself brings it.
    tokio::time::timeout(Duration::from_millis(60), std::future::pending::<()>()).await.expect_err("waits");
    go.send(()).expect("the blocker waits");
    blocker.await.expect("joins").expect("a begun write is answered");
    assert!(matches!(late.await.expect("joins"), Err(Problem::Unavailable { .. })));
    assert_eq!(count(&f.store).await, 0);
}

#[tokio::test]
async fn a_door_inside_a_closure_is_refused() {
    let f = open(2, 1, 5_000);
    let inner = f.store.clone();
    let result = f
        .store
        .write(move |_| {
            futures::executor::block_on(inner.read(|_| Ok(())))
        })
        .await;
    assert!(matches!(result, Err(Problem::Internal(_))));
}

#[test]
fn a_changed_migration_and_a_newer_database_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Options::small(dir.path().join("m.db"));
    let set = |files: &[(u32, &str)]| {
        MigrationSet::of(
            files
                .iter()
                .map(|(version, sql)| Migration { version: *version, name: "m".to_owned(), sql: (*sql).to_owned() })
                .collect(),
        )
    };
    let start = |set: &MigrationSet| {
        Store::open(&options, set, Arc::new(SystemClock), Arc::new(SeededIds::new(1)), None).map(drop)
    };
    let two = set(&[(1, "CREATE TABLE a (x INTEGER) STRICT"), (2, "CREATE TABLE b (x INTEGER) STRICT")]);
    start(&two).expect("fresh");
    start(&two).expect("again");
    let older = set(&[(1, "CREATE TABLE a (x INTEGER) STRICT")]);
    assert!(start(&older).expect_err("newer database").to_string().contains("0002"));
    let changed = set(&[(1, "CREATE TABLE a (y INTEGER) STRICT"), (2, "CREATE TABLE b (x INTEGER) STRICT")]);
    assert!(start(&changed).expect_err("changed text").to_string().contains("another text"));
}

/// `max_page_count` makes SQLite answer SQLITE_FULL exactly as a full disk does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_in_a_batch_keeps_what_was_answered_and_nothing_else() {
    let f = open(2, 1, 20_000);
    f.store
        .write(|tx| {
            let pages: i64 = tx.scalar("PRAGMA page_count", params![])?;
            tx.query(&format!("PRAGMA max_page_count={}", pages + 40), params![], |_| Ok(()))
        })
        .await
        .expect("limits the file");
    let tasks: Vec<_> = (0..640_u32)
        .map(|i| {
            let store = f.store.clone();
            tokio::spawn(async move {
                let body = format!("{i} {}", "x".repeat(2_000));
                store.write(move |tx| insert(tx, &body)).await.map(|_| i)
            })
        })
        .collect();
    let mut answered = Vec::new();
    let mut refused = 0;
    for task in tasks {
        match task.await.expect("joins") {
            Ok(i) => answered.push(i64::from(i)),
            Err(Problem::Unavailable { detail, .. }) => {
                assert!(detail.contains("full"), "{detail}");
                refused += 1;
            }
            Err(other) => panic!("expected a full disk, got {other:?}"),
        }
    }
    assert!(refused > 0 && !answered.is_empty(), "{refused} refused, {} answered", answered.len());
    let mut stored: Vec<i64> = f
        .store
        .read(|tx| {
            tx.query("SELECT CAST(body AS INTEGER) AS n FROM t", params![], |r| r.get("n"))
        })
        .await
        .expect("reads");
    stored.sort_unstable();
    answered.sort_unstable();
    assert_eq!(stored, answered);
    f.store
        .write(|tx| tx.query("PRAGMA max_page_count=1000000", params![], |_| Ok(())))
        .await
        .expect("room again");
    f.store.write(|tx| insert(tx, "after")).await.expect("heals by itself");
}

fn size_of_log(store: &Store) -> u64 {
    let mut path = store.path().as_os_str().to_owned();
    path.push("-wal");
    std::fs::metadata(path).expect("a write-ahead log").len()
}

/// Until the write-ahead log is empty.
async fn emptied(store: &Store) {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let empty = async {
        while size_of_log(store) > 0 {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), empty).await.expect("an idle writer empties its log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_writer_empties_its_write_ahead_log_after_each_burst() {
    let f = open_with(3, 1, 5_000, Duration::from_millis(20));
    emptied(&f.store).await;
    for burst in 0..3 {
        let body = format!("{burst} {}", "x".repeat(3_000_000));
        f.store.write(move |tx| insert(tx, &body)).await.expect("writes");
        emptied(&f.store).await;
    }
    assert_eq!(count(&f.store).await, 3);
}

/// A reader keeps the log from being emptied: nobody waits for it, and it is tried again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_in_the_way_of_an_idle_writer_delays_no_write() {
    let f = open_with(3, 1, 300, Duration::from_millis(10));
    f.store.write(|tx| insert(tx, "before")).await.expect("writes");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let store = f.store.clone();
    let reader = tokio::spawn(async move {
        store
            .read(move |tx| {
                let before: i64 = tx.scalar("SELECT count(*) FROM t", params![])?;
                let _ = ready.send(());
                let _ = held.recv();
                let after: i64 = tx.scalar("SELECT count(*) FROM t", params![])?;
                Ok((before, after))
            })
            .await
    });
    is_ready.await.expect("the reader holds its snapshot");
    f.store.write(|tx| insert(tx, "first")).await.expect("writes");
    for n in 0..5 {
        // Longer than the writer waits before it folds, so that a fold is tried in between.
        tokio::time::timeout(Duration::from_millis(40), std::future::pending::<()>()).await.expect_err("waits");
        f.store.write(move |tx| insert(tx, &n.to_string())).await.expect("no write waits for a reader");
    }
    assert!(size_of_log(&f.store) > 0, "what the reader sees is still there");
    drop(release);
    assert_eq!(reader.await.expect("joins").expect("reads"), (1, 1));
    emptied(&f.store).await;
    assert_eq!(count(&f.store).await, 7);
}
