//! Separation of duties: roles that exclude each other.
//!
//! # Invariants
//! - Nobody is granted a role, starts one or keeps one longer while it excludes another that they hold at the time. A
//!   role whose access is still being taken away is still held.
//! - A rule that is added takes nothing from those who hold both; they are listed.
//!
//! # Not here
//! Who decides about a request ([`crate::features::workflow`]).

pub mod api;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::assignments::{self, AssignmentState, RoleRef};
use crate::base::id::{AssignmentId, RoleConflictId};
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;

/// Two roles that nobody holds at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleConflict {
    /// The id.
    pub id: RoleConflictId,
    /// The two, in the order of their ids.
    pub roles: Vec<RoleRef>,
    /// Why they exclude each other.
    pub reason: String,
    /// Since when.
    pub created_at: Timestamp,
}

/// An assignment that another one excludes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Excluded {
    /// The assignment.
    pub id: AssignmentId,
    /// Of which role.
    pub role: RoleRef,
    /// Where it stands.
    pub state: AssignmentState,
    /// Until when; null until it is revoked.
    pub expires_at: Option<Timestamp>,
}

/// Somebody who holds, or is to hold, two roles that exclude each other.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// The rule.
    pub conflict_id: RoleConflictId,
    /// Who.
    pub person: PersonRef,
    /// Why the two exclude each other.
    pub reason: String,
    /// The two assignments.
    pub assignments: Vec<Excluded>,
}

/// From when until when a role is held; without an end until it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first instant.
    pub from: Timestamp,
    /// The first instant after it.
    pub until: Option<Timestamp>,
}

impl Period {
    /// Whether there is an instant in both.
    pub fn overlaps(self, other: Self) -> bool {
        self.until.is_none_or(|end| other.from < end) && other.until.is_none_or(|end| self.from < end)
    }
}

/// How an assignment is in the way of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InTheWay {
    /// It is held at an instant of the other one.
    Held,
    /// It is over, and its access is still being taken away.
    Leaving,
}

/// How an assignment in this state, meant for `held`, is in the way of one for `wanted`, if at all.
pub fn in_the_way(state: AssignmentState, held: Period, wanted: Period, now: Timestamp) -> Option<InTheWay> {
    let is_over = held.until.is_some_and(|end| assignments::is_over(end, now));
    if state.is_ended() {
        None
    } else if !state.is_live() || is_over {
        (wanted.from <= now).then_some(InTheWay::Leaving)
    } else {
        held.overlaps(wanted).then_some(InTheWay::Held)
    }
}
