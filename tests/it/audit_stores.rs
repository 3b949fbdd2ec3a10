//! Checkpoints outside: in a bucket of a real S3-compatible service and at a real receiver of syslog, over outages and
//! kills: nothing is lost, and nothing comes twice unless its answer was lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::people::set_up;
use crate::support::{Server, eventually, http};
use rsyslog::Rsyslog;
use s3::Service;
use wire::{Way, Wire};

mod rsyslog;
mod s3;
mod wire;

/// An installation that keeps its checkpoints in all three places.
struct Site {
    _dir: tempfile::TempDir,
    data: PathBuf,
    vars: Vec<(&'static str, String)>,
    server: Server,
    token: String,
}

impl Site {
    async fn start(service_port: u16, siem: String, ca_pem: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let mut vars = vec![
            ("AUDIT_CHECKPOINT_STORE", "file,s3,siem".to_owned()),
            ("AUDIT_CHECKPOINT_S3_ENDPOINT", format!("http://localhost:{service_port}")),
            ("AUDIT_CHECKPOINT_S3_REGION", s3::REGION.to_owned()),
            ("AUDIT_CHECKPOINT_S3_BUCKET", "audit".to_owned()),
            ("AUDIT_CHECKPOINT_S3_PREFIX", "here/".to_owned()),
            ("AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID", s3::ACCESS_KEY.to_owned()),
            ("AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY", s3::SECRET_KEY.to_owned()),
            ("AUDIT_CHECKPOINT_SIEM_URL", siem),
            // Connectors may not; what the environment names is called.
            ("OUTBOUND_ALLOW_LOOPBACK", "false".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ];
        if let Some(pem) = ca_pem {
            let path = dir.path().join("ca.pem");
            std::fs::write(&path, pem).expect("written");
            vars.push(("EXTRA_CA_FILE", path.display().to_string()));
        }
        let server = Self::serve(&data, &vars).await;
        let token = set_up(&server, &data).await;
        Self { _dir: dir, data, vars, server, token }
    }

    async fn serve(data: &Path, vars: &[(&'static str, String)]) -> Server {
        let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Server::start(&["serve"], data, &vars).await
    }

    /// `kill -9`, and up again.
    async fn killed(&mut self) {
        self.server.kill();
        self.server = Self::serve(&self.data, &self.vars).await;
    }

    async fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = http().request(method, format!("{}{path}", self.server.base)).bearer_auth(&self.token);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Makes a checkpoint; answers its note.
    async fn make(&self) -> String {
        let (status, made) = self.ask("POST", "/api/audit/checkpoints").await;
        assert_eq!(status, 200, "{made}");
        made["note"].as_str().expect("a note").to_owned()
    }

    /// All checkpoints with the states of their copies, once `fits` them.
    async fn checkpoints(&self, what: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        eventually(what, Duration::from_secs(40), || async {
            let (_, list) = self.ask("GET", "/api/audit/checkpoints").await;
            list["items"].as_array().filter(|items| fits(items)).cloned()
        })
        .await
    }

    async fn all_kept(&self) -> Vec<Value> {
        self.checkpoints("every place has every checkpoint", |items| {
            items.iter().all(|item| ["file", "s3", "siem"].iter().all(|place| copy(item, place)["state"] == "stored"))
        })
        .await
    }

    /// What the process wrote into its log.
    fn log(&self) -> String {
        let path = self.data.with_extension(format!("{}.log", self.server.port));
        std::fs::read_to_string(path).expect("a log")
    }
}

fn copy<'a>(item: &'a Value, place: &str) -> &'a Value {
    let copies = item["stores"].as_array().expect("copies");
    copies.iter().find(|copy| copy["store"] == place).unwrap_or_else(|| panic!("no copy in {place}: {item}"))
}

fn notes(items: &[Value]) -> Vec<String> {
    let mut notes: Vec<String> = items.iter().map(|item| item["note"].as_str().expect("a note").to_owned()).collect();
    notes.sort();
    notes
}

async fn notes_in_bucket(service: &Service) -> Vec<String> {
    let mut notes = Vec::new();
    for key in service.versions("audit").await {
        notes.push(service.object(&format!("audit/{key}")).await);
    }
    notes.sort();
    notes
}

#[tokio::test]
async fn checkpoints_come_to_every_place_over_an_outage_each_of_them_once() {
    let (service, mut siem) = tokio::join!(Service::start(), Rsyslog::start());
    service.make_bucket("audit", true).await;
    let wire = Wire::to(service.port).await;
    let url = format!("syslog+tls://localhost:{}", siem.tls_port);
    let site = Site::start(wire.port, url, Some(&siem.ca_pem)).await;
    site.make().await;
    site.all_kept().await;

    wire.set(Way::Down);
    siem.end().await;
    for _ in 0..3 {
        site.make().await;
    }
    // The folder waits for nobody, and each place says for itself what is wrong.
    let waiting = site.checkpoints("the folder has all, the others failed", |items| {
        let failed = |item: &Value, place| copy(item, place)["state"] == "pending" && copy(item, place)["error"] != json!(null);
        items.iter().all(|item| copy(item, "file")["state"] == "stored")
            && items[..3].iter().all(|item| failed(item, "s3") && failed(item, "siem"))
    });
    let waiting = waiting.await;
    let error = |place: &str| copy(&waiting[0], place)["error"].as_str().expect("text").to_owned();
    assert!(error("s3").starts_with(&format!("http://localhost:{}/audit cannot be used: ", wire.port)), "{}", error("s3"));
    let place = format!("syslog+tls://localhost:{} cannot be used: ", siem.tls_port);
    assert!(error("siem").starts_with(&place), "{}", error("siem"));
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    let of = |place: &str| state["stores"].as_array().expect("places").iter().find(|s| s["store"] == place).expect("a place").clone();
    assert_eq!((&of("file")["state"], &of("file")["pending"]), (&json!("ok"), &json!(0)), "{state}");
    assert_eq!((&of("s3")["state"], &of("s3")["pending"]), (&json!("retrying"), &json!(3)), "{state}");
    assert_eq!((&of("siem")["state"], &of("siem")["pending"]), (&json!("retrying"), &json!(3)), "{state}");

    wire.set(Way::Open);
    siem.begin().await;
    let items = site.all_kept().await;
    assert_eq!(items.len(), 4);
    assert!(items[..3].iter().all(|item| copy(item, "s3")["attempts"].as_u64().expect("a number") > 1), "{items:?}");
    assert_eq!(notes_in_bucket(&service).await, notes(&items), "each is there once");
    let lines = siem.lines();
    let mut told: Vec<String> = lines.iter().map(|l| l.body["note"].as_str().expect("a note").to_owned()).collect();
    told.sort();
    assert_eq!(told, notes(&items), "each was told once");
    assert!(siem.counts().values().all(|n| *n == 1), "{lines:?}");

    let everything = format!("{} {state} {waiting:?}", site.log());
    for secret in [s3::SECRET_KEY, "s3cr3t", s3::ACCESS_KEY, "X-Amz-Signature"] {
        assert!(!everything.contains(secret), "{secret} is shown");
    }
}

/// Between the moment that a place has a checkpoint and the moment that this is written down.
#[tokio::test]
async fn killed_before_it_is_noted_a_bucket_has_no_double_and_a_receiver_can_tell_it() {
    let (service, siem) = tokio::join!(Service::start(), Rsyslog::start());
    service.make_bucket("audit", true).await;
    let (to_bucket, to_siem) = tokio::join!(Wire::to(service.port), Wire::to(siem.port));
    let mut site = Site::start(to_bucket.port, format!("syslog+tcp://localhost:{}", to_siem.port), None).await;
    site.make().await;
    site.all_kept().await;

    to_bucket.set(Way::DeafAfter("PUT "));
    to_siem.set(Way::DeafAfter("<109>1 "));
    site.make().await;
    eventually("both places have it", Duration::from_secs(20), || async {
        let put = service.seen().await.iter().filter(|l| l.starts_with("PUT /audit/") && l.ends_with(" 200")).count();
        (put == 2 && siem.lines().len() == 2).then_some(())
    })
    .await;
    to_bucket.set(Way::Open);
    to_siem.set(Way::Open);
    site.killed().await;
    let items = site.all_kept().await;
    assert_eq!(items.len(), 2);
    assert_eq!(notes_in_bucket(&service).await, notes(&items), "each is there once");
    let counts = siem.counts();
    let of = |n| counts.iter().filter(|(_, times)| **times == n).map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!((of(1).len(), of(2).len()), (1, 1), "what was noted was not told again; of the other nobody could know: {counts:?}");
    let twice: Vec<_> = siem.lines().into_iter().filter(|line| line.body["id"] == json!(of(2)[0])).collect();
    assert_eq!(twice[0], twice[1], "whoever has both sees that they are one");
}

#[tokio::test]
async fn a_bucket_that_holds_what_the_log_did_not_sign_stops_the_signing() {
    let (service, siem) = tokio::join!(Service::start(), Rsyslog::start());
    service.make_bucket("audit", false).await;
    let site = Site::start(service.port, format!("syslog+tcp://localhost:{}", siem.port), None).await;
    site.make().await;
    site.all_kept().await;
    let key = "audit/here/00000000000000999999-20261201T020304.005Z.note";
    assert_eq!(service.hand(reqwest::Method::PUT, key, &[], "tenure.example\n999999\nAAAA\n").await.0, 200);
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().expect("text").contains("in s3"), "{refused}");
    // Whoever put it there took it away again.
    assert!(service.hand(reqwest::Method::DELETE, key, &[], "").await.0 < 300);
    site.make().await;
    site.all_kept().await;
}

#[tokio::test]
async fn a_place_that_is_not_named_any_more_worries_nobody_and_gets_what_it_lacks_once_it_is_named_again() {
    let (service, mut siem) = tokio::join!(Service::start(), Rsyslog::start());
    service.make_bucket("audit", false).await;
    let mut site = Site::start(service.port, format!("syslog+tcp://localhost:{}", siem.port), None).await;
    site.make().await;
    site.all_kept().await;
    siem.end().await;
    let second = site.make().await;
    site.checkpoints("it does not come to the receiver", |items| !copy(&items[0], "siem")["error"].is_null()).await;
    // As if it had been tried all the night.
    let db = rusqlite::Connection::open(site.data.join("tenure.db")).expect("opens");
    let tried = "UPDATE checkpoint_copy SET attempts = 4 WHERE place = 'siem' AND stored_at IS NULL";
    assert_eq!(db.execute(tried, []).expect("writes"), 1);
    let audit = async |site: &Site, status: &'static str| {
        eventually(&format!("health of the log is {status}"), Duration::from_secs(10), || async {
            let (_, health) = site.server.get("/api/health").await;
            Some(health["checks"]["audit"].clone()).filter(|check| check["status"] == status)
        })
        .await
    };
    let warned = audit(&site, "warning").await;
    assert!(warned["detail"].as_str().expect("text").starts_with("checkpoints do not come to siem: "), "{warned}");

    site.vars[0].1 = "file,s3".to_owned();
    site.killed().await;
    audit(&site, "ok").await;
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    let places: Vec<_> = state["stores"].as_array().expect("places").iter().map(|s| s["store"].clone()).collect();
    assert_eq!(places, ["file", "s3"], "{state}");
    let items = site
        .checkpoints("nobody tries any more", |items| {
            copy(&items[0], "siem")["nextAttemptAt"].is_null() && copy(&items[0], "file")["state"] == "stored"
        })
        .await;
    let left = copy(&items[0], "siem");
    assert_eq!((&left["state"], &items[0]["note"]), (&json!("dropped"), &json!(second)), "it stays in the history");
    assert_eq!(left["error"], "AUDIT_CHECKPOINT_STORE does not name this place any more.");
    assert_eq!(copy(&items[1], "siem")["state"], "stored");
    let waiting = "SELECT count(*) FROM job WHERE state IN ('held', 'handed') AND payload LIKE '%siem%'";
    assert_eq!(db.query_row(waiting, [], |r| r.get::<_, u32>(0)).expect("counts"), 0);

    siem.begin().await;
    site.vars[0].1 = "file,s3,siem".to_owned();
    site.killed().await;
    site.make().await;
    let items = site.all_kept().await;
    let counts = siem.counts();
    assert_eq!((items.len(), counts.len()), (3, 3));
    assert!(counts.values().all(|n| *n == 1), "{counts:?}");
}
