//! Roles that people hold already, from a file.

use serde_json::{Value, json};

use super::{ImportRow, RowChange, RowFault, Verdict};
use crate::base::access::Principal;
use crate::base::id::{PersonId, RoleId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::store::AssignmentFilter;
use crate::features::access::assignments::{self, ops::NewAssignment};
use crate::features::access::documents::store::find_live_document;
use crate::features::access::roles::{Role, RoleStatus, store as roles};
use crate::features::identity::people::Person;
use crate::platform::store::Tx;

/// What a column of a file means.
pub fn column(name: &str) -> Option<String> {
    let plain: String = name.to_lowercase().chars().filter(|c| !" _-".contains(*c)).collect();
    let known = match plain.as_str() {
        "person" | "email" | "mail" | "externalid" | "user" => "person",
        "role" | "roleid" | "rolename" => "role",
        "expiresat" | "expires" | "end" | "until" | "expireson" => "expiresAt",
        "reason" | "why" => "reason",
        _ => return None,
    };
    Some(known.to_owned())
}

/// Judges rows against what is known. `end_of_day` says when a day ends for the organisation.
pub fn review(
    tx: &Tx<'_>,
    rows: &mut [ImportRow],
    end_of_day: &dyn Fn(&str) -> Option<Timestamp>,
) -> Result<(), Problem> {
    let mut seen = std::collections::BTreeMap::new();
    for row in rows {
        let mut faults = Vec::new();
        let person = found_person(tx, row, &mut faults)?;
        let role = found_role(tx, row, &mut faults)?;
        let end = found_end(tx, row, role.as_ref(), end_of_day, &mut faults);
        if row.cell("reason").is_none_or(|r| r.chars().count() > 1000) {
            faults.push(RowFault::new("reason", "expected why they hold it, in 1 to 1000 characters"));
        }
        let (Some(person), Some(role)) = (person, role) else {
            row.faults = faults;
            row.verdict = Verdict::Fault;
            continue;
        };
        row.person_id = Some(person.id.clone());
        if let Some(line) = seen.insert((person.id.clone(), role.id.clone()), row.line) {
            faults.push(RowFault::new("role", format!("the same person and role stand in line {line} already")));
        }
        for kind in &role.required_document_types {
            if find_live_document(tx, &person.id, kind, tx.now())?.is_none() {
                faults.push(RowFault::new("role", format!("it needs an approved document of type {kind}; there is none")));
            }
        }
        row.verdict = Verdict::New;
        row.changes = vec![
            change("person", &json!(person.id)),
            change("role", &json!(role.id)),
            change("expiresAt", &json!(end)),
        ];
        if let Some(held) = held(tx, &person.id, &role.id)? {
            if held == end || row.cell("expiresAt").is_none() {
                row.verdict = Verdict::Unchanged;
            } else {
                let until = held.map_or_else(|| "without an end".to_owned(), |t| format!("until {t}"));
                faults.push(RowFault::new("expiresAt", format!("they hold it {until} already; extend or revoke it there")));
                row.verdict = Verdict::Conflict;
            }
        }
        if !faults.is_empty() && row.verdict != Verdict::Conflict {
            row.verdict = Verdict::Fault;
        }
        row.faults = faults;
    }
    Ok(())
}

fn change(field: &str, after: &Value) -> RowChange {
    RowChange { field: field.to_owned(), before: Value::Null, after: after.clone() }
}

fn found_person(tx: &Tx<'_>, row: &ImportRow, faults: &mut Vec<RowFault>) -> Result<Option<Person>, Problem> {
    let Some(text) = row.cell("person") else {
        faults.push(RowFault::new("person", "expected an address or an external id"));
        return Ok(None);
    };
    match super::people::find_manager(tx, text)? {
        Some(person) if person.active => Ok(Some(person)),
        Some(person) => {
            faults.push(RowFault::new("person", format!("{} is not active", person.display_name)));
            Ok(None)
        }
        None => {
            faults.push(RowFault::new("person", format!("there is nobody with the address or the external id {text}")));
            Ok(None)
        }
    }
}

fn found_role(tx: &Tx<'_>, row: &ImportRow, faults: &mut Vec<RowFault>) -> Result<Option<Role>, Problem> {
    let Some(text) = row.cell("role") else {
        faults.push(RowFault::new("role", "expected the name or the id of a role"));
        return Ok(None);
    };
    let found = match text.parse::<RoleId>() {
        Ok(id) => roles::find_role(tx, &id)?,
        Err(_) => roles::find_by_name(tx, text)?,
    };
    match found {
        Some(role) if role.status == RoleStatus::Active => Ok(Some(role)),
        Some(role) => {
            faults.push(RowFault::new("role", format!("{} is retired", role.name)));
            Ok(None)
        }
        None => {
            faults.push(RowFault::new("role", format!("there is no role {text}")));
            Ok(None)
        }
    }
}

fn found_end(
    tx: &Tx<'_>,
    row: &ImportRow,
    role: Option<&Role>,
    end_of_day: &dyn Fn(&str) -> Option<Timestamp>,
    faults: &mut Vec<RowFault>,
) -> Option<Timestamp> {
    let Some(text) = row.cell("expiresAt") else {
        if role.is_some_and(|r| r.default_duration_days.is_none()) {
            faults.push(RowFault::new("expiresAt", "expected an end: the role has no duration of its own"));
        }
        return None;
    };
    match text.parse::<Timestamp>().ok().or_else(|| end_of_day(text)) {
        Some(end) if end > tx.now() => Some(end),
        Some(_) => {
            faults.push(RowFault::new("expiresAt", "expected an end to come"));
            None
        }
        None => {
            faults.push(RowFault::new("expiresAt", "expected a day such as 2031-03-01, or an instant with its zone"));
            None
        }
    }
}

/// Until when somebody holds a role now, if they do.
fn held(tx: &Tx<'_>, person: &PersonId, role: &RoleId) -> Result<Option<Option<Timestamp>>, Problem> {
    let filter = AssignmentFilter { person: Some(person.clone()), role: Some(role.clone()), ..Default::default() };
    let all = assignments::store::list_assignments(tx, &filter, None, 200)?;
    Ok(all.into_iter().find(|a| a.state.is_live()).map(|a| a.expires_at))
}

/// Grants what a row says.
pub fn apply(tx: &Tx<'_>, by: &Principal, row: &ImportRow) -> Result<PersonId, Problem> {
    let text = |field: &str| row.changes.iter().find(|c| c.field == field).and_then(|c| c.after.as_str());
    let (Some(person), Some(role)) = (text("person"), text("role")) else {
        return Err(Problem::internal("a row without person and role"));
    };
    let (person, role) = (PersonId::from_stored(person.to_owned()), RoleId::from_stored(role.to_owned()));
    if held(tx, &person, &role)?.is_some() {
        return Err(Problem::Conflict("They hold the role by now.".to_owned()));
    }
    let new = NewAssignment {
        person: person.clone(),
        role,
        reason: row.cell("reason").unwrap_or_default().to_owned(),
        run: None,
        starts_at: tx.now(),
        expires_at: text("expiresAt").and_then(|t| t.parse().ok()),
        documents: Vec::new(),
    };
    assignments::ops::grant(tx, by, new)?;
    Ok(person)
}
