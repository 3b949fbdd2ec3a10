//! SQL of people and groups.

use super::{Person, PersonRef};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "id, display_name, email, manager_id, active, attributes, external_id, created_at";
/// The longest way up that is followed.
const MAX_LEVELS: u32 = 200;

fn person(r: &Row<'_>) -> Result<Person, Problem> {
    Ok(Person {
        id: r.get("id")?,
        display_name: r.get("display_name")?,
        email: r.get("email")?,
        manager_id: r.get("manager_id")?,
        active: r.get("active")?,
        attributes: r.get::<Json<serde_json::Value>>("attributes")?.0,
        external_id: r.get("external_id")?,
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

/// People after `after` by id; `q` narrows by name or address, `active` by whether they are there.
pub fn list_people(
    tx: &Tx<'_>,
    q: Option<&str>,
    active: Option<bool>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Person>, Problem> {
    tx.query(
        &format!(
            "SELECT {COLUMNS} FROM person
             WHERE id > ?1 AND (?2 IS NULL OR instr(lower(display_name || ' ' || email), lower(?2)) > 0)
               AND (?4 IS NULL OR active = ?4)
             ORDER BY id LIMIT ?3"
        ),
        params![after.unwrap_or(""), q, limit, active],
        person,
    )
}

/// Stores a new person.
pub fn insert_person(tx: &Tx<'_>, p: &Person) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO person (id, display_name, email, manager_id, active, attributes, created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![p.id, p.display_name, p.email, p.manager_id, p.active, Json(&p.attributes), p.created_at],
    )?;
    Ok(())
}

/// Stores what may change of a person.
pub fn update_person(tx: &Tx<'_>, p: &Person) -> Result<(), Problem> {
    tx.execute(
        "UPDATE person SET display_name = ?2, email = ?3, manager_id = ?4, active = ?5, attributes = ?6,
                           external_id = ?7, updated_at = ?8 WHERE id = ?1",
        params![p.id, p.display_name, p.email, p.manager_id, p.active, Json(&p.attributes), p.external_id, tx.now()],
    )?;
    Ok(())
}

/// The person whom their source knows by this id.
pub fn find_by_external_id(tx: &Tx<'_>, external_id: &str) -> Result<Option<Person>, Problem> {
    tx.query_opt(&format!("SELECT {COLUMNS} FROM person WHERE external_id = ?1"), params![external_id], person)
}

/// Everybody above `person`, the nearest first, `person` included.
pub fn line_above(tx: &Tx<'_>, id: &PersonId) -> Result<Vec<PersonRef>, Problem> {
    tx.query(
        "WITH RECURSIVE above (id, level) AS (
           SELECT ?1, 0
           UNION SELECT p.manager_id, a.level + 1 FROM above a JOIN person p ON p.id = a.id
                 WHERE p.manager_id IS NOT NULL AND a.level < ?2
         )
         SELECT p.id, p.display_name FROM above a JOIN person p ON p.id = a.id GROUP BY p.id ORDER BY min(a.level)",
        params![id, MAX_LEVELS],
        |r| Ok(PersonRef { id: r.get("id")?, display_name: r.get("display_name")? }),
    )
}

/// The active people who report to somebody, by name.
pub fn reports(tx: &Tx<'_>, manager: &PersonId, limit: u32) -> Result<Vec<PersonRef>, Problem> {
    tx.query(
        "SELECT id, display_name FROM person WHERE manager_id = ?1 AND active = 1 ORDER BY display_name, id LIMIT ?2",
        params![manager, limit],
        |r| Ok(PersonRef { id: r.get("id")?, display_name: r.get("display_name")? }),
    )
}

/// How many people are active.
pub fn count_active(tx: &Tx<'_>) -> Result<u32, Problem> {
    tx.scalar("SELECT count(*) FROM person WHERE active = 1", params![])
}

/// Active members of the group with this name, or with this former name, by id.
pub fn group_members(tx: &Tx<'_>, name: &str) -> Result<Vec<PersonId>, Problem> {
    let Some(group) = group_id(tx, name)? else { return Ok(Vec::new()) };
    tx.query(
        "SELECT p.id FROM group_member m JOIN person p ON p.id = m.person_id
         WHERE m.group_id = ?1 AND p.active = 1 ORDER BY p.id",
        params![group],
        |r| r.get("id"),
    )
}

/// Whether there is a group with this name.
pub fn has_group(tx: &Tx<'_>, name: &str) -> Result<bool, Problem> {
    Ok(group_id(tx, name)?.is_some())
}

/// Stores a group with its members.
pub fn insert_group(tx: &Tx<'_>, id: &str, name: &str, members: &[PersonId]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO person_group (id, name, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
        params![id, name, tx.now()],
    )?;
    for member in members {
        tx.execute("INSERT INTO group_member (group_id, person_id) VALUES (?1, ?2)", params![id, member])?;
    }
    Ok(())
}

/// The id of the group with this name; of one that was renamed, also by a former name that is still in use.
pub fn group_id(tx: &Tx<'_>, name: &str) -> Result<Option<String>, Problem> {
    tx.query_opt(
        "SELECT id FROM (SELECT id, 0 AS former FROM person_group WHERE name = ?1
                         UNION ALL SELECT group_id, 1 FROM group_former_name WHERE name = ?1)
         ORDER BY former LIMIT 1",
        params![name],
        |r| r.get("id"),
    )
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
