//! SQL of second factors and recovery codes.

use crate::base::id::AccountId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::Tx;

/// A second factor as it is kept.
#[derive(Debug, Clone)]
pub struct Factor {
    /// The sealed secret.
    pub secret: Vec<u8>,
    /// The newest step whose code was used.
    pub last_step: i64,
    /// When a code showed that the device has it; until then it is none.
    pub confirmed_at: Option<Timestamp>,
}

/// The factor of an account, confirmed or not.
pub fn find_factor(tx: &Tx<'_>, account: &AccountId) -> Result<Option<Factor>, Problem> {
    tx.query_opt(
        "SELECT secret, last_step, confirmed_at FROM second_factor WHERE account_id = ?1",
        params![account],
        |r| Ok(Factor { secret: r.get("secret")?, last_step: r.get("last_step")?, confirmed_at: r.get("confirmed_at")? }),
    )
}

/// Whether an account has a factor that is asked for.
pub fn has_factor(tx: &Tx<'_>, account: &AccountId) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM second_factor WHERE account_id = ?1 AND confirmed_at IS NOT NULL)",
        params![account],
    )
}

/// Stores a factor that is not confirmed, over one that was not.
pub fn put_factor(tx: &Tx<'_>, account: &AccountId, secret: &[u8]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO second_factor (account_id, secret, made_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (account_id) DO UPDATE SET secret = excluded.secret, last_step = 0, made_at = excluded.made_at,
                                                confirmed_at = NULL",
        params![account, secret, tx.now()],
    )?;
    Ok(())
}

/// Stores the secret sealed anew.
pub fn reseal_factor(tx: &Tx<'_>, account: &AccountId, secret: &[u8]) -> Result<(), Problem> {
    tx.execute("UPDATE second_factor SET secret = ?2 WHERE account_id = ?1", params![account, secret])?;
    Ok(())
}

/// Stores that a factor is asked for from now on.
pub fn confirm_factor(tx: &Tx<'_>, account: &AccountId) -> Result<(), Problem> {
    tx.execute("UPDATE second_factor SET confirmed_at = ?2 WHERE account_id = ?1", params![account, tx.now()])?;
    Ok(())
}

/// Remembers the newest step whose code was used; false when it was used meanwhile.
pub fn use_step(tx: &Tx<'_>, account: &AccountId, step: i64) -> Result<bool, Problem> {
    let changed = tx.execute(
        "UPDATE second_factor SET last_step = ?2 WHERE account_id = ?1 AND last_step < ?2",
        params![account, step],
    )?;
    Ok(changed == 1)
}

/// Removes the factor and the recovery codes of an account; false when it had none.
pub fn delete_factor(tx: &Tx<'_>, account: &AccountId) -> Result<bool, Problem> {
    delete_codes(tx, account)?;
    Ok(tx.execute("DELETE FROM second_factor WHERE account_id = ?1", params![account])? == 1)
}

/// Up to `limit` factors by account, those behind `after`.
pub fn list_factors(tx: &Tx<'_>, after: &str, limit: u32) -> Result<Vec<(AccountId, Vec<u8>)>, Problem> {
    tx.query(
        "SELECT account_id, secret FROM second_factor WHERE account_id > ?1 ORDER BY account_id LIMIT ?2",
        params![after, limit],
        |r| Ok((r.get("account_id")?, r.get("secret")?)),
    )
}

/// Removes all recovery codes of an account.
pub fn delete_codes(tx: &Tx<'_>, account: &AccountId) -> Result<(), Problem> {
    tx.execute("DELETE FROM recovery_code WHERE account_id = ?1", params![account])?;
    Ok(())
}

/// Stores a recovery code under its hash.
pub fn insert_code(tx: &Tx<'_>, account: &AccountId, hash: &[u8]) -> Result<(), Problem> {
    tx.execute("INSERT INTO recovery_code (account_id, hash) VALUES (?1, ?2)", params![account, hash])?;
    Ok(())
}

/// Takes a recovery code, so that it is there only once.
pub fn take_code(tx: &Tx<'_>, account: &AccountId, hash: &[u8]) -> Result<bool, Problem> {
    Ok(tx.execute("DELETE FROM recovery_code WHERE account_id = ?1 AND hash = ?2", params![account, hash])? == 1)
}

/// How many recovery codes are left.
pub fn count_codes(tx: &Tx<'_>, account: &AccountId) -> Result<u32, Problem> {
    tx.scalar("SELECT count(*) FROM recovery_code WHERE account_id = ?1", params![account])
}
