//! Use cases around entitlements.

use serde_json::{Value, json};

use super::{Call, Entitlement, EntitlementStatus, ListCall, Policy, Reconcile, RenderedCalls, store};
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
    /// Asks who has it there.
    pub list: Option<ListCall>,
    /// What is done when the list differs from what should be there.
    pub reconcile: Reconcile,
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
            let often = if held == 1 { "once".to_owned() } else { format!("{held} times") };
            return Err(Problem::Conflict(format!(
                "The entitlement {} is held {often}, so its connector and commands stay as they are. \
                 Add a new entitlement, put it into the roles in place of this one, and retire this one.",
                before.name
            )));
        }
    }
    store::update_entitlement(tx, &after).map_err(|p| taken(p, &after.name))?;
    if after.connector_id != before.connector_id {
        // What was given and taken in another system says nothing about this one.
        store::set_accounts(tx, id, Some(""))?;
    } else if key_of(&after) != key_of(&before) {
        store::set_accounts(tx, id, None)?;
    }
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

/// How accounts are recognised.
fn key_of(e: &Entitlement) -> Option<(&str, bool)> {
    e.list.as_ref().map(|list| (list.key.as_str(), list.ignore_case))
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
    if let Some(list) = &new.list {
        faults.extend(list_faults(list));
    }
    if let Some(remove) = &new.reconcile.remove {
        faults.extend(call_faults("reconcile.remove", remove));
    }
    if new.list.is_none() && new.reconcile.policy != Policy::Report {
        faults.push(fault("reconcile.policy", "expected report: without a list nothing can be compared"));
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
        list: new.list,
        reconcile: new.reconcile,
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
        "check": e.check, "list": e.list, "reconcile": e.reconcile, "status": e.status,
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
    let provision = one("provision", &entitlement.provision)?;
    // A key may be taken from the call itself, so that what is looked for is what was given.
    let mut with_call = context.clone();
    with_call["provision"] = json!(provision);
    Ok(RenderedCalls {
        connector_id: entitlement.connector_id.clone(),
        provision,
        deprovision: one("deprovision", &entitlement.deprovision)?,
        check: entitlement.check.as_ref().map(|c| one("check", c)).transpose()?,
        list_key: entitlement.list.as_ref().map(|list| render_key(&entitlement.name, list, &with_call)).transpose()?,
        carried: None,
        gives_again: false,
    })
}

/// `made` with `after` in every place where that differs from `before`, and nothing else changed; nothing when
/// such a place has neither of the two.
pub fn put_in(made: &Value, before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return Some(made.clone());
    }
    match (made, before, after) {
        (Value::Object(m), Value::Object(b), Value::Object(a)) if m.len() == b.len() && b.len() == a.len() => {
            m.iter().map(|(name, made)| Some((name.clone(), put_in(made, b.get(name)?, a.get(name)?)?))).collect()
        }
        (Value::Array(m), Value::Array(b), Value::Array(a)) if m.len() == b.len() && b.len() == a.len() => {
            m.iter().zip(b).zip(a).map(|((made, before), after)| put_in(made, before, after)).collect()
        }
        _ => (made == before).then(|| after.clone()),
    }
}

/// What the person of `context` is called in the list of those who have an entitlement.
pub fn render_key(entitlement: &str, list: &ListCall, context: &Value) -> Result<String, Problem> {
    let refused = |why: &str| Problem::refused(format!("Entitlement {entitlement}: list.key: {why}."));
    let rendered = template::render_value(&json!(list.key), context).map_err(|e| refused(&e.message))?;
    match rendered {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(refused("expected it to give a text that is not empty")),
    }
}

/// The call that removes an account which no assignment stands behind.
pub fn render_removal(entitlement: &Entitlement, key: &str, attributes: &Value) -> Result<Option<Call>, Problem> {
    let Some(call) = &entitlement.reconcile.remove else { return Ok(None) };
    let context = json!({
        "account": { "key": key, "attributes": attributes },
        "entitlement": { "id": entitlement.id, "name": entitlement.name },
    });
    let params = template::render_value(&call.params, &context).map_err(|e| {
        Problem::refused(format!("Entitlement {}: reconcile.remove.params.{}: {}.", entitlement.name, e.path, e.message))
    })?;
    Ok(Some(Call { command: call.command.clone(), params }))
}

fn list_faults(list: &ListCall) -> Vec<FieldError> {
    let mut faults = Vec::new();
    if list.command.trim().is_empty() {
        faults.push(fault("list.command", "expected the name of a command of the connector that lists"));
    }
    if !list.params.is_object() {
        faults.push(fault("list.params", "expected an object"));
    } else if list.params.to_string().contains("{{") {
        faults.push(fault("list.params", "expected no templates: one list is asked for everybody"));
    }
    if list.key.trim().is_empty() {
        faults.push(fault("list.key", "expected what a person is called in the list, such as {{ person.attributes.uid }}"));
    } else if let Err(e) = template::check_value(&json!(list.key)) {
        faults.push(fault("list.key", e.message));
    }
    faults
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_put_in_and_what_is_neither_is_told() {
        let before = json!({ "account": "grace", "until": "june", "all": [1, "until june"] });
        let after = json!({ "account": "grace", "until": "july", "all": [1, "until july"] });
        let made = json!({ "account": "ada", "until": "june", "all": [2, "until june"] });
        assert_eq!(put_in(&made, &before, &after), Some(json!({ "account": "ada", "until": "july", "all": [2, "until july"] })));
        assert_eq!(put_in(&made, &before, &before), Some(made.clone()));
        for neither in [json!({ "account": "ada", "until": "may", "all": [1, "until june"] }), json!({ "account": "ada" }), json!("june")] {
            assert_eq!(put_in(&neither, &before, &after), None, "{neither}");
        }
        // A whole object stands where a text stood.
        assert_eq!(put_in(&json!(null), &json!(null), &json!({ "end": 1 })), Some(json!({ "end": 1 })));
    }
}
