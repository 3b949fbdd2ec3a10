//! Audit: every change of an audited object, in a log that only grows.
//!
//! A row is a leaf: canonical JSON (RFC 8785), hashed as in RFC 6962 (`SHA-256(0x00 ‖ leaf)`), that
//! carries the hash of the leaf before it. What may hold personal data stands in the leaf only as a
//! salted digest, so that it can be erased while every proof stays whole.
//!
//! # Invariants
//! - An entry commits with the change it tells of, or not at all.
//! - `seq` has no gaps, and `prev` of leaf n is the hash of leaf n−1.
//! - The stored bytes are what was hashed; verification never serialises again.
//!
//! # Not here
//! Signing and storing checkpoints.

pub mod api;
pub mod erasure;
pub mod export;
pub mod keys;
pub mod live;
pub mod merkle;
pub mod note;
pub mod ops;
pub mod proof;
pub mod store;
pub mod verify;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Draft;

pub use ops::{AuditJournal, Entry, append};

/// The most bytes a leaf has, so that it fits a tile entry of C2SP `tlog-tiles`.
pub const MAX_LEAF: usize = 65_535;

/// Not an operation or a job: the start of the process.
pub const AT_START: &str = "start";
/// Not an operation or a job: `tenure restore`.
pub const AT_RESTORE: &str = "restore";
/// Not an operation or a job: whatever is the first to notice.
pub const WHEN_NOTICED: &str = "noticed";
/// Not an operation of the API or a job: an identity provider that speaks SCIM.
pub const BY_SCIM: &str = "scim";

/// What writes the entries of the log, beside what it is: each of its actions by the name that entries have.
#[derive(Debug, Clone, Copy)]
pub struct Writes {
    /// An operation as the API has it, `POST /api/roles`, or the name of a job, or one of the few that are neither.
    pub by: &'static str,
    /// The actions of its own entries, each when there is something to change; none where nothing audited changes.
    pub actions: &'static [&'static str],
    /// What may follow within it: named once for all that it can follow from.
    pub then: &'static [&'static [&'static str]],
}

impl Writes {
    /// Entries of its own, and nothing that follows.
    pub const fn of(by: &'static str, actions: &'static [&'static str]) -> Self {
        Self { by, actions, then: &[] }
    }

    /// Entries of its own, and what follows from it.
    pub const fn with(
        by: &'static str,
        actions: &'static [&'static str],
        then: &'static [&'static [&'static str]],
    ) -> Self {
        Self { by, actions, then }
    }

    /// Every action that it may write.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.actions.iter().chain(self.then.iter().copied().flatten()).copied()
    }
}

/// What the log itself writes.
pub const WRITES: &[Writes] = &[
    Writes::of(AT_START, &[OPENED, keys::KEY_CHANGED]),
    Writes::of(AT_RESTORE, &[keys::ORIGIN_CHANGED]),
];

/// The action of row 1, which names the log and its key.
pub const OPENED: &str = "audit.opened";

/// Which entries are exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selection {
    /// Kind of thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Which one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// From this instant on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Before this instant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// A leaf as it is written: the keys in the order of RFC 8785 follow from their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaf {
    /// Version of this layout.
    pub v: u32,
    /// Place in the log, counted from 1.
    pub seq: u64,
    /// The entry's id.
    pub id: String,
    /// When, RFC 3339.
    pub ts: String,
    /// Who.
    pub actor: Actor,
    /// What, `<entity>.<verb>`.
    pub action: String,
    /// To what kind of thing.
    pub entity: String,
    /// To which one.
    pub entity_id: String,
    /// With which request.
    pub request_id: Option<String>,
    /// Commitment to actor's name, address and reason.
    pub context: Option<Commitment>,
    /// Commitment to the object before.
    pub prev_state: Option<Commitment>,
    /// Commitment to the object after.
    pub new_state: Option<Commitment>,
    /// Hash of the leaf before this one, base64; of 32 zero bytes for the first.
    pub prev: String,
}

/// Who did it, as an id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Actor {
    /// `person`, `cli`, `scim` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id.
    pub id: String,
}

/// A digest that stands for a state: `SHA-256(salt ‖ JCS(state))`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// Always `sha256`.
    pub alg: String,
    /// Base64 of the digest.
    pub digest: String,
    /// Bytes of the canonical state.
    pub len: u64,
}

/// A state with its salt and its commitment.
#[derive(Debug, Clone)]
pub struct SealedState {
    /// 16 random bytes.
    pub salt: [u8; 16],
    /// The canonical bytes.
    pub state: Vec<u8>,
    /// What the leaf holds.
    pub commitment: Commitment,
}

/// RFC 6962 leaf hash.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(leaf);
    hasher.finalize().into()
}

/// RFC 8785 bytes of a value.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, Problem> {
    serde_json_canonicalizer::to_vec(value).map_err(Problem::internal)
}

/// Standard base64 with padding.
pub fn encode_hash(hash: &[u8]) -> String {
    STANDARD.encode(hash)
}

/// The commitment for canonical bytes under a salt.
pub fn commit(salt: &[u8], state: &[u8]) -> Commitment {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(state);
    Commitment {
        alg: "sha256".to_owned(),
        digest: encode_hash(&hasher.finalize()),
        len: state.len() as u64,
    }
}

/// Seals a state under a fresh salt; `None` stays `None`.
pub fn seal(state: Option<&Value>, salt: impl FnOnce() -> [u8; 16]) -> Result<Option<SealedState>, Problem> {
    let Some(state) = state else { return Ok(None) };
    let state = canonical(state)?;
    let salt = salt();
    let commitment = commit(&salt, &state);
    Ok(Some(SealedState { salt, state, commitment }))
}

/// Builds the leaf of a draft at its place in the log.
pub fn leaf_of(draft: &Draft, seq: u64, prev: &Hash, sealed: [Option<Commitment>; 3]) -> Leaf {
    let [context, prev_state, new_state] = sealed;
    Leaf {
        v: 1,
        seq,
        id: draft.id.clone(),
        ts: draft.at.to_string(),
        actor: Actor { kind: draft.actor_type.to_owned(), id: draft.actor_id.clone() },
        action: draft.action.to_owned(),
        entity: draft.entity.to_owned(),
        entity_id: draft.entity_id.clone(),
        request_id: draft.request_id.clone(),
        context,
        prev_state,
        new_state,
        prev: encode_hash(prev),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of the empty leaf in RFC 6962 section 2.1.1 terms: SHA-256 of a single zero byte.
    #[test]
    fn a_leaf_is_hashed_behind_a_zero_byte() {
        assert_eq!(
            hex::encode(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
    }

    #[test]
    fn a_commitment_changes_with_its_salt() {
        assert_ne!(commit(&[0; 16], b"{}"), commit(&[1; 16], b"{}"));
        assert_eq!(commit(&[0; 16], b"{}").len, 2);
    }
}
