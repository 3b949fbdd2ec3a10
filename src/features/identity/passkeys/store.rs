//! SQL of passkeys and challenges.

use crate::base::id::{AccountId, PasskeyId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Row, Tx, Value};

/// A passkey as it is kept.
#[derive(Debug, Clone)]
pub struct Passkey {
    /// The id.
    pub id: PasskeyId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The authenticator's id of it.
    pub credential: Vec<u8>,
    /// A COSE_Key.
    pub public_key: Vec<u8>,
    /// How often it was used, where somebody counts.
    pub sign_count: u32,
    /// What its owner calls it.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

fn list(tx: &Tx<'_>, column: &str, value: Value) -> Result<Vec<Passkey>, Problem> {
    let sql = format!(
        "SELECT id, account_id, credential, public_key, sign_count, name, made_at, last_used_at
         FROM passkey WHERE {column} = ?1 ORDER BY id"
    );
    tx.query(&sql, &[value], |r: &Row<'_>| {
        Ok(Passkey {
            id: r.get("id")?,
            account_id: r.get("account_id")?,
            credential: r.get("credential")?,
            public_key: r.get("public_key")?,
            sign_count: r.get("sign_count")?,
            name: r.get("name")?,
            made_at: r.get("made_at")?,
            last_used_at: r.get("last_used_at")?,
        })
    })
}

/// The passkeys of an account, oldest first.
pub fn list_passkeys(tx: &Tx<'_>, account: &AccountId) -> Result<Vec<Passkey>, Problem> {
    list(tx, "account_id", Value::Text(account.to_string()))
}

/// The passkey that the authenticator calls so.
pub fn find_passkey(tx: &Tx<'_>, credential: &[u8]) -> Result<Option<Passkey>, Problem> {
    Ok(list(tx, "credential", Value::Blob(credential.to_vec()))?.pop())
}

/// Stores a new passkey.
pub fn insert_passkey(tx: &Tx<'_>, p: &Passkey) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO passkey (id, account_id, credential, public_key, sign_count, name, made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![p.id, p.account_id, p.credential.clone(), p.public_key.clone(), p.sign_count, p.name, p.made_at],
    )?;
    Ok(())
}

/// Remembers that a passkey was used.
pub fn use_passkey(tx: &Tx<'_>, id: &PasskeyId, sign_count: u32) -> Result<(), Problem> {
    tx.execute("UPDATE passkey SET sign_count = ?2, last_used_at = ?3 WHERE id = ?1", params![id, sign_count, tx.now()])?;
    Ok(())
}

/// Removes a passkey of this account; false when there is none.
pub fn delete_passkey(tx: &Tx<'_>, id: &PasskeyId, account: &AccountId) -> Result<bool, Problem> {
    Ok(tx.execute("DELETE FROM passkey WHERE id = ?1 AND account_id = ?2", params![id, account])? == 1)
}

/// Removes all passkeys of an account; how many there were.
pub fn delete_passkeys(tx: &Tx<'_>, account: &AccountId) -> Result<usize, Problem> {
    tx.execute("DELETE FROM passkey WHERE account_id = ?1", params![account])
}

/// Stores that a challenge was given.
pub fn insert_challenge(tx: &Tx<'_>, hash: &[u8], account: Option<&AccountId>) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO passkey_challenge (hash, account_id, given_at) VALUES (?1, ?2, ?3)",
        params![hash, account.map(ToString::to_string), tx.now()],
    )?;
    Ok(())
}

/// Takes a challenge, so that it is there only once: for whom it was given, and when.
pub fn take_challenge(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<(Option<AccountId>, Timestamp)>, Problem> {
    tx.query_opt("DELETE FROM passkey_challenge WHERE hash = ?1 RETURNING account_id, given_at", params![hash], |r| {
        Ok((r.get("account_id")?, r.get("given_at")?))
    })
}

/// Removes challenges that nobody used.
pub fn delete_challenges(tx: &Tx<'_>, given_before: Timestamp) -> Result<usize, Problem> {
    tx.execute("DELETE FROM passkey_challenge WHERE given_at <= ?1", params![given_before])
}
