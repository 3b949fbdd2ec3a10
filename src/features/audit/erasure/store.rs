//! SQL of erasing.

use super::{ERASED, Scope};
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Tx, Value};

/// Which parts a scope is about, and where its entries are: by an index each.
fn narrowed(scope: &Scope) -> (&'static str, Vec<Value>) {
    let text = |text: &str| Value::Text(text.to_owned());
    let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    match scope {
        Scope::Actor { id } => ("l.actor_id = ?1 AND s.part = 'context'", vec![text(id)]),
        Scope::Thing { entity, id } => ("l.entity = ?1 AND l.entity_id = ?2", vec![text(entity), text(id)]),
        Scope::Entries { first, last } => ("l.seq >= ?1 AND l.seq <= ?2", vec![number(*first), number(*last)]),
    }
}

const ERASABLE: &str = "s.state IS NOT NULL AND NOT (s.part <> 'context' AND substr(l.action, 1, 6) = 'audit.')";

/// States behind `after` that can be erased: the entry and the part, in order; at most `limit`.
pub fn list(tx: &Tx<'_>, scope: &Scope, after: u64, limit: u32) -> Result<Vec<(u64, String)>, Problem> {
    let (condition, mut values) = narrowed(scope);
    values.push(Value::Int(i64::try_from(after).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT l.seq, s.part FROM audit_log l JOIN audit_state s ON s.seq = l.seq
         WHERE {condition} AND {ERASABLE} AND l.seq > ?{} ORDER BY l.seq, s.part LIMIT {limit}",
        values.len()
    );
    tx.query(&sql, &values, |r| Ok((r.at(0)?, r.at(1)?)))
}

/// How many states could be erased.
pub fn count(tx: &Tx<'_>, scope: &Scope) -> Result<u64, Problem> {
    let (condition, values) = narrowed(scope);
    let sql =
        format!("SELECT count(*) FROM audit_log l JOIN audit_state s ON s.seq = l.seq WHERE {condition} AND {ERASABLE}");
    tx.scalar(&sql, &values)
}

/// Erases states with their salts; the bytes that held them are overwritten, also those of whole pages, which the store
/// leaves as they are otherwise.
pub fn erase(tx: &Tx<'_>, states: &[(u64, String)]) -> Result<(), Problem> {
    let before: i64 = tx.scalar("PRAGMA secure_delete", params![])?;
    overwrite(tx, 1)?;
    for (seq, part) in states {
        tx.execute("UPDATE audit_state SET state = NULL, salt = x'' WHERE seq = ?1 AND part = ?2", params![*seq, part])?;
    }
    overwrite(tx, before)
}

/// Whether this connection overwrites what it frees in the file (<https://sqlite.org/pragma.html#pragma_secure_delete>).
fn overwrite(tx: &Tx<'_>, mode: i64) -> Result<(), Problem> {
    tx.query(&format!("PRAGMA secure_delete = {mode}"), params![], |_| Ok(()))?;
    Ok(())
}

/// The entries behind `after` up to `to` that tell what was erased.
pub fn list_told(tx: &Tx<'_>, after: u64, to: u64) -> Result<Vec<u64>, Problem> {
    tx.query(
        "SELECT seq FROM audit_log WHERE action = ?1 AND seq > ?2 AND seq <= ?3 ORDER BY seq",
        params![ERASED, after, to],
        |r| r.at(0),
    )
}
