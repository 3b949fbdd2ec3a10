//! What a run or a form is given, checked field by field.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::problem::{FieldError, Problem};
use crate::features::workflow::definitions::{Definition, Variable, fields};

/// A form: its fields in order, and the same as JSON Schema.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct FormView {
    /// What is filled in.
    pub fields: Vec<Variable>,
    /// JSON Schema (draft 2020-12) of what is sent.
    #[schema(value_type = Object)]
    pub schema: Value,
}

impl FormView {
    /// The form with these fields.
    pub fn of(fields: Vec<Variable>) -> Self {
        let schema = fields::schema(&fields);
        Self { fields, schema }
    }
}

/// The variables of a run that is started with `input`; each fault is told by its field.
pub fn variables(definition: &Definition, input: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    if definition.variables.is_empty() && input.is_empty() {
        return Ok(input);
    }
    filled("input", &definition.variables, input)
}

/// What a form was filled in with, defaults included; each fault is told by its field, behind `under`.
pub fn filled(under: &str, form: &[Variable], mut input: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    // Null is as good as nothing, and so is a blank text where one is needed.
    input.retain(|name, value| {
        let required = form.iter().any(|f| f.required && f.name == *name);
        !(value.is_null() || required && value.as_str().is_some_and(|text| text.trim().is_empty()))
    });
    for field in form {
        if let Some(default) = field.default.as_ref().filter(|_| !input.contains_key(&field.name)) {
            input.insert(field.name.clone(), default.clone());
        }
    }
    let found = fields::faults(form, &input).map_err(|why| Problem::refused(format!("The form cannot be used: {why}.")))?;
    let placed = found.into_iter().map(|f| FieldError { field: format!("{under}.{}", f.field), message: f.message });
    Problem::from_fields(placed.collect())?;
    for field in form {
        input.entry(field.name.clone()).or_insert(Value::Null);
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form() -> Vec<Variable> {
        serde_json::from_value(json!([
            { "name": "project", "type": "string", "required": true },
            { "name": "days", "type": "number", "default": 30 },
            { "name": "note", "type": "string" },
        ]))
        .expect("reads")
    }

    fn given(value: Value) -> Result<Map<String, Value>, Problem> {
        let Value::Object(values) = value else { panic!("an object") };
        filled("input", &form(), values)
    }

    #[test]
    fn defaults_are_filled_in_and_what_is_left_out_is_null() {
        let found = given(json!({ "project": "x", "note": null })).expect("fits");
        assert_eq!(Value::Object(found), json!({ "project": "x", "days": 30, "note": null }));
    }

    #[test]
    fn every_fault_is_told_at_once_by_its_field() {
        let Err(Problem::Invalid { errors, .. }) = given(json!({ "project": "  ", "days": "many", "more": 1 })) else {
            panic!("it is refused")
        };
        let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
        assert_eq!(told, ["input.days: expected a number", "input.more: there is no such field", "input.project: is required"]);
    }
}
