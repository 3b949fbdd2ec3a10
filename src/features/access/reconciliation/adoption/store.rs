//! SQL of adoptions.

use super::Adoption;
use crate::base::access::ExceptionMark;
use crate::base::id::AdoptionId;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

fn adoption(r: &Row<'_>) -> Result<Adoption, Problem> {
    Ok(Adoption {
        id: r.get("id")?,
        plan_no: r.get("plan_no")?,
        role_id: r.get("role_id")?,
        reason: r.get("reason")?,
        expires_at: r.get("expires_at")?,
        requested_by: r.get("requested_by")?,
        mark: r.get::<Option<Json<ExceptionMark>>>("mark")?.map(|j| j.0),
        total: r.get("total")?,
        cursor: r.get("cursor")?,
        adopted: r.get("adopted")?,
        skipped: r.get("skipped")?,
        created_at: r.get("created_at")?,
        ended_at: r.get("ended_at")?,
    })
}

/// Stores a new adoption.
pub fn insert_adoption(tx: &Tx<'_>, a: &Adoption) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO reconciliation_adoption (id, plan_no, role_id, reason, expires_at, requested_by, mark, total,
                                              created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            a.id,
            a.plan_no,
            a.role_id,
            a.reason,
            a.expires_at,
            a.requested_by,
            a.mark.as_ref().map(Json),
            a.total,
            a.created_at
        ],
    )
    .map(drop)
}

/// Stores how far an adoption is.
pub fn update_adoption(tx: &Tx<'_>, a: &Adoption) -> Result<(), Problem> {
    tx.execute(
        "UPDATE reconciliation_adoption SET cursor = ?2, adopted = ?3, skipped = ?4, ended_at = ?5 WHERE id = ?1",
        params![a.id, a.cursor, a.adopted, a.skipped, a.ended_at],
    )
    .map(drop)
}

/// The adoption with this id; missing is a problem.
pub fn get_adoption(tx: &Tx<'_>, id: &AdoptionId) -> Result<Adoption, Problem> {
    tx.query_opt("SELECT * FROM reconciliation_adoption WHERE id = ?1", params![id], adoption)?
        .ok_or_else(|| Problem::missing("adoption", id))
}

/// The adoptions of a plan, oldest first.
pub fn list_adoptions(tx: &Tx<'_>, plan_no: i64) -> Result<Vec<Adoption>, Problem> {
    tx.query("SELECT * FROM reconciliation_adoption WHERE plan_no = ?1 ORDER BY id", params![plan_no], adoption)
}
