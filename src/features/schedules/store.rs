//! SQL of schedules that start workflows; their slots are in the queue's own table.

use serde_json::{Map, Value};

use super::{Overlap, Triggered, WorkflowSchedule};
use crate::base::id::{JobId, RunId, ScheduleId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, name, workflow_key, input, subject_id, overlap, created_by, created_at, updated_at,
    waiting_job, last_result, last_run_id";

fn from_row(r: &Row<'_>) -> Result<WorkflowSchedule, Problem> {
    let overlap: String = r.get("overlap")?;
    let result: Option<String> = r.get("last_result")?;
    Ok(WorkflowSchedule {
        id: r.get("id")?,
        name: r.get("name")?,
        workflow_key: r.get("workflow_key")?,
        input: r.get::<Json<Map<String, Value>>>("input")?.0,
        subject_id: r.get("subject_id")?,
        overlap: Overlap::parse(&overlap)
            .ok_or_else(|| Problem::internal(format!("unknown overlap policy {overlap}")))?,
        created_by: r.get("created_by")?,
        created_at: r.get("created_at")?,
        updated_at: r.get("updated_at")?,
        waiting_job: r.get("waiting_job")?,
        last_result: result.as_deref().and_then(Triggered::parse),
        last_run_id: r.get("last_run_id")?,
    })
}

/// The schedule with this id.
pub fn find_schedule(tx: &Tx<'_>, id: &ScheduleId) -> Result<Option<WorkflowSchedule>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM workflow_schedule WHERE id = ?1"), params![id], from_row)
}

/// Stores a new schedule.
pub fn insert_schedule(tx: &Tx<'_>, s: &WorkflowSchedule) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO workflow_schedule (id, name, workflow_key, input, subject_id, overlap, created_by, created_at,
                                        updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            s.id, s.name, s.workflow_key, Json(&s.input), s.subject_id, s.overlap.as_str(), s.created_by, s.created_at,
            s.updated_at
        ],
    )?;
    Ok(())
}

/// Stores what a person changed.
pub fn update_schedule(tx: &Tx<'_>, s: &WorkflowSchedule) -> Result<(), Problem> {
    tx.execute(
        "UPDATE workflow_schedule SET name = ?2, workflow_key = ?3, input = ?4, subject_id = ?5, overlap = ?6,
                                      updated_at = ?7
         WHERE id = ?1",
        params![s.id, s.name, s.workflow_key, Json(&s.input), s.subject_id, s.overlap.as_str(), s.updated_at],
    )?;
    Ok(())
}

/// Removes a schedule.
pub fn delete_schedule(tx: &Tx<'_>, id: &ScheduleId) -> Result<(), Problem> {
    tx.execute("DELETE FROM workflow_schedule WHERE id = ?1", params![id])?;
    Ok(())
}

/// Whether a run that this schedule started is not over.
pub fn has_open_run(tx: &Tx<'_>, id: &ScheduleId) -> Result<bool, Problem> {
    let open = tx.query_opt(
        "SELECT 1 FROM workflow_schedule_run s JOIN run r ON r.id = s.run_id
         WHERE s.schedule_id = ?1 AND r.status IN ('pending', 'running', 'waiting') LIMIT 1",
        params![id],
        |_| Ok(()),
    )?;
    Ok(open.is_some())
}

/// Notes a run that was started, and forgets those that are over.
pub fn note_run(tx: &Tx<'_>, id: &ScheduleId, run: &RunId) -> Result<(), Problem> {
    tx.execute(
        "DELETE FROM workflow_schedule_run WHERE schedule_id = ?1
         AND run_id NOT IN (SELECT id FROM run WHERE status IN ('pending', 'running', 'waiting'))",
        params![id],
    )?;
    tx.execute("INSERT INTO workflow_schedule_run (schedule_id, run_id) VALUES (?1, ?2)", params![id, run])?;
    tx.execute("UPDATE workflow_schedule SET last_run_id = ?2 WHERE id = ?1", params![id, run])?;
    Ok(())
}

/// Notes what came of a slot, and which job waits now.
pub fn note_result(tx: &Tx<'_>, id: &ScheduleId, result: Triggered, waiting: Option<JobId>) -> Result<(), Problem> {
    tx.execute(
        "UPDATE workflow_schedule SET last_result = ?2, waiting_job = ?3 WHERE id = ?1",
        params![id, result.as_str(), waiting],
    )?;
    Ok(())
}
