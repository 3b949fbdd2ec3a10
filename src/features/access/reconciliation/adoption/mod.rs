//! Adopting: an account that was found becomes an assignment, with an owner, a reason and an end.
//!
//! # Invariants
//! - Nothing is taken away and given again: provisioning looks first, and an account that would get another
//!   name is not adopted.
//! - Every adopted account has an end.
//! - Whoever asked and whoever agreed adopt nothing for themselves when many are adopted at once.
//!
//! # Not here
//! That it takes two people ([`crate::features::access`] knows no exceptions; the workflow feature does).

pub mod jobs;
pub mod ops;
pub mod store;

use crate::base::access::ExceptionMark;
use crate::base::id::{AdoptionId, RoleId};
use crate::base::time::Timestamp;

/// Making assignments of the accounts of a plan whose person is known.
#[derive(Debug, Clone)]
pub struct Adoption {
    /// The id.
    pub id: AdoptionId,
    /// Of which plan.
    pub plan_no: i64,
    /// What they become.
    pub role_id: RoleId,
    /// Why.
    pub reason: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// Who asked, as the audit log calls them.
    pub requested_by: String,
    /// Who stands behind it.
    pub mark: Option<ExceptionMark>,
    /// How many there were when it was asked for.
    pub total: u64,
    /// The last that was looked at.
    pub cursor: i64,
    /// How many became assignments.
    pub adopted: u64,
    /// How many could not; each says why.
    pub skipped: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When the last was looked at.
    pub ended_at: Option<Timestamp>,
}
