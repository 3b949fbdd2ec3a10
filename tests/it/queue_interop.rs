//! Node's BullMQ, in its two latest major versions, and Bull Board on the same queue as Tenure.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::platform::queue::views::{self, JobFilter, JobState};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::queue::{Bench, Mode, PROBE, SOON, act};
use crate::support::redis::RedisServer;
use crate::support::{eventually, http};

const QUEUE: &str = "bull:workflow-scheduler";
const VERSIONS: [&str; 2] = ["5", "6"];

/// A Node program on the queue; it ends when this is dropped.
struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// `node peer.mjs VERSION COMMAND REDIS_URL PREFIX REST…`
    fn start(version: &str, redis: &RedisServer, command: &str, rest: &[&str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node");
        assert!(
            folder.join("node_modules").is_dir(),
            "{} has no node_modules, so Node's BullMQ is not there: run npm ci in tests/node",
            folder.display()
        );
        let mut child = Command::new("node")
            .current_dir(&folder)
            .args(["peer.mjs", version, command, &redis.url(), "bull"])
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { child, lines }
    }

    /// The next line that it says.
    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(SOON, self.lines.next_line()).await.expect("the peer says something in time");
        let line = line.expect("a text").expect("the peer says something before it ends; see its errors above");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Waits until it has ended well.
    async fn end(mut self) {
        let status = tokio::time::timeout(SOON, self.child.wait()).await.expect("the peer ends in time");
        assert!(status.expect("a status").success(), "the peer failed; see its errors above");
    }

    /// A command that says one line and ends.
    async fn ask(version: &str, redis: &RedisServer, command: &str, rest: &[&str]) -> Value {
        let mut peer = Self::start(version, redis, command, rest);
        let answer = peer.line().await;
        peer.end().await;
        answer
    }
}

fn ids(answer: &Value) -> Vec<String> {
    answer.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// The states, attempts and names of BullMQ's own eyes.
async fn seen_by(version: &str, redis: &RedisServer, id: &str) -> Value {
    let job = Peer::ask(version, redis, "job", &[id]).await;
    json!({ "state": job["state"], "attemptsMade": job["attemptsMade"], "name": job["name"] })
}

/// Node adds, Tenure works; one of them fails twice before it succeeds.
async fn node_adds_and_tenure_works(version: &str) {
    let b = Bench::manual(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let easy = ids(&Peer::ask(version, redis, "add", &[PROBE, r#"{"act":"ok","from":"node"}"#, "20"]).await);
    assert_eq!(easy.len(), 20);
    b.eventually("Node's jobs are done", async |b| b.counts().await.completed == 20).await;
    let hard = ids(&Peer::ask(version, redis, "add", &[PROBE, r#"{"act":"fail","until":2}"#, "1"]).await);
    for (seen, wait) in [(21, 5), (22, 10)] {
        b.until_seen(seen).await;
        b.until_quiet().await;
        b.eventually("Redis has the retry", async |b| b.runtime().counts().await.unwrap().delayed == 1).await;
        assert_eq!(seen_by(version, redis, &hard[0]).await["state"], "delayed");
        b.advance(Duration::from_millis(wait * 1000));
    }
    b.eventually("the last of them is done", async |b| b.counts().await.completed == 21).await;
    b.until_quiet().await;
    for (id, attempts) in [(&easy[0], 1), (&easy[19], 1), (&hard[0], 3)] {
        let wanted = json!({ "state": "completed", "attemptsMade": attempts, "name": PROBE });
        assert_eq!(seen_by(version, redis, id).await, wanted, "BullMQ {version}");
    }
    let rows = b.store.read(|tx| views::list_jobs(tx, &JobFilter::default(), None, 50)).await.unwrap();
    assert_eq!(rows.iter().filter(|j| j.payload["from"] == "node" && j.attempts_made == 1).count(), 20);
    assert_eq!(rows.iter().filter(|j| j.attempts_made == 3).count(), 1);
    assert_eq!(b.diary.count(), 23, "each attempt ran once");
    let counts = Peer::ask(version, redis, "counts", &[]).await;
    assert_eq!((&counts["completed"], &counts["active"], &counts["waiting"]), (&json!(21), &json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_bullmq_5_adds_are_worked_off_by_tenure() {
    node_adds_and_tenure_works("5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_bullmq_6_adds_are_worked_off_by_tenure() {
    node_adds_and_tenure_works("6").await;
}

/// Tenure adds and stops, Node works; Tenure then knows it and leaves the jobs alone.
async fn tenure_adds_and_node_works(version: &str) {
    let mut b = Bench::manual(Mode::Redis).await;
    b.runtime().pause().await.unwrap();
    let added = b.add_many(20, json!({ "act": "ok", "from": "tenure" })).await;
    b.eventually("Redis has them", async |b| b.runtime().counts().await.unwrap().waiting == 20).await;
    b.stop(SOON).await;
    let redis = b.redis.as_ref().unwrap();
    let resumed = Peer::start(version, redis, "resume", &[]);
    resumed.end().await;
    let mut worker = Peer::start(version, redis, "work", &["20"]);
    let mut worked = Vec::new();
    for _ in 0..20 {
        let job = worker.line().await;
        assert_eq!((&job["name"], &job["data"]["from"]), (&json!(PROBE), &json!("tenure")));
        worked.push(job["id"].as_str().unwrap().to_owned());
    }
    worker.end().await;
    worked.sort_unstable();
    let mut wanted: Vec<String> = added.iter().map(ToString::to_string).collect();
    wanted.sort_unstable();
    assert_eq!(worked, wanted, "each of them once");
    b.start().await;
    b.eventually("the ledger shows them done", async |b| b.counts().await.completed == 20).await;
    // A job of its own shows that it works again, and by then would have run the others.
    b.add(act("ok")).await;
    b.until_seen(1).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 1, "what Node did is not done again");
    for id in &added {
        let job = b.job(id).await;
        assert_eq!((job.state, job.attempts_made), (JobState::Completed, 1), "{job:?}");
    }
    let wanted = json!({ "state": "completed", "attemptsMade": 1, "name": PROBE });
    assert_eq!(seen_by(version, b.redis.as_ref().unwrap(), &added[0].to_string()).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_tenure_are_worked_off_by_bullmq_5() {
    tenure_adds_and_node_works("5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_tenure_are_worked_off_by_bullmq_6() {
    tenure_adds_and_node_works("6").await;
}

/// Three jobs in the middle of an attempt when Tenure is killed.
async fn killed_with_three_active() -> (Bench, Vec<tenure::base::id::JobId>) {
    let mut b = Bench::manual(Mode::Redis).await;
    let added = b.add_many(3, act("wait")).await;
    b.until_seen(3).await;
    assert_eq!(b.runtime().counts().await.unwrap().active, 3);
    b.crash().await;
    (b, added)
}

/// BullMQ's check for stalled jobs finds them once their locks have ended. Node's attempt is counted; the one
/// that was cut is not, as the job was not alone then: another may have ended the process.
async fn node_takes_over_from_a_killed_tenure(version: &str) {
    let (mut b, added) = killed_with_three_active().await;
    let redis = b.redis.as_ref().unwrap();
    // Sooner than by themselves, after 15 s and 30 s.
    for key in redis.ask::<Vec<String>>(&["KEYS", &format!("{QUEUE}:*:lock")]).await {
        redis.ask::<i64>(&["PEXPIRE", &key, "1"]).await;
    }
    redis.ask::<i64>(&["DEL", &format!("{QUEUE}:stalled-check")]).await;
    let mut worker = Peer::start(version, redis, "work", &["3"]);
    for _ in 0..3 {
        assert_eq!(worker.line().await["name"], PROBE);
    }
    worker.end().await;
    for id in &added {
        assert_eq!(seen_by(version, redis, &id.to_string()).await["state"], "completed");
    }
    b.start().await;
    b.eventually("the ledger shows them done", async |b| b.counts().await.completed == 3).await;
    b.add(act("ok")).await;
    b.until_seen(4).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 4, "what Node did is not done again");
    for id in &added {
        let job = b.job(id).await;
        assert_eq!((job.state, job.attempts_made), (JobState::Completed, 1), "{job:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_killed_tenure_are_recovered_by_bullmq_5() {
    node_takes_over_from_a_killed_tenure("5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_killed_tenure_are_recovered_by_bullmq_6() {
    node_takes_over_from_a_killed_tenure("6").await;
}

/// The next start does not wait for locks: it knows its own. Cut beside others, an attempt is not counted.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_killed_tenure_are_recovered_by_its_next_start() {
    let (mut b, added) = killed_with_three_active().await;
    b.diary.gate.add_permits(3);
    b.start().await;
    b.eventually("they are done", async |b| b.counts().await.completed == 3).await;
    b.until_quiet().await;
    for id in &added {
        let attempts: Vec<u32> = b.diary.by_job()[id].iter().map(|seen| seen.attempt).collect();
        assert_eq!((attempts, b.job(id).await.attempts_made), (vec![1, 1], 1));
        let wanted = json!({ "state": "completed", "attemptsMade": 1, "name": PROBE });
        for version in VERSIONS {
            assert_eq!(seen_by(version, b.redis.as_ref().unwrap(), &id.to_string()).await, wanted);
        }
    }
}

/// What Bull Board shows of the failed jobs.
async fn failed_on_board(board: &str) -> Vec<Value> {
    let url = format!("{board}/queues?activeQueue=workflow-scheduler&status=failed&page=1&jobsPerPage=10");
    let shown: Value = http().get(url).send().await.unwrap().json().await.unwrap();
    shown["queues"][0]["jobs"].as_array().unwrap_or_else(|| panic!("no jobs in {shown}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn bull_board_lists_a_failed_job_of_tenure_and_its_button_runs_it_again() {
    let b = Bench::manual(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let id = b.add(json!({ "act": "fail", "until": 4, "why": "no such door" })).await;
    for n in 1..=4 {
        b.until_seen(n).await;
        b.until_quiet().await;
        b.advance(Duration::from_secs(21));
    }
    assert_eq!(b.job(&id).await.state, JobState::Failed);
    let mut peer = Peer::start("6", redis, "board", &[]);
    let board = format!("http://127.0.0.1:{}/board/api", peer.line().await["port"]);
    let jobs = failed_on_board(&board).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let job = &jobs[0];
    assert_eq!((&job["id"], &job["name"]), (&json!(id.to_string()), &json!(PROBE)), "{job}");
    assert_eq!((&job["failedReason"], &job["attempts"]), (&json!("no such door"), &json!(4)), "{job}");
    let button = format!("{board}/queues/workflow-scheduler/{id}/retry");
    let pressed = http().put(button).send().await.unwrap();
    assert!(pressed.status().is_success(), "{}", pressed.status());
    eventually("Tenure ran it again", SOON, || async {
        (b.job(&id).await.state == JobState::Completed).then_some(())
    })
    .await;
    b.until_quiet().await;
    assert_eq!((b.diary.count(), b.job(&id).await.attempts_made), (5, 5));
    assert!(failed_on_board(&board).await.is_empty());
    let wanted = json!({ "state": "completed", "attemptsMade": 5, "name": PROBE });
    assert_eq!(seen_by("6", redis, &id.to_string()).await, wanted);
}
