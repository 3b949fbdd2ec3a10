//! SQL of who somebody is at the provider, and of attempts to sign in there.

use crate::base::id::AccountId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// The account that this subject signs in with.
pub fn find_account(tx: &Tx<'_>, issuer: &str, subject: &str) -> Result<Option<AccountId>, Problem> {
    tx.query_opt(
        "SELECT account_id FROM oidc_identity WHERE issuer = ?1 AND subject = ?2",
        params![issuer, subject],
        |r| r.get("account_id"),
    )
}

/// Whether somebody at this provider signs in with the account.
pub fn is_linked(tx: &Tx<'_>, account: &AccountId, issuer: &str) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM oidc_identity WHERE account_id = ?1 AND issuer = ?2)",
        params![account, issuer],
    )
}

/// Stores whose account a subject signs in with.
pub fn insert_identity(tx: &Tx<'_>, issuer: &str, subject: &str, account: &AccountId) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO oidc_identity (issuer, subject, account_id, linked_at) VALUES (?1, ?2, ?3, ?4)",
        params![issuer, subject, account, tx.now()],
    )?;
    Ok(())
}

/// Stores that a browser was sent to the provider; `hash` is of its cookie.
pub fn insert_attempt(tx: &Tx<'_>, hash: &[u8], return_to: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO oidc_attempt (hash, return_to, began_at) VALUES (?1, ?2, ?3)",
        params![hash, return_to, tx.now()],
    )?;
    Ok(())
}

/// Takes an attempt, so that it is there only once: where to go on, and when it began.
pub fn take_attempt(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<(String, Timestamp)>, Problem> {
    tx.query_opt("DELETE FROM oidc_attempt WHERE hash = ?1 RETURNING return_to, began_at", params![hash], |r| {
        Ok((r.get("return_to")?, r.get("began_at")?))
    })
}

/// Removes attempts that nobody came back from.
pub fn delete_attempts(tx: &Tx<'_>, began_before: Timestamp) -> Result<usize, Problem> {
    tx.execute("DELETE FROM oidc_attempt WHERE began_at <= ?1", params![began_before])
}
