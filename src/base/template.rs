//! Templates: texts with `{{ … }}` that are filled from a JSON context.
//!
//! # Invariants
//! - What the context does not have is an error, never an empty text; so is null inside a text.
//! - A text that is exactly one `{{ … }}` keeps the JSON type of its value.
//! - A value in a text under a key that names a distinguished name (`dn`, `…Dn`) is escaped by
//!   RFC 4514, under the key `path` it is one escaped URL path segment: data never adds structure.
//! - A template does a bounded amount of work and yields a bounded amount of text.

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// Instructions one text may take.
const FUEL: u64 = 50_000;
/// Characters one text may become.
const MAX_CHARS: usize = 100_000;
/// Levels of objects and lists.
const MAX_DEPTH: usize = 64;

/// A template that cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct TemplateError {
    /// Where in the value, such as `attributes.mail[0]`; empty for the value itself.
    pub path: String,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Fills every text in `value`, at any depth; names of fields stay as they are.
pub fn render_value(value: &Value, context: &Value) -> Result<Value, TemplateError> {
    let context = context_of(context)?;
    render_at(&ENVIRONMENT, value, &context, &Place { path: String::new(), key: "", depth: 0 })
}

/// Fills one text; the answer is always a text.
pub fn render_text(text: &str, context: &Value) -> Result<String, TemplateError> {
    let context = context_of(context)?;
    render_plain(&ENVIRONMENT, "", text, &context).map_err(|message| TemplateError { path: String::new(), message })
}

/// Checks the spelling of every template in `value`, without a context.
pub fn check_value(value: &Value) -> Result<(), TemplateError> {
    check_at(&ENVIRONMENT, value, "")
}

/// What is wrong with one text that is filled from `sample`, and in which line.
pub fn fault_of(text: &str, sample: &Value) -> Option<(usize, String)> {
    let context = match context_of(sample) {
        Ok(context) => context,
        Err(e) => return Some((1, e.message)),
    };
    let filled = environment().render_named_str("", text, context);
    filled.err().map(|e| (e.line().unwrap_or(1), explain(&e)))
}

fn context_of(context: &Value) -> Result<minijinja::Value, TemplateError> {
    minijinja::Value::deserialize(context)
        .map_err(|e| TemplateError { path: String::new(), message: format!("the context cannot be read: {e}") })
}

struct Place<'a> {
    path: String,
    key: &'a str,
    depth: usize,
}

fn render_at(
    env: &Environment<'_>,
    value: &Value,
    context: &minijinja::Value,
    place: &Place<'_>,
) -> Result<Value, TemplateError> {
    let fail = |message: String| TemplateError { path: place.path.clone(), message };
    if place.depth > MAX_DEPTH {
        return Err(fail(format!("expected at most {MAX_DEPTH} levels of objects and lists")));
    }
    let depth = place.depth + 1;
    match value {
        Value::String(text) => render_string(env, text, context, place.key).map_err(fail),
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                let inner = Place { path: format!("{}[{i}]", place.path), key: place.key, depth };
                out.push(render_at(env, item, context, &inner)?);
            }
            Ok(Value::Array(out))
        }
        Value::Object(fields) => {
            let mut out = Map::with_capacity(fields.len());
            for (name, item) in fields {
                let inner = Place { path: join(&place.path, name), key: name, depth };
                out.insert(name.clone(), render_at(env, item, context, &inner)?);
            }
            Ok(Value::Object(out))
        }
        other => Ok(other.clone()),
    }
}

fn render_string(
    env: &Environment<'_>,
    text: &str,
    context: &minijinja::Value,
    key: &str,
) -> Result<Value, String> {
    let Some(expression) = lone_expression(text) else {
        return render_plain(env, kind_of(key), text, context).map(Value::String);
    };
    let value = env
        .compile_expression(expression)
        .and_then(|e| e.eval(context.clone()))
        .map_err(|e| explain(&e))?;
    if value.is_undefined() {
        return Err(format!("{{{{ {expression} }}}} is not known here"));
    }
    serde_json::to_value(&value).map_err(|_| format!("{{{{ {expression} }}}} is no JSON value"))
}

fn render_plain(
    env: &Environment<'_>,
    kind: &str,
    text: &str,
    context: &minijinja::Value,
) -> Result<String, String> {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return Ok(text.to_owned());
    }
    let filled = env.render_named_str(kind, text, context.clone()).map_err(|e| explain(&e))?;
    if filled.len() > MAX_CHARS {
        return Err(format!("became {} characters; expected at most {MAX_CHARS}", filled.len()));
    }
    Ok(filled)
}

fn check_at(env: &Environment<'_>, value: &Value, path: &str) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => env
            .template_from_str(text)
            .map(drop)
            .map_err(|e| TemplateError { path: path.to_owned(), message: explain(&e) }),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| check_at(env, item, &format!("{path}[{i}]")))
        }
        Value::Object(fields) => {
            fields.iter().try_for_each(|(name, item)| check_at(env, item, &join(path, name)))
        }
        _ => Ok(()),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The inside of a text that is one `{{ … }}` and nothing else.
fn lone_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let plain = !inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%");
    plain.then(|| inner.trim())
}

/// Names the escaping by the key that the text stands under.
fn kind_of(key: &str) -> &'static str {
    match key {
        "path" => "path",
        "dn" => "dn",
        k if k.ends_with("Dn") || k.ends_with("DN") => "dn",
        _ => "",
    }
}

/// The rules are the same for every template; only the values differ.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(environment);

fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|name| match name {
        "dn" => AutoEscape::Custom("dn".into()),
        "path" => AutoEscape::Custom("path".into()),
        _ => AutoEscape::None,
    });
    env.set_formatter(format_value);
    env.set_fuel(Some(FUEL));
    env
}

fn format_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &minijinja::Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is null; expected a text"));
    }
    let text = value.to_string();
    let text = match state.auto_escape() {
        AutoEscape::Custom(kind) if kind.as_ref() == "dn" => escape_dn(&text),
        AutoEscape::Custom(kind) if kind.as_ref() == "path" => escape_segment(&text)?,
        _ => text,
    };
    out.write_str(&text).map_err(Error::from)
}

/// An attribute value in a distinguished name (RFC 4514, section 2.4).
pub fn escape_dn(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (i, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                out.push('\\');
                out.push(c);
            }
            ' ' if i == 0 || i == last => out.push_str("\\ "),
            '#' if i == 0 => out.push_str("\\#"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// One segment of a URL path; a segment that would climb or vanish is refused.
fn escape_segment(value: &str) -> Result<String, Error> {
    if matches!(value, "" | "." | "..") {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{value:?} is no part of a path; expected at least one other character"),
        ));
    }
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@!$&'()*+,;=:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    Ok(out)
}

fn explain(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, Some(detail)) => format!("a value is not known here ({detail})"),
        (ErrorKind::UndefinedError, None) => "a value is not known here".to_owned(),
        (ErrorKind::OutOfFuel, _) => "takes too much work; use a shorter template".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context() -> Value {
        json!({
            "person": { "email": "ada@example.org", "managerId": null, "attributes": { "uid": "ada", "level": 3 } },
            "evil": { "dn": "x,ou=admins", "climb": "..", "slash": "../admin?x=1", "edge": " a# " },
        })
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_a_text_is_a_text() {
        let value = json!({
            "level": "{{ person.attributes.level }}", "label": "level {{ person.attributes.level }}",
            "boss": "{{ person.managerId }}", "list": ["{{ person.attributes }}", 7, true, null],
        });
        let expected = json!({
            "level": 3, "label": "level 3", "boss": null,
            "list": [{ "uid": "ada", "level": 3 }, 7, true, null],
        });
        assert_eq!(render_value(&value, &context()), Ok(expected));
    }

    /// An empty text in a directory or a URL would name another object.
    #[test]
    fn what_is_unknown_or_null_is_an_error_with_its_path() {
        for (text, part) in [
            ("{{ person.attributes.nothing }}", "not known"),
            ("x {{ person.attributes.nothing }}", "not known"),
            ("x {{ nothing.at.all }}", "not known"),
            ("x {{ person.managerId }}", "null"),
            ("{{ person. }}", ""),
        ] {
            let error = render_value(&json!({ "a": [{ "b": text }] }), &context()).expect_err(text);
            assert_eq!(error.path, "a[0].b");
            assert!(error.message.contains(part), "{text}: {}", error.message);
        }
    }

    #[test]
    fn data_adds_no_structure_to_names_and_paths() {
        let value = json!({
            "dn": "uid={{ evil.dn }},ou=people", "groupDn": "cn={{ evil.edge }},ou=groups",
            "path": "/users/{{ evil.slash }}/roles", "text": "{{ evil.dn }} as it is",
        });
        let expected = json!({
            "dn": "uid=x\\,ou\\=admins,ou=people", "groupDn": "cn=\\ a#\\ ,ou=groups",
            "path": "/users/..%2Fadmin%3Fx=1/roles", "text": "x,ou=admins as it is",
        });
        assert_eq!(render_value(&value, &context()), Ok(expected));
        assert!(render_value(&json!({ "path": "/u/{{ evil.climb }}" }), &context()).is_err());
    }

    #[test]
    fn a_template_that_runs_away_is_stopped() {
        let text = "{% for i in range(9000) %}{% for j in range(9000) %}x{% endfor %}{% endfor %}";
        let error = render_value(&json!(text), &context()).expect_err("stopped");
        assert_eq!(error.message, "takes too much work; use a shorter template");
    }

    #[test]
    fn the_spelling_is_checked_without_a_context() {
        assert!(check_value(&json!({ "dn": "uid={{ person.attributes.uid }},ou=people" })).is_ok());
        assert_eq!(check_value(&json!({ "a": ["{{ x"] })).expect_err("open").path, "a[0]");
    }
}
