//! People who leave.
//!
//! In the transaction that says so, sign-in, tokens, system roles and groups are gone, and a job is made that
//! ends everything else they held. Coming back gives nothing of it back.
//!
//! # Invariants
//! - More people than the threshold do not leave by one source within 24 hours: the rest waits for an
//!   administrator, and is still active.
//! - The last administrator does not leave.
//! - Somebody who comes back before a held leaving was decided never left.
//!
//! # Not here
//! Ending access, requests and work: the job is run by the feature `lifecycle`, which knows them.

pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::people::PersonRef;
use crate::base::id::{LeaveId, RunId};
use crate::base::time::Timestamp;
use crate::features::settings::NumberSetting;

/// What is written where it is said whether somebody is there: that they come back, or that their leave waits.
pub const IS_TOLD: &[&str] = &["person.reactivated", "person.leave_withdrawn", "person.leave_held"];

/// What is written when somebody leaves, by whatever way; what they held ends by a job.
pub const LEAVES: &[&str] =
    &["person.deactivated", "person.left", "account.closed", "token.revoked", "group.member_removed"];

/// The job that ends what a leaver held.
pub const END_LEAVER: &str = "end-leaver-access";
/// The job that tells administrators of people whose leaving is held.
pub const TELL_HELD: &str = "tell-held-leavers";

/// How many of a hundred active people may leave by one source within 24 hours.
pub const LEAVERS_PERCENT: NumberSetting =
    NumberSetting { field: "leaversPercent", name: "people.leavers_percent", min: 1, max: 100 };
/// How many people may leave by one source within 24 hours.
pub const LEAVERS_COUNT: NumberSetting =
    NumberSetting { field: "leaversCount", name: "people.leavers_count", min: 1, max: 100_000 };
/// The percentage until somebody saves another.
pub const DEFAULT_PERCENT: u32 = 10;
/// The number until somebody saves another.
pub const DEFAULT_COUNT: u32 = 20;
/// As many may always leave: of ten people one is a tenth, and no mass.
pub const ALWAYS: u32 = 5;

/// How many people may leave by one source within 24 hours, of so many that are active.
pub fn threshold(percent: u32, count: u32, active: u32) -> u32 {
    let share = u32::try_from(u64::from(active) * u64::from(percent) / 100).unwrap_or(u32::MAX);
    count.min(share.max(ALWAYS.min(count)))
}

/// Where the leaving of somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeaveState {
    /// It waits for an administrator; the person is active.
    Held,
    /// What they held is being ended.
    Open,
    /// All is ended or handed over, or an administrator was told.
    Done,
    /// An administrator decided that they do not leave.
    Dismissed,
    /// The source took it back before it was decided.
    Withdrawn,
}

impl LeaveState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Held, Self::Open, Self::Done, Self::Dismissed, Self::Withdrawn];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Open => "open",
            Self::Done => "done",
            Self::Dismissed => "dismissed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A time when somebody left, or was said to.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leave {
    /// The id.
    pub id: LeaveId,
    /// Who.
    pub person: PersonRef,
    /// Who said so, as a key: `person:per_…`, `scim:sct_…`, `import:imp_…`, `system:…`.
    pub source: String,
    /// Who said so, in words.
    pub source_name: String,
    /// Why.
    pub reason: String,
    /// Where it stands.
    pub state: LeaveState,
    /// Why it waits for an administrator.
    pub held_because: Option<String>,
    /// The run that closed the person.
    pub run_id: Option<RunId>,
    /// When it was said.
    pub created_at: Timestamp,
    /// Since when the person is not active.
    pub began_at: Option<Timestamp>,
    /// When all was ended or handed over.
    pub done_at: Option<Timestamp>,
    /// Who decided what was held.
    pub decided_by: Option<PersonRef>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What they said.
    pub decision_reason: Option<String>,
    /// How much was ended and handed over, and what nobody could take.
    #[schema(value_type = Object)]
    pub result: Value,
}

/// Why somebody leaves.
#[derive(Debug, Clone)]
pub struct Leaving {
    /// In words.
    pub reason: String,
    /// The run that closes the person.
    pub run: Option<RunId>,
    /// The list that says so, when it is not the principal alone: key and name.
    pub source: Option<(String, String)>,
    /// How many the same list says so of, this one included: they are judged together.
    pub together: u32,
}

impl Leaving {
    /// For this reason, one person alone.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), run: None, source: None, together: 1 }
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// They are not active any more.
    Gone(LeaveId),
    /// It waits for an administrator.
    Held(LeaveId),
    /// They had left before.
    Before,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_or_twenty_may_leave_and_a_handful_always() {
        let of = |active| threshold(DEFAULT_PERCENT, DEFAULT_COUNT, active);
        assert_eq!([of(0), of(9), of(50), of(80), of(200), of(100_000)], [5, 5, 5, 8, 20, 20]);
        assert_eq!(threshold(10, 2, 1000), 2, "a smaller number that was saved wins");
        assert_eq!(threshold(100, 100_000, 300), 300);
    }
}
