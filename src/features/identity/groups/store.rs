//! SQL of groups.

use super::{Group, Member};
use crate::base::id::{GroupId, PersonId};
use crate::base::problem::Problem;
use crate::features::identity::people::PersonRef;
use crate::params;
use crate::platform::store::{Row, Tx};

const SELECT: &str = "SELECT g.id, g.name, g.description, g.owner_id, o.display_name AS owner_name, g.external_id,
                             g.created_at, g.updated_at,
                             (SELECT count(*) FROM group_member m WHERE m.group_id = g.id) AS members
                      FROM person_group g LEFT JOIN person o ON o.id = g.owner_id";

fn group(r: &Row<'_>) -> Result<Group, Problem> {
    let owner: Option<PersonId> = r.get("owner_id")?;
    let owner_name: Option<String> = r.get("owner_name")?;
    Ok(Group {
        id: r.get("id")?,
        name: r.get("name")?,
        description: r.get("description")?,
        owner: owner.zip(owner_name).map(|(id, display_name)| PersonRef { id, display_name }),
        members: r.get("members")?,
        external_id: r.get("external_id")?,
        created_at: r.get("created_at")?,
        updated_at: r.get("updated_at")?,
    })
}

/// The group with this id.
pub fn find_group(tx: &Tx<'_>, id: &GroupId) -> Result<Option<Group>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE g.id = ?1"), params![id], group)
}

/// The group with this id; missing is a problem.
pub fn get_group(tx: &Tx<'_>, id: &GroupId) -> Result<Group, Problem> {
    find_group(tx, id)?.ok_or_else(|| Problem::missing("group", id))
}

/// The group that is called so now.
pub fn find_by_name(tx: &Tx<'_>, name: &str) -> Result<Option<Group>, Problem> {
    tx.query_opt(&format!("{SELECT} WHERE g.name = ?1"), params![name], group)
}

/// Groups by name, those behind the name `after`; `q` narrows by a part of the name.
pub fn list_groups(tx: &Tx<'_>, q: Option<&str>, after: Option<&str>, limit: u32) -> Result<Vec<Group>, Problem> {
    tx.query(
        &format!(
            "{SELECT} WHERE (?1 IS NULL OR instr(lower(g.name), lower(?1)) > 0) AND (?2 IS NULL OR g.name > ?2)
             ORDER BY g.name LIMIT ?3"
        ),
        params![q, after, limit],
        group,
    )
}

/// Groups in the order in which they were made, without the first `offset`, and how many there are.
pub fn page_of_groups(tx: &Tx<'_>, offset: u32, limit: u32) -> Result<(Vec<Group>, u32), Problem> {
    let all = tx.scalar("SELECT count(*) FROM person_group", params![])?;
    let page = tx.query(&format!("{SELECT} ORDER BY g.id LIMIT ?1 OFFSET ?2"), params![limit, offset], group)?;
    Ok((page, all))
}

/// The groups that somebody is in, by name.
pub fn groups_of(tx: &Tx<'_>, person: &PersonId) -> Result<Vec<Group>, Problem> {
    tx.query(
        &format!(
            "{SELECT} WHERE g.id IN (SELECT m.group_id FROM group_member m WHERE m.person_id = ?1) ORDER BY g.name"
        ),
        params![person],
        group,
    )
}

/// Members by id, those behind the id `after`.
pub fn list_members(tx: &Tx<'_>, id: &GroupId, after: Option<&str>, limit: u32) -> Result<Vec<Member>, Problem> {
    tx.query(
        "SELECT p.id, p.display_name, p.email, p.active FROM group_member m JOIN person p ON p.id = m.person_id
         WHERE m.group_id = ?1 AND (?2 IS NULL OR p.id > ?2) ORDER BY p.id LIMIT ?3",
        params![id, after, limit],
        |r| {
            Ok(Member {
                id: r.get("id")?,
                display_name: r.get("display_name")?,
                email: r.get("email")?,
                active: r.get("active")?,
            })
        },
    )
}

/// The ids of all members.
pub fn member_ids(tx: &Tx<'_>, id: &GroupId) -> Result<Vec<PersonId>, Problem> {
    tx.query("SELECT person_id FROM group_member WHERE group_id = ?1 ORDER BY person_id", params![id], |r| {
        r.get("person_id")
    })
}

/// Stores what may change of a group.
pub fn update_group(tx: &Tx<'_>, g: &Group) -> Result<(), Problem> {
    let owner = g.owner.as_ref().map(|o| o.id.clone());
    tx.execute(
        "UPDATE person_group SET name = ?2, description = ?3, owner_id = ?4, external_id = ?5, updated_at = ?6 WHERE id = ?1",
        params![g.id, g.name, g.description, owner, g.external_id, tx.now()],
    )?;
    Ok(())
}

/// Stores that the members of a group changed now.
pub fn touch_group(tx: &Tx<'_>, id: &str) -> Result<(), Problem> {
    tx.execute("UPDATE person_group SET updated_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Removes a group with its memberships and former names.
pub fn delete_group(tx: &Tx<'_>, id: &GroupId) -> Result<(), Problem> {
    tx.execute("DELETE FROM group_member WHERE group_id = ?1", params![id])?;
    tx.execute("DELETE FROM group_former_name WHERE group_id = ?1", params![id])?;
    tx.execute("DELETE FROM person_group WHERE id = ?1", params![id])?;
    Ok(())
}

/// The former names of a group that it still answers to.
pub fn former_names(tx: &Tx<'_>, id: &GroupId) -> Result<Vec<String>, Problem> {
    tx.query("SELECT name FROM group_former_name WHERE group_id = ?1 ORDER BY name", params![id], |r| r.get("name"))
}

/// Which group has this former name.
pub fn former_name_of(tx: &Tx<'_>, name: &str) -> Result<Option<GroupId>, Problem> {
    tx.query_opt("SELECT group_id FROM group_former_name WHERE name = ?1", params![name], |r| r.get("group_id"))
}

/// Keeps a former name.
pub fn insert_former_name(tx: &Tx<'_>, id: &GroupId, name: &str) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO group_former_name (name, group_id) VALUES (?2, ?1) ON CONFLICT DO NOTHING",
        params![id, name],
    )?;
    Ok(())
}

/// Forgets a former name.
pub fn delete_former_name(tx: &Tx<'_>, name: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM group_former_name WHERE name = ?1", params![name])?;
    Ok(())
}
