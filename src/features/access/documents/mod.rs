//! Documents: the evidence a role assignment rests on.
//!
//! # Invariants
//! - A document is expired from the instant `expires_at <= now`. [`Document::is_expired`] is the
//!   only judge; SQL narrows the candidates, it never decides.
//! - When a document expires or is withdrawn, every assignment that rests on it ends in the same
//!   transaction.
//! - Nobody reviews their own document, nor one that they handed in for somebody else.
//! - A document's file changes only while it is `submitted`, by whoever it is about or whoever handed
//!   it in. Its hash stands in every audit entry from then on, that of the approval included; the
//!   database itself refuses a later change.
//!
//! # Not here
//! Calling the connector that takes the access away is [`super::grants`], reached through the outbox.

pub mod api;
pub mod cleanup;
pub mod files;
pub mod jobs;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::id::{DocumentId, PersonId, RunId};
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;

super::states! {
    /// Where a document stands.
    DocumentState {
        /// Handed in, not reviewed yet.
        Submitted = "submitted",
        /// Accepted by a reviewer.
        Approved = "approved",
        /// Turned down by a reviewer.
        Rejected = "rejected",
        /// Taken back.
        Withdrawn = "withdrawn",
        /// Past its time.
        Expired = "expired",
    }
}

impl DocumentState {
    /// Whether it is submitted or approved.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Submitted | Self::Approved)
    }
}

/// Evidence that a role assignment can rest on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// The id.
    pub id: DocumentId,
    /// What it is, such as `training-certificate`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose it is.
    pub person: PersonRef,
    /// Where it stands.
    pub state: DocumentState,
    /// From when it counts.
    pub valid_from: Timestamp,
    /// Until when it counts; the instant itself does not.
    pub expires_at: Timestamp,
    /// The run it was handed in for.
    #[serde(skip)]
    pub run_id: Option<RunId>,
    /// The file, if one was handed in.
    pub file: Option<DocumentFile>,
    /// Who handed it in.
    pub submitted_by: Option<PersonId>,
    /// When it was handed in.
    pub created_at: Timestamp,
}

/// The file of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentFile {
    /// Its name, as whoever handed it in calls it.
    pub name: String,
    /// How many bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub sha256: String,
    /// What kind of file, one of [`MEDIA_TYPES`].
    pub media_type: String,
}

/// The largest file that is taken, in bytes.
pub const MAX_FILE: u64 = 25 * 1024 * 1024;

/// The kinds of files that are taken. None of them is run by a browser that opens it.
pub const MEDIA_TYPES: [&str; 11] = [
    "application/pdf",
    "image/jpeg",
    "image/png",
    "image/tiff",
    "image/webp",
    "text/csv",
    "text/plain",
    "application/vnd.oasis.opendocument.text",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
];

/// Why a text cannot be the name of a file; nothing when it can.
pub fn fault_of_file_name(name: &str) -> Option<&'static str> {
    // A name that runs backwards shows another ending than it has.
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if name.trim().is_empty() || name.len() > 255 {
        Some("expected a name of 1 to 255 bytes")
    } else if name.contains(['/', '\\']) || matches!(name, "." | "..") {
        Some("expected the name of a file, without a folder")
    } else if name.chars().any(|c| c.is_control() || turns(c)) {
        Some("expected a name without control characters")
    } else {
        None
    }
}

impl Document {
    /// Whether its time is over: the expiry instant itself counts, one millisecond before does not.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        super::assignments::is_over(self.expires_at, now)
    }

    /// Whether an assignment may rest on it.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state == DocumentState::Approved && self.valid_from <= now && !self.is_expired(now)
    }

    /// Whether it is submitted or approved.
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }
}

/// A type of documents in words for people: `data-use-agreement` is "Data use agreement".
pub fn title(kind: &str) -> String {
    let words = kind.replace(['-', '_'], " ");
    let mut chars = words.trim().chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Whether the text can name a type of documents: lower-case words joined by `-` or `_`.
pub fn is_type(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}
