//! What happens while nobody decides: reminders, somebody else, the last word.
//!
//! A rung is a row with a delayed job, made in the transaction that opens the stage. What ends the stage
//! takes the jobs back; one that comes all the same finds its rung over and does nothing.
//!
//! # Invariants
//! - A rung is carried out once, not before its instant, and never after its stage is over.
//! - What the escalation approves is marked as an exception.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::rules::{MAX_HOPS, Tally, Verdict, verdict};
use super::stages::{self, EndedBy};
use super::{Approval, ApprovalState, Rung, RungKind, Seat, resolve, store, turns};
use crate::base::access::Principal;
use crate::base::id::{ApprovalId, PersonId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::store::get_person;
use crate::features::workflow::definitions::LastAction;
use crate::features::workflow::runs::store as run_store;
use crate::platform::queue::{JobDraft, cancel, enqueue, names};
use crate::platform::store::Tx;

/// Makes the rungs of the open stage.
pub(super) fn set(tx: &Tx<'_>, approval: &Approval) -> Result<(), Problem> {
    let Some(config) = &approval.config.escalation else { return Ok(()) };
    let reminders: BTreeSet<u32> = config.remind_after_minutes.iter().copied().collect();
    let rungs = reminders
        .into_iter()
        .map(|minutes| (RungKind::Remind, minutes))
        .chain(config.reassign.iter().map(|r| (RungKind::Reassign, r.after_minutes)))
        .chain(config.last.iter().map(|l| (RungKind::Last, l.after_minutes)));
    let mut level = store::list_rungs(tx, &approval.id)?.last().map_or(0, |r| r.level);
    for (kind, minutes) in rungs {
        level += 1;
        let due_at = approval.stage_opened_at.plus(Duration::from_secs(60 * u64::from(minutes)));
        let payload = json!({ "approvalId": approval.id, "level": level });
        let job = enqueue(tx, JobDraft::at(job_of(kind), payload, due_at))?;
        store::insert_rung(tx, &approval.id, level, approval.stage, (kind, due_at), &job)?;
    }
    Ok(())
}

/// The job that carries out such a rung.
fn job_of(kind: RungKind) -> &'static str {
    match kind {
        RungKind::Remind => names::ESCALATION_REMINDER,
        RungKind::Reassign | RungKind::Last => names::ESCALATION_REASSIGNMENT,
    }
}

/// Ends the rungs that have not come, with their jobs.
pub(super) fn clear(tx: &Tx<'_>, id: &ApprovalId) -> Result<(), Problem> {
    for rung in store::list_rungs(tx, id)?.into_iter().filter(|r| !r.over) {
        cancel(tx, &rung.job)?;
        store::end_rung(tx, id, rung.level)?;
    }
    Ok(())
}

/// The rung that a job is for; an error when there is none.
fn rung_of(tx: &Tx<'_>, id: &ApprovalId, level: u32, job: &str) -> Result<(Approval, Rung), Problem> {
    let approval = store::get_approval(tx, id).map_err(|p| {
        if p.status() == 404 { Problem::refused(format!("There is no approval {id}.")) } else { p }
    })?;
    let rung = store::list_rungs(tx, id)?.into_iter().find(|r| r.level == level && job_of(r.kind) == job);
    let rung = rung
        .ok_or_else(|| Problem::refused(format!("The approval {id} has no level {level} for the job {job}.")))?;
    Ok((approval, rung))
}

/// The instant before which a job of a rung must not act, when it has not come.
pub(super) fn not_before(
    tx: &Tx<'_>,
    id: &ApprovalId,
    level: u32,
    job: &str,
) -> Result<Option<Timestamp>, Problem> {
    let (_, rung) = rung_of(tx, id, level, job)?;
    Ok((!rung.over && tx.now() < rung.due_at).then_some(rung.due_at))
}

/// Carries a rung out, unless it is over.
pub fn carry_out(tx: &Tx<'_>, by: &Principal, id: &ApprovalId, level: u32, job: &str) -> Result<(), Problem> {
    let (approval, rung) = rung_of(tx, id, level, job)?;
    let pending = approval.state == ApprovalState::Pending && approval.stage == rung.stage;
    if rung.over || !pending || tx.now() < rung.due_at {
        return Ok(());
    }
    store::end_rung(tx, id, level)?;
    match rung.kind {
        RungKind::Remind => remind(tx, by, &approval, level),
        RungKind::Reassign => reassign(tx, by, &approval, level),
        RungKind::Last => last(tx, by, &approval, level),
    }
}

fn remind(tx: &Tx<'_>, by: &Principal, approval: &Approval, level: u32) -> Result<(), Problem> {
    let people: Vec<PersonId> = approval.open_seats().map(|s| s.person.clone()).collect();
    let subject = format!("Reminder, please decide: {}", approval.config.title);
    let mut body = format!("It waits for you since {}.", approval.stage_opened_at);
    if !approval.config.description.is_empty() {
        body = format!("{body}\n\n{}", approval.config.description);
    }
    stages::tell(tx, approval, &people, subject, body)?;
    let text = format!("Reminded {}", resolve::names(tx, &people)?);
    let data = json!({ "level": level, "to": people });
    stages::note(tx, approval, "approval.reminded", &text, data.clone())?;
    stages::record(tx, by, approval, "approval.reminded", None, (None, data))
}

/// Who leaves and who comes when an overdue approval goes to somebody else.
struct Change {
    leave: Vec<PersonId>,
    come: Vec<Seat>,
}

fn reassign(tx: &Tx<'_>, by: &Principal, approval: &Approval, level: u32) -> Result<(), Problem> {
    let Change { mut leave, come } = change(tx, approval)?;
    let run = run_store::get_run(tx, &approval.run_id)?;
    if come.is_empty() {
        let why = format!(
            "It is overdue and there is nobody else to decide; it stays with {}.",
            resolve::names(tx, approval.open_seats().map(|s| &s.person))?
        );
        stages::tell_administrators(tx, &run, &approval.config.title, &why)?;
        return stages::note(tx, approval, "approval.reassignment_failed", &why, json!({ "level": level }));
    }
    // When too few would be left for the rule, those who have it keep it beside the others.
    let Tally { approvals, rejections, open } = approval.tally();
    let left = u32::try_from(leave.len()).unwrap_or(u32::MAX);
    let open = open.saturating_sub(left).saturating_add(u32::try_from(come.len()).unwrap_or(u32::MAX));
    if verdict(approval.need_of(approval.stage), Tally { approvals, rejections, open }) != Verdict::Open {
        leave.clear();
    }
    let (from, to) = (resolve::names(tx, &leave)?, resolve::names(tx, come.iter().map(|s| &s.person))?);
    turns::replace(tx, approval, &leave, &come, "It is overdue")?;
    let text = if leave.is_empty() {
        format!("Overdue: {to} may decide, too")
    } else {
        format!("Overdue: passed from {from} to {to}")
    };
    stages::tell_parties(tx, approval, format!("Overdue: {}", approval.config.title), format!("{text}."))?;
    let people: Vec<_> = come.iter().map(super::ops::seat_state).collect();
    let data = json!({ "level": level, "from": leave, "to": people });
    stages::note(tx, approval, "approval.escalated", &text, data.clone())?;
    stages::record(tx, by, approval, "approval.escalated", None, (None, data))
}

fn change(tx: &Tx<'_>, approval: &Approval) -> Result<Change, Problem> {
    let run = run_store::get_run(tx, &approval.run_id)?;
    let to = approval.config.escalation.as_ref().and_then(|e| e.reassign.as_ref()).map_or(&[][..], |r| &r.to);
    let mut barred = resolve::barred(&run, Some(approval));
    if !to.is_empty() {
        let named = match resolve::named(tx, &run, approval.visit, to) {
            Ok(named) => named,
            Err(problem) if (400..500).contains(&problem.status()) => BTreeSet::new(),
            Err(problem) => return Err(problem),
        };
        let seats = resolve::seats(tx, approval.stage, &named, &barred)?;
        let (stay, come): (Vec<Seat>, Vec<Seat>) =
            seats.into_iter().partition(|s| approval.seat_of(&s.person).is_some());
        let stays = |p: &PersonId| stay.iter().any(|s| s.person == *p);
        let leave = approval.open_seats().map(|s| s.person.clone()).filter(|p| !stays(p)).collect();
        return Ok(Change { leave, come });
    }
    // Who has it already does not get it a second time.
    barred.extend(approval.open_seats().map(|s| s.person.clone()));
    let (mut leave, mut managers) = (Vec::new(), BTreeSet::new());
    for seat in approval.open_seats() {
        let Some(manager) = get_person(tx, &seat.person)?.manager_id else { continue };
        if resolve::holder(tx, &manager, MAX_HOPS, &barred)?.is_some() {
            leave.push(seat.person.clone());
            managers.insert(manager);
        }
    }
    Ok(Change { leave, come: resolve::seats(tx, approval.stage, &managers, &barred)? })
}

fn last(tx: &Tx<'_>, by: &Principal, approval: &Approval, level: u32) -> Result<(), Problem> {
    let last = approval.config.escalation.as_ref().and_then(|e| e.last);
    let last = last.ok_or_else(|| Problem::internal("a last rung without its settings"))?;
    let why = format!("Nobody decided within {} minutes.", last.after_minutes);
    match last.then {
        LastAction::Approve => {
            store::mark_exception(tx, &approval.id)?;
            if approval.stage == approval.stages() {
                return stages::decided(tx, by, approval, true, Some(&why), EndedBy::Escalation);
            }
            let text = format!("Stage {} counts as approved: {why}", approval.stage);
            let data = json!({ "level": level, "stage": approval.stage, "byEscalation": true, "exception": true });
            stages::note(tx, approval, "approval.voted", &text, data.clone())?;
            stages::record(tx, by, approval, "approval.voted", Some(&why), (None, data))?;
            stages::next_stage(tx, by, approval)
        }
        LastAction::Reject => stages::decided(tx, by, approval, false, Some(&why), EndedBy::Escalation),
        LastAction::Fail => stages::fail(tx, by, approval, "nobody_decided", &why),
    }
}
