//! SQL of roles that exclude each other.

use super::{Excluded, RoleConflict, Violation};
use crate::base::id::{PersonId, RoleConflictId, RoleId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::{AssignmentState, RoleRef};
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Row, Tx};

const SELECT: &str = "SELECT c.id, c.role_a, a.name AS name_a, c.role_b, b.name AS name_b, c.reason, c.created_at
                      FROM role_conflict c
                      JOIN role a ON a.id = c.role_a
                      JOIN role b ON b.id = c.role_b";

fn conflict(r: &Row<'_>) -> Result<RoleConflict, Problem> {
    Ok(RoleConflict {
        id: r.get("id")?,
        roles: vec![
            RoleRef { id: r.get("role_a")?, name: r.get("name_a")? },
            RoleRef { id: r.get("role_b")?, name: r.get("name_b")? },
        ],
        reason: r.get("reason")?,
        created_at: r.get("created_at")?,
    })
}

/// The rule with this id; missing is a problem.
pub fn get_conflict(tx: &Tx<'_>, id: &RoleConflictId) -> Result<RoleConflict, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE c.id = ?1"), params![id], conflict)?
        .ok_or_else(|| Problem::missing("role conflict", id))
}

/// The rule between two roles, the lesser id first.
pub fn find_between(tx: &Tx<'_>, a: &RoleId, b: &RoleId) -> Result<Option<RoleConflict>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE c.role_a = ?1 AND c.role_b = ?2"), params![a, b], conflict)
}

/// Rules, oldest first, after the one with the id `after`.
pub fn list_conflicts(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<RoleConflict>, Problem> {
    tx.query(&format!("{SELECT} WHERE c.id > ?1 ORDER BY c.id LIMIT ?2"), params![after.unwrap_or(""), limit], conflict)
}

/// Stores a new rule.
pub fn insert_conflict(tx: &Tx<'_>, c: &RoleConflict) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO role_conflict (id, role_a, role_b, reason, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![c.id, c.roles[0].id, c.roles[1].id, c.reason, c.created_at],
    )?;
    Ok(())
}

/// Removes a rule.
pub fn delete_conflict(tx: &Tx<'_>, id: &RoleConflictId) -> Result<(), Problem> {
    tx.execute("DELETE FROM role_conflict WHERE id = ?1", params![id])?;
    Ok(())
}

/// What a person holds, or is to hold, that `role` excludes: with its start and why.
pub fn list_excluded(
    tx: &Tx<'_>,
    person: &PersonId,
    role: &RoleId,
) -> Result<Vec<(Excluded, Timestamp, String)>, Problem> {
    tx.query(
        "SELECT a.id, a.role_id, r.name AS role_name, a.state, a.starts_at, a.expires_at, c.reason
         FROM assignment a
         JOIN role_conflict c ON c.role_a = min(a.role_id, ?2) AND c.role_b = max(a.role_id, ?2)
         JOIN role r ON r.id = a.role_id
         WHERE a.person_id = ?1 AND a.ended_at IS NULL ORDER BY a.id",
        params![person, role],
        |r| {
            let excluded = Excluded {
                id: r.get("id")?,
                role: RoleRef { id: r.get("role_id")?, name: r.get("role_name")? },
                state: AssignmentState::stored(&r.get::<String>("state")?)?,
                expires_at: r.get("expires_at")?,
            };
            Ok((excluded, r.get("starts_at")?, r.get("reason")?))
        },
    )
}

/// Pairs of assignments that exclude each other and overlap, after the pair whose ids, one after the other, are `after`.
pub fn list_violations(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<Violation>, Problem> {
    // From the few rules to those who hold the one role, and to what else these hold.
    tx.query(
        "SELECT c.id AS conflict_id, c.reason, p.id AS person_id, p.display_name,
                a.id AS a_id, ra.name AS a_name, a.role_id AS a_role, a.state AS a_state, a.expires_at AS a_end,
                b.id AS b_id, rb.name AS b_name, b.role_id AS b_role, b.state AS b_state, b.expires_at AS b_end
         FROM role_conflict c
         CROSS JOIN assignment a ON a.role_id = c.role_a
         CROSS JOIN assignment b ON b.person_id = a.person_id AND b.role_id = c.role_b
         JOIN role ra ON ra.id = a.role_id
         JOIN role rb ON rb.id = b.role_id
         JOIN person p ON p.id = a.person_id
         WHERE a.ended_at IS NULL AND b.ended_at IS NULL
           AND (a.expires_at IS NULL OR b.starts_at < a.expires_at)
           AND (b.expires_at IS NULL OR a.starts_at < b.expires_at)
           AND a.id || b.id > ?1
         ORDER BY a.id || b.id LIMIT ?2",
        params![after.unwrap_or(""), limit],
        |r| {
            let excluded = |id: &str, role: &str, name: &str, state: &str, end: &str| -> Result<Excluded, Problem> {
                Ok(Excluded {
                    id: r.get(id)?,
                    role: RoleRef { id: r.get(role)?, name: r.get(name)? },
                    state: AssignmentState::stored(&r.get::<String>(state)?)?,
                    expires_at: r.get(end)?,
                })
            };
            Ok(Violation {
                conflict_id: r.get("conflict_id")?,
                person: PersonRef { id: r.get("person_id")?, display_name: r.get("display_name")? },
                reason: r.get("reason")?,
                assignments: vec![
                    excluded("a_id", "a_role", "a_name", "a_state", "a_end")?,
                    excluded("b_id", "b_role", "b_name", "b_state", "b_end")?,
                ],
            })
        },
    )
}
