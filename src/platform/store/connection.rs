//! How every connection is set up, and the proof that the settings took.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::from_sqlite;
use crate::base::problem::Problem;

/// How long a connection waits for the lock of another one.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(5_000);

/// What a COMMIT waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// fsync at each COMMIT: an acknowledged change survives a power cut.
    Full,
    /// fsync at checkpoints only: the last moments may be lost in a power cut, never the file.
    Normal,
}

/// How a new file lays out its pages; an existing file keeps what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Geometry {
    /// Freed pages are reused.
    Plain,
    /// Freed pages can be given back to the file system.
    Shrinking,
}

/// Opens one connection; the writer creates the file if there is none.
pub(super) fn open(
    path: &Path,
    durability: Durability,
    geometry: Geometry,
    writer: bool,
) -> Result<Connection, Problem> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if writer {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let conn = Connection::open_with_flags(path, flags)
        .map_err(|e| from_sqlite(&e, &format!("opening {}", path.display())))?;
    if writer && geometry == Geometry::Shrinking {
        // Must come before the journal mode: afterwards it is silently ignored.
        conn.execute_batch("PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;")
            .map_err(|e| from_sqlite(&e, "setting the page layout"))?;
    }
    configure(&conn, durability, writer).map_err(|e| from_sqlite(&e, "configuring a connection"))?;
    verify(&conn, path, durability)?;
    Ok(conn)
}

/// The settings of every connection, in the order in which they must be made.
pub(super) fn configure(conn: &Connection, durability: Durability, writer: bool) -> rusqlite::Result<()> {
    let sync = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    conn.execute_batch(&format!(
        "PRAGMA busy_timeout={};
         PRAGMA journal_mode=WAL;
         PRAGMA synchronous={sync};
         PRAGMA foreign_keys=ON;
         PRAGMA recursive_triggers=ON;
         PRAGMA trusted_schema=OFF;
         PRAGMA cell_size_check=ON;
         PRAGMA temp_store=MEMORY;
         PRAGMA mmap_size=0;
         PRAGMA secure_delete=FAST;
         PRAGMA journal_size_limit=67108864;",
        BUSY_TIMEOUT.as_millis()
    ))?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    if !writer {
        conn.execute_batch("PRAGMA query_only=ON;")?;
    }
    Ok(())
}

/// Reads WAL and durability back; a file system that refuses WAL must be noticed at start.
fn verify(conn: &Connection, path: &Path, durability: Durability) -> Result<(), Problem> {
    let mode: String = conn
        .query_row("PRAGMA journal_mode", [], |r| r.get(0))
        .map_err(|e| from_sqlite(&e, "reading journal_mode"))?;
    let sync: i64 = conn
        .query_row("PRAGMA synchronous", [], |r| r.get(0))
        .map_err(|e| from_sqlite(&e, "reading synchronous"))?;
    let wanted = match durability {
        Durability::Full => 2,
        Durability::Normal => 1,
    };
    if mode != "wal" || sync != wanted {
        return Err(Problem::internal(format!(
            "{}: journal_mode is {mode} and synchronous is {sync}; expected wal and {wanted}. Put the data directory on a local file system.",
            path.display()
        )));
    }
    Ok(())
}
