//! SQL of approvals.

use super::{Approval, ApprovalState};
use crate::base::id::{ApprovalId, PersonId, RunId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Row, ToValue, Tx, Value};

const COLUMNS: &str = "id, run_id, visit, step_name, title, description, state, subject_id, requested_by, role_id, \
created_at, due_at, decided_at, decided_by, reason";

fn approval(r: &Row<'_>) -> Result<Approval, Problem> {
    let state: String = r.get("state")?;
    Ok(Approval {
        id: r.get("id")?,
        run_id: r.get("run_id")?,
        visit: r.get("visit")?,
        step_name: r.get("step_name")?,
        title: r.get("title")?,
        description: r.get("description")?,
        state: ApprovalState::parse(&state).ok_or_else(|| Problem::internal(format!("approval state {state}")))?,
        subject_id: r.get("subject_id")?,
        requested_by: r.get("requested_by")?,
        role_id: r.get("role_id")?,
        approvers: Vec::new(),
        created_at: r.get("created_at")?,
        due_at: r.get("due_at")?,
        decided_at: r.get("decided_at")?,
        decided_by: r.get("decided_by")?,
        reason: r.get("reason")?,
    })
}

fn with_approvers(tx: &Tx<'_>, mut approval: Approval) -> Result<Approval, Problem> {
    approval.approvers = tx.query(
        "SELECT person_id FROM approval_approver WHERE approval_id = ?1 ORDER BY person_id",
        params![approval.id],
        |r| r.get("person_id"),
    )?;
    Ok(approval)
}

/// The approval with this id; missing is a problem.
pub fn get_approval(tx: &Tx<'_>, id: &ApprovalId) -> Result<Approval, Problem> {
    let found = tx.query_opt(&format!("SELECT {COLUMNS} FROM approval WHERE id = ?1"), params![id], approval)?;
    with_approvers(tx, found.ok_or_else(|| Problem::missing("approval", id))?)
}

/// What a list of approvals is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// `Some(true)` only pending ones, `Some(false)` only those that are over.
    pub pending: Option<bool>,
    /// Only those assigned to this person.
    pub approver: Option<PersonId>,
    /// Only those this person asked for, is the subject of, or is assigned to.
    pub visible_to: Option<PersonId>,
}

/// Approvals before `before` by id, newest first.
pub fn list_approvals(
    tx: &Tx<'_>,
    filter: &ApprovalFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Approval>, Problem> {
    let mut sql = format!("SELECT {COLUMNS} FROM approval WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    match filter.pending {
        Some(true) => sql.push_str(" AND state = 'pending'"),
        Some(false) => sql.push_str(" AND state <> 'pending'"),
        None => {}
    }
    if let Some(id) = before {
        values.push(id.to_value());
        sql.push_str(&format!(" AND id < ?{}", values.len()));
    }
    let assigned = "EXISTS (SELECT 1 FROM approval_approver p WHERE p.approval_id = approval.id AND p.person_id =";
    if let Some(person) = &filter.approver {
        values.push(person.to_value());
        sql.push_str(&format!(" AND {assigned} ?{})", values.len()));
    }
    if let Some(person) = &filter.visible_to {
        values.push(person.to_value());
        let n = values.len();
        sql.push_str(&format!(" AND (requested_by = ?{n} OR subject_id = ?{n} OR {assigned} ?{n}))"));
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
    let found = tx.query(&sql, &values, approval)?;
    found.into_iter().map(|a| with_approvers(tx, a)).collect()
}

/// Stores a new approval with its approvers.
pub fn insert_approval(tx: &Tx<'_>, a: &Approval) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO approval (id, run_id, visit, step_name, title, description, state, subject_id, requested_by,
                               role_id, created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            a.id, a.run_id, a.visit, a.step_name, a.title, a.description, a.state.as_str(), a.subject_id,
            a.requested_by, a.role_id, a.created_at, a.due_at
        ],
    )?;
    for person in &a.approvers {
        tx.execute(
            "INSERT INTO approval_approver (approval_id, person_id) VALUES (?1, ?2)",
            params![a.id, person],
        )?;
    }
    Ok(())
}

/// Stores the decision; false when somebody was first.
pub fn decide(
    tx: &Tx<'_>,
    id: &ApprovalId,
    state: ApprovalState,
    by: &PersonId,
    reason: Option<&str>,
) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE approval SET state = ?2, decided_at = ?3, decided_by = ?4, reason = ?5
         WHERE id = ?1 AND state = 'pending'",
        params![id, state.as_str(), tx.now(), by, reason],
    )?;
    Ok(changed == 1)
}

/// Closes what nobody needs to decide any more.
pub fn cancel_open(tx: &Tx<'_>, run: &RunId) -> Result<(), Problem> {
    tx.execute("UPDATE approval SET state = 'cancelled' WHERE run_id = ?1 AND state = 'pending'", params![run])?;
    Ok(())
}

/// Closes one that nobody needs to decide any more.
pub fn cancel_one(tx: &Tx<'_>, id: &ApprovalId) -> Result<(), Problem> {
    tx.execute("UPDATE approval SET state = 'cancelled' WHERE id = ?1 AND state = 'pending'", params![id])?;
    Ok(())
}
