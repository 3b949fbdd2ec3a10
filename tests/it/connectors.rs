//! Connectors of every kind but LDAP: the directory inside Tenure, HTTP APIs, secrets, changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tenure::base::access::Principal;
use tenure::base::problem::Problem;
use tenure::features::connectors::{ConnectorChange, ConnectorSettings, Connectors, Kind, NewConnector, Policy, ops, rotation, store};
use tenure::platform::secrets::SecretBox;
use tenure::platform::store::Tx;

use crate::support::connectors::Bench;

#[tokio::test]
async fn the_directory_holds_accounts_groups_and_members() {
    let bench = Bench::start(None).await;
    let id = bench.connector(Kind::Directory, json!({}), &[]).await;
    let member = json!({ "account": "ada", "group": "genome-readers" });
    let steps = [
        ("has_member", json!({ "present": false })),
        ("add_member", json!({ "changed": true })),
        ("add_member", json!({ "changed": false })),
        ("has_member", json!({ "present": true })),
        ("remove_member", json!({ "changed": true })),
        ("remove_member", json!({ "changed": false })),
        ("has_member", json!({ "present": false })),
    ];
    for (command, expected) in steps {
        assert_eq!(bench.call(&id, command, &member).await, Ok(expected), "{command}");
    }
    bench.call(&id, "add_member", &member).await.expect("added");
    let account = json!({ "account": "ada" });
    assert_eq!(bench.call(&id, "delete_account", &account).await, Ok(json!({ "changed": true })));
    assert_eq!(bench.call(&id, "has_member", &member).await, Ok(json!({ "present": false })));

    let strict = bench.connector(Kind::Directory, json!({ "createMissing": false }), &[]).await;
    assert_eq!(bench.call(&strict, "add_member", &member).await.expect_err("no account").code, "no_account");
    assert_eq!(bench.call(&strict, "has_member", &member).await, Ok(json!({ "present": false })));
}

/// A repetition that comes late must not bring back what was taken away since.
#[tokio::test]
async fn a_repeated_key_answers_again_and_changes_nothing() {
    let bench = Bench::start(None).await;
    let id = bench.connector(Kind::Directory, json!({}), &[]).await;
    let member = json!({ "account": "ada", "group": "g" });
    let added = Ok(json!({ "changed": true }));
    assert_eq!(bench.call_with(&id, "add_member", &member, "grant-1").await, added);
    bench.call_with(&id, "remove_member", &member, "grant-1-end").await.expect("removed");
    assert_eq!(bench.call_with(&id, "add_member", &member, "grant-1").await, added);
    assert_eq!(bench.call(&id, "has_member", &member).await, Ok(json!({ "present": false })));

    let other = json!({ "account": "eve", "group": "g" });
    let refused = bench.call_with(&id, "add_member", &other, "grant-1").await.expect_err("another call");
    assert_eq!(refused.code, "key_reused");
    assert_eq!(bench.call(&id, "has_member", &other).await, Ok(json!({ "present": false })));
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

/// A small API: `/api/users/ada` is there, `/api/big` is too large, `/api/away` redirects.
async fn answer(State(seen): State<Seen>, request: Request) -> Response {
    let header = |name: &str| {
        request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or("-").to_owned()
    };
    let line = format!(
        "{} {} auth={} key={}",
        request.method(),
        request.uri(),
        header("authorization"),
        header("idempotency-key")
    );
    seen.0.lock().expect("a lock").push(line);
    match request.uri().path() {
        "/api/users/ada" => axum::Json(json!({ "name": "ada" })).into_response(),
        "/api/big" => vec![b'x'; 2 * 1024 * 1024].into_response(),
        "/api/away" => (StatusCode::FOUND, [("location", "http://169.254.169.254/latest/")]).into_response(),
        "/api/busy" => (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({ "detail": "later" }))).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn api(seen: Seen) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(answer).with_state(seen)).await.expect("serves");
    });
    format!("http://{address}")
}

fn request(method: &str, path: &str) -> Value {
    json!({ "method": method, "path": path })
}

#[tokio::test]
async fn an_http_api_is_called_below_its_base_url_with_the_connectors_credentials() {
    let seen = Seen::default();
    let base = api(seen.clone()).await;
    let bench = Bench::start(None).await;
    let config = json!({ "baseUrl": format!("{base}/api"), "auth": "bearer" });
    let id = bench.connector(Kind::Http, config, &[("token", "s3cret")]).await;

    let mut params = request("GET", "/users/ada");
    params["query"] = json!({ "q": "a b", "n": [1, 2] });
    let output = bench.call_with(&id, "request", &params, "k1").await.expect("answered");
    assert_eq!(output, json!({ "status": 200, "body": { "name": "ada" } }));
    let line = seen.0.lock().expect("a lock").pop();
    assert_eq!(line.as_deref(), Some("GET /api/users/ada?n=1&n=2&q=a+b auth=Bearer s3cret key=k1"));

    params = request("GET", "/users/eve");
    params["absentStatus"] = json!([404]);
    assert_eq!(bench.call(&id, "request", &params).await.expect("looked")["present"], false);
    params = request("DELETE", "/users/eve");
    params["expectStatus"] = json!([204, 404]);
    assert_eq!(bench.call(&id, "request", &params).await.expect("gone")["status"], 404);

    for (path, code, retryable) in
        [("/busy", "http_503", true), ("/nowhere", "http_404", false), ("/big", "too_large", false), ("/away", "http_302", false)]
    {
        let failure = bench.call(&id, "request", &request("POST", path)).await.expect_err(path);
        assert_eq!((failure.code.as_str(), failure.retryable), (code, retryable), "{path}");
    }
    let mut sneaky = request("GET", "/users/ada");
    sneaky["headers"] = json!({ "Authorization": "Bearer other" });
    for params in [request("GET", "/../admin"), request("GET", "/users?x"), request("TRACE", "/"), sneaky] {
        assert_eq!(bench.call(&id, "request", &params).await.expect_err("refused").code, "bad_params");
    }
}

/// The host's name may lead anywhere later; what counts is the address at the time of the call.
#[tokio::test]
async fn tenures_own_listener_is_not_called_by_any_name() {
    let base = api(Seen::default()).await;
    let bench = Bench::start(None).await;
    bench.outbound.set_own_listeners(vec![base.trim_start_matches("http://").parse().expect("an address")]);
    for host in [base.clone(), base.replace("127.0.0.1", "[::ffff:127.0.0.1]")] {
        let id = bench.connector(Kind::Http, json!({ "baseUrl": host }), &[]).await;
        let failure = bench.call(&id, "request", &request("GET", "/users/ada")).await.expect_err("refused");
        assert_eq!((failure.code.as_str(), failure.retryable), ("address_refused", false));
    }
}

/// The limit is of the whole call, whatever part of it hangs.
#[tokio::test]
async fn a_system_that_hangs_ends_in_a_timeout() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let host = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    let bench = Bench::start(None).await;
    let dn = json!({ "dn": "dc=example,dc=org" });
    let cases = [
        (Kind::Http, json!({ "baseUrl": format!("http://{host}"), "timeoutSeconds": 1 }), "request", request("GET", "/x")),
        (Kind::Ldap, json!({ "url": format!("ldap://{host}"), "timeoutSeconds": 1 }), "has_entry", dn.clone()),
        (Kind::Ldap, json!({ "url": format!("ldaps://{host}"), "timeoutSeconds": 1 }), "has_entry", dn),
    ];
    let calls = cases.iter().map(|(kind, config, command, params)| async {
        let id = bench.connector(*kind, config.clone(), &[]).await;
        bench.call(&id, command, params).await.expect_err("hangs")
    });
    for failure in futures::future::join_all(calls).await {
        assert_eq!((failure.code.as_str(), failure.retryable), ("timeout", true), "{}", failure.message);
    }
}

fn leaves(tx: &Tx<'_>) -> Result<Vec<Vec<u8>>, Problem> {
    tx.query("SELECT state FROM audit_state WHERE state IS NOT NULL", &[], |row| row.get("state"))
}

/// Whoever may change a connector but not read its secret must not get the secret sent to them.
#[tokio::test]
async fn a_connector_that_is_pointed_elsewhere_needs_its_secrets_again() {
    let bench = Bench::start(None).await;
    let config = |host: &str| json!({ "baseUrl": format!("https://{host}/api"), "auth": "bearer" });
    let id = bench.connector(Kind::Http, config("a.example"), &[("token", "s3cret-token")]).await;
    let change = |change: ConnectorChange| {
        let (id, sealer) = (id.clone(), bench.connectors.secrets().clone());
        bench.store.write(move |tx| ops::update_connector(tx, &Principal::system("test"), &id, change.clone(), &sealer))
    };
    let elsewhere = ConnectorChange { config: Some(config("evil.example")), ..ConnectorChange::default() };
    let refused = change(elsewhere.clone()).await.expect_err("refused");
    assert!(matches!(refused, Problem::Invalid { ref errors, .. } if errors[0].field == "secrets.token"), "{refused:?}");
    let renamed = ConnectorChange { name: Some("renamed".to_owned()), ..ConnectorChange::default() };
    assert_eq!(change(renamed).await.expect("renamed").secrets_set, ["token"]);
    let secrets = BTreeMap::from([("token".to_owned(), Some("another".to_owned()))]);
    change(ConnectorChange { secrets, ..elsewhere }).await.expect("with its secret");

    let states = bench.store.read(leaves).await.expect("read");
    assert!(states.len() >= 4);
    for state in states {
        let text = String::from_utf8_lossy(&state);
        assert!(!text.contains("s3cret-token") && !text.contains("another"), "{text}");
    }
}

#[tokio::test]
async fn a_new_connector_with_faults_is_refused_with_every_field() {
    let bench = Bench::start(None).await;
    let new = NewConnector {
        name: " ".to_owned(),
        kind: Kind::Http,
        config: json!({ "baseUrl": "ftp://a.example" }),
        policy: Policy { retries: 99, ..Policy::default() },
        mock: false,
        secrets: BTreeMap::from([("key".to_owned(), "x".to_owned()), ("token".to_owned(), String::new())]),
    };
    let create = |new: NewConnector| {
        let sealer = bench.connectors.secrets().clone();
        bench.store.write(move |tx| ops::create_connector(tx, &Principal::system("test"), new.clone(), &sealer))
    };
    let Err(Problem::Invalid { errors, .. }) = create(new).await else { panic!("expected to be refused") };
    let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["name", "config.baseUrl", "policy.retries", "secrets.key", "secrets.token"]);

    let directory = |name: &str| NewConnector {
        name: name.to_owned(),
        kind: Kind::Directory,
        config: json!({}),
        policy: Policy::default(),
        mock: false,
        secrets: BTreeMap::new(),
    };
    create(directory("one")).await.expect("created");
    assert!(matches!(create(directory("one")).await, Err(Problem::Conflict(_))));
    let found = bench.store.read(|tx| store::find_by_name(tx, "one")).await.expect("read");
    assert_eq!(found.expect("there").kind, Kind::Directory);
}

/// Ended in the middle, as by the loss of power: each secret is under one key or the other, and opens.
#[tokio::test]
async fn a_rotation_that_is_ended_in_the_middle_loses_no_secret() {
    let bench = Bench::start(None).await;
    for n in 0..100 {
        let token = format!("token-{n}");
        let config = json!({ "baseUrl": "http://a.example", "auth": "bearer" });
        bench.connector(Kind::Http, config, &[("token", &token), ("password", "a password")]).await;
    }
    let renewed = SecretBox::new("connector secrets", &[8; 32], Some(&[7; 32]));
    let by = Principal::system("test");
    {
        let mut rotating = std::pin::pin!(rotation::rotate_keys(&bench.store, &renewed, &by));
        let mut looks = 0;
        // Each look goes on by one page at most; there are four.
        let stopped = std::future::poll_fn(|cx| {
            looks += 1;
            if looks > 2 { Poll::Ready(false) } else { rotating.as_mut().poll(cx).map(|_| true) }
        });
        assert!(!stopped.await, "it was still on its way");
    }
    let service = |secrets: SecretBox| {
        Connectors::new(bench.store.clone(), secrets, bench.outbound.clone(), ConnectorSettings::default())
    };
    let locked = async |secrets: SecretBox| service(secrets).list_locked().await.expect("looked").len();
    assert_eq!(locked(renewed.clone()).await, 0, "both keys open everything");
    let (old, new) = (SecretBox::new("connector secrets", &[7; 32], None), SecretBox::new("connector secrets", &[8; 32], None));
    assert!(locked(old.clone()).await > 0 && locked(new.clone()).await > 0, "it ended in the middle");
    let rest = rotation::rotate_keys(&bench.store, &renewed, &by).await.expect("it goes on");
    assert_eq!((rest.total, rest.failed), (200, 0), "{rest:?}");
    assert!(rest.rotated > 0 && rest.skipped > 0 && rest.rotated + rest.skipped == 200, "{rest:?}");
    assert_eq!((locked(new).await, locked(old).await), (0, 100));
}
