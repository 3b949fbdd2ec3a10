//! `GET /metrics`: who reads it, that it can be read, and that what it says is so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::json;
use tenure::app::Running;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, PASSWORD};
use tenure::config::{Config, Reader};
use tenure::platform::clock::SystemClock;

use crate::support::stage::Stage;
use crate::support::{eventually, free_port, http};

/// A text in the exposition format, version 0.0.4, read by its rules.
#[derive(Debug, Default)]
struct Exposition {
    /// Families with their types.
    types: BTreeMap<String, String>,
    /// Values by name and labels as they stand.
    samples: BTreeMap<String, f64>,
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.chars().next().is_some_and(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// The pairs of `a="b",c="d"`, of which no value has a quote in it.
fn labels(text: &str) -> BTreeMap<&str, &str> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, more) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {rest}"));
        let (value, more) = more.split_once('"').unwrap_or_else(|| panic!("no end: {more}"));
        assert!(is_name(name) && !name.contains(':'), "the label {name}");
        assert!(found.insert(name, value).is_none(), "{name} twice in {text}");
        rest = more.strip_prefix(',').unwrap_or(more);
    }
    found
}

impl Exposition {
    fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has its end");
        let (mut read, mut helped) = (Self::default(), BTreeSet::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a name and words");
                assert!(is_name(name) && !words.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "{name} has two explanations");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "{name} is explained before its type");
                assert!(read.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            } else {
                read.sample(line);
            }
        }
        read
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, inside) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("open: {line}"))),
            None => (series, ""),
        };
        labels(inside);
        let part = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = part.filter(|f| self.types.get(*f).is_some_and(|t| t == "histogram")).unwrap_or(name);
        assert!(self.types.contains_key(family), "{name} has no type");
        if self.types[family] == "counter" {
            assert!(name.ends_with("_total"), "{name} is a counter");
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(self.samples.insert(series.to_owned(), value).is_none(), "{series} twice");
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }
}

async fn ask(base: &str, bearer: Option<&str>) -> (u16, String, String) {
    let mut request = http().get(format!("{base}/metrics"));
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = request.send().await.expect("an answer");
    let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    (answer.status().as_u16(), kind, answer.text().await.expect("a text"))
}

/// A token that may do this and nothing else.
async fn token(who: &Client, scope: &str) -> String {
    let made = who.post("/api/auth/tokens", json!({ "name": "Prometheus", "scope": [scope] })).await.expect("a token");
    made["token"].as_str().expect("a token").to_owned()
}

async fn figures(base: &str, token: &str) -> Exposition {
    let (status, _, text) = ask(base, Some(token)).await;
    assert_eq!(status, 200, "{text}");
    Exposition::read(&text)
}

async fn start(data: &std::path::Path, more: &[(&str, &str)]) -> Running {
    let fixed = [("DATA_DIR", data.display().to_string()), ("PORT", free_port().to_string())];
    let vars = fixed.into_iter().chain(more.iter().map(|(k, v)| (*k, (*v).to_owned())));
    let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
    let config = Config::from_reader(reader).expect("valid").0;
    let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
    create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_valid_text_for_whoever_may_see_the_system() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(&dir.path().join("data"), &[]).await;
    let admin = Client::sign_in(&http(), &running.base, ADMIN, PASSWORD).await.expect("signs in");
    let ada = Client::sign_in(&http(), &running.base, ADA, PASSWORD).await.expect("signs in");

    assert_eq!(ask(&running.base, None).await.0, 401);
    assert_eq!(ask(&running.base, Some("tnr_made_up")).await.0, 401);
    let hers = token(&ada, "workflow:read").await;
    assert_eq!(ask(&running.base, Some(&hers)).await.0, 403);
    let narrow = token(&admin, "job:read").await;
    assert_eq!(ask(&running.base, Some(&narrow)).await.0, 403, "the scope is too narrow");
    let scraper = token(&admin, "system:read").await;
    assert!(admin.get("/api/people/per_00000000000000000000000000").await.is_err());

    let (status, kind, text) = ask(&running.base, Some(&scraper)).await;
    assert_eq!(status, 200, "{text}");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let read = Exposition::read(&text);
    for (name, kind) in [
        ("tenure_db_connections", "gauge"),
        ("tenure_db_wait_seconds", "histogram"),
        ("tenure_db_wait_timeouts_total", "counter"),
        ("tenure_db_commits_total", "counter"),
        ("tenure_jobs", "gauge"),
        ("tenure_jobs_by_name", "gauge"),
        ("tenure_runs", "gauge"),
        ("tenure_assignments", "gauge"),
        ("tenure_connectors", "gauge"),
        ("tenure_http_request_duration_seconds", "histogram"),
        ("process_start_time_seconds", "gauge"),
    ] {
        assert_eq!(read.types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    assert_eq!(read.value("tenure_db_connections{state=\"max\"}"), Some(10.0));
    assert_eq!(read.value("tenure_metrics_complete"), Some(1.0));
    assert_eq!(read.value("tenure_access_still_present"), Some(0.0));
    assert!(read.value("tenure_audit_sequence").is_some_and(|n| n > 1.0), "{text}");
    let missed = "tenure_http_request_duration_seconds_count{method=\"GET\",route=\"/api/people/{id}\",status=\"4xx\"}";
    assert_eq!(read.value(missed), Some(1.0), "{text}");
    for secret in ["@example.org", "Ada", "per_", scraper.as_str()] {
        assert!(!text.contains(secret), "{secret} stands in\n{text}");
    }
    running.stop().await;
}

/// Access ends while its system is down: it is a figure until the system lets it be taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_that_is_over_and_still_there_is_a_figure() {
    let stage = Stage::start().await;
    let admin = stage.sign_in(ADMIN).await;
    let scraper = token(&admin, "system:read").await;
    let base = stage.running.base.clone();
    let ada = stage.person(ADA).await;
    let role = admin.list("/api/roles?limit=200").await.expect("a list");
    let role = role.iter().find(|r| r["name"] == "Contractor").expect("the role");
    let end = tenure::base::clock::Clock::now(stage.clock.as_ref()).plus(Duration::from_secs(3600));
    let new = json!({ "personId": ada["id"], "roleId": role["id"], "reason": "for an hour", "expiresAt": end });
    admin.post("/api/assignments", new).await.expect("granted");
    stage.held_by("Contractor", 1).await;
    stage.badges.refuse("DELETE", 503);
    stage.pass(Duration::from_secs(3600));
    let patience = Duration::from_secs(40);
    eventually("it is a figure", patience, || async {
        let read = figures(&base, &scraper).await;
        let (still, ending) = (read.value("tenure_access_still_present"), read.value("tenure_assignments{state=\"expiring\"}"));
        let attempts = "tenure_job_attempt_duration_seconds_count{name=\"end-assignment\",outcome=\"completed\"}";
        (still == Some(1.0) && ending == Some(1.0) && read.value(attempts) == Some(1.0)).then_some(())
    })
    .await;
    stage.badges.refuse("nothing", 503);
    // The hourly check tries again what was refused.
    stage.pass(Duration::from_secs(3600));
    eventually("it is none any more", patience, || async {
        let read = figures(&base, &scraper).await;
        (read.value("tenure_access_still_present") == Some(0.0)).then_some(())
    })
    .await;
}

/// Every reader is taken: what needs none is told all the same, and that something is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_starved_database_leaves_the_other_figures() {
    let dir = tempfile::tempdir().expect("a folder");
    let few = [("DB_POOL_MAX", "2"), ("DB_POOL_MIN", "1"), ("DB_POOL_CONNECTION_TIMEOUT_MS", "200")];
    let running = start(&dir.path().join("data"), &few).await;
    let admin = Client::sign_in(&http(), &running.base, ADMIN, PASSWORD).await.expect("signs in");
    let scraper = token(&admin, "system:read").await;

    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let store = running.app.store.clone();
    let slow = tokio::spawn(async move {
        // Ends when the other end is dropped.
        store.read(move |_| Ok(held.lock().expect("not poisoned").recv().is_ok())).await
    });
    eventually("the reader is taken", Duration::from_secs(5), || async {
        (running.app.store.pool_stats().active >= 1).then_some(())
    })
    .await;
    let read = figures(&running.base, &scraper).await;
    assert_eq!(read.value("tenure_metrics_complete"), Some(0.0));
    assert!(!read.types.contains_key("tenure_jobs"), "what needs the database is missing");
    drop(release);
    let _ = slow.await.expect("joins");
    assert_eq!(figures(&running.base, &scraper).await.value("tenure_metrics_complete"), Some(1.0));
    running.stop().await;
}
