//! SQL of sessions, in `queue.db`: the part that Redis plays in full-spec mode.

use super::{Method, Session};
use crate::base::id::{AccountId, SessionId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Row, Tx};

const COLUMNS: &str = "id, account_id, epoch, csrf, address, device, method, id_token, created_at, last_seen_at";

fn session(r: &Row<'_>) -> Result<Session, Problem> {
    Ok(Session {
        id: r.get("id")?,
        account_id: r.get("account_id")?,
        epoch: r.get("epoch")?,
        csrf: r.get("csrf")?,
        address: r.get("address")?,
        device: r.get("device")?,
        method: Method::parse(&r.get::<String>("method")?).unwrap_or_default(),
        id_token: r.get("id_token")?,
        created_at: r.get("created_at")?,
        last_seen_at: r.get("last_seen_at")?,
    })
}

/// The session whose token has this hash.
pub fn find_session(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<Session>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM session WHERE hash = ?1"), params![hash], session)
}

/// The sessions of an account, oldest first.
pub fn list_sessions(tx: &Tx<'_>, account: &AccountId) -> Result<Vec<Session>, Problem> {
    tx.query(
        &format!("SELECT {COLUMNS} FROM session WHERE account_id = ?1 ORDER BY created_at"),
        params![account],
        session,
    )
}

/// Stores a new session under its token's hash.
pub fn insert_session(tx: &Tx<'_>, s: &Session, hash: &[u8]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO session
             (id, hash, account_id, epoch, csrf, address, device, method, id_token, created_at, last_seen_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            s.id,
            hash,
            s.account_id,
            s.epoch,
            s.csrf,
            s.address,
            s.device,
            s.method.as_str(),
            s.id_token.clone(),
            s.created_at,
            s.last_seen_at
        ],
    )?;
    Ok(())
}

/// Remembers that a session was seen.
pub fn touch_session(tx: &Tx<'_>, id: &SessionId) -> Result<(), Problem> {
    tx.execute("UPDATE session SET last_seen_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Ends a session of this account; false when there is none.
pub fn delete_session(tx: &Tx<'_>, id: &SessionId, account: &AccountId) -> Result<bool, Problem> {
    Ok(tx.execute("DELETE FROM session WHERE id = ?1 AND account_id = ?2", params![id, account])? == 1)
}

/// Removes sessions that nobody can use any more.
pub fn delete_over(tx: &Tx<'_>, last_seen_before: Timestamp, created_before: Timestamp) -> Result<usize, Problem> {
    tx.execute(
        "DELETE FROM session WHERE last_seen_at <= ?1 OR created_at <= ?2",
        params![last_seen_before, created_before],
    )
}
