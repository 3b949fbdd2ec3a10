//! Conditions: CEL expressions over the values of a run.
//!
//! Truthiness: false, null, 0, "", [] and {} are false, everything else is true; a name or field that
//! is missing is null, so that `vars.project` may be tested before it is set.

use cel::{Context, Program};
use serde_json::Value;

/// The longest expression that is read.
const MAX_CHARS: usize = 4_000;
/// The names an expression may use.
pub const NAMES: [&str; 5] = ["vars", "subject", "requestor", "steps", "run"];

/// Why an expression cannot be read or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// Reads an expression without computing it.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    let program = compile(text)?;
    let references = program.references();
    for name in references.variables() {
        if !NAMES.contains(&name) {
            return Err(ExpressionError(format!("{name} is not known here; use {}", NAMES.join(", "))));
        }
    }
    Ok(())
}

fn compile(text: &str) -> Result<Program, ExpressionError> {
    if text.len() > MAX_CHARS {
        return Err(ExpressionError(format!("expected at most {MAX_CHARS} characters")));
    }
    // The parser is not ours; whatever it does with odd input must stay that input's fault.
    std::panic::catch_unwind(|| Program::compile(text))
        .map_err(|_| ExpressionError("cannot be read as CEL".to_owned()))?
        .map_err(|e| ExpressionError(e.to_string().lines().collect::<Vec<_>>().join(" ")))
}

/// Whether the expression is true of these values.
pub fn is_true(text: &str, values: &Value) -> Result<bool, ExpressionError> {
    let program = compile(text)?;
    let mut context = Context::default();
    for name in NAMES {
        let value = values.get(name).cloned().unwrap_or(Value::Null);
        context
            .add_variable(name, value)
            .map_err(|e| ExpressionError(format!("{name} cannot be used: {e}")))?;
    }
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| program.execute(&context)))
        .map_err(|_| ExpressionError("cannot be computed".to_owned()))?;
    match result {
        Ok(value) => Ok(truthy(&value.json().unwrap_or(Value::Null))),
        // A field that is not there is null, and null is false.
        Err(cel::ExecutionError::NoSuchKey(_)) => Ok(false),
        Err(e) => Err(ExpressionError(e.to_string())),
    }
}

fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_are_computed_over_the_values_of_a_run() {
        let values = json!({ "vars": { "days": 400, "project": "", "tags": ["a"] }, "subject": { "email": "a@b.c" } });
        let is = |text: &str| is_true(text, &values).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert!(is("vars.days > 365"));
        assert!(!is("vars.days > 365 && vars.project != ''"));
        assert!(is("'a' in vars.tags"));
        assert!(is("subject.email.endsWith('b.c')"));
        assert!(!is("vars.project"));
        assert!(!is("vars.absent"));
        assert!(!is("has(vars.absent)"));
    }

    #[test]
    fn unreadable_expressions_are_errors_not_panics() {
        for bad in ["", "1 +", "vars.", "((((", "\u{0}", "unknown_name == 1", "'open"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
