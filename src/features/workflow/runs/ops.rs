//! Driving runs: one event in, effects out, all in the caller's transaction.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::store::Touched;
use super::{Run, RunStatus, effects, store, stuck_reason};
use crate::base::access::Principal;
use crate::base::id::{PersonId, RunId, TypedId, WorkflowId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::features::access::documents;
use crate::features::audit::{self, Entry};
use crate::features::identity::people;
use crate::features::workflow::approvals;
use crate::features::workflow::definitions::{self, Definition, WorkflowStatus};
use crate::features::workflow::engine::{self, Effect, EndStatus, Ended, Event, Position, RunState, Scope, StepError, Wait};
use crate::platform::queue::{JobDraft, enqueue, is_on_its_way, names};
use crate::platform::store::Tx;

/// Runs that are taken up in one transaction.
const RESUMED: u32 = 100;

/// Starts a run of an active version and carries it to its first wait.
pub fn start(
    tx: &Tx<'_>,
    by: &Principal,
    workflow: &WorkflowId,
    subject: Option<PersonId>,
    input: Map<String, Value>,
) -> Result<Run, Problem> {
    let workflow = definitions::store::get_workflow(tx, workflow)?;
    if workflow.status != WorkflowStatus::Active {
        return Err(Problem::Conflict("Only an active version can be started. Publish it first.".to_owned()));
    }
    let starter = by.person.clone();
    let subject = subject.or_else(|| starter.clone());
    if let Some(id) = &subject {
        let person = people::store::find_person(tx, id)?;
        if !person.is_some_and(|p| p.active) {
            return Err(Problem::field("subjectId", format!("there is no active person {id}")));
        }
    }
    let vars = variables(&workflow.definition, input)?;
    let mut run = Run {
        id: tx.new_id(),
        workflow_id: workflow.id.clone(),
        status: RunStatus::Pending,
        reason: None,
        started_by: starter,
        subject_id: subject,
        state: RunState { vars, ..RunState::default() },
        revision: 1,
        events: 0,
        created_at: tx.now(),
        updated_at: tx.now(),
        ended_at: None,
    };
    store::insert_run(tx, &run)?;
    log(tx, &mut run, "run.started", &format!("{} started it", by.name), &json!({}))?;
    let new = json!({ "workflow": workflow.id, "name": workflow.definition.name, "version": workflow.version,
                      "subject": run.subject_id, "variables": run.state.vars });
    record(tx, by, "run.started", &run, None, new)?;
    drive(tx, by, run, &workflow.definition, Event::Start)
}

/// The variables of a run that is started with `input`; each fault is told by its field.
pub fn variables(definition: &Definition, mut input: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut faults = Vec::new();
    let mut vars = Map::new();
    let mut fault = |name: &str, message: String| {
        faults.push(FieldError { field: format!("input.{name}"), message });
    };
    for variable in &definition.variables {
        let given = input.remove(&variable.name).filter(|v| !v.is_null());
        match given.or_else(|| variable.default.clone()) {
            Some(value) if !variable.kind.fits(&value) => {
                fault(&variable.name, format!("expected a {:?}", variable.kind).to_lowercase());
            }
            Some(Value::String(text)) if variable.required && text.trim().is_empty() => {
                fault(&variable.name, "is required".to_owned());
            }
            Some(value) => {
                vars.insert(variable.name.clone(), value);
            }
            None if variable.required => fault(&variable.name, "is required".to_owned()),
            None => {
                vars.insert(variable.name.clone(), Value::Null);
            }
        }
    }
    for name in input.keys() {
        fault(name, "the workflow has no such variable".to_owned());
    }
    Problem::from_fields(faults)?;
    Ok(vars)
}

/// Applies an event to a run that was just read, and everything that follows from it at once.
pub fn apply(tx: &Tx<'_>, by: &Principal, id: &RunId, event: Event) -> Result<Run, Problem> {
    let run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return Ok(run);
    }
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive(tx, by, run, &workflow.definition, event)
}

/// Applies the outcome of a connector call, unless the run has left the place the call was made for.
pub fn apply_call(tx: &Tx<'_>, by: &Principal, id: &RunId, at: &Position, event: &Event) -> Result<(), Problem> {
    let mut run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return note_late_call(tx, by, run, at, event);
    }
    if run.state.at.as_ref() != Some(at) {
        return Ok(());
    }
    let (kind, text, outcome) = match event {
        Event::Failed { error, .. } => ("effect.failed", error.message.clone(), "failed"),
        _ => ("effect.completed", "The connected system answered".to_owned(), "done"),
    };
    log(tx, &mut run, kind, &text, &json!({ "visit": at.visit, "attempt": at.attempt }))?;
    let new = json!({ "step": at.step, "visit": at.visit, "attempt": at.attempt, "outcome": outcome });
    record(tx, by, "connector.called", &run, None, new)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive(tx, by, run, &workflow.definition, event.clone()).map(drop)
}

/// Writes down the outcome of a call whose run ended meanwhile; nothing follows from it.
fn note_late_call(tx: &Tx<'_>, by: &Principal, mut run: Run, at: &Position, event: &Event) -> Result<(), Problem> {
    let (text, outcome) = match event {
        Event::Failed { error, .. } => (error.message.as_str(), "failed"),
        _ => ("The connected system answered after the run had ended", "done"),
    };
    let data = json!({ "visit": at.visit, "attempt": at.attempt, "outcome": outcome });
    log_in(tx, &mut run, "effect.late", Some(&at.step), text, &data)?;
    let new = json!({ "step": at.step, "visit": at.visit, "attempt": at.attempt, "outcome": outcome, "late": true });
    record(tx, by, "connector.called", &run, None, new)?;
    store::update_run(tx, &run)
}

/// Applies a decision and writes down who made it.
pub fn apply_decided(
    tx: &Tx<'_>,
    by: &Principal,
    id: &RunId,
    visit: u32,
    outcome: &str,
    output: Value,
    name: &str,
) -> Result<Run, Problem> {
    let mut run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return Err(Problem::Conflict(format!("The run is {} already.", run.status.as_str())));
    }
    let verdict = if outcome == "approved" { "Approved" } else { "Rejected" };
    let mut data = output.clone();
    data["decision"] = json!(outcome);
    log(tx, &mut run, "approval.decided", &format!("{verdict} by {name}"), &data)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive(tx, by, run, &workflow.definition, Event::Finished { visit, outcome: outcome.to_owned(), output })
}

fn drive(tx: &Tx<'_>, by: &Principal, mut run: Run, definition: &Definition, event: Event) -> Result<Run, Problem> {
    let scope = scope(tx, &run)?;
    let before = run.state.at.clone();
    let mut events = VecDeque::from([event]);
    let mut wakes: Vec<Option<Timestamp>> = Vec::new();
    while let Some(event) = events.pop_front() {
        let (state, found) = engine::advance(definition, &run.state, event, &scope);
        run.state = state;
        for effect in found {
            match effect {
                Effect::Do { visit, attempt, action } => {
                    events.extend(effects::perform(tx, by, &mut run, visit, attempt, *action)?);
                    let waits = run.state.at.as_ref().is_some_and(|at| at.wait == Some(Wait::Effect));
                    if events.is_empty() && waits {
                        wakes.push(None);
                    }
                }
                Effect::WakeAt(at) => wakes.push(Some(at)),
                Effect::GoOnLater => wakes.push(None),
                other => tell(tx, by, &mut run, definition, other)?,
            }
        }
    }
    if run.state.at != before {
        tell_wait(tx, &mut run)?;
    }
    finish(tx, run, &wakes)
}

/// Writes down that the run waits, and for what.
fn tell_wait(tx: &Tx<'_>, run: &mut Run) -> Result<(), Problem> {
    let Some(Position { visit, wait: Some(wait), .. }) = run.state.at.clone() else { return Ok(()) };
    let text = match &wait {
        // Tenure works on it: the run is running.
        Wait::Effect => return Ok(()),
        Wait::Approval { .. } => "Waits for a decision".to_owned(),
        Wait::Document { document_type, .. } => {
            format!("Waits for the document “{}”", documents::title(document_type))
        }
        Wait::Timer { until } => format!("Waits until {until}"),
        Wait::Retry { until } => format!("Waits until {until} to try again"),
        Wait::Assignment { .. } => "Waits until the access is set up".to_owned(),
    };
    log(tx, run, "run.waiting", &text, &json!({ "visit": visit, "for": wait }))
}

/// Stores the run and asks for the jobs that carry it on.
fn finish(tx: &Tx<'_>, mut run: Run, wakes: &[Option<Timestamp>]) -> Result<Run, Problem> {
    run.status = RunStatus::of(&run.state);
    run.updated_at = tx.now();
    if run.status == RunStatus::Waiting
        && let Some(at) = &run.state.at
    {
        store::update_step(tx, &run.id, at.visit, "waiting", None)?;
    }
    store::update_run(tx, &run)?;
    run.revision += 1;
    if !run.status.is_over() {
        for wake in wakes {
            let payload = json!({ "runId": run.id });
            let draft = match wake {
                Some(at) => JobDraft::at(names::ADVANCE_RUN, payload, *at),
                None => JobDraft::now(names::ADVANCE_RUN, payload),
            };
            // One job per revision: what asks twice in one transaction gets one.
            let suffix = wake.map(|at| at.as_millis().to_string()).unwrap_or_default();
            enqueue(tx, draft.with_key(format!("{}-{}-{suffix}", run.id, run.revision)))?;
        }
    }
    Ok(run)
}

/// Stores what the engine tells of steps and ends.
fn tell(tx: &Tx<'_>, by: &Principal, run: &mut Run, definition: &Definition, effect: Effect) -> Result<(), Problem> {
    let name_of = |id: &str| definition.step(id).map_or_else(|| id.to_owned(), |s| s.name.clone());
    match effect {
        Effect::Entered { visit, step } => {
            let kind = definition.step(&step).map_or("", |s| s.action.kind());
            let name = name_of(&step);
            store::insert_step(tx, &run.id, visit, &step, &name, kind)?;
            log_in(tx, run, "step.started", Some(&step), &name, &json!({ "visit": visit, "type": kind }))
        }
        Effect::TriedAgain { visit, attempt } => store::update_step(tx, &run.id, visit, "running", Some(attempt)),
        Effect::Left { visit, step, outcome, output, error } => {
            let status = if error.is_some() { "failed" } else { "completed" };
            let shown = (!output.is_null()).then_some(&output);
            store::end_step(tx, &run.id, visit, status, Some(&outcome), shown, error.as_ref())?;
            let name = name_of(&step);
            match error {
                Some(error) => {
                    let text = format!("{name}: {}", error.message);
                    log_in(tx, run, "step.failed", Some(&step), &text, &json!({ "visit": visit, "code": error.code }))
                }
                None => {
                    let data = json!({ "visit": visit, "outcome": outcome });
                    log_in(tx, run, "step.completed", Some(&step), &format!("{name}: {outcome}"), &data)
                }
            }
        }
        Effect::Ended(ended) => over(tx, by, run, &ended),
        Effect::Do { .. } | Effect::WakeAt(_) | Effect::GoOnLater => Ok(()),
    }
}

fn over(tx: &Tx<'_>, by: &Principal, run: &mut Run, ended: &Ended) -> Result<(), Problem> {
    run.reason.clone_from(&ended.reason);
    run.ended_at = Some(tx.now());
    documents::ops::stop_waiting(tx, &run.id)?;
    approvals::ops::cancel_open(tx, &run.id)?;
    let (kind, action) = match ended.status {
        EndStatus::Completed => ("run.completed", "run.completed"),
        EndStatus::Failed => ("run.failed", "run.failed"),
        EndStatus::Cancelled => ("run.cancelled", "run.cancelled"),
    };
    let text = ended.reason.clone().unwrap_or_else(|| "The run is complete".to_owned());
    log_in(tx, run, kind, None, &text, &json!({}))?;
    record(tx, by, action, run, ended.reason.clone(), json!({ "status": ended.status }))
}

/// Writes the next event of a run, in the step it is at.
pub(crate) fn log(tx: &Tx<'_>, run: &mut Run, kind: &str, text: &str, data: &Value) -> Result<(), Problem> {
    let step = run.state.at.as_ref().map(|at| at.step.clone());
    log_in(tx, run, kind, step.as_deref(), text, data)
}

/// Writes the next event of a run, in a step that it may have left already.
pub(super) fn log_in(
    tx: &Tx<'_>,
    run: &mut Run,
    kind: &str,
    step: Option<&str>,
    text: &str,
    data: &Value,
) -> Result<(), Problem> {
    run.events += 1;
    store::insert_event(tx, &run.id, run.events, kind, step, text, data)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    run: &Run,
    reason: Option<String>,
    new: Value,
) -> Result<(), Problem> {
    let entry =
        Entry { action, entity: "run", entity_id: run.id.to_string(), reason, prev: None, new: Some(new) };
    audit::append(tx, by, entry)
}

/// What the step at hand is to do, rendered again from the stored state: nothing changed since.
pub(super) fn rendered(
    tx: &Tx<'_>,
    run: &Run,
    definition: &Definition,
) -> Result<Option<Result<definitions::Action, StepError>>, Problem> {
    Ok(engine::rendered(definition, &run.state, &scope(tx, run)?))
}

/// What templates and conditions of a run see beside its variables.
fn scope(tx: &Tx<'_>, run: &Run) -> Result<Scope, Problem> {
    let person = |id: Option<&PersonId>| -> Result<Value, Problem> {
        let Some(id) = id else { return Ok(Value::Null) };
        let found = people::store::find_person(tx, id)?;
        Ok(found.map_or(Value::Null, |p| {
            json!({ "id": p.id, "displayName": p.display_name, "email": p.email, "attributes": p.attributes })
        }))
    };
    let values = json!({
        "subject": person(run.subject_id.as_ref())?,
        "requestor": person(run.started_by.as_ref())?,
        "run": { "id": run.id, "startedAt": run.created_at },
    });
    Ok(Scope { values, now: tx.now() })
}

/// Ends a run before its time.
pub fn cancel(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: &str) -> Result<Run, Problem> {
    let run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return Err(Problem::Conflict(format!("The run is {} already.", run.status.as_str())));
    }
    if reason.trim().is_empty() {
        return Err(Problem::field("reason", "expected a reason"));
    }
    let visit = run.state.at.as_ref().map(|at| at.visit);
    let stopped = apply(tx, by, id, Event::Stop { status: EndStatus::Cancelled, reason: reason.trim().to_owned() })?;
    if let Some(visit) = visit {
        store::end_step(tx, id, visit, "cancelled", None, None, None)?;
    }
    Ok(stopped)
}

/// What became of a page of stuck runs.
#[derive(Debug, Default)]
pub struct StuckPage {
    /// Runs that were failed, or went on as their definition wants it.
    pub ended: usize,
    /// Runs that could not be, with the reason.
    pub refused: Vec<(RunId, Problem)>,
    /// Where the page ended, if there may be more.
    pub next: Option<Touched>,
}

/// Deals with at most `limit` runs that made no progress for longer than the timeout, after `after`.
/// A run that cannot be dealt with is told of and does not hold up the others.
pub fn fail_stuck(
    tx: &Tx<'_>,
    timeout_minutes: u32,
    after: Option<&Touched>,
    limit: u32,
) -> Result<StuckPage, Problem> {
    let timeout = std::time::Duration::from_secs(60 * u64::from(timeout_minutes));
    let by = Principal::system("stuck-run-recovery");
    let found = store::list_stuck(tx, tx.now().minus(timeout), after, limit)?;
    let mut page = StuckPage { next: found.last().filter(|_| found.len() >= limit as usize).cloned(), ..StuckPage::default() };
    for (_, id) in found {
        match tx.savepoint(|tx| fail_if_stuck(tx, &by, &id, timeout_minutes))? {
            Ok(true) => page.ended += 1,
            Ok(false) => {}
            Err(problem) => page.refused.push((id, problem)),
        }
    }
    Ok(page)
}

fn fail_if_stuck(tx: &Tx<'_>, by: &Principal, id: &RunId, timeout_minutes: u32) -> Result<bool, Problem> {
    let run = store::get_run(tx, id)?;
    if !super::is_stuck(run.status, run.updated_at, tx.now(), timeout_minutes) {
        return Ok(false);
    }
    let visit = run.state.at.as_ref().map(|at| at.visit);
    let reason = stuck_reason(timeout_minutes);
    let after = apply(tx, by, id, Event::Stuck { reason: reason.clone() })?;
    if let Some(visit) = visit {
        store::fail_open_step(tx, id, visit)?;
    }
    if !after.status.is_over() {
        let step = run.state.at.as_ref().map(|at| &at.step);
        record(tx, by, "run.step_timed_out", &after, Some(reason), json!({ "step": step, "status": after.status }))?;
    }
    Ok(true)
}

/// Takes running runs up again after a downtime, which is not a lack of progress; call it until it
/// answers 0. At most a page of runs is taken up in one transaction.
///
/// `before` is one instant for all pages: a run that was taken up is touched later than that.
pub fn resume_page(tx: &Tx<'_>, before: Timestamp) -> Result<usize, Problem> {
    let runs = store::list_running_before(tx, before, RESUMED)?;
    let count = runs.len();
    for mut run in runs {
        log(tx, &mut run, "run.resumed", "Taken up again after a restart", &json!({}))?;
        // A second job beside one that is there would be one more at each restart.
        let wakes: &[_] = if is_on_its_way(tx, run.id.as_str())? { &[] } else { &[None] };
        finish(tx, run, wakes)?;
    }
    Ok(count)
}

/// The person whom a run means by subject or requestor.
pub(crate) fn person_of(run: &Run, who: definitions::Who) -> Result<PersonId, Problem> {
    let id = match who {
        definitions::Who::Subject => run.subject_id.as_ref(),
        definitions::Who::Requestor => run.started_by.as_ref(),
    };
    id.cloned().ok_or_else(|| Problem::refused("The run has no such person."))
}

/// A person by id or by address.
pub(crate) fn find_person(tx: &Tx<'_>, text: &str) -> Result<Option<PersonId>, Problem> {
    if text.parse::<PersonId>().is_ok() {
        let id = PersonId::from_stored(text.to_owned());
        return Ok(people::store::find_person(tx, &id)?.map(|p| p.id));
    }
    Ok(people::store::find_by_email(tx, text)?.map(|p| p.id))
}
