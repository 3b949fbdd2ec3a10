//! Evidence packs: who held what in a period, who decided, and what was out of the ordinary, for somebody who checks it
//! without Tenure and without believing it.
//!
//! A pack holds the whole audit log as tiles up to a signed checkpoint, opens the entries that its tables rest on, and
//! gives the proof of each row. The log up to the checkpoint and not the period alone, for access that was given before
//! the period and was there in it is part of the population: only whoever sees every entry can say that none is missing.
//! The leaves hold ids and digests; what they stand for is opened only where a table rests on it.
//!
//! # Invariants
//! - What the tables say follows from opened entries of the log, by [`rules`] alone; an outsider who applies them has
//!   the same rows. What is told besides, such as the names of people, stands under `shown`.
//! - Every grant in the period is opened, also of people and roles that were not asked for, unless it was asked to leave
//!   them closed: then the pack says how many it cannot account for.
//! - Whatever its size, a pack keeps a few megabytes in memory, and a quarter of a bit for each entry of the log.
//!
//! # Not here
//! The tiles and the check of files against the checkpoint are `audit::export`.

pub mod api;
pub mod bundle;
pub mod ops;
pub mod pack;
pub mod rules;
pub mod store;
pub mod tables;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::id::{PersonId, RoleId};
use crate::base::time::Timestamp;
use crate::features::audit::Writes;
use crate::features::audit::{Actor, Hash};

/// The parts of an entry that a pack may open, in the order in which openings are written.
pub const PARTS: [&str; 2] = ["context", "new"];
/// What gives a role to somebody.
pub const GRANTED: &str = "role.granted";
/// What ends access: everything was confirmed gone.
pub const ENDED: [&str; 2] = ["role.expired", "role.revoked"];
/// What ends an approval with an outcome.
pub const DECIDED: [&str; 2] = ["approval.decided", "approval.failed"];
/// What somebody does to a run by hand.
pub const BY_HAND: [&str; 2] = ["run.step_skipped", "run.variables_changed"];

/// What a pack is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The first instant of the period.
    pub from: Timestamp,
    /// The first instant after it.
    pub to: Timestamp,
    /// Only of these roles; of every role when empty.
    pub role_ids: Vec<RoleId>,
    /// Only of these people; of everybody when empty.
    pub person_ids: Vec<PersonId>,
    /// Whether grants in the period that were not asked for are opened, so that this can be checked.
    pub open_others: bool,
    /// How long after its end access may still be there before that is an exception.
    pub late_after_minutes: u32,
}

impl Asked {
    /// Whether it is about everybody and every role.
    pub fn is_all(&self) -> bool {
        self.role_ids.is_empty() && self.person_ids.is_empty()
    }

    /// How long after its end access may still be there.
    pub fn tolerance(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.late_after_minutes))
    }
}

/// What a digest in a leaf stands for, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The leaf has no such digest.
    Nothing,
    /// It was not opened.
    Closed,
    /// It was erased.
    Erased,
    /// It stands for this.
    Told(Value),
}

impl Opened {
    /// What it stands for; null when nobody can tell.
    pub fn value(&self) -> &Value {
        const UNKNOWN: &Value = &Value::Null;
        match self {
            Self::Told(value) => value,
            _ => UNKNOWN,
        }
    }
}

/// An entry of the log that a pack rests on.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place.
    pub seq: u64,
    /// The hash of its leaf.
    pub hash: Hash,
    /// When.
    pub at: Timestamp,
    /// What.
    pub action: String,
    /// Which thing it is about.
    pub id: String,
    /// Who.
    pub actor: Actor,
    /// Name, address and reason.
    pub context: Opened,
    /// The thing after it.
    pub new: Opened,
}

/// A decision about a wish.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The entry.
    pub event: Event,
    /// Whether it fell in a run that the assignment's is part of, or that is part of it. The log does not tell that.
    pub related: bool,
}

/// An assignment with everything that its rows rest on, each in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// Its own entries; the first one granted it.
    pub assignment: Vec<Event>,
    /// Those of its role.
    pub role: Vec<Event>,
    /// Those of the documents that it rests on, by id.
    pub documents: BTreeMap<String, Vec<Event>>,
    /// What was decided.
    pub decisions: Vec<Decision>,
    /// What was done to its run by hand.
    pub by_hand: Vec<Event>,
}

/// What the manifest of a pack says besides that of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PackAbout {
    /// What it is about.
    #[serde(flatten)]
    pub asked: Asked,
    /// The id that the entry about it in the log has.
    pub id: String,
    /// Rows of the population.
    pub population: u64,
    /// Rows of decisions.
    pub decisions: u64,
    /// Rows of exceptions.
    pub exceptions: u64,
    /// Grants in the period that were left closed, so that nobody can see whether they belong to the population.
    pub closed: u64,
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/evidence-packs", &["evidence_pack.taken"]),
];
