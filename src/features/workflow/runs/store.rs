//! SQL of runs, their steps and events.

use serde_json::Value as JsonValue;

use super::{Run, RunStatus};
use crate::base::id::{AssignmentId, PersonId, RunId, StepId, TypedId, WorkflowId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::workflow::engine::StepError;
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

const COLUMNS: &str = "id, workflow_id, status, reason, started_by, subject_id, state, revision, events, \
parent_run_id, depth, mock, created_at, updated_at, ended_at";

fn run(r: &Row<'_>) -> Result<Run, Problem> {
    let status: String = r.get("status")?;
    Ok(Run {
        id: r.get("id")?,
        workflow_id: r.get("workflow_id")?,
        status: RunStatus::parse(&status).ok_or_else(|| Problem::internal(format!("unknown run status {status}")))?,
        reason: r.get("reason")?,
        started_by: r.get("started_by")?,
        subject_id: r.get("subject_id")?,
        state: r.get::<Json<_>>("state")?.0,
        revision: r.get("revision")?,
        events: r.get("events")?,
        parent_run_id: r.get("parent_run_id")?,
        depth: r.get("depth")?,
        mock: r.get("mock")?,
        created_at: r.get("created_at")?,
        updated_at: r.get("updated_at")?,
        ended_at: r.get("ended_at")?,
    })
}

/// The run with this id.
pub fn find_run(tx: &Tx<'_>, id: &RunId) -> Result<Option<Run>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM run WHERE id = ?1"), params![id], run)
}

/// The run with this id; missing is a problem.
pub fn get_run(tx: &Tx<'_>, id: &RunId) -> Result<Run, Problem> {
    find_run(tx, id)?.ok_or_else(|| Problem::missing("run", id))
}

/// What a list of runs is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// How they stand.
    pub status: Option<RunStatus>,
    /// What they follow.
    pub workflow_id: Option<WorkflowId>,
    /// Whom they are about.
    pub subject_id: Option<PersonId>,
    /// Started at or after.
    pub from: Option<Timestamp>,
    /// Started before.
    pub to: Option<Timestamp>,
    /// Only runs that this person started, is the subject of, or is to decide in.
    pub visible_to: Option<PersonId>,
}

/// Runs before `before` by id, newest first.
///
/// Ids begin with the instant of the start, so a range of instants is a range of ids: each combination of
/// filters is read in the order of one index, from the newest on.
pub fn list_runs(tx: &Tx<'_>, filter: &RunFilter, before: Option<&str>, limit: u32) -> Result<Vec<Run>, Problem> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = String::new();
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        conditions.push_str(" AND ");
        conditions.push_str(&condition.replace("??", &format!("?{}", values.len())));
    };
    // Own runs are read from the list of who sees what, all others from the runs themselves.
    let id = if filter.visible_to.is_some() { "v.run_id" } else { "run.id" };
    if let Some(person) = &filter.visible_to {
        narrow("v.person_id = ??", person.to_value());
    }
    if let Some(status) = filter.status {
        narrow("run.status = ??", status.as_str().to_value());
    }
    if let Some(workflow) = &filter.workflow_id {
        narrow("run.workflow_id = ??", workflow.to_value());
    }
    if let Some(subject) = &filter.subject_id {
        narrow("run.subject_id = ??", subject.to_value());
    }
    if let Some(at) = filter.from {
        narrow(&format!("{id} >= ??"), first_id_of(at).to_value());
    }
    if let Some(at) = filter.to {
        narrow(&format!("{id} < ??"), first_id_of(at).to_value());
    }
    if let Some(before) = before {
        narrow(&format!("{id} < ??"), before.to_value());
    }
    let sql = format!("SELECT {COLUMNS} FROM {} WHERE 1{conditions} ORDER BY {id} DESC LIMIT {limit}", source(filter));
    tx.query(&sql, &values, run)
}

/// The rows to read, by the index in whose order the fewest are passed over. The planner knows no figures
/// of its own here and would now and then walk through a range of instants for a few rows.
fn source(filter: &RunFilter) -> &'static str {
    if filter.visible_to.is_some() {
        return "run_viewer v CROSS JOIN run ON run.id = v.run_id";
    }
    match (&filter.subject_id, &filter.workflow_id, filter.status) {
        // One person has few runs.
        (Some(_), _, _) => "run INDEXED BY run_by_subject",
        (None, Some(_), Some(_)) => "run INDEXED BY run_by_workflow_status",
        (None, Some(_), None) => "run INDEXED BY run_by_workflow",
        (None, None, Some(_)) => "run INDEXED BY run_by_status",
        (None, None, None) => "run",
    }
}

/// No run that was started at this instant or later has a lesser id.
fn first_id_of(at: Timestamp) -> String {
    format!("{}_{}", RunId::PREFIX, crate::base::id::encode(at, 0))
}

/// Whether this person may see the run as their own.
pub fn is_visible_to(tx: &Tx<'_>, run: &Run, person: &PersonId) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM run_viewer WHERE person_id = ?1 AND run_id = ?2)",
        params![person, run.id],
    )
}

/// Stores that somebody must not decide in a run: because of a `token` that they made, or of an `edit`.
pub fn insert_party(tx: &Tx<'_>, run: &RunId, person: &PersonId, how: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO run_party (run_id, person_id, how) VALUES (?1, ?2, ?3)",
        params![run, person, how],
    )?;
    Ok(())
}

/// Stores a new run.
pub fn insert_run(tx: &Tx<'_>, r: &Run) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO run (id, workflow_id, status, reason, started_by, subject_id, state, revision, events,
                          parent_run_id, depth, mock, created_at, updated_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            r.id, r.workflow_id, r.status.as_str(), r.reason, r.started_by, r.subject_id, Json(&r.state), r.revision,
            r.events, r.parent_run_id, r.depth, r.mock, r.created_at, r.updated_at, r.ended_at
        ],
    )?;
    Ok(())
}

/// Stores what changed of a run, unless somebody moved it since it was read.
pub fn update_run(tx: &Tx<'_>, r: &Run) -> Result<(), Problem> {
    let changed = tx.execute(
        "UPDATE run SET status = ?3, reason = ?4, state = ?5, revision = ?2 + 1, events = ?6, updated_at = ?7,
                        ended_at = ?8, subject_id = ?9
         WHERE id = ?1 AND revision = ?2",
        params![r.id, r.revision, r.status.as_str(), r.reason, Json(&r.state), r.events, r.updated_at, r.ended_at, r.subject_id],
    )?;
    if changed == 1 { Ok(()) } else { Err(Problem::Conflict("The run moved on meanwhile; load it again.".to_owned())) }
}

/// Runs that somebody asked for about themselves, that are not over and no part of another, but for one;
/// oldest first.
pub fn list_own_open(tx: &Tx<'_>, person: &PersonId, but: Option<&RunId>, limit: u32) -> Result<Vec<RunId>, Problem> {
    tx.query(
        "SELECT id FROM run WHERE subject_id = ?1 AND started_by = ?1 AND parent_run_id IS NULL
           AND status IN ('pending', 'running', 'waiting') AND (?2 IS NULL OR id <> ?2) ORDER BY id LIMIT ?3",
        params![person, but.cloned(), limit],
        |r| r.get("id"),
    )
}

/// When a run was last touched, and which one it is.
pub type Touched = (Timestamp, RunId);

/// Running runs that were not touched since `before`, after `after` in that order. Only what names them
/// is read: one that cannot be read must not hide the others.
pub fn list_stuck(
    tx: &Tx<'_>,
    before: Timestamp,
    after: Option<&Touched>,
    limit: u32,
) -> Result<Vec<Touched>, Problem> {
    tx.query(
        "SELECT updated_at, id FROM run
         WHERE status = 'running' AND updated_at < ?1 AND (updated_at, id) > (?2, ?3)
         ORDER BY updated_at, id LIMIT ?4",
        params![before, after.map_or(i64::MIN, |a| a.0.as_millis()), after.map_or("", |a| a.1.as_str()), limit],
        |r| Ok((r.get("updated_at")?, r.get("id")?)),
    )
}

/// Running runs that were not touched since `before`, oldest first.
pub fn list_running_before(tx: &Tx<'_>, before: Timestamp, limit: u32) -> Result<Vec<Run>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM run WHERE status = 'running' AND updated_at < ?1 ORDER BY updated_at LIMIT ?2"
        ),
        params![before, limit],
        run,
    )
}

/// An event that has its number.
#[derive(Debug)]
pub struct NewEvent {
    /// Place in the run.
    pub seq: u32,
    /// What kind.
    pub kind: &'static str,
    /// In which step.
    pub step: Option<String>,
    /// In words.
    pub text: String,
    /// For programs.
    pub data: JsonValue,
}

/// Stores events.
pub fn insert_events(tx: &Tx<'_>, run: &RunId, events: &[NewEvent]) -> Result<(), Problem> {
    for e in events {
        insert_event(tx, run, e.seq, e.kind, e.step.as_deref(), &e.text, &e.data)?;
    }
    Ok(())
}

/// Stores an event.
pub fn insert_event(
    tx: &Tx<'_>,
    run: &RunId,
    seq: u32,
    kind: &str,
    step: Option<&str>,
    text: &str,
    data: &JsonValue,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO run_event (run_id, seq, at, kind, step_id, text, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![run, seq, tx.now(), kind, step, text, Json(data)],
    )?;
    Ok(())
}

/// A stored event.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Place in the run.
    pub seq: u32,
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: String,
    /// In which step.
    pub step_id: Option<String>,
    /// In words.
    pub text: String,
    /// For programs.
    pub data: JsonValue,
}

/// Events after `after`, oldest first.
pub fn list_events(tx: &Tx<'_>, run: &RunId, after: u32, limit: u32) -> Result<Vec<StoredEvent>, Problem> {
    tx.query(
        "SELECT seq, at, kind, step_id, text, data FROM run_event WHERE run_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        params![run, after, limit],
        event,
    )
}

/// The newest event of this kind, perhaps in one step.
pub fn find_last_event(
    tx: &Tx<'_>,
    run: &RunId,
    kind: &str,
    step: Option<&str>,
) -> Result<Option<StoredEvent>, Problem> {
    tx.query_opt(
        "SELECT seq, at, kind, step_id, text, data FROM run_event
         WHERE run_id = ?1 AND kind = ?2 AND (?3 IS NULL OR step_id = ?3) ORDER BY seq DESC LIMIT 1",
        params![run, kind, step],
        event,
    )
}

fn event(r: &Row<'_>) -> Result<StoredEvent, Problem> {
    Ok(StoredEvent {
        seq: r.get("seq")?,
        at: r.get("at")?,
        kind: r.get("kind")?,
        step_id: r.get("step_id")?,
        text: r.get("text")?,
        data: r.get::<Json<JsonValue>>("data")?.0,
    })
}

/// Assignments that steps asked for which did not succeed: visit, assignment.
pub fn list_unowned_assignments(tx: &Tx<'_>, run: &RunId) -> Result<Vec<(u32, AssignmentId)>, Problem> {
    tx.query(
        "SELECT s.visit AS visit, e.data ->> '$.assignmentId' AS assignment_id FROM run_event e
         JOIN run_step s ON s.run_id = e.run_id AND s.visit = e.data ->> '$.visit'
         WHERE e.run_id = ?1 AND e.kind = 'effect.requested' AND e.data ->> '$.assignmentId' IS NOT NULL
           AND s.status <> 'completed' ORDER BY e.seq",
        params![run],
        |r| Ok((r.get("visit")?, r.get("assignment_id")?)),
    )
}

/// Whether something was done in this run that the rules let nobody do alone.
pub fn has_exceptions(tx: &Tx<'_>, run: &RunId) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM run_event WHERE run_id = ?1 AND kind IN ('run.step_skipped', 'run.variables_changed')
                        AND data ->> '$.exception' IS NOT NULL)
             OR EXISTS (SELECT 1 FROM approval WHERE run_id = ?1 AND exception = 1)",
        params![run],
    )
}

/// Whether anybody was asked to decide in this run, in those that it is part of, or in those inside it.
pub fn has_decisions(tx: &Tx<'_>, run: &RunId) -> Result<bool, Problem> {
    tx.scalar(
        "WITH RECURSIVE above (id) AS (
           SELECT ?1 UNION SELECT r.parent_run_id FROM run r JOIN above a ON r.id = a.id WHERE r.parent_run_id IS NOT NULL
         ), family (id) AS (
           SELECT id FROM above UNION SELECT r.id FROM run r JOIN family f ON r.parent_run_id = f.id
         )
         SELECT EXISTS (SELECT 1 FROM family f JOIN run_step s ON s.run_id = f.id
                        WHERE s.type IN ('approval', 'consent', 'verify_contact'))",
        params![run],
    )
}

/// The assignments that a run asked for: visit, step, assignment.
pub fn list_requested_assignments(tx: &Tx<'_>, run: &RunId) -> Result<Vec<(u32, String, AssignmentId)>, Problem> {
    tx.query(
        "SELECT data ->> '$.visit' AS visit, step_id, data ->> '$.assignmentId' AS assignment_id FROM run_event
         WHERE run_id = ?1 AND kind = 'effect.requested' AND step_id IS NOT NULL
           AND data ->> '$.assignmentId' IS NOT NULL AND data ->> '$.visit' IS NOT NULL ORDER BY seq",
        params![run],
        |r| Ok((r.get("visit")?, r.get("step_id")?, r.get("assignment_id")?)),
    )
}

/// Whether a step took this outcome of its effect into account before it was left.
pub fn knew_outcome(tx: &Tx<'_>, run: &RunId, visit: u32, outcome: &str) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM run_step WHERE run_id = ?1 AND visit = ?2
                        AND (status = 'completed' OR (status = 'failed' AND error_code = ?3)))",
        params![run, visit, outcome],
    )
}

/// A stored step.
#[derive(Debug, Clone)]
pub struct StoredStep {
    /// The id of this execution.
    pub id: StepId,
    /// Which visit of the run it is.
    pub visit: u32,
    /// The step in the definition.
    pub step_id: String,
    /// How it is called.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// How it stands.
    pub status: String,
    /// Its outcome.
    pub outcome: Option<String>,
    /// Tries.
    pub attempt: u32,
    /// What it gave.
    pub output: Option<JsonValue>,
    /// Why it failed.
    pub error: Option<StepError>,
    /// When it was entered.
    pub started_at: Timestamp,
    /// When it was left.
    pub ended_at: Option<Timestamp>,
}

/// The steps of a run, in order.
pub fn list_steps(tx: &Tx<'_>, run: &RunId) -> Result<Vec<StoredStep>, Problem> {
    tx.query("SELECT * FROM run_step WHERE run_id = ?1 ORDER BY visit", params![run], step)
}

/// The last steps that a run entered, the newest first.
pub fn list_last_steps(tx: &Tx<'_>, run: &RunId, limit: u32) -> Result<Vec<StoredStep>, Problem> {
    tx.query("SELECT * FROM run_step WHERE run_id = ?1 ORDER BY visit DESC LIMIT ?2", params![run, limit], step)
}

/// The step of a visit.
pub fn find_step(tx: &Tx<'_>, run: &RunId, visit: u32) -> Result<Option<StoredStep>, Problem> {
    tx.query_opt("SELECT * FROM run_step WHERE run_id = ?1 AND visit = ?2", params![run, visit], step)
}

fn step(r: &Row<'_>) -> Result<StoredStep, Problem> {
    let code: Option<String> = r.get("error_code")?;
    let message: Option<String> = r.get("error_message")?;
    Ok(StoredStep {
        id: r.get("id")?,
        visit: r.get("visit")?,
        step_id: r.get("step_id")?,
        name: r.get("name")?,
        kind: r.get("type")?,
        status: r.get("status")?,
        outcome: r.get("outcome")?,
        attempt: r.get("attempt")?,
        output: r.get::<Option<Json<JsonValue>>>("output")?.map(|j| j.0),
        error: code.zip(message).map(|(code, message)| StepError { message, code }),
        started_at: r.get("started_at")?,
        ended_at: r.get("ended_at")?,
    })
}

/// A step that was entered, as it is at the end of the transaction.
#[derive(Debug)]
pub struct NewStep<'a> {
    /// The visit.
    pub visit: u32,
    /// The step in the definition.
    pub step: &'a str,
    /// How it is called.
    pub name: &'a str,
    /// What it does.
    pub kind: &'a str,
    /// How it stands.
    pub status: &'a str,
    /// Which try.
    pub attempt: u32,
    /// Its outcome.
    pub outcome: Option<&'a str>,
    /// What it gave.
    pub output: Option<&'a JsonValue>,
    /// Why it failed.
    pub error: Option<&'a StepError>,
    /// Whether it was left.
    pub over: bool,
}

/// Stores a step that was entered.
pub fn insert_step(tx: &Tx<'_>, run: &RunId, s: &NewStep<'_>) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO run_step (id, run_id, visit, step_id, name, type, status, attempt, started_at, outcome, output,
                               error_code, error_message, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            tx.new_id::<StepId>(), run, s.visit, s.step, s.name, s.kind, s.status, s.attempt, tx.now(), s.outcome,
            s.output.map(Json), s.error.map(|e| e.code.as_str()), s.error.map(|e| e.message.as_str()),
            s.over.then(|| tx.now())
        ],
    )?;
    Ok(())
}

/// Stores that a step waits, or goes on.
pub fn update_step(tx: &Tx<'_>, run: &RunId, visit: u32, status: &str, attempt: Option<u32>) -> Result<(), Problem> {
    tx.execute(
        "UPDATE run_step SET status = ?3, attempt = coalesce(?4, attempt), ended_at = NULL WHERE run_id = ?1 AND visit = ?2",
        params![run, visit, status, attempt],
    )?;
    Ok(())
}

/// Stores that a step is over, unless it was before.
pub fn end_step(
    tx: &Tx<'_>,
    run: &RunId,
    visit: u32,
    status: &str,
    outcome: Option<&str>,
    output: Option<&JsonValue>,
    error: Option<&StepError>,
) -> Result<(), Problem> {
    tx.execute(
        "UPDATE run_step SET status = ?3, outcome = ?4, output = ?5, error_code = ?6, error_message = ?7, ended_at = ?8
         WHERE run_id = ?1 AND visit = ?2 AND ended_at IS NULL",
        params![
            run, visit, status, outcome, output.map(Json), error.map(|e| e.code.clone()),
            error.map(|e| e.message.clone()), tx.now()
        ],
    )?;
    Ok(())
}

/// Stores that a run waits for an event.
pub fn insert_signal_wait(tx: &Tx<'_>, run: &RunId, visit: u32, event: &str, key: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO run_signal_wait (event, key, run_id, visit) VALUES (?1, ?2, ?3, ?4)",
        params![event, key, run, visit],
    )?;
    Ok(())
}

/// Forgets that a run waits for an event.
pub fn delete_signal_wait(tx: &Tx<'_>, run: &RunId, visit: u32, event: &str, key: &str) -> Result<(), Problem> {
    tx.execute(
        "DELETE FROM run_signal_wait WHERE event = ?1 AND key = ?2 AND run_id = ?3 AND visit = ?4",
        params![event, key, run, visit],
    )?;
    Ok(())
}

/// Forgets every event that a run waits for.
pub fn delete_signal_waits(tx: &Tx<'_>, run: &RunId) -> Result<(), Problem> {
    tx.execute("DELETE FROM run_signal_wait WHERE run_id = ?1", params![run])?;
    Ok(())
}

/// Who waits for an event, at most `limit` of them.
pub fn list_signal_waits(tx: &Tx<'_>, event: &str, key: &str, limit: u32) -> Result<Vec<(RunId, u32)>, Problem> {
    tx.query(
        "SELECT run_id, visit FROM run_signal_wait WHERE event = ?1 AND key = ?2 LIMIT ?3",
        params![event, key, limit],
        |r| Ok((r.get("run_id")?, r.get("visit")?)),
    )
}

/// Keeps an event for a run that begins to wait for it later, and forgets those from before `old`.
pub fn insert_signal(
    tx: &Tx<'_>,
    event: &str,
    key: &str,
    payload: &JsonValue,
    old: Timestamp,
) -> Result<(), Problem> {
    let id = format!("sig_{}", crate::base::id::encode(tx.now(), tx.random()));
    tx.execute(
        "INSERT INTO run_signal (id, event, key, payload, received_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id, event, key, Json(payload), tx.now()],
    )?;
    tx.execute(
        "DELETE FROM run_signal WHERE id IN (SELECT id FROM run_signal WHERE received_at < ?1 LIMIT 200)",
        params![old],
    )?;
    Ok(())
}

/// Takes the oldest event that was kept since `since`.
pub fn take_signal(tx: &Tx<'_>, event: &str, key: &str, since: Timestamp) -> Result<Option<JsonValue>, Problem> {
    let found: Option<(String, Json<JsonValue>)> = tx.query_opt(
        "SELECT id, payload FROM run_signal WHERE event = ?1 AND key = ?2 AND received_at >= ?3
         ORDER BY received_at LIMIT 1",
        params![event, key, since],
        |r| Ok((r.get("id")?, r.get("payload")?)),
    )?;
    let Some((id, payload)) = found else { return Ok(None) };
    tx.execute("DELETE FROM run_signal WHERE id = ?1", params![id])?;
    Ok(Some(payload.0))
}
