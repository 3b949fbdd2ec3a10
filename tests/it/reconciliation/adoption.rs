//! Accounts that were there before Tenure become assignments, and nobody loses access over it.

use std::time::Duration;

use serde_json::json;
use tenure::base::access::{ExceptionMark, Principal};
use tenure::base::clock::Clock as _;
use tenure::base::id::PersonId;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::adoption::{Adoption, ops as adoptions, ops::Terms, store};
use tenure::features::access::reconciliation::{Item, ItemState, Plan, Status};

use super::directory::{add_members, over_ldap};
use super::world::{World, at, by};
use crate::soak::size;
use crate::support::slapd::{BASE_DN, Slapd};

const END: &str = "2031-12-31T00:00:00Z";

fn terms(world: &World) -> Terms {
    Terms { role: world.role.clone(), expires_at: at(END), reason: "found at the beginning".to_owned() }
}

async fn adopt_all(world: &World, plan: &Plan, asks: &PersonId, expected: u64) -> Adoption {
    let mark = ExceptionMark { id: None, requested_by: Some(asks.clone()), decided_by: None };
    let principal = Principal { exception: Some(mark), ..by() };
    let (id, terms) = (plan.id.clone(), terms(world));
    let begun = world.write(move |tx| adoptions::begin(tx, &principal, &id, &terms, expected)).await.unwrap();
    world.run().await;
    let id = begun.id.clone();
    world.read(move |tx| store::get_adoption(tx, &id)).await
}

fn find<'a>(items: &'a [Item], account: &str) -> &'a Item {
    items.iter().find(|i| i.account == account).unwrap_or_else(|| panic!("no item of {account}"))
}

#[tokio::test]
async fn found_accounts_become_assignments_without_a_gap() {
    let world = World::start(Policy::Repair).await;
    let asks = world.person("asks").await;
    for uid in ["ada", "bob", "cleo"] {
        world.person(uid).await;
        world.system.put(uid);
    }
    // Hers by her address, but provisioning would name it otherwise.
    world.person("dora").await;
    world.system.attributes.lock().unwrap().insert("d.smith".to_owned(), json!({ "mail": "dora@example.org" }));
    for account in ["d.smith", "asks", "ghost"] {
        world.system.put(account);
    }
    let (_, plan, items) = world.reconcile().await;
    assert_eq!(items.len(), 6);
    assert_eq!(find(&items, "ghost").person_id, None);
    let (id, wrong) = (plan.id.clone(), terms(&world));
    let refused = world.write(move |tx| adoptions::begin(tx, &by(), &id, &wrong, 4)).await.unwrap_err();
    assert_eq!(refused.status(), 409, "another number than was seen");

    let adoption = adopt_all(&world, &plan, &asks, 5).await;
    assert_eq!((adoption.adopted, adoption.skipped, adoption.ended_at.is_some()), (3, 2, true));
    assert!(world.system.changes().is_empty(), "nothing is taken away and given again");
    let items = world.items(&plan).await;
    assert!(find(&items, "d.smith").error.as_deref().unwrap().contains("would be called dora"));
    assert!(find(&items, "asks").error.as_deref().unwrap().contains("adopts nothing for themselves"));
    for uid in ["ada", "bob", "cleo"] {
        let item = find(&items, uid);
        let assignment = world.assignment(item.assignment_id.as_ref().expect("adopted")).await;
        assert_eq!((assignment.state.as_str(), assignment.expires_at), ("active", Some(at(END))));
        assert_eq!(item.state, ItemState::Done);
    }
    assert_eq!(world.audited("account.adopted").await, 3);
    // From now on they are as they should be, and at their end they go.
    world.clock.advance(Duration::from_secs(60));
    let (_, _, items) = world.reconcile().await;
    assert_eq!(items.len(), 3);
    world.clock.set(at(END));
    world.run().await;
    assert!(!world.system.has("ada") && world.system.has("ghost"));
}

#[tokio::test]
async fn one_account_is_adopted_by_whom_it_belongs_to_and_once() {
    let world = World::start(Policy::Report).await;
    world.system.put("ada");
    let (_, _, items) = world.reconcile().await;
    let ada = world.person("ada").await;
    let bob = world.person("bob").await;
    let other = world.role_of("other", &[]).await;
    let item = items[0].id.clone();
    let adopt = |person: PersonId, terms: Terms| {
        let item = item.clone();
        world.write(move |tx| adoptions::adopt_one(tx, &by(), &item, &person, &terms))
    };
    let refused = adopt(ada.clone(), Terms { role: other, ..terms(&world) }).await.unwrap_err();
    assert!(refused.to_string().contains("does not give Project group"), "{refused}");
    let refused = adopt(ada.clone(), Terms { expires_at: world.clock.now(), ..terms(&world) }).await.unwrap_err();
    assert_eq!(refused.status(), 422, "an end is needed, and it lies ahead");
    let refused = adopt(bob, terms(&world)).await.unwrap_err();
    assert!(refused.to_string().contains("would be called bob"), "{refused}");
    assert_eq!(world.number("SELECT count(*) FROM assignment").await, 0, "what was refused left nothing");
    adopt(ada.clone(), terms(&world)).await.unwrap();
    assert_eq!(adopt(ada, terms(&world)).await.unwrap_err().status(), 409);
    world.run().await;
    assert!(world.system.changes().is_empty());
}

/// In a real directory, by a group whose members are distinguished names in other capitals.
/// `TENURE_SOAK=full` adopts 2,000.
#[tokio::test]
async fn accounts_that_were_in_a_directory_server_are_adopted_and_nobody_loses_access() {
    let n = size(40, 2_000);
    let slapd = Slapd::start().await;
    add_members(&slapd, n);
    let world = over_ldap(&slapd, Policy::Repair).await;
    for i in 0..n {
        world.person(&format!("u{i:04}")).await;
    }
    let (status, plan, _) = world.reconcile_directory().await;
    assert_eq!(status, Status::Completed);
    // The directory's administrator is a member of the group as well, and nobody of ours.
    assert_eq!((plan.found, plan.expected), (u64::from(n) + 1, 0));
    let asks = world.admin.clone();
    let adoption = adopt_all(&world, &plan, &asks, u64::from(n)).await;
    assert_eq!((adoption.adopted, adoption.skipped), (u64::from(n), 0));
    let active = world.read(|tx| {
        tx.scalar::<u32>("SELECT count(*) FROM assignment WHERE state = 'active' AND expires_at IS NOT NULL", &[])
    });
    assert_eq!(active.await, n, "each with an end");
    // The server was asked to change nothing.
    assert_eq!(slapd.carried_out("MOD", &format!("cn=researchers,ou=groups,{BASE_DN}")), 1, "but for our own beginning");
    world.clock.set(at(END));
    world.run().await;
    let left = world.read(|tx| tx.scalar::<u32>("SELECT count(*) FROM assignment WHERE state = 'expired'", &[])).await;
    assert_eq!(left, n);
}
