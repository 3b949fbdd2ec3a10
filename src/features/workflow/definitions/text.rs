//! Definitions as texts that people keep: JSON and YAML, with the key that names the workflow.
//!
//! # Invariants
//! - What is written reads back as the same definition; the same definition is always the same text.
//! - Every fault has a path and, where the text can be read at all, line and column.

use serde::de::DeserializeOwned;
use serde::ser::{SerializeMap as _, Serializer};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, Schema, Type};

use super::validate::Finding;
use super::{Definition, Step, Variable};
use crate::base::strict::Strict;
use crate::base::yaml::{self, MAX_BYTES, Places};

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// How a text is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WorkflowFormat)]
pub enum Format {
    /// YAML 1.2.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

impl Format {
    /// The ending of a file.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
        }
    }

    /// The format of a file by its ending.
    pub fn of_ending(ending: &str) -> Option<Self> {
        match ending.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A definition with the key of its workflow.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The key; the workflow is known by its name when absent.
    pub key: Option<String>,
    /// What it says.
    pub definition: Definition,
}

/// A file with a definition and the key of its workflow, as the document of the API shows it.
#[derive(Debug)]
pub struct WorkflowFile;

impl utoipa::PartialSchema for WorkflowFile {
    fn schema() -> RefOr<Schema> {
        let mut schema = Definition::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            let mut key = Object::with_type(Type::String);
            key.description = Some("The key of the workflow.".to_owned());
            object.properties.insert("key".to_owned(), Schema::Object(key).into());
        }
        schema
    }
}

impl utoipa::ToSchema for WorkflowFile {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Definition::schemas(schemas);
    }
}

/// A fault in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where in the definition; empty for the text itself.
    pub path: String,
    /// What is wrong and what is expected.
    pub message: String,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The column, counted from 1.
    pub column: Option<u32>,
}

impl Fault {
    fn of_text(message: String, line: u32, column: u32) -> Vec<Self> {
        let known = |n: u32| (n > 0).then_some(n);
        vec![Self { path: String::new(), message, line: known(line), column: known(column) }]
    }
}

/// Reads a text.
pub fn read(text: &str, format: Format) -> Result<Document, Vec<Fault>> {
    document(value(text, format)?).map_err(|found| placed(text, found))
}

/// The value that a text holds.
pub fn value(text: &str, format: Format) -> Result<Value, Vec<Fault>> {
    if text.len() > MAX_BYTES {
        return Err(Fault::of_text(format!("got {} bytes; expected at most {MAX_BYTES}", text.len()), 0, 0));
    }
    match format {
        Format::Yaml => yaml::read(text).map_err(|e| Fault::of_text(e.message, e.line, e.column)),
        Format::Json => serde_json::from_str(text).map_err(|e| {
            let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let whole = e.to_string();
            let message = whole.split(" at line ").next().unwrap_or_default().to_owned();
            Fault::of_text(message, narrow(e.line()), narrow(e.column()))
        }),
    }
}

/// Findings with their places in a text.
pub fn placed(text: &str, found: Vec<Finding>) -> Vec<Fault> {
    let places = Places::of(text);
    let one = |f: Finding| {
        // What is wrong with the whole begins where the text does, also when the places of its parts cannot be told.
        let at = places.find(&f.path).or(f.path.is_empty().then_some((1, 1)));
        Fault { path: f.path, message: f.message, line: at.map(|a| a.0), column: at.map(|a| a.1) }
    };
    found.into_iter().map(one).collect()
}

/// A definition with its key.
pub fn document(mut value: Value) -> Result<Document, Vec<Finding>> {
    let fault = |path: &str, message: &str| vec![Finding { path: path.to_owned(), message: message.to_owned() }];
    if is_deeper(&value, MAX_DEPTH) {
        return Err(fault("", &format!("expected at most {MAX_DEPTH} levels of objects and lists")));
    }
    let Some(fields) = value.as_object_mut() else {
        return Err(fault("", "expected an object with name and steps"));
    };
    let key = match fields.remove("key") {
        None | Some(Value::Null) => None,
        Some(Value::String(key)) if is_key(&key) => Some(key),
        Some(_) => return Err(fault("key", "expected up to 64 letters, digits, dots, hyphens and underscores")),
    };
    Ok(Document { key, definition: definition(value)? })
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|v| is_deeper(v, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|v| is_deeper(v, levels - 1)),
        _ => false,
    }
}

/// Whether a text may name a workflow.
pub fn is_key(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// A definition; each fault of its form is named by its path.
pub fn definition(value: Value) -> Result<Definition, Vec<Finding>> {
    let error = match serde_path_to_error::deserialize::<_, Definition>(Strict(value.clone())) {
        Ok(definition) => return Ok(definition),
        Err(e) => finding("", &e.path().to_string(), e.inner().to_string()),
    };
    let mut found = Vec::new();
    for (i, step) in value["steps"].as_array().into_iter().flatten().enumerate() {
        step_faults(&format!("steps[{i}]"), step, &mut found);
    }
    if found.is_empty() || !error.path.starts_with("steps") {
        found.insert(0, error);
    }
    Err(found)
}

/// A fault at `inner` below `path`; of a field that is missing or not known, at that field.
fn finding(path: &str, inner: &str, message: String) -> Finding {
    let inner = if matches!(inner, "." | "?") { "" } else { inner };
    let named = |what: &str| message.strip_prefix(what).and_then(|rest| rest.split('`').next());
    let field = named("missing field `").or_else(|| named("unknown field `")).unwrap_or_default();
    // What leads to the field may name it already.
    let field = if inner == field || inner.ends_with(&format!(".{field}")) { "" } else { field };
    let parts: Vec<&str> = [path, inner, field].into_iter().filter(|part| !part.is_empty()).collect();
    Finding { path: parts.join("."), message }
}

/// A step is read at once, so its faults are looked for in its parts.
fn step_faults(path: &str, step: &Value, found: &mut Vec<Finding>) {
    let before = found.len();
    let Some(fields) = step.as_object() else {
        return found.push(Finding { path: path.to_owned(), message: "expected a step with id, name and type".to_owned() });
    };
    action_faults(path, fields, found);
    if let Some(compensation) = fields.get("compensation").and_then(Value::as_object) {
        action_faults(&format!("{path}.compensation"), compensation, found);
    }
    if found.len() == before
        && let Err(e) = serde_path_to_error::deserialize::<_, Step>(Strict(step.clone()))
    {
        found.push(finding(path, &e.path().to_string(), e.inner().to_string()));
    }
}

fn action_faults(path: &str, fields: &Map<String, Value>, found: &mut Vec<Finding>) {
    let Some(kind) = fields.get("type").and_then(Value::as_str) else {
        return found.push(Finding { path: format!("{path}.type"), message: "expected the type of the step".to_owned() });
    };
    let config = match fields.get("config") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(config) => config.clone(),
    };
    if let Err((inner, message)) = super::action(kind, config) {
        found.push(finding(path, &inner, message));
    }
}

/// The text of a definition.
pub fn write(key: &str, definition: &Definition, format: Format) -> Result<String, String> {
    let mut whole = lean(definition);
    whole["key"] = Value::from(key);
    let ordered = Ordered(&whole);
    match format {
        Format::Yaml => yaml::write(&ordered),
        Format::Json => serde_json::to_string_pretty(&ordered).map(|text| text + "\n").map_err(|e| e.to_string()),
    }
}

/// A definition without what says nothing: fields that read back the same when they are left out.
fn lean(definition: &Definition) -> Value {
    let mut whole = without_defaults(definition);
    let steps = definition.steps.iter().map(|step| {
        let mut lean = without_defaults(step);
        lean_settings::<Step>(&mut lean, step);
        lean
    });
    whole["steps"] = steps.collect();
    if !definition.variables.is_empty() {
        whole["variables"] = definition.variables.iter().map(without_defaults::<Variable>).collect();
    }
    whole
}

fn without_defaults<T: Serialize + DeserializeOwned + PartialEq>(value: &T) -> Value {
    let mut whole = serde_json::to_value(value).unwrap_or_default();
    for name in names(&whole) {
        drop_unless_needed(&mut whole, value, &[], &name);
    }
    whole
}

fn lean_settings<T: DeserializeOwned + PartialEq>(lean: &mut Value, value: &T) {
    for name in names(&lean["config"]) {
        drop_unless_needed(lean, value, &["config"], &name);
    }
}

fn names(value: &Value) -> Vec<String> {
    value.as_object().into_iter().flat_map(|fields| fields.keys().cloned()).collect()
}

fn drop_unless_needed<T: DeserializeOwned + PartialEq>(whole: &mut Value, value: &T, at: &[&str], name: &str) {
    let mut without = whole.clone();
    let mut inner = &mut without;
    for part in at {
        inner = &mut inner[*part];
    }
    let Some(fields) = inner.as_object_mut() else { return };
    fields.remove(name);
    if serde_json::from_value::<T>(without.clone()).is_ok_and(|read| read == *value) {
        *whole = without;
    }
}

/// The order in which people read what a definition says.
const ORDER: [&str; 24] = [
    "key", "id", "name", "description", "category", "type", "onError", "trigger", "event", "label", "required",
    "default", "title", "variables", "steps", "config", "retry", "timeout", "compensation", "transitions", "when",
    "equals", "on", "to",
];

/// A value whose fields come in that order, those that it does not name by the alphabet.
struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut all: Vec<(&String, &Value)> = fields.iter().collect();
                let rank = |name: &str| ORDER.iter().position(|n| *n == name).unwrap_or(ORDER.len());
                all.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
                let mut map = s.serialize_map(Some(all.len()))?;
                for (name, value) in all {
                    map.serialize_entry(name, &Ordered(value))?;
                }
                map.end()
            }
            Value::Array(items) => s.collect_seq(items.iter().map(Ordered)),
            other => other.serialize(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
key: review
name: Review
steps:
  - id: ask
    name: Ask
    type: approval
    config:
      title: 'May {{ subject.displayName }}?'
      approvers:
        - group: reviewers
    transitions:
      - on: approved
        to: done
  - id: done
    name: Done
    type: end
";

    #[test]
    fn what_is_written_reads_back_as_the_same_definition_in_both_formats() {
        let read = super::read(TEXT, Format::Yaml).expect("reads");
        for format in [Format::Yaml, Format::Json] {
            let text = write("review", &read.definition, format).expect("writes");
            let again = super::read(&text, format).expect("reads again");
            assert_eq!(again, read, "{text}");
            assert_eq!(write("review", &again.definition, format).expect("writes"), text, "one form");
        }
        let text = write("review", &read.definition, Format::Yaml).expect("writes");
        assert!(text.starts_with("key: review\nname: Review\n"), "{text}");
        assert!(!text.contains("description") && !text.contains("stages"), "what says nothing is left out: {text}");
    }

    #[test]
    fn every_fault_of_the_form_has_its_path_and_place() {
        let text = TEXT.replace("group: reviewers", "grup: reviewers").replace("type: end", "type: stop");
        let found = super::read(&text, Format::Yaml).expect_err("faults");
        let shown: Vec<(&str, Option<u32>)> = found.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert!(shown[0].0.starts_with("steps[0].config.approvers[0]") && shown[0].1 == Some(10), "{found:?}");
        assert_eq!(shown[1..], [("steps[1].type", Some(16))], "{found:?}");
    }

    #[test]
    fn each_part_of_a_step_is_named() {
        let rows = [
            (json!({ "id": "a", "type": "end" }), "steps[0].name"),
            (json!({ "id": "a", "name": "A", "type": "end", "wrong": 1 }), "steps[0].wrong"),
            (json!({ "id": "a", "name": "A", "type": "end", "config": 7 }), "steps[0].config"),
            (json!({ "id": "a", "name": "A", "type": "delay", "config": {} }), "steps[0].config"),
            (json!({ "id": "a", "name": "A", "type": "end", "retry": { "count": "x" } }), "steps[0].retry.count"),
            (json!({ "id": "a", "name": "A", "config": {} }), "steps[0].type"),
            (json!({ "id": "a", "name": "A", "type": "end", "transitions": [{ "on": 1 }] }), "steps[0].transitions[0].on"),
            (json!({ "id": "a", "name": "A", "type": "end", "compensation": { "type": "http", "config": { "urll": "" } } }),
                "steps[0].compensation.config.urll"),
            (json!(3), "steps[0]"),
        ];
        for (step, path) in rows {
            let found = definition(json!({ "name": "T", "steps": [step] })).expect_err("a fault");
            assert!(found.iter().any(|f| f.path.starts_with(path)), "{path} is not in {found:?}");
        }
        let found = definition(json!({ "name": 3, "steps": [{ "id": "a" }] })).expect_err("faults");
        assert!(found.iter().any(|f| f.path == "name") && found.iter().any(|f| f.path.starts_with("steps[0]")), "{found:?}");
    }

    #[test]
    fn a_key_names_a_workflow_and_a_file() {
        for good in ["a", "access-request", "wfl_01j", "v2.1"] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", ".a", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
