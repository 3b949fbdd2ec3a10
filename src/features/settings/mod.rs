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
use crate::features::audit::{self, Writes};

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

/// A whole-number setting whose default is built in, not set by the environment.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// Its name and range.
    pub setting: NumberSetting,
    /// What it is until somebody saves another.
    pub default: u32,
}

/// More than so many of a hundred accounts are not removed by reconciliations in a day without an approval.
pub const MAX_REMOVAL_PERCENT: BuiltIn = BuiltIn {
    setting: NumberSetting {
        field: "reconciliationMaxRemovalPercent",
        name: "security.reconciliation_max_removal_percent",
        min: 0,
        max: 100,
    },
    default: 10,
};

/// More than so many accounts are not removed by reconciliations in a day without an approval.
pub const MAX_REMOVALS: BuiltIn = BuiltIn {
    setting: NumberSetting {
        field: "reconciliationMaxRemovals",
        name: "security.reconciliation_max_removals",
        min: 0,
        max: 1_000_000,
    },
    default: 20,
};

/// Whether what opens a way around an approval needs a second person.
pub const FOUR_EYES: &str = "security.four_eyes";
/// Whether it is on when nobody saved anything, as the process was started.
pub const FOUR_EYES_STARTED: &str = "security.four_eyes_started";

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

/// How many days before an end its reminders come: the wire's name and the name it is stored under.
pub const EXPIRY_REMINDER_DAYS: (&str, &str) = ("expiryReminderDays", "security.expiry_reminder_days");

/// How many whole days before an end people are reminded of it, the earliest reminder first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReminderDays(Vec<u32>);

impl Default for ReminderDays {
    fn default() -> Self {
        Self(vec![30, 7, 1])
    }
}

impl ReminderDays {
    /// The most reminders of one end.
    pub const MOST: usize = 5;
    /// The longest time before an end, in days.
    pub const LONGEST: u32 = 365;

    /// Takes days in any order; none of them means that nobody is reminded. What is wrong with others, in words.
    pub fn new(mut days: Vec<u32>) -> Result<Self, String> {
        let expected = || format!("expected at most {} different whole days, each 1 to {}", Self::MOST, Self::LONGEST);
        days.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(day) = days.iter().find(|d| !(1..=Self::LONGEST).contains(*d)) {
            return Err(format!("got {day}; {}", expected()));
        }
        if let Some(twice) = days.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("got {} twice; {}", twice[0], expected()));
        }
        if days.len() > Self::MOST {
            return Err(format!("got {} days; {}", days.len(), expected()));
        }
        Ok(Self(days))
    }

    /// Reads what the database holds.
    pub fn parse(text: &str) -> Option<Self> {
        let days = text.split(',').filter(|part| !part.is_empty()).map(str::parse).collect::<Result<Vec<_>, _>>();
        Self::new(days.ok()?).ok()
    }

    /// The days, the most first.
    pub fn days(&self) -> &[u32] {
        &self.0
    }
}

/// The form in the database: `30,7,1`.
impl std::fmt::Display for ReminderDays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&days.join(","))
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

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of(audit::AT_START, &["setting.changed"]),
    Writes::of("PUT /api/settings/leavers", &["setting.changed"]),
    Writes::of("PUT /api/settings/logging", &["setting.changed"]),
    Writes::of("PUT /api/settings/notifications", &["setting.changed"]),
    Writes::of("PUT /api/settings/profile", &["setting.changed"]),
    Writes::of("PUT /api/settings/security", &["setting.changed"]),
];

#[cfg(test)]
mod tests {
    use super::ReminderDays;

    #[test]
    fn days_of_reminders_are_few_different_and_within_a_year() {
        for (given, kept) in [(vec![], ""), (vec![1, 30, 7], "30,7,1"), (vec![365, 4, 3, 2, 1], "365,4,3,2,1")] {
            let days = ReminderDays::new(given).unwrap();
            assert_eq!(days.to_string(), kept);
            assert_eq!(ReminderDays::parse(kept), Some(days));
        }
        for (given, word) in [(vec![0], "got 0"), (vec![366], "got 366"), (vec![7, 1, 7], "got 7 twice"), (vec![1, 2, 3, 4, 5, 6], "got 6 days")] {
            assert!(ReminderDays::new(given).unwrap_err().starts_with(word), "{word}");
        }
        assert_eq!(ReminderDays::parse("7,often"), None);
    }
}
