//! The routes of identity and health behind the real middleware, on stores of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use super::accounts::password::Passwords;
use super::sessions::ops::{Identity, SessionKey};
use super::sessions::place::EmbeddedSessions;
use super::setup::Setup;
use super::{accounts, api, people};
use crate::base::access::Principal;
use crate::base::clock::SharedClock;
use crate::base::time::Timestamp;
use crate::features::audit::{AuditJournal, ops as audit_ops};
use crate::features::health;
use crate::features::health::Check;
use crate::features::health::checks::{Backing, Checks, Probe, Watch};
use crate::platform::clock::{ManualClock, SystemIds};
use crate::platform::http::limits::{Limits, Rates};
use crate::platform::http::middleware::{Frame, wrap};
use crate::platform::http::ui;
use crate::platform::store::{MigrationSet, Options, Store};

const PASSWORD: &str = "correct horse battery";

struct Fixture {
    router: Router,
    clock: Arc<ManualClock>,
    identity: Identity,
    sessions: Store,
    setup: Setup,
    stopping: CancellationToken,
    dir: tempfile::TempDir,
}

/// What a signed-in browser holds.
struct Browser {
    cookie: String,
    csrf: String,
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
}

async fn fixture(worker: Check) -> Fixture {
    fixture_with(worker, Duration::from_millis(300)).await
}

async fn fixture_with(worker: Check, body_time: Duration) -> Fixture {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_900_000_000_000)));
    let shared: SharedClock = clock.clone();
    let dir = tempfile::tempdir().expect("a folder");
    let open = |name: &str, set: MigrationSet, journal| {
        let options = Options { max: 4, ..Options::small(dir.path().join(name)) };
        Store::open(&options, &set, shared.clone(), Arc::new(SystemIds), journal).expect("opens")
    };
    let store = open("tenure.db", MigrationSet::tenure(), Some(Arc::new(AuditJournal) as _));
    let sessions = open("queue.db", MigrationSet::queue(), None);
    let origin = "localhost/audit/1".to_owned();
    store.write(move |tx| audit_ops::ensure_genesis(tx, &origin, "key", "0")).await.expect("genesis");
    let identity = Identity {
        store: store.clone(),
        sessions: Arc::new(EmbeddedSessions::new(sessions.clone())),
        clock: shared.clone(),
        ids: Arc::new(SystemIds),
        session_key: SessionKey::new("the key of the tests"),
        passwords: Passwords::default(),
        secrets: crate::platform::secrets::SecretBox::new("tests", &[7; 32], None),
        throttle: Arc::default(),
    };
    let setup = Setup::new(identity.clone(), dir.path().join("setup-token"));
    let stopping = CancellationToken::new();
    let probe: Probe = Arc::new(move || worker.clone());
    let routes = OpenApiRouter::new()
        .merge(api::routes(api::IdentityApi { identity: identity.clone(), setup: setup.clone(), secure: false, oidc: None, party: None }))
        .merge(people::api::routes(people::api::PeopleApi { store: store.clone() }))
        .merge(health::api::routes(health::api::HealthApi {
            checks: Checks::new(store.clone(), Watch { schedule: crate::base::cron::Schedule::utc("0 */6 * * *").unwrap(), places: Vec::new() }, Backing::Embedded(sessions.clone()), vec![("worker", probe)]),
            stopping: stopping.clone(),
            store,
            started_at: Timestamp::from_millis(0),
        }));
    let (routes, _) = routes.split_for_parts();
    let unguarded = |_: crate::platform::http::Body<Value>| async { StatusCode::OK };
    let routes = routes.route("/api/unguarded", axum::routing::post(unguarded));
    let routes = routes.route("/api/panic", axum::routing::get(|| async { panic!("of a handler") as StatusCode }));
    let rates = Rates { account: 0, address: 0, sign_in: 20, hooks: 0 };
    let frame = Frame {
        authenticate: Arc::new(identity.clone()),
        clock: shared.clone(),
        ids: Arc::new(SystemIds),
        secure: false,
        origins: vec!["http://tenure.test".to_owned()].into(),
        trust_proxy: false,
        limits: Arc::new(Limits::new(rates, shared)),
        body_time,
        stopping: stopping.clone(),
        metrics: crate::platform::metrics::Metrics::default(),
    };
    let router = wrap(routes.fallback(ui::serve), frame);
    Fixture { router, clock, identity, sessions, setup, stopping, dir }
}

impl Fixture {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response = self.router.clone().oneshot(request).await.expect("answers");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, method: &str, path: &str, browser: Option<&Browser>, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(browser) = browser {
            request = request.header(header::COOKIE, &browser.cookie).header("x-csrf-token", &browser.csrf);
        }
        let body = match body {
            Some(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).expect("a request")).await
    }

    async fn set_up(&self) -> Browser {
        let token = self.setup.token().await.expect("reads").expect("needed");
        let answer = self
            .call("POST", "/api/setup", None, Some(json!({
                "token": token, "email": "ada@example.org", "displayName": "Ada", "password": PASSWORD,
            })))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        browser(&answer)
    }
}

fn browser(answer: &Answer) -> Browser {
    let line = answer.headers[header::SET_COOKIE].to_str().expect("text");
    assert!(line.starts_with("tenure_sid=") && line.contains("HttpOnly; SameSite=Lax"), "{line}");
    Browser {
        cookie: line.split(';').next().unwrap_or("").to_owned(),
        csrf: answer.body["csrfToken"].as_str().unwrap_or("").to_owned(),
    }
}

fn assert_problem(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.body);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
    assert_eq!(answer.body["status"], status);
    assert_eq!(answer.body["requestId"].as_str(), answer.headers["x-request-id"].to_str().ok());
    assert!(answer.body["title"].is_string() && answer.body["detail"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_time_token_makes_the_first_administrator_once() {
    let f = fixture(Check::of(None)).await;
    let file = f.dir.path().join("setup-token");
    assert_eq!(f.call("GET", "/api/setup", None, None).await.body, json!({ "needed": true }));
    let wrong = json!({ "token": "x", "email": "ada@example.org", "displayName": "Ada", "password": PASSWORD });
    assert_problem(&f.call("POST", "/api/setup", None, Some(wrong.clone())).await, 403);
    let token = f.setup.token().await.expect("reads").expect("needed");
    assert!(file.exists());
    let weak = json!({ "token": token, "email": "no address", "displayName": "", "password": "short" });
    let refused = f.call("POST", "/api/setup", None, Some(weak)).await;
    assert_problem(&refused, 422);
    let fields: Vec<_> =
        refused.body["errors"].as_array().expect("faults").iter().map(|e| e["field"].clone()).collect();
    assert_eq!(fields, ["displayName", "email", "password"]);
    let me = f.set_up().await;
    assert!(!file.exists(), "the used token is gone");
    assert_problem(&f.call("POST", "/api/setup", None, Some(wrong)).await, 409);
    let me = f.call("GET", "/api/auth/me", Some(&me), None).await;
    assert_eq!(me.body["roles"], json!(["admin"]));
    assert_eq!(me.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_by_idleness_by_sign_out_and_with_its_account() {
    let f = fixture(Check::of(None)).await;
    f.set_up().await;
    let login = json!({ "email": "ADA@example.org", "password": PASSWORD });
    let sign_in = || async { browser(&f.call("POST", "/api/auth/login", None, Some(login.clone())).await) };
    let wrong = json!({ "email": "ada@example.org", "password": "wrong horse battery" });
    assert_problem(&f.call("POST", "/api/auth/login", None, Some(wrong)).await, 401);
    let unknown = json!({ "email": "bob@example.org", "password": PASSWORD });
    assert_problem(&f.call("POST", "/api/auth/login", None, Some(unknown)).await, 401);

    let me = sign_in().await;
    f.clock.advance(Duration::from_secs(29 * 60));
    assert_eq!(f.call("GET", "/api/auth/me", Some(&me), None).await.status, StatusCode::OK);
    f.clock.advance(Duration::from_secs(30 * 60));
    assert_problem(&f.call("GET", "/api/auth/me", Some(&me), None).await, 401);

    let me = sign_in().await;
    let out = f.call("POST", "/api/auth/logout", Some(&me), Some(json!({}))).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert_problem(&f.call("GET", "/api/auth/me", Some(&me), None).await, 401);

    let me = sign_in().await;
    f.identity
        .store
        .write(|tx| accounts::ops::disable_account(tx, &Principal::system("test"), "ada@example.org"))
        .await
        .expect("disables");
    assert_problem(&f.call("GET", "/api/auth/me", Some(&me), None).await, 401);
    assert_problem(&f.call("POST", "/api/auth/login", None, Some(login.clone())).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsafe_request_by_cookie_needs_the_token_and_our_origin() {
    let f = fixture(Check::of(None)).await;
    let me = f.set_up().await;
    let person = json!({ "displayName": "Bob", "email": "bob@example.org", "attributes": {} });
    let without = Browser { cookie: me.cookie.clone(), csrf: String::new() };
    assert_problem(&f.call("POST", "/api/people", Some(&without), Some(person.clone())).await, 403);
    let from = |name: &'static str, value: &'static str| {
        let request = Request::post("/api/people")
            .header(header::COOKIE, &me.cookie)
            .header("x-csrf-token", &me.csrf)
            .header(header::HOST, "localhost:7070")
            .header(header::CONTENT_TYPE, "application/json")
            .header(name, value);
        request.body(Body::from(person.to_string())).expect("a request")
    };
    assert_problem(&f.send(from("origin", "http://evil.test")).await, 403);
    assert_problem(&f.send(from("origin", "null")).await, 403);
    assert_problem(&f.send(from("sec-fetch-site", "cross-site")).await, 403);
    assert_eq!(f.send(from("origin", "http://tenure.test")).await.status, StatusCode::CREATED);
    assert_problem(&f.send(from("origin", "http://localhost:7070")).await, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_within_its_scope_until_it_is_revoked() {
    let f = fixture(Check::of(None)).await;
    let me = f.set_up().await;
    let wanted = json!({ "name": "ci", "scope": ["person:read"] });
    let made = f.call("POST", "/api/auth/tokens", Some(&me), Some(wanted)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let secret = made.body["token"].as_str().expect("the secret").to_owned();
    assert!(secret.starts_with("tnr_"));
    let by_token = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .header(header::CONTENT_TYPE, "application/json");
        let body = json!({ "displayName": "Bob", "email": "bob@example.org", "attributes": {} });
        request.body(Body::from(body.to_string())).expect("a request")
    };
    assert_eq!(f.send(by_token("GET", "/api/people")).await.status, StatusCode::OK);
    assert_problem(&f.send(by_token("POST", "/api/people")).await, 403);
    let listed = f.call("GET", "/api/auth/tokens", Some(&me), None).await;
    assert!(!listed.body.to_string().contains(&secret), "shown once");
    let path = format!("/api/auth/tokens/{}", made.body["id"].as_str().expect("an id"));
    assert_eq!(f.call("DELETE", &path, Some(&me), None).await.status, StatusCode::NO_CONTENT);
    assert_problem(&f.send(by_token("GET", "/api/people")).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_get_problems_and_never_a_5xx() {
    let f = fixture(Check::of(None)).await;
    assert_problem(&f.call("GET", "/api/people", None, None).await, 401);
    assert_problem(&f.call("GET", "/api/nothing", None, None).await, 404);
    let wrong_method = f.call("DELETE", "/api/setup", None, None).await;
    assert_problem(&wrong_method, 405);
    assert!(wrong_method.headers.contains_key(header::ALLOW));
    let login = |kind: &str, body: String| {
        let request = Request::post("/api/auth/login").header(header::CONTENT_TYPE, kind);
        request.body(Body::from(body)).expect("a request")
    };
    assert_problem(&f.send(login("text/plain", "{}".to_owned())).await, 415);
    assert_problem(&f.send(login("application/json", "{".to_owned())).await, 400);
    assert_problem(&f.send(login("application/json", "[".repeat(100_000))).await, 400);
    let wrong_type = f.send(login("application/json", r#"{"email":1,"password":"x"}"#.to_owned())).await;
    assert_problem(&wrong_type, 422);
    assert_eq!(wrong_type.body["errors"][0]["field"], "email");
    let large = format!(r#"{{"email":"{}"}}"#, "x".repeat(1024 * 1024));
    assert_problem(&f.send(login("application/json", large)).await, 413);
    let me = f.set_up().await;
    assert_problem(&f.call("GET", "/api/people/nobody", Some(&me), None).await, 404);
    assert_problem(&f.call("GET", "/api/people?limit=1000", Some(&me), None).await, 422);
    let panicked = f.call("GET", "/api/panic", None, None).await;
    assert_problem(&panicked, 500);
    assert!(!panicked.body.to_string().contains("of a handler"), "the cause is for the log");
    for name in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
        assert!(panicked.headers.contains_key(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_follows_the_deciding_checks_and_readiness_the_shutdown() {
    let f = fixture(Check::of(None)).await;
    let health = f.call("GET", "/api/health", None, None).await;
    assert_eq!(health.status, StatusCode::OK, "{}", health.body);
    assert_eq!(health.body["status"], "ok");
    assert_eq!(health.body["checks"]["redis"]["backend"], "embedded");
    assert!(health.body["checks"]["database"]["latencyMs"].is_number());
    assert!(health.body["uptime"].is_number() && health.body["version"].is_string());
    for name in ["audit", "disk"] {
        assert_eq!(health.body["checks"][name]["status"], "ok", "{name}: {}", health.body);
    }
    assert_eq!(f.call("GET", "/api/health/ready", None, None).await.status, StatusCode::OK);
    f.stopping.cancel();
    assert_problem(&f.call("GET", "/api/health/ready", None, None).await, 503);
    assert_eq!(f.call("GET", "/api/health/live", None, None).await.status, StatusCode::OK);

    let f = fixture(Check::of(Some("stopped".to_owned()))).await;
    let health = f.call("GET", "/api/health", None, None).await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.body["status"], "degraded");
    assert_eq!(health.body["checks"]["worker"]["detail"], "stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_token_goes_when_an_account_is_made_in_another_way() {
    let f = fixture(Check::of(None)).await;
    let file = f.dir.path().join("setup-token");
    f.setup.token().await.expect("reads").expect("needed");
    assert!(file.exists());
    f.identity
        .store
        .write(|tx| {
            let by = Principal::system("test");
            let new = people::NewPerson {
                display_name: "Eva".to_owned(),
                email: "eva@example.org".to_owned(),
                manager_id: None,
                attributes: json!({}),
            };
            let person = people::ops::create_person(tx, &by, new)?;
            accounts::ops::create_account(tx, &by, &person.id, "eva@example.org", None, &[])
        })
        .await
        .expect("an account");
    assert_eq!(f.setup.token().await.expect("reads"), None);
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_kept_under_the_session_secret() {
    let f = fixture(Check::of(None)).await;
    let me = f.set_up().await;
    let secret = me.cookie.trim_start_matches("tenure_sid=");
    let found = |key: &'static str, cookie: &str| {
        let identity = Identity { session_key: SessionKey::new(key), ..f.identity.clone() };
        let cookie = cookie.to_owned();
        async move { identity.session(&cookie).await.expect("reads").is_some() }
    };
    assert!(found("the key of the tests", secret).await);
    assert!(!found("another key of the tests", secret).await);
    let kept: Vec<u8> = f.sessions.read(|tx| tx.scalar("SELECT hash FROM session", &[])).await.expect("reads");
    assert_ne!(kept, accounts::ops::token_hash(secret), "the hash alone would tell which cookie it is");
    assert_eq!(format!("{:?}", f.identity.session_key), "(secret)");
}

/// Sends bytes over a real socket and answers all that comes back until the server closes.
async fn over_a_socket(router: Router, head: String, body: Vec<u8>) -> (usize, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = crate::platform::http::Server::start("127.0.0.1:0", None, router).await.expect("listens");
    let mut socket = tokio::net::TcpStream::connect(server.local_addr).await.expect("connects");
    socket.write_all(head.as_bytes()).await.expect("the head is sent");
    socket.write_all(&body).await.expect("the body is sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
    read.expect("the server closes").expect("and does not reset");
    (body.len(), String::from_utf8_lossy(&answer).into_owned())
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /api/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n{more}\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_comes_ends_with_408() {
    let f = fixture(Check::of(None)).await;
    for sent in [&b""[..], b"{\"email\":"] {
        let (_, answer) = over_a_socket(f.router.clone(), head(100, ""), sent.to_vec()).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("application/problem+json") && answer.contains("connection: close"), "{answer}");
    }
}

/// Whoever stops sending does not hold the end of the process up; whoever goes on is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_pauses_is_not_waited_for_once_the_process_is_to_end() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let f = fixture_with(Check::of(None), Duration::from_secs(600)).await;
    let server = crate::platform::http::Server::start("127.0.0.1:0", None, f.router.clone()).await.expect("listens");
    let mut silent = tokio::net::TcpStream::connect(server.local_addr).await.expect("connects");
    let mut slow = tokio::net::TcpStream::connect(server.local_addr).await.expect("connects");
    let body = br#"{"email":"a@b.c","password":"none"}"#;
    silent.write_all(head(100, "").as_bytes()).await.expect("is sent");
    slow.write_all(head(body.len(), "").as_bytes()).await.expect("is sent");
    let (begin, rest) = body.split_at(10);
    slow.write_all(begin).await.expect("is sent");
    f.stopping.cancel();
    let finishing = tokio::spawn(server.stop_accepting().finish(Duration::from_secs(20)));
    slow.write_all(rest).await.expect("is sent");
    let (mut first, mut second) = (String::new(), String::new());
    slow.read_to_string(&mut second).await.expect("an answer");
    assert!(second.starts_with("HTTP/1.1 401 "), "{second}");
    silent.read_to_string(&mut first).await.expect("an answer");
    assert!(first.starts_with("HTTP/1.1 408 "), "{first}");
    assert!(finishing.await.expect("joins"), "nothing had to be cut");
}

/// The client writes all of its body before it reads: the answer must wait for it in the socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_far_over_the_limit_gets_its_413() {
    let f = fixture(Check::of(None)).await;
    let body = vec![b' '; 8 * 1024 * 1024];
    let (sent, answer) = over_a_socket(f.router.clone(), head(body.len(), ""), body).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{sent} bytes: {answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    // Also when it is more than is read before the answer.
    let body = vec![b' '; 96 * 1024 * 1024];
    let (sent, answer) = over_a_socket(f.router.clone(), head(body.len(), ""), body).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{sent} bytes: {answer}");
    // Who waits to be asked is told at once, and not asked to send what is thrown away.
    let people = head(8 * 1024 * 1024, "expect: 100-continue\r\n").replace("/api/auth/login", "/api/people");
    let (_, answer) = over_a_socket(f.router.clone(), people, Vec::new()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

/// It fails for everybody, so that it cannot be forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_reads_before_its_guard_is_a_defect() {
    let f = fixture(Check::of(None)).await;
    assert_problem(&f.call("POST", "/api/unguarded", None, Some(json!({}))).await, 500);
    let me = f.set_up().await;
    assert_problem(&f.call("POST", "/api/unguarded", Some(&me), Some(json!({}))).await, 500);
    let eva = f.call("POST", "/api/people", None, Some(json!({ "colour": "red" }))).await;
    assert_problem(&eva, 401);
}
