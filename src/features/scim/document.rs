//! Resources as JSON: what a source may say, and which part of it is sent back.

use serde_json::{Map, Value, json};

use super::filter::get;
use super::path::Path;
use super::schema::{Attr, Kind, Mutability, Resource};
use super::{Fault, ScimType};

/// The longest text.
const MAX_TEXT: usize = 2_000;
/// Values that an attribute has at most.
const MAX_VALUES: usize = 50_000;

/// A resource without what Tenure adds: attributes by the names that the schema has.
pub type Document = Map<String, Value>;

/// Reads what a source says of a whole resource. What Tenure does not keep is passed over.
pub fn read(resource: &Resource, given: &Value) -> Result<Document, Fault> {
    let Some(fields) = given.as_object() else {
        return Err(Fault::new(ScimType::InvalidSyntax, "expected a JSON object"));
    };
    check_schemas(resource, fields)?;
    let mut document = Document::new();
    for (name, value) in fields {
        if let Some((urn, attrs)) = resource.extension.filter(|(urn, _)| urn.eq_ignore_ascii_case(name)) {
            let Some(inner) = value.as_object() else {
                if value.is_null() {
                    continue;
                }
                return Err(invalid(name, "an object"));
            };
            let mut read = Document::new();
            for (name, value) in inner {
                let Some(attr) = super::schema::find(attrs, name) else { continue };
                put(&mut read, attr, value)?;
            }
            if !read.is_empty() {
                document.insert(urn.to_owned(), Value::Object(read));
            }
        } else if let Some(attr) = resource.find(name) {
            put(&mut document, attr, value)?;
        }
    }
    Ok(document)
}

fn check_schemas(resource: &Resource, fields: &Map<String, Value>) -> Result<(), Fault> {
    let Some(schemas) = get(fields, "schemas") else { return Ok(()) };
    let known = schemas.as_array().is_some_and(|all| {
        all.iter().filter_map(Value::as_str).any(|urn| urn.eq_ignore_ascii_case(resource.urn))
    });
    if known { Ok(()) } else { Err(invalid("schemas", &format!("a list with {}", resource.urn))) }
}

fn put(into: &mut Document, attr: &Attr, given: &Value) -> Result<(), Fault> {
    if attr.mutability == Mutability::ReadOnly {
        return Ok(());
    }
    if let Some(value) = value(attr, given, attr.name)? {
        into.insert(attr.name.to_owned(), value);
    }
    Ok(())
}

fn invalid(path: &str, expected: &str) -> Fault {
    Fault::new(ScimType::InvalidValue, format!("{path}: expected {expected}"))
}

/// A value of an attribute; nothing when it says that there is none.
pub fn value(attr: &Attr, given: &Value, path: &str) -> Result<Option<Value>, Fault> {
    if !attr.multi {
        return single(attr, given, path);
    }
    let items: Vec<&Value> = match given {
        Value::Array(items) => items.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    };
    if items.len() > MAX_VALUES {
        return Err(invalid(path, &format!("at most {MAX_VALUES} values")));
    }
    let mut read: Vec<Value> = Vec::with_capacity(items.len());
    for item in items {
        read.extend(single(attr, item, path)?);
    }
    if read.iter().filter(|v| v["primary"] == true).count() > 1 {
        return Err(invalid(path, "at most one primary value"));
    }
    Ok((!read.is_empty()).then_some(Value::Array(read)))
}

/// One value of an attribute.
pub fn single(attr: &Attr, given: &Value, path: &str) -> Result<Option<Value>, Fault> {
    match (attr.kind, given) {
        (_, Value::Null) => Ok(None),
        (Kind::Text | Kind::Reference(_) | Kind::Instant, Value::String(text)) => {
            if text.chars().count() > MAX_TEXT || text.contains('\0') {
                return Err(invalid(path, &format!("at most {MAX_TEXT} characters")));
            }
            Ok((!text.is_empty()).then(|| json!(text)))
        }
        (Kind::Text, Value::Number(number)) => Ok(Some(json!(number.to_string()))),
        (Kind::Bool, Value::Bool(flag)) => Ok(Some(json!(flag))),
        // Entra ID writes "True" and "False".
        (Kind::Bool, Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(json!(true))),
        (Kind::Bool, Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(json!(false))),
        (Kind::Complex(attrs), Value::Object(fields)) => {
            let mut read = Map::new();
            for (name, inner) in fields {
                let Some(sub) = super::schema::find(attrs, name) else { continue };
                if let Some(value) = value(sub, inner, &format!("{path}.{}", sub.name))? {
                    read.insert(sub.name.to_owned(), value);
                }
            }
            Ok((!read.is_empty()).then_some(Value::Object(read)))
        }
        // A manager or a member that is only named.
        (Kind::Complex(attrs), Value::String(text)) if super::schema::find(attrs, "value").is_some() => {
            Ok((!text.is_empty()).then(|| json!({ "value": text })))
        }
        (kind, _) => Err(invalid(path, match kind {
            Kind::Text => "a text",
            Kind::Reference(_) => "a URI",
            Kind::Instant => "an instant",
            Kind::Bool => "true or false",
            Kind::Complex(_) => "an object",
        })),
    }
}

/// Which part of a resource is sent.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these, beside what is always sent.
    pub only: Option<Vec<Path>>,
    /// All but these.
    pub but: Vec<Path>,
}

impl Selection {
    /// Reads `attributes` and `excludedAttributes`; names that a resource has not are passed over.
    pub fn parse(resource: &Resource, only: Option<&str>, but: Option<&str>) -> Result<Self, Fault> {
        if only.is_some_and(|t| !t.is_empty()) && but.is_some_and(|t| !t.is_empty()) {
            return Err(Fault::new(ScimType::InvalidValue, "attributes and excludedAttributes exclude each other"));
        }
        let paths = |text: &str| -> Vec<Path> {
            text.split(',').filter_map(|name| Path::parse(resource, name).ok()).filter(|p| p.filter.is_none()).collect()
        };
        Ok(Self {
            only: only.filter(|t| !t.trim().is_empty()).map(paths),
            but: but.map(paths).unwrap_or_default(),
        })
    }

    /// Whether this attribute of the core schema is sent.
    pub fn wants(&self, name: &str) -> bool {
        let named = |p: &Path| p.extension.is_none() && p.attr.is_some_and(|a| a.name == name);
        match &self.only {
            Some(only) => only.iter().any(named),
            None => !self.but.iter().any(|p| named(p) && p.sub.is_none()),
        }
    }

    /// The part of a resource that is sent. The id and the URNs always are.
    pub fn cut(&self, whole: Document) -> Value {
        let mut cut = match &self.only {
            None => whole,
            Some(only) => {
                let mut some = Document::new();
                for name in ["schemas", "id"] {
                    if let Some(value) = whole.get(name) {
                        some.insert(name.to_owned(), value.clone());
                    }
                }
                for path in only {
                    take(&mut some, &whole, path);
                }
                some
            }
        };
        for path in &self.but {
            leave(&mut cut, path);
        }
        Value::Object(cut)
    }
}

fn take(into: &mut Document, whole: &Document, path: &Path) {
    let Some(attr) = path.attr else {
        if let Some((urn, value)) = path.extension.and_then(|urn| Some((urn, whole.get(urn)?))) {
            into.insert(urn.to_owned(), value.clone());
        }
        return;
    };
    let from = match path.extension {
        Some(urn) => whole.get(urn).and_then(Value::as_object),
        None => Some(whole),
    };
    let Some(value) = from.and_then(|f| f.get(attr.name)) else { return };
    let part = match path.sub {
        None => Some(value.clone()),
        Some(sub) => inside(value, sub.name),
    };
    let Some(part) = part else { return };
    let target = match path.extension {
        Some(urn) => match into.entry(urn).or_insert_with(|| json!({})).as_object_mut() {
            Some(target) => target,
            None => return,
        },
        None => into,
    };
    match target.get_mut(attr.name) {
        Some(known) if path.sub.is_some() => merge(known, part),
        _ => {
            target.insert(attr.name.to_owned(), part);
        }
    }
}

/// An attribute with one attribute inside alone.
fn inside(value: &Value, sub: &str) -> Option<Value> {
    match value {
        Value::Array(items) => {
            // Each value keeps its place, so that several attributes inside are put together again.
            Some(items.iter().map(|i| i.get(sub).map_or_else(|| json!({}), |v| json!({ sub: v }))).collect())
        }
        Value::Object(fields) => fields.get(sub).map(|v| json!({ sub: v })),
        _ => None,
    }
}

fn merge(known: &mut Value, more: Value) {
    match (known, more) {
        (Value::Object(known), Value::Object(more)) => known.extend(more),
        (Value::Array(known), Value::Array(more)) => known.iter_mut().zip(more).for_each(|(k, m)| merge(k, m)),
        _ => {}
    }
}

fn leave(cut: &mut Document, path: &Path) {
    let from = match path.extension {
        Some(urn) if path.attr.is_none() => {
            cut.remove(urn);
            return;
        }
        Some(urn) => cut.get_mut(urn).and_then(Value::as_object_mut),
        None => Some(cut),
    };
    let (Some(from), Some(attr)) = (from, path.attr) else { return };
    if matches!(attr.name, "id" | "schemas") {
        return;
    }
    match path.sub {
        None => {
            from.remove(attr.name);
        }
        Some(sub) => match from.get_mut(attr.name) {
            Some(Value::Object(fields)) => {
                fields.remove(sub.name);
            }
            Some(Value::Array(items)) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|f| {
                    f.remove(sub.name);
                });
            }
            _ => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{ENTERPRISE, USER, USERS};
    use super::*;

    #[test]
    fn a_resource_is_read_by_the_schema() {
        let given = json!({
            "schemas": [USER, ENTERPRISE], "USERNAME": "ada", "id": "mine", "meta": {}, "password": "x", "groups": [1],
            "active": "False", "nickName": "", "title": null, "emails": { "value": "a@b.c", "colour": "red" },
            ENTERPRISE: { "department": "R", "manager": "per_1", "unknown": 1 }, "urn:other": { "a": 1 },
        });
        let read = read(&USERS, &given).unwrap();
        assert_eq!(Value::Object(read), json!({
            "userName": "ada", "active": false, "emails": [{ "value": "a@b.c" }],
            ENTERPRISE: { "department": "R", "manager": { "value": "per_1" } },
        }));
    }

    #[test]
    fn values_of_another_type_are_refused_by_their_path() {
        for (given, part) in [
            (json!([]), "JSON object"),
            (json!({ "schemas": ["urn:other"] }), "schemas"),
            (json!({ "userName": {} }), "userName: expected a text"),
            (json!({ "name": "Ada" }), "name: expected an object"),
            (json!({ "active": "maybe" }), "active"),
            (json!({ "emails": [{ "value": [] }] }), "emails.value"),
            (json!({ "emails": [{ "value": "a", "primary": true }, { "value": "b", "primary": true }] }), "primary"),
            (json!({ ENTERPRISE: [] }), "expected an object"),
            (json!({ "userName": "x".repeat(3000) }), "characters"),
        ] {
            let told = read(&USERS, &given).expect_err(part).body()["detail"].to_string();
            assert!(told.contains(part), "{told} has no {part}");
        }
    }

    #[test]
    fn what_is_asked_for_is_sent() {
        let whole = json!({
            "schemas": [USER], "id": "1", "meta": {}, "userName": "ada", "name": { "givenName": "Ada", "familyName": "L" },
            "emails": [{ "value": "a", "type": "work", "primary": true }], ENTERPRISE: { "department": "R", "division": "D" },
        });
        let cut = |only: Option<&str>, but: Option<&str>| {
            Selection::parse(&USERS, only, but).unwrap().cut(whole.as_object().unwrap().clone())
        };
        assert_eq!(
            cut(Some("name.givenName,emails.value,emails.type,department,colour"), None),
            json!({ "schemas": [USER], "id": "1", "name": { "givenName": "Ada" }, "emails": [{ "value": "a", "type": "work" }],
                    ENTERPRISE: { "department": "R" } })
        );
        let left = cut(None, Some("id,name,emails.primary,meta,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"));
        assert_eq!(left, json!({ "schemas": [USER], "id": "1", "userName": "ada", "emails": [{ "value": "a", "type": "work" }] }));
        assert!(Selection::parse(&USERS, Some("a"), Some("b")).is_err());
    }
}
