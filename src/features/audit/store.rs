//! SQL of the audit log.

use std::ops::ControlFlow;

use super::merkle::Nodes;
use super::{Hash, SealedState, Selection};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Draft, Json, Row, ToValue as _, Tx, Value};

/// Number and hash of the newest leaf.
pub fn head(tx: &Tx<'_>) -> Result<Option<(u64, Hash)>, Problem> {
    tx.query_opt("SELECT seq, leaf_hash FROM audit_log ORDER BY seq DESC LIMIT 1", params![], |r| {
        Ok((r.get("seq")?, r.get("leaf_hash")?))
    })
}

/// Number and instant of the newest entry.
pub fn newest(tx: &Tx<'_>) -> Result<Option<(u64, Timestamp)>, Problem> {
    tx.query_opt("SELECT seq, at FROM audit_log ORDER BY seq DESC LIMIT 1", params![], |r| {
        Ok((r.get("seq")?, r.get("at")?))
    })
}

/// Whether this actor did one of `actions` to this thing since `since`.
pub fn has_done(
    tx: &Tx<'_>,
    (entity, id): (&str, &str),
    actor: &str,
    actions: [&str; 2],
    since: Timestamp,
) -> Result<bool, Problem> {
    tx.scalar(
        "SELECT EXISTS (SELECT 1 FROM audit_log WHERE entity = ?1 AND entity_id = ?2 AND actor_id = ?3
                        AND action IN (?4, ?5) AND at >= ?6)",
        params![entity, id, actor, actions[0], actions[1], since],
    )
}

/// Adds a leaf at the end.
pub fn insert_leaf(tx: &Tx<'_>, draft: &Draft, seq: u64, leaf: &[u8], hash: &Hash) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO audit_log (seq, leaf, leaf_hash, at, actor_id, action, entity, entity_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![seq, leaf, hash, draft.at, draft.actor_id, draft.action, draft.entity, draft.entity_id],
    )?;
    Ok(())
}

/// Keeps what a commitment stands for.
pub fn insert_state(tx: &Tx<'_>, seq: u64, part: &str, sealed: &SealedState) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO audit_state (seq, part, salt, state) VALUES (?1, ?2, ?3, ?4)",
        params![seq, part, sealed.salt, sealed.state],
    )?;
    Ok(())
}

/// The stored tree, within a transaction.
pub struct StoredNodes<'a, 'c>(pub &'a Tx<'c>);

impl Nodes for StoredNodes<'_, '_> {
    fn node(&self, level: u8, index: u64) -> Result<Hash, Problem> {
        let found = if level == 0 {
            self.0.query_opt("SELECT leaf_hash FROM audit_log WHERE seq = ?1 + 1", params![index], |r| r.at(0))?
        } else {
            find_node(self.0, level, index)?
        };
        found.ok_or_else(|| Problem::internal(format!("node {index} of level {level} of the audit tree is missing")))
    }
}

/// The hash of a complete subtree of at least two leaves.
pub fn find_node(tx: &Tx<'_>, level: u8, index: u64) -> Result<Option<Hash>, Problem> {
    tx.query_opt("SELECT hash FROM audit_node WHERE level = ?1 AND idx = ?2", params![u32::from(level), index], |r| r.at(0))
}

/// Adds the next subtree of its level.
pub fn insert_node(tx: &Tx<'_>, (level, index, hash): (u8, u64, Hash)) -> Result<(), Problem> {
    tx.execute("INSERT INTO audit_node (level, idx, hash) VALUES (?1, ?2, ?3)", params![u32::from(level), index, hash])?;
    Ok(())
}

/// Shows the subtrees of a level from `from` up to, without, `to`, until `each` has seen enough.
pub fn each_node(
    tx: &Tx<'_>,
    level: u8,
    (from, to): (u64, u64),
    mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<(), Problem> {
    tx.each(
        "SELECT idx, hash FROM audit_node WHERE level = ?1 AND idx >= ?2 AND idx < ?3 ORDER BY idx",
        params![u32::from(level), from, to],
        |r| Ok(each(r.at(0)?, r.bytes(1)?.unwrap_or_default())),
    )
}

/// Whether the tree has anything: a log of a version before it gets it with its next entry.
pub fn is_grown(tx: &Tx<'_>) -> Result<bool, Problem> {
    if !has_tree(tx)? {
        return Ok(false);
    }
    tx.scalar("SELECT EXISTS (SELECT 1 FROM audit_node)", params![])
}

/// How many entries the widest complete subtree that is stored reaches to.
pub fn tree_reach(tx: &Tx<'_>) -> Result<u64, Problem> {
    let mut reach = 0;
    for level in 1..=62_u8 {
        let sql = "SELECT coalesce(max(idx), -1) + 1 FROM audit_node WHERE level = ?1";
        let count: u64 = tx.scalar(sql, params![u32::from(level)])?;
        reach = reach.max(count << level);
    }
    Ok(reach)
}

/// Whether this database has a tree: those of versions before it have none.
pub fn has_tree(tx: &Tx<'_>) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'audit_node')", params![])
}

/// How many subtrees of two leaves are stored.
pub fn count_pairs(tx: &Tx<'_>) -> Result<u64, Problem> {
    tx.scalar("SELECT coalesce(max(idx), -1) + 1 FROM audit_node WHERE level = 1", params![])
}

/// Number and hash of the leaves after `after`, oldest first.
pub fn list_hashes(tx: &Tx<'_>, after: u64, limit: u32) -> Result<Vec<(u64, Hash)>, Problem> {
    tx.query(
        "SELECT seq, leaf_hash FROM audit_log WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        params![after, limit],
        |r| Ok((r.at(0)?, r.at(1)?)),
    )
}

/// A stored row.
#[derive(Debug, Clone)]
pub struct StoredLeaf {
    /// Place in the log.
    pub seq: u64,
    /// The bytes that were hashed.
    pub leaf: Vec<u8>,
    /// The stored hash.
    pub leaf_hash: Vec<u8>,
    /// Copies of leaf fields.
    pub at: Timestamp,
    /// Copy.
    pub actor_id: String,
    /// Copy.
    pub action: String,
    /// Copy.
    pub entity: String,
    /// Copy.
    pub entity_id: String,
}

pub(super) fn stored_leaf(r: &Row<'_>) -> Result<StoredLeaf, Problem> {
    Ok(StoredLeaf {
        seq: r.get("seq")?,
        leaf: r.get("leaf")?,
        leaf_hash: r.get("leaf_hash")?,
        at: r.get("at")?,
        actor_id: r.get("actor_id")?,
        action: r.get("action")?,
        entity: r.get("entity")?,
        entity_id: r.get("entity_id")?,
    })
}

/// Rows after `after`, oldest first.
pub fn list_from(tx: &Tx<'_>, after: u64, limit: u32) -> Result<Vec<StoredLeaf>, Problem> {
    tx.query("SELECT * FROM audit_log WHERE seq > ?1 ORDER BY seq LIMIT ?2", params![after, limit], stored_leaf)
}

/// When the first entry at `seq` or after it was made.
fn at_from(tx: &Tx<'_>, seq: u64) -> Result<Option<Timestamp>, Problem> {
    tx.query_opt("SELECT at FROM audit_log WHERE seq >= ?1 ORDER BY seq LIMIT 1", params![seq], |r| r.at(0))
}

/// The first row from `from` up to `to` that is from `instant` on or later, by bisection; the one after `to` when none
/// is. Instants only go forward between them.
fn first_since(tx: &Tx<'_>, (from, to): (u64, u64), instant: Timestamp) -> Result<u64, Problem> {
    let (mut low, mut high) = (from, to + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if at_from(tx, middle)?.is_none_or(|at| at >= instant) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

/// The stretches of the log in which instants only go forward, first and last row of each, oldest first.
fn stretches(tx: &Tx<'_>, head: u64) -> Result<Vec<(u64, u64)>, Problem> {
    let back: Vec<u64> = tx.query("SELECT seq FROM audit_step_back ORDER BY seq", params![], |r| r.at(0))?;
    let starts = std::iter::once(1).chain(back.iter().copied());
    let ends = back.iter().map(|seq| seq - 1).chain(std::iter::once(head));
    Ok(starts.zip(ends).collect())
}

/// Whether this database knows where its instants go back: those of versions before do not, and are read from the
/// beginning.
fn has_step_backs(tx: &Tx<'_>) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'audit_step_back')", params![])
}

/// First and last row that a period can have; `None` when it has none.
///
/// An index on the instants would tell which rows a period has, but not in the order of the log: the newest page of a
/// long period would be sorted out of all of them, and each entry would cost a page more. Instants are in that order
/// already, but where the clock was set back; those places are few and written down, and the rest is bisection. Rows
/// that a step back mixed in are left out by their own instant.
pub fn span(tx: &Tx<'_>, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Option<(u64, u64)>, Problem> {
    let Some((head, _)) = newest(tx)? else { return Ok(None) };
    let (mut first, mut last) = (Some(1), Some(head));
    if (from.is_some() || to.is_some()) && has_step_backs(tx)? {
        let stretches = stretches(tx, head)?;
        if let Some(from) = from {
            first = None;
            for &(start, end) in &stretches {
                let found = first_since(tx, (start, end), from)?;
                if found <= end {
                    first = Some(found);
                    break;
                }
            }
        }
        if let Some(to) = to {
            last = None;
            for &(start, end) in stretches.iter().rev() {
                let found = first_since(tx, (start, end), to)?;
                if found > start {
                    last = Some(found - 1);
                    break;
                }
            }
        }
    }
    Ok(first.zip(last).filter(|(first, last)| first <= last))
}

/// Adds the conditions of a selection to a statement that has some already.
pub(super) fn narrow(sql: &mut String, values: &mut Vec<Value>, selection: &Selection) {
    let text = |value: &Option<String>| value.clone().map(Value::Text);
    let instant = |value: Option<Timestamp>| value.map(|at| at.to_value());
    let conditions = [
        ("entity =", text(&selection.entity)),
        ("entity_id =", text(&selection.entity_id)),
        ("action =", text(&selection.action)),
        ("actor_id =", text(&selection.actor_id)),
        ("at >=", instant(selection.from)),
        ("at <", instant(selection.to)),
    ];
    for (condition, value) in conditions {
        if let Some(value) = value {
            values.push(value);
            sql.push_str(&format!(" AND {condition} ?{}", values.len()));
        }
    }
}

/// Selected rows before `before`, newest first.
pub fn list_newest(
    tx: &Tx<'_>,
    selection: &Selection,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<StoredLeaf>, Problem> {
    let Some((first, last)) = span(tx, selection.from, selection.to)? else { return Ok(Vec::new()) };
    let last = before.map_or(last, |before| last.min(before.saturating_sub(1)));
    let (sql, values) = newest_query(selection, (first, last), limit);
    tx.query(&sql, &values, stored_leaf)
}

fn newest_query(selection: &Selection, (first, last): (u64, u64), limit: u32) -> (String, Vec<Value>) {
    let mut sql = String::from("SELECT * FROM audit_log WHERE seq >= ?1 AND seq <= ?2");
    let mut values = vec![first.to_value(), last.to_value(), limit.to_value()];
    narrow(&mut sql, &mut values, selection);
    sql.push_str(" ORDER BY seq DESC LIMIT ?3");
    (sql, values)
}

/// How the database finds the newest of what is selected, in its own words: it must not look at every entry.
pub fn explain_newest(tx: &Tx<'_>, selection: &Selection) -> Result<Vec<String>, Problem> {
    let (sql, values) = newest_query(selection, (1, i64::MAX as u64), 50);
    tx.query(&format!("EXPLAIN QUERY PLAN {sql}"), &values, |r| r.get("detail"))
}

/// The newest row about a thing that is not from after `at`.
pub fn find_last(tx: &Tx<'_>, (entity, id): (&str, &str), at: Timestamp) -> Result<Option<u64>, Problem> {
    tx.query_opt(
        "SELECT seq FROM audit_log WHERE entity = ?1 AND entity_id = ?2 AND at <= ?3 ORDER BY seq DESC LIMIT 1",
        params![entity, id, at],
        |r| r.get("seq"),
    )
}

/// Rows about a thing with one of these actions that are not from after `at`, oldest first.
pub fn list_actions(
    tx: &Tx<'_>,
    (entity, id): (&str, &str),
    actions: [&str; 2],
    at: Timestamp,
) -> Result<Vec<StoredLeaf>, Problem> {
    tx.query(
        "SELECT * FROM audit_log WHERE entity = ?1 AND entity_id = ?2 AND action IN (?3, ?4) AND at <= ?5 ORDER BY seq",
        params![entity, id, actions[0], actions[1], at],
        stored_leaf,
    )
}

/// Rows with one of these actions, oldest first.
pub fn list_of_actions(tx: &Tx<'_>, actions: [&str; 3]) -> Result<Vec<StoredLeaf>, Problem> {
    tx.query(
        "SELECT * FROM audit_log WHERE action IN (?1, ?2, ?3) ORDER BY seq",
        params![actions[0], actions[1], actions[2]],
        stored_leaf,
    )
}

/// Rows about any of these things after `after`, oldest first.
pub fn list_about(tx: &Tx<'_>, things: &[(&str, &str)], after: u64, limit: u32) -> Result<Vec<StoredLeaf>, Problem> {
    // Each thing by the index; the rows themselves only for those on the page.
    tx.query(
        "SELECT l.* FROM (
             SELECT a.seq AS seq FROM json_each(?3) t
             CROSS JOIN audit_log a ON a.entity = t.value ->> 0 AND a.entity_id = t.value ->> 1
             WHERE a.seq > ?1 ORDER BY a.seq LIMIT ?2
         ) s CROSS JOIN audit_log l ON l.seq = s.seq ORDER BY s.seq",
        params![after, limit, Json(things)],
        stored_leaf,
    )
}

/// What a commitment of a row stands for, unless it was erased.
pub fn find_state(tx: &Tx<'_>, seq: u64, part: &str) -> Result<Option<Vec<u8>>, Problem> {
    let sql = "SELECT state FROM audit_state WHERE seq = ?1 AND part = ?2";
    Ok(tx.query_opt(sql, params![seq, part], |r| r.get("state"))?.flatten())
}

/// One row.
pub fn find_leaf(tx: &Tx<'_>, seq: u64) -> Result<Option<StoredLeaf>, Problem> {
    tx.query_opt("SELECT * FROM audit_log WHERE seq = ?1", params![seq], stored_leaf)
}

/// A stored state: part, salt, and the state unless it was erased.
pub type StoredState = (String, Vec<u8>, Option<Vec<u8>>);

/// The states of one row.
pub fn list_states(tx: &Tx<'_>, seq: u64) -> Result<Vec<StoredState>, Problem> {
    tx.query("SELECT part, salt, state FROM audit_state WHERE seq = ?1", params![seq], |r| {
        Ok((r.get("part")?, r.get("salt")?, r.get("state")?))
    })
}

/// A row as it stands in the database.
#[derive(Debug, Clone, Copy)]
pub struct SeenLeaf<'r> {
    /// Place in the log.
    pub seq: u64,
    /// The bytes that were hashed.
    pub leaf: &'r [u8],
    /// The stored hash.
    pub leaf_hash: &'r [u8],
    /// Copies of leaf fields.
    pub at: Timestamp,
    /// Copy.
    pub actor_id: &'r str,
    /// Copy.
    pub action: &'r str,
    /// Copy.
    pub entity: &'r str,
    /// Copy.
    pub entity_id: &'r str,
}

/// Shows the rows after `after`, oldest first, at most `limit`, until `each` has seen enough.
pub fn each_leaf(
    tx: &Tx<'_>,
    after: u64,
    limit: u32,
    mut each: impl FnMut(SeenLeaf<'_>) -> Result<ControlFlow<()>, Problem>,
) -> Result<(), Problem> {
    tx.each(
        "SELECT seq, leaf, leaf_hash, at, actor_id, action, entity, entity_id FROM audit_log
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        params![after, limit],
        |r| {
            each(SeenLeaf {
                seq: r.at(0)?,
                leaf: r.bytes(1)?.unwrap_or_default(),
                leaf_hash: r.bytes(2)?.unwrap_or_default(),
                at: r.at(3)?,
                actor_id: r.text(4)?,
                action: r.text(5)?,
                entity: r.text(6)?,
                entity_id: r.text(7)?,
            })
        },
    )
}

/// Shows the states of rows after `after` up to `to`: the row, the part, the salt, and the state unless it was erased.
pub fn each_state(
    tx: &Tx<'_>,
    (after, to): (u64, u64),
    mut each: impl FnMut(u64, &str, &[u8], Option<&[u8]>),
) -> Result<(), Problem> {
    tx.each(
        "SELECT seq, part, salt, state FROM audit_state WHERE seq > ?1 AND seq <= ?2 ORDER BY seq, part",
        params![after, to],
        |r| {
            each(r.at(0)?, r.text(1)?, r.bytes(2)?.unwrap_or_default(), r.bytes(3)?);
            Ok(ControlFlow::Continue(()))
        },
    )
}

/// Whether there is a row that no log begins with, or a state of a row after `last`.
pub fn has_strays(tx: &Tx<'_>, last: u64) -> Result<(bool, bool), Problem> {
    let early = tx.scalar("SELECT EXISTS (SELECT 1 FROM audit_log WHERE seq < 1)", params![])?;
    let late = tx.scalar("SELECT EXISTS (SELECT 1 FROM audit_state WHERE seq > ?1)", params![last])?;
    Ok((early, late))
}
