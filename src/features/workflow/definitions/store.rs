//! SQL of workflow versions.

use std::sync::Arc;

use super::{Definition, Workflow, WorkflowStatus};
use crate::base::id::{PersonId, WorkflowId};
use crate::base::memo::Memo;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, key, version, status, definition, created_by, created_at, updated_at, published_at";

/// Definitions that a thread keeps: those that runs follow at the moment.
const KEPT: usize = 100;

thread_local! {
    static READ: Memo<Arc<Definition>> = Memo::new(KEPT);
}

/// A definition as it is stored; every event of every run asks for one.
fn definition(text: &str) -> Result<Arc<Definition>, Problem> {
    let read = || serde_json::from_str(text).map(Arc::new);
    READ.with(|kept| kept.get(text, read))
        .map(|found| Arc::clone(&found))
        .map_err(|e| Problem::internal(format!("a stored definition cannot be read: {e}")))
}

fn workflow(r: &Row<'_>) -> Result<Workflow, Problem> {
    let status: String = r.get("status")?;
    Ok(Workflow {
        id: r.get("id")?,
        key: r.get("key")?,
        version: r.get("version")?,
        status: WorkflowStatus::parse(&status)
            .ok_or_else(|| Problem::internal(format!("unknown workflow status {status}")))?,
        definition: definition(&r.get::<String>("definition")?)?,
        created_by: r.get("created_by")?,
        created_at: r.get("created_at")?,
        updated_at: r.get("updated_at")?,
        published_at: r.get("published_at")?,
    })
}

/// The version with this id.
pub fn find_workflow(tx: &Tx<'_>, id: &WorkflowId) -> Result<Option<Workflow>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM workflow WHERE id = ?1"), params![id], workflow)
}

/// The version with this id; missing is a problem.
pub fn get_workflow(tx: &Tx<'_>, id: &WorkflowId) -> Result<Workflow, Problem> {
    find_workflow(tx, id)?.ok_or_else(|| Problem::missing("workflow", id))
}

/// What a list of versions is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct WorkflowFilter {
    /// How they stand.
    pub status: Option<WorkflowStatus>,
    /// Part of the name.
    pub q: Option<String>,
    /// The key that versions share.
    pub key: Option<String>,
}

/// Versions after `after` by id.
pub fn list_workflows(
    tx: &Tx<'_>,
    filter: &WorkflowFilter,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Workflow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM workflow
             WHERE id > ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR instr(lower(name), lower(?3)) > 0)
               AND (?5 IS NULL OR key = ?5)
             ORDER BY id LIMIT ?4"
        ),
        params![after.unwrap_or(""), filter.status.map(WorkflowStatus::as_str), filter.q, limit, filter.key],
        workflow,
    )
}

/// All versions of a workflow, the newest first.
pub fn list_versions(tx: &Tx<'_>, key: &str) -> Result<Vec<Workflow>, Problem> {
    tx.query(&format!("SELECT {COLUMNS} FROM workflow WHERE key = ?1 ORDER BY id DESC"), params![key], workflow)
}

/// The version of this workflow with this status.
pub fn find_by_status(tx: &Tx<'_>, key: &str, status: WorkflowStatus) -> Result<Option<Workflow>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM workflow WHERE key = ?1 AND status = ?2"),
        params![key, status.as_str()],
        workflow,
    )
}

/// The active version of the workflow with this key or name; the newest when several have the name.
pub fn find_active(tx: &Tx<'_>, text: &str) -> Result<Option<Workflow>, Problem> {
    if let Some(found) = find_by_status(tx, text, WorkflowStatus::Active)? {
        return Ok(Some(found));
    }
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM workflow WHERE status = 'active' AND name = ?1 ORDER BY id DESC LIMIT 1"),
        params![text],
        workflow,
    )
}

/// The active versions that an event starts, at most `limit` of them.
pub fn list_triggered(tx: &Tx<'_>, event: &str, limit: u32) -> Result<Vec<Workflow>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM workflow
             WHERE status = 'active' AND json_extract(definition, '$.trigger.event.name') = ?1 ORDER BY id LIMIT ?2"
        ),
        params![event, limit],
        workflow,
    )
}

/// The keys of workflows whose draft or active version is called so, at most three.
pub fn list_keys_of_name(tx: &Tx<'_>, name: &str) -> Result<Vec<String>, Problem> {
    tx.query(
        "SELECT DISTINCT key FROM workflow WHERE status IN ('draft', 'active') AND name = ?1 ORDER BY key LIMIT 3",
        params![name],
        |r| r.get("key"),
    )
}

/// The workflows that name a group: those that can be started or written, and those that runs still follow.
pub fn list_using_group(tx: &Tx<'_>, group: &str) -> Result<Vec<String>, Problem> {
    tx.query(
        "SELECT DISTINCT w.name AS name FROM workflow w, json_tree(w.definition) t
         WHERE t.atom = ?1 AND (t.key = 'group' OR t.path LIKE '%.groups' OR t.path LIKE '%.joinGroups'
                                OR t.path LIKE '%.leaveGroups')
           AND (w.status <> 'deprecated' OR EXISTS (SELECT 1 FROM run r WHERE r.workflow_id = w.id
                                                      AND r.status IN ('pending', 'running', 'waiting')))
         ORDER BY w.name",
        params![group],
        |r| r.get("name"),
    )
}

/// Stores a new version.
pub fn insert_workflow(tx: &Tx<'_>, w: &Workflow) -> Result<(), Problem> {
    let d = w.definition.as_ref();
    tx.execute(
        "INSERT INTO workflow (id, key, version, name, description, category, status, definition, created_by,
                               created_at, updated_at, published_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            w.id, w.key, w.version, d.name, d.description, d.category, w.status.as_str(), Json(d), w.created_by,
            w.created_at, w.updated_at, w.published_at
        ],
    )?;
    Ok(())
}

/// Stores what changed of a version.
pub fn update_workflow(tx: &Tx<'_>, w: &Workflow) -> Result<(), Problem> {
    let d = w.definition.as_ref();
    tx.execute(
        "UPDATE workflow SET version = ?2, name = ?3, description = ?4, category = ?5, status = ?6, definition = ?7,
                             updated_at = ?8, published_at = ?9
         WHERE id = ?1",
        params![
            w.id, w.version, d.name, d.description, d.category, w.status.as_str(), Json(d), w.updated_at,
            w.published_at
        ],
    )?;
    Ok(())
}

/// Stores who published a version.
pub fn set_publisher(tx: &Tx<'_>, id: &WorkflowId, person: Option<&PersonId>) -> Result<(), Problem> {
    tx.execute("UPDATE workflow SET published_by = ?2 WHERE id = ?1", params![id, person.cloned()])?;
    Ok(())
}

/// Who published a version.
pub fn find_publisher(tx: &Tx<'_>, id: &WorkflowId) -> Result<Option<PersonId>, Problem> {
    let found = tx.query_opt("SELECT published_by FROM workflow WHERE id = ?1", params![id], |r| r.get("published_by"))?;
    Ok(found.flatten())
}

/// Removes a draft.
pub fn delete_workflow(tx: &Tx<'_>, id: &WorkflowId) -> Result<(), Problem> {
    tx.execute("DELETE FROM workflow WHERE id = ?1 AND status = 'draft'", params![id])?;
    Ok(())
}

/// The highest number among the versions.
pub fn newest_version(tx: &Tx<'_>, key: &str) -> Result<u32, Problem> {
    tx.scalar("SELECT coalesce(max(version), 0) FROM workflow WHERE key = ?1", params![key])
}
