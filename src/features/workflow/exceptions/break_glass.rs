//! Breaking the glass: taking a role in an emergency, alone, for a few hours.
//!
//! # Invariants
//! - Only for oneself, with a reason of some length, for at most [`MAX_HOURS`]; it is not extended.
//! - The role's owner and every administrator are told at once.
//! - Somebody else reviews it; until then it is open, and after [`REVIEW_DAYS`] it is told of every day.

pub mod api;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};

use crate::base::access::{Permission, Principal};
use crate::base::id::{AssignmentId, BreakGlassId, PersonId, RoleId};
use crate::base::time::Timestamp;

/// The longest time.
pub const MAX_HOURS: u32 = 8;
/// The shortest reason, in characters.
pub const MIN_REASON: usize = 20;
/// Days until a missing review is told of.
pub const REVIEW_DAYS: u32 = 7;

/// What a review came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = BreakGlassVerdict)]
pub enum Verdict {
    /// There was need.
    Justified,
    /// There was none; access that is left is taken back.
    Unjustified,
}

impl Verdict {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::Unjustified => "unjustified",
        }
    }

    /// The verdict with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Justified, Self::Unjustified].into_iter().find(|v| v.as_str() == text)
    }
}

/// A role that somebody took in an emergency.
#[derive(Debug, Clone)]
pub struct BreakGlass {
    /// The id.
    pub id: BreakGlassId,
    /// Who.
    pub person_id: PersonId,
    /// Which role.
    pub role_id: RoleId,
    /// The assignment.
    pub assignment_id: AssignmentId,
    /// Why.
    pub reason: String,
    /// For how many hours.
    pub hours: u32,
    /// When.
    pub created_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// What the review came to; absent until there is one.
    pub verdict: Option<Verdict>,
    /// Why.
    pub review_reason: Option<String>,
    /// Who reviewed it.
    pub reviewed_by: Option<PersonId>,
    /// When.
    pub reviewed_at: Option<Timestamp>,
}

impl BreakGlass {
    /// Why this principal may not review it; `None` when they may.
    pub fn why_not(&self, by: &Principal) -> Option<&'static str> {
        let Some(person) = &by.person else { return Some("Only people review.") };
        if self.verdict.is_some() {
            return Some("It is reviewed already.");
        }
        if self.person_id == *person {
            return Some("It was you; somebody else reviews it.");
        }
        if !by.may_decide || !by.can(Permission::BreakGlassUse) {
            return Some("You may not review with this sign-in.");
        }
        None
    }
}
