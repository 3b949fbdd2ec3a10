//! SQL of assignments.

use super::{Assignment, AssignmentState, RoleRef};
use crate::base::id::{AssignmentId, DocumentId, EntitlementId, PersonId, RoleId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::grants::store::list_grants;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Row, ToValue as _, Tx, Value};

const COLUMNS: &str = "a.id, a.person_id, p.display_name, a.role_id, r.name AS role_name, a.state, a.reason,
                       a.end_reason, a.run_id, a.starts_at, a.expires_at, a.ended_at";
const JOINS: &str = "JOIN person p ON p.id = a.person_id JOIN role r ON r.id = a.role_id";

fn assignment(r: &Row<'_>) -> Result<Assignment, Problem> {
    Ok(Assignment {
        id: r.get("id")?,
        person: PersonRef { id: r.get("person_id")?, display_name: r.get("display_name")? },
        role: RoleRef { id: r.get("role_id")?, name: r.get("role_name")? },
        state: AssignmentState::stored(&r.get::<String>("state")?)?,
        reason: r.get("reason")?,
        end_reason: r.get("end_reason")?,
        run_id: r.get("run_id")?,
        starts_at: r.get("starts_at")?,
        expires_at: r.get("expires_at")?,
        ended_at: r.get("ended_at")?,
        grants: Vec::new(),
    })
}

fn with_grants(tx: &Tx<'_>, mut a: Assignment) -> Result<Assignment, Problem> {
    a.grants = list_grants(tx, &a.id)?;
    Ok(a)
}

/// The assignment with this id.
pub fn find_assignment(tx: &Tx<'_>, id: &AssignmentId) -> Result<Option<Assignment>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM assignment a {JOINS} WHERE a.id = ?1"), params![id], assignment)?
        .map(|a| with_grants(tx, a))
        .transpose()
}

/// The assignment with this id; missing is a problem.
pub fn get_assignment(tx: &Tx<'_>, id: &AssignmentId) -> Result<Assignment, Problem> {
    find_assignment(tx, id)?.ok_or_else(|| Problem::missing("assignment", id))
}

/// Which assignments to list.
#[derive(Debug, Clone, Default)]
pub struct AssignmentFilter {
    /// Only of this person.
    pub person: Option<PersonId>,
    /// Only of this role.
    pub role: Option<RoleId>,
    /// Only those that give this entitlement.
    pub entitlement: Option<EntitlementId>,
    /// Only in one of these states; in whichever when empty.
    pub states: Vec<AssignmentState>,
}

/// Where a list of assignments comes from, so that what narrows it most has its index.
#[derive(Debug)]
pub struct Source {
    /// The tables; the assignment is `a`.
    pub from: &'static str,
    /// The column with the assignment's id, by which the list is ordered.
    pub key: &'static str,
    /// Conditions, each behind an `AND`; none on the state.
    pub conditions: String,
}

impl AssignmentFilter {
    /// Where the list comes from; what its conditions compare with is put behind `values`.
    pub fn source(&self, values: &mut Vec<Value>) -> Source {
        let mut conditions = String::new();
        let mut narrow = |condition: &str, value: Value| {
            values.push(value);
            conditions.push_str(&format!(" AND {}", condition.replace("??", &format!("?{}", values.len()))));
        };
        if let Some(person) = &self.person {
            narrow("a.person_id = ??", person.to_value());
        }
        if let Some(role) = &self.role {
            narrow("a.role_id = ??", role.to_value());
        }
        let (mut from, mut key) = ("assignment a", "a.id");
        match &self.entitlement {
            None => {}
            Some(entitlement) if self.person.is_none() && self.role.is_none() => {
                narrow("g.entitlement_id = ??", entitlement.to_value());
                (from, key) = ("access_grant g CROSS JOIN assignment a ON a.id = g.assignment_id", "g.assignment_id");
            }
            Some(entitlement) => narrow(
                "EXISTS (SELECT 1 FROM access_grant g WHERE g.assignment_id = a.id AND g.entitlement_id = ??)",
                entitlement.to_value(),
            ),
        }
        Source { from, key, conditions }
    }

    /// The states as a list in SQL; nothing when any will do.
    pub fn states_sql(&self) -> Option<String> {
        let named: Vec<String> = self.states.iter().map(|s| format!("'{}'", s.as_str())).collect();
        (!named.is_empty()).then(|| named.join(", "))
    }
}

/// Assignments, newest first, older than the one with the id `before`.
pub fn list_assignments(
    tx: &Tx<'_>,
    filter: &AssignmentFilter,
    before: Option<&str>,
    limit: u32,
) -> Result<Vec<Assignment>, Problem> {
    // What is not asked for is not in the statement: else no index could be used.
    let mut values = vec![limit.to_value()];
    let Source { from, key, conditions } = filter.source(&mut values);
    let mut sql = format!("SELECT {COLUMNS} FROM {from} {JOINS} WHERE 1{conditions}");
    if let Some(states) = filter.states_sql() {
        sql.push_str(&format!(" AND a.state IN ({states})"));
    }
    if let Some(id) = before {
        values.push(id.to_value());
        sql.push_str(&format!(" AND {key} < ?{}", values.len()));
    }
    sql.push_str(&format!(" ORDER BY {key} DESC LIMIT ?1"));
    let found = tx.query(&sql, &values, assignment)?;
    found.into_iter().map(|a| with_grants(tx, a)).collect()
}

/// Stores a new assignment, without its grants.
pub fn insert_assignment(tx: &Tx<'_>, a: &Assignment, granted_by: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO assignment (id, person_id, role_id, state, reason, run_id, granted_by, starts_at,
                                 expires_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            a.id,
            a.person.id,
            a.role.id,
            a.state.as_str(),
            a.reason,
            a.run_id,
            granted_by,
            a.starts_at,
            a.expires_at,
            tx.now()
        ],
    )?;
    Ok(())
}

/// Says that an assignment rests on a document.
pub fn insert_assignment_document(tx: &Tx<'_>, id: &AssignmentId, document: &DocumentId) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO assignment_document (assignment_id, document_id) VALUES (?1, ?2)",
        params![id, document],
    )?;
    Ok(())
}

/// Stores where an assignment stands; one that ends has no reminder left.
pub fn update_state(tx: &Tx<'_>, a: &Assignment) -> Result<(), Problem> {
    tx.execute(
        "UPDATE assignment SET state = ?2, end_reason = ?3, ended_at = ?4, remind_at = iif(?5, remind_at, NULL)
         WHERE id = ?1",
        params![a.id, a.state.as_str(), a.end_reason, a.ended_at, a.state.is_live()],
    )?;
    Ok(())
}

/// Stores until when an assignment lasts.
pub fn update_end(tx: &Tx<'_>, id: &AssignmentId, expires_at: Timestamp) -> Result<(), Problem> {
    tx.execute("UPDATE assignment SET expires_at = ?2 WHERE id = ?1", params![id, expires_at])?;
    Ok(())
}

/// The documents that an assignment rests on.
pub fn list_documents_of(tx: &Tx<'_>, id: &AssignmentId) -> Result<Vec<DocumentId>, Problem> {
    tx.query(
        "SELECT document_id FROM assignment_document WHERE assignment_id = ?1 ORDER BY document_id",
        params![id],
        |r| r.get("document_id"),
    )
}

/// The first end of a document that an assignment rests on and that counts.
pub fn find_document_end(tx: &Tx<'_>, id: &AssignmentId) -> Result<Option<Timestamp>, Problem> {
    tx.scalar(
        "SELECT min(d.expires_at) FROM assignment_document ad JOIN document d ON d.id = ad.document_id
         WHERE ad.assignment_id = ?1 AND d.state = 'approved'",
        params![id],
    )
}

/// Live assignments that rest on a document.
pub fn list_resting_on(tx: &Tx<'_>, document: &DocumentId) -> Result<Vec<AssignmentId>, Problem> {
    tx.query(
        "SELECT a.id FROM assignment_document d JOIN assignment a ON a.id = d.assignment_id
         WHERE d.document_id = ?1 AND a.state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned')
         ORDER BY a.id",
        params![document],
        |r| r.get("id"),
    )
}

/// An id with the instant that it is listed by.
pub type Due = (Timestamp, AssignmentId);

/// Live assignments whose end is at or before now, after `after` in order of that end.
pub fn list_over(tx: &Tx<'_>, after: Option<&Due>, limit: u32) -> Result<Vec<Due>, Problem> {
    tx.query(
        "SELECT expires_at AS due_at, id FROM assignment
         WHERE state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned')
           AND expires_at IS NOT NULL AND expires_at <= ?1 AND (expires_at, id) > (?2, ?3)
         ORDER BY expires_at, id LIMIT ?4",
        params![tx.now(), after_at(after), after.map_or("", |d| crate::base::id::TypedId::as_str(&d.1)), limit],
        |r| Ok((r.get("due_at")?, r.get("id")?)),
    )
}

/// Scheduled assignments whose start is at or before now, after `after` in order of that start.
pub fn list_startable(tx: &Tx<'_>, after: Option<&Due>, limit: u32) -> Result<Vec<Due>, Problem> {
    tx.query(
        "SELECT starts_at AS due_at, id FROM assignment
         WHERE state = 'scheduled' AND starts_at <= ?1 AND (starts_at, id) > (?2, ?3)
         ORDER BY starts_at, id LIMIT ?4",
        params![tx.now(), after_at(after), after.map_or("", |d| crate::base::id::TypedId::as_str(&d.1)), limit],
        |r| Ok((r.get("due_at")?, r.get("id")?)),
    )
}

fn after_at(after: Option<&Due>) -> i64 {
    after.map_or(i64::MIN, |d| d.0.as_millis())
}
