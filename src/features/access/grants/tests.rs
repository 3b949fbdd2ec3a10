//! The ends that commands carry, against a real store, the real job handlers and a connected system that can fail.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::GrantState;
use crate::base::clock::Clock as _;
use crate::base::id::{AssignmentId, TypedId as _};
use crate::features::access::assignments::AssignmentState;
use crate::features::access::testing::{Bench, Gate, at};
use crate::params;
use crate::platform::queue::names;

const JUNE: &str = "2031-06-01T00:00:00.000Z";
const JULY: &str = "2031-07-01T00:00:00.000Z";
const DECEMBER: &str = "2031-12-01T00:00:00.000Z";

/// What the connected system was told of an account.
fn told(bench: &Bench, account: &str) -> Option<Value> {
    bench.system.ends.lock().unwrap().get(account).cloned()
}

fn changes(bench: &Bench) -> Vec<String> {
    bench.system.changes.lock().unwrap().clone()
}

/// Access until June, of which the connected system was told.
async fn until_june(bench: &Bench) -> AssignmentId {
    let entitlement = bench.entitlement_until().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let id = bench.grant(&role, Some(at(JUNE))).await.unwrap();
    bench.run().await;
    assert_eq!(told(bench, "ada"), Some(json!(JUNE)));
    id
}

#[tokio::test]
async fn a_system_that_was_told_an_end_is_told_the_later_one() {
    let bench = Bench::start().await;
    let id = until_june(&bench).await;
    for end in [JULY, DECEMBER] {
        bench.extend(&id, at(end)).await.unwrap();
        assert_eq!(bench.assignment(&id).await.state, AssignmentState::Active, "it is there all the while");
        bench.run().await;
        assert_eq!(told(&bench, "ada"), Some(json!(end)));
        assert_eq!(bench.assignment(&id).await.grants[0].state, GrantState::Provisioned);
    }
    assert_eq!(changes(&bench), ["add", "add", "add"], "nothing was taken away and given again");
    bench.clock.set(at(DECEMBER));
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Expired);
}

#[tokio::test]
async fn a_system_that_was_told_no_end_hears_nothing_of_a_later_one() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let id = bench.grant(&role, Some(at(JUNE))).await.unwrap();
    bench.run().await;
    bench.extend(&id, at(JULY)).await.unwrap();
    bench.run().await;
    assert_eq!(changes(&bench), ["add"]);
}

#[tokio::test]
async fn a_later_end_that_cannot_be_told_is_shown_and_told_once_the_system_is_back() {
    let bench = Bench::start().await;
    let id = until_june(&bench).await;
    *bench.system.broken.lock().unwrap() = true;
    bench.extend(&id, at(JULY)).await.unwrap();
    for second in [0, 5, 15, 35] {
        bench.clock.set(at("2031-03-01T08:00:00Z").plus(Duration::from_secs(second)));
        bench.run().await;
    }
    let stuck = bench.assignment(&id).await;
    assert_eq!((stuck.state, stuck.grants[0].state), (AssignmentState::PartiallyProvisioned, GrantState::Failed));
    *bench.system.broken.lock().unwrap() = false;
    bench.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
    bench.run().await;
    assert_eq!((told(&bench, "ada"), bench.assignment(&id).await.state), (Some(json!(JULY)), AssignmentState::Active));
    assert!(bench.holds());
}

/// The call that carries the old end is still out when the new one is wanted.
#[tokio::test]
async fn a_later_end_wins_over_a_call_that_is_out() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement_until().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let gate = Arc::new(Gate { reached: Semaphore::new(0), go: Semaphore::new(0) });
    *bench.system.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let id = bench.grant(&role, Some(at(JUNE))).await.unwrap();
    let meanwhile = async {
        gate.reached.acquire().await.unwrap().forget();
        bench.extend(&id, at(JULY)).await.unwrap();
        gate.go.add_permits(10);
    };
    tokio::join!(bench.run(), meanwhile);
    for _ in 0..2 {
        bench.clock.set(bench.clock.now().plus(Duration::from_secs(2)));
        bench.run().await;
    }
    assert_eq!((told(&bench, "ada"), bench.assignment(&id).await.state), (Some(json!(JULY)), AssignmentState::Active));
}

#[tokio::test]
async fn what_is_revoked_before_the_later_end_is_told_is_not_given_again() {
    let bench = Bench::start().await;
    let id = until_june(&bench).await;
    bench.extend(&id, at(JULY)).await.unwrap();
    bench.revoke(&id).await;
    bench.run().await;
    assert_eq!(changes(&bench), ["add", "remove"]);
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoked);
}

/// Two roles give the same: the system is told the later of their ends, in whichever order they come, and never an
/// earlier one.
#[tokio::test]
async fn a_system_is_told_the_last_end_of_all_that_give_it() {
    for order in [[JUNE, DECEMBER], [DECEMBER, JUNE]] {
        let bench = Bench::start().await;
        let shared = bench.entitlement_until().await;
        let roles = [bench.role("a", &shared, &[]).await, bench.role("b", &shared, &[]).await];
        let mut ids = Vec::new();
        for (role, end) in roles.iter().zip(order) {
            ids.push(bench.grant(role, Some(at(end))).await.unwrap());
            bench.run().await;
        }
        assert_eq!(told(&bench, "ada"), Some(json!(DECEMBER)), "{order:?}");
        let early = &ids[usize::from(order[1] == JUNE)];
        bench.extend(early, at(JULY)).await.unwrap();
        bench.run().await;
        assert_eq!(told(&bench, "ada"), Some(json!(DECEMBER)), "{order:?}: it is not shortened");
        bench.clock.set(at(JULY));
        bench.run().await;
        assert_eq!((told(&bench, "ada"), bench.holds()), (Some(json!(DECEMBER)), true), "{order:?}");
        // One without an end lasts longest.
        let endless = bench.grant(&roles[usize::from(order[1] == JUNE)], None).await.unwrap();
        bench.run().await;
        assert_eq!(told(&bench, "ada"), Some(Value::Null), "{order:?}");
        bench.revoke(&endless).await;
        bench.clock.set(at(DECEMBER));
        bench.run().await;
        assert!(!bench.holds(), "{order:?}");
        assert!(!changes(&bench)[..changes(&bench).len() - 1].contains(&"remove".to_owned()), "{order:?}");
    }
}

/// Whoever is called otherwise by now keeps the account of the old name, and it lasts longer.
#[tokio::test]
async fn the_later_end_is_told_of_the_account_that_was_given() {
    let bench = Bench::start().await;
    let id = until_june(&bench).await;
    let person = bench.person.clone();
    bench
        .write(move |tx| {
            let sql = "UPDATE person SET attributes = ?2 WHERE id = ?1";
            tx.execute(sql, params![person.as_str(), r#"{"uid":"grace"}"#])
        })
        .await
        .unwrap();
    bench.extend(&id, at(JULY)).await.unwrap();
    bench.run().await;
    assert_eq!((told(&bench, "ada"), told(&bench, "grace")), (Some(json!(JULY)), None));
    bench.clock.set(at(JULY));
    bench.run().await;
    assert!(!bench.holds());
}
