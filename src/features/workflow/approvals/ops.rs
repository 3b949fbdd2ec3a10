//! Opening approvals and deciding them.

use std::time::Duration;

use serde_json::json;

use super::{Approval, ApprovalState, store};
use crate::base::access::{Permission, Principal};
use crate::base::id::{ApprovalId, PersonId, RunId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::store::{find_by_person, people_with_role};
use crate::features::identity::people::store::{get_person, group_members};
use crate::features::notifications::{self, Message};
use crate::features::workflow::definitions::{self, ApprovalConfig, Approver, expression};
use crate::features::workflow::engine::{self, Event, Wait};
use crate::features::workflow::runs::ops::{self as runs, find_person, log, person_of};
use crate::features::workflow::runs::{Run, effects};
use crate::platform::store::Tx;

/// The longest reason.
const MAX_REASON: usize = 4_000;

/// Opens an approval and tells those who may decide; fails when nobody can.
pub fn open(tx: &Tx<'_>, by: &Principal, run: &mut Run, visit: u32, config: &ApprovalConfig) -> Result<Event, Problem> {
    let approvers = resolve(tx, run, visit, &config.approvers)?;
    if approvers.is_empty() {
        return Err(Problem::refused(
            "Nobody can decide: every approver is the requestor, the subject, not active, or without the permission to decide. An administrator has to name another one.",
        ));
    }
    let role_id = config.role.as_deref().map(|text| effects::find_role(tx, text)).transpose()?.map(|r| r.id);
    let approval = Approval {
        id: tx.new_id(),
        run_id: run.id.clone(),
        visit,
        step_name: step_name(tx, run, visit)?,
        title: config.title.clone(),
        description: config.description.clone(),
        state: ApprovalState::Pending,
        subject_id: run.subject_id.clone(),
        requested_by: run.started_by.clone(),
        role_id,
        approvers: approvers.clone(),
        created_at: tx.now(),
        due_at: config.due_hours.map(|h| tx.now().plus(Duration::from_secs(3600 * u64::from(h)))),
        decided_at: None,
        decided_by: None,
        reason: None,
    };
    store::insert_approval(tx, &approval)?;
    let message = Message {
        subject: format!("Please decide: {}", approval.title),
        body: approval.description.clone(),
        link: Some(format!("/inbox/{}", approval.id)),
        kind: "approval",
    };
    notifications::ops::notify(tx, &approvers, message)?;
    let data = json!({ "approvalId": approval.id, "approvers": approvers });
    log(tx, run, visit, "approval.opened", &approval.title, &data)?;
    let new = json!({ "run": run.id, "title": approval.title, "approvers": approvers, "dueAt": approval.due_at });
    record(tx, by, "approval.opened", &approval.id, None, new)?;
    Ok(Event::Waits { visit, wait: Wait::Approval { id: approval.id.to_string() } })
}

fn step_name(tx: &Tx<'_>, run: &Run, visit: u32) -> Result<String, Problem> {
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let at = run.state.token(visit).map(|t| t.step.as_str()).unwrap_or_default();
    Ok(workflow.definition.step(at).map(|s| s.name.clone()).unwrap_or_default())
}

/// The people behind the configured approvers, without requestor and subject.
fn resolve(tx: &Tx<'_>, run: &Run, visit: u32, approvers: &[Approver]) -> Result<Vec<PersonId>, Problem> {
    let mut people = Vec::new();
    for approver in approvers {
        match approver {
            Approver::Person(text) => {
                people.push(find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))?);
            }
            Approver::Group(name) => people.extend(group_members(tx, name)?),
            Approver::SystemRole(role) => people.extend(people_with_role(tx, *role)?),
            Approver::Expression(text) => people.extend(computed(tx, run, visit, text)?),
            Approver::ManagerOf(who) => people.extend(get_person(tx, &person_of(run, *who)?)?.manager_id),
        }
    }
    people.sort();
    people.dedup();
    let mut able = Vec::with_capacity(people.len());
    for id in people {
        let party = run.subject_id.as_ref() == Some(&id) || run.started_by.as_ref() == Some(&id);
        let account = find_by_person(tx, &id)?.filter(|a| a.active);
        let may = account.is_some_and(|a| a.roles.iter().any(|r| r.allows(Permission::ApprovalDecide)));
        if !party && may && get_person(tx, &id)?.active {
            able.push(id);
        }
    }
    Ok(able)
}

/// The people that an expression names, by id or address.
fn computed(tx: &Tx<'_>, run: &Run, visit: u32, text: &str) -> Result<Vec<PersonId>, Problem> {
    let values = engine::values_at(&run.state, visit, &runs::scope(tx, run)?);
    let fault = |why: String| Problem::refused(format!("The approvers' expression {text}: {why}."));
    let named = match expression::value(text, &values).map_err(|e| fault(e.to_string()))? {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::Array(all) => all,
        one => vec![one],
    };
    let mut people = Vec::with_capacity(named.len());
    for one in named {
        let Some(name) = one.as_str() else { return Err(fault(format!("got {one}; expected an id or an address"))) };
        people.push(find_person(tx, name)?.ok_or_else(|| Problem::missing("person", name))?);
    }
    Ok(people)
}

/// Decides an approval and carries its run on, in one transaction.
pub fn decide(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ApprovalId,
    approve: bool,
    reason: Option<&str>,
) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let reason = reason.map(str::trim).filter(|r| !r.is_empty());
    if approval.state != ApprovalState::Pending {
        return Err(Problem::Conflict(format!("It is {} already.", approval.state.as_str())));
    }
    if let Some(why) = approval.why_not(by) {
        return Err(Problem::Forbidden(why.to_owned()));
    }
    if !approve && reason.is_none() {
        return Err(Problem::field("reason", "a rejection needs a reason"));
    }
    if reason.is_some_and(|r| r.chars().count() > MAX_REASON) {
        return Err(Problem::field("reason", format!("expected at most {MAX_REASON} characters")));
    }
    let person = by.person.clone().ok_or_else(|| Problem::Forbidden("Only people decide.".to_owned()))?;
    let (state, outcome) =
        if approve { (ApprovalState::Approved, "approved") } else { (ApprovalState::Rejected, "rejected") };
    if !store::decide(tx, id, state, &person, reason)? {
        return Err(Problem::Conflict("Somebody else decided first.".to_owned()));
    }
    let prev = json!({ "state": "pending" });
    let new = json!({ "state": state, "run": approval.run_id });
    audit::append(
        tx,
        by,
        Entry {
            action: "approval.decided",
            entity: "approval",
            entity_id: id.to_string(),
            reason: reason.map(str::to_owned),
            prev: Some(prev),
            new: Some(new),
        },
    )?;
    tell_the_others(tx, &approval, &person, outcome)?;
    let output = json!({ "approvalId": id, "decidedBy": person, "reason": reason });
    runs::apply_decided(tx, by, &approval.run_id, approval.visit, outcome, output, &by.name)?;
    store::get_approval(tx, id)
}

fn tell_the_others(tx: &Tx<'_>, approval: &Approval, decided: &PersonId, outcome: &str) -> Result<(), Problem> {
    let others: Vec<PersonId> = approval.approvers.iter().filter(|p| *p != decided).cloned().collect();
    let message = Message {
        subject: format!("Decided: {}", approval.title),
        body: format!("It was {outcome}; there is nothing left for you to do."),
        link: Some(format!("/inbox/{}", approval.id)),
        kind: "approval",
    };
    notifications::ops::notify(tx, &others, message)
}

/// Closes an approval whose step is over without it.
pub fn withdraw(tx: &Tx<'_>, id: &ApprovalId) -> Result<(), Problem> {
    store::cancel_one(tx, id)
}

/// Closes the approvals of a run that has ended.
pub fn cancel_open(tx: &Tx<'_>, run: &RunId) -> Result<(), Problem> {
    store::cancel_open(tx, run)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    id: &ApprovalId,
    reason: Option<String>,
    new: serde_json::Value,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry { action, entity: "approval", entity_id: id.to_string(), reason, prev: None, new: Some(new) },
    )
}
