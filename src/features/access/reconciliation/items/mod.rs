//! Items: the differences of a plan, and carrying them out.
//!
//! # Invariants
//! - An item is judged again in the transaction that carries it out; what changed since is left alone.
//! - Access is given and taken through the grants' code; the one call of our own removes an account that no
//!   grant stands behind, and nothing is given to that account meanwhile.

pub mod ops;
pub mod store;

use serde_json::Value;

use super::{Action, ItemState, Reason};
use crate::base::id::{GrantId, PersonId};

/// A difference that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// What the connected system calls it.
    pub account: String,
    /// What it asks for.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Where it stands at first.
    pub state: ItemState,
    /// The grant that it is about.
    pub grant: Option<GrantId>,
    /// That grant's generation.
    pub generation: Option<u32>,
    /// Whose it seems to be.
    pub person: Option<PersonId>,
    /// What the connected system says about it.
    pub attributes: Option<Value>,
}
