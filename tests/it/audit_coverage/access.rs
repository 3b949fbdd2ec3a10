//! Connected systems, roles, documents, and access that comes and goes.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::clock::Clock as _;

use super::house::{House, Person, id_of};
use crate::support::office::MILO;

const DAY: Duration = Duration::from_secs(86_400);

/// What later scenes work with.
pub struct World {
    /// The directory inside Tenure.
    pub connector: String,
    /// Its group `reader`.
    pub entitlement: String,
    /// The role that gives it.
    pub role: String,
}

fn member(command: &str, group: &str) -> Value {
    json!({ "command": command, "params": { "account": "{{ person.attributes.uid }}", "group": group } })
}

/// A body of an entitlement over a group of the directory.
fn entitlement(connector: &str, group: &str) -> Value {
    json!({
        "name": group, "connectorId": connector,
        "provision": member("add_member", group), "deprovision": member("remove_member", group),
        "check": member("has_member", group),
        "list": { "command": "list_members", "params": { "group": group }, "key": "{{ provision.params.account }}" },
        "reconcile": { "policy": "revoke_unknown", "remove": {
            "command": "remove_member", "params": { "account": "{{ account.key }}", "group": group } } },
    })
}

pub async fn systems(h: &House) -> World {
    let [admin, _, _, _, _] = h.cast().await;
    let body = json!({ "name": "Directory", "kind": "directory", "config": { "createMissing": true } });
    let connector = id_of(&h.does(&admin, "POST /api/connectors", &[], body).await);
    let hook = json!({ "policy": { "hookEvents": ["hr.*"] }, "secrets": { "hook": "a-hook-secret-of-24-chars" } });
    h.does(&admin, "PATCH /api/connectors/{id}", &[&connector], hook).await;
    h.does(&admin, "POST /api/connectors/{id}/test", &[&connector], Value::Null).await;
    let add = json!({ "command": "add_member", "params": { "account": "ghost", "group": "reader" } });
    h.does(&admin, "POST /api/connectors/{id}/execute", &[&connector], add).await;
    let list = json!({ "command": "list_members", "params": { "group": "reader" } });
    h.does(&admin, "POST /api/connectors/{id}/list", &[&connector], list).await;
    h.does(&admin, "POST /api/connectors/rotate-keys", &[], json!({ "reason": "as every year" })).await;
    h.work().await;

    let body = entitlement(&connector, "reader");
    let entitlement = id_of(&h.does(&admin, "POST /api/entitlements", &[], body).await);
    let body = self::entitlement(&connector, "reader");
    h.does(&admin, "PUT /api/entitlements/{id}", &[&entitlement], body).await;
    let body = self::entitlement(&connector, "nobody's");
    let other = id_of(&h.does(&admin, "POST /api/entitlements", &[], body).await);
    h.does(&admin, "POST /api/entitlements/{id}/retire", &[&other], Value::Null).await;

    let body = |name: &str, days: u32| json!({ "name": name, "description": "", "defaultDurationDays": days,
        "requiredDocumentTypes": [], "entitlementIds": [entitlement] });
    let role = id_of(&h.does(&admin, "POST /api/roles", &[], body("reader", 30)).await);
    h.does(&admin, "PUT /api/roles/{id}", &[&role], body("reader", 60)).await;
    let other = id_of(&h.does(&admin, "POST /api/roles", &[], body("keeper", 30)).await);
    let conflict = json!({ "roleIds": [role, other], "reason": "who keeps does not read" });
    let conflict = id_of(&h.does(&admin, "POST /api/role-conflicts", &[], conflict).await);
    h.does(&admin, "POST /api/role-conflicts/{id}/remove", &[&conflict], json!({ "reason": "now they may" })).await;
    h.does(&admin, "POST /api/roles/{id}/retire", &[&other], Value::Null).await;
    World { connector, entitlement, role }
}

async fn submitted(h: &House, who: &Person, kind: &str, until: &str) -> String {
    let body = json!({ "type": kind, "personId": who.id, "validFrom": "2031-03-01T00:00:00Z", "expiresAt": until });
    id_of(&h.does(who, "POST /api/documents", &[], body).await)
}

pub async fn documents(h: &House, w: &World) {
    let [admin, mona, _, ada, _] = h.cast().await;
    let good = submitted(h, &ada, "training", "2031-05-01T00:00:00Z").await;
    let file = [("content-type", "text/plain")];
    let (status, put) =
        h.ask_with(Some(&ada), "PUT /api/documents/{id}/content", &[&good], json!("a certificate"), &file).await;
    assert_eq!(status, 422, "it wants a name: {put}");
    let path = "PUT /api/documents/{id}/content?name=a.txt";
    let (status, put) = h.ask_with(Some(&ada), path, &[&good], json!("a certificate"), &file).await;
    assert_eq!(status, 200, "{put}");
    let shown = h.does(&ada, "GET /api/documents/{id}", &[&good], Value::Null).await;
    let body = json!({ "reason": "seen", "sha256": shown["file"]["sha256"] });
    h.does(&mona, "POST /api/documents/{id}/approve", &[&good], body).await;
    let bad = submitted(h, &ada, "training", "2031-05-01T00:00:00Z").await;
    h.does(&mona, "POST /api/documents/{id}/reject", &[&bad], json!({ "reason": "not readable" })).await;
    let wrong = submitted(h, &ada, "training", "2031-05-01T00:00:00Z").await;
    h.does(&ada, "POST /api/documents/{id}/withdraw", &[&wrong], json!({ "reason": "the wrong one" })).await;

    // A role that rests on a document goes with it.
    let body = json!({ "name": "trained", "description": "", "requiredDocumentTypes": ["training"], "entitlementIds": [w.entitlement] });
    let trained = id_of(&h.does(&admin, "POST /api/roles", &[], body).await);
    let grant = json!({ "personId": ada.id, "roleId": trained, "reason": "for the study", "documentIds": [good] });
    h.does(&admin, "POST /api/assignments", &[], grant).await;
    h.work().await;
    let [admin, ..] = h.cast().await;
    h.does(&admin, "POST /api/documents/{id}/withdraw", &[&good], json!({ "reason": "it was forged" })).await;
    h.work().await;
}

pub async fn assignments(h: &House, w: &World) {
    let [admin, _, rosa, ada, milo] = h.cast().await;
    let grant = |who: &Person, more: Value| {
        let mut body = json!({ "personId": who.id, "roleId": w.role, "reason": "a beginning" });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    let after = |days: u32| h.clock.now().plus(days * DAY);
    let until = |days: u32| json!({ "expiresAt": after(days) });
    let first = id_of(&h.does(&admin, "POST /api/assignments", &[], grant(&ada, until(20))).await);
    h.work().await;
    let longer = json!({ "expiresAt": after(25), "reason": "it takes longer" });
    h.does(&admin, "POST /api/assignments/{id}/extend", &[&first], longer).await;
    h.work().await;
    let later = json!({ "startsAt": after(2), "expiresAt": after(20) });
    h.does(&admin, "POST /api/assignments", &[], grant(&rosa, later)).await;
    let third = id_of(&h.does(&admin, "POST /api/assignments", &[], grant(&milo, until(50))).await);
    h.work().await;
    h.does(&admin, "POST /api/assignments/{id}/revoke", &[&third], json!({ "reason": "not needed" })).await;
    h.work().await;
    // One that is reminded of, then ends with its time.
    for days in [2, 12, 5, 7, 4] {
        h.pass(days * DAY).await;
    }
}

/// What connected systems have is compared with what they should have.
pub async fn reconciliation(h: &House, w: &World) {
    let [admin, mona, ..] = h.cast().await;
    for account in ["uma", "ada", "ghost"] {
        let add = json!({ "command": "add_member", "params": { "account": account, "group": "reader" } });
        h.does(&admin, "POST /api/connectors/{id}/execute", &[&w.connector], add).await;
    }
    let few = json!({ "reconciliationMaxRemovals": 1, "reconciliationMaxRemovalPercent": 1 });
    h.does(&admin, "PUT /api/settings/security", &[], few).await;
    let all = json!({ "entitlementIds": [w.entitlement] });
    let begun = id_of(&h.does(&mona, "POST /api/reconciliations", &[], all.clone()).await);
    h.work().await;
    let held = h.does(&mona, "GET /api/reconciliations/{id}", &[&begun], Value::Null).await;
    let plan = id_of(&held["plans"][0]);
    let items = h.does(&mona, "GET /api/reconciliations/{id}/plans/{planId}/items", &[&begun, &plan], Value::Null).await;
    let all_items = items["items"].as_array().cloned().unwrap_or_default();
    let found = all_items.into_iter().find(|i| i["account"] == "uma").unwrap_or_default();
    let body = json!({ "roleId": w.role, "expiresAt": "2032-01-01T00:00:00Z", "reason": "she was here before" });
    h.does(&admin, "POST /api/reconciliations/{id}/items/{itemId}/adopt", &[&begun, &id_of(&found)], body).await;
    h.work().await;
    let why = json!({ "reason": "ghosts go" });
    h.does(&admin, "POST /api/reconciliations/{id}/plans/{planId}/reject", &[&begun, &plan], why.clone()).await;
    h.work().await;
    let begun = id_of(&h.does(&mona, "POST /api/reconciliations", &[], all.clone()).await);
    h.work().await;
    let held = h.does(&mona, "GET /api/reconciliations/{id}", &[&begun], Value::Null).await;
    let plan = id_of(&held["plans"][0]);
    h.does(&admin, "POST /api/reconciliations/{id}/plans/{planId}/approve", &[&begun, &plan], why).await;
    h.work().await;
    h.pass(Duration::from_secs(300)).await;

    // Under a policy that only reports, many are adopted at once.
    let mut reports = entitlement(&w.connector, "reader");
    reports["reconcile"] = json!({ "policy": "report" });
    h.does(&admin, "PUT /api/entitlements/{id}", &[&w.entitlement], reports).await;
    for account in ["ada", "mona"] {
        let add = json!({ "command": "add_member", "params": { "account": account, "group": "reader" } });
        h.does(&admin, "POST /api/connectors/{id}/execute", &[&w.connector], add).await;
    }
    let begun = id_of(&h.does(&mona, "POST /api/reconciliations", &[], all).await);
    h.work().await;
    let shown = h.does(&mona, "GET /api/reconciliations/{id}", &[&begun], Value::Null).await;
    let plan = &shown["plans"][0];
    let body = json!({ "roleId": w.role, "expiresAt": "2032-01-01T00:00:00Z", "reason": "found", "expectedCount": plan["adoptable"] });
    h.does(&admin, "POST /api/reconciliations/{id}/plans/{planId}/adopt", &[&begun, &id_of(plan)], body).await;
    h.work().await;
}

/// Emergencies, and what takes two people.
pub async fn side_doors(h: &House, w: &World) {
    let [admin, mona, _, ada, _] = h.cast().await;
    let body = json!({ "name": "operator", "description": "", "requiredDocumentTypes": [], "entitlementIds": [w.entitlement] });
    let operator = id_of(&h.does(&admin, "POST /api/roles", &[], body).await);
    let broken = json!({ "roleId": operator, "reason": "The freezer is warm and nobody answers.", "hours": 2 });
    let broken = id_of(&h.does(&mona, "POST /api/break-glass", &[], broken).await);
    h.work().await;
    h.pass(Duration::from_secs(3 * 3600)).await;
    h.pass(8 * DAY).await;
    let [admin, mona, ..] = h.cast().await;
    let verdict = json!({ "verdict": "justified", "reason": "it was warm" });
    h.does(&admin, "POST /api/break-glass/{id}/review", &[&broken], verdict).await;

    h.does(&admin, "PUT /api/settings/security", &[], json!({ "fourEyes": true })).await;
    let grant = |reason: &str| json!({ "personId": ada.id, "roleId": operator, "reason": reason });
    let milo = h.sign_in(MILO).await;
    let decide = async |asked: Value, decision: &str| {
        let body = json!({ "decision": decision, "reason": "so be it" });
        h.does(&milo, "POST /api/exceptions/{id}/decide", &[&id_of(&asked)], body).await
    };
    decide(h.does(&mona, "POST /api/assignments", &[], grant("one")).await, "reject").await;
    let agreed = decide(h.does(&mona, "POST /api/assignments", &[], grant("two")).await, "approve").await;
    h.work().await;
    assert_eq!(agreed["state"], "approved");
    h.does(&mona, "POST /api/assignments", &[], grant("three")).await;
    h.pass(8 * DAY).await;
    let [admin, ..] = h.cast().await;
    let iris = h.sign_in("iris@example.org").await;
    let rotate = json!({ "reason": "as every year" });
    let asked = h.does(&admin, "POST /api/connectors/rotate-keys", &[], rotate).await;
    let body = json!({ "decision": "approve", "reason": "so be it" });
    h.does(&iris, "POST /api/exceptions/{id}/decide", &[&id_of(&asked)], body).await;
    h.work().await;
    let asked = h.does(&admin, "POST /api/exceptions", &[], json!({ "kind": "four_eyes_off", "reason": "a small team" })).await;
    let body = json!({ "decision": "approve", "reason": "so be it" });
    h.does(&iris, "POST /api/exceptions/{id}/decide", &[&id_of(&asked)], body).await;
}
