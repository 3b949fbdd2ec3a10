//! Separation of duties on a real store.

use std::time::Duration;

use super::*;
use crate::base::clock::Clock as _;
use crate::base::problem::Problem;
use crate::features::access::assignments::ops as assignments;
use crate::features::access::roles::ops::{NewRole, create_role};
use crate::features::access::testing::{Bench, at, by};

const HOUR: Duration = Duration::from_secs(3600);

fn period(from: i64, until: Option<i64>) -> Period {
    Period { from: Timestamp::from_millis(from), until: until.map(Timestamp::from_millis) }
}

#[test]
fn periods_overlap_when_an_instant_is_in_both() {
    for (a, b, expected) in [
        (period(0, Some(10)), period(10, Some(20)), false),
        (period(0, Some(11)), period(10, Some(20)), true),
        (period(0, None), period(10, Some(20)), true),
        (period(30, None), period(10, Some(20)), false),
        (period(0, None), period(10, None), true),
        (period(12, Some(13)), period(10, Some(20)), true),
    ] {
        assert_eq!((a.overlaps(b), b.overlaps(a)), (expected, expected), "{a:?} {b:?}");
    }
}

#[test]
fn what_is_being_taken_away_is_held_until_it_is_gone() {
    use AssignmentState as S;
    let (past, now) = (period(0, Some(5)), Timestamp::from_millis(10));
    for state in [S::Expiring, S::Revoking, S::Active] {
        assert_eq!(in_the_way(state, past, period(10, None), now), Some(InTheWay::Leaving), "{state:?}");
        assert_eq!(in_the_way(state, past, period(11, None), now), None, "by then it may be gone");
    }
    for state in [S::Expired, S::Revoked] {
        assert_eq!(in_the_way(state, period(0, None), period(10, None), now), None);
    }
    assert_eq!(in_the_way(S::Scheduled, period(12, None), period(10, None), now), Some(InTheWay::Held));
}

/// Two roles; the first one gives something in the connected system.
async fn roles(bench: &Bench) -> [crate::base::id::RoleId; 2] {
    let entitlement = bench.entitlement().await;
    let pays = bench.write(|tx| {
        let new = NewRole {
            name: "Pays".into(),
            description: String::new(),
            owner_id: None,
            default_duration_days: None,
            required_document_types: Vec::new(),
            entitlement_ids: Vec::new(),
        };
        Ok(create_role(tx, &by(), new)?.id)
    });
    [bench.role("Orders", &entitlement, &[]).await, pays.await.unwrap()]
}

async fn excluding(bench: &Bench) -> [crate::base::id::RoleId; 2] {
    let roles = roles(bench).await;
    let pair = roles.clone();
    bench.write(move |tx| ops::create_conflict(tx, &by(), &pair, "Nobody pays what they order").map(drop)).await.unwrap();
    roles
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Problem>) -> String {
    let problem = result.unwrap_err();
    assert_eq!(problem.status(), 422);
    problem.to_string()
}

#[tokio::test]
async fn nobody_holds_two_roles_that_exclude_each_other() {
    let bench = Bench::start().await;
    let [orders, pays] = excluding(&bench).await;
    let end = bench.clock.now().plus(10 * HOUR);
    let held = bench.grant(&orders, Some(end)).await.unwrap();
    let why = refusal(bench.grant(&pays, None).await);
    assert!(why.contains("Ada holds the role Orders until 2031-03-01T18:00:00.000Z") && why.contains("Nobody pays what they order. Let Orders end first."), "{why}");
    // The one begins where the other ends; neither is put off into the other.
    let later = bench.grant_from(&pays, end, None).await.unwrap();
    let (wanted, until) = (held.clone(), end.plus(HOUR));
    let why = refusal(bench.write(move |tx| assignments::extend(tx, &by(), &wanted, until, "longer")).await);
    assert!(why.contains("Ada holds the role Pays, which excludes the role Orders"), "{why}");
    bench.run().await;
    // Access that is still there is still held: the other begins when it is gone.
    *bench.system.broken.lock().unwrap() = true;
    bench.clock.set(end);
    bench.run().await;
    assert_eq!(bench.assignment(&held).await.state, AssignmentState::Expiring);
    assert_eq!(bench.assignment(&later).await.state, AssignmentState::Scheduled);
    *bench.system.broken.lock().unwrap() = false;
    bench.clock.set(end.plus(HOUR));
    bench.run().await;
    bench.clock.set(end.plus(HOUR + HOUR));
    bench.run().await;
    assert_eq!(bench.assignment(&held).await.state, AssignmentState::Expired);
    assert_eq!(bench.assignment(&later).await.state, AssignmentState::Active);
}

#[tokio::test]
async fn who_holds_both_when_the_rule_comes_keeps_them_and_is_listed() {
    let bench = Bench::start().await;
    let roles = roles(&bench).await;
    let first = bench.grant(&roles[0], None).await.unwrap();
    bench.grant(&roles[1], Some(at("2031-06-01T00:00:00Z"))).await.unwrap();
    bench.run().await;
    let pair = roles.clone();
    let rule = bench.write(move |tx| ops::create_conflict(tx, &by(), &pair, "Four eyes.")).await.unwrap();
    let pair = [roles[1].clone(), roles[0].clone()];
    assert_eq!(bench.write(move |tx| ops::create_conflict(tx, &by(), &pair, "Again.")).await.unwrap_err().status(), 409);
    let pair = [roles[1].clone(), roles[1].clone()];
    refusal(bench.write(move |tx| ops::create_conflict(tx, &by(), &pair, "Itself.")).await);

    let listed = bench.store.read(|tx| store::list_violations(tx, None, 10)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].person.display_name.as_str(), listed[0].reason.as_str()), ("Ada", "Four eyes."));
    assert!(listed[0].assignments.iter().all(|a| a.state == AssignmentState::Active));
    bench.revoke(&first).await;
    bench.run().await;
    assert_eq!(bench.store.read(|tx| store::list_violations(tx, None, 10)).await.unwrap().len(), 0);
    refusal(bench.grant(&roles[0], None).await);
    let id = rule.id.clone();
    bench.write(move |tx| ops::remove_conflict(tx, &by(), &id, "One person is left.")).await.unwrap();
    bench.grant(&roles[0], None).await.unwrap();
}

#[tokio::test]
async fn what_was_to_start_later_does_not_when_the_rule_came_between() {
    let bench = Bench::start().await;
    let roles = roles(&bench).await;
    let held = bench.grant(&roles[0], None).await.unwrap();
    let start = bench.clock.now().plus(HOUR);
    let later = bench.grant_from(&roles[1], start, None).await.unwrap();
    bench.run().await;
    let pair = roles.clone();
    bench.write(move |tx| ops::create_conflict(tx, &by(), &pair, "Four eyes.").map(drop)).await.unwrap();
    bench.clock.set(start);
    bench.run().await;
    let refused = bench.assignment(&later).await;
    assert_eq!(refused.state, AssignmentState::Revoked);
    assert_eq!(refused.end_reason.as_deref(), Some("the person holds the role Orders, which excludes it"));
    assert_eq!(bench.assignment(&held).await.state, AssignmentState::Active);
}
