//! What connected systems call the people whom Tenure knows.

use serde_json::{Map, Value, json};

use super::store;
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, PersonId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::platform::store::Tx;

/// Ties a person to their account in a connected system; false when they were tied to it already.
///
/// # Errors
/// A conflict when the account is somebody else's.
pub fn link(
    tx: &Tx<'_>,
    by: &Principal,
    person: &PersonId,
    connector: &ConnectorId,
    external_id: &str,
) -> Result<bool, Problem> {
    let owner = store::find_link_owner(tx, connector, external_id)?;
    match owner {
        Some(owner) if owner == *person => return Ok(false),
        Some(_) => return Err(Problem::Conflict(format!("The account {external_id} is tied to somebody else."))),
        None => {}
    }
    let before = store::find_link(tx, person, connector)?;
    store::set_link(tx, person, connector, external_id)?;
    let entry = Entry {
        action: "person.linked",
        entity: "person",
        entity_id: person.to_string(),
        reason: None,
        prev: before.map(|id| json!({ "connector": connector, "externalId": id })),
        new: Some(json!({ "connector": connector, "externalId": external_id })),
    };
    audit::append(tx, by, entry)?;
    Ok(true)
}

/// The accounts of a person by the names of the connectors.
pub fn links_of(tx: &Tx<'_>, person: &PersonId) -> Result<Map<String, Value>, Problem> {
    let found = store::list_links(tx, person)?;
    Ok(found.into_iter().map(|(name, id)| (name, Value::String(id))).collect())
}
