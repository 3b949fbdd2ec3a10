//! Opening approvals and deciding them.

use std::time::Duration;

use serde_json::json;

use super::rules::{Verdict, verdict};
use super::stages::{self, EndedBy};
use super::{Approval, ApprovalState, MAX_TEXT, Seat, Vote, escalation, resolve, store};
use crate::base::access::Principal;
use crate::base::id::{ApprovalId, PersonId, RunId};
use crate::base::problem::Problem;
use crate::features::settings::{self, ReasonPolicy};
use crate::features::workflow::definitions::{self, ApprovalConfig};
use crate::features::workflow::engine::{Event, StepError, Wait};
use crate::features::workflow::runs::ops::log;
use crate::features::workflow::runs::{Run, effects, store as run_store};
use crate::platform::store::Tx;

/// Opens an approval and tells those who may decide. If the people there cannot meet its rule, the step
/// fails and an administrator is told.
pub fn open(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &ApprovalConfig,
) -> Result<Event, Problem> {
    let role_id = config.role.as_deref().map(|text| effects::find_role(tx, text)).transpose()?.map(|r| r.id);
    let mut approval = Approval {
        id: tx.new_id(),
        run_id: run.id.clone(),
        visit,
        step_name: step_name(tx, run, visit)?,
        config: config.clone(),
        state: ApprovalState::Pending,
        subject_id: run.subject_id.clone(),
        requested_by: run.started_by.clone(),
        role_id,
        stage: 1,
        stage_opened_at: tx.now(),
        created_at: tx.now(),
        due_at: config.due_hours.map(|h| tx.now().plus(Duration::from_secs(3600 * u64::from(h)))),
        decided_at: None,
        decided_by: None,
        by_escalation: false,
        exception: false,
        reason: None,
        seats: Vec::new(),
        votes: Vec::new(),
        barred: store::list_barred(tx, &run.id)?,
    };
    approval.seats = match stages::seats(tx, run, &approval, 1)? {
        Ok(seats) => seats,
        Err(why) => {
            stages::tell_administrators(tx, run, &config.title, &why)?;
            log(tx, run, visit, "approval.failed", &why, &json!({ "code": "nobody_can_decide" }))?;
            let error = StepError::new("nobody_can_decide", why);
            return Ok(Event::Failed { visit, error, retryable: false });
        }
    };
    store::insert_approval(tx, &approval)?;
    escalation::set(tx, &approval)?;
    stages::invite(tx, &approval, &approval.seats)?;
    let approvers: Vec<&PersonId> = approval.seats.iter().map(|s| &s.person).collect();
    let data =
        json!({ "approvalId": approval.id, "approvers": approvers, "stage": 1, "stages": approval.stages() });
    log(tx, run, visit, "approval.opened", &config.title, &data)?;
    for (text, data) in stages::stand_ins(tx, &approval, &approval.seats)? {
        log(tx, run, visit, "approval.stands_in", &text, &data)?;
    }
    let new = json!({ "run": run.id, "title": config.title, "pattern": config.pattern, "dueAt": approval.due_at,
                      "approvers": approval.seats.iter().map(stages::seat_state).collect::<Vec<_>>() });
    stages::record(tx, by, &approval, "approval.opened", None, (None, new))?;
    Ok(Event::Waits { visit, wait: Wait::Approval { id: approval.id.to_string() } })
}

fn step_name(tx: &Tx<'_>, run: &Run, visit: u32) -> Result<String, Problem> {
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let at = run.state.token(visit).map(|t| t.step.as_str()).unwrap_or_default();
    Ok(workflow.definition.step(at).map(|s| s.name.clone()).unwrap_or_default())
}

/// An error unless the principal may decide now; who they are.
pub(super) fn decider(tx: &Tx<'_>, by: &Principal, approval: &Approval) -> Result<PersonId, Problem> {
    if approval.state != ApprovalState::Pending {
        return Err(Problem::Conflict(format!("It is {} already.", approval.state.as_str())));
    }
    let person = by.person.clone().ok_or_else(|| Problem::Forbidden("Only people decide.".to_owned()))?;
    if !approval.is_party(&person) && approval.vote_of(&person).is_some() {
        return Err(Problem::Conflict("You have decided; it waits for others.".to_owned()));
    }
    if let Some(why) = approval.why_not(by) {
        return Err(Problem::Forbidden(why.to_owned()));
    }
    // The run may be about somebody else since the approval was opened.
    if run_store::get_run(tx, &approval.run_id)?.subject_id.as_ref() == Some(&person) {
        return Err(Problem::Forbidden("It is about you; somebody else decides.".to_owned()));
    }
    Ok(person)
}

/// Why nobody who has a seat may decide alone; nothing when they may.
pub(super) fn why_alone(tx: &Tx<'_>, approval: &Approval) -> Result<Option<&'static str>, Problem> {
    let run = run_store::get_run(tx, &approval.run_id)?;
    let holders = approval.seats.iter().filter(|s| s.stage == approval.stage && s.left_at.is_none());
    resolve::only_publisher(tx, &run, approval, holders.map(|s| &s.person))
}

/// A text that is not empty and not too long.
pub(super) fn text<'a>(field: &str, given: &'a str) -> Result<&'a str, Problem> {
    let given = given.trim();
    if given.is_empty() || given.chars().count() > MAX_TEXT {
        return Err(Problem::field(field, format!("expected 1 to {MAX_TEXT} characters")));
    }
    Ok(given)
}

/// Takes a vote and, when it is the last one that is needed, carries the run on, in one transaction.
pub fn decide(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ApprovalId,
    approve: bool,
    reason: Option<&str>,
) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let reason = reason.map(str::trim).filter(|r| !r.is_empty());
    let person = decider(tx, by, &approval)?;
    if let Some(why) = why_alone(tx, &approval)? {
        return Err(Problem::Forbidden(why.to_owned()));
    }
    if reason.is_none() && !approve {
        return Err(Problem::field("reason", "a rejection needs a reason"));
    }
    if reason.is_none() && settings::ops::reason_policy(tx)?.value == ReasonPolicy::Both {
        return Err(Problem::field("reason", "an approval needs a reason, too"));
    }
    let reason = reason.map(|r| text("reason", r)).transpose()?;
    let vote = Vote {
        stage: approval.stage,
        person: person.clone(),
        approves: approve,
        reason: reason.map(str::to_owned),
        at: tx.now(),
    };
    if !store::insert_vote(tx, id, &vote)? {
        return Err(Problem::Conflict("You have decided; it waits for others.".to_owned()));
    }
    let approval = store::get_approval(tx, id)?;
    let seat = approval.seat_of(&person).ok_or_else(|| Problem::internal("a vote without a seat"))?;
    let ended_by = EndedBy::Seat(seat);
    match verdict(approval.need_of(approval.stage), approval.tally()) {
        Verdict::Open => voted(tx, by, &approval, seat, &vote)?,
        Verdict::Rejected => stages::decided(tx, by, &approval, false, reason, ended_by)?,
        Verdict::Approved if approval.stage < approval.stages() => {
            voted(tx, by, &approval, seat, &vote)?;
            stages::next_stage(tx, by, &approval)?;
        }
        Verdict::Approved => stages::decided(tx, by, &approval, true, reason, ended_by)?,
    }
    store::get_approval(tx, id)
}

/// Writes down a vote that does not end the approval.
fn voted(tx: &Tx<'_>, by: &Principal, approval: &Approval, seat: &Seat, vote: &Vote) -> Result<(), Problem> {
    let verb = if vote.approves { "approved" } else { "rejected" };
    let text = format!("{} {verb}", resolve::called(tx, seat)?);
    let data =
        json!({ "person": seat.person, "onBehalfOf": seat.on_behalf_of, "decision": verb, "stage": vote.stage });
    stages::note(tx, approval, "approval.voted", &text, data.clone())?;
    stages::record(tx, by, approval, "approval.voted", vote.reason.as_deref(), (None, data))
}

/// Closes an approval whose step is over without it.
pub fn withdraw(tx: &Tx<'_>, by: &Principal, id: &ApprovalId) -> Result<(), Problem> {
    stages::close(tx, by, &store::get_approval(tx, id)?)
}

/// Closes the approvals of a run that has ended.
pub fn cancel_open(tx: &Tx<'_>, by: &Principal, run: &RunId) -> Result<(), Problem> {
    store::list_open(tx, run)?.iter().try_for_each(|approval| stages::close(tx, by, approval))
}
