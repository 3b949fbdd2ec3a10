//! What administrators do with Tenure itself.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::ADMIN;
use tenure::base::clock::Clock as _;
use tenure::params;

use super::house::House;

const DAY: Duration = Duration::from_secs(86_400);

pub async fn evidence(h: &House) {
    let admin = h.sign_in(ADMIN).await;
    h.does(&admin, "POST /api/audit/checkpoints", &[], Value::Null).await;
    h.work().await;
    let verdict = h.does(&admin, "POST /api/audit/verify", &[], Value::Null).await;
    assert_eq!(verdict["fault"], Value::Null, "{verdict}");
    let period = json!({ "from": "2031-03-01", "to": "2031-03-02" });
    h.does(&admin, "POST /api/evidence-packs", &[], period).await;
}

pub async fn jobs(h: &House) {
    let admin = h.sign_in(ADMIN).await;
    // Jobs that failed, and one that waits for another day.
    let later = h.clock.now().plus(DAY);
    h.write(move |tx| {
        for n in 0..5 {
            tx.execute(
                "INSERT INTO job (id, name, payload, state, run_at, attempts_made, failed_reason, created_at, finished_on)
                 VALUES ('job_' || printf('%026d', ?1), 'tell-refusal', '{}', 'failed', 0, 4, 'it broke', 0, 0)",
                params![n],
            )?;
        }
        tx.execute(
            "INSERT INTO job (id, name, payload, state, run_at, created_at)
             VALUES ('job_00000000000000000000000009', 'tell-refusal', '{}', 'held', ?1, 0)",
            params![later],
        )
        .map(drop)
    })
    .await;
    let job = |n: u32| format!("job_{n:026}");
    h.does(&admin, "POST /api/jobs/{id}/retry", &[&job(0)], Value::Null).await;
    h.does(&admin, "POST /api/jobs/{id}/remove", &[&job(1)], Value::Null).await;
    h.does(&admin, "POST /api/jobs/{id}/promote", &[&job(9)], Value::Null).await;
    let filter = json!({ "state": "failed", "name": "tell-refusal" });
    let counted = h.does(&admin, "POST /api/jobs/bulk", &[], json!({ "action": "remove", "filter": filter, "dryRun": true })).await;
    let count = counted["count"].as_u64().or(counted["matched"].as_u64()).unwrap_or(3);
    let bulk = json!({ "action": "remove", "filter": filter, "expectedCount": count });
    h.does(&admin, "POST /api/jobs/bulk", &[], bulk).await;
    h.work().await;
}

pub async fn logs(h: &House) {
    let old = || async {
        let add = h.running.app.logs.write(|tx| {
            tx.execute(
                "INSERT INTO system_log (at, level, target, message, fields) VALUES (0, 'info', 'test', 'old', '{}')",
                params![],
            )
        });
        add.await.expect("writes");
    };
    let admin = h.sign_in(ADMIN).await;
    old().await;
    h.does(&admin, "POST /api/logs/purge", &[], json!({ "olderThanDays": 30 })).await;
    old().await;
    h.pass(DAY).await;
}

/// The worker of the server goes on.
pub async fn end(h: &House) {
    let admin = h.sign_in(ADMIN).await;
    h.does(&admin, "POST /api/queue/resume", &[], Value::Null).await;
}

/// A clock that somebody set.
pub async fn clock(h: &House) {
    h.clock.jump(h.clock.now().plus(40 * DAY));
    h.work().await;
    let admin = h.sign_in(ADMIN).await;
    h.does(&admin, "POST /api/clock/confirm", &[], json!({ "reason": "it is so late" })).await;
    h.work().await;
}
