//! Personal data of the log is erased by two people, every proof stays, and what is gone without a word is a fault: ours
//! and that of outsiders.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN};
use tenure::base::access::{Principal, SystemRole};
use tenure::features::audit::{self, Entry};
use tenure::params;
use tenure::platform::store::Tx;

use crate::audit_outsiders::{assert_faulty, assert_sound, copy, fetch, rewrite, unpack};
use crate::support::eventually;
use crate::support::log_site::{Site, text};
use crate::support::office::{Office, UMA, Who, id_of};

/// Texts of entries that speak of somebody: everything that is kept of them.
async fn kept(office: &Office, needle: &'static str) -> u32 {
    let sql = "SELECT count(*) FROM audit_state WHERE instr(CAST(state AS TEXT), ?1) > 0";
    office.read(move |tx| tx.scalar(sql, params![needle])).await
}

async fn erasures(office: &Office, who: &Who) -> Vec<Value> {
    let all = office.does(who, "GET", "/api/audit?action=audit.erased", Value::Null).await;
    all["items"].as_array().expect("items").clone()
}

/// Waits until so many entries tell of erasures.
async fn erased(office: &Office, who: &Who, count: usize) -> Vec<Value> {
    eventually("it is erased", Duration::from_secs(20), || async {
        let told = erasures(office, who).await;
        (told.len() == count).then_some(told)
    })
    .await
}

async fn exported(office: &Office, who: &Who, into: PathBuf) -> PathBuf {
    let (status, _, tar) = fetch(office, who, "GET", "/api/audit/export?format=jsonl&manifest=true", &Value::Null).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&tar));
    unpack(&tar, &into)
}

async fn pack(office: &Office, who: &Who, into: PathBuf) -> PathBuf {
    let body = json!({ "from": "2020-01-01", "to": office.running.app.clock.now().to_string() });
    let (status, _, tar) = fetch(office, who, "POST", "/api/evidence-packs", &body).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&tar));
    unpack(&tar, &into)
}

/// Changes the one line of a table about `seq` that `change` wants to.
fn change_line(folder: &Path, name: &str, change: impl Fn(&mut Value)) {
    let all = std::fs::read_to_string(folder.join(name)).expect("a file");
    let changed: String = all
        .lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).expect("JSON");
            change(&mut value);
            format!("{value}\n")
        })
        .collect();
    assert_ne!(all, changed, "something is changed");
    rewrite(folder, name, changed.as_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_of_somebody_is_erased_by_two_and_every_proof_stays() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    office.add("Iris", "iris@example.org", SystemRole::Admin).await;
    let (iris, _) = office.sign_in("iris@example.org").await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let (auditor, _) = office.sign_in(UMA).await;
    let (admin_token, auditor_token) = (office.own_token(&admin).await, office.own_token(&auditor).await);
    office.does(&ada, "POST", "/api/auth/tokens", json!({ "name": "for my script" })).await;
    let role = office.role(&admin, "reader").await;
    let grant = json!({ "personId": ada_id, "roleId": role, "reason": "for the project", "expiresAt": "2099-01-01T00:00:00Z" });
    office.does(&admin, "POST", "/api/assignments", grant).await;
    let before = office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    office.four_eyes(&admin).await;
    assert!(kept(&office, ADA).await > 0, "the log has her address");

    let wish = json!({ "personId": ada_id, "reason": "she asked to be forgotten" });
    assert_eq!(office.ask(&auditor, "POST", "/api/audit/erase", wish.clone()).await.0, 403);
    assert_eq!(office.ask(&Who::Machine, "POST", "/api/audit/erase", wish.clone()).await.0, 403, "a command is nobody");
    let no_reason = json!({ "personId": ada_id, "reason": " " });
    assert_eq!(office.ask(&admin, "POST", "/api/audit/erase", no_reason).await.0, 422);
    for (wrong, status) in [
        (json!({ "reason": "x" }), 422),
        (json!({ "entries": "9-5", "reason": "x" }), 422),
        (json!({ "entries": "999999", "reason": "x" }), 409),
    ] {
        let (got, answer) = office.ask(&admin, "POST", "/api/audit/erase", wrong).await;
        assert_eq!(got, status, "{answer}");
    }
    let (status, asked) = office.ask(&admin, "POST", "/api/audit/erase", wish).await;
    assert_eq!((status, &asked["kind"], &asked["subject"]["id"]), (202, &json!("erase_states"), &json!(ada_id)), "{asked}");
    assert!(kept(&office, ADA).await > 0, "nothing is gone before somebody agrees");
    let decide = format!("/api/exceptions/{}/decide", id_of(&asked));
    let agree = json!({ "decision": "approve", "reason": "it is her right" });
    assert_eq!(office.ask(&admin, "POST", &decide, agree.clone()).await.0, 403, "not by oneself");
    assert_eq!(office.does(&iris, "POST", &decide, agree).await["state"], "approved");
    eventually("it is erased", Duration::from_secs(20), || async { (kept(&office, ADA).await == 0).then_some(()) }).await;
    let told = erasures(&office, &admin).await;
    assert!(told.iter().all(|one| one["reason"] == "she asked to be forgotten" && one["newState"]["erased"].is_object()), "{told:?}");
    assert!(told.iter().any(|one| one["newState"]["erased"]["context"].is_array()), "her name where she acted: {told:?}");
    let about = office.does(&admin, "GET", &format!("/api/audit?entity=person&entityId={ada_id}"), Value::Null).await;
    let first = &about["items"].as_array().expect("items")[0];
    assert_eq!((&first["newState"], &first["actor"]["name"]), (&Value::Null, &Value::Null), "{first}");
    assert!(first["erased"].to_string().contains("newState"), "{first}");

    // Everything still proves: the log, the checkpoint from before, an entry, what outsiders get.
    let verdict = office.does(&auditor, "POST", "/api/audit/verify", Value::Null).await;
    assert_eq!((&verdict["outcome"], &verdict["fault"]), (&json!("sound"), &Value::Null), "{verdict}");
    let count: u64 = told.iter().filter_map(|one| one["newState"]["states"].as_u64()).sum();
    assert_eq!(verdict["erased"].as_u64(), Some(count), "{verdict}");
    office.does(&auditor, "GET", &format!("/api/audit/{}/proof", before["size"]), Value::Null).await;
    let dir = tempfile::tempdir().expect("a folder");
    office.does(&admin_token, "POST", "/api/audit/checkpoints", Value::Null).await;
    let lines = exported(&office, &auditor_token, dir.path().join("lines")).await;
    assert_eq!(assert_sound(&lines).erased, count);
    let evidence = pack(&office, &auditor_token, dir.path().join("pack")).await;
    assert_sound(&evidence);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_without_an_entry_that_says_so_is_a_fault_for_us_and_for_outsiders() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (_, ada_id) = office.sign_in(ADA).await;
    let (auditor, _) = office.sign_in(UMA).await;
    let auditor = office.own_token(&auditor).await;
    let role = office.role(&admin, "reader").await;
    let grant = json!({ "personId": ada_id, "roleId": role, "reason": "for the project", "expiresAt": "2099-01-01T00:00:00Z" });
    let granted = office.does(&admin, "POST", "/api/assignments", grant).await;
    let path = format!("/api/audit?entity=assignment&entityId={}", id_of(&granted));
    let entries = office.does(&admin, "GET", &path, Value::Null).await;
    let seq = entries["items"].as_array().expect("items").last().expect("the grant")["seq"].as_u64().expect("a number");
    // One person may while the rule is off; of the entry everything goes, of the one about the log only who it was.
    let done = office.does(&admin, "POST", "/api/audit/erase", json!({ "entries": format!("1, {seq}"), "reason": "by mistake" })).await;
    assert_eq!(done["states"], 3, "context of both, and the state after of one: {done}");
    let told = erased(&office, &admin, 2).await;
    assert_eq!(told[0]["newState"]["askedBy"]["type"], "person", "{told:?}");
    let (status, again) = office.ask(&admin, "POST", "/api/audit/erase", json!({ "entries": format!("1,{seq}"), "reason": "again" })).await;
    assert_eq!(status, 409, "{again}");
    office.does(&admin, "POST", "/api/audit/checkpoints", Value::Null).await;
    let dir = tempfile::tempdir().expect("a folder");
    let lines = exported(&office, &auditor, dir.path().join("lines")).await;
    assert_eq!(assert_sound(&lines).erased, 3);
    let evidence = pack(&office, &auditor, dir.path().join("pack")).await;
    assert!(assert_sound(&evidence).erased >= 2, "the grant belongs to the population");

    // Somebody who makes the export leaves out what an entry says, and calls it erased.
    let touched = copy(&lines, &dir.path().join("touched"));
    change_line(&touched, "audit-0001.jsonl", |line| {
        if line["seq"] == 3 {
            line["newState"] = Value::Null;
            line["erased"] = json!(["newState"]);
        }
    });
    assert_faulty(&touched, "a state of which no entry says that it was erased", 3, "erased");
    let other = evidence.join("openings-0001.jsonl");
    let open = std::fs::read_to_string(other).expect("openings");
    let victim: Value = open
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .find(|line: &Value| line["part"] == "new" && line["erased"].is_null() && !line["state"].to_string().contains("erased"))
        .expect("something is opened");
    let touched = copy(&evidence, &dir.path().join("touched-pack"));
    change_line(&touched, "openings-0001.jsonl", |line| {
        if *line == victim {
            *line = json!({ "seq": victim["seq"], "part": "new", "erased": true });
        }
    });
    let verdict = crate::audit_outsiders::ours(&touched);
    assert!(verdict.fault.is_some(), "{verdict:?}");
    let (code, said) = crate::audit_outsiders::verify_py(&touched, &[]);
    assert_eq!(code, 1, "{said}");
    office.running.stop().await;
}

/// Neither in the database nor in its write-ahead log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_not_in_the_file_any_more() {
    const PHRASE: &str = "Xanthippe-4711-confidential";
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let write = |tx: &Tx<'_>| {
        (0..50).try_for_each(|number| {
            audit::append(tx, &Principal::system("test"), Entry {
                action: "setting.changed",
                entity: "setting",
                entity_id: format!("setting.{number}"),
                reason: Some(format!("{PHRASE} {}", "and so on ".repeat(number * 10))),
                prev: None,
                new: Some(json!({ "value": PHRASE })),
            })
        })
    };
    office.running.app.store.write(write).await.expect("entries");
    let (last, _) = office.read(|tx| Ok(audit::store::head(tx)?.expect("a log"))).await;
    let path = office.running.app.store.path().to_owned();
    let found = || {
        ["", "-wal"].iter().map(|end| {
            let bytes = std::fs::read(format!("{}{end}", path.display())).unwrap_or_default();
            bytes.windows(PHRASE.len()).filter(|window| *window == PHRASE.as_bytes()).count()
        }).sum::<usize>()
    };
    assert!(found() > 0, "it is there before");
    let wish = json!({ "entries": format!("{}-{last}", last - 60), "reason": "it does not belong there" });
    office.does(&admin, "POST", "/api/audit/erase", wish).await;
    erased(&office, &admin, 1).await;
    eventually("it is gone from the disk", Duration::from_secs(30), || async { (found() == 0).then_some(()) }).await;
    office.running.stop().await;
}

#[tokio::test]
async fn a_terminal_erases_and_a_state_that_is_gone_otherwise_is_told_by_its_entry() {
    let site = Site::start().await;
    let erase = |more: &[&str]| site.command(&[&["audit", "erase", "--reason", "a typo in it"], more].concat());
    let (code, said) = erase(&["--entries", "3-4"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("states are being erased"), "{said}");
    assert_eq!(erase(&["--entries", "4-3"]).0, 1);
    eventually("it is erased", Duration::from_secs(20), || async {
        let (_, told) = site.ask("GET", "/api/audit?action=audit.erased").await;
        (!told["items"].as_array()?.is_empty()).then_some(())
    })
    .await;
    site.kept().await;
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder())]);
    assert_eq!((code, &verdict["fault"]), (0, &Value::Null), "{verdict}");
    assert!(verdict["erased"].as_u64() > Some(1), "{verdict}");

    // What an entry about the log says of it stays: the rule of the database lets it go, the verifier does not.
    let db = site.database();
    db.execute_batch("SAVEPOINT s; UPDATE audit_state SET state = NULL, salt = x'' WHERE seq = 1 AND part = 'new'").expect("erases");
    db.execute_batch("RELEASE s").expect("is there");
    let (code, verdict) = site.verify(&[]);
    assert_eq!((code, &verdict["fault"]["seq"], &verdict["fault"]["kind"]), (1, &json!(1), &json!("erased")), "{verdict}");
}
