//! Assignments against a real store, the real job handlers and a connected system that can fail.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;
use crate::base::clock::Clock as _;
use crate::base::time::Timestamp;
use crate::features::access::testing::{Bench, Gate, at};
use crate::platform::queue::names;

#[test]
fn an_assignment_settles_by_its_grants() {
    use AssignmentState as A;
    use GrantState as G;
    for (state, grants, expected) in [
        (A::Provisioning, vec![], A::Active),
        (A::Provisioning, vec![G::Provisioned, G::Pending], A::Provisioning),
        (A::Provisioning, vec![G::Provisioned, G::Failed], A::PartiallyProvisioned),
        (A::PartiallyProvisioned, vec![G::Provisioned, G::Provisioned], A::Active),
        (A::Expiring, vec![G::Deprovisioned, G::Deprovisioning], A::Expiring),
        (A::Expiring, vec![G::Deprovisioned, G::Failed], A::Expiring),
        (A::Expiring, vec![G::Deprovisioned], A::Expired),
        (A::Revoking, vec![G::Deprovisioned], A::Revoked),
        (A::Revoking, vec![], A::Revoked),
        (A::Scheduled, vec![G::Pending], A::Scheduled),
        (A::Revoked, vec![G::Failed], A::Revoked),
    ] {
        assert_eq!(state.settled(&grants), expected, "{state:?} {grants:?}");
    }
}

/// Two roles share an entitlement. In every order of granting and ending, with the calls made after
/// any of the steps or not: the system holds it exactly while a live assignment needs it.
#[tokio::test]
async fn a_shared_entitlement_stays_as_long_as_one_role_needs_it() {
    let orders = ["abAB", "abBA", "aAbB", "baAB", "baBA", "bBaA"];
    for order in orders {
        for drained in 0..8_u32 {
            let bench = Bench::start().await;
            let shared = bench.entitlement().await;
            let roles = [bench.role("a", &shared, &[]).await, bench.role("b", &shared, &[]).await];
            let mut held: [Option<crate::base::id::AssignmentId>; 2] = [None, None];
            let mut live = [false, false];
            for (step, c) in order.chars().enumerate() {
                let which = usize::from(c.eq_ignore_ascii_case(&'b'));
                live[which] = c.is_lowercase();
                if c.is_lowercase() {
                    held[which] = Some(bench.grant(&roles[which], None).await.unwrap());
                } else {
                    bench.revoke(held[which].as_ref().unwrap()).await;
                }
                if step == 3 || drained >> step & 1 == 1 {
                    bench.run().await;
                    assert_eq!(bench.holds(), live[0] || live[1], "{order} drained {drained:03b} step {step}");
                }
            }
            for id in held.iter().flatten() {
                assert_eq!(bench.assignment(id).await.state, AssignmentState::Revoked, "{order} {drained:03b}");
            }
        }
    }
}

/// The instant itself counts; one millisecond before does not.
#[tokio::test]
async fn an_assignment_ends_on_its_instant() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let end = at("2031-03-01T08:30:00Z");
    let id = bench.grant(&role, Some(end)).await.unwrap();
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Active);
    bench.clock.set(Timestamp::from_millis(end.as_millis() - 1));
    bench.run().await;
    assert!(bench.holds());
    bench.clock.set(end);
    bench.run().await;
    assert!(!bench.holds());
    let ended = bench.assignment(&id).await;
    assert_eq!((ended.state, ended.end_reason.as_deref()), (AssignmentState::Expired, Some("expired")));
    assert_eq!(ended.ended_at, Some(end));
}

/// Expired is not yet gone: without the system's word the assignment stays, and the check tries again.
#[tokio::test]
async fn nothing_counts_as_gone_while_the_system_is_down() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let id = bench.grant(&role, Some(at("2031-03-01T08:30:00Z"))).await.unwrap();
    bench.run().await;
    *bench.system.broken.lock().unwrap() = true;
    for second in [0, 5, 15, 35] {
        bench.clock.set(at("2031-03-01T08:30:00Z").plus(std::time::Duration::from_secs(second)));
        bench.run().await;
    }
    let stuck = bench.assignment(&id).await;
    assert_eq!(stuck.state, AssignmentState::Expiring);
    assert_eq!(stuck.grants[0].state, GrantState::Failed);
    assert!(stuck.grants[0].last_error.as_deref().unwrap().contains("down"));
    *bench.system.broken.lock().unwrap() = false;
    bench.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Expired);
}

#[tokio::test]
async fn a_failed_grant_is_shown_and_tried_again() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    *bench.system.broken.lock().unwrap() = true;
    let id = bench.grant(&role, None).await.unwrap();
    for second in [0, 5, 15, 35] {
        bench.clock.set(at("2031-03-01T08:00:00Z").plus(std::time::Duration::from_secs(second)));
        bench.run().await;
    }
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::PartiallyProvisioned);
    *bench.system.broken.lock().unwrap() = false;
    bench.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Active);
    assert_eq!(*bench.system.changes.lock().unwrap(), ["add"]);
}

#[tokio::test]
async fn a_scheduled_assignment_gives_nothing_before_its_start() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let start = at("2031-03-01T09:00:00Z");
    let id = bench.grant_from(&role, start, None).await.unwrap();
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Scheduled);
    assert!(!bench.holds());
    bench.clock.set(start);
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Active);
    assert!(bench.holds());
}

#[tokio::test]
async fn an_end_that_is_not_ahead_is_refused() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let refused = bench.grant(&role, Some(at("2031-03-01T08:00:00Z"))).await.unwrap_err();
    assert_eq!(refused.status(), 422);
}

/// The withdrawal comes while the call that gives is out: what is given late is taken away again.
#[tokio::test]
async fn a_withdrawal_wins_over_a_call_that_is_out() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let gate = Arc::new(Gate { reached: Semaphore::new(0), go: Semaphore::new(0) });
    *bench.system.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let id = bench.grant(&role, None).await.unwrap();
    let meanwhile = async {
        gate.reached.acquire().await.unwrap().forget();
        bench.revoke(&id).await;
        assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoking);
        gate.go.add_permits(1);
    };
    tokio::join!(bench.run(), meanwhile);
    bench.run().await;
    assert!(!bench.holds());
    assert_eq!(*bench.system.changes.lock().unwrap(), ["add", "remove"]);
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoked);
}

#[tokio::test]
async fn only_what_is_there_lasts_longer_and_only_after_its_end() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    let end = at("2031-03-01T08:30:00Z");
    let (id, endless) = (bench.grant(&role, Some(end)).await.unwrap(), bench.grant(&role, None).await.unwrap());
    bench.run().await;
    for until in ["2031-03-01T08:30:00Z", "2031-03-01T08:29:59.999Z", "2030-01-01T00:00:00Z"] {
        let refused = bench.extend(&id, at(until)).await.unwrap_err();
        assert_eq!(refused.status(), 422, "{until}");
        assert!(refused.to_string().contains("after 2031-03-01T08:30:00.000Z"), "{refused}");
    }
    assert_eq!(bench.extend(&endless, at("2032-01-01T00:00:00Z")).await.unwrap_err().status(), 409);
    bench.revoke(&endless).await;
    *bench.system.broken.lock().unwrap() = true;
    bench.revoke(&id).await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoking);
    assert_eq!(bench.extend(&id, at("2032-01-01T00:00:00Z")).await.unwrap_err().status(), 409, "it is ending");
    *bench.system.broken.lock().unwrap() = false;
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoked);
    assert_eq!(bench.extend(&id, at("2032-01-01T00:00:00Z")).await.unwrap_err().status(), 409, "it has ended");
}

/// What an assignment does when its time passes, is put off, or overlaps with another one's.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// One of two roles is granted for so many minutes.
    Grant(usize, u64),
    /// It is to last until so many minutes from now.
    Extend(usize, u64),
    /// Minutes pass, and no job runs.
    Sleep(u64),
    /// Minutes pass, and jobs run.
    Pass(u64),
    /// The hourly check comes.
    Check,
}

fn any_turn() -> impl proptest::strategy::Strategy<Value = Turn> {
    use proptest::prelude::*;
    prop_oneof![
        2 => (0..2_usize, 1..40_u64).prop_map(|(which, minutes)| Turn::Grant(which, minutes)),
        4 => (0..2_usize, 0..60_u64).prop_map(|(which, minutes)| Turn::Extend(which, minutes)),
        1 => (1..20_u64).prop_map(Turn::Sleep),
        4 => (1..20_u64).prop_map(Turn::Pass),
        1 => Just(Turn::Check),
    ]
}

/// What should be there: the ends of two roles that give the same, as long as nobody ended them.
struct Expected {
    ids: [Option<crate::base::id::AssignmentId>; 2],
    ends: [Option<Timestamp>; 2],
    changes: Vec<&'static str>,
}

impl Expected {
    /// Jobs ran at `now`: whatever is over has ended, and the system was told of each change.
    fn ran(&mut self, now: Timestamp) {
        let held = self.changes.last() == Some(&"add");
        for end in &mut self.ends {
            *end = end.filter(|end| !is_over(*end, now));
        }
        match (held, self.ends.iter().any(Option::is_some)) {
            (false, true) => self.changes.push("add"),
            (true, false) => self.changes.push("remove"),
            _ => {}
        }
    }
}

async fn turns_leave_no_gap(turns: &[Turn]) {
    let bench = Bench::start().await;
    let shared = bench.entitlement().await;
    let roles = [bench.role("a", &shared, &[]).await, bench.role("b", &shared, &[]).await];
    let later = |minutes: u64| bench.clock.now().plus(std::time::Duration::from_secs(60 * minutes));
    let mut expected = Expected { ids: [None, None], ends: [None, None], changes: Vec::new() };
    for turn in turns.iter().copied() {
        match turn {
            Turn::Grant(which, minutes) if expected.ends[which].is_none() => {
                let end = later(minutes);
                expected.ids[which] = Some(bench.grant(&roles[which], Some(end)).await.unwrap());
                expected.ends[which] = Some(end);
                bench.run().await;
                expected.ran(bench.clock.now());
            }
            Turn::Extend(which, minutes) => {
                let Some(id) = &expected.ids[which] else { continue };
                let until = later(minutes);
                let wanted = match expected.ends[which] {
                    None => Err(409),
                    Some(end) if until <= end || until <= bench.clock.now() => Err(422),
                    Some(_) => Ok(()),
                };
                assert_eq!(bench.extend(id, until).await.map_err(|p| p.status()), wanted, "{turn:?} of {turns:?}");
                if wanted.is_ok() {
                    expected.ends[which] = Some(until);
                }
            }
            Turn::Sleep(minutes) => bench.clock.set(later(minutes)),
            Turn::Pass(_) | Turn::Check => {
                if let Turn::Pass(minutes) = turn {
                    bench.clock.set(later(minutes));
                } else {
                    bench.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
                }
                bench.run().await;
                expected.ran(bench.clock.now());
            }
            Turn::Grant(..) => {}
        }
        assert_eq!(*bench.system.changes.lock().unwrap(), expected.changes, "{turn:?} of {turns:?}");
    }
    // It is there until the last millisecond before the last end, and not at it.
    bench.run().await;
    expected.ran(bench.clock.now());
    if let Some(last) = expected.ends.iter().flatten().copied().max() {
        bench.clock.set(Timestamp::from_millis(last.as_millis() - 1));
        bench.run().await;
        assert!(bench.holds(), "{turns:?}");
        bench.clock.set(last);
        bench.run().await;
    }
    assert!(!bench.holds(), "{turns:?}");
    for id in expected.ids.iter().flatten() {
        assert_eq!(bench.assignment(id).await.state, AssignmentState::Expired, "{turns:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Whatever is extended, expires and overlaps in whichever order: the system is told to give it when the first
    /// begins, to take it away when the last is over, and nothing in between.
    #[test]
    fn access_that_is_extended_has_no_gap_and_ends_with_the_last_end(
        turns in proptest::collection::vec(any_turn(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(turns_leave_no_gap(&turns));
    }
}

/// A role that starts at the instant another one ends takes over what they share.
#[tokio::test]
async fn a_role_that_follows_on_leaves_no_gap() {
    let bench = Bench::start().await;
    let shared = bench.entitlement().await;
    let (first, second) = (bench.role("a", &shared, &[]).await, bench.role("b", &shared, &[]).await);
    let change = at("2031-03-01T08:30:00Z");
    let ending = bench.grant(&first, Some(change)).await.unwrap();
    let following = bench.grant_from(&second, change, None).await.unwrap();
    bench.run().await;
    bench.clock.set(change);
    bench.run().await;
    assert_eq!(bench.assignment(&ending).await.state, AssignmentState::Expired);
    assert_eq!(bench.assignment(&following).await.state, AssignmentState::Active);
    assert_eq!(*bench.system.changes.lock().unwrap(), ["add"]);
}
