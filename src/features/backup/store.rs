//! SQL of backups.

use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::Tx;

/// Ends every session: each belongs to an epoch of its account.
pub fn end_all_sessions(tx: &Tx<'_>) -> Result<usize, Problem> {
    tx.execute("UPDATE account SET epoch = epoch + 1", params![])
}
