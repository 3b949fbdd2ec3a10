//! The log as files: tiles that Go and Python accept and that nobody can touch, JSON Lines, a table.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN};
use tenure::base::access::Principal;
use tenure::features::audit::{self, Entry};

use super::{assert_faulty, assert_sound, copy, fetch, go, ours, python, rewrite, unpack, verify_py};
use crate::support::command;
use crate::support::office::{Office, UMA, Who};

/// An office whose log has more entries than two bundles, and its auditor.
async fn busy_office() -> (Office, Who, Who) {
    let office = Office::open().await;
    let write = |tx: &tenure::platform::store::Tx<'_>| {
        (0..700).try_for_each(|number| {
            let entry = Entry {
                action: "setting.changed",
                entity: "setting",
                entity_id: format!("setting.{number}"),
                reason: (number % 3 == 0).then(|| "=1+1, because".to_owned()),
                prev: (number % 2 == 0).then(|| json!({ "value": number })),
                new: Some(json!({ "value": number + 1, "text": "Zürich \u{1f512}\n" })),
            };
            audit::append(tx, &Principal::system("test"), entry)
        })
    };
    office.running.app.store.write(write).await.expect("entries");
    let (admin, _) = office.sign_in(ADMIN).await;
    let (auditor, _) = office.sign_in(UMA).await;
    let (admin, auditor) = (office.own_token(&admin).await, office.own_token(&auditor).await);
    (office, admin, auditor)
}

async fn tiles_in(office: &Office, auditor: &Who, into: &Path) -> std::path::PathBuf {
    let (status, name, tar) = fetch(office, auditor, "GET", "/api/audit/export?format=tiles", &Value::Null).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&tar));
    assert!(name.contains("audit-tiles-") && name.contains(".tar"), "{name}");
    unpack(&tar, into)
}

fn by_go(folder: &Path) -> Result<String, String> {
    let key = std::fs::read_to_string(folder.join("verifier.key")).expect("a key");
    let output = Command::new(go()).arg("tiles").arg(folder).arg(key.trim()).output().expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Every entry is proved, and every older tree, by the packages of the Go checksum database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exported_tiles_are_accepted_by_go_and_python_and_refused_when_touched() {
    let (office, admin, auditor) = busy_office().await;
    let early = fetch(&office, &auditor, "GET", "/api/audit/export?format=tiles", &Value::Null).await;
    assert_eq!(early.0, 409, "no checkpoint yet: {}", String::from_utf8_lossy(&early.2));
    let made = office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let size = made["size"].as_u64().expect("a size");
    assert!(size > 700 && size % 256 != 0);
    let dir = tempfile::tempdir().expect("a folder");
    let whole = tiles_in(&office, &auditor, &dir.path().join("whole")).await;
    assert_eq!(by_go(&whole).expect("Go accepts them").trim(), format!("{size} {}", made["root"].as_str().expect("a root")));
    let verdict = assert_sound(&whole);
    assert_eq!((verdict.entries, verdict.checkpoints_checked), (size, 1));
    assert!(verdict.warnings[0].contains("compare it"), "{:?}", verdict.warnings);
    let key = std::fs::read_to_string(whole.join("verifier.key")).expect("a key");
    let (code, told) = verify_py(&whole, &["--key", key.trim()]);
    assert_eq!((code, &told["warnings"]), (0, &json!([])), "{told}");

    let part = size % 256;
    let last = format!("tile/entries/002.p/{part}");
    for (name, place, seq, kind) in [
        ("tile/entries/000", 40, 1, "hash"),
        ("tile/entries/001", 300, 257, "hash"),
        ("tile/0/000", 40, 2, "hash"),
        (&last, 1, 513, "gap"),
        ("tile/1/000.p/2", 3, 0, "node"),
        ("checkpoint", 60, 0, "note"),
        ("verifier.key", 60, 0, "note"),
    ] {
        let touched = copy(&whole, &dir.path().join("touched"));
        let mut bytes = std::fs::read(whole.join(name)).expect("a file");
        bytes[place] ^= 1;
        rewrite(&touched, name, &bytes);
        let verdict = ours(&touched);
        let fault = verdict.fault.unwrap_or_else(|| panic!("{name} is touched"));
        // Where exactly is seen only while the chain holds: what cannot be read any more is told as such.
        assert!(fault.kind == kind || ["gap", "hash", "leaf", "node"].contains(&fault.kind), "{name}: {fault:?}");
        assert!(seq == 0 || fault.seq.abs_diff(seq) <= 256, "{name}: {fault:?}");
        assert_eq!(verify_py(&touched, &[]).0, 1, "{name}");
        assert!(by_go(&touched).is_err(), "{name}");
        std::fs::remove_dir_all(&touched).expect("goes");
    }
    for name in ["tile/entries/001", "tile/0/001", "tile/1/000.p/2", "checkpoint"] {
        let touched = copy(&whole, &dir.path().join("touched"));
        std::fs::remove_file(touched.join(name)).expect("is removed");
        assert!(ours(&touched).fault.is_some(), "{name} is missing");
        assert_eq!(verify_py(&touched, &[]).0, 1, "{name}");
        assert!(by_go(&touched).is_err(), "{name}");
        std::fs::remove_dir_all(&touched).expect("goes");
    }
    // An entry left out, with everything under it made to fit: only the signature is missing.
    let touched = copy(&whole, &dir.path().join("touched"));
    let bundle = std::fs::read(whole.join("tile/entries/000")).expect("a bundle");
    let first = 2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]]));
    let mut shorter = bundle[first..].to_vec();
    shorter.extend_from_slice(&bundle[..first]);
    rewrite(&touched, "tile/entries/000", &shorter);
    assert_faulty(&touched, "entries in another order", 1, "hash");
}

/// What was kept from earlier is what shows that the log was not made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_was_kept_is_compared_with_an_export() {
    use tenure::features::audit::export::bundle::{Given, check};
    let (office, admin, auditor) = busy_office().await;
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let other = Office::open().await;
    let (foreign, _) = other.sign_in(ADMIN).await;
    let foreign = other.does(&foreign, "POST", "/api/audit/checkpoints", Value::Null).await;
    let dir = tempfile::tempdir().expect("a folder");
    let early = tiles_in(&office, &auditor, &dir.path().join("early")).await;
    let (ada, _) = office.sign_in(ADA).await;
    office.own_token(&ada).await;
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let late = tiles_in(&office, &auditor, &dir.path().join("late")).await;
    let note = |folder: &Path| std::fs::read_to_string(folder.join("checkpoint")).expect("a note");
    let given = |note: String| Given { keys: Vec::new(), notes: vec![("a drawer".to_owned(), note)] };
    let kept = check(&late, &given(note(&early))).expect("a verdict");
    assert_eq!((kept.fault, kept.checkpoints_checked), (None, 2));
    let newer = check(&early, &given(note(&late))).expect("a verdict").fault.expect("entries are missing");
    assert_eq!(newer.kind, "short");
    let strange = foreign["note"].as_str().expect("a note").to_owned();
    let strange = check(&late, &given(strange)).expect("a verdict").fault.expect("it is of another log");
    assert_eq!(strange.kind, "note");
    let file = dir.path().join("kept");
    for (text, code) in [(note(&early), 0), (note(&late).replace("\n\n", "\n\n\n"), 1)] {
        std::fs::write(&file, text).expect("is written");
        let (got, told) = verify_py(&late, &["--since", file.to_str().expect("UTF-8")]);
        assert_eq!(got, code, "{told}");
    }
    std::fs::write(&file, note(&late)).expect("is written");
    assert_eq!(verify_py(&early, &["--since", file.to_str().expect("UTF-8")]).0, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_lines_hold_every_entry_and_can_be_checked_alone() {
    let (office, admin, auditor) = busy_office().await;
    let made = office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let (status, name, plain) = fetch(&office, &auditor, "GET", "/api/audit/export", &Value::Null).await;
    assert_eq!(status, 200);
    assert!(name.contains(".jsonl"), "{name}");
    let text = String::from_utf8(plain).expect("UTF-8");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() as u64 >= made["size"].as_u64().expect("a size"));
    assert!(lines.iter().enumerate().all(|(i, line)| line["seq"] == i as u64 + 1));
    let one = lines.iter().find(|line| line["leaf"]["entityId"] == "setting.3").expect("an entry");
    assert_eq!(one["newState"], json!({ "value": 4, "text": "Zürich \u{1f512}\n" }));
    assert_eq!((&one["context"]["reason"], &one["prevState"], &one["erased"]), (&json!("=1+1, because"), &Value::Null, &json!([])));

    let dir = tempfile::tempdir().expect("a folder");
    let path = "/api/audit/export?format=jsonl&manifest=true";
    let (_, _, tar) = fetch(&office, &auditor, "GET", path, &Value::Null).await;
    let whole = unpack(&tar, &dir.path().join("whole"));
    let verdict = assert_sound(&whole);
    assert_eq!(verdict.checkpoints_checked, 1);
    assert!(verdict.opened > 1_400, "{verdict:?}");

    let content = std::fs::read_to_string(whole.join("audit-0001.jsonl")).expect("lines");
    let mut all: Vec<&str> = content.split_inclusive('\n').collect();
    for (what, from, to, kind) in [
        ("a state", "\"value\":4}", "\"value\":5}", "state"),
        ("a leaf", "\"entityId\":\"setting.3\"", "\"entityId\":\"setting.4\"", "hash"),
        ("a salt", "\"newState\":\"", "\"newState\":\"A", "state"),
    ] {
        let seq = one["seq"].as_u64().expect("a number");
        let at = content.find("setting.3\"").expect("the line");
        let begin = content[..at].rfind('\n').expect("a line") + 1;
        let touched = format!("{}{}", &content[..begin], content[begin..].replacen(from, to, 1));
        let folder = copy(&whole, &dir.path().join("touched"));
        rewrite(&folder, "audit-0001.jsonl", touched.as_bytes());
        assert_faulty(&folder, what, seq, kind);
        std::fs::remove_dir_all(&folder).expect("goes");
    }
    all.remove(100);
    let folder = copy(&whole, &dir.path().join("touched"));
    rewrite(&folder, "audit-0001.jsonl", all.concat().as_bytes());
    assert_faulty(&folder, "a line left out", 101, "gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_narrowed_and_a_table_holds_no_formula() {
    let (office, _, auditor) = busy_office().await;
    let get = async |query: &str| fetch(&office, &auditor, "GET", &format!("/api/audit/export?{query}"), &Value::Null).await;
    let (_, name, table) = get("format=csv&entity=setting").await;
    assert!(name.contains(".csv"), "{name}");
    let table = String::from_utf8(table).expect("UTF-8");
    let rows = tenure::features::imports::csv::read(&table, 10_000, 50).expect("a table").rows;
    assert_eq!(rows.len(), 700);
    assert!(rows.iter().flat_map(|(_, cells)| cells).all(|cell| !cell.starts_with(['=', '+', '-', '@'])));
    assert!(table.contains("'=1+1"));
    let count = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count();
    for (query, expected) in [
        ("entity=setting&entityId=setting.7", 1),
        ("action=setting.changed", 700),
        ("actorId=test&action=setting.changed", 700),
        ("actorId=nobody", 0),
        ("entity=setting&from=2030-01-01T00:00:00Z", 0),
        ("entity=setting&to=2020-01-01T00:00:00Z", 0),
    ] {
        let (status, _, lines) = get(query).await;
        assert_eq!((status, count(&lines)), (200, expected), "{query}");
    }
    for bad in ["format=xml", "format=tiles&entity=setting", "from=yesterday"] {
        assert_eq!(get(bad).await.0, 422, "{bad}");
    }
    // What was selected is told, and that nobody can see what was left out.
    let dir = tempfile::tempdir().expect("a folder");
    let (_, _, tar) = get("manifest=true&entity=setting").await;
    let folder = unpack(&tar, &dir.path().join("some"));
    let verdict = assert_sound(&folder);
    assert_eq!(verdict.entries, 700);
    assert!(verdict.warnings.iter().any(|w| w.contains("tiles only")), "{:?}", verdict.warnings);
    let (_, _, tar) = get("manifest=true&format=csv").await;
    assert!(assert_sound(&unpack(&tar, &dir.path().join("table"))).warnings[0].contains("list of files only"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_of_one_entry_is_checked_without_the_log() {
    use base64::Engine as _;
    let (office, admin, auditor) = busy_office().await;
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let key = office.does(&auditor, "GET", "/api/audit/key", Value::Null).await;
    let dir = tempfile::tempdir().expect("a folder");
    let (proof_file, leaf_file) = (dir.path().join("proof"), dir.path().join("leaf"));
    let check = || {
        let mut command = python("docs/verify/verify.py");
        command.arg("--proof").arg(&proof_file).arg("--leaf").arg(&leaf_file);
        command.args(["--key", key["verifierKey"].as_str().expect("a key")]).output().expect("runs").status.code()
    };
    for seq in [1, 300, 512] {
        let answer = office.does(&auditor, "GET", &format!("/api/audit/{seq}/proof"), Value::Null).await;
        let text = |key: &str| answer[key].as_str().expect("text").to_owned();
        let leaf = base64::engine::general_purpose::STANDARD.decode(text("leaf")).expect("base64");
        std::fs::write(&proof_file, text("proof")).expect("is written");
        std::fs::write(&leaf_file, &leaf).expect("is written");
        assert_eq!(check(), Some(0), "{seq}");
        std::fs::write(&leaf_file, [&leaf[..], b" "].concat()).expect("is written");
        assert_eq!(check(), Some(1), "{seq}: another leaf");
        std::fs::write(&leaf_file, &leaf).expect("is written");
        let place = format!("index {}", seq - 1);
        std::fs::write(&proof_file, text("proof").replace(&place, "index 7")).expect("is written");
        assert_eq!(check(), Some(1), "{seq}: another place");
    }
}

/// From a terminal, beside a running server or without one, and with exit codes that scripts can go by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_exports_the_log_and_checks_a_folder() {
    let (office, admin, _) = busy_office().await;
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let db = office.running.app.store.path().to_str().expect("UTF-8").to_owned();
    let dir = tempfile::tempdir().expect("a folder");
    let place = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let run = |args: &[&str]| {
        let output = command(&[&["audit"], args].concat()).output().expect("runs");
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().expect("it ends by itself"), told)
    };
    for (kind, words) in [("tiles", "1 checkpoints agree"), ("jsonl", "1 checkpoints agree"), ("csv", "list of files only")] {
        let (code, told) = run(&["export", "--db", &db, &format!("--{kind}"), &place(kind)]);
        assert_eq!(code, 0, "{told}");
        let (code, told) = run(&["verify", "--bundle", &place(kind)]);
        assert!(code == 0 && told.contains("sound: ") && told.contains(words), "{kind}: {told}");
    }
    let (code, told) = run(&["export", "--db", &db, "--tiles", &place("tiles")]);
    assert!(code == 2 && told.contains("is not empty"), "{told}");
    let key = std::fs::read_to_string(dir.path().join("tiles/verifier.key")).expect("a key");
    let (code, told) = run(&["verify", "--bundle", &place("tiles"), "--key", key.trim(), "--since", &place("tiles/checkpoint")]);
    assert!(code == 0 && !told.contains("mind:"), "{told}");
    let path = dir.path().join("tiles/tile/0/001");
    let mut bytes = std::fs::read(&path).expect("a tile");
    bytes[64] ^= 1;
    std::fs::write(&path, bytes).expect("is written");
    let (code, told) = run(&["verify", "--bundle", &place("tiles")]);
    assert!(code == 1 && told.contains("tampered: entry 259 (hash)"), "{told}");
    assert_eq!(run(&["verify", "--bundle", &place("nothing")]).0, 2);
}

/// A log that is not what was signed is not exported as evidence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_of_a_log_that_was_tampered_with_come_to_no_end() {
    let (office, admin, auditor) = busy_office().await;
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let path = office.running.app.store.path().to_owned();
    let db = rusqlite::Connection::open(path).expect("opens");
    db.busy_timeout(std::time::Duration::from_secs(5)).expect("waits");
    let trigger: String = db
        .query_row("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name = 'audit_log_no_update'", [], |r| r.get(0))
        .expect("a trigger");
    db.execute_batch(&format!("DROP TRIGGER {trigger}; UPDATE audit_log SET leaf = CAST(replace(CAST(leaf AS TEXT), 'setting.9\"', 'setting.8\"') AS BLOB)")).expect("is tampered with");
    drop(db);
    let Who::Token(token) = &auditor else { panic!("a token") };
    let url = format!("{}/api/audit/export?format=tiles", office.running.base);
    let answer = crate::support::http().get(url).bearer_auth(token).send().await.expect("begins");
    assert!(answer.bytes().await.is_err(), "it breaks off");
}
