//! SQL across what a leaver holds and owes.

use crate::base::id::{ApprovalId, AssignmentId, PersonId, TaskId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// Live assignments of somebody that were made until `until`, after `after` by id.
pub fn live_assignments(
    tx: &Tx<'_>,
    person: &PersonId,
    until: Timestamp,
    after: &str,
    limit: u32,
) -> Result<Vec<AssignmentId>, Problem> {
    tx.query(
        "SELECT id FROM assignment WHERE person_id = ?1 AND created_at <= ?2 AND id > ?3
           AND state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned') ORDER BY id LIMIT ?4",
        params![person, until, after, limit],
        |r| r.get("id"),
    )
}

/// Pending approvals in which somebody has a seat of the open stage, after `after` by id.
pub fn owed_approvals(tx: &Tx<'_>, person: &PersonId, after: &str, limit: u32) -> Result<Vec<ApprovalId>, Problem> {
    tx.query(
        "SELECT a.id FROM approval_approver p JOIN approval a ON a.id = p.approval_id
         WHERE p.person_id = ?1 AND a.state = 'pending' AND p.stage = a.stage AND p.left_at IS NULL AND a.id > ?2
         ORDER BY a.id LIMIT ?3",
        params![person, after, limit],
        |r| r.get("id"),
    )
}

/// Tasks that are not over and that somebody has or may take, after `after` by id.
pub fn owed_tasks(tx: &Tx<'_>, person: &PersonId, after: &str, limit: u32) -> Result<Vec<TaskId>, Problem> {
    tx.query(
        "SELECT id FROM task t WHERE t.state IN ('open', 'assigned', 'held') AND t.id > ?2
           AND (t.assignee_id = ?1
                OR EXISTS (SELECT 1 FROM task_candidate c WHERE c.task_id = t.id AND c.person_id = ?1))
         ORDER BY t.id LIMIT ?3",
        params![person, after, limit],
        |r| r.get("id"),
    )
}
