//! Connectors through the whole product: hooks, keys that are replaced, what the pages show.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tenure::app::demo::story::ADMIN;
use tenure::params;

use crate::support::office::{Office, Who, id_of};
use crate::support::people::set_up;
use crate::support::{Server, command, eventually, http};

const HOOK_SECRET: &str = "a-hook-secret-of-24-chars";

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds")
}

fn signature(secret: &str, at: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

struct Hook<'a> {
    office: &'a Office,
    id: &'a str,
}

/// Where to, timestamp, signature, body, status.
type Case<'a> = (&'a Hook<'a>, &'a str, &'a str, &'a str, u16);

impl Hook<'_> {
    async fn send(&self, at: &str, signature: &str, body: &str) -> (u16, Value) {
        let answer = http()
            .post(format!("{}/api/hooks/{}", self.office.running.base, self.id))
            .header("x-tenure-timestamp", at)
            .header("x-tenure-signature", signature)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn signed(&self, body: &Value) -> (u16, Value) {
        let (at, body) = (now().to_string(), body.to_string());
        self.send(&at, &signature(HOOK_SECRET, &at, &body), &body).await
    }
}

fn waiting() -> Value {
    json!({ "name": "Waits", "variables": [], "steps": [
        { "id": "wait", "name": "Wait", "type": "webhook_wait", "config": { "event": "hr.joined", "key": "4711" } },
    ] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_hook_goes_on_with_what_waits_for_it_once() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let policy = json!({ "hookEvents": ["hr.*"] });
    let body = json!({ "name": "HR", "kind": "directory", "policy": policy, "secrets": { "hook": HOOK_SECRET } });
    let id = id_of(&office.does(&admin, "POST", "/api/connectors", body).await);
    let workflow = office.workflow(&admin, waiting()).await;
    let run = id_of(&office.does(&admin, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await);
    office.run_that_is(&admin, &run, "waiting").await;

    let hook = Hook { office: &office, id: &id };
    let event = json!({ "event": "hr.joined", "key": "4711", "payload": { "name": "Ada" } });
    let (at, text) = (now().to_string(), event.to_string());
    let good = signature(HOOK_SECRET, &at, &text);
    let nobody = Hook { office: &office, id: "con_00000000000000000000000000" };
    let old = (now() - 301).to_string();
    let cases: [Case<'_>; 9] = [
        (&hook, &at, "", &text, 401),
        (&hook, &at, &signature("another-secret-of-24-chars", &at, &text), &text, 401),
        (&hook, &at, &good, &text.replace("Ada", "Eve"), 401),
        (&hook, &old, &good, &text, 401),
        (&hook, &old, &signature(HOOK_SECRET, &old, &text), &text, 401),
        (&nobody, &at, &good, &text, 401),
        (&Hook { office: &office, id: "HR" }, &at, &good, &text, 401),
        (&hook, &at, &signature(HOOK_SECRET, &at, "no JSON"), "no JSON", 400),
        (&hook, &at, &signature(HOOK_SECRET, &at, "{}"), "{}", 422),
    ];
    for (hook, at, signature, body, status) in cases {
        let (got, answer) = hook.send(at, signature, body).await;
        assert_eq!(got, status, "{answer}");
    }
    // Whether there is such a connector is told to nobody who cannot sign.
    assert_eq!(hook.send(&at, "", &text).await.1["detail"], nobody.send(&at, "", &text).await.1["detail"]);
    let (status, answer) = hook.signed(&json!({ "event": "door.opened", "key": "1" })).await;
    assert_eq!((status, answer["errors"][0]["field"].as_str()), (422, Some("event")), "{answer}");

    let (status, answer) = hook.send(&at, &good, &text).await;
    assert_eq!((status, answer["resumed"].as_u64()), (200, Some(1)), "{answer}");
    let done = office.run_that_is(&admin, &run, "completed").await;
    assert_eq!(done["status"], "completed");
    let (status, answer) = hook.send(&at, &good, &text).await;
    assert_eq!(status, 409, "{answer}");
    let count = |sql: &'static str| office.read(move |tx| tx.scalar::<u32>(sql, params![]));
    assert_eq!(count("SELECT count(*) FROM hook_seen").await, 1);
    assert_eq!(count("SELECT count(*) FROM audit_log WHERE action = 'run.event_received'").await, 1);
    // A secret for hooks is long, and stays when the connector is pointed elsewhere.
    let path = format!("/api/connectors/{id}");
    let (status, answer) = office.ask(&admin, "PATCH", &path, json!({ "secrets": { "hook": "short" } })).await;
    assert_eq!((status, answer["errors"][0]["field"].as_str()), (422, Some("secrets.hook")));
    // A flood of hooks is held up.
    let mut limited = false;
    for _ in 0..60 {
        limited |= hook.send(&at, "", &text).await.0 == 429;
    }
    assert!(limited);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_connectors_shows_breakers_and_mocks_and_health_warns() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let port = crate::support::free_port();
    let body = json!({
        "name": "Gone", "kind": "http", "config": { "baseUrl": format!("http://127.0.0.1:{port}") },
        "policy": { "retries": 0, "breakerFailures": 1, "breakerOpenSeconds": 600 },
    });
    let id = id_of(&office.does(&admin, "POST", "/api/connectors", body).await);
    let call = json!({ "command": "request", "params": { "method": "GET", "path": "x" } });
    let result = office.does(&admin, "POST", &format!("/api/connectors/{id}/execute"), call).await;
    assert_eq!(result["error"]["code"], "unreachable");
    let view = office.does(&admin, "GET", &format!("/api/connectors/{id}"), Value::Null).await;
    assert_eq!((view["breaker"]["state"].as_str(), view["mock"].as_bool()), (Some("open"), Some(false)));
    assert_eq!(view["policy"]["maxConcurrent"], 8);
    let health = eventually("health warns", Duration::from_secs(5), || async {
        let (status, health) = office.ask(&admin, "GET", "/api/health", Value::Null).await;
        (health["checks"]["connectors"]["status"] == "warning").then_some((status, health))
    })
    .await;
    assert_eq!((health.0, health.1["status"].as_str()), (200, Some("ok")), "one system is no reason to leave the balancer");
    assert!(health.1["checks"]["connectors"]["detail"].as_str().is_some_and(|d| d.contains("Gone")));

    let listed = json!({ "command": "list_accounts" });
    let directory = office.does(&admin, "POST", "/api/connectors", json!({ "name": "D", "kind": "directory", "mock": true })).await;
    assert_eq!(directory["mock"], true);
    let path = format!("/api/connectors/{}", id_of(&directory));
    let page = office.does(&admin, "POST", &format!("{path}/list"), listed.clone()).await;
    assert_eq!((page["ok"].as_bool(), page["error"]["code"].as_str()), (Some(false), Some("mocked")));
    office.does(&admin, "PATCH", &path, json!({ "mock": false })).await;
    let page = office.does(&admin, "POST", &format!("{path}/list"), listed).await;
    assert_eq!(page["page"], json!({ "items": [], "next": null, "complete": true }));
    for (body, field) in [
        (json!({ "command": "has_account" }), "command"), (json!({ "command": "list_accounts", "limit": 0 }), "limit"),
    ] {
        let (status, answer) = office.ask(&admin, "POST", &format!("{path}/list"), body).await;
        assert_eq!((status, answer["errors"][0]["field"].as_str()), (422, Some(field)));
    }
    office.running.stop().await;
}

/// A workflow is tried without the system that it calls; what was pretended stands in the run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_in_mock_mode_calls_nobody_and_the_run_shows_it() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let definition = json!({
        "name": "Tried", "variables": [{ "name": "who", "type": "string", "default": "ada" }],
        "steps": [{ "id": "look", "name": "Look", "type": "connector", "config": {
            "connector": "nowhere", "command": "has_account", "params": {}, "mock": { "present": true, "who": "{{ vars.who }}" } } }],
    });
    let workflow = office.workflow(&admin, definition).await;
    let run = id_of(&office.does(&admin, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await);
    office.run_that_is(&admin, &run, "completed").await;
    let steps = office.does(&admin, "GET", &format!("/api/runs/{run}/steps"), Value::Null).await;
    let text = steps.to_string();
    assert!(text.contains(r#""mocked":true"#) && text.contains(r#""who":"ada""#), "{text}");
    office.running.stop().await;
}

/// An assignment through a connector that only pretends is not given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_pretended_makes_no_grant_provisioned() {
    let office = Office::open().await;
    let (admin, person) = office.sign_in(ADMIN).await;
    let role = office.role(&admin, "readers").await;
    let connectors = office.does(&admin, "GET", "/api/connectors", Value::Null).await;
    let path = format!("/api/connectors/{}", id_of(&connectors["items"][0]));
    office.does(&admin, "PATCH", &path, json!({ "mock": true })).await;
    let body = json!({ "personId": person, "roleId": role, "reason": "to see", "expiresAt": "2099-01-01T00:00:00Z" });
    let assignment = id_of(&office.does(&admin, "POST", "/api/assignments", body).await);
    let state = |who: Who| {
        let (office, path) = (&office, format!("/api/assignments/{assignment}"));
        async move { office.ask(&who, "GET", &path, Value::Null).await.1 }
    };
    let seen = eventually("it says why", Duration::from_secs(20), || async {
        let assignment = state(admin.clone()).await;
        assignment["grants"][0]["lastError"].as_str().map(str::to_owned)
    })
    .await;
    assert!(seen.contains("mock mode"), "{seen}");
    let now = state(admin.clone()).await;
    assert_ne!(now["grants"][0]["state"], "provisioned", "{now}");
    assert!(!["active"].contains(&now["state"].as_str().unwrap_or_default()), "{now}");
    office.running.stop().await;
}

fn key(n: u8) -> String {
    (0..32_u8).map(|i| format!("{:02x}", i.wrapping_mul(37) ^ n)).collect()
}

fn tenure(data: &Path, args: &[&str], vars: &[(&str, &str)]) -> Output {
    command(args).env("DATA_DIR", data).envs(vars.iter().copied()).output().expect("the binary runs")
}

/// The old key opens, the new one seals; afterwards the old one is not needed any more.
#[tokio::test]
async fn keys_are_replaced_while_the_server_runs_and_asking_again_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let (old, new) = (key(1), key(2));
    let server = Server::start(&["serve"], &data, &[("CONNECTOR_ENCRYPTION_KEY", &old)]).await;
    let token = set_up(&server, &data).await;
    for n in 0..60 {
        let body = json!({
            "name": format!("c{n}"), "kind": "http", "config": { "baseUrl": "http://a.example", "auth": "bearer" },
            "secrets": { "token": format!("secret-{n}"), "hook": HOOK_SECRET },
        });
        let made = http().post(format!("{}/api/connectors", server.base)).bearer_auth(&token).json(&body).send().await;
        assert_eq!(made.expect("an answer").status(), 201);
    }
    assert_eq!(server.terminate(), 0);

    let both = [("CONNECTOR_ENCRYPTION_KEY", new.as_str()), ("CONNECTOR_ENCRYPTION_KEY_PREVIOUS", old.as_str())];
    let server = Server::start(&["serve"], &data, &both).await;
    for (rotated, skipped) in [(120, 0), (0, 120)] {
        let output = tenure(&data, &["keys", "rotate", "--json"], &both);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(done, json!({ "total": 120, "rotated": rotated, "skipped": skipped, "failed": 0, "failures": [] }));
    }
    assert_eq!(server.terminate(), 0);

    // Without a server, and with the new key alone.
    let output = tenure(&data, &["keys", "rotate"], &[("CONNECTOR_ENCRYPTION_KEY", &new)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("120 under the present key already"), "{text}");
    // A key that is neither of them opens nothing, says so, and leaves everything as it is.
    let other = key(3);
    let output = tenure(&data, &["keys", "rotate", "--json"], &[("CONNECTOR_ENCRYPTION_KEY", &other)]);
    assert_eq!(output.status.code(), Some(1));
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((done["failed"].as_u64(), done["rotated"].as_u64()), (Some(120), Some(0)));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CONNECTOR_ENCRYPTION_KEY_PREVIOUS"));
    let output = tenure(&data, &["keys", "rotate", "--json"], &[("CONNECTOR_ENCRYPTION_KEY", &new)]);
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(done["skipped"], 120);
    let log = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
    for (action, expected) in [("connector.secrets_resealed", 60), ("connector.keys_rotated", 5)] {
        let count = log.query_row("SELECT count(*) FROM audit_log WHERE action = ?1", [action], |r| r.get::<_, u32>(0));
        assert_eq!(count.expect("counts"), expected, "{action}");
    }
    let audited = tenure(&data, &["audit", "verify", "--db", data.join("tenure.db").to_str().expect("UTF-8")], &[]);
    assert!(audited.status.success());
}
