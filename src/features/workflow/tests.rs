//! Runs and approvals on a real store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::approvals::{ApprovalState, ops as approvals, store as approval_store};
use super::definitions::{Definition, ops as definitions};
use super::engine::{EndStatus, Event};
use super::runs::api::{visible_run, visible_to};
use super::runs::calls::{CallOut, Calls};
use super::runs::jobs::{AdvanceRun, StuckRunRecovery, go_on};
use super::runs::{Beginning, Run, RunStatus, ops as runs, store as run_store};
use crate::base::access::{ActorKind, Principal, SystemRole};
use crate::base::id::{ConnectorId, PersonId, TypedId, WorkflowId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::{Assignment, AssignmentState, store as assignment_store};
use crate::features::access::entitlements::Call;
use crate::features::access::entitlements::ops::{NewEntitlement, create_entitlement};
use crate::features::access::grants::{self, Wanted};
use crate::features::access::roles::ops::{NewRole, create_role};
use crate::features::audit::AuditJournal;
use crate::features::connectors::{CallAnswer, CallFailure, PlainCall};
use crate::features::identity::{accounts, people};
use crate::features::settings::{Source, Started};
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::queue::{InlineQueue, JobDraft, JobHandler, Registry, enqueue, names};
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
        self.store.write(move |tx| runs::start(tx, &ada, &workflow, Beginning::default())).await.unwrap()
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
    // Assigned, and without the permission since.
    let demoted = Principal { roles: vec![SystemRole::Requestor], ..f.rosa.clone() };
    assert!(matches!(f.decide(&demoted, true, None).await, Err(Problem::Forbidden(_))));
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting);
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
            let mut changed = (*draft.definition).clone();
            changed.name = "Review, changed".to_owned();
            definitions::update(tx, &boss, &draft.id, changed)?;
            definitions::publish(tx, &boss, &draft.id)
        })
        .await
        .unwrap();
    assert_eq!(f.run(&run).await.workflow_id, first);
    let (ada, old) = (f.ada.clone(), first.clone());
    let again = f.store.write(move |tx| runs::start(tx, &ada, &old, Beginning::default())).await;
    assert!(matches!(again, Err(Problem::Conflict(_))), "a deprecated version is not started");
}

fn calling() -> Definition {
    serde_json::from_value(json!({
        "name": "Call",
        "steps": [{ "id": "call", "name": "Call", "type": "connector", "config": { "connector": "x", "command": "y" } }],
    }))
    .unwrap()
}

impl Fixture {
    async fn fail_stuck(&self) -> usize {
        let page = self.store.write(|tx| runs::fail_stuck(tx, 30, None, 100)).await.unwrap();
        assert!(page.refused.is_empty() && page.next.is_none(), "{page:?}");
        page.ended
    }

    async fn events(&self, run: &Run) -> Vec<run_store::StoredEvent> {
        let id = run.id.clone();
        self.store.read(move |tx| run_store::list_events(tx, &id, 0, 100)).await.unwrap()
    }
}

impl Fixture {
    async fn audited(&self, action: &'static str) -> u32 {
        self.store
            .read(move |tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = ?1", params![action]))
            .await
            .unwrap()
    }
}

const TIMED_OUT: &str = "Run timed out (no progress for 30 minutes)";

#[tokio::test]
async fn a_run_is_stuck_one_millisecond_after_the_timeout_and_not_before() {
    let f = fixture().await;
    let run = f.started(&f.published(calling()).await).await;
    assert_eq!(run.status, RunStatus::Running);
    f.clock.set(run.updated_at.plus(Duration::from_secs(30 * 60)));
    assert_eq!(f.fail_stuck().await, 0);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.fail_stuck().await, 1);
    let failed = f.run(&run).await;
    assert_eq!(failed.status, RunStatus::Failed);
    assert_eq!(failed.reason.as_deref(), Some(TIMED_OUT));
    let id = run.id.clone();
    let steps = f.store.read(move |tx| run_store::list_steps(tx, &id)).await.unwrap();
    assert_eq!(steps[0].status, "failed");
}

/// Of five stuck runs, one has a version that cannot be read and one a state: the other three are failed,
/// over pages that are smaller than what stands before them, and the job says how many are left.
#[tokio::test]
async fn a_run_that_cannot_be_failed_does_not_hold_up_the_others() {
    let f = fixture().await;
    let (good, bad) = (f.published(calling()).await, f.published(calling()).await);
    let broken = [f.started(&bad).await, f.started(&good).await];
    let mut healthy = Vec::new();
    for _ in 0..3 {
        healthy.push(f.started(&good).await);
    }
    let state_of = broken[1].id.clone();
    f.store
        .write(move |tx| {
            tx.execute("UPDATE workflow SET definition = '{}' WHERE id = ?1", params![bad])?;
            tx.execute("UPDATE run SET state = 'nothing' WHERE id = ?1", params![state_of]).map(drop)
        })
        .await
        .unwrap();
    f.clock.advance(Duration::from_secs(31 * 60));
    let mut refused = Vec::new();
    let mut after = None;
    loop {
        let cursor = after.take();
        let page = f.store.write(move |tx| runs::fail_stuck(tx, 30, cursor.as_ref(), 1)).await.unwrap();
        refused.extend(page.refused.into_iter().map(|(id, _)| id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for run in &healthy {
        assert_eq!(f.run(run).await.reason.as_deref(), Some(TIMED_OUT));
    }
    refused.sort_unstable_by_key(ToString::to_string);
    let mut expected = broken.map(|r| r.id);
    expected.sort_unstable_by_key(ToString::to_string);
    assert_eq!(refused, expected);

    let started = Started { value: 30, source: Source::Default };
    let handler: Arc<dyn JobHandler> = Arc::new(StuckRunRecovery { timeout: started });
    let queue = InlineQueue::start(f.store.clone(), Registry::new([handler])).await.unwrap();
    let error = queue.run_job(names::STUCK_RUN_RECOVERY).await.unwrap_err().to_string();
    assert!(error.starts_with("2 stuck runs could not be failed"), "{error}");
}

/// `onError: continue` holds for a step that stands still as for one that fails.
#[tokio::test]
async fn a_stuck_run_goes_on_where_its_definition_wants_it() {
    let f = fixture().await;
    let mut definition = serde_json::to_value(calling()).unwrap();
    definition["onError"] = json!("continue");
    let run = f.started(&f.published(serde_json::from_value(definition).unwrap()).await).await;
    f.clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(f.fail_stuck().await, 1);
    assert_eq!(f.run(&run).await.status, RunStatus::Completed);
    let id = run.id.clone();
    let steps = f.store.read(move |tx| run_store::list_steps(tx, &id)).await.unwrap();
    assert_eq!((steps[0].status.as_str(), steps[0].error.as_ref().unwrap().message.as_str()), ("failed", TIMED_OUT));
}

#[tokio::test]
async fn a_run_that_begins_to_wait_says_so_and_for_what() {
    let f = fixture().await;
    let definition = json!({ "name": "Waits", "steps": [
        { "id": "review", "name": "Review", "type": "approval", "transitions": [{ "on": "approved", "to": "paper" }],
          "config": { "title": "Please", "approvers": [{ "group": "reviewers" }] } },
        { "id": "paper", "name": "Paper", "type": "document_request", "config": { "documentType": "data-use-agreement" } },
    ] });
    let run = f.started(&f.published(serde_json::from_value(definition).unwrap()).await).await;
    f.decide(&f.rosa, true, None).await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Waiting);
    let told: Vec<_> =
        f.events(&run).await.into_iter().filter(|e| e.kind == "run.waiting" || e.kind == "approval.decided").collect();
    let texts: Vec<&str> = told.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, ["Waits for a decision", "Approved by rosa", "Waits for the document “Data use agreement”"]);
    assert_eq!(told[0].step_id.as_deref(), Some("review"));
    assert_eq!(told[1].data["decision"], "approved");
    assert_eq!(told[2].step_id.as_deref(), Some("paper"));
    // A wake-up that finds nothing new tells nothing new.
    let id = run.id.clone();
    f.store.write(move |tx| runs::apply(tx, &Principal::system("t"), &id, Event::Tick)).await.unwrap();
    assert_eq!(f.events(&run).await.iter().filter(|e| e.kind == "run.waiting").count(), 2);
}

/// The instant before which runs are taken up is fixed, so a run that was touched since is not again.
#[tokio::test]
async fn a_running_run_is_taken_up_once_at_a_start() {
    let f = fixture().await;
    let run = f.started(&f.published(calling()).await).await;
    f.clock.advance(Duration::from_secs(3600));
    let boot: Timestamp = f.store.read(|tx| Ok(tx.now())).await.unwrap();
    f.clock.advance(Duration::from_millis(1));
    let resumed = move |tx: &Tx<'_>| {
        let runs = runs::resume_page(tx, boot)?;
        let open = "SELECT count(*) FROM job WHERE name = 'advance-run' AND state IN ('held', 'handed')";
        Ok::<_, Problem>((runs, tx.scalar::<u32>(open, params![])?))
    };
    assert_eq!(f.store.write(resumed).await.unwrap(), (1, 1), "its job is there already");
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(f.store.write(resumed).await.unwrap(), (0, 1));
    let by_the_restart = |tx: &Tx<'_>| {
        tx.execute("UPDATE job SET state = 'handed', active = 1, attempts_made = 3", params![])?;
        let runs = runs::resume_page(tx, tx.now().plus(Duration::from_millis(1)))?;
        Ok::<_, Problem>((runs, tx.scalar::<u32>("SELECT count(*) FROM job WHERE name = 'advance-run'", params![])?))
    };
    assert_eq!(f.store.write(by_the_restart).await.unwrap(), (1, 2), "its job ends with the former process");
    assert_eq!(f.fail_stuck().await, 0, "downtime is not lack of progress");
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

/// A requestor sees what they asked for and what is about them; the rest is not there for them.
#[tokio::test]
async fn a_requestor_sees_runs_as_starter_or_subject_and_no_others() {
    let f = fixture().await;
    let workflow = f.published(review("reviewers")).await;
    let own = f.started(&workflow).await;
    let boss = f.boss.clone();
    let (otto, uma, about) = f
        .store
        .write(move |tx| {
            let otto = person(tx, "otto", SystemRole::Requestor)?;
            let uma = person(tx, "uma", SystemRole::Requestor)?;
            let run = runs::start(tx, &boss, &workflow, Beginning { subject: otto.person.clone(), ..Beginning::default() })?;
            Ok((otto, uma, run))
        })
        .await
        .unwrap();
    let both = [own.id.clone(), about.id.clone()];
    for (who, sees) in [(&f.ada, [true, false]), (&otto, [false, true]), (&uma, [false, false]), (&f.boss, [true, true])] {
        let (by, ids) = (who.clone(), both.clone());
        let (listed, opened) = f
            .store
            .read(move |tx| {
                let only = visible_to(&by)?;
                let filter = run_store::RunFilter { visible_to: only.clone(), ..Default::default() };
                let listed = run_store::list_runs(tx, &filter, None, 10)?;
                let listed = ids.clone().map(|id| listed.iter().any(|r| r.id == id));
                let opened = ids.clone().map(|id| visible_run(tx, only.as_ref(), &id).map(drop));
                Ok((listed, opened))
            })
            .await
            .unwrap();
        assert_eq!(listed, sees, "{}", who.name);
        for (opened, sees) in opened.into_iter().zip(sees) {
            match opened {
                Ok(()) => assert!(sees, "{}", who.name),
                Err(problem) => assert_eq!((problem.status(), sees), (404, false), "{}", who.name),
            }
        }
    }
}

/// A connected system that stands still until the test lets it answer.
#[derive(Debug)]
struct SlowSystem {
    keys: Mutex<Vec<String>>,
    reached: Semaphore,
    go: Semaphore,
}

impl Calls for SlowSystem {
    fn call<'a>(&'a self, _: &'a ConnectorId, _: &'a str, _: &'a Value, key: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            self.keys.lock().unwrap().push(key.to_owned());
            self.reached.add_permits(1);
            self.go.acquire().await.unwrap().forget();
            Ok(CallAnswer { output: json!({}) })
        })
    }

    fn http<'a>(&'a self, _: PlainCall, _: &'a str) -> CallOut<'a> {
        Box::pin(async { Err(CallFailure::lasting("no_http", "this system speaks no HTTP")) })
    }
}

impl Fixture {
    async fn connector(&self) -> ConnectorId {
        self.connector_named("x").await
    }

    async fn connector_named(&self, name: &'static str) -> ConnectorId {
        self.store
            .write(move |tx| {
                let id: ConnectorId = tx.new_id();
                tx.execute(
                    "INSERT INTO connector (id, name, kind, config, created_at, updated_at)
                     VALUES (?1, ?2, 'directory', '{}', 0, 0)",
                    params![id, name],
                )?;
                Ok(id)
            })
            .await
            .unwrap()
    }

    async fn slow_system(&self) -> Arc<SlowSystem> {
        self.connector().await;
        Arc::new(SlowSystem { keys: Mutex::default(), reached: Semaphore::new(0), go: Semaphore::new(0) })
    }

    /// A queue as a process has it that has just started.
    async fn queue(&self, system: &Arc<SlowSystem>) -> InlineQueue {
        let handler: Arc<dyn JobHandler> = Arc::new(AdvanceRun::new(system.clone()));
        InlineQueue::start(self.store.clone(), Registry::new([handler])).await.unwrap()
    }
}

#[tokio::test]
async fn a_run_has_at_most_one_call_out_at_a_time() {
    let f = fixture().await;
    let system = f.slow_system().await;
    let queue = f.queue(&system).await;
    let run = f.started(&f.published(calling()).await).await;
    let id = run.id.clone();
    f.store
        .write(move |tx| enqueue(tx, JobDraft::now(names::ADVANCE_RUN, json!({ "runId": id }))).map(drop))
        .await
        .unwrap();
    let second = async {
        system.reached.acquire().await.unwrap().forget();
        queue.run_due().await.unwrap();
        assert_eq!(system.keys.lock().unwrap().len(), 1, "the second job stands back while the first calls out");
        system.go.add_permits(10);
    };
    let (first, ()) = tokio::join!(queue.run_due(), second);
    first.unwrap();
    f.clock.advance(Duration::from_secs(5));
    queue.run_due().await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Completed);
    assert_eq!(system.keys.lock().unwrap().len(), 1);
    assert_eq!(f.audited("connector.called").await, 1);
}

/// The process dies between the call and the record of its outcome: the next one asks with the same key,
/// by which the connected system knows the call again.
#[tokio::test]
async fn a_call_whose_answer_was_lost_is_repeated_with_its_key() {
    let f = fixture().await;
    let system = f.slow_system().await;
    let run = f.started(&f.published(calling()).await).await;
    let dying = f.queue(&system).await;
    tokio::select! {
        done = dying.run_due() => panic!("it was to die in the call: {done:?}"),
        reached = system.reached.acquire() => reached.unwrap().forget(),
    }
    drop(dying);
    assert_eq!(f.run(&run).await.status, RunStatus::Running);
    system.go.add_permits(10);
    f.clock.advance(Duration::from_secs(60));
    f.queue(&system).await.run_due().await.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Completed);
    let keys = system.keys.lock().unwrap().clone();
    assert_eq!(keys, [format!("{}/1", run.id), format!("{}/1", run.id)]);
}

/// The answer comes when the run is over: it is written down, and the run stays as it ended.
#[tokio::test]
async fn a_call_that_is_answered_after_the_end_is_written_down() {
    let f = fixture().await;
    let system = f.slow_system().await;
    let queue = f.queue(&system).await;
    let run = f.started(&f.published(calling()).await).await;
    let (boss, id) = (f.boss.clone(), run.id.clone());
    let ending = async {
        system.reached.acquire().await.unwrap().forget();
        f.store.write(move |tx| runs::cancel(tx, &boss, &id, "not needed").map(drop)).await.unwrap();
        system.go.add_permits(1);
    };
    let (done, ()) = tokio::join!(queue.run_due(), ending);
    done.unwrap();
    assert_eq!(f.run(&run).await.status, RunStatus::Cancelled);
    let late: Vec<_> = f.events(&run).await.into_iter().filter(|e| e.kind == "effect.late").collect();
    assert_eq!((late.len(), late[0].step_id.as_deref()), (1, Some("call")));
    assert_eq!(f.audited("connector.called").await, 1);
}

mod crashes;
mod inbox;
mod inner;
mod late_access;
