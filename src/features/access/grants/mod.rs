//! Grants: one entitlement of an assignment, as it stands in the connected system.
//!
//! # Invariants
//! - What is wanted carries a generation; the outcome of a call for an older one changes nothing. A
//!   withdrawal that comes while a call is out wins in the end.
//! - An entitlement is taken away only when no other live assignment of the person needs it.
//! - Calls for one entitlement of one person never overlap ([`ops::begin`]).
//! - Nothing is given to an account while a job removes it, and the other way round ([`ops::claim_account`]).
//! - A connected system that was told until when access lasts is told a later end ([`ends`]).
//! - `provisioned` and `deprovisioned` follow a read-back by the check command where there is one.
//!
//! # Not here
//! When an assignment begins and ends ([`super::assignments`]).

mod ends;
pub mod jobs;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::entitlements::{Call, RenderedCalls};
use crate::base::id::{AssignmentId, EntitlementId, GrantId, PersonId};
use crate::base::time::Timestamp;

super::states! {
    /// Where a grant stands.
    GrantState {
        /// To be given.
        Pending = "pending",
        /// Confirmed there.
        Provisioned = "provisioned",
        /// The last try failed after all its attempts; it is tried again every hour.
        Failed = "failed",
        /// To be taken away.
        Deprovisioning = "deprovisioning",
        /// Confirmed gone, never begun, or left for another assignment that needs it.
        Deprovisioned = "deprovisioned",
        /// Found without an assignment.
        Orphaned = "orphaned",
    }
}

super::states! {
    /// What is wanted of an entitlement.
    Wanted {
        /// It is to be there.
        Present = "present",
        /// It is to be gone.
        Absent = "absent",
    }
}

/// One entitlement of an assignment, as it is shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The id.
    pub id: GrantId,
    /// Which entitlement.
    pub entitlement_id: EntitlementId,
    /// How it is called.
    pub entitlement_name: String,
    /// How the connected system is called.
    pub connector_name: String,
    /// Where it stands.
    pub state: GrantState,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When the connected system last confirmed the state.
    pub confirmed_at: Option<Timestamp>,
}

/// A grant with what the calls need.
#[derive(Debug, Clone)]
pub struct GrantRow {
    /// The id.
    pub id: GrantId,
    /// Of which assignment.
    pub assignment_id: AssignmentId,
    /// For whom.
    pub person_id: PersonId,
    /// Which entitlement.
    pub entitlement_id: EntitlementId,
    /// Where it stands.
    pub state: GrantState,
    /// What is wanted.
    pub wanted: Wanted,
    /// Which change of what is wanted this is.
    pub generation: u32,
    /// The calls as rendered; absent as long as nothing went out.
    pub calls: Option<RenderedCalls>,
    /// What the connected system's list calls it; empty when that cannot be told.
    pub account: Option<String>,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When the connected system last confirmed the state.
    pub confirmed_at: Option<Timestamp>,
}

impl GrantRow {
    /// Whether something is left to do towards `wanted`.
    pub fn needs(&self, wanted: Wanted) -> bool {
        self.wanted == wanted
            && matches!(
                (self.state, wanted),
                (GrantState::Failed, _)
                    | (GrantState::Pending, Wanted::Present)
                    | (GrantState::Deprovisioning, Wanted::Absent)
            )
    }
}

/// A call to be made, with what its outcome must name.
#[derive(Debug, Clone)]
pub struct Work {
    /// For which grant.
    pub grant: GrantId,
    /// For which generation.
    pub generation: u32,
    /// Towards what.
    pub wanted: Wanted,
    /// The calls as rendered.
    pub calls: RenderedCalls,
}

impl Work {
    /// The call that does it.
    pub fn act(&self) -> &Call {
        match self.wanted {
            Wanted::Present => &self.calls.provision,
            Wanted::Absent => &self.calls.deprovision,
        }
    }

    /// Whether it has to be done although it stands as wanted.
    pub fn is_again(&self) -> bool {
        self.wanted == Wanted::Present && self.calls.gives_again
    }

    /// The same for each try of this intention, another for the next one.
    pub fn key(&self) -> String {
        let direction = match self.wanted {
            Wanted::Present => "provision",
            Wanted::Absent => "deprovision",
        };
        format!("{}-{direction}-{}", self.grant, self.generation)
    }
}
