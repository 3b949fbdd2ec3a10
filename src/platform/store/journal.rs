//! The port through which entries reach an append-only log in the transaction of their change.
//!
//! Closures stage [`Draft`]s; the writer hands all drafts of a batch to the [`Journal`] in one pass
//! just before COMMIT, so that sequence numbers have no gaps and links are made once.

use serde_json::Value as JsonValue;

use super::tx::Tx;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// A state of which the log holds only a salted digest; the state itself stands beside it.
#[derive(Debug, Clone, Default)]
pub struct Sealed(pub Option<JsonValue>);

/// An entry that has no sequence number yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The entry's id.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// `person`, `cli` or `system`.
    pub actor_type: &'static str,
    /// Who, as an id.
    pub actor_id: String,
    /// What was done, `<entity>.<verb>`.
    pub action: &'static str,
    /// The kind of thing it was done to.
    pub entity: &'static str,
    /// Which one.
    pub entity_id: String,
    /// The request it came with.
    pub request_id: Option<String>,
    /// Actor's name, address, reason.
    pub context: Sealed,
    /// The object before.
    pub prev_state: Sealed,
    /// The object after.
    pub new_state: Sealed,
}

/// Appends the drafts of a batch.
pub trait Journal: Send + Sync {
    /// Called inside the batch's transaction, after its last closure and before COMMIT.
    fn append(&self, tx: &Tx<'_>, drafts: Vec<Draft>) -> Result<(), Problem>;
}
