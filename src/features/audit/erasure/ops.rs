//! Asking for states to be erased, erasing them, and what was told of it.

use serde_json::{Value, json};

use super::{Claims, ERASE_STATES, ERASED, PARTS, Ranges, Scope, store};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::features::audit::ops::state_of;
use crate::features::audit::{self, Entry};
use crate::platform::queue::{JobDraft, enqueue};
use crate::platform::store::Tx;

/// States that one transaction erases.
const PAGE: u32 = 1_000;

/// What is to be erased, and in whose name: what the job is told.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wish {
    /// Of which entries.
    pub scopes: Vec<Scope>,
    /// Why.
    pub reason: String,
    /// Who asked, as the log names actors: type and id.
    pub asked_by: (String, String),
    /// Who stands behind it.
    pub mark: Option<crate::base::access::ExceptionMark>,
}

/// Has a job erase it; answers how many states that are.
pub fn begin(tx: &Tx<'_>, by: &Principal, scopes: Vec<Scope>, reason: &str) -> Result<u64, Problem> {
    let mut states = 0;
    for scope in &scopes {
        states += store::count(tx, scope)?;
    }
    if states == 0 {
        return Err(Problem::Conflict("There is nothing that could be erased: it was already, or there is no such entry.".to_owned()));
    }
    let (kind, id) = by.actor();
    let asked_by = (kind.to_owned(), id);
    let wish = Wish { scopes, reason: reason.to_owned(), asked_by, mark: by.exception.clone() };
    enqueue(tx, JobDraft::now(ERASE_STATES, serde_json::to_value(wish).map_err(Problem::internal)?))?;
    Ok(states)
}

/// Erases the next states of a scope and tells of it; where to go on, while there may be more.
pub fn erase_page(tx: &Tx<'_>, by: &Principal, wish: &Wish, scope: &Scope, after: u64) -> Result<Option<u64>, Problem> {
    let mut states = store::list(tx, scope, after, PAGE)?;
    let Some(last) = states.last().map(|(seq, _)| *seq) else { return Ok(None) };
    let more = states.len() == PAGE as usize;
    if more && states[0].0 != last {
        // All parts of an entry go together.
        states.retain(|(seq, _)| *seq != last);
    }
    store::erase(tx, &states)?;
    let end = states.last().map(|(seq, _)| *seq);
    let told = json!({
        "erased": told(&states), "states": states.len(),
        "askedBy": { "type": wish.asked_by.0, "id": wish.asked_by.1 },
    });
    let log = audit::store::find_leaf(tx, 1)?.map(|row| row.entity_id).unwrap_or_default();
    audit::append(tx, by, Entry {
        action: ERASED,
        entity: "audit_log",
        entity_id: log,
        reason: Some(wish.reason.clone()),
        prev: None,
        new: Some(told),
    })?;
    Ok(end.filter(|_| more))
}

fn told(states: &[(u64, String)]) -> Value {
    let mut erased = json!({});
    for (part, name) in PARTS {
        let of: Vec<(u64, u64)> = states.iter().filter(|(_, p)| p == part).map(|(seq, _)| (*seq, *seq)).collect();
        if !of.is_empty() {
            erased[name] = json!(Ranges::from(of));
        }
    }
    erased
}

/// What the entries behind `after` up to `to` tell of what was erased.
pub fn claims(tx: &Tx<'_>, after: u64, to: u64) -> Result<Claims, Problem> {
    let mut claims = Claims::default();
    add_claims(tx, &mut claims, after, to)?;
    Ok(claims)
}

/// The same, added to what is known; the last entry that was looked at.
pub fn add_claims(tx: &Tx<'_>, claims: &mut Claims, after: u64, to: u64) -> Result<u64, Problem> {
    let mut last = after;
    for seq in store::list_told(tx, after, to)? {
        // One whose own state is not there any more tells nothing.
        if let Ok(Some(told)) = state_of(tx, seq, "new") {
            claims.take(&told);
        }
        last = seq;
    }
    Ok(last)
}

/// Refuses to go on with an export up to entry `to` when one of these states was erased after it began: what tells of
/// that would not be in it.
pub fn refuse_later(tx: &Tx<'_>, to: u64, erased: &[(u64, String)]) -> Result<(), Problem> {
    if erased.is_empty() {
        return Ok(());
    }
    let later = claims(tx, to, u64::MAX >> 1)?;
    match erased.iter().find(|(seq, part)| PARTS.iter().position(|(p, _)| p == part).is_some_and(|p| later.has(p, *seq))) {
        None => Ok(()),
        Some((seq, _)) => Err(Problem::Conflict(format!(
            "What entry {seq} stood for was erased while this was made. Make it again."
        ))),
    }
}
