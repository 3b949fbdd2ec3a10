//! Assignments: a role held by a person for a time.
//!
//! # Invariants
//! - An assignment is over its time from the instant `expires_at <= now`; [`is_over`] is the only judge.
//! - `expired` and `revoked` are reached only when every grant is confirmed gone, or was never begun,
//!   or another live assignment of the person needs the entitlement.
//! - An ended assignment never changes again.
//!
//! # Not here
//! Bringing entitlements into connected systems and out of them ([`super::grants`]).

pub mod api;
pub mod jobs;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::grants::{Grant, GrantState};
use crate::base::id::{AssignmentId, DocumentId, RoleId, RunId};
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;

super::states! {
    /// Where an assignment stands.
    AssignmentState {
        /// Its start lies in the future.
        Scheduled = "scheduled",
        /// Its entitlements are being given.
        Provisioning = "provisioning",
        /// All entitlements are there.
        Active = "active",
        /// Some entitlement could not be given; it is tried again every hour.
        PartiallyProvisioned = "partially_provisioned",
        /// Its time is over; its entitlements are being taken away.
        Expiring = "expiring",
        /// It was ended; its entitlements are being taken away.
        Revoking = "revoking",
        /// Over, and confirmed gone.
        Expired = "expired",
        /// Ended, and confirmed gone.
        Revoked = "revoked",
    }
}

impl AssignmentState {
    /// Whether it gives access, or will.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Scheduled | Self::Provisioning | Self::Active | Self::PartiallyProvisioned)
    }

    /// The states in which its person may have something of it.
    pub const HELD: [Self; 5] =
        [Self::Provisioning, Self::Active, Self::PartiallyProvisioned, Self::Expiring, Self::Revoking];

    /// Whether its person may have something of it: what is being taken away is there until the connected
    /// system said otherwise.
    pub fn is_held(self) -> bool {
        Self::HELD.contains(&self)
    }

    /// Whether nothing of it is left.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }

    /// Where it stands, given its grants.
    pub fn settled(self, grants: &[GrantState]) -> Self {
        match self {
            Self::Provisioning | Self::Active | Self::PartiallyProvisioned => {
                if grants.iter().all(|g| *g == GrantState::Provisioned) {
                    Self::Active
                } else if grants.contains(&GrantState::Pending) {
                    self
                } else {
                    Self::PartiallyProvisioned
                }
            }
            Self::Expiring | Self::Revoking => {
                let gone = grants.iter().all(|g| *g == GrantState::Deprovisioned);
                match (gone, self) {
                    (false, _) => self,
                    (true, Self::Expiring) => Self::Expired,
                    (true, _) => Self::Revoked,
                }
            }
            Self::Scheduled | Self::Expired | Self::Revoked => self,
        }
    }
}

/// Whether something that lasts until `expires_at` is over: the instant itself counts.
pub fn is_over(expires_at: Timestamp, now: Timestamp) -> bool {
    expires_at <= now
}

/// Why an assignment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// Its time is over.
    Expired,
    /// A document that it rests on expired.
    DocumentExpired(DocumentId),
    /// A document that it rests on was withdrawn.
    DocumentWithdrawn(DocumentId),
    /// Somebody ended it, in their words.
    Revoked(String),
    /// The run that granted it failed and takes back what it did.
    RunCompensated(RunId),
}

impl EndReason {
    /// The words for people and the audit log.
    pub fn text(&self) -> String {
        match self {
            Self::Expired => "expired".to_owned(),
            Self::DocumentExpired(id) => format!("document expired: {id}"),
            Self::DocumentWithdrawn(id) => format!("document withdrawn: {id}"),
            Self::Revoked(why) => why.clone(),
            Self::RunCompensated(id) => format!("run takes back what it did: {id}"),
        }
    }

    /// The state until everything is confirmed gone.
    pub fn ending(&self) -> AssignmentState {
        match self {
            Self::Expired => AssignmentState::Expiring,
            _ => AssignmentState::Revoking,
        }
    }
}

/// A role in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRef {
    /// The id.
    pub id: RoleId,
    /// How it is called.
    pub name: String,
}

/// A role held by a person for a time.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The id.
    pub id: AssignmentId,
    /// Who holds it.
    pub person: PersonRef,
    /// What they hold.
    pub role: RoleRef,
    /// Where it stands.
    pub state: AssignmentState,
    /// Why it was granted.
    pub reason: String,
    /// Why it ends or ended.
    pub end_reason: Option<String>,
    /// The run that granted it.
    pub run_id: Option<RunId>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when; null until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// Since when nothing of it is left.
    pub ended_at: Option<Timestamp>,
    /// Its entitlements, as provisioned.
    pub grants: Vec<Grant>,
}
