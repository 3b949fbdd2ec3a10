//! SQL of what sources said of people.

use super::document::Document;
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::Person;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

/// A person with what a source said of them.
#[derive(Debug, Clone)]
pub struct Known {
    /// The person.
    pub person: Person,
    /// When they changed last.
    pub updated_at: Timestamp,
    /// Whether an administrator has yet to decide whether they leave.
    pub held: bool,
    /// The name that the source knows them by; nothing when no source said anything.
    pub user_name: Option<String>,
    /// What it said.
    pub document: Option<Document>,
}

const SELECT: &str = "SELECT p.id, p.display_name, p.email, p.manager_id, p.active, p.attributes, p.external_id,
                             p.created_at, max(p.updated_at, p.created_at) AS updated_at, s.user_name, s.document,
                             EXISTS (SELECT 1 FROM person_leave l WHERE l.person_id = p.id AND l.state = 'held') AS held
                      FROM person p LEFT JOIN scim_user s ON s.person_id = p.id";

fn known(r: &Row<'_>) -> Result<Known, Problem> {
    Ok(Known {
        person: Person {
            id: r.get("id")?,
            display_name: r.get("display_name")?,
            email: r.get("email")?,
            manager_id: r.get("manager_id")?,
            active: r.get("active")?,
            attributes: r.get::<Json<serde_json::Value>>("attributes")?.0,
            external_id: r.get("external_id")?,
            created_at: r.get("created_at")?,
        },
        updated_at: r.get("updated_at")?,
        held: r.get("held")?,
        user_name: r.get("user_name")?,
        document: r.get::<Option<Json<Document>>>("document")?.map(|j| j.0),
    })
}

/// The person with this id, unless the source deleted them.
pub fn find_user(tx: &Tx<'_>, id: &str) -> Result<Option<Known>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE p.id = ?1 AND s.deleted_at IS NULL"), params![id], known)
}

/// The person whom a source knows by this name; of others their address is the name.
pub fn find_by_user_name(tx: &Tx<'_>, name: &str) -> Result<Option<Known>, Problem> {
    tx.query_opt(
        &format!(
            "{SELECT} WHERE p.id IN (SELECT person_id FROM scim_user WHERE user_name = ?1 AND deleted_at IS NULL
                                     UNION SELECT id FROM person WHERE email = ?1)
               AND s.deleted_at IS NULL AND coalesce(s.user_name, p.email) = ?1 COLLATE NOCASE
             ORDER BY s.user_name IS NULL LIMIT 1"
        ),
        params![name],
        known,
    )
}

/// The person whom the source deleted, by their address or by its own id of them. A user name alone may be
/// somebody else's by now.
pub fn find_deleted(tx: &Tx<'_>, external_id: Option<&str>, email: &str) -> Result<Option<PersonId>, Problem> {
    tx.query_opt(
        "SELECT s.person_id FROM scim_user s JOIN person p ON p.id = s.person_id
         WHERE s.deleted_at IS NOT NULL AND (p.email = ?2 OR p.external_id = ?1)
         ORDER BY p.email = ?2 DESC, s.deleted_at DESC LIMIT 1",
        params![external_id, email],
        |r| r.get("person_id"),
    )
}

/// The person whom their source knows by this id.
pub fn find_by_external_id(tx: &Tx<'_>, external_id: &str) -> Result<Option<Known>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE p.external_id = ?1 AND s.deleted_at IS NULL"), params![external_id], known)
}

/// People whose address or document has this text, whatever its case.
pub fn list_with_text(tx: &Tx<'_>, text: &str) -> Result<Vec<Known>, Problem> {
    tx.query(
        &format!(
            "{SELECT} WHERE s.deleted_at IS NULL
               AND (p.email = ?1 OR instr(lower(p.display_name), lower(?1)) > 0
                    OR instr(lower(coalesce(s.document, '')), lower(?1)) > 0)
             ORDER BY p.id"
        ),
        params![text],
        known,
    )
}

/// People after `after` by id.
pub fn list_after(tx: &Tx<'_>, after: &str, limit: u32) -> Result<Vec<Known>, Problem> {
    tx.query(
        &format!("{SELECT} WHERE p.id > ?1 AND s.deleted_at IS NULL ORDER BY p.id LIMIT ?2"),
        params![after, limit],
        known,
    )
}

/// People without the first `offset`, by id, and how many there are.
pub fn page_of_users(tx: &Tx<'_>, offset: u32, limit: u32) -> Result<(Vec<Known>, u32), Problem> {
    let all = tx.scalar(
        "SELECT (SELECT count(*) FROM person) - (SELECT count(*) FROM scim_user WHERE deleted_at IS NOT NULL)",
        params![],
    )?;
    let sql = format!("{SELECT} WHERE s.deleted_at IS NULL ORDER BY p.id LIMIT ?1 OFFSET ?2");
    Ok((tx.query(&sql, params![limit, offset], known)?, all))
}

/// Stores what a source says of somebody; whom it deleted it knows again.
pub fn save_user(tx: &Tx<'_>, id: &PersonId, user_name: &str, document: &Document) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO scim_user (person_id, user_name, document) VALUES (?1, ?2, ?3)
         ON CONFLICT (person_id) DO UPDATE SET user_name = ?2, document = ?3, deleted_at = NULL",
        params![id, user_name, Json(document)],
    )?;
    tx.execute("UPDATE person SET updated_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Stores that the source deleted somebody.
pub fn mark_deleted(tx: &Tx<'_>, id: &PersonId) -> Result<(), Problem> {
    tx.execute("UPDATE scim_user SET deleted_at = ?2 WHERE person_id = ?1", params![id, tx.now()])?;
    Ok(())
}
