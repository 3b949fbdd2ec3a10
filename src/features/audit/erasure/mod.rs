//! Erasing what entries stand for: personal data goes, the entries and every proof stay.
//!
//! # Invariants
//! - What is erased is told by an entry of its own, in the same transaction: which parts of which entries, and why.
//!   A state that is gone without one is a fault.
//! - What entries about the log itself say of it (`audit.*`: its name, its keys, what was erased) is never erased.
//! - An entry keeps its leaf: who by id, what, to which thing, when.
//!
//! # Not here
//! That it takes two people where the rule says so: that is `workflow::exceptions`, the only way to this.

pub mod jobs;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The action of an entry that tells what was erased.
pub const ERASED: &str = "audit.erased";
/// The job that erases.
pub const ERASE_STATES: &str = "erase-audit-states";

/// The parts of an entry that can be erased, as they are stored, and with their names in the leaf.
pub const PARTS: [(&str, &str); 3] = [("context", "context"), ("new", "newState"), ("prev", "prevState")];

/// The most ranges of entries that one wish names.
pub const MAX_RANGES: usize = 1_000;

/// Whether a part of an entry with this action stays whatever is asked for.
pub fn is_kept(action: &str, part: &str) -> bool {
    action.starts_with("audit.") && part != "context"
}

/// Numbers of entries: ranges with both ends, in order, that do not touch. On the wire `[[5, 9], [12, 12]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct Ranges(Vec<(u64, u64)>);

impl From<Vec<(u64, u64)>> for Ranges {
    fn from(mut all: Vec<(u64, u64)>) -> Self {
        all.retain(|(first, last)| first <= last);
        all.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

impl Ranges {
    /// From text such as `5-9,12`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("got \"{text}\"; expected numbers of entries such as 5-9,12");
        let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n > 0).ok_or_else(expected);
        let ranges: Result<Vec<_>, String> = text
            .split(',')
            .map(|part| match part.split_once('-') {
                Some((first, last)) => {
                    let (first, last) = (number(first)?, number(last)?);
                    if first <= last { Ok((first, last)) } else { Err(expected()) }
                }
                None => number(part).map(|n| (n, n)),
            })
            .collect();
        Ok(ranges?.into())
    }

    /// The ranges.
    pub fn list(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this entry is among them.
    pub fn has(&self, seq: u64) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= seq);
        behind > 0 && seq <= self.0[behind - 1].1
    }

    /// Adds all of the others.
    pub fn extend(&mut self, others: &Self) {
        if !others.is_empty() {
            let all = std::mem::take(&mut self.0).into_iter().chain(others.0.iter().copied());
            *self = all.collect::<Vec<_>>().into();
        }
    }
}

impl std::fmt::Display for Ranges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

/// What entries say was erased: for each of [`PARTS`], of which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims([Ranges; PARTS.len()]);

impl Claims {
    /// Takes what one entry says: the state after it, which has the names of the leaf.
    pub fn take(&mut self, told: &Value) {
        for (ranges, (_, name)) in self.0.iter_mut().zip(PARTS) {
            if let Ok(more) = serde_json::from_value::<Ranges>(told["erased"][name].clone()) {
                ranges.extend(&more);
            }
        }
    }

    /// Whether some entry says that this part was erased, by its place in [`PARTS`].
    pub fn has(&self, part: usize, seq: u64) -> bool {
        self.0.get(part).is_some_and(|ranges| ranges.has(seq))
    }

    /// The same, by the name that the part has in the leaf.
    pub fn has_named(&self, name: &str, seq: u64) -> bool {
        PARTS.iter().position(|(_, known)| *known == name).is_some_and(|part| self.has(part, seq))
    }
}

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Scope {
    /// Name, address and reasons in the entries that somebody made.
    Actor {
        /// The id in the leaf.
        id: String,
    },
    /// Everything in the entries about a thing.
    Thing {
        /// What kind.
        entity: String,
        /// Which one.
        id: String,
    },
    /// Everything in these entries.
    Entries {
        /// From this one on.
        first: u64,
        /// Up to this one.
        last: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_are_in_order_and_do_not_touch() {
        let ranges = Ranges::parse("12, 5-9,10,30-31").unwrap();
        assert_eq!(ranges.list(), [(5, 10), (12, 12), (30, 31)]);
        assert_eq!(ranges.to_string(), "5-10, 12, 30-31");
        for (seq, has) in [(4, false), (5, true), (10, true), (11, false), (12, true), (13, false), (31, true), (32, false)] {
            assert_eq!(ranges.has(seq), has, "{seq}");
        }
        for wrong in ["", "0", "9-5", "a", "1,,2", "1-2-3", "-4"] {
            assert!(Ranges::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_value(&ranges).unwrap(), json!([[5, 10], [12, 12], [30, 31]]));
    }

    #[test]
    fn a_claim_is_for_its_part_alone() {
        let mut claims = Claims::default();
        claims.take(&json!({ "erased": { "context": [[3, 5]], "newState": [[4, 4]] } }));
        claims.take(&json!({ "erased": { "context": [[6, 6]] }, "more": 1 }));
        claims.take(&json!("nonsense"));
        assert!(claims.has_named("context", 6) && claims.has_named("newState", 4));
        assert!(!claims.has_named("newState", 3) && !claims.has_named("prevState", 4) && !claims.has_named("leaf", 4));
    }
}
