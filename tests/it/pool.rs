//! A pool whose readers are all taken: figures stay true, callers are told in time.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADMIN, PASSWORD};
use tenure::config::{Config, Reader};
use tenure::platform::clock::SystemClock;

use crate::support::{eventually, free_port, http};

fn config(data: &std::path::Path) -> Config {
    let vars = [
        ("DATA_DIR", data.display().to_string()),
        ("PORT", free_port().to_string()),
        ("DB_POOL_MAX", "3".to_owned()),
        ("DB_POOL_MIN", "1".to_owned()),
        ("DB_POOL_CONNECTION_TIMEOUT_MS", "1000".to_owned()),
    ];
    let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
    Config::from_reader(reader).expect("valid").0
}

/// Ten slow reads on a pool of three (two readers and the writer): two run, eight wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ten_slow_reads_the_figures_are_right_and_others_get_503_in_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let running =
        tenure::app::start(config(&dir.path().join("data")), Arc::new(SystemClock)).await.expect("starts");
    create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
    let admin = Client::sign_in(&http(), &running.base, ADMIN, PASSWORD).await.expect("signs in");

    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let (store, held) = (running.app.store.clone(), Arc::clone(&held));
            tokio::spawn(async move {
                store
                    .read(move |_| {
                        // Ends when the other end is dropped.
                        let _ = held.lock().expect("not poisoned").recv();
                        Ok(())
                    })
                    .await
            })
        })
        .collect();

    let pool: Value = eventually("two reads run and eight wait", Duration::from_millis(900), || async {
        let pool = admin.get("/api/system").await.ok()?["pool"].clone();
        (pool["active"] == 2 && pool["waiting"] == 8).then_some(pool)
    })
    .await;
    assert_eq!((&pool["max"], &pool["min"]), (&3.into(), &1.into()));

    let began = Instant::now();
    let refused = admin.get("/api/people").await.expect_err("every reader is taken").to_string();
    assert!(refused.contains("503"), "{refused}");
    assert!(began.elapsed() < Duration::from_millis(2_000), "told after {:?}", began.elapsed());
    let timeouts = admin.get("/api/system").await.expect("figures")["pool"]["timeouts"].as_u64();
    assert!(timeouts.is_some_and(|n| n >= 1), "{timeouts:?}");

    drop(release);
    for read in slow {
        // The first two were served, the others gave up after their second.
        let _ = read.await.expect("joins");
    }
    assert!(admin.get("/api/people").await.is_ok(), "the pool is free again");
    running.stop().await;
}
