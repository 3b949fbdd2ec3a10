//! Variables and fields of forms: their JSON Schema, what is wrong with one, what is wrong with its value.
//!
//! # Invariants
//! - What the schema says is what the server checks: values are judged by the schema itself.
//! - A check takes time in proportion to what it reads, whatever the pattern, and asks nobody outside.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::{Variable, VariableType};
use crate::base::problem::FieldError;

/// The most fields of a form.
pub const MAX_FIELDS: usize = 100;
/// The most values that a field offers.
const MAX_OPTIONS: usize = 200;
/// The longest text that a field may take.
const MAX_LENGTH: u32 = 100_000;
/// The longest label and description.
const MAX_WORDS: usize = 1_000;
/// The longest pattern, and how large it may become.
const MAX_PATTERN: usize = 500;
const PATTERN_BYTES: usize = 1 << 20;

/// The JSON Schema (draft 2020-12) of an object with these fields; `x-order` says how they follow one another.
pub fn schema(fields: &[Variable]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().enumerate().map(|(i, field)| (field.name.clone(), property(field, i))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|f| f.required && f.default.is_none()).map(|f| f.name.as_str()).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(field: &Variable, order: usize) -> Value {
    let mut found = match field.kind {
        VariableType::String => json!({ "type": "string" }),
        VariableType::Number => json!({ "type": "number" }),
        VariableType::Boolean => json!({ "type": "boolean" }),
        VariableType::Date => json!({ "type": "string", "format": "date" }),
        VariableType::Object => json!({ "type": "object" }),
        VariableType::Array => json!({ "type": "array" }),
    };
    let words = [("title", &field.label), ("description", &field.description), ("pattern", &field.pattern)];
    for (name, text) in words {
        if let Some(text) = text {
            found[name] = json!(text);
        }
    }
    for (name, number) in [("minimum", &field.min), ("maximum", &field.max)] {
        if let Some(number) = number {
            found[name] = json!(number);
        }
    }
    if let Some(default) = &field.default {
        found["default"] = default.clone();
    }
    if let Some(most) = field.max_length {
        found["maxLength"] = json!(most);
    }
    if field.required && field.kind == VariableType::String {
        found["minLength"] = json!(1);
    }
    match (field.options.is_empty(), field.kind) {
        (true, _) => {}
        (false, VariableType::Array) => {
            found["items"] = json!({ "enum": field.options });
            found["uniqueItems"] = json!(true);
        }
        (false, _) => found["enum"] = json!(field.options),
    }
    found["x-order"] = json!(order);
    found
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES))
        .build(schema)
        .map_err(|e| e.to_string())
}

/// What is wrong with the values of these fields, each fault by its field; the `Err` is a fault of the fields.
pub fn faults(fields: &[Variable], values: &Map<String, Value>) -> Result<Vec<FieldError>, String> {
    let validator = compile(&schema(fields))?;
    let whole = Value::Object(values.clone());
    let mut found: Vec<FieldError> = validator.iter_errors(&whole).flat_map(|e| told(fields, &e)).collect();
    found.sort_by(|a, b| a.field.cmp(&b.field));
    Ok(found)
}

fn told(fields: &[Variable], error: &ValidationError<'_>) -> Vec<FieldError> {
    let at = error.instance_path().as_str();
    let one = |message: String| vec![FieldError { field: dotted(at), message }];
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let field = property.as_str().unwrap_or_default().to_owned();
            vec![FieldError { field, message: "is required".to_owned() }]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| FieldError { field: name.clone(), message: "there is no such field".to_owned() })
            .collect(),
        ValidationErrorKind::Type { .. } => {
            let name = at.trim_start_matches('/').split('/').next().unwrap_or_default();
            let kind = fields.iter().find(|f| f.name == name).map(|f| f.kind);
            one(format!("expected {}", kind.map_or("another type", noun)))
        }
        ValidationErrorKind::Enum { options } => one(format!("expected one of {}", listed(options))),
        ValidationErrorKind::Minimum { limit } => one(format!("expected at least {limit}")),
        ValidationErrorKind::Maximum { limit } => one(format!("expected at most {limit}")),
        ValidationErrorKind::MaxLength { limit } => one(format!("expected at most {limit} characters")),
        ValidationErrorKind::MinLength { .. } => one("is required".to_owned()),
        ValidationErrorKind::Pattern { pattern } => one(format!("expected a text that fits {pattern}")),
        ValidationErrorKind::Format { .. } => one("expected a day such as 2031-03-01".to_owned()),
        ValidationErrorKind::UniqueItems => one("expected each item once".to_owned()),
        _ => one(error.to_string()),
    }
}

/// `list[0]` for `/list/0`.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').filter(|p| !p.is_empty()) {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            path.push_str(&format!("[{part}]"));
        } else {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(part);
        }
    }
    path
}

fn listed(options: &Value) -> String {
    let all = options.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|o| o.as_str().map_or_else(|| o.to_string(), str::to_owned)).collect::<Vec<_>>().join(", ")
}

fn noun(kind: VariableType) -> &'static str {
    match kind {
        VariableType::String => "a text",
        VariableType::Number => "a number",
        VariableType::Boolean => "true or false",
        VariableType::Date => "a day such as 2031-03-01",
        VariableType::Object => "an object",
        VariableType::Array => "a list",
    }
}

/// What is wrong with a field itself: which part of it, and why.
pub fn faults_of(field: &Variable) -> Vec<(&'static str, String)> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let kind = field.kind;
    let mut fault = |part: &'static str, message: &str| found.push((part, message.to_owned()));
    for (part, text) in [("label", &field.label), ("description", &field.description)] {
        if text.as_ref().is_some_and(|t| t.chars().count() > MAX_WORDS) {
            fault(part, "expected at most 1000 characters");
        }
    }
    if (field.min.is_some() || field.max.is_some()) && kind != VariableType::Number {
        fault(if field.min.is_some() { "min" } else { "max" }, "only a number has a smallest and a largest value");
    }
    let [min, max] = [&field.min, &field.max].map(|n| n.as_ref().and_then(serde_json::Number::as_f64));
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        fault("max", "expected at least min");
    }
    if field.max_length.is_some_and(|m| !(1..=MAX_LENGTH).contains(&m)) {
        fault("maxLength", "expected 1 to 100000 characters");
    }
    if field.max_length.is_some() && kind != VariableType::String {
        fault("maxLength", "only a text has a length");
    }
    if !field.options.is_empty() && matches!(kind, VariableType::Boolean | VariableType::Object) {
        fault("options", "only texts, numbers, days and lists have options");
    } else if field.options.len() > MAX_OPTIONS {
        fault("options", "expected at most 200 options");
    } else if !options_fit(field) {
        fault("options", "expected different values of the field's type");
    }
    match &field.pattern {
        Some(_) if kind != VariableType::String => fault("pattern", "only a text has a pattern"),
        Some(pattern) if pattern.len() > MAX_PATTERN => fault("pattern", "expected at most 500 characters"),
        Some(pattern) if compile(&json!({ "type": "string", "pattern": pattern })).is_err() => {
            fault("pattern", "expected a regular expression without lookaround and back-references");
        }
        _ => {}
    }
    if found.is_empty() {
        found.extend(fault_of_default(field).map(|message| ("default", message)));
    }
    found
}

fn options_fit(field: &Variable) -> bool {
    let fits = |o: &Value| match field.kind {
        VariableType::Array => o.is_string() || o.is_number(),
        kind => kind.fits(o),
    };
    field.options.iter().enumerate().all(|(i, o)| fits(o) && !field.options[..i].contains(o))
}

fn fault_of_default(field: &Variable) -> Option<String> {
    let default = field.default.as_ref()?;
    if !field.kind.fits(default) {
        return Some("expected a value of the variable's type".to_owned());
    }
    // A template is judged by what it becomes.
    if default.as_str().is_some_and(|text| text.contains("{{")) {
        return None;
    }
    let values = Map::from_iter([(field.name.clone(), default.clone())]);
    let first = faults(std::slice::from_ref(field), &values).ok()?.into_iter().next()?;
    Some(first.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: Value) -> Vec<Variable> {
        serde_json::from_value(text).expect("reads")
    }

    fn told_of(fields: &[Variable], values: Value) -> Vec<String> {
        let Value::Object(values) = values else { panic!("an object") };
        let found = faults(fields, &values).expect("the fields are sound");
        found.into_iter().map(|f| format!("{}: {}", f.field, f.message)).collect()
    }

    #[test]
    fn each_fault_of_a_value_is_told_by_its_field() {
        let form = fields(json!([
            { "name": "project", "type": "string", "required": true, "maxLength": 5, "pattern": "^[a-z]+$" },
            { "name": "days", "type": "number", "min": 1, "max": 365 },
            { "name": "from", "type": "date" },
            { "name": "level", "type": "string", "options": ["low", "high"] },
            { "name": "sites", "type": "array", "options": ["a", "b"] },
            { "name": "ok", "type": "boolean" },
        ]));
        assert_eq!(told_of(&form, json!({ "project": "x", "days": 365, "from": "2031-03-01", "sites": ["a"] })), [""; 0]);
        assert_eq!(
            told_of(&form, json!({ "days": 366, "from": "2031-02-30", "level": "mid", "sites": ["a", "c"], "ok": 1, "x": 1 })),
            [
                "days: expected at most 365",
                "from: expected a day such as 2031-03-01",
                "level: expected one of low, high",
                "ok: expected true or false",
                "project: is required",
                "sites[1]: expected one of a, b",
                "x: there is no such field",
            ]
        );
        assert_eq!(told_of(&form, json!({ "project": "ABCDEF" })).len(), 2);
        assert_eq!(told_of(&form, json!({ "project": "x", "days": 0 })), ["days: expected at least 1"]);
    }

    /// With an engine that goes back and forth this would take longer than anybody waits.
    #[test]
    fn a_pattern_takes_no_longer_than_its_text() {
        let form = fields(json!([{ "name": "t", "type": "string", "pattern": "^(a+)+$" }]));
        let text = format!("{}!", "a".repeat(50_000));
        assert_eq!(told_of(&form, json!({ "t": text })), ["t: expected a text that fits ^(a+)+$"]);
    }

    #[test]
    fn what_is_wrong_with_a_field_is_named_by_its_part() {
        for (text, part) in [
            (json!({ "name": "a", "type": "string", "pattern": "(" }), "pattern"),
            (json!({ "name": "a", "type": "string", "pattern": "(?=a)" }), "pattern"),
            (json!({ "name": "a", "type": "number", "pattern": "a" }), "pattern"),
            (json!({ "name": "a", "type": "number", "min": 2, "max": 1 }), "max"),
            (json!({ "name": "a", "type": "string", "min": 2 }), "min"),
            (json!({ "name": "a", "type": "string", "maxLength": 0 }), "maxLength"),
            (json!({ "name": "a", "type": "number", "options": ["x"] }), "options"),
            (json!({ "name": "a", "type": "string", "options": ["x", "x"] }), "options"),
            (json!({ "name": "a", "type": "boolean", "options": [true] }), "options"),
            (json!({ "name": "a", "type": "number", "max": 3, "default": 4 }), "default"),
            (json!({ "name": "a", "type": "number", "default": "4" }), "default"),
        ] {
            let field: Variable = serde_json::from_value(text.clone()).expect("reads");
            let found: Vec<&str> = faults_of(&field).iter().map(|(part, _)| *part).collect();
            assert_eq!(found, [part], "{text}");
        }
        let sound = json!({ "name": "a", "type": "string", "pattern": "^[A-Z]{2}$", "default": "{{ subject.email }}" });
        assert!(faults_of(&serde_json::from_value(sound).expect("reads")).is_empty());
    }

    #[test]
    fn the_schema_says_what_is_needed_and_in_which_order() {
        let form = fields(json!([
            { "name": "b", "type": "string", "required": true, "label": "B" },
            { "name": "a", "type": "date", "required": true, "default": "2031-03-01" },
        ]));
        let schema = schema(&form);
        assert_eq!(schema["required"], json!(["b"]));
        assert_eq!(schema["properties"]["b"], json!({ "type": "string", "title": "B", "minLength": 1, "x-order": 0 }));
        assert_eq!(schema["properties"]["a"]["format"], "date");
        assert_eq!(schema["properties"]["a"]["x-order"], 1);
    }
}
