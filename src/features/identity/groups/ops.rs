//! Use cases around groups.

use serde_json::{Value, json};

use super::{Group, Uses, faults, store};
use crate::base::access::Principal;
use crate::base::id::{GroupId, PersonId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::features::audit::{self, Entry};
use crate::features::identity::people;
use crate::platform::store::Tx;

/// A group that is wanted.
#[derive(Debug, Clone, Default)]
pub struct NewGroup {
    /// How it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who answers for it.
    pub owner: Option<PersonId>,
    /// The id that its source knows it by.
    pub external_id: Option<String>,
    /// Who is in it.
    pub members: Vec<PersonId>,
}

/// What may change of a group; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct GroupChange {
    /// New name.
    pub name: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New owner, or none.
    pub owner: Option<Option<PersonId>>,
    /// New id of the source, or none.
    pub external_id: Option<Option<String>>,
}

/// Adds a group with its members.
pub fn create(tx: &Tx<'_>, by: &Principal, uses: &Uses, new: NewGroup) -> Result<Group, Problem> {
    let name = new.name.trim().to_owned();
    Problem::from_fields(faults(&name, &new.description))?;
    name_is_free(tx, uses, &name, None)?;
    known(tx, &new.members, "memberIds")?;
    let owner = owner(tx, new.owner.as_ref())?;
    people::ops::create_group(tx, by, &name, &new.members)?;
    let made = store::find_by_name(tx, &name)?.ok_or_else(|| Problem::internal("a group that was just made"))?;
    if !new.description.is_empty() || owner.is_some() || new.external_id.is_some() {
        store::update_group(tx, &Group { description: new.description, owner, external_id: new.external_id, ..made.clone() })?;
        let after = store::get_group(tx, &made.id)?;
        record(tx, by, "group.changed", Some(&made), &after)?;
        return Ok(after);
    }
    Ok(made)
}

/// Changes a group. Its former name stays its own for as long as a workflow uses it.
pub fn change(tx: &Tx<'_>, by: &Principal, uses: &Uses, id: &GroupId, change: GroupChange) -> Result<Group, Problem> {
    let before = store::get_group(tx, id)?;
    let mut after = before.clone();
    if let Some(name) = change.name {
        name.trim().clone_into(&mut after.name);
    }
    if let Some(description) = change.description {
        after.description = description;
    }
    if let Some(wanted) = change.owner {
        after.owner = owner(tx, wanted.as_ref())?;
    }
    if let Some(external_id) = change.external_id {
        after.external_id = external_id;
    }
    Problem::from_fields(faults(&after.name, &after.description))?;
    if state(&before) == state(&after) {
        return Ok(before);
    }
    if before.name != after.name {
        name_is_free(tx, uses, &after.name, Some(id))?;
        store::delete_former_name(tx, &after.name)?;
        if !uses.of(tx, &before.name)?.is_empty() {
            store::insert_former_name(tx, id, &before.name)?;
        }
    }
    store::update_group(tx, &after)?;
    record(tx, by, "group.changed", Some(&before), &after)?;
    store::get_group(tx, id)
}

/// Removes a group that no workflow uses.
pub fn delete(tx: &Tx<'_>, by: &Principal, uses: &Uses, id: &GroupId) -> Result<(), Problem> {
    let group = store::get_group(tx, id)?;
    let used = used_by(tx, uses, &group)?;
    if !used.is_empty() {
        return Err(Problem::Conflict(format!(
            "The group {} is used by {}. Name another group there first.",
            group.name,
            used.join(", ")
        )));
    }
    let members = store::member_ids(tx, id)?;
    store::delete_group(tx, id)?;
    let mut prev = state(&group);
    prev["memberCount"] = json!(members.len());
    let entry = Entry {
        action: "group.deleted",
        entity: "group",
        entity_id: id.to_string(),
        reason: None,
        prev: Some(prev),
        new: None,
    };
    audit::append(tx, by, entry)
}

/// What uses a group, by its name and its former names.
pub fn used_by(tx: &Tx<'_>, uses: &Uses, group: &Group) -> Result<Vec<String>, Problem> {
    let mut used = uses.of(tx, &group.name)?;
    for name in store::former_names(tx, &group.id)? {
        used.extend(uses.of(tx, &name)?);
    }
    used.sort();
    used.dedup();
    Ok(used)
}

/// Puts people into a group and takes others out, with one entry for each; how many changed.
pub fn change_members(
    tx: &Tx<'_>,
    by: &Principal,
    id: &GroupId,
    add: &[PersonId],
    remove: &[PersonId],
) -> Result<u32, Problem> {
    let group = store::get_group(tx, id)?;
    known(tx, add, "add")?;
    let mut changed = 0;
    for (people, member) in [(remove, false), (add, true)] {
        for person in people {
            changed += u32::from(people::ops::set_member(tx, by, &group.name, person, member)?);
        }
    }
    if changed > 0 {
        store::touch_group(tx, id.as_str())?;
    }
    Ok(changed)
}

/// Whether a group may be called so: no other is, nor answers to it because a workflow uses it.
fn name_is_free(tx: &Tx<'_>, uses: &Uses, name: &str, but: Option<&GroupId>) -> Result<(), Problem> {
    if store::find_by_name(tx, name)?.is_some_and(|g| Some(&g.id) != but) {
        return Err(Problem::Conflict(format!("There is a group {name} already.")));
    }
    let Some(former) = store::former_name_of(tx, name)?.filter(|g| Some(g) != but) else { return Ok(()) };
    let used = uses.of(tx, name)?;
    if used.is_empty() {
        return store::delete_former_name(tx, name);
    }
    let now = store::get_group(tx, &former)?.name;
    Err(Problem::Conflict(format!(
        "{name} is a former name of the group {now}, and {} still uses it. Use the new name there first.",
        used.join(", ")
    )))
}

fn owner(tx: &Tx<'_>, id: Option<&PersonId>) -> Result<Option<people::PersonRef>, Problem> {
    let Some(id) = id else { return Ok(None) };
    match people::store::find_person(tx, id)? {
        Some(person) if person.active => Ok(Some(person.to_ref())),
        Some(person) => Err(Problem::field("ownerId", format!("{} is not active", person.display_name))),
        None => Err(Problem::field("ownerId", format!("there is no person {id}"))),
    }
}

fn known(tx: &Tx<'_>, people: &[PersonId], field: &str) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for (i, id) in people.iter().enumerate() {
        if people::store::find_person(tx, id)?.is_none() {
            faults.push(FieldError { field: format!("{field}[{i}]"), message: format!("there is no person {id}") });
        }
    }
    Problem::from_fields(faults)
}

fn state(group: &Group) -> Value {
    json!({
        "name": group.name, "description": group.description, "ownerId": group.owner.as_ref().map(|o| &o.id),
        "externalId": group.external_id,
    })
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, before: Option<&Group>, after: &Group) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "group",
        entity_id: after.id.to_string(),
        reason: None,
        prev: before.map(state),
        new: Some(state(after)),
    };
    audit::append(tx, by, entry)
}
