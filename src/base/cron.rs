//! Cron expressions: five fields, read by `croner`, evaluated on the wall clock of a time zone.
//!
//! # Invariants
//! - A slot is a wall-clock minute that the expression names. Where clocks are put forward, the minutes
//!   that do not exist fire once together, at the first instant after the gap; where they are put back,
//!   a minute that comes twice fires once, the first time.
//! - So slots have one order, the same on the wall clock and in time.

use std::str::FromStr;

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

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
        write!(f, "Schedule({:?} in {})", self.text, self.zone_name())
    }
}

/// The text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected five cron fields such as `0 */6 * * *`: {0}")]
pub struct NotCron(pub String);

/// The text does not name a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the IANA name of a time zone such as `Europe/Berlin`: got {0:?}")]
pub struct NotAZone(pub String);

/// The time zone with this IANA name.
pub fn zone_named(name: &str) -> Result<TimeZone, NotAZone> {
    TimeZone::get(name).map_err(|_| NotAZone(name.to_owned()))
}

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

    /// The IANA name of the zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first slot strictly after `after`; `None` when there is none in croner's range.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut minute = self.wall_clock(after);
        // More than one turn only where clocks are put back: minutes that had their turn already.
        loop {
            minute = self.cron.find_next_occurrence(&minute, false).ok()?;
            let slot = self.instant_of(minute)?;
            if slot > after {
                return Some(slot);
            }
        }
    }

    /// The last slot at or before `at`; `None` when there is none in croner's range.
    pub fn last_at_or_before(&self, at: Timestamp) -> Option<Timestamp> {
        let mut minute = self.wall_clock(at);
        if let AmbiguousOffset::Fold { before, after } = self.zone.to_ambiguous_timestamp(minute).offset() {
            // The second time round: the minutes up to the end of the first time have passed, too.
            minute = minute.checked_add(before.duration_since(after)).ok()?;
        }
        let mut inclusive = true;
        loop {
            minute = self.cron.find_previous_occurrence(&minute, inclusive).ok()?;
            let slot = self.instant_of(minute)?;
            if slot <= at {
                return Some(slot);
            }
            inclusive = false;
        }
    }

    fn wall_clock(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at.to_jiff())
    }

    /// When a wall-clock minute fires.
    fn instant_of(&self, minute: DateTime) -> Option<Timestamp> {
        let found = self.zone.to_ambiguous_timestamp(minute);
        let at = match found.offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(minute).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(minute).ok()?,
            AmbiguousOffset::Gap { after, .. } => {
                // Read with the later offset, the minute lies just before the change.
                let earlier = after.to_timestamp(minute).ok()?;
                self.zone.following(earlier).next()?.timestamp()
            }
        };
        Some(Timestamp::from(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("valid instant")
    }

    fn in_zone(text: &str, zone: &str) -> Schedule {
        Schedule::in_zone(text, zone_named(zone).expect("a zone")).expect("valid")
    }

    /// The slots after `from` and before `to`.
    fn slots(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut last = at(from);
        while let Some(next) = schedule.next_after(last).filter(|n| *n < at(to)) {
            found.push(next.to_string().replace(":00.000Z", "Z"));
            last = next;
        }
        found
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
        assert!(zone_named("Europe/Nowhere").is_err());
    }

    #[test]
    fn the_last_slot_may_be_the_instant_itself() {
        let hourly = Schedule::utc("0 * * * *").expect("valid");
        let noon = at("2031-03-01T12:00:00Z");
        assert_eq!(hourly.last_at_or_before(noon), Some(noon));
        assert_eq!(hourly.last_at_or_before(at("2031-03-01T12:59:59.999Z")), Some(noon));
        assert_eq!(hourly.last_at_or_before(at("2031-03-01T11:59:59.999Z")), Some(at("2031-03-01T11:00:00Z")));
    }

    /// Berlin, 30 March 2031: 02:00 to 03:00 does not exist; the gap ends at 01:00 UTC.
    #[test]
    fn a_minute_that_does_not_exist_fires_once_after_the_gap() {
        let day = |cron| slots(&in_zone(cron, "Europe/Berlin"), "2031-03-29T22:59:00Z", "2031-03-30T22:00:00Z");
        assert_eq!(day("30 2 * * *"), ["2031-03-30T01:00Z"]);
        assert_eq!(day("0,20,40 2 * * *"), ["2031-03-30T01:00Z"]);
        assert_eq!(day("0 2,3 * * *"), ["2031-03-30T01:00Z"]);
        assert_eq!(day("30 1-3 * * *"), ["2031-03-30T00:30Z", "2031-03-30T01:00Z", "2031-03-30T01:30Z"]);
    }

    /// Berlin, 26 October 2031: 02:00 to 03:00 comes twice, first from 00:00 UTC.
    #[test]
    fn a_minute_that_comes_twice_fires_the_first_time() {
        let day = |cron| slots(&in_zone(cron, "Europe/Berlin"), "2031-10-25T21:59:00Z", "2031-10-26T23:00:00Z");
        assert_eq!(day("30 2 * * *"), ["2031-10-26T00:30Z"]);
        assert_eq!(day("30 1-3 * * *"), ["2031-10-25T23:30Z", "2031-10-26T00:30Z", "2031-10-26T02:30Z"]);
        let often = in_zone("*/15 * * * *", "Europe/Berlin");
        assert_eq!(often.next_after(at("2031-10-26T00:45:00Z")), Some(at("2031-10-26T02:00:00Z")));
        assert_eq!(often.last_at_or_before(at("2031-10-26T01:10:00Z")), Some(at("2031-10-26T00:45:00Z")));
    }

    /// Lord Howe moves its clocks by half an hour.
    #[test]
    fn half_an_hour_is_a_change_like_any_other() {
        let lord_howe = |cron| in_zone(cron, "Australia/Lord_Howe");
        let spring = slots(&lord_howe("15 2 * * *"), "2031-10-04T12:00:00Z", "2031-10-05T12:00:00Z");
        assert_eq!(spring, ["2031-10-04T15:30Z"]);
        let autumn = slots(&lord_howe("45 1 * * *"), "2031-04-05T12:00:00Z", "2031-04-06T12:00:00Z");
        assert_eq!(autumn, ["2031-04-05T14:45Z"]);
    }

    #[test]
    fn a_day_that_never_comes_has_no_slot() {
        assert_eq!(Schedule::utc("0 0 30 2 *").expect("valid").next_after(at("2031-01-01T00:00:00Z")), None);
    }

    const ZONES: [&str; 7] = [
        "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Auckland",
    ];

    fn field(most: u32, least: u32) -> impl Strategy<Value = String> {
        prop_oneof![
            Just("*".to_owned()),
            (least..=most).prop_map(|n| n.to_string()),
            (2..=7_u32).prop_map(|n| format!("*/{n}")),
            (least..=most, least..=most).prop_map(|(a, b)| format!("{},{}", a.min(b), a.max(b))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// Forwards and backwards give the same slots, each strictly after the one before.
        #[test]
        fn the_slot_before_the_next_one_is_not_later(
            zone in 0..ZONES.len(), minute in field(59, 0), hour in field(23, 0), day in field(28, 1),
            from in 1_924_988_400_000_i64..1_956_524_400_000,
        ) {
            let schedule = in_zone(&format!("{minute} {hour} {day} * *"), ZONES[zone]);
            let from = Timestamp::from_millis(from);
            let next = schedule.next_after(from).expect("a slot");
            prop_assert!(next > from);
            prop_assert_eq!(schedule.last_at_or_before(next), Some(next));
            let before = schedule.last_at_or_before(from).expect("a slot");
            prop_assert!(before <= from);
            prop_assert_eq!(schedule.next_after(before), Some(next));
        }

        /// `croner` has rules of its own where clocks change; a fixed time of day follows ours, and
        /// away from changes everything is as it says.
        #[test]
        fn away_from_changes_and_for_fixed_times_the_library_agrees(
            zone in 0..ZONES.len(), minute in field(59, 0), hour in field(23, 0), fixed in 0..24_u32,
            from in 1_924_988_400_000_i64..1_956_524_400_000,
        ) {
            let zone = zone_named(ZONES[zone]).expect("a zone");
            let from = Timestamp::from_millis(from);
            let ask = |text: &str| {
                let schedule = Schedule::in_zone(text, zone.clone()).expect("valid");
                let start = from.to_jiff().to_zoned(zone.clone());
                let theirs = schedule.cron.find_next_occurrence(&start, false).expect("a slot").timestamp();
                (schedule.next_after(from).expect("a slot"), Timestamp::from(theirs))
            };
            let (ours, theirs) = ask(&format!("7 {fixed} * * *"));
            prop_assert_eq!(ours, theirs);
            let day = jiff::SignedDuration::from_hours(24);
            let (start, end) = (from.to_jiff() - day, from.to_jiff() + 2 * day);
            if zone.to_offset(start) == zone.to_offset(end) {
                let (ours, theirs) = ask(&format!("{minute} {hour} * * *"));
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
