//! Opening stages and ending approvals, and telling everybody.

use serde_json::{Value, json};

use super::rules::shortfall;
use super::store::{self, Ending};
use super::{Approval, ApprovalState, Seat, escalation, resolve};
use crate::base::access::{Principal, SystemRole};
use crate::base::id::{PersonId, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::notifications::{self, Message};
use crate::features::workflow::engine::{Event, StepError};
use crate::features::workflow::runs::ops as runs;
use crate::features::workflow::runs::{Run, store as run_store};
use crate::platform::store::Tx;

/// The seats of a stage, or why it cannot be opened.
pub(super) fn seats(
    tx: &Tx<'_>,
    run: &Run,
    approval: &Approval,
    stage: u32,
) -> Result<Result<Vec<Seat>, String>, Problem> {
    let named = match resolve::named(tx, run, approval.visit, approval.approvers_of(stage)) {
        Ok(named) => named,
        // What the definition names is not there; a database that is out is another matter.
        Err(problem) if (400..500).contains(&problem.status()) => return Ok(Err(problem.to_string())),
        Err(problem) => return Err(problem),
    };
    let seats = resolve::seats(tx, stage, &named, &resolve::barred(run, Some(approval)))?;
    let able = u32::try_from(seats.len()).unwrap_or(u32::MAX);
    if let Some(why) = shortfall(approval.need_of(stage), able) {
        return Ok(Err(why));
    }
    Ok(match resolve::only_publisher(tx, run, approval, seats.iter().map(|s| &s.person))? {
        Some(why) => Err(format!("Nobody can decide: {why}")),
        None => Ok(seats),
    })
}

/// A seat as the audit log has it.
pub(super) fn seat_state(seat: &Seat) -> Value {
    if seat.on_behalf_of.is_empty() {
        json!(seat.person)
    } else {
        json!({ "person": seat.person, "onBehalfOf": seat.on_behalf_of })
    }
}

/// Who decides on behalf of others, as the run's events have it: text and data.
pub(super) fn stand_ins(
    tx: &Tx<'_>,
    approval: &Approval,
    seats: &[Seat],
) -> Result<Vec<(String, Value)>, Problem> {
    let others = seats.iter().filter(|s| !s.on_behalf_of.is_empty());
    others
        .map(|seat| {
            let data =
                json!({ "approvalId": approval.id, "person": seat.person, "onBehalfOf": seat.on_behalf_of });
            Ok((format!("{} decides", resolve::called(tx, seat)?), data))
        })
        .collect()
}

/// Asks those who have a seat to decide.
pub(super) fn invite(tx: &Tx<'_>, approval: &Approval, seats: &[Seat]) -> Result<(), Problem> {
    for seat in seats {
        let mut body = approval.config.description.clone();
        if !seat.on_behalf_of.is_empty() {
            let line = format!("You decide as {}.", resolve::called(tx, seat)?);
            body = if body.is_empty() { line } else { format!("{body}\n\n{line}") };
        }
        let subject = format!("Please decide: {}", approval.config.title);
        tell(tx, approval, std::slice::from_ref(&seat.person), subject, body)?;
    }
    Ok(())
}

/// Tells people something about an approval.
pub(super) fn tell(
    tx: &Tx<'_>,
    approval: &Approval,
    to: &[PersonId],
    subject: String,
    body: String,
) -> Result<(), Problem> {
    let link = Some(format!("/inbox?id={}", approval.id));
    notifications::ops::notify(tx, to, Message { subject, body, link, kind: "approval" })
}

/// Tells those whose request it is.
pub(super) fn tell_parties(
    tx: &Tx<'_>,
    approval: &Approval,
    subject: String,
    body: String,
) -> Result<(), Problem> {
    let link = Some(format!("/runs/{}", approval.run_id));
    notifications::ops::notify(tx, &approval.parties(), Message { subject, body, link, kind: "approval" })
}

/// Tells administrators that an approval cannot go on as it is.
pub(super) fn tell_administrators(tx: &Tx<'_>, run: &Run, title: &str, why: &str) -> Result<(), Problem> {
    let message = Message {
        subject: format!("It cannot be decided: {title}"),
        body: why.to_owned(),
        link: Some(format!("/runs/{}", run.id)),
        kind: "approval",
    };
    notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message)
}

/// Writes an event into the run of an approval that stays where it is.
pub(super) fn note(
    tx: &Tx<'_>,
    approval: &Approval,
    kind: &str,
    text: &str,
    mut data: Value,
) -> Result<(), Problem> {
    data["approvalId"] = json!(approval.id);
    let mut run = run_store::get_run(tx, &approval.run_id)?;
    runs::log(tx, &mut run, approval.visit, kind, text, &data)?;
    run_store::update_run(tx, &run)
}

/// Writes an audit entry.
pub(super) fn record(
    tx: &Tx<'_>,
    by: &Principal,
    approval: &Approval,
    action: &'static str,
    reason: Option<&str>,
    states: (Option<Value>, Value),
) -> Result<(), Problem> {
    let (prev, new) = states;
    let entry = Entry {
        action,
        entity: "approval",
        entity_id: approval.id.to_string(),
        reason: reason.map(str::to_owned),
        prev,
        new: Some(new),
    };
    audit::append(tx, by, entry)
}

/// The stage is passed: the next one opens, or nobody can decide in it and the step fails.
pub(super) fn next_stage(tx: &Tx<'_>, by: &Principal, approval: &Approval) -> Result<(), Problem> {
    escalation::clear(tx, &approval.id)?;
    let title = &approval.config.title;
    let left: Vec<PersonId> = approval.open_seats().map(|s| s.person.clone()).collect();
    tell(
        tx,
        approval,
        &left,
        format!("Decided: {title}"),
        "Others decided; there is nothing left for you to do.".to_owned(),
    )?;
    let (passed, all) = (approval.stage, approval.stages());
    let stage = passed + 1;
    let run = run_store::get_run(tx, &approval.run_id)?;
    let seats = match seats(tx, &run, approval, stage)? {
        Ok(seats) => seats,
        Err(why) => {
            tell_administrators(tx, &run, title, &why)?;
            return fail(tx, by, approval, "nobody_can_decide", &why);
        }
    };
    store::set_stage(tx, &approval.id, stage)?;
    seats.iter().try_for_each(|seat| store::put_seat(tx, &approval.id, seat))?;
    let opened = store::get_approval(tx, &approval.id)?;
    escalation::set(tx, &opened)?;
    invite(tx, &opened, &seats)?;
    let names = resolve::names(tx, seats.iter().map(|s| &s.person))?;
    let text = format!(
        "Stage {passed} of {all} is passed; now {names} decide{}",
        if seats.len() == 1 { "s" } else { "" }
    );
    tell_parties(tx, &opened, format!("Stage {passed} of {all} is passed: {title}"), format!("{text}."))?;
    let people: Vec<&PersonId> = seats.iter().map(|s| &s.person).collect();
    let states: Vec<Value> = seats.iter().map(seat_state).collect();
    note(tx, &opened, "approval.stage_opened", &text, json!({ "stage": stage, "approvers": people }))?;
    stand_ins(tx, &opened, &seats)?
        .iter()
        .try_for_each(|(text, data)| note(tx, &opened, "approval.stands_in", text, data.clone()))?;
    let new = json!({ "stage": stage, "approvers": states });
    record(tx, by, &opened, "approval.stage_opened", None, (Some(json!({ "stage": passed })), new))
}

/// Who ended an approval.
#[derive(Debug, Clone, Copy)]
pub(super) enum EndedBy<'a> {
    /// The holder of a seat.
    Seat(&'a Seat),
    /// The escalation: nobody had decided.
    Escalation,
}

/// The approval is decided: everybody learns it and the run goes on.
pub(super) fn decided(
    tx: &Tx<'_>,
    by: &Principal,
    approval: &Approval,
    approved: bool,
    reason: Option<&str>,
    ended_by: EndedBy<'_>,
) -> Result<(), Problem> {
    let (state, outcome) =
        if approved { (ApprovalState::Approved, "approved") } else { (ApprovalState::Rejected, "rejected") };
    let (person, who) = match ended_by {
        EndedBy::Seat(seat) => (Some(&seat.person), resolve::called(tx, seat)?),
        EndedBy::Escalation => (None, "Tenure, because nobody decided in time".to_owned()),
    };
    let by_escalation = person.is_none();
    if !store::end(tx, &approval.id, &Ending { state, by: person, by_escalation, reason })? {
        return Err(Problem::Conflict("Somebody else decided first.".to_owned()));
    }
    escalation::clear(tx, &approval.id)?;
    let ended = store::get_approval(tx, &approval.id)?;
    let behalf: &[PersonId] = match ended_by {
        EndedBy::Seat(seat) => &seat.on_behalf_of,
        EndedBy::Escalation => &[],
    };
    let mut new = json!({ "state": state, "run": approval.run_id, "onBehalfOf": behalf, "votes": votes(&ended) });
    let mut output =
        json!({ "approvalId": approval.id, "decidedBy": person, "onBehalfOf": behalf, "reason": reason });
    if by_escalation {
        for value in [&mut new, &mut output] {
            value["byEscalation"] = json!(true);
        }
    }
    if ended.exception {
        for value in [&mut new, &mut output] {
            value["exception"] = json!(true);
        }
    }
    record(tx, by, &ended, "approval.decided", reason, (Some(json!({ "state": "pending" })), new))?;
    tell_of_the_end(tx, &ended, person, &format!("It was {outcome} by {who}"))?;
    runs::apply_decided(tx, by, &approval.run_id, approval.visit, outcome, output, &who).map(drop)
}

fn votes(approval: &Approval) -> Vec<Value> {
    approval
        .votes
        .iter()
        .map(|v| json!({ "person": v.person, "stage": v.stage, "approves": v.approves, "at": v.at }))
        .collect()
}

/// Approvers learn that there is nothing left to do, requestor and subject how it ended.
fn tell_of_the_end(
    tx: &Tx<'_>,
    approval: &Approval,
    decided: Option<&PersonId>,
    text: &str,
) -> Result<(), Problem> {
    let subject = format!("Decided: {}", approval.config.title);
    let open: Vec<PersonId> = approval.open_seats().map(|s| s.person.clone()).collect();
    tell(tx, approval, &open, subject.clone(), format!("{text}; there is nothing left for you to do."))?;
    let voted: Vec<PersonId> =
        approval.votes.iter().map(|v| &v.person).filter(|p| Some(*p) != decided).cloned().collect();
    tell(tx, approval, &voted, subject.clone(), format!("{text}."))?;
    let why = approval.reason.as_deref().map_or_else(String::new, |r| format!("\n\n{r}"));
    tell_parties(tx, approval, subject, format!("{text}.{why}"))
}

/// The step fails: nobody can decide, or nobody did in time.
pub(super) fn fail(
    tx: &Tx<'_>,
    by: &Principal,
    approval: &Approval,
    code: &str,
    why: &str,
) -> Result<(), Problem> {
    let by_escalation = code == "nobody_decided";
    let ending = Ending { state: ApprovalState::Failed, by: None, by_escalation, reason: Some(why) };
    if !store::end(tx, &approval.id, &ending)? {
        return Err(Problem::Conflict("Somebody else decided first.".to_owned()));
    }
    escalation::clear(tx, &approval.id)?;
    let ended = store::get_approval(tx, &approval.id)?;
    let new = json!({ "state": ended.state, "run": ended.run_id, "byEscalation": by_escalation, "votes": votes(&ended) });
    record(tx, by, &ended, "approval.failed", Some(why), (Some(json!({ "state": "pending" })), new))?;
    tell_of_the_end(tx, &ended, None, "It ended without a decision")?;
    note(tx, &ended, "approval.failed", why, json!({ "code": code }))?;
    let failed = Event::Failed { visit: ended.visit, error: StepError::new(code, why), retryable: false };
    runs::apply(tx, by, &ended.run_id, failed).map(drop)
}

/// Closes an approval that is not needed any more, and tells those who would have decided. Its run is in
/// the middle of a change and is left alone.
pub(super) fn close(tx: &Tx<'_>, by: &Principal, approval: &Approval) -> Result<(), Problem> {
    if approval.state != ApprovalState::Pending {
        return Ok(());
    }
    store::cancel(tx, &approval.id)?;
    escalation::clear(tx, &approval.id)?;
    let new = json!({ "state": ApprovalState::Cancelled, "run": approval.run_id });
    record(tx, by, approval, "approval.cancelled", None, (Some(json!({ "state": "pending" })), new))?;
    let open: Vec<PersonId> = approval.open_seats().map(|s| s.person.clone()).collect();
    let subject = format!("Not needed any more: {}", approval.config.title);
    let body = format!("The run {} does not wait for a decision any more.", approval.run_id.as_str());
    tell(tx, approval, &open, subject, body)
}
