//! SQL of the system log.

use super::LogEntry;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Tx};
use crate::platform::telemetry::Record;

/// Adds a record.
pub fn insert(tx: &Tx<'_>, record: &Record) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO system_log (at, level, target, message, fields, request_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![tx.now(), record.level, record.target, record.message, Json(&record.fields), record.request_id],
    )?;
    Ok(())
}

/// Entries before `before`, newest first; `q` narrows by message, target, fields or request id.
pub fn list(
    tx: &Tx<'_>,
    level: Option<&str>,
    q: Option<&str>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<LogEntry>, Problem> {
    tx.query(
        "SELECT id, at, level, target, message, fields, request_id FROM system_log
         WHERE id < ?1 AND (?2 IS NULL OR level = ?2)
           AND (?3 IS NULL OR request_id = ?3 OR instr(lower(message), lower(?3)) > 0
                OR instr(lower(target), lower(?3)) > 0 OR instr(lower(fields), lower(?3)) > 0)
         ORDER BY id DESC LIMIT ?4",
        params![before.unwrap_or(i64::MAX), level, q, limit],
        |r| {
            Ok(LogEntry {
                id: r.get::<i64>("id")?.to_string(),
                at: r.get("at")?,
                level: r.get("level")?,
                target: r.get("target")?,
                message: r.get("message")?,
                fields: r.get::<Json<serde_json::Value>>("fields")?.0,
                request_id: r.get("request_id")?,
            })
        },
    )
}

/// Removes at most `limit` entries older than `before`; answers how many.
pub fn delete_before(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<usize, Problem> {
    tx.execute(
        "DELETE FROM system_log WHERE id IN (SELECT id FROM system_log WHERE at < ?1 ORDER BY at LIMIT ?2)",
        params![before, limit],
    )
}

/// How many entries are older than `before`.
pub fn count_before(tx: &Tx<'_>, before: Timestamp) -> Result<u64, Problem> {
    tx.scalar("SELECT count(*) FROM system_log WHERE at < ?1", params![before])
}

/// Gives freed pages back to the file system, at most `pages` of them; answers how many are left.
pub fn shrink(tx: &Tx<'_>, pages: u32) -> Result<u64, Problem> {
    tx.query(&format!("PRAGMA incremental_vacuum({pages})"), params![], |_| Ok(()))?;
    tx.scalar("PRAGMA freelist_count", params![])
}
