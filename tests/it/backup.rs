//! Backups: what was lost comes back, what is damaged is refused, what is there is not lost.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, command, http};

const PASSWORD: &str = "correct horse battery staple";

fn run(data: &Path, args: &[&str]) -> Output {
    command(args).env("DATA_DIR", data).output().expect("the binary runs")
}

fn good(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn refused(output: &Output, why: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(why), "expected {why:?} in: {text}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An installation with an administrator, a session, and a connector with a secret.
struct Site {
    dir: tempfile::TempDir,
    data: PathBuf,
    server: Server,
    cookie: String,
    csrf: String,
    person: String,
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let server = Server::start(&["serve"], &data, &[]).await;
        let token = std::fs::read_to_string(data.join("setup-token")).expect("the setup token");
        let body = json!({ "token": token.trim(), "email": "a@example.org", "displayName": "A", "password": PASSWORD });
        let made = http().post(format!("{}/api/setup", server.base)).json(&body).send().await.expect("an answer");
        let cookie = made.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = made.json().await.expect("JSON");
        let csrf = me["csrfToken"].as_str().expect("a token").to_owned();
        let person = me["person"]["id"].as_str().expect("a person").to_owned();
        let site = Self { dir, data, server, cookie, csrf, person };
        let connector = json!({ "name": "HR", "kind": "http", "config": { "baseUrl": "http://127.0.0.1:9" },
            "secrets": { "token": "the connector's secret" } });
        assert_eq!(site.post("/api/connectors", &connector).await, 201);
        site
    }

    async fn post(&self, path: &str, body: &Value) -> u16 {
        let sent = http()
            .post(format!("{}{path}", self.server.base))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .json(body)
            .send();
        sent.await.expect("an answer").status().as_u16()
    }

    /// Hands in a document with this file; answers where the file is in the data directory.
    async fn hand_in(&self, content: &'static [u8]) -> String {
        let ask = |method: &str, path: &str| {
            http()
                .request(method.parse().expect("a method"), format!("{}{path}", self.server.base))
                .header("cookie", &self.cookie)
                .header("x-csrf-token", &self.csrf)
        };
        let body = json!({ "type": "certificate", "personId": self.person,
            "validFrom": "2020-01-01T00:00:00Z", "expiresAt": "2099-01-01T00:00:00Z" });
        let made = ask("POST", "/api/documents").json(&body).send().await.expect("an answer");
        let document: Value = made.json().await.expect("JSON");
        let path = format!("/api/documents/{}/content?name=a.txt", document["id"].as_str().expect("an id"));
        let put = ask("PUT", &path).header("content-type", "text/plain").body(content).send().await.expect("an answer");
        let document: Value = put.json().await.expect("JSON");
        let hash = document["file"]["sha256"].as_str().expect("a hash");
        format!("blobs/{}/{hash}", &hash[..2])
    }

    fn file(&self, name: &str, contents: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, contents).expect("writes");
        path
    }
}

/// Taken beside a running server, restored elsewhere with its keys: the same business, the secrets
/// open, every session is over, the log is sound and says what happened.
#[tokio::test]
async fn a_lost_installation_comes_back_elsewhere_from_a_backup_and_its_keys() {
    let site = Site::start().await;
    let phrase = site.file("phrase", "an old passphrase\n");
    let file = site.dir.path().join("site.backup");
    let paper = site.hand_in(b"a document").await;
    let made = good(&run(
        &site.data,
        &["backup", text(&file), "--keys", "--passphrase-file", text(&phrase), "--json"],
    ));
    assert_eq!(made["about"]["hasKeys"], true);
    refused(&run(&site.data, &["backup", text(&file)]), "exists already");
    let bytes = std::fs::read(&file).expect("reads");
    let signing = std::fs::read_to_string(site.data.join("keys/audit_signing_key")).expect("a key");
    assert!(!bytes.windows(64).any(|w| w == signing.trim().as_bytes()), "the keys are sealed");
    let person = json!({ "displayName": "Later", "email": "later@example.org" });
    assert_eq!(site.post("/api/people", &person).await, 201);
    let cookie = site.cookie.clone();
    assert_eq!(site.server.terminate(), 0);

    let elsewhere = site.dir.path().join("elsewhere");
    refused(
        &run(&elsewhere, &["restore", text(&file), "--passphrase-file", text(&site.dir.path().join("none"))]),
        "none",
    );
    assert!(!elsewhere.join("tenure.db").exists(), "a refused restore changes nothing");
    let restored = good(&run(&elsewhere, &["restore", text(&file), "--passphrase-file", text(&phrase), "--json"]));
    assert_eq!(restored["connectorsWithoutSecrets"], json!([]));
    assert_eq!(restored["formerFiles"], Value::Null);
    assert_eq!(std::fs::read(elsewhere.join(paper)).expect("reads"), b"a document");
    let db = elsewhere.join("tenure.db");
    let verdict = good(&run(&elsewhere, &["audit", "verify", "--json", "--db", text(&db)]));
    assert_eq!(verdict["fault"], Value::Null);
    let entries = restored["about"]["auditEntries"].as_u64().expect("a number");
    assert_eq!(verdict["rows"].as_u64(), Some(entries + 2), "the restore and the log's new name are in it");
    let log = rusqlite::Connection::open(&db).expect("opens");
    for action in ["backup.restored", "audit.origin_changed"] {
        let count = log.query_row("SELECT count(*) FROM audit_log WHERE action = ?1", [action], |r| r.get::<_, u32>(0));
        assert_eq!(count.expect("counts"), 1, "{action}");
    }
    drop(log);

    let server = Server::start(&["serve"], &elsewhere, &[]).await;
    let me = http().get(format!("{}/api/auth/me", server.base)).header("cookie", cookie).send().await;
    assert_eq!(me.expect("an answer").status(), 401, "sessions ended");
    let body = json!({ "email": "a@example.org", "password": PASSWORD });
    let again = http().post(format!("{}/api/auth/login", server.base)).json(&body).send().await;
    assert_eq!(again.expect("an answer").status(), 200);
    assert_eq!(server.terminate(), 0);
}

/// Without the keys the business comes back, and the connectors that need their secret again are named.
#[tokio::test]
async fn a_restore_without_keys_names_the_connectors_that_lost_their_secrets() {
    let site = Site::start().await;
    let file = site.dir.path().join("site.backup");
    assert!(run(&site.data, &["backup", text(&file)]).status.success());
    let elsewhere = site.dir.path().join("elsewhere");
    let restored = good(&run(&elsewhere, &["restore", text(&file), "--json"]));
    assert_eq!(restored["connectorsWithoutSecrets"], json!(["HR"]));
    let phrase = site.file("phrase", "an old passphrase");
    let keys = site.dir.path().join("keys.age");
    assert!(run(&site.data, &["keys", "export", "--passphrase-file", text(&phrase), "--out", text(&keys)]).status.success());
    let import = ["keys", "import", text(&keys), "--passphrase-file", text(&phrase)];
    refused(&run(&elsewhere, &import), "holds another key");
    assert!(run(&elsewhere, &[&import[..], &["--replace"]].concat()).status.success());
    let restored = good(&run(&elsewhere, &["restore", text(&file), "--replace", "--json"]));
    assert_eq!(restored["connectorsWithoutSecrets"], json!([]), "the imported keys open them");
}

/// What is in the way is moved aside, never deleted, and only when that was asked for.
#[tokio::test]
async fn a_restore_over_data_is_refused_or_moves_it_aside() {
    let site = Site::start().await;
    let file = site.dir.path().join("site.backup");
    assert!(run(&site.data, &["backup", text(&file)]).status.success());
    let running = run(&site.data, &["restore", text(&file), "--replace"]);
    refused(&running, "in use by another Tenure process");
    let person = json!({ "displayName": "Later", "email": "later@example.org" });
    assert_eq!(site.post("/api/people", &person).await, 201);
    assert_eq!(site.server.terminate(), 0);
    refused(&run(&site.data, &["restore", text(&file)]), "--replace");
    let restored = good(&run(&site.data, &["restore", text(&file), "--replace", "--json"]));
    let aside = PathBuf::from(restored["formerFiles"].as_str().expect("a folder"));
    let rows = |db: &Path| {
        let verdict = good(&run(&site.data, &["audit", "verify", "--json", "--db", text(db)]));
        verdict["rows"].as_u64().expect("a number")
    };
    let before = restored["about"]["auditEntries"].as_u64().expect("a number");
    assert!(rows(&aside.join("tenure.db")) > before, "what was newer is kept aside");
    assert_eq!(rows(&site.data.join("tenure.db")), before + 2);
    // Under its new name it is signed for, whatever was signed after the backup was made.
    assert_eq!(Server::start(&["serve"], &site.data, &[]).await.terminate(), 0);
    let (db, checkpoints) = (site.data.join("tenure.db"), site.data.join("checkpoints"));
    let args = ["audit", "verify", "--json", "--db", text(&db), "--checkpoints", text(&checkpoints)];
    let verdict = good(&run(&site.data, &args));
    assert!(verdict["checkpointsChecked"].as_u64().expect("a number") > 0, "{verdict}");
}

/// A byte that changed anywhere, a cut, another file: nothing is touched. Half a restore is noticed.
#[tokio::test]
async fn a_damaged_backup_is_refused_and_half_a_restore_does_not_start() {
    let site = Site::start().await;
    let file = site.dir.path().join("site.backup");
    assert!(run(&site.data, &["backup", text(&file)]).status.success());
    let whole = std::fs::read(&file).expect("reads");
    let target = site.dir.path().join("target");
    let bad = site.dir.path().join("bad.backup");
    for at in [whole.len() / 3, whole.len() / 2, whole.len() * 2 / 3] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&bad, &bytes).expect("writes");
        refused(&run(&target, &["restore", text(&bad)]), "Nothing was changed");
        std::fs::write(&bad, &whole[..at]).expect("writes");
        refused(&run(&target, &["restore", text(&bad)]), "bad.backup");
    }
    std::fs::write(&bad, "no archive at all").expect("writes");
    refused(&run(&target, &["restore", text(&bad)]), "backup of Tenure");
    assert!(!target.join("tenure.db").exists() && !target.join("restoring").exists());

    std::fs::write(target.join("restore-unfinished"), "").expect("writes");
    let start = run(&target, &["serve"]);
    assert_eq!(start.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&start.stderr).contains("was cut short"));
    assert!(run(&target, &["restore", text(&file), "--replace"]).status.success(), "doing it again mends it");
    assert_eq!(Server::start(&["serve"], &target, &[]).await.terminate(), 0);
}

/// The names in a backup that begin with `blobs/`.
fn blobs_in(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).expect("reads");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names = archive.entries().expect("members").map(|e| {
        e.expect("a member").path().expect("a name").to_str().expect("UTF-8").to_owned()
    });
    names.filter(|name| name.starts_with("blobs/")).collect()
}

/// Neither what an upload left behind nor less than what documents rest on: a file that is lost is
/// told, and the rest can be backed up all the same.
#[tokio::test]
async fn a_backup_has_exactly_the_files_that_its_database_names() {
    let site = Site::start().await;
    let (one, two) = (site.hand_in(b"one").await, site.hand_in(b"two").await);
    let stray = format!("blobs/ab/ab{}", "0".repeat(62));
    std::fs::create_dir_all(site.data.join("blobs/ab")).expect("a folder");
    std::fs::write(site.data.join(&stray), b"left behind").expect("writes");
    std::fs::write(site.data.join("blobs/tmp/7.part"), b"half").expect("writes");
    let mut named = vec![one.clone(), two.clone()];
    named.sort();
    let whole = site.dir.path().join("whole.backup");
    good(&run(&site.data, &["backup", text(&whole), "--json"]));
    assert_eq!(blobs_in(&whole), named);

    let part = site.dir.path().join("part.backup");
    std::fs::write(site.data.join(&two), b"another size").expect("writes");
    refused(&run(&site.data, &["backup", text(&part)]), &two);
    std::fs::remove_file(site.data.join(&two)).expect("removes");
    refused(&run(&site.data, &["backup", text(&part)]), &two);
    assert!(!part.exists(), "no backup was made");
    let made = run(&site.data, &["backup", text(&part), "--without-lost-files", "--json"]);
    assert!(String::from_utf8_lossy(&made.stderr).contains(&two), "what is not in it is told");
    assert_eq!(good(&made)["about"]["lostFiles"], json!([two]));
    assert_eq!(blobs_in(&part), [one]);
}

/// A database that is damaged or tampered with makes no backup, and the reason says so.
#[tokio::test]
async fn no_backup_is_made_of_a_log_that_was_tampered_with() {
    let site = Site::start().await;
    let (dir, data) = (site.dir, site.data);
    assert_eq!(site.server.terminate(), 0);
    let conn = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
    conn.execute_batch("DROP TRIGGER IF EXISTS audit_log_no_update; UPDATE audit_log SET leaf = x'00' WHERE seq = 2")
        .expect("tampers");
    drop(conn);
    let file = dir.path().join("site.backup");
    refused(&run(&data, &["backup", text(&file)]), "entry 2");
    assert!(!file.exists());
}
