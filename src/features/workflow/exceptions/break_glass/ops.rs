//! Breaking the glass, and reviewing it.

use std::time::Duration;

use serde_json::json;

use super::{BreakGlass, MAX_HOURS, MIN_REASON, REVIEW_DAYS, Verdict, store};
use crate::base::access::{Permission, Principal, SystemRole};
use crate::base::id::{BreakGlassId, PersonId, RoleId};
use crate::base::problem::Problem;
use crate::features::access::assignments::{self, EndReason};
use crate::features::access::roles;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::identity::people::store::get_person;
use crate::features::notifications::{self, Message};
use crate::features::workflow::exceptions::authors::is_certain;
use crate::features::workflow::exceptions::{jobs, ops::marked};
use crate::features::workflow::runs::repair::reason_of;
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Gives the caller a role for a few hours.
pub fn break_glass(tx: &Tx<'_>, by: &Principal, role: &RoleId, reason: &str, hours: u32) -> Result<BreakGlass, Problem> {
    by.require(Permission::BreakGlassUse)?;
    let Some(person) = by.person.clone().filter(|_| is_certain(by)) else {
        return Err(Problem::Forbidden(
            "Only people break the glass, for themselves: sign in, or use a token that you made.".to_owned(),
        ));
    };
    let reason = reason_of(reason)?;
    if reason.chars().count() < MIN_REASON {
        return Err(Problem::field("reason", format!("expected at least {MIN_REASON} characters that say what the emergency is")));
    }
    if !(1..=MAX_HOURS).contains(&hours) {
        return Err(Problem::field("hours", format!("got {hours}; expected 1 to {MAX_HOURS}")));
    }
    if let Some(lasting) = store::find_lasting(tx, &person, role)? {
        return Err(Problem::Conflict(format!("You have it until {}; it is not extended.", lasting.ends_at)));
    }
    let id: BreakGlassId = tx.new_id();
    let by = marked(by, Some(id.to_string()), Some(person.clone()), None);
    let ends_at = tx.now().plus(HOUR * hours);
    let new = assignments::ops::NewAssignment {
        person: person.clone(),
        role: role.clone(),
        reason: format!("Emergency: {reason}"),
        run: None,
        starts_at: tx.now(),
        expires_at: Some(ends_at),
        documents: Vec::new(),
    };
    let assignment_id = assignments::ops::grant(tx, &by, new)?;
    let broken = BreakGlass {
        id,
        person_id: person,
        role_id: role.clone(),
        assignment_id,
        reason,
        hours,
        created_at: tx.now(),
        ends_at,
        verdict: None,
        review_reason: None,
        reviewed_by: None,
        reviewed_at: None,
    };
    store::insert_break_glass(tx, &broken)?;
    let new = json!({ "role": role, "person": broken.person_id, "assignment": broken.assignment_id, "hours": hours,
                      "endsAt": ends_at });
    record(tx, &by, "break_glass.used", &broken, Some(broken.reason.clone()), new)?;
    tell(tx, &broken, "Somebody broke the glass", &broken.reason)?;
    enqueue(tx, reminder(&broken.id, tx.now().plus(DAY * REVIEW_DAYS)))?;
    Ok(broken)
}

fn reminder(id: &BreakGlassId, at: crate::base::time::Timestamp) -> JobDraft {
    JobDraft::at(jobs::REMIND_REVIEW, json!({ "breakGlassId": id }), at)
}

/// Tells the role's owner and the administrators, but not who it was.
fn tell(tx: &Tx<'_>, broken: &BreakGlass, what: &str, body: &str) -> Result<(), Problem> {
    let role = roles::store::get_role(tx, &broken.role_id)?;
    let mut to: Vec<PersonId> = people_with_role(tx, SystemRole::Admin)?;
    to.extend(role.owner_id);
    to.retain(|p| *p != broken.person_id);
    let name = get_person(tx, &broken.person_id)?.display_name;
    let message = Message {
        subject: format!("{what}: {name} has {}", role.name),
        body: format!("{name} took the role {} in an emergency, until {}: {body}", role.name, broken.ends_at),
        link: Some(format!("/break-glass?id={}", broken.id)),
        kind: "break_glass",
    };
    notifications::ops::notify(tx, &to, message)
}

/// Says what somebody else's breaking of the glass was; takes back what is left of it when there was no need.
pub fn review(
    tx: &Tx<'_>,
    by: &Principal,
    id: &BreakGlassId,
    verdict: Verdict,
    reason: &str,
) -> Result<BreakGlass, Problem> {
    let broken = store::get_break_glass(tx, id)?;
    if broken.verdict.is_some() {
        return Err(Problem::Conflict("It is reviewed already.".to_owned()));
    }
    if let Some(why) = broken.why_not(by) {
        return Err(Problem::Forbidden(why.to_owned()));
    }
    let person = by.person.clone().ok_or_else(|| Problem::Forbidden("Only people review.".to_owned()))?;
    let reason = reason_of(reason)?;
    if !store::review(tx, id, verdict, &person, &reason)? {
        return Err(Problem::Conflict("Somebody else reviewed it first.".to_owned()));
    }
    let by = marked(by, Some(id.to_string()), Some(broken.person_id.clone()), Some(person));
    record(tx, &by, "break_glass.reviewed", &broken, Some(reason.clone()), json!({ "verdict": verdict }))?;
    if verdict == Verdict::Unjustified {
        assignments::ops::revoke(tx, &by, &broken.assignment_id, EndReason::Revoked(format!("unjustified emergency: {reason}")))?;
    }
    let message = Message {
        subject: format!("Your emergency access was reviewed: {}", verdict.as_str()),
        body: format!("{}: {reason}", by.name),
        link: Some(format!("/break-glass?id={id}")),
        kind: "break_glass",
    };
    notifications::ops::notify(tx, std::slice::from_ref(&broken.person_id), message)?;
    store::get_break_glass(tx, id)
}

/// Tells of one that nobody reviewed, and has itself called again a day later until somebody did.
pub fn remind(tx: &Tx<'_>, id: &BreakGlassId) -> Result<(), Problem> {
    let broken = store::get_break_glass(tx, id)?;
    if broken.verdict.is_some() {
        return Ok(());
    }
    if tx.now() >= broken.created_at.plus(DAY * REVIEW_DAYS) {
        tell(tx, &broken, "An emergency still waits for a review", &broken.reason)?;
    }
    enqueue(tx, reminder(id, tx.now().plus(DAY))).map(drop)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    broken: &BreakGlass,
    reason: Option<String>,
    new: serde_json::Value,
) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "break_glass",
        entity_id: broken.id.to_string(),
        reason,
        prev: None,
        new: Some(new),
    };
    audit::append(tx, by, entry)
}
