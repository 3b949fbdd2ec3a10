//! A system that cannot be reached, one that says nothing and one that says half: none takes anything away.

use std::time::Duration;

use serde_json::json;
use tenure::base::id::ReconciliationId;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::{Kind, PlanStatus, Status};
use tenure::features::connectors::{CallFailure, Found, ListPage, ListRequest};

use super::world::{World, is_over, page_of};

type Answer = Result<ListPage, CallFailure>;

/// Everybody holds it, and there is something to remove: an ended one and a stranger.
async fn tempted() -> World {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    let held = world.holders(&["ada", "bob", "cleo", "dan", "eve"]).await;
    world.revoke(&held[4].1).await;
    world.run().await;
    world.system.put("eve");
    world.system.put("stranger");
    world.system.changes();
    world.clock.advance(Duration::from_secs(60));
    world
}

async fn answered_with(answer: impl FnMut(&ListRequest, ListPage) -> Answer + Send + 'static) -> (World, ReconciliationId, Status) {
    let world = tempted().await;
    let mut answer = answer;
    world.system.lies(move |members, request| {
        let honest = page_of(members, &Default::default(), request.cursor.as_deref(), 2);
        answer(request, honest)
    });
    let id = world.begin(Kind::Manual).await;
    let status = world.rest(&id).await;
    (world, id, status)
}

#[tokio::test]
async fn unreachable_half_and_empty_are_three_results_and_none_revokes() {
    type Case = (&'static str, Box<dyn FnMut(&ListRequest, ListPage) -> Answer + Send>, Status, &'static str);
    let cases: Vec<Case> = vec![
        ("down", Box::new(|_, _| Err(CallFailure::passing("unreachable", "no route"))), Status::Failed, "unreachable"),
        ("slow", Box::new(|_, _| Err(CallFailure::passing("timeout", "30 s"))), Status::Failed, "unreachable"),
        ("refused", Box::new(|_, _| Err(CallFailure::lasting("ldap_50", "no rights"))), Status::Failed, "refused"),
        ("second page gone", Box::new(|request, page| match request.cursor {
            None => Ok(page),
            Some(_) => Err(CallFailure::passing("reset", "connection reset")),
        }), Status::Failed, "unreachable"),
        ("half", Box::new(|_, page| Ok(ListPage { items: page.items, next: None, complete: false })), Status::Failed, "incomplete"),
        ("half by the connector's word", Box::new(|_, _| Err(CallFailure::incomplete("3 of 6"))), Status::Failed, "incomplete"),
        ("in a circle", Box::new(|request, page| {
            Ok(ListPage { items: page.items, next: request.cursor.clone().or(Some("a".into())), complete: false })
        }), Status::Failed, "incomplete"),
        ("empty pages without an end", Box::new(|request, _| {
            let n: u32 = request.cursor.as_deref().and_then(|c| c.parse().ok()).unwrap_or(0);
            Ok(ListPage::more(Vec::new(), (n + 1).to_string()))
        }), Status::Failed, "incomplete"),
        ("wrong type", Box::new(|_, _| Err(CallFailure::bad_answer("a page of HTML"))), Status::Failed, "malformed"),
        ("no key", Box::new(|_, mut page| {
            page.items.push(Found { key: String::new(), attributes: json!(7) });
            Ok(page)
        }), Status::Failed, "malformed"),
        ("empty", Box::new(|_, _| Ok(ListPage::last(Vec::new()))), Status::Held, "empty"),
    ];
    for (name, answer, status, why) in cases {
        let (world, id, found) = answered_with(answer).await;
        let plan = world.plan(&id).await;
        assert_eq!((found, plan.why.as_deref()), (status, Some(why)), "{name}: {plan:?}");
        assert!(plan.detail.is_some_and(|d| !d.is_empty()), "{name}");
        assert!(world.system.changes().is_empty(), "{name}");
        assert_eq!(world.number("SELECT count(*) FROM access_grant WHERE state = 'provisioned'").await, 4, "{name}");
        assert_eq!(world.number("SELECT count(*) FROM reconciliation_found").await, 0, "{name}: what was staged is gone");
        // Honest again, it is all caught up.
        world.system.is_honest_again();
        let (status, _, _) = world.reconcile().await;
        assert_eq!(status, Status::Completed, "{name}");
        assert!(world.system.has("ada") && !world.system.has("eve") && !world.system.has("stranger"), "{name}");
        let old = world.plan(&id).await;
        assert!(is_over(&old), "{name}: {:?}", old.status);
    }
}

/// An empty answer is held whatever the policy; who approves it has what is missing given again.
#[tokio::test]
async fn an_approved_empty_answer_gives_again_and_takes_nothing() {
    for policy in [Policy::Report, Policy::Repair] {
        let world = World::start(policy).await;
        world.holders(&["ada", "bob"]).await;
        world.system.members.lock().unwrap().clear();
        world.clock.advance(Duration::from_secs(60));
        let (status, plan, _) = world.reconcile().await;
        assert_eq!((status, plan.status, plan.why.as_deref()), (Status::Held, PlanStatus::Held, Some("empty")));
        assert!(world.system.changes().is_empty());
        world.decide(&plan, true).await.unwrap();
        assert_eq!(world.rest(&plan.reconciliation_id).await, Status::Completed, "{policy:?}");
        assert_eq!(world.system.has("ada") && world.system.has("bob"), policy == Policy::Repair);
    }
}

/// A page that fails is asked for again, then the list from its beginning; what came twice is one account.
#[tokio::test]
async fn a_list_goes_on_where_it_broke_off_and_then_from_its_beginning() {
    let world = tempted().await;
    let mut failures = 0;
    world.system.lies(move |members, request| {
        if request.cursor.as_deref() == Some("bob") && failures < 2 {
            failures += 1;
            return Err(CallFailure::passing("reset", "connection reset"));
        }
        let mut page = page_of(members, &Default::default(), request.cursor.as_deref(), 2);
        let again = page.items[0].clone();
        page.items.push(again);
        Ok(page)
    });
    world.system.asked.lock().unwrap().clear();
    let (status, plan, items) = world.reconcile().await;
    assert_eq!(status, Status::Completed, "{plan:?}");
    let asked = world.system.asked.lock().unwrap().clone();
    let shown: Vec<&str> = asked.iter().map(|c| c.as_deref().unwrap_or("-")).collect();
    assert_eq!(shown, ["-", "bob", "bob", "-", "bob", "dan"]);
    assert_eq!((plan.found, plan.seen - plan.found, items.len()), (6, 3, 2));
}

/// Killed between two pages, the job goes on behind the last page that was staged.
#[tokio::test]
async fn a_page_that_was_staged_is_not_asked_for_again() {
    let world = tempted().await;
    let id = world.begin(Kind::Manual).await;
    // As a process leaves it that was killed after the first page.
    let plan = world.plan(&id).await;
    let no = plan.no;
    let staged = world.write(move |tx| {
        use tenure::features::access::reconciliation::listing::ops as listing;
        let plan = listing::begin(tx, no)?;
        let entitlement =
            tenure::features::access::entitlements::store::get_entitlement(tx, &plan.entitlement_id)?;
        let list = entitlement.list.expect("a list");
        let page: Vec<_> = ["ada", "bob", "cleo"].map(|k| Found { key: k.to_owned(), attributes: json!({}) }).into();
        let after = listing::turn(tx, (no, &list), None, &page, 3, Some("cleo"))?;
        // The same page once more is refused: another job is at it, or was.
        assert!(listing::turn(tx, (no, &list), None, &page, 3, Some("cleo")).is_err());
        Ok(after)
    });
    assert_eq!(staged.await.unwrap().cursor.as_deref(), Some("cleo"));
    world.system.asked.lock().unwrap().clear();
    assert_eq!(world.rest(&id).await, Status::Completed);
    assert_eq!(*world.system.asked.lock().unwrap(), [Some("cleo".to_owned())]);
    assert_eq!(world.plan(&id).await.found, 6);
}
