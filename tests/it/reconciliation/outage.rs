//! A directory that is down for a day: nobody is revoked, and everything is caught up once it is back.

use std::time::Duration;

use tenure::features::access::assignments::AssignmentState;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::reconciliation::Status;

use super::directory::over_ldap;
use super::world::{World, at};
use crate::soak::size;
use crate::support::slapd::{BASE_DN, Slapd};

/// Of `n` people some leave and some come while it is down. `TENURE_SOAK=full` takes 5,000.
#[tokio::test]
async fn a_directory_that_is_down_for_a_day_costs_nobody_their_access() {
    let world = World::start(Policy::RevokeUnknown).await;
    world.lift_threshold().await;
    let n = size(40, 5_000);
    let (mut staying, mut leaving) = (Vec::new(), Vec::new());
    for i in 0..n {
        let person = world.person(&format!("u{i:04}")).await;
        // Every tenth one's time is over in the middle of it.
        let end = (i % 10 == 0).then(|| at("2031-03-01T18:00:00Z"));
        let assignment = world.grant(&person, &world.role, end).await;
        if end.is_some() { leaving.push((i, assignment)) } else { staying.push((i, assignment)) }
    }
    world.run().await;
    world.system.is_down();
    let mut coming = Vec::new();
    let mut taken = Vec::new();
    for hour in 0..24_u32 {
        world.clock.set(at("2031-03-01T08:00:00Z").plus(Duration::from_secs(u64::from(hour) * 3600)));
        if hour % 8 == 1 {
            let person = world.person(&format!("new{hour}")).await;
            coming.push((hour, world.grant(&person, &world.role, None).await));
        }
        for _ in 0..6 {
            world.run().await;
            world.clock.advance(Duration::from_secs(20));
        }
        taken.extend(world.system.changes().into_iter().filter(|(command, _)| command == "remove"));
    }
    assert!(taken.is_empty());
    // The nightly reconciliation came in the middle of it.
    assert_eq!(world.number("SELECT count(*) FROM reconciliation WHERE status = 'failed'").await, 1);
    let provisioned = "SELECT count(*) FROM access_grant WHERE state = 'provisioned'";
    assert_eq!(world.number(provisioned).await, n - leaving.len() as u32, "who stays, stays");
    for (i, assignment) in &leaving {
        assert_eq!(world.assignment(assignment).await.state, AssignmentState::Expiring, "u{i:04} is not gone yet");
    }
    world.system.is_up();
    let mut caught_up_after = 0;
    for run in 1..=2 {
        world.queue.run_job(tenure::platform::queue::names::ROLE_EXPIRY_CHECK).await.unwrap();
        world.run().await;
        assert_eq!(world.reconcile().await.0, Status::Completed);
        caught_up_after = run;
        let open = "SELECT count(*) FROM access_grant WHERE state NOT IN ('provisioned', 'deprovisioned')";
        if world.number(open).await == 0 {
            break;
        }
    }
    assert!(caught_up_after <= 2);
    let there = world.system.members.lock().unwrap().clone();
    let expected: std::collections::BTreeSet<_> = staying
        .iter()
        .map(|(i, _)| format!("u{i:04}"))
        .chain(coming.iter().map(|(hour, _)| format!("new{hour}")))
        .collect();
    assert_eq!(there, expected);
    for (_, assignment) in &leaving {
        assert_eq!(world.assignment(assignment).await.state, AssignmentState::Expired);
    }
}

/// The same of a real directory server that is killed and comes back with what it had.
/// `TENURE_SOAK=full` takes 1,000.
#[tokio::test]
async fn a_directory_server_that_is_down_for_a_day_costs_nobody_their_access() {
    let n = size(10, 1_000);
    let mut slapd = Slapd::start().await;
    let world = over_ldap(&slapd, Policy::Repair).await;
    world.lift_threshold().await;
    let mut leaving = Vec::new();
    for i in 0..n {
        let person = world.person(&format!("u{i:04}")).await;
        // Every fifth one's time is over in the middle of it.
        let end = (i % 5 == 0).then(|| at("2031-03-01T18:00:00Z"));
        let assignment = world.grant(&person, &world.role, end).await;
        leaving.extend(end.map(|_| assignment));
    }
    world.run().await;
    let begun = world.reconcile_directory().await;
    assert_eq!((begun.0, begun.1.found, begun.1.expected), (Status::Completed, u64::from(n) + 1, u64::from(n)));
    slapd.stop();
    for hour in 0..24_u32 {
        world.clock.set(at("2031-03-01T09:00:00Z").plus(Duration::from_secs(u64::from(hour) * 3600)));
        if hour == 3 {
            let person = world.person("late").await;
            world.grant(&person, &world.role, None).await;
        }
        for _ in 0..6 {
            world.run().await;
            world.clock.advance(Duration::from_secs(20));
        }
    }
    let failed = "SELECT count(*) FROM reconciliation_plan WHERE status = 'failed' AND why = 'unreachable'";
    assert_eq!(world.number(failed).await, 1, "the night came in the middle of it");
    let provisioned = "SELECT count(*) FROM access_grant WHERE state = 'provisioned'";
    assert_eq!(world.number(provisioned).await, n - leaving.len() as u32, "who stays, stays");
    slapd.start_again().await;
    let group = format!("cn=researchers,ou=groups,{BASE_DN}");
    let before = slapd.carried_out("MOD", &group);
    let open = "SELECT count(*) FROM access_grant WHERE state NOT IN ('provisioned', 'deprovisioned')";
    let mut runs = 0;
    while runs < 2 && world.number(open).await > 0 {
        runs += 1;
        world.queue.run_job(tenure::platform::queue::names::ROLE_EXPIRY_CHECK).await.unwrap();
        for _ in 0..4 {
            world.run().await;
            world.clock.advance(Duration::from_secs(20));
        }
        assert_eq!(world.reconcile_directory().await.0, Status::Completed);
    }
    assert_eq!(world.number(open).await, 0, "all caught up after {runs} runs");
    let changed = slapd.carried_out("MOD", &group) - before;
    assert_eq!(changed, leaving.len() + 1, "those who left went and the one who came got it, and nobody else");
    let (_, plan, items) = world.reconcile_directory().await;
    assert_eq!((plan.found, plan.expected), (u64::from(n) - leaving.len() as u64 + 2, u64::from(n) - leaving.len() as u64 + 1));
    assert_eq!(items.len(), 1, "the directory's own administrator alone is nobody of ours");
    for assignment in &leaving {
        assert_eq!(world.assignment(assignment).await.state, AssignmentState::Expired);
    }
}
