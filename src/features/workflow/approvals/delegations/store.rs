//! SQL of delegations.

use super::Delegation;
use crate::base::id::{DelegationId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Row, Tx};

const COLUMNS: &str = "id, person_id, delegate_id, starts_at, ends_at, reason, created_at, revoked_at";

fn delegation(r: &Row<'_>) -> Result<Delegation, Problem> {
    Ok(Delegation {
        id: r.get("id")?,
        person: r.get("person_id")?,
        delegate: r.get("delegate_id")?,
        starts_at: r.get("starts_at")?,
        ends_at: r.get("ends_at")?,
        reason: r.get("reason")?,
        created_at: r.get("created_at")?,
        revoked_at: r.get("revoked_at")?,
    })
}

/// The delegation with this id; missing is a problem.
pub fn get_delegation(tx: &Tx<'_>, id: &DelegationId) -> Result<Delegation, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM delegation WHERE id = ?1"), params![id], delegation)?
        .ok_or_else(|| Problem::missing("delegation", id))
}

/// A delegation of this person that is in force at some instant from `from` on and before `to`.
pub fn find_between(
    tx: &Tx<'_>,
    person: &PersonId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Option<Delegation>, Problem> {
    tx.query_opt(
        &format!(
            "SELECT {COLUMNS} FROM delegation
             WHERE person_id = ?1 AND revoked_at IS NULL AND starts_at < ?3 AND ends_at > ?2 ORDER BY starts_at LIMIT 1"
        ),
        params![person, from, to],
        delegation,
    )
}

/// Delegations before `before` by id, newest first; only those that `of` made or decides by, when given.
pub fn list_delegations(
    tx: &Tx<'_>,
    of: Option<&PersonId>,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Delegation>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM delegation
             WHERE (?1 IS NULL OR person_id = ?1 OR delegate_id = ?1) AND (?2 IS NULL OR id < ?2)
             ORDER BY id DESC LIMIT ?3"
        ),
        params![of.map(TypedId::as_str), before, limit],
        delegation,
    )
}

/// Stores a new delegation.
pub fn insert_delegation(tx: &Tx<'_>, d: &Delegation) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO delegation (id, person_id, delegate_id, starts_at, ends_at, reason, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![d.id, d.person, d.delegate, d.starts_at, d.ends_at, d.reason, d.created_at],
    )?;
    Ok(())
}

/// Stores that a delegation was ended before its time; false when it was before.
pub fn revoke(tx: &Tx<'_>, id: &DelegationId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE delegation SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        params![id, tx.now()],
    )?;
    Ok(changed == 1)
}
