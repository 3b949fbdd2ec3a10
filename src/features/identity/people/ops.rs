//! Use cases around people.

use serde_json::{Value, json};

use super::{NewPerson, Person, profile, store};
use crate::base::access::Principal;
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::leavers;
use crate::platform::store::Tx;

/// Adds a person.
pub fn create_person(tx: &Tx<'_>, by: &Principal, new: NewPerson) -> Result<Person, Problem> {
    Problem::from_fields(new.faults())?;
    if store::find_by_email(tx, &new.email)?.is_some() {
        return Err(Problem::Conflict(format!("There is a person with the address {} already.", new.email)));
    }
    check_manager(tx, new.manager_id.as_ref(), None)?;
    profile::ops::check(tx, &new.attributes)?;
    let person = Person {
        id: tx.new_id(),
        display_name: new.display_name.trim().to_owned(),
        email: new.email,
        manager_id: new.manager_id,
        active: true,
        attributes: new.attributes,
        external_id: None,
        created_at: tx.now(),
    };
    store::insert_person(tx, &person)?;
    record(tx, by, "person.created", None, &person)?;
    Ok(person)
}

/// What may change of a person; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct PersonChange {
    /// New name.
    pub display_name: Option<String>,
    /// New address.
    pub email: Option<String>,
    /// New manager, or none.
    pub manager_id: Option<Option<PersonId>>,
    /// New attributes, all of them.
    pub attributes: Option<Value>,
    /// Whether they are active: see [`leavers::ops`] for what follows when somebody leaves.
    pub active: Option<bool>,
}

/// Changes a person. Whoever leaves is still active afterwards when their leaving is held.
pub fn change_person(tx: &Tx<'_>, by: &Principal, id: &PersonId, change: PersonChange) -> Result<Person, Problem> {
    let before = store::get_person(tx, id)?;
    let mut after = before.clone();
    if let Some(name) = change.display_name {
        after.display_name = name.trim().to_owned();
    }
    if let Some(email) = change.email {
        after.email = email;
    }
    if let Some(manager) = change.manager_id {
        after.manager_id = manager;
    }
    if let Some(attributes) = change.attributes {
        after.attributes = attributes;
    }
    let as_new = NewPerson {
        display_name: after.display_name.clone(),
        email: after.email.clone(),
        manager_id: after.manager_id.clone(),
        attributes: after.attributes.clone(),
    };
    Problem::from_fields(as_new.faults())?;
    if after.manager_id != before.manager_id {
        check_manager(tx, after.manager_id.as_ref(), Some(id))?;
    }
    if after.attributes != before.attributes {
        profile::ops::check(tx, &after.attributes)?;
    }
    if store::find_by_email(tx, &after.email)?.is_some_and(|other| other.id != *id) {
        return Err(Problem::Conflict(format!("There is another person with the address {}.", after.email)));
    }
    if state(&before) != state(&after) {
        store::update_person(tx, &after)?;
        record(tx, by, "person.changed", Some(&before), &after)?;
    }
    match change.active {
        Some(false) if before.active => {
            leavers::ops::leave(tx, by, id, leavers::Leaving::because("the person was closed"))?;
        }
        Some(true) => leavers::ops::rejoin(tx, by, id, None)?,
        _ => return Ok(after),
    }
    store::get_person(tx, id)
}

/// Says by which id a source knows a person.
pub fn set_external_id(tx: &Tx<'_>, by: &Principal, id: &PersonId, external_id: Option<&str>) -> Result<(), Problem> {
    let before = store::get_person(tx, id)?;
    let external_id = external_id.map(str::trim).filter(|e| !e.is_empty());
    if before.external_id.as_deref() == external_id {
        return Ok(());
    }
    if let Some(wanted) = external_id {
        if wanted.chars().count() > 255 {
            return Err(Problem::field("externalId", "expected at most 255 characters"));
        }
        if let Some(other) = store::find_by_external_id(tx, wanted)? {
            return Err(Problem::Conflict(format!("The external id {wanted} is {}'s already.", other.display_name)));
        }
    }
    let after = Person { external_id: external_id.map(str::to_owned), ..before.clone() };
    store::update_person(tx, &after)?;
    record(tx, by, "person.changed", Some(&before), &after)
}

/// Adds a group with its members.
pub fn create_group(tx: &Tx<'_>, by: &Principal, name: &str, members: &[PersonId]) -> Result<(), Problem> {
    if store::has_group(tx, name)? {
        return Err(Problem::Conflict(format!("There is a group {name} already.")));
    }
    let id = format!("grp_{}", crate::base::id::encode(tx.now(), tx.random()));
    store::insert_group(tx, &id, name, members)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "group.created",
            entity: "group",
            entity_id: id,
            reason: None,
            prev: None,
            new: Some(json!({ "name": name, "members": members })),
        },
    )
}

/// Makes somebody a member of a group, or takes them out; false when nothing changed.
pub fn set_member(tx: &Tx<'_>, by: &Principal, group: &str, person: &PersonId, member: bool) -> Result<bool, Problem> {
    let id = store::group_id(tx, group)?.ok_or_else(|| Problem::missing("group", group))?;
    let changed = if member { store::add_member(tx, &id, person)? } else { store::remove_member(tx, &id, person)? };
    if changed {
        let action = if member { "group.member_added" } else { "group.member_removed" };
        let new = Some(json!({ "group": group, "person": person }));
        audit::append(tx, by, Entry { action, entity: "group", entity_id: id, reason: None, prev: None, new })?;
    }
    Ok(changed)
}

fn check_manager(tx: &Tx<'_>, manager: Option<&PersonId>, of: Option<&PersonId>) -> Result<(), Problem> {
    let Some(manager) = manager else { return Ok(()) };
    if Some(manager) == of {
        return Err(Problem::field("managerId", "nobody is their own manager"));
    }
    if store::find_person(tx, manager)?.is_none() {
        return Err(Problem::field("managerId", format!("there is no person {manager}")));
    }
    let Some(of) = of else { return Ok(()) };
    let above = store::line_above(tx, manager)?;
    if !above.iter().any(|p| p.id == *of) {
        return Ok(());
    }
    let way: Vec<&str> = above.iter().take_while(|p| p.id != *of).map(|p| p.display_name.as_str()).collect();
    Err(Problem::field("managerId", format!("they would report to themselves, through {}", way.join(", "))))
}

fn state(person: &Person) -> Value {
    json!({
        "displayName": person.display_name, "email": person.email, "managerId": person.manager_id,
        "active": person.active, "attributes": person.attributes, "externalId": person.external_id,
    })
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, before: Option<&Person>, after: &Person) -> Result<(), Problem> {
    record_because(tx, by, action, None, before, after)
}

/// Writes a change of a person down.
pub(in crate::features::identity) fn record_because(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    reason: Option<String>,
    before: Option<&Person>,
    after: &Person,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry {
            action,
            entity: "person",
            entity_id: after.id.to_string(),
            reason,
            prev: before.map(state),
            new: Some(state(after)),
        },
    )
}
