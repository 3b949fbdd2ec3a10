//! Settings: values an administrator may change while Tenure runs.
//!
//! # Invariants
//! - A saved value wins over the environment, the environment over the default.
//! - Every change is audited with the value before and after.
//!
//! # Not here
//! What a setting does; the feature that reads it decides.

pub mod api;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;

/// A whole-number setting: its name, its range.
#[derive(Debug, Clone, Copy)]
pub struct NumberSetting {
    /// The field's name on the wire.
    pub field: &'static str,
    /// The name it is stored under.
    pub name: &'static str,
    /// Smallest value taken.
    pub min: u32,
    /// Largest value taken.
    pub max: u32,
}

/// Minutes without progress after which a running run is failed.
pub const STUCK_RUN_TIMEOUT: NumberSetting =
    NumberSetting { field: "stuckRunTimeoutMinutes", name: "security.stuck_run_timeout_minutes", min: 1, max: 10_080 };

/// Days that entries of `system_log` are kept.
pub const LOG_RETENTION: NumberSetting =
    NumberSetting { field: "retentionDays", name: "logging.retention_days", min: 1, max: 3_650 };

/// Whether what opens a way around an approval needs a second person.
pub const FOUR_EYES: &str = "security.four_eyes";

/// The filter of the system log.
pub const LOG_LEVEL: &str = "logging.level";

/// When a decision about an approval needs a reason.
pub const REASON_POLICY: &str = "security.reason_policy";

/// When a decision about an approval needs a reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReasonPolicy {
    /// To reject.
    #[default]
    Reject,
    /// To reject and to approve.
    Both,
}

impl ReasonPolicy {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Both => "both",
        }
    }

    /// The policy with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reject, Self::Both].into_iter().find(|p| p.as_str() == text)
    }
}

/// Where the value in force comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Built in.
    Default,
    /// An environment variable.
    Environment,
    /// Saved by an administrator.
    Saved,
}

/// What the process was started with.
#[derive(Debug, Clone)]
pub struct Started<T> {
    /// The value.
    pub value: T,
    /// Default or environment.
    pub source: Source,
}

/// Who saved a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedBy {
    /// The actor's id.
    pub id: String,
    /// The person's name; of an actor who is no person, the id.
    pub name: String,
}

/// A setting in force.
#[derive(Debug, Clone)]
pub struct Effective<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub source: Source,
    /// Who saved it.
    pub changed_by: Option<SavedBy>,
    /// When it was saved.
    pub changed_at: Option<Timestamp>,
}
