//! The log is verified by itself: by a job that bears stops and crashes, whose findings stop signing and raise the alarm.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::clock::Clock as _;
use tenure::features::audit::verify::{Fault, Walk};
use tenure::features::checkpoints::verification::{AUDIT_VERIFY, Paused, ops, store};
use tenure::platform::clock::SystemClock;

use crate::support::eventually;
use crate::support::log_site::{Site, text};

/// Has the job run, and waits until it has found something after `before`.
async fn verified(site: &Site, before: &Value) -> Value {
    let (status, _) = site.ask("POST", "/api/schedules/audit-verify/run").await;
    assert_eq!(status, 202);
    eventually("the job verifies", Duration::from_secs(20), || async {
        let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
        let last = state["lastVerification"].clone();
        (!last.is_null() && last["at"] != before["at"]).then_some(last)
    })
    .await
}

async fn audit_check(site: &Site, status: &str) -> Value {
    eventually("the health check follows", Duration::from_secs(5), || async {
        let (_, health) = site.server.get("/api/health").await;
        let check = health["checks"]["audit"].clone();
        (check["status"] == status).then_some(check)
    })
    .await
}

async fn alarms(site: &Site) -> usize {
    let (_, list) = site.ask("GET", "/api/notifications").await;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter(|one| one["kind"] == "audit").count()
}

#[tokio::test]
async fn the_job_verifies_stops_signing_over_a_fault_tells_once_and_goes_on_when_it_is_mended() {
    let site = Site::start().await;
    site.kept().await;
    let last = verified(&site, &Value::Null).await;
    assert_eq!((&last["outcome"], &last["fault"], &last["silent"]), (&json!("sound"), &Value::Null, &json!([])), "{last}");
    assert!(last["checkpointsChecked"].as_u64() >= Some(2), "the one in the database and the one in the folder: {last}");
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    assert!(state["nextVerificationAt"].is_string(), "{state}");

    // Somebody who can write the file changes what is kept of an object.
    let db = site.database();
    let before: Vec<u8> = db.query_row("SELECT state FROM audit_state WHERE seq = 3 AND part = 'new'", [], |r| r.get(0)).expect("a state");
    db.execute_batch("DROP TRIGGER audit_state_only_erased; UPDATE audit_state SET state = x'7b7d' WHERE seq = 3 AND part = 'new'")
        .expect("tampers");
    let last = verified(&site, &last).await;
    assert_eq!((&last["outcome"], &last["fault"]["seq"], &last["fault"]["kind"]), (&json!("tampered"), &json!(3), &json!("state")), "{last}");
    let check = audit_check(&site, "down").await;
    let detail = check["detail"].as_str().expect("what and where");
    assert!(detail.contains("entry 3") && detail.contains("state"), "{detail}");
    let (status, refused) = site.ask("POST", "/api/audit/checkpoints").await;
    assert_eq!(status, 409, "{refused}");
    assert!(refused["detail"].as_str().expect("why").contains("tampered with at entry 3"), "{refused}");
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    assert_eq!(state["refused"]["kind"], "tampered", "{state}");
    let figures = site.figures().await;
    assert!(figures.contains("tenure_audit_fault 1") && figures.contains("outcome=\"tampered\"} 1"), "{figures}");
    eventually("administrators are told", Duration::from_secs(10), || async { (alarms(&site).await == 1).then_some(()) }).await;

    // Found again it is no news.
    let last = verified(&site, &last).await;
    assert_eq!(last["outcome"], "tampered");
    assert_eq!(alarms(&site).await, 1, "they are told once");

    // What was changed is put back from a copy: the next reading says so, and signing goes on.
    db.execute("UPDATE audit_state SET state = ?1 WHERE seq = 3 AND part = 'new'", [&before]).expect("mends");
    let last = verified(&site, &last).await;
    assert_eq!((&last["outcome"], &last["fault"]), (&json!("sound"), &Value::Null), "{last}");
    audit_check(&site, "ok").await;
    site.kept().await;
    assert_eq!(site.ask("GET", "/api/audit/checkpoints/state").await.1["refused"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_read_is_neither_sound_nor_tampered() {
    let site = Site::start().await;
    site.kept().await;
    // A column that cannot be read at all: no verdict follows from it.
    site.database().execute_batch("ALTER TABLE audit_node RENAME COLUMN hash TO hush").expect("breaks it");
    let (status, _) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!(status, 500);
    let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
    let last = &state["lastVerification"];
    assert_eq!((&last["outcome"], &last["fault"]), (&json!("unknown"), &Value::Null), "{state}");
    let check = audit_check(&site, "warning").await;
    assert!(check["detail"].as_str().expect("why").contains("nobody can tell"), "{check}");
    assert_eq!(alarms(&site).await, 0, "it is no alarm");
}

#[tokio::test]
async fn a_fault_that_a_silent_place_knows_of_stands_until_the_place_answers() {
    let site = Site::start().await;
    let made = site.kept().await;
    // A checkpoint of more entries than there are, in the name of the log and by its key: of what was cut off.
    let (size, folder) = (made["size"].as_u64().expect("a size"), site.folder());
    let note = site.sign(size + 100, [7; 32]);
    std::fs::write(folder.join("00000000000000009999-x.note"), note).expect("writes");
    let (_, told) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!((&told["outcome"], &told["fault"]["kind"]), (&json!("tampered"), &json!("short")), "{told}");
    // The folder is out of reach: what it had to say is not settled by that.
    let aside = site.data.join("aside");
    std::fs::rename(&folder, &aside).expect("moves");
    std::fs::write(&folder, "not a folder").expect("blocks");
    let (_, told) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!((&told["outcome"], &told["silent"]), (&json!("sound"), &json!(["file"])), "{told}");
    assert_eq!(site.ask("POST", "/api/audit/checkpoints").await.0, 409);
    // It is there again, without the checkpoint: that was somebody's mistake.
    std::fs::remove_file(&folder).expect("clears");
    std::fs::rename(&aside, &folder).expect("moves back");
    std::fs::remove_file(folder.join("00000000000000009999-x.note")).expect("removes");
    let (_, told) = site.ask("POST", "/api/audit/verify").await;
    assert_eq!((&told["outcome"], &told["silent"]), (&json!("sound"), &json!([])), "{told}");
    site.kept().await;
}

/// A reading that was cut goes on where it was; it is not believed when the log is another, or after a day.
#[tokio::test]
async fn a_reading_that_was_stopped_goes_on_where_it_was_and_misses_nothing() {
    let (_dir, log) = crate::audit_tamper::a_log(300).await;
    log.write(|tx| {
        let expected = crate::audit_tamper::kept(tx, &[8, 100, 250]);
        let mut walk = Walk::new(expected.clone());
        for _ in 0..3 {
            assert!(walk.page(tx, 50).expect("reads"));
        }
        let paused = Paused { position: walk.position().expect("no fault"), begun_at: tx.now(), duration: Duration::from_millis(7) };
        ops::pause(tx, &paused)?;
        let found = store::find_paused(tx)?.expect("it is noted");
        assert_eq!(found, paused);
        let mut again = Walk::resume(tx, found.position.clone(), expected.clone())?.expect("it goes on");
        assert_eq!(again.verdict().rows, 150);
        while again.page(tx, 50)? {}
        while walk.page(tx, 50)? {}
        assert_eq!(again.verdict(), walk.verdict(), "as if it had not been stopped");
        assert_eq!(again.verdict().checkpoints_checked, 3);

        // A checkpoint of what lies behind it that says otherwise, and a row that is another: both begin anew.
        let mut other = expected.clone();
        other[0].checkpoint.root = [9; 32];
        assert!(Walk::resume(tx, found.position.clone(), other)?.is_none());
        tx.execute("UPDATE audit_log SET leaf_hash = zeroblob(32) WHERE seq = 150", tenure::params![])?;
        assert!(Walk::resume(tx, found.position.clone(), expected)?.is_none());
        Ok(())
    })
    .await
    .expect("reads");
    let now = SystemClock.now();
    let begun = |hours: u64| Paused {
        position: Walk::default().position().expect("no fault"),
        begun_at: now.minus(Duration::from_secs(hours * 3600)),
        duration: Duration::ZERO,
    };
    assert!(begun(25).is_stale(now) && !begun(23).is_stale(now) && begun(0).is_stale(now.minus(Duration::from_secs(1))));
    assert_eq!(Fault::stored(1, "link", String::new()).kind, "link");
}

/// Killed in the middle, the job is taken up and finds what is there.
#[tokio::test]
async fn the_job_outlives_a_crash() {
    let site = Site::start().await;
    site.kept().await;
    let (status, _) = site.ask("POST", "/api/schedules/audit-verify/run").await;
    assert_eq!(status, 202);
    let site = site.crash().await;
    eventually("it is verified all the same", Duration::from_secs(40), || async {
        let (_, state) = site.ask("GET", "/api/audit/checkpoints/state").await;
        (state["lastVerification"]["outcome"] == "sound").then_some(())
    })
    .await;
    let (_, jobs) = site.ask("GET", &format!("/api/jobs?name={AUDIT_VERIFY}&state=failed")).await;
    assert_eq!(jobs["items"], json!([]), "{jobs}");
    let (code, verdict) = site.verify(&["--checkpoints", text(&site.folder())]);
    assert_eq!(code, 0, "{verdict}");
}
