//! SQLite: files that whoever started Tenure allowed by name.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::hooks::{AuthAction, Authorization};
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use serde_json::{Map, Value};

use super::super::super::CallFailure;
use super::{Outcome, Work};

/// SQLite works in a thread of its own; a statement that takes too long is interrupted.
pub(super) async fn run(path: PathBuf, work: Work) -> Result<Outcome, CallFailure> {
    let limit = work.limit;
    let (handle, interrupt) = tokio::sync::oneshot::channel();
    let working = tokio::task::spawn_blocking(move || {
        let connection = open(&path, &work).map_err(|e| failure(&e))?;
        // Whoever waited may be gone, which is no reason to stop.
        let _ = handle.send(connection.get_interrupt_handle());
        carry_out(&connection, &work)
    });
    let mut working = working;
    let finished = match tokio::time::timeout(limit, &mut working).await {
        Ok(finished) => finished,
        Err(_) => {
            if let Ok(interrupt) = interrupt.await {
                interrupt.interrupt();
            }
            working.await
        }
    };
    finished.unwrap_or_else(|_| Err(CallFailure::lasting("sql_failed", "the statement could not be run")))
}

fn open(path: &std::path::Path, work: &Work) -> rusqlite::Result<Connection> {
    let mode = if work.reads { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(work.limit.min(Duration::from_secs(5)))?;
    // A statement reaches its own file and changes no settings of it.
    connection.authorizer(Some(|context: rusqlite::hooks::AuthContext<'_>| match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } | AuthAction::Pragma { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }))?;
    Ok(connection)
}

fn carry_out(connection: &Connection, work: &Work) -> Result<Outcome, CallFailure> {
    let failed = |e: rusqlite::Error| failure(&e);
    let mut outcome = Outcome::default();
    if work.statement.is_nothing {
        // Reading the first page shows whether the file is a database.
        connection.prepare("VALUES ((SELECT count(*) FROM sqlite_schema))").and_then(|mut s| s.exists([])).map_err(failed)?;
        return Ok(outcome);
    }
    let mut statement = connection.prepare(&work.statement.text).map_err(failed)?;
    let before = connection.total_changes();
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let values: Vec<Cell> = work.values.iter().map(bound).collect();
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        outcome.push(cells(&names, row)?, work)?;
    }
    drop(rows);
    outcome.changed = connection.total_changes() - before;
    Ok(outcome)
}

fn bound(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(yes) => Cell::Integer((*yes).into()),
        Value::String(text) => Cell::Text(text.clone()),
        Value::Number(number) => match number.as_i64() {
            Some(n) => Cell::Integer(n),
            None => Cell::Real(number.as_f64().unwrap_or_default()),
        },
        other => Cell::Text(other.to_string()),
    }
}

fn cells(names: &[String], row: &Row<'_>) -> Result<Map<String, Value>, CallFailure> {
    let one = |at: usize, name: &String| {
        let no_text = || CallFailure::bad_answer(format!("the column {name} is no text"));
        Ok(match row.get_ref(at).map_err(|e| failure(&e))? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(n) => n.into(),
            ValueRef::Real(n) => n.into(),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_err(|_| no_text())?.into(),
            ValueRef::Blob(_) => return Err(no_text()),
        })
    };
    names.iter().enumerate().map(|(at, name)| Ok((name.clone(), one(at, name)?))).collect()
}

fn failure(error: &rusqlite::Error) -> CallFailure {
    let text: String = error.to_string().chars().take(300).collect();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            CallFailure::passing("busy_file", "another program writes to the database file")
        }
        Some(ErrorCode::OperationInterrupted) => CallFailure::passing("timeout", "the statement took too long"),
        Some(ErrorCode::CannotOpen) => CallFailure::passing("unreachable", "the database file cannot be opened"),
        _ => CallFailure::lasting("sql_failed", format!("the statement could not be run: {text}")),
    }
}
