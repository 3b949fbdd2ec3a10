//! Use cases around business roles.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Role, RoleStatus, store};
use crate::base::access::Principal;
use crate::base::id::{EntitlementId, PersonId, RoleId};
use crate::base::problem::{FieldError, Problem};
use crate::features::access::documents::is_type;
use crate::features::access::entitlements::{EntitlementRef, EntitlementStatus, store::find_entitlement};
use crate::features::audit::{self, Entry};
use crate::features::identity::people::store::find_person;
use crate::platform::store::Tx;

/// A hundred years: longer is no limit that anybody means.
const LONGEST_DAYS: u32 = 36_500;

/// A role that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewRole {
    /// How it is called; unique.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Who answers for it.
    pub owner_id: Option<PersonId>,
    /// How long it lasts unless somebody says otherwise.
    pub default_duration_days: Option<u32>,
    /// Types of documents that whoever holds it must have.
    pub required_document_types: Vec<String>,
    /// What it gives.
    pub entitlement_ids: Vec<EntitlementId>,
}

/// Adds a role.
pub fn create_role(tx: &Tx<'_>, by: &Principal, new: NewRole) -> Result<Role, Problem> {
    let role = checked(tx, tx.new_id(), new, &[])?;
    store::insert_role(tx, &role)?;
    record(tx, by, "role.created", None, &role)?;
    Ok(role)
}

/// Changes a role for whom it is granted to from now on; who holds it keeps what they have.
pub fn update_role(tx: &Tx<'_>, by: &Principal, id: &RoleId, new: NewRole) -> Result<Role, Problem> {
    let before = store::get_role(tx, id)?;
    refuse_retired(&before)?;
    let after = checked(tx, id.clone(), new, &before.entitlements)?;
    store::update_role(tx, &after)?;
    record(tx, by, "role.updated", Some(&before), &after)?;
    Ok(after)
}

/// Retires a role: it is not granted any more; who holds it keeps it until its end.
pub fn retire_role(tx: &Tx<'_>, by: &Principal, id: &RoleId) -> Result<Role, Problem> {
    let before = store::get_role(tx, id)?;
    refuse_retired(&before)?;
    let after = Role { status: RoleStatus::Retired, ..before.clone() };
    store::update_role(tx, &after)?;
    record(tx, by, "role.retired", Some(&before), &after)?;
    Ok(after)
}

fn refuse_retired(role: &Role) -> Result<(), Problem> {
    if role.status == RoleStatus::Retired {
        return Err(Problem::Conflict(format!("The role {} is retired and does not change any more.", role.name)));
    }
    Ok(())
}

/// The role as it is to be stored. What it gave before may stay, retired or not.
fn checked(tx: &Tx<'_>, id: RoleId, new: NewRole, given: &[EntitlementRef]) -> Result<Role, Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: String, message: String| faults.push(FieldError { field, message });
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        fault("name".into(), "expected 1 to 200 characters".into());
    }
    if new.default_duration_days.is_some_and(|d| d == 0 || d > LONGEST_DAYS) {
        fault("defaultDurationDays".into(), format!("expected 1 to {LONGEST_DAYS}"));
    }
    if let Some(owner) = &new.owner_id
        && find_person(tx, owner)?.is_none()
    {
        fault("ownerId".into(), format!("there is no person {owner}"));
    }
    for (i, kind) in new.required_document_types.iter().enumerate() {
        if !is_type(kind) {
            fault(format!("requiredDocumentTypes[{i}]"), "expected lower-case words such as training-certificate".into());
        }
    }
    let mut entitlements = Vec::new();
    let wanted: BTreeSet<_> = new.entitlement_ids.iter().collect();
    for id in wanted {
        match find_entitlement(tx, id)? {
            Some(e) if e.status == EntitlementStatus::Retired && given.iter().all(|g| g.id != e.id) => {
                fault("entitlementIds".into(), format!("the entitlement {} is retired", e.name));
            }
            Some(e) => entitlements.push(EntitlementRef {
                id: e.id,
                name: e.name,
                connector_name: e.connector_name,
                status: e.status,
            }),
            None => fault("entitlementIds".into(), format!("there is no entitlement {id}")),
        }
    }
    Problem::from_fields(faults)?;
    if store::find_by_name(tx, &name)?.is_some_and(|other| other.id != id) {
        return Err(Problem::Conflict(format!("There is a role {name} already.")));
    }
    let types: BTreeSet<_> = new.required_document_types.into_iter().collect();
    Ok(Role {
        id,
        name,
        description: new.description.trim().to_owned(),
        owner_id: new.owner_id,
        status: RoleStatus::Active,
        default_duration_days: new.default_duration_days,
        required_document_types: types.into_iter().collect(),
        entitlements,
    })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: Option<&Role>,
    after: &Role,
) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "role",
        entity_id: after.id.to_string(),
        reason: None,
        prev: before.map(|r| json!(r)),
        new: Some(json!(after)),
    };
    audit::append(tx, by, entry)
}
