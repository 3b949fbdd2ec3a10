//! Use cases around roles that exclude each other.

use serde_json::{Value, json};

use super::{Excluded, InTheWay, Period, RoleConflict, in_the_way, store};
use crate::base::access::Principal;
use crate::base::id::{AssignmentId, PersonId, RoleConflictId, RoleId};
use crate::base::problem::Problem;
use crate::features::access::assignments::RoleRef;
use crate::features::access::roles::store::find_role;
use crate::features::audit::{self, Entry};
use crate::platform::store::Tx;

/// The longest reason.
const REASON_CHARS: usize = 1000;

/// Says that two roles exclude each other from now on. Who holds both keeps them.
pub fn create_conflict(tx: &Tx<'_>, by: &Principal, roles: &[RoleId], reason: &str) -> Result<RoleConflict, Problem> {
    let reason = checked_reason(reason)?;
    let mut pair: Vec<&RoleId> = roles.iter().collect();
    pair.sort();
    pair.dedup();
    if pair.len() != 2 {
        return Err(Problem::field("roleIds", "expected two different roles"));
    }
    let mut named = Vec::with_capacity(2);
    for id in pair {
        let role = find_role(tx, id)?.ok_or_else(|| Problem::field("roleIds", format!("there is no role {id}")))?;
        named.push(RoleRef { id: role.id, name: role.name });
    }
    if store::find_between(tx, &named[0].id, &named[1].id)?.is_some() {
        let message = format!("The roles {} and {} exclude each other already.", named[0].name, named[1].name);
        return Err(Problem::Conflict(message));
    }
    let conflict = RoleConflict { id: tx.new_id(), roles: named, reason, created_at: tx.now() };
    store::insert_conflict(tx, &conflict)?;
    record(tx, by, "role_conflict.created", &conflict, None, (None, Some(json!(conflict))))?;
    Ok(conflict)
}

/// Lets two roles be held at the same time again.
pub fn remove_conflict(tx: &Tx<'_>, by: &Principal, id: &RoleConflictId, reason: &str) -> Result<(), Problem> {
    let reason = checked_reason(reason)?;
    let conflict = store::get_conflict(tx, id)?;
    store::delete_conflict(tx, id)?;
    record(tx, by, "role_conflict.removed", &conflict, Some(reason), (Some(json!(conflict)), None))
}

/// What of a person is in the way of holding `role` for a period, but for the assignment `own`.
pub fn find_in_the_way(
    tx: &Tx<'_>,
    person: &PersonId,
    role: &RoleId,
    wanted: Period,
    own: Option<&AssignmentId>,
) -> Result<Option<(InTheWay, Excluded, String)>, Problem> {
    let held = store::list_excluded(tx, person, role)?.into_iter().filter(|(found, ..)| own != Some(&found.id));
    let mut hits = held.filter_map(|(found, from, reason)| {
        let period = Period { from, until: found.expires_at };
        in_the_way(found.state, period, wanted, tx.now()).map(|how| (how, found, reason))
    });
    // What only leaves is waited for; what is held is not.
    let first = hits.next();
    Ok(hits.find(|hit| hit.0 == InTheWay::Held).or(first))
}

/// Refuses what would let a person hold two roles that exclude each other.
pub fn refuse_if_excluded(
    tx: &Tx<'_>,
    (person, name): (&PersonId, &str),
    role: &RoleRef,
    wanted: Period,
    own: Option<&AssignmentId>,
) -> Result<(), Problem> {
    let Some((_, held, reason)) = find_in_the_way(tx, person, &role.id, wanted, own)? else { return Ok(()) };
    let until = held.expires_at.map(|end| format!(" until {end}")).unwrap_or_default();
    Err(Problem::refused(format!(
        "{name} holds the role {}{until}, which excludes the role {}: {reason} Let {} end first.",
        held.role.name, role.name, held.role.name
    )))
}

fn checked_reason(reason: &str) -> Result<String, Problem> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS {
        return Err(Problem::field("reason", format!("expected 1 to {REASON_CHARS} characters")));
    }
    Ok(if reason.ends_with(['.', '!', '?']) { reason.to_owned() } else { format!("{reason}.") })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    conflict: &RoleConflict,
    reason: Option<String>,
    (prev, new): (Option<Value>, Option<Value>),
) -> Result<(), Problem> {
    let entry = Entry { action, entity: "role_conflict", entity_id: conflict.id.to_string(), reason, prev, new };
    audit::append(tx, by, entry)
}
