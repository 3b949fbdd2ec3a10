//! SQL of tasks.

use serde_json::Value as JsonValue;

use super::{Comment, Task, TaskKind, TaskState};
use crate::base::id::{PersonId, TaskId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

const COLUMNS: &str = "id, kind, run_id, visit, step_name, title, description, form, outputs, state, subject_id, \
requested_by, assignee_id, hold_reason, created_at, due_at, outcome, given, reason, done_at, done_by";

fn task(r: &Row<'_>) -> Result<Task, Problem> {
    let (kind, state): (String, String) = (r.get("kind")?, r.get("state")?);
    Ok(Task {
        id: r.get("id")?,
        kind: TaskKind::parse(&kind).ok_or_else(|| Problem::internal(format!("task kind {kind}")))?,
        run_id: r.get("run_id")?,
        visit: r.get("visit")?,
        step_name: r.get("step_name")?,
        title: r.get("title")?,
        description: r.get("description")?,
        form: r.get::<Json<_>>("form")?.0,
        outputs: r.get::<Json<_>>("outputs")?.0,
        state: TaskState::parse(&state).ok_or_else(|| Problem::internal(format!("task state {state}")))?,
        subject_id: r.get("subject_id")?,
        requested_by: r.get("requested_by")?,
        candidates: Vec::new(),
        assignee_id: r.get("assignee_id")?,
        hold_reason: r.get("hold_reason")?,
        created_at: r.get("created_at")?,
        due_at: r.get("due_at")?,
        outcome: r.get("outcome")?,
        given: r.get::<Option<Json<_>>>("given")?.map(|j| j.0),
        reason: r.get("reason")?,
        done_at: r.get("done_at")?,
        done_by: r.get("done_by")?,
    })
}

fn with_candidates(tx: &Tx<'_>, mut task: Task) -> Result<Task, Problem> {
    task.candidates = tx.query(
        "SELECT person_id FROM task_candidate WHERE task_id = ?1 ORDER BY person_id",
        params![task.id],
        |r| r.get("person_id"),
    )?;
    Ok(task)
}

/// The task with this id; missing is a problem.
pub fn get_task(tx: &Tx<'_>, id: &TaskId) -> Result<Task, Problem> {
    let found = tx.query_opt(&format!("SELECT {COLUMNS} FROM task WHERE id = ?1"), params![id], task)?;
    with_candidates(tx, found.ok_or_else(|| Problem::missing("task", id))?)
}

/// What a list of tasks is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// `Some(false)` only what is owed, `Some(true)` only what is over.
    pub over: Option<bool>,
    /// Only what this person has, or may take.
    pub mine: Option<PersonId>,
    /// Only what this person may know of.
    pub visible_to: Option<PersonId>,
}

/// Tasks before `before` by id, newest first.
pub fn list_tasks(tx: &Tx<'_>, filter: &TaskFilter, before: Option<&str>, limit: u32) -> Result<Vec<Task>, Problem> {
    let mut sql = format!("SELECT {COLUMNS} FROM task WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    match filter.over {
        Some(false) => sql.push_str(" AND state IN ('open', 'assigned', 'held')"),
        Some(true) => sql.push_str(" AND state IN ('done', 'cancelled')"),
        None => {}
    }
    if let Some(id) = before {
        values.push(id.to_value());
        sql.push_str(&format!(" AND id < ?{}", values.len()));
    }
    let offered = "EXISTS (SELECT 1 FROM task_candidate c WHERE c.task_id = task.id AND c.person_id =";
    if let Some(person) = &filter.mine {
        values.push(person.to_value());
        let n = values.len();
        // What somebody else took is not one's own any more.
        sql.push_str(&format!(" AND (assignee_id = ?{n} OR (assignee_id IS NULL AND {offered} ?{n})))"));
    }
    if let Some(person) = &filter.visible_to {
        values.push(person.to_value());
        let n = values.len();
        sql.push_str(&format!(" AND (assignee_id = ?{n} OR requested_by = ?{n} OR subject_id = ?{n} OR {offered} ?{n}))"));
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
    let found = tx.query(&sql, &values, task)?;
    found.into_iter().map(|t| with_candidates(tx, t)).collect()
}

/// Stores a new task with those who can do it.
pub fn insert_task(tx: &Tx<'_>, t: &Task) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO task (id, kind, run_id, visit, step_name, title, description, form, outputs, state, subject_id,
                           requested_by, assignee_id, created_at, due_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![
            t.id, t.kind.as_str(), t.run_id, t.visit, t.step_name, t.title, t.description, Json(&t.form),
            Json(&t.outputs), t.state.as_str(), t.subject_id, t.requested_by, t.assignee_id, t.created_at, t.due_at
        ],
    )?;
    t.candidates.iter().try_for_each(|person| add_candidate(tx, &t.id, person))
}

/// Lets one more person do a task.
pub fn add_candidate(tx: &Tx<'_>, id: &TaskId, person: &PersonId) -> Result<(), Problem> {
    tx.execute("INSERT OR IGNORE INTO task_candidate (task_id, person_id) VALUES (?1, ?2)", params![id, person])?;
    Ok(())
}

/// Stores who has a task and how it stands; false when it is over.
pub fn update_task(
    tx: &Tx<'_>,
    id: &TaskId,
    state: TaskState,
    assignee: Option<&PersonId>,
    hold_reason: Option<&str>,
) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE task SET state = ?2, assignee_id = ?3, hold_reason = ?4
         WHERE id = ?1 AND state IN ('open', 'assigned', 'held')",
        params![id, state.as_str(), assignee.cloned(), hold_reason],
    )?;
    Ok(changed == 1)
}

/// Stores that a task is done; false when it was over before.
pub fn finish(
    tx: &Tx<'_>,
    id: &TaskId,
    outcome: &str,
    by: &PersonId,
    given: Option<&JsonValue>,
    reason: Option<&str>,
) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE task SET state = 'done', outcome = ?2, done_by = ?3, done_at = ?4, given = ?5, reason = ?6,
                         hold_reason = NULL
         WHERE id = ?1 AND state IN ('open', 'assigned', 'held')",
        params![id, outcome, by, tx.now(), given.map(Json), reason],
    )?;
    Ok(changed == 1)
}

/// Closes what nobody owes any more; false when it was over before.
pub fn cancel(tx: &Tx<'_>, id: &TaskId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE task SET state = 'cancelled' WHERE id = ?1 AND state IN ('open', 'assigned', 'held')",
        params![id],
    )?;
    Ok(changed == 1)
}

/// Stores a comment.
pub fn insert_comment(tx: &Tx<'_>, task: &TaskId, comment: &Comment) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO task_comment (id, task_id, person_id, at, text) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![comment.id, task, comment.person, comment.at, comment.text],
    )?;
    Ok(())
}

/// The comments of a task, oldest first, at most `limit` of the newest.
pub fn list_comments(tx: &Tx<'_>, task: &TaskId, limit: u32) -> Result<Vec<Comment>, Problem> {
    let mut found = tx.query(
        "SELECT id, person_id, at, text FROM task_comment WHERE task_id = ?1 ORDER BY id DESC LIMIT ?2",
        params![task, limit],
        |r| Ok(Comment { id: r.get("id")?, person: r.get("person_id")?, at: r.get("at")?, text: r.get("text")? }),
    )?;
    found.reverse();
    Ok(found)
}
