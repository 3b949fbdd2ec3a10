//! Use cases around runs.

use serde_json::{Value, json};

use super::store::Touched;
use super::drive::{drive, drive_first, touch, wake_again};
use super::forms::variables;
use super::{Beginning, Parent, Run, RunStatus, effects, store, stuck_reason};
use crate::base::access::Principal;
use crate::base::id::{PersonId, RunId, TypedId, WorkflowId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::connectors::links::links_of;
use crate::features::identity::people;
use crate::features::workflow::definitions::{self, Definition, WorkflowStatus};
use crate::features::workflow::engine::{self, Effect, EndStatus, Event, RunState, Scope, StepError, Wait};
use crate::platform::queue::is_on_its_way;
use crate::platform::store::Tx;

/// Runs that are taken up in one transaction.
const RESUMED: u32 = 100;

/// Starts a run of an active version and carries it to its first wait.
pub fn start(
    tx: &Tx<'_>,
    by: &Principal,
    workflow: &WorkflowId,
    with: Beginning,
) -> Result<Run, Problem> {
    start_inside(tx, by, workflow, with, None)
}

/// Starts a run, perhaps inside another one: a run inside another was asked for by whoever asked for that.
pub(super) fn start_inside(
    tx: &Tx<'_>,
    by: &Principal,
    workflow: &WorkflowId,
    with: Beginning,
    parent: Option<&Parent>,
) -> Result<Run, Problem> {
    let starter = parent.map_or_else(|| by.person.clone(), |p| p.started_by.clone());
    begin(tx, by, workflow, starter, with, parent)
}

/// Starts a run in the name of `starter`, about the subject, or else the starter.
pub(super) fn begin(
    tx: &Tx<'_>,
    by: &Principal,
    workflow: &WorkflowId,
    starter: Option<PersonId>,
    with: Beginning,
    parent: Option<&Parent>,
) -> Result<Run, Problem> {
    let workflow = definitions::store::get_workflow(tx, workflow)?;
    if workflow.status != WorkflowStatus::Active {
        return Err(Problem::Conflict("Only an active version can be started. Publish it first.".to_owned()));
    }
    let subject = with.subject.or_else(|| starter.clone());
    if let Some(id) = &subject {
        let person = people::store::find_person(tx, id)?;
        if !person.is_some_and(|p| p.active) {
            return Err(Problem::field("subjectId", format!("there is no active person {id}")));
        }
    }
    let vars = variables(&workflow.definition, with.input)?;
    let run = Run {
        id: tx.new_id(),
        workflow_id: workflow.id.clone(),
        status: RunStatus::Pending,
        reason: None,
        started_by: starter,
        subject_id: subject,
        state: RunState { vars, ..RunState::default() },
        revision: 1,
        events: 0,
        parent_run_id: parent.map(|p| p.run.clone()),
        depth: parent.map_or(0, |p| p.depth + 1),
        mock: with.mock || parent.is_some_and(|p| p.mock),
        created_at: tx.now(),
        updated_at: tx.now(),
        ended_at: None,
    };
    let mut new = json!({ "workflow": workflow.id, "name": workflow.definition.name, "version": workflow.version,
                          "subject": run.subject_id, "variables": run.state.vars });
    if run.mock {
        new["mock"] = json!(true);
    }
    record(tx, by, "run.started", &run, None, new)?;
    // What it is given now is what another run is given, should this one have to start again.
    let given = json!({ "input": run.state.vars, "subjectId": run.subject_id });
    let text = format!("{} started it{}", by.name, if run.mock { ", only to pretend" } else { "" });
    drive_first(tx, by, run, &workflow.definition, text, given)
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

/// Applies several events; a run that none of them moves is left as it is.
pub(super) fn apply_all(tx: &Tx<'_>, by: &Principal, mut run: Run, events: Vec<Event>) -> Result<(), Problem> {
    if run.status.is_over() {
        return Ok(());
    }
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    for event in events {
        let scope = scope(tx, &run)?;
        let (state, effects) = engine::advance(&workflow.definition, run.state.clone(), event.clone(), &scope);
        let only_wakes = effects.iter().all(|e| matches!(e, Effect::WakeAt { .. }));
        if state != run.state || !only_wakes {
            run = drive(tx, by, run, &workflow.definition, event)?;
        } else if let Some(Effect::WakeAt { at }) = effects.first() {
            wake_again(tx, &run, *at)?;
        }
    }
    Ok(())
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
    log(tx, &mut run, visit, "approval.decided", &format!("{verdict} by {name}"), &data)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive(tx, by, run, &workflow.definition, Event::Finished { visit, outcome: outcome.to_owned(), output })
}

/// Applies what people answered, after `note` wrote down in the run what they did.
pub(in crate::features::workflow) fn answer(
    tx: &Tx<'_>,
    by: &Principal,
    id: &RunId,
    event: Event,
    note: impl FnOnce(&mut Run) -> Result<(), Problem>,
) -> Result<Run, Problem> {
    let mut run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return Err(Problem::Conflict(format!("The run is {} already.", run.status.as_str())));
    }
    note(&mut run)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive(tx, by, run, &workflow.definition, event)
}

/// Writes the next event of a run, in the step of a visit.
pub(crate) fn log(
    tx: &Tx<'_>,
    run: &mut Run,
    visit: u32,
    kind: &str,
    text: &str,
    data: &Value,
) -> Result<(), Problem> {
    let step = run.state.token(visit).map(|t| t.step.clone());
    log_in(tx, run, kind, step.as_deref(), text, data)
}

/// Writes the next event of a run, in a step that it may have left already.
pub(in crate::features::workflow) fn log_in(
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

pub(in crate::features::workflow) fn record(
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

/// What the step of a visit is to do, rendered again from the stored state: nothing changed since.
pub(super) fn rendered(
    tx: &Tx<'_>,
    run: &Run,
    visit: u32,
    definition: &Definition,
) -> Result<Option<Result<definitions::Action, StepError>>, Problem> {
    Ok(engine::rendered(definition, &run.state, visit, &scope(tx, run)?))
}

/// What templates and conditions of a run see beside its variables.
pub(in crate::features::workflow) fn scope(tx: &Tx<'_>, run: &Run) -> Result<Scope, Problem> {
    let person = |id: Option<&PersonId>| -> Result<Value, Problem> {
        let Some(id) = id else { return Ok(Value::Null) };
        let found = people::store::find_person(tx, id)?;
        let links = links_of(tx, id)?;
        Ok(found.map_or(Value::Null, |p| {
            json!({ "id": p.id, "displayName": p.display_name, "email": p.email, "attributes": p.attributes,
                    "links": links })
        }))
    };
    let subject = person(run.subject_id.as_ref())?;
    // Who asks for themselves is looked up once.
    let requestor =
        if run.started_by == run.subject_id { subject.clone() } else { person(run.started_by.as_ref())? };
    let values = json!({
        "subject": subject,
        "requestor": requestor,
        "run": { "id": run.id, "startedAt": run.created_at },
    });
    Ok(Scope { values, now: tx.now() })
}

/// Ends a run before its time; what succeeded stays as it is.
pub fn cancel(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: &str) -> Result<Run, Problem> {
    let reason = reason_to_cancel(&store::get_run(tx, id)?, reason)?;
    apply(tx, by, id, Event::Stop { status: EndStatus::Cancelled, reason })
}

/// Ends a run before its time; what succeeded is undone before it ends.
pub fn cancel_and_undo(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: &str) -> Result<Run, Problem> {
    let reason = reason_to_cancel(&store::get_run(tx, id)?, reason)?;
    apply(tx, by, id, Event::Undo { reason })
}

fn reason_to_cancel(run: &Run, reason: &str) -> Result<String, Problem> {
    if run.status.is_over() {
        return Err(Problem::Conflict(format!("The run is {} already.", run.status.as_str())));
    }
    if run.state.undoing.is_some() {
        return Err(Problem::Conflict("What succeeded is being undone; the run ends when that is done.".to_owned()));
    }
    if reason.trim().is_empty() {
        return Err(Problem::field("reason", "expected a reason"));
    }
    Ok(reason.trim().to_owned())
}

/// Ends a run that is part of another one which does not wait for it any more.
pub(super) fn stop_inside(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: &str, undo: bool) -> Result<(), Problem> {
    let run = store::get_run(tx, id)?;
    if run.status.is_over() || run.state.undoing.is_some() {
        return Ok(());
    }
    let ended = if undo { cancel_and_undo(tx, by, id, reason) } else { cancel(tx, by, id, reason) };
    ended.map(drop)
}

/// Undoes what a run inside another one did, whether it is complete or still on its way; answers what the
/// other one is to be told.
pub(super) fn undo_inside(tx: &Tx<'_>, by: &Principal, visit: u32, id: &RunId) -> Result<Event, Problem> {
    let reason = "What the run that it is part of did is undone.".to_owned();
    let mut run = store::get_run(tx, id)?;
    let something = !run.status.is_over() || !run.state.undo.is_empty() && run.status != RunStatus::Cancelled;
    if something && run.state.undoing.is_none() {
        let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
        run = drive(tx, by, run, &workflow.definition, Event::Undo { reason })?;
    }
    let wait = Event::Waits { visit, wait: Wait::Run { id: id.to_string() } };
    Ok(effects::run_undone(visit, &run).unwrap_or(wait))
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
    let still: Vec<String> =
        run.state.places().iter().filter(|t| t.wait.as_ref().is_none_or(Wait::is_work)).map(|t| t.step.clone()).collect();
    let reason = stuck_reason(timeout_minutes);
    let after = apply(tx, by, id, Event::Stuck { reason: reason.clone() })?;
    if !after.status.is_over() {
        record(tx, by, "run.step_timed_out", &after, Some(reason), json!({ "steps": still, "status": after.status }))?;
    }
    Ok(true)
}

/// Takes running runs up again after a downtime, which is not a lack of progress; call it until it
/// answers 0. At most a page of runs is taken up in one transaction.
///
/// `before` is one instant for all pages: a run that was taken up is touched later than that.
pub fn resume_page(tx: &Tx<'_>, before: Timestamp) -> Result<usize, Problem> {
    take_up_page(tx, before, "Taken up again after a restart")
}

/// Takes running runs up again after a time that is no lack of progress, as [`resume_page`] does; `why` is
/// written into each.
pub fn take_up_page(tx: &Tx<'_>, before: Timestamp, why: &str) -> Result<usize, Problem> {
    let runs = store::list_running_before(tx, before, RESUMED)?;
    let count = runs.len();
    for mut run in runs {
        log_in(tx, &mut run, "run.resumed", None, why, &json!({}))?;
        // A second job beside one that is there would be one more at each restart.
        let wake = !is_on_its_way(tx, run.id.as_str())?;
        touch(tx, run, wake)?;
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
