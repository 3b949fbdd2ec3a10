//! The row of the queue itself: which installation this is, and whether jobs are held back.

use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::Tx;

/// The installation's name, made at the first call.
pub(super) fn instance(tx: &Tx<'_>) -> Result<String, Problem> {
    ensure(tx)?;
    tx.scalar("SELECT instance FROM job_queue WHERE one = 1", params![])
}

/// Whether the embedded queue holds its jobs back.
pub(super) fn is_paused(tx: &Tx<'_>) -> Result<bool, Problem> {
    let paused: Option<bool> =
        tx.query_opt("SELECT paused FROM job_queue WHERE one = 1", params![], |r| r.get("paused"))?;
    Ok(paused.unwrap_or(false))
}

/// Holds the embedded queue's jobs back, or lets them go on, from now on and after a restart.
pub(super) fn set_paused(tx: &Tx<'_>, paused: bool) -> Result<(), Problem> {
    ensure(tx)?;
    tx.execute("UPDATE job_queue SET paused = ?1 WHERE one = 1", params![paused])?;
    Ok(())
}

fn ensure(tx: &Tx<'_>) -> Result<(), Problem> {
    let name = format!("{:016x}", tx.random() as u64);
    tx.execute("INSERT OR IGNORE INTO job_queue (one, instance) VALUES (1, ?1)", params![name])?;
    Ok(())
}
