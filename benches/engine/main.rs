//! The workflow engine through the API: `make bench`.
//!
//! The server is a process of its own on an empty data directory, at `synchronous=FULL`; 32 clients on
//! kept-alive connections start runs of one workflow. A run of computing steps is over when its start is
//! answered. A run of calls is over when its last call, of a local HTTP service, was answered; how many
//! are over is read from the API. Then 1,000,000 runs are stored, and lists of them are asked for with every
//! combination of filters. Options, after `--`:
//!
//! - `--long`: 1,000,000 runs, with the server's memory on the way.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the machine's clock")]

mod http;
mod list;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Connection;
use serde_json::{Value, json};
use server::Server;

/// Clients at once.
const CLIENTS: usize = 32;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|a| a == name);
    // Under `cargo test --benches` only the wiring is checked.
    let quick = !has("--bench");
    let (rounds, runs, calls) = if quick { (1, 64, 32) } else { (4, 20_000, 3_000) };
    let server = Server::start().await;
    let computing = server.publish(&computing()).await;
    let (service, url) = http::service().await;
    server.connect_service(&url).await;
    let calling = server.publish(&calling(&url)).await;

    let mut best = Figures::default();
    for round in 1..=rounds {
        let found = start_all(&server, &computing, runs).await;
        println!("computing, round {round}: {found}");
        best = best.better(found);
    }
    println!("computing, best: {best}; memory {} MiB", server.memory());
    for round in 1..=rounds.min(3) {
        println!("calling, round {round}: {}", call_all(&server, &calling, calls).await);
    }
    let expected = rounds.min(3) * calls * 5;
    assert_eq!(service.load(Ordering::Relaxed), expected, "every step of every run called the service once");
    println!("calls answered by the service: {}; memory {} MiB", service.load(Ordering::Relaxed), server.memory());
    println!("one run at a time: {}", one_at_a_time(&server, &computing, if quick { 20 } else { 2_000 }).await);
    println!("{}", list::measure(&server, &computing, if quick { 2_000 } else { 1_000_000 }).await);
    if has("--long") {
        for pass in 1..=10 {
            let found = start_all(&server, &computing, 100_000).await;
            println!("{} runs: {found}; memory {} MiB", pass * 100_000, server.memory());
        }
    }
}

/// Five steps that need nothing outside.
fn computing() -> Value {
    json!({
        "name": "Five computing steps",
        "variables": [{ "name": "days", "type": "number" }, { "name": "text", "type": "string" },
                      { "name": "level", "type": "string" }],
        "steps": [
            { "id": "a", "name": "A", "type": "set", "config": { "values": { "text": "{{ requestor.displayName }}: {{ vars.days }} days" } },
              "transitions": [{ "on": "success", "to": "b" }] },
            { "id": "b", "name": "B", "type": "condition",
              "config": { "cases": [{ "when": "vars.days > 365", "outcome": "long" }], "default": "short" },
              "transitions": [{ "on": "long", "to": "c" }, { "on": "short", "to": "c" }] },
            { "id": "c", "name": "C", "type": "set", "config": { "values": { "level": "{{ steps.b.outcome }}" } },
              "transitions": [{ "on": "success", "to": "d" }] },
            { "id": "d", "name": "D", "type": "case",
              "config": { "value": "vars.level", "cases": [{ "equals": "long", "outcome": "board" }], "default": "lead" },
              "transitions": [{ "on": "board", "to": "e" }, { "on": "lead", "to": "e" }] },
            { "id": "e", "name": "E", "type": "set", "config": { "values": { "text": "{{ vars.text }}, {{ steps.d.outcome }}" } } },
        ],
    })
}

/// Five steps that each call an HTTP service.
fn calling(url: &str) -> Value {
    let steps: Vec<Value> = (0..5)
        .map(|n| {
            let next: Vec<Value> = (n < 4).then(|| json!({ "on": "success", "to": format!("s{}", n + 1) })).into_iter().collect();
            json!({ "id": format!("s{n}"), "name": format!("S{n}"), "type": "http",
                    "config": { "method": "POST", "url": url, "body": { "run": "{{ run.id }}" } }, "transitions": next })
        })
        .collect();
    json!({ "name": "Five calls", "steps": steps })
}

/// What a round found.
#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    fn of(took: Duration, mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        Self { per_second: times.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99) }
    }

    fn better(self, other: Self) -> Self {
        if other.per_second > self.per_second { other } else { self }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1_000.0;
        write!(f, "{:.0} runs/s, p50 {:.2} ms, p99 {:.2} ms", self.per_second, ms(self.p50), ms(self.p99))
    }
}

async fn start_all(server: &Server, workflow: &str, runs: usize) -> Figures {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (next, mut client) = (Arc::clone(&next), server.connect().await);
        let path = format!("/api/workflows/{workflow}/start");
        clients.push(tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= runs {
                    return times;
                }
                let at = Instant::now();
                let body = start(&mut client, &path, json!({ "days": n % 700 })).await;
                assert_eq!(body["status"], "completed", "{body}");
                times.push(at.elapsed());
            }
        }));
    }
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    Figures::of(began.elapsed(), times)
}

async fn start(client: &mut Connection, path: &str, input: Value) -> Value {
    let (status, body) = client.post(path, &json!({ "input": input })).await;
    assert!(status == 200 || status == 201, "{status}: {body}");
    body
}

/// Starts runs and waits until the last is over.
async fn call_all(server: &Server, workflow: &str, runs: usize) -> String {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (next, mut client) = (Arc::clone(&next), server.connect().await);
        let path = format!("/api/workflows/{workflow}/start");
        clients.push(tokio::spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < runs {
                start(&mut client, &path, json!({})).await;
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let mut client = server.connect().await;
    loop {
        let open = server.open_runs(&mut client, workflow).await;
        if !open {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    format!("{:.0} runs/s", runs as f64 / began.elapsed().as_secs_f64())
}

async fn one_at_a_time(server: &Server, workflow: &str, runs: usize) -> Figures {
    let mut client = server.connect().await;
    let path = format!("/api/workflows/{workflow}/start");
    let began = Instant::now();
    let mut times = Vec::new();
    for n in 0..runs {
        let at = Instant::now();
        start(&mut client, &path, json!({ "days": n })).await;
        times.push(at.elapsed());
    }
    Figures::of(began.elapsed(), times)
}
