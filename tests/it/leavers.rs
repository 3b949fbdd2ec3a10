//! Somebody leaves: everything that they held ends, what they owed goes to others, and nothing comes back.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::SystemRole;

use crate::support::office::{MILO, Office, Who, id_of};
use crate::support::{eventually, http};

/// The leave of somebody, once all is ended.
async fn left(office: &Office, admin: &Who, person: &str) -> Value {
    let path = format!("/api/leavers?personId={person}");
    eventually("all is ended", Duration::from_secs(20), || async {
        let found = office.does(admin, "GET", &path, Value::Null).await;
        Some(found["items"][0].clone()).filter(|l| l["state"] == "done")
    })
    .await
}

fn because() -> Value {
    json!({ "reason": "they found another job" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_keeps_nothing_and_gets_nothing_back() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let token = office.own_token(&ada).await;
    let role = office.role(&admin, "reader").await;
    let later = json!({ "personId": ada_id, "roleId": role, "reason": "for later", "startsAt": "2098-01-01T00:00:00Z",
                        "expiresAt": "2099-01-01T00:00:00Z" });
    for body in [json!({ "personId": ada_id, "roleId": role, "reason": "a beginning" }), later] {
        office.does(&admin, "POST", "/api/assignments", body).await;
    }
    let definition = json!({ "name": "Asking", "steps": [{ "id": "ask", "name": "Ask", "type": "approval",
        "config": { "title": "Yes?", "approvers": [{ "group": "genome-reviewers" }] } }] });
    let workflow = office.workflow(&admin, definition).await;
    let run = id_of(&office.does(&ada, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await);
    let groups = office.does(&admin, "GET", "/api/groups", Value::Null).await;
    let group = id_of(&groups["items"][0]);
    office.does(&admin, "POST", &format!("/api/groups/{group}/members"), json!({ "add": [ada_id] })).await;

    let path = format!("/api/people/{ada_id}");
    assert_eq!(office.ask(&admin, "POST", &format!("{path}/deactivate"), json!({ "reason": " " })).await.0, 422);
    let answer = office.does(&admin, "POST", &format!("{path}/deactivate"), because()).await;
    assert_eq!((&answer["person"]["active"], &answer["leave"]["state"]), (&json!(false), &json!("open")));
    // At once, before any job ran.
    for who in [&ada, &token] {
        assert_eq!(office.ask(who, "GET", "/api/auth/me", Value::Null).await.0, 401);
    }
    let again = http().post(format!("{}/api/auth/login", office.running.base)).json(&json!({ "email": ADA, "password": PASSWORD }));
    assert_eq!(again.send().await.expect("an answer").status(), 401);

    let leave = left(&office, &admin, &ada_id).await;
    assert_eq!((&leave["result"]["assignments"], &leave["result"]["requests"]), (&json!(2), &json!(1)), "{leave}");
    assert_eq!(leave["result"]["tokens"], 1);
    let held = format!("/api/assignments?personId={ada_id}");
    let over = |all: &Value| all["items"].as_array().expect("items").iter().all(|a| a["state"] == "revoked");
    eventually("the directory confirmed it", Duration::from_secs(20), || async {
        over(&office.does(&admin, "GET", &held, Value::Null).await).then_some(())
    })
    .await;
    office.run_that_is(&admin, &run, "cancelled").await;

    office.does(&admin, "POST", &format!("{path}/reactivate"), because()).await;
    let now = office.does(&admin, "GET", &path, Value::Null).await;
    assert_eq!(now["active"], true);
    assert!(over(&office.does(&admin, "GET", &held, Value::Null).await), "no role came back");
    let relations = office.does(&admin, "GET", &format!("{path}/relations"), Value::Null).await;
    assert_eq!(relations["groups"], json!([]), "no group came back");
    assert_eq!(office.ask(&token, "GET", "/api/auth/me", Value::Null).await.0, 401);
    let account = office.does(&admin, "GET", &format!("/api/accounts?personId={ada_id}"), Value::Null).await;
    assert_eq!((&account["items"][0]["active"], &account["items"][0]["roles"]), (&json!(false), &json!([])));
    let enable = format!("/api/accounts/{}/enable", id_of(&account["items"][0]));
    office.does(&admin, "POST", &enable, json!({ "roles": ["requestor"] })).await;
    assert_eq!(office.ask(&token, "GET", "/api/auth/me", Value::Null).await.0, 401, "a token stays revoked");
    let (ada, _) = office.sign_in(ADA).await;
    assert_eq!(office.does(&ada, "GET", "/api/auth/me", Value::Null).await["roles"], json!(["requestor"]));
    office.running.stop().await;
}

/// Approvals go to the others of the group, to the manager, or an administrator is told; tasks likewise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_owed_goes_to_others_to_their_manager_or_is_told() {
    let office = Office::open().await;
    office.add("Bo", "bo@example.org", SystemRole::Approver).await;
    office.add("Lia", "lia@example.org", SystemRole::Approver).await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, _) = office.sign_in(ADA).await;
    let (_, rosa) = office.sign_in(ROSA).await;
    let (bo, bo_id) = office.sign_in("bo@example.org").await;
    let (lia, lia_id) = office.sign_in("lia@example.org").await;
    let begin = async |name: &str, kind: &str, config: Value| {
        let definition = json!({ "name": name, "steps": [{ "id": "a", "name": name, "type": kind, "config": config }] });
        let workflow = office.workflow(&admin, definition).await;
        id_of(&office.does(&ada, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await)
    };
    begin("alone", "approval", json!({ "title": "alone", "approvers": [{ "person": "rosa@example.org" }] })).await;
    begin("shared", "approval", json!({ "title": "shared", "approvers": [{ "person": "rosa@example.org" }, { "person": "lia@example.org" }] })).await;
    begin("work", "task", json!({ "title": "work", "assignees": [{ "person": "rosa@example.org" }] })).await;
    begin("offer", "task", json!({ "title": "offer", "assignees": [{ "person": "rosa@example.org" }, { "person": "lia@example.org" }] })).await;
    office.does(&admin, "PATCH", &format!("/api/people/{rosa}"), json!({ "managerId": bo_id })).await;
    office.does(&admin, "POST", &format!("/api/people/{rosa}/deactivate"), because()).await;
    let leave = left(&office, &admin, &rosa).await;
    assert_eq!((&leave["result"]["handedOver"], &leave["result"]["leftOver"]), (&json!(4), &json!(0)), "{leave}");
    let titles = async |who: &Who, path: &str| -> Vec<String> {
        let found = office.does(who, "GET", path, Value::Null).await;
        let all = found["items"].as_array().expect("items").iter().map(|i| i["title"].as_str().expect("a title").to_owned());
        let mut all: Vec<String> = all.collect();
        all.sort();
        all
    };
    assert_eq!(titles(&bo, "/api/approvals?mine=true&state=pending").await, ["alone"]);
    assert_eq!(titles(&lia, "/api/approvals?mine=true&state=pending").await, ["shared"]);
    assert_eq!(titles(&bo, "/api/tasks?mine=true").await, ["work"]);
    assert_eq!(titles(&lia, "/api/tasks?mine=true").await, ["offer"]);
    let told = office.does(&bo, "GET", "/api/notifications", Value::Null).await.to_string();
    assert!(told.contains("Rosa") && told.contains("has left"), "{told}");

    // Without a manager and without others nobody can take it: it stays, and an administrator reassigns it.
    office.does(&admin, "POST", &format!("/api/people/{bo_id}/deactivate"), because()).await;
    let leave = left(&office, &admin, &bo_id).await;
    assert_eq!(leave["result"]["leftOver"], 2, "{leave}");
    let told = office.does(&admin, "GET", "/api/notifications", Value::Null).await.to_string();
    assert!(told.contains("something is to be done"), "{told}");
    let open = office.does(&admin, "GET", "/api/approvals?state=pending", Value::Null).await;
    let alone = open["items"].as_array().expect("items").iter().find(|a| a["title"] == "alone").expect("still there").clone();
    let body = json!({ "to": [lia_id], "reason": "Bo left" });
    office.does(&admin, "POST", &format!("/api/approvals/{}/reassign", id_of(&alone)), body).await;
    office.running.stop().await;
}

/// The run that closes somebody is not cancelled by that; their own other requests are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_run_that_closes_somebody_goes_on() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let definition = json!({ "name": "Goodbye", "steps": [
        { "id": "close", "name": "Close", "type": "profile_update", "config": { "active": false },
          "transitions": [{ "on": "success", "to": "nap" }] },
        { "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 86400 } },
    ] });
    let goodbye = office.workflow(&admin, definition).await;
    let other = json!({ "name": "Other", "steps": [{ "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 86400 } }] });
    let other = office.workflow(&admin, other).await;
    let start = async |id: &str| id_of(&office.does(&ada, "POST", &format!("/api/workflows/{id}/start"), json!({ "input": {} })).await);
    let other = start(&other).await;
    let goodbye = start(&goodbye).await;
    let leave = left(&office, &admin, &ada_id).await;
    assert_eq!(leave["runId"], goodbye.as_str());
    office.run_that_is(&admin, &other, "cancelled").await;
    let run = office.does(&admin, "GET", &format!("/api/runs/{goodbye}"), Value::Null).await;
    assert_eq!(run["status"], "waiting");
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mass_that_leaves_is_held_and_waits_for_another_administrator() {
    let office = Office::open().await;
    office.add("Iris", "iris@example.org", SystemRole::Admin).await;
    let (admin, admin_id) = office.sign_in(ADMIN).await;
    let (iris, iris_id) = office.sign_in("iris@example.org").await;
    let now = office.does(&admin, "PUT", "/api/settings/leavers", json!({ "leaversCount": 2 })).await;
    assert_eq!((&now["now"], &now["leaversCount"]["source"]), (&json!(2), &json!("saved")));
    let mut held = Vec::new();
    for (email, state) in [(ADA, "open"), (ROSA, "open"), (MONA, "held"), (MILO, "held")] {
        let (_, id) = office.sign_in(email).await;
        let answer = office.does(&admin, "POST", &format!("/api/people/{id}/deactivate"), because()).await;
        assert_eq!(answer["leave"]["state"], state, "{email}: {answer}");
        assert_eq!(answer["person"]["active"], state == "held");
        if state == "held" {
            held.push((id, id_of(&answer["leave"])));
        }
    }
    let waiting = office.does(&iris, "GET", "/api/leavers?state=held", Value::Null).await;
    assert_eq!(waiting["items"].as_array().expect("items").len(), 2);
    let decide = |ids: Vec<&str>, decision: &str| json!({ "ids": ids, "decision": decision, "reason": "I asked HR" });
    let (status, why) = office.ask(&admin, "POST", "/api/leavers/decide", decide(vec![held[0].1.as_str()], "release")).await;
    assert_eq!(status, 403, "{why}");
    let gone = office.does(&iris, "POST", "/api/leavers/decide", decide(vec![held[0].1.as_str()], "release")).await;
    assert_eq!(gone["items"][0]["decidedBy"]["id"], iris_id.as_str());
    left(&office, &iris, &held[0].0).await;
    office.does(&iris, "POST", "/api/leavers/decide", decide(vec![held[1].1.as_str()], "dismiss")).await;
    let milo = office.does(&iris, "GET", &format!("/api/people/{}", held[1].0), Value::Null).await;
    assert_eq!(milo["active"], true);
    assert_eq!(office.ask(&iris, "POST", "/api/leavers/decide", decide(vec![held[1].1.as_str()], "release")).await.0, 409, "once");
    // Of two administrators one may leave; the last one not.
    let path = |id: &str| format!("/api/people/{id}/deactivate");
    office.does(&iris, "POST", &path(&admin_id), because()).await;
    let (status, why) = office.ask(&iris, "POST", &path(&iris_id), because()).await;
    assert_eq!(status, 409, "{why}");
    office.running.stop().await;
}
