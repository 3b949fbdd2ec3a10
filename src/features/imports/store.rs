//! SQL of imports.

use super::{Import, ImportKind, ImportRow, ImportState, RowState, Verdict};
use crate::base::id::{ImportId, JobId, PersonId};
use crate::base::problem::Problem;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const SELECT: &str = "SELECT i.*, c.display_name AS creator_name, a.display_name AS applier_name FROM import i
                      LEFT JOIN person c ON c.id = i.created_by LEFT JOIN person a ON a.id = i.applied_by";

fn person(r: &Row<'_>, id: &str, name: &str) -> Result<Option<PersonRef>, Problem> {
    let found: Option<PersonId> = r.get(id)?;
    let called: Option<String> = r.get(name)?;
    Ok(found.zip(called).map(|(id, display_name)| PersonRef { id, display_name }))
}

fn import(r: &Row<'_>) -> Result<Import, Problem> {
    let (kind, state): (String, String) = (r.get("kind")?, r.get("state")?);
    Ok(Import {
        id: r.get("id")?,
        kind: ImportKind::parse(&kind).ok_or_else(|| Problem::internal(format!("import kind {kind}")))?,
        name: r.get("name")?,
        origin: r.get("origin")?,
        state: ImportState::parse(&state).ok_or_else(|| Problem::internal(format!("import state {state}")))?,
        created_by: person(r, "created_by", "creator_name")?,
        created_by_name: r.get("created_by_name")?,
        created_at: r.get("created_at")?,
        applied_by: person(r, "applied_by", "applier_name")?,
        applied_at: r.get("applied_at")?,
        finished_at: r.get("finished_at")?,
        counts: r.get::<Json<_>>("counts")?.0,
        done: r.get("done")?,
        failed: r.get("failed")?,
        job_id: r.get("job_id")?,
    })
}

fn row(r: &Row<'_>) -> Result<ImportRow, Problem> {
    let (verdict, state): (String, String) = (r.get("verdict")?, r.get("state")?);
    Ok(ImportRow {
        line: r.get("line")?,
        verdict: Verdict::parse(&verdict).ok_or_else(|| Problem::internal(format!("verdict {verdict}")))?,
        matched_by: r.get("matched_by")?,
        person_id: r.get("person_id")?,
        given: r.get::<Json<_>>("given")?.0,
        changes: r.get::<Json<_>>("changes")?.0,
        faults: r.get::<Json<_>>("faults")?.0,
        state: RowState::parse(&state).ok_or_else(|| Problem::internal(format!("row state {state}")))?,
        error: r.get("error")?,
    })
}

/// The import with this id; missing is a problem.
pub fn get_import(tx: &Tx<'_>, id: &ImportId) -> Result<Import, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE i.id = ?1"), params![id], import)?.ok_or_else(|| Problem::missing("import", id))
}

/// Imports, newest first, older than `before`.
pub fn list_imports(tx: &Tx<'_>, before: Option<&str>, limit: u32) -> Result<Vec<Import>, Problem> {
    tx.query(
        &format!("{SELECT} WHERE (?1 IS NULL OR i.id < ?1) ORDER BY i.id DESC LIMIT ?2"),
        params![before, limit],
        import,
    )
}

/// Rows behind the line `after`; only of a verdict, only in a state.
pub fn list_rows(
    tx: &Tx<'_>,
    id: &ImportId,
    verdict: Option<Verdict>,
    state: Option<RowState>,
    after: u32,
    limit: u32,
) -> Result<Vec<ImportRow>, Problem> {
    tx.query(
        "SELECT * FROM import_row WHERE import_id = ?1 AND line > ?2 AND (?3 IS NULL OR verdict = ?3)
           AND (?4 IS NULL OR state = ?4) ORDER BY line LIMIT ?5",
        params![id, after, verdict.map(Verdict::as_str), state.map(RowState::as_str), limit],
        row,
    )
}

/// How many rows that are applied say that somebody left.
pub fn count_leaving(tx: &Tx<'_>, id: &ImportId) -> Result<u32, Problem> {
    tx.scalar(
        "SELECT count(*) FROM import_row r, json_each(r.changes) c WHERE r.import_id = ?1 AND r.verdict IN ('new', 'changed')
           AND c.value ->> '$.field' = 'active' AND c.value ->> '$.after' = 0",
        params![id],
    )
}

/// Stores a new import with its rows.
pub fn insert_import(tx: &Tx<'_>, i: &Import, rows: &[ImportRow]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO import (id, kind, name, origin, state, created_by, created_by_name, created_at, counts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            i.id, i.kind.as_str(), i.name, i.origin, i.state.as_str(), i.created_by.as_ref().map(|p| p.id.clone()),
            i.created_by_name, i.created_at, Json(&i.counts)
        ],
    )?;
    for r in rows {
        tx.execute(
            "INSERT INTO import_row (import_id, line, verdict, matched_by, person_id, given, changes, faults, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                i.id, r.line, r.verdict.as_str(), r.matched_by, r.person_id, Json(&r.given), Json(&r.changes),
                Json(&r.faults), r.state.as_str()
            ],
        )?;
    }
    Ok(())
}

/// Stores that an import is being applied; false when it stands otherwise.
pub fn begin(tx: &Tx<'_>, id: &ImportId, by: Option<&PersonId>, job: &JobId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE import SET state = 'applying', applied_by = ?2, applied_at = ?3, job_id = ?4
         WHERE id = ?1 AND state = 'reviewed'",
        params![id, by.cloned(), tx.now(), job],
    )?;
    Ok(changed == 1)
}

/// Stores that nobody wants an import; false when it stands otherwise.
pub fn cancel(tx: &Tx<'_>, id: &ImportId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE import SET state = 'cancelled', finished_at = ?2 WHERE id = ?1 AND state = 'reviewed'",
        params![id, tx.now()],
    )?;
    Ok(changed == 1)
}

/// Rows that are to be applied and were not, in order.
pub fn list_open(tx: &Tx<'_>, id: &ImportId, limit: u32) -> Result<Vec<ImportRow>, Problem> {
    tx.query(
        "SELECT * FROM import_row WHERE import_id = ?1 AND state = 'open' AND verdict IN ('new', 'changed')
         ORDER BY line LIMIT ?2",
        params![id, limit],
        row,
    )
}

/// Stores what became of a row.
pub fn end_row(
    tx: &Tx<'_>,
    id: &ImportId,
    line: u32,
    state: RowState,
    person: Option<&PersonId>,
    error: Option<&str>,
) -> Result<(), Problem> {
    tx.execute(
        "UPDATE import_row SET state = ?3, person_id = coalesce(?4, person_id), error = ?5 WHERE import_id = ?1 AND line = ?2",
        params![id, line, state.as_str(), person.cloned(), error],
    )?;
    Ok(())
}

/// Applied rows behind the line `after` that name a manager.
pub fn list_managed(tx: &Tx<'_>, id: &ImportId, after: u32, limit: u32) -> Result<Vec<ImportRow>, Problem> {
    tx.query(
        "SELECT * FROM import_row WHERE import_id = ?1 AND line > ?2 AND state = 'done'
           AND coalesce(given ->> '$.manager', '') <> '' ORDER BY line LIMIT ?3",
        params![id, after, limit],
        row,
    )
}

/// The line up to which managers are set.
pub fn cursor(tx: &Tx<'_>, id: &ImportId) -> Result<u32, Problem> {
    tx.scalar("SELECT cursor FROM import WHERE id = ?1", params![id])
}

/// Stores up to which line managers are set.
pub fn set_cursor(tx: &Tx<'_>, id: &ImportId, line: u32) -> Result<(), Problem> {
    tx.execute("UPDATE import SET cursor = ?2 WHERE id = ?1", params![id, line])?;
    Ok(())
}

/// Counts what became of the rows, and stores whether that was all.
pub fn count(tx: &Tx<'_>, id: &ImportId, over: bool) -> Result<(), Problem> {
    tx.execute(
        "UPDATE import SET
           done = (SELECT count(*) FROM import_row WHERE import_id = ?1 AND verdict IN ('new', 'changed')
                    AND state IN ('done', 'skipped')),
           failed = (SELECT count(*) FROM import_row WHERE import_id = ?1 AND state = 'failed'),
           state = CASE WHEN ?2 THEN 'applied' ELSE state END,
           finished_at = CASE WHEN ?2 THEN ?3 ELSE finished_at END
         WHERE id = ?1",
        params![id, over, tx.now()],
    )?;
    Ok(())
}
