//! Groups: what a source says of them is what they are in Tenure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::document::{self, Document, Selection};
use super::schema::{GROUP, GROUPS};
use super::{Fault, ScimType, patch, store};
use crate::base::access::Principal;
use crate::base::id::{GroupId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::features::identity::groups::ops::{self, GroupChange, NewGroup};
use crate::features::identity::groups::{Group, Uses, store as group_store};
use crate::platform::store::Tx;

/// The whole resource.
pub fn render(tx: &Tx<'_>, group: &Group, base: &str, with_members: bool) -> Result<Document, Problem> {
    let mut whole = Document::new();
    whole.insert("schemas".to_owned(), json!([GROUP]));
    whole.insert("id".to_owned(), json!(group.id));
    whole.insert("displayName".to_owned(), json!(group.name));
    if let Some(external_id) = &group.external_id {
        whole.insert("externalId".to_owned(), json!(external_id));
    }
    if with_members {
        let members = members(tx, group, Some(base))?;
        if !members.is_empty() {
            whole.insert("members".to_owned(), Value::Array(members));
        }
    }
    whole.insert("meta".to_owned(), json!({
        "resourceType": "Group", "created": group.created_at, "lastModified": group.updated_at,
        "location": format!("{base}/Groups/{}", group.id),
    }));
    Ok(whole)
}

fn members(tx: &Tx<'_>, group: &Group, base: Option<&str>) -> Result<Vec<Value>, Problem> {
    let ids = group_store::member_ids(tx, &group.id)?;
    Ok(ids
        .iter()
        .map(|id| match base {
            Some(base) => json!({ "value": id, "$ref": format!("{base}/Users/{id}"), "type": "User" }),
            None => json!({ "value": id, "type": "User" }),
        })
        .collect())
}

/// The resource as it is sent.
pub fn show(tx: &Tx<'_>, group: &Group, base: &str, selection: &Selection) -> Result<Value, Problem> {
    Ok(selection.cut(render(tx, group, base, selection.wants("members"))?))
}

/// The group with this id.
pub fn get(tx: &Tx<'_>, id: &str) -> Result<Group, Problem> {
    if crate::base::id::check(GroupId::PREFIX, id).is_err() {
        return Err(Problem::missing("group", id));
    }
    group_store::get_group(tx, &GroupId::from_stored(id.to_owned()))
}

fn name(document: &Document) -> Result<String, Fault> {
    document
        .get("displayName")
        .and_then(Value::as_str)
        .map(|n| n.trim().to_owned())
        .filter(|n| !n.is_empty())
        .ok_or_else(|| Fault::new(ScimType::InvalidValue, "displayName: expected a name"))
}

fn external(document: &Document) -> Option<String> {
    document.get("externalId").and_then(Value::as_str).map(str::to_owned)
}

/// The people whom a document names as members.
fn named(tx: &Tx<'_>, document: &Document, known: &BTreeSet<PersonId>) -> Result<BTreeSet<PersonId>, Fault> {
    let mut named = BTreeSet::new();
    for member in document.get("members").and_then(Value::as_array).into_iter().flatten() {
        let unknown = |what: &str| Fault::new(ScimType::InvalidValue, format!("members: there is no user {what}"));
        let id = member["value"].as_str().ok_or_else(|| Fault::new(ScimType::InvalidValue, "members: expected a value"))?;
        if member["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("Group")) || id.starts_with("grp_") {
            return Err(Fault::new(ScimType::InvalidValue, "members: groups inside groups are not kept; expected users"));
        }
        if crate::base::id::check(PersonId::PREFIX, id).is_err() {
            return Err(unknown(id));
        }
        let person = PersonId::from_stored(id.to_owned());
        if !known.contains(&person) && store::find_user(tx, id)?.is_none() {
            return Err(unknown(id));
        }
        named.insert(person);
    }
    Ok(named)
}

/// A source says that there is a group.
pub fn create(tx: &Tx<'_>, by: &Principal, uses: &Uses, given: &Value) -> Result<Group, Fault> {
    let document = document::read(&GROUPS, given)?;
    let members = named(tx, &document, &BTreeSet::new())?;
    let new = NewGroup {
        name: name(&document)?,
        external_id: external(&document),
        members: members.into_iter().collect(),
        ..NewGroup::default()
    };
    Ok(ops::create(tx, by, uses, new)?)
}

/// A source says all there is to say of a group.
pub fn replace(tx: &Tx<'_>, by: &Principal, uses: &Uses, id: &str, given: &Value) -> Result<Group, Fault> {
    let group = get(tx, id)?;
    apply(tx, by, uses, &group, document::read(&GROUPS, given)?)
}

/// A source says what changed of a group.
pub fn change(tx: &Tx<'_>, by: &Principal, uses: &Uses, id: &str, body: &Value) -> Result<Group, Fault> {
    let operations = patch::read(body)?;
    let group = get(tx, id)?;
    let mut document = Document::new();
    document.insert("displayName".to_owned(), json!(group.name));
    if let Some(external_id) = &group.external_id {
        document.insert("externalId".to_owned(), json!(external_id));
    }
    let members = members(tx, &group, None)?;
    if !members.is_empty() {
        document.insert("members".to_owned(), Value::Array(members));
    }
    patch::apply(&GROUPS, &mut document, &operations)?;
    apply(tx, by, uses, &group, document)
}

fn apply(tx: &Tx<'_>, by: &Principal, uses: &Uses, group: &Group, document: Document) -> Result<Group, Fault> {
    let before: BTreeSet<PersonId> = group_store::member_ids(tx, &group.id)?.into_iter().collect();
    let wanted = named(tx, &document, &before)?;
    let change = GroupChange {
        name: Some(name(&document)?),
        external_id: Some(external(&document)),
        ..GroupChange::default()
    };
    ops::change(tx, by, uses, &group.id, change)?;
    let come: Vec<PersonId> = wanted.difference(&before).cloned().collect();
    let go: Vec<PersonId> = before.difference(&wanted).cloned().collect();
    ops::change_members(tx, by, &group.id, &come, &go)?;
    Ok(get(tx, group.id.as_str())?)
}

/// A source deletes a group.
pub fn delete(tx: &Tx<'_>, by: &Principal, uses: &Uses, id: &str) -> Result<(), Fault> {
    let group = get(tx, id)?;
    Ok(ops::delete(tx, by, uses, &group.id)?)
}
