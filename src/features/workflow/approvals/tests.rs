//! Approvals on a real store, in runs.

mod month;
mod passing_on;
mod separation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::delegations::ops::{self as delegations, NewDelegation};
use super::jobs::{EscalationReassignment, EscalationReminder};
use super::{Approval, ApprovalState, Bar, ops, store, turns};
use crate::base::access::{ActorKind, Principal, SystemRole};
use crate::base::id::{PersonId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::AuditJournal;
use crate::features::identity::{accounts, people};
use crate::features::settings;
use crate::features::workflow::definitions::{self, Definition};
use crate::features::workflow::runs::{Beginning, Run, RunStatus, ops as runs, store as run_store};
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler, Registry, names};
use crate::platform::store::{MigrationSet, Options, Store, Tx};

/// Who there is: name, role, manager.
const CAST: [(&str, SystemRole, Option<&str>); 10] = [
    ("boss", SystemRole::Admin, None),
    ("chief", SystemRole::Admin, None),
    // Asks.
    ("ada", SystemRole::Approver, Some("boss")),
    // Whom it is about.
    ("otto", SystemRole::Approver, Some("ada")),
    ("eve", SystemRole::Approver, None),
    ("rosa", SystemRole::Approver, Some("eve")),
    ("mona", SystemRole::Approver, Some("eve")),
    ("uli", SystemRole::Approver, Some("ada")),
    ("kim", SystemRole::Approver, Some("rosa")),
    ("quinn", SystemRole::Requestor, None),
];

struct Bench {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    people: BTreeMap<String, Principal>,
}

fn add(tx: &Tx<'_>, name: &str, role: SystemRole, manager: Option<PersonId>) -> Result<Principal, Problem> {
    let by = Principal::system("test");
    let email = format!("{name}@example.org");
    let new = people::NewPerson {
        display_name: name.to_owned(),
        email: email.clone(),
        manager_id: manager,
        attributes: json!({}),
    };
    let person = people::ops::create_person(tx, &by, new)?;
    let account = accounts::ops::create_account(tx, &by, &person.id, &email, None, &[role])?;
    Ok(Principal {
        kind: ActorKind::Person,
        person: Some(person.id),
        account: Some(account),
        name: name.to_owned(),
        roles: vec![role],
        may_decide: true,
        ..by
    })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

/// `{ "person": "rosa@example.org" }` for each.
fn persons(names: &[&str]) -> Value {
    names.iter().map(|n| json!({ "person": format!("{n}@example.org") })).collect()
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(at("2031-03-01T12:00:00Z")));
        let store = Store::open(
            &Options::small(dir.path().join("tenure.db")),
            &MigrationSet::tenure(),
            clock.clone(),
            Arc::new(SeededIds::new(1)),
            Some(Arc::new(AuditJournal)),
        )
        .unwrap();
        let people = store
            .write(|tx| {
                let mut people: BTreeMap<String, Principal> = BTreeMap::new();
                for (name, role, manager) in CAST {
                    let manager = manager.and_then(|m| people[m].person.clone());
                    people.insert(name.to_owned(), add(tx, name, role, manager)?);
                }
                Ok(people)
            })
            .await
            .unwrap();
        Self { _dir: dir, clock, store, people }
    }

    fn who(&self, name: &str) -> Principal {
        self.people[name].clone()
    }

    fn id(&self, name: &str) -> PersonId {
        self.people[name].person.clone().unwrap()
    }

    fn name(&self, id: &PersonId) -> String {
        self.people.values().find(|p| p.is_person(id)).unwrap().name.clone()
    }

    async fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.write(f).await
    }

    async fn read<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.store.read(f).await.unwrap()
    }

    /// A run that Ada started about Otto, with one step of this configuration.
    async fn ask(&self, config: Value) -> Run {
        self.ask_as("ada", "otto", config).await
    }

    async fn ask_as(&self, starter: &str, subject: &str, mut config: Value) -> Run {
        config["title"] = json!("Access to the archive");
        let definition: Definition = serde_json::from_value(json!({ "name": "Access", "steps": [
            { "id": "review", "name": "Review", "type": "approval", "config": config,
              "transitions": [{ "on": "approved", "to": "done" }, { "on": "rejected", "to": "refused" }] },
            { "id": "done", "name": "Done", "type": "end", "config": {} },
            { "id": "refused", "name": "Refused", "type": "end", "config": { "failed": true, "reason": "refused" } },
        ] }))
        .unwrap();
        let (by, boss, subject) = (self.who(starter), self.who("boss"), self.id(subject));
        self.write(move |tx| {
            let draft = definitions::ops::create(tx, &boss, definition.clone())?;
            let workflow = definitions::ops::publish(tx, &boss, &draft.id)?.id;
            runs::start(tx, &by, &workflow, Beginning { subject: Some(subject.clone()), ..Beginning::default() })
        })
        .await
        .unwrap()
    }

    async fn run(&self, run: &Run) -> Run {
        let id = run.id.clone();
        self.read(move |tx| run_store::get_run(tx, &id)).await
    }

    /// The newest approval of a run.
    async fn approval(&self, run: &Run) -> Approval {
        let id = run.id.clone();
        self.read(move |tx| {
            let all = store::list_approvals(tx, &Default::default(), None, 200)?;
            Ok(all.into_iter().find(|a| a.run_id == id).expect("an approval"))
        })
        .await
    }

    async fn has_approval(&self, run: &Run) -> bool {
        let id = run.id.clone();
        self.read(move |tx| {
            let all = store::list_approvals(tx, &Default::default(), None, 200)?;
            Ok(all.iter().any(|a| a.run_id == id))
        })
        .await
    }

    async fn vote(
        &self,
        run: &Run,
        name: &str,
        yes: bool,
        reason: Option<&'static str>,
    ) -> Result<Approval, Problem> {
        let (id, by) = (self.approval(run).await.id, self.who(name));
        self.write(move |tx| ops::decide(tx, &by, &id, yes, reason)).await
    }

    async fn hand_over(&self, run: &Run, from: &str, to: &str) -> Result<Approval, Problem> {
        let (id, by, to) = (self.approval(run).await.id, self.who(from), self.id(to));
        self.write(move |tx| turns::hand_over(tx, &by, &id, &to, "away today")).await
    }

    async fn reassign(&self, run: &Run, by: &str, to: &[&str]) -> Result<Approval, Problem> {
        let (id, by) = (self.approval(run).await.id, self.who(by));
        let to: Vec<PersonId> = to.iter().map(|n| self.id(n)).collect();
        self.write(move |tx| turns::reassign(tx, &by, &id, &to, "nobody is there")).await
    }

    /// From now on for a week; absent without `to`.
    async fn delegate(&self, from: &str, to: Option<&str>) -> Result<(), Problem> {
        let (by, delegate) = (self.who(from), to.map(|t| self.id(t)));
        self.write(move |tx| {
            let to = tx.now().plus(Duration::from_secs(7 * 86_400));
            let new =
                NewDelegation { person: None, delegate: delegate.clone(), from: tx.now(), to, reason: "on leave".to_owned() };
            delegations::create(tx, &by, new).map(drop)
        })
        .await
    }

    /// "rosa", "rosa for mona", "rosa+ for mona" when she decides for herself as well.
    async fn seats(&self, run: &Run) -> Vec<String> {
        let mut seats: Vec<String> = self
            .approval(run)
            .await
            .open_seats()
            .map(|s| {
                let name = self.name(&s.person);
                let mut others: Vec<String> = s.on_behalf_of.iter().map(|p| self.name(p)).collect();
                others.sort();
                match (others.is_empty(), s.own) {
                    (true, _) => name,
                    (false, own) => format!("{name}{} for {}", if own { "+" } else { "" }, others.join(" ")),
                }
            })
            .collect();
        seats.sort();
        seats
    }

    /// What somebody was told since the test began, oldest first.
    async fn told(&self, name: &str) -> Vec<String> {
        let id = self.id(name);
        self.read(move |tx| {
            let sql = "SELECT subject FROM notification WHERE person_id = ?1 ORDER BY rowid";
            tx.query(sql, params![id], |r| r.get("subject"))
        })
        .await
    }

    async fn events(&self, run: &Run, kind: &'static str) -> Vec<run_store::StoredEvent> {
        let id = run.id.clone();
        let all = self.read(move |tx| run_store::list_events(tx, &id, 0, 500)).await;
        all.into_iter().filter(|e| e.kind == kind).collect()
    }

    /// How many jobs of the escalation wait.
    async fn waiting_jobs(&self) -> u32 {
        let sql = "SELECT count(*) FROM job WHERE name LIKE 'escalation-%' AND state IN ('held', 'handed')";
        self.read(move |tx| tx.scalar(sql, params![])).await
    }

    async fn queue(&self) -> InlineQueue {
        let handlers: [Arc<dyn JobHandler>; 3] =
            [Arc::new(EscalationReminder), Arc::new(EscalationReassignment), Arc::new(Silent)];
        InlineQueue::start(self.store.clone(), Registry::new(handlers)).await.unwrap()
    }
}

/// Mails nothing.
#[derive(Debug)]
struct Silent;

impl JobHandler for Silent {
    fn name(&self) -> &'static str {
        names::SEND_MAIL
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[test]
fn neither_requestor_nor_subject_decides_not_even_as_admin() {
    let person = |name: &str| PersonId::from_stored(name.to_owned());
    let by = |name: &str, role: SystemRole, may_decide: bool| Principal {
        person: Some(person(name)),
        roles: vec![role],
        may_decide,
        ..Principal::system("test")
    };
    let seat = |name: &str| super::Seat {
        stage: 1,
        person: person(name),
        own: true,
        on_behalf_of: Vec::new(),
        hops: 0,
        left_at: None,
    };
    let config = json!({ "title": "T", "approvers": [{ "group": "g" }] });
    let approval = Approval {
        id: TypedId::from_stored("apr".to_owned()),
        run_id: TypedId::from_stored("run".to_owned()),
        visit: 1,
        step_name: String::new(),
        config: serde_json::from_value(config).unwrap(),
        state: ApprovalState::Pending,
        subject_id: Some(person("ada")),
        requested_by: Some(person("boss")),
        role_id: None,
        stage: 1,
        stage_opened_at: Timestamp::from_millis(0),
        created_at: Timestamp::from_millis(0),
        due_at: None,
        decided_at: None,
        decided_by: None,
        by_escalation: false,
        exception: false,
        reason: None,
        seats: ["ada", "boss", "rosa", "mona", "kim"].map(seat).to_vec(),
        votes: Vec::new(),
        barred: vec![(person("mona"), Bar::Token), (person("kim"), Bar::Edit)],
    };
    assert!(approval.why_not(&by("ada", SystemRole::Admin, true)).is_some());
    assert!(approval.why_not(&by("boss", SystemRole::Admin, true)).is_some());
    assert!(approval.why_not(&by("other", SystemRole::Admin, true)).is_some());
    assert!(approval.why_not(&by("rosa", SystemRole::Approver, false)).is_some());
    assert!(approval.why_not(&by("rosa", SystemRole::Requestor, true)).is_some());
    for (name, bar) in [("mona", Bar::Token), ("kim", Bar::Edit)] {
        assert_eq!(approval.why_not(&by(name, SystemRole::Admin, true)), Some(bar.why()));
    }
    assert_eq!(approval.why_not(&by("rosa", SystemRole::Approver, true)), None);
    let decided = Approval { state: ApprovalState::Approved, ..approval };
    assert!(decided.why_not(&by("rosa", SystemRole::Approver, true)).is_some());
}

/// Who votes, and how.
type Votes<'a> = &'a [(&'a str, bool)];

/// Pattern and rule, votes in order, how the run stands after each: `w` waits, `c` completed, `f` failed.
#[tokio::test]
async fn an_approval_ends_with_the_vote_that_settles_its_rule() {
    let three = persons(&["rosa", "mona", "eve"]);
    let single = json!({ "pattern": "single", "approvers": three });
    let parallel = |rule: Value| json!({ "pattern": "parallel", "approvers": three, "rule": rule });
    let stages = json!({ "pattern": "sequential", "stages": [
        { "name": "Line", "approvers": persons(&["rosa", "mona"]) },
        { "name": "Owner", "approvers": persons(&["eve", "kim"]), "rule": "all" },
    ] });
    let rows: [(Value, Votes<'_>, &str); 13] = [
        (single.clone(), &[("mona", true)], "c"),
        (single, &[("mona", false)], "f"),
        (parallel(json!("all")), &[("rosa", true), ("mona", true), ("eve", true)], "wwc"),
        (parallel(json!("all")), &[("rosa", true), ("mona", false)], "wf"),
        (parallel(json!("any")), &[("rosa", false), ("mona", true)], "wc"),
        (parallel(json!("any")), &[("rosa", false), ("mona", false), ("eve", false)], "wwf"),
        (parallel(json!({ "quorum": 2 })), &[("rosa", true), ("eve", true)], "wc"),
        (parallel(json!({ "quorum": 2 })), &[("rosa", false), ("eve", false)], "wf"),
        (parallel(json!({ "quorum": 2 })), &[("rosa", false), ("eve", true), ("mona", true)], "wwc"),
        (stages.clone(), &[("mona", true), ("eve", true), ("kim", true)], "wwc"),
        (stages.clone(), &[("mona", true), ("eve", false)], "wf"),
        (stages.clone(), &[("mona", false), ("rosa", true), ("kim", true), ("eve", true)], "wwwc"),
        (stages, &[("mona", false), ("rosa", false)], "wf"),
    ];
    let f = Bench::start().await;
    for (config, votes, expected) in rows {
        let run = f.ask(config.clone()).await;
        let mut found = String::new();
        for (name, yes) in votes {
            f.vote(&run, name, *yes, Some("as I see it")).await.unwrap_or_else(|e| panic!("{config} {name}: {e}"));
            found.push(match f.run(&run).await.status {
                RunStatus::Waiting => 'w',
                RunStatus::Completed => 'c',
                RunStatus::Failed => 'f',
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(found, expected, "{config} {votes:?}");
        let approval = f.approval(&run).await;
        assert_eq!(approval.state == ApprovalState::Approved, expected.ends_with('c'), "{config}");
        assert_eq!(approval.votes.len(), votes.len());
    }
}

#[tokio::test]
async fn a_person_votes_once_in_whichever_stage() {
    let f = Bench::start().await;
    let run = f
        .ask(json!({ "pattern": "sequential", "stages": [
            { "approvers": persons(&["rosa", "mona"]), "rule": "all" },
            { "approvers": persons(&["rosa", "eve"]) },
        ] }))
        .await;
    f.vote(&run, "rosa", true, None).await.unwrap();
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Conflict(_))));
    f.vote(&run, "mona", true, None).await.unwrap();
    assert_eq!(f.seats(&run).await, ["eve"], "rosa has decided");
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Conflict(_))));
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting);
}

#[tokio::test]
async fn a_rule_that_cannot_be_met_fails_the_step_and_tells_the_administrators() {
    let f = Bench::start().await;
    let quorum =
        json!({ "pattern": "parallel", "rule": { "quorum": 3 }, "approvers": persons(&["rosa", "mona", "ada"]) });
    let run = f.ask(quorum).await;
    assert_eq!(run.status, RunStatus::Failed);
    let reason = run.reason.clone().unwrap();
    assert!(reason.contains("3 have to approve and only 2 people can"), "{reason}");
    assert!(!f.has_approval(&run).await);
    for admin in ["boss", "chief"] {
        assert_eq!(f.told(admin).await, ["It cannot be decided: Access to the archive"], "{admin}");
    }
    // Also when it shows in a later stage.
    let late = json!({ "pattern": "sequential", "stages": [
        { "approvers": persons(&["rosa"]) }, { "approvers": persons(&["otto", "quinn"]) } ] });
    let run = f.ask(late).await;
    let approval = f.vote(&run, "rosa", true, None).await.unwrap();
    assert_eq!(approval.state, ApprovalState::Failed);
    let ended = f.run(&run).await;
    assert_eq!(ended.status, RunStatus::Failed);
    assert!(ended.reason.unwrap().contains("Nobody can decide"));
    assert_eq!(f.told("chief").await.len(), 2);
    // What the definition names is not there.
    let run = f.ask(json!({ "approvers": persons(&["nobody"]) })).await;
    assert!(run.reason.unwrap().contains("nobody@example.org"));
    assert_eq!(f.told("chief").await.len(), 3);
}

#[tokio::test]
async fn a_question_reaches_who_asked_and_the_answer_who_decides() {
    let f = Bench::start().await;
    let config = json!({ "approvers": persons(&["rosa", "mona"]), "escalation": { "remindAfterMinutes": [30] } });
    let run = f.ask(config).await;
    let id = f.approval(&run).await.id;
    let turn = |name: &str, question: bool, text: &'static str| {
        let (id, by) = (id.clone(), f.who(name));
        f.write(move |tx| {
            if question { turns::ask(tx, &by, &id, text) } else { turns::answer(tx, &by, &id, text) }.map(drop)
        })
    };
    assert!(matches!(turn("ada", false, "early").await, Err(Problem::Conflict(_))), "nobody asked");
    assert!(matches!(turn("eve", true, "mine?").await, Err(Problem::Forbidden(_))), "no approver");
    assert!(matches!(turn("rosa", true, " ").await, Err(Problem::Invalid { .. })));
    turn("rosa", true, "For how long?").await.unwrap();
    assert!(matches!(turn("mona", false, "Ten days").await, Err(Problem::Forbidden(_))), "not her request");
    turn("otto", false, "Ten days").await.unwrap();
    for name in ["ada", "otto"] {
        assert_eq!(f.told(name).await, ["A question about: Access to the archive"], "{name}");
    }
    for name in ["rosa", "mona"] {
        assert_eq!(f.told(name).await.last().unwrap(), "An answer about: Access to the archive", "{name}");
    }
    let notes = f.read(move |tx| store::list_notes(tx, &id)).await;
    let thread: Vec<(u32, &str, &str)> = notes.iter().map(|n| (n.seq, n.kind.as_str(), n.text.as_str())).collect();
    assert_eq!(thread, [(1, "question", "For how long?"), (2, "answer", "Ten days")]);
    assert_eq!(f.events(&run, "approval.asked").await[0].text, "rosa asked: For how long?");
    assert_eq!(f.events(&run, "approval.answered").await[0].text, "otto answered: Ten days");
    // The clock of the escalation goes on.
    let queue = f.queue().await;
    f.clock.advance(MINUTE * 30);
    queue.run_due().await.unwrap();
    assert_eq!(f.told("mona").await.last().unwrap(), "Reminder, please decide: Access to the archive");
}

#[tokio::test]
async fn a_reason_is_needed_as_the_policy_says() {
    let f = Bench::start().await;
    let config = json!({ "approvers": persons(&["rosa"]) });
    let run = f.ask(config.clone()).await;
    assert!(matches!(f.vote(&run, "rosa", false, Some(" ")).await, Err(Problem::Invalid { .. })));
    f.vote(&run, "rosa", true, None).await.unwrap();
    f.write(|tx| settings::ops::set(tx, &Principal::system("test"), settings::REASON_POLICY, Some("both")))
        .await
        .unwrap();
    let run = f.ask(config).await;
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Invalid { .. })));
    f.vote(&run, "rosa", true, Some("known to me")).await.unwrap();
}

#[tokio::test]
async fn everybody_learns_how_it_ended() {
    let f = Bench::start().await;
    let config =
        json!({ "pattern": "parallel", "rule": { "quorum": 2 }, "approvers": persons(&["rosa", "mona", "eve"]) });
    let run = f.ask(config).await;
    f.vote(&run, "rosa", true, None).await.unwrap();
    f.vote(&run, "mona", true, None).await.unwrap();
    let (asked, decided) = ("Please decide: Access to the archive", "Decided: Access to the archive");
    for (name, told) in [
        ("rosa", &[asked, decided][..]),
        ("mona", &[asked]),
        ("eve", &[asked, decided]),
        ("ada", &[decided]),
        ("otto", &[decided]),
    ] {
        assert_eq!(f.told(name).await, told, "{name}");
    }
    let eves: Vec<String> = f
        .read({
            let eve = f.id("eve");
            move |tx| {
                let sql = "SELECT body FROM notification WHERE person_id = ?1 ORDER BY rowid";
                tx.query(sql, params![eve], |r| r.get("body"))
            }
        })
        .await;
    assert_eq!(eves[1], "It was approved by mona; there is nothing left for you to do.");
}

/// Whoever cancels a run, or a step that took too long, ends its approval with all that belongs to it.
#[tokio::test]
async fn an_approval_that_is_not_needed_any_more_ends_with_its_escalation() {
    let f = Bench::start().await;
    let config = json!({ "approvers": persons(&["rosa"]), "escalation": { "remindAfterMinutes": [30, 60],
        "reassign": { "afterMinutes": 90 }, "last": { "afterMinutes": 120, "then": "reject" } } });
    let run = f.ask(config).await;
    assert_eq!(f.waiting_jobs().await, 4);
    let (id, boss) = (run.id.clone(), f.who("boss"));
    f.write(move |tx| runs::cancel(tx, &boss, &id, "not needed").map(drop)).await.unwrap();
    assert_eq!(f.approval(&run).await.state, ApprovalState::Cancelled);
    assert_eq!(f.waiting_jobs().await, 0);
    assert_eq!(f.told("rosa").await.last().unwrap(), "Not needed any more: Access to the archive");
    assert!(matches!(f.vote(&run, "rosa", true, None).await, Err(Problem::Conflict(_))));
}

/// What the list of one's own work holds: what waits for one, not what one has decided or passed on.
#[tokio::test]
async fn ones_own_list_has_what_waits_for_one() {
    let f = Bench::start().await;
    let all = json!({ "pattern": "parallel", "rule": "all", "approvers": persons(&["rosa", "mona", "eve"]) });
    let run = f.ask(all).await;
    let mine = |name: &str, pending: Option<bool>| {
        let filter = store::ApprovalFilter { pending, approver: Some(f.id(name)), visible_to: None };
        f.read(move |tx| Ok(store::list_approvals(tx, &filter, None, 10)?.len()))
    };
    assert_eq!((mine("rosa", Some(true)).await, mine("kim", Some(true)).await), (1, 0));
    f.vote(&run, "rosa", true, None).await.unwrap();
    f.hand_over(&run, "mona", "kim").await.unwrap();
    for (name, waits) in [("rosa", 0), ("mona", 0), ("kim", 1), ("eve", 1)] {
        assert_eq!(mine(name, Some(true)).await, waits, "{name}");
    }
    f.vote(&run, "eve", false, Some("no")).await.unwrap();
    assert_eq!((mine("rosa", Some(false)).await, mine("eve", Some(true)).await), (1, 0));
}
