//! Copies of a live database, and whether a file is sound.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::from_sqlite;
use super::readonly;
use crate::base::problem::Problem;

/// Copies the database `from` into the new file `to` as of one moment, while others go on writing.
///
/// The copy is compact, stands alone (no write-ahead log) and is on disk when this returns. May block
/// for as long as reading the whole file takes. Method: SQLite's `VACUUM INTO`
/// (<https://www.sqlite.org/lang_vacuum.html#vacuuminto>).
pub fn snapshot(from: &Path, to: &Path) -> Result<(), Problem> {
    let shown = |what: &str| format!("{what} {}", from.display());
    let conn = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| from_sqlite(&e, &shown("opening")))?;
    conn.execute_batch("PRAGMA busy_timeout=5000; PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0;")
        .map_err(|e| from_sqlite(&e, &shown("configuring")))?;
    let name = to.to_str().ok_or_else(|| Problem::refused(format!("{} is not UTF-8.", to.display())))?;
    conn.execute("VACUUM INTO ?1", [name]).map_err(|e| from_sqlite(&e, &shown("copying")))?;
    let sync = || std::fs::File::open(to)?.sync_all();
    sync().map_err(|e| Problem::refused(format!("{} cannot be written: {e}", to.display())))
}

/// Reads every page and index; the text says what is wrong first, `None` that nothing is.
///
/// Changes nothing; a file that a process has open may be looked at.
pub fn find_damage(path: &Path) -> Result<Option<String>, Problem> {
    // Nobody has it open while there is no log beside it, and then not even the log's index is made.
    let parameters = if readonly::beside(path, "-wal").exists() { "mode=ro" } else { "immutable=1" };
    let conn = Connection::open_with_flags(readonly::uri(path, parameters), readonly::flags())
        .map_err(|e| from_sqlite(&e, &format!("opening {}", path.display())))?;
    // Damage of some kinds is an error of the statement instead of a row.
    let first = conn
        .execute_batch("PRAGMA busy_timeout=5000; PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0;")
        .and_then(|()| conn.query_row("PRAGMA integrity_check(1)", [], |r| r.get::<_, String>(0)));
    match first {
        Ok(text) if text == "ok" => foreign_keys(&conn),
        Ok(text) => Ok(Some(text)),
        Err(e) => Ok(Some(e.to_string())),
    }
}

fn foreign_keys(conn: &Connection) -> Result<Option<String>, Problem> {
    let mut check = conn.prepare("PRAGMA foreign_key_check").map_err(|e| from_sqlite(&e, "foreign_key_check"))?;
    let mut rows = check.query([]).map_err(|e| from_sqlite(&e, "foreign_key_check"))?;
    let first = rows.next().map_err(|e| from_sqlite(&e, "foreign_key_check"))?;
    let Some(row) = first else { return Ok(None) };
    let table: String = row.get(0).map_err(|e| from_sqlite(&e, "foreign_key_check"))?;
    Ok(Some(format!("a row of {table} names a row that does not exist")))
}
