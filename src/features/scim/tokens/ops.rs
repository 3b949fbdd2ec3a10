//! Making, knowing and revoking SCIM tokens.

use std::time::Duration;

use serde_json::json;

use super::{ScimToken, store};
use crate::base::access::Principal;
use crate::base::id::ScimTokenId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::ops::token_hash;
use crate::features::scim::TOKEN_PREFIX;
use crate::platform::store::{Store, Tx};

/// How seldom it is written down that a token was used.
const TOUCH: Duration = Duration::from_secs(60);
/// Tokens that may be valid at once.
const MAX_TOKENS: usize = 50;

/// Makes a token; the secret is given once and stored as a hash.
pub fn create(
    tx: &Tx<'_>,
    by: &Principal,
    name: &str,
    expires_at: Option<Timestamp>,
    secret: &str,
) -> Result<ScimToken, Problem> {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Problem::field("name", "expected 1 to 100 characters"));
    }
    if expires_at.is_some_and(|end| end <= tx.now()) {
        return Err(Problem::field("expiresAt", "expected an instant to come"));
    }
    if store::list_tokens(tx)?.iter().filter(|t| t.is_valid(tx.now())).count() >= MAX_TOKENS {
        return Err(Problem::Conflict(format!("There are {MAX_TOKENS} valid SCIM tokens. Revoke one first.")));
    }
    let token = ScimToken {
        id: tx.new_id(),
        name,
        created_by: by.name.clone(),
        created_at: tx.now(),
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    store::insert_token(tx, &token, &token_hash(secret))?;
    record(tx, by, "scim_token.created", &token, json!({ "name": token.name, "expiresAt": token.expires_at }))?;
    Ok(token)
}

/// Ends a token. Ending it twice is ending it once.
pub fn revoke(tx: &Tx<'_>, by: &Principal, id: &ScimTokenId) -> Result<(), Problem> {
    let token = store::get_token(tx, id)?;
    if token.revoked_at.is_some() {
        return Ok(());
    }
    store::revoke_token(tx, id)?;
    record(tx, by, "scim_token.revoked", &token, json!({ "name": token.name, "revokedAt": tx.now() }))
}

/// Who speaks with this secret; nobody when it is none, or is not valid any more.
pub async fn authenticate(store: &Store, secret: &str) -> Result<Option<Principal>, Problem> {
    if !secret.starts_with(TOKEN_PREFIX) {
        return Ok(None);
    }
    let hash = token_hash(secret);
    let found = store.read_first(move |tx| Ok((store::find_token(tx, &hash)?, tx.now()))).await?;
    let (Some(token), now) = found else { return Ok(None) };
    if !token.is_valid(now) {
        return Ok(None);
    }
    if token.last_used_at.is_none_or(|at| now >= at.plus(TOUCH)) {
        let id = token.id.clone();
        store.write(move |tx| store::touch_token(tx, &id)).await?;
    }
    Ok(Some(Principal::scim(&token.id.to_string(), &token.name)))
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, token: &ScimToken, new: serde_json::Value) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "scim_token",
        entity_id: token.id.to_string(),
        reason: None,
        prev: None,
        new: Some(new),
    };
    audit::append(tx, by, entry)
}
