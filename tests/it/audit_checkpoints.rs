//! Signed checkpoints and proofs: made, kept, compared with the log, and refused over one that was changed.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::features::audit::leaf_hash;
use tenure::features::audit::merkle::verify_inclusion;
use tenure::features::audit::note::{VerifierKey, open_note};

use crate::support::log_site::{Site, text, verify};
use crate::support::{Server, command, eventually, http};

fn bytes(base64: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64.as_str().expect("text")).expect("base64")
}

fn hash(base64: &Value) -> [u8; 32] {
    bytes(base64).try_into().expect("a hash")
}

#[tokio::test]
async fn a_checkpoint_is_signed_kept_in_its_folder_and_proves_entries() {
    let site = Site::start().await;
    let (status, early) = site.ask("GET", "/api/audit/1/proof").await;
    assert_eq!(status, 409, "{early}");
    let made = site.kept().await;
    assert_eq!(made["reason"], "manual");

    // The key comes from the API, and from the file without a server.
    let (_, key) = site.ask("GET", "/api/audit/key").await;
    let printed = command(&["audit", "key", "--db"]).arg(site.data.join("tenure.db")).output().expect("runs");
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim(), key["verifierKey"].as_str().expect("a key"));
    let key: VerifierKey = key["verifierKey"].as_str().expect("a key").parse().expect("a verifier key");

    // What is in the folder is what was signed.
    let newest = std::fs::read_to_string(site.folder().join("checkpoint")).expect("the newest");
    assert_eq!(newest, made["note"].as_str().expect("a note"));
    let checkpoint = open_note(&newest, std::slice::from_ref(&key)).expect("a signature that holds");
    assert_eq!((checkpoint.size, checkpoint.root), (made["size"].as_u64().expect("a size"), hash(&made["root"])));
    assert_eq!(checkpoint.origin, key.name());

    for seq in 1..=checkpoint.size {
        let (_, proof) = site.ask("GET", &format!("/api/audit/{seq}/proof")).await;
        let path: Vec<[u8; 32]> = proof["path"].as_array().expect("a path").iter().map(hash).collect();
        let leaf = leaf_hash(&bytes(&proof["leaf"]));
        assert!(verify_inclusion(&leaf, seq - 1, checkpoint.size, &checkpoint.root, &path), "{seq}: {proof}");
        let printed = command(&["audit", "prove", &seq.to_string(), "--db"]).arg(site.data.join("tenure.db")).output();
        assert_eq!(String::from_utf8_lossy(&printed.expect("runs").stdout), proof["proof"].as_str().expect("text"));
    }
    let (status, missing) = site.ask("GET", "/api/audit/999999/proof").await;
    assert_eq!(status, 404, "{missing}");
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    assert_eq!((&state["overdue"], &state["refused"], &state["stores"][0]["state"]), (&json!(false), &Value::Null, &json!("ok")));
    assert_eq!(site.ask("GET", "/api/audit/checkpoints").await.1["items"].as_array().expect("a list").len(), 1);
}

/// Also without anything new: that says that Tenure is alive and the log is what it was.
#[tokio::test]
async fn the_job_makes_a_checkpoint_each_time_and_a_clean_end_makes_the_last() {
    let site = Site::start().await;
    site.kept().await;
    let (status, _) = site.ask("POST", "/api/schedules/audit-checkpoint/run").await;
    assert_eq!(status, 202);
    eventually("the job makes a checkpoint", Duration::from_secs(10), || async {
        let (_, list) = site.ask("GET", "/api/audit/checkpoints").await;
        list["items"].as_array()?.iter().find(|one| one["reason"] == "schedule").cloned()
    })
    .await;
    let Site { dir, data, server, .. } = site;
    assert_eq!(server.terminate(), 0);
    let verdict = verify(&data.join("tenure.db"), &["--checkpoints", text(&data.join("checkpoints"))]);
    assert_eq!((verdict.0, &verdict.1["fault"]), (0, &Value::Null));
    let newest = std::fs::read_to_string(data.join("checkpoints/checkpoint")).expect("the newest");
    let size: u64 = newest.lines().nth(1).expect("a size").parse().expect("a number");
    assert_eq!(verdict.1["rows"].as_u64(), Some(size), "nothing is left that is not signed for");
    drop(dir);
}

#[tokio::test]
async fn nothing_is_signed_over_a_log_that_is_not_what_was_signed_before() {
    let site = Site::start().await;
    site.kept().await;
    // Somebody who can write the file makes the tree say that its first four entries are others.
    site.database()
        .execute_batch(
            "DROP TRIGGER audit_log_no_update; DROP TRIGGER audit_node_no_update;
             UPDATE audit_node SET hash = zeroblob(32) WHERE level = 2 AND idx = 0;",
        )
        .expect("tampers");
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().expect("why").contains("entries were changed"), "{refused}");
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    assert_eq!(state["refused"]["kind"], "different", "{state}");
    // A side check: the node stays in its balancer, and says what is wrong.
    let health = eventually("health says so", Duration::from_secs(5), || async {
        let (_, health) = site.server.get("/api/health").await;
        (health["checks"]["audit"]["status"] == "down").then_some(health)
    })
    .await;
    assert_eq!(health["status"], "ok", "{health}");
    eventually("administrators are told", Duration::from_secs(10), || async {
        let (_, list) = site.ask("GET", "/api/notifications").await;
        list["items"].as_array()?.iter().find(|one| one["kind"] == "audit").cloned()
    })
    .await;
    let (_, verdict) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!((&verdict["fault"]["seq"], &verdict["fault"]["kind"]), (&json!(4), &json!("node")), "{verdict}");
}

#[tokio::test]
async fn a_database_that_was_put_back_is_not_signed_for_while_a_checkpoint_knows_more() {
    let site = Site::start().await;
    site.kept().await;
    let old = site.dir.path().join("old.db");
    site.database().execute("VACUUM INTO ?1", [text(&old)]).expect("copies");
    for _ in 0..2 {
        site.kept().await;
        let body = json!({ "name": "another" });
        let made = http().post(format!("{}/api/auth/tokens", site.server.base)).bearer_auth(&site.token).json(&body);
        assert!(made.send().await.expect("an answer").status().is_success());
    }
    site.kept().await;
    let Site { dir, data, server, token } = site;
    assert_eq!(server.terminate(), 0);
    std::fs::copy(&old, data.join("tenure.db")).expect("rolls back");
    let checkpoints = data.join("checkpoints");
    let (code, verdict) = verify(&data.join("tenure.db"), &["--checkpoints", text(&checkpoints)]);
    assert_eq!((code, &verdict["fault"]["kind"]), (1, &json!("short")), "{verdict}");
    // Without the checkpoints it looks sound: only what is kept elsewhere knows better.
    assert_eq!(verify(&data.join("tenure.db"), &[]).0, 0);

    let server = Server::start(&["serve"], &data, &[]).await;
    let site = Site { dir, data, server, token };
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().expect("why").contains("older database"), "{refused}");
}

#[tokio::test]
async fn a_checkpoint_of_somebody_else_is_not_believed() {
    let site = Site::start().await;
    let made = site.kept().await;
    let forged = made["note"].as_str().expect("a note").replacen(&made["size"].to_string(), "1", 1);
    std::fs::write(site.folder().join("99999999999999999999-x.note"), &forged).expect("writes");
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(site.ask("GET", "/api/audit/checkpoints/state").await.1["refused"]["kind"], "unsigned");
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder())]);
    assert_eq!((code, &verdict["fault"]["kind"]), (1, &json!("note")), "{verdict}");
    // Cleared up, it is signed again.
    std::fs::remove_file(site.folder().join("99999999999999999999-x.note")).expect("removes");
    site.kept().await;
    assert_eq!(site.ask("GET", "/api/audit/checkpoints/state").await.1["refused"], Value::Null);
}

#[tokio::test]
async fn a_folder_that_is_out_of_reach_is_tried_again_until_it_has_every_checkpoint() {
    let site = Site::start().await;
    std::fs::write(site.folder(), "not a folder").expect("blocks it");
    let made = site.make().await;
    let path = format!("/api/audit/checkpoints/{}", made["size"]);
    let failed = eventually("the first attempt fails", Duration::from_secs(10), || async {
        let (_, found) = site.ask("GET", &path).await;
        found["stores"][0]["error"].is_string().then_some(found)
    })
    .await;
    let error = failed["stores"][0]["error"].as_str().expect("why");
    assert!(error.contains("AUDIT_CHECKPOINT_PATH"), "{error}");
    std::fs::remove_file(site.folder()).expect("clears it");
    eventually("it is kept after all", Duration::from_secs(30), || async {
        let (_, found) = site.ask("GET", &path).await;
        (found["stores"][0]["state"] == "stored").then_some(())
    })
    .await;
    assert!(site.folder().join("checkpoint").is_file());
}

#[tokio::test]
async fn a_key_that_was_changed_signs_on_and_what_the_old_one_signed_is_believed_still() {
    let site = Site::start().await;
    site.kept().await;
    let old = site.ask("GET", "/api/audit/key").await.1["verifierKey"].clone();
    let Site { dir, data, server, token } = site;
    assert_eq!(server.terminate(), 0);
    let server = Server::start(&["serve"], &data, &[("AUDIT_SIGNING_KEY", &"5a".repeat(32))]).await;
    let site = Site { dir, data, server, token };
    let (_, key) = site.ask("GET", "/api/audit/key").await;
    assert_ne!(key["verifierKey"], old);
    assert_eq!(key["earlier"], json!([old]));
    let (_, changed) = site.ask("GET", "/api/audit?action=audit.key_changed").await;
    assert_eq!(changed["items"][0]["newState"]["verifierKey"], key["verifierKey"]);
    site.kept().await;
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder())]);
    assert_eq!(code, 0, "{verdict}");
    assert!(verdict["checkpointsChecked"].as_u64().expect("a number") >= 4, "{verdict}");
    // An auditor who kept only the first key is told that another one signed.
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder()), "--key", old.as_str().expect("a key")]);
    assert_eq!((code, &verdict["fault"]["kind"]), (1, &json!("note")), "{verdict}");
}

/// Guard rails for whoever slips, not the evidence.
#[tokio::test]
async fn rows_and_nodes_are_neither_changed_nor_removed_nor_put_out_of_sequence_through_sql() {
    let site = Site::start().await;
    let db = site.database();
    for (sql, why) in [
        ("UPDATE audit_log SET action = 'x' WHERE seq = 1", "append-only"),
        ("DELETE FROM audit_log WHERE seq = 1", "append-only"),
        ("INSERT INTO audit_log SELECT seq + 1000, leaf, leaf_hash, at, actor_id, action, entity, entity_id FROM audit_log", "in sequence"),
        ("INSERT OR REPLACE INTO audit_log SELECT * FROM audit_log WHERE seq = 1", "in sequence"),
        ("UPDATE audit_node SET hash = zeroblob(32)", "append-only"),
        ("DELETE FROM audit_node", "append-only"),
        ("INSERT OR REPLACE INTO audit_node VALUES (1, 0, zeroblob(32))", "in sequence"),
        ("INSERT INTO audit_node VALUES (1, 999, zeroblob(32))", "in sequence"),
        ("UPDATE audit_state SET state = x'00'", "erased, not changed"),
        ("DELETE FROM audit_state", "erased, not removed"),
        ("INSERT OR REPLACE INTO audit_state SELECT seq, part, salt, x'00' FROM audit_state LIMIT 1", "written once"),
    ] {
        let refused = db.execute_batch(sql).expect_err(sql).to_string();
        assert!(refused.contains(why), "{sql}: {refused}");
    }
    // What may be erased is: with its salt, or it could be guessed. But nothing is without an entry that says so.
    db.execute_batch("UPDATE audit_state SET state = NULL, salt = x'' WHERE seq = 2").expect("erases");
    let (code, verdict) = site.verify(&[]);
    assert_eq!((code, &verdict["fault"]["seq"], &verdict["fault"]["kind"]), (1, &json!(2), &json!("erased")), "{verdict}");
}

/// A log from before the tree gets it with the first start after the upgrade.
#[tokio::test]
async fn a_log_that_is_older_than_its_tree_gets_it() {
    let site = Site::start().await;
    let Site { dir, data, server, token } = site;
    assert_eq!(server.terminate(), 0);
    let db = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
    db.execute_batch(
        "DROP TRIGGER audit_node_no_delete; DELETE FROM audit_node; DELETE FROM checkpoint_copy; DELETE FROM checkpoint;
         CREATE TRIGGER audit_node_no_delete BEFORE DELETE ON audit_node BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;",
    )
    .expect("as it was before");
    drop(db);
    let server = Server::start(&["serve"], &data, &[]).await;
    let site = Site { dir, data, server, token };
    site.kept().await;
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder())]);
    assert_eq!((code, &verdict["fault"]), (0, &Value::Null), "{verdict}");
}
