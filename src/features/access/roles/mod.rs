//! Business roles: what somebody may become for a time, and what that takes and gives.
//!
//! # Invariants
//! - A retired role is not granted any more; who holds it keeps it until its end.
//! - A change counts for whom the role is granted to from then on, never for who holds it.
//!
//! # Not here
//! The system roles of the product ([`crate::base::access::SystemRole`]); who holds a role
//! ([`super::assignments`]).

pub mod api;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::entitlements::EntitlementRef;
use crate::base::id::{PersonId, RoleId};

super::states! {
    /// Whether a role is granted.
    RoleStatus {
        /// It is.
        Active = "active",
        /// No more.
        Retired = "retired",
    }
}

/// A business role.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Role {
    /// The id.
    pub id: RoleId,
    /// How it is called; unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who answers for it.
    pub owner_id: Option<PersonId>,
    /// Whether it is granted.
    pub status: RoleStatus,
    /// How long it lasts unless somebody says otherwise; without it, until it is revoked.
    pub default_duration_days: Option<u32>,
    /// Types of documents that whoever holds it must have.
    pub required_document_types: Vec<String>,
    /// What it gives.
    pub entitlements: Vec<EntitlementRef>,
}
