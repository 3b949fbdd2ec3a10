//! What people do in runs: tasks, consents, one-time links, the wording of mails. On the real server, with a
//! clock that can be moved forward.

mod forms;
mod links;
mod mails;
mod tasks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::clock::Clock as _;
use tenure::config::{Config, Reader};
use tenure::platform::clock::ShiftedClock;

use crate::support::{eventually, free_port, http, outbox};

/// A server with the people of the demo.
pub struct World {
    dir: tempfile::TempDir,
    clock: Arc<ShiftedClock>,
    running: Running,
    admin: Person,
    mona: Person,
    rosa: Person,
    ada: Person,
}

/// Somebody who is signed in.
pub struct Person {
    base: String,
    cookie: String,
    csrf: String,
    id: String,
}

const PATIENCE: Duration = Duration::from_secs(15);

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let fixed = [
            ("DATA_DIR", dir.path().join("data").display().to_string()),
            ("PORT", free_port().to_string()),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
        ];
        let vars = fixed.into_iter().map(|(k, v)| (k.to_owned(), v));
        let more = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let mut all: std::collections::BTreeMap<String, String> = vars.collect();
        all.extend(more);
        let config = Config::from_reader(Reader::new(all)).expect("valid").0;
        let clock = Arc::new(ShiftedClock::default());
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        let base = running.base.clone();
        let [admin, mona, rosa, ada] = [ADMIN, MONA, ROSA, ADA].map(|email| Person::sign_in(base.clone(), email));
        let (admin, mona, rosa, ada) = tokio::join!(admin, mona, rosa, ada);
        Self { dir, clock, running, admin, mona, rosa, ada }
    }

    async fn stop(self) {
        self.running.stop().await;
    }

    fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
    }

    /// Moves the clock; sessions end meanwhile, so everybody signs in again.
    async fn pass_and_sign_in(&mut self, time: Duration) {
        self.pass(time);
        let base = self.running.base.clone();
        let again = [ADMIN, MONA, ROSA, ADA].map(|email| Person::sign_in(base.clone(), email));
        let [admin, mona, rosa, ada] = again;
        (self.admin, self.mona, self.rosa, self.ada) = tokio::join!(admin, mona, rosa, ada);
    }

    /// The id of a version that was just published.
    async fn published(&self, definition: Value) -> String {
        let made = self.admin.post("/api/workflows", json!({ "definition": definition })).await.ok(201);
        let id = made["id"].as_str().expect("an id").to_owned();
        self.admin.post(&format!("/api/workflows/{id}/publish"), json!({})).await.ok(200);
        id
    }

    /// An example of the repository, published.
    async fn example(&self, file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows").join(file);
        let text = std::fs::read_to_string(path).expect("an example");
        self.published(serde_json::from_str(&text).expect("JSON")).await
    }

    /// A run as somebody sees it once it stands so.
    async fn run_is(&self, run: &str, status: &str) -> Value {
        let path = format!("/api/runs/{run}");
        let path = path.as_str();
        eventually(&format!("the run is {status}"), PATIENCE, || async move {
            Some(self.admin.get(path).await.body).filter(|r| r["status"] == status)
        })
        .await
    }

    /// The steps of a run.
    async fn steps(&self, run: &str) -> Vec<Value> {
        let steps = self.admin.get(&format!("/api/runs/{run}/steps")).await.ok(200);
        steps["items"].as_array().expect("items").clone()
    }

    /// The mail in the outbox whose decoded text has all these words, once it is there.
    async fn mail(&self, words: &[&str]) -> String {
        outbox::mail(&self.dir.path().join("data/outbox"), words).await
    }

    /// The token of the newest link to this address.
    async fn token_for(&self, address: &str) -> String {
        outbox::token_for(&self.dir.path().join("data/outbox"), address).await
    }
}

/// An answer.
pub struct Answer {
    status: u16,
    body: Value,
}

impl Answer {
    /// The body, if the status is this one.
    fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The fields that are at fault, each with its words.
    fn faults(self) -> Vec<String> {
        let body = self.ok(422);
        let all = body["errors"].as_array().cloned().unwrap_or_default();
        let text = |e: &Value, name: &str| e[name].as_str().unwrap_or_default().to_owned();
        all.iter().map(|e| format!("{}: {}", text(e, "field"), text(e, "message"))).collect()
    }
}

impl Person {
    async fn sign_in(base: String, email: &str) -> Self {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = http().post(format!("{base}/api/auth/login")).json(&body).send().await.expect("an answer");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        Self { cookie, csrf: text("/csrfToken"), id: text("/person/id"), base }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http().request(method, format!("{}{path}", self.base));
        request = request.header("cookie", &self.cookie).header("x-csrf-token", &self.csrf);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        Answer { status: answer.status().as_u16(), body: answer.json().await.unwrap_or(Value::Null) }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    /// Starts a run; answers its id.
    async fn start(&self, workflow: &str, input: Value) -> String {
        let run = self.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": input })).await.ok(201);
        run["id"].as_str().expect("an id").to_owned()
    }

    /// The one task that is theirs.
    async fn task(&self) -> Value {
        let tasks = self.get("/api/tasks?mine=true").await.ok(200);
        let items = tasks["items"].as_array().expect("items").clone();
        assert_eq!(items.len(), 1, "{items:?}");
        items[0].clone()
    }

    async fn act(&self, task: &Value, what: &str, body: Value) -> Answer {
        self.post(&format!("/api/tasks/{}/{what}", task["id"].as_str().expect("an id")), body).await
    }

    /// Subjects of the messages to them, the newest first.
    async fn told(&self) -> Vec<String> {
        let all = self.get("/api/notifications").await.ok(200);
        let items = all["items"].as_array().expect("items").clone();
        items.iter().map(|n| n["subject"].as_str().expect("a subject").to_owned()).collect()
    }
}
