//! Users: what a source says of people, and what Tenure takes from it.

use serde_json::{Map, Value, json};

use super::document::{self, Document, Selection};
use super::schema::{ENTERPRISE, USER, USERS};
use super::store::{self, Known};
use super::{Fault, ScimType, patch};
use crate::base::access::Principal;
use crate::base::id::{PersonId, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::leavers::{self, Leaving};
use crate::features::identity::people::ops::{self as people, PersonChange};
use crate::features::identity::people::{NewPerson, is_email, store as person_store};
use crate::features::identity::groups;
use crate::platform::store::Tx;

/// The attributes of users that become attributes of the person: where they are, how they are called.
const TAKEN: [(Option<&str>, &str, &str); 12] = [
    (None, "title", "title"),
    (None, "userType", "userType"),
    (None, "locale", "locale"),
    (None, "timezone", "timezone"),
    (None, "preferredLanguage", "preferredLanguage"),
    (Some("name"), "givenName", "givenName"),
    (Some("name"), "familyName", "familyName"),
    (Some(ENTERPRISE), "employeeNumber", "employeeNumber"),
    (Some(ENTERPRISE), "costCenter", "costCenter"),
    (Some(ENTERPRISE), "organization", "organization"),
    (Some(ENTERPRISE), "division", "division"),
    (Some(ENTERPRISE), "department", "department"),
];

/// What Tenure takes from a document.
#[derive(Debug, Clone, PartialEq)]
struct Taken {
    display_name: String,
    email: String,
    manager: Option<String>,
    attributes: Map<String, Value>,
}

fn text<'d>(document: &'d Document, place: Option<&str>, name: &str) -> Option<&'d str> {
    match place {
        Some(place) => document.get(place)?.get(name)?.as_str(),
        None => document.get(name)?.as_str(),
    }
}

fn taken(document: &Document) -> Result<Taken, Fault> {
    let user_name = user_name(document)?;
    let formatted = text(document, Some("name"), "formatted").map(str::to_owned);
    let parts: Vec<&str> =
        ["givenName", "familyName"].iter().filter_map(|n| text(document, Some("name"), n)).collect();
    let joined = (!parts.is_empty()).then(|| parts.join(" "));
    let display_name = text(document, None, "displayName").map(str::to_owned).or(formatted).or(joined);
    let mut attributes = Map::new();
    for (place, name, attribute) in TAKEN {
        if let Some(value) = text(document, place, name) {
            attributes.insert(attribute.to_owned(), json!(value));
        }
    }
    Ok(Taken {
        display_name: display_name.unwrap_or_else(|| user_name.to_owned()),
        email: email(document, user_name)?,
        manager: document.get(ENTERPRISE).and_then(|e| e["manager"]["value"].as_str()).map(str::to_owned),
        attributes,
    })
}

fn user_name(document: &Document) -> Result<&str, Fault> {
    text(document, None, "userName")
        .filter(|n| !n.trim().is_empty())
        .ok_or_else(|| Fault::new(ScimType::InvalidValue, "userName: expected a name"))
}

/// The primary address, the one for work, the first one, or the user name when it is an address.
fn email(document: &Document, user_name: &str) -> Result<String, Fault> {
    let all: Vec<&Value> = document.get("emails").and_then(Value::as_array).into_iter().flatten().collect();
    let found = all
        .iter()
        .find(|e| e["primary"] == true)
        .or_else(|| all.iter().find(|e| e["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("work"))))
        .or_else(|| all.first())
        .and_then(|e| e["value"].as_str())
        .or(is_email(user_name).then_some(user_name));
    found.map(str::to_owned).ok_or_else(|| {
        Fault::new(ScimType::InvalidValue, "emails: expected an address with a value, for userName is none itself")
    })
}

/// What a source is shown of somebody of whom none said anything.
fn made_up(known: &Known) -> Document {
    let person = &known.person;
    let mut document = Document::new();
    document.insert("userName".to_owned(), json!(person.email));
    document.insert("displayName".to_owned(), json!(person.display_name));
    document.insert("emails".to_owned(), json!([{ "value": person.email, "type": "work", "primary": true }]));
    document.insert("active".to_owned(), json!(true));
    for (place, name, attribute) in TAKEN {
        let Some(value) = person.attributes.get(attribute).and_then(Value::as_str).filter(|v| !v.is_empty()) else { continue };
        let holder = match place {
            None => &mut document,
            Some(place) => match document.entry(place).or_insert_with(|| json!({})).as_object_mut() {
                Some(holder) => holder,
                None => continue,
            },
        };
        holder.insert(name.to_owned(), json!(value));
    }
    if let Some(manager) = &person.manager_id
        && let Some(enterprise) = document.entry(ENTERPRISE).or_insert_with(|| json!({})).as_object_mut()
    {
        enterprise.insert("manager".to_owned(), json!({ "value": manager }));
    }
    document
}

fn said(known: &Known) -> Document {
    known.document.clone().unwrap_or_else(|| made_up(known))
}

/// The whole resource.
pub fn render(tx: &Tx<'_>, known: &Known, base: &str, with_groups: bool) -> Result<Document, Problem> {
    let mut whole = said(known);
    let id = &known.person.id;
    if let Some(manager) = whole.get_mut(ENTERPRISE).and_then(|e| e.get_mut("manager")).and_then(Value::as_object_mut)
        && let Some(value) = manager.get("value").and_then(Value::as_str)
    {
        let address = format!("{base}/Users/{value}");
        manager.insert("$ref".to_owned(), json!(address));
    }
    if whole.contains_key("active") {
        whole.insert("active".to_owned(), json!(known.person.active && !known.held));
    }
    let mut schemas = vec![USER];
    if whole.contains_key(ENTERPRISE) {
        schemas.push(ENTERPRISE);
    }
    whole.insert("schemas".to_owned(), json!(schemas));
    whole.insert("id".to_owned(), json!(id));
    if let Some(external_id) = &known.person.external_id {
        whole.insert("externalId".to_owned(), json!(external_id));
    }
    if with_groups {
        let groups = groups::store::groups_of(tx, id)?;
        if !groups.is_empty() {
            let shown = groups.iter().map(|g| {
                json!({ "value": g.id, "$ref": format!("{base}/Groups/{}", g.id), "display": g.name })
            });
            whole.insert("groups".to_owned(), shown.collect());
        }
    }
    whole.insert("meta".to_owned(), json!({
        "resourceType": "User", "created": known.person.created_at, "lastModified": known.updated_at,
        "location": format!("{base}/Users/{id}"),
    }));
    Ok(whole)
}

/// The resource as it is sent.
pub fn show(tx: &Tx<'_>, known: &Known, base: &str, selection: &Selection) -> Result<Value, Problem> {
    Ok(selection.cut(render(tx, known, base, selection.wants("groups"))?))
}

/// The person with this id, as a source knows them.
pub fn get(tx: &Tx<'_>, id: &str) -> Result<Known, Problem> {
    store::find_user(tx, id)?.ok_or_else(|| Problem::missing("user", id))
}

/// A source says that there is somebody. Somebody whom it deleted before comes back; somebody with the
/// address of whom no source said anything is that person.
pub fn create(tx: &Tx<'_>, by: &Principal, given: &Value) -> Result<Known, Fault> {
    let mut document = document::read(&USERS, given)?;
    document.entry("active").or_insert(json!(true));
    let wanted = taken(&document)?;
    let name = user_name(&document)?.to_owned();
    let by_email = person_store::find_by_email(tx, &wanted.email)?;
    let by_name = store::find_by_user_name(tx, &name)?;
    let taken_name = || Fault::new(ScimType::Uniqueness, format!("There is a user with the userName {name} already."));
    if let Some(known) = by_name.filter(|k| k.document.is_some() || Some(&k.person.id) != by_email.as_ref().map(|p| &p.id)) {
        tracing::debug!(person = %known.person.id, "a user name is taken");
        return Err(taken_name());
    }
    let deleted = store::find_deleted(tx, text(&document, None, "externalId"), &wanted.email)?;
    let id = match (deleted, by_email) {
        (Some(deleted), None) => deleted,
        (Some(deleted), Some(person)) if person.id == deleted => deleted,
        (_, Some(person)) => {
            let known = get(tx, person.id.as_str())?;
            if known.document.is_some() {
                let why = format!("There is a user with the address {} already.", wanted.email);
                return Err(Fault::new(ScimType::Uniqueness, why));
            }
            person.id
        }
        (None, None) => return add(tx, by, document, wanted),
    };
    let person = person_store::get_person(tx, &id)?;
    // Whatever was said of them before does not count any more: all that is wanted is new.
    let manager = resolve_manager(tx, &mut document, &wanted)?;
    let attributes = merged(&person.attributes, &Map::new(), &wanted.attributes);
    let change = PersonChange {
        display_name: Some(wanted.display_name),
        email: Some(wanted.email),
        manager_id: Some(manager),
        attributes: Some(attributes),
        active: None,
    };
    people::change_person(tx, by, &id, change)?;
    save(tx, by, &id, None, document)
}

/// Adds somebody who is not known at all.
fn add(tx: &Tx<'_>, by: &Principal, mut document: Document, wanted: Taken) -> Result<Known, Fault> {
    let manager = resolve_manager(tx, &mut document, &wanted)?;
    let new = NewPerson {
        display_name: wanted.display_name,
        email: wanted.email,
        manager_id: manager,
        attributes: Value::Object(wanted.attributes),
    };
    let person = people::create_person(tx, by, new)?;
    if document.get("active") == Some(&json!(false)) {
        // Nobody leaves who never was there.
        leavers::ops::begin_inactive(tx, by, &person.id)?;
    }
    save(tx, by, &person.id, None, document)
}

/// A source says all there is to say of somebody.
pub fn replace(tx: &Tx<'_>, by: &Principal, id: &str, given: &Value) -> Result<Known, Fault> {
    let before = get(tx, id)?;
    let mut document = document::read(&USERS, given)?;
    // Who says nothing of it does not say that somebody left.
    if !document.contains_key("active") {
        document.insert("active".to_owned(), json!(before.person.active && !before.held));
    }
    let external = document.get("externalId").cloned();
    apply(tx, by, &before, document, Some(external))
}

/// A source says what changed of somebody.
pub fn change(tx: &Tx<'_>, by: &Principal, id: &str, body: &Value) -> Result<Known, Fault> {
    let operations = patch::read(body)?;
    let before = get(tx, id)?;
    let mut document = said(&before);
    if document.contains_key("active") {
        document.insert("active".to_owned(), json!(before.person.active && !before.held));
    }
    if let Some(external_id) = &before.person.external_id {
        document.insert("externalId".to_owned(), json!(external_id));
    }
    patch::apply(&USERS, &mut document, &operations)?;
    let external = document.get("externalId").cloned();
    apply(tx, by, &before, document, Some(external))
}

/// Brings the person in line with what is said of them now. What was not said anew stays as it is in Tenure.
fn apply(
    tx: &Tx<'_>,
    by: &Principal,
    before: &Known,
    mut document: Document,
    external: Option<Option<Value>>,
) -> Result<Known, Fault> {
    let (had, wanted) = (taken(&said(before))?, taken(&document)?);
    let name = user_name(&document)?.to_owned();
    let id = &before.person.id;
    if let Some(other) = store::find_by_user_name(tx, &name)?.filter(|k| k.person.id != *id) {
        tracing::debug!(person = %other.person.id, "a user name is taken");
        return Err(Fault::new(ScimType::Uniqueness, format!("There is another user with the userName {name}.")));
    }
    // A manager who is not there any more is no fault of what is said about something else.
    let manager =
        if had.manager == wanted.manager { None } else { Some(resolve_manager(tx, &mut document, &wanted)?) };
    let change = PersonChange {
        display_name: (had.display_name != wanted.display_name).then_some(wanted.display_name.clone()),
        email: (had.email != wanted.email).then_some(wanted.email.clone()),
        manager_id: manager,
        attributes: (had.attributes != wanted.attributes)
            .then(|| merged(&before.person.attributes, &had.attributes, &wanted.attributes)),
        active: None,
    };
    people::change_person(tx, by, id, change)?;
    save(tx, by, id, external, document)
}

/// Attributes of a person, of which a source said `had` and says `wanted` now.
fn merged(attributes: &Value, had: &Map<String, Value>, wanted: &Map<String, Value>) -> Value {
    let mut all = attributes.as_object().cloned().unwrap_or_default();
    for name in had.keys().filter(|n| !wanted.contains_key(*n)) {
        all.remove(name);
    }
    for (name, value) in wanted.iter().filter(|(n, v)| had.get(*n) != Some(*v)) {
        all.insert(name.clone(), value.clone());
    }
    Value::Object(all)
}

/// Stores the document, and what it says of the source's id and of being there.
fn save(
    tx: &Tx<'_>,
    by: &Principal,
    id: &PersonId,
    external: Option<Option<Value>>,
    mut document: Document,
) -> Result<Known, Fault> {
    let external = external.unwrap_or_else(|| document.get("externalId").cloned());
    document.remove("externalId");
    people::set_external_id(tx, by, id, external.as_ref().and_then(Value::as_str))?;
    let name = user_name(&document)?.to_owned();
    let active = document.get("active").and_then(Value::as_bool);
    store::save_user(tx, id, &name, &document)?;
    let now = get(tx, id.as_str())?;
    match active {
        Some(false) if now.person.active => {
            leavers::ops::leave(tx, by, id, Leaving::because("the identity provider says that they left"))?;
        }
        Some(true) if !now.person.active || now.held => {
            leavers::ops::rejoin(tx, by, id, Some("the identity provider says that they are there"))?;
        }
        _ => {}
    }
    let entry = Entry {
        action: "person.provisioned",
        entity: "person",
        entity_id: id.to_string(),
        reason: None,
        prev: None,
        new: Some(json!({ "userName": name, "document": document })),
    };
    audit::append(tx, by, entry)?;
    Ok(get(tx, id.as_str())?)
}

/// The manager by id; a user name or an external id is understood and becomes the id.
fn resolve_manager(tx: &Tx<'_>, document: &mut Document, wanted: &Taken) -> Result<Option<PersonId>, Fault> {
    let manager = document.get_mut(ENTERPRISE).and_then(|e| e.get_mut("manager")).and_then(Value::as_object_mut);
    let Some(manager) = manager else { return Ok(None) };
    let Some(text) = &wanted.manager else { return Ok(None) };
    let found = match store::find_user(tx, text)? {
        Some(known) => Some(known),
        None => match store::find_by_user_name(tx, text)? {
            Some(known) => Some(known),
            None => store::find_by_external_id(tx, text)?,
        },
    };
    let Some(known) = found else {
        return Err(Fault::new(ScimType::InvalidValue, format!("manager: there is no user {text}")));
    };
    manager.insert("value".to_owned(), json!(known.person.id));
    Ok(Some(known.person.id))
}

/// A source deletes somebody: they leave, and it does not see them any more.
pub fn delete(tx: &Tx<'_>, by: &Principal, id: &str) -> Result<(), Fault> {
    let known = get(tx, id)?;
    let id = &known.person.id;
    let document = said(&known);
    let name = known.user_name.clone().unwrap_or_else(|| known.person.email.clone());
    store::save_user(tx, id, &name, &document)?;
    store::mark_deleted(tx, id)?;
    leavers::ops::leave(tx, by, id, Leaving::because("the identity provider deleted them"))?;
    let entry = Entry {
        action: "person.unprovisioned",
        entity: "person",
        entity_id: id.to_string(),
        reason: None,
        prev: Some(json!({ "userName": name })),
        new: None,
    };
    Ok(audit::append(tx, by, entry)?)
}
