//! Mending runs by hand: taking a failed one up again, passing over a step, correcting variables, starting
//! again on the newest version.
//!
//! # Invariants
//! - What was undone is not taken up again, nor is what was started again or goes on outside without it.
//! - Access that a step asked for without knowing its outcome is given back before the step asks anew.
//! - A step is left by one of its own outcomes, and by no error that nothing follows from.
//!
//! # Not here
//! Whether a second person has to agree ([`crate::features::workflow::exceptions`]); routes come through there.

pub mod api;

use serde_json::{Map, Value, json};

use super::drive::drive;
use super::{Beginning, Run, RunStatus, ops, store};
use crate::base::access::Principal;
use crate::base::id::{PersonId, RunId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::features::access::assignments::{self, EndReason};
use crate::features::audit::{self, Entry};
use crate::features::workflow::definitions::{self, Action, Definition, Step, WorkflowStatus};
use crate::features::workflow::engine::{Event, Token, Wait};
use crate::platform::store::Tx;

/// The longest reason.
const MAX_REASON: usize = 4_000;

/// A reason without the space around it; a fault when there is none.
pub fn reason_of(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_REASON {
        return Err(Problem::field("reason", format!("expected a reason of 1 to {MAX_REASON} characters")));
    }
    Ok(text.to_owned())
}

fn refused(why: Option<String>) -> Result<(), Problem> {
    why.map_or(Ok(()), |why| Err(Problem::Conflict(why)))
}

/// Why a failed run cannot go on from where it failed; `None` when it can.
fn why_not_revived(tx: &Tx<'_>, run: &Run) -> Result<Option<String>, Problem> {
    if run.state.undoing.is_some() {
        return Ok(Some(
            "What had succeeded was undone, so that there is nothing to go on from. Start it again.".to_owned(),
        ));
    }
    if run.state.tokens.is_empty() {
        return Ok(Some("It ended where its definition lets it end as failed. Start it again.".to_owned()));
    }
    if let Some(next) = successor(tx, &run.id)? {
        return Ok(Some(format!("It was started again already: {next}.")));
    }
    let Some(outer) = &run.parent_run_id else { return Ok(None) };
    let outer = store::get_run(tx, outer)?;
    let waits = outer.state.waits().any(|(_, w)| matches!(w, Wait::Run { id } if id == run.id.as_str()));
    Ok((!waits).then(|| format!("The run that it is part of does not wait for it any more. Take up {} instead.", outer.id)))
}

/// Why a run cannot be taken up again; `None` when it can.
pub fn why_no_retry(tx: &Tx<'_>, run: &Run) -> Result<Option<String>, Problem> {
    if run.status != RunStatus::Failed {
        return Ok(Some(format!("Only a failed run is taken up again; this one is {}.", run.status.as_str())));
    }
    why_not_revived(tx, run)
}

/// Why nothing in a run can be changed by hand; `None` when something can.
pub fn why_no_change(tx: &Tx<'_>, run: &Run) -> Result<Option<String>, Problem> {
    match run.status {
        RunStatus::Completed | RunStatus::Cancelled => Ok(Some(format!("The run is {}.", run.status.as_str()))),
        RunStatus::Failed => why_not_revived(tx, run),
        _ if run.state.undoing.is_some() => {
            Ok(Some("What succeeded is being undone; the run ends when that is done.".to_owned()))
        }
        _ => Ok(None),
    }
}

/// Why a run cannot be started again; `None` when it can.
pub fn why_no_start(tx: &Tx<'_>, run: &Run) -> Result<Option<String>, Problem> {
    if let Some(outer) = &run.parent_run_id {
        return Ok(Some(format!("It is part of another run. Start {outer} again instead.")));
    }
    if !matches!(run.status, RunStatus::Failed | RunStatus::Cancelled) {
        let status = run.status.as_str();
        return Ok(Some(format!("Only a failed or cancelled run is started again; this one is {status}.")));
    }
    if let Some(next) = successor(tx, &run.id)? {
        return Ok(Some(format!("It was started again already: {next}.")));
    }
    if active_version(tx, run)?.is_none() {
        return Ok(Some("The workflow has no active version. Publish one first.".to_owned()));
    }
    Ok(None)
}

/// The active version of the workflow that a run follows.
pub fn active_version(tx: &Tx<'_>, run: &Run) -> Result<Option<definitions::Workflow>, Problem> {
    let key = definitions::store::get_workflow(tx, &run.workflow_id)?.key;
    definitions::store::find_by_status(tx, &key, WorkflowStatus::Active)
}

/// The run that this one was started again as.
fn successor(tx: &Tx<'_>, id: &RunId) -> Result<Option<String>, Problem> {
    let told = store::find_last_event(tx, id, "run.started_again", None)?;
    Ok(told.and_then(|e| e.data["runId"].as_str().map(str::to_owned)))
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    run: &RunId,
    reason: Option<String>,
    (prev, new): (Value, Value),
) -> Result<(), Problem> {
    let entry = Entry { action, entity: "run", entity_id: run.to_string(), reason, prev: Some(prev), new: Some(new) };
    audit::append(tx, by, entry)
}

/// Takes a failed run up again: every place where it was begins anew, with its approvals and runs inside.
pub fn retry(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: Option<&str>) -> Result<Run, Problem> {
    let mut run = store::get_run(tx, id)?;
    refused(why_no_retry(tx, &run)?)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    give_back(tx, by, &run, None)?;
    let steps: Vec<String> = run.state.tokens.iter().map(|t| t.step.clone()).collect();
    let text = format!("{} takes it up again", by.name);
    ops::log_in(tx, &mut run, "run.retried", None, &text, &json!({ "steps": steps, "reason": reason }))?;
    let states = (json!({ "status": run.status, "reason": run.reason }), json!({ "steps": steps }));
    record(tx, by, "run.retried", &run.id, reason.map(str::to_owned), states)?;
    drive(tx, by, run, &workflow.definition, Event::TakeUp)
}

/// Revokes what steps asked for that are about to ask anew, or that nobody waits for any more.
fn give_back(tx: &Tx<'_>, by: &Principal, run: &Run, kept: Option<u32>) -> Result<(), Problem> {
    for (visit, id) in store::list_unowned_assignments(tx, &run.id)? {
        if Some(visit) != kept {
            assignments::ops::revoke(tx, by, &id, EndReason::RunCompensated(run.id.clone()))?;
        }
    }
    Ok(())
}

/// A step that may be passed over.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The step in the definition; may be absent where the run is in one place.
    pub step: Option<String>,
    /// Which visit, where the run is at the step more than once.
    pub visit: Option<u32>,
}

/// The place of a run that is meant.
pub fn find_place(run: &Run, wanted: &Wanted) -> Result<Token, Problem> {
    let fits = |t: &&Token| {
        wanted.visit.is_none_or(|v| v == t.visit) && wanted.step.as_ref().is_none_or(|s| *s == t.step)
    };
    let mut found = run.state.tokens.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.clone()),
        (Some(_), Some(_)) => Err(Problem::field("visit", format!("the run is at several steps: {}", places(run)))),
        _ => Err(Problem::Conflict(format!("The run is not there; it is at {}.", places(run)))),
    }
}

fn places(run: &Run) -> String {
    let all: Vec<String> = run.state.tokens.iter().map(|t| format!("{} (visit {})", t.step, t.visit)).collect();
    if all.is_empty() { "no step".to_owned() } else { all.join(", ") }
}

/// The outcome of a step that did what it is for.
pub fn good_outcome(action: &Action) -> &str {
    match action {
        Action::Approval(_) => "approved",
        Action::Consent(_) => "agreed",
        Action::Condition(c) => &c.default,
        Action::Case(c) => &c.default,
        _ => "success",
    }
}

/// The outcomes that a step can be left by: the good one first, then those that something follows from.
pub fn outcomes_of(step: &Step) -> Vec<String> {
    if matches!(step.action, Action::End(_)) {
        return Vec::new();
    }
    let good = good_outcome(&step.action).to_owned();
    let mut all = vec![good];
    for transition in &step.transitions {
        if !all.contains(&transition.on) {
            all.push(transition.on.clone());
        }
    }
    all
}

/// Whether passing over it may pass over what somebody has to decide or prove: a decision itself, what
/// leads to one or around one, and what may have one inside.
pub fn is_guarded(action: &Action) -> bool {
    action.is_decision()
        || matches!(
            action,
            Action::DocumentRequest(_)
                | Action::Condition(_)
                | Action::Case(_)
                | Action::Parallel(_)
                | Action::Join(_)
                | Action::Foreach(_)
                | Action::Subworkflow(_)
        )
}

/// What is to be passed over, checked.
#[derive(Debug, Clone)]
pub struct Skip {
    /// The visit.
    pub visit: u32,
    /// The step.
    pub step: String,
    /// By which outcome it is left.
    pub outcome: String,
    /// Whether it is guarded.
    pub guarded: bool,
}

/// Checks a wish to pass over a step.
pub fn check_skip(tx: &Tx<'_>, run: &Run, wanted: &Wanted, outcome: Option<&str>) -> Result<Skip, Problem> {
    refused(why_no_change(tx, run)?)?;
    let token = find_place(run, wanted)?;
    let definition = definitions::store::get_workflow(tx, &run.workflow_id)?.definition;
    let step = definition.step(&token.step).ok_or_else(|| Problem::missing("step", &token.step))?;
    let outcomes = outcomes_of(step);
    let Some(good) = outcomes.first() else {
        return Err(Problem::Conflict("An end is not passed over.".to_owned()));
    };
    let outcome = outcome.unwrap_or(good).to_owned();
    if !outcomes.contains(&outcome) {
        return Err(Problem::field("outcome", format!("got {outcome}; expected {}", outcomes.join(" or "))));
    }
    Ok(Skip { visit: token.visit, step: token.step, outcome, guarded: is_guarded(&step.action) })
}

/// Passes over a step by hand and carries the run on.
pub fn skip(tx: &Tx<'_>, by: &Principal, id: &RunId, skip: &Skip, reason: &str) -> Result<Run, Problem> {
    let mut run = store::get_run(tx, id)?;
    let wanted = Wanted { step: Some(skip.step.clone()), visit: Some(skip.visit) };
    check_skip(tx, &run, &wanted, Some(&skip.outcome))?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    if run.status == RunStatus::Failed {
        give_back(tx, by, &run, Some(skip.visit))?;
    }
    let name = workflow.definition.step(&skip.step).map_or(skip.step.as_str(), |s| &s.name);
    let text = format!("{} passes over {name} ({}): {reason}", by.name, skip.outcome);
    let data = json!({ "visit": skip.visit, "outcome": skip.outcome, "reason": reason, "exception": by.exception });
    ops::log_in(tx, &mut run, "run.step_skipped", Some(&skip.step), &text, &data)?;
    let prev = json!({ "status": run.status, "step": skip.step, "visit": skip.visit });
    let new = json!({ "step": skip.step, "visit": skip.visit, "outcome": skip.outcome });
    record(tx, by, "run.step_skipped", &run.id, Some(reason.to_owned()), (prev, new))?;
    let event = Event::Skip { visit: skip.visit, outcome: skip.outcome.clone(), reason: reason.to_owned() };
    drive(tx, by, run, &workflow.definition, event)
}

/// Checks new values of variables; each fault is told by its field.
pub fn check_values(definition: &Definition, values: &Map<String, Value>) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for (name, value) in values {
        let message = match definition.variables.iter().find(|v| v.name == *name) {
            None => "the workflow has no such variable".to_owned(),
            Some(v) if value.is_null() && v.required => "is required".to_owned(),
            Some(v) if !value.is_null() && !v.kind.fits(value) => format!("expected a {:?}", v.kind).to_lowercase(),
            Some(_) => continue,
        };
        faults.push(FieldError { field: format!("values.{name}"), message });
    }
    if values.is_empty() {
        faults.push(FieldError { field: "values".to_owned(), message: "expected at least one variable".to_owned() });
    }
    Problem::from_fields(faults)
}

/// The present values of the variables that are to change.
pub fn values_before(run: &Run, values: &Map<String, Value>) -> Map<String, Value> {
    values.keys().map(|k| (k.clone(), run.state.vars.get(k).cloned().unwrap_or(Value::Null))).collect()
}

/// Checks a wish to correct variables.
pub fn check_correction(tx: &Tx<'_>, run: &Run, values: &Map<String, Value>) -> Result<(), Problem> {
    refused(why_no_change(tx, run)?)?;
    check_values(&definitions::store::get_workflow(tx, &run.workflow_id)?.definition, values)
}

/// Corrects variables by hand, unless somebody changed them since they were `before`.
pub fn correct(
    tx: &Tx<'_>,
    by: &Principal,
    id: &RunId,
    values: &Map<String, Value>,
    before: &Map<String, Value>,
    reason: &str,
) -> Result<Run, Problem> {
    let mut run = store::get_run(tx, id)?;
    check_correction(tx, &run, values)?;
    if values_before(&run, values) != *before {
        return Err(Problem::Conflict("The variables changed meanwhile. Look at them and ask again.".to_owned()));
    }
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    // Whoever changes what is asked for has asked for it, though another one had to agree.
    let asked = by.exception.as_ref().and_then(|e| e.requested_by.as_ref());
    for editor in asked.or(by.person.as_ref()).into_iter().chain(&by.token_maker) {
        store::insert_party(tx, id, editor, "edit")?;
    }
    let names: Vec<&String> = values.keys().collect();
    let text = format!("{} corrects {}: {reason}", by.name, names.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", "));
    let data = json!({ "names": names, "reason": reason, "exception": by.exception });
    ops::log_in(tx, &mut run, "run.variables_changed", None, &text, &data)?;
    let states = (json!({ "variables": before }), json!({ "variables": values }));
    record(tx, by, "run.variables_changed", &run.id, Some(reason.to_owned()), states)?;
    drive(tx, by, run, &workflow.definition, Event::Correct { values: values.clone() })
}

/// Whether somebody was asked to decide in this run, in one that it is part of, or in one inside it.
pub fn was_shown(tx: &Tx<'_>, run: &Run) -> Result<bool, Problem> {
    store::has_decisions(tx, &run.id)
}

/// Starts a run again on the newest version, with what it was given at first and in the name of who asked.
pub fn start_again(tx: &Tx<'_>, by: &Principal, id: &RunId, reason: &str) -> Result<Run, Problem> {
    let mut old = store::get_run(tx, id)?;
    refused(why_no_start(tx, &old)?)?;
    let workflow = active_version(tx, &old)?.ok_or_else(|| Problem::missing("workflow", &old.workflow_id))?;
    let given = store::find_last_event(tx, id, "run.started", None)?.map(|e| e.data).unwrap_or_default();
    let subject = given["subjectId"].as_str().map(|id| PersonId::from_stored(id.to_owned()));
    let mut input = given["input"].as_object().cloned().unwrap_or_default();
    // A variable that the newest version has no more is left behind; one that it wants besides is told.
    input.retain(|name, _| workflow.definition.variables.iter().any(|v| v.name == *name));
    // Whoever asked is the one who must not decide, whoever starts it again for them.
    let run = ops::begin(tx, by, &workflow.id, old.started_by.clone(), Beginning { subject, input, mock: old.mock }, None)?;
    let text = format!("{} starts it again: {reason}", by.name);
    ops::log_in(tx, &mut old, "run.started_again", None, &text, &json!({ "runId": run.id, "reason": reason }))?;
    store::update_run(tx, &old)?;
    let new = json!({ "run": run.id, "workflow": workflow.id, "version": workflow.version });
    record(tx, by, "run.started_again", &old.id, Some(reason.to_owned()), (json!({ "status": old.status }), new))?;
    Ok(run)
}
