//! Use cases around entitlements.

use serde_json::{Value, json};

use super::{Call, Entitlement, RenderedCalls, store};
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, TypedId};
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
    let entitlement = Entitlement {
        id: tx.new_id(),
        name,
        connector_name: connector.map(|c| c.name).unwrap_or_default(),
        connector_id: new.connector_id,
        provision: new.provision,
        deprovision: new.deprovision,
        check: new.check,
    };
    store::insert_entitlement(tx, &entitlement).map_err(|p| {
        if is_unique_violation(&p) {
            return Problem::Conflict(format!("There is an entitlement {} already.", entitlement.name));
        }
        p
    })?;
    audit::append(
        tx,
        by,
        Entry {
            action: "entitlement.created",
            entity: "entitlement",
            entity_id: entitlement.id.as_str().to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({
                "name": entitlement.name, "connectorId": entitlement.connector_id, "provision": entitlement.provision,
                "deprovision": entitlement.deprovision, "check": entitlement.check,
            })),
        },
    )?;
    Ok(entitlement)
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
