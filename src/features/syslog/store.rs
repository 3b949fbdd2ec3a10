//! SQL of the system log, in `logs.db`.

use super::{LogEntry, LogFilter};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Tx, Value};
use crate::platform::telemetry::LogRecord;

/// Adds records in their order.
pub fn insert_records(tx: &Tx<'_>, records: &[LogRecord]) -> Result<(), Problem> {
    for r in records {
        tx.execute(
            "INSERT INTO system_log (at, level, target, message, fields, request_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![r.at, r.level, r.target, r.message, Json(&r.fields), r.request_id],
        )?;
    }
    Ok(())
}

/// Entries before the one with the id `before`, newest first.
pub fn list_entries(
    tx: &Tx<'_>,
    filter: &LogFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<LogEntry>, Problem> {
    let mut sql = "SELECT id, at, level, target, message, fields, request_id FROM system_log WHERE id < ?1".to_owned();
    let mut values = vec![Value::Int(before.unwrap_or(i64::MAX))];
    if let Some(level) = &filter.level {
        values.push(Value::Text(level.clone()));
        sql.push_str(&format!(" AND level = ?{}", values.len()));
    }
    if let Some(q) = filter.q.as_deref().map(str::trim).filter(|q| !q.is_empty()) {
        values.push(Value::Text(q.to_owned()));
        let n = values.len();
        if q.starts_with("req_") {
            sql.push_str(&format!(" AND request_id = ?{n}"));
        } else {
            // instr instead of LIKE: what was typed is text, never a pattern.
            sql.push_str(&format!(
                " AND (instr(lower(message), lower(?{n})) OR instr(lower(target), lower(?{n})) OR instr(lower(fields), lower(?{n})))"
            ));
        }
    }
    values.push(Value::Int(i64::from(limit)));
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ?{}", values.len()));
    tx.query(&sql, &values, |r| {
        Ok(LogEntry {
            id: r.get::<i64>("id")?.to_string(),
            at: r.get("at")?,
            level: r.get("level")?,
            target: r.get("target")?,
            message: r.get("message")?,
            fields: r.get::<Json<_>>("fields")?.0,
            request_id: r.get("request_id")?,
        })
    })
}

/// How many entries are older than `older_than`.
pub fn count_older(tx: &Tx<'_>, older_than: Timestamp) -> Result<u64, Problem> {
    tx.scalar("SELECT count(*) FROM system_log WHERE at < ?1", params![older_than])
}

/// Deletes the oldest entries before `older_than`, at most `limit`; answers how many.
pub fn delete_older(tx: &Tx<'_>, older_than: Timestamp, limit: u32) -> Result<usize, Problem> {
    tx.execute(
        "DELETE FROM system_log WHERE id IN (SELECT id FROM system_log WHERE at < ?1 ORDER BY at LIMIT ?2)",
        params![older_than, limit],
    )
}

/// Gives freed pages back to the file system, at most `pages` of them.
pub fn shrink(tx: &Tx<'_>, pages: u32) -> Result<(), Problem> {
    tx.query(&format!("PRAGMA incremental_vacuum({pages})"), params![], |_| Ok(())).map(drop)
}
