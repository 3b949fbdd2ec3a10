//! Failed jobs without Redis tools: found, grouped, retried and removed in bulk; the queue held back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADMIN, PASSWORD};
use tenure::base::id::JobId;
use tenure::config::{Config, Reader};
use tenure::params;
use tenure::platform::clock::SystemClock;
use tenure::platform::queue::{JobDraft, enqueue};

use crate::support::{command, eventually, free_port, http};

const SOON: Duration = Duration::from_secs(20);

struct Site {
    running: Running,
    dir: tempfile::TempDir,
    cookie: String,
    csrf: String,
}

impl Site {
    /// A server whose ledger holds this many failed jobs of each reason.
    async fn with_failed(reasons: &[(&'static str, usize)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let vars = [
            ("DATA_DIR", dir.path().join("data").display().to_string()),
            ("PORT", free_port().to_string()),
        ];
        let config = Config::from_reader(Reader::new(vars.map(|(k, v)| (k.to_owned(), v)))).expect("valid").0;
        let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        let reasons = reasons.to_vec();
        let fill = move |tx: &tenure::platform::store::Tx<'_>| {
            for (reason, count) in &reasons {
                for n in 0..*count {
                    let id: JobId = tx.new_id();
                    let reason = reason.replace("{n}", &n.to_string());
                    tx.execute(
                        "INSERT INTO job (id, name, payload, state, run_at, created_at, finished_on, attempts_made, failed_reason)
                         VALUES (?1, 'no-such-job', '{}', 'failed', 0, 0, ?2, 4, ?3)",
                        params![id, tx.now(), reason],
                    )?;
                }
            }
            Ok(())
        };
        running.app.store.write(fill).await.expect("writes");
        let body = json!({ "email": ADMIN, "password": PASSWORD });
        let answer = http().post(format!("{}/api/auth/login", running.base)).json(&body).send().await.expect("an answer");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let csrf = me["csrfToken"].as_str().expect("a token").to_owned();
        Self { running, dir, cookie, csrf }
    }

    async fn get(&self, path: &str) -> Value {
        let sent = http().get(format!("{}{path}", self.running.base)).header("cookie", &self.cookie).send().await;
        sent.expect("an answer").json().await.expect("JSON")
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let sent = http()
            .post(format!("{}{path}", self.running.base))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .json(body)
            .send()
            .await
            .expect("an answer");
        (sent.status().as_u16(), sent.json().await.expect("JSON"))
    }

    async fn done(&self, bulk: &str) -> Value {
        let path = format!("/api/jobs/bulk/{bulk}");
        eventually("the bulk action is done", SOON, || async {
            Some(self.get(&path).await).filter(|progress| progress["finishedAt"].is_string())
        })
        .await
    }

    async fn audited(&self, action: &str) -> usize {
        self.get(&format!("/api/audit?action={action}")).await["items"].as_array().expect("a list").len()
    }
}

/// What failed without saying why is a group of its own, which can be asked for as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_that_failed_without_a_reason_are_a_group() {
    let site = Site::with_failed(&[("", 3), ("The mailbox is full.", 2)]).await;
    let groups = site.get("/api/jobs/errors").await;
    assert_eq!((&groups["items"][0]["group"], &groups["items"][0]["count"]), (&json!(""), &json!(3)), "{groups}");
    let found = site.get("/api/jobs?state=failed&group=").await;
    assert_eq!(found["items"].as_array().expect("a list").len(), 3, "{found}");
    let ask = json!({ "action": "remove", "dryRun": true, "filter": { "state": "failed", "group": "" } });
    assert_eq!(site.post("/api/jobs/bulk", &ask).await, (200, json!({ "matched": 3 })));
}

/// Reasons that differ in a number are one group; a group is acted on as a whole, on exactly as many
/// jobs as were seen, in one audited act.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_jobs_are_grouped_and_acted_on_in_bulk() {
    let site = Site::with_failed(&[("Host {n} did not answer.", 230), ("The mailbox is full.", 20)]).await;
    let groups = site.get("/api/jobs/errors").await;
    assert_eq!(groups["items"][0]["count"], 230, "{groups}");
    assert_eq!(groups["items"][1]["sample"], "The mailbox is full.");
    let group = groups["items"][0]["group"].as_str().expect("a group").to_owned();
    let queue = site.get("/api/queue").await;
    assert_eq!((&queue["failedKept"], &queue["failedLimit"]), (&json!(250), &json!(5000)), "{queue}");

    let filter = json!({ "state": "failed", "group": group });
    let ask = |more: Value| {
        let mut body = json!({ "action": "remove", "filter": filter });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    assert_eq!(site.post("/api/jobs/bulk", &ask(json!({ "dryRun": true }))).await, (200, json!({ "matched": 230 })));
    assert_eq!(site.post("/api/jobs/bulk", &ask(json!({}))).await.0, 422, "a number must be expected");
    assert_eq!(site.post("/api/jobs/bulk", &ask(json!({ "expectedCount": 229 }))).await.0, 409);
    assert_eq!(site.audited("job.bulk_started").await, 0, "what was refused is not audited");
    let (status, begun) = site.post("/api/jobs/bulk", &ask(json!({ "expectedCount": 230 }))).await;
    assert_eq!((status, &begun["matched"]), (202, &json!(230)));
    let progress = site.done(begun["id"].as_str().expect("an id")).await;
    assert_eq!((&progress["changed"], &progress["total"]), (&json!(230), &json!(230)));
    assert_eq!(site.get("/api/jobs/counts").await["failed"], 20, "the other group is left alone");
    assert_eq!(site.audited("job.bulk_started").await, 1);
}

/// The same from a terminal, beside the running server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_failed_jobs_are_removed_from_a_terminal() {
    let site = Site::with_failed(&[("The mailbox is full.", 7)]).await;
    let data = site.dir.path().join("data");
    let listed = jobs(&data, &["list", "--state", "failed", "--q", "MAILBOX", "--json"]).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(7));
    let begun = jobs(&data, &["remove", "--all", "--q", "mailbox", "--json"]).await;
    assert_eq!(begun["matched"], 7);
    site.done(begun["id"].as_str().expect("an id")).await;
    assert_eq!(site.get("/api/jobs/counts").await["failed"], 0);
}

async fn jobs(data: &Path, args: &[&str]) -> Value {
    let mut command = command(&[&["jobs"], args].concat());
    command.env("DATA_DIR", data);
    // The server is in this process, and its threads must go on.
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("ends").expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A retry starts over, or gives one more attempt; attempts are listed newest first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_starts_over_or_gives_one_more_attempt() {
    let site = Site::with_failed(&[("It failed.", 2)]).await;
    let list = site.get("/api/jobs?state=failed").await;
    let id = |n: usize| list["items"][n]["id"].as_str().expect("an id").to_owned();
    let (status, _) = site.post(&format!("/api/jobs/{}/retry", id(0)), &json!({ "mode": "one-more" })).await;
    assert_eq!(status, 200);
    let path = format!("/api/jobs/{}", id(0));
    let job = eventually("one more attempt has failed", SOON, || async {
        Some(site.get(&path).await).filter(|job| job["state"] == "failed" && job["attemptsMade"] == 5)
    });
    let reason = job.await["failedReason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("no handler for jobs named `no-such-job`"), "{reason}");
    let attempts = site.get(&format!("{path}/attempts")).await;
    assert_eq!((&attempts["items"][0]["attempt"], &attempts["items"][0]["state"]), (&json!(5), &json!("failed")));

    let (status, job) = site.post(&format!("/api/jobs/{}/retry", id(1)), &Value::Null).await;
    assert_eq!((status, &job["attemptsMade"]), (200, &json!(0)), "its attempts count from one again");
    let unknown = site.post(&format!("/api/jobs/{}/retry", id(1)), &json!({ "mode": "twice" })).await;
    assert_eq!(unknown.0, 422);
}

/// What is held back waits, also what is made meanwhile; resuming lets it run. Both are audited once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_holds_jobs_back_until_it_is_resumed() {
    let site = Site::with_failed(&[]).await;
    for _ in 0..2 {
        assert_eq!(site.post("/api/queue/pause", &Value::Null).await.1["paused"], true);
    }
    assert_eq!(site.audited("queue.paused").await, 1, "what is so already is no change");
    let id = site.running.app.store.write(|tx| enqueue(tx, JobDraft::now("no-such-job", json!({})))).await.expect("a job");
    let path = format!("/api/jobs/{id}");
    // Another job that goes through would prove that the worker had its chance: none does while paused,
    // so the relay's hand-over is what is waited for.
    eventually("the job was handed to the queue", SOON, || async {
        let wanted = id.clone();
        let state: String = site
            .running
            .app
            .store
            .read(move |tx| tx.scalar("SELECT state FROM job WHERE id = ?1", params![wanted]))
            .await
            .ok()?;
        (state == "handed").then_some(())
    })
    .await;
    assert_eq!(site.get(&path).await["attemptsMade"], 0);
    assert_eq!(site.get(&path).await["state"], "waiting");
    assert_eq!(site.post("/api/queue/resume", &Value::Null).await.1["paused"], false);
    eventually("its first attempt was made", SOON, || async {
        Some(site.get(&path).await).filter(|job| job["attemptsMade"] == 1)
    })
    .await;
    assert_eq!(site.audited("queue.resumed").await, 1);
}
