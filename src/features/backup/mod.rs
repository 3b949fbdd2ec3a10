//! Backups: one file from which a lost installation comes back.
//!
//! # Invariants
//! - A backup is made from one moment of the database, and only from a sound one: its pages, its
//!   references and its audit chain are checked in the copy before the file gets its name.
//! - It has exactly the files that the copied database names. One that a document rests on and that is
//!   lost is refused by name, unless the backup was asked for without it; then the backup says so.
//! - A restore checks all of it again before anything in the data directory is touched, and moves what
//!   is there aside instead of deleting it.
//! - A restore that was cut short is noticed: the server does not start on half of one.
//! - After a restore every session is over, and the audit log says that and from what was restored, under a new name.
//!
//! # Not here
//! `queue.db`, `logs.db` and sessions are not backed up: the job ledger in `tenure.db` fills the queue
//! again.

pub mod keyring;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};

use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Writes};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of Tenure that made it.
    pub version: String,
    /// When the copy was made.
    pub created_at: Timestamp,
    /// Entries of the audit log.
    pub audit_entries: u64,
    /// The hash of the newest entry, base64: the whole log hangs on it.
    pub audit_head: String,
    /// Whether the keys are in it, sealed under a passphrase.
    pub has_keys: bool,
    /// Files of documents that were lost when it was made, and that it is therefore without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_files: Vec<String>,
}

impl About {
    /// Refuses what only a newer version can read.
    pub fn check_format(&self) -> Result<(), Problem> {
        if self.format <= FORMAT {
            return Ok(());
        }
        Err(Problem::refused(format!(
            "The backup has format {} (made by Tenure {}); this is Tenure {} and reads up to {FORMAT}. Restore it with that version.",
            self.format,
            self.version,
            env!("CARGO_PKG_VERSION"),
        )))
    }
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of(audit::AT_RESTORE, &["backup.restored"]),
];
