//! Going through a side door: at once where the policy lets one person, else asking for it and agreeing to it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::authors::{is_certain, may_be_own};
use super::{Act, Exception, ExceptionState, Kind, WAITS_HOURS, break_glass, erasure as erasing, jobs, store};
use crate::base::access::{ExceptionMark, Principal, SystemRole};
use crate::base::id::{AdoptionId, AssignmentId, ExceptionId, PersonId, RunId, TypedId as _, WorkflowId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments;
use crate::features::access::reconciliation::{adoption::ops as adoptions, items};
use crate::features::audit::{self, Entry, erasure};
use crate::features::connectors::rotation;
use crate::features::identity::accounts::store::{find_by_person, people_with_role};
use crate::features::identity::people::store::{find_person, get_person};
use crate::features::notifications::{self, Message};
use crate::features::settings::{self, FOUR_EYES, Started};
use crate::features::workflow::definitions::{self, Workflow};
use crate::features::workflow::runs::repair::{self, Skip, Wanted, reason_of};
use crate::features::workflow::runs::{Run, ops as runs, store as run_store};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// What became of a wish.
#[derive(Debug)]
pub enum Outcome {
    /// It was done.
    Done(Done),
    /// A second person has to agree first.
    Asked(Box<Exception>),
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    /// To a run.
    Run(Box<Run>),
    /// To an assignment.
    Assignment(AssignmentId),
    /// Accounts are becoming assignments.
    Adopting(AdoptionId),
    /// To a version of a workflow.
    Workflow(Box<Workflow>),
    /// Secrets are being sealed anew.
    Rotating,
    /// So many states of the audit log are being erased.
    Erasing(u64),
    /// To the rule itself.
    Rule,
}

/// Whether the rule of the second person is on.
pub fn is_on(tx: &Tx<'_>, policy: &Started<bool>) -> Result<bool, Problem> {
    Ok(settings::ops::flag(tx, FOUR_EYES, policy)?.value)
}

/// Passes over a step; one that is guarded is a side door.
pub fn skip_step(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    id: &RunId,
    wanted: &Wanted,
    outcome: Option<&str>,
    reason: &str,
) -> Result<Outcome, Problem> {
    let reason = reason_of(reason)?;
    let skip = repair::check_skip(tx, &run_store::get_run(tx, id)?, wanted, outcome)?;
    if !skip.guarded {
        return Ok(Outcome::Done(Done::Run(Box::new(repair::skip(tx, by, id, &skip, &reason)?))));
    }
    let Skip { visit, step, outcome, .. } = skip;
    through(tx, by, policy, Act::SkipStep { run_id: id.clone(), visit, step, outcome }, &reason)
}

/// Corrects variables; in a run in which somebody was asked to decide it is a side door.
pub fn change_variables(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    id: &RunId,
    values: Map<String, Value>,
    reason: &str,
) -> Result<Outcome, Problem> {
    let reason = reason_of(reason)?;
    let run = run_store::get_run(tx, id)?;
    repair::check_correction(tx, &run, &values)?;
    let before = repair::values_before(&run, &values);
    if !repair::was_shown(tx, &run)? {
        let run = repair::correct(tx, by, id, &values, &before, &reason)?;
        return Ok(Outcome::Done(Done::Run(Box::new(run))));
    }
    through(tx, by, policy, Act::ChangeVariables { run_id: id.clone(), values, before }, &reason)
}

/// Lets an assignment last longer.
pub fn extend_assignment(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    id: &AssignmentId,
    expires_at: Timestamp,
    reason: &str,
) -> Result<Outcome, Problem> {
    let before = assignments::store::get_assignment(tx, id)?.expires_at;
    through(tx, by, policy, Act::ExtendAssignment { assignment_id: id.clone(), expires_at, before }, &reason_of(reason)?)
}

/// Publishes a draft; what one may have written oneself is a side door.
pub fn publish(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    id: &WorkflowId,
    reason: Option<&str>,
) -> Result<Outcome, Problem> {
    let draft = definitions::store::get_workflow(tx, id)?;
    if !may_be_own(tx, by, id)? || !is_on(tx, policy)? {
        return Ok(Outcome::Done(Done::Workflow(Box::new(definitions::ops::publish(tx, by, id)?))));
    }
    let definition = serde_json::to_value(&*draft.definition).map_err(Problem::internal)?;
    through(tx, by, policy, Act::PublishWorkflow { workflow_id: id.clone(), definition }, &reason_of(reason.unwrap_or(""))?)
}

/// Asks for the secrets of connectors to be sealed under the present key; nothing where the policy lets one person.
pub fn ask_to_rotate(
    tx: &Tx<'_>,
    by: &Principal,
    policy: &Started<bool>,
    reason: Option<&str>,
) -> Result<Option<Exception>, Problem> {
    by.require(Kind::RotateKeys.permission())?;
    if !is_on(tx, policy)? {
        return Ok(None);
    }
    ask(tx, by, Act::RotateKeys, reason_of(reason.unwrap_or(""))?).map(Some)
}

/// Does it at once where the policy lets one person; asks for it otherwise.
pub fn through(tx: &Tx<'_>, by: &Principal, policy: &Started<bool>, act: Act, reason: &str) -> Result<Outcome, Problem> {
    by.require(act.kind().permission())?;
    let reason = reason_of(reason)?;
    if is_on(tx, policy)? {
        return ask(tx, by, act, reason).map(|e| Outcome::Asked(Box::new(e)));
    }
    let alone = marked(by, None, by.person.clone(), None);
    perform(tx, &alone, &act, &reason).map(Outcome::Done)
}

/// The same principal, doing what every audit entry shall mark.
pub(super) fn marked(
    by: &Principal,
    id: Option<String>,
    requested_by: Option<PersonId>,
    decided_by: Option<PersonId>,
) -> Principal {
    Principal { exception: Some(ExceptionMark { id, requested_by, decided_by }), ..by.clone() }
}

/// Asks for something that a second person has to agree to.
fn ask(tx: &Tx<'_>, by: &Principal, act: Act, reason: String) -> Result<Exception, Problem> {
    let Some(requested_by) = by.person.clone().filter(|_| is_certain(by)) else {
        return Err(Problem::Forbidden(
            "This needs two people, and with this sign-in nobody can tell who you are. Sign in yourself, or use a \
             token that you made."
                .to_owned(),
        ));
    };
    if let Some(open) = store::find_pending(tx, act.kind(), &act.target())? {
        return Err(Problem::Conflict(format!("It was asked for already and waits for a second person: {}.", open.id)));
    }
    try_out(tx, by, &act, &reason)?;
    let (subject_id, requestor_id) = parties(tx, &act)?;
    let exception = Exception {
        id: tx.new_id(),
        act,
        subject_id,
        requestor_id,
        reason,
        requested_by,
        state: ExceptionState::Pending,
        created_at: tx.now(),
        expires_at: tx.now().plus(Duration::from_secs(3600 * WAITS_HOURS)),
        decided_by: None,
        decided_at: None,
        decision_reason: None,
    };
    let deciders = deciders(tx, &exception)?;
    if deciders.is_empty() {
        return Err(Problem::Conflict(format!(
            "Nobody else may agree to it: somebody with the permission {} is needed who is neither you nor concerned.",
            exception.act.kind().permission().as_str()
        )));
    }
    store::insert_exception(tx, &exception)?;
    let payload = json!({ "exceptionId": exception.id });
    enqueue(tx, JobDraft::at(jobs::EXPIRE_EXCEPTION, payload, exception.expires_at))?;
    record(tx, by, "exception.requested", &exception, Some(exception.reason.clone()))?;
    note_in_run(tx, &exception, "exception.requested", &format!("{} asks: {}", by.name, title(tx, &exception.act)?))?;
    tell(tx, &exception, &deciders, "Please agree or refuse", &format!("{} asks for it: {}", by.name, exception.reason))?;
    let others = concerned(&exception, Some(&exception.requested_by));
    tell(tx, &exception, &others, "Asked for", &format!("{} asks for it: {}", by.name, exception.reason))?;
    Ok(exception)
}

/// What would be refused is refused now, and not when somebody has agreed. Nothing of it stays.
fn try_out(tx: &Tx<'_>, by: &Principal, act: &Act, reason: &str) -> Result<(), Problem> {
    let mut works = false;
    let tried = tx.savepoint(|tx| {
        perform(tx, by, act, reason)?;
        works = true;
        Err::<(), _>(Problem::refused("a trial"))
    })?;
    match tried {
        Err(problem) if !works => Err(problem),
        _ => Ok(()),
    }
}

/// Whom it is about, and who asked for the run.
fn parties(tx: &Tx<'_>, act: &Act) -> Result<(Option<PersonId>, Option<PersonId>), Problem> {
    Ok(match act {
        Act::SkipStep { run_id, .. } | Act::ChangeVariables { run_id, .. } => {
            let run = run_store::get_run(tx, run_id)?;
            (run.subject_id, run.started_by)
        }
        Act::GrantRole { person_id, .. } | Act::AdoptAccount { person_id, .. } => (Some(person_id.clone()), None),
        Act::ExtendAssignment { assignment_id, .. } => {
            (Some(assignments::store::get_assignment(tx, assignment_id)?.person.id), None)
        }
        // Whoever asks and whoever agrees adopt nothing for themselves.
        Act::AdoptAccounts { .. } | Act::PublishWorkflow { .. } | Act::RotateKeys | Act::FourEyesOff => (None, None),
        Act::EraseStates { person_id, .. } => (person_id.clone(), None),
    })
}

/// The people who may agree to it.
pub fn deciders(tx: &Tx<'_>, exception: &Exception) -> Result<Vec<PersonId>, Problem> {
    let permission = exception.act.kind().permission();
    let mut people = Vec::new();
    for role in SystemRole::ALL.into_iter().filter(|r| r.allows(permission)) {
        people.extend(people_with_role(tx, role)?);
    }
    people.sort();
    people.dedup();
    people.retain(|p| !exception.is_party(p));
    let mut others = Vec::with_capacity(people.len());
    for person in people {
        if !may_be_the_same(tx, exception, &person)? {
            others.push(person);
        }
    }
    Ok(others)
}

/// For how many days an account is not somebody else's to the one who made it or gave it a password.
const FRESH_DAYS: u32 = 7;

/// Whether whoever asked made this person's account, or gave it a password, a short while ago: they may be
/// both people.
fn may_be_the_same(tx: &Tx<'_>, exception: &Exception, person: &PersonId) -> Result<bool, Problem> {
    may_be_one_person(tx, &exception.requested_by, person)
}

/// Whether `asked` made the account of `person`, or gave it a password, a short while ago.
pub fn may_be_one_person(tx: &Tx<'_>, asked: &PersonId, person: &PersonId) -> Result<bool, Problem> {
    let Some(account) = find_by_person(tx, person)? else { return Ok(false) };
    let since = tx.now().minus(Duration::from_secs(86_400) * FRESH_DAYS);
    let actions = ["account.created", "account.password_reset"];
    let account = ("account", account.id.as_str());
    audit::store::has_done(tx, account, asked.as_str(), actions, since)
}

/// Those whom it is for, but for one.
fn concerned(exception: &Exception, but: Option<&PersonId>) -> Vec<PersonId> {
    let all = [Some(&exception.requested_by), exception.subject_id.as_ref(), exception.requestor_id.as_ref()];
    all.into_iter().flatten().filter(|p| Some(*p) != but).cloned().collect()
}

fn tell(tx: &Tx<'_>, exception: &Exception, to: &[PersonId], what: &str, body: &str) -> Result<(), Problem> {
    let message = Message {
        subject: format!("{what}: {}", title(tx, &exception.act)?),
        body: body.to_owned(),
        link: Some(format!("/inbox?state=exceptions&id={}", exception.id)),
        kind: "exception",
    };
    notifications::ops::notify(tx, to, message)
}

/// Decides an exception; whoever agrees carries it out.
pub fn decide(tx: &Tx<'_>, by: &Principal, id: &ExceptionId, approve: bool, reason: &str) -> Result<Exception, Problem> {
    let exception = store::get_exception(tx, id)?;
    if exception.state != ExceptionState::Pending {
        return Err(Problem::Conflict(format!("It is {} already.", exception.state.as_str())));
    }
    if tx.now() >= exception.expires_at {
        return Err(Problem::Conflict("Nobody decided in time; it has to be asked for again.".to_owned()));
    }
    if let Some(why) = exception.why_not(by, tx.now()) {
        return Err(Problem::Forbidden(why.to_owned()));
    }
    let person = by.person.clone().ok_or_else(|| Problem::Forbidden("Only people decide.".to_owned()))?;
    if may_be_the_same(tx, &exception, &person)? {
        return Err(Problem::Forbidden(format!(
            "Whoever asked for it made your account or gave you a password within the last {FRESH_DAYS} days; \
             somebody else decides."
        )));
    }
    let reason = reason_of(reason)?;
    let (state, action) = if approve {
        must_still_be_able(tx, &exception)?;
        (ExceptionState::Approved, "exception.approved")
    } else {
        (ExceptionState::Rejected, "exception.rejected")
    };
    if !store::end_exception(tx, id, state, Some(&person), Some(&reason))? {
        return Err(Problem::Conflict("Somebody else decided first.".to_owned()));
    }
    let both = marked(by, Some(id.to_string()), Some(exception.requested_by.clone()), Some(person.clone()));
    record(tx, &both, action, &exception, Some(reason.clone()))?;
    let verdict = if approve { "agrees" } else { "refuses" };
    note_in_run(tx, &exception, action, &format!("{} {verdict}: {reason}", by.name))?;
    if approve {
        perform(tx, &both, &exception.act, &exception.reason)?;
    }
    let mut others = deciders(tx, &exception)?;
    others.extend(concerned(&exception, None));
    others.retain(|p| *p != person);
    tell(tx, &exception, &others, if approve { "Agreed" } else { "Refused" }, &format!("{}: {reason}", by.name))?;
    store::get_exception(tx, id)
}

/// Whoever asked must still be somebody who could.
fn must_still_be_able(tx: &Tx<'_>, exception: &Exception) -> Result<(), Problem> {
    let permission = exception.act.kind().permission();
    let account = find_by_person(tx, &exception.requested_by)?.filter(|a| a.active);
    let may = account.is_some_and(|a| a.roles.iter().any(|r| r.allows(permission)));
    if may && find_person(tx, &exception.requested_by)?.is_some_and(|p| p.active) {
        return Ok(());
    }
    Err(Problem::Conflict("Whoever asked for it may not do it any more. Refuse it.".to_owned()))
}

/// Ends an exception that nobody decided in time; the instant until which it waits when it is not over.
pub fn expire(tx: &Tx<'_>, by: &Principal, id: &ExceptionId) -> Result<Option<Timestamp>, Problem> {
    let exception = store::get_exception(tx, id)?;
    if exception.state != ExceptionState::Pending {
        return Ok(None);
    }
    if tx.now() < exception.expires_at {
        return Ok(Some(exception.expires_at));
    }
    store::end_exception(tx, id, ExceptionState::Expired, None, None)?;
    record(tx, by, "exception.expired", &exception, None)?;
    note_in_run(tx, &exception, "exception.expired", "Nobody agreed in time")?;
    tell(tx, &exception, &concerned(&exception, None), "Nobody decided in time", "Ask for it again if it is still needed.")?;
    Ok(None)
}

/// Does it. Whatever it is done to must be as it was when it was asked for.
fn perform(tx: &Tx<'_>, by: &Principal, act: &Act, reason: &str) -> Result<Done, Problem> {
    Ok(match act {
        Act::SkipStep { run_id, visit, step, outcome } => {
            let skip = Skip { visit: *visit, step: step.clone(), outcome: outcome.clone(), guarded: true };
            Done::Run(Box::new(repair::skip(tx, by, run_id, &skip, reason)?))
        }
        Act::ChangeVariables { run_id, values, before } => {
            Done::Run(Box::new(repair::correct(tx, by, run_id, values, before, reason)?))
        }
        Act::GrantRole { person_id, role_id, starts_at, expires_at, document_ids } => {
            let new = assignments::ops::NewAssignment {
                person: person_id.clone(),
                role: role_id.clone(),
                reason: reason.to_owned(),
                run: None,
                starts_at: starts_at.unwrap_or(tx.now()),
                expires_at: *expires_at,
                documents: document_ids.clone(),
            };
            Done::Assignment(assignments::ops::grant(tx, by, new)?)
        }
        Act::ExtendAssignment { assignment_id, expires_at, before } => {
            if break_glass::store::is_break_glass(tx, assignment_id)? {
                return Err(Problem::Conflict(
                    "Access that somebody took in an emergency is not extended. Ask for the role itself.".to_owned(),
                ));
            }
            if assignments::store::get_assignment(tx, assignment_id)?.expires_at != *before {
                return Err(Problem::Conflict("Its end changed meanwhile. Look at it and ask again.".to_owned()));
            }
            assignments::ops::extend(tx, by, assignment_id, *expires_at, reason)?;
            Done::Assignment(assignment_id.clone())
        }
        Act::AdoptAccount { item_id, person_id, role_id, expires_at } => {
            let terms = adoptions::Terms { role: role_id.clone(), expires_at: *expires_at, reason: reason.to_owned() };
            Done::Assignment(adoptions::adopt_one(tx, by, item_id, person_id, &terms)?)
        }
        Act::AdoptAccounts { plan_id, role_id, expires_at, accounts } => {
            let terms = adoptions::Terms { role: role_id.clone(), expires_at: *expires_at, reason: reason.to_owned() };
            Done::Adopting(adoptions::begin(tx, by, plan_id, &terms, *accounts)?.id)
        }
        Act::PublishWorkflow { workflow_id, definition } => {
            let draft = definitions::store::get_workflow(tx, workflow_id)?;
            if serde_json::to_value(&*draft.definition).map_err(Problem::internal)? != *definition {
                return Err(Problem::Conflict("The draft changed meanwhile. Look at it and ask again.".to_owned()));
            }
            Done::Workflow(Box::new(definitions::ops::publish(tx, by, workflow_id)?))
        }
        Act::RotateKeys => {
            rotation::begin(tx, by)?;
            Done::Rotating
        }
        Act::EraseStates { person_id, entries } => {
            let scopes = erasing::scopes(tx, person_id.as_ref(), entries)?;
            Done::Erasing(erasure::ops::begin(tx, by, scopes, reason)?)
        }
        Act::FourEyesOff => {
            settings::ops::set(tx, by, FOUR_EYES, Some("false"))?;
            Done::Rule
        }
    })
}

/// What it is, in few words.
pub fn title(tx: &Tx<'_>, act: &Act) -> Result<String, Problem> {
    Ok(match act {
        Act::SkipStep { run_id, step, outcome, .. } => {
            let definition = definition_of(tx, run_id)?;
            let name = definition.step(step).map_or(step.as_str(), |s| &s.name);
            format!("pass over “{name}” as {outcome} in {}", definition.name)
        }
        Act::ChangeVariables { run_id, values, .. } => {
            let names: Vec<&str> = values.keys().map(String::as_str).collect();
            format!("correct {} in {}", names.join(", "), definition_of(tx, run_id)?.name)
        }
        Act::GrantRole { person_id, role_id, .. } => {
            let role = crate::features::access::roles::store::get_role(tx, role_id)?;
            format!("grant {} to {}", role.name, get_person(tx, person_id)?.display_name)
        }
        Act::ExtendAssignment { assignment_id, expires_at, .. } => {
            let a = assignments::store::get_assignment(tx, assignment_id)?;
            format!("extend {} of {} until {expires_at}", a.role.name, a.person.display_name)
        }
        Act::AdoptAccount { item_id, person_id, role_id, .. } => {
            let role = crate::features::access::roles::store::get_role(tx, role_id)?;
            let account = items::store::get_item(tx, item_id)?.account;
            format!("adopt the account {account} as {} of {}", role.name, get_person(tx, person_id)?.display_name)
        }
        Act::AdoptAccounts { role_id, accounts, .. } => {
            let role = crate::features::access::roles::store::get_role(tx, role_id)?;
            format!("adopt {accounts} accounts as {}", role.name)
        }
        Act::PublishWorkflow { workflow_id, .. } => {
            // A draft may be gone by the time somebody looks.
            let found = definitions::store::find_workflow(tx, workflow_id)?;
            format!("publish {}", found.map_or_else(|| workflow_id.to_string(), |w| w.definition.name.clone()))
        }
        Act::RotateKeys => "seal the secrets of all connectors under the present key".to_owned(),
        Act::EraseStates { person_id: Some(person), .. } => {
            format!("erase what the audit log keeps of {}", get_person(tx, person)?.display_name)
        }
        Act::EraseStates { entries, .. } => format!("erase what the entries {entries} of the audit log stand for"),
        Act::FourEyesOff => "switch off the rule of the second person".to_owned(),
    })
}

fn definition_of(tx: &Tx<'_>, run: &RunId) -> Result<Arc<definitions::Definition>, Problem> {
    let run = run_store::get_run(tx, run)?;
    Ok(definitions::store::get_workflow(tx, &run.workflow_id)?.definition)
}

/// The kinds that a principal could agree to.
pub fn kinds_of(by: &Principal) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|k| by.can(k.permission())).collect()
}

/// In the run's own story, without counting as progress.
fn note_in_run(tx: &Tx<'_>, exception: &Exception, kind: &'static str, text: &str) -> Result<(), Problem> {
    let Some(id) = exception.act.run_id() else { return Ok(()) };
    let mut run = run_store::get_run(tx, id)?;
    let step = match &exception.act {
        Act::SkipStep { step, .. } => Some(step.as_str()),
        _ => None,
    };
    runs::log_in(tx, &mut run, kind, step, text, &json!({ "exceptionId": exception.id }))?;
    run_store::update_run(tx, &run)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    exception: &Exception,
    reason: Option<String>,
) -> Result<(), Problem> {
    let new = json!({
        "kind": exception.act.kind(), "act": exception.act, "requestedBy": exception.requested_by,
        "subject": exception.subject_id, "askedBecause": exception.reason,
    });
    let entry = Entry {
        action,
        entity: "exception",
        entity_id: exception.id.to_string(),
        reason,
        prev: None,
        new: Some(new),
    };
    audit::append(tx, by, entry)
}
