//! Use cases around business roles.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Role, RoleStatus, store};
use crate::base::access::Principal;
use crate::base::id::{EntitlementId, PersonId};
use crate::base::problem::{FieldError, Problem};
use crate::features::access::documents::is_type;
use crate::features::access::entitlements::{EntitlementRef, store::find_entitlement};
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
            Some(e) => entitlements.push(EntitlementRef { id: e.id, name: e.name, connector_name: e.connector_name }),
            None => fault("entitlementIds".into(), format!("there is no entitlement {id}")),
        }
    }
    Problem::from_fields(faults)?;
    if store::find_by_name(tx, &name)?.is_some() {
        return Err(Problem::Conflict(format!("There is a role {name} already.")));
    }
    let types: BTreeSet<_> = new.required_document_types.into_iter().collect();
    let role = Role {
        id: tx.new_id(),
        name,
        description: new.description.trim().to_owned(),
        owner_id: new.owner_id,
        status: RoleStatus::Active,
        default_duration_days: new.default_duration_days,
        required_document_types: types.into_iter().collect(),
        entitlements,
    };
    store::insert_role(tx, &role)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "role.created",
            entity: "role",
            entity_id: role.id.to_string(),
            reason: None,
            prev: None,
            new: Some(json!(role)),
        },
    )?;
    Ok(role)
}
