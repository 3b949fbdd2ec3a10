//! Schedules that start workflows, on a real store.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::jobs::TriggerWorkflow;
use super::ops::{self, Whole};
use super::*;
use crate::base::access::{ActorKind, Principal, SystemRole};
use crate::base::id::TypedId;
use crate::features::audit::AuditJournal;
use crate::features::identity::people;
use crate::features::workflow::definitions::{Definition, ops as definitions};
use crate::features::workflow::runs::{Run, ops as runs, store as run_store};
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::queue::views::{self, JobFilter, JobState, JobView};
use crate::platform::queue::{InlineQueue, JobDraft, JobHandler, Registry, enqueue, names};
use crate::platform::store::{MigrationSet, Options, Store};

struct Fixture {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    queue: InlineQueue,
    mona: Principal,
    workflow: WorkflowId,
}

/// Waits for a person, so that its runs stay open until somebody ends them.
fn definition() -> Definition {
    serde_json::from_value(json!({
        "name": "Review",
        "variables": [{ "name": "quarter", "type": "string", "required": true }],
        "steps": [{ "id": "wait", "name": "Wait", "type": "delay", "config": { "seconds": 25920000 } }],
    }))
    .unwrap()
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2031-03-01T11:30:00Z".parse().unwrap()));
    let store = Store::open(
        &Options::small(dir.path().join("tenure.db")),
        &MigrationSet::tenure(),
        clock.clone(),
        Arc::new(SeededIds::new(1)),
        Some(Arc::new(AuditJournal)),
    )
    .unwrap();
    let (mona, workflow) = store
        .write(|tx| {
            let by = Principal::system("test");
            let new = people::NewPerson {
                display_name: "Mona".to_owned(),
                email: "mona@example.org".to_owned(),
                manager_id: None,
                attributes: json!({}),
            };
            let person = people::ops::create_person(tx, &by, new)?.id;
            let mona = Principal {
                kind: ActorKind::Person,
                person: Some(person),
                roles: vec![SystemRole::ResourceManager],
                ..by
            };
            let draft = definitions::create(tx, &mona, definition())?;
            Ok((mona.clone(), definitions::publish(tx, &mona, &draft.id)?.id))
        })
        .await
        .unwrap();
    let registry = Registry::new([Arc::new(TriggerWorkflow) as Arc<dyn JobHandler>]);
    let queue = InlineQueue::start(store.clone(), registry).await.unwrap();
    Fixture { _dir: dir, clock, store, queue, mona, workflow }
}

fn input(quarter: Value) -> Map<String, Value> {
    Map::from_iter([("quarter".to_owned(), quarter)])
}

impl Fixture {
    fn draft(&self, overlap: Overlap) -> ScheduleDraft {
        ScheduleDraft {
            name: "Quarterly review".to_owned(),
            workflow_id: self.workflow.clone(),
            schedule: read_when("0 * * * *", "UTC", Timestamp::from_millis(0)).unwrap(),
            input: input(json!("Q1")),
            subject_id: None,
            overlap,
            missed: MissedRuns::Once,
        }
    }

    async fn created(&self, overlap: Overlap) -> String {
        let (by, draft) = (self.mona.clone(), self.draft(overlap));
        self.store.write(move |tx| ops::create(tx, &by, &draft, false)).await.unwrap().row.name
    }

    async fn at(&self, time: &str) {
        self.clock.set(time.parse().unwrap());
        self.queue.run_due().await.unwrap();
    }

    async fn get(&self, id: &str) -> Whole {
        let id = id.to_owned();
        self.store.read(move |tx| ops::get(tx, &id)).await.unwrap()
    }

    async fn result(&self, id: &str) -> Option<Triggered> {
        self.get(id).await.workflow.unwrap().last_result
    }

    async fn runs(&self) -> Vec<Run> {
        self.store.read(|tx| run_store::list_runs(tx, &Default::default(), None, 100)).await.unwrap()
    }

    async fn cancel(&self, run: &Run) {
        let id = run.id.clone();
        self.store.write(move |tx| runs::cancel(tx, &Principal::system("test"), &id, "enough").map(drop)).await.unwrap();
    }

    async fn jobs(&self) -> Vec<JobView> {
        let filter = JobFilter { name: Some(names::TRIGGER_WORKFLOW.to_owned()), ..JobFilter::default() };
        self.store.read(move |tx| views::list_jobs(tx, &filter, None, 100)).await.unwrap()
    }

    async fn actions(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit_log WHERE action LIKE 'schedule.%' ORDER BY seq";
        self.store.read(move |tx| tx.query(sql, params![], |r| r.get("action"))).await.unwrap()
    }
}

/// The start is the start button's: Tenure acts, and who made the schedule asks, so that they do not decide.
#[tokio::test]
async fn a_slot_starts_the_active_version_as_the_start_button_does() {
    let f = fixture().await;
    let id = f.created(Overlap::Allow).await;
    f.at("2031-03-01T12:00:00Z").await;
    let run = f.runs().await.remove(0);
    assert_eq!((&run.workflow_id, &run.started_by), (&f.workflow, &f.mona.person));
    assert_eq!(run.state.vars["quarter"], "Q1");
    let whole = f.get(&id).await;
    assert_eq!(whole.row.last_state.as_deref(), Some("completed"));
    assert_eq!(whole.workflow.unwrap().last_run_id, Some(run.id));
    let (mona, old) = (f.mona.clone(), f.workflow.clone());
    let newer = f
        .store
        .write(move |tx| {
            let draft = definitions::create_version(tx, &mona, &old)?;
            Ok(definitions::publish(tx, &mona, &draft.id)?.id)
        })
        .await
        .unwrap();
    f.at("2031-03-01T13:00:00Z").await;
    assert!(f.runs().await.iter().any(|r| r.workflow_id == newer), "a schedule follows the workflow");
    assert_eq!(f.actions().await, ["schedule.created", "schedule.triggered", "schedule.triggered"]);
}

#[tokio::test]
async fn skip_starts_none_while_the_run_before_goes_on() {
    let f = fixture().await;
    let id = f.created(Overlap::Skip).await;
    f.at("2031-03-01T12:00:00Z").await;
    f.at("2031-03-01T13:00:00Z").await;
    assert_eq!((f.runs().await.len(), f.result(&id).await), (1, Some(Triggered::Skipped)));
    f.cancel(&f.runs().await[0]).await;
    f.at("2031-03-01T14:00:00Z").await;
    assert_eq!((f.runs().await.len(), f.result(&id).await), (2, Some(Triggered::Started)));
}

/// One start waits, however many slots pass, and counts no attempt for it.
#[tokio::test]
async fn queue_starts_one_when_the_run_before_is_over() {
    let f = fixture().await;
    let id = f.created(Overlap::Queue).await;
    for hour in 12..=15 {
        f.at(&format!("2031-03-01T{hour}:00:00Z")).await;
    }
    assert_eq!((f.runs().await.len(), f.jobs().await.len()), (1, 4));
    let waiting: Vec<_> = f.jobs().await.into_iter().filter(|j| j.state != JobState::Completed).collect();
    assert_eq!((waiting.len(), waiting[0].attempts_made), (1, 0));
    f.cancel(&f.runs().await[0]).await;
    f.clock.advance(Duration::from_secs(60));
    f.queue.run_due().await.unwrap();
    assert_eq!((f.runs().await.len(), f.result(&id).await), (2, Some(Triggered::Started)));
    assert_eq!(f.get(&id).await.workflow.unwrap().waiting_job, None);
    // A start that waits goes with its schedule.
    f.at("2031-03-01T16:00:00Z").await;
    assert_eq!(f.result(&id).await, Some(Triggered::Queued));
    let (by, gone) = (f.mona.clone(), id.clone());
    f.store.write(move |tx| ops::delete(tx, &by, &gone)).await.unwrap();
    f.at("2031-03-01T18:00:00Z").await;
    assert!(f.jobs().await.iter().all(|j| j.state == JobState::Completed), "{:?}", f.jobs().await);
}

#[tokio::test]
async fn allow_starts_one_beside_the_other() {
    let f = fixture().await;
    f.created(Overlap::Allow).await;
    f.at("2031-03-01T12:00:00Z").await;
    f.at("2031-03-01T13:00:00Z").await;
    assert_eq!(f.runs().await.len(), 2);
}

/// Every attempt says what is missing, and there are four.
#[tokio::test]
async fn an_unknown_schedule_takes_four_attempts_and_says_so() {
    let f = fixture().await;
    for (payload, words) in [
        (json!({ "scheduleId": "sch_00000000000000000000000000" }), "There is no schedule sch_00000000000000000000000000"),
        (json!({ "scheduleId": 7 }), "expected {\"scheduleId\": \"sch_…\"}"),
    ] {
        let draft = JobDraft::now(names::TRIGGER_WORKFLOW, payload);
        let id = f.store.write(move |tx| enqueue(tx, draft.clone())).await.unwrap();
        for wait in [0, 5, 10, 20] {
            f.clock.advance(Duration::from_secs(wait));
            assert_eq!(f.queue.run_due().await.unwrap(), 1);
        }
        let job = f.store.read(move |tx| views::get_job(tx, &id)).await.unwrap();
        assert_eq!((job.state, job.attempts_made), (JobState::Failed, 4));
        assert!(job.failed_reason.as_deref().unwrap().contains(words), "{:?}", job.failed_reason);
    }
}

#[tokio::test]
async fn a_workflow_without_an_active_version_fails_the_job_with_that_reason() {
    let f = fixture().await;
    f.created(Overlap::Skip).await;
    let (mona, id) = (f.mona.clone(), f.workflow.clone());
    f.store.write(move |tx| definitions::deprecate(tx, &mona, &id).map(drop)).await.unwrap();
    f.at("2031-03-01T12:00:00Z").await;
    let reason = f.jobs().await[0].failed_reason.clone().unwrap();
    assert!(reason.contains("has no active version"), "{reason}");
}

#[tokio::test]
async fn faults_are_told_by_field_before_anything_is_stored() {
    let f = fixture().await;
    let faults = |problem: Problem| match problem {
        Problem::Invalid { errors, .. } => errors.into_iter().map(|e| e.field).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let now = f.store.clock().now();
    assert_eq!(faults(read_when("61 * * * *", "Europe/Nowhere", now).unwrap_err()), ["timezone", "cron"]);
    assert_eq!(faults(read_when("0 0 30 2 *", "UTC", now).unwrap_err()), ["cron"]);
    let draft = f.draft(Overlap::Skip);
    let bad = [
        (ScheduleDraft { name: " ".to_owned(), ..draft.clone() }, "name"),
        (ScheduleDraft { workflow_id: WorkflowId::from_stored("wfl_00000000000000000000000000".to_owned()), ..draft.clone() }, "workflowId"),
        (ScheduleDraft { subject_id: Some(PersonId::from_stored("per_00000000000000000000000000".to_owned())), ..draft.clone() }, "subjectId"),
        (ScheduleDraft { input: Map::new(), ..draft.clone() }, "input.quarter"),
        (ScheduleDraft { input: input(json!(7)), ..draft }, "input.quarter"),
    ];
    for (draft, field) in bad {
        let by = f.mona.clone();
        let refused = f.store.write(move |tx| ops::create(tx, &by, &draft, false)).await.unwrap_err();
        assert_eq!(faults(refused), [field]);
    }
    assert!(f.actions().await.is_empty());
}

#[tokio::test]
async fn changes_are_audited_and_an_unchanged_one_is_not() {
    let f = fixture().await;
    let id = f.created(Overlap::Skip).await;
    let (by, same) = (f.mona.clone(), id.clone());
    let draft = f.draft(Overlap::Skip);
    let renamed = ScheduleDraft { name: "Monthly review".to_owned(), ..draft.clone() };
    f.store
        .write(move |tx| {
            ops::update(tx, &by, &same, &draft)?;
            ops::update(tx, &by, &same, &renamed).map(drop)
        })
        .await
        .unwrap();
    for paused in [true, true, false] {
        let (by, same) = (f.mona.clone(), id.clone());
        f.store.write(move |tx| ops::set_paused(tx, &by, &same, paused)).await.unwrap();
    }
    let expected = ["schedule.created", "schedule.updated", "schedule.paused", "schedule.resumed"];
    assert_eq!(f.actions().await, expected);
    let auditor = Principal { roles: vec![SystemRole::Auditor], ..f.mona.clone() };
    let refused = f.store.write(move |tx| ops::set_paused(tx, &auditor, &id, true)).await;
    assert!(matches!(refused, Err(Problem::Forbidden(_))));
}
