//! Use cases around assignments: granting, starting, ending, settling.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::store::{self, Due};
use super::{Assignment, AssignmentState, EndReason, RoleRef, is_over};
use crate::base::access::Principal;
use crate::base::id::{AssignmentId, DocumentId, PersonId, RoleId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::conflicts::{self, InTheWay, Period};
use crate::features::access::documents::{self, store::find_live_document};
use crate::features::access::entitlements::EntitlementStatus;
use crate::features::access::grants;
use crate::features::access::names;
use crate::features::access::reminders::{self, Ending};
use crate::features::access::roles::{Role, RoleStatus, store::get_role};
use crate::features::audit::{self, Entry};
use crate::features::identity::people::store::{find_person, get_person};
use crate::platform::queue::{JobDraft, enqueue, names as jobs};
use crate::platform::store::Tx;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a start stands back while access that excludes it is being taken away.
const STAND_BACK: Duration = Duration::from_secs(60);

/// An assignment that is asked for.
#[derive(Debug, Clone)]
pub struct NewAssignment {
    /// Who is to hold it.
    pub person: PersonId,
    /// What they are to hold.
    pub role: RoleId,
    /// Why.
    pub reason: String,
    /// The run that grants it.
    pub run: Option<RunId>,
    /// From when; a past instant means now.
    pub starts_at: Timestamp,
    /// Until when. Without it the role's default duration counts from the start; without that, there
    /// is no end but revocation.
    pub expires_at: Option<Timestamp>,
    /// Documents that it rests on. For a required type that none of them has, the person's live
    /// document of that type is taken.
    pub documents: Vec<DocumentId>,
}

/// Grants a role to a person.
pub fn grant(tx: &Tx<'_>, by: &Principal, new: NewAssignment) -> Result<AssignmentId, Problem> {
    let role = get_role(tx, &new.role)?;
    if role.status != RoleStatus::Active {
        return Err(Problem::refused(format!("The role {} is retired and is not granted any more.", role.name)));
    }
    if !role.entitlements.is_empty() && role.entitlements.iter().all(|e| e.status == EntitlementStatus::Retired) {
        return Err(Problem::refused(format!(
            "All that the role {} gives is retired. Give the role other entitlements first.",
            role.name
        )));
    }
    let person = get_person(tx, &new.person)?;
    if !person.active {
        return Err(Problem::refused(format!("{} is not active and cannot hold a role.", person.display_name)));
    }
    let starts_at = new.starts_at.max(tx.now());
    let default = role.default_duration_days.map(|days| starts_at.plus(DAY * days));
    let expires_at = new.expires_at.or(default);
    if expires_at.is_some_and(|end| end <= starts_at) {
        return Err(Problem::field("expiresAt", "expected an instant after now and after the start"));
    }
    let named = RoleRef { id: role.id.clone(), name: role.name.clone() };
    let wanted = Period { from: starts_at, until: expires_at };
    conflicts::ops::refuse_if_excluded(tx, (&person.id, &person.display_name), &named, wanted, None)?;
    let documents = evidence(tx, &role, &new)?;
    let scheduled = starts_at > tx.now();
    let assignment = Assignment {
        id: tx.new_id(),
        person: person.to_ref(),
        role: named,
        state: if scheduled { AssignmentState::Scheduled } else { AssignmentState::Provisioning },
        reason: new.reason,
        end_reason: None,
        run_id: new.run,
        starts_at,
        expires_at,
        ended_at: None,
        grants: Vec::new(),
    };
    store::insert_assignment(tx, &assignment, &by.actor().1)?;
    reminders::ops::set(tx, Ending::Assignment, assignment.id.as_str(), starts_at, expires_at)?;
    for document in &documents {
        store::insert_assignment_document(tx, &assignment.id, document)?;
    }
    for entitlement in role.entitlements.iter().filter(|e| e.status == EntitlementStatus::Active) {
        grants::ops::create_grant(tx, &assignment.id, &assignment.person.id, &entitlement.id)?;
    }
    let mut after = state_of(&assignment);
    after["documents"] = json!(documents);
    record(tx, by, "role.granted", &assignment, Some(assignment.reason.clone()), None, after)?;
    let payload = json!({ "assignmentId": assignment.id });
    if scheduled {
        enqueue(tx, JobDraft::at(names::START_ASSIGNMENT, payload.clone(), starts_at))?;
    } else {
        grants::ops::provision_all(tx, &assignment.id)?;
        settle(tx, by, &assignment.id)?;
    }
    if let Some(end) = expires_at {
        enqueue(tx, JobDraft::at(names::END_ASSIGNMENT, payload, end))?;
    }
    Ok(assignment.id)
}

/// The documents that the assignment will rest on, each of them live.
fn evidence(tx: &Tx<'_>, role: &Role, new: &NewAssignment) -> Result<BTreeSet<DocumentId>, Problem> {
    let mut taken = BTreeSet::new();
    let mut types = BTreeSet::new();
    for id in &new.documents {
        let document = documents::store::get_document(tx, id)?;
        if document.person.id != new.person {
            return Err(Problem::refused(format!("The document {id} is not this person's.")));
        }
        if !document.is_live(tx.now()) {
            return Err(Problem::refused(format!(
                "The document {id} ({}) is {} and does not count; expected an approved one within its time.",
                document.kind,
                document.state.as_str()
            )));
        }
        types.insert(document.kind);
        taken.insert(id.clone());
    }
    for kind in role.required_document_types.iter().filter(|k| !types.contains(*k)) {
        match find_live_document(tx, &new.person, kind, tx.now())? {
            Some(document) => taken.insert(document.id),
            None => {
                return Err(Problem::refused(format!(
                    "The role {} needs an approved document of type {kind} within its time; there is none.",
                    role.name
                )));
            }
        };
    }
    Ok(taken)
}

/// Starts an assignment whose start has come; the instant until which to wait when access that excludes it is still
/// being taken away. Does nothing when it is not scheduled any more.
pub fn start(tx: &Tx<'_>, by: &Principal, id: &AssignmentId) -> Result<Option<Timestamp>, Problem> {
    let mut assignment = store::get_assignment(tx, id)?;
    if assignment.state != AssignmentState::Scheduled || assignment.starts_at > tx.now() {
        return Ok(None);
    }
    if find_person(tx, &assignment.person.id)?.is_none_or(|p| !p.active) {
        let why = "the person is not active at the start".to_owned();
        return revoke(tx, by, id, EndReason::Revoked(why)).map(|()| None);
    }
    if assignment.expires_at.is_some_and(|end| is_over(end, tx.now())) {
        return revoke(tx, by, id, EndReason::Expired).map(|()| None);
    }
    let wanted = Period { from: tx.now(), until: assignment.expires_at };
    let (person, role) = (&assignment.person.id, &assignment.role.id);
    match conflicts::ops::find_in_the_way(tx, person, role, wanted, Some(id))? {
        Some((InTheWay::Leaving, ..)) => return Ok(Some(tx.now().plus(STAND_BACK))),
        Some((InTheWay::Held, held, _)) => {
            let why = format!("the person holds the role {}, which excludes it", held.role.name);
            return revoke(tx, by, id, EndReason::Revoked(why)).map(|()| None);
        }
        None => {}
    }
    let before = state_of(&assignment);
    assignment.state = AssignmentState::Provisioning;
    store::update_state(tx, &assignment)?;
    record(tx, by, "role.started", &assignment, None, Some(before), state_of(&assignment))?;
    grants::ops::provision_all(tx, id)?;
    settle(tx, by, id).map(|()| None)
}

/// Ends an assignment: from here on its entitlements are taken away. Ending it twice is ending it once.
pub fn revoke(tx: &Tx<'_>, by: &Principal, id: &AssignmentId, reason: EndReason) -> Result<(), Problem> {
    let mut assignment = store::get_assignment(tx, id)?;
    if !assignment.state.is_live() {
        return Ok(());
    }
    let before = state_of(&assignment);
    assignment.state = reason.ending();
    assignment.end_reason = Some(reason.text());
    // Before the grants, so that this assignment does not count among those that need them.
    store::update_state(tx, &assignment)?;
    let action = if reason == EndReason::Expired { "role.expiring" } else { "role.revoking" };
    record(tx, by, action, &assignment, Some(reason.text()), Some(before), state_of(&assignment))?;
    grants::ops::withdraw_all(tx, by, id)?;
    settle(tx, by, id)
}

/// Lets a live assignment last longer; from the old end to the new one nothing is taken away and given again.
/// Connected systems that were told the old end are told the new one.
pub fn extend(tx: &Tx<'_>, by: &Principal, id: &AssignmentId, until: Timestamp, reason: &str) -> Result<(), Problem> {
    let mut assignment = store::get_assignment(tx, id)?;
    if !assignment.state.is_live() {
        return Err(Problem::Conflict(format!("The assignment is {} already.", assignment.state.as_str())));
    }
    let Some(end) = assignment.expires_at else {
        return Err(Problem::Conflict("The assignment has no end that could be put off.".to_owned()));
    };
    if until <= end || until <= tx.now() {
        return Err(Problem::field("expiresAt", format!("expected an instant after {end}, when it ends now")));
    }
    let longer = Period { from: end, until: Some(until) };
    let name = assignment.person.display_name.as_str();
    conflicts::ops::refuse_if_excluded(tx, (&assignment.person.id, name), &assignment.role, longer, Some(id))?;
    let before = state_of(&assignment);
    assignment.expires_at = Some(until);
    store::update_end(tx, id, until)?;
    reminders::ops::set(tx, Ending::Assignment, id.as_str(), assignment.starts_at, Some(until))?;
    record(tx, by, "role.extended", &assignment, Some(reason.to_owned()), Some(before), state_of(&assignment))?;
    grants::ops::tell_later_end(tx, by, id, end)?;
    enqueue(tx, JobDraft::at(names::END_ASSIGNMENT, json!({ "assignmentId": id }), until)).map(drop)
}

/// Brings an assignment's state in line with its grants; tells its run when it changed.
pub fn settle(tx: &Tx<'_>, by: &Principal, id: &AssignmentId) -> Result<(), Problem> {
    let mut assignment = store::get_assignment(tx, id)?;
    let states: Vec<_> = assignment.grants.iter().map(|g| g.state).collect();
    let settled = assignment.state.settled(&states);
    if settled == assignment.state {
        return Ok(());
    }
    let before = state_of(&assignment);
    assignment.state = settled;
    if settled.is_ended() {
        assignment.ended_at = Some(tx.now());
    }
    store::update_state(tx, &assignment)?;
    let action = match settled {
        AssignmentState::Expired => "role.expired",
        AssignmentState::Revoked => "role.revoked",
        AssignmentState::Active => "role.activated",
        _ => "role.partially_provisioned",
    };
    record(tx, by, action, &assignment, assignment.end_reason.clone(), Some(before), state_of(&assignment))?;
    if let Some(run) = &assignment.run_id {
        enqueue(tx, JobDraft::now(jobs::ADVANCE_RUN, json!({ "runId": run })))?;
    }
    Ok(())
}

/// Ends one assignment if its time is over. The instant until which to wait when it is not.
pub fn end_if_over(tx: &Tx<'_>, by: &Principal, id: &AssignmentId) -> Result<Option<Timestamp>, Problem> {
    let assignment = store::get_assignment(tx, id)?;
    match assignment.expires_at {
        Some(end) if !assignment.state.is_live() || is_over(end, tx.now()) => {
            revoke(tx, by, id, EndReason::Expired)?;
            Ok(None)
        }
        later => Ok(later),
    }
}

/// Ends a page of assignments whose time is over; the last of the page, if there may be more.
pub fn end_over(tx: &Tx<'_>, by: &Principal, after: Option<&Due>, limit: u32) -> Result<Option<Due>, Problem> {
    let page = store::list_over(tx, after, limit)?;
    for (_, id) in &page {
        end_if_over(tx, by, id)?;
    }
    Ok(last_of_full(page, limit))
}

/// Starts a page of assignments whose start was missed; the last of the page, if there may be more.
pub fn start_due(tx: &Tx<'_>, by: &Principal, after: Option<&Due>, limit: u32) -> Result<Option<Due>, Problem> {
    let page = store::list_startable(tx, after, limit)?;
    for (_, id) in &page {
        start(tx, by, id)?;
    }
    Ok(last_of_full(page, limit))
}

fn last_of_full<T>(mut page: Vec<T>, limit: u32) -> Option<T> {
    if page.len() < limit as usize { None } else { page.pop() }
}

fn state_of(a: &Assignment) -> Value {
    json!({
        "personId": a.person.id, "roleId": a.role.id, "roleName": a.role.name, "state": a.state, "reason": a.reason,
        "endReason": a.end_reason, "runId": a.run_id, "startsAt": a.starts_at, "expiresAt": a.expires_at,
        "endedAt": a.ended_at,
    })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    a: &Assignment,
    reason: Option<String>,
    prev: Option<Value>,
    new: Value,
) -> Result<(), Problem> {
    let entry =
        Entry { action, entity: "assignment", entity_id: a.id.to_string(), reason, prev, new: Some(new) };
    audit::append(tx, by, entry)
}
