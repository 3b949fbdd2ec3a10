//! The operations runbook, sentence by sentence and row by row, with each backend of the queue.
//!
//! The sentence that a test holds stands in its doc comment, as the runbook has it.
//!
//! | Section of the runbook | Tests |
//! |---|---|
//! | Health Check | here |
//! | Stuck Run Recovery | here |
//! | BullMQ Job Processing | `runbook/jobs.rs` |
//! | Graceful Shutdown | here |
//! | Database Pool Tuning | here |
//! | Log Retention | here |
//! | Audit Checkpoints | here |
//! | Configuration Validation | here |

mod bench;
mod jobs;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure::base::clock::Clock as _;
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::settings::{self, STUCK_RUN_TIMEOUT};
use tenure::features::workflow::runs::RunStatus;
use tenure::params;
use tenure::platform::clock::SystemClock;
use tenure::platform::queue::{JobDraft, enqueue, names};

use self::bench::{Bench, Mode, SOON, at, by, config, modes, serve};
use crate::support::{Server, eventually, http};

// --- Health Check ---

/// "`GET /api/health` returns the status of the database and Redis", in the shape that is shown;
/// "`ok`: Both database and Redis are healthy"; "Use this endpoint for load balancer health checks".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_ok_in_the_shape_of_the_runbook() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let (status, health) = bench.health().await;
        assert_eq!((status, &health["status"]), (200, &json!("ok")), "{}: {health}", mode.name);
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert!(health["uptime"].is_f64(), "{health}");
        for check in ["database", "redis"] {
            assert_eq!(health["checks"][check]["status"], "ok", "{health}");
            assert!(health["checks"][check]["latencyMs"].is_number(), "{health}");
        }
        assert_eq!(health["checks"]["redis"]["backend"], mode.name);
        bench.running.stop().await;
    }
}

/// "`degraded`: One or both dependencies are down"; "A `degraded` status means the server is running but
/// some functionality (sessions, job scheduling) may be impaired." A balancer sees 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_degraded_while_a_dependency_is_down() {
    for mut mode in modes().await {
        for (check, other) in [("database", "redis"), ("redis", "database")] {
            let bench = Bench::start(&mode, &[]).await;
            let live = format!("{}/api/health/live", bench.running.base);
            match (check, &mut mode.redis) {
                ("redis", Some(redis)) => redis.kill(),
                ("redis", None) => bench.running.app.queue_store.close().await,
                _ => bench.running.app.store.close().await,
            }
            let (status, health) = eventually("health is degraded", SOON, || async {
                // Results are shared for a second.
                bench.clock.advance(Duration::from_secs(2));
                Some(bench.health().await).filter(|(status, _)| *status == 503)
            })
            .await;
            assert_eq!((status, &health["status"]), (503, &json!("degraded")), "{}: {health}", mode.name);
            assert_eq!(health["checks"][check]["status"], "down", "{}: {health}", mode.name);
            assert_eq!(health["checks"][other]["status"], "ok", "{}: {health}", mode.name);
            let live = http().get(live).send().await.expect("an answer");
            assert_eq!(live.status(), 200, "the server is running");
            bench.running.stop().await;
        }
    }
}

// --- Stuck Run Recovery ---

/// "Workflow runs that remain in `running` status without progress are automatically failed by a periodic
/// job." "A run is considered stuck if its `updated_at` timestamp is older than the timeout. The run is
/// marked as `failed` with reason \"Run timed out (no progress for N minutes)\"." Timeout: default 30,
/// check interval: every 15 minutes. Exactly 30 minutes is not older; one millisecond more is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_progress_for_longer_than_the_timeout_is_failed() {
    for mode in modes().await {
        for (vars, minutes) in [(&[][..], 30), (&[("STUCK_RUN_TIMEOUT_MINUTES", "45")][..], 45)] {
            let bench = Bench::start(&mode, vars).await;
            let slot = at("2031-03-01T12:00:00Z");
            let limit = slot.minus(Duration::from_secs(minutes * 60));
            let stays = bench.running_run(limit).await;
            let goes = bench.running_run(limit.minus(Duration::from_millis(1))).await;
            bench.slot("stuck-run-recovery", "2031-03-01T12:00:00Z").await;
            assert_eq!(bench.run(&stays).await, (RunStatus::Running, None), "{}", mode.name);
            let reason = format!("Run timed out (no progress for {minutes} minutes)");
            assert_eq!(bench.run(&goes).await, (RunStatus::Failed, Some(reason)), "{}", mode.name);
            bench.slot("stuck-run-recovery", "2031-03-01T12:15:00Z").await;
            assert_eq!(bench.run(&stays).await.0, RunStatus::Failed, "the check comes every 15 minutes");
            bench.running.stop().await;
        }
    }
}

/// "The timeout can also be configured via Admin > Security Settings in the web UI." What is saved there
/// beats the variable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_timeout_beats_the_variable() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[("STUCK_RUN_TIMEOUT_MINUTES", "45")]).await;
        bench.write(|tx| settings::ops::set_number(tx, &by(), STUCK_RUN_TIMEOUT, Some(5))).await;
        let slot = at("2031-03-01T12:00:00Z");
        let stays = bench.running_run(slot.minus(Duration::from_secs(300))).await;
        let goes = bench.running_run(slot.minus(Duration::from_millis(300_001))).await;
        bench.slot("stuck-run-recovery", "2031-03-01T12:00:00Z").await;
        assert_eq!(bench.run(&stays).await.0, RunStatus::Running, "{}", mode.name);
        let reason = "Run timed out (no progress for 5 minutes)".to_owned();
        assert_eq!(bench.run(&goes).await, (RunStatus::Failed, Some(reason)));
        bench.running.stop().await;
    }
}

// --- Graceful Shutdown ---

/// "The server handles SIGTERM and SIGINT signals": stops accepting, completes requests, drains the
/// worker, closes the stores, exits; in this order in its log, with status 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signals_end_the_process_in_five_steps() {
    const STEPS: [&str; 5] = [
        "shutdown begins",
        "no new connections are accepted",
        "requests in flight are finished",
        "the worker is drained",
        "the databases are closed",
    ];
    for mode in modes().await {
        for signal in ["-TERM", "-INT"] {
            let dir = tempfile::tempdir().expect("a folder");
            let data = dir.path().join("data");
            let vars: Vec<(&str, &str)> = mode.vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let server = Server::start(&["serve"], &data, &vars).await;
            let port = server.port;
            let code = server.end(signal);
            assert_eq!(code, 0, "{} {signal}", mode.name);
            let log = std::fs::read_to_string(data.with_extension(format!("{port}.log"))).expect("the log");
            let places: Vec<usize> = STEPS.iter().map(|step| log.find(step).unwrap_or_else(|| panic!("{step}: {log}"))).collect();
            assert!(places.is_sorted(), "{} {signal}: {log}", mode.name);
            let open = std::net::TcpStream::connect(("127.0.0.1", port));
            assert!(open.is_err(), "nobody listens any more");
        }
    }
}

/// "The default grace period should be at least 30 seconds."
#[tokio::test]
async fn the_grace_period_is_30_seconds_unless_said_otherwise() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let config = config(&dir.path().join("data"), &mode, &[]);
        assert_eq!(config.operation.shutdown_grace, Duration::from_secs(30));
    }
}

// --- Database Pool Tuning ---

/// `DB_POOL_MAX` 10, `DB_POOL_MIN` 2, `DB_POOL_IDLE_TIMEOUT_MS` 30000, `DB_POOL_CONNECTION_TIMEOUT_MS` 5000.
#[tokio::test]
async fn the_pool_has_the_defaults_of_the_table() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let pool = config(&dir.path().join("data"), &mode, &[]).database;
        assert_eq!((pool.max, pool.min), (10, 2));
        assert_eq!((pool.idle_timeout, pool.connection_timeout), (Duration::from_secs(30), Duration::from_secs(5)));
    }
}

/// `DB_POOL_MAX`: "Maximum number of connections"; `DB_POOL_CONNECTION_TIMEOUT_MS`: "Fail if connection
/// cannot be acquired"; `DB_POOL_IDLE_TIMEOUT_MS`: "Close idle connections after this time", down to
/// `DB_POOL_MIN`: "Minimum idle connections"; "Monitor active connections with": the pool's figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_variable_of_the_pool_does_what_the_table_says() {
    // Connections are closed by wall time: both at once.
    let [embedded, redis] = modes().await;
    tokio::join!(the_pool_obeys_its_variables(embedded), the_pool_obeys_its_variables(redis));
}

async fn the_pool_obeys_its_variables(mode: Mode) {
    let vars = [
        ("DB_POOL_MAX", "5"),
        ("DB_POOL_MIN", "3"),
        ("DB_POOL_IDLE_TIMEOUT_MS", "1000"),
        ("DB_POOL_CONNECTION_TIMEOUT_MS", "300"),
    ];
    let dir = tempfile::tempdir().expect("a folder");
    let running = tenure::app::start(config(&dir.path().join("data"), &mode, &vars), Arc::new(SystemClock)).await.expect("starts");
    let store = running.app.store.clone();
    let open = || {
        let figures = store.pool_stats();
        figures.active + figures.idle
    };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let (store, held) = (store.clone(), Arc::clone(&held));
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
    eventually("four readers are taken", SOON, || async { (store.pool_stats().active >= 4).then_some(()) }).await;
    assert!(open() <= 5, "{}: {:?}", mode.name, store.pool_stats());
    let began = SystemClock.now();
    let refused = store.read(|_| Ok(())).await;
    let waited = SystemClock.now().since(began);
    assert!(matches!(refused, Err(Problem::Unavailable { .. })), "{refused:?}");
    assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(3), "{waited:?}");
    drop(release);
    for read in reads {
        // The one that could not be served in time has said so.
        let _ = read.await.expect("joins");
    }
    eventually("idle connections close down to the minimum", Duration::from_secs(45), || async {
        (open() == 3).then_some(())
    })
    .await;
    running.stop().await;
}

// --- Log Retention ---

/// "System logs are stored in the `system_log` table. A daily cleanup job purges entries older than
/// `LOG_RETENTION_DAYS` (default: 30)." Exactly as old stays; one millisecond more goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_purge_takes_entries_older_than_the_retention() {
    for mode in modes().await {
        for (vars, days) in [(&[][..], 30), (&[("LOG_RETENTION_DAYS", "7")][..], 7)] {
            let bench = Bench::start(&mode, vars).await;
            // The slot's own instant is when the job runs: the clock stands.
            let limit = at("2031-03-02T03:00:00Z").minus(Duration::from_secs(days * 86_400));
            add_log_entries(&bench, limit).await;
            bench.slot("log-retention", "2031-03-02T03:00:00Z").await;
            assert_eq!(log_entries(&bench).await, ["younger", "as old"], "{}", mode.name);
            bench.running.stop().await;
        }
    }
}

async fn add_log_entries(bench: &Bench, limit: Timestamp) {
    bench
        .running
        .app
        .logs
        .write(move |tx| {
            for (message, at) in [("older", limit.minus(Duration::from_millis(1))), ("as old", limit), ("younger", limit.plus(Duration::from_millis(1)))] {
                tx.execute(
                    "INSERT INTO system_log (at, level, target, message, fields) VALUES (?1, 'info', 'runbook', ?2, '{}')",
                    params![at, message],
                )?;
            }
            Ok(())
        })
        .await
        .expect("stored");
}

async fn log_entries(bench: &Bench) -> Vec<String> {
    let sql = "SELECT message FROM system_log WHERE target = 'runbook' ORDER BY at DESC";
    bench.running.app.logs.read(move |tx| tx.query(sql, params![], |r| r.get("message"))).await.expect("reads")
}

/// "Manual purge is available via Admin > Logging > Purge Now in the web UI", which asks this route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_now_takes_the_same_entries_at_once() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let admin = bench.admin().await;
        add_log_entries(&bench, bench.clock.now().minus(Duration::from_secs(30 * 86_400))).await;
        let answer = admin.post("/api/logs/purge", json!({})).await.expect("purges");
        assert_eq!(answer["purged"], 1, "{}: {answer}", mode.name);
        assert_eq!(log_entries(&bench).await, ["younger", "as old"]);
        bench.running.stop().await;
    }
}

// --- Configuration Validation ---

/// "The server validates all configuration at startup. Invalid values (e.g., `PORT=abc`, `DB_POOL_MAX=0`)
/// produce clear error messages and prevent startup."
#[tokio::test]
async fn invalid_values_prevent_a_start_and_say_why() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let output = serve(&data, &mode, &[("PORT", "abc"), ("DB_POOL_MAX", "0")]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        for line in ["PORT: got \"abc\"; expected ", "DB_POOL_MAX: got \"0\"; expected "] {
            assert!(text.lines().any(|l| l.contains(line)), "{}: {text}", mode.name);
        }
        assert!(!data.exists(), "nothing was started");
    }
}

/// "In production, the server also validates that required secrets are not using default/fallback values."
#[tokio::test]
async fn production_refuses_default_and_missing_secrets() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let vars = [("APP_ENV", "production"), ("SESSION_SECRET", "changeme-changeme-changeme-0123456789")];
        let output = serve(&dir.path().join("data"), &mode, &vars);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        for name in ["SESSION_SECRET", "CONNECTOR_ENCRYPTION_KEY", "AUDIT_SIGNING_KEY"] {
            assert!(text.contains(&format!("{name}: expected ")), "{}: {text}", mode.name);
        }
        assert!(!text.contains("changeme"), "no secret is printed: {text}");
    }
}

// --- Audit Checkpoints ---

/// "Signed audit checkpoints are created on a configurable schedule (default: every 6 hours)"; they "are stored
/// according to `AUDIT_CHECKPOINT_STORE`", `file` in `AUDIT_CHECKPOINT_PATH`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signed_checkpoints_are_made_by_schedule_and_kept_in_their_folder() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("evidence");
        let vars = [
            ("AUDIT_CHECKPOINT_SCHEDULE", "*/10 * * * *"),
            ("AUDIT_CHECKPOINT_STORE", "file"),
            ("AUDIT_CHECKPOINT_PATH", folder.to_str().expect("UTF-8")),
        ];
        let bench = Bench::start(&mode, &vars).await;
        let handler = bench.running.app.registry.find(names::AUDIT_CHECKPOINT).expect("it is registered");
        assert_eq!(handler.schedule().expect("a schedule").text(), "*/10 * * * *", "{}", mode.name);
        bench.write(|tx| enqueue(tx, JobDraft::now(names::AUDIT_CHECKPOINT, json!({})))).await;
        let note = eventually("the checkpoint is in its folder", SOON, || async {
            std::fs::read_to_string(folder.join("checkpoint")).ok()
        })
        .await;
        let keys = bench.running.app.store.read(tenure::features::audit::keys::list).await.expect("the log names its key");
        let checkpoint = tenure::features::audit::note::open_note(&note, &keys.keys).expect("it is signed");
        assert_eq!(checkpoint.origin, keys.origin, "{}", mode.name);
        bench.running.stop().await;
    }
}
