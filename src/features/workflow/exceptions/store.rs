//! SQL of exceptions and of who wrote what.

use super::{Act, Exception, ExceptionState, Kind};
use crate::base::id::{ExceptionId, PersonId, RunId, TypedId, WorkflowId};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, ToValue, Tx, Value};

const COLUMNS: &str = "id, payload, subject_id, requestor_id, reason, requested_by, state, created_at, expires_at, \
decided_by, decided_at, decision_reason";

fn exception(r: &Row<'_>) -> Result<Exception, Problem> {
    let state: String = r.get("state")?;
    Ok(Exception {
        id: r.get("id")?,
        act: r.get::<Json<Act>>("payload")?.0,
        subject_id: r.get("subject_id")?,
        requestor_id: r.get("requestor_id")?,
        reason: r.get("reason")?,
        requested_by: r.get("requested_by")?,
        state: ExceptionState::parse(&state)
            .ok_or_else(|| Problem::internal(format!("unknown exception state {state}")))?,
        created_at: r.get("created_at")?,
        expires_at: r.get("expires_at")?,
        decided_by: r.get("decided_by")?,
        decided_at: r.get("decided_at")?,
        decision_reason: r.get("decision_reason")?,
    })
}

/// The exception with this id; missing is a problem.
pub fn get_exception(tx: &Tx<'_>, id: &ExceptionId) -> Result<Exception, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM exception WHERE id = ?1"), params![id], exception)?
        .ok_or_else(|| Problem::missing("exception", id))
}

/// The open exception of this kind for this target.
pub fn find_pending(tx: &Tx<'_>, kind: Kind, target: &str) -> Result<Option<Exception>, Problem> {
    tx.query_opt(
        &format!("SELECT {COLUMNS} FROM exception WHERE kind = ?1 AND target = ?2 AND state = 'pending'"),
        params![kind.as_str(), target],
        exception,
    )
}

/// The open exceptions of a run, oldest first.
pub fn list_pending_of(tx: &Tx<'_>, run: &RunId) -> Result<Vec<Exception>, Problem> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM exception WHERE run_id = ?1 AND state = 'pending' ORDER BY id"),
        params![run],
        exception,
    )
}

/// What a list of exceptions is narrowed by.
#[derive(Debug, Clone, Default)]
pub struct ExceptionFilter {
    /// How they stand.
    pub state: Option<ExceptionState>,
    /// Of which run.
    pub run_id: Option<RunId>,
    /// Only those that concern this person, or are of these kinds.
    pub visible_to: Option<(PersonId, Vec<Kind>)>,
    /// Only those that this person may decide, of these kinds, before their end.
    pub decidable_by: Option<(PersonId, Vec<Kind>)>,
}

/// Exceptions before `before` by id, newest first.
pub fn list_exceptions(
    tx: &Tx<'_>,
    filter: &ExceptionFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Exception>, Problem> {
    let mut sql = format!("SELECT {COLUMNS} FROM exception WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    let mut narrow = |condition: &str, value: Value| {
        values.push(value);
        sql.push_str(" AND ");
        sql.push_str(&condition.replace("??", &format!("?{}", values.len())));
    };
    if let Some(state) = filter.state {
        narrow("state = ??", state.as_str().to_value());
    }
    if let Some(run) = &filter.run_id {
        narrow("run_id = ??", run.to_value());
    }
    if let Some(id) = before {
        narrow("id < ??", id.to_value());
    }
    // Names of kinds are ours, so that they may stand in the text.
    let listed = |kinds: &[Kind]| kinds.iter().map(|k| format!("'{}'", k.as_str())).collect::<Vec<_>>().join(", ");
    if let Some((person, kinds)) = &filter.visible_to {
        let kinds = listed(kinds);
        let own = format!("(kind IN ({kinds}) OR ?? IN (requested_by, subject_id, requestor_id))");
        narrow(&own, person.to_value());
    }
    if let Some((person, kinds)) = &filter.decidable_by {
        let kinds = listed(kinds);
        let mine = format!(
            "(kind IN ({kinds}) AND requested_by <> ?? AND coalesce(subject_id, '') <> ?? AND coalesce(requestor_id, '') <> ??)"
        );
        narrow(&mine, person.to_value());
        narrow("expires_at > ??", tx.now().to_value());
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {limit}"));
    tx.query(&sql, &values, exception)
}

/// Stores a new exception.
pub fn insert_exception(tx: &Tx<'_>, e: &Exception) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO exception (id, kind, target, payload, run_id, subject_id, requestor_id, reason, requested_by,
                                state, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            e.id, e.act.kind().as_str(), e.act.target(), Json(&e.act), e.act.run_id().cloned(), e.subject_id, e.requestor_id,
            e.reason, e.requested_by, e.state.as_str(), e.created_at, e.expires_at
        ],
    )?;
    Ok(())
}

/// Stores how an exception ended; false when it had ended before.
pub fn end_exception(
    tx: &Tx<'_>,
    id: &ExceptionId,
    state: ExceptionState,
    by: Option<&PersonId>,
    reason: Option<&str>,
) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE exception SET state = ?2, decided_by = ?3, decided_at = ?4, decision_reason = ?5
         WHERE id = ?1 AND state = 'pending'",
        params![id, state.as_str(), by.cloned(), tx.now(), reason],
    )?;
    Ok(changed == 1)
}

/// Writes down who wrote a version; nobody in particular when absent.
pub fn insert_author(tx: &Tx<'_>, id: &WorkflowId, person: Option<&PersonId>) -> Result<(), Problem> {
    tx.execute(
        "INSERT OR IGNORE INTO workflow_author (workflow_id, person_id) VALUES (?1, ?2)",
        params![id, person.map_or("", TypedId::as_str)],
    )?;
    Ok(())
}

/// Who wrote a version; `None` among them stands for somebody unknown.
pub fn list_authors(tx: &Tx<'_>, id: &WorkflowId) -> Result<Vec<Option<PersonId>>, Problem> {
    tx.query("SELECT person_id FROM workflow_author WHERE workflow_id = ?1", params![id], |r| {
        let text: String = r.get("person_id")?;
        Ok((!text.is_empty()).then(|| PersonId::from_stored(text)))
    })
}
