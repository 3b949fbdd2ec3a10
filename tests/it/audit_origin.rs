//! A log that was put back goes on under another name, its key signs for that, and a rollback cannot be made to look so.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tenure::base::access::Principal;
use tenure::features::audit::note::{Checkpoint, Signer, VerifierKey};
use tenure::features::audit::{AuditJournal, Entry, append};
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::store::{MigrationSet, Options, Store};

use crate::audit_outsiders::{copy, ours, verify_py};
use crate::support::log_site::{Site, text, verify};
use crate::support::{Server, command, http};

/// Something that the log has an entry of.
async fn change(site: &Site) {
    let body = json!({ "name": "another" });
    let made = http().post(format!("{}/api/auth/tokens", site.server.base)).bearer_auth(&site.token).json(&body);
    assert!(made.send().await.expect("an answer").status().is_success());
}

/// A checkpoint, a backup, and two checkpoints of more entries.
async fn with_a_past(site: &Site) -> (Value, Value) {
    change(site).await;
    let first = site.kept().await;
    let file = site.dir.path().join("a.backup");
    let (code, said) = site.command(&["backup", text(&file)]);
    assert_eq!(code, 0, "{said}");
    let mut last = Value::Null;
    for _ in 0..2 {
        change(site).await;
        last = site.kept().await;
    }
    (first, last)
}

/// Puts an entry at the end as somebody does who can write the file and knows how, but has no key.
async fn forge(db: &Path, entry: Entry) {
    let options = Options::small(db.to_owned());
    let journal = Some(Arc::new(AuditJournal) as Arc<_>);
    let store = Store::open(&options, &MigrationSet::tenure(), Arc::new(SystemClock), Arc::new(SystemIds), journal);
    let store = store.expect("opens");
    store.write(move |tx| append(tx, &Principal::system("audit"), entry.clone())).await.expect("appends");
    store.close().await;
}

fn origin_changed(origin: &str, new: Value) -> Entry {
    Entry {
        action: "audit.origin_changed",
        entity: "audit_log",
        entity_id: origin.to_owned(),
        reason: None,
        prev: Some(json!({ "origin": "whatever" })),
        new: Some(new),
    }
}

#[tokio::test]
async fn a_forged_change_of_the_name_hides_no_rollback() {
    let site = Site::start().await;
    let old = site.dir.path().join("old.db");
    site.kept().await;
    site.database().execute("VACUUM INTO ?1", [text(&old)]).expect("copies");
    let (first, last) = with_a_past(&site).await;
    assert!(last["size"].as_u64() > first["size"].as_u64());
    let Site { dir, data, server, token } = site;
    assert_eq!(server.terminate(), 0);
    let (db, checkpoints) = (data.join("tenure.db"), data.join("checkpoints"));
    let key: VerifierKey = first["note"].as_str().and_then(|_| {
        let printed = command(&["audit", "key", "--db"]).arg(&db).output().expect("runs");
        String::from_utf8_lossy(&printed.stdout).parse().ok()
    }).expect("a key");
    let host = key.name().split('/').next().expect("a host").to_owned();
    let other = format!("{host}/audit/0000000000000bad");
    // Without a word, and with a note by a key that is not the log's.
    let stranger = Signer::new(key.name(), &[9; 32]);
    let size = last["size"].as_u64().expect("a size");
    let note = stranger.sign_continued(&Checkpoint { origin: key.name().to_owned(), size, root: [0; 32] }, &other);
    for new in [json!({ "origin": other }), json!({ "origin": other, "note": note })] {
        std::fs::copy(&old, &db).expect("rolls back");
        for rest in ["tenure.db-wal", "tenure.db-shm"] {
            let _ = std::fs::remove_file(data.join(rest));
        }
        forge(&db, origin_changed(&other, new)).await;
        let (code, verdict) = verify(&db, &["--checkpoints", text(&checkpoints)]);
        assert_eq!((code, &verdict["fault"]["kind"]), (1, &json!("note")), "{verdict}");
        let (code, verdict) = verify(&db, &["--checkpoints", text(&checkpoints), "--key", &key.to_string()]);
        assert_eq!((code, &verdict["fault"]["kind"]), (1, &json!("note")), "{verdict}");
    }
    let server = Server::start(&["serve"], &data, &[]).await;
    let site = Site { dir, data, server, token };
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().expect("why").contains("no key of the log signed for that"), "{refused}");
}

#[tokio::test]
async fn a_restore_names_what_it_leaves_behind_and_what_came_before_is_compared_still() {
    let site = Site::start().await;
    let (first, last) = with_a_past(&site).await;
    let backup = site.dir.path().join("a.backup");
    let (_, key) = site.ask("GET", "/api/audit/key").await;
    let old_key = key["verifierKey"].as_str().expect("a key").to_owned();
    let Site { dir, data, server, token } = site;
    assert_eq!(server.terminate(), 0);
    let restored = command(&["restore", text(&backup), "--replace"]).env("DATA_DIR", &data).output().expect("runs");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let server = Server::start(&["serve"], &data, &[]).await;
    let site = Site { dir, data, server, token };
    let (_, told) = site.ask("GET", "/api/audit?action=audit.origin_changed").await;
    let told = &told["items"][0];
    let newest = &told["prevState"]["newest"];
    // The end in order made one more than the last.
    assert!(newest["size"].as_u64() >= last["size"].as_u64(), "{told}");
    assert_eq!(newest["noteSha256"].as_str().map(str::len), Some(64), "{told}");
    assert_eq!(told["prevState"]["verifierKey"], json!(old_key), "{told}");
    assert_ne!(told["newState"]["origin"], json!(key["name"]));
    site.kept().await;
    let folder = site.folder();
    let (code, verdict) = site.verify(&["--checkpoints", text(&folder)]);
    assert_eq!((code, &verdict["fault"]), (0, &Value::Null), "{verdict}");
    assert!(verdict["leftBehind"].as_u64() >= Some(2), "two that the restore left behind: {verdict}");
    assert!(verdict["checkpointsChecked"].as_u64() >= Some(4), "those from before it are compared: {verdict}");
    // Whoever kept the key of the old name believes the same key under the new one.
    let (code, verdict) = site.verify(&["--checkpoints", text(&folder), "--key", &old_key]);
    assert_eq!((code, &verdict["fault"]), (0, &Value::Null), "{verdict}");
    let (_, verdict) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!(verdict["outcome"], "sound", "{verdict}");

    // Outsiders say the same of tiles.
    let tiles = site.dir.path().join("tiles");
    let (code, said) = site.command(&["audit", "export", "--db", text(&site.data.join("tenure.db")), "--tiles", text(&tiles)]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(ours(&tiles).fault, None);
    let note = |name: &str, note: &str| {
        let path = site.dir.path().join(name);
        std::fs::write(&path, note).expect("writes");
        path
    };
    let kept = note("kept.note", first["note"].as_str().expect("a note"));
    let left = note("left.note", last["note"].as_str().expect("a note"));
    let seed = std::fs::read_to_string(site.data.join("keys/audit_signing_key")).expect("a seed");
    let seed: [u8; 32] = hex::decode(seed.trim()).expect("hex").try_into().expect("32 bytes");
    let name = old_key.split('+').next().expect("a name");
    let size = first["size"].as_u64().expect("a size");
    let other = Signer::new(name, &seed).sign(&Checkpoint { origin: name.to_owned(), size, root: [5; 32] });
    let wrong = note("wrong.note", &other);
    let lines = site.dir.path().join("lines");
    let (code, said) = site.command(&["audit", "export", "--db", text(&site.data.join("tenure.db")), "--jsonl", text(&lines)]);
    assert_eq!(code, 0, "{said}");
    for (since, code, kind) in [(&kept, 0, Value::Null), (&left, 0, Value::Null), (&wrong, 1, json!("root"))] {
        let args = ["--key", &old_key, "--since", text(since)];
        for folder in [&tiles, &lines] {
            let (got, told) = verify_py(folder, &args);
            assert_eq!(got, code, "{}: {told}", since.display());
            let bundle = command(&["audit", "verify", "--json", "--bundle"]).arg(folder).args(args).output().expect("runs");
            let told: Value = serde_json::from_slice(&bundle.stdout).expect("JSON");
            assert_eq!((bundle.status.code(), &told["fault"]["kind"]), (Some(code), &kind), "{}: {told}", since.display());
        }
        // And the database.
        let (got, told) = site.verify(&args);
        assert_eq!((got, &told["fault"]["kind"]), (code, &kind), "{}: {told}", since.display());
    }
    let (_, told) = verify_py(&tiles, &["--key", &old_key, "--since", text(&left)]);
    assert!(told["warnings"].to_string().contains("left behind"), "{told}");

    // Without the note that the key signed for the change, it is not believed.
    let touched = copy(&tiles, &site.dir.path().join("touched"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(touched.join("manifest.json")).expect("reads")).expect("JSON");
    let files = manifest["files"].as_object_mut().expect("files");
    files.retain(|name, _| !name.contains("continued"));
    std::fs::write(touched.join("manifest.json"), manifest.to_string()).expect("writes");
    assert_eq!(ours(&touched).fault.map(|fault| fault.kind), Some("note"));
    assert_eq!(verify_py(&touched, &[]).0, 1);
}
