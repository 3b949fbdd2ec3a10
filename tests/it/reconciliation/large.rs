//! Many grants against a paged source: in minutes, and without holding them all in memory.

use std::time::{Duration, Instant};

use serde_json::json;
use tenure::features::access::entitlements::Policy;
use tenure::features::access::entitlements::ops::create_entitlement;
use tenure::features::access::reconciliation::{Action, Kind, Status, store as plans};
use tenure::features::connectors::{Found, ListPage};
use tenure::params;

use super::world::{World, by, listed, told};
use crate::soak::size;

/// Every so many-th account was lost, and as many strangers are there.
const LOST: u32 = 1_000;

/// One person, one assignment and one grant for each number, as they stand after provisioning.
async fn fill(world: &World, n: u32) {
    const STEP: u32 = 20_000;
    let role = world.role.clone();
    for from in (0..n).step_by(STEP as usize) {
        let (entitlement, connector, role) = (world.entitlement.clone(), world.connector.clone(), role.clone());
        let upto = (from + STEP).min(n);
        let numbers = "WITH RECURSIVE k (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < ?2)";
        let filled = world.write(move |tx| {
            tx.execute(
                &format!(
                    "{numbers} INSERT INTO person (id, display_name, email, created_at, attributes)
                     SELECT printf('per_%026d', i), printf('u%07d', i), printf('u%07d@example.org', i), 0,
                            json_object('uid', printf('u%07d', i)) FROM k"
                ),
                params![from, upto],
            )?;
            tx.execute(
                &format!(
                    "{numbers} INSERT INTO assignment (id, person_id, role_id, state, reason, granted_by, starts_at, created_at)
                     SELECT printf('asg_%026d', i), printf('per_%026d', i), ?3, 'active', 'from before', 'test', 0, 0 FROM k"
                ),
                params![from, upto, role],
            )?;
            let calls = "json_object('connectorId', ?4,
                'provision', json_object('command', 'add', 'params', json_object('account', printf('u%07d', i))),
                'deprovision', json_object('command', 'remove', 'params', json_object('account', printf('u%07d', i))),
                'check', json_object('command', 'has', 'params', json_object('account', printf('u%07d', i))))";
            tx.execute(
                &format!(
                    "{numbers} INSERT INTO access_grant (id, assignment_id, person_id, entitlement_id, state, wanted, generation,
                                                         calls, confirmed_at, account)
                     SELECT printf('grt_%026d', i), printf('asg_%026d', i), printf('per_%026d', i), ?3, 'provisioned',
                            'present', 1, {calls}, 0, printf('u%07d', i) FROM k"
                ),
                params![from, upto, entitlement, connector],
            )?;
            Ok(())
        });
        filled.await.unwrap();
    }
}

/// What this process holds in memory now, in megabytes.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

/// `TENURE_SOAK=full` takes 1,000,000; run it alone and by a release build to measure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_grants_are_reconciled_page_by_page() {
    let n = size(20_000, 1_000_000);
    let world = World::start(Policy::Report).await;
    fill(&world, n).await;
    // A list in order, a thousand at once, out of nothing: each lost one gives its place to a stranger.
    world.system.lies(move |_, request| {
        let from: u32 = request.cursor.as_deref().map_or(0, |c| c.parse().expect("a number"));
        let upto = (from + request.limit).min(n);
        let key = |i: u32| if i % LOST == 7 { format!("stranger-{i}") } else { format!("u{i:07}") };
        let items = (from..upto).map(|i| Found { key: key(i), attributes: json!({ "number": i }) }).collect();
        Ok(if upto == n { ListPage::last(items) } else { ListPage::more(items, upto.to_string()) })
    });
    let before = memory_mb();
    let most = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(before));
    let (watched, stop) = (most.clone(), tokio_util::sync::CancellationToken::new());
    let stopped = stop.clone();
    let watch = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !stopped.is_cancelled() {
            tick.tick().await;
            watched.fetch_max(memory_mb(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let began = Instant::now();
    let id = world.begin(Kind::Manual).await;
    assert_eq!(world.rest(&id).await, Status::Completed);
    let took = began.elapsed();
    stop.cancel();
    watch.await.expect("watched");
    let plan = world.read(move |tx| Ok(plans::list_plans(tx, &id)?.remove(0))).await;
    let lost = u64::from(n / LOST);
    assert_eq!((plan.found, plan.expected, plan.pages), (u64::from(n), u64::from(n), u64::from(n.div_ceil(1000))));
    let counts = world.counts(&plan).await;
    assert_eq!((counts.add, counts.adopt, counts.remove, counts.ignore), (lost, lost, 0, 0));
    let items = world.items(&plan).await;
    let first = told(&items)[0];
    assert!(first.0.starts_with("stranger-") && first.1 == Action::Adopt, "{first:?}");
    let peak = most.load(std::sync::atomic::Ordering::Relaxed);
    println!("{n} grants: {took:?}, {before} MB before, {peak} MB at most");
    if n == 1_000_000 {
        assert!(took < Duration::from_secs(300), "{took:?}");
        assert!(peak < 200, "{peak} MB");
    }
}

/// What is compared at once has an index for it; a plan that walks a table would take hours.
#[tokio::test]
async fn the_comparison_walks_indexes() {
    let world = World::start(Policy::Report).await;
    let new = listed("Second", &world.connector, Policy::Report);
    world.write(move |tx| create_entitlement(tx, &by(), new.clone()).map(drop)).await.unwrap();
    let plans = world
        .read(|tx| {
            let mut told = Vec::new();
            for sql in [
                "SELECT f.account FROM reconciliation_found f
                 LEFT JOIN access_grant g ON g.entitlement_id = 'e' AND g.account = f.account
                 WHERE f.plan_no = 1 AND f.account > 'a' AND ('z' IS NULL OR f.account <= 'z') GROUP BY f.account ORDER BY f.account",
                "SELECT g.account FROM access_grant g
                 WHERE g.entitlement_id = 'e' AND g.account > 'a' AND ('z' IS NULL OR g.account <= 'z')
                   AND NOT EXISTS (SELECT 1 FROM reconciliation_found f WHERE f.plan_no = 1 AND f.account = g.account)
                 GROUP BY g.account ORDER BY g.account",
            ] {
                told.extend(tx.query(&format!("EXPLAIN QUERY PLAN {sql}"), params![], |r| r.get::<String>("detail"))?);
            }
            Ok(told)
        })
        .await;
    assert!(plans.iter().all(|step| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE")), "{plans:#?}");
}
