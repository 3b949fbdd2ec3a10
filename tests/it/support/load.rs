//! Load: a slow service that counts what it carries out, and runs that are started at a rate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::http;

/// What the service saw.
#[derive(Debug, Default)]
struct Book {
    /// The keys that came for a number: as often was the work meant to be done.
    keys: BTreeMap<u64, BTreeSet<String>>,
    /// Calls, repeated ones included.
    calls: u64,
}

/// An HTTP service that takes 100 to 300 ms for each piece of work; ends with its runtime.
pub struct SlowService {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    book: Arc<Mutex<Book>>,
}

impl SlowService {
    /// Serves `POST /work/{number}` on a free loopback port.
    pub async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/work/{number}", post(work)).with_state(Arc::clone(&book));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("the service is served") });
        Self { url, book }
    }

    /// Pieces of work that were carried out, and calls that came for them.
    pub fn figures(&self) -> (usize, u64) {
        let book = self.lock();
        (book.keys.len(), book.calls)
    }

    /// The numbers whose work was carried out more than once: they came with more than one key.
    pub fn doubled(&self) -> Vec<u64> {
        self.lock().keys.iter().filter(|(_, keys)| keys.len() > 1).map(|(n, _)| *n).collect()
    }

    /// The numbers whose work was carried out.
    pub fn numbers(&self) -> BTreeSet<u64> {
        self.lock().keys.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panicked with it")
    }
}

async fn work(State(book): State<Arc<Mutex<Book>>>, Path(number): Path<u64>, headers: HeaderMap) -> StatusCode {
    let Some(key) = headers.get("idempotency-key").and_then(|k| k.to_str().ok()) else {
        return StatusCode::BAD_REQUEST;
    };
    {
        let mut book = book.lock().expect("nobody panicked with it");
        book.calls += 1;
        book.keys.entry(number).or_default().insert(key.to_owned());
    }
    // The work is done before the answer goes out: a caller that dies meanwhile does not know it.
    tokio::time::sleep(Duration::from_millis(100 + number * 7919 % 201)).await;
    StatusCode::OK
}

/// Where runs are started.
#[derive(Debug, Clone)]
pub struct Target {
    pub base: String,
    pub token: String,
    pub workflow: String,
    pub client: reqwest::Client,
}

/// How the starts were answered.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered 201.
    pub accepted: BTreeSet<u64>,
    /// Nobody listened.
    pub refused: u64,
    /// The connection was made, and no whole answer came.
    pub cut: BTreeMap<u64, String>,
    /// Answered something else.
    pub other: Vec<String>,
    /// How long starts were sent.
    pub time: Duration,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: Self) {
        self.accepted.extend(other.accepted);
        self.refused += other.refused;
        self.cut.extend(other.cut);
        self.other.extend(other.other);
        self.time += other.time;
    }

    /// Runs per second.
    pub fn rate(&self) -> f64 {
        self.accepted.len() as f64 / self.time.as_secs_f64().max(0.001)
    }
}

/// Starts runs at a steady rate, each over a connection of its own, however slow the answers are.
pub struct Load {
    stop: CancellationToken,
    task: JoinHandle<Tally>,
}

impl Load {
    /// Sends `rate` starts a second until it is stopped; each takes the next of `numbers`.
    pub fn start(target: &Target, rate: u32, numbers: &Arc<AtomicU64>) -> Self {
        Self::up_to(u64::MAX, target, rate, numbers)
    }

    /// Sends `rate` starts a second until the numbers below `end` are used up.
    pub fn up_to(end: u64, target: &Target, rate: u32, numbers: &Arc<AtomicU64>) -> Self {
        let stop = CancellationToken::new();
        let (target, numbers, stopped) = (target.clone(), Arc::clone(numbers), stop.clone());
        let task = tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
            let (mut starts, mut tally, began) = (JoinSet::new(), Tally::default(), Instant::now());
            loop {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => break,
                    _ = tick.tick() => {
                        let number = numbers.fetch_add(1, Ordering::Relaxed);
                        if number >= end {
                            break;
                        }
                        starts.spawn(start_run(target.clone(), number));
                    }
                }
            }
            tally.time = began.elapsed();
            while let Some(answer) = starts.join_next().await {
                match answer.expect("joins") {
                    (number, Answer::Accepted) => _ = tally.accepted.insert(number),
                    (_, Answer::Refused) => tally.refused += 1,
                    (number, Answer::Cut(why)) => _ = tally.cut.insert(number, why),
                    (_, Answer::Other(what)) => tally.other.push(what),
                }
            }
            tally
        });
        Self { stop, task }
    }

    /// Waits until the numbers are used up and the answers are there.
    pub async fn finish(self) -> Tally {
        self.task.await.expect("the load ends")
    }

    /// Sends no more; waits for the answers.
    pub async fn stop(self) -> Tally {
        self.stop.cancel();
        self.task.await.expect("the load ends")
    }
}

/// A connection for each request: what was accepted and what was not can be told apart.
pub fn client() -> reqwest::Client {
    tenure::app::install_crypto();
    reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

enum Answer {
    Accepted,
    Refused,
    Cut(String),
    Other(String),
}

async fn start_run(target: Target, number: u64) -> (u64, Answer) {
    let url = format!("{}/api/workflows/{}/start", target.base, target.workflow);
    let body = json!({ "input": { "number": number } });
    let sent = target.client.post(url).bearer_auth(&target.token).json(&body).send().await;
    let answer = match sent {
        Err(e) if e.is_connect() => Answer::Refused,
        Err(e) => Answer::Cut(format!("{e:?}")),
        Ok(answer) => {
            let status = answer.status().as_u16();
            match answer.text().await {
                Err(e) => Answer::Cut(format!("{status}, then {e:?}")),
                Ok(_) if status == 201 => Answer::Accepted,
                Ok(text) => Answer::Other(format!("{status}: {text}")),
            }
        }
    };
    (number, answer)
}

/// Makes an administrator on a data directory that no server uses; answers a bearer token.
pub fn administrator(data: &std::path::Path) -> String {
    let run = |args: &[&str]| {
        let output = super::command(args).env("DATA_DIR", data).output().expect("runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let email = "admin@example.org";
    run(&["user", "create", "--email", email, "--name", "Admin", "--role", "admin", "--json"]);
    let made = run(&["token", "create", "--user", email, "--json"]);
    made["token"].as_str().expect("a token").to_owned()
}

/// Publishes a workflow whose runs call `service`, then go through `after`, steps that lead to `end`.
pub async fn publish(base: &str, token: &str, service: &str, after: &[Value]) -> String {
    // A letter for each run is what is counted, so none waits for others.
    let settings = client().put(format!("{base}/api/settings/notifications")).bearer_auth(token);
    let set = settings.json(&json!({ "digestAfter": 1_000_000 })).send().await.expect("an answer");
    assert_eq!(set.status(), 200, "{}", set.text().await.unwrap_or_default());
    let post = async |path: &str, body: Value| {
        let sent = http().post(format!("{base}{path}")).bearer_auth(token).json(&body).send().await;
        let answer = sent.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let config = json!({ "baseUrl": service, "auth": "none" });
    // Eight at a time would be fewer a second than the load asks for, and what waits would pile up.
    let policy = json!({ "maxConcurrent": 64 });
    post("/api/connectors", json!({ "name": "Slow service", "kind": "http", "config": config, "policy": policy })).await;
    let call = json!({ "connector": "Slow service", "command": "request",
                       "params": { "method": "POST", "path": "/work/{{ vars.number }}" } });
    let next = after.first().map_or("end", |s| s["id"].as_str().expect("an id"));
    let mut steps = vec![json!({ "id": "call", "name": "Call", "type": "connector", "config": call,
                                 "transitions": [{ "on": "success", "to": next }] })];
    steps.extend_from_slice(after);
    steps.push(json!({ "id": "end", "name": "End", "type": "end", "config": {} }));
    let definition = json!({
        "name": "Load", "steps": steps,
        "variables": [{ "name": "number", "type": "number", "required": true }],
    });
    let made = post("/api/workflows", json!({ "definition": definition })).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    post(&format!("/api/workflows/{id}/publish"), json!({})).await;
    id
}

/// A step that tells whoever started the run, and is mailed.
pub fn tell(next: &str) -> Value {
    let config = json!({ "to": [{ "who": "requestor" }], "subject": "Number {{ vars.number }}", "body": "It is done." });
    json!({ "id": "tell", "name": "Tell", "type": "notification", "config": config,
            "transitions": [{ "on": "success", "to": next }] })
}

/// A step that waits.
pub fn wait(seconds: u64, next: &str) -> Value {
    json!({ "id": "wait", "name": "Wait", "type": "delay", "config": { "seconds": seconds },
            "transitions": [{ "on": "success", "to": next }] })
}
