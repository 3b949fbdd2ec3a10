//! People who come, stay longer, go, and are asked for something.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};

use crate::support::eventually;
use crate::support::http;
use crate::support::stage::{BO, LIA, Stage};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn noor() -> Value {
    json!({ "email": "noor@example.org", "name": "Noor", "uid": "noor" })
}

async fn has_account(stage: &Stage, account: &str) -> bool {
    stage.directory("has_account", json!({ "account": account })).await["output"]["present"] == true
}

async fn is_member(stage: &Stage, account: &str) -> bool {
    let member = json!({ "account": account, "group": "workspace" });
    stage.directory("has_member", member).await["output"]["present"] == true
}

/// An event starts it; a lead agrees; account and role come side by side. Another event takes all of it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_joins_and_leaves() {
    let stage = Stage::start().await;
    stage.publish("onboarding.yaml").await;
    stage.publish("offboarding.yaml").await;
    let run = stage.event("hr.person_joined", noor()).await;
    stage.waits_for(&run, "approval").await;
    assert!(!has_account(&stage, "noor").await, "nothing is set up before somebody agrees");
    stage.decide(ROSA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let noor = stage.person("noor").await;
    assert_eq!((&noor["displayName"], &ended["subject"]["id"]), (&json!("Noor"), &noor["id"]));
    assert!(has_account(&stage, "noor").await && is_member(&stage, "noor").await);
    let held = stage.held_by("Research Workspace", 1).await;
    assert!(held[0]["expiresAt"].as_str().is_some_and(|at| at.starts_with("2032-02-29T12:0")), "a year: {held:?}");

    let run = stage.event("hr.person_left", json!({ "email": "noor@example.org" })).await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.path(&run).await, ["role success", "account success", "close success", "tell success", "done"]);
    assert_eq!(stage.person("noor").await["active"], false);
    assert!(!has_account(&stage, "noor").await);
    stage.held_by("Research Workspace", 0).await;
    stage.told_of(ROSA, "Noor has left", 1).await;
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_is_rejected_gets_nothing() {
    let stage = Stage::start().await;
    stage.publish("onboarding.yaml").await;
    let run = stage.event("hr.person_joined", noor()).await;
    stage.decide(ROSA, &run, "reject").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.path(&run).await, ["person success", "review rejected", "tell-rejected success", "rejected"]);
    assert!(!has_account(&stage, "noor").await);
    stage.held_by("Research Workspace", 0).await;
    stage.told_of(ROSA, "Noor was not set up", 1).await;
    stage.running.stop().await;
}

/// The account is tied to somebody else already: what the branches had set up by then goes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_up_is_taken_back_when_an_account_is_somebody_elses() {
    let stage = Stage::start().await;
    let link = stage.publish("steps/identity-link.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let tied = stage.begin(&ada, &link, json!({ "account": "noor" })).await;
    assert_eq!(stage.ended(&tied).await["status"], "completed");
    let again = stage.begin(&stage.mona().await, &link, json!({ "account": "noor" })).await;
    assert_eq!(stage.ended(&again).await["reason"], "The account is tied to somebody else.");

    stage.publish("onboarding.yaml").await;
    let run = stage.event("hr.person_joined", noor()).await;
    stage.decide(ROSA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    let reason = ended["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("Tie the account to the person: ") && reason.ends_with("What had succeeded was undone."), "{reason}");
    assert!(stage.path(&run).await.contains(&"account undone".to_owned()), "{:?}", stage.path(&run).await);
    stage.held_by("Research Workspace", 0).await;
    eventually("the group is left", Duration::from_secs(20), || async {
        (!is_member(&stage, "noor").await).then_some(())
    })
    .await;
    stage.running.stop().await;
}

/// Nobody knows the account of who leaves: the rest is not closed behind the administrators' backs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_away_is_told_to_administrators() {
    let stage = Stage::start().await;
    stage.publish("offboarding.yaml").await;
    let run = stage.event("hr.person_left", json!({ "email": BO })).await;
    assert_eq!(stage.ended(&run).await["reason"], "Not everything could be taken away.");
    assert_eq!(stage.path(&run).await, ["role success", "account error", "tell-admins success", "by-hand"]);
    assert_eq!(stage.person("bo").await["active"], true);
    stage.told_of(ADMIN, "Bo could not be closed", 1).await;
    stage.running.stop().await;
}

/// A second assignment overlaps the first: the system is asked for nothing twice, and takes nothing away
/// before the last of them ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_that_goes_on_extends_the_access_and_doubles_nothing() {
    let stage = Stage::start().await;
    let workflow = stage.publish("contractor-extension.yaml").await;
    let input = |until: &str| json!({ "until": until, "why": "The study goes on" });
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, input("2031-05-01")).await;
    stage.decide(ROSA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!((&ended["status"], &ended["variables"]["days"]), (&json!("completed"), &json!(61)), "{ended}");
    stage.held_by("Contractor", 1).await;
    assert_eq!(stage.badges.changes(), ["PUT /contractors/ada"]);

    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, input("2031-08-31")).await;
    stage.decide(ROSA, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    let mut ends: Vec<String> = stage.held_by("Contractor", 2).await.iter()
        .map(|a| a["expiresAt"].as_str().expect("an end").chars().take(10).collect()).collect();
    ends.sort();
    assert_eq!(ends, ["2031-05-01", "2031-08-31"]);
    let attributes = stage.person("ada").await["attributes"].clone();
    assert_eq!(attributes, json!({ "uid": "ada", "contractEnd": "2031-08-31" }));
    stage.told_of(ADA, "Your contract was extended", 2).await;

    stage.pass(61 * DAY);
    stage.held_by("Contractor", 1).await;
    assert!(stage.badges.present("/contractors/ada"));
    assert_eq!(stage.badges.changes(), ["PUT /contractors/ada"], "given once, and nothing taken away in between");
    stage.pass(122 * DAY);
    stage.held_by("Contractor", 0).await;
    eventually("the badge is gone", Duration::from_secs(20), || async {
        (!stage.badges.present("/contractors/ada")).then_some(())
    })
    .await;
    assert_eq!(stage.badges.changes(), ["PUT /contractors/ada", "DELETE /contractors/ada"]);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_is_not_extended_when_somebody_or_a_rule_says_no() {
    let stage = Stage::start().await;
    let workflow = stage.publish("contractor-extension.yaml").await;
    let ada = stage.sign_in(ADA).await;
    for until in ["2033-01-01", "2031-03-01", "2030-12-31"] {
        let run = stage.begin(&ada, &workflow, json!({ "until": until, "why": "For ever" })).await;
        assert_eq!(stage.ended(&run).await["reason"], "The new end has to lie within the next 366 days.", "{until}");
    }
    let body = json!({ "input": { "until": "soon", "why": "x" } });
    let refused = ada.post(&format!("/api/workflows/{workflow}/start"), body).await.expect_err("no date");
    assert!(refused.to_string().contains("input.until"), "{refused}");

    let input = json!({ "until": "2031-08-31", "why": "The study goes on" });
    let run = stage.begin(&ada, &workflow, input.clone()).await;
    stage.decide(ROSA, &run, "reject").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.path(&run).await, ["count success", "check fits", "review rejected", "rejected"]);

    let run = stage.begin(&ada, &workflow, input).await;
    stage.waits_for(&run, "approval").await;
    stage.retire("Contractor").await;
    stage.decide(ROSA, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["reason"], "The role or the profile could not be changed.");
    assert_eq!(stage.person("ada").await["attributes"], json!({ "uid": "ada" }), "no new end without the role");
    assert_eq!(stage.badges.changes(), Vec::<String>::new());
    stage.running.stop().await;
}

/// Approvals and consents of the small examples, each way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_leads_where_its_outcome_says() {
    let stage = Stage::start().await;
    let ada = stage.sign_in(ADA).await;
    let approval = stage.publish("steps/approval.yaml").await;
    for (decision, path) in [("approve", ["ask approved", "done"]), ("reject", ["ask rejected", "no"])] {
        let run = stage.begin(&ada, &approval, json!({})).await;
        stage.decide(LIA, &run, decision).await;
        assert_eq!(stage.ended(&run).await["status"], "completed");
        assert_eq!(stage.path(&run).await, path);
    }
    let consent = stage.publish("steps/consent.yaml").await;
    for (agree, status, path) in
        [(true, "completed", ["rules agreed", "done"]), (false, "failed", ["rules declined", "no"])]
    {
        let run = stage.begin(&ada, &consent, json!({})).await;
        let task = stage.task(&ada).await;
        assert_eq!(task["description"], "I keep what I see here to myself.");
        let answer = format!("/api/tasks/{}/answer", task["id"].as_str().expect("an id"));
        let body = json!({ "agree": agree, "reason": "I read it" });
        assert!(stage.sign_in(ADMIN).await.post(&answer, body.clone()).await.is_err(), "it is hers alone");
        ada.post(&answer, body).await.expect("answers");
        assert_eq!(stage.ended(&run).await["status"], status);
        assert_eq!(stage.path(&run).await, path);
    }
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_of_a_group_fills_in_a_form() {
    let stage = Stage::start().await;
    let workflow = stage.publish("steps/task.yaml").await;
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({})).await;
    stage.waits_for(&run, "task").await;
    let rosa = stage.sign_in(ROSA).await;
    let task = stage.task(&rosa).await;
    assert_eq!(task["title"], "A desk for Ada Marchetti");
    let complete = format!("/api/tasks/{}/complete", task["id"].as_str().expect("an id"));
    let empty = rosa.post(&complete, json!({ "values": {} })).await.expect_err("a room is required").to_string();
    assert!(empty.contains("values.room"), "{empty}");
    rosa.post(&complete, json!({ "values": { "room": "B-204" } })).await.expect("is done");
    let ended = stage.ended(&run).await;
    assert_eq!((&ended["status"], &ended["variables"]["room"]), (&json!("completed"), &json!("B-204")));
    stage.running.stop().await;
}

/// Everybody who could do it may not sign in any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_nobody_may_do_ends_its_run() {
    let stage = Stage::start().await;
    let workflow = stage.publish("task.json").await;
    let admin = stage.sign_in(ADMIN).await;
    let accounts = admin.list("/api/accounts?limit=200").await.expect("a list");
    for account in accounts.iter().filter(|a| [MONA, ROSA, BO, LIA].iter().any(|email| a["email"] == *email)) {
        let id = account["id"].as_str().expect("an id");
        admin.post(&format!("/api/accounts/{id}/disable"), json!({})).await.expect("is disabled");
    }
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "site": "Lyon" })).await;
    let ended = ada.get(&format!("/api/runs/{run}")).await.expect("a run");
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(stage.path(&run).await, ["prepare error", "nobody"]);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_for_a_document_that_is_approved() {
    let stage = Stage::start().await;
    let workflow = stage.publish("steps/document-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({})).await;
    stage.waits_for(&run, "document").await;
    let hand_in = async || {
        let body = json!({ "type": "training-certificate", "personId": ada.person,
            "validFrom": "2031-01-01T00:00:00Z", "expiresAt": "2032-01-01T00:00:00Z" });
        let document = ada.post("/api/documents", body).await.expect("is handed in");
        format!("/api/documents/{}", document["id"].as_str().expect("an id"))
    };
    let mona = stage.mona().await;
    let document = hand_in().await;
    mona.post(&format!("{document}/reject"), json!({ "reason": "It is somebody else's." })).await.expect("is rejected");
    stage.waits_for(&run, "document").await;
    let document = hand_in().await;
    mona.post(&format!("{document}/approve"), json!({ "reason": "It is hers." })).await.expect("is approved");
    assert_eq!(stage.ended(&run).await["status"], "completed");
    stage.running.stop().await;
}

/// Whoever has a link, without signing in; answers the status and what came.
async fn follow(stage: &Stage, token: &str, values: Option<Value>) -> (u16, Value) {
    let url = format!("{}/api/links/{token}", stage.running.base);
    let request = match values {
        None => http().get(url),
        Some(values) => http().post(format!("{url}/accept")).json(&json!({ "token": token, "values": values })),
    };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_comes_by_a_link_that_looking_does_not_use_up() {
    let stage = Stage::start().await;
    let workflow = stage.publish("steps/invitation.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "email": "gil@elsewhere.example" })).await;
    let token = stage.token_for("gil@elsewhere.example").await;
    // Mail filters follow what they find, and as often as they like.
    for _ in 0..3 {
        let page = http().get(format!("{}/i/{token}", stage.running.base)).send().await.expect("an answer");
        assert_eq!(page.status().as_u16(), 200);
        assert_eq!(follow(&stage, &token, None).await.1["state"], "open");
    }
    assert_eq!(follow(&stage, &token, Some(json!({}))).await.0, 422, "the form is filled in first");
    assert_eq!(follow(&stage, &token, Some(json!({ "institute": "Museum" }))).await.0, 200);
    assert_eq!(follow(&stage, &token, Some(json!({ "institute": "Museum" }))).await.0, 409, "once");
    let ended = stage.ended(&run).await;
    assert_eq!((&ended["status"], &ended["subject"]["displayName"]), (&json!("completed"), &json!("Guest")), "{ended}");

    let run = stage.begin(&ada, &workflow, json!({ "email": "late@elsewhere.example" })).await;
    let token = stage.token_for("late@elsewhere.example").await;
    stage.pass(72 * HOUR);
    assert_eq!(follow(&stage, &token, Some(json!({ "institute": "Museum" }))).await.0, 409);
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.path(&run).await, ["invite expired", "late"]);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_proven_by_its_link_or_counts_as_not_proven() {
    let stage = Stage::start().await;
    let small = stage.publish("steps/verify-contact.yaml").await;
    let run = stage.begin(&stage.sign_in(ADA).await, &small, json!({})).await;
    let token = stage.token_for(ADA).await;
    assert_eq!(follow(&stage, &token, None).await.1["state"], "open");
    assert_eq!(follow(&stage, &token, Some(json!({}))).await.1["state"], "used");
    assert_eq!(stage.ended(&run).await["status"], "completed");

    let run = stage.begin(&stage.sign_in(BO).await, &small, json!({})).await;
    let token = stage.token_for(BO).await;
    stage.pass(24 * HOUR);
    assert_eq!(follow(&stage, &token, None).await.1["state"], "expired");
    assert_eq!(stage.ended(&run).await["reason"], "The link was not followed in time.");

    let yearly = stage.publish("verify-contact.json").await;
    let lia = stage.person("lia").await["id"].as_str().expect("an id").to_owned();
    let run = stage.begin_about(&stage.mona().await, &yearly, &lia, json!({})).await;
    stage.token_for(LIA).await;
    stage.pass(48 * HOUR);
    assert_eq!(stage.ended(&run).await["reason"], "The address was not confirmed.");
    stage.told_of(MONA, "The address of Lia was not confirmed", 1).await;
    stage.running.stop().await;
}
