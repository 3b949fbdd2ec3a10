//! SQL of metrics: counts by index.

use super::Standing;
use crate::base::problem::Problem;
use crate::features::access::reconciliation;
use crate::features::audit;
use crate::features::checkpoints::verification;
use crate::params;
use crate::platform::queue::views;
use crate::platform::store::Tx;

/// How things stand now.
pub fn get_standing(tx: &Tx<'_>) -> Result<Standing, Problem> {
    let counts = |sql: &str| tx.query(sql, params![], |r| Ok((r.get("name")?, r.get("n")?)));
    let (reconciliations_failed, reconciliations_held) = reconciliation::store::count_troubled(tx)?;
    Ok(Standing {
        jobs: views::count_by_name(tx)?,
        runs: counts("SELECT status AS name, count(*) AS n FROM run GROUP BY status")?,
        assignments: counts("SELECT state AS name, count(*) AS n FROM assignment GROUP BY state")?,
        still_present: reconciliation::items::store::count_still_present(tx, tx.now())?,
        reconciliations_failed,
        reconciliations_held,
        audit: audit::store::newest(tx)?,
        verification: verification::store::find(tx)?,
        audit_fault: verification::store::find_fault(tx)?.is_some(),
        connectors: tx.query("SELECT id FROM connector", params![], |r| r.get("id"))?,
        at: tx.now(),
    })
}
