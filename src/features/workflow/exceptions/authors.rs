//! Who wrote a version of a workflow.
//!
//! # Invariants
//! - Whoever changed a draft wrote it, together with everybody who did before.
//! - What a command wrote, or a token that somebody else made, may be anybody's, so that it is everybody's.

use super::store;
use crate::base::access::Principal;
use crate::base::id::WorkflowId;
use crate::base::problem::Problem;
use crate::platform::store::Tx;

/// Whether it is certain that the person themselves is there, and not somebody in their name.
pub fn is_certain(by: &Principal) -> bool {
    by.person.is_some() && by.may_decide
}

/// Writes down that somebody wrote or changed a draft.
pub fn note(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<(), Problem> {
    store::insert_author(tx, id, by.person.as_ref().filter(|_| is_certain(by)))
}

/// Whether this principal may have written the draft.
pub fn may_be_own(tx: &Tx<'_>, by: &Principal, id: &WorkflowId) -> Result<bool, Problem> {
    let authors = store::list_authors(tx, id)?;
    Ok(!is_certain(by) || authors.iter().any(|a| a.is_none() || *a == by.person))
}
