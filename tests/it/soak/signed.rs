//! `kill -9` while the log grows and checkpoints are made of it: nothing that the crash left is taken for tampering.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Moments, ledger, size, the_machine};
use crate::support::load::{administrator, client};
use crate::support::redis::RedisServer;
use crate::support::{Server, command, eventually};

/// Writers beside each other: their entries share commits, which a kill cuts.
const WRITERS: usize = 4;

/// What the server answered before it was killed.
#[derive(Default)]
struct Answered {
    entries: AtomicU64,
    checkpoints: AtomicU64,
}

/// Writes until it is told to stop, or nobody answers.
async fn write(base: String, token: String, answered: Arc<Answered>, stop: CancellationToken) {
    let client = client();
    while !stop.is_cancelled() {
        let made = client.post(format!("{base}/api/auth/tokens")).bearer_auth(&token).json(&json!({ "name": "one more" }));
        match made.send().await {
            Ok(answer) if answer.status() == 201 => answered.entries.fetch_add(1, Ordering::Relaxed),
            Ok(answer) => panic!("a token is answered with {}", answer.status()),
            Err(_) => return,
        };
    }
}

/// Signs until it is told to stop, or nobody answers.
async fn sign(base: String, token: String, answered: Arc<Answered>, stop: CancellationToken) {
    let client = client();
    while !stop.is_cancelled() {
        let made = client.post(format!("{base}/api/audit/checkpoints")).bearer_auth(&token);
        match made.send().await {
            Ok(answer) if answer.status() == 200 => answered.checkpoints.fetch_add(1, Ordering::Relaxed),
            Ok(answer) => panic!("a checkpoint is answered with {}: {:?}", answer.status(), answer.text().await),
            Err(_) => return,
        };
    }
}

/// Loads the server and kills it after a while.
async fn load_and_kill(server: &mut Server, token: &str, answered: &Arc<Answered>, after: Duration) {
    let (stop, mut load) = (CancellationToken::new(), JoinSet::new());
    for _ in 0..WRITERS {
        load.spawn(write(server.base.clone(), token.to_owned(), answered.clone(), stop.clone()));
    }
    load.spawn(sign(server.base.clone(), token.to_owned(), answered.clone(), stop.clone()));
    tokio::time::sleep(after).await;
    server.kill();
    stop.cancel();
    while let Some(ended) = load.join_next().await {
        ended.expect("the load was answered as it should be");
    }
}

/// Without a server: the log and all its checkpoints fit.
fn assert_sound(data: &Path, kills: u32) -> u64 {
    let mut verify = command(&["audit", "verify", "--json", "--db"]);
    verify.arg(data.join("tenure.db"));
    if data.join("checkpoints").exists() {
        verify.arg("--checkpoints").arg(data.join("checkpoints"));
    }
    let output = verify.output().expect("runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "after {kills} kills: {told}");
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(verdict["fault"], Value::Null, "after {kills} kills");
    verdict["checkpointsChecked"].as_u64().expect("a number")
}

/// A server that was just started sees nothing wrong, and signs on.
async fn assert_trusted(server: &Server, token: &str, kills: u32) {
    server.healthy().await;
    eventually("health knows the log", Duration::from_secs(10), || async {
        let (_, health) = server.get("/api/health").await;
        let audit = &health["checks"]["audit"];
        assert_ne!(audit["status"], "down", "after {kills} kills: {audit}");
        (audit["status"] == "ok").then_some(())
    })
    .await;
    let state = client().get(format!("{}/api/audit/checkpoints/state", server.base)).bearer_auth(token).send().await;
    let state: Value = state.expect("an answer").json().await.expect("JSON");
    assert_eq!(state["refused"], Value::Null, "after {kills} kills");
}

async fn killed(mode: &str, vars: &[(&str, &str)]) {
    let _machine = the_machine().await;
    let kills = match std::env::var("TENURE_KILLS") {
        Ok(number) => number.parse().expect("TENURE_KILLS is a number"),
        Err(_) => size(5, 500),
    };
    let (mut moments, began) = (Moments::seeded(), Instant::now());
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let token = administrator(&data);
    let off = ["ACCOUNT", "ADDRESS", "SIGN_IN"].map(|of| (format!("RATE_LIMIT_{of}_PER_MIN"), "0"));
    let mut all: Vec<(&str, &str)> = off.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    all.extend(vars);
    let answered = Arc::new(Answered::default());
    let mut checked = 0;
    for kill in 1..=kills {
        let mut server = Server::spawn(&["serve"], &data, &all);
        assert_trusted(&server, &token, kill - 1).await;
        load_and_kill(&mut server, &token, &answered, moments.next(30, 400)).await;
        checked = assert_sound(&data, kill);
    }
    let server = Server::spawn(&["serve"], &data, &all);
    assert_trusted(&server, &token, kills).await;
    assert_eq!(server.terminate(), 0);
    assert_sound(&data, kills);
    let (entries, checkpoints) =
        (answered.entries.load(Ordering::Relaxed), answered.checkpoints.load(Ordering::Relaxed));
    let db = ledger::open(&data);
    let kept = ledger::number(&db, "SELECT count(*) FROM audit_log WHERE action = 'token.created'");
    let signed = ledger::number(&db, "SELECT count(*) FROM checkpoint");
    println!(
        "{mode}: {kills} kills, {entries} entries and {checkpoints} checkpoints answered, {kept} and {signed} kept, \
         {checked} checkpoints compared at the end, no false alarm, in all {:?}",
        began.elapsed()
    );
    assert!(kept > entries && signed >= checkpoints, "what was answered is there");
    assert!(checkpoints >= u64::from(kills) / 2 && entries > u64::from(kills), "there was something to cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_log_is_written_and_signed_it_is_sound_at_every_restart() {
    killed("embedded", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_killed_while_the_log_is_written_and_signed_it_is_sound_at_every_restart() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    killed("redis", &[("REDIS_URL", &url)]).await;
}
