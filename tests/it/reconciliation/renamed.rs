//! What an account is called: a name that is only guessed takes nothing from anybody.

use std::time::Duration;

use tenure::base::id::PersonId;
use tenure::features::access::assignments::AssignmentState;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::{Action, PlanStatus, Status};
use tenure::features::identity::people::ops::{PersonChange, change_person};

use super::world::{World, by, told};

/// A person is called otherwise from now on; the connected system knows nothing of it.
async fn rename(world: &World, person: &PersonId, uid: &str) {
    let (person, uid) = (person.clone(), uid.to_owned());
    let renamed = world.write(move |tx| {
        let change = PersonChange {
            email: Some(format!("{uid}@example.org")),
            attributes: Some(serde_json::json!({ "uid": uid })),
            ..PersonChange::default()
        };
        change_person(tx, &by(), &person, change).map(drop)
    });
    renamed.await.unwrap();
}

/// The key of the list is made of the person, and was asked for after their name had changed.
async fn key_of_the_person(world: &World) {
    world.change(|e| e.list.as_mut().unwrap().key = "{{ person.attributes.uid }}".to_owned()).await;
}

/// Ada was given it under her old name. By her new one she would be missing, and her account unknown.
#[tokio::test]
async fn who_changed_their_name_keeps_the_account_of_the_old_one() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    let held = world.holders(&["ada", "bob"]).await;
    rename(&world, &held[0].0, "ada.lovelace").await;
    key_of_the_person(&world).await;
    world.system.put("stranger");
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let (status, plan, items) = world.reconcile().await;
        assert_eq!((status, plan.nameless), (Status::Completed, 1), "{:?}", told(&items));
        assert_eq!(told(&items), [
            ("ada", Action::Adopt, "keys_missing", "reported"),
            ("stranger", Action::Adopt, "keys_missing", "reported"),
        ]);
        assert!(world.system.changes().is_empty());
    }
    // With the key of the call it is known again, whatever she is called.
    world.change(|e| e.list.as_mut().unwrap().key = "{{ provision.params.account }}".to_owned()).await;
    let (_, plan, items) = world.reconcile().await;
    assert_eq!((plan.nameless, told(&items)), (0, vec![("stranger", Action::Remove, "unknown", "done")]));
    assert!(world.system.has("ada") && world.system.has("bob"));
}

/// Bob left as `bob` and is called `ada2` by now, which is what another account has always been called:
/// that one is not his, and `bob`, which somebody else has by now, is not taken away again.
#[tokio::test]
async fn a_name_that_came_later_says_nothing_about_what_was_taken_away() {
    let world = World::start(Policy::Repair).await;
    world.lift_threshold().await;
    let held = world.holders(&["bob"]).await;
    world.revoke(&held[0].1).await;
    world.run().await;
    rename(&world, &held[0].0, "ada2").await;
    let new_bob = world.holders(&["bob"]).await;
    world.system.put("ada2");
    key_of_the_person(&world).await;
    world.clock.advance(Duration::from_secs(60));
    let (status, _, items) = world.reconcile().await;
    assert_eq!((status, told(&items)), (Status::Completed, vec![("ada2", Action::Adopt, "unknown", "reported")]));
    assert!(world.system.changes().is_empty());
    assert!(world.system.has("bob"));
    assert_eq!(world.assignment(&new_bob[0].1).await.state, AssignmentState::Active);
}

/// The system renamed an account: one is missing and one unknown, and the unknown one stays.
#[tokio::test]
async fn an_account_that_the_system_renamed_is_not_removed() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    world.holders(&["ada", "bob"]).await;
    world.system.drop_behind_our_back("ada");
    world.system.put("ada-renamed");
    world.clock.advance(Duration::from_secs(60));
    let (_, plan, items) = world.reconcile().await;
    assert_eq!(plan.status, PlanStatus::Completed);
    assert_eq!(told(&items), [
        ("ada-renamed", Action::Adopt, "others_missing", "reported"),
        ("ada", Action::Add, "missing", "done"),
    ]);
    assert!(world.system.has("ada-renamed") && world.system.has("ada"));
}

/// A key that fits nobody makes everything missing and everything unknown: nothing is removed by it.
#[tokio::test]
async fn a_key_that_fits_nobody_removes_nobody() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    world.holders(&["ada", "bob", "cleo"]).await;
    world.change(|e| e.list.as_mut().unwrap().key = "{{ person.email }}".to_owned()).await;
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..3 {
        let (_, _, items) = world.reconcile().await;
        assert!(items.iter().all(|i| i.action != Action::Remove), "{:?}", told(&items));
        world.clock.advance(Duration::from_secs(60));
    }
    for account in ["ada", "bob", "cleo"] {
        assert!(world.system.has(account), "{account}");
    }
    assert!(world.system.changes().iter().all(|(command, _)| command != "remove"));
}
