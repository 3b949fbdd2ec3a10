//! What goes wrong: systems that refuse, accounts that vanish, ends that cannot be told, runs that stand still.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA};
use tenure::base::access::SystemRole;
use tenure::base::clock::Clock as _;
use tenure::params;

use super::access::World;
use super::house::{House, id_of};
use super::workflows::published;
use crate::support::systems::System;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn request(method: &str, more: Value) -> Value {
    let mut params = json!({ "method": method, "path": "/badges/{{ person.attributes.uid }}" });
    params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    json!({ "command": "request", "params": params })
}

/// An entitlement of a system that is told until when.
fn badge(connector: &str) -> Value {
    json!({
        "name": "badge", "connectorId": connector,
        "provision": request("PUT", json!({ "body": { "until": "{{ assignment.expiresAt }}" } })),
        "deprovision": request("DELETE", json!({})),
        "check": request("GET", json!({ "presentStatus": [200], "absentStatus": [404] })),
        "list": { "command": "list", "params": { "path": "/badges", "query": { "list": "all" }, "itemsPath": "/items" },
                  "key": "{{ person.attributes.uid }}" },
        "reconcile": { "policy": "revoke_unknown", "remove": {
            "command": "request", "params": { "method": "DELETE", "path": "/badges/{{ account.key }}" } } },
    })
}

pub async fn systems_that_refuse(h: &House, w: &World) {
    let system = System::start().await;
    h.add("Tess", "tess@example.org", SystemRole::Requestor).await;
    h.add("Theo", "theo@example.org", SystemRole::Requestor).await;
    let [tess, theo] = [h.sign_in("tess@example.org").await, h.sign_in("theo@example.org").await];
    let admin = h.sign_in(ADMIN).await;
    let http = json!({ "name": "Badges", "kind": "http", "config": { "baseUrl": system.url, "auth": "none" } });
    let connector = id_of(&h.does(&admin, "POST /api/connectors", &[], http).await);
    let badge = id_of(&h.does(&admin, "POST /api/entitlements", &[], badge(&connector)).await);
    let role = json!({ "name": "visitor", "description": "", "requiredDocumentTypes": [], "entitlementIds": [badge, w.entitlement] });
    let role = id_of(&h.does(&admin, "POST /api/roles", &[], role).await);
    let grant = |person: &str| json!({ "personId": person, "roleId": role, "reason": "a visit",
        "expiresAt": h.clock.now().plus(20 * DAY) });

    // It lasts longer: the system is told; of somebody who is called otherwise since it cannot be told.
    let given = id_of(&h.does(&admin, "POST /api/assignments", &[], grant(&tess.id)).await);
    h.work().await;
    for (days, name) in [(30, "tess"), (40, "tessa")] {
        let renamed = json!({ "attributes": { "uid": name } });
        h.does(&admin, "PATCH /api/people/{id}", &[&tess.id], renamed).await;
        let longer = json!({ "expiresAt": h.clock.now().plus(days * DAY), "reason": "it takes longer" });
        h.does(&admin, "POST /api/assignments/{id}/extend", &[&given], longer).await;
        h.work().await;
    }
    // One of the two systems refuses.
    system.refuse("PUT ", 400);
    h.does(&admin, "POST /api/assignments", &[], grant(&theo.id)).await;
    for _ in 0..5 {
        h.pass(MINUTE).await;
    }
    // What nobody accounts for is not taken away, and a list does not come.
    system.refuse("DELETE ", 400);
    let all = json!({ "entitlementIds": [badge] });
    let admin = h.sign_in(ADMIN).await;
    reconciled(h, &all).await;
    system.refuse("GET ", 503);
    h.does(&admin, "POST /api/reconciliations", &[], all).await;
    for _ in 0..5 {
        h.pass(MINUTE).await;
    }
}

/// A reconciliation whose plan is let go.
async fn reconciled(h: &House, which: &Value) {
    let admin = h.sign_in(ADMIN).await;
    let begun = id_of(&h.does(&admin, "POST /api/reconciliations", &[], which.clone()).await);
    h.work().await;
    let plan = h.does(&admin, "GET /api/reconciliations/{id}", &[&begun], Value::Null).await["plans"][0].clone();
    if plan["status"] == "held" {
        let path = "POST /api/reconciliations/{id}/plans/{planId}/approve";
        h.does(&admin, path, &[&begun, &id_of(&plan)], json!({ "reason": "so be it" })).await;
    }
    for _ in 0..5 {
        h.pass(MINUTE).await;
    }
}

/// An account that somebody took away behind Tenure's back.
pub async fn accounts_that_vanish(h: &House, w: &World) {
    let [admin, mona] = [h.sign_in(ADMIN).await, h.sign_in(MONA).await];
    let grant = json!({ "personId": mona.id, "roleId": w.role, "reason": "a beginning" });
    h.does(&admin, "POST /api/assignments", &[], grant).await;
    h.work().await;
    let remove = json!({ "command": "remove_member", "params": { "account": "mona", "group": "reader" } });
    h.does(&admin, "POST /api/connectors/{id}/execute", &[&w.connector], remove).await;
    reconciled(h, &json!({ "entitlementIds": [w.entitlement] })).await;
}

/// A document that is near its end.
pub async fn reminders(h: &House) {
    let [mona, ada] = [h.sign_in(MONA).await, h.sign_in(ADA).await];
    let body = json!({ "type": "training", "personId": ada.id, "validFrom": h.clock.now(), "expiresAt": h.clock.now().plus(9 * DAY) });
    let id = id_of(&h.does(&ada, "POST /api/documents", &[], body).await);
    h.does(&mona, "POST /api/documents/{id}/approve", &[&id], json!({ "reason": "seen" })).await;
    for _ in 0..10 {
        h.pass(DAY).await;
    }
}

/// A run whose job was lost, and an approval that nobody decides.
pub async fn runs_that_stand_still(h: &House) {
    let [mona, ada] = [h.sign_in(MONA).await, h.sign_in(ADA).await];
    let call = json!({ "connector": "Directory", "command": "create_account", "params": { "account": "stuck" } });
    let definition = json!({ "name": "Stands still", "steps": [
        { "id": "call", "name": "Call", "type": "connector", "config": call,
          "transitions": [{ "on": "success", "to": "nap" }, { "on": "error", "to": "nap" }] },
        { "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 864_000 } } ] });
    let workflow = published(h, &mona, definition).await;
    h.does(&ada, "POST /api/workflows/{id}/start", &[&workflow], json!({ "input": {} })).await;
    h.write(|tx| tx.execute("DELETE FROM job WHERE name = 'advance-run' AND state <> 'done'", params![]).map(drop)).await;
    h.pass(120 * MINUTE).await;

    let escalation = json!({ "last": { "afterMinutes": 60, "then": "fail" } });
    let config = json!({ "title": "Nobody?", "approvers": [{ "person": MONA }], "dueHours": 1, "escalation": escalation });
    let definition = json!({ "name": "Fails late", "steps": [{ "id": "a", "name": "A", "type": "approval", "config": config }] });
    let [mona, ada] = [h.sign_in(MONA).await, h.sign_in(ADA).await];
    let workflow = published(h, &mona, definition).await;
    h.does(&ada, "POST /api/workflows/{id}/start", &[&workflow], json!({ "input": {} })).await;
    h.pass(120 * MINUTE).await;
}
