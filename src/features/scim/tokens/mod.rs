//! Tokens for SCIM: made and revoked by administrators, kept as hashes, shown once.

pub mod api;
pub mod ops;
pub mod store;

use serde::Serialize;

use crate::base::id::ScimTokenId;
use crate::base::time::Timestamp;

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimToken {
    /// The id.
    pub id: ScimTokenId,
    /// What it is for.
    pub name: String,
    /// Who made it, as the audit log names them.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; null when it lasts until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ScimToken {
    /// Whether it is good for anything at this instant.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}
