//! Nothing is removed for its age by a clock in doubt.

use super::*;

const LINES: &str = "SELECT count(*) FROM system_log WHERE target = 'test'";

async fn lines(world: &World) -> u64 {
    world.running.app.logs.read(|tx| tx.scalar(LINES, params![])).await.expect("read")
}

/// One line, written at the beginning.
async fn log_a_line(world: &World) {
    let logged = |tx: &Tx<'_>| {
        let sql = "INSERT INTO system_log (at, level, target, message, fields) VALUES (?1, 'info', 'test', 'm', '{}')";
        tx.execute(sql, params![at(BEGIN)])
    };
    world.running.app.logs.write(logged).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_in_doubt_purges_nothing() {
    let world = World::start(None).await;
    log_a_line(&world).await;
    // Content that nothing refers to goes after a day.
    let hash = "a".repeat(64);
    world
        .write(move |tx| {
            let sql = "INSERT INTO blob (sha256, size_bytes, created_at, touched_at) VALUES (?1, 1, ?2, ?2)";
            tx.execute(sql, params![hash, tx.now()])
        })
        .await;
    let blobs = "SELECT count(*) FROM blob";

    world.clock.jump(at("2099-01-01T00:00:00Z"));
    for purge in [names::LOG_RETENTION, names::RUN_ORPHAN_CLEANUP] {
        world.run(purge).await;
    }
    assert_eq!((lines(&world).await, world.count(blobs).await), (1, 1));

    world.confirm().await;
    for purge in [names::LOG_RETENTION, names::RUN_ORPHAN_CLEANUP] {
        world.run(purge).await;
    }
    assert_eq!((lines(&world).await, world.count(blobs).await), (0, 0), "once the time is confirmed both are old");
    world.running.stop().await;
}

/// What people do goes on while the clock is in doubt, but for this: what is old by it is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_purged_by_hand_while_the_clock_is_in_doubt() {
    let world = World::start(None).await;
    log_a_line(&world).await;
    let purge = async || {
        let body = json!({ "olderThanDays": 7 });
        world.admin().await.post("/api/logs/purge", body).await
    };
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    for who in ["whoever notices it first", "whoever comes later"] {
        let refused = purge().await.expect_err(who).to_string();
        assert!(refused.contains("409") && refused.contains("clock is in doubt"), "{who}: {refused}");
    }
    assert_eq!((lines(&world).await, world.audited("log.purged").await), (1, 0));
    assert_eq!(world.audited("clock.doubted").await, 1);

    world.confirm().await;
    let purged = purge().await.expect("purged");
    assert!(purged["purged"].as_u64() >= Some(1), "{purged}");
    assert_eq!((lines(&world).await, world.audited("log.purged").await), (0, 1));
    world.running.stop().await;
}
