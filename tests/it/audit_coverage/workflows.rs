//! Workflows, their runs, and what people decide and do in them.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tenure::app::demo::story::{ADA, MONA, ROSA};
use tenure::base::clock::Clock as _;

use super::access::World;
use super::house::{House, Person, id_of};

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A workflow of these steps that is published; its id.
pub async fn published(h: &House, who: &Person, definition: Value) -> String {
    let made = h.does(who, "POST /api/workflows", &[], json!({ "definition": definition })).await;
    let id = id_of(&made);
    h.does(who, "POST /api/workflows/{id}/publish", &[&id], json!({})).await;
    id
}

fn one_step(name: &str, kind: &str, config: Value) -> Value {
    json!({ "name": name, "steps": [{ "id": "a", "name": name, "type": kind, "config": config }] })
}

async fn begun(h: &House, who: &Person, workflow: &str, input: Value) -> String {
    let run = h.does(who, "POST /api/workflows/{id}/start", &[workflow], json!({ "input": input })).await;
    h.work().await;
    id_of(&run)
}

/// A run of one step.
async fn run_of(h: &House, name: &str, kind: &str, config: Value) -> String {
    let [mona, ada] = [h.sign_in(MONA).await, h.sign_in(ADA).await];
    let workflow = published(h, &mona, one_step(name, kind, config)).await;
    begun(h, &ada, &workflow, json!({})).await
}

pub async fn definitions(h: &House) {
    let mona = h.sign_in(MONA).await;
    let definition = one_step("First", "delay", json!({ "seconds": 60 }));
    h.does(&mona, "POST /api/workflows/validate", &[], json!({ "definition": definition })).await;
    let draft = id_of(&h.does(&mona, "POST /api/workflows", &[], json!({ "definition": definition })).await);
    let other = one_step("First", "delay", json!({ "seconds": 90 }));
    h.does(&mona, "PUT /api/workflows/{id}", &[&draft], json!({ "definition": other })).await;
    h.does(&mona, "POST /api/workflows/{id}/publish", &[&draft], json!({})).await;
    let copy = id_of(&h.does(&mona, "POST /api/workflows/{id}/duplicate", &[&draft], Value::Null).await);
    h.does(&mona, "DELETE /api/workflows/{id}", &[&copy], Value::Null).await;
    let next = id_of(&h.does(&mona, "POST /api/workflows/{id}/create-version", &[&draft], Value::Null).await);
    h.does(&mona, "POST /api/workflows/{id}/publish", &[&next], json!({})).await;
    h.does(&mona, "POST /api/workflows/{id}/deprecate", &[&next], Value::Null).await;
    let text = json!({ "name": "From a file", "steps": definition["steps"] });
    h.does(&mona, "POST /api/workflows/import", &[], text.clone()).await;
    let changed = json!({ "name": "From a file", "steps": other["steps"] });
    h.does(&mona, "POST /api/workflows/import", &[], changed).await;
}

/// The one approval that waits for somebody.
async fn approval(h: &House, who: &Person) -> String {
    let found = h.does(who, "GET /api/approvals?mine=true&state=pending", &[], Value::Null).await;
    id_of(&found["items"][0])
}

pub async fn approvals(h: &House) {
    let [admin, mona, rosa, ada, _] = h.cast().await;
    let because = |more: Value| {
        let mut body = json!({ "reason": "because" });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    let people = json!([{ "person": ROSA }]);
    run_of(h, "Talked about", "approval", json!({ "title": "Yes?", "approvers": people })).await;
    let id = approval(h, &rosa).await;
    h.does(&rosa, "POST /api/approvals/{id}/ask", &[&id], json!({ "question": "Why?" })).await;
    h.does(&ada, "POST /api/approvals/{id}/answer", &[&id], json!({ "text": "For the study." })).await;
    h.does(&rosa, "POST /api/approvals/{id}/delegate", &[&id], because(json!({ "to": mona.id }))).await;
    h.does(&admin, "POST /api/approvals/{id}/reassign", &[&id], because(json!({ "to": [rosa.id] }))).await;
    h.does(&rosa, "POST /api/approvals/{id}/decide", &[&id], because(json!({ "decision": "approve" }))).await;
    h.work().await;

    // Two stages and two who decide, who grant a role.
    let stages = json!({ "title": "Both?", "pattern": "sequential", "stages": [
        { "approvers": [{ "person": ROSA }] }, { "approvers": [{ "person": MONA }] } ] });
    let definition = json!({ "name": "Two stages", "steps": [
        { "id": "ask", "name": "Ask", "type": "approval", "config": stages, "transitions": [{ "on": "approved", "to": "grant" }] },
        { "id": "grant", "name": "Grant", "type": "role_grant", "config": { "role": "reader", "durationDays": 7, "reason": "asked for" } },
    ] });
    let workflow = published(h, &admin, definition).await;
    begun(h, &ada, &workflow, json!({})).await;
    for who in [&rosa, &mona] {
        let id = approval(h, who).await;
        h.does(who, "POST /api/approvals/{id}/decide", &[&id], because(json!({ "decision": "approve" }))).await;
    }
    h.work().await;

    // Nobody decides: they are reminded, others are asked, then the escalation decides.
    let escalation = json!({ "remindAfterMinutes": [30], "reassign": { "afterMinutes": 60, "to": [{ "person": MONA }] },
                             "last": { "afterMinutes": 120, "then": "reject" } });
    let config = json!({ "title": "Late?", "approvers": people, "dueHours": 1, "escalation": escalation });
    run_of(h, "Late", "approval", config).await;
    for _ in 0..5 {
        h.pass(HOUR / 2).await;
    }
    // Nobody can decide it, and one that is not needed any more.
    let [admin, ..] = h.cast().await;
    run_of(h, "Nobody", "approval", json!({ "title": "Who?", "approvers": [{ "person": ADA }] })).await;
    let run = run_of(h, "Not needed", "approval", json!({ "title": "Yes?", "approvers": people })).await;
    h.does(&admin, "POST /api/runs/{id}/cancel", &[&run], because(json!({}))).await;
    h.work().await;
    // Somebody stands in.
    let [_, mona, rosa, ..] = h.cast().await;
    let now = h.clock.now();
    let body = json!({ "delegateId": mona.id, "reason": "away", "from": now, "to": now.plus(WEEK) });
    let delegation = id_of(&h.does(&rosa, "POST /api/delegations", &[], body).await);
    run_of(h, "Stood in", "approval", json!({ "title": "Yes?", "approvers": people })).await;
    let id = approval(h, &mona).await;
    h.does(&mona, "POST /api/approvals/{id}/decide", &[&id], because(json!({ "decision": "reject" }))).await;
    h.work().await;
    h.does(&rosa, "DELETE /api/delegations/{id}", &[&delegation], Value::Null).await;
}

pub async fn tasks(h: &House) {
    let [admin, mona, rosa, ada, _] = h.cast().await;
    let config = json!({ "title": "Prepare a room", "assignees": [{ "person": ROSA }, { "person": MONA }] });
    run_of(h, "Work", "task", config.clone()).await;
    let task = async |who: &Person| {
        let found = h.does(who, "GET /api/tasks?mine=true", &[], Value::Null).await;
        id_of(&found["items"][0])
    };
    let id = task(&rosa).await;
    for operation in ["claim", "release", "claim"] {
        h.does(&rosa, &format!("POST /api/tasks/{{id}}/{operation}"), &[&id], Value::Null).await;
    }
    h.does(&rosa, "POST /api/tasks/{id}/hold", &[&id], json!({ "reason": "no key" })).await;
    h.does(&rosa, "POST /api/tasks/{id}/resume", &[&id], Value::Null).await;
    h.does(&ada, "POST /api/tasks/{id}/comment", &[&id], json!({ "text": "By the window." })).await;
    h.does(&admin, "POST /api/tasks/{id}/assign", &[&id], json!({ "personId": mona.id, "reason": "she is here" })).await;
    h.does(&mona, "POST /api/tasks/{id}/complete", &[&id], json!({ "values": {} })).await;
    h.work().await;
    for agree in [true, false] {
        run_of(h, &format!("Rules {agree}"), "consent", json!({ "title": "Rules", "text": "I keep quiet." })).await;
        let id = task(&ada).await;
        h.does(&ada, "POST /api/tasks/{id}/answer", &[&id], json!({ "agree": agree, "reason": "as I see it" })).await;
        h.work().await;
    }
    let mut limited = one_step("Limited", "task", config);
    limited["steps"][0]["timeout"] = json!({ "seconds": 3600 });
    let workflow = published(h, &mona, limited).await;
    begun(h, &ada, &workflow, json!({})).await;
    h.pass(2 * HOUR).await;
}

pub async fn links(h: &House) {
    let [_, _, _, ada, _] = h.cast().await;
    let invite = |n: u32| json!({ "email": format!("guest{n}@elsewhere.example"), "displayName": "Gil Guest",
        "message": "Come in.", "validHours": 168, "becomesSubject": true });
    run_of(h, "Invites", "invitation", invite(1)).await;
    let token = h.token_for("guest1@elsewhere.example").await;
    let (status, used) =
        h.ask(None, "POST /api/links/{token}/accept", &[&token], json!({ "token": token, "values": {} })).await;
    assert_eq!(status, 200, "{used}");
    h.work().await;
    let run = run_of(h, "Invites in vain", "invitation", invite(2)).await;
    h.does(&ada, "POST /api/runs/{id}/cancel", &[&run], json!({ "reason": "not needed" })).await;
    h.work().await;
    run_of(h, "Invites for a week", "invitation", invite(3)).await;
    h.pass(WEEK + HOUR).await;
    run_of(h, "Proves", "verify_contact", json!({ "person": "subject", "validHours": 48 })).await;
}

/// What runs do by themselves.
pub async fn steps(h: &House) {
    let [admin, mona, _, ada, _] = h.cast().await;
    let connector = json!({ "connector": "Directory", "command": "create_account", "params": { "account": "robot" } });
    run_of(h, "Calls", "connector", connector).await;
    run_of(h, "Profile", "profile_update", json!({ "attributes": { "institution": "Museum" }, "joinGroups": ["genome-reviewers"] })).await;
    let add = json!({ "email": "made@example.org", "displayName": "Made", "groups": ["genome-reviewers"], "becomesSubject": true });
    run_of(h, "Makes", "user_create", add).await;
    run_of(h, "Ties", "identity_link", json!({ "connector": "Directory", "externalId": "robot" })).await;
    run_of(h, "Grants", "role_grant", json!({ "role": "reader", "durationDays": 7, "reason": "asked for" })).await;
    run_of(h, "Takes", "role_revoke", json!({ "role": "reader", "reason": "asked for" })).await;
    run_of(h, "Wants a document", "document_request", json!({ "documentType": "training" })).await;
    let document = json!({ "type": "training", "personId": ada.id, "validFrom": h.clock.now(), "expiresAt": h.clock.now().plus(WEEK) });
    let id = id_of(&h.does(&ada, "POST /api/documents", &[], document).await);
    h.does(&mona, "POST /api/documents/{id}/approve", &[&id], json!({ "reason": "seen" })).await;
    h.work().await;
    let inner = json!({ "key": "inner", "name": "Inner", "steps": [{ "id": "s", "name": "S", "type": "delay", "config": { "seconds": 1 } }] });
    h.does(&admin, "POST /api/workflows/import", &[], inner).await;
    let all = h.does(&admin, "GET /api/workflows?status=draft&limit=200", &[], Value::Null).await;
    let found = all["items"].as_array().and_then(|all| all.iter().find(|w| w["name"] == "Inner")).cloned();
    h.does(&admin, "POST /api/workflows/{id}/publish", &[&id_of(&found.unwrap_or_default())], json!({})).await;
    run_of(h, "Outer", "subworkflow", json!({ "workflow": "inner", "input": {} })).await;
    h.pass(WEEK + HOUR).await;
    // What had succeeded is undone.
    let mona = h.sign_in(MONA).await;
    let definition = json!({ "name": "Undoes", "onError": "compensate", "steps": [
        { "id": "grant", "name": "Grant", "type": "role_grant", "transitions": [{ "on": "success", "to": "fail" }],
          "config": { "role": "reader", "durationDays": 7, "reason": "asked for" } },
        { "id": "fail", "name": "Fail", "type": "role_grant", "config": { "role": "no such role", "reason": "asked for" } },
    ] });
    let workflow = published(h, &mona, definition).await;
    let ada = h.sign_in(ADA).await;
    begun(h, &ada, &workflow, json!({})).await;
}

/// Events from outside, with a sign-in and signed.
pub async fn events(h: &House, w: &World) {
    let [_, mona, ..] = h.cast().await;
    for (name, event) in [("Waits", "order.shipped"), ("Waits too", "hr.joined")] {
        run_of(h, name, "webhook_wait", json!({ "event": event, "key": "4711" })).await;
    }
    let started = json!({ "name": "Begins by itself", "trigger": { "event": { "name": "order.shipped" } },
        "steps": [{ "id": "a", "name": "A", "type": "delay", "config": { "seconds": 1 } }] });
    published(h, &mona, started).await;
    let event = |name: &str| json!({ "event": name, "key": "4711", "payload": { "by": "mail" } });
    h.does(&mona, "POST /api/workflow-events", &[], event("order.shipped")).await;
    h.work().await;
    let (at, body) = ((h.clock.now().as_millis() / 1000).to_string(), event("hr.joined").to_string());
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a-hook-secret-of-24-chars").expect("a key");
    mac.update(format!("{at}.{body}").as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers =
        [("x-tenure-timestamp", at.as_str()), ("x-tenure-signature", &signature), ("content-type", "application/json")];
    let (status, taken) =
        h.ask_with(None, "POST /api/hooks/{connectorId}", &[&w.connector], Value::String(body), &headers).await;
    assert_eq!(status, 200, "{taken}");
    h.work().await;
}

/// Runs that went wrong, mended by hand.
pub async fn repairs(h: &House) {
    let [admin, mona, _, ada, _] = h.cast().await;
    let definition = json!({ "name": "Granting", "variables": [{ "name": "role", "type": "string", "required": true }], "steps": [
        { "id": "grant", "name": "Grant", "type": "role_grant", "transitions": [{ "on": "success", "to": "nap" }],
          "config": { "role": "{{ vars.role }}", "durationDays": 7, "reason": "asked for" } },
        { "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 864000 } } ] });
    let workflow = published(h, &mona, definition).await;
    let failed = begun(h, &ada, &workflow, json!({ "role": "raeder" })).await;
    let values = json!({ "values": { "role": "reader" }, "reason": "a slip of the pen" });
    h.does(&admin, "PUT /api/runs/{id}/variables", &[&failed], values).await;
    h.work().await;
    h.does(&admin, "POST /api/runs/{id}/retry", &[&failed], json!({ "reason": "now it can" })).await;
    h.work().await;
    h.does(&admin, "POST /api/runs/{id}/skip-step", &[&failed], json!({ "reason": "no need to sleep" })).await;
    h.work().await;
    let failed = begun(h, &ada, &workflow, json!({ "role": "raeder" })).await;
    h.does(&admin, "POST /api/runs/{id}/start-again", &[&failed], json!({ "reason": "another time" })).await;
    h.work().await;
    let run = begun(h, &ada, &workflow, json!({ "role": "reader" })).await;
    h.does(&admin, "POST /api/runs/{id}/cancel", &[&run], json!({ "reason": "not needed", "undo": true })).await;
    h.work().await;
}

pub async fn schedules(h: &House) {
    let [_, mona, ..] = h.cast().await;
    let naps = published(h, &mona, one_step("Naps", "delay", json!({ "seconds": 864_000 }))).await;
    let body = |overlap: &str| json!({ "name": "nightly", "workflowId": naps, "cron": "0 3 * * *", "overlap": overlap });
    let id = id_of(&h.does(&mona, "POST /api/schedules", &[], body("skip")).await);
    h.does(&mona, "POST /api/schedules/{id}/run", &[&id], Value::Null).await;
    h.work().await;
    h.does(&mona, "POST /api/schedules/{id}/run", &[&id], Value::Null).await;
    h.work().await;
    h.does(&mona, "PUT /api/schedules/{id}", &[&id], body("allow")).await;
    h.does(&mona, "POST /api/schedules/{id}/pause", &[&id], Value::Null).await;
    h.does(&mona, "POST /api/schedules/{id}/resume", &[&id], Value::Null).await;
    h.pass(Duration::from_secs(86_400)).await;
    let mona = h.sign_in(MONA).await;
    h.does(&mona, "DELETE /api/schedules/{id}", &[&id], Value::Null).await;
}
