//! Delegations: somebody decides approvals instead of somebody else for a while.
//!
//! A delegation without a delegate is an absence: the absent person's manager decides, and who has no
//! manager keeps what is theirs. Both count when the stage of an approval opens; what was open before
//! stays where it is, and can be handed over by hand.
//!
//! # Invariants
//! - A person has at most one delegation at an instant.
//! - A person passes their decisions on themselves; an administrator does it for somebody who is away, never
//!   to themselves, and both are told. Ending a delegation is up to the person and to administrators.

pub mod api;
pub mod ops;
pub mod store;

use crate::base::id::{DelegationId, PersonId};
use crate::base::time::Timestamp;

/// A delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The id.
    pub id: DelegationId,
    /// Whose decisions they are.
    pub person: PersonId,
    /// Who makes them; the person's manager when absent.
    pub delegate: Option<PersonId>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when; at this instant it is over.
    pub ends_at: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody ended it before its time.
    pub revoked_at: Option<Timestamp>,
}

impl Delegation {
    /// Whether it is in force at an instant.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.revoked_at.is_none() && self.starts_at <= at && at < self.ends_at
    }
}
