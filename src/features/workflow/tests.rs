//! Runs and approvals on a real store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::approvals::{ApprovalState, ops as approvals, store as approval_store};
use super::definitions::{Definition, ops as definitions};
use super::runs::{Run, RunStatus, ops as runs, store as run_store};
use crate::base::access::{ActorKind, Principal, SystemRole};
use crate::base::id::{PersonId, WorkflowId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::AuditJournal;
use crate::features::identity::{accounts, people};
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::store::{MigrationSet, Options, Store, Tx};

struct Fixture {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    ada: Principal,
    rosa: Principal,
    boss: Principal,
}

fn person(tx: &Tx<'_>, name: &str, role: SystemRole) -> Result<Principal, Problem> {
    let by = Principal::system("test");
    let email = format!("{name}@example.org");
    let new = people::NewPerson {
        display_name: name.to_owned(),
        email: email.clone(),
        manager_id: None,
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

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2031-03-01T12:00:00Z".parse().unwrap()));
    let store = Store::open(
        &Options::small(dir.path().join("tenure.db")),
        &MigrationSet::tenure(),
        clock.clone(),
        Arc::new(SeededIds::new(1)),
        Some(Arc::new(AuditJournal)),
    )
    .unwrap();
    let (ada, rosa, boss) = store
        .write(|tx| {
            let ada = person(tx, "ada", SystemRole::Requestor)?;
            let rosa = person(tx, "rosa", SystemRole::Approver)?;
            let boss = person(tx, "boss", SystemRole::Admin)?;
            let group: Vec<PersonId> = [&ada, &rosa].iter().filter_map(|p| p.person.clone()).collect();
            people::ops::create_group(tx, &Principal::system("test"), "reviewers", &group)?;
            people::ops::create_group(tx, &Principal::system("test"), "only-ada", &group[..1])?;
            Ok((ada, rosa, boss))
        })
        .await
        .unwrap();
    Fixture { _dir: dir, clock, store, ada, rosa, boss }
}

fn review(group: &str) -> Definition {
    serde_json::from_value(json!({
        "name": "Review",
        "steps": [
            { "id": "review", "name": "Review", "type": "approval",
              "config": { "title": "Please", "approvers": [{ "group": group }] } },
        ],
    }))
    .unwrap()
}

impl Fixture {
    async fn published(&self, definition: Definition) -> WorkflowId {
        let boss = self.boss.clone();
        self.store
            .write(move |tx| {
                let draft = definitions::create(tx, &boss, definition.clone())?;
                Ok(definitions::publish(tx, &boss, &draft.id)?.id)
            })
            .await
            .unwrap()
    }

    async fn started(&self, workflow: &WorkflowId) -> Run {
        let (ada, workflow) = (self.ada.clone(), workflow.clone());
        self.store.write(move |tx| runs::start(tx, &ada, &workflow, None, serde_json::Map::new())).await.unwrap()
    }

    /// Decides the one pending approval.
    async fn decide(&self, by: &Principal, approve: bool, reason: Option<&'static str>) -> Result<ApprovalState, Problem> {
        let by = by.clone();
        self.store
            .write(move |tx| {
                let all = approval_store::list_approvals(tx, &Default::default(), None, 1)?;
                Ok(approvals::decide(tx, &by, &all[0].id, approve, reason)?.state)
            })
            .await
    }

    async fn run(&self, run: &Run) -> Run {
        let id = run.id.clone();
        self.store.read(move |tx| run_store::get_run(tx, &id)).await.unwrap()
    }
}

#[tokio::test]
async fn an_approval_is_decided_once_by_somebody_who_may() {
    let f = fixture().await;
    let run = f.started(&f.published(review("reviewers")).await).await;
    assert_eq!(run.status, RunStatus::Waiting);
    let foreign = Principal { may_decide: false, ..f.rosa.clone() };
    for by in [&f.ada, &f.boss, &foreign] {
        assert!(matches!(f.decide(by, true, None).await, Err(Problem::Forbidden(_))), "{}", by.name);
    }
    assert!(matches!(f.decide(&f.rosa, false, Some("  ")).await, Err(Problem::Invalid { .. })));
    assert_eq!(f.decide(&f.rosa, true, None).await.unwrap(), ApprovalState::Approved);
    assert!(matches!(f.decide(&f.rosa, true, None).await, Err(Problem::Conflict(_))));
    assert_eq!(f.run(&run).await.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_run_that_nobody_can_decide_fails_at_once_and_leaves_no_approval() {
    let f = fixture().await;
    let run = f.started(&f.published(review("only-ada")).await).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert!(run.reason.unwrap().contains("Nobody can decide"));
    let open = f.store.read(|tx| approval_store::list_approvals(tx, &Default::default(), None, 10)).await.unwrap();
    assert!(open.is_empty());
}

#[tokio::test]
async fn a_run_stays_on_the_version_it_started_with() {
    let f = fixture().await;
    let first = f.published(review("reviewers")).await;
    let run = f.started(&first).await;
    let (boss, id) = (f.boss.clone(), first.clone());
    f.store
        .write(move |tx| {
            let draft = definitions::create_version(tx, &boss, &id)?;
            let mut changed = draft.definition.clone();
            changed.name = "Review, changed".to_owned();
            definitions::update(tx, &boss, &draft.id, changed)?;
            definitions::publish(tx, &boss, &draft.id)
        })
        .await
        .unwrap();
    assert_eq!(f.run(&run).await.workflow_id, first);
    let (ada, old) = (f.ada.clone(), first.clone());
    let again = f.store.write(move |tx| runs::start(tx, &ada, &old, None, serde_json::Map::new())).await;
    assert!(matches!(again, Err(Problem::Conflict(_))), "a deprecated version is not started");
}

fn calling() -> Definition {
    serde_json::from_value(json!({
        "name": "Call",
        "steps": [{ "id": "call", "name": "Call", "type": "connector", "config": { "connector": "x", "command": "y" } }],
    }))
    .unwrap()
}

#[tokio::test]
async fn a_run_is_stuck_one_millisecond_after_the_timeout_and_not_before() {
    let f = fixture().await;
    let run = f.started(&f.published(calling()).await).await;
    assert_eq!(run.status, RunStatus::Running);
    f.clock.set(run.updated_at.plus(Duration::from_secs(30 * 60)));
    assert_eq!(f.store.write(|tx| runs::fail_stuck(tx, 30, 100)).await.unwrap(), 0);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.store.write(|tx| runs::fail_stuck(tx, 30, 100)).await.unwrap(), 1);
    let failed = f.run(&run).await;
    assert_eq!(failed.status, RunStatus::Failed);
    assert_eq!(failed.reason.as_deref(), Some("Run timed out (no progress for 30 minutes)"));
}

/// The instant before which runs are taken up is fixed, so a run that was touched since is not again.
#[tokio::test]
async fn a_running_run_is_taken_up_once_at_a_start() {
    let f = fixture().await;
    let run = f.started(&f.published(calling()).await).await;
    f.clock.advance(Duration::from_secs(3600));
    let boot: Timestamp = f.store.read(|tx| Ok(tx.now())).await.unwrap();
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.store.write(move |tx| runs::resume_page(tx, boot)).await.unwrap(), 1);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.store.write(move |tx| runs::resume_page(tx, boot)).await.unwrap(), 0);
    assert_eq!(f.store.write(|tx| runs::fail_stuck(tx, 30, 100)).await.unwrap(), 0, "downtime is not lack of progress");
    assert_eq!(f.run(&run).await.status, RunStatus::Running);
}

#[tokio::test]
async fn unknown_fields_of_a_step_are_faults() {
    let written = json!({ "name": "T", "steps": [
        { "id": "a", "name": "A", "type": "end", "config": {}, "transitons": [] } ] });
    let error = serde_json::from_value::<Definition>(written).unwrap_err().to_string();
    assert!(error.contains("transitons"), "{error}");
    let unknown: Result<Definition, _> =
        serde_json::from_value::<Definition>(json!({ "name": "T", "steps": [{ "id": "a", "name": "A", "type": "delay", "config": { "second": 1 } }] }));
    assert!(unknown.unwrap_err().to_string().contains("second"));
}
