//! SQL of the past: which period covers an instant.

use crate::base::id::{AssignmentId, DocumentId, TypedId, encode};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::store::{AssignmentFilter, Source};
use crate::features::access::documents::DocumentState;
use crate::features::access::documents::store::DocumentFilter;
use crate::params;
use crate::platform::store::{Row, ToValue as _, Tx, Value};

/// How something stood at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stood {
    /// Which assignment or document.
    pub id: String,
    /// Its state.
    pub state: String,
    /// The entry of the audit log that tells of it.
    pub seq: u64,
}

/// Which things have periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// Assignments.
    Assignment,
    /// Documents.
    Document,
}

impl Entity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Assignment => "assignment",
            Self::Document => "document",
        }
    }
}

fn stood(r: &Row<'_>) -> Result<Stood, Problem> {
    Ok(Stood { id: r.get("id")?, state: r.get("state")?, seq: r.get("seq")? })
}

/// How one of them stood at `at`; nothing when it was not there yet.
pub fn find_stood(tx: &Tx<'_>, entity: Entity, id: &str, at: Timestamp) -> Result<Option<Stood>, Problem> {
    tx.query_opt(
        "SELECT entity_id AS id, state, seq FROM access_period
         WHERE entity = ?1 AND entity_id = ?2 AND from_at <= ?3 ORDER BY from_at DESC LIMIT 1",
        params![entity.as_str(), id, at],
        stood,
    )
}

/// The id that is before every one made after `at`, or that of the page before, whichever comes first. Ids begin
/// with the instant at which they were made, so that nothing younger than the question is looked at.
fn bound<I: TypedId>(before: Option<&str>, at: Timestamp) -> String {
    let next = format!("{}_{}", I::PREFIX, encode(Timestamp::from_millis(at.as_millis().saturating_add(1)), 0));
    before.filter(|id| **id < *next).map_or(next.clone(), str::to_owned)
}

/// The condition that a period `h` covers the instant `?2`.
const COVERS: &str = "h.from_at <= ?2 AND (h.until_at IS NULL OR h.until_at > ?2)";

/// Periods that cover an instant, of whatever is in one of `states`, newest first.
fn by_state<'s>(
    tx: &Tx<'_>,
    entity: Entity,
    states: impl Iterator<Item = &'s str>,
    values: &[Value],
) -> Result<Vec<Stood>, Problem> {
    let part = |condition: &str| {
        format!(
            "SELECT h.entity_id AS id, h.state AS state, h.seq AS seq FROM access_period h
             WHERE h.entity = '{}'{condition} AND h.entity_id < ?1 AND {COVERS} ORDER BY h.entity_id DESC LIMIT ?3",
            entity.as_str()
        )
    };
    // Each state has its range of the index, which is in the order of the list.
    let parts: Vec<String> =
        states.map(|s| format!("SELECT * FROM ({})", part(&format!(" AND h.state = '{s}'")))).collect();
    let sql = if parts.is_empty() {
        part("")
    } else {
        format!("{} ORDER BY id DESC LIMIT ?3", parts.join(" UNION ALL "))
    };
    tx.query(&sql, values, stood)
}

/// How assignments stood at `at`, newest first, older than the one with the id `before`.
pub fn list_assignments(
    tx: &Tx<'_>,
    filter: &AssignmentFilter,
    at: Timestamp,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Stood>, Problem> {
    let mut values = vec![bound::<AssignmentId>(before, at).to_value(), at.to_value(), limit.to_value()];
    let Source { from, key, conditions } = filter.source(&mut values);
    if conditions.is_empty() {
        return by_state(tx, Entity::Assignment, filter.states.iter().map(|s| s.as_str()), &values);
    }
    // The plus keeps the index by state away: here each assignment is looked up by its id.
    let states = filter.states_sql().map(|list| format!(" AND +h.state IN ({list})")).unwrap_or_default();
    let sql = format!(
        "SELECT {key} AS id, h.state AS state, h.seq AS seq FROM {from}
         CROSS JOIN access_period h ON h.entity = 'assignment' AND h.entity_id = {key} AND {COVERS}
         WHERE {key} < ?1{conditions}{states} ORDER BY {key} DESC LIMIT ?3"
    );
    tx.query(&sql, &values, stood)
}

/// How documents stood at `at`, newest first, older than the one with the id `before`.
pub fn list_documents(
    tx: &Tx<'_>,
    filter: &DocumentFilter,
    at: Timestamp,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Stood>, Problem> {
    let mut values = vec![bound::<DocumentId>(before, at).to_value(), at.to_value(), limit.to_value()];
    let state = filter.state.map(DocumentState::as_str);
    let Some(person) = &filter.person else {
        return by_state(tx, Entity::Document, state.into_iter(), &values);
    };
    values.extend([person.to_value(), state.to_value()]);
    tx.query(
        &format!(
            "SELECT d.id AS id, h.state AS state, h.seq AS seq FROM document d
             CROSS JOIN access_period h ON h.entity = 'document' AND h.entity_id = d.id AND {COVERS}
             WHERE d.id < ?1 AND d.person_id = ?4 AND (?5 IS NULL OR h.state = ?5) ORDER BY d.id DESC LIMIT ?3"
        ),
        &values,
        stood,
    )
}
