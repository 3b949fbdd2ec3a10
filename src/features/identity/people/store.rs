//! SQL of people and groups.

use super::{Person, PersonRef};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, display_name, email, manager_id, active, attributes, created_at";

fn person(r: &Row<'_>) -> Result<Person, Problem> {
    Ok(Person {
        id: r.get("id")?,
        display_name: r.get("display_name")?,
        email: r.get("email")?,
        manager_id: r.get("manager_id")?,
        active: r.get("active")?,
        attributes: r.get::<Json<serde_json::Value>>("attributes")?.0,
        created_at: r.get("created_at")?,
    })
}

/// The person with this id.
pub fn find_person(tx: &Tx<'_>, id: &PersonId) -> Result<Option<Person>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM person WHERE id = ?1"), params![id], person)
}

/// The person with this id; missing is a problem.
pub fn get_person(tx: &Tx<'_>, id: &PersonId) -> Result<Person, Problem> {
    find_person(tx, id)?.ok_or_else(|| Problem::missing("person", id))
}

/// The person with this address.
pub fn find_by_email(tx: &Tx<'_>, email: &str) -> Result<Option<Person>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM person WHERE email = ?1"), params![email], person)
}

/// The person in few words.
pub fn person_ref(tx: &Tx<'_>, id: &PersonId) -> Result<Option<PersonRef>, Problem> {
    Ok(find_person(tx, id)?.map(|p| p.to_ref()))
}

/// People after `after` by id; `q` narrows by name or address.
pub fn list_people(tx: &Tx<'_>, q: Option<&str>, after: Option<&str>, limit: u32) -> Result<Vec<Person>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM person
             WHERE id > ?1 AND (?2 IS NULL OR instr(lower(display_name || ' ' || email), lower(?2)) > 0)
             ORDER BY id LIMIT ?3"
        ),
        params![after.unwrap_or(""), q, limit],
        person,
    )
}

/// Stores a new person.
pub fn insert_person(tx: &Tx<'_>, p: &Person) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO person (id, display_name, email, manager_id, active, attributes, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![p.id, p.display_name, p.email, p.manager_id, p.active, Json(&p.attributes), p.created_at],
    )?;
    Ok(())
}

/// Stores what may change of a person.
pub fn update_person(tx: &Tx<'_>, p: &Person) -> Result<(), Problem> {
    tx.execute(
        "UPDATE person SET display_name = ?2, email = ?3, manager_id = ?4, active = ?5, attributes = ?6 WHERE id = ?1",
        params![p.id, p.display_name, p.email, p.manager_id, p.active, Json(&p.attributes)],
    )?;
    Ok(())
}

/// Active members of the group with this name, by id.
pub fn group_members(tx: &Tx<'_>, name: &str) -> Result<Vec<PersonId>, Problem> {
    tx.query(
        "SELECT p.id FROM person_group g
         JOIN group_member m ON m.group_id = g.id
         JOIN person p ON p.id = m.person_id
         WHERE g.name = ?1 AND p.active = 1 ORDER BY p.id",
        params![name],
        |r| r.get("id"),
    )
}

/// Whether there is a group with this name.
pub fn has_group(tx: &Tx<'_>, name: &str) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM person_group WHERE name = ?1)", params![name])
}

/// Stores a group with its members.
pub fn insert_group(tx: &Tx<'_>, id: &str, name: &str, members: &[PersonId]) -> Result<(), Problem> {
    tx.execute("INSERT INTO person_group (id, name) VALUES (?1, ?2)", params![id, name])?;
    for member in members {
        tx.execute("INSERT INTO group_member (group_id, person_id) VALUES (?1, ?2)", params![id, member])?;
    }
    Ok(())
}

/// The id of the group with this name.
pub fn group_id(tx: &Tx<'_>, name: &str) -> Result<Option<String>, Problem> {
    tx.query_opt("SELECT id FROM person_group WHERE name = ?1", params![name], |r| r.get("id"))
}

/// Makes somebody a member; false when they were one.
pub fn add_member(tx: &Tx<'_>, group: &str, person: &PersonId) -> Result<bool, Problem> {
    let changed = tx.execute(
        "INSERT OR IGNORE INTO group_member (group_id, person_id) VALUES (?1, ?2)",
        params![group, person],
    )?;
    Ok(changed == 1)
}

/// Takes a member out; false when they were none.
pub fn remove_member(tx: &Tx<'_>, group: &str, person: &PersonId) -> Result<bool, Problem> {
    let changed =
        tx.execute("DELETE FROM group_member WHERE group_id = ?1 AND person_id = ?2", params![group, person])?;
    Ok(changed == 1)
}
