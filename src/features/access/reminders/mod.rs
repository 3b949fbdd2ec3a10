//! Reminders: people hear of an end some days before it comes.
//!
//! # Invariants
//! - The next reminder of an end is the earliest instant that lies whole days, as set, before the end, and
//!   after both now and the beginning. [`next`] is the only judge.
//! - A reminder, the instant of the next one and their audit entry commit together: each is sent once.
//! - However many reminders were missed, the next check sends one.
//! - Whatever is over, revoked or of somebody who is not active reminds nobody.
//!
//! # Not here
//! Ending anything: that needs no reminder to have been sent.

pub mod jobs;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::base::id::PersonId;
use crate::base::time::Timestamp;
use crate::features::identity::people::PersonRef;
use crate::features::settings::ReminderDays;

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A role that somebody holds.
    Assignment,
    /// A document of somebody.
    Document,
}

impl Ending {
    /// The name in the database, and of the entity in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Document => "document",
        }
    }

    /// What the audit log calls a reminder.
    pub fn action(self) -> &'static str {
        match self {
            Self::Assignment => "role.reminded",
            Self::Document => "document.reminded",
        }
    }
}

/// Something that is to end, with its reminder.
#[derive(Debug, Clone)]
pub struct Due {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub person: PersonRef,
    /// Whether they are active.
    pub active: bool,
    /// Who is told: the person, or for a document of somebody who cannot sign in their manager.
    pub told: PersonId,
    /// A role's name, or the type of a document.
    pub what: String,
    /// From when it counts.
    pub starts_at: Timestamp,
    /// Until when it counts.
    pub ends_at: Timestamp,
    /// When its next reminder is due.
    pub remind_at: Option<Timestamp>,
}

/// The instants of all reminders of an end, the earliest first.
fn instants(ends_at: Timestamp, days: &ReminderDays) -> impl Iterator<Item = Timestamp> {
    days.days().iter().map(move |days| ends_at.minus(Duration::from_secs(24 * 3600) * *days))
}

/// When the next reminder of an end is due, for somebody who stands at `now`; nothing when none lies ahead.
pub fn next(starts_at: Timestamp, ends_at: Timestamp, days: &ReminderDays, now: Timestamp) -> Option<Timestamp> {
    instants(ends_at, days).find(|at| *at > now && *at > starts_at)
}

/// When the next reminder is due once other days are in force: one that is due already and still among
/// them is not lost.
pub fn set_again(due: &Due, days: &ReminderDays, now: Timestamp) -> Option<Timestamp> {
    let kept = due.remind_at.filter(|at| *at <= now && instants(due.ends_at, days).any(|i| i == *at));
    kept.or_else(|| next(due.starts_at, due.ends_at, days, now))
}

/// A day and a time as people of a zone write it down: `2031-03-01 13:00 Europe/Zurich`.
pub fn in_zone(at: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let local = at.to_jiff().to_zoned(zone.clone());
    format!("{} {}", local.strftime("%Y-%m-%d %H:%M"), zone.iana_name().unwrap_or("UTC"))
}
