//! The attempts of a job, as people look at them: when each began and ended, and why it failed.
//!
//! # Invariants
//! - An attempt that failed or was cut short is recorded in the transaction that counts it, or excuses it.
//! - One that succeeded, or runs, is the job's own row and is not written twice.

use serde::Serialize;

use super::ledger::Claim;
use super::views::{self, JobState};
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptState {
    /// It runs.
    Active,
    /// It did the job.
    Completed,
    /// It failed, or its process ended.
    Failed,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which one, counted from 1; a job that starts over counts from 1 again.
    pub attempt: u32,
    /// How it went.
    pub state: AttemptState,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// Records that an attempt failed.
pub(super) fn record(tx: &Tx<'_>, claim: &Claim, reason: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO job_attempt (job_id, fence, attempt, started_at, ended_at, reason)
         SELECT id, fence, ?2, processed_on, ?3, ?4 FROM job WHERE id = ?1",
        params![claim.id, claim.attempt, tx.now(), reason],
    )?;
    Ok(())
}

/// Records all attempts that ended with their process, of jobs with fewer than `cuts` that did not count;
/// to be called before they are counted.
pub(super) fn record_cut_short(tx: &Tx<'_>, reason: &str, cuts: u32) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO job_attempt (job_id, fence, attempt, started_at, ended_at, reason)
         SELECT id, fence, attempts_made + 1, processed_on, ?1, ?2 FROM job
         WHERE state = 'handed' AND active = 1 AND cuts < ?3",
        params![tx.now(), reason, cuts],
    )?;
    Ok(())
}

/// The attempts of a job, newest first.
pub fn list_attempts(tx: &Tx<'_>, id: &JobId) -> Result<Vec<Attempt>, Problem> {
    let job = views::get_job(tx, id)?;
    let mut attempts: Vec<Attempt> = tx.query(
        "SELECT attempt, started_at, ended_at, reason FROM job_attempt WHERE job_id = ?1 ORDER BY fence DESC",
        params![id],
        |r| {
            Ok(Attempt {
                attempt: r.get("attempt")?,
                state: AttemptState::Failed,
                started_at: r.get("started_at")?,
                ended_at: r.get("ended_at")?,
                reason: Some(r.get("reason")?),
            })
        },
    )?;
    let newest = match job.state {
        JobState::Active => Some((AttemptState::Active, job.attempts_made + 1)),
        JobState::Completed => Some((AttemptState::Completed, job.attempts_made)),
        JobState::Failed | JobState::Waiting | JobState::Delayed => None,
    };
    if let Some((state, attempt)) = newest {
        let (started_at, ended_at) = (job.processed_on, job.finished_on.filter(|_| state == AttemptState::Completed));
        attempts.insert(0, Attempt { attempt, state, started_at, ended_at, reason: None });
    }
    Ok(attempts)
}
