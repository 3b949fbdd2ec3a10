//! Opening a database that must stay exactly as it is: evidence, a backup, another user's file.
//!
//! # Invariants
//! - No byte and no file in the database's directory changes, whether it may be written or not.
//! - What stands in a write-ahead log beside the file is read too.
//!
//! SQLite reads a file without a write-ahead log as immutable. One that has a log is read through the
//! shared-memory index beside it, which is opened for reading only. A log without that index (a copy)
//! can be read only where an index may be made: all of it is copied into a private folder first.

use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::base::id::Ids;
use crate::base::problem::Problem;

/// How a file is opened without changing anything.
pub(super) struct Opening {
    /// The `file:` address with its parameters.
    pub(super) uri: String,
    /// The copy that is read instead, if one had to be made.
    pub(super) copy: Option<PrivateCopy>,
}

/// A folder of our own that goes when it is dropped.
pub(super) struct PrivateCopy(PathBuf);

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(error = %e, folder = %self.0.display(), "a temporary copy was not removed");
        }
    }
}

/// The flags of every such connection.
pub(super) fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Finds out how `path` can be read, and reads it once; the fault says what is wrong with the file.
pub(super) fn prepare(path: &Path, ids: &dyn Ids) -> Result<Opening, Problem> {
    let unusable = |why: String| Problem::refused(format!("{}: {why}", path.display()));
    if let Err(e) = std::fs::File::open(path) {
        return Err(unusable(format!("cannot be read: {e}. Give the path of a database file that this user may read.")));
    }
    if !path.is_file() {
        return Err(unusable("is not a file. Give the path of a database file, such as DATA_DIR/tenure.db.".to_owned()));
    }
    let opening = match (beside(path, "-wal").exists(), beside(path, "-shm").exists()) {
        (false, _) => Opening { uri: uri(path, "immutable=1"), copy: None },
        (true, true) => Opening { uri: uri(path, "readonly_shm=1"), copy: None },
        (true, false) => {
            let copy = copy(path, ids)
                .map_err(|e| unusable(format!("its write-ahead log has no index, and a copy to read it from cannot be made in {}: {e}", std::env::temp_dir().display())))?;
            Opening { uri: uri(&copy.0.join("copy.db"), "mode=rw"), copy: Some(copy) }
        }
    };
    let tables: rusqlite::Result<i64> = Connection::open_with_flags(&opening.uri, flags_of(&opening))
        .and_then(|conn| conn.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migration'", [], |r| r.get(0)));
    match tables {
        Ok(1..) => Ok(opening),
        Ok(_) => Err(unusable("is no database of Tenure. Give the path of a tenure.db.".to_owned())),
        Err(rusqlite::Error::SqliteFailure(f, _)) if f.code == ErrorCode::NotADatabase => {
            Err(unusable("is not an SQLite database. Give the path of a tenure.db.".to_owned()))
        }
        Err(e) => Err(unusable(format!("cannot be read as a database: {e}"))),
    }
}

/// The flags for one opening: a private copy may be written, nobody else sees it.
pub(super) fn flags_of(opening: &Opening) -> OpenFlags {
    if opening.copy.is_some() {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX
    } else {
        flags()
    }
}

/// The settings of a connection that only looks.
pub(super) fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "PRAGMA busy_timeout=5000;
         PRAGMA trusted_schema=OFF;
         PRAGMA cell_size_check=ON;
         PRAGMA temp_store=MEMORY;
         PRAGMA mmap_size=0;
         PRAGMA query_only=ON;",
    )?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(())
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

fn copy(path: &Path, ids: &dyn Ids) -> std::io::Result<PrivateCopy> {
    let folder = std::env::temp_dir().join(format!("tenure-{:032x}", ids.next_random()));
    DirBuilder::new().mode(0o700).create(&folder)?;
    let copy = PrivateCopy(folder);
    std::fs::copy(path, copy.0.join("copy.db"))?;
    std::fs::copy(beside(path, "-wal"), copy.0.join("copy.db-wal"))?;
    // The copies have the modes of what they were copied from, which may be read-only.
    for name in ["copy.db", "copy.db-wal"] {
        std::fs::set_permissions(copy.0.join(name), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    Ok(copy)
}

/// The `file:` address of a path, whatever characters it has.
pub(super) fn uri(path: &Path, parameters: &str) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let encoded: String = OsStr::as_bytes(path.as_os_str())
        .iter()
        .map(|b| match b {
            b'/' | b'-' | b'_' | b'.' => char::from(*b).to_string(),
            b if b.is_ascii_alphanumeric() => char::from(*b).to_string(),
            b => format!("%{b:02x}"),
        })
        .collect();
    format!("file://{encoded}?{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_characters_becomes_one_address() {
        assert_eq!(uri(Path::new("/a b/c?d#e%f.db"), "immutable=1"), "file:///a%20b/c%3fd%23e%25f.db?immutable=1");
    }
}
