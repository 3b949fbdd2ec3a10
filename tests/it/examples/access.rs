//! Requests for access: quorum, escalation, documents.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::client::Client;
use tenure::app::demo::story::{ADA, ADMIN, ROSA};

use crate::support::eventually;
use crate::support::stage::{BO, LIA, Stage};

const DAY: Duration = Duration::from_secs(86_400);
const PROJECT: &str = "Rare variants";
const TITLE: &str = "Ada Marchetti asks for the research workspace";

async fn request(stage: &Stage) -> String {
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    stage.begin(&ada, &workflow, json!({ "project": PROJECT })).await
}

/// What somebody is answered who decides the approval of a run.
async fn try_to_decide(stage: &Stage, email: &str, run: &str, decision: &str) -> Result<Value, String> {
    let waiting = stage.waits_for(run, "approval").await;
    let id = waiting["waitingFor"][0]["refId"].as_str().expect("an approval").to_owned();
    let body = json!({ "decision": decision, "reason": "Looked at it." });
    let answer = stage.sign_in(email).await.post(&format!("/api/approvals/{id}/decide"), body).await;
    answer.map_err(|problem| problem.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_owners_agree_and_the_role_comes_for_a_time() {
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let without = ada.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await;
    assert!(without.expect_err("no project").to_string().contains("input.project"));
    let run = stage.begin(&ada, &workflow, json!({ "project": PROJECT, "days": 30 })).await;
    for owner in [ROSA, BO, LIA] {
        stage.told_of(owner, &format!("Please decide: {TITLE}"), 1).await;
    }
    let own = try_to_decide(&stage, ADA, &run, "approve").await.expect_err("her own request");
    assert!(own.contains("403"), "{own}");
    let first = stage.decide(ROSA, &run, "approve").await;
    assert_eq!(first["state"], "pending", "one of two: {first}");
    let twice = try_to_decide(&stage, ROSA, &run, "approve").await.expect_err("once each");
    assert!(twice.contains("409") || twice.contains("403"), "{twice}");
    assert_eq!(stage.holders("Research Workspace").await, Vec::<Value>::new());
    assert_eq!(stage.decide(LIA, &run, "approve").await["state"], "approved");
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let held = stage.held_by("Research Workspace", 1).await;
    assert!(held[0]["expiresAt"].as_str().is_some_and(|at| at.starts_with("2031-03-31T12:0")), "{held:?}");
    assert_eq!(held[0]["reason"], format!("Approved for {PROJECT}").as_str());
    let member = json!({ "account": "ada", "group": "workspace" });
    assert_eq!(stage.directory("has_member", member.clone()).await["output"]["present"], true);
    stage.told_of(ADA, "You have access to the research workspace", 1).await;
    stage.told_of(BO, &format!("Decided: {TITLE}"), 1).await;
    // And it ends.
    stage.pass(30 * DAY);
    stage.held_by("Research Workspace", 0).await;
    eventually("the system gave it back", Duration::from_secs(20), || async {
        (stage.directory("has_member", member.clone()).await["output"]["present"] == false).then_some(())
    })
    .await;
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_reject_and_nothing_is_granted() {
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "project": PROJECT })).await;
    stage.decide(BO, &run, "approve").await;
    assert_eq!(stage.decide(ROSA, &run, "reject").await["state"], "pending", "two could still agree");
    assert_eq!(stage.decide(LIA, &run, "reject").await["state"], "rejected");
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "a rejection is no failure: {ended}");
    assert_eq!(stage.path(&run).await, ["review rejected", "tell-rejected success", "rejected"]);
    assert_eq!(stage.holders("Research Workspace").await, Vec::<Value>::new());
    stage.told_of(ADA, "Your request was rejected", 1).await;
    stage.running.stop().await;
}

/// Each rung at its minute: reminders after a day and two, others after three, the end after five.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_are_reminded_then_administrators_decide_then_it_is_rejected() {
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let half = stage.begin(&ada, &workflow, json!({ "project": PROJECT })).await;
    stage.decide(ROSA, &half, "approve").await;
    let subject = format!("Reminder, please decide: {TITLE}");
    for day in 1..=2 {
        stage.pass(DAY);
        stage.told_of(BO, &subject, day).await;
    }
    stage.told_of(ROSA, &subject, 0).await;
    stage.told_of(ADMIN, &format!("Please decide: {TITLE}"), 0).await;
    stage.pass(DAY);
    stage.told_of(ADMIN, &format!("Please decide: {TITLE}"), 1).await;
    stage.told_of(ADA, &format!("Overdue: {TITLE}"), 1).await;
    let late = try_to_decide(&stage, BO, &half, "approve").await.expect_err("it is not Bo's any more");
    assert!(late.contains("403") || late.contains("409"), "{late}");
    assert_eq!(stage.decide(ADMIN, &half, "approve").await["state"], "approved");
    assert_eq!(stage.ended(&half).await["status"], "completed");
    stage.held_by("Research Workspace", 1).await;

    // Nobody decides: the only administrator is too few for two votes, so the owners keep it beside her.
    let silent = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "project": PROJECT })).await;
    stage.pass(3 * DAY);
    stage.told_of(ADMIN, &format!("Please decide: {TITLE}"), 2).await;
    stage.waits_for(&silent, "approval").await;
    stage.pass(2 * DAY);
    let ended = stage.ended(&silent).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(stage.path(&silent).await, ["review rejected", "tell-rejected success", "rejected"]);
    stage.told_of(ADA, "Your request was rejected", 1).await;
    stage.held_by("Research Workspace", 1).await;
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_cannot_be_decided_or_carried_out_is_told_to_administrators() {
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    // Rosa asks for Bo: of the three owners one is left, and two have to agree.
    let bo = stage.person("bo").await["id"].as_str().expect("an id").to_owned();
    let rosa = stage.sign_in(ROSA).await;
    let run = stage.begin_about(&rosa, &workflow, &bo, json!({ "project": PROJECT })).await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["reason"], "The access could not be decided or set up.");
    assert_eq!(stage.path(&run).await, ["review error", "tell-admins success", "failed"]);
    stage.told_of(ADMIN, "A request could not be carried out", 1).await;

    let run = request(&stage).await;
    stage.retire("Research Workspace").await;
    stage.decide(ROSA, &run, "approve").await;
    stage.decide(BO, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "failed");
    assert_eq!(stage.path(&run).await, ["review approved", "grant error", "tell-admins success", "failed"]);
    stage.told_of(ADMIN, "A request could not be carried out", 2).await;
    stage.running.stop().await;
}

/// Hands a document in and has it approved.
async fn hand_in(stage: &Stage, ada: &Client, kind: &str, days: u32) {
    use tenure::base::clock::Clock as _;
    let now = stage.clock.now();
    let body = json!({ "type": kind, "personId": ada.person, "validFrom": now, "expiresAt": now.plus(days * DAY) });
    let document = ada.post("/api/documents", body).await.expect("is handed in");
    let path = format!("/api/documents/{}/approve", document["id"].as_str().expect("an id"));
    stage.mona().await.post(&path, json!({ "reason": "It is signed." })).await.expect("is approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_on_two_documents_ends_with_the_first_of_them() {
    let stage = Stage::start().await;
    let workflow = stage.publish("genome-access.json").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "project": PROJECT })).await;
    let waiting = stage.waits_for(&run, "document").await;
    assert_eq!(waiting["waitingFor"].as_array().map(Vec::len), Some(1), "one after the other: {waiting}");
    hand_in(&stage, &ada, "data-use-agreement", 90).await;
    stage.waits_for(&run, "document").await;
    hand_in(&stage, &ada, "training-certificate", 730).await;
    stage.decide(ROSA, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    stage.told_of(ADA, "You have access to the genome data", 1).await;
    stage.held_by("Genome Access Participant", 1).await;
    assert!(stage.badges.present("/contractors/ada"));
    // Granted for a year; the agreement ends before.
    stage.pass(90 * DAY);
    stage.held_by("Genome Access Participant", 0).await;
    eventually("the system took it back", Duration::from_secs(20), || async {
        (!stage.badges.present("/contractors/ada")).then_some(())
    })
    .await;
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_and_a_system_that_refuses_are_told() {
    let stage = Stage::start().await;
    let workflow = stage.publish("genome-access.json").await;
    let ada = stage.sign_in(ADA).await;
    hand_in(&stage, &ada, "data-use-agreement", 365).await;
    hand_in(&stage, &ada, "training-certificate", 365).await;
    let run = stage.begin(&ada, &workflow, json!({ "project": PROJECT })).await;
    stage.decide(ROSA, &run, "reject").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    stage.told_of(ADA, "Your request was rejected", 1).await;
    assert_eq!(stage.badges.changes(), Vec::<String>::new());

    stage.badges.refuse("PUT ", 422);
    let run = stage.begin(&ada, &workflow, json!({ "project": PROJECT })).await;
    stage.decide(ROSA, &run, "approve").await;
    // Four attempts, 5, 10 and 20 s apart. That the system was asked is known before the job waits for the next time.
    let admin = stage.sign_in(ADMIN).await;
    for attempts in 1..=3 {
        let waits = || async {
            let jobs = admin.list("/api/jobs?state=delayed").await.ok()?;
            jobs.iter().any(|j| j["attemptsMade"] == json!(attempts)).then_some(())
        };
        eventually(&format!("the job waits after attempt {attempts}"), Duration::from_secs(20), waits).await;
        assert_eq!(stage.badges.changes().len(), attempts);
        stage.pass(Duration::from_secs(21));
    }
    let ended = stage.ended(&run).await;
    assert_eq!(ended["reason"], "A connected system did not take the access.");
    assert_eq!(stage.badges.changes().len(), 4);
    stage.told_of(ADMIN, "Access could not be set up", 1).await;
    stage.held_by("Genome Access Participant", 0).await;
    stage.running.stop().await;
}
