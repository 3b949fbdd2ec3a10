//! Delegations, absences, handing over and reassigning.

use super::*;
use crate::features::workflow::approvals::delegations::store::list_delegations;

#[tokio::test]
async fn delegations_and_absences_are_followed_when_a_stage_opens() {
    let f = Bench::start().await;
    let config = json!({ "pattern": "parallel", "rule": "all", "approvers": persons(&["rosa", "mona", "kim"]) });
    let before = f.ask(config.clone()).await;
    f.delegate("rosa", Some("uli")).await.unwrap();
    // Kim is absent: her manager is Rosa, who passes on to Uli.
    f.delegate("kim", None).await.unwrap();
    let run = f.ask(config.clone()).await;
    assert_eq!(f.seats(&run).await, ["mona", "uli for kim rosa"]);
    assert_eq!(f.seats(&before).await, ["kim", "mona", "rosa"], "what was open stays where it is");
    let texts: Vec<String> = f.events(&run, "approval.stands_in").await.into_iter().map(|e| e.text).collect();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("uli on behalf of") && texts[0].contains("rosa"), "{texts:?}");
    // Two hats, one vote.
    f.vote(&run, "uli", true, None).await.unwrap();
    assert!(matches!(f.vote(&run, "uli", true, None).await, Err(Problem::Conflict(_))));
    let approval = f.vote(&run, "mona", true, None).await.unwrap();
    assert_eq!(approval.state, ApprovalState::Approved);
    let voted = f.events(&run, "approval.voted").await;
    assert!(voted[0].text.contains("uli on behalf of"), "{}", voted[0].text);
    // Over is over.
    f.clock.advance(Duration::from_secs(7 * 86_400));
    assert_eq!(f.seats(&f.ask(config).await).await, ["kim", "mona", "rosa"]);
}

/// Delegations count when the stage opens in which somebody decides, not when the approval does.
#[tokio::test]
async fn a_later_stage_follows_the_delegations_of_its_own_opening() {
    let f = Bench::start().await;
    let stages = json!({ "pattern": "sequential",
        "stages": [{ "approvers": persons(&["rosa"]) }, { "approvers": persons(&["mona"]) }] });
    let run = f.ask(stages).await;
    f.delegate("mona", Some("kim")).await.unwrap();
    f.vote(&run, "rosa", true, None).await.unwrap();
    assert_eq!(f.seats(&run).await, ["kim for mona"]);
    assert_eq!(f.events(&run, "approval.stands_in").await[0].text, "kim on behalf of mona decides");
    f.vote(&run, "kim", true, None).await.unwrap();
    assert_eq!(f.events(&run, "approval.decided").await[0].text, "Approved by kim on behalf of mona");
}

#[tokio::test]
async fn delegations_in_a_circle_end_at_the_last_who_can() {
    let f = Bench::start().await;
    for (from, to) in [("rosa", "mona"), ("mona", "eve"), ("eve", "rosa")] {
        f.delegate(from, Some(to)).await.unwrap();
    }
    let run = f.ask(json!({ "approvers": persons(&["rosa"]) })).await;
    assert_eq!(f.seats(&run).await, ["eve for rosa"]);
    // All three at once: each goes round to another, nobody has two votes and nobody's is lost.
    let all = json!({ "pattern": "parallel", "rule": "all", "approvers": persons(&["rosa", "mona", "eve"]) });
    assert_eq!(f.seats(&f.ask(all).await).await, ["eve for rosa", "mona for eve", "rosa for mona"]);
}

#[tokio::test]
async fn a_delegation_is_checked_and_made_by_the_person_alone() {
    let f = Bench::start().await;
    let fields = |p: Result<(), Problem>| match p {
        Err(Problem::Invalid { errors, .. }) => errors.into_iter().map(|e| e.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(fields(f.delegate("rosa", Some("rosa")).await), ["delegateId"]);
    assert_eq!(fields(f.delegate("rosa", Some("quinn")).await), ["delegateId"], "who may not decide");
    f.delegate("rosa", Some("mona")).await.unwrap();
    assert!(matches!(f.delegate("rosa", Some("eve")).await, Err(Problem::Conflict(_))), "one at a time");
    let token = Principal { may_decide: false, ..f.who("mona") };
    let to = f.id("eve");
    let foreign = f
        .write(move |tx| {
            let until = tx.now().plus(MINUTE);
            let new =
                NewDelegation { person: None, delegate: Some(to.clone()), from: tx.now(), to: until, reason: "r".to_owned() };
            delegations::create(tx, &token, new).map(drop)
        })
        .await;
    assert!(matches!(foreign, Err(Problem::Forbidden(_))), "a token that somebody else made");
    let all = f.read(|tx| list_delegations(tx, None, None, 10)).await;
    let (id, by, other) = (all[0].id.clone(), f.who("rosa"), f.who("eve"));
    let ended = f
        .write(move |tx| {
            let by_another = delegations::revoke(tx, &other, &id).map_err(|p| p.status());
            delegations::revoke(tx, &by, &id)?;
            Ok((by_another, delegations::revoke(tx, &by, &id).map_err(|p| p.status())))
        })
        .await
        .unwrap();
    assert_eq!(ended, (Err(404), Err(409)));
    let run = f.ask(json!({ "approvers": persons(&["rosa"]) })).await;
    assert_eq!(f.seats(&run).await, ["rosa"]);
    assert_eq!(f.told("mona").await, ["You decide for rosa", "You do not decide for rosa any more"]);
}

#[tokio::test]
async fn an_approval_is_handed_over_at_most_five_times_and_not_in_a_circle() {
    let f = Bench::start().await;
    let run = f.ask(json!({ "approvers": persons(&["rosa"]) })).await;
    f.hand_over(&run, "rosa", "mona").await.unwrap();
    assert_eq!(f.seats(&run).await, ["mona for rosa"]);
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Forbidden(_))));
    let back = f.hand_over(&run, "mona", "rosa").await.unwrap_err().to_string();
    assert!(back.contains("passed it on"), "{back}");
    for (from, to) in [("mona", "eve"), ("eve", "uli"), ("uli", "kim"), ("kim", "chief")] {
        f.hand_over(&run, from, to).await.unwrap();
    }
    assert_eq!(f.seats(&run).await, ["chief for rosa"]);
    assert!(matches!(f.hand_over(&run, "chief", "boss").await, Err(Problem::Conflict(_))), "five times");
    let approval = f.vote(&run, "chief", true, None).await.unwrap();
    assert_eq!(approval.state, ApprovalState::Approved);
    let decided = f.events(&run, "approval.decided").await;
    assert_eq!(decided[0].text, "Approved by chief on behalf of rosa");
    assert_eq!(decided[0].data["onBehalfOf"], json!([f.id("rosa")]));
}

#[tokio::test]
async fn an_administrator_reassigns_what_is_not_decided_to_others_than_themselves() {
    let f = Bench::start().await;
    let all = json!({ "pattern": "parallel", "rule": "all", "approvers": persons(&["rosa", "mona"]) });
    let run = f.ask(all).await;
    f.vote(&run, "rosa", true, None).await.unwrap();
    assert!(matches!(f.reassign(&run, "eve", &["kim"]).await, Err(Problem::Forbidden(_))), "no administrator");
    for (to, why) in [
        ("boss", "yourself"),
        ("ada", "own request"),
        ("otto", "own request"),
        ("rosa", "has decided"),
        ("quinn", "may decide"),
    ] {
        let refused = f.reassign(&run, "boss", &[to]).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{to}: {refused}");
    }
    f.reassign(&run, "boss", &["kim"]).await.unwrap();
    assert_eq!(f.seats(&run).await, ["kim"]);
    assert!(f.told("mona").await.contains(&"Passed on: Access to the archive".to_owned()));
    assert!(f.told("ada").await.contains(&"Reassigned: Access to the archive".to_owned()));
    assert_eq!(f.vote(&run, "kim", true, None).await.unwrap().state, ApprovalState::Approved);
    // A quorum that the others could not reach is refused.
    let two = json!({ "pattern": "parallel", "rule": { "quorum": 2 }, "approvers": persons(&["rosa", "mona"]) });
    let run = f.ask(two).await;
    assert!(matches!(f.reassign(&run, "boss", &["kim"]).await, Err(Problem::Invalid { .. })));
    f.reassign(&run, "boss", &["kim", "mona"]).await.unwrap();
    assert_eq!(f.seats(&run).await, ["kim", "mona"]);
}
