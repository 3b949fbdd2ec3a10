//! What a run or a form is given, checked field by field.

use serde_json::{Map, Value};

use crate::base::problem::{FieldError, Problem};
use crate::features::workflow::definitions::Definition;

/// The variables of a run that is started with `input`; each fault is told by its field.
pub fn variables(definition: &Definition, mut input: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut faults = Vec::new();
    let mut vars = Map::new();
    let mut fault = |name: &str, message: String| {
        faults.push(FieldError { field: format!("input.{name}"), message });
    };
    for variable in &definition.variables {
        let given = input.remove(&variable.name).filter(|v| !v.is_null());
        match given.or_else(|| variable.default.clone()) {
            Some(value) if !variable.kind.fits(&value) => {
                fault(&variable.name, format!("expected a {:?}", variable.kind).to_lowercase());
            }
            Some(Value::String(text)) if variable.required && text.trim().is_empty() => {
                fault(&variable.name, "is required".to_owned());
            }
            Some(value) => {
                vars.insert(variable.name.clone(), value);
            }
            None if variable.required => fault(&variable.name, "is required".to_owned()),
            None => {
                vars.insert(variable.name.clone(), Value::Null);
            }
        }
    }
    for name in input.keys() {
        fault(name, "the workflow has no such variable".to_owned());
    }
    Problem::from_fields(faults)?;
    Ok(vars)
}

