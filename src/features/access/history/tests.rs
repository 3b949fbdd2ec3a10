//! The past of assignments and documents, against a real store and the real audit log.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::base::clock::Clock as _;
use crate::base::id::AssignmentId;
use crate::features::access::assignments::AssignmentState;
use crate::features::access::assignments::store::AssignmentFilter;
use crate::features::access::documents::store::DocumentFilter;
use crate::features::access::grants::GrantState;
use crate::features::access::testing::{Bench, at};
use crate::params;
use crate::platform::store::MigrationSet;

#[test]
fn a_day_is_its_end_and_an_instant_to_come_is_refused() {
    let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
    let now = at("2031-03-05T10:00:00Z");
    for (text, expected) in [
        ("2031-03-01", "2031-03-01T22:59:59.999Z"),
        ("2031-03-01T12:00:00Z", "2031-03-01T12:00:00.000Z"),
        ("2031-03-01T12:00:00+01:00", "2031-03-01T11:00:00.000Z"),
        // The day that is not over ends with what is known of it.
        ("2031-03-05", "2031-03-05T10:00:00.000Z"),
        ("2031-03-05T10:00:00Z", "2031-03-05T10:00:00.000Z"),
    ] {
        assert_eq!(as_of(text, &zone, now).unwrap().to_string(), expected, "{text}");
    }
    for (text, why) in [
        ("2031-03-06", "up to now, 2031-03-05T10:00:00.000Z"),
        ("2031-03-05T10:00:00.001Z", "up to now"),
        ("yesterday", "a day such as 2031-03-01"),
        ("2031-02-30", "a day such as 2031-03-01"),
        ("2031-03-01T12:00", "a day such as 2031-03-01"),
        ("", "a day such as 2031-03-01"),
    ] {
        let refused = as_of(text, &zone, now).unwrap_err();
        assert_eq!(refused.status(), 422, "{text}");
        assert!(refused.to_string().contains(why), "{text}: {refused}");
    }
    // In the first hours of a day it is the day before elsewhere.
    let early = at("2031-03-05T23:30:00Z");
    assert_eq!(as_of("2031-03-06", &zone, early).unwrap(), early);
}

#[test]
fn an_exception_says_who_stands_behind_it() {
    let person = |name: &str| Some(crate::base::id::TypedId::from_stored(name.to_owned()));
    for (id, decided, way) in [
        (Some("exc_1"), true, Way::SecondPerson),
        (None, false, Way::Alone),
        (Some("imp_1"), true, Way::Import),
        (Some("brk_1"), false, Way::Emergency),
    ] {
        let mark = ExceptionMark {
            id: id.map(str::to_owned),
            requested_by: person("mona"),
            decided_by: if decided { person("milo") } else { None },
        };
        assert_eq!(Way::of(&mark), way, "{id:?}");
        assert_eq!(json!(way), way.as_str());
    }
}

impl Bench {
    async fn then(&self, id: &AssignmentId, instant: &str) -> Option<AssignmentRecord> {
        let (id, instant) = (id.clone(), at(instant));
        self.store.read(move |tx| ops::find_assignment(tx, &Decisions::none(), &id, instant)).await.unwrap()
    }

    /// The ids of those that fit at an instant, newest first, asked for page by page.
    async fn listed(&self, filter: AssignmentFilter, instant: &str, limit: u32) -> Vec<String> {
        let (mut found, mut before) = (Vec::new(), None::<String>);
        loop {
            let (filter, instant) = (filter.clone(), at(instant));
            let page = self
                .store
                .read(move |tx| store::list_assignments(tx, &filter, instant, before.as_deref(), limit))
                .await
                .unwrap();
            before = page.last().map(|s| s.id.clone());
            let last = page.len() < limit as usize;
            found.extend(page.into_iter().map(|s| s.id));
            if last {
                return found;
            }
        }
    }

    /// Every period there is, as one text each.
    async fn periods(&self) -> Vec<String> {
        let sql = "SELECT entity || ' ' || entity_id || ' ' || from_at || ' ' || coalesce(until_at, '…') || ' ' || state
                          || ' ' || seq AS told FROM access_period ORDER BY entity, entity_id, from_at";
        self.store.read(move |tx| tx.query(sql, params![], |r| r.get("told"))).await.unwrap()
    }
}

/// Before, during, after an extension, while it ends and when it has ended: each as it was.
#[tokio::test]
async fn an_assignment_is_shown_as_it_stood() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &["certificate"]).await;
    bench.document("certificate", at("2032-01-01T00:00:00Z")).await;
    bench.clock.set(at("2031-03-02T08:00:00Z"));
    let id = bench.grant(&role, Some(at("2031-03-09T00:00:00Z"))).await.unwrap();
    bench.clock.set(at("2031-03-02T08:01:00Z"));
    bench.run().await;
    bench.clock.set(at("2031-03-05T08:00:00Z"));
    bench.extend(&id, at("2031-03-20T00:00:00Z")).await.unwrap();
    *bench.system.broken.lock().unwrap() = true;
    bench.clock.set(at("2031-03-12T08:00:00Z"));
    bench.revoke(&id).await;
    *bench.system.broken.lock().unwrap() = false;
    bench.clock.set(at("2031-03-13T08:00:00Z"));
    bench.run().await;

    assert!(bench.then(&id, "2031-03-02T07:59:59.999Z").await.is_none(), "it was not there");
    let (old, new) = (Some(at("2031-03-09T00:00:00Z")), Some(at("2031-03-20T00:00:00Z")));
    for (instant, state, end, grant) in [
        ("2031-03-02T08:00:00Z", AssignmentState::Provisioning, old, GrantState::Pending),
        ("2031-03-02T08:01:00Z", AssignmentState::Active, old, GrantState::Provisioned),
        ("2031-03-05T07:59:59.999Z", AssignmentState::Active, old, GrantState::Provisioned),
        ("2031-03-05T08:00:00Z", AssignmentState::Active, new, GrantState::Provisioned),
        ("2031-03-12T08:00:00Z", AssignmentState::Revoking, new, GrantState::Deprovisioning),
        ("2031-03-13T08:00:00Z", AssignmentState::Revoked, new, GrantState::Deprovisioned),
    ] {
        let then = bench.then(&id, instant).await.unwrap();
        let shown = (then.assignment.state, then.assignment.expires_at, then.assignment.grants[0].state);
        assert_eq!(shown, (state, end, grant), "{instant}");
        assert_eq!(then.granted_at, Some(at("2031-03-02T08:00:00Z")));
        assert_eq!(then.granted_by.unwrap().name, "Tenure (test)");
        assert_eq!((then.documents.len(), then.documents[0].state), (1, DocumentState::Approved), "{instant}");
        assert_eq!(then.assignment.end_reason.is_some(), !state.is_live(), "{instant}");
        let listed = |states| AssignmentFilter { states, ..Default::default() };
        assert_eq!(bench.listed(listed(vec![state]), instant, 10).await, [id.to_string()], "{instant}");
        let held = bench.listed(listed(AssignmentState::HELD.to_vec()), instant, 10).await;
        assert_eq!(held.len(), usize::from(state.is_held()), "{instant}");
    }
    let wanted = id.clone();
    let changes = bench.store.read(move |tx| ops::list_changes(tx, &wanted, 0, 50)).await.unwrap();
    let told: Vec<&str> = changes.iter().map(|c| c.action.as_str()).collect();
    assert_eq!(told, ["role.granted", "grant.provisioned", "role.activated", "role.extended", "role.revoking",
                      "grant.deprovisioning", "grant.deprovisioned", "role.revoked"]);
    assert_eq!((changes[3].expires_at, changes[3].reason.as_deref()), (new, Some("it lasts longer")));
    assert_eq!(changes[1].entitlement.as_deref(), Some("Project group"));
    let (wanted, after) = (id.clone(), changes[2].seq);
    let rest = bench.store.read(move |tx| ops::list_changes(tx, &wanted, after, 2)).await.unwrap();
    assert_eq!(rest.iter().map(|c| c.seq).collect::<Vec<_>>(), [changes[3].seq, changes[4].seq]);
}

#[tokio::test]
async fn a_document_is_shown_as_it_stood() {
    let bench = Bench::start().await;
    let document = bench.document("certificate", at("2031-03-05T00:00:00Z")).await;
    bench.clock.set(at("2031-03-05T00:00:00Z"));
    bench.run().await;
    for (instant, state) in [
        ("2031-03-01T07:59:59Z", None),
        ("2031-03-01T08:00:00Z", Some(DocumentState::Approved)),
        ("2031-03-04T23:59:59.999Z", Some(DocumentState::Approved)),
        ("2031-03-05T00:00:00Z", Some(DocumentState::Expired)),
    ] {
        for person in [None, Some(bench.person.clone())] {
            for asked in [None, Some(DocumentState::Approved), Some(DocumentState::Expired)] {
                let (filter, instant_at) = (DocumentFilter { person: person.clone(), state: asked }, at(instant));
                let found =
                    bench.store.read(move |tx| ops::list_documents(tx, &filter, instant_at, None, 10)).await.unwrap();
                let expected = state.filter(|s| asked.is_none_or(|a| a == *s));
                assert_eq!(found.first().map(|d| d.state), expected, "{instant} {asked:?}");
                assert!(found.iter().all(|d| d.id == document) && found.len() < 2);
            }
        }
    }
}

/// However the clock goes: periods of a thing follow one another without a gap, and are those that the entries
/// of the audit log give.
#[tokio::test]
async fn the_past_is_what_the_audit_log_says_whatever_the_clock_did() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &[]).await;
    bench.document("certificate", at("2031-03-05T00:00:00Z")).await;
    let first = bench.grant(&role, Some(at("2031-03-09T00:00:00Z"))).await.unwrap();
    bench.run().await;
    // Back, then forward again.
    bench.clock.set(at("2031-02-01T00:00:00Z"));
    bench.extend(&first, at("2031-03-10T00:00:00Z")).await.unwrap();
    let second = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    bench.clock.set(at("2031-03-12T00:00:00Z"));
    bench.run().await;
    bench.revoke(&second).await;
    bench.run().await;

    let kept = bench.periods().await;
    assert!(kept.len() >= 6, "{kept:?}");
    let gaps: u32 = bench
        .store
        .read(|tx| {
            let sql = "SELECT count(*) FROM access_period p WHERE p.until_at <= p.from_at
                          OR p.until_at IS NOT (SELECT min(n.from_at) FROM access_period n
                                                WHERE n.entity = p.entity AND n.entity_id = p.entity_id
                                                  AND n.from_at > p.from_at)";
            tx.scalar(sql, params![])
        })
        .await
        .unwrap();
    assert_eq!(gaps, 0, "{kept:?}");
    // The migration that makes the index of an older database gives the same.
    let set = MigrationSet::tenure();
    let migration = set.files().iter().find(|m| m.version == 27).unwrap().sql.clone();
    let (_, again) = migration.split_once("-- What the log tells of already.").unwrap();
    let again = again.to_owned();
    bench
        .write(move |tx| {
            tx.execute("DELETE FROM access_period", params![])?;
            tx.execute(again.trim().trim_end_matches(';'), params![]).map(drop)
        })
        .await
        .unwrap();
    assert_eq!(bench.periods().await, kept);
}

/// Assignments as an organisation has them after some years: one in eight is still held, each with its entries.
async fn many(bench: &Bench, role: &crate::base::id::RoleId, entitlement: &crate::base::id::EntitlementId, count: u32) {
    let (person, role, entitlement) = (bench.person.clone(), role.clone(), entitlement.clone());
    let begin = at("2028-01-01T00:00:00Z");
    bench
        .write(move |tx| {
            let mut seq: u64 = tx.scalar("SELECT max(seq) FROM audit_log", params![])?;
            for n in 0..count {
                // One after another over three years, each for a month unless it goes on.
                let from = begin.plus(Duration::from_millis(u64::from(n) * (3 * 365 * 86_400_000 / u64::from(count))));
                let until = (n % 8 != 0).then(|| from.plus(Duration::from_secs(30 * 86_400)));
                let id = format!("asg_{}", crate::base::id::encode(from, u128::from(n)));
                let grant = format!("grt_{}", crate::base::id::encode(from, u128::from(n)));
                let state = if until.is_some() { "expired" } else { "active" };
                tx.execute(
                    "INSERT INTO assignment (id, person_id, role_id, state, reason, granted_by, starts_at, expires_at,
                                             created_at, ended_at)
                     VALUES (?1, ?2, ?3, ?4, 'seeded', 'test', ?5, ?6, ?5, ?6)",
                    params![id, person, role, state, from, until],
                )?;
                tx.execute(
                    "INSERT INTO access_grant (id, assignment_id, person_id, entitlement_id, state, wanted, generation)
                     VALUES (?1, ?2, ?3, ?4, 'provisioned', 'present', 1)",
                    params![grant, id, person, entitlement],
                )?;
                let ends = until.into_iter().flat_map(|u| [("expiring", "role.expiring", u), ("expired", "role.expired", u.plus(Duration::from_secs(2)))]);
                let begins = [("provisioning", "role.granted", from), ("active", "role.activated", from.plus(Duration::from_secs(3)))];
                for (state, action, when) in begins.into_iter().chain(ends) {
                    seq += 1;
                    let leaf = json!({ "v": 1, "seq": seq, "id": "aud", "ts": when, "actor": { "type": "system", "id": "test" },
                        "action": action, "entity": "assignment", "entityId": id, "requestId": null, "context": null,
                        "prevState": null, "newState": null, "prev": "" });
                    let new = json!({ "state": state, "expiresAt": until });
                    tx.execute(
                        "INSERT INTO audit_log (seq, leaf, leaf_hash, at, actor_id, action, entity, entity_id)
                         VALUES (?1, ?2, zeroblob(32), ?3, 'test', ?4, 'assignment', ?5)",
                        params![seq, leaf.to_string().into_bytes(), when, action, id],
                    )?;
                    tx.execute(
                        "INSERT INTO audit_state (seq, part, salt, state) VALUES (?1, 'new', x'00', ?2)",
                        params![seq, new.to_string().into_bytes()],
                    )?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
}

/// The page comes quickly wherever in the past it lies and whatever narrows it. The limit is that of a debug build
/// on a busy machine; what it takes among a hundred thousand stands in `docs/benchmarks.md`.
#[tokio::test]
async fn a_page_of_a_past_day_among_many_assignments_comes_at_once() {
    let count = 10_000;
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let (role, other) = (bench.role("reader", &entitlement, &[]).await, bench.role("other", &entitlement, &[]).await);
    many(&bench, &role, &entitlement, count).await;
    let lone = bench.grant(&other, None).await.unwrap();
    bench.run().await;
    let held = AssignmentState::HELD.to_vec();
    let filter = |states: &[AssignmentState]| AssignmentFilter { states: states.to_vec(), ..Default::default() };
    let person = Some(bench.person.clone());
    let asked = [
        ("all", filter(&[])),
        ("held", filter(&held)),
        ("expiring", filter(&[AssignmentState::Expiring])),
        ("held of a person", AssignmentFilter { person: person.clone(), ..filter(&held) }),
        ("held of a role", AssignmentFilter { role: Some(role.clone()), ..filter(&held) }),
        ("held of an entitlement", AssignmentFilter { entitlement: Some(entitlement.clone()), ..filter(&held) }),
        ("of a rare role", AssignmentFilter { role: Some(other.clone()), ..filter(&[]) }),
    ];
    let days = ["2028-02-15T00:00:00Z", "2029-07-01T00:00:00Z", "2030-12-31T00:00:00Z", "2031-03-01T09:00:00Z"];
    bench.clock.set(at("2031-03-01T09:00:00Z"));
    for (what, filter) in &asked {
        for day in days {
            // The first look warms what every later one finds warm.
            let mut taken = Vec::new();
            for _ in 0..4 {
                let (filter, day) = (filter.clone(), at(day));
                let begun = tokio::time::Instant::now();
                let page = bench
                    .store
                    .read(move |tx| ops::list_assignments(tx, &Decisions::none(), &filter, day, None, 51))
                    .await
                    .unwrap();
                taken.push(begun.elapsed());
                assert!(page.len() <= 51 && page.iter().all(|r| r.as_of == day && r.granted_at <= Some(day)));
            }
            let best = taken.iter().skip(1).min().copied().unwrap();
            assert!(best < Duration::from_millis(250), "{what} at {day} took {best:?}");
        }
    }
    // What is counted is what there was.
    let month = u64::from(count) * 30 / (3 * 365);
    let found = bench.listed(filter(&held), "2029-07-01T00:00:00Z", 200).await.len();
    let expected = count as usize / 8 / 2 + usize::try_from(month * 7 / 8).unwrap();
    assert!(found.abs_diff(expected) <= 3 + expected / 50, "{found}, expected about {expected}");
    assert_eq!(bench.listed(AssignmentFilter { role: Some(other), ..filter(&[]) }, "2031-03-01T09:00:00Z", 10).await, [lone.to_string()]);
    let now = bench.clock.now().to_string();
    assert_eq!(bench.listed(filter(&[]), &now, 200).await.len(), count as usize + 1);
}
