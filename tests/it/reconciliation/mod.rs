//! Reconciliation against a real store, the real job handlers and a connected system that lies.

mod adoption;
mod api;
mod chaos;
mod directory;
mod large;
mod outage;
mod renamed;
mod shared;
mod silence;
mod world;

use std::time::Duration;

use tenure::features::access::assignments::AssignmentState;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::entitlements::ops::NewEntitlement;
use tenure::features::access::reconciliation::{Action, Kind, PlanStatus, Status, items, ops};
use tenure::features::connectors::{Found, ListPage};
use tenure::features::settings::{MAX_REMOVAL_PERCENT, MAX_REMOVALS};
use tenure::platform::queue::names;
use world::{World, by, connector, listed, told};

/// One account of each kind: as it should be, lost, ended and still there, unknown.
async fn differences(policy: Policy) -> World {
    let world = removals(policy).await;
    world.system.drop_behind_our_back("bob");
    world
}

/// Two as they should be, one that ended and is still there, one that is unknown.
async fn removals(policy: Policy) -> World {
    let world = World::start(policy).await;
    let held = world.holders(&["ada", "bob", "cleo"]).await;
    world.revoke(&held[2].1).await;
    world.run().await;
    world.system.put("cleo");
    world.system.put("dora");
    world.system.changes();
    world.clock.advance(Duration::from_secs(60));
    world.lift_threshold().await;
    world
}

fn change(command: &str, account: &str) -> (String, String) {
    (command.to_owned(), account.to_owned())
}

#[tokio::test]
async fn each_policy_does_what_it_names_and_tells_the_rest() {
    for (policy, changes, unknown) in [
        (Policy::Report, vec![], "unknown"),
        (Policy::Repair, vec![change("remove", "cleo"), change("add", "bob")], "unknown"),
        (Policy::RevokeUnknown, vec![change("remove", "cleo"), change("add", "bob")], "others_missing"),
    ] {
        let world = differences(policy).await;
        let (status, plan, items) = world.reconcile().await;
        assert_eq!((status, plan.status), (Status::Completed, PlanStatus::Completed), "{policy:?}");
        assert_eq!((plan.found, plan.expected, plan.pages), (3, 2, 1), "{policy:?}");
        let mut done = world.system.changes();
        done.sort_by_key(|(command, account)| (command == "add", account.clone()));
        assert_eq!(done, changes, "{policy:?}");
        let repaired = if policy == Policy::Report { "reported" } else { "done" };
        assert_eq!(told(&items), [
            ("cleo", Action::Remove, "still_there", repaired),
            ("dora", Action::Adopt, unknown, "reported"),
            ("bob", Action::Add, "missing", repaired),
        ], "{policy:?}");
        assert!(world.system.has("ada"));
        // Once it was carried out, what is unknown is left; and nothing is missing any more that it might be.
        world.clock.advance(Duration::from_secs(60));
        let (_, _, again) = world.reconcile().await;
        let left = match policy {
            Policy::Report => told(&items),
            Policy::Repair => vec![("dora", Action::Adopt, "unknown", "reported")],
            Policy::RevokeUnknown => vec![("dora", Action::Remove, "unknown", "done")],
        };
        assert_eq!(told(&again), left, "{policy:?}");
        assert_eq!(world.system.has("dora"), policy != Policy::RevokeUnknown);
        assert_eq!(world.audited("account.removed").await, u32::from(policy == Policy::RevokeUnknown));
        assert_eq!(world.number("SELECT count(*) FROM reconciliation_found").await, 0, "what was staged is gone");
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let world = removals(Policy::RevokeUnknown).await;
    let id = world.begin(Kind::DryRun).await;
    assert_eq!(world.rest(&id).await, Status::Completed);
    let plan = world.plan(&id).await;
    assert_eq!(world.counts(&plan).await.planned, 2);
    assert!(world.system.changes().is_empty());
    assert_eq!(world.audited("grant.missing").await, 0);
}

/// A plan over the threshold is held whole, its administrators are told, and it goes on only by a decision.
#[tokio::test]
async fn a_plan_over_the_threshold_is_held_whole_and_waits() {
    let world = removals(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVALS, 1).await;
    let (status, plan, _) = world.reconcile().await;
    assert_eq!((status, plan.status, plan.why.as_deref()), (Status::Held, PlanStatus::Held, Some("threshold")));
    assert!(world.system.changes().is_empty());
    assert_eq!(world.number("SELECT count(*) FROM notification WHERE kind = 'reconciliation'").await, 1);
    assert_eq!(world.read(ops::trouble).await.unwrap(), "access that ended and is still present: 1; reconciliations that wait for a decision: 1");

    world.decide(&plan, true).await.unwrap();
    assert_eq!(world.decide(&plan, false).await.unwrap_err().status(), 409);
    assert_eq!(world.rest(&plan.reconciliation_id).await, Status::Completed);
    assert_eq!(world.system.changes().len(), 2);
    assert_eq!(world.audited("reconciliation.approved").await, 1);
    assert_eq!(world.read(ops::trouble).await, None);
    // What was let go counts for a day: the next one is held again, until the day is over.
    world.system.put("eve");
    let (status, plan, _) = world.reconcile().await;
    assert_eq!(status, Status::Held, "{:?}", plan.detail);
    world.decide(&plan, false).await.unwrap();
    assert_eq!(world.plan(&plan.reconciliation_id).await.status, PlanStatus::Rejected);
    assert!(world.system.has("eve"));
    world.clock.advance(Duration::from_secs(25 * 3600));
    let (status, _, _) = world.reconcile().await;
    assert_eq!((status, world.system.has("eve")), (Status::Completed, false));
}

/// Removals of several entitlements of one connector, and of several connectors, are counted together.
#[tokio::test]
async fn a_removal_that_is_cut_into_many_entitlements_is_counted_together() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVAL_PERCENT, 100).await;
    world.set(MAX_REMOVALS, 5).await;
    let here = world.connector.clone();
    let more = world.write(move |tx| {
        let there = connector(tx, "Elsewhere")?;
        let mut new = listed("Second", &here, Policy::RevokeUnknown);
        tenure::features::access::entitlements::ops::create_entitlement(tx, &by(), new.clone())?;
        new = listed("Third", &there, Policy::RevokeUnknown);
        tenure::features::access::entitlements::ops::create_entitlement(tx, &by(), new).map(drop)
    });
    more.await.unwrap();
    // Each of the three finds two strangers.
    world.system.lies(|_, _| {
        let found = |key: &str| Found { key: key.to_owned(), attributes: serde_json::json!({}) };
        Ok(ListPage::last(vec![found("stranger-1"), found("stranger-2")]))
    });
    let id = world.begin(Kind::Scheduled).await;
    assert_eq!(world.rest(&id).await, Status::Held);
    let plans = world.read(move |tx| tenure::features::access::reconciliation::store::list_plans(tx, &id)).await;
    let held: Vec<_> = plans.iter().filter(|p| p.status == PlanStatus::Held).collect();
    assert_eq!(held.len(), 1, "two of three went, and together they are four");
    assert!(held[0].detail.as_deref().unwrap().contains("in all connected systems"), "{:?}", held[0].detail);
}

/// A plan that nobody decided about gives way to the next one.
#[tokio::test]
async fn a_newer_plan_takes_the_place_of_one_that_is_held() {
    let world = removals(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVALS, 1).await;
    let (_, first, _) = world.reconcile().await;
    let (_, second, _) = world.reconcile().await;
    let old = world.plan(&first.reconciliation_id).await;
    assert_eq!((old.status, second.status), (PlanStatus::Superseded, PlanStatus::Held));
    assert_eq!(world.decide(&first, true).await.unwrap_err().status(), 409);
}

/// Between plan and approval the world goes on: what somebody needs by then is left alone.
#[tokio::test]
async fn what_a_held_plan_says_is_judged_again_when_it_is_let_go() {
    let world = removals(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVALS, 1).await;
    let (_, plan, _) = world.reconcile().await;
    let cleo = world.read(|tx| tx.scalar::<String>("SELECT id FROM person WHERE display_name = 'cleo'", &[])).await;
    let dora = world.person("dora").await;
    world.grant(&cleo.parse().unwrap(), &world.role, None).await;
    world.grant(&dora, &world.role, None).await;
    world.run().await;
    world.decide(&plan, true).await.unwrap();
    assert_eq!(world.rest(&plan.reconciliation_id).await, Status::Completed);
    assert!(world.system.has("cleo") && world.system.has("dora"));
    let items = world.items(&plan).await;
    assert_eq!(items.iter().map(|i| i.state.as_str()).collect::<Vec<_>>(), ["skipped", "skipped"], "{items:#?}");
}

/// A plan shows what was found by one list. Another list, another call that removes, or another system make it
/// a plan about something else: it is not let go, and what was let go just before removes nothing.
#[tokio::test]
async fn a_plan_of_an_entitlement_that_changed_removes_nothing() {
    let elsewhere = |e: &mut NewEntitlement| {
        e.reconcile.remove.as_mut().unwrap().params = serde_json::json!({ "account": "ada" });
    };
    let world = removals(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVALS, 1).await;
    let (_, plan, _) = world.reconcile().await;
    world.change(elsewhere).await;
    assert_eq!(world.decide(&plan, true).await.unwrap_err().status(), 409);
    world.decide(&plan, false).await.unwrap();

    let world = removals(Policy::RevokeUnknown).await;
    world.set(MAX_REMOVALS, 1).await;
    let (_, plan, _) = world.reconcile().await;
    world.decide(&plan, true).await.unwrap();
    world.change(elsewhere).await;
    assert_eq!(world.rest(&plan.reconciliation_id).await, Status::Completed);
    let items = world.items(&plan).await;
    assert_eq!(items.iter().map(|i| (i.account.as_str(), i.state.as_str())).collect::<Vec<_>>(),
        [("cleo", "done"), ("dora", "skipped")]);
    assert!(world.system.has("ada") && world.system.has("dora"));

    let world = removals(Policy::RevokeUnknown).await;
    let id = world.begin(Kind::Manual).await;
    world.change(|e| e.reconcile.policy = Policy::Report).await;
    assert_eq!(world.rest(&id).await, Status::Failed);
    assert_eq!(world.plan(&id).await.why.as_deref(), Some("changed"));
    assert!(world.system.changes().is_empty());
}

#[tokio::test]
async fn an_unknown_account_stays_where_it_may_be_somebodys() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    world.holders(&["ada", "bob"]).await;
    world.clock.advance(Duration::from_secs(60));
    // Ada holds it as ada; the system also has another account of hers, and bob in another spelling.
    world.system.attributes.lock().unwrap().insert("ada.admin".to_owned(), serde_json::json!({ "mail": "ada@example.org" }));
    world.system.put("ada.admin");
    world.system.drop_behind_our_back("bob");
    world.system.put("BOB ");
    let (status, _, items) = world.reconcile().await;
    assert_eq!(status, Status::Completed);
    assert_eq!(told(&items), [
        ("BOB ", Action::Ignore, "other_spelling", "reported"),
        ("ada.admin", Action::Ignore, "held_otherwise", "reported"),
        ("bob", Action::Add, "missing", "done"),
    ]);
    assert!(world.system.has("ada.admin") && world.system.has("BOB "));
    // Without a call that removes, and while some grant does not know its account, strangers are told.
    world.system.put("stranger");
    world.change(|e| e.reconcile.remove = None).await;
    let (_, _, items) = world.reconcile().await;
    let of = |items: &[tenure::features::access::reconciliation::Item]| {
        items.iter().find(|i| i.account == "stranger").map(|i| i.reason.as_str()).unwrap()
    };
    assert_eq!(of(&items), "no_remove_call");
    world.change(|e| {
        e.reconcile.remove = Some(e.deprovision.clone());
        e.list.as_mut().unwrap().key = "{{ person.attributes.nothing }}".to_owned();
    })
    .await;
    let (_, plan, items) = world.reconcile().await;
    assert_eq!((of(&items), plan.nameless), ("keys_missing", 2));
    assert!(world.system.has("stranger") && world.system.has("ada"));
}

/// Two people share an account: it goes when the last of them needs it no more.
#[tokio::test]
async fn an_account_that_two_people_share_stays_as_long_as_one_needs_it() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    let held = world.holders(&["shared"]).await;
    let second = world
        .write(|tx| {
            let new = tenure::features::identity::people::NewPerson {
                display_name: "Second".to_owned(),
                email: "second@example.org".to_owned(),
                manager_id: None,
                attributes: serde_json::json!({ "uid": "shared" }),
            };
            Ok(tenure::features::identity::people::ops::create_person(tx, &by(), new)?.id)
        })
        .await
        .unwrap();
    let other = world.grant(&second, &world.role, None).await;
    world.run().await;
    world.revoke(&held[0].1).await;
    world.run().await;
    world.clock.advance(Duration::from_secs(60));
    assert!(world.system.has("shared"));
    assert_eq!(world.assignment(&held[0].1).await.state, AssignmentState::Revoked);
    let (_, _, items) = world.reconcile().await;
    assert!(told(&items).is_empty());
    world.revoke(&other).await;
    world.run().await;
    assert!(!world.system.has("shared"));
}

/// A job that died with its plan open is noticed by the next reconciliation; one that runs is not disturbed.
#[tokio::test]
async fn one_job_at_a_time_is_at_an_entitlement() {
    let world = differences(Policy::Report).await;
    let first = world.begin(Kind::Manual).await;
    let second = world.write(|tx| ops::start(tx, &by(), Kind::Scheduled, None)).await.unwrap();
    assert!(second.is_none(), "everything is being reconciled already");
    let wanted = world.entitlement.clone();
    let refused = world.write(move |tx| ops::start(tx, &by(), Kind::Manual, Some(std::slice::from_ref(&wanted)))).await;
    assert_eq!(refused.unwrap_err().status(), 409);
    world.write(|tx| tx.execute("DELETE FROM job WHERE name = 'reconcile-entitlement'", &[])).await.unwrap();
    let third = world.begin(Kind::Scheduled).await;
    let old = world.plan(&first).await;
    assert_eq!((old.status, old.why.as_deref()), (PlanStatus::Failed, Some("interrupted")));
    assert_eq!(world.rest(&third).await, Status::Completed);
}

#[tokio::test]
async fn the_nightly_reconciliation_makes_a_plan_for_each_list_and_is_idempotent() {
    let world = differences(Policy::Repair).await;
    world.queue.run_job(names::ENTITLEMENT_RECONCILIATION).await.unwrap();
    world.queue.run_job(names::ENTITLEMENT_RECONCILIATION).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM reconciliation").await, 1);
    let id = world.read(|tx| tx.scalar::<String>("SELECT id FROM reconciliation", &[])).await;
    assert_eq!(world.rest(&id.parse().unwrap()).await, Status::Completed);
    assert!(world.system.has("bob") && !world.system.has("cleo"));
    // It comes by itself at two o'clock.
    world.clock.set(world::at("2031-03-02T02:00:00Z"));
    world.run().await;
    assert_eq!(world.number("SELECT count(*) FROM reconciliation WHERE kind = 'scheduled'").await, 2);
}

async fn still_present(world: &World) -> Vec<String> {
    let listed = world.read(|tx| items::store::list_still_present(tx, tx.now(), "", 10)).await;
    listed.into_iter().map(|s| s.person.display_name).collect()
}

/// Access that ended and is still there is listed, and a warning, until it is gone.
#[tokio::test]
async fn what_ended_and_is_still_present_is_listed_until_it_is_gone() {
    let world = differences(Policy::Report).await;
    world.reconcile().await;
    assert_eq!(still_present(&world).await, ["cleo"]);
    world.clock.advance(Duration::from_secs(3600));
    assert!(world.read(ops::trouble).await.unwrap().starts_with("access that ended and is still present: 1"));
    world.change(|e| e.reconcile.policy = Policy::Repair).await;
    world.reconcile().await;
    assert_eq!(still_present(&world).await, [""; 0]);
    assert_eq!(world.read(ops::trouble).await, None);
}

/// While a job removes an account, nothing is given to it; and what somebody needs by then is not removed.
#[tokio::test]
async fn a_removal_and_a_provisioning_of_one_account_never_overlap() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    world.system.put("dora");
    let dora = world.person("dora").await;
    let id = world.begin(Kind::Manual).await;
    assert_eq!((world.rest(&id).await, world.system.has("dora")), (Status::Completed, false));
    // The flight of a removal that runs holds a provisioning back.
    let assignment = world.grant(&dora, &world.role, None).await;
    let entitlement = world.entitlement.clone();
    let grant = world.assignment(&assignment).await.grants[0].id.clone();
    let busy = world.write(move |tx| {
        use tenure::features::access::grants::{Wanted, ops as grants};
        tx.execute("UPDATE job SET state = 'handed', active = 1 WHERE name = 'remove-account'", &[])?;
        let removal: String = tx.scalar("SELECT id FROM job WHERE name = 'remove-account'", &[])?;
        let other: String = tx.scalar("SELECT id FROM job WHERE name = 'provision-grant' ORDER BY id DESC LIMIT 1", &[])?;
        assert!(grants::claim_account(tx, &entitlement, "dora", &removal.parse().unwrap())?, "nobody needs it yet");
        let begun = grants::begin(tx, &by(), &other.parse().unwrap(), &grant, Wanted::Present)?;
        let busy = matches!(begun, grants::Begin::Busy(_));
        tx.execute("UPDATE job SET state = 'done', active = 0 WHERE name = 'remove-account'", &[])?;
        let begun = grants::begin(tx, &by(), &other.parse().unwrap(), &grant, Wanted::Present)?;
        assert!(matches!(begun, grants::Begin::Go(_)));
        assert!(!grants::claim_account(tx, &entitlement, "dora", &removal.parse().unwrap())?, "now somebody does");
        Ok(busy)
    });
    assert!(busy.await.unwrap(), "a provisioning waits for the removal of its account");
}
