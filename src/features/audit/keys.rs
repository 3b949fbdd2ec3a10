//! Under which name and with which keys the log is signed for: what the log itself says.

use serde_json::json;

use super::note::{Signer, VerifierKey};
use super::ops::{Entry, append, state_of};
use super::{OPENED, store};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::platform::store::Tx;

/// Another key signs from here on.
pub const KEY_CHANGED: &str = "audit.key_changed";
/// The log goes on under another name: it was put back from a backup.
pub const ORIGIN_CHANGED: &str = "audit.origin_changed";

/// Whom to believe about this log.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name now.
    pub origin: String,
    /// Every key that signed for it, the present one last.
    pub keys: Vec<VerifierKey>,
}

/// What the log says of its name and its keys.
pub fn list(tx: &Tx<'_>) -> Result<Known, Problem> {
    let mut known = Known { origin: String::new(), keys: Vec::new() };
    for row in store::list_of_actions(tx, [OPENED, KEY_CHANGED, ORIGIN_CHANGED])? {
        let missing = || Problem::internal(format!("entry {} does not say its name or its key any more", row.seq));
        let state = state_of(tx, row.seq, "new")?.ok_or_else(missing)?;
        if let Some(origin) = state["origin"].as_str() {
            origin.clone_into(&mut known.origin);
        }
        if let Some(key) = state["verifierKey"].as_str() {
            known.keys.push(key.parse().map_err(|e: String| Problem::internal(e))?);
        }
    }
    if known.origin.is_empty() { Err(Problem::internal("the audit log has no name")) } else { Ok(known) }
}

/// Writes down that another key signs from now on, if it is another.
pub fn ensure(tx: &Tx<'_>, seed: &[u8; 32]) -> Result<(), Problem> {
    let known = list(tx)?;
    let verifier = Signer::new(&known.origin, seed).verifier();
    let before = known.keys.last();
    if before == Some(&verifier) {
        return Ok(());
    }
    tracing::warn!(key = %verifier, "the audit log is signed with another key from now on");
    let before = before.map(|key| json!({ "verifierKey": key.to_string() }));
    entry(tx, &Principal::system("audit"), KEY_CHANGED, before, json!({ "verifierKey": verifier.to_string() }))
}

/// Gives the log a new name: what is put back from a backup goes on differently from what was signed after it.
pub fn renew_origin(tx: &Tx<'_>, by: &Principal) -> Result<(), Problem> {
    let before = list(tx)?.origin;
    let host = before.split('/').next().unwrap_or("localhost");
    let origin = format!("{host}/audit/{:016x}", tx.random() as u64);
    entry(tx, by, ORIGIN_CHANGED, Some(json!({ "origin": before })), json!({ "origin": origin }))
}

fn entry(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    prev: Option<serde_json::Value>,
    new: serde_json::Value,
) -> Result<(), Problem> {
    let id = store::find_leaf(tx, 1)?.map(|row| row.entity_id).unwrap_or_default();
    append(tx, by, Entry { action, entity: "audit_log", entity_id: id, reason: None, prev, new: Some(new) })
}
