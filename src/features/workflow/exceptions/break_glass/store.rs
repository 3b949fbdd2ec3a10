//! SQL of broken glass.

use super::{BreakGlass, Verdict};
use crate::base::id::{AssignmentId, BreakGlassId, PersonId, RoleId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Row, Tx};

const COLUMNS: &str = "id, person_id, role_id, assignment_id, reason, hours, created_at, ends_at, verdict, \
review_reason, reviewed_by, reviewed_at";

fn break_glass(r: &Row<'_>) -> Result<BreakGlass, Problem> {
    let verdict: Option<String> = r.get("verdict")?;
    Ok(BreakGlass {
        id: r.get("id")?,
        person_id: r.get("person_id")?,
        role_id: r.get("role_id")?,
        assignment_id: r.get("assignment_id")?,
        reason: r.get("reason")?,
        hours: r.get("hours")?,
        created_at: r.get("created_at")?,
        ends_at: r.get("ends_at")?,
        verdict: verdict.as_deref().and_then(Verdict::parse),
        review_reason: r.get("review_reason")?,
        reviewed_by: r.get("reviewed_by")?,
        reviewed_at: r.get("reviewed_at")?,
    })
}

/// The one with this id; missing is a problem.
pub fn get_break_glass(tx: &Tx<'_>, id: &BreakGlassId) -> Result<BreakGlass, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM break_glass WHERE id = ?1"), params![id], break_glass)?
        .ok_or_else(|| Problem::missing("break of the glass", id))
}

/// Those before `before` by id, newest first; only those without a review when `open`.
pub fn list_break_glass(tx: &Tx<'_>, open: bool, before: Option<&str>, limit: u32) -> Result<Vec<BreakGlass>, Problem> {
    let narrowed = if open { "AND verdict IS NULL" } else { "" };
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM break_glass WHERE (?1 IS NULL OR id < ?1) {narrowed} ORDER BY id DESC LIMIT ?2"
        ),
        params![before, limit],
        break_glass,
    )
}

/// The one of this person for this role that lasts now.
pub fn find_lasting(tx: &Tx<'_>, person: &PersonId, role: &RoleId) -> Result<Option<BreakGlass>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM break_glass WHERE person_id = ?1 AND role_id = ?2 AND ends_at > ?3"),
        params![person, role, tx.now()],
        break_glass,
    )
}

/// Whether an assignment came this way.
pub fn is_break_glass(tx: &Tx<'_>, assignment: &AssignmentId) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM break_glass WHERE assignment_id = ?1)", params![assignment])
}

/// Stores a new one.
pub fn insert_break_glass(tx: &Tx<'_>, b: &BreakGlass) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO break_glass (id, person_id, role_id, assignment_id, reason, hours, created_at, ends_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![b.id, b.person_id, b.role_id, b.assignment_id, b.reason, b.hours, b.created_at, b.ends_at],
    )?;
    Ok(())
}

/// Stores a review; false when there is one.
pub fn review(
    tx: &Tx<'_>,
    id: &BreakGlassId,
    verdict: Verdict,
    by: &PersonId,
    reason: &str,
) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE break_glass SET verdict = ?2, review_reason = ?3, reviewed_by = ?4, reviewed_at = ?5
         WHERE id = ?1 AND verdict IS NULL",
        params![id, verdict.as_str(), reason, by, tx.now()],
    )?;
    Ok(changed == 1)
}
