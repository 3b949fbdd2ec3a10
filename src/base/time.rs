//! Instants: whole milliseconds since the Unix epoch, UTC.
//!
//! On the wire an instant is RFC 3339 with exactly three decimals and `Z`
//! (`2031-03-01T12:00:00.000Z`); in the database it is an INTEGER of milliseconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant with millisecond resolution, ordered by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text was not an RFC 3339 instant (or a date) that Tenure can represent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an instant such as 2031-03-01T12:00:00Z")]
pub struct NotAnInstant;

impl Timestamp {
    /// The instant `ms` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved by `by` towards the future; stops at the end of the range.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant moved by `by` towards the past; stops at the start of the range.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The calendar instant, for time zones and cron.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

/// The day with this name, such as 2031-03-01, where `zone` is: its first instant, and the first one that is not
/// of it any more. `None` when the text names no day.
pub fn day_in(zone: &jiff::tz::TimeZone, text: &str) -> Option<std::ops::Range<Timestamp>> {
    let day: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == 10)?;
    let midnight = |day: jiff::civil::Date| Some(Timestamp::from(day.to_zoned(zone.clone()).ok()?.timestamp()));
    Some(midnight(day)?..midnight(day.tomorrow().ok()?)?)
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Self(value.as_millisecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = NotAnInstant;

    fn from_str(text: &str) -> Result<Self, NotAnInstant> {
        text.parse::<jiff::Timestamp>().map(Self::from).map_err(|_| NotAnInstant)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::DateTime,
            )))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_with_three_decimals_and_z() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        let t: Timestamp = "2031-03-01T14:00:00.5+02:00".parse().expect("valid");
        assert_eq!(t.to_string(), "2031-03-01T12:00:00.500Z");
    }

    /// On the day on which clocks go forward it has 23 hours.
    #[test]
    fn a_day_is_that_of_its_zone() {
        let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
        let shown = |text: &str| day_in(&zone, text).map(|d| (d.start.to_string(), d.end.to_string()));
        let march = ("2031-02-28T23:00:00.000Z".to_owned(), "2031-03-01T23:00:00.000Z".to_owned());
        assert_eq!(shown("2031-03-01"), Some(march));
        let forward = ("2031-03-29T23:00:00.000Z".to_owned(), "2031-03-30T22:00:00.000Z".to_owned());
        assert_eq!(shown("2031-03-30"), Some(forward));
        for bad in ["1.3.2031", "2031-13-01", "2031-03-01T00:00", "20310301", ""] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Timestamp::from_millis(5).since(Timestamp::from_millis(9)), Duration::ZERO);
    }
}
