//! Nobody decides about their own request, on whichever way it would come to them.

use serde_json::Map;

use super::*;

/// The ways on which an approval may come to somebody.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Named by address.
    Person,
    /// A member of a group.
    Group,
    /// Everybody with a system role.
    SystemRole,
    /// The manager of the subject.
    Manager,
    /// What an expression gives.
    Expression,
    /// An approver passed their decisions on to them.
    DelegatedToThem,
    /// They are an approver and passed their decisions on.
    DelegatedByThem,
    /// An approver is absent, whose manager they are.
    AbsentReport,
    /// By way of somebody who passed on to them, and they passed on again.
    Between,
    /// An approver hands this one over to them.
    HandedOver,
    /// An administrator gives it to them.
    Reassigned,
    /// The escalation names them.
    Escalated,
    /// The escalation gives it to the manager of an approver.
    EscalatedToManager,
}

const WAYS: [Way; 13] = [
    Way::Person,
    Way::Group,
    Way::SystemRole,
    Way::Manager,
    Way::Expression,
    Way::DelegatedToThem,
    Way::DelegatedByThem,
    Way::AbsentReport,
    Way::Between,
    Way::HandedOver,
    Way::Reassigned,
    Way::Escalated,
    Way::EscalatedToManager,
];

/// Ada in this combination: she asked, it is about her, or both; as an approver or as an administrator.
async fn tried(f: &Bench, way: Way, starter: &str, subject: &str) {
    let shown = format!("{way:?}, {starter} for {subject}");
    let email = "ada@example.org";
    // Rosa can decide in each, so that the approval opens at all.
    let with_rosa = |other: Value| json!([{ "person": "rosa@example.org" }, other]);
    let overdue = |reassign: Value| json!({ "escalation": { "reassign": reassign } });
    let mut config = json!({});
    let approvers = match way {
        Way::Person => with_rosa(json!({ "person": email })),
        Way::Group => with_rosa(json!({ "group": "with-ada" })),
        Way::SystemRole => with_rosa(json!({ "systemRole": "approver" })),
        Way::Manager => with_rosa(json!({ "managerOf": "subject" })),
        Way::Expression => with_rosa(json!({ "expression": format!("['{email}']") })),
        Way::DelegatedByThem => with_rosa(json!({ "person": email })),
        Way::AbsentReport => persons(&["rosa", "uli"]),
        Way::Between => persons(&["rosa", "mona"]),
        Way::DelegatedToThem => persons(&["rosa", "mona"]),
        Way::HandedOver | Way::Reassigned => persons(&["rosa"]),
        Way::Escalated => {
            config = overdue(
                json!({ "afterMinutes": 10, "to": [{ "person": email }, { "person": "mona@example.org" }] }),
            );
            persons(&["rosa"])
        }
        Way::EscalatedToManager => {
            config = overdue(json!({ "afterMinutes": 10 }));
            persons(&["uli"])
        }
    };
    config["approvers"] = approvers;
    match way {
        Way::DelegatedToThem => f.delegate("mona", Some("ada")).await.unwrap(),
        Way::DelegatedByThem => f.delegate("ada", Some("kim")).await.unwrap(),
        Way::AbsentReport => f.delegate("uli", None).await.unwrap(),
        Way::Between => {
            f.delegate("mona", Some("ada")).await.unwrap();
            f.delegate("ada", Some("kim")).await.unwrap();
        }
        _ => {}
    }
    let run = f.ask_as(starter, subject, config).await;
    assert_eq!(run.status, RunStatus::Waiting, "{shown}: {:?}", run.reason);
    match way {
        Way::HandedOver => assert!(f.hand_over(&run, "rosa", "ada").await.is_err(), "{shown}"),
        Way::Reassigned => {
            assert!(f.reassign(&run, "chief", &["ada"]).await.is_err(), "{shown}");
            assert!(f.reassign(&run, "chief", &["mona", "ada"]).await.is_err(), "{shown}");
        }
        Way::Escalated | Way::EscalatedToManager => {
            let queue = f.queue().await;
            f.clock.advance(MINUTE * 10);
            queue.run_due().await.unwrap();
        }
        _ => {}
    }
    let approval = f.approval(&run).await;
    let parties = [f.id(starter), f.id(subject)];
    for seat in &approval.seats {
        assert!(!parties.contains(&seat.person), "{shown}: {} has a seat", f.name(&seat.person));
        let for_them = seat.on_behalf_of.iter().any(|p| parties.contains(p));
        assert!(!for_them, "{shown}: {} decides on behalf of a party", f.name(&seat.person));
    }
    if way == Way::Between || way == Way::DelegatedByThem {
        assert!(approval.seat_of(&f.id("kim")).is_none(), "{shown}: whom Ada chose decides");
    }
    for name in [starter, subject] {
        for role in [SystemRole::Approver, SystemRole::ResourceManager, SystemRole::Admin] {
            let (id, by) = (approval.id.clone(), Principal { roles: vec![role], ..f.who(name) });
            let refused = f.write(move |tx| ops::decide(tx, &by, &id, true, Some("mine")).map(drop)).await;
            assert!(matches!(refused, Err(Problem::Forbidden(_))), "{shown}: {name} as {role:?}: {refused:?}");
        }
    }
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting, "{shown}");
}

#[tokio::test]
async fn nobody_decides_their_own_request_on_any_way() {
    for way in WAYS {
        for (starter, subject) in [("ada", "otto"), ("boss", "ada"), ("ada", "ada")] {
            let f = Bench::start().await;
            let group = [f.id("ada"), f.id("rosa")];
            f.write(move |tx| people::ops::create_group(tx, &Principal::system("test"), "with-ada", &group))
                .await
                .unwrap();
            tried(&f, way, starter, subject).await;
        }
    }
}

/// Who asked does not choose who decides, though an administrator.
#[tokio::test]
async fn an_administrator_does_not_reassign_their_own_request() {
    let f = Bench::start().await;
    for (starter, subject) in [("boss", "otto"), ("ada", "boss"), ("boss", "boss")] {
        let run = f.ask_as(starter, subject, json!({ "approvers": persons(&["rosa"]) })).await;
        let refused = f.reassign(&run, "boss", &["kim"]).await;
        assert!(matches!(refused, Err(Problem::Forbidden(_))), "{starter} {subject}: {refused:?}");
        assert_eq!(f.seats(&run).await, ["rosa"]);
    }
}

/// A run may come to be about somebody else while an approval waits.
#[tokio::test]
async fn whom_a_run_is_about_by_now_does_not_decide_in_it() {
    let f = Bench::start().await;
    let run = f.ask(json!({ "approvers": persons(&["rosa", "mona"]) })).await;
    let (id, rosa) = (run.id.clone(), f.id("rosa"));
    f.write(move |tx| {
        let mut run = run_store::get_run(tx, &id)?;
        run.subject_id = Some(rosa.clone());
        run_store::update_run(tx, &run)
    })
    .await
    .unwrap();
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Forbidden(_))));
    f.vote(&run, "mona", true, None).await.unwrap();
}

/// A token that somebody else made decides nothing and passes nothing on.
#[tokio::test]
async fn a_foreign_token_neither_decides_nor_passes_on() {
    let f = Bench::start().await;
    let run = f.ask(json!({ "approvers": persons(&["rosa"]) })).await;
    let id = f.approval(&run).await.id;
    let (rosa, boss) = (f.who("rosa"), f.who("boss"));
    let [rosa, boss] = [rosa, boss].map(|p| Principal { may_decide: false, ..p });
    let mona = f.id("mona");
    let statuses = f
        .write(move |tx| {
            let to = std::slice::from_ref(&mona);
            Ok([
                ops::decide(tx, &rosa, &id, true, None).map(drop),
                turns::hand_over(tx, &rosa, &id, &mona, "r").map(drop),
                turns::ask(tx, &rosa, &id, "q").map(drop),
                turns::reassign(tx, &boss, &id, to, "r").map(drop),
                turns::reassign(tx, &Principal::cli(0), &id, to, "r").map(drop),
            ]
            .map(|r| r.map_err(|p| p.status())))
        })
        .await
        .unwrap();
    assert_eq!(statuses, [Err(403); 5]);
    assert_eq!(f.seats(&run).await, ["rosa"]);
}

/// A token that Mona made for Ada's account, as Ada's own requests know it.
fn token_of(owner: Principal, maker: &PersonId) -> Principal {
    Principal { may_decide: false, token_maker: Some(maker.clone()), ..owner }
}

fn definition(config: Value) -> Definition {
    serde_json::from_value(json!({ "name": "Access",
        "variables": [{ "name": "days", "type": "number" }],
        "steps": [{ "id": "wait", "name": "Wait", "type": "delay", "config": { "seconds": 3600 },
                    "transitions": [{ "on": "success", "to": "review" }] },
                  { "id": "review", "name": "Review", "type": "approval", "config": config }] }))
    .unwrap()
}

impl Bench {
    /// Published by `boss`.
    async fn workflow(&self, definition: Definition) -> crate::base::id::WorkflowId {
        let boss = self.who("boss");
        self.write(move |tx| {
            let draft = definitions::ops::create(tx, &boss, definition.clone())?;
            Ok(definitions::ops::publish(tx, &boss, &draft.id)?.id)
        })
        .await
        .unwrap()
    }

    async fn refusal(&self, run: &Run, name: &str) -> String {
        match self.vote(run, name, true, Some("r")).await {
            Err(Problem::Forbidden(why)) => why,
            other => panic!("{name}: {other:?}"),
        }
    }

    async fn goes_on(&self, run: &Run) {
        let id = run.id.clone();
        self.clock.advance(Duration::from_secs(3600));
        self.write(move |tx| crate::features::workflow::runs::jobs::go_on(tx, &Principal::system("t"), &id)).await.unwrap();
    }
}

/// Who holds somebody's token could ask in their name and agree in their own.
#[tokio::test]
async fn whoever_made_the_token_that_something_was_asked_for_with_does_not_decide() {
    let f = Bench::start().await;
    let config = json!({ "title": "T", "approvers": persons(&["mona", "rosa"]) });
    let inner = f.workflow(serde_json::from_value(json!({ "name": "Inner", "steps": [
        { "id": "review", "name": "Review", "type": "approval", "config": config } ] })).unwrap()).await;
    let outer = f.workflow(serde_json::from_value(json!({ "name": "Outer", "steps": [
        { "id": "inner", "name": "Inner", "type": "subworkflow", "config": { "workflow": "Inner" } } ] })).unwrap()).await;
    for workflow in [inner, outer] {
        let by = token_of(f.who("ada"), &f.id("mona"));
        let run = f.write(move |tx| runs::start(tx, &by, &workflow, Beginning::default())).await.unwrap();
        let all = f.read(|tx| run_store::list_runs(tx, &Default::default(), None, 1)).await;
        let deciding = if f.has_approval(&run).await { run } else { all[0].clone() };
        assert_eq!(f.seats(&deciding).await, ["rosa"], "the maker of the token has no seat");
        let refused = f.hand_over(&deciding, "rosa", "mona").await.unwrap_err().to_string();
        assert!(refused.contains("cannot decide"), "{refused}");
        f.vote(&deciding, "rosa", true, None).await.unwrap();
    }
}

/// A token that is made with somebody else's token is still that somebody's.
#[tokio::test]
async fn a_token_that_is_made_with_a_foreign_token_belongs_to_the_same_maker() {
    let f = Bench::start().await;
    let (ada, boss, mona) = (f.who("ada"), f.who("boss"), f.id("mona"));
    let made = f
        .write(move |tx| {
            let account = accounts::store::get_account(tx, ada.account.as_ref().unwrap())?;
            let make = |by: &Principal, secret: &str| {
                let new = accounts::ops::NewToken { name: "t".to_owned(), scope: None, expires_at: None };
                let token = accounts::ops::create_token(tx, by, &account, new, secret)?;
                let stored = accounts::store::find_token_by_id(tx, &token.id)?.unwrap();
                Ok::<_, Problem>((stored.may_decide, stored.made_by))
            };
            Ok([
                make(&ada, "a")?,
                make(&boss, "b")?,
                make(&token_of(ada.clone(), &mona), "c")?,
                make(&Principal::cli(0), "d")?,
            ])
        })
        .await
        .unwrap();
    let expected = [(true, None), (false, Some(f.id("boss"))), (false, Some(f.id("mona"))), (false, None)];
    assert_eq!(made, expected);
}

/// Whoever changes what is asked for asks for it.
#[tokio::test]
async fn whoever_corrected_what_is_asked_for_does_not_decide() {
    let f = Bench::start().await;
    let workflow = f.workflow(definition(json!({ "title": "T", "approvers": persons(&["chief", "rosa"]) }))).await;
    let (ada, chief) = (f.who("ada"), f.who("chief"));
    let change = |days: u32| {
        let chief = chief.clone();
        move |tx: &Tx<'_>, id: &crate::base::id::RunId| {
            let run = run_store::get_run(tx, id)?;
            let values = Map::from_iter([("days".to_owned(), json!(days))]);
            let before = crate::features::workflow::runs::repair::values_before(&run, &values);
            crate::features::workflow::runs::repair::correct(tx, &chief, id, &values, &before, "wrong").map(drop)
        }
    };
    // Before it is asked, and while it is.
    let starts = ada.clone();
    let run = f.write(move |tx| runs::start(tx, &starts, &workflow, Beginning::default())).await.unwrap();
    let (id, early) = (run.id.clone(), change(30));
    f.write(move |tx| early(tx, &id)).await.unwrap();
    f.goes_on(&run).await;
    assert_eq!(f.seats(&run).await, ["rosa"]);
    let other = f.ask(json!({ "approvers": persons(&["chief", "rosa"]) })).await;
    let (id, chief) = (other.id.clone(), f.id("chief"));
    f.write(move |tx| run_store::insert_party(tx, &id, &chief, "edit")).await.unwrap();
    assert_eq!(f.refusal(&other, "chief").await, Bar::Edit.why());
    f.vote(&other, "rosa", true, None).await.unwrap();
}

/// One person would have said who decides, and decided.
#[tokio::test]
async fn whoever_published_a_workflow_is_not_its_only_approver_while_the_rule_is_on() {
    let f = Bench::start().await;
    let alone = json!({ "approvers": persons(&["boss"]) });
    let switch = |on: &'static str| {
        f.write(move |tx| settings::ops::set(tx, &Principal::system("t"), settings::FOUR_EYES, Some(on)))
    };
    let run = f.ask(alone.clone()).await;
    assert_eq!(run.status, RunStatus::Waiting, "the rule is off");
    switch("true").await.unwrap();
    let why = f.refusal(&run, "boss").await;
    assert!(why.contains("published this workflow"), "{why}");
    let refused = f.ask(alone).await;
    assert_eq!(refused.status, RunStatus::Failed, "it is told at once");
    assert!(refused.reason.unwrap().contains("Nobody can decide: Whoever published this workflow"));
    // Beside others, and in a stage after theirs, they decide.
    let run = f.ask(json!({ "approvers": persons(&["boss", "rosa"]) })).await;
    f.vote(&run, "boss", true, None).await.unwrap();
    let stages = json!({ "pattern": "sequential",
        "stages": [{ "approvers": persons(&["rosa"]) }, { "approvers": persons(&["boss"]) }] });
    let run = f.ask(stages).await;
    f.vote(&run, "rosa", true, None).await.unwrap();
    f.vote(&run, "boss", true, None).await.unwrap();
    // Nor do they come to be it.
    let run = f.ask(json!({ "approvers": persons(&["rosa"]) })).await;
    for refused in [f.hand_over(&run, "rosa", "boss").await, f.reassign(&run, "chief", &["boss"]).await] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("published this workflow"), "{refused}");
    }
    switch("false").await.unwrap();
    f.hand_over(&run, "rosa", "boss").await.unwrap();
    f.vote(&run, "boss", true, None).await.unwrap();
}
