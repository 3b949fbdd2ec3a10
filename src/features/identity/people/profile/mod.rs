//! Profile attributes: which ones there are, and of which type.
//!
//! # Invariants
//! - An attribute that the schema names has a value of its type, or none.
//! - With a closed schema there are no others.

pub mod api;
pub mod ops;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::is_email;
use crate::base::problem::FieldError;

/// The name that the schema is saved under.
pub const PROFILE_SCHEMA: &str = "people.profile_schema";
/// Attributes that a schema has at most.
const MAX_ATTRIBUTES: usize = 100;
/// Values that a choice has at most.
const MAX_VALUES: usize = 200;

/// Which attributes people have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileSchema {
    /// The attributes that are known, in the order in which they are shown.
    pub attributes: Vec<ProfileAttribute>,
    /// Whether there may be no others.
    #[serde(default)]
    pub closed: bool,
}

/// An attribute of people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileAttribute {
    /// The name that templates use: `subject.attributes.NAME`.
    pub name: String,
    /// How it is shown; the name when empty.
    #[serde(default)]
    pub label: String,
    /// What a value is.
    #[serde(rename = "type", default)]
    pub kind: AttributeKind,
    /// The values of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What a value of an attribute is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttributeKind {
    /// Text.
    #[default]
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A day, such as 2031-03-01.
    Date,
    /// A mail address.
    Email,
    /// One of the values.
    Choice,
    /// Several texts.
    List,
}

impl ProfileSchema {
    /// What is wrong with the schema itself.
    pub fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut seen = BTreeSet::new();
        let mut fault = |field: String, message: &str| faults.push(FieldError { field, message: message.to_owned() });
        if self.attributes.len() > MAX_ATTRIBUTES {
            fault("attributes".to_owned(), "expected at most 100 attributes");
        }
        for (i, attribute) in self.attributes.iter().enumerate() {
            if !is_name(&attribute.name) {
                fault(format!("attributes[{i}].name"), "expected a letter, then letters, digits and _, at most 64");
            }
            if !seen.insert(attribute.name.as_str()) {
                fault(format!("attributes[{i}].name"), "there is an attribute with this name before it");
            }
            if attribute.label.chars().count() > 100 {
                fault(format!("attributes[{i}].label"), "expected at most 100 characters");
            }
            let choice = attribute.kind == AttributeKind::Choice;
            if choice && (attribute.values.is_empty() || attribute.values.len() > MAX_VALUES) {
                fault(format!("attributes[{i}].values"), "expected 1 to 200 values to choose from");
            }
            if !choice && !attribute.values.is_empty() {
                fault(format!("attributes[{i}].values"), "only a choice has values");
            }
        }
        faults
    }

    /// What is wrong with the attributes of a person.
    pub fn check(&self, attributes: &Value) -> Vec<FieldError> {
        let Some(given) = attributes.as_object() else { return Vec::new() };
        let mut faults = Vec::new();
        for (name, value) in given {
            let field = format!("attributes.{name}");
            match self.attributes.iter().find(|a| a.name == *name) {
                Some(known) if value.is_null() || known.fits(value) => {}
                Some(known) => faults.push(FieldError { field, message: format!("expected {}", known.expected()) }),
                None if self.closed => {
                    faults.push(FieldError { field, message: "there is no such attribute".to_owned() });
                }
                None => {}
            }
        }
        faults
    }
}

impl ProfileAttribute {
    fn fits(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (AttributeKind::Text, Value::String(text)) => text.chars().count() <= 1000,
            (AttributeKind::Number, Value::Number(_)) | (AttributeKind::Boolean, Value::Bool(_)) => true,
            (AttributeKind::Date, Value::String(text)) => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
            (AttributeKind::Email, Value::String(text)) => is_email(text),
            (AttributeKind::Choice, Value::String(text)) => self.values.contains(text),
            (AttributeKind::List, Value::Array(items)) => items.len() <= 200 && items.iter().all(Value::is_string),
            _ => false,
        }
    }

    fn expected(&self) -> String {
        match self.kind {
            AttributeKind::Text => "a text of at most 1000 characters".to_owned(),
            AttributeKind::Number => "a number".to_owned(),
            AttributeKind::Boolean => "true or false".to_owned(),
            AttributeKind::Date => "a day such as 2031-03-01".to_owned(),
            AttributeKind::Email => "an address such as ada@example.org".to_owned(),
            AttributeKind::Choice => format!("one of {}", self.values.join(", ")),
            AttributeKind::List => "a list of texts".to_owned(),
        }
    }

    /// The value that a text stands for, as it stands in a file.
    pub fn value_of(&self, text: &str) -> Value {
        match self.kind {
            AttributeKind::Number => text.parse::<serde_json::Number>().map_or_else(|_| Value::from(text), Value::Number),
            AttributeKind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => Value::Bool(true),
                "false" | "no" | "0" => Value::Bool(false),
                _ => Value::from(text),
            },
            AttributeKind::List => text.split(';').map(str::trim).filter(|t| !t.is_empty()).map(Value::from).collect(),
            AttributeKind::Text | AttributeKind::Date | AttributeKind::Email | AttributeKind::Choice => Value::from(text),
        }
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(closed: bool) -> ProfileSchema {
        serde_json::from_value(json!({ "closed": closed, "attributes": [
            { "name": "department", "type": "choice", "values": ["Research", "IT"] },
            { "name": "startsOn", "type": "date" }, { "name": "badge", "type": "number" },
            { "name": "remote", "type": "boolean" }, { "name": "private", "type": "email" },
            { "name": "skills", "type": "list" }, { "name": "note" },
        ] }))
        .unwrap()
    }

    #[test]
    fn attributes_have_the_type_that_the_schema_says() {
        let good = json!({ "department": "IT", "startsOn": "2031-03-01", "badge": 7, "remote": true, "private": "a@b.c",
            "skills": ["go"], "note": "n", "unknown": { "any": 1 } });
        assert_eq!(schema(false).check(&good), []);
        assert_eq!(schema(true).check(&good)[0].field, "attributes.unknown");
        let bad = json!({ "department": "Sales", "startsOn": "1 March", "badge": "7", "remote": "yes", "private": "a",
            "skills": "go", "note": 1 });
        assert_eq!(schema(false).check(&bad).len(), 7, "{:?}", schema(false).check(&bad));
    }

    #[test]
    fn a_schema_that_means_nothing_is_refused() {
        let wrong = json!({ "attributes": [{ "name": "1st" }, { "name": "a" }, { "name": "a" }, { "name": "c", "type": "choice" },
            { "name": "d", "values": ["x"] }] });
        let faults = serde_json::from_value::<ProfileSchema>(wrong).unwrap().faults();
        let fields: Vec<&str> = faults.iter().map(|f| f.field.as_str()).collect();
        assert_eq!(fields, ["attributes[0].name", "attributes[2].name", "attributes[3].values", "attributes[4].values"]);
    }

    #[test]
    fn a_text_of_a_file_becomes_a_value_of_the_type() {
        let of = |name: &str, text: &str| schema(false).attributes.iter().find(|a| a.name == name).unwrap().value_of(text);
        assert_eq!(of("badge", "7"), json!(7));
        assert_eq!(of("remote", "Yes"), json!(true));
        assert_eq!(of("skills", "go; rust"), json!(["go", "rust"]));
        assert_eq!(of("badge", "seven"), json!("seven"), "what does not fit is told by the check");
    }
}
