//! What people do with schedules, and what a slot of one does.

use serde_json::{Value, json};

use super::{Overlap, ScheduleDraft, Triggered, WorkflowSchedule, store};
use crate::base::access::{Permission, Principal};
use crate::base::id::{JobId, PersonId, ScheduleId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::features::audit::{self, Entry};
use crate::features::identity::people;
use crate::features::workflow::definitions::{self, WorkflowStatus};
use crate::features::workflow::runs::{Beginning, forms, ops as runs};
use crate::platform::queue::schedule::{self, ScheduleKind, SchedulePlan, ScheduleRow};
use crate::platform::queue::views::{self, JobState};
use crate::platform::queue::{Registry, cancel, names};
use crate::platform::store::Tx;

/// A schedule with its slots; what it starts, when people made it.
#[derive(Debug)]
pub struct Whole {
    /// When, and how it went.
    pub row: ScheduleRow,
    /// What it starts.
    pub workflow: Option<WorkflowSchedule>,
}

/// The schedule with this name or id.
pub fn get(tx: &Tx<'_>, name: &str) -> Result<Whole, Problem> {
    whole(tx, schedule::get_schedule(tx, name)?)
}

/// Up to `limit` schedules after `after` by name or id.
pub fn list(tx: &Tx<'_>, kind: Option<ScheduleKind>, after: &str, limit: u32) -> Result<Vec<Whole>, Problem> {
    schedule::page_schedules(tx, kind, after, limit)?.into_iter().map(|row| whole(tx, row)).collect()
}

fn whole(tx: &Tx<'_>, row: ScheduleRow) -> Result<Whole, Problem> {
    let workflow = match row.kind {
        ScheduleKind::System => None,
        ScheduleKind::Workflow => store::find_schedule(tx, &ScheduleId::from_stored(row.name.clone()))?,
    };
    Ok(Whole { row, workflow })
}

/// The schedule with this id that people made; Tenure's own are not theirs to change.
fn of_people(tx: &Tx<'_>, name: &str) -> Result<(ScheduleRow, WorkflowSchedule), Problem> {
    let found = get(tx, name)?;
    found.workflow.map(|w| (found.row, w)).ok_or_else(|| {
        Problem::Conflict(format!("{name} is one of Tenure's own schedules: it can be run now, not changed or paused."))
    })
}

/// Adds a schedule.
pub fn create(tx: &Tx<'_>, by: &Principal, draft: &ScheduleDraft, paused: bool) -> Result<Whole, Problem> {
    by.require(Permission::ScheduleWrite)?;
    let added = WorkflowSchedule {
        id: tx.new_id(),
        name: draft.name.trim().to_owned(),
        workflow_key: check(tx, draft, by.person.as_ref())?,
        input: draft.input.clone(),
        subject_id: draft.subject_id.clone(),
        overlap: draft.overlap,
        created_by: by.person.clone(),
        created_at: tx.now(),
        updated_at: tx.now(),
        waiting_job: None,
        last_result: None,
        last_run_id: None,
    };
    store::insert_schedule(tx, &added)?;
    put(tx, &added.id, draft, paused)?;
    let after = get(tx, added.id.as_str())?;
    record(tx, by, "schedule.created", added.id.as_str(), None, Some(state(&after)))?;
    Ok(after)
}

/// Changes a schedule; a changed expression goes on with its next slot.
pub fn update(tx: &Tx<'_>, by: &Principal, name: &str, draft: &ScheduleDraft) -> Result<Whole, Problem> {
    by.require(Permission::ScheduleWrite)?;
    let (row, found) = of_people(tx, name)?;
    let before = state(&Whole { row: row.clone(), workflow: Some(found.clone()) });
    let workflow_key = check(tx, draft, found.created_by.as_ref())?;
    let changed = WorkflowSchedule {
        name: draft.name.trim().to_owned(),
        workflow_key,
        input: draft.input.clone(),
        subject_id: draft.subject_id.clone(),
        overlap: draft.overlap,
        updated_at: tx.now(),
        ..found
    };
    store::update_schedule(tx, &changed)?;
    put(tx, &changed.id, draft, row.paused)?;
    let after = get(tx, name)?;
    let shown = state(&after);
    if shown != before {
        record(tx, by, "schedule.updated", name, Some(before), Some(shown))?;
    }
    Ok(after)
}

/// Removes a schedule, with the start that waits. Runs that it started go on.
pub fn delete(tx: &Tx<'_>, by: &Principal, name: &str) -> Result<(), Problem> {
    by.require(Permission::ScheduleWrite)?;
    let (row, found) = of_people(tx, name)?;
    for job in [&found.waiting_job, &row.last_job_id].into_iter().flatten() {
        cancel(tx, job)?;
    }
    schedule::remove(tx, name)?;
    store::delete_schedule(tx, &found.id)?;
    record(tx, by, "schedule.deleted", name, Some(state(&Whole { row, workflow: Some(found) })), None)
}

/// Makes a schedule rest, or go on with its next slot.
pub fn set_paused(tx: &Tx<'_>, by: &Principal, name: &str, paused: bool) -> Result<Whole, Problem> {
    by.require(Permission::ScheduleWrite)?;
    let (row, _) = of_people(tx, name)?;
    if row.paused != paused {
        schedule::set_paused(tx, name, paused)?;
        let action = if paused { "schedule.paused" } else { "schedule.resumed" };
        record(tx, by, action, name, Some(json!({ "paused": !paused })), Some(json!({ "paused": paused })))?;
    }
    get(tx, name)
}

/// Makes a job of any schedule now.
pub fn run_now(tx: &Tx<'_>, by: &Principal, registry: &Registry, name: &str) -> Result<JobId, Problem> {
    by.require(Permission::ScheduleWrite)?;
    let job = schedule::run_now(tx, registry, name)?;
    record(tx, by, "schedule.run", name, None, Some(json!({ "job": job })))?;
    Ok(job)
}

/// Checks what a person says against what there is; answers the workflow's key.
fn check(tx: &Tx<'_>, draft: &ScheduleDraft, maker: Option<&PersonId>) -> Result<String, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: String| faults.push(FieldError { field: field.to_owned(), message });
    if draft.name.trim().is_empty() || draft.name.chars().count() > 200 {
        fault("name", "expected 1 to 200 characters".to_owned());
    }
    if let Some(id) = draft.subject_id.as_ref().or(maker)
        && !people::store::find_person(tx, id)?.is_some_and(|p| p.active)
    {
        fault("subjectId", format!("there is no active person {id}"));
    }
    let Some(workflow) = definitions::store::find_workflow(tx, &draft.workflow_id)? else {
        fault("workflowId", format!("there is no workflow {}", draft.workflow_id));
        return Problem::from_fields(faults).map(|()| String::new());
    };
    let active = definitions::store::find_by_status(tx, &workflow.key, WorkflowStatus::Active)?;
    if active.is_none() {
        fault("workflowId", "the workflow has no active version; publish one first".to_owned());
    }
    Problem::from_fields(faults)?;
    if let Some(active) = active {
        forms::variables(&active.definition, draft.input.clone())?;
    }
    Ok(workflow.key)
}

fn put(tx: &Tx<'_>, id: &ScheduleId, draft: &ScheduleDraft, paused: bool) -> Result<(), Problem> {
    schedule::put(
        tx,
        &SchedulePlan {
            name: id.as_str(),
            kind: ScheduleKind::Workflow,
            job: names::TRIGGER_WORKFLOW,
            payload: &json!({ "scheduleId": id }),
            schedule: &draft.schedule,
            missed: draft.missed,
            paused,
        },
    )
}

/// Whether the job of a slot has to wait for the run before; then it is the one that waits.
pub fn must_wait(tx: &Tx<'_>, id: &ScheduleId, job: &JobId) -> Result<bool, Problem> {
    let found = existing(tx, id)?;
    let waits = turn(tx, &found, job)? == Triggered::Queued;
    if waits && found.waiting_job.as_ref() != Some(job) {
        store::note_result(tx, id, Triggered::Queued, Some(job.clone()))?;
    }
    Ok(waits)
}

/// Starts the run of a slot as the start button does, or skips it while the run before goes on.
pub fn trigger(tx: &Tx<'_>, id: &ScheduleId, job: &JobId) -> Result<Triggered, Problem> {
    let found = existing(tx, id)?;
    let turn = turn(tx, &found, job)?;
    let waiting = found.waiting_job.clone().filter(|w| w != job);
    let by = starter(tx, &found)?;
    match turn {
        Triggered::Queued => {
            let why = "Another run of this schedule began at the same moment; it is waited for.";
            return Err(Problem::Conflict(why.to_owned()));
        }
        Triggered::Skipped => {
            let new = json!({ "job": job, "reason": "the run before is not over" });
            record(tx, &by, "schedule.skipped", id.as_str(), None, Some(new))?;
        }
        Triggered::Started => {
            let active = definitions::store::find_by_status(tx, &found.workflow_key, WorkflowStatus::Active)?;
            let active = active.ok_or_else(|| {
                Problem::refused(format!(
                    "The workflow of the schedule “{}” has no active version. Publish one, or pause the schedule.",
                    found.name
                ))
            })?;
            let run = runs::start(tx, &by, &active.id, Beginning { subject: found.subject_id.clone(), input: found.input.clone(), mock: false })?;
            store::note_run(tx, id, &run.id)?;
            record(tx, &by, "schedule.triggered", id.as_str(), None, Some(json!({ "job": job, "run": run.id })))?;
        }
    }
    store::note_result(tx, id, turn, waiting)?;
    Ok(turn)
}

fn existing(tx: &Tx<'_>, id: &ScheduleId) -> Result<WorkflowSchedule, Problem> {
    store::find_schedule(tx, id)?.ok_or_else(|| {
        Problem::refused(format!("There is no schedule {id}; it was deleted after this job was made. Remove the job."))
    })
}

/// What a slot is to do now.
fn turn(tx: &Tx<'_>, found: &WorkflowSchedule, job: &JobId) -> Result<Triggered, Problem> {
    if found.overlap == Overlap::Allow || !store::has_open_run(tx, &found.id)? {
        return Ok(Triggered::Started);
    }
    if found.overlap == Overlap::Skip {
        return Ok(Triggered::Skipped);
    }
    let other = found.waiting_job.as_ref().filter(|w| *w != job);
    let waits = match other.map(|w| views::get_job(tx, w)) {
        Some(Ok(other)) => !matches!(other.state, JobState::Completed | JobState::Failed),
        Some(Err(Problem::Missing { .. })) | None => false,
        Some(Err(problem)) => return Err(problem),
    };
    Ok(if waits { Triggered::Skipped } else { Triggered::Queued })
}

/// Tenure acts; the run is asked for by who made the schedule, as long as they are there.
fn starter(tx: &Tx<'_>, found: &WorkflowSchedule) -> Result<Principal, Problem> {
    let by = Principal::system(names::TRIGGER_WORKFLOW);
    let Some(id) = &found.created_by else { return Ok(by) };
    let maker = people::store::find_person(tx, id)?.filter(|p| p.active);
    Ok(Principal { person: maker.map(|p| p.id), ..by })
}

fn state(whole: &Whole) -> Value {
    let row = &whole.row;
    let mut shown = json!({ "cron": row.cron, "timezone": row.timezone, "missed": row.missed, "paused": row.paused });
    if let Some(w) = &whole.workflow {
        shown["name"] = json!(w.name);
        shown["workflow"] = json!(w.workflow_key);
        shown["input"] = json!(w.input);
        shown["subject"] = json!(w.subject_id);
        shown["overlap"] = json!(w.overlap);
    }
    shown
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    id: &str,
    prev: Option<Value>,
    new: Option<Value>,
) -> Result<(), Problem> {
    let entry = Entry { action, entity: "schedule", entity_id: id.to_owned(), reason: None, prev, new };
    audit::append(tx, by, entry)
}
