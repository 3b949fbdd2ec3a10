//! Reminders on the real server: the days are set over HTTP, and the mail says what ends and where to look.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN};
use tenure::base::clock::Clock as _;
use tenure::base::time::Timestamp;
use tenure::features::access::reminders::in_zone;
use tenure::params;

use crate::support::stage::Stage;
use crate::support::{eventually, http};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_reaches_whoever_holds_a_role_and_the_days_are_refused_or_kept() {
    let stage = Stage::start().await;
    let admin = stage.sign_in(ADMIN).await;
    let path = "/api/settings/security";
    let days = admin.get(path).await.expect("settings")["expiryReminderDays"].clone();
    assert_eq!((&days["value"], &days["source"]), (&json!([30, 7, 1]), &json!("default")));
    let made = admin.post("/api/auth/tokens", json!({ "name": "for the test" })).await.expect("a token");
    let token = made["token"].as_str().expect("a token").to_owned();
    let put = |days: Value| {
        let address = format!("{}{path}", stage.running.base);
        http().put(address).bearer_auth(&token).json(&json!({ "expiryReminderDays": days })).send()
    };
    for bad in [json!([0]), json!([7, 7]), json!([366]), json!([1, 2, 3, 4, 5, 6])] {
        let refused = put(bad).await.expect("an answer");
        assert_eq!(refused.status(), 422);
        let refused = refused.text().await.expect("a text");
        assert!(refused.contains("at most 5 different whole days"), "{refused}");
    }
    let kept: Value = put(json!([2, 14])).await.expect("an answer").json().await.expect("JSON");
    assert_eq!(kept["expiryReminderDays"]["value"], json!([14, 2]));

    let ada = stage.person(ADA).await;
    let roles = admin.list("/api/roles?limit=200").await.expect("a list");
    let role = roles.iter().find(|r| r["name"] == "Contractor").expect("the role");
    let end = stage.clock.now().plus(DAY * 20);
    let new = json!({ "personId": ada["id"], "roleId": role["id"], "reason": "for a while", "expiresAt": end });
    admin.post("/api/assignments", new).await.expect("granted");
    // A check sets the reminder by the days that were kept; then its instant comes, and the next check.
    stage.pass(Duration::from_secs(3600));
    eventually("the reminder is set by the new days", Duration::from_secs(30), || async {
        let sql = "SELECT remind_at FROM assignment";
        let set: Option<Timestamp> = stage.running.app.store.read(move |tx| tx.scalar(sql, params![])).await.ok()?;
        (set == Some(end.minus(DAY * 14))).then_some(())
    })
    .await;
    stage.pass(DAY * 6);
    let when = in_zone(end, &jiff::tz::TimeZone::UTC);
    let subject = format!("Contractor ends on {when}");
    stage.told_of(ADA, &subject, 1).await;
    let told = stage.sign_in(ADA).await.list("/api/notifications?limit=200").await.expect("a list");
    let told = told.iter().find(|n| n["subject"] == subject.as_str()).expect("the reminder");
    assert_eq!(told["link"], "/access");
    assert!(told["body"].as_str().is_some_and(|b| b.contains(&format!("- Contractor: {when}"))), "{told}");
}
