//! One action on all jobs that match a filter, as a job of its own with progress.
//!
//! # Invariants
//! - A page of jobs, the cursor behind it and the counts are one transaction: a restart goes on where
//!   the last page ended, and no job is acted on twice.
//! - Jobs that no longer match when their page comes are left alone, and so are jobs that run.

use serde::{Deserialize, Serialize};
use serde_json::{Value as JsonValue, json};

use super::ledger::enqueue;
use super::views::{self, JobFilter, JobView};
use super::{JobCx, JobDraft, JobFuture, JobHandler, names};
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

/// Jobs per transaction.
const PAGE: u32 = 100;

/// What to do with each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkAction {
    /// Failed jobs start over.
    Retry,
    /// Failed jobs get one more attempt.
    RetryOnce,
    /// Jobs that do not run go away.
    Remove,
    /// Delayed jobs run now.
    Promote,
}

impl BulkAction {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RetryOnce => "retry-once",
            Self::Remove => "remove",
            Self::Promote => "promote",
        }
    }

    /// The action with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Retry, Self::RetryOnce, Self::Remove, Self::Promote].into_iter().find(|a| a.as_str() == text)
    }

    fn apply(self, tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
        match self {
            Self::Retry => views::retry_job(tx, id),
            Self::RetryOnce => views::retry_once(tx, id),
            Self::Remove => views::remove_job(tx, id),
            Self::Promote => views::promote_job(tx, id),
        }
    }
}

/// How far a bulk action is.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkProgress {
    /// The job that carries it out.
    pub id: JobId,
    /// What is done.
    pub action: BulkAction,
    /// To which jobs.
    pub filter: JobFilter,
    /// Who asked for it.
    pub requested_by: String,
    /// Jobs that matched when it was asked for.
    pub total: u64,
    /// Jobs looked at.
    pub seen: u64,
    /// Jobs changed.
    pub changed: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the last page was done.
    pub finished_at: Option<Timestamp>,
}

/// Asks for a bulk action, in the caller's transaction.
///
/// A [`Problem::Conflict`] when another number of jobs matches than `expected`: what the caller saw is
/// no longer so. Bulk actions leave each other alone.
pub fn start(
    tx: &Tx<'_>,
    action: BulkAction,
    filter: &JobFilter,
    expected: u64,
    requested_by: &str,
) -> Result<BulkProgress, Problem> {
    let total = views::count_matching(tx, filter)?;
    if total != expected {
        return Err(Problem::Conflict(format!(
            "{total} jobs match now; expected {expected}. Look at the list again and repeat."
        )));
    }
    let id = enqueue(tx, JobDraft::now(names::BULK_JOBS, json!({})))?;
    tx.execute(
        "INSERT INTO job_bulk (id, action, filter, requested_by, total, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, action.as_str(), Json(filter), requested_by, total, tx.now()],
    )?;
    progress(tx, &id)
}

/// How far it is.
pub fn progress(tx: &Tx<'_>, id: &JobId) -> Result<BulkProgress, Problem> {
    tx.query_opt("SELECT * FROM job_bulk WHERE id = ?1", params![id], from_row)?
        .ok_or_else(|| Problem::missing("bulk action", id))
}

fn from_row(row: &Row<'_>) -> Result<BulkProgress, Problem> {
    let action: String = row.get("action")?;
    Ok(BulkProgress {
        id: row.get("id")?,
        action: BulkAction::parse(&action).ok_or_else(|| Problem::internal(format!("bulk action {action}")))?,
        filter: row.get::<Json<JobFilter>>("filter")?.0,
        requested_by: row.get("requested_by")?,
        total: row.get("total")?,
        seen: row.get("seen")?,
        changed: row.get("changed")?,
        created_at: row.get("created_at")?,
        finished_at: row.get("finished_at")?,
    })
}

/// Does the next page; true when it was the last.
fn page(tx: &Tx<'_>, id: &JobId) -> Result<bool, Problem> {
    let bulk = progress(tx, id)?;
    let cursor: Option<JobId> = tx.scalar("SELECT cursor FROM job_bulk WHERE id = ?1", params![id])?;
    let jobs = views::list_jobs(tx, &bulk.filter, cursor.as_ref(), PAGE)?;
    let mut changed = 0_u64;
    for job in jobs.iter().filter(|j| j.name != names::BULK_JOBS) {
        match bulk.action.apply(tx, &job.id) {
            Ok(_) => changed += 1,
            // It runs, or has changed since the filter was made.
            Err(Problem::Conflict(_) | Problem::Missing { .. }) => {}
            Err(problem) => return Err(problem),
        }
    }
    let last = (jobs.len() as u32) < PAGE;
    tx.execute(
        "UPDATE job_bulk SET cursor = ?2, seen = seen + ?3, changed = changed + ?4, finished_at = ?5 WHERE id = ?1",
        params![
            id,
            jobs.last().map(|j| j.id.as_str()).or(cursor.as_ref().map(TypedId::as_str)),
            jobs.len() as u64,
            changed,
            last.then(|| tx.now())
        ],
    )?;
    Ok(last)
}

/// Carries out bulk actions.
#[derive(Debug, Clone, Copy, Default)]
pub struct BulkHandler;

impl JobHandler for BulkHandler {
    fn name(&self) -> &'static str {
        names::BULK_JOBS
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: JsonValue) -> JobFuture<'a> {
        Box::pin(async move {
            loop {
                let id = cx.id().clone();
                if cx.page(move |tx| page(tx, &id)).await? {
                    return Ok(());
                }
                if cx.stopping() {
                    return Err(Problem::unavailable("Tenure is shutting down; the rest follows.", 5));
                }
            }
        })
    }
}
