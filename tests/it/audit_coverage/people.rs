//! People: how they come in, sign in, work in each other's place, and leave.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::SystemRole;

use super::house::{House, id_of};

const DAY: Duration = Duration::from_secs(86_400);

/// The first administrator; everything else needs one.
pub async fn beginning(h: &House) {
    let token = h.file("setup-token").trim().to_owned();
    let body = json!({ "token": token, "email": "first@example.org", "displayName": "First", "password": PASSWORD });
    let (status, made) = h.ask(None, "POST /api/setup", &[], body).await;
    assert!(status < 300, "{made}");
    h.settle().await;
    // The worker of the server rests from here on; the test runs the jobs.
    let admin = h.sign_in(ADMIN).await;
    h.does(&admin, "POST /api/queue/pause", &[], Value::Null).await;
}

pub async fn accounts(h: &House) {
    let sign_in = json!({ "email": ADMIN, "password": PASSWORD });
    assert_eq!(h.ask(None, "POST /api/auth/login", &[], sign_in).await.0, 200);
    let wrong = json!({ "email": ADMIN, "password": "not the one that it is" });
    assert_eq!(h.ask(None, "POST /api/auth/login", &[], wrong).await.0, 401);
    let [admin, ada] = [h.sign_in(ADMIN).await, h.sign_in(ADA).await];

    let nia = json!({ "displayName": "Nia", "email": "nia@example.org" });
    let nia = id_of(&h.does(&admin, "POST /api/people", &[], nia).await);
    let other = json!({ "displayName": "Nia New", "managerId": admin.id });
    h.does(&admin, "PATCH /api/people/{id}", &[&nia], other).await;
    let body = json!({ "email": "pat@example.org", "displayName": "Pat", "password": PASSWORD, "roles": ["requestor"] });
    let pat = id_of(&h.does(&admin, "POST /api/accounts", &[], body).await);
    h.does(&admin, "POST /api/accounts/{id}/reset-password", &[&pat], json!({ "password": PASSWORD })).await;
    h.does(&admin, "POST /api/accounts/{id}/tokens", &[&pat], json!({ "name": "hers" })).await;
    h.does(&admin, "POST /api/accounts/{id}/disable", &[&pat], Value::Null).await;
    h.does(&admin, "POST /api/accounts/{id}/enable", &[&pat], json!({ "roles": ["requestor"] })).await;

    let own = h.does(&ada, "POST /api/auth/tokens", &[], json!({ "name": "own" })).await;
    h.does(&ada, "DELETE /api/auth/tokens/{id}", &[&id_of(&own)], Value::Null).await;
    let sessions = h.does(&ada, "GET /api/auth/sessions", &[], Value::Null).await;
    let second = h.sign_in(ADA).await;
    let first = &sessions["items"][0];
    h.does(&second, "DELETE /api/auth/sessions/{id}", &[&id_of(first)], Value::Null).await;
    h.does(&second, "POST /api/auth/logout", &[], Value::Null).await;
}

pub async fn groups_and_settings(h: &House) {
    let [admin, rosa, ada] = [h.sign_in(ADMIN).await, h.sign_in(ROSA).await, h.sign_in(ADA).await];
    let group = json!({ "name": "movers", "memberIds": [ada.id] });
    let group = id_of(&h.does(&admin, "POST /api/groups", &[], group).await);
    h.does(&admin, "PATCH /api/groups/{id}", &[&group], json!({ "description": "Who moves." })).await;
    let members = json!({ "add": [rosa.id], "remove": [ada.id] });
    h.does(&admin, "POST /api/groups/{id}/members", &[&group], members).await;
    h.does(&admin, "DELETE /api/groups/{id}", &[&group], Value::Null).await;

    let profile = json!({ "attributes": [{ "name": "uid" }, { "name": "institution" }, { "name": "guestUntil" }] });
    h.does(&admin, "PUT /api/settings/profile", &[], profile).await;
    h.does(&admin, "PUT /api/settings/leavers", &[], json!({ "leaversCount": 50 })).await;
    h.does(&admin, "PUT /api/settings/logging", &[], json!({ "retentionDays": 20 })).await;
    h.does(&admin, "PUT /api/settings/notifications", &[], json!({ "digestMinutes": 10 })).await;
    h.does(&admin, "PUT /api/settings/security", &[], json!({ "stuckRunTimeoutMinutes": 45 })).await;

    h.does(&ada, "PUT /api/notifications/choice", &[], json!({ "mail": "together" })).await;
    let wording = json!({ "subject": "About {{ subject }}", "body": "{{ body }}" });
    h.does(&admin, "POST /api/notifications/templates/{key}/preview", &["message"], wording.clone()).await;
    h.does(&admin, "PUT /api/notifications/templates/{key}", &["message"], wording).await;
    h.does(&admin, "DELETE /api/notifications/templates/{key}", &["message"], Value::Null).await;

    let token = h.does(&admin, "POST /api/scim-tokens", &[], json!({ "name": "directory" })).await;
    h.does(&admin, "DELETE /api/scim-tokens/{id}", &[&id_of(&token)], Value::Null).await;

    let day = |n: u32| format!("2031-03-{n:02}T00:00:00Z");
    let body = json!({ "delegateId": admin.id, "reason": "away", "from": day(10), "to": day(20) });
    let delegation = id_of(&h.does(&rosa, "POST /api/delegations", &[], body).await);
    h.does(&rosa, "DELETE /api/delegations/{id}", &[&delegation], Value::Null).await;
}

/// People and access from files and from a connected system.
pub async fn imports(h: &House, connector: &str) {
    let [admin, mona, milo] = [h.sign_in(ADMIN).await, h.sign_in(MONA).await, h.sign_in("milo@example.org").await];
    let people = |csv: &str| json!({ "kind": "people", "name": "hr.csv", "csv": csv });
    let csv = "externalId,email,name,groups\n7,una@example.org,Una,genome-reviewers\n8,ada@example.org,Ada M.,\n";
    let import = id_of(&h.does(&admin, "POST /api/imports", &[], people(csv)).await);
    h.does(&admin, "POST /api/imports/{id}/apply", &[&import], Value::Null).await;
    h.work().await;
    let import = id_of(&h.does(&admin, "POST /api/imports", &[], people(csv)).await);
    h.does(&admin, "POST /api/imports/{id}/cancel", &[&import], Value::Null).await;
    let csv = "externalId,email,name,active\n7,una@example.org,Una,no\n";
    let import = id_of(&h.does(&admin, "POST /api/imports", &[], people(csv)).await);
    h.does(&admin, "POST /api/imports/{id}/apply", &[&import], Value::Null).await;
    h.work().await;
    let csv = "person,role,expires at,reason\nrosa@example.org,reader,2031-06-01,she had it\n";
    let access = json!({ "kind": "assignments", "csv": csv });
    let import = id_of(&h.does(&mona, "POST /api/imports", &[], access).await);
    h.does(&milo, "POST /api/imports/{id}/apply", &[&import], Value::Null).await;
    h.work().await;
    let listed = json!({ "kind": "people", "connectorId": connector, "command": "list_members",
        "params": { "group": "reader" }, "columns": { "email": "{{ key }}@example.org", "displayName": "{{ key }}" } });
    h.does(&admin, "POST /api/imports/from-connector", &[], listed).await;
}

/// Who leaves, alone and as a mass; what they had, gave and owed.
pub async fn leavers(h: &House, role: &str) {
    h.add("Iris", "iris@example.org", SystemRole::Admin).await;
    h.add("Len", "len@example.org", SystemRole::Approver).await;
    h.add("Kim", "kim@example.org", SystemRole::Approver).await;
    let [admin, iris] = [h.sign_in(ADMIN).await, h.sign_in("iris@example.org").await];
    let [len, kim, ada] = [h.sign_in("len@example.org").await, h.sign_in("kim@example.org").await, h.sign_in(ADA).await];
    let because = json!({ "reason": "they found another job" });
    h.does(&len, "POST /api/auth/tokens", &[], json!({ "name": "own" })).await;
    let group = json!({ "name": "leaving", "memberIds": [len.id, kim.id] });
    h.does(&admin, "POST /api/groups", &[], group).await;
    let body = json!({ "delegateId": len.id, "reason": "away", "from": "2031-03-01T00:00:00Z", "to": "2032-02-20T00:00:00Z" });
    h.does(&kim, "POST /api/delegations", &[], body).await;
    let grant = json!({ "personId": len.id, "roleId": role, "reason": "a beginning" });
    h.does(&admin, "POST /api/assignments", &[], grant).await;
    h.work().await;
    let both = json!([{ "person": "len@example.org" }, { "person": "kim@example.org" }]);
    for (name, kind, config) in [
        ("Owed decision", "approval", json!({ "title": "Yes?", "approvers": both })),
        ("Owed work", "task", json!({ "title": "Do it", "assignees": both })),
    ] {
        let definition = json!({ "name": name, "steps": [{ "id": "a", "name": name, "type": kind, "config": config }] });
        let workflow = super::workflows::published(h, &admin, definition).await;
        h.does(&ada, "POST /api/workflows/{id}/start", &[&workflow], json!({ "input": {} })).await;
        h.work().await;
    }
    let naps = json!({ "name": "Sleeps", "steps": [{ "id": "a", "name": "A", "type": "delay", "config": { "seconds": 864000 } }] });
    let workflow = super::workflows::published(h, &admin, naps).await;
    h.does(&len, "POST /api/workflows/{id}/start", &[&workflow], json!({ "input": {} })).await;
    let tasks = h.does(&len, "GET /api/tasks?mine=true", &[], Value::Null).await;
    h.does(&len, "POST /api/tasks/{id}/claim", &[&id_of(&tasks["items"][0])], Value::Null).await;
    h.work().await;

    h.does(&admin, "POST /api/people/{id}/deactivate", &[&len.id], because.clone()).await;
    h.work().await;
    h.does(&admin, "POST /api/people/{id}/reactivate", &[&len.id], because.clone()).await;

    h.does(&admin, "PUT /api/settings/leavers", &[], json!({ "leaversCount": 1, "leaversPercent": 1 })).await;
    let mut held = Vec::new();
    for person in [&kim.id, &len.id] {
        let answer = h.does(&admin, "POST /api/people/{id}/deactivate", &[person], because.clone()).await;
        if answer["leave"]["state"] == "held" {
            held.push(id_of(&answer["leave"]));
        }
    }
    h.work().await;
    assert_eq!(held.len(), 2, "a mass is held: {held:?}");
    let decide = |id: &str, decision: &str| json!({ "ids": [id], "decision": decision, "reason": "I asked" });
    if let [first, second] = held.as_slice() {
        h.does(&iris, "POST /api/leavers/decide", &[], decide(first, "release")).await;
        h.does(&iris, "POST /api/leavers/decide", &[], decide(second, "dismiss")).await;
    }
    // Held again, and there all the same.
    h.does(&admin, "POST /api/people/{id}/deactivate", &[&len.id], because.clone()).await;
    h.does(&admin, "POST /api/people/{id}/reactivate", &[&len.id], because.clone()).await;
    h.work().await;
    h.does(&admin, "PUT /api/settings/leavers", &[], json!({ "leaversCount": 50, "leaversPercent": 100 })).await;
}

/// What people are told, and that they read it.
pub async fn notifications(h: &House) {
    let admin = h.sign_in(ADMIN).await;
    let told = h.does(&admin, "GET /api/notifications", &[], Value::Null).await;
    h.does(&admin, "POST /api/notifications/{id}/read", &[&id_of(&told["items"][0])], Value::Null).await;
    h.does(&admin, "POST /api/notifications/read-all", &[], Value::Null).await;
    h.pass(DAY).await;
}
