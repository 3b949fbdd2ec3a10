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
    let bound = bound_by_macros(text);
    for name in references.variables() {
        if !NAMES.contains(&name) && !bound.iter().any(|b| b == name) {
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
    let mut values = values.clone();
    for path in member_paths(text) {
        fill_with_null(&mut values, &path);
    }
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

/// A name with its fields, and what stands before and after it.
struct Word<'a> {
    before: &'a str,
    name: &'a str,
    after: &'a str,
}

/// The words of a text that are names.
fn words(text: &str) -> Vec<Word<'_>> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find(is_word).map(|i| from + i) {
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |i| start + i);
        found.push(Word { before: text[..start].trim_end(), name: &text[start..end], after: text[end..].trim_start() });
        from = end;
    }
    found
}

/// Names that `all`, `exists`, `map` and `filter` bind to the elements of a list.
fn bound_by_macros(text: &str) -> Vec<String> {
    const MACROS: [&str; 5] = [".all(", ".exists(", ".exists_one(", ".map(", ".filter("];
    words(text)
        .into_iter()
        // The dot and the macro's name are part of the word before the bracket.
        .filter(|w| MACROS.iter().any(|m| w.before.ends_with(m)))
        .map(|w| w.name.to_owned())
        .collect()
}

/// The fields an expression looks at, such as `vars.project`, but for those that `has` asks about.
fn member_paths(text: &str) -> Vec<Vec<String>> {
    words(text)
        .into_iter()
        .filter(|w| !w.before.ends_with("has("))
        .map(|w| {
            let mut path: Vec<String> = w.name.split('.').map(str::to_owned).collect();
            if w.after.starts_with('(') {
                // The last one is a function of what stands before it.
                path.pop();
            }
            path
        })
        .filter(|path| path.len() > 1 && NAMES.contains(&path[0].as_str()))
        .collect()
}

/// Gives a missing field the value null, as far as there is an object to hold it.
fn fill_with_null(values: &mut Value, path: &[String]) {
    let mut at = values;
    for name in path {
        let Some(object) = at.as_object_mut() else { return };
        at = object.entry(name.clone()).or_insert(Value::Null);
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
        assert!(is("!has(vars.absent) && vars.days == 400"));
        assert!(is("vars.absent != true"));
        assert!(is("vars.absent == null"));
        assert!(is("vars.tags.all(t, t == 'a')"));
    }

    #[test]
    fn names_that_a_macro_binds_are_known() {
        assert_eq!(check("vars.tags.all(t, t == 'a')"), Ok(()));
        assert_eq!(check("[1, 2].exists(x, x > 1)"), Ok(()));
        assert!(check("t == 'a'").is_err());
    }

    #[test]
    fn unreadable_expressions_are_errors_not_panics() {
        for bad in ["", "1 +", "vars.", "((((", "\u{0}", "unknown_name == 1", "'open"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
