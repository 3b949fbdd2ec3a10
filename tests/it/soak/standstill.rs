//! Two hours of standstill in the midst of many runs: all of them go on, none is failed as stuck.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::app::demo::client::{Client, text};
use tenure::app::demo::story::{ADMIN, PASSWORD};

use super::{assert_whole, ledger, size, the_machine, until_done};
use crate::support::load::{self, Load, SlowService, Target, publish, tell, wait};
use crate::support::{Server, eventually, http};

/// The stop comes a few minutes after the first instant; the second is two hours after that.
const BEFORE: &str = "2031-03-01T12:00:00Z";
const AFTER: &str = "2031-03-01T14:05:00Z";
/// Two hours later again: what began to wait after the second start is due.
const AT_LAST: &str = "2031-03-01T16:10:00Z";
const STARTS_A_SECOND: u32 = 200;

/// The demo is the one server whose clock can be set.
async fn start_at(now: &str, data: &Path, service: &SlowService, mode: &[(&str, &str)]) -> (Server, Client) {
    let mut vars = vec![
        ("RATE_LIMIT_ACCOUNT_PER_MIN", "0"),
        ("RATE_LIMIT_ADDRESS_PER_MIN", "0"),
        ("RATE_LIMIT_SIGN_IN_PER_MIN", "0"),
        ("STUCK_RUN_TIMEOUT_MINUTES", "30"),
    ];
    vars.extend_from_slice(mode);
    let args = ["demo", "--lab-url", &service.url, "--now", now];
    let server = Server::start(&args, data, &vars).await;
    let client = eventually("the administrator signs in", Duration::from_secs(20), || async {
        Client::sign_in(&http(), &server.base, ADMIN, PASSWORD).await.ok()
    });
    let client = client.await;
    (server, client)
}

async fn schedule(client: &Client) -> Option<Value> {
    let all = client.get("/api/schedules?kind=system").await.ok()?;
    all["items"].as_array()?.iter().find(|s| s["name"] == "stuck-run-recovery").cloned()
}

async fn stood_still(mode: &str, vars: &[(&str, &str)]) {
    let _machine = the_machine().await;
    let (runs, began) = (u64::from(size(400, 1000)), Instant::now());
    let folder = tempfile::tempdir().expect("a folder");
    let (data, service) = (folder.path().join("data"), SlowService::start().await);

    let (server, client) = start_at(BEFORE, &data, &service, vars).await;
    let made = client.post("/api/auth/tokens", json!({ "name": "load" })).await.expect("a token");
    let token = text(&made, "/token").expect("a token");
    // Ten minutes of waiting: some are due while nothing runs.
    let workflow = publish(&server.base, &token, &service.url, &[wait(600, "tell"), tell("end")]).await;
    let target = Target { base: server.base.clone(), token, workflow, client: load::client() };
    let tally = Load::up_to(runs, &target, STARTS_A_SECOND, &Arc::new(AtomicU64::new(0))).finish().await;
    assert_eq!(tally.accepted.len() as u64, runs, "{:?} {:?}", tally.cut, tally.other);
    eventually("a fifth of the runs wait for their time", Duration::from_secs(60), || async {
        (service.figures().0 as u64 >= runs / 5).then_some(())
    })
    .await;
    assert_eq!(server.terminate(), 0);
    let db = ledger::open(&data);
    let of = |status: &str| ledger::number(&db, &format!("SELECT count(*) FROM run WHERE status = '{status}'"));
    let (running, waiting) = (of("running"), of("waiting"));
    assert!(running > 0 && waiting > 0 && running + waiting == runs, "{running} running, {waiting} waiting of {runs}");
    drop(db);

    let (server, client) = start_at(AFTER, &data, &service, vars).await;
    eventually("what missed its slots runs", Duration::from_secs(20), || async {
        let recovery = schedule(&client).await?;
        (recovery["lastState"] == "completed" && recovery["late"]["slotAt"] == "2031-03-01T14:00:00.000Z").then_some(())
    })
    .await;
    let left = runs - service.figures().0 as u64;
    eventually("every run has called", Duration::from_secs(120), || async {
        let waiting = client.get("/api/jobs/counts").await.ok()?;
        (waiting["waiting"] == 0 && waiting["active"] == 0 && service.figures().0 as u64 == runs).then_some(())
    })
    .await;
    assert_eq!(server.terminate(), 0);

    let (server, client) = start_at(AT_LAST, &data, &service, vars).await;
    until_done(async || client.get("/api/jobs/counts").await.ok()).await;
    assert_eq!(server.terminate(), 0);
    assert_whole(&data, &service, &tally.accepted);
    println!(
        "{mode}: {runs} runs, {running} running and {waiting} waiting when it stopped, {left} still to call when \
         stuck-run-recovery had caught up its slots; all completed; in all {:?}",
        began.elapsed()
    );
    assert!(left > 0, "no run was on its way when stuck-run-recovery ran");
}

/// 400 runs; `make soak` makes 1,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_hours_of_standstill_every_run_goes_on_and_none_is_stuck() {
    stood_still("embedded", &[]).await;
}
