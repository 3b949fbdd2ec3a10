//! SQL of tasks.

use serde_json::Value as JsonValue;

use super::{Comment, Counts, Task, TaskKind, TaskState, Which};
use crate::base::id::{PersonId, TaskId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

const COLUMNS: &str = "task.id, kind, task.run_id, visit, step_name, title, description, form, outputs, state, \
subject_id, requested_by, assignee_id, hold_reason, created_at, due_at, outcome, given, reason, done_at, done_by";

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

/// The tasks with those who can do them: one more query, however many they are.
///
/// ```text
/// SCAN wanted VIRTUAL TABLE INDEX 1:
/// SEARCH c USING PRIMARY KEY (task_id=?)
/// ```
fn with_candidates(tx: &Tx<'_>, mut tasks: Vec<Task>) -> Result<Vec<Task>, Problem> {
    let ids: Vec<&TaskId> = tasks.iter().map(|t| &t.id).collect();
    let found: Vec<(TaskId, PersonId)> = tx.query(
        "SELECT c.task_id AS task_id, c.person_id AS person_id FROM json_each(?1) wanted
         CROSS JOIN task_candidate c ON c.task_id = wanted.value ORDER BY c.task_id, c.person_id",
        params![Json(&ids)],
        |r| Ok((r.get("task_id")?, r.get("person_id")?)),
    )?;
    for task in &mut tasks {
        let own = found.iter().filter(|(id, _)| *id == task.id);
        task.candidates = own.map(|(_, person)| person.clone()).collect();
    }
    Ok(tasks)
}

/// The task with this id; missing is a problem.
pub fn get_task(tx: &Tx<'_>, id: &TaskId) -> Result<Task, Problem> {
    let found = tx.query_opt(&format!("SELECT {COLUMNS} FROM task WHERE id = ?1"), params![id], task)?;
    let found = found.ok_or_else(|| Problem::missing("task", id))?;
    with_candidates(tx, vec![found])?.pop().ok_or_else(|| Problem::missing("task", id))
}

/// How it stands as a condition, with the present instant as `??`.
fn condition(which: Which) -> &'static str {
    match which {
        Which::Free => "+task.state = 'open'",
        Which::Taken => "+task.state IN ('assigned', 'held')",
        Which::Held => "+task.state = 'held'",
        Which::Overdue => "+task.state IN ('open', 'assigned', 'held') AND task.due_at < ??",
    }
}

/// What a list of tasks is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// `Some(false)` only what is owed, `Some(true)` only what is over.
    pub over: Option<bool>,
    /// Only those that stand so.
    pub which: Option<Which>,
    /// Only what this person has, or may take.
    pub mine: Option<PersonId>,
    /// Only what this person may know of.
    pub visible_to: Option<PersonId>,
}

/// Tasks before `before` by id, newest first.
pub fn list_tasks(tx: &Tx<'_>, filter: &TaskFilter, before: Option<&str>, limit: u32) -> Result<Vec<Task>, Problem> {
    let (sql, values) = list_sql(filter, before, limit, tx.now());
    let found = tx.query(&sql, &values, task)?;
    with_candidates(tx, found)
}

/// The query of [`list_tasks`].
///
/// One's own are read from the list of who can do what, newest first and no further than the page needs:
/// ```text
/// SEARCH c USING COVERING INDEX task_candidate_by_person (person_id=?)
/// SEARCH task USING INDEX sqlite_autoindex_task_1 (id=?)
/// ```
/// What one may know of stands in runs that one sees:
/// ```text
/// SEARCH v USING PRIMARY KEY (person_id=?)
/// SEARCH task USING INDEX sqlite_autoindex_task_2 (run_id=?)
/// ```
pub(in crate::features::workflow) fn list_sql(
    filter: &TaskFilter,
    before: Option<&str>,
    limit: u32,
    now: Timestamp,
) -> (String, Vec<Value>) {
    let Narrowed { from, id, mut conditions, mut values } = narrowed(filter, now);
    if let Some(before) = before {
        values.push(before.to_value());
        conditions.push_str(&format!(" AND {id} < ?{}", values.len()));
    }
    (format!("SELECT {COLUMNS} FROM {from} WHERE 1{conditions} ORDER BY {id} DESC LIMIT {limit}"), values)
}

/// How many tasks are owed that fit the filter, in all and by how they stand.
pub fn count_tasks(tx: &Tx<'_>, filter: &TaskFilter) -> Result<Counts, Problem> {
    let owed = TaskFilter { over: Some(false), which: None, ..filter.clone() };
    let Narrowed { from, conditions, mut values, .. } = narrowed(&owed, tx.now());
    values.push(tx.now().to_value());
    let now = format!("?{}", values.len());
    let sum = |which: Which| format!("coalesce(sum({}), 0)", condition(which).replace("??", &now));
    let sql = format!(
        "SELECT count(*) AS all_of_them, {} AS free, {} AS taken, {} AS held, {} AS overdue FROM {from} WHERE 1{conditions}",
        sum(Which::Free),
        sum(Which::Taken),
        sum(Which::Held),
        sum(Which::Overdue),
    );
    let found = tx.query_opt(&sql, &values, |r| {
        Ok(Counts {
            open: r.get("all_of_them")?,
            free: r.get("free")?,
            taken: r.get("taken")?,
            held: r.get("held")?,
            overdue: r.get("overdue")?,
        })
    })?;
    Ok(found.unwrap_or_default())
}

/// A filter as the parts of a query.
struct Narrowed {
    from: &'static str,
    /// What the rows are ordered by.
    id: &'static str,
    /// Each begins with ` AND `.
    conditions: String,
    values: Vec<Value>,
}

fn narrowed(filter: &TaskFilter, now: Timestamp) -> Narrowed {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = String::new();
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        conditions.push_str(" AND ");
        conditions.push_str(&condition.replace("??", &format!("?{}", values.len())));
    };
    let (from, id) = match (&filter.mine, &filter.visible_to) {
        (Some(_), _) => ("task_candidate c CROSS JOIN task ON task.id = c.task_id", "c.task_id"),
        (None, Some(_)) => ("run_viewer v CROSS JOIN task ON task.run_id = v.run_id", "task.id"),
        (None, None) => ("task", "task.id"),
    };
    if let Some(person) = &filter.mine {
        narrow("c.person_id = ??", person.to_value());
        // What somebody else took is not one's own any more.
        narrow("(task.assignee_id IS NULL OR task.assignee_id = ??)", person.to_value());
    }
    if let Some(person) = &filter.visible_to {
        if filter.mine.is_none() {
            narrow("v.person_id = ??", person.to_value());
        }
        narrow(
            "(task.assignee_id = ?? OR task.requested_by = ?? OR task.subject_id = ?? OR EXISTS (
              SELECT 1 FROM task_candidate o WHERE o.task_id = task.id AND o.person_id = ??))",
            person.to_value(),
        );
    }
    if let Some(which) = filter.which {
        narrow(&format!("?? IS NOT NULL AND {}", condition(which)), now.to_value());
    }
    conditions.push_str(match filter.over {
        // With `+` no index of the many that are open is taken instead.
        Some(false) => " AND +task.state IN ('open', 'assigned', 'held')",
        Some(true) => " AND +task.state IN ('done', 'cancelled')",
        None => "",
    });
    Narrowed { from, id, conditions, values }
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

/// Lets somebody no longer do a task.
pub fn remove_candidate(tx: &Tx<'_>, id: &TaskId, person: &PersonId) -> Result<(), Problem> {
    tx.execute("DELETE FROM task_candidate WHERE task_id = ?1 AND person_id = ?2", params![id, person])?;
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
