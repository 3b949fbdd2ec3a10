//! SQL of what runs leave behind.

use serde_json::Value as JsonValue;

use crate::base::id::RunId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Tx};

/// At most `limit` runs that a wait is stored for although they ended or are not there.
pub fn list_over_waits(tx: &Tx<'_>, limit: u32) -> Result<Vec<RunId>, Problem> {
    tx.query(
        "SELECT DISTINCT w.run_id FROM document_wait w LEFT JOIN run r ON r.id = w.run_id
         WHERE r.id IS NULL OR r.ended_at IS NOT NULL ORDER BY w.run_id LIMIT ?1",
        params![limit],
        |r| r.get("run_id"),
    )
}

/// The large output of a step.
#[derive(Debug, Clone)]
pub struct LargeOutput {
    /// The execution of the step.
    pub step: String,
    /// Its run.
    pub run: RunId,
    /// How many bytes.
    pub bytes: u64,
}

/// At most `limit` large outputs of runs that ended at `until` or before.
pub fn list_large_outputs(tx: &Tx<'_>, until: Timestamp, limit: u32) -> Result<Vec<LargeOutput>, Problem> {
    // The size stands here as in the index: with a parameter the index could not be used.
    tx.query(
        "SELECT s.id, s.run_id, octet_length(s.output) AS bytes FROM run_step s JOIN run r ON r.id = s.run_id
         WHERE octet_length(s.output) > 16384 AND r.ended_at <= ?1 ORDER BY s.id LIMIT ?2",
        params![until, limit],
        |r| Ok(LargeOutput { step: r.get("id")?, run: r.get("run_id")?, bytes: r.get("bytes")? }),
    )
}

/// Puts something else in the place of an output.
pub fn replace_output(tx: &Tx<'_>, step: &str, output: &JsonValue) -> Result<(), Problem> {
    tx.execute("UPDATE run_step SET output = ?2 WHERE id = ?1", params![step, Json(output)])?;
    Ok(())
}
