//! When reminders are due, and that each is sent once.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::clock::Clock as _;
use crate::base::problem::Problem;
use crate::features::access::assignments::ops::extend;
use crate::features::access::documents::ops as documents;
use crate::features::access::testing::{Bench, at, by};
use crate::features::identity::accounts;
use crate::features::identity::people::{NewPerson, ops as people};
use crate::features::settings;
use crate::params;
use crate::platform::faults::Fault;
use crate::platform::queue::names;
use crate::platform::store::Tx;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn days(of: &[u32]) -> ReminderDays {
    ReminderDays::new(of.to_vec()).unwrap()
}

#[test]
fn the_next_reminder_is_the_earliest_that_lies_ahead() {
    let (begin, usual) = (at("2031-01-01T00:00:00Z"), ReminderDays::default());
    let end = at("2031-03-31T12:00:00Z");
    let due = |now: &str| next(begin, end, &usual, at(now)).map(|t| t.to_string());
    for (now, expected) in [
        ("2031-01-01T00:00:00Z", Some("2031-03-01T12:00:00.000Z")),
        ("2031-03-01T11:59:59.999Z", Some("2031-03-01T12:00:00.000Z")),
        ("2031-03-01T12:00:00Z", Some("2031-03-24T12:00:00.000Z")),
        ("2031-03-24T12:00:00Z", Some("2031-03-30T12:00:00.000Z")),
        ("2031-03-30T12:00:00Z", None),
        ("2031-04-30T12:00:00Z", None),
    ] {
        assert_eq!(due(now).as_deref(), expected, "{now}");
    }
    assert_eq!(next(begin, end, &days(&[]), begin), None);
    // Nobody is reminded of an end before it has begun.
    assert_eq!(next(at("2031-03-29T12:00:00Z"), end, &usual, begin), Some(at("2031-03-30T12:00:00Z")));
}

#[test]
fn access_of_eight_hours_has_no_reminder_and_of_ten_days_only_those_that_lie_ahead() {
    let now = at("2031-03-01T08:00:00Z");
    assert_eq!(next(now, now.plus(DAY / 3), &ReminderDays::default(), now), None);
    assert_eq!(next(now, now.plus(DAY * 10), &ReminderDays::default(), now), Some(now.plus(DAY * 3)));
}

#[test]
fn an_instant_is_named_in_the_zone_of_the_organisation() {
    let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
    assert_eq!(in_zone(at("2031-07-01T12:00:00Z"), &zone), "2031-07-01 14:00 Europe/Zurich");
    assert_eq!(in_zone(at("2031-07-01T12:00:00Z"), &jiff::tz::TimeZone::UTC), "2031-07-01 12:00 UTC");
}

fn some_days() -> impl Strategy<Value = ReminderDays> {
    proptest::collection::btree_set(1_u32..=365, 0..=5).prop_map(|set| days(&set.into_iter().collect::<Vec<_>>()))
}

proptest! {
    /// Whoever follows the reminders one by one meets each at most once, in order, never after the end, and
    /// exactly those that lay ahead.
    #[test]
    fn reminders_come_one_by_one_and_before_the_end(
        days in some_days(), now in 0_i64..40_000_000_000, lasts in 1_i64..60_000_000_000,
    ) {
        let (begin, end) = (Timestamp::from_millis(now), Timestamp::from_millis(now + lasts));
        let mut met = Vec::new();
        let mut here = begin;
        while let Some(due) = next(begin, end, &days, here) {
            prop_assert!(due > here && due < end);
            met.push(due);
            here = due;
        }
        let ahead: Vec<Timestamp> =
            days.days().iter().map(|d| end.minus(DAY * *d)).filter(|t| *t > begin).collect();
        prop_assert_eq!(met, ahead);
    }

    /// After an extension every reminder counts from the new end.
    #[test]
    fn an_extension_sets_reminders_anew(days in some_days(), late in 0_i64..40_000_000_000, more in 1_i64..40_000_000_000) {
        let (begin, now) = (Timestamp::from_millis(0), Timestamp::from_millis(late));
        let end = Timestamp::from_millis(late + more);
        if let Some(due) = next(begin, end, &days, now) {
            prop_assert!(days.days().iter().any(|d| end.minus(DAY * *d) == due));
            prop_assert!(due > now && due < end);
        }
    }
}

/// What everybody was told of so far, the subject lines in order.
async fn told(bench: &Bench, person: &PersonId) -> Vec<String> {
    let person = person.clone();
    let sql = "SELECT subject FROM notification WHERE person_id = ?1 AND kind = 'expiry_reminder' ORDER BY id";
    bench.store.read(move |tx| tx.query(sql, params![person], |r| r.get("subject"))).await.unwrap()
}

async fn check(bench: &Bench) {
    bench.queue.run_job(names::ROLE_EXPIRY_CHECK).await.unwrap();
    bench.queue.run_job(names::DOCUMENT_EXPIRY_CHECK).await.unwrap();
}

async fn choose(bench: &Bench, days: &'static [u32]) {
    bench.write(move |tx| settings::ops::set_reminder_days(tx, &by(), Some(days.to_vec()))).await.unwrap();
}

/// A page that is handled as the checks do it.
fn page(tx: &Tx<'_>, limit: u32) -> Result<bool, Problem> {
    ops::remind(tx, &by(), Ending::Assignment, &jiff::tz::TimeZone::UTC, limit)
}

/// The checks run every six hours until the end: three reminders, each on its day.
#[tokio::test]
async fn people_are_reminded_30_7_and_1_days_before_exactly_once_each() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("Reader", &entitlement, &[]).await;
    let begin = at("2031-03-01T08:00:00Z");
    let end = begin.plus(DAY * 40);
    bench.grant(&role, Some(end)).await.unwrap();
    let mut heard = Vec::new();
    for hour in (0..40 * 24).step_by(6) {
        bench.clock.set(begin.plus(Duration::from_secs(3600) * hour));
        check(&bench).await;
        let all = told(&bench, &bench.person).await;
        if all.len() > heard.len() {
            heard.push(hour / 24);
            assert_eq!(all.len(), heard.len(), "one at a time");
        }
    }
    assert_eq!(heard, [10, 33, 39]);
    let subject = "Reader ends on 2031-04-10 08:00 UTC";
    assert_eq!(told(&bench, &bench.person).await, [subject, subject, subject]);
    let entries: u32 = bench
        .store
        .read(|tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = 'role.reminded'", params![]))
        .await
        .unwrap();
    assert_eq!(entries, 3, "each has its audit entry");
}

#[tokio::test]
async fn after_downtime_one_reminder_stands_for_all_that_were_missed() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("Reader", &entitlement, &[]).await;
    let end = bench.clock.now().plus(DAY * 40);
    bench.grant(&role, Some(end)).await.unwrap();
    check(&bench).await;
    bench.clock.set(end.minus(DAY * 2));
    check(&bench).await;
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await.len(), 1);
    // Down until after the end: it ended, and nobody is reminded of it any more.
    bench.clock.set(end.plus(DAY));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await.len(), 1);
}

#[tokio::test]
async fn what_is_extended_or_over_is_not_reminded_of_by_its_old_end() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let roles = [bench.role("Reader", &entitlement, &[]).await, bench.role("Writer", &entitlement, &[]).await];
    let begin = bench.clock.now();
    let (longer, gone) =
        (bench.grant(&roles[0], Some(begin.plus(DAY * 40))).await.unwrap(), bench.grant(&roles[1], Some(begin.plus(DAY * 40))).await.unwrap());
    check(&bench).await;
    bench.write(move |tx| extend(tx, &by(), &longer, begin.plus(DAY * 100), "still needed")).await.unwrap();
    bench.revoke(&gone).await;
    bench.clock.set(begin.plus(DAY * 35));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, Vec::<String>::new());
    bench.clock.set(begin.plus(DAY * 70));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, ["Reader ends on 2031-06-09 08:00 UTC"]);
}

/// Several ends in one check are one message, and a second person's end is not in it.
#[tokio::test]
async fn several_ends_of_a_person_are_told_in_one_message() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let end = bench.clock.now().plus(DAY * 20);
    for name in ["Reader", "Writer", "Owner"] {
        let role = bench.role(name, &entitlement, &[]).await;
        bench.grant(&role, Some(end)).await.unwrap();
    }
    bench.clock.set(end.minus(DAY * 7));
    bench.write(|tx| ops::follow_setting(tx, Ending::Assignment, 100)).await.unwrap();
    // However small the pages are.
    while bench.write(|tx| page(tx, 1)).await.unwrap() {}
    assert_eq!(told(&bench, &bench.person).await, ["3 of your roles end soon"]);
}

#[tokio::test]
async fn other_days_hold_from_the_next_check_on_and_none_means_silence() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("Reader", &entitlement, &[]).await;
    let begin = bench.clock.now();
    let end = begin.plus(DAY * 60);
    bench.grant(&role, Some(end)).await.unwrap();
    check(&bench).await;
    choose(&bench, &[]).await;
    bench.clock.set(end.minus(DAY * 29));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, Vec::<String>::new(), "it is off");
    choose(&bench, &[14, 3]).await;
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, Vec::<String>::new(), "none of the new days has come");
    bench.clock.set(end.minus(DAY * 14));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await.len(), 1);
    // One that is due and is still in force outlasts a change of the others.
    bench.clock.set(end.minus(DAY * 3));
    choose(&bench, &[3, 1]).await;
    check(&bench).await;
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await.len(), 2);
}

/// What was there before reminders were set up is set by the first check, page by page, and goes on where
/// it broke off; nobody is flooded with what lies behind.
#[tokio::test]
async fn what_was_there_before_is_set_by_the_first_check_page_by_page() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("Reader", &entitlement, &[]).await;
    let begin = bench.clock.now();
    for day in [5, 20, 40] {
        bench.grant(&role, Some(begin.plus(DAY * day))).await.unwrap();
    }
    bench.write(|tx| tx.execute("UPDATE assignment SET remind_at = NULL", params![]).map(drop)).await.unwrap();
    assert!(bench.write(|tx| ops::follow_setting(tx, Ending::Assignment, 2)).await.unwrap());
    assert!(!bench.write(|tx| ops::follow_setting(tx, Ending::Assignment, 2)).await.unwrap());
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, Vec::<String>::new());
    let set: Vec<Timestamp> = bench
        .store
        .read(|tx| tx.query("SELECT remind_at FROM assignment ORDER BY expires_at", params![], |r| r.get("remind_at")))
        .await
        .unwrap();
    assert_eq!(set, [begin.plus(DAY * 4), begin.plus(DAY * 13), begin.plus(DAY * 10)]);
}

/// A page that fails after it told somebody told nobody; one whose answer was lost is not told again.
#[tokio::test]
async fn a_check_that_breaks_off_tells_nobody_twice() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("Reader", &entitlement, &[]).await;
    let end = bench.clock.now().plus(DAY * 20);
    bench.grant(&role, Some(end)).await.unwrap();
    check(&bench).await;
    bench.clock.set(end.minus(DAY * 7));
    let broken = bench.write(|tx| page(tx, 1).and_then(|_| Err::<(), _>(Problem::internal("killed")))).await;
    assert!(broken.is_err());
    assert_eq!(told(&bench, &bench.person).await.len(), 0);
    bench.store.faults().arm("writer:after_commit", Fault::Error);
    assert!(bench.write(|tx| page(tx, 1)).await.is_err());
    bench.store.faults().disarm("writer:after_commit");
    assert_eq!(told(&bench, &bench.person).await.len(), 1);
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await.len(), 1);
}

/// The manager hears of the documents of those who cannot sign in; nobody hears of somebody who left.
#[tokio::test]
async fn documents_of_people_without_an_account_are_told_to_their_manager() {
    let bench = Bench::start().await;
    let end = bench.clock.now().plus(DAY * 20);
    let ada = bench.person.clone();
    let (mona, bo) = bench
        .write(move |tx| {
            let new = |name: &str, manager_id| NewPerson {
                display_name: name.into(),
                email: format!("{name}@example.org"),
                manager_id,
                attributes: serde_json::json!({}),
            };
            let mona = people::create_person(tx, &by(), new("Mona", None))?.id;
            let bo = people::create_person(tx, &by(), new("Bo", Some(mona.clone())))?.id;
            accounts::ops::create_account(tx, &by(), &ada, "ada@example.org", None, &[])?;
            for person in [&ada, &bo] {
                let new = documents::NewDocument {
                    kind: "training-certificate".into(),
                    person: person.clone(),
                    valid_from: tx.now(),
                    expires_at: end,
                    run: None,
                };
                documents::submit(tx, &by(), new)?;
            }
            Ok((mona, bo))
        })
        .await
        .unwrap();
    check(&bench).await;
    bench.clock.set(end.minus(DAY * 7));
    check(&bench).await;
    assert_eq!(told(&bench, &bench.person).await, ["Training certificate ends on 2031-03-21 08:00 UTC"]);
    assert_eq!(told(&bench, &mona).await, ["Training certificate of Bo ends on 2031-03-21 08:00 UTC"]);
    assert_eq!(told(&bench, &bo).await, Vec::<String>::new());
    let left = bo.clone();
    bench.write(move |tx| tx.execute("UPDATE person SET active = 0 WHERE id = ?1", params![left]).map(drop)).await.unwrap();
    bench.clock.set(end.minus(DAY));
    check(&bench).await;
    assert_eq!(told(&bench, &mona).await.len(), 1);
    assert_eq!(told(&bench, &bench.person).await.len(), 2);
}

/// A check costs what is due and not what there is, also where very much is.
#[tokio::test]
async fn what_is_due_is_found_by_its_index() {
    let bench = Bench::start().await;
    for of in [Ending::Assignment, Ending::Document] {
        let sql = format!("EXPLAIN QUERY PLAN {}", store::due_sql(of));
        let plan: Vec<String> =
            bench.store.read(move |tx| tx.query(&sql, params![tx.now(), 1_u32], |r| r.get("detail"))).await.unwrap();
        let index = format!("USING INDEX {}_remind", of.as_str());
        assert!(plan[0].contains(&index), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}
