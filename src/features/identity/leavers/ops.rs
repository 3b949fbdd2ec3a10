//! Leaving and coming back.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    DEFAULT_COUNT, DEFAULT_PERCENT, END_LEAVER, LEAVERS_COUNT, LEAVERS_PERCENT, Leave, LeaveState, Leaving, Left, TELL_HELD,
    store, threshold,
};
use crate::base::access::{ActorKind, Principal, SystemRole};
use crate::base::id::{LeaveId, PersonId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::{self, store::people_with_role};
use crate::features::identity::people::store::{count_active, get_person};
use crate::features::identity::people::{Person, ops::{record_because, set_member}};
use crate::features::settings::{self, Source, Started};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

const DAY: Duration = Duration::from_secs(86_400);
/// How long administrators are not told of the first that is held, so that one message tells of all.
const GATHER: Duration = Duration::from_secs(60);
/// The longest reason.
const MAX_REASON: usize = 1_000;

/// A reason that is not empty and not too long.
pub fn reason_of(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_REASON {
        return Err(Problem::field("reason", format!("expected 1 to {MAX_REASON} characters")));
    }
    Ok(text.to_owned())
}

/// The person leaves, unless that has to be decided first.
pub fn leave(tx: &Tx<'_>, by: &Principal, id: &PersonId, why: Leaving) -> Result<Left, Problem> {
    let person = get_person(tx, id)?;
    if !person.active {
        return Ok(Left::Before);
    }
    if let Some(held) = store::find_held(tx, id)? {
        return Ok(Left::Held(held.id));
    }
    let (source, source_name) = why.source.clone().unwrap_or_else(|| source_of(by));
    let held_because = why_held(tx, by, &person, &source, why.together)?;
    let held = held_because.is_some();
    let leave = Leave {
        id: tx.new_id(),
        person: person.to_ref(),
        source,
        source_name,
        reason: why.reason,
        state: if held { LeaveState::Held } else { LeaveState::Open },
        held_because,
        run_id: why.run,
        created_at: tx.now(),
        began_at: (!held).then(|| tx.now()),
        done_at: None,
        decided_by: None,
        decided_at: None,
        decision_reason: None,
        result: json!({}),
    };
    if held {
        if store::count_held(tx, &leave.source)? == 0 {
            let payload = json!({ "source": leave.source });
            enqueue(tx, JobDraft::at(TELL_HELD, payload, tx.now().plus(GATHER)))?;
        }
        store::insert_leave(tx, &leave)?;
        record(tx, by, "person.leave_held", &leave, leave.held_because.clone())?;
        return Ok(Left::Held(leave.id));
    }
    store::insert_leave(tx, &leave)?;
    carry_out(tx, by, &leave)?;
    Ok(Left::Gone(leave.id))
}

/// Who said so, as key and in words.
pub fn source_of(by: &Principal) -> (String, String) {
    let (kind, id) = by.actor();
    (format!("{kind}:{id}"), by.name.clone())
}

/// Why it has to wait for an administrator; an error when whoever asks is there and can be told.
fn why_held(tx: &Tx<'_>, by: &Principal, person: &Person, source: &str, together: u32) -> Result<Option<String>, Problem> {
    if is_last_admin(tx, &person.id)? {
        let why = format!("{} is the only administrator. Make somebody else one first.", person.display_name);
        return if by.kind == ActorKind::Person { Err(Problem::Conflict(why)) } else { Ok(Some(why)) };
    }
    let limit = limit_now(tx)?;
    let gone = store::count_by_source(tx, source, tx.now().minus(DAY))?;
    let wanted = gone.saturating_add(1).max(together);
    Ok((wanted > limit).then(|| {
        format!("{wanted} people would leave by this source within 24 hours; {limit} may without an administrator.")
    }))
}

/// How many people may leave by one source within 24 hours.
pub fn limit_now(tx: &Tx<'_>) -> Result<u32, Problem> {
    let number = |setting, value| settings::ops::number(tx, setting, &Started { value, source: Source::Default });
    let percent = number(LEAVERS_PERCENT, DEFAULT_PERCENT)?.value;
    let count = number(LEAVERS_COUNT, DEFAULT_COUNT)?.value;
    Ok(threshold(percent, count, count_active(tx)?))
}

fn is_last_admin(tx: &Tx<'_>, person: &PersonId) -> Result<bool, Problem> {
    let admins = people_with_role(tx, SystemRole::Admin)?;
    Ok(admins.len() == 1 && admins.first() == Some(person))
}

/// From here on the person is not active: sign-in, tokens, system roles and groups are gone, the rest follows.
fn carry_out(tx: &Tx<'_>, by: &Principal, leave: &Leave) -> Result<(), Problem> {
    let before = get_person(tx, &leave.person.id)?;
    store::set_active(tx, &before.id, false)?;
    let after = get_person(tx, &before.id)?;
    record_because(tx, by, "person.deactivated", Some(leave.reason.clone()), Some(&before), &after)?;
    let groups = store::list_groups(tx, &before.id)?;
    for group in &groups {
        set_member(tx, by, group, &before.id, false)?;
    }
    let mut result = json!({ "groups": groups });
    if let Some(account) = accounts::store::find_by_person(tx, &before.id)? {
        result["tokens"] = json!(accounts::ops::close_account(tx, by, &account)?);
        result["systemRoles"] = json!(account.roles);
        result["account"] = json!(account.active);
    }
    store::update_result(tx, &leave.id, &result, false)?;
    record(tx, by, "person.left", leave, Some(leave.reason.clone()))?;
    enqueue(tx, JobDraft::now(END_LEAVER, json!({ "leaveId": leave.id }))).map(drop)
}

/// Somebody who was just added is not there yet, or not any more: nothing has to be ended for that.
pub fn begin_inactive(tx: &Tx<'_>, by: &Principal, id: &PersonId) -> Result<(), Problem> {
    let before = get_person(tx, id)?;
    store::set_active(tx, id, false)?;
    let after = get_person(tx, id)?;
    record_because(tx, by, "person.deactivated", None, Some(&before), &after)
}

/// The person is active again. Nothing that they held before comes back; who is held is not any more.
pub fn rejoin(tx: &Tx<'_>, by: &Principal, id: &PersonId, reason: Option<&str>) -> Result<(), Problem> {
    let before = get_person(tx, id)?;
    if let Some(held) = store::find_held(tx, id)?
        && store::decide(tx, &held.id, LeaveState::Withdrawn, by.person.as_ref(), reason)?
    {
        record(tx, by, "person.leave_withdrawn", &held, reason.map(str::to_owned))?;
    }
    if before.active {
        return Ok(());
    }
    store::set_active(tx, id, true)?;
    let after = get_person(tx, id)?;
    record_because(tx, by, "person.reactivated", reason.map(str::to_owned), Some(&before), &after)
}

/// An administrator decides about a held leave.
pub fn decide(tx: &Tx<'_>, by: &Principal, id: &LeaveId, release: bool, reason: &str) -> Result<Leave, Problem> {
    let leave = store::get_leave(tx, id)?;
    if leave.state != LeaveState::Held {
        return Err(Problem::Conflict(format!("{} is {} already.", leave.person.display_name, leave.state.as_str())));
    }
    if release && leave.source == source_of(by).0 {
        return Err(Problem::Forbidden("You said that they leave; another administrator decides.".to_owned()));
    }
    if release && is_last_admin(tx, &leave.person.id)? {
        return Err(Problem::Conflict(format!(
            "{} is the only administrator. Make somebody else one first.",
            leave.person.display_name
        )));
    }
    let state = if release { LeaveState::Open } else { LeaveState::Dismissed };
    if !store::decide(tx, id, state, by.person.as_ref(), Some(reason))? {
        return Err(Problem::Conflict("Somebody else decided first.".to_owned()));
    }
    let action = if release { "person.leave_released" } else { "person.leave_dismissed" };
    record(tx, by, action, &leave, Some(reason.to_owned()))?;
    if release {
        carry_out(tx, by, &store::get_leave(tx, id)?)?;
    }
    store::get_leave(tx, id)
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, leave: &Leave, reason: Option<String>) -> Result<(), Problem> {
    let new: Value = json!({
        "leaveId": leave.id, "source": leave.source, "reason": leave.reason, "heldBecause": leave.held_because,
        "runId": leave.run_id,
    });
    let entry =
        Entry { action, entity: "person", entity_id: leave.person.id.to_string(), reason, prev: None, new: Some(new) };
    audit::append(tx, by, entry)
}
