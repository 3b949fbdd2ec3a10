//! Jobs and a clock in doubt: what stands back meanwhile, and what the wrong time left behind.
//!
//! # Invariants
//! - A job that stands back keeps its id, its key and the instant that it came for.
//! - It is let go by [`let_go`] only, to run at that instant: at once when that has passed.

use std::time::Duration;

use super::ledger;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// No job that was begun waits longer for its next attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Notes that a running job came while the clock is in doubt; answers until when it is to be put off. It is
/// looked at again then, and stands back again.
pub fn stand_back(tx: &Tx<'_>, id: &JobId) -> Result<Timestamp, Problem> {
    tx.execute("UPDATE job SET due_from = coalesce(due_from, run_at) WHERE id = ?1", params![id])?;
    Ok(tx.now().plus(LONGEST_WAIT))
}

/// How many jobs stand back.
pub fn count_standing_back(tx: &Tx<'_>) -> Result<u64, Problem> {
    tx.scalar("SELECT count(*) FROM job WHERE due_from IS NOT NULL", params![])
}

/// Lets up to `limit` jobs go that stand back; answers how many those were.
pub fn let_go(tx: &Tx<'_>, limit: u32) -> Result<usize, Problem> {
    let count = tx.execute(
        "UPDATE job SET run_at = due_from, due_from = NULL
         WHERE id IN (SELECT id FROM job WHERE due_from IS NOT NULL ORDER BY id LIMIT ?1)",
        params![limit],
    )?;
    ledger::wake(tx);
    Ok(count)
}

/// Brings back what a clock that was ahead put too far away, now that it was set back: jobs that were made in
/// that future come as long after now as they were to come after they were made, and what was put off further
/// than anything is comes now. A job that comes too early for what it is to do looks at the instant itself.
pub fn bring_back(tx: &Tx<'_>) -> Result<usize, Problem> {
    let brought = tx.execute(
        "UPDATE job SET run_at = CASE WHEN created_at > ?1 THEN ?1 + max(0, run_at - created_at) ELSE ?1 END
         WHERE state IN ('held', 'handed') AND active = 0 AND due_from IS NULL AND run_at > ?1
           AND (created_at > ?1 OR fence > 0 AND run_at > ?2)",
        params![tx.now(), tx.now().plus(LONGEST_WAIT)],
    )?;
    ledger::wake(tx);
    Ok(brought)
}
