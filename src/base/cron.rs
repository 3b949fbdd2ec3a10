//! Cron expressions: five fields, read by `croner`, evaluated in a time zone.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;

use super::time::Timestamp;

/// A schedule in cron notation.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
    zone: TimeZone,
}

impl std::fmt::Debug for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Schedule({:?})", self.text)
    }
}

/// The text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected five cron fields such as `0 */6 * * *`: {0}")]
pub struct NotCron(pub String);

impl Schedule {
    /// Reads a five-field expression that is evaluated in UTC.
    pub fn utc(text: &str) -> Result<Self, NotCron> {
        Self::in_zone(text, TimeZone::UTC)
    }

    /// Reads a five-field expression that is evaluated in `zone`.
    pub fn in_zone(text: &str, zone: TimeZone) -> Result<Self, NotCron> {
        let fields = text.split_whitespace().count();
        if fields != 5 {
            return Err(NotCron(format!("got {fields} fields")));
        }
        let cron = Cron::from_str(text).map_err(|e| NotCron(e.to_string()))?;
        Ok(Self { text: text.to_owned(), cron, zone })
    }

    /// The expression as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first slot strictly after `after`; `None` when there is none in croner's range.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let from = after.to_jiff().to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(Timestamp::from(next.timestamp()))
    }

    /// The last slot at or before `at`, looked for within `window` before it.
    pub fn last_at_or_before(&self, at: Timestamp, window: std::time::Duration) -> Option<Timestamp> {
        let mut slot = self.next_after(at.minus(window))?;
        if slot > at {
            return None;
        }
        while let Some(next) = self.next_after(slot) {
            if next > at {
                break;
            }
            slot = next;
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("valid instant")
    }

    #[test]
    fn the_next_slot_is_strictly_later() {
        let hourly = Schedule::utc("0 * * * *").expect("valid");
        assert_eq!(hourly.next_after(at("2031-03-01T12:00:00Z")), Some(at("2031-03-01T13:00:00Z")));
        assert_eq!(hourly.next_after(at("2031-03-01T11:59:59.999Z")), Some(at("2031-03-01T12:00:00Z")));
    }

    #[test]
    fn four_or_six_fields_are_refused() {
        assert!(Schedule::utc("* * * *").is_err());
        assert!(Schedule::utc("0 0 * * * *").is_err());
        assert!(Schedule::utc("61 * * * *").is_err());
    }

    #[test]
    fn the_last_slot_may_be_the_instant_itself() {
        let hourly = Schedule::utc("0 * * * *").expect("valid");
        let noon = at("2031-03-01T12:00:00Z");
        let day = std::time::Duration::from_secs(86_400);
        assert_eq!(hourly.last_at_or_before(noon, day), Some(noon));
    }
}
