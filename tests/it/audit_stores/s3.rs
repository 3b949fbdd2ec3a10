//! A real S3-compatible service, moto of PyPI behind a check of every signature, and buckets there.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::Method;
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::config::Secret;
use tenure::config::audit::S3Config;
use tenure::features::audit::note::Checkpoint;
use tenure::features::checkpoints::keep::{Keep as _, s3::S3};
use tenure::features::checkpoints::{Reason, Record};
use tenure::platform::outbound::s3::Bucket;
use tenure::platform::outbound::{Outbound, OutboundSettings};

use super::wire::{Way, Wire};
use crate::support::{eventually, free_port, http};

/// Who may, there.
pub const ACCESS_KEY: &str = "AKIATENURETEST000001";
/// The proof.
pub const SECRET_KEY: &str = "s3cr3t/of+the/tests";
/// Where it says it is.
pub const REGION: &str = "us-east-1";
/// What the hand of a test says, where nobody checks.
const HAND: &str = "AWS4-HMAC-SHA256 Credential=AKIATENURETEST000001/20260101/us-east-1/s3/aws4_request, \
                    SignedHeaders=host, Signature=0";

/// A running service; ended when dropped.
pub struct Service {
    child: Child,
    /// Where requests must be signed.
    pub port: u16,
    open: String,
    client: reqwest::Client,
}

impl Service {
    pub async fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
        let (port, open) = (free_port(), free_port());
        let child = Command::new(folder.join("venv/bin/python"))
            .arg(folder.join("s3_server.py"))
            .args([port.to_string(), open.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("moto is installed; run scripts/python-peers.sh");
        let mut service = Self { child, port, open: format!("http://127.0.0.1:{open}"), client: http() };
        let opened = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while tokio::net::TcpStream::connect(("127.0.0.1", open)).await.is_err() {
                tick.tick().await;
                assert!(service.child.try_wait().expect("a state").is_none(), "moto ended at once");
            }
        };
        tokio::time::timeout(Duration::from_secs(40), opened).await.expect("moto opens its port");
        service
    }

    /// Does something by hand; answers status and body.
    pub async fn hand(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut request = self.client.request(method, format!("{}/{path}", self.open)).header("authorization", HAND);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.to_owned()).send().await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    pub async fn make_bucket(&self, name: &str, locks: bool) {
        let headers = [("x-amz-bucket-object-lock-enabled", if locks { "true" } else { "false" })];
        let (status, body) = self.hand(Method::PUT, name, &headers, "").await;
        assert_eq!(status, 200, "{body}");
    }

    pub async fn object(&self, path: &str) -> String {
        let (status, body) = self.hand(Method::GET, path, &[], "").await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// The names of all versions of all objects: one that was written twice is there twice.
    pub async fn versions(&self, bucket: &str) -> Vec<String> {
        let (status, body) = self.hand(Method::GET, &format!("{bucket}?versions"), &[], "").await;
        assert_eq!(status, 200, "{body}");
        let end = |rest: &str| rest.split("</Key>").next().expect("an end").to_owned();
        body.split("<Key>").skip(1).map(end).collect()
    }

    /// What was asked at the checked port: `PUT /bucket/name 200`, a line each.
    pub async fn seen(&self) -> Vec<String> {
        self.object("_seen").await.lines().map(str::to_owned).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn settings(port: u16, bucket: &str) -> S3Config {
    S3Config {
        endpoint: format!("http://127.0.0.1:{port}").parse().expect("a URL"),
        region: REGION.to_owned(),
        bucket: bucket.to_owned(),
        prefix: "checkpoints/".to_owned(),
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: Secret::new(SECRET_KEY),
    }
}

/// A connector could not call this machine; what the operator names is called.
fn door() -> Outbound {
    tenure::app::install_crypto();
    Outbound::new(OutboundSettings { allow_loopback: false, extra_ca_pem: None }).expect("opens")
}

fn bucket(port: u16, name: &str) -> Bucket {
    Bucket::new(&settings(port, name), door()).expect("a bucket")
}

fn record(size: u64) -> Record {
    Record {
        number: size,
        checkpoint: Checkpoint { origin: "tenure.example/audit/1".to_owned(), size, root: [7; 32] },
        note: format!("the note of {size} \u{2014}\n"),
        reason: Reason::Schedule,
        made_at: "2026-12-01T02:03:04.005Z".parse().expect("an instant"),
    }
}

#[tokio::test]
async fn what_is_put_into_a_bucket_is_there_once_and_is_not_written_over() {
    let service = Service::start().await;
    service.make_bucket("audit", true).await;
    let bucket = bucket(service.port, "audit");
    assert_eq!(bucket.get("a/b c~'é+.note").await.expect("an answer"), None);
    for _ in 0..2 {
        bucket.put("a/b c~'é+.note", b"one".to_vec(), None).await.expect("put");
    }
    assert_eq!(bucket.get("a/b c~'é+.note").await.expect("an answer").as_deref(), Some(&b"one"[..]));
    let other = bucket.put("a/b c~'é+.note", b"two".to_vec(), None).await.expect_err("is there");
    assert!(matches!(&other, Problem::Conflict(detail) if detail.contains("holds something else")), "{other}");
    assert_eq!(bucket.get("a/b c~'é+.note").await.expect("an answer").as_deref(), Some(&b"one"[..]));
    assert_eq!(service.versions("audit").await.len(), 1);
    let listing = bucket.list("a/", None).await.expect("a list");
    assert_eq!((listing.keys, listing.more), (vec!["a/b c~'é+.note".to_owned()], false));
}

/// A condition decides when something came there after it was looked for.
#[tokio::test]
async fn what_came_between_is_not_written_over_either() {
    let service = Service::start().await;
    service.make_bucket("audit", true).await;
    let wire = Wire::to(service.port).await;
    let bucket = bucket(wire.port, "audit");
    wire.set(Way::DeafAfter("PUT "));
    let putting = tokio::spawn({
        let bucket = bucket.clone();
        async move { bucket.put("one", b"one".to_vec(), None).await }
    });
    eventually("it is there", Duration::from_secs(20), || async {
        service.seen().await.iter().any(|line| line == "PUT /audit/one 200").then_some(())
    })
    .await;
    wire.set(Way::Open);
    let lost = putting.await.expect("ends").expect_err("its answer was lost");
    assert!(matches!(lost, Problem::Unavailable { .. }), "{lost}");
    bucket.put("one", b"one".to_vec(), None).await.expect("it is there already");
    assert_eq!(service.versions("audit").await, ["one"]);
    let puts = service.seen().await.iter().filter(|line| line.starts_with("PUT /audit/one")).count();
    assert_eq!(puts, 1, "it was looked for first");
}

#[tokio::test]
async fn the_newest_checkpoint_is_found_among_very_many_and_after_it_was_removed() {
    let service = Service::start().await;
    service.make_bucket("audit", false).await;
    let keep = S3::new(&settings(service.port, "audit"), &door()).expect("a place");
    assert_eq!(keep.newest().await.expect("an answer"), None);
    let fill = futures::stream::iter(1..=1_005_u64).for_each_concurrent(8, |size| {
        let (service, record) = (&service, record(size));
        async move {
            let path = format!("audit/checkpoints/{}", record.file_name());
            assert_eq!(service.hand(Method::PUT, &path, &[], &record.note).await.0, 200);
        }
    });
    fill.await;
    for other in ["zzz", "00000000000000009999-x.txt", "9999.note", "00000000000000009999-deep/x.note"] {
        service.hand(Method::PUT, &format!("audit/checkpoints/{other}"), &[], "other").await;
    }
    assert_eq!(keep.newest().await.expect("an answer"), Some(record(1_005).note));
    keep.put(&record(1_006)).await.expect("put");
    assert_eq!(keep.newest().await.expect("an answer"), Some(record(1_006).note));
    for size in [1_006, 1_005] {
        let path = format!("audit/checkpoints/{}", record(size).file_name());
        service.hand(Method::DELETE, &path, &[], "").await;
    }
    assert_eq!(keep.newest().await.expect("an answer"), Some(record(1_004).note));
}

async fn retention(service: &Service, bucket: &str, key: &str) -> (String, String) {
    let asked = service.client.head(format!("{}/{bucket}/{key}", service.open)).header("authorization", HAND);
    let answer = asked.send().await.expect("an answer");
    let of = |name: &str| {
        let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
        value.to_str().expect("text").to_owned()
    };
    (of("x-amz-object-lock-mode"), of("x-amz-object-lock-retain-until-date"))
}

#[tokio::test]
async fn in_a_bucket_that_locks_objects_nobody_removes_a_checkpoint_before_its_time() {
    let service = Service::start().await;
    let name = record(7).file_name();
    let key = format!("checkpoints/{name}");
    for bucket in ["open", "locks", "rules"] {
        service.make_bucket(bucket, bucket != "open").await;
        if bucket == "rules" {
            let rule = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                        <Mode>GOVERNANCE</Mode><Days>3</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
            assert_eq!(service.hand(Method::PUT, "rules?object-lock", &[], rule).await.0, 200);
        }
        let keep = S3::new(&settings(service.port, bucket), &door()).expect("a place");
        keep.put(&record(7)).await.expect("put");
        assert_eq!(keep.newest().await.expect("an answer"), Some(record(7).note));
    }
    // Without a rule of the bucket's own: 400 days, and nobody may shorten that.
    let until = record(7).made_at.plus(Duration::from_secs(400 * 86_400));
    let (mode, date) = retention(&service, "locks", &key).await;
    assert_eq!((mode.as_str(), date.parse::<Timestamp>().expect("an instant")), ("COMPLIANCE", until));
    assert_eq!(retention(&service, "rules", &key).await.0, "GOVERNANCE");
    for (bucket, goes) in [("open", true), ("locks", false), ("rules", false)] {
        let (_, versions) = service.hand(Method::GET, &format!("{bucket}?versions"), &[], "").await;
        let id = versions.split("<VersionId>").nth(1).and_then(|rest| rest.split('<').next()).expect("a version").to_owned();
        let (status, body) = service.hand(Method::DELETE, &format!("{bucket}/{key}?versionId={id}"), &[], "").await;
        assert_eq!(status < 300, goes, "{bucket}: {status} {body}");
    }
}

#[tokio::test]
async fn a_service_that_refuses_says_what_to_mend_and_tells_no_secret() {
    let service = Service::start().await;
    service.make_bucket("audit", false).await;
    let mut faults = Vec::new();
    type Change = fn(&mut S3Config);
    let changes: [(&str, Change); 5] = [
        ("AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY", |s| s.secret_access_key = Secret::new("an0ther s3cr3t")),
        ("AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID", |s| s.access_key_id = "AKIASOMEBODYELSE0001".to_owned()),
        ("AUDIT_CHECKPOINT_S3_REGION", |s| s.region = "mars-1".to_owned()),
        ("AUDIT_CHECKPOINT_S3_BUCKET", |s| s.bucket = "no-such-bucket".to_owned()),
        ("cannot be reached", |s| s.endpoint = format!("http://127.0.0.1:{}", free_port()).parse().expect("a URL")),
    ];
    for (said, change) in changes {
        let mut settings = settings(service.port, "audit");
        change(&mut settings);
        let keep = Arc::new(S3::new(&settings, &door()).expect("a place"));
        for problem in [keep.put(&record(1)).await.expect_err(said), keep.newest().await.expect_err(said)] {
            assert!(problem.to_string().contains(said), "{said}: {problem}");
            faults.push(format!("{problem} {problem:?} {keep:?} {}", keep.place()));
        }
    }
    let never = [SECRET_KEY, "s3cr3t", "Signature=", "X-Amz", ACCESS_KEY, "AKIA"];
    for fault in faults {
        assert!(!never.iter().any(|secret| fault.contains(secret)), "{fault}");
    }
}
