//! What the ledger makes of a job that a worker found in a queue which others may write to.
//!
//! # Invariants
//! - The ledger decides whether a job runs. One that has ended runs again only if the queue says that
//!   it was finished there by the very attempt the ledger knows, and is waiting all the same: then
//!   somebody asked for another attempt.
//! - A job that somebody else put in gets a row when it is taken, one per id and timestamp.
//! - An attempt never starts before its instant, unless somebody moved the job forward by hand.

use super::ledger::{self, Start};
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// A job as it stood in the queue when it was taken.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The queue's id of it.
    pub(super) queue_id: String,
    /// When it was put in, in milliseconds.
    pub(super) timestamp: i64,
    /// Which handler runs it.
    pub(super) name: String,
    /// What the handler is given, as JSON.
    pub(super) payload: String,
    /// Attempts that the queue counted.
    pub(super) attempts_made: u32,
    /// The fence with which it was finished in the queue, if it ever was.
    pub(super) fence: Option<i64>,
}

impl Found {
    /// The ledger's id, when the ledger put it in.
    fn own_id(&self) -> Option<JobId> {
        self.queue_id.parse().ok()
    }

    fn reference(&self) -> String {
        format!("{}@{}", self.queue_id, self.timestamp)
    }
}

/// Starts an attempt, if the ledger wants one; `alone` says that nothing else runs meanwhile.
pub(super) fn pick_up(tx: &Tx<'_>, found: &Found, alone: bool) -> Result<Start, Problem> {
    let id = match (find(tx, found)?, found.own_id()) {
        (Some(id), _) => id,
        (None, Some(_)) => return Ok(Start::Gone),
        (None, None) => adopt(tx, found)?,
    };
    if let Some(fence) = found.fence {
        tx.execute(
            "UPDATE job SET state = 'handed', attempts_made = ?3, run_at = ?4, finished_on = NULL
             WHERE id = ?1 AND fence = ?2 AND state IN ('done', 'failed')",
            params![id, fence, found.attempts_made, tx.now()],
        )?;
    }
    // Waiting in the queue with all its attempts counted: moved forward by hand. With fewer, the
    // queue was not told of the last one, and the job came back too early.
    tx.execute(
        "UPDATE job SET run_at = ?2
         WHERE id = ?1 AND state = 'handed' AND run_at > ?2 AND attempts_made <= ?3",
        params![id, tx.now(), found.attempts_made],
    )?;
    ledger::start(tx, &id, alone)
}

fn find(tx: &Tx<'_>, found: &Found) -> Result<Option<JobId>, Problem> {
    match found.own_id() {
        Some(id) => tx.query_opt("SELECT id FROM job WHERE id = ?1", params![id], |r| r.get("id")),
        None => tx.query_opt("SELECT id FROM job WHERE queue_ref = ?1", params![found.reference()], |r| r.get("id")),
    }
}

fn adopt(tx: &Tx<'_>, found: &Found) -> Result<JobId, Problem> {
    let id: JobId = tx.new_id();
    // What is no JSON is kept as a text.
    let payload = match serde_json::from_str::<serde::de::IgnoredAny>(&found.payload) {
        Ok(_) => found.payload.clone(),
        Err(_) => serde_json::Value::from(found.payload.as_str()).to_string(),
    };
    tx.execute(
        "INSERT INTO job (id, name, payload, state, run_at, attempts_made, created_at, queue_ref)
         VALUES (?1, ?2, ?3, 'handed', ?4, ?5, ?6, ?7)",
        params![
            id,
            found.name,
            payload,
            tx.now(),
            found.attempts_made,
            Timestamp::from_millis(found.timestamp),
            found.reference()
        ],
    )?;
    tracing::info!(job = %id, name = found.name, queue_id = found.queue_id, "a job that somebody else put into the queue");
    Ok(id)
}

/// How the ledger stands to a job that the queue holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does not know it, or holds it until later.
    Unwanted,
    /// It wants it run, not before this instant.
    Waiting(Timestamp),
    /// An attempt is recorded as running.
    Running,
    /// It is done.
    Done,
    /// It failed for good.
    Failed,
}

/// How the ledger stands to a job, with what the queue shows of it.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) standing: Standing,
    pub(super) attempts_made: u32,
    pub(super) fence: i64,
    pub(super) failed_reason: Option<String>,
    /// Why its attempts failed, the newest last.
    pub(super) reasons: Vec<String>,
}

/// How many reasons are told to the queue.
const REASONS: u32 = 10;

/// What is to become of a job in the queue.
pub(super) fn judge(tx: &Tx<'_>, found: &Found) -> Result<Verdict, Problem> {
    let nothing = Verdict {
        standing: Standing::Unwanted,
        attempts_made: found.attempts_made,
        fence: 0,
        failed_reason: None,
        reasons: Vec::new(),
    };
    let Some(id) = find(tx, found)? else { return Ok(nothing) };
    let verdict = tx.query_opt(
        "SELECT state, active, run_at, attempts_made, fence, failed_reason FROM job WHERE id = ?1",
        params![id],
        |r| {
            let state: String = r.get("state")?;
            let standing = match (state.as_str(), r.get::<bool>("active")?) {
                ("done", _) => Standing::Done,
                ("failed", _) => Standing::Failed,
                ("handed", true) => Standing::Running,
                ("handed", false) => Standing::Waiting(r.get("run_at")?),
                _ => Standing::Unwanted,
            };
            Ok(Verdict {
                standing,
                attempts_made: r.get("attempts_made")?,
                fence: r.get("fence")?,
                failed_reason: r.get("failed_reason")?,
                reasons: Vec::new(),
            })
        },
    )?;
    let mut verdict = verdict.unwrap_or(nothing);
    if verdict.failed_reason.is_some() {
        verdict.reasons = tx.query(
            "SELECT reason FROM job_attempt WHERE job_id = ?1 ORDER BY fence DESC LIMIT ?2",
            params![id, REASONS],
            |r| r.get("reason"),
        )?;
        verdict.reasons.reverse();
    }
    Ok(verdict)
}

/// Records that somebody else's worker ended a job: the queue says so.
pub(super) fn note_ended_elsewhere(tx: &Tx<'_>, id: &JobId, failed: Option<&str>) -> Result<(), Problem> {
    let state = if failed.is_some() { "failed" } else { "done" };
    tx.execute(
        "UPDATE job SET state = ?2, failed_reason = ?3, finished_on = ?4, attempts_made = attempts_made + 1
         WHERE id = ?1 AND state = 'handed' AND active = 0",
        params![id, state, failed, tx.now()],
    )?;
    Ok(())
}
