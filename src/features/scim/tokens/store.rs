//! SQL of SCIM tokens.

use super::ScimToken;
use crate::base::id::ScimTokenId;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Row, Tx};

const SELECT: &str = "SELECT id, name, created_by, created_at, expires_at, last_used_at, revoked_at FROM scim_token";

fn token(r: &Row<'_>) -> Result<ScimToken, Problem> {
    Ok(ScimToken {
        id: r.get("id")?,
        name: r.get("name")?,
        created_by: r.get("created_by")?,
        created_at: r.get("created_at")?,
        expires_at: r.get("expires_at")?,
        last_used_at: r.get("last_used_at")?,
        revoked_at: r.get("revoked_at")?,
    })
}

/// The token with this hash.
pub fn find_token(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<ScimToken>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE hash = ?1"), params![hash], token)
}

/// The token with this id; missing is a problem.
pub fn get_token(tx: &Tx<'_>, id: &ScimTokenId) -> Result<ScimToken, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE id = ?1"), params![id], token)?.ok_or_else(|| Problem::missing("SCIM token", id))
}

/// Every token, newest first.
pub fn list_tokens(tx: &Tx<'_>) -> Result<Vec<ScimToken>, Problem> {
    tx.query(&format!("{SELECT} ORDER BY id DESC LIMIT 200"), params![], token)
}

/// Stores a new token under its hash.
pub fn insert_token(tx: &Tx<'_>, t: &ScimToken, hash: &[u8]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO scim_token (id, name, hash, created_by, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![t.id, t.name, hash, t.created_by, t.created_at, t.expires_at],
    )?;
    Ok(())
}

/// Ends a token.
pub fn revoke_token(tx: &Tx<'_>, id: &ScimTokenId) -> Result<(), Problem> {
    tx.execute("UPDATE scim_token SET revoked_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Remembers that a token was used.
pub fn touch_token(tx: &Tx<'_>, id: &ScimTokenId) -> Result<(), Problem> {
    tx.execute("UPDATE scim_token SET last_used_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}
