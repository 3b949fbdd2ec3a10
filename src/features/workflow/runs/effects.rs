//! Doing what a step asks for, as far as it can be done inside the transaction.
//!
//! What calls another system is left to the `advance-run` job: its intent is the run's own state.

use std::time::Duration;

use serde_json::{Value, json};

use super::ops::{self, find_person, log, log_in, person_of};
use super::{Beginning, Parent, Run, RunStatus, people, signals, store};
use crate::base::access::Principal;
use crate::base::id::{PersonId, RoleId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::features::access::assignments::store::AssignmentFilter;
use crate::features::access::assignments::{self, EndReason};
use crate::features::access::documents;
use crate::features::access::roles::{self, Role};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::identity::people::store::group_members;
use crate::features::notifications::{self, Message};
use crate::features::workflow::definitions::{
    self, Action, DocumentRequestConfig, MAX_DAYS, NotificationConfig, Recipient, RoleGrantConfig, RoleRevokeConfig,
    SubworkflowConfig,
};
use crate::features::workflow::engine::{Event, StepError, Wait};
use crate::features::workflow::{approvals, links, tasks};
use crate::platform::store::Tx;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Does the step's action; answers what the engine is to be told now, if anything.
pub(super) fn perform(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    attempt: u32,
    action: Action,
) -> Result<Option<Event>, Problem> {
    if action.calls_out() {
        return request_call(tx, run, visit, attempt, &action).map(|()| None);
    }
    if run.mock && action.changes_people() {
        log(tx, run, visit, "effect.pretended", &format!("{} is only pretended", action.kind()), &json!({ "visit": visit }))?;
        return Ok(Some(done(visit, json!({ "mocked": true }))));
    }
    let before = run.clone();
    // What a refused step wrote before the refusal goes with it.
    let result = tx.savepoint(|tx| match &action {
        Action::Approval(config) => approvals::ops::open(tx, by, run, visit, config),
        Action::Task(config) => tasks::ops::open(tx, by, run, visit, config),
        Action::Consent(config) => tasks::ops::ask_consent(tx, by, run, visit, config),
        Action::Invitation(config) => links::ops::invite(tx, by, run, visit, config),
        Action::VerifyContact(config) => links::ops::verify(tx, by, run, visit, config),
        Action::DocumentRequest(config) => request_document(tx, run, visit, config),
        Action::Notification(config) => notify(tx, run, visit, config),
        Action::RoleGrant(config) => grant(tx, by, run, visit, config),
        Action::RoleRevoke(config) => revoke(tx, by, run, visit, config),
        Action::UserCreate(config) => people::create(tx, by, run, visit, config),
        Action::ProfileUpdate(config) => people::update(tx, by, run, visit, config),
        Action::IdentityLink(config) => people::link(tx, by, run, visit, config),
        Action::WebhookWait(config) => signals::wait(tx, run, visit, config),
        Action::Subworkflow(config) => subworkflow(tx, by, run, visit, config),
        other => Err(Problem::internal(format!("the engine asked for {}, which it computes by itself", other.kind()))),
    })?;
    match result {
        Ok(event) => Ok(Some(event)),
        // A rule that refuses is the step's failure; a database that is out is not.
        Err(problem) if (400..500).contains(&problem.status()) => {
            *run = before;
            Ok(Some(failed(visit, &problem)))
        }
        Err(problem) => Err(problem),
    }
}

/// The intent of what a job does outside of the transaction.
fn request_call(tx: &Tx<'_>, run: &mut Run, visit: u32, attempt: u32, action: &Action) -> Result<(), Problem> {
    let (text, data) = match action {
        Action::Connector(c) => (
            format!("{} on {}", c.command, c.connector),
            json!({ "visit": visit, "attempt": attempt, "connector": c.connector, "command": c.command }),
        ),
        Action::Http(c) => (
            format!("{} {}", c.method, c.url.split('?').next().unwrap_or_default()),
            json!({ "visit": visit, "attempt": attempt, "method": c.method }),
        ),
        // A transform touches nothing outside.
        _ => return Ok(()),
    };
    log(tx, run, visit, "effect.requested", &text, &data)
}

/// Takes back what people were asked for.
pub(super) fn withdraw_from_people(tx: &Tx<'_>, by: &Principal, wait: &Wait) -> Result<(), Problem> {
    match wait {
        Wait::Task { id } => tasks::ops::withdraw(tx, by, &TypedId::from_stored(id.clone())),
        Wait::Link { id } => links::ops::withdraw(tx, by, &TypedId::from_stored(id.clone())),
        _ => Ok(()),
    }
}

/// Runs inside of runs, at most.
const MAX_DEPTH: u32 = 10;

fn subworkflow(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &SubworkflowConfig,
) -> Result<Event, Problem> {
    if run.depth >= MAX_DEPTH {
        return Err(Problem::refused(format!("A run inside {MAX_DEPTH} others starts no further one.")));
    }
    let workflow = definitions::store::find_active(tx, &config.workflow)?
        .ok_or_else(|| Problem::refused(format!("There is no active workflow {}.", config.workflow)))?;
    let subject = match &config.subject {
        Some(text) => Some(find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))?),
        None => run.subject_id.clone(),
    };
    let parent = Parent { run: run.id.clone(), started_by: run.started_by.clone(), depth: run.depth, mock: run.mock };
    let inner = ops::start_inside(tx, by, &workflow.id, Beginning { subject, input: config.input.clone(), mock: run.mock }, Some(&parent))?;
    let data = json!({ "visit": visit, "runId": inner.id });
    log(tx, run, visit, "run.inside_started", &format!("{} began", workflow.definition.name), &data)?;
    if !config.wait {
        return Ok(done(visit, json!({ "runId": inner.id })));
    }
    match run_ended(tx, visit, &inner.id)? {
        Some(event) => Ok(event),
        None => Ok(Event::Waits { visit, wait: Wait::Run { id: inner.id.to_string() } }),
    }
}

/// The event for a run that has ended.
pub(super) fn run_ended(tx: &Tx<'_>, visit: u32, id: &RunId) -> Result<Option<Event>, Problem> {
    let run = store::get_run(tx, id)?;
    Ok(match run.status {
        RunStatus::Completed => Some(done(visit, json!({ "runId": id, "variables": run.state.vars }))),
        RunStatus::Failed | RunStatus::Cancelled => {
            let why = run.reason.unwrap_or_default();
            let message = format!("The run inside it is {}: {why}", run.status.as_str());
            Some(Event::Failed { visit, error: StepError::new("inside", message), retryable: false })
        }
        _ => None,
    })
}

/// The event for a run that is being undone with the one that it is part of.
pub(super) fn run_undone(visit: u32, run: &Run) -> Option<Event> {
    if !run.status.is_over() {
        return None;
    }
    let left = run.state.undoing.as_ref().map_or(&[][..], |u| &u.failed);
    Some(if left.is_empty() {
        done(visit, json!({ "runId": run.id }))
    } else {
        let message = format!("Of the run inside it this could not be undone: {}.", left.join(", "));
        Event::Failed { visit, error: StepError::new("inside", message), retryable: false }
    })
}

fn failed(visit: u32, problem: &Problem) -> Event {
    let error = StepError { message: problem.to_string(), code: "refused".to_owned() };
    Event::Failed { visit, error, retryable: false }
}

pub(super) fn done(visit: u32, output: Value) -> Event {
    Event::Finished { visit, outcome: "success".to_owned(), output }
}

/// The event for a live document, if there is one.
pub(super) fn document_found(
    tx: &Tx<'_>,
    visit: u32,
    person: &PersonId,
    kind: &str,
) -> Result<Option<Event>, Problem> {
    let found = documents::store::find_live_document(tx, person, kind, tx.now())?;
    Ok(found.map(|d| done(visit, json!({ "documentId": d.id, "expiresAt": d.expires_at }))))
}

fn request_document(tx: &Tx<'_>, run: &Run, visit: u32, config: &DocumentRequestConfig) -> Result<Event, Problem> {
    let person = person_of(run, config.person)?;
    if let Some(event) = document_found(tx, visit, &person, &config.kind)? {
        return Ok(event);
    }
    documents::ops::wait_for(tx, &run.id, &person, &config.kind)?;
    let title = documents::title(&config.kind);
    let message = Message {
        subject: format!("A document is needed: {title}"),
        body: format!("Your request waits until you hand in a valid document “{title}” and it is approved."),
        link: Some(format!("/runs/{}", run.id)),
        kind: "document_request",
    };
    notifications::ops::notify(tx, std::slice::from_ref(&person), message)?;
    let wait = Wait::Document { document_type: config.kind.clone(), person: person.to_string() };
    Ok(Event::Waits { visit, wait })
}

fn notify(tx: &Tx<'_>, run: &mut Run, visit: u32, config: &NotificationConfig) -> Result<Event, Problem> {
    let mut to: Vec<PersonId> = Vec::new();
    for recipient in &config.to {
        match recipient {
            Recipient::Who(who) => to.push(person_of(run, *who)?),
            Recipient::Person(text) => {
                to.push(find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))?);
            }
            Recipient::Group(name) => to.extend(group_members(tx, name)?),
            Recipient::SystemRole(role) => to.extend(people_with_role(tx, *role)?),
        }
    }
    to.sort();
    to.dedup();
    let message = Message {
        subject: config.subject.clone(),
        body: config.body.clone(),
        link: Some(format!("/runs/{}", run.id)),
        kind: "workflow",
    };
    notifications::ops::notify(tx, &to, message)?;
    Ok(done(visit, json!({ "told": to.len() })))
}

/// How long a grant lasts by the step's own settings, at most ten years.
fn duration(config: &RoleGrantConfig) -> Result<Option<Duration>, Problem> {
    let (field, count, unit, most) = match (&config.duration_days, &config.duration_hours) {
        (None, None) => return Ok(None),
        (Some(days), None) => ("durationDays", days, DAY, MAX_DAYS),
        (None, Some(hours)) => ("durationHours", hours, HOUR, 24 * MAX_DAYS),
        (Some(_), Some(_)) => {
            return Err(Problem::refused("durationHours: expected either durationDays or durationHours, not both."));
        }
    };
    let number = count.number().map_err(|why| Problem::refused(format!("{field}: {why}.")))?;
    match u32::try_from(number) {
        Ok(number) if (1..=most).contains(&u64::from(number)) => Ok(Some(unit * number)),
        _ => Err(Problem::refused(format!("{field}: got {number}; expected 1 to {most}."))),
    }
}

/// A role by id or by name.
pub(crate) fn find_role(tx: &Tx<'_>, text: &str) -> Result<Role, Problem> {
    if text.parse::<RoleId>().is_ok() {
        return roles::store::get_role(tx, &RoleId::from_stored(text.to_owned()));
    }
    roles::store::find_by_name(tx, text)?.ok_or_else(|| Problem::missing("role", text))
}

fn grant(tx: &Tx<'_>, by: &Principal, run: &mut Run, visit: u32, config: &RoleGrantConfig) -> Result<Event, Problem> {
    let role = find_role(tx, &config.role)?;
    let person = person_of(run, config.person)?;
    let mut evidence = Vec::new();
    for kind in &config.documents {
        let document = documents::store::find_live_document(tx, &person, kind, tx.now())?;
        evidence.push(document.ok_or_else(|| Problem::refused(format!("There is no valid document “{}”.", documents::title(kind))))?.id);
    }
    let lasts = duration(config)?.or(role.default_duration_days.map(|days| DAY * days));
    let id = assignments::ops::grant(
        tx,
        by,
        assignments::ops::NewAssignment {
            person,
            role: role.id,
            reason: config.reason.clone(),
            run: Some(run.id.clone()),
            starts_at: tx.now(),
            // The clock of a granted duration starts at the grant, not at the request.
            expires_at: lasts.map(|time| tx.now().plus(time)),
            documents: evidence,
        },
    )?;
    log(tx, run, visit, "effect.requested", &format!("{} is being set up", role.name), &json!({ "visit": visit, "assignmentId": id }))?;
    if let Some(event) = assignment_settled(tx, visit, id.as_str())? {
        return Ok(event);
    }
    Ok(Event::Waits { visit, wait: Wait::Assignment { id: id.to_string() } })
}

/// The event for an assignment that is set up, or that could not be.
pub(super) fn assignment_settled(tx: &Tx<'_>, visit: u32, id: &str) -> Result<Option<Event>, Problem> {
    use assignments::AssignmentState as S;
    let id = crate::base::id::AssignmentId::from_stored(id.to_owned());
    let assignment = assignments::store::get_assignment(tx, &id)?;
    Ok(match assignment.state {
        S::Scheduled | S::Provisioning => None,
        S::Active => Some(done(visit, json!({ "assignmentId": id, "expiresAt": assignment.expires_at }))),
        other => {
            let message = format!("The access could not be set up completely ({}).", other.as_str());
            let error = StepError { message, code: other.as_str().to_owned() };
            Some(Event::Failed { visit, error, retryable: false })
        }
    })
}

/// Writes down how access turned out that was being set up when its run failed or was cancelled, and
/// takes it back. Access that the run knew of before it ended is not touched.
pub(super) fn take_back_late(tx: &Tx<'_>, by: &Principal, mut run: Run) -> Result<(), Problem> {
    use assignments::AssignmentState as S;
    let before = run.events;
    for (visit, step, id) in store::list_requested_assignments(tx, &run.id)? {
        let assignment = assignments::store::get_assignment(tx, &id)?;
        let outcome = match assignment.state {
            S::Active => "was set up",
            S::PartiallyProvisioned => "could not be set up completely",
            _ => continue,
        };
        if store::knew_outcome(tx, &run.id, visit, assignment.state.as_str())? {
            continue;
        }
        let text = format!("{} {outcome} after the run had ended; it is taken back", assignment.role.name);
        let data = json!({ "visit": visit, "assignmentId": id, "state": assignment.state });
        log_in(tx, &mut run, "effect.late", Some(&step), &text, &data)?;
        assignments::ops::revoke(tx, by, &id, EndReason::RunCompensated(run.id.clone()))?;
    }
    if run.events == before { Ok(()) } else { store::update_run(tx, &run) }
}

fn revoke(tx: &Tx<'_>, by: &Principal, run: &mut Run, visit: u32, config: &RoleRevokeConfig) -> Result<Event, Problem> {
    let role = find_role(tx, &config.role)?;
    let person = person_of(run, config.person)?;
    let filter = AssignmentFilter { person: Some(person), role: Some(role.id), ..AssignmentFilter::default() };
    let mut ended = Vec::new();
    for assignment in assignments::store::list_assignments(tx, &filter, None, 200)? {
        if assignment.state.is_live() {
            assignments::ops::revoke(tx, by, &assignment.id, EndReason::Revoked(config.reason.clone()))?;
            ended.push(assignment.id);
        }
    }
    Ok(done(visit, json!({ "revoked": ended })))
}
