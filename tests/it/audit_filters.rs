//! The log narrowed to a period: exactly what belongs to it, however the clock went, and without looking at every entry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use tenure::base::access::Principal;
use tenure::base::time::Timestamp;
use tenure::features::audit::{AuditJournal, Entry, Selection, append, store as log};
use tenure::params;
use tenure::platform::clock::{ManualClock, SystemIds};
use tenure::platform::store::{MigrationSet, Options, Store, Tx};

const BEGIN: i64 = 1_900_000_000_000;

fn open() -> (tempfile::TempDir, Arc<ManualClock>, Store) {
    let dir = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(BEGIN)));
    let options = Options::small(dir.path().join("tenure.db"));
    let journal = Some(Arc::new(AuditJournal) as Arc<_>);
    let store = Store::open(&options, &MigrationSet::tenure(), clock.clone(), Arc::new(SystemIds), journal);
    (dir, clock, store.expect("opens"))
}

async fn entry(store: &Store, n: usize) {
    let work = move |tx: &Tx<'_>| {
        let entity_id = format!("thing-{}", n % 7);
        let new = Some(json!({ "n": n }));
        append(tx, &Principal::system("tests"), Entry {
            action: "thing.changed", entity: "thing", entity_id, reason: None, prev: None, new,
        })
    };
    store.write(work).await.expect("appends");
}

fn period(from: Option<i64>, to: Option<i64>) -> Selection {
    let at = |offset: Option<i64>| offset.map(|ms| Timestamp::from_millis(BEGIN + ms));
    Selection { from: at(from), to: at(to), ..Selection::default() }
}

/// The numbers of what is selected, newest first, page by page.
fn paged(tx: &Tx<'_>, selection: &Selection, limit: u32) -> Vec<u64> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = log::list_newest(tx, selection, before, limit).expect("reads");
        all.extend(page.iter().map(|row| row.seq));
        before = all.last().copied();
        if page.len() < limit as usize {
            return all;
        }
    }
}

/// Each entry comes at one of these milliseconds after the one before, or before it.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![8 => 0_i64..20, 1 => -60_i64..0, 1 => -2_i64..0];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_period_has_exactly_its_entries_however_the_clock_went(
        steps in steps(),
        bounds in prop::collection::vec((prop::option::of(-80_i64..900), prop::option::of(-80_i64..900)), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runs");
        runtime.block_on(async {
            let (_dir, clock, store) = open();
            let (mut now, mut instants) = (0, Vec::new());
            for (n, step) in steps.into_iter().enumerate() {
                now += step;
                clock.set(Timestamp::from_millis(BEGIN + now));
                entry(&store, n).await;
                instants.push(now);
            }
            let read = store.read(move |tx| {
                for (from, to) in bounds {
                    let fits = |at: i64| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
                    let numbered = instants.iter().zip(1_u64..);
                    let mut expected: Vec<u64> = numbered.filter(|(at, _)| fits(**at)).map(|(_, seq)| seq).collect();
                    let span = log::span(tx, period(from, to).from, period(from, to).to)?;
                    let inside = |seq: &u64| span.is_some_and(|(first, last)| (first..=last).contains(seq));
                    assert!(expected.iter().all(inside), "{span:?} leaves out some of {expected:?}");
                    expected.reverse();
                    assert_eq!(paged(tx, &period(from, to), 9), expected, "{from:?} to {to:?} of {instants:?}");
                }
                Ok(())
            });
            read.await.expect("reads");
            store.close().await;
        });
    }
}

/// No filter of the list makes the database look at every entry.
#[tokio::test]
async fn every_filter_of_the_log_is_found_by_its_place_or_by_an_index() {
    let (_dir, _, store) = open();
    for n in 0..50 {
        entry(&store, n).await;
    }
    let of = |change: fn(&mut Selection)| {
        let mut selection = period(Some(0), Some(10));
        change(&mut selection);
        selection
    };
    let cases = [
        (of(|_| ()), "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (of(|s| s.action = Some("thing.changed".into())), "USING INDEX audit_log_by_action (action=?"),
        (of(|s| s.actor_id = Some("tests".into())), "USING INDEX audit_log_by_actor (actor_id=?"),
        (of(|s| { s.entity = Some("thing".into()); s.entity_id = Some("thing-1".into()) }), "USING INDEX audit_log_by_entity (entity=? AND entity_id=?"),
    ];
    let read = store.read(move |tx| {
        for (selection, expected) in cases {
            let plan = log::explain_newest(tx, &selection)?.join("; ");
            assert!(plan.contains(expected) && !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{selection:?}: {plan}");
        }
        Ok(())
    });
    read.await.expect("reads");
}

/// A day of long ago among very many entries: found at once, and so is that a day has none.
#[tokio::test]
async fn a_day_of_long_ago_among_a_million_entries_comes_at_once() {
    let rows: u32 = if std::env::var_os("TENURE_SOAK").is_some() { 1_000_000 } else { 100_000 };
    let (_dir, _, store) = open();
    let fill = store.write(move |tx| {
        // What guards the log is not what is measured here, and would take longer than the rest.
        for name in tx.query("SELECT name FROM sqlite_master WHERE type = 'trigger'", params![], |r| r.at::<String>(0))? {
            tx.execute(&format!("DROP TRIGGER {name}"), params![])?;
        }
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO audit_log (seq, leaf, leaf_hash, at, actor_id, action, entity, entity_id)
             SELECT i, zeroblob(400), zeroblob(32), ?2 + i * 1000, 'per_' || i % 97, 'thing.changed', 'thing', i FROM n",
            params![rows, BEGIN],
        )?;
        tx.execute("INSERT INTO audit_step_back (seq) VALUES (?1)", params![rows / 2]).map(drop)
    });
    fill.await.expect("fills");
    let read = store.read(move |tx| {
        let second = 1_000_i64;
        let cases = [
            (period(Some(5_000 * second), Some(5_010 * second)), 10),
            (period(Some(-second), Some(second)), 0),
            (period(None, Some(41 * second)), 40),
            (period(Some((i64::from(rows) - 19) * second), None), 20),
        ];
        for (selection, expected) in cases {
            let began = Instant::now();
            let found = log::list_newest(tx, &selection, None, 51)?;
            let took = began.elapsed();
            println!("{rows} entries, {selection:?}: {} found in {took:?}", found.len());
            assert_eq!(found.len(), expected, "{selection:?}");
            assert!(took < Duration::from_millis(50), "{selection:?} took {took:?}");
        }
        Ok(())
    });
    read.await.expect("reads");
}
