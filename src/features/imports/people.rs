//! People from a file: finding whom a row means, what it would change, and changing it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{ImportRow, RowChange, RowFault, Verdict};
use crate::base::access::Principal;
use crate::base::id::{ImportId, PersonId};
use crate::base::problem::Problem;
use crate::features::identity::groups;
use crate::features::identity::leavers::{self, Leaving};
use crate::features::identity::people::ops::{self, PersonChange};
use crate::features::identity::people::profile::{self, ProfileSchema};
use crate::features::identity::people::{NewPerson, Person, is_email, store as people};
use crate::platform::store::Tx;

/// The columns that are known, and how else they are called.
const KNOWN: [(&str, &[&str]); 8] = [
    ("externalId", &["id", "employeeid", "personid", "sourceid"]),
    ("email", &["mail", "emailaddress", "e-mail"]),
    ("displayName", &["name", "fullname"]),
    ("givenName", &["firstname", "forename"]),
    ("familyName", &["lastname", "surname"]),
    ("manager", &["managerid", "manageremail", "supervisor"]),
    ("active", &["enabled", "isactive"]),
    ("groups", &["group", "memberof"]),
];

/// What a column of a file means: a known name, or `attributes.NAME`.
pub fn column(name: &str) -> Option<String> {
    let plain: String = name.to_lowercase().chars().filter(|c| !" _".contains(*c)).collect();
    for (known, others) in KNOWN {
        if plain == known.to_lowercase() || others.contains(&plain.as_str()) {
            return Some(known.to_owned());
        }
    }
    let attribute = name.trim().strip_prefix("attributes.").unwrap_or(name.trim());
    let fits = attribute.starts_with(|c: char| c.is_ascii_alphabetic())
        && attribute.len() <= 64
        && attribute.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    fits.then(|| format!("attributes.{attribute}"))
}

/// What the rows of one file have in common.
#[derive(Debug, Clone, Default)]
pub struct Context {
    schema: ProfileSchema,
    emails: BTreeSet<String>,
    external_ids: BTreeSet<String>,
    groups: BTreeMap<String, bool>,
}

impl Context {
    /// What the rows of this file have in common.
    pub fn of(tx: &Tx<'_>, rows: &[ImportRow]) -> Result<Self, Problem> {
        let mut context = Self { schema: profile::ops::schema(tx)?, ..Self::default() };
        for row in rows {
            context.emails.extend(row.cell("email").map(str::to_lowercase));
            context.external_ids.extend(row.cell("externalId").map(str::to_owned));
        }
        Ok(context)
    }

    fn has_group(&mut self, tx: &Tx<'_>, name: &str) -> Result<bool, Problem> {
        if let Some(known) = self.groups.get(name) {
            return Ok(*known);
        }
        let there = people::has_group(tx, name)?;
        self.groups.insert(name.to_owned(), there);
        Ok(there)
    }
}

/// What a row wants of a person.
struct Wanted {
    display_name: Option<String>,
    email: Option<String>,
    external_id: Option<String>,
    attributes: Map<String, Value>,
    active: Option<bool>,
    groups: Vec<String>,
}

fn wanted(row: &ImportRow, schema: &ProfileSchema) -> Wanted {
    let text = |column: &str| row.cell(column).map(str::to_owned);
    let joined = || {
        let parts: Vec<&str> = ["givenName", "familyName"].iter().filter_map(|c| row.cell(c)).collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    let mut attributes = Map::new();
    for column in row.given.keys() {
        let name = match column.strip_prefix("attributes.") {
            Some(name) => name,
            None if matches!(column.as_str(), "givenName" | "familyName") => column,
            None => continue,
        };
        let Some(cell) = row.cell(column) else { continue };
        let known = schema.attributes.iter().find(|a| a.name == name);
        attributes.insert(name.to_owned(), known.map_or_else(|| json!(cell), |a| a.value_of(cell)));
    }
    Wanted {
        display_name: text("displayName").or_else(joined),
        email: text("email"),
        external_id: text("externalId"),
        attributes,
        active: row.cell("active").and_then(flag),
        groups: row.cell("groups").map(|g| g.split(';').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect()).unwrap_or_default(),
    }
}

fn flag(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "1" | "active" | "enabled" => Some(true),
        "false" | "no" | "0" | "inactive" | "disabled" => Some(false),
        _ => None,
    }
}

/// Who was found and by what; nobody; or why it is not clear who is meant.
type Found = Result<Option<(&'static str, Person)>, RowFault>;

/// Whom a row means: found by the id of the source, or else by the address.
fn find(tx: &Tx<'_>, wanted: &Wanted) -> Result<Found, Problem> {
    let by_id = wanted.external_id.as_deref().map(|id| people::find_by_external_id(tx, id)).transpose()?.flatten();
    let by_email = wanted.email.as_deref().map(|email| people::find_by_email(tx, email)).transpose()?.flatten();
    Ok(match (by_id, by_email) {
        (Some(one), Some(other)) if one.id != other.id => Err(RowFault::new(
            "email",
            format!("the external id is {}'s, the address is {}'s", one.display_name, other.display_name),
        )),
        (Some(one), _) => Ok(Some(("externalId", one))),
        (None, Some(other)) => match (&other.external_id, &wanted.external_id) {
            (Some(has), Some(wants)) => Err(RowFault::new(
                "externalId",
                format!("{} has the address and another external id: {has}, not {wants}", other.display_name),
            )),
            _ => Ok(Some(("email", other))),
        },
        (None, None) => Ok(None),
    })
}

/// Judges rows against what is known.
pub fn review(tx: &Tx<'_>, rows: &mut [ImportRow]) -> Result<(), Problem> {
    let mut context = Context::of(tx, rows)?;
    let (mut emails, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        judge(tx, row, &mut context)?;
        for (column, seen) in [("email", &mut emails), ("externalId", &mut ids)] {
            let Some(cell) = row.cell(column).map(str::to_lowercase) else { continue };
            if let Some(line) = seen.insert(cell, row.line) {
                row.faults.push(RowFault::new(column, format!("it stands in line {line} already")));
                row.verdict = Verdict::Fault;
            }
        }
    }
    Ok(())
}

/// Says what a row would do.
fn judge(tx: &Tx<'_>, row: &mut ImportRow, context: &mut Context) -> Result<(), Problem> {
    let wanted = wanted(row, &context.schema);
    let mut faults = Vec::new();
    if wanted.email.is_none() && wanted.external_id.is_none() {
        faults.push(RowFault::new("email", "expected an address or an external id"));
    }
    if wanted.email.as_deref().is_some_and(|e| !is_email(e)) {
        faults.push(RowFault::new("email", "expected an address such as ada@example.org"));
    }
    if row.cell("active").is_some() && wanted.active.is_none() {
        faults.push(RowFault::new("active", "expected true or false"));
    }
    for fault in context.schema.check(&Value::Object(wanted.attributes.clone())) {
        faults.push(RowFault::new(fault.field, fault.message));
    }
    for group in &wanted.groups {
        if !context.has_group(tx, group)? {
            faults.push(RowFault::new("groups", format!("there is no group {group}")));
        }
    }
    if let Some(manager) = row.cell("manager") {
        let in_file = context.emails.contains(&manager.to_lowercase()) || context.external_ids.contains(manager);
        if !in_file && find_manager(tx, manager)?.is_none() {
            faults.push(RowFault::new("manager", format!("there is nobody with the address or the external id {manager}")));
        }
    }
    let found = match find(tx, &wanted)? {
        Ok(found) => found,
        Err(conflict) => {
            row.faults = vec![conflict];
            row.verdict = Verdict::Conflict;
            return Ok(());
        }
    };
    let changes = changes(tx, row, &wanted, found.as_ref().map(|(_, p)| p))?;
    match &found {
        Some((by, person)) => {
            row.matched_by = Some((*by).to_owned());
            row.person_id = Some(person.id.clone());
            row.verdict = if changes.is_empty() { Verdict::Unchanged } else { Verdict::Changed };
        }
        None => {
            if wanted.email.is_none() && wanted.external_id.is_some() {
                faults.push(RowFault::new("email", "expected an address: nobody has this external id yet"));
            }
            let name = wanted.display_name.as_deref().unwrap_or_default();
            if name.is_empty() || name.chars().count() > 200 {
                faults.push(RowFault::new("displayName", "expected a name of 1 to 200 characters"));
            }
            row.verdict = Verdict::New;
        }
    }
    row.changes = changes;
    if !faults.is_empty() {
        row.faults = faults;
        row.verdict = Verdict::Fault;
    }
    Ok(())
}

fn changes(tx: &Tx<'_>, row: &ImportRow, wanted: &Wanted, person: Option<&Person>) -> Result<Vec<RowChange>, Problem> {
    let mut changes = Vec::new();
    let mut field = |name: &str, before: Value, after: Option<Value>| {
        if let Some(after) = after.filter(|a| *a != before) {
            changes.push(RowChange { field: name.to_owned(), before, after });
        }
    };
    let of = |value: fn(&Person) -> Value| person.map_or(Value::Null, value);
    field("displayName", of(|p| json!(p.display_name)), wanted.display_name.as_ref().map(|n| json!(n)));
    let same_address = person.is_some_and(|p| wanted.email.as_deref().is_some_and(|e| e.eq_ignore_ascii_case(&p.email)));
    if !same_address {
        field("email", of(|p| json!(p.email)), wanted.email.as_ref().map(|e| json!(e)));
    }
    field("externalId", of(|p| json!(p.external_id)), wanted.external_id.as_ref().map(|e| json!(e)));
    for (name, value) in &wanted.attributes {
        let before = person.map_or(Value::Null, |p| p.attributes.get(name).cloned().unwrap_or(Value::Null));
        field(&format!("attributes.{name}"), before, Some(value.clone()));
    }
    field("active", person.map_or(Value::Bool(true), |p| json!(p.active)), wanted.active.map(Value::Bool));
    if let Some(manager) = row.cell("manager") {
        let before = person.and_then(|p| p.manager_id.clone());
        let after = find_manager(tx, manager)?.map(|p| p.id);
        if after.is_none() || before != after {
            let before = before.map(|id| people::find_person(tx, &id)).transpose()?.flatten().map(|p| p.email);
            field("manager", json!(before), Some(json!(manager)));
        }
    }
    if !wanted.groups.is_empty() {
        let known: Vec<String> = match person {
            Some(person) => groups::store::groups_of(tx, &person.id)?.into_iter().map(|g| g.name).collect(),
            None => Vec::new(),
        };
        let more: Vec<&String> = wanted.groups.iter().filter(|g| !known.contains(g)).collect();
        if !more.is_empty() {
            let all: Vec<&String> = known.iter().chain(more).collect();
            field("groups", json!(known), Some(json!(all)));
        }
    }
    Ok(changes)
}

/// A person by address or external id.
pub fn find_manager(tx: &Tx<'_>, text: &str) -> Result<Option<Person>, Problem> {
    match people::find_by_email(tx, text)? {
        Some(person) => Ok(Some(person)),
        None => people::find_by_external_id(tx, text),
    }
}

/// How an import says that somebody leaves.
#[derive(Debug, Clone)]
pub struct Leavers {
    /// The import.
    pub import: ImportId,
    /// The name of its file.
    pub name: String,
    /// How many leave by it.
    pub together: u32,
}

/// Does what a row wants, but for the manager, who may come later in the file; who it is.
pub fn apply(tx: &Tx<'_>, by: &Principal, row: &ImportRow, leavers: &Leavers) -> Result<PersonId, Problem> {
    let wanted = wanted(row, &profile::ops::schema(tx)?);
    let found = find(tx, &wanted)?.map_err(|fault| Problem::Conflict(format!("{}: {}", fault.column, fault.message)))?;
    let expected = row.person_id.as_ref();
    let id = match found {
        Some((_, person)) if expected.is_some_and(|e| *e != person.id) => {
            return Err(Problem::Conflict("Somebody else is found now than at the review. Import the file again.".to_owned()));
        }
        Some((_, person)) => {
            let mut attributes = person.attributes.clone();
            if let Some(all) = attributes.as_object_mut() {
                all.extend(wanted.attributes);
            }
            // Another way to write the same address is no other address.
            let email = wanted.email.filter(|e| !e.eq_ignore_ascii_case(&person.email));
            let change = PersonChange {
                display_name: wanted.display_name,
                email,
                attributes: Some(attributes),
                ..PersonChange::default()
            };
            ops::change_person(tx, by, &person.id, change)?;
            person.id
        }
        None if expected.is_some() => {
            return Err(Problem::Conflict("Nobody is found any more. Import the file again.".to_owned()));
        }
        None => {
            let new = NewPerson {
                display_name: wanted.display_name.unwrap_or_default(),
                email: wanted.email.unwrap_or_default(),
                manager_id: None,
                attributes: Value::Object(wanted.attributes),
            };
            let person = ops::create_person(tx, by, new)?;
            if wanted.active == Some(false) {
                leavers::ops::begin_inactive(tx, by, &person.id)?;
            }
            person.id
        }
    };
    if wanted.external_id.is_some() {
        ops::set_external_id(tx, by, &id, wanted.external_id.as_deref())?;
    }
    for group in &wanted.groups {
        ops::set_member(tx, by, group, &id, true)?;
    }
    match wanted.active {
        Some(false) => {
            let mut leaving = Leaving::because(format!("the import {} says that they left", leavers.name));
            leaving.source = Some((format!("import:{}", leavers.import), format!("Import {}", leavers.name)));
            leaving.together = leavers.together;
            leavers::ops::leave(tx, by, &id, leaving)?;
        }
        Some(true) => leavers::ops::rejoin(tx, by, &id, Some("an import says that they are there"))?,
        None => {}
    }
    Ok(id)
}

/// Sets the manager that a row names.
pub fn set_manager(tx: &Tx<'_>, by: &Principal, row: &ImportRow) -> Result<(), Problem> {
    let (Some(id), Some(text)) = (&row.person_id, row.cell("manager")) else { return Ok(()) };
    let manager = find_manager(tx, text)?
        .ok_or_else(|| Problem::field("manager", format!("there is nobody with the address or the external id {text}")))?;
    ops::change_person(tx, by, id, PersonChange { manager_id: Some(Some(manager.id)), ..PersonChange::default() }).map(drop)
}
