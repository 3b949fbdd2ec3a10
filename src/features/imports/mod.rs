//! Imports: people and the access that they have already, from a file or from the list of a connected system.
//!
//! # Invariants
//! - What comes in is reviewed row by row before anything changes; nothing changes until somebody applies it.
//! - A row is judged anew when it is applied: what changed since the review is told, and not overwritten.
//! - With the rule of the second person on, whoever brought access in does not apply it.
//! - An import takes up where it was cut; a row is applied once.
//! - People who leave by an import count together against the threshold.
//!
//! # Not here
//! What granting a role does (the access feature), what leaving does (`identity::leavers`).

pub mod api;
pub mod assignments;
pub mod csv;
pub mod jobs;
pub mod ops;
pub mod people;
pub mod store;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::id::{ImportId, JobId, PersonId};
use crate::base::time::Timestamp;
use crate::features::audit::Writes;
use crate::features::identity::leavers;
use crate::features::identity::people::PersonRef;

/// Rows that one import has at most.
pub const MAX_ROWS: usize = 20_000;
/// Columns that a file has at most.
pub const MAX_COLUMNS: usize = 120;

/// What is brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportKind {
    /// People.
    People,
    /// Roles that people hold.
    Assignments,
}

impl ImportKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::People => "people",
            Self::Assignments => "assignments",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::People, Self::Assignments].into_iter().find(|k| k.as_str() == text)
    }
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImportState {
    /// It can be looked at; nothing has changed.
    Reviewed,
    /// It is being applied.
    Applying,
    /// Every row that could be applied is.
    Applied,
    /// Somebody decided against it.
    Cancelled,
}

impl ImportState {
    const ALL: [Self; 4] = [Self::Reviewed, Self::Applying, Self::Applied, Self::Cancelled];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reviewed => "reviewed",
            Self::Applying => "applying",
            Self::Applied => "applied",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// What a row would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ImportVerdict)]
pub enum Verdict {
    /// Add something.
    New,
    /// Change something.
    Changed,
    /// Nothing: it is so already.
    Unchanged,
    /// It contradicts what is known; it is passed over.
    Conflict,
    /// It cannot be read; it is passed over.
    Fault,
}

impl Verdict {
    const ALL: [Self; 5] = [Self::New, Self::Changed, Self::Unchanged, Self::Conflict, Self::Fault];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Conflict => "conflict",
            Self::Fault => "fault",
        }
    }

    /// The verdict with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// Whether it is applied.
    pub fn applies(self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RowState {
    /// Nothing yet.
    Open,
    /// It was applied.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It could not be applied.
    Failed,
}

impl RowState {
    const ALL: [Self; 4] = [Self::Open, Self::Done, Self::Skipped, Self::Failed];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// An import.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Import {
    /// The id.
    pub id: ImportId,
    /// What is brought in.
    pub kind: ImportKind,
    /// The name of the file, or of the connector.
    pub name: String,
    /// Where it comes from: `csv`, or the id of the connector whose list it was.
    pub origin: String,
    /// Where it stands.
    pub state: ImportState,
    /// Who brought it.
    pub created_by: Option<PersonRef>,
    /// Who brought it, in words.
    pub created_by_name: String,
    /// When.
    pub created_at: Timestamp,
    /// Who applied it.
    pub applied_by: Option<PersonRef>,
    /// When that began.
    pub applied_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How many rows there are of each verdict.
    pub counts: BTreeMap<String, u32>,
    /// Rows applied.
    pub done: u32,
    /// Rows that could not be applied.
    pub failed: u32,
    /// The job that applies it.
    pub job_id: Option<JobId>,
}

impl Import {
    /// Rows that are applied in the end.
    pub fn total(&self) -> u32 {
        [Verdict::New, Verdict::Changed].iter().filter_map(|v| self.counts.get(v.as_str())).sum()
    }
}

/// Something that is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RowFault {
    /// The column, as the file calls it; empty when it is about the whole row.
    pub column: String,
    /// What was got and what was expected.
    pub message: String,
}

impl RowFault {
    /// A fault of a column.
    pub fn new(column: impl Into<String>, message: impl Into<String>) -> Self {
        Self { column: column.into(), message: message.into() }
    }
}

/// Something that a row changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RowChange {
    /// What.
    pub field: String,
    /// As it is.
    #[schema(value_type = Option<Object>)]
    pub before: Value,
    /// As it would be.
    #[schema(value_type = Option<Object>)]
    pub after: Value,
}

/// A row of an import.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportRow {
    /// The line of the file where it begins, or the place in the list, counted from 1.
    pub line: u32,
    /// What it would do.
    pub verdict: Verdict,
    /// By what the person was found: `externalId` or `email`.
    pub matched_by: Option<String>,
    /// Who was found.
    pub person_id: Option<PersonId>,
    /// What stands in the file, by column.
    pub given: BTreeMap<String, String>,
    /// What would change.
    pub changes: Vec<RowChange>,
    /// What is wrong.
    pub faults: Vec<RowFault>,
    /// What became of it.
    pub state: RowState,
    /// Why it could not be applied.
    pub error: Option<String>,
}

impl ImportRow {
    /// A row that was not judged yet.
    pub fn of(line: u32, given: BTreeMap<String, String>) -> Self {
        Self {
            line,
            verdict: Verdict::Unchanged,
            matched_by: None,
            person_id: None,
            given,
            changes: Vec::new(),
            faults: Vec::new(),
            state: RowState::Open,
            error: None,
        }
    }

    /// The cell of a column, without blanks around it; nothing when it is empty.
    pub fn cell(&self, column: &str) -> Option<&str> {
        self.given.get(column).map(|t| t.trim()).filter(|t| !t.is_empty())
    }
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/imports", &["import.reviewed"]),
    Writes::of("POST /api/imports/from-connector", &["import.reviewed"]),
    Writes::of("POST /api/imports/{id}/apply", &["import.applied"]),
    Writes::of("POST /api/imports/{id}/cancel", &["import.cancelled"]),
    Writes::with(
        "apply-import",
        &["import.finished", "person.created", "person.changed", "group.member_added", "group.member_removed", "role.granted"],
        &[leavers::LEAVES, leavers::IS_TOLD],
    ),
];
