//! The SQL on `queue.db`: apalis-sqlite's tables `Jobs` and `Workers`.
//!
//! # Invariants
//! - `run_at` is the instant in milliseconds, unlike apalis-sqlite's own: only statements of this page
//!   read it, and a retry is neither early nor waits for the next whole second.
//! - A row that is locked is being run by this process: at start all locks are those of former boots.
//! - What the ledger hands over while the row is still locked is not lost: the attempt is over there,
//!   and the row says so ([`WANTED_AGAIN`]) until it hears of that.

use super::ledger::{Ticket, id_of_ulid, ulid_of};
use super::names::QUEUE;
use super::port::{Known, QueueCounts};
use super::retry::MAX_ATTEMPTS;
use super::slots::Free;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// `priority` of a job that stays inside Tenure, and of one that calls out: the two are claimed
/// apart, each by the index that apalis-sqlite keeps for claims.
const INSIDE: i64 = 1;
const CALLS_OUT: i64 = 0;

/// Indexes of apalis-sqlite that no statement of ours reads: what stays is the one on `id` and
/// `idx_jobs_pending`. Each would be written up to three times per job; `LIdx` moreover makes every
/// acknowledgement walk all rows of a worker.
pub(super) const UNUSED_INDEXES: [&str; 8] = [
    "LIdx",
    "idx_jobs_job_type_status_run_at",
    "idx_jobs_status_run_at",
    "idx_jobs_completed_done_at",
    "idx_jobs_running",
    "idx_jobs_idempotency_key",
    "idx_jobs_failed",
    "idx_jobs_claimable",
];

/// An instant that is no larger is one in seconds: in milliseconds it would be of the year 1973.
const LARGEST_IN_SECONDS: i64 = 99_999_999_999;

/// `metadata` of a locked row that the ledger handed over again, with a new `run_at`.
const WANTED_AGAIN: &str = "wanted again";

/// Frees what former boots held, and registers this one.
pub(super) fn take_over(tx: &Tx<'_>, worker: &str) -> Result<(), Problem> {
    let freed = tx.execute(
        "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, metadata = NULL
         WHERE lock_by IS NOT NULL",
        params![],
    )?;
    if freed > 0 {
        tracing::info!(freed, "jobs that a former process held wait again");
    }
    // Rows of a version that counted whole seconds.
    tx.execute(
        "UPDATE Jobs SET run_at = run_at * 1000 WHERE run_at BETWEEN 1 AND ?1",
        params![LARGEST_IN_SECONDS],
    )?;
    tx.execute("DELETE FROM Workers", params![])?;
    tx.execute(
        "INSERT INTO Workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES (?1, ?2, 'Tenure', '', ?3, ?3)",
        params![worker, QUEUE, seconds(tx.now())],
    )?;
    Ok(())
}

/// Takes a job in, or gives it another instant.
pub(super) fn add(tx: &Tx<'_>, ticket: &Ticket) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO Jobs (job, id, job_type, status, attempts, max_attempts, run_at, priority)
         VALUES (CAST(?1 AS BLOB), ?2, ?3, 'Pending', 0, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET run_at = ?5, priority = ?6,
                                        metadata = iif(lock_by IS NULL, NULL, ?7)",
        params![
            format!("\"{}\"", ticket.id),
            ulid_of(&ticket.id),
            QUEUE,
            MAX_ATTEMPTS,
            ticket.run_at,
            if ticket.calls_out { CALLS_OUT } else { INSIDE },
            WANTED_AGAIN
        ],
    )?;
    Ok(())
}

/// When the next job is due for which a slot is free.
pub(super) fn next_due(tx: &Tx<'_>, free: Free) -> Result<Option<Timestamp>, Problem> {
    let mut next: Option<Timestamp> = None;
    for (priority, slots) in [(INSIDE, free.all), (CALLS_OUT, free.calling)] {
        if slots == 0 {
            continue;
        }
        let at: Option<Timestamp> = tx.scalar(
            "SELECT min(run_at) FROM Jobs
             WHERE job_type = ?1 AND priority = ?2 AND status = 'Pending' AND lock_by IS NULL",
            params![QUEUE, priority],
        )?;
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next)
}

/// Due jobs of one kind, those that are due longest first; walks apalis-sqlite's index for claims and
/// sorts nothing.
pub(super) const DUE: &str = "SELECT id, run_at FROM Jobs
    WHERE job_type = ?1 AND priority = ?2 AND status = 'Pending' AND lock_by IS NULL AND run_at <= ?3
    ORDER BY run_at, id LIMIT ?4";

/// Locks the jobs that are due longest, of both kinds together.
pub(super) fn claim(tx: &Tx<'_>, worker: &str, free: Free) -> Result<Vec<(JobId, bool)>, Problem> {
    let now = tx.now();
    let mut due: Vec<(Timestamp, String, bool)> = Vec::new();
    for (priority, slots) in [(INSIDE, free.all), (CALLS_OUT, free.calling)] {
        if slots == 0 {
            continue;
        }
        let page = tx.query(
            DUE,
            params![QUEUE, priority, now, slots],
            |r| Ok((r.get("run_at")?, r.get("id")?, priority == CALLS_OUT)),
        )?;
        due.extend(page);
    }
    due.sort();
    due.truncate(free.all as usize);
    for (_, id, _) in &due {
        tx.execute(
            "UPDATE Jobs SET status = 'Running', lock_by = ?2, lock_at = ?3, attempts = attempts + 1
             WHERE id = ?1 AND lock_by IS NULL",
            params![id, worker, seconds(now)],
        )?;
    }
    Ok(due.into_iter().map(|(_, id, calls_out)| (id_of_ulid(&id), calls_out)).collect())
}

/// What becomes of a row after an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settle {
    /// It is over.
    Forget,
    /// It waits until then.
    Again(Timestamp),
    /// It waits as before.
    Release,
}

/// Tells the row how its attempt ended; one that the ledger handed over again waits as that said.
pub(super) fn settle(tx: &Tx<'_>, ulid: &str, worker: &str, what: Settle) -> Result<(), Problem> {
    let (run_at, uncounted) = match what {
        Settle::Forget => {
            let sql = "DELETE FROM Jobs WHERE id = ?1 AND lock_by = ?2 AND metadata IS NULL";
            if tx.execute(sql, params![ulid, worker])? == 1 {
                return Ok(());
            }
            (None, false)
        }
        Settle::Again(at) => (Some(at), false),
        Settle::Release => (None, true),
    };
    tx.execute(
        "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, metadata = NULL,
                         run_at = iif(metadata IS NULL, coalesce(?3, run_at), run_at),
                         attempts = max(attempts - ?4, 0)
         WHERE id = ?1 AND lock_by = ?2",
        params![ulid, worker, run_at, uncounted],
    )?;
    Ok(())
}

/// What apalis-sqlite's other columns count.
fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

/// Forgets a job that does not run.
pub(super) fn remove(tx: &Tx<'_>, id: &JobId) -> Result<bool, Problem> {
    let sql = "DELETE FROM Jobs WHERE id = ?1 AND lock_by IS NULL";
    Ok(tx.execute(sql, params![ulid_of(id)])? == 1)
}

/// Every job that is there.
pub(super) fn list_known(tx: &Tx<'_>) -> Result<Vec<Known>, Problem> {
    tx.query("SELECT id, iif(lock_by IS NULL, run_at, NULL) AS at FROM Jobs WHERE job_type = ?1", params![QUEUE], |r| {
        Ok(Known { id: id_of_ulid(&r.get::<String>("id")?).to_string(), not_before: r.get("at")? })
    })
}

/// How many jobs are in which state.
pub(super) fn counts(tx: &Tx<'_>) -> Result<QueueCounts, Problem> {
    let found = tx.query_opt(
        "SELECT count(*) FILTER (WHERE lock_by IS NULL AND run_at <= ?2) AS waiting,
                count(*) FILTER (WHERE lock_by IS NULL AND run_at > ?2) AS delayed,
                count(*) FILTER (WHERE lock_by IS NOT NULL) AS active
         FROM Jobs WHERE job_type = ?1",
        params![QUEUE, tx.now()],
        |r| {
            Ok(QueueCounts {
                waiting: r.get("waiting")?,
                delayed: r.get("delayed")?,
                active: r.get("active")?,
            })
        },
    )?;
    Ok(found.unwrap_or_default())
}

/// Forgets every job: another queue carries them now.
pub(super) fn clear(tx: &Tx<'_>) -> Result<usize, Problem> {
    tx.execute("DELETE FROM Jobs", params![])
}
