//! Reconciliation over HTTP, and that adopting takes two people.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADMIN, MONA};
use tenure::params;

use crate::support::eventually;
use crate::support::office::{MILO, Office, Who, id_of};

/// A role whose entitlement is listed, with Milo and a ghost in its group already.
async fn office() -> (Office, Who, String) {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let role = office.role(&admin, "reader").await;
    let all = office.does(&admin, "GET", "/api/entitlements", Value::Null).await;
    let mut entitlement = all["items"][0].clone();
    let id = id_of(&entitlement);
    let connector = entitlement["connectorId"].as_str().expect("a connector").to_owned();
    entitlement["list"] =
        json!({ "command": "list_members", "params": { "group": "reader" }, "key": "{{ provision.params.account }}" });
    entitlement["reconcile"] = json!({ "policy": "revoke_unknown", "remove": {
        "command": "remove_member", "params": { "account": "{{ account.key }}", "group": "reader" } } });
    let body = ["name", "connectorId", "provision", "deprovision", "list", "reconcile"];
    let body: Value = body.iter().map(|f| ((*f).to_owned(), entitlement[*f].clone())).collect::<serde_json::Map<_, _>>().into();
    let changed = office.does(&admin, "PUT", &format!("/api/entitlements/{id}"), body).await;
    assert_eq!(changed["reconcile"]["policy"], "revoke_unknown");
    for account in ["milo", "ghost"] {
        let body = json!({ "command": "add_member", "params": { "account": account, "group": "reader" } });
        office.does(&admin, "POST", &format!("/api/connectors/{connector}/execute"), body).await;
    }
    (office, admin, role)
}

async fn ended(office: &Office, who: &Who, id: &str) -> Value {
    let path = format!("/api/reconciliations/{id}");
    eventually("the reconciliation came to rest", Duration::from_secs(20), || async {
        let (_, found) = office.ask(who, "GET", &path, Value::Null).await;
        Some(found).filter(|r| r["status"] != "running")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_plan_is_looked_at_adopted_from_by_two_and_then_approved() {
    let (office, admin, role) = office().await;
    let (mona, _) = office.sign_in(MONA).await;
    let begun = office.does(&mona, "POST", "/api/reconciliations", json!({})).await;
    let id = id_of(&begun);
    let held = ended(&office, &mona, &id).await;
    let plan = &held["plans"][0];
    assert_eq!((held["status"].as_str(), plan["why"].as_str()), (Some("held"), Some("threshold")), "{held}");
    assert_eq!((&plan["counts"]["remove"], &plan["found"]), (&json!(2), &json!(2)));
    let base = format!("/api/reconciliations/{id}/plans/{}", id_of(plan));
    let items = office.does(&mona, "GET", &format!("{base}/items?action=remove&limit=1"), Value::Null).await;
    assert_eq!(items["items"][0]["account"], "ghost");
    let rest = items["nextCursor"].as_str().expect("more");
    let items = office.does(&mona, "GET", &format!("{base}/items?action=remove&limit=1&cursor={rest}"), Value::Null).await;
    let milo = items["items"][0].clone();
    assert_eq!((milo["account"].as_str(), milo["person"]["displayName"].as_str()), (Some("milo"), Some("Milo")));
    assert_eq!(office.ask(&mona, "POST", &format!("{base}/approve"), json!({ "reason": "r" })).await.0, 403);
    assert_eq!(office.ask(&admin, "POST", &format!("{base}/approve"), json!({ "reason": " " })).await.0, 422);
    assert_eq!(office.ask(&admin, "GET", &format!("{base}/items?cursor=x"), Value::Null).await.0, 422);

    // Adopting makes access: nobody does it alone, nor for themselves.
    office.four_eyes(&admin).await;
    let adopt = format!("/api/reconciliations/{id}/items/{}/adopt", id_of(&milo));
    let body = json!({ "roleId": role, "expiresAt": "2099-01-01T00:00:00Z", "reason": "he was here before" });
    let (status, asked) = office.ask(&mona, "POST", &adopt, body.clone()).await;
    assert_eq!((status, asked["kind"].as_str()), (202, Some("adopt_account")), "{asked}");
    let assignments = || office.read(|tx| tx.scalar::<u32>("SELECT count(*) FROM assignment", params![]));
    assert_eq!(assignments().await, 0);
    let decide = format!("/api/exceptions/{}/decide", id_of(&asked));
    let agree = json!({ "decision": "approve", "reason": "I know him" });
    let (as_milo, _) = office.sign_in(MILO).await;
    for alone in [&mona, &as_milo, &Who::Machine] {
        assert_eq!(office.ask(alone, "POST", &decide, agree.clone()).await.0, 403);
    }
    office.does(&admin, "POST", &decide, agree).await;
    assert_eq!(assignments().await, 1);
    assert_eq!(office.ask(&mona, "POST", &adopt, body).await.0, 409, "once");

    // What is left of the plan goes on by a decision, and what was adopted stays.
    office.does(&admin, "POST", &format!("{base}/approve"), json!({ "reason": "ghosts go" })).await;
    let over = eventually("the plan is over", Duration::from_secs(40), || async {
        let (_, found) = office.ask(&admin, "GET", &format!("/api/reconciliations/{id}"), Value::Null).await;
        Some(found).filter(|r| r["status"] == "completed")
    })
    .await;
    assert_eq!(over["plans"][0]["counts"]["done"], 2, "{over}");
    assert!(over["plans"][0]["decidedBy"].is_string());
    let members = office.read(|tx| {
        tx.query("SELECT account_name FROM directory_member", params![], |row| row.get::<String>("account_name"))
    });
    assert_eq!(members.await, ["milo"]);
    let audited = office.read(|tx| {
        tx.scalar::<u32>("SELECT count(*) FROM audit_log WHERE action IN ('account.adopted', 'account.removed')", params![])
    });
    assert_eq!(audited.await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_a_reconciliation_is_checked_and_the_threshold_is_a_setting() {
    let (office, admin, role) = office().await;
    let unknown = json!({ "entitlementIds": ["ent_00000000000000000000000000"] });
    assert_eq!(office.ask(&admin, "POST", "/api/reconciliations", unknown).await.0, 422);
    office.role(&admin, "without a list").await;
    let all = office.does(&admin, "GET", "/api/entitlements", Value::Null).await;
    let second = json!({ "entitlementIds": [all["items"][1]["id"]] });
    let (status, refused) = office.ask(&admin, "POST", "/api/reconciliations", second).await;
    assert_eq!(status, 422);
    assert!(refused.to_string().contains("does not say how its accounts are listed"), "{refused}");

    let settings = json!({ "reconciliationMaxRemovalPercent": 100, "reconciliationMaxRemovals": 1 });
    let in_force = office.does(&admin, "PUT", "/api/settings/security", settings).await;
    assert_eq!(in_force["reconciliationMaxRemovals"]["value"], 1);
    assert_eq!(in_force["reconciliationMaxRemovals"]["source"], "saved");
    let (status, _) =
        office.ask(&admin, "PUT", "/api/settings/security", json!({ "reconciliationMaxRemovalPercent": 101 })).await;
    assert_eq!(status, 422);
    let begun = office.does(&admin, "POST", "/api/reconciliations", json!({ "dryRun": true })).await;
    let shown = ended(&office, &admin, &id_of(&begun)).await;
    assert_eq!((shown["kind"].as_str(), shown["status"].as_str()), (Some("dry_run"), Some("completed")));
    assert_eq!(shown["plans"][0]["counts"]["planned"], 2);

    // Many at once: as many as were seen.
    let plan = &shown["plans"][0];
    let adopt = format!("/api/reconciliations/{}/plans/{}/adopt", id_of(&shown), id_of(plan));
    let body = |n: u32| json!({ "roleId": role, "expiresAt": "2099-01-01T00:00:00Z", "reason": "r", "expectedCount": n });
    assert_eq!(plan["adoptable"], 0, "what a policy would remove is not adopted by the dozen");
    assert_eq!(office.ask(&admin, "POST", &adopt, body(1)).await.0, 409);
    assert_eq!(office.ask(&admin, "POST", &adopt, body(0)).await.0, 409);
    let listed = office.does(&admin, "GET", "/api/reconciliations?status=completed", Value::Null).await;
    assert_eq!(listed["items"].as_array().expect("items").len(), 1);
    let still = office.does(&admin, "GET", "/api/reconciliations/still-present", Value::Null).await;
    assert_eq!(still["items"], json!([]));
    let health = office.does(&admin, "GET", "/api/health", Value::Null).await;
    assert_eq!(health["checks"]["access"]["status"], "ok", "{health}");
}
