//! PATCH (RFC 7644 section 3.5.2), with what Entra ID and Okta send beside it: operations in capitals,
//! values without a path whose names are paths, values to remove beside the path.

use serde_json::{Map, Value, json};

use super::document::{self, Document};
use super::filter::{Filter, fits_value, get};
use super::path::Path;
use super::schema::{Attr, Mutability, Resource};
use super::{Fault, ScimType};

/// Operations that one request has at most.
const MAX_OPERATIONS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Replace,
}

/// One operation.
#[derive(Debug, Clone)]
pub struct Operation {
    op: Op,
    path: Option<String>,
    value: Value,
}

/// Reads the body of a PATCH.
pub fn read(body: &Value) -> Result<Vec<Operation>, Fault> {
    let syntax = |detail: &str| Fault::new(ScimType::InvalidSyntax, detail);
    let fields = body.as_object().ok_or_else(|| syntax("expected a JSON object"))?;
    let all = get(fields, "Operations").and_then(Value::as_array).ok_or_else(|| syntax("expected a list of Operations"))?;
    if all.is_empty() || all.len() > MAX_OPERATIONS {
        return Err(syntax(&format!("expected 1 to {MAX_OPERATIONS} operations")));
    }
    all.iter()
        .enumerate()
        .map(|(i, one)| {
            let bad = |what: &str| syntax(&format!("Operations[{i}]: {what}"));
            let fields = one.as_object().ok_or_else(|| bad("expected an object"))?;
            let op = get(fields, "op").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            let op = match op.as_str() {
                "add" => Op::Add,
                "remove" => Op::Remove,
                "replace" => Op::Replace,
                _ => return Err(bad("op: expected add, remove or replace")),
            };
            let path = match get(fields, "path") {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) if text.is_empty() => None,
                Some(Value::String(text)) => Some(text.clone()),
                Some(_) => return Err(bad("path: expected a text")),
            };
            let value = get(fields, "value").cloned().unwrap_or(Value::Null);
            if op != Op::Remove && !fields.keys().any(|k| k.eq_ignore_ascii_case("value")) {
                return Err(Fault::new(ScimType::InvalidValue, format!("Operations[{i}]: expected a value")));
            }
            Ok(Operation { op, path, value })
        })
        .collect()
}

/// Applies operations to a resource, one after the other.
pub fn apply(resource: &Resource, document: &mut Document, operations: &[Operation]) -> Result<(), Fault> {
    for operation in operations {
        match &operation.path {
            Some(text) => {
                let path = Path::parse(resource, text)?;
                one(resource, document, operation.op, &path, &operation.value)?;
            }
            None => whole(resource, document, operation)?,
        }
    }
    Ok(())
}

/// An operation without a path: each name of the value is one.
fn whole(resource: &Resource, document: &mut Document, operation: &Operation) -> Result<(), Fault> {
    if operation.op == Op::Remove {
        return Err(Fault::new(ScimType::NoTarget, "remove needs a path"));
    }
    let Some(fields) = operation.value.as_object() else {
        return Err(Fault::new(ScimType::InvalidValue, "without a path, the value is an object of attributes"));
    };
    for (name, value) in fields {
        let Ok(path) = Path::parse(resource, name) else {
            // What Tenure does not keep is passed over here as in POST and PUT.
            continue;
        };
        // Okta repeats id and schemas in what it replaces.
        if path.attr.is_some_and(|a| a.mutability == Mutability::ReadOnly) {
            continue;
        }
        one(resource, document, operation.op, &path, value)?;
    }
    Ok(())
}

fn one(resource: &Resource, document: &mut Document, op: Op, path: &Path, value: &Value) -> Result<(), Fault> {
    let Some(attr) = path.attr else {
        let Some((urn, attrs)) = resource.extension else { return Ok(()) };
        if op == Op::Remove || value.is_null() {
            document.remove(urn);
            return Ok(());
        }
        let Some(fields) = value.as_object() else {
            return Err(Fault::new(ScimType::InvalidValue, format!("{urn}: expected an object")));
        };
        for (name, value) in fields {
            let Some(attr) = super::schema::find(attrs, name) else { continue };
            let inner = Path { extension: Some(urn), attr: Some(attr), filter: None, sub: None };
            one(resource, document, op, &inner, value)?;
        }
        return Ok(());
    };
    let sub_read_only = path.sub.is_some_and(|s| s.mutability == Mutability::ReadOnly);
    if attr.mutability == Mutability::ReadOnly || sub_read_only {
        return Err(Fault::new(ScimType::Mutability, format!("{} is not changed by a source", attr.name)));
    }
    if let Some(sub) = path.sub
        && sub.mutability == Mutability::Immutable
    {
        return Err(Fault::new(ScimType::Mutability, format!("{}.{} is not changed; replace the value", attr.name, sub.name)));
    }
    match path.extension {
        None => change(document, op, path, attr, value),
        Some(urn) => {
            let mut inner = match document.remove(urn) {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            let done = change(&mut inner, op, path, attr, value);
            if !inner.is_empty() {
                document.insert(urn.to_owned(), Value::Object(inner));
            }
            done
        }
    }
}

/// Changes one attribute of the object that holds it.
fn change(holder: &mut Document, op: Op, path: &Path, attr: &'static Attr, value: &Value) -> Result<(), Fault> {
    if attr.multi {
        return change_values(holder, op, path, attr, value);
    }
    let Some(sub) = path.sub else {
        if op == Op::Remove {
            return remove_whole(holder, attr);
        }
        match document::single(attr, value, attr.name)? {
            None => return remove_whole(holder, attr),
            Some(Value::Object(fields)) => match holder.get_mut(attr.name).and_then(Value::as_object_mut) {
                // What is inside and not named stays.
                Some(known) => known.extend(fields),
                None => {
                    holder.insert(attr.name.to_owned(), Value::Object(fields));
                }
            },
            Some(value) => {
                holder.insert(attr.name.to_owned(), value);
            }
        }
        // Attributes inside that are said to be nothing go.
        if let (Some(given), Some(known)) = (value.as_object(), holder.get_mut(attr.name).and_then(Value::as_object_mut)) {
            for (name, _) in given.iter().filter(|(_, v)| v.is_null() || *v == "") {
                known.retain(|key, _| !key.eq_ignore_ascii_case(name));
            }
        }
        return Ok(());
    };
    let new = if op == Op::Remove { None } else { document::value(sub, value, &format!("{}.{}", attr.name, sub.name))? };
    let fields = match holder.entry(attr.name).or_insert_with(|| json!({})) {
        Value::Object(fields) => fields,
        other => {
            *other = json!({});
            match other {
                Value::Object(fields) => fields,
                _ => return Ok(()),
            }
        }
    };
    match new {
        Some(new) => {
            fields.insert(sub.name.to_owned(), new);
        }
        None => {
            fields.remove(sub.name);
        }
    }
    if fields.is_empty() {
        holder.remove(attr.name);
    }
    Ok(())
}

fn remove_whole(holder: &mut Document, attr: &Attr) -> Result<(), Fault> {
    if attr.required {
        return Err(Fault::new(ScimType::Mutability, format!("{} must be there and is not removed", attr.name)));
    }
    holder.remove(attr.name);
    Ok(())
}

/// Changes an attribute with several values.
fn change_values(holder: &mut Document, op: Op, path: &Path, attr: &'static Attr, value: &Value) -> Result<(), Fault> {
    let mut values = match holder.remove(attr.name) {
        Some(Value::Array(values)) => values,
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let before = values.clone();
    let done = match (&path.filter, path.sub) {
        (None, None) => on_all(&mut values, op, attr, value),
        (filter, sub) => on_some(&mut values, op, attr, filter.as_ref(), sub, value),
    };
    // What fails leaves everything as it was, for the message alone: the whole request is undone.
    if done.is_err() {
        values = before;
    }
    if !values.is_empty() {
        holder.insert(attr.name.to_owned(), Value::Array(values));
    } else if attr.required && done.is_ok() && op == Op::Remove {
        return Err(Fault::new(ScimType::Mutability, format!("{} must be there and is not removed", attr.name)));
    }
    done
}

fn on_all(values: &mut Vec<Value>, op: Op, attr: &'static Attr, value: &Value) -> Result<(), Fault> {
    let given = match document::value(attr, value, attr.name)? {
        Some(Value::Array(given)) => given,
        _ => Vec::new(),
    };
    match op {
        Op::Replace => *values = given,
        // Entra ID names the members to remove beside the path.
        Op::Remove if !value.is_null() => values.retain(|known| !given.iter().any(|g| same(known, g))),
        Op::Remove => values.clear(),
        Op::Add => {
            // Known members are found by their id at once, however many there are.
            let ids: std::collections::HashSet<String> =
                values.iter().filter_map(|v| Some(v.get("value")?.as_str()?.to_owned())).collect();
            for new in given {
                let known = new.get("value").and_then(Value::as_str).is_some_and(|id| ids.contains(id));
                let there = known && values.iter().any(|v| v["value"] == new["value"] && v.get("type") == new.get("type"))
                    || !known && values.contains(&new);
                if !there {
                    only_primary(values, &new);
                    values.push(new);
                }
            }
        }
    }
    Ok(())
}

/// Whether two values are one: by the value inside, if there is one.
fn same(known: &Value, given: &Value) -> bool {
    match (known.get("value"), given.get("value")) {
        (Some(a), Some(b)) => a == b,
        _ => known == given,
    }
}

fn only_primary(values: &mut [Value], new: &Value) {
    if new["primary"] != true {
        return;
    }
    for fields in values.iter_mut().filter_map(Value::as_object_mut).filter(|f| f.get("primary") == Some(&json!(true))) {
        fields.insert("primary".to_owned(), json!(false));
    }
}

fn on_some(
    values: &mut Vec<Value>,
    op: Op,
    attr: &'static Attr,
    filter: Option<&Filter>,
    sub: Option<&'static Attr>,
    value: &Value,
) -> Result<(), Fault> {
    let fits = |v: &Value| filter.is_none_or(|f| fits_value(f, v));
    let at: Vec<usize> = (0..values.len()).filter(|i| fits(&values[*i])).collect();
    if op == Op::Remove {
        match sub {
            None => values.retain(|v| !fits(v)),
            Some(sub) => {
                for i in at {
                    if let Some(fields) = values.get_mut(i).and_then(Value::as_object_mut) {
                        fields.remove(sub.name);
                    }
                }
                values.retain(|v| !v.as_object().is_some_and(Map::is_empty));
            }
        }
        return Ok(());
    }
    let new = match sub {
        Some(sub) => {
            let name = format!("{}.{}", attr.name, sub.name);
            [(sub.name.to_owned(), document::value(sub, value, &name)?.unwrap_or(Value::Null))].into_iter().collect()
        }
        None => match document::single(attr, value.as_array().and_then(|a| a.first()).unwrap_or(value), attr.name)? {
            Some(Value::Object(fields)) => fields,
            _ => return Err(Fault::new(ScimType::InvalidValue, format!("{}: expected an object", attr.name))),
        },
    };
    if at.is_empty() {
        return add_fitting(values, op, attr, filter, new);
    }
    for i in at {
        let becomes_primary = new.get("primary") == Some(&json!(true));
        if becomes_primary {
            only_primary(values, &json!({ "primary": true }));
        }
        if let Some(fields) = values.get_mut(i).and_then(Value::as_object_mut) {
            for (name, value) in &new {
                if value.is_null() {
                    fields.remove(name);
                } else {
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
    }
    values.retain(|v| !v.as_object().is_some_and(Map::is_empty));
    Ok(())
}

/// Nothing fits: `add` makes a value that does, `replace` has nothing to replace.
fn add_fitting(
    values: &mut Vec<Value>,
    op: Op,
    attr: &'static Attr,
    filter: Option<&Filter>,
    new: Map<String, Value>,
) -> Result<(), Fault> {
    let nothing = || Fault::new(ScimType::NoTarget, format!("no value of {} fits the filter", attr.name));
    let template = match filter {
        Some(filter) => filter.as_template().filter(|_| op == Op::Add).ok_or_else(nothing)?,
        None => Map::new(),
    };
    let made: Map<String, Value> = template.into_iter().chain(new).filter(|(_, v)| !v.is_null()).collect();
    // By the names and types of the schema, whatever the filter wrote.
    if let Some(made) = document::single(attr, &Value::Object(made), attr.name)? {
        only_primary(values, &made);
        values.push(made);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::schema::{ENTERPRISE, GROUPS, USERS};
    use super::*;

    fn ada() -> Value {
        json!({
            "userName": "ada", "title": "Countess", "name": { "givenName": "Ada", "familyName": "L" },
            "emails": [{ "value": "a@work", "type": "work", "primary": true }, { "value": "a@home", "type": "home" }],
            ENTERPRISE: { "department": "R" },
        })
    }

    fn patched(resource: &Resource, mut of: Value, operations: Value) -> Result<Value, Fault> {
        let operations = read(&json!({ "Operations": operations }))?;
        apply(resource, of.as_object_mut().unwrap(), &operations)?;
        Ok(of)
    }

    fn ok(operations: Value) -> Value {
        patched(&USERS, ada(), operations).unwrap()
    }

    fn fault(operations: Value) -> String {
        let fault = patched(&USERS, ada(), operations.clone()).expect_err(&operations.to_string());
        fault.body()["scimType"].as_str().unwrap().to_owned()
    }

    #[test]
    fn single_values_are_added_replaced_and_removed() {
        let done = ok(json!([
            { "op": "Replace", "path": "title", "value": "Lady" },
            { "op": "ADD", "path": "nickName", "value": "A" },
            { "op": "replace", "path": "name.givenName", "value": "Augusta" },
            { "op": "add", "path": "name", "value": { "middleName": "K", "familyName": null } },
            { "op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "IT" },
            { "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "per_2" },
            { "op": "replace", "path": "active", "value": "False" },
        ]));
        assert_eq!((&done["title"], &done["nickName"], &done["active"]), (&json!("Lady"), &json!("A"), &json!(false)));
        assert_eq!(done["name"], json!({ "givenName": "Augusta", "middleName": "K" }));
        assert_eq!(done[ENTERPRISE], json!({ "department": "IT", "manager": { "value": "per_2" } }));
        let done = ok(json!([
            { "op": "remove", "path": "title" }, { "op": "remove", "path": "name.givenName" },
            { "op": "remove", "path": "name.familyName" }, { "op": "remove", "path": format!("{ENTERPRISE}:department") },
            { "op": "replace", "path": "nickName", "value": "" },
        ]));
        assert_eq!(done, json!({ "userName": "ada", "emails": ada()["emails"] }));
    }

    #[test]
    fn values_without_a_path_are_paths_by_their_names() {
        let done = ok(json!([{ "op": "replace", "value": {
            "id": "x", "schemas": [], "title": "Lady", "name.givenName": "Augusta", "colour": "red",
            "emails[type eq \"work\"].value": "new@work", format!("{ENTERPRISE}:division"): "D", ENTERPRISE: { "costCenter": "7" },
        } }]));
        assert_eq!((&done["title"], &done["name"]["givenName"]), (&json!("Lady"), &json!("Augusta")));
        assert_eq!(done["emails"][0], json!({ "value": "new@work", "type": "work", "primary": true }));
        assert_eq!(done[ENTERPRISE], json!({ "department": "R", "division": "D", "costCenter": "7" }));
        assert!(done.get("id").is_none() && done.get("colour").is_none());
    }

    #[test]
    fn one_of_several_values_is_found_by_a_filter() {
        let done = ok(json!([
            { "op": "replace", "path": "emails[type eq \"home\"].value", "value": "b@home" },
            { "op": "add", "path": "emails[type eq \"other\"].value", "value": "a@other" },
            { "op": "add", "path": "phoneNumbers[type eq \"mobile\"].value", "value": "1" },
            { "op": "replace", "path": "emails[type eq \"home\"]", "value": { "primary": true } },
        ]));
        assert_eq!(done["emails"], json!([
            { "value": "a@work", "type": "work", "primary": false }, { "value": "b@home", "type": "home", "primary": true },
            { "value": "a@other", "type": "other" },
        ]));
        assert_eq!(done["phoneNumbers"], json!([{ "type": "mobile", "value": "1" }]));
        let done = ok(json!([{ "op": "remove", "path": "emails[type eq \"home\"]" }, { "op": "remove", "path": "emails[type eq \"work\"].type" }]));
        assert_eq!(done["emails"], json!([{ "value": "a@work", "primary": true }]));
        assert_eq!(ok(json!([{ "op": "remove", "path": "emails[type eq \"nothing\"]" }])), ada());
    }

    #[test]
    fn values_are_added_once_and_replaced_together() {
        let work = json!({ "value": "a@work", "type": "work", "primary": true });
        let done = ok(json!([
            { "op": "add", "path": "emails", "value": [work, { "value": "b@work" }] },
            { "op": "add", "path": "emails", "value": { "value": "c@work", "primary": true } },
        ]));
        assert_eq!(done["emails"].as_array().unwrap().len(), 4);
        assert_eq!((&done["emails"][0]["primary"], &done["emails"][3]["primary"]), (&json!(false), &json!(true)));
        let done = ok(json!([{ "op": "replace", "path": "emails", "value": { "value": "only@work" } }]));
        assert_eq!(done["emails"], json!([{ "value": "only@work" }]));
    }

    #[test]
    fn members_come_and_go_in_every_way() {
        let group = || json!({ "displayName": "G", "members": [{ "value": "1" }, { "value": "2" }] });
        let of = |operations: Value| patched(&GROUPS, group(), operations).unwrap()["members"].clone();
        assert_eq!(of(json!([{ "op": "Add", "path": "members", "value": [{ "value": "2" }, { "value": "3" }] }])), json!([{ "value": "1" }, { "value": "2" }, { "value": "3" }]));
        assert_eq!(of(json!([{ "op": "Remove", "path": "members", "value": [{ "value": "2" }] }])), json!([{ "value": "1" }]));
        assert_eq!(of(json!([{ "op": "remove", "path": "members[value eq \"1\"]" }])), json!([{ "value": "2" }]));
        assert_eq!(of(json!([{ "op": "remove", "path": "members" }])), Value::Null);
        assert_eq!(of(json!([{ "op": "replace", "path": "members", "value": [] }])), Value::Null);
        assert_eq!(of(json!([{ "op": "add", "value": { "members": [{ "value": "9" }] } }])), json!([{ "value": "1" }, { "value": "2" }, { "value": "9" }]));
    }

    #[test]
    fn what_cannot_be_done_has_the_name_that_the_rfc_gives() {
        assert_eq!(fault(json!([{ "op": "remove" }])), "noTarget");
        assert_eq!(fault(json!([{ "op": "replace", "path": "emails[type eq \"x\"].value", "value": "a" }])), "noTarget");
        assert_eq!(fault(json!([{ "op": "replace", "path": "id", "value": "a" }])), "mutability");
        assert_eq!(fault(json!([{ "op": "add", "path": "groups", "value": [{ "value": "1" }] }])), "mutability");
        assert_eq!(fault(json!([{ "op": "remove", "path": "userName" }])), "mutability");
        assert_eq!(fault(json!([{ "op": "remove", "path": "emails" }])), "mutability");
        assert_eq!(fault(json!([{ "op": "add", "path": "colour", "value": 1 }])), "invalidPath");
        assert_eq!(fault(json!([{ "op": "add", "path": "emails[type zz]", "value": 1 }])), "invalidFilter");
        assert_eq!(fault(json!([{ "op": "add", "path": "title" }])), "invalidValue");
        assert_eq!(fault(json!([{ "op": "add", "path": "title", "value": {} }])), "invalidValue");
        assert_eq!(fault(json!([{ "op": "add", "value": 1 }])), "invalidValue");
        assert_eq!(fault(json!([{ "op": "move" }])), "invalidSyntax");
        assert_eq!(fault(json!([])), "invalidSyntax");
        assert_eq!(fault(json!([1])), "invalidSyntax");
    }
}
