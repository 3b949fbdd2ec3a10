//! Migrations: numbered SQL files, forward only, each applied once in a transaction of its own.
//!
//! # Invariants
//! - A file that was applied never changes: its SHA-256 stands in the database and is compared at
//!   every start.
//! - A database that is newer than this binary is refused, not touched.

use rusqlite::Connection;
use rust_embed::Embed;
use sha2::{Digest, Sha256};

use super::error::from_sqlite;
use super::tx::Tx;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// One SQL file.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Its number; the order of application.
    pub version: u32,
    /// File name without the number and the ending.
    pub name: String,
    /// The statements.
    pub sql: String,
}

/// The files of one database.
#[derive(Debug, Clone, Default)]
pub struct MigrationSet(Vec<Migration>);

#[derive(Embed)]
#[folder = "migrations/"]
struct Files;

impl MigrationSet {
    /// The files of `tenure.db`.
    pub fn tenure() -> Self {
        Self::embedded("")
    }

    /// The files of `logs.db`.
    pub fn logs() -> Self {
        Self::embedded("logs/")
    }

    /// The files of `queue.db`.
    pub fn queue() -> Self {
        Self::embedded("queue/")
    }

    /// A set made by hand, for tests.
    pub fn of(files: Vec<Migration>) -> Self {
        Self(files)
    }

    /// The files, in order.
    pub fn files(&self) -> &[Migration] {
        &self.0
    }

    fn embedded(folder: &str) -> Self {
        let mut files: Vec<Migration> = Files::iter()
            .filter_map(|path| {
                let file = path.strip_prefix(folder)?.strip_suffix(".sql")?.to_owned();
                let (number, name) = file.split_once('_')?;
                let version = number.parse().ok()?;
                let sql = String::from_utf8(Files::get(&path)?.data.into_owned()).ok()?;
                Some(Migration { version, name: name.to_owned(), sql })
            })
            .collect();
        files.sort_by_key(|m| m.version);
        Self(files)
    }
}

/// Hex of the SHA-256 of a migration's text.
pub fn fingerprint(sql: &str) -> String {
    hex::encode(Sha256::digest(sql.as_bytes()))
}

/// How a database stands to the files of this binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every file is applied, unchanged.
    Current,
    /// These will be applied at the next start.
    Behind(Vec<String>),
    /// This one is not known here, or was applied with another text.
    Foreign(String),
}

/// Compares without changing anything.
pub fn standing(tx: &Tx<'_>, set: &MigrationSet) -> Result<Standing, Problem> {
    let applied: Vec<(u32, String, String)> = tx.query(
        "SELECT version, name, sha256 FROM schema_migration ORDER BY version",
        &[],
        |r| Ok((r.get("version")?, r.get("name")?, r.get("sha256")?)),
    )?;
    let shown = |version: u32, name: &str| format!("{version:04}_{name}");
    for (version, name, sum) in &applied {
        let same = set.0.iter().any(|m| m.version == *version && fingerprint(&m.sql) == *sum);
        if !same {
            return Ok(Standing::Foreign(shown(*version, name)));
        }
    }
    let missing = set.0.iter().filter(|m| applied.iter().all(|(v, ..)| *v != m.version));
    let missing: Vec<_> = missing.map(|m| shown(m.version, &m.name)).collect();
    Ok(if missing.is_empty() { Standing::Current } else { Standing::Behind(missing) })
}

/// Applies what is missing; answers how many files were applied.
pub(super) fn apply(conn: &Connection, set: &MigrationSet, now: Timestamp) -> Result<usize, Problem> {
    run(conn, "CREATE TABLE IF NOT EXISTS schema_migration (
            version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
            applied_at INTEGER NOT NULL) STRICT;")?;
    let applied = read_applied(conn)?;
    if let Some((version, name, _)) = applied.iter().find(|(v, ..)| !set.0.iter().any(|m| m.version == *v)) {
        return Err(Problem::refused(format!(
            "The database has migration {version:04} ({name}), which this version of Tenure does not know. Start the newer version, or restore a backup made with this one."
        )));
    }
    let mut count = 0;
    for file in &set.0 {
        let sum = fingerprint(&file.sql);
        match applied.iter().find(|(v, ..)| *v == file.version) {
            Some((_, _, old)) if *old == sum => {}
            Some((version, name, _)) => {
                return Err(Problem::refused(format!(
                    "Migration {version:04} ({name}) was applied with another text. Use the version of Tenure that made this data directory."
                )));
            }
            None => {
                apply_one(conn, file, &sum, now)?;
                count += 1;
            }
        }
    }
    Ok(count)
}

fn read_applied(conn: &Connection) -> Result<Vec<(u32, String, String)>, Problem> {
    let mut statement = conn
        .prepare("SELECT version, name, sha256 FROM schema_migration ORDER BY version")
        .map_err(|e| from_sqlite(&e, "reading schema_migration"))?;
    statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .and_then(Iterator::collect)
        .map_err(|e| from_sqlite(&e, "reading schema_migration"))
}

fn apply_one(conn: &Connection, file: &Migration, sum: &str, now: Timestamp) -> Result<(), Problem> {
    let result = run(conn, "BEGIN IMMEDIATE").and_then(|()| run(conn, &file.sql)).and_then(|()| {
        conn.execute(
            "INSERT INTO schema_migration (version, name, sha256, applied_at) VALUES (?1, ?2, ?3, ?4)",
            rusqlite::params![file.version, file.name, sum, now.as_millis()],
        )
        .map_err(|e| from_sqlite(&e, "recording a migration"))?;
        run(conn, "COMMIT")
    });
    if result.is_err() && !conn.is_autocommit() {
        run(conn, "ROLLBACK")?;
    }
    result
}

fn run(conn: &Connection, sql: &str) -> Result<(), Problem> {
    conn.execute_batch(sql).map_err(|e| from_sqlite(&e, sql))
}
