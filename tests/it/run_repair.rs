//! Runs that went wrong: what is told of them, and how they are mended by hand.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};
use tenure::params;

use crate::support::eventually;
use crate::support::office::{Office, Who, id_of};

/// Grants the role that a variable names; then somebody decides.
fn granting() -> Value {
    json!({
        "name": "Granting",
        "variables": [{ "name": "role", "type": "string", "required": true },
                      { "name": "password", "type": "string", "default": "hunter2-hunter2" },
                      { "name": "days", "type": "number", "default": 7 }],
        "steps": [
            { "id": "note", "name": "Note", "type": "set", "config": { "values": { "days": 8 } },
              "transitions": [{ "on": "success", "to": "grant" }] },
            { "id": "grant", "name": "Grant", "type": "role_grant", "transitions": [{ "on": "success", "to": "nap" }],
              "config": { "role": "{{ vars.role }}", "durationDays": "{{ vars.days }}", "reason": "with {{ vars.password }}" } },
            { "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 864000 } },
        ],
    })
}

async fn started(office: &Office, admin: &Who, definition: Value, input: Value) -> String {
    let workflow = office.workflow(admin, definition).await;
    let (ada, _) = office.sign_in(ADA).await;
    let path = format!("/api/workflows/{workflow}/start");
    id_of(&office.does(&ada, "POST", &path, json!({ "input": input })).await)
}

/// What the diagnosis says of one action.
fn action<'a>(diagnosis: &'a Value, name: &str) -> &'a Value {
    let all = diagnosis["actions"].as_array().expect("actions");
    all.iter().find(|a| a["action"] == name).unwrap_or_else(|| panic!("{name} in {diagnosis}"))
}

async fn audited(office: &Office, name: &'static str) -> u32 {
    office.read(move |tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = ?1", params![name])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_run_says_why_is_corrected_and_goes_on_where_it_failed() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, _) = office.sign_in(ADA).await;
    office.role(&admin, "reader").await;
    let run = started(&office, &admin, granting(), json!({ "role": "raeder" })).await;
    let diagnose = format!("/api/runs/{run}/diagnose");
    let told = office.does(&admin, "GET", &diagnose, Value::Null).await;
    assert_eq!(told["status"], "failed");
    let failed = &told["failed"][0];
    assert_eq!((&failed["stepId"], &failed["code"], &failed["attempts"]), (&json!("grant"), &json!("refused"), &json!(1)));
    assert!(failed["message"].as_str().expect("a message").contains("raeder"), "{failed}");
    assert_eq!(failed["input"], json!({ "role": "raeder", "person": "subject", "durationDays": 8, "documents": [], "reason": "with •••" }));
    assert_eq!(told["before"][0]["stepId"], "note");
    for (name, allowed) in [("retry", true), ("skip_step", true), ("change_variables", true), ("start_again", true),
                            ("cancel", false), ("cancel_and_undo", false)] {
        let found = action(&told, name);
        assert_eq!(found["allowed"], allowed, "{found}");
        assert_eq!(found["whyNot"].is_null(), allowed, "{found}");
        assert_eq!(found["needsSecondPerson"], false, "{found}");
    }
    assert_eq!(action(&told, "skip_step")["steps"][0]["outcomes"], json!(["success"]));
    // The requestor learns what went wrong, and neither what the step was given nor more than they may do.
    let hers = office.does(&ada, "GET", &diagnose, Value::Null).await;
    assert_eq!((&hers["failed"][0]["input"], &action(&hers, "retry")["allowed"]), (&Value::Null, &json!(false)));
    assert_eq!(action(&hers, "start_again")["allowed"], true);

    let variables = format!("/api/runs/{run}/variables");
    let bad = json!({ "values": { "days": "many", "colour": 1, "role": null }, "reason": "x" });
    let (status, faults) = office.ask(&admin, "PUT", &variables, bad).await;
    assert_eq!(status, 422);
    let fields: Vec<&str> = faults["errors"].as_array().expect("faults").iter().map(|e| e["field"].as_str().expect("a field")).collect();
    assert_eq!(fields, ["values.colour", "values.days", "values.role"]);
    let good = json!({ "values": { "role": "reader" }, "reason": "a slip of the pen" });
    assert_eq!(office.does(&admin, "PUT", &variables, good).await["status"], "failed", "correcting is not going on");
    let retry = format!("/api/runs/{run}/retry");
    assert_eq!(office.ask(&ada, "POST", &retry, Value::Null).await.0, 403);
    let again = office.does(&admin, "POST", &retry, Value::Null).await;
    assert!(again["reason"].is_null() && again["endedAt"].is_null(), "{again}");
    office.run_that_is(&admin, &run, "waiting").await;
    assert_eq!(office.ask(&admin, "POST", &retry, Value::Null).await.0, 409, "it did not fail again");
    // It waits for the access first, and then for its time.
    let told = eventually("the run is at its nap", Duration::from_secs(20), || async {
        let told = office.does(&admin, "GET", &diagnose, Value::Null).await;
        Some(told).filter(|t| t["waits"][0]["stepId"] == "nap")
    })
    .await;
    assert_eq!(told["failed"], json!([]));
    assert!(told["waits"][0]["until"].is_string() && told["waits"][0]["since"].is_string());
    for name in ["run.retried", "run.variables_changed"] {
        assert_eq!(audited(&office, name).await, 1, "{name}");
    }
    // Undoing takes the role back; what was undone is not taken up again.
    let path = format!("/api/runs/{run}/cancel");
    office.does(&admin, "POST", &path, json!({ "reason": "Not needed.", "undo": true })).await;
    let over = office.run_that_is(&admin, &run, "cancelled").await;
    assert_eq!(over["reason"], "Not needed. What had succeeded was undone.");
    let held = office.does(&ada, "GET", "/api/assignments", Value::Null).await;
    assert!(["revoking", "revoked"].contains(&held["items"][0]["state"].as_str().expect("a state")), "{held}");
    assert_eq!(office.ask(&admin, "POST", &retry, Value::Null).await.0, 409);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_passed_over_by_one_of_its_outcomes_with_a_reason() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let run = started(&office, &admin, granting(), json!({ "role": "none" })).await;
    let skip = format!("/api/runs/{run}/skip-step");
    for (body, expected) in [
        (json!({ "stepId": "grant", "reason": " " }), 422),
        (json!({ "stepId": "grant", "outcome": "error", "reason": "x" }), 422),
        (json!({ "stepId": "note", "reason": "x" }), 409),
        (json!({ "visit": 99, "reason": "x" }), 409),
    ] {
        let (status, answer) = office.ask(&admin, "POST", &skip, body).await;
        assert_eq!(status, expected, "{answer}");
    }
    office.does(&admin, "POST", &skip, json!({ "stepId": "grant", "reason": "granted by hand" })).await;
    office.run_that_is(&admin, &run, "waiting").await;
    // A step that waits is passed over, and shown as that.
    office.does(&admin, "POST", &skip, json!({ "reason": "no need to sleep" })).await;
    office.run_that_is(&admin, &run, "completed").await;
    let steps = office.does(&admin, "GET", &format!("/api/runs/{run}/steps"), Value::Null).await;
    let shown: Vec<(&str, &str)> = steps["items"].as_array().expect("steps").iter()
        .map(|s| (s["stepId"].as_str().expect("a step"), s["status"].as_str().expect("a status"))).collect();
    assert_eq!(shown.last(), Some(&("nap", "skipped")), "{shown:?}");
    assert_eq!(audited(&office, "run.step_skipped").await, 2);
    assert_eq!(office.ask(&admin, "POST", &skip, json!({ "reason": "more" })).await.0, 409, "it is over");
    office.running.stop().await;
}

/// Approvals of a run that is taken up open anew; the one before is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_open_anew_when_a_run_is_taken_up() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (rosa, rosa_id) = office.sign_in(ROSA).await;
    let definition = json!({ "name": "Two branches", "steps": [
        { "id": "fork", "name": "Fork", "type": "parallel", "config": { "branches": ["review", "grant"] } },
        { "id": "review", "name": "Review", "type": "approval",
          "config": { "title": "Please", "approvers": [{ "group": "genome-reviewers" }] } },
        { "id": "grant", "name": "Grant", "type": "role_grant", "config": { "role": "later", "reason": "x" } },
    ] });
    let run = started(&office, &admin, definition, json!({})).await;
    office.run_that_is(&admin, &run, "failed").await;
    office.role(&admin, "later").await;
    office.does(&admin, "POST", &format!("/api/runs/{run}/retry"), json!({ "reason": "the role is there now" })).await;
    office.run_that_is(&admin, &run, "waiting").await;
    let told = office.does(&admin, "GET", &format!("/api/runs/{run}/diagnose"), Value::Null).await;
    let waits = told["waits"].as_array().expect("waits");
    let review = waits.iter().find(|w| w["stepId"] == "review").expect("the approval");
    assert_eq!((&review["kind"], &review["people"][0]["id"]), (&json!("approval"), &json!(rosa_id)));
    let all = office.does(&rosa, "GET", "/api/approvals?state=all", Value::Null).await;
    let states: Vec<&str> = all["items"].as_array().expect("approvals").iter().map(|a| a["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["pending", "cancelled"]);
    let id = review["refId"].as_str().expect("an id");
    office.does(&rosa, "POST", &format!("/api/approvals/{id}/decide"), json!({ "decision": "approve" })).await;
    office.run_that_is(&admin, &run, "completed").await;
    office.running.stop().await;
}

/// The new run has what the first was given, and nobody has become a requestor who was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_starts_again_on_the_newest_version_in_the_name_of_who_asked() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (mona, _) = office.sign_in(MONA).await;
    let (rosa, _) = office.sign_in(ROSA).await;
    let (_, ada_id) = office.sign_in(ADA).await;
    let run = started(&office, &admin, granting(), json!({ "role": "none", "days": 3 })).await;
    let before = office.does(&admin, "GET", &format!("/api/runs/{run}"), Value::Null).await;
    let version = format!("/api/workflows/{}/create-version", before["workflowId"].as_str().expect("an id"));
    let draft = id_of(&office.does(&admin, "POST", &version, Value::Null).await);
    let mut newer = granting();
    newer["variables"] = json!([{ "name": "role", "type": "string", "required": true }, { "name": "days", "type": "number" }]);
    newer["steps"] = json!([{ "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 864000 } }]);
    office.does(&admin, "PUT", &format!("/api/workflows/{draft}"), json!({ "definition": newer })).await;
    office.does(&admin, "POST", &format!("/api/workflows/{draft}/publish"), json!({})).await;
    let again = format!("/api/runs/{run}/start-again");
    let why = json!({ "reason": "the new version can do it" });
    assert_eq!(office.ask(&rosa, "POST", &again, why.clone()).await.0, 404, "it is not hers");
    let next = office.does(&mona, "POST", &again, why.clone()).await;
    assert_eq!((&next["workflowVersion"], &next["startedBy"]["id"], &next["subject"]["id"]), (&json!(2), &json!(ada_id), &json!(ada_id)));
    // What it was given at first: the first step had changed the days since.
    assert_eq!(next["variables"], json!({ "role": "none", "days": 3 }));
    for path in [again, format!("/api/runs/{run}/retry")] {
        let (status, answer) = office.ask(&mona, "POST", &path, why.clone()).await;
        assert_eq!(status, 409, "{answer}");
        assert!(answer["detail"].as_str().expect("words").contains(&id_of(&next)), "{answer}");
    }
    office.running.stop().await;
}

/// What was compensated is not taken up again, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_compensated_is_started_again_and_not_taken_up() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    office.role(&admin, "reader").await;
    let mut definition = granting();
    definition["onError"] = json!("compensate");
    definition["steps"][2] = json!({ "id": "nap", "name": "Second", "type": "role_grant", "config": { "role": "no such role", "reason": "x" } });
    let run = started(&office, &admin, definition, json!({ "role": "reader" })).await;
    office.run_that_is(&admin, &run, "failed").await;
    let (status, answer) = office.ask(&admin, "POST", &format!("/api/runs/{run}/retry"), Value::Null).await;
    assert_eq!(status, 409);
    assert!(answer["detail"].as_str().expect("words").contains("undone"), "{answer}");
    let told = office.does(&admin, "GET", &format!("/api/runs/{run}/diagnose"), Value::Null).await;
    assert_eq!(told["failed"][0]["stepId"], "nap", "{told}");
    assert_eq!(action(&told, "retry")["allowed"], false);
    assert_eq!(action(&told, "start_again")["allowed"], true);
    office.running.stop().await;
}
