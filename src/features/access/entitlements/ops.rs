//! Use cases around entitlements.

use serde_json::{Value, json};

use super::{Call, Entitlement, EntitlementStatus, RenderedCalls, store};
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, EntitlementId, TypedId};
use crate::base::problem::{FieldError, Problem};
use crate::base::template;
use crate::features::audit::{self, Entry};
use crate::features::connectors::store::find_connector;
use crate::platform::store::{Tx, is_unique_violation};

/// An entitlement that is not stored yet.
#[derive(Debug, Clone)]
pub struct NewEntitlement {
    /// How it is called; unique.
    pub name: String,
    /// Where it is given.
    pub connector_id: ConnectorId,
    /// Gives it.
    pub provision: Call,
    /// Takes it away.
    pub deprovision: Call,
    /// Answers whether it is there.
    pub check: Option<Call>,
}

/// Adds an entitlement.
pub fn create_entitlement(tx: &Tx<'_>, by: &Principal, new: NewEntitlement) -> Result<Entitlement, Problem> {
    let entitlement = checked(tx, tx.new_id(), new)?;
    store::insert_entitlement(tx, &entitlement).map_err(|p| taken(p, &entitlement.name))?;
    record(tx, by, "entitlement.created", None, &entitlement)?;
    Ok(entitlement)
}

/// Changes an entitlement. Its commands and its connector stay as long as somebody holds it.
pub fn update_entitlement(
    tx: &Tx<'_>,
    by: &Principal,
    id: &EntitlementId,
    new: NewEntitlement,
) -> Result<Entitlement, Problem> {
    let before = store::get_entitlement(tx, id)?;
    refuse_retired(&before)?;
    let after = checked(tx, id.clone(), new)?;
    let same_calls = after.connector_id == before.connector_id
        && after.provision == before.provision
        && after.deprovision == before.deprovision
        && after.check == before.check;
    if !same_calls {
        let held = store::count_held(tx, id)?;
        if held > 0 {
            return Err(Problem::Conflict(format!(
                "The entitlement {} is held {held} times, so its connector and commands stay as they are. \
                 Add a new entitlement, put it into the roles in place of this one, and retire this one.",
                before.name
            )));
        }
    }
    store::update_entitlement(tx, &after).map_err(|p| taken(p, &after.name))?;
    record(tx, by, "entitlement.updated", Some(&before), &after)?;
    Ok(after)
}

/// Retires an entitlement: roles do not give it any more; what was given stays until its end.
pub fn retire_entitlement(tx: &Tx<'_>, by: &Principal, id: &EntitlementId) -> Result<Entitlement, Problem> {
    let before = store::get_entitlement(tx, id)?;
    refuse_retired(&before)?;
    let after = Entitlement { status: EntitlementStatus::Retired, ..before.clone() };
    store::update_entitlement(tx, &after)?;
    record(tx, by, "entitlement.retired", Some(&before), &after)?;
    Ok(after)
}

fn refuse_retired(e: &Entitlement) -> Result<(), Problem> {
    if e.status == EntitlementStatus::Retired {
        return Err(Problem::Conflict(format!("The entitlement {} is retired and does not change any more.", e.name)));
    }
    Ok(())
}

fn taken(problem: Problem, name: &str) -> Problem {
    if is_unique_violation(&problem) {
        return Problem::Conflict(format!("There is an entitlement {name} already."));
    }
    problem
}

fn checked(tx: &Tx<'_>, id: EntitlementId, new: NewEntitlement) -> Result<Entitlement, Problem> {
    let connector = find_connector(tx, &new.connector_id)?;
    let mut faults = Vec::new();
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        faults.push(fault("name", "expected 1 to 200 characters"));
    }
    if connector.is_none() {
        faults.push(fault("connectorId", format!("there is no connector {}", new.connector_id)));
    }
    let calls = [("provision", Some(&new.provision)), ("deprovision", Some(&new.deprovision)), ("check", new.check.as_ref())];
    for (field, call) in calls {
        if let Some(call) = call {
            faults.extend(call_faults(field, call));
        }
    }
    Problem::from_fields(faults)?;
    Ok(Entitlement {
        id,
        name,
        connector_name: connector.map(|c| c.name).unwrap_or_default(),
        connector_id: new.connector_id,
        provision: new.provision,
        deprovision: new.deprovision,
        check: new.check,
        status: EntitlementStatus::Active,
    })
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    before: Option<&Entitlement>,
    after: &Entitlement,
) -> Result<(), Problem> {
    let entry = Entry {
        action,
        entity: "entitlement",
        entity_id: after.id.as_str().to_owned(),
        reason: None,
        prev: before.map(state_of),
        new: Some(state_of(after)),
    };
    audit::append(tx, by, entry)
}

fn state_of(e: &Entitlement) -> Value {
    json!({
        "name": e.name, "connectorId": e.connector_id, "provision": e.provision, "deprovision": e.deprovision,
        "check": e.check, "status": e.status,
    })
}

/// The calls of an entitlement with every template filled from `context`.
pub fn render(entitlement: &Entitlement, context: &Value) -> Result<RenderedCalls, Problem> {
    let one = |field: &str, call: &Call| -> Result<Call, Problem> {
        let params = template::render_value(&call.params, context).map_err(|e| {
            Problem::refused(format!(
                "Entitlement {}: {field}.params.{}: {}. Complete the person's attributes or correct the template.",
                entitlement.name, e.path, e.message
            ))
        })?;
        Ok(Call { command: call.command.clone(), params })
    };
    Ok(RenderedCalls {
        connector_id: entitlement.connector_id.clone(),
        provision: one("provision", &entitlement.provision)?,
        deprovision: one("deprovision", &entitlement.deprovision)?,
        check: entitlement.check.as_ref().map(|c| one("check", c)).transpose()?,
    })
}

fn call_faults(field: &str, call: &Call) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if call.command.trim().is_empty() {
        faults.push(fault(&format!("{field}.command"), "expected the name of a command of the connector"));
    }
    if !call.params.is_object() {
        faults.push(fault(&format!("{field}.params"), "expected an object"));
    } else if let Err(e) = template::check_value(&call.params) {
        faults.push(fault(&format!("{field}.params.{}", e.path), e.message));
    }
    faults
}

fn fault(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), message: message.into() }
}
