//! What became of a run, what it waits for and what can be done about it.
//!
//! # Invariants
//! - No secret: what is called like one is masked, and its value wherever else it stands. Secrets of
//!   connectors are not part of what a step is given at all.
//! - What it says can be done is judged by what would do it.

use serde::Serialize;
use serde_json::{Map, Value};

use super::repair::{self, Wanted};
use super::store::{self, StoredStep};
use super::{Run, RunStatus, ops};
use crate::base::access::{Permission, Principal};
use crate::base::id::{ExceptionId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::documents;
use crate::features::identity::people::{self, PersonRef};
use crate::features::settings::Started;
use crate::features::workflow::{approvals, links, tasks};
use crate::features::workflow::definitions::{self, Definition};
use crate::features::workflow::engine::{self, Token, Wait};
use crate::features::workflow::exceptions;
use crate::platform::store::Tx;

/// How many steps are shown of what came before.
const BEFORE: usize = 8;
/// What stands in the place of a secret.
const MASK: &str = "•••";
/// Parts of names of what is secret.
const SECRET_WORDS: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "token", "apikey", "credential", "privatekey", "authorization"];

/// What became of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// How it stands.
    status: RunStatus,
    /// Why it failed or was cancelled.
    reason: Option<String>,
    /// The steps that failed, the first one first.
    failed: Vec<FailedStep>,
    /// The steps before, the newest first.
    before: Vec<PastStep>,
    /// What it waits for.
    waits: Vec<WaitsFor>,
    /// What can be done.
    actions: Vec<Possible>,
    /// What waits for a second person to agree.
    asked: Vec<ExceptionId>,
}

/// A step that failed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedStep {
    /// Which visit of the run.
    visit: u32,
    /// The step in the definition.
    step_id: String,
    /// How it is called.
    name: String,
    /// What it does.
    #[serde(rename = "type")]
    kind: String,
    /// For programs.
    code: String,
    /// For people.
    message: String,
    /// Tries.
    attempts: u32,
    /// When.
    at: Option<Timestamp>,
    /// What it was given, templates filled in and secrets masked; for those who see every run.
    #[schema(value_type = Option<Object>)]
    input: Option<Value>,
    /// Why there is no input to show.
    input_fault: Option<String>,
}

/// A step that is over.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastStep {
    /// Which visit of the run.
    visit: u32,
    /// The step in the definition.
    step_id: String,
    /// How it is called.
    name: String,
    /// What it does.
    #[serde(rename = "type")]
    kind: String,
    /// How it stands.
    status: String,
    /// Its outcome.
    outcome: Option<String>,
    /// What it gave, secrets masked; for those who see every run.
    #[schema(value_type = Option<Object>)]
    output: Option<Value>,
    /// When it was left.
    ended_at: Option<Timestamp>,
}

/// Something that a run waits for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// Which visit of the run.
    visit: u32,
    /// The step in the definition.
    step_id: String,
    /// How it is called.
    name: String,
    /// `approval`, `task`, `link`, `document`, `timer`, `retry`, `event`, `run`, `assignment` or `job`.
    kind: &'static str,
    /// In words.
    label: String,
    /// Since when.
    since: Timestamp,
    /// Until when, where there is an instant.
    until: Option<Timestamp>,
    /// When the step has taken too long.
    deadline: Option<Timestamp>,
    /// For whom.
    people: Vec<PersonRef>,
    /// The object it waits for.
    ref_id: Option<String>,
    /// What the last try came to.
    last_failure: Option<String>,
}

/// What can be done about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepairAction {
    /// Take it up again where it failed.
    Retry,
    /// Pass over a step.
    SkipStep,
    /// Correct variables.
    ChangeVariables,
    /// Start it again on the newest version.
    StartAgain,
    /// Cancel it.
    Cancel,
    /// Cancel it, and undo what succeeded.
    CancelAndUndo,
}

/// Whether something can be done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Possible {
    /// What.
    action: RepairAction,
    /// Whether the caller may, now.
    allowed: bool,
    /// Why not.
    why_not: Option<String>,
    /// Whether a second person has to agree.
    needs_second_person: bool,
    /// The steps that can be passed over.
    steps: Vec<Skippable>,
    /// The number of the newest version.
    version: Option<u32>,
}

/// A step that can be passed over.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Skippable {
    /// Which visit of the run.
    visit: u32,
    /// The step in the definition.
    step_id: String,
    /// How it is called.
    name: String,
    /// By which outcomes it can be left; the first one when none is given.
    outcomes: Vec<String>,
    /// Whether a second person has to agree.
    needs_second_person: bool,
}

/// What became of a run, as far as this principal may know.
pub fn diagnose(tx: &Tx<'_>, by: &Principal, policy: &Started<bool>, run: &Run) -> Result<Diagnosis, Problem> {
    let definition = definitions::store::get_workflow(tx, &run.workflow_id)?.definition;
    let sight = Sight { tx, run, definition: &definition, mask: Mask::of(run), all: by.can(Permission::RunRead) };
    let steps = store::list_last_steps(tx, &run.id, 200)?;
    Ok(Diagnosis {
        status: run.status,
        reason: run.reason.as_ref().map(|r| sight.mask.text(r)),
        failed: sight.failed(&steps)?,
        before: sight.before(&steps),
        waits: run.state.waits().map(|(t, w)| sight.waits(t, w)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
        actions: actions(tx, by, policy, run, &definition)?,
        asked: exceptions::store::list_pending_of(tx, &run.id)?.into_iter().map(|e| e.id).collect(),
    })
}

struct Sight<'a, 'c> {
    tx: &'a Tx<'c>,
    run: &'a Run,
    definition: &'a Definition,
    mask: Mask,
    /// Whether what steps were given and gave may be shown.
    all: bool,
}

impl Sight<'_, '_> {
    /// Of a failed run the steps at which it failed, else those that wait for another try.
    fn failed(&self, steps: &[StoredStep]) -> Result<Vec<FailedStep>, Problem> {
        if self.run.status != RunStatus::Failed && self.run.state.undoing.is_none() {
            return Ok(Vec::new());
        }
        let here = |s: &&StoredStep| self.run.state.token(s.visit).is_some_and(|t| !t.undoing);
        let faulty: Vec<&StoredStep> = steps.iter().filter(|s| s.status == "failed" && s.error.is_some()).collect();
        let mut found: Vec<&StoredStep> = faulty.iter().copied().filter(here).collect();
        if found.is_empty() {
            // What was undone since is newer than what failed; the oldest of the last failures is the cause.
            let undone = steps.iter().filter(|s| s.outcome.as_deref() == Some("undone")).map(|s| s.visit).min();
            found.extend(faulty.into_iter().find(|s| undone.is_none_or(|u| s.visit < u)));
        }
        found.sort_by_key(|s| (s.ended_at, s.visit));
        found.into_iter().map(|s| self.failed_step(s)).collect()
    }

    fn failed_step(&self, s: &StoredStep) -> Result<FailedStep, Problem> {
        let (input, input_fault) = self.input(s)?;
        let error = s.error.clone().unwrap_or_else(|| engine::StepError::new("failed", ""));
        Ok(FailedStep {
            visit: s.visit,
            step_id: s.step_id.clone(),
            name: s.name.clone(),
            kind: s.kind.clone(),
            code: error.code,
            message: self.mask.text(&error.message),
            attempts: s.attempt,
            at: s.ended_at,
            input,
            input_fault,
        })
    }

    /// The settings of a step, rendered from what the run remembers.
    fn input(&self, s: &StoredStep) -> Result<(Option<Value>, Option<String>), Problem> {
        if !self.all {
            return Ok((None, Some("Only those who see every run see what a step was given.".to_owned())));
        }
        let Some(step) = self.definition.step(&s.step_id) else {
            return Ok((None, Some("The version has no such step.".to_owned())));
        };
        let written = serde_json::to_value(&step.action).map_err(Problem::internal)?;
        let (shown, fault) = match ops::rendered(self.tx, self.run, s.visit, self.definition)? {
            Some(Ok(action)) => (serde_json::to_value(&action).map_err(Problem::internal)?, None),
            Some(Err(error)) => (written, Some(self.mask.text(&error.message))),
            None => (written, Some("The run has left the step: shown as it is written.".to_owned())),
        };
        Ok((Some(self.mask.value(&shown["config"])), fault))
    }

    fn before(&self, steps: &[StoredStep]) -> Vec<PastStep> {
        let over = steps.iter().filter(|s| s.ended_at.is_some() && s.status != "failed").take(BEFORE);
        over.map(|s| PastStep {
            visit: s.visit,
            step_id: s.step_id.clone(),
            name: s.name.clone(),
            kind: s.kind.clone(),
            status: s.status.clone(),
            outcome: s.outcome.clone(),
            output: s.output.as_ref().filter(|_| self.all).map(|o| self.mask.value(o)),
            ended_at: s.ended_at,
        })
        .collect()
    }

    fn waits(&self, token: &Token, wait: &Wait) -> Result<Option<WaitsFor>, Problem> {
        let name = self.definition.step(&token.step).map_or_else(|| token.step.clone(), |s| s.name.clone());
        let mut people = Vec::new();
        let (kind, label, until, ref_id) = match wait {
            // The branches say what they wait for.
            Wait::Branches { .. } => return Ok(None),
            Wait::Effect => ("job", "Tenure works on it".to_owned(), None, None),
            Wait::Approval { id } => {
                let approval = approvals::store::get_approval(self.tx, &TypedId::from_stored(id.clone()))?;
                let here = |s: &&approvals::Seat| s.stage == approval.stage && s.left_at.is_none();
                people.extend(approval.seats.iter().filter(here).map(|s| s.person.clone()));
                ("approval", "A decision".to_owned(), None, Some(id.clone()))
            }
            Wait::Task { id } => {
                let task = tasks::store::get_task(self.tx, &TypedId::from_stored(id.clone()))?;
                // Once somebody has it, the others need not do it.
                people = task.assignee_id.map_or(task.candidates, |one| vec![one]);
                ("task", "A task to be done".to_owned(), None, Some(id.clone()))
            }
            Wait::Link { id } => {
                people.extend(links::store::get_link(self.tx, &TypedId::from_stored(id.clone()))?.person_id);
                ("link", "A link to be followed".to_owned(), None, Some(id.clone()))
            }
            Wait::Document { document_type, person } => {
                people.push(PersonId::from_stored(person.clone()));
                ("document", documents::title(document_type), None, None)
            }
            Wait::Timer { until } => ("timer", "An instant".to_owned(), Some(*until), None),
            Wait::Retry { until } => ("retry", "The next try".to_owned(), Some(*until), None),
            Wait::Assignment { id } => ("assignment", "Access to be set up".to_owned(), None, Some(id.clone())),
            Wait::Run { id } => ("run", "Another run to end".to_owned(), None, Some(id.clone())),
            Wait::Signal { event, key } => ("event", format!("The event {event} of {key}"), None, None),
        };
        let mut shown = Vec::new();
        for id in &people {
            shown.extend(people::store::person_ref(self.tx, id)?);
        }
        let failure = store::find_last_event(self.tx, &self.run.id, "effect.failed", Some(&token.step))?
            .filter(|e| e.data["visit"] == token.visit);
        Ok(Some(WaitsFor {
            visit: token.visit,
            step_id: token.step.clone(),
            name,
            kind,
            label,
            since: store::find_step(self.tx, &self.run.id, token.visit)?.map_or(self.run.updated_at, |s| s.started_at),
            until,
            deadline: token.deadline,
            people: shown,
            ref_id,
            last_failure: failure.map(|e| self.mask.text(&e.text)),
        }))
    }
}

/// What can be done, and whether by this principal.
fn actions(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    run: &Run,
    definition: &Definition,
) -> Result<Vec<Possible>, Problem> {
    let four_eyes = exceptions::ops::is_on(tx, policy)?;
    let uncertain = |guarded: bool| {
        let why = "It takes two people, and with this sign-in nobody can tell who you are.";
        (four_eyes && guarded && !exceptions::authors::is_certain(by)).then(|| why.to_owned())
    };
    let manages = by.require(Permission::RunManage).err().map(|p| p.to_string());
    let own = run.started_by.is_some() && run.started_by == by.person && by.can(Permission::WorkflowStart);
    let starts = if own { None } else { manages.clone() };
    let no_change = repair::why_no_change(tx, run)?;
    let steps = if no_change.is_none() { skippable(tx, run, definition, four_eyes) } else { Vec::new() };
    let skip_why = manages.clone().or_else(|| no_change.clone()).or_else(|| {
        if steps.is_empty() { Some("There is no step to pass over.".to_owned()) } else { uncertain(steps.iter().all(|s| s.needs_second_person)) }
    });
    let shown = repair::was_shown(tx, run)?;
    let over = run.status.is_over().then(|| format!("The run is {}.", run.status.as_str()));
    let over = over.or_else(|| run.state.undoing.as_ref().map(|_| "What succeeded is being undone.".to_owned()));
    let no_undo = over.clone().or_else(|| {
        run.state.undo.is_empty().then(|| "Nothing that succeeded can be undone.".to_owned())
    });
    let can = |action, why: Option<String>, second: bool| Possible {
        action,
        allowed: why.is_none(),
        why_not: why,
        needs_second_person: second,
        steps: Vec::new(),
        version: None,
    };
    let edit_why = manages.clone().or(no_change).or_else(|| uncertain(shown));
    Ok(vec![
        can(RepairAction::Retry, manages.or(repair::why_no_retry(tx, run)?), false),
        Possible { steps, ..can(RepairAction::SkipStep, skip_why, false) }.with_need(),
        can(RepairAction::ChangeVariables, edit_why, four_eyes && shown),
        Possible {
            version: repair::active_version(tx, run)?.map(|w| w.version),
            ..can(RepairAction::StartAgain, starts.clone().or(repair::why_no_start(tx, run)?), false)
        },
        can(RepairAction::Cancel, starts.clone().or(over), false),
        can(RepairAction::CancelAndUndo, starts.or(no_undo), false),
    ])
}

impl Possible {
    /// A second person is needed when every step that can be passed over needs one.
    fn with_need(mut self) -> Self {
        self.needs_second_person = !self.steps.is_empty() && self.steps.iter().all(|s| s.needs_second_person);
        self
    }
}

fn skippable(tx: &Tx<'_>, run: &Run, definition: &Definition, four_eyes: bool) -> Vec<Skippable> {
    let mut found = Vec::new();
    for token in &run.state.tokens {
        let wanted = Wanted { step: Some(token.step.clone()), visit: Some(token.visit) };
        // What cannot be passed over, such as an end, is not offered.
        let (Some(step), Ok(skip)) = (definition.step(&token.step), repair::check_skip(tx, run, &wanted, None)) else {
            continue;
        };
        found.push(Skippable {
            visit: token.visit,
            step_id: token.step.clone(),
            name: step.name.clone(),
            outcomes: repair::outcomes_of(step),
            needs_second_person: four_eyes && skip.guarded,
        });
    }
    found
}

/// What of a run is secret by its name.
struct Mask {
    values: Vec<String>,
}

/// Shorter texts than this stand everywhere by chance.
const MIN_SECRET: usize = 4;

impl Mask {
    fn of(run: &Run) -> Self {
        let mut values = Vec::new();
        // What a step is called says nothing about what it gave.
        run.state.outputs.values().for_each(|given| collect(&given["output"], false, &mut values));
        run.state.vars.iter().for_each(|(name, value)| collect(value, is_secret(name), &mut values));
        // The longest first: one may be a part of another.
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
        values.dedup();
        Self { values }
    }

    fn text(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|v| self.value(v)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(k, v)| (k.clone(), if is_secret(k) && !v.is_null() { MASK.into() } else { self.value(v) }))
                .collect::<Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
}

fn collect(value: &Value, secret: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if secret && text.chars().count() >= MIN_SECRET => found.push(text.clone()),
        Value::Number(n) if secret && n.to_string().len() >= MIN_SECRET => found.push(n.to_string()),
        Value::Array(items) => items.iter().for_each(|v| collect(v, secret, found)),
        Value::Object(fields) => fields.iter().for_each(|(k, v)| collect(v, secret || is_secret(k), found)),
        _ => {}
    }
}

/// Whether something is secret by its name, however it is spelt: `apiKey`, `API_KEY`, `x-api-key`.
fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| plain.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_masked_and_so_is_its_value_elsewhere() {
        let mut values = Vec::new();
        collect(&json!({ "vars": { "apiKey": "s3cr3t!", "n": 7, "accessToken": { "value": ["abcdef", "x"] } } }), false, &mut values);
        let mask = Mask { values };
        let shown = mask.value(&json!({
            "params": { "header": "Bearer s3cr3t!", "Password": "x", "list": ["abcdef"], "client_secret": { "a": 1 } },
            "X-Api-Key": "k", "name": "x", "tokens": null, "n": 7,
        }));
        assert_eq!(shown, json!({
            "params": { "header": "Bearer •••", "Password": "•••", "list": ["•••"], "client_secret": "•••" },
            "X-Api-Key": "•••", "name": "x", "tokens": null, "n": 7,
        }));
        assert_eq!(mask.text("got s3cr3t!"), "got •••");
    }
}
