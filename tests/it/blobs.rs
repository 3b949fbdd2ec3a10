//! Files of documents, from the upload to their removal; what the nightly cleanup takes and leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::{ActorKind, Principal};
use tenure::base::clock::Clock as _;
use tenure::base::id::{DocumentId, PersonId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::config::{Config, Reader};
use tenure::features::access::documents::cleanup::KEPT;
use tenure::features::access::documents::files::{self, NewFile};
use tenure::features::access::documents::ops::{NewDocument, submit};
use tenure::features::audit::AuditJournal;
use tenure::features::identity::people::{NewPerson, ops::create_person};
use tenure::features::workflow::cleanup::jobs::RunOrphanCleanup;
use tenure::features::workflow::cleanup::{INLINE, LONG_AGO};
use tenure::params;
use tenure::platform::blobs::{BlobStore, DISK_FULL};
use tenure::platform::clock::{ManualClock, SeededIds, SystemClock};
use tenure::platform::faults::{Fault, Faults};
use tenure::platform::queue::{InlineQueue, JobHandler, Registry, names};
use tenure::platform::store::{MigrationSet, Options, Store, Tx};

use crate::support::{free_port, http};

const LIMIT: usize = 25 * 1024 * 1024;
const MS: Duration = Duration::from_millis(1);

/// Every file below the folder of blobs, without the folders.
fn files_of(data: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(data.join("blobs")).expect("the folder of blobs");
    folders
        .flat_map(|folder| std::fs::read_dir(folder.expect("an entry").path()).expect("a folder"))
        .map(|file| file.expect("a file").path())
        .collect()
}

/// A server with the sample people.
struct House {
    running: Running,
    data: PathBuf,
    _dir: tempfile::TempDir,
}

/// Somebody who is signed in.
struct Person {
    base: String,
    cookie: String,
    csrf: String,
    id: String,
}

impl House {
    async fn start(fault: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let mut vars = vec![
            ("DATA_DIR".to_owned(), data.display().to_string()),
            ("PORT".to_owned(), free_port().to_string()),
        ];
        vars.extend(fault.map(|f| ("TENURE_FAULT".to_owned(), f.to_owned())));
        let config = Config::from_reader(Reader::new(vars)).expect("valid").0;
        let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        Self { running, data, _dir: dir }
    }

    async fn sign_in(&self, email: &str) -> Person {
        let base = self.running.base.clone();
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = http().post(format!("{base}/api/auth/login")).json(&body).send().await.expect("an answer");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        Person { cookie, csrf: text("/csrfToken"), id: text("/person/id"), base }
    }
}

impl Person {
    fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        http()
            .request(method.parse().expect("a method"), format!("{}{path}", self.base))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf)
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.ask(method, path);
        let request = if method == "GET" { request } else { request.json(&body) };
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Hands in a document of one's own; answers its path.
    async fn submit(&self) -> String {
        let body = json!({ "type": "certificate", "personId": self.id,
            "validFrom": "2020-01-01T00:00:00Z", "expiresAt": "2099-01-01T00:00:00Z" });
        let (status, document) = self.json("POST", "/api/documents", body).await;
        assert_eq!(status, 201, "{document}");
        format!("/api/documents/{}", document["id"].as_str().expect("an id"))
    }

    async fn upload(&self, document: &str, name: &str, kind: &str, content: Vec<u8>) -> (u16, Value) {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", name).finish();
        let answer = self
            .ask("PUT", &format!("{document}/content?{query}"))
            .header("content-type", kind)
            .body(content)
            .send()
            .await
            .expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    async fn download(&self, document: &str) -> Response {
        self.ask("GET", &format!("{document}/content")).send().await.expect("an answer")
    }
}

/// Content that no compression and no mistake in the order of its pieces would leave whole.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_comes_back_as_it_went_in_to_those_who_may_see_it() {
    let house = House::start(None).await;
    let (ada, rosa, mona) = (house.sign_in(ADA).await, house.sign_in(ROSA).await, house.sign_in(MONA).await);
    let document = ada.submit().await;
    assert_eq!(ada.download(&document).await.status(), 404, "there is no file yet");
    let whole = content(5_000_000);
    let (status, got) = ada.upload(&document, "Zertifikat März.pdf", "application/pdf", whole.clone()).await;
    assert_eq!(status, 200, "{got}");
    let sha256 = got["file"]["sha256"].as_str().expect("a hash").to_owned();
    let file = json!({ "name": "Zertifikat März.pdf", "size": 5_000_000, "sha256": sha256, "mediaType": "application/pdf" });
    assert_eq!(got["file"], file);
    assert_eq!(files_of(&house.data), [house.data.join("blobs").join(&sha256[..2]).join(&sha256)]);
    for (who, person) in [("the subject", &ada), ("a reviewer", &mona)] {
        let answer = person.download(&document).await;
        assert_eq!(answer.status(), 200, "{who}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert_eq!(header("content-type"), "application/pdf");
        assert_eq!(header("content-length"), "5000000");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("content-disposition").starts_with("attachment; "), "{}", header("content-disposition"));
        assert!(header("content-disposition").contains("M%C3%A4rz.pdf"));
        assert!(answer.bytes().await.expect("a body") == whole, "{who} gets what went in");
    }
    // Somebody else's document is not there for those who may not see it, and nobody else changes it.
    assert_eq!(rosa.download(&document).await.status(), 404);
    assert_eq!(rosa.upload(&document, "a.pdf", "application/pdf", content(3)).await.0, 404);
    assert_eq!(mona.upload(&document, "a.pdf", "application/pdf", content(3)).await.0, 403);
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_approved_is_what_was_looked_at_and_stays_so() {
    let house = House::start(None).await;
    let (ada, mona, admin) = (house.sign_in(ADA).await, house.sign_in(MONA).await, house.sign_in(ADMIN).await);
    let document = ada.submit().await;
    let (_, first) = ada.upload(&document, "a.txt", "text/plain; charset=utf-8", b"first".to_vec()).await;
    let (_, second) = ada.upload(&document, "a.txt", "text/plain", b"second".to_vec()).await;
    let hash = |of: &Value| of["file"]["sha256"].clone();
    let approve = format!("{document}/approve");
    let (status, refused) = mona.json("POST", &approve, json!({ "sha256": hash(&first) })).await;
    assert_eq!(status, 409, "{refused}");
    let (status, approved) = mona.json("POST", &approve, json!({ "sha256": hash(&second) })).await;
    assert_eq!((status, &approved["state"]), (200, &json!("approved")), "{approved}");
    assert_eq!(ada.upload(&document, "a.txt", "text/plain", b"third".to_vec()).await.0, 409);
    assert_eq!(ada.download(&document).await.bytes().await.expect("a body"), "second");
    let id = approved["id"].as_str().expect("an id").to_owned();
    let (_, log) = admin.json("GET", &format!("/api/audit?entity=document&entityId={id}"), Value::Null).await;
    let newest = &log["items"][0];
    assert_eq!(newest["action"], "document.approved");
    let (_, entry) = admin.json("GET", &format!("/api/audit/{}", newest["seq"]), Value::Null).await;
    assert!(entry.to_string().contains(hash(&second).as_str().expect("a hash")), "{entry}");
    // The database itself refuses, whatever the code above it does.
    let forced = house.running.app.store.write(move |tx| {
        tx.execute("UPDATE document SET file_name = 'b.txt' WHERE id = ?1", params![id])
    });
    assert!(forced.await.is_err());
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_too_large_empty_or_of_another_kind_is_refused() {
    let house = House::start(None).await;
    let ada = house.sign_in(ADA).await;
    let document = ada.submit().await;
    for (name, kind, size, expected) in [
        ("a.pdf", "application/pdf", LIMIT + 1, 413),
        ("a.html", "text/html", 10, 415),
        ("a.svg", "image/svg+xml", 10, 415),
        ("a.pdf", "application/pdf", 0, 422),
        ("../a.pdf", "application/pdf", 10, 422),
        ("fdp\u{202e}exe.pdf", "application/pdf", 10, 422),
        ("", "application/pdf", 10, 422),
    ] {
        let (status, problem) = ada.upload(&document, name, kind, content(size)).await;
        assert_eq!(status, expected, "{name:?} {kind} {size}: {problem}");
        assert!(problem["requestId"].is_string(), "{problem}");
    }
    assert_eq!(files_of(&house.data), Vec::<PathBuf>::new());
    let (status, got) = ada.upload(&document, "a.pdf", "application/pdf", content(LIMIT)).await;
    assert_eq!((status, &got["file"]["size"]), (200, &json!(LIMIT)), "exactly the limit is taken");
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_leaves_nothing_half_written() {
    let house = House::start(Some("blobs:disk_full=error")).await;
    let ada = house.sign_in(ADA).await;
    let document = ada.submit().await;
    let answer = ada
        .ask("PUT", &format!("{document}/content?name=a.pdf"))
        .header("content-type", "application/pdf")
        .body(content(100_000))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    let problem: Value = answer.json().await.expect("a problem");
    assert!(problem["detail"].as_str().is_some_and(|d| d.contains("is full")), "{problem}");
    assert_eq!(files_of(&house.data), Vec::<PathBuf>::new());
    assert_eq!(ada.json("GET", &document, Value::Null).await.1["file"], Value::Null);
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_now_counts_first_is_audited_and_takes_what_it_counted() {
    let house = House::start(None).await;
    let admin = house.sign_in(ADMIN).await;
    let logs = house.running.app.logs.clone();
    let fill = |days: u64, entries: u64| {
        let at = SystemClock.now().minus(Duration::from_secs(days * 86_400));
        logs.write(move |tx| {
            (0..entries).try_for_each(|_| {
                tx.execute(
                    "INSERT INTO system_log (at, level, target, message, fields) VALUES (?1, 'info', 't', 'm', '{}')",
                    params![at],
                )
                .map(drop)
            })
        })
    };
    fill(31, 3).await.expect("fills");
    fill(11, 4).await.expect("fills");
    let preview = |query: &'static str| {
        let path = format!("/api/logs/purge-preview{query}");
        let admin = &admin;
        async move { admin.json("GET", &path, Value::Null).await }
    };
    assert_eq!(preview("").await.1["count"], 3, "30 days are in force");
    let (status, found) = preview("?olderThanDays=10").await;
    assert_eq!((status, &found["count"]), (200, &json!(7)), "{found}");
    assert!(found["before"].as_str().is_some_and(|t| t.parse::<Timestamp>().is_ok()), "{found}");
    assert_eq!(preview("?olderThanDays=3651").await.0, 422);
    let purge = |body: Value| admin.json("POST", "/api/logs/purge", body);
    assert_eq!(purge(json!({})).await.1, json!({ "purged": 3 }));
    assert_eq!(purge(json!({ "olderThanDays": 10 })).await.1, json!({ "purged": 4 }));
    assert_eq!(purge(json!({ "olderThanDays": 10 })).await.1, json!({ "purged": 0 }));
    let (_, log) = admin.json("GET", "/api/audit?action=log.purged", Value::Null).await;
    assert_eq!(log["items"].as_array().map(Vec::len), Some(2), "nothing to remove is not told: {log}");
    house.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_setting_names_the_person_who_saved_it() {
    let house = House::start(None).await;
    let admin = house.sign_in(ADMIN).await;
    let (status, saved) = admin.json("PUT", "/api/settings/logging", json!({ "retentionDays": 7 })).await;
    assert_eq!(status, 200, "{saved}");
    assert_eq!(saved["retentionDays"]["changedBy"], json!({ "id": admin.id, "displayName": "Ines Adler" }));
    house.running.stop().await;
}

/// The store, the blobs and the nightly job, with a clock that is moved by hand.
struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    faults: Arc<Faults>,
    store: Store,
    blobs: BlobStore,
    queue: InlineQueue,
    person: PersonId,
}

fn owner(person: &PersonId) -> Principal {
    Principal { kind: ActorKind::Person, person: Some(person.clone()), ..Principal::system("test") }
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        // Files carry the machine's time.
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let options = Options::small(dir.path().join("tenure.db"));
        let journal = Some(Arc::new(AuditJournal) as _);
        let ids = Arc::new(SeededIds::new(1));
        let store = Store::open(&options, &MigrationSet::tenure(), clock.clone(), ids, journal).expect("opens");
        let faults = Arc::new(Faults::default());
        let blobs = BlobStore::open(dir.path().join("blobs"), faults.clone()).expect("opens");
        let cleanup = RunOrphanCleanup { blobs: blobs.clone() };
        let registry = Registry::new([Arc::new(cleanup) as Arc<dyn JobHandler>]);
        let queue = InlineQueue::start(store.clone(), registry).await.expect("starts");
        let new = NewPerson {
            display_name: "Ada".to_owned(),
            email: "ada@example.org".to_owned(),
            manager_id: None,
            attributes: json!({}),
        };
        let made = store.write(move |tx| create_person(tx, &Principal::system("test"), new.clone()));
        let person = made.await.expect("a person").id;
        Self { dir, clock, faults, store, blobs, queue, person }
    }

    async fn document(&self) -> DocumentId {
        let person = self.person.clone();
        let made = self.store.write(move |tx| {
            let new = NewDocument {
                kind: "certificate".to_owned(),
                person: person.clone(),
                valid_from: tx.now(),
                expires_at: tx.now().plus(Duration::from_secs(1_000 * 86_400)),
                run: None,
            };
            submit(tx, &owner(&person), new)
        });
        made.await.expect("a document").id
    }

    async fn upload(&self, document: &DocumentId, content: &'static str) -> Result<(), Problem> {
        let new = NewFile { name: "a.txt".to_owned(), media_type: "text/plain".to_owned() };
        let pieces = futures::stream::iter([Ok::<_, ()>(content.into())]);
        let by = owner(&self.person);
        files::upload((&self.store, &self.blobs), by, document.clone(), new, pieces).await.map(drop)
    }

    async fn clean(&self) -> Result<(), Problem> {
        self.queue.run_job(names::RUN_ORPHAN_CLEANUP).await
    }

    fn files(&self) -> usize {
        files_of(self.dir.path()).len()
    }

    /// Entries that the cleanup wrote into the audit log.
    async fn entries(&self) -> Vec<String> {
        let read = self.store.read(|tx| {
            tx.query(
                "SELECT action FROM audit_log WHERE entity IN ('blob', 'run_artifact') ORDER BY seq",
                params![],
                |r| r.get("action"),
            )
        });
        read.await.expect("reads")
    }

    async fn run_sql(&self, sql: &'static str, at: Option<Timestamp>) {
        self.store.write(move |tx| tx.execute(sql, &params![at][..usize::from(at.is_some())]).map(drop)).await.expect(sql);
    }
}

#[tokio::test]
async fn content_goes_once_nothing_referred_to_it_for_24_hours() {
    let bench = Bench::start().await;
    let document = bench.document().await;
    bench.upload(&document, "first").await.expect("stored");
    bench.clock.advance(KEPT * 3);
    bench.upload(&document, "second").await.expect("stored");
    bench.clean().await.expect("cleans");
    assert_eq!((bench.files(), bench.entries().await.len()), (2, 0), "it was referred to until now");
    bench.clock.advance(KEPT - MS);
    bench.clean().await.expect("cleans");
    assert_eq!((bench.files(), bench.entries().await.len()), (2, 0), "a millisecond too early");
    bench.clock.advance(MS);
    bench.clean().await.expect("cleans");
    assert_eq!((bench.files(), bench.entries().await), (1, vec!["blob.removed".to_owned()]));
    bench.clock.advance(KEPT * 100);
    bench.clean().await.expect("cleans");
    assert_eq!((bench.files(), bench.entries().await.len()), (1, 1), "what a document refers to stays");
}

#[tokio::test]
async fn content_that_comes_back_in_time_stays() {
    let bench = Bench::start().await;
    let document = bench.document().await;
    bench.upload(&document, "first").await.expect("stored");
    bench.upload(&document, "second").await.expect("stored");
    bench.clock.advance(KEPT);
    bench.upload(&document, "first").await.expect("stored");
    bench.clean().await.expect("cleans");
    assert_eq!(bench.files(), 2, "the one was referred to again, the other until now");
    bench.clock.advance(KEPT);
    bench.clean().await.expect("cleans");
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn what_a_crash_left_between_row_and_file_is_mended() {
    let bench = Bench::start().await;
    let document = bench.document().await;
    // On the way in: the file is there, its row never came.
    bench.faults.arm("blobs:before_row", Fault::Error);
    assert!(bench.upload(&document, "lost").await.is_err());
    bench.faults.disarm("blobs:before_row");
    assert_eq!(bench.files(), 1);
    bench.clock.advance(Duration::from_secs(60));
    bench.clean().await.expect("cleans");
    assert_eq!(bench.files(), 1, "it may be on its way");
    bench.clock.advance(KEPT);
    bench.clean().await.expect("cleans");
    assert_eq!((bench.files(), bench.entries().await), (0, vec!["blob.stray_removed".to_owned()]));
    // On the way out: the row is gone, the file stayed.
    bench.upload(&document, "first").await.expect("stored");
    bench.upload(&document, "second").await.expect("stored");
    bench.clock.advance(KEPT);
    bench.faults.arm("blobs:before_removal", Fault::Error);
    assert!(bench.clean().await.is_err());
    assert_eq!(bench.files(), 2);
    bench.faults.disarm("blobs:before_removal");
    bench.clean().await.expect("cleans");
    assert_eq!(bench.files(), 1);
    assert_eq!(bench.entries().await, ["blob.stray_removed", "blob.removed", "blob.stray_removed"]);
}

#[tokio::test]
async fn a_stray_file_goes_at_exactly_24_hours_and_what_is_no_blob_stays() {
    let bench = Bench::start().await;
    let folder = bench.dir.path().join("blobs/ab");
    std::fs::create_dir_all(&folder).expect("a folder");
    let now = bench.clock.now();
    let put = |name: &str, at: Timestamp| {
        let file = std::fs::File::create(folder.join(name)).expect("a file");
        file.set_modified(UNIX_EPOCH + Duration::from_millis(at.as_millis() as u64)).expect("a time");
    };
    put(&format!("ab{}", "0".repeat(62)), now.minus(KEPT));
    put(&format!("ab{}", "1".repeat(62)), now.minus(KEPT - MS));
    put("notes.txt", now.minus(KEPT * 2));
    bench.clean().await.expect("cleans");
    let mut left: Vec<_> = files_of(bench.dir.path()).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    left.sort();
    assert_eq!(left, [format!("ab{}", "1".repeat(62)).as_str(), "notes.txt"]);
}

#[tokio::test]
async fn a_full_disk_keeps_the_file_that_was_there() {
    let bench = Bench::start().await;
    let document = bench.document().await;
    bench.upload(&document, "first").await.expect("stored");
    bench.faults.arm(DISK_FULL, Fault::Error);
    assert!(matches!(bench.upload(&document, "second").await, Err(Problem::Unavailable { .. })));
    bench.faults.disarm(DISK_FULL);
    assert_eq!(bench.files(), 1);
    bench.upload(&document, "second").await.expect("it heals by itself");
}

#[tokio::test]
async fn what_ended_runs_left_goes_and_their_history_stays() {
    let bench = Bench::start().await;
    let now = bench.clock.now();
    bench.run_sql("INSERT INTO workflow (id, key, name, description, category, status, definition, created_at, updated_at)
        VALUES ('wfl_1', 'k', 'n', '', '', 'active', '{}', 0, 0)", None).await;
    bench.run_sql("INSERT INTO run (id, workflow_id, status, state, revision, created_at, updated_at, ended_at)
        VALUES ('run_old', 'wfl_1', 'completed', '{}', 1, 0, 0, ?1)", Some(now.minus(LONG_AGO))).await;
    bench.run_sql("INSERT INTO run (id, workflow_id, status, state, revision, created_at, updated_at, ended_at)
        VALUES ('run_young', 'wfl_1', 'failed', '{}', 1, 0, 0, ?1)", Some(now.minus(LONG_AGO - MS))).await;
    bench.run_sql("INSERT INTO run (id, workflow_id, status, state, revision, created_at, updated_at)
        VALUES ('run_open', 'wfl_1', 'waiting', '{}', 1, 0, 0)", None).await;
    bench.run_sql("INSERT INTO document_wait (run_id, person_id, type)
        SELECT r.column1, p.id, 'certificate' FROM person p, (VALUES ('run_old'), ('run_open'), ('run_gone')) r", None).await;
    let outputs = |tx: &Tx<'_>| -> Result<(), Problem> {
        for run in ["run_old", "run_young", "run_open"] {
            for (visit, size) in [(0, INLINE), (1, INLINE + 1)] {
                // The quotes count.
                let output = format!("\"{}\"", "x".repeat(size as usize - 2));
                tx.execute(
                    "INSERT INTO run_step (id, run_id, visit, step_id, name, type, status, output, attempt, started_at)
                     VALUES (?1, ?2, ?3, 's', 's', 'connector', 'completed', ?4, 1, 0)",
                    params![format!("{run}_{visit}"), run, i64::from(visit), output],
                )?;
            }
        }
        Ok(())
    };
    bench.store.write(outputs).await.expect("outputs");
    for _ in 0..2 {
        bench.clean().await.expect("cleans");
        let read = bench.store.read(|tx| {
            let waits = tx.query("SELECT run_id FROM document_wait", params![], |r| r.get::<String>("run_id"))?;
            let cut = tx.query(
                "SELECT id, output FROM run_step WHERE octet_length(output) < 1000 ORDER BY id",
                params![],
                |r| Ok((r.get::<String>("id")?, r.get::<String>("output")?)),
            )?;
            Ok((waits, cut))
        });
        let (waits, cut) = read.await.expect("reads");
        assert_eq!(waits, ["run_open"]);
        assert_eq!(cut.iter().map(|c| c.0.as_str()).collect::<Vec<_>>(), ["run_old_1"]);
        assert!(cut[0].1.contains(&format!("\"sizeBytes\":{}", INLINE + 1)), "{}", cut[0].1);
        assert_eq!(bench.entries().await, ["run.waits_removed", "run.outputs_removed"], "once, not every night");
    }
}
