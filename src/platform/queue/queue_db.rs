//! The SQL on `queue.db`: apalis-sqlite's tables `Jobs` and `Workers`.
//!
//! # Invariants
//! - `run_at` counts whole seconds and is rounded up for waits: late by less than a second, never
//!   early.
//! - A row that is locked is being run by this process: at start all locks are those of former boots.

use super::ledger::{Ticket, id_of_ulid, ulid_of};
use super::names::QUEUE;
use super::port::QueueCounts;
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

/// Frees what former boots held, and registers this one.
pub(super) fn take_over(tx: &Tx<'_>, worker: &str) -> Result<(), Problem> {
    let freed = tx.execute(
        "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL WHERE lock_by IS NOT NULL",
        params![],
    )?;
    if freed > 0 {
        tracing::info!(freed, "jobs that a former process held wait again");
    }
    tx.execute("DELETE FROM Workers", params![])?;
    tx.execute(
        "INSERT INTO Workers (id, worker_type, storage_name, layers, last_seen, started_at)
         VALUES (?1, ?2, 'Tenure', '', ?3, ?3)",
        params![worker, QUEUE, seconds(tx.now())],
    )?;
    Ok(())
}

pub(super) fn add(tx: &Tx<'_>, ticket: &Ticket) -> Result<(), Problem> {
    // What is due is due now; only a wait is rounded up.
    let run_at = if ticket.run_at <= tx.now() { seconds(ticket.run_at) } else { seconds_up(ticket.run_at) };
    tx.execute(
        "INSERT INTO Jobs (job, id, job_type, status, attempts, max_attempts, run_at, priority)
         VALUES (CAST(?1 AS BLOB), ?2, ?3, 'Pending', 0, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET run_at = ?5, priority = ?6 WHERE lock_by IS NULL",
        params![
            format!("\"{}\"", ticket.id),
            ulid_of(&ticket.id),
            QUEUE,
            MAX_ATTEMPTS,
            run_at,
            if ticket.calls_out { CALLS_OUT } else { INSIDE }
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
        let at: Option<i64> = tx.scalar(
            "SELECT min(run_at) FROM Jobs
             WHERE job_type = ?1 AND priority = ?2 AND status = 'Pending' AND lock_by IS NULL",
            params![QUEUE, priority],
        )?;
        let at = at.map(|s| Timestamp::from_millis(s.saturating_mul(1000)));
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
    let now = seconds(tx.now());
    let mut due: Vec<(i64, String, bool)> = Vec::new();
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
            params![id, worker, now],
        )?;
    }
    Ok(due.into_iter().map(|(_, id, calls_out)| (id_of_ulid(&id), calls_out)).collect())
}

/// What becomes of a row after an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settle {
    /// It is over.
    Forget,
    /// It waits until this second.
    Again(i64),
    /// It waits as before.
    Release,
}

pub(super) fn settle(tx: &Tx<'_>, ulid: &str, worker: &str, what: Settle) -> Result<(), Problem> {
    match what {
        Settle::Forget => {
            tx.execute("DELETE FROM Jobs WHERE id = ?1 AND lock_by = ?2", params![ulid, worker])?
        }
        Settle::Again(run_at) => tx.execute(
            "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL, run_at = ?3
             WHERE id = ?1 AND lock_by = ?2",
            params![ulid, worker, run_at],
        )?,
        Settle::Release => tx.execute(
            "UPDATE Jobs SET status = 'Pending', lock_by = NULL, lock_at = NULL,
                             attempts = max(attempts - 1, 0)
             WHERE id = ?1 AND lock_by = ?2",
            params![ulid, worker],
        )?,
    };
    Ok(())
}

pub(super) fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}

pub(super) fn seconds_up(at: Timestamp) -> i64 {
    seconds(Timestamp::from_millis(at.as_millis().saturating_add(999)))
}


/// Forgets a job that does not run.
pub(super) fn remove(tx: &Tx<'_>, id: &JobId) -> Result<bool, Problem> {
    let sql = "DELETE FROM Jobs WHERE id = ?1 AND lock_by IS NULL";
    Ok(tx.execute(sql, params![ulid_of(id)])? == 1)
}

/// Every job that is there.
pub(super) fn list_known(tx: &Tx<'_>) -> Result<Vec<String>, Problem> {
    tx.query("SELECT id FROM Jobs WHERE job_type = ?1", params![QUEUE], |r| {
        Ok(id_of_ulid(&r.get::<String>("id")?).to_string())
    })
}

/// How many jobs are in which state.
pub(super) fn counts(tx: &Tx<'_>) -> Result<QueueCounts, Problem> {
    let found = tx.query_opt(
        "SELECT count(*) FILTER (WHERE lock_by IS NULL AND run_at <= ?2) AS waiting,
                count(*) FILTER (WHERE lock_by IS NULL AND run_at > ?2) AS delayed,
                count(*) FILTER (WHERE lock_by IS NOT NULL) AS active
         FROM Jobs WHERE job_type = ?1",
        params![QUEUE, seconds(tx.now())],
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
