//! SQL of checkpoints.

use super::{Reason, Record, Refusal, RefusalKind};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::note::Checkpoint;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

fn record(r: &Row<'_>) -> Result<Record, Problem> {
    let reason: String = r.get("reason")?;
    Ok(Record {
        number: r.get("number")?,
        checkpoint: Checkpoint { origin: r.get("origin")?, size: r.get("size")?, root: r.get("root")? },
        note: r.get("note")?,
        reason: Reason::parse(&reason).ok_or_else(|| Problem::internal(format!("unknown reason {reason}")))?,
        made_at: r.get("made_at")?,
    })
}

/// Adds a checkpoint; answers its number.
pub fn insert(tx: &Tx<'_>, checkpoint: &Checkpoint, note: &str, reason: Reason) -> Result<u64, Problem> {
    tx.scalar(
        "INSERT INTO checkpoint (size, root, origin, note, reason, made_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING number",
        params![checkpoint.size, checkpoint.root, checkpoint.origin, note, reason.as_str(), tx.now()],
    )
}

/// Whether this database knows of checkpoints: those of versions before them do not.
pub fn is_there(tx: &Tx<'_>) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'checkpoint')", params![])
}

/// The newest checkpoint.
pub fn find_newest(tx: &Tx<'_>) -> Result<Option<Record>, Problem> {
    tx.query_opt("SELECT * FROM checkpoint ORDER BY number DESC LIMIT 1", params![], record)
}

/// One checkpoint.
pub fn find(tx: &Tx<'_>, number: u64) -> Result<Option<Record>, Problem> {
    tx.query_opt("SELECT * FROM checkpoint WHERE number = ?1", params![number], record)
}

/// The newest checkpoint of just so many entries.
pub fn find_of_size(tx: &Tx<'_>, size: u64) -> Result<Option<Record>, Problem> {
    tx.query_opt("SELECT * FROM checkpoint WHERE size = ?1 ORDER BY number DESC LIMIT 1", params![size], record)
}

/// Checkpoints before `before`, newest first.
pub fn list(tx: &Tx<'_>, before: Option<u64>, limit: u32) -> Result<Vec<Record>, Problem> {
    let before = before.and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX);
    tx.query("SELECT * FROM checkpoint WHERE number < ?1 ORDER BY number DESC LIMIT ?2", params![before, limit], record)
}

/// A checkpoint in one place, or on its way there.
#[derive(Debug, Clone)]
pub struct Copy {
    /// `file`, `s3` or `siem`.
    pub place: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub error: Option<String>,
    /// When the next attempt is.
    pub next_attempt_at: Option<Timestamp>,
    /// Since when it is there.
    pub stored_at: Option<Timestamp>,
}

fn copy(r: &Row<'_>) -> Result<Copy, Problem> {
    Ok(Copy {
        place: r.get("place")?,
        attempts: r.get("attempts")?,
        error: r.get("error")?,
        next_attempt_at: r.get("next_attempt_at")?,
        stored_at: r.get("stored_at")?,
    })
}

/// Where a checkpoint is to be.
pub fn list_copies(tx: &Tx<'_>, number: u64) -> Result<Vec<Copy>, Problem> {
    tx.query("SELECT * FROM checkpoint_copy WHERE number = ?1 ORDER BY place", params![number], copy)
}

/// Notes that a checkpoint is to be kept in a place.
pub fn insert_copy(tx: &Tx<'_>, number: u64, place: &str) -> Result<(), Problem> {
    tx.execute("INSERT INTO checkpoint_copy (number, place) VALUES (?1, ?2)", params![number, place])?;
    Ok(())
}

/// Notes that the place has it.
pub fn mark_stored(tx: &Tx<'_>, number: u64, place: &str) -> Result<(), Problem> {
    tx.execute(
        "UPDATE checkpoint_copy SET attempts = attempts + 1, error = NULL, next_attempt_at = NULL, stored_at = ?3
         WHERE number = ?1 AND place = ?2 AND stored_at IS NULL",
        params![number, place, tx.now()],
    )?;
    Ok(())
}

/// Notes a failed attempt; answers how many there were.
pub fn mark_failed(tx: &Tx<'_>, number: u64, place: &str, error: &str) -> Result<u32, Problem> {
    tx.scalar(
        "UPDATE checkpoint_copy SET attempts = attempts + 1, error = ?3 WHERE number = ?1 AND place = ?2 RETURNING attempts",
        params![number, place, error],
    )
}

/// Notes when the next attempt is.
pub fn set_next_attempt(tx: &Tx<'_>, number: u64, place: &str, at: Timestamp) -> Result<(), Problem> {
    tx.execute("UPDATE checkpoint_copy SET next_attempt_at = ?3 WHERE number = ?1 AND place = ?2", params![number, place, at])?;
    Ok(())
}

/// The oldest copy that a place still lacks.
pub fn find_pending(tx: &Tx<'_>, place: &str) -> Result<Option<Copy>, Problem> {
    tx.query_opt(
        "SELECT * FROM checkpoint_copy WHERE place = ?1 AND stored_at IS NULL ORDER BY number LIMIT 1",
        params![place],
        copy,
    )
}

/// One of `places` that failed to take a checkpoint at least `attempts` times in a row, and why.
pub fn find_failing(tx: &Tx<'_>, places: &[&str], attempts: u32) -> Result<Option<(String, String)>, Problem> {
    tx.query_opt(
        "SELECT place, error FROM checkpoint_copy
         WHERE stored_at IS NULL AND attempts >= ?1 AND error IS NOT NULL
           AND place IN (SELECT value FROM json_each(?2)) ORDER BY place, number LIMIT 1",
        params![attempts, Json(places)],
        |r| Ok((r.at(0)?, r.at(1)?)),
    )
}

/// Notes that a copy is not tried any more, because of `why`.
pub fn mark_dropped(tx: &Tx<'_>, number: u64, place: &str, why: &str) -> Result<(), Problem> {
    tx.execute(
        "UPDATE checkpoint_copy SET error = ?3, next_attempt_at = NULL WHERE number = ?1 AND place = ?2 AND stored_at IS NULL",
        params![number, place, why],
    )?;
    Ok(())
}

/// The checkpoints that a place lacks and that nobody tries to bring there: one that is tried has no error yet, or a
/// next attempt.
pub fn list_dropped(tx: &Tx<'_>, place: &str) -> Result<Vec<u64>, Problem> {
    tx.query(
        "SELECT number FROM checkpoint_copy
         WHERE place = ?1 AND stored_at IS NULL AND error IS NOT NULL AND next_attempt_at IS NULL ORDER BY number",
        params![place],
        |r| r.at(0),
    )
}

/// Notes that a copy is tried again from the beginning.
pub fn mark_taken_up(tx: &Tx<'_>, number: u64, place: &str) -> Result<(), Problem> {
    tx.execute(
        "UPDATE checkpoint_copy SET attempts = 0, error = NULL WHERE number = ?1 AND place = ?2 AND stored_at IS NULL",
        params![number, place],
    )?;
    Ok(())
}

/// How many a place still lacks.
pub fn count_pending(tx: &Tx<'_>, place: &str) -> Result<u64, Problem> {
    tx.scalar("SELECT count(*) FROM checkpoint_copy WHERE place = ?1 AND stored_at IS NULL", params![place])
}

/// Entries of the newest checkpoint that a place has.
pub fn find_newest_size(tx: &Tx<'_>, place: &str) -> Result<Option<u64>, Problem> {
    tx.query_opt(
        "SELECT c.size FROM checkpoint c JOIN checkpoint_copy k ON k.number = c.number
         WHERE k.place = ?1 AND k.stored_at IS NOT NULL ORDER BY c.number DESC LIMIT 1",
        params![place],
        |r| r.at(0),
    )
}

/// Why the last checkpoint was not signed, and since when.
pub fn find_refusal(tx: &Tx<'_>) -> Result<Option<(Refusal, Timestamp)>, Problem> {
    tx.query_opt("SELECT kind, detail, at FROM checkpoint_refusal", params![], |r| {
        let kind: String = r.get("kind")?;
        let kind = RefusalKind::parse(&kind).ok_or_else(|| Problem::internal(format!("unknown kind {kind}")))?;
        Ok((Refusal { kind, detail: r.get("detail")? }, r.get("at")?))
    })
}

/// Remembers that nothing was signed, since when it is so.
pub fn insert_refusal(tx: &Tx<'_>, refusal: &Refusal) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO checkpoint_refusal (one, kind, detail, at) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (one) DO UPDATE SET kind = excluded.kind, detail = excluded.detail",
        params![refusal.kind.as_str(), refusal.detail, tx.now()],
    )?;
    Ok(())
}

/// Forgets it: what is signed again is well.
pub fn delete_refusal(tx: &Tx<'_>) -> Result<(), Problem> {
    tx.execute("DELETE FROM checkpoint_refusal", params![])?;
    Ok(())
}

