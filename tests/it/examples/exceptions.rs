//! Emergencies: access before anybody agrees, and what follows it.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};

use crate::support::eventually;
use crate::support::stage::{BO, Stage};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const ROLE: &str = "Emergency Operator";
const WHY: &str = "The freezer is warm and nobody answers.";
const TITLE: &str = "Was the emergency access of Ada Marchetti right?";

/// What a start is refused with.
async fn refused(stage: &Stage, workflow: &str, input: Value) -> String {
    let ada = stage.sign_in(ADA).await;
    let answer = ada.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": input })).await;
    answer.expect_err("a reason is needed").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_access_has_a_reason_ends_after_eight_hours_and_is_reviewed() {
    let stage = Stage::start().await;
    let workflow = stage.publish("break-glass.yaml").await;
    for input in [json!({}), json!({ "why": "" }), json!({ "why": "Help!" }), json!({ "why": "  Help!                      " })] {
        let why = refused(&stage, &workflow, input.clone()).await;
        assert!(why.contains("422") && why.contains("input.why"), "{input}: {why}");
    }
    assert_eq!(stage.holders(ROLE).await, Vec::<Value>::new());

    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "why": WHY })).await;
    // At once: within the start itself, not by a job.
    for owner in [ROSA, BO] {
        assert!(stage.told(owner).await.contains(&"Ada Marchetti takes emergency access".to_owned()), "{owner}");
    }
    let waiting = stage.waits_for(&run, "timer").await;
    let held = stage.held_by(ROLE, 1).await;
    assert_eq!(held[0]["reason"], format!("Break-glass: {WHY}").as_str());
    let at = |value: &Value| value.as_str().and_then(|t| t.parse::<tenure::base::time::Timestamp>().ok()).expect("an instant");
    let (starts, ends) = (at(&held[0]["startsAt"]), at(&held[0]["expiresAt"]));
    assert_eq!(ends, starts.plus(8 * HOUR), "eight hours and not a day");

    stage.clock.set(ends.minus(Duration::from_secs(60)));
    assert_eq!(stage.waits_for(&run, "timer").await["waitingFor"], waiting["waitingFor"]);
    assert_eq!(stage.holders(ROLE).await.len(), 1);
    stage.clock.set(ends);
    stage.held_by(ROLE, 0).await;

    stage.pass(Duration::from_secs(60));
    let review = stage.waits_for(&run, "approval").await;
    let id = review["waitingFor"][0]["refId"].as_str().expect("an approval").to_owned();
    for who in [ADA, MONA, ADMIN] {
        let body = json!({ "decision": "approve", "reason": "It was right." });
        let answer = stage.sign_in(who).await.post(&format!("/api/approvals/{id}/decide"), body).await;
        let answer = answer.expect_err("neither who it was nor anybody else").to_string();
        assert!(answer.contains("403") || answer.contains("404"), "{who}: {answer}");
    }
    stage.decide(BO, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");

    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "why": WHY })).await;
    stage.waits_for(&run, "timer").await;
    stage.pass(8 * HOUR + Duration::from_secs(60));
    stage.decide(ROSA, &run, "reject").await;
    assert_eq!(stage.ended(&run).await["reason"], "The review found that the emergency access was not right.");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_review_is_reminded_of_every_day_and_comes_to_administrators() {
    let stage = Stage::start().await;
    let workflow = stage.publish("break-glass.yaml").await;
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "why": WHY })).await;
    stage.waits_for(&run, "timer").await;
    stage.pass(8 * HOUR + Duration::from_secs(60));
    stage.waits_for(&run, "approval").await;
    stage.told_of(BO, &format!("Please decide: {TITLE}"), 1).await;
    let reminder = format!("Reminder, please decide: {TITLE}");
    for day in 1..=7 {
        stage.pass(DAY);
        stage.told_of(BO, &reminder, day).await;
    }
    stage.told_of(ADMIN, &format!("Please decide: {TITLE}"), 1).await;
    for day in 8..=14 {
        stage.pass(DAY);
        stage.told_of(ROSA, &reminder, day).await;
    }
    // It does not end by itself, not even after a year.
    stage.pass(365 * DAY);
    stage.waits_for(&run, "approval").await;
    stage.decide(ADMIN, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_access_that_cannot_be_granted_fails() {
    let stage = Stage::start().await;
    let workflow = stage.publish("break-glass.yaml").await;
    stage.retire(ROLE).await;
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "why": WHY })).await;
    assert_eq!(stage.ended(&run).await["reason"], "The role could not be granted.");
    assert_eq!(stage.path(&run).await, ["tell-owners success", "grant error", "not-granted"]);
    stage.running.stop().await;
}

/// The way without a workflow has the same bounds: eight hours to the minute, and a review that is asked for
/// every day once it is a week late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_glass_ends_on_its_instant_and_its_review_is_asked_for_until_it_is_there() {
    let stage = Stage::start().await;
    let mona = stage.mona().await;
    let roles = mona.list("/api/roles?limit=200").await.expect("a list");
    let role = roles.iter().find(|r| r["name"] == ROLE).expect("the role")["id"].clone();
    let broken = mona.post("/api/break-glass", json!({ "roleId": role, "reason": WHY, "hours": 8 })).await.expect("is broken");
    stage.told_of(ADMIN, "Somebody broke the glass: Mona Okafor has Emergency Operator", 1).await;
    let ends: tenure::base::time::Timestamp = broken["endsAt"].as_str().and_then(|t| t.parse().ok()).expect("an instant");
    stage.clock.set(ends.minus(Duration::from_secs(60)));
    assert_eq!(stage.holders(ROLE).await.len(), 1);
    stage.clock.set(ends);
    stage.held_by(ROLE, 0).await;
    let late = "An emergency still waits for a review: Mona Okafor has Emergency Operator";
    stage.pass(6 * DAY);
    stage.told_of(ADMIN, late, 0).await;
    for day in 1..=3 {
        stage.pass(DAY);
        stage.told_of(ADMIN, late, day).await;
    }
    let path = format!("/api/break-glass/{}/review", broken["id"].as_str().expect("an id"));
    let verdict = json!({ "verdict": "justified", "reason": "The freezer was warm." });
    assert!(stage.mona().await.post(&path, verdict.clone()).await.is_err(), "not by oneself");
    let admin = stage.sign_in(ADMIN).await;
    assert_eq!(admin.post(&path, verdict).await.expect("is reviewed")["verdict"], "justified");
    stage.told_of(MONA, "Your emergency access was reviewed: justified", 1).await;
    // The next reminder comes, finds the review, and is the last.
    stage.pass(DAY);
    let admin = stage.sign_in(ADMIN).await;
    eventually("no reminder is left", Duration::from_secs(20), || async {
        let open = admin.list("/api/jobs?name=break-glass-review&limit=200").await.ok()?;
        open.iter().all(|j| j["state"] == "completed").then_some(())
    })
    .await;
    stage.told_of(ADMIN, late, 3).await;
    stage.running.stop().await;
}
