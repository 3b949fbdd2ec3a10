//! Documents: the boundary of their expiry, and what falls with them.

use super::*;
use crate::base::access::{ActorKind, Principal};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::access::assignments::AssignmentState;
use crate::features::access::testing::{Bench, at, by, document_of};
use crate::features::identity::people::{NewPerson, ops::create_person};
use crate::platform::queue::names;

/// The expiry instant itself already counts; one millisecond before does not.
#[test]
fn a_document_is_expired_from_its_instant_on() {
    let person: PersonId = "per_00000000000000000000000000".parse().unwrap();
    let document = document_of(&person, Timestamp::from_millis(1_000));
    for (now, expired) in [(0, false), (999, false), (1_000, true), (1_001, true)] {
        assert_eq!(document.is_expired(Timestamp::from_millis(now)), expired, "{now}");
        assert_eq!(document.is_live(Timestamp::from_millis(now)), !expired, "{now}");
    }
}

#[tokio::test]
async fn a_role_falls_with_its_document_at_the_expiry_instant() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &["certificate"]).await;
    assert!(bench.grant(&role, None).await.unwrap_err().to_string().contains("certificate"));
    let end = at("2031-03-01T08:30:00Z");
    bench.document("certificate", end).await;
    let id = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    bench.clock.set(Timestamp::from_millis(end.as_millis() - 1));
    bench.run().await;
    assert!(bench.holds());
    bench.clock.set(end);
    bench.run().await;
    assert!(!bench.holds());
    let ended = bench.assignment(&id).await;
    assert_eq!(ended.state, AssignmentState::Revoked);
    assert!(ended.end_reason.unwrap().starts_with("document expired"));
}

/// The safety net alone does the same, and a second time does nothing.
#[tokio::test]
async fn the_hourly_check_revokes_what_the_instant_missed() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &["certificate"]).await;
    bench.document("certificate", at("2031-03-01T08:30:00Z")).await;
    let id = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    bench
        .write(|tx| tx.execute("DELETE FROM job WHERE name = 'expire-document'", &[]).map(drop))
        .await
        .unwrap();
    bench.clock.set(at("2031-03-01T08:40:00Z"));
    for _ in 0..2 {
        bench.queue.run_job(names::DOCUMENT_EXPIRY_CHECK).await.unwrap();
        bench.run().await;
    }
    assert!(!bench.holds());
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoked);
    assert_eq!(*bench.system.changes.lock().unwrap(), ["add", "remove"]);
}

#[tokio::test]
async fn a_withdrawn_document_takes_its_roles_along() {
    let bench = Bench::start().await;
    let entitlement = bench.entitlement().await;
    let role = bench.role("reader", &entitlement, &["certificate"]).await;
    let document = bench.document("certificate", at("2032-03-01T00:00:00Z")).await;
    let id = bench.grant(&role, None).await.unwrap();
    bench.run().await;
    bench.write(move |tx| ops::withdraw(tx, &by(), &document, None)).await.unwrap();
    bench.run().await;
    assert_eq!(bench.assignment(&id).await.state, AssignmentState::Revoked);
    assert!(!bench.holds());
}

#[tokio::test]
async fn nobody_reviews_their_own_document() {
    let bench = Bench::start().await;
    let person = bench.person.clone();
    let own = Principal { kind: ActorKind::Person, person: Some(person.clone()), may_decide: true, ..by() };
    let refused = bench
        .write(move |tx| {
            let new = ops::NewDocument {
                kind: "certificate".into(),
                person: person.clone(),
                valid_from: tx.now(),
                expires_at: at("2032-01-01T00:00:00Z"),
                run: None,
            };
            let id = ops::submit(tx, &own, new)?.id;
            ops::approve(tx, &own, &id, None)
        })
        .await
        .unwrap_err();
    assert_eq!(refused.status(), 403);
}

/// Handing in for somebody else is half of the evidence; the other half is another person's look at it.
#[tokio::test]
async fn whoever_handed_a_document_in_for_somebody_else_does_not_review_it() {
    let bench = Bench::start().await;
    let owner = bench.person.clone();
    let (submitter, other, id) = bench
        .write(move |tx| {
            let person = |name: &str| {
                let new = NewPerson {
                    display_name: name.into(),
                    email: format!("{name}@example.org"),
                    manager_id: None,
                    attributes: serde_json::json!({}),
                };
                let id = create_person(tx, &by(), new)?.id;
                Ok::<_, Problem>(Principal { kind: ActorKind::Person, person: Some(id), may_decide: true, ..by() })
            };
            let (submitter, other) = (person("mona")?, person("rosa")?);
            let new = ops::NewDocument {
                kind: "certificate".into(),
                person: owner.clone(),
                valid_from: tx.now(),
                expires_at: at("2032-01-01T00:00:00Z"),
                run: None,
            };
            let id = ops::submit(tx, &submitter, new)?.id;
            Ok((submitter, other, id))
        })
        .await
        .unwrap();
    for approve in [true, false] {
        let (who, id) = (submitter.clone(), id.clone());
        let refused = bench
            .write(move |tx| {
                if approve { ops::approve(tx, &who, &id, None) } else { ops::reject(tx, &who, &id, "no".into()) }
            })
            .await
            .unwrap_err();
        assert_eq!(refused.status(), 403);
        assert!(refused.to_string().contains("handed this document in"), "{refused}");
    }
    let approved = bench.write(move |tx| ops::approve(tx, &other, &id, None)).await.unwrap();
    assert_eq!(approved.state, DocumentState::Approved);
}

/// A token that somebody else made reviews nothing, nor does a command; and whoever made the one that a document
/// came by does not review it.
#[tokio::test]
async fn no_document_is_reviewed_by_a_foreign_token_or_by_whoever_made_it() {
    let bench = Bench::start().await;
    let owner = bench.person.clone();
    let person = |name: &'static str| {
        move |tx: &crate::platform::store::Tx<'_>| {
            let new = NewPerson {
                display_name: name.into(),
                email: format!("{name}@example.org"),
                manager_id: None,
                attributes: serde_json::json!({}),
            };
            let id = create_person(tx, &by(), new)?.id;
            Ok::<_, Problem>(Principal { kind: ActorKind::Person, person: Some(id), may_decide: true, ..by() })
        }
    };
    let (maker, rosa) = (bench.write(person("mona")).await.unwrap(), bench.write(person("rosa")).await.unwrap());
    let token = Principal { may_decide: false, token_maker: maker.person.clone(), ..rosa.clone() };
    let shown = token.clone();
    let id = bench
        .write(move |tx| {
            let new = ops::NewDocument {
                kind: "certificate".into(),
                person: owner.clone(),
                valid_from: tx.now(),
                expires_at: at("2032-01-01T00:00:00Z"),
                run: None,
            };
            Ok(ops::submit(tx, &shown, new)?.id)
        })
        .await
        .unwrap();
    let other = Principal { may_decide: false, ..bench.write(person("kim")).await.unwrap() };
    let refused = [
        (maker, "a token that you made"),
        (rosa, "handed this document in"),
        (token, "handed this document in"),
        (other, "with this sign-in"),
        (Principal::cli(0), "with this sign-in"),
    ];
    for (who, why) in refused {
        let (name, id) = (format!("{} {}", who.name, who.may_decide), id.clone());
        let refused = bench.write(move |tx| ops::approve(tx, &who, &id, None)).await.unwrap_err();
        assert_eq!(refused.status(), 403, "{name}");
        assert!(refused.to_string().contains(why), "{name}: {refused}");
    }
}
