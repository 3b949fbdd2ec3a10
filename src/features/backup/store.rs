//! SQL of backups.

use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::Tx;

/// Ends every session: each belongs to an epoch of its account.
pub fn end_all_sessions(tx: &Tx<'_>) -> Result<usize, Problem> {
    tx.execute("UPDATE account SET epoch = epoch + 1", params![])
}

/// Content that the database names: its hash, its size, and whether a document rests on it.
pub fn list_blobs(tx: &Tx<'_>) -> Result<Vec<(String, u64, bool)>, Problem> {
    tx.query(
        "SELECT b.sha256, b.size_bytes, EXISTS (SELECT 1 FROM document d WHERE d.sha256 = b.sha256) AS used
         FROM blob b ORDER BY b.sha256",
        params![],
        |r| Ok((r.get("sha256")?, r.get("size_bytes")?, r.get("used")?)),
    )
}
