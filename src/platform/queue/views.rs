//! The ledger as people see it: BullMQ's states and field names; retry, promote, remove by hand.

use serde_json::Value as JsonValue;

use super::{groups, ledger};
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

/// A job's state in BullMQ's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Due, not started.
    Waiting,
    /// Not due yet, or between two attempts.
    Delayed,
    /// An attempt runs.
    Active,
    /// Done.
    Completed,
    /// Out of attempts.
    Failed,
}

/// The state as SQL over a row, `?1` being now.
const STATE: &str = "CASE
    WHEN state = 'done' THEN 'completed' WHEN state = 'failed' THEN 'failed'
    WHEN active = 1 THEN 'active' WHEN run_at > ?1 THEN 'delayed' ELSE 'waiting' END";

impl JobState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Delayed, Self::Active, Self::Completed, Self::Failed];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delayed => "delayed",
            Self::Active => "active",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// The condition that lets an index narrow the rows before the state is computed.
    fn narrowed(self) -> &'static str {
        match self {
            Self::Completed => "state = 'done'",
            Self::Failed => "state = 'failed'",
            Self::Active | Self::Waiting | Self::Delayed => "state IN ('held', 'handed')",
        }
    }
}

/// A job as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Which handler runs it.
    pub name: String,
    /// How it stands.
    pub state: JobState,
    /// What the handler is given.
    pub payload: JsonValue,
    /// Attempts that ended.
    pub attempts_made: u32,
    /// Why the last failed attempt failed.
    pub failed_reason: Option<String>,
    /// When it may start, or might have started, next.
    pub run_at: Timestamp,
    /// When the last attempt started.
    pub processed_on: Option<Timestamp>,
    /// When it ended.
    pub finished_on: Option<Timestamp>,
}

impl JobView {
    fn from_row(row: &Row<'_>) -> Result<Self, Problem> {
        let state: String = row.get("shown")?;
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            state: JobState::parse(&state)
                .ok_or_else(|| Problem::internal(format!("job state {state}")))?,
            payload: row.get::<Json<JsonValue>>("payload")?.0,
            attempts_made: row.get("attempts_made")?,
            failed_reason: row.get("failed_reason")?,
            run_at: row.get("run_at")?,
            processed_on: row.get("processed_on")?,
            finished_on: row.get("finished_on")?,
        })
    }
}

/// Which jobs to list, or to act on.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct JobFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this name.
    pub name: Option<String>,
    /// Only where id, name, payload or reason contain this text, whatever the case.
    pub q: Option<String>,
    /// Only where the reason of the last failure contains this text, whatever the case.
    pub error: Option<String>,
    /// Only where the payload, as compact JSON, contains this text, whatever the case.
    pub payload: Option<String>,
    /// Only with a reason of this group ([`groups`](super::groups)).
    pub group: Option<String>,
}

fn columns() -> String {
    format!(
        "id, name, payload, attempts_made, failed_reason, run_at, processed_on, finished_on, {STATE} AS shown"
    )
}

/// One job.
pub fn get_job(tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
    tx.query_opt(
        &format!("SELECT {} FROM job WHERE id = ?2", columns()),
        params![tx.now(), id],
        JobView::from_row,
    )?
    .ok_or_else(|| Problem::missing("job", id))
}

/// Up to `limit` jobs, newest first, older than the one with the id `before`.
pub fn list_jobs(
    tx: &Tx<'_>,
    filter: &JobFilter,
    before: Option<&JobId>,
    limit: u32,
) -> Result<Vec<JobView>, Problem> {
    let (clauses, mut values) = matching(tx.now(), filter);
    let mut sql = format!("SELECT {} FROM job WHERE {clauses}", columns());
    if let Some(before) = before {
        values.push(Value::Text(before.as_str().to_owned()));
        sql.push_str(&format!(" AND id < ?{}", values.len()));
    }
    if filter.group.is_none() {
        values.push(limit.to_value());
        sql.push_str(&format!(" ORDER BY id DESC LIMIT ?{}", values.len()));
        return tx.query(&sql, &values, JobView::from_row);
    }
    // A group is a rule in Rust; failed jobs are at most as many as are kept.
    sql.push_str(" ORDER BY id DESC");
    let mut jobs = tx.query(&sql, &values, JobView::from_row)?;
    jobs.retain(|job| groups::is_of(job, filter));
    jobs.truncate(limit as usize);
    Ok(jobs)
}

/// How many jobs match.
pub fn count_matching(tx: &Tx<'_>, filter: &JobFilter) -> Result<u64, Problem> {
    if filter.group.is_some() {
        return Ok(list_jobs(tx, filter, None, u32::MAX)?.len() as u64);
    }
    let (clauses, values) = matching(tx.now(), filter);
    tx.scalar(&format!("SELECT count(*) FROM job WHERE {clauses}"), &values)
}

/// The filter as SQL and its values, of which the first is now.
fn matching(now: Timestamp, filter: &JobFilter) -> (String, Vec<Value>) {
    // Every query binds now, whether the filter needs it or not.
    let mut sql = "?1 IS NOT NULL".to_owned();
    let mut values: Vec<Value> = vec![now.to_value()];
    let mut add = |clause: &str, value: Value| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&clause.replace("{}", &format!("?{}", values.len())));
    };
    let lower = |text: &Option<String>| text.as_deref().filter(|t| !t.is_empty()).map(str::to_lowercase);
    if let Some(state) = filter.state {
        add(
            &format!("{} AND {STATE} = {{}}", state.narrowed()),
            Value::Text(state.as_str().to_owned()),
        );
    }
    if filter.group.is_some() {
        add("state = {}", Value::Text("failed".to_owned()));
    }
    if let Some(name) = &filter.name {
        add("name = {}", name.to_value());
    }
    if let Some(q) = lower(&filter.q) {
        add(
            "(instr(lower(name), {}) OR instr(lower(payload), {}) OR instr(id, {})
              OR instr(lower(coalesce(failed_reason, '')), {}))",
            Value::Text(q),
        );
    }
    if let Some(error) = lower(&filter.error) {
        add("instr(lower(coalesce(failed_reason, '')), {})", Value::Text(error));
    }
    if let Some(payload) = lower(&filter.payload) {
        add("instr(lower(payload), {})", Value::Text(payload));
    }
    (sql, values)
}

/// How many jobs are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct JobCounts {
    /// Due, not started.
    pub waiting: u64,
    /// Not due yet, or between two attempts.
    pub delayed: u64,
    /// Running.
    pub active: u64,
    /// Done and kept.
    pub completed: u64,
    /// Out of attempts and kept.
    pub failed: u64,
}

/// Counts by state.
pub fn count_jobs(tx: &Tx<'_>) -> Result<JobCounts, Problem> {
    let rows: Vec<(String, u64)> = tx.query(
        &format!("SELECT {STATE} AS shown, count(*) AS n FROM job GROUP BY shown"),
        params![tx.now()],
        |r| Ok((r.get("shown")?, r.get("n")?)),
    )?;
    let mut counts = JobCounts::default();
    for (state, n) in rows {
        match JobState::parse(&state) {
            Some(JobState::Waiting) => counts.waiting = n,
            Some(JobState::Delayed) => counts.delayed = n,
            Some(JobState::Active) => counts.active = n,
            Some(JobState::Completed) => counts.completed = n,
            Some(JobState::Failed) => counts.failed = n,
            None => return Err(Problem::internal(format!("job state {state}"))),
        }
    }
    Ok(counts)
}

/// How many jobs of each name are in each state.
pub fn count_by_name(tx: &Tx<'_>) -> Result<Vec<(String, JobState, u64)>, Problem> {
    let sql = format!("SELECT name, {STATE} AS shown, count(*) AS n FROM job GROUP BY name, shown");
    tx.query(&sql, params![tx.now()], |r| {
        let shown: String = r.get("shown")?;
        let state = JobState::parse(&shown).ok_or_else(|| Problem::internal(format!("job state {shown}")))?;
        Ok((r.get("name")?, state, r.get("n")?))
    })
}

/// A failed job gets one more attempt; its count goes on, and a failure of that one is final.
pub fn retry_once(tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
    let n = tx.execute(
        "UPDATE job SET state = 'held', active = 0, run_at = ?2, finished_on = NULL
         WHERE id = ?1 AND state = 'failed'",
        params![id, tx.now()],
    )?;
    changed(tx, id, n, "Only a failed job can be retried")
}

/// A failed job starts over: its attempts count from one again.
pub fn retry_job(tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
    let n = tx.execute(
        "UPDATE job SET state = 'held', active = 0, run_at = ?2, attempts_made = 0, cuts = 0,
                        finished_on = NULL
         WHERE id = ?1 AND state = 'failed'",
        params![id, tx.now()],
    )?;
    changed(tx, id, n, "Only a failed job can be retried")
}

/// A delayed job runs now. One that waits between two attempts keeps its count.
pub fn promote_job(tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
    let n = tx.execute(
        "UPDATE job SET state = 'held', run_at = ?2
         WHERE id = ?1 AND state IN ('held', 'handed') AND active = 0 AND run_at > ?2",
        params![id, tx.now()],
    )?;
    changed(tx, id, n, "Only a delayed job can be promoted")
}

/// Removes a job that does not run.
pub fn remove_job(tx: &Tx<'_>, id: &JobId) -> Result<JobView, Problem> {
    let job = get_job(tx, id)?;
    if job.state == JobState::Active {
        return Err(Problem::Conflict(format!(
            "The job {id} is running. Wait until this attempt has ended."
        )));
    }
    tx.execute("DELETE FROM job WHERE id = ?1", params![id])?;
    Ok(job)
}

fn changed(tx: &Tx<'_>, id: &JobId, n: usize, rule: &str) -> Result<JobView, Problem> {
    let job = get_job(tx, id)?;
    if n == 0 {
        return Err(Problem::Conflict(format!("{rule}; this one is {}.", job.state.as_str())));
    }
    ledger::wake(tx);
    Ok(job)
}
