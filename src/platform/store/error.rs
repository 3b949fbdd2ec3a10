//! What SQLite reports, turned into problems.

use rusqlite::ErrorCode;

use crate::base::problem::Problem;

/// Marks a problem that comes from a UNIQUE or PRIMARY KEY constraint.
const UNIQUE: &str = "unique constraint: ";

/// Whether an insert or update failed because the value exists already.
pub fn is_unique_violation(problem: &Problem) -> bool {
    matches!(problem, Problem::Internal(cause) if cause.0.starts_with(UNIQUE))
}

/// Turns an error into a problem, with the statement for the log.
pub(super) fn statement_problem(error: &rusqlite::Error, sql: &str) -> Problem {
    from_sqlite(error, sql)
}

/// Turns an error into a problem, with what was being done for the log.
pub(super) fn from_sqlite(error: &rusqlite::Error, doing: &str) -> Problem {
    let rusqlite::Error::SqliteFailure(failure, text) = error else {
        return Problem::internal(format!("{error} ({doing})"));
    };
    let text = text.as_deref().unwrap_or("no message");
    match failure.code {
        ErrorCode::DiskFull => Problem::unavailable(
            "The disk that holds the data directory is full. Nothing was changed; free some space and try again.",
            30,
        ),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Problem::unavailable("The database is held by another process.", 5)
        }
        ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory | ErrorCode::CannotOpen | ErrorCode::ReadOnly => {
            Problem::unavailable(
                format!("The database cannot be used right now ({}).", code_name(failure.extended_code)),
                10,
            )
        }
        ErrorCode::ConstraintViolation
            if matches!(
                failure.extended_code,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            ) =>
        {
            Problem::internal(format!("{UNIQUE}{text} ({doing})"))
        }
        _ => Problem::internal(format!("{text}, code {} ({doing})", failure.extended_code)),
    }
}

/// An fsync that failed: what the kernel holds is unknown from here on.
pub(super) fn is_sync_failure(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(f, _)
            if matches!(f.extended_code, rusqlite::ffi::SQLITE_IOERR_FSYNC | rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC)
    )
}

fn code_name(code: i32) -> &'static str {
    rusqlite::ffi::code_to_str(code)
}
