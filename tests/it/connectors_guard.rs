//! How calls are repeated, limited and broken off, seen from the system that is called.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};
use tenure::base::access::Principal;
use tenure::base::id::ConnectorId;
use tenure::features::connectors::guard::BreakerState;
use tenure::features::connectors::{ConnectorChange, ConnectorSettings, Kind, PlainCall, Policy, ops};
use tenure::platform::outbound::{Outbound, OutboundSettings};
use tokio::sync::Notify;

use crate::support::connectors::Bench;
use crate::support::eventually;

/// A system that answers with the status it is told to, and counts.
struct System {
    base: String,
    status: Arc<AtomicU32>,
    asked: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

impl System {
    /// `holds` keeps each request until [`System::go`] lets it go.
    async fn start(holds: bool) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let system = Self {
            base,
            status: Arc::new(AtomicU32::new(200)),
            asked: Arc::default(),
            most_at_once: Arc::default(),
            go: Arc::default(),
        };
        let (status, asked, most, go) =
            (system.status.clone(), system.asked.clone(), system.most_at_once.clone(), system.go.clone());
        let now = Arc::new(AtomicUsize::new(0));
        let app = Router::new().fallback(move |_: Method| {
            let (status, asked, most, go, now) = (status.clone(), asked.clone(), most.clone(), go.clone(), now.clone());
            async move {
                asked.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if holds {
                    go.notified().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                let status = u16::try_from(status.load(Ordering::SeqCst)).expect("a status");
                (StatusCode::from_u16(status).expect("a status"), "{}").into_response()
            }
        });
        tokio::spawn(axum::serve(listener, app).into_future());
        system
    }

    fn answers(&self, status: u32) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    async fn connector(&self, bench: &Bench, policy: Policy) -> ConnectorId {
        let id = bench.connector(Kind::Http, json!({ "baseUrl": self.base }), &[]).await;
        set(bench, &id, ConnectorChange { policy: Some(policy), ..ConnectorChange::default() }).await;
        id
    }
}

async fn set(bench: &Bench, id: &ConnectorId, change: ConnectorChange) {
    let (id, sealer) = (id.clone(), bench.connectors.secrets().clone());
    let changed =
        bench.store.write(move |tx| ops::update_connector(tx, &Principal::system("test"), &id, change.clone(), &sealer));
    changed.await.expect("changed");
}

fn request(method: &str) -> Value {
    json!({ "method": method, "path": "x" })
}

async fn code(bench: &Bench, id: &ConnectorId, method: &str) -> String {
    bench.call(id, "request", &request(method)).await.expect_err("a failure").code
}

#[tokio::test]
async fn only_what_is_safe_to_repeat_is_repeated() {
    let (system, bench) = (System::start(false).await, Bench::start(None).await);
    let id = system.connector(&bench, Policy { retries: 2, breaker_failures: 0, ..Policy::default() }).await;
    for (method, status, asked) in [("GET", 503, 3), ("POST", 503, 1), ("PUT", 500, 1), ("GET", 404, 1), ("HEAD", 200, 1)] {
        system.answers(status);
        assert_eq!(bench.call(&id, "request", &request(method)).await.is_ok(), status == 200);
        assert_eq!(system.asked(), asked, "{method} {status}");
    }
}

/// A step that names an address and no connector is held to the rules of the one whose address it is.
#[tokio::test]
async fn a_call_without_a_connector_is_guarded_like_those_with_one() {
    let (system, bench) = (System::start(false).await, Bench::start(None).await);
    let policy = Policy { retries: 2, breaker_failures: 2, breaker_open_seconds: 60, ..Policy::default() };
    let id = system.connector(&bench, policy).await;
    let call = async |method: &str| {
        let url = format!("{}/x", system.base);
        let call = PlainCall { method: method.to_owned(), url, headers: BTreeMap::new(), body: None };
        bench.connectors.call_plain(call, "k").await
    };
    for (method, status, asked) in [("GET", 503, 3), ("POST", 200, 1), ("POST", 503, 1), ("get", 200, 1)] {
        system.answers(status);
        assert_eq!(call(method).await.is_ok(), status == 200);
        assert_eq!(system.asked(), asked, "{method} {status}");
    }
    system.answers(503);
    for _ in 0..2 {
        assert_eq!(call("POST").await.expect_err("down").code, "http_503");
    }
    assert_eq!(call("POST").await.expect_err("open").code, "circuit_open");
    assert_eq!(code(&bench, &id, "GET").await, "circuit_open", "one system, one breaker");
    assert_eq!(system.asked(), 2);
    set(&bench, &id, ConnectorChange { mock: Some(true), ..ConnectorChange::default() }).await;
    assert!(call("POST").await.expect("pretended").is_mocked());
    assert_eq!(system.asked(), 0);
}

#[tokio::test]
async fn nobody_calls_a_system_that_failed_until_one_call_shows_that_it_is_back() {
    let (system, bench) = (System::start(false).await, Bench::start(None).await);
    let policy = Policy { retries: 0, breaker_failures: 3, breaker_open_seconds: 1, ..Policy::default() };
    let id = system.connector(&bench, policy).await;
    system.answers(503);
    for _ in 0..3 {
        assert_eq!(code(&bench, &id, "POST").await, "http_503");
    }
    let failure = bench.call(&id, "request", &request("POST")).await.expect_err("open");
    assert_eq!((failure.code.as_str(), failure.retryable), ("circuit_open", true));
    assert!(failure.message.contains("503"), "{failure:?}");
    assert_eq!(system.asked(), 3);
    let view = bench.connectors.breaker(&id);
    assert_eq!((view.state, view.failures), (BreakerState::Open, 3));
    assert_eq!(bench.connectors.list_broken().len(), 1);
    // Another connector of the same kind goes on.
    system.answers(200);
    let other = system.connector(&bench, Policy::default()).await;
    assert!(bench.call(&other, "request", &request("GET")).await.is_ok());
    // One call alone tries, and is believed.
    let back = eventually("it is tried again", Duration::from_secs(5), || async {
        bench.call(&id, "request", &request("GET")).await.ok()
    });
    back.await;
    assert_eq!(bench.connectors.breaker(&id).state, BreakerState::Closed);
    assert!(bench.connectors.list_broken().is_empty());

    // A system that says no is there.
    system.answers(403);
    for _ in 0..5 {
        assert_eq!(code(&bench, &id, "POST").await, "http_403");
    }
    assert_eq!(bench.connectors.breaker(&id).state, BreakerState::Closed);
    // Somebody who asks by hand is let through, and what they find counts.
    system.answers(503);
    for _ in 0..3 {
        code(&bench, &id, "POST").await;
    }
    assert_eq!(bench.connectors.breaker(&id).state, BreakerState::Open);
    system.answers(200);
    bench.connectors.test(&id).await.expect("it is back");
    assert_eq!(bench.connectors.breaker(&id).state, BreakerState::Closed);
}

#[tokio::test]
async fn no_more_calls_than_allowed_are_made_at_a_time() {
    let (system, bench) = (System::start(true).await, Bench::start(None).await);
    let id = system.connector(&bench, Policy { max_concurrent: 2, ..Policy::default() }).await;
    let release = async {
        for n in 1..=6 {
            eventually("the next is asked", Duration::from_secs(5), || async {
                (system.asked.load(Ordering::SeqCst) >= n).then_some(())
            })
            .await;
            system.go.notify_one();
        }
    };
    let get = request("GET");
    let calls = futures::future::join_all((0..6).map(|_| bench.call(&id, "request", &get)));
    let (answers, ()) = tokio::join!(calls, release);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(system.most_at_once.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn calls_are_spread_over_the_minute_and_answers_have_a_size() {
    let (system, bench) = (System::start(false).await, Bench::start(None).await);
    let id = system.connector(&bench, Policy { max_per_minute: 1, ..Policy::default() }).await;
    assert!(bench.call(&id, "request", &request("GET")).await.is_ok());
    assert_eq!(code(&bench, &id, "GET").await, "rate_limited");
    assert_eq!(system.asked(), 1);
    // A repetition is a call of the minute as well, and one that is refused anyway takes no place in it.
    let policy = Policy { max_per_minute: 1, breaker_failures: 1, ..Policy::default() };
    let id = system.connector(&bench, policy).await;
    system.answers(503);
    assert_eq!(code(&bench, &id, "GET").await, "http_503");
    assert_eq!(system.asked(), 1);
    assert_eq!(code(&bench, &id, "GET").await, "circuit_open");
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(axum::serve(listener, Router::new().fallback(|| async { "x".repeat(3000) })).into_future());
    let id = bench.connector(Kind::Http, json!({ "baseUrl": base }), &[]).await;
    assert!(bench.call(&id, "request", &request("GET")).await.is_ok());
    set(&bench, &id, ConnectorChange { policy: Some(Policy { max_answer_bytes: 2048, ..Policy::default() }), ..ConnectorChange::default() }).await;
    assert_eq!(code(&bench, &id, "GET").await, "too_large");
}

/// What is only pretended reaches nobody, says so, and in production is refused.
#[tokio::test]
async fn a_connector_in_mock_mode_calls_nobody_and_says_so() {
    let (system, bench) = (System::start(false).await, Bench::start(None).await);
    let id = system.connector(&bench, Policy::default()).await;
    set(&bench, &id, ConnectorChange { mock: Some(true), ..ConnectorChange::default() }).await;
    let answer = bench.connectors.call(&id, "request", &request("POST"), "k").await.expect("pretended");
    assert!(answer.is_mocked());
    assert_eq!(answer.output, json!({ "mocked": true }));
    assert_eq!(bench.call(&id, "request", &json!({ "method": "POST" })).await.expect_err("faulty all the same").code, "bad_params");
    let listed = bench.connectors.list_all(&id, "list", &json!({ "path": "x" }), 9).await;
    assert_eq!(listed.expect_err("nothing is there").code, "mocked");
    assert_eq!(system.asked(), 0);

    let outbound = Outbound::new(OutboundSettings { allow_loopback: true, extra_ca_pem: None }).expect("opens");
    let production = Bench::with(outbound, ConnectorSettings::default()).await;
    assert_eq!(production.connectors.check_allowed(Kind::Directory, &json!({}), true).expect_err("refused").status(), 422);
    let id = system.connector(&production, Policy::default()).await;
    set(&production, &id, ConnectorChange { mock: Some(true), ..ConnectorChange::default() }).await;
    assert_eq!(code(&production, &id, "POST").await, "mock_refused");
    assert_eq!(production.connectors.pretend(serde_json::Map::new()).expect_err("refused").code, "mock_refused");
    assert_eq!(system.asked(), 0);
}
