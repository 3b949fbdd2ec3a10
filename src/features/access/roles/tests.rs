//! Changing and retiring what is granted, with people who hold it.

use serde_json::{Value, json};

use super::ops::{NewRole, retire_role, update_role};
use super::{Role, RoleStatus, store};
use crate::base::id::{ConnectorId, EntitlementId, RoleId};
use crate::base::problem::Problem;
use crate::features::access::assignments::AssignmentState;
use crate::features::access::entitlements::ops::{NewEntitlement, retire_entitlement, update_entitlement};
use crate::features::access::entitlements::{Entitlement, EntitlementStatus, ListCall, store as entitlements};
use crate::features::access::testing::{Bench, by};
use crate::params;

fn list(key: &str) -> ListCall {
    ListCall { command: "list_members".to_owned(), params: json!({ "group": "g" }), key: key.to_owned(), ignore_case: false }
}

impl Bench {
    async fn stored_role(&self, id: &RoleId) -> Role {
        let id = id.clone();
        self.store.read(move |tx| store::get_role(tx, &id)).await.unwrap()
    }

    async fn change_role(&self, id: &RoleId, change: fn(&mut NewRole)) -> Result<Role, Problem> {
        let old = self.stored_role(id).await;
        let mut new = NewRole {
            name: old.name,
            description: old.description,
            owner_id: old.owner_id,
            default_duration_days: old.default_duration_days,
            required_document_types: old.required_document_types,
            entitlement_ids: old.entitlements.into_iter().map(|e| e.id).collect(),
        };
        change(&mut new);
        let id = id.clone();
        self.write(move |tx| update_role(tx, &by(), &id, new.clone())).await
    }

    async fn change_entitlement(
        &self,
        id: &EntitlementId,
        change: fn(&mut NewEntitlement),
    ) -> Result<Entitlement, Problem> {
        let wanted = id.clone();
        let old = self.store.read(move |tx| entitlements::get_entitlement(tx, &wanted)).await.unwrap();
        let mut new = NewEntitlement {
            name: old.name,
            connector_id: old.connector_id,
            provision: old.provision,
            deprovision: old.deprovision,
            check: old.check,
            list: old.list,
            reconcile: old.reconcile,
        };
        change(&mut new);
        let id = id.clone();
        self.write(move |tx| update_entitlement(tx, &by(), &id, new.clone())).await
    }

    /// How often an action stands in the audit log.
    async fn audited(&self, action: &'static str) -> u32 {
        self.store
            .read(move |tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = ?1", params![action]))
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_changed_role_counts_for_those_who_get_it_from_then_on() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    bench.role("other", &entitlement, &[]).await;
    let held = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    let changed = bench
        .change_role(&role, |new| {
            new.name = "Reader of data".to_owned();
            new.required_document_types = vec!["certificate".to_owned()];
            new.entitlement_ids.clear();
        })
        .await
        .unwrap();
    assert_eq!(json!(bench.stored_role(&role).await), json!(changed));
    assert_eq!((changed.name.as_str(), changed.entitlements.len()), ("Reader of data", 0));
    // Who held it before keeps what they have, and loses it at the end.
    assert_eq!(bench.assignment(&held).await.state, AssignmentState::Active);
    assert!(bench.grant(&role, None).await.unwrap_err().to_string().contains("certificate"));
    bench.revoke(&held).await;
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(bench.assignment(&held).await.state, AssignmentState::Revoked);
    let taken = bench.change_role(&role, |new| new.name = "other".to_owned()).await.unwrap_err();
    assert_eq!(taken.status(), 409);
    assert_eq!(bench.audited("role.updated").await, 1);
}

#[tokio::test]
async fn a_retired_role_is_not_granted_and_who_holds_it_keeps_it() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let held = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    for expected in [Ok(RoleStatus::Retired), Err(409)] {
        let id = role.clone();
        let retired = bench.write(move |tx| retire_role(tx, &by(), &id)).await;
        assert_eq!(retired.map(|r| r.status).map_err(|p| p.status()), expected);
    }
    let listed = bench.store.read(|tx| store::list_roles(tx, &store::Filter::default(), None, 10)).await.unwrap();
    assert_eq!(json!(listed)[0]["status"], "retired");
    assert!(bench.grant(&role, None).await.unwrap_err().to_string().contains("retired"));
    assert_eq!(bench.change_role(&role, |_| ()).await.unwrap_err().status(), 409);
    assert!(bench.holds());
    bench.revoke(&held).await;
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(bench.audited("role.retired").await, 1);
}

/// Commands that somebody was given with are those that take it away: they do not change under them.
#[tokio::test]
async fn the_commands_of_an_entitlement_that_is_held_do_not_change() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let held = bench.grant(&role, None).await.unwrap();
    let other_account = |new: &mut NewEntitlement| new.deprovision.params = json!({ "account": "somebody-else" });
    // Queued, given, and on its way out: each is held.
    for step in 0..3 {
        let refused = bench.change_entitlement(&entitlement, other_account).await.unwrap_err();
        assert_eq!(refused.status(), 409, "{step}");
        assert!(refused.to_string().contains("retire this one"), "{refused}");
        match step {
            0 => bench.run().await,
            1 => bench.revoke(&held).await,
            _ => {}
        }
    }
    // How one asks who has it gives and takes nothing.
    let listed = bench.change_entitlement(&entitlement, |new| new.list = Some(list("{{ person.attributes.uid }}"))).await;
    assert_eq!(listed.unwrap().list.unwrap().command, "list_members");
    let refused = bench.change_entitlement(&entitlement, |new| new.list = Some(list("{{ person."))).await.unwrap_err();
    assert!(refused.to_string().contains("list.key"), "{refused}");
    let renamed = bench.change_entitlement(&entitlement, |new| new.name = "Group of the project".to_owned()).await;
    assert_eq!(renamed.unwrap().name, "Group of the project");
    bench.run().await;
    assert!(!bench.holds());
    let changed = bench.change_entitlement(&entitlement, other_account).await.unwrap();
    assert_eq!(changed.deprovision.params["account"], Value::from("somebody-else"));
    assert_eq!(bench.audited("entitlement.updated").await, 3);
}

#[tokio::test]
async fn a_retired_entitlement_is_given_no_more_and_stays_with_who_has_it() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let held = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    for expected in [Ok(EntitlementStatus::Retired), Err(409)] {
        let id = entitlement.clone();
        let retired = bench.write(move |tx| retire_entitlement(tx, &by(), &id)).await;
        assert_eq!(retired.map(|e| e.status).map_err(|p| p.status()), expected);
    }
    assert_eq!(json!(bench.stored_role(&role).await)["entitlements"][0]["status"], "retired");
    assert!(bench.grant(&role, None).await.unwrap_err().to_string().contains("retired"));
    // The role may keep naming it; a role that did not may not begin to.
    bench.change_role(&role, |new| new.description = "old".to_owned()).await.unwrap();
    bench.change_role(&role, |new| new.entitlement_ids.clear()).await.unwrap();
    let id = entitlement.clone();
    let again = bench
        .write(move |tx| {
            let new = NewRole {
                name: "second".to_owned(),
                description: String::new(),
                owner_id: None,
                default_duration_days: None,
                required_document_types: Vec::new(),
                entitlement_ids: vec![id.clone()],
            };
            super::ops::create_role(tx, &by(), new)
        })
        .await;
    assert_eq!(again.unwrap_err().status(), 422);
    assert!(bench.holds());
    bench.revoke(&held).await;
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(bench.audited("entitlement.retired").await, 1);
}

#[tokio::test]
async fn lists_are_narrowed_by_name_status_and_what_is_given_where() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let reader = bench.role("Data Reader", &entitlement, &[]).await;
    let writer = bench.role("Data Writer", &entitlement, &[]).await;
    bench.change_role(&writer, |new| new.entitlement_ids.clear()).await.unwrap();
    let id = writer.clone();
    bench.write(move |tx| retire_role(tx, &by(), &id)).await.unwrap();
    let roles = async |filter: store::Filter| -> Vec<RoleId> {
        let found = bench.store.read(move |tx| store::list_roles(tx, &filter, None, 10)).await.unwrap();
        found.into_iter().map(|r| r.id).collect()
    };
    let named = |q: &str| store::Filter { q: Some(q.to_owned()), ..Default::default() };
    assert_eq!(roles(named("data")).await, [reader.clone(), writer.clone()]);
    assert_eq!(roles(named("WRITER")).await, std::slice::from_ref(&writer));
    assert!(roles(named("%")).await.is_empty());
    assert_eq!(roles(store::Filter { status: Some(RoleStatus::Retired), ..Default::default() }).await, [writer]);
    assert_eq!(roles(store::Filter { entitlement: Some(entitlement.clone()), ..Default::default() }).await, [reader]);

    let entitlements = async |filter: entitlements::Filter| {
        bench.store.read(move |tx| entitlements::list_entitlements(tx, &filter, None, 10)).await.unwrap()
    };
    let all = entitlements(entitlements::Filter::default()).await;
    let connector = all[0].connector_id.clone();
    let nowhere: ConnectorId = bench.write(|tx| Ok(tx.new_id())).await.unwrap();
    let there = entitlements::Filter { q: Some("project".to_owned()), status: Some(EntitlementStatus::Active), connector: Some(connector) };
    assert_eq!(entitlements(there.clone()).await.len(), 1);
    let elsewhere = entitlements::Filter { connector: Some(nowhere), ..there.clone() };
    let retired = entitlements::Filter { status: Some(EntitlementStatus::Retired), ..there };
    assert!(entitlements(elsewhere).await.is_empty() && entitlements(retired).await.is_empty());
}
