//! SQL of evidence packs: which approvals stand around a run.

use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::Tx;

/// The approvals of a run, of those that it is part of and of those inside it; and whether they are of another run.
pub fn list_approvals(tx: &Tx<'_>, run: &str) -> Result<Vec<(String, bool)>, Problem> {
    tx.query(
        "WITH RECURSIVE above (id) AS (
           SELECT ?1 UNION SELECT r.parent_run_id FROM run r JOIN above a ON r.id = a.id WHERE r.parent_run_id IS NOT NULL
         ), below (id) AS (
           SELECT ?1 UNION SELECT r.id FROM below b CROSS JOIN run r ON r.parent_run_id = b.id
         ), family (id) AS (SELECT id FROM above UNION SELECT id FROM below)
         SELECT a.id, f.id <> ?1 FROM family f CROSS JOIN approval a ON a.run_id = f.id ORDER BY a.id",
        params![run],
        |r| Ok((r.at(0)?, r.at(1)?)),
    )
}
