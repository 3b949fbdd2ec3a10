//! The real binary, started, loaded, asked, ended.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::config::{Config, Reader};
use tenure::platform::clock::SystemClock;
use tenure::platform::http::middleware::MAX_BODY;

use crate::support::{Server, command, eventually, free_port, http};

const PASSWORD: &str = "a long enough password 1";

/// Makes the first administrator; answers a bearer token.
async fn set_up(server: &Server, data: &Path) -> String {
    let token = std::fs::read_to_string(data.join("setup-token")).expect("the setup token");
    let body = json!({ "token": token.trim(), "email": "admin@example.org", "displayName": "Admin", "password": PASSWORD });
    let answer = http().post(format!("{}/api/setup", server.base)).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let me: Value = answer.json().await.expect("JSON");
    let made: Value = http()
        .post(format!("{}/api/auth/tokens", server.base))
        .header("cookie", cookie)
        .header("x-csrf-token", me["csrfToken"].as_str().expect("a token"))
        .json(&json!({ "name": "tests" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    made["token"].as_str().expect("a token").to_owned()
}

async fn get(server: &Server, token: &str, path: &str) -> (u16, Value) {
    let answer =
        http().get(format!("{}{path}", server.base)).bearer_auth(token).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

/// 64 requests at once, half of them writes; answers the statuses.
async fn load(server: &Server, token: &str) -> Vec<u16> {
    let tasks: Vec<_> = (0..64)
        .map(|i| {
            let (client, url, token) = (http(), format!("{}/api/people", server.base), token.to_owned());
            tokio::spawn(async move {
                let request = if i % 2 == 0 {
                    client.get(url)
                } else {
                    client.post(url).json(&json!({ "displayName": format!("P {i}"), "email": format!("p{i}@example.org") }))
                };
                request.bearer_auth(token).send().await.expect("an answer").status().as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.expect("joins"));
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_of_every_shape_work_under_load() {
    for (max, min) in [("1", "0"), ("1", "1"), ("2", "2"), ("10", "10")] {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let vars = [("DB_POOL_MAX", max), ("DB_POOL_MIN", min)];
        let server = Server::start(&["serve"], &data, &vars).await;
        let token = set_up(&server, &data).await;
        let statuses = load(&server, &token).await;
        assert!(statuses.iter().all(|s| *s == 200 || *s == 201), "{max}/{min}: {statuses:?}");
        let (status, people) = get(&server, &token, "/api/people?limit=200").await;
        assert_eq!((status, people["items"].as_array().map(Vec::len)), (200, Some(33)), "{max}/{min}");
        let (_, system) = get(&server, &token, "/api/system").await;
        assert_eq!(system["pool"]["max"].to_string(), max);
        assert_eq!(server.terminate(), 0, "{max}/{min}");
    }
}

/// The reaper looks every 30 seconds, so this test takes as long. The figures are read in the
/// process: a request for them would take a reader, and so open another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_readers_close_down_to_the_minimum_which_counts_the_writer() {
    let dir = tempfile::tempdir().expect("a folder");
    let vars = [
        ("DATA_DIR", dir.path().join("data").display().to_string()),
        ("PORT", free_port().to_string()),
        ("DB_POOL_MAX", "8".to_owned()),
        ("DB_POOL_MIN", "2".to_owned()),
        ("DB_POOL_IDLE_TIMEOUT_MS", "1000".to_owned()),
    ];
    let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
    let config = Config::from_reader(reader).expect("valid").0;
    let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
    let store = running.app.store.clone();
    let open = || {
        let figures = store.pool_stats();
        figures.active + figures.idle
    };
    let together = Arc::new(std::sync::Barrier::new(7));
    let reads: Vec<_> = (0..7)
        .map(|_| {
            let (store, together) = (store.clone(), Arc::clone(&together));
            tokio::spawn(async move {
                store
                    .read(move |_| {
                        together.wait();
                        Ok(())
                    })
                    .await
            })
        })
        .collect();
    for read in reads {
        read.await.expect("joins").expect("reads");
    }
    assert_eq!(open(), 8, "seven reads at once need every reader");
    eventually("one reader and the writer stay", Duration::from_secs(45), || async { (open() == 2).then_some(()) })
        .await;
    running.stop().await;
}

#[tokio::test]
async fn health_has_the_shape_that_balancers_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let began = Instant::now();
    let server = Server::start(&["serve"], &dir.path().join("data"), &[]).await;
    let cold = began.elapsed();
    println!("cold start to healthy: {} ms", cold.as_millis());
    assert!(cold < Duration::from_secs(2), "{cold:?}");
    let (status, health) = server.get("/api/health").await;
    assert_eq!((status, &health["status"], &health["version"]), (200, &json!("ok"), &json!("0.1.0")));
    assert!(health["uptime"].is_f64());
    for check in ["database", "redis"] {
        assert_eq!(health["checks"][check]["status"], "ok");
        assert!(health["checks"][check]["latencyMs"].is_number());
    }
    assert_eq!(health["checks"]["redis"]["backend"], "embedded");
    assert_eq!(server.get("/api/health/live").await.0, 200);
    assert_eq!(server.get("/api/health/ready").await.0, 200);
}

#[tokio::test]
async fn a_taken_port_is_a_fault_of_host_and_port() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = holder.local_addr().expect("an address").port().to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let output = command(&["serve"])
        .env("DATA_DIR", dir.path().join("data"))
        .env("PORT", &port)
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("HOST and PORT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_under_load_cuts_nothing_and_keeps_its_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let (url, log) = (format!("{}/api/people", server.base), data.with_extension(format!("{}.log", server.port)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (client, url, token) = (http(), url.clone(), token.clone());
            tokio::spawn(async move {
                let mut served = 0_u32;
                loop {
                    match client.get(&url).bearer_auth(&token).send().await {
                        // An answer that began must come whole.
                        Ok(answer) => {
                            let status = answer.status().as_u16();
                            answer.bytes().await.expect("the whole answer");
                            assert!(status == 200 || status == 503, "{status}");
                            served += 1;
                        }
                        Err(_) => return served,
                    }
                }
            })
        })
        .collect();
    eventually("the load runs", Duration::from_secs(5), || async {
        get(&server, &token, "/api/system").await.1["writer"]["batches"].as_u64().filter(|n| *n > 0)
    })
    .await;
    let code = tokio::task::spawn_blocking(move || server.terminate()).await.expect("joins");
    assert_eq!(code, 0);
    for client in clients {
        assert!(client.await.expect("no answer was cut") > 0);
    }
    let text = std::fs::read_to_string(log).expect("the log");
    let places: Vec<usize> = ["StopAccepting", "FinishRequests", "DrainWorker", "CloseStores"]
        .iter()
        .map(|step| text.find(step).unwrap_or_else(|| panic!("{step} is not in the log")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn https_is_served_with_the_configured_certificate() {
    let dir = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("made");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("writes");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("writes");
    let data = dir.path().join("data");
    let vars = [("TLS_CERT_FILE", cert.to_str().expect("text")), ("TLS_KEY_FILE", key.to_str().expect("text"))];
    let server = Server::spawn(&["serve"], &data, &vars);
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().expect("a client");
    let url = format!("https://127.0.0.1:{}/api/health", server.port);
    let answer = eventually("HTTPS answers", Duration::from_secs(20), || async { client.get(&url).send().await.ok() });
    let answer = answer.await;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("strict-transport-security"));
    let stranger = http().get(&url).send().await;
    assert!(stranger.is_err(), "a client that does not trust the certificate must not connect");
}

#[tokio::test]
async fn accounts_and_tokens_are_made_on_the_command_line() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let mut child = command(&["user", "create", "--email", "eva@example.org", "--name", "Eva", "--role", "auditor", "--password-stdin"])
        .env("DATA_DIR", &data)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("runs");
    writeln!(child.stdin.take().expect("a pipe"), "{PASSWORD}").expect("writes");
    assert!(child.wait().expect("ends").success());
    let output = command(&["token", "create", "--user", "eva@example.org", "--json"])
        .env("DATA_DIR", &data)
        .output()
        .expect("runs");
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = made["token"].as_str().expect("a token");
    assert_eq!(get(&server, token, "/api/audit").await.0, 200);
    let beside = command(&["user", "list"]).env("DATA_DIR", &data).env("PORT", free_port().to_string()).output();
    assert!(beside.expect("runs").status.success(), "the running server answers commands");
    let second = command(&["serve"]).env("DATA_DIR", &data).env("PORT", free_port().to_string()).output();
    assert_eq!(second.expect("runs").status.code(), Some(78), "the data directory has an owner");
}

#[tokio::test]
async fn every_refusal_is_a_problem_and_an_unknown_field_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let url = |path: &str| format!("{}{path}", server.base);
    let people = || http().post(url("/api/people")).bearer_auth(&token);
    let json = "application/json";
    let requests = [
        (400, people().header("content-type", json).body("{")),
        (401, http().get(url("/api/people"))),
        (404, http().get(url("/api/nothing")).bearer_auth(&token)),
        (404, http().get(url("/api/people/none")).bearer_auth(&token)),
        (405, http().delete(url("/api/people")).bearer_auth(&token)),
        (413, people().header("content-type", json).body(vec![b' '; MAX_BODY + 1])),
        (413, people().header("content-type", json).body(vec![b' '; 4 * MAX_BODY])),
        (415, people().header("content-type", "text/plain").body("{}")),
        (422, http().get(url("/api/people?limit=x")).bearer_auth(&token)),
    ];
    let mut wrong = Vec::new();
    for (expected, request) in requests {
        let answer = request.send().await.expect("an answer");
        let (status, kind) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
        let body: Value = answer.json().await.unwrap_or(Value::Null);
        let whole = kind.is_some_and(|k| k == "application/problem+json") && body["status"] == status && body["requestId"].is_string();
        if status != expected || !whole {
            wrong.push(format!("expected {expected}, got {status}: {body}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let body = json!({ "displayName": "X", "email": "x@example.org", "colour": "red" });
    let answer = people().json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 422);
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["errors"][0]["field"], "colour", "{problem}");
}

#[tokio::test]
async fn production_starts_after_init_and_a_second_process_is_told_whose_directory_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    assert!(command(&["init"]).env("DATA_DIR", &data).status().expect("runs").success());
    let server = Server::start(&["serve"], &data, &[("APP_ENV", "production")]).await;
    let second = command(&["serve"])
        .env("DATA_DIR", &data)
        .env("PORT", free_port().to_string())
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(78), "{text}");
    assert!(text.contains("DATA_DIR") && text.contains(data.to_str().expect("text")), "{text}");
    assert_eq!(server.get("/api/health").await.0, 200, "the first goes on");
}

/// Signs in as the administrator that `set_up` made; answers cookie, CSRF token and request id.
async fn sign_in(server: &Server) -> (String, String, String) {
    let body = json!({ "email": "admin@example.org", "password": PASSWORD });
    let answer = http().post(format!("{}/api/auth/login", server.base)).json(&body).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    let (cookie, id) = (header("set-cookie").split(';').next().expect("a pair").to_owned(), header("x-request-id"));
    let me: Value = answer.json().await.expect("JSON");
    (cookie, me["csrfToken"].as_str().expect("a token").to_owned(), id)
}

#[tokio::test]
async fn another_session_secret_ends_all_sessions() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let first = [("SESSION_SECRET", "the first secret of this test, long enough")];
    let server = Server::start(&["serve"], &data, &first).await;
    set_up(&server, &data).await;
    let (cookie, ..) = sign_in(&server).await;
    assert_eq!(server.terminate(), 0);
    let me = |server: &Server| http().get(format!("{}/api/auth/me", server.base)).header("cookie", &cookie).send();
    let server = Server::start(&["serve"], &data, &first).await;
    assert_eq!(me(&server).await.expect("an answer").status(), 200, "a restart alone ends none");
    assert_eq!(server.terminate(), 0);
    let server = Server::start(&["serve"], &data, &[("SESSION_SECRET", "another secret, as long as the first one")]).await;
    assert_eq!(me(&server).await.expect("an answer").status(), 401);
}

#[tokio::test]
async fn signing_in_and_out_is_audited_and_a_refusal_is_logged_without_the_password() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let (cookie, csrf, started) = sign_in(&server).await;
    let post = |path: &str| http().post(format!("{}{path}", server.base));
    let out = post("/api/auth/logout").header("cookie", &cookie).header("x-csrf-token", &csrf).send().await.expect("an answer");
    assert_eq!(out.status(), 204);
    let ended = out.headers()["x-request-id"].to_str().expect("text").to_owned();
    let (_, before) = get(&server, &token, "/api/audit").await;
    let newest = |i: usize, field: &str| before["items"][i][field].as_str().unwrap_or_default().to_owned();
    assert_eq!((newest(0, "action"), newest(0, "requestId")), ("session.ended".to_owned(), ended));
    assert_eq!((newest(1, "action"), newest(1, "requestId")), ("session.started".to_owned(), started));

    for email in ["admin@example.org", "nobody@example.org"] {
        let wrong = json!({ "email": email, "password": "quite the wrong passphrase" });
        let refused = post("/api/auth/login").json(&wrong).send().await.expect("an answer");
        assert_eq!(refused.status(), 401);
        let id = refused.headers()["x-request-id"].to_str().expect("text").to_owned();
        let logged = eventually("the refusal is in the system log", Duration::from_secs(5), || async {
            let (_, found) = get(&server, &token, &format!("/api/logs?q={id}")).await;
            found["items"].get(0).cloned()
        })
        .await;
        assert_eq!((&logged["level"], &logged["requestId"]), (&json!("warn"), &json!(id)), "{logged}");
        assert_eq!(logged["fields"]["address"], "127.0.0.1", "{logged}");
        let known = logged["fields"]["account"].as_str().is_some_and(|a| a.starts_with("acc_"));
        assert_eq!(known, email.starts_with("admin"), "{logged}");
        assert!(!logged.to_string().contains("passphrase") && !logged.to_string().contains(email), "{logged}");
    }
    let (_, after) = get(&server, &token, "/api/audit").await;
    assert_eq!(after, before, "a refusal changes nothing and has no entry");
}

/// A client that declares a body and does not send it holds its connection, never the shutdown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_sent_request_does_not_hold_a_shutdown_beyond_its_grace() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().expect("a folder");
    let server = Server::start(&["serve"], &dir.path().join("data"), &[("SHUTDOWN_GRACE_SECONDS", "4")]).await;
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("connects");
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    socket.write_all(head.as_bytes()).expect("the head is sent");
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let code = tokio::time::timeout(Duration::from_secs(4), ended).await.expect("within the grace").expect("joins");
    assert_eq!(code, 0);
}
