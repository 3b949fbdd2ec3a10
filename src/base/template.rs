//! Templates: texts with `{{ … }}` that are filled from a JSON context.
//!
//! # Invariants
//! - What the context does not have is an error, never an empty text; so is null inside a text.
//! - A text that is exactly one `{{ … }}` keeps the JSON type of its value.
//! - A value in a text under a key that names a distinguished name (`dn`, `…Dn`) is escaped by
//!   RFC 4514, under the key `path` it is one escaped URL path segment: data never adds structure.
//! - A template does a bounded amount of work and yields a bounded amount of text.

mod bounds;

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// Instructions one text may take.
const FUEL: u64 = 50_000;
/// Characters one text may become.
const MAX_CHARS: usize = 100_000;
/// Bytes of a value that is no text.
const MAX_VALUE: usize = 1024 * 1024;
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
    if let Some(why) = bounds::fault(text) {
        return Some((1, why));
    }
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
    if let Some(why) = bounds::fault(text) {
        return Err(why);
    }
    let begin = text.find(expression).unwrap_or_default();
    let value = env
        .compile_expression(expression)
        .and_then(|e| e.eval(context.clone()))
        .map_err(|e| format!("{}{}", placed(&e, text, begin), explain(&e)))?;
    if value.is_undefined() {
        return Err(format!("{}{{{{ {expression} }}}} is not known here", place_of(text, begin)));
    }
    let mut left = MAX_VALUE;
    if !fits(&value, &mut left) {
        return Err(format!("{{{{ {expression} }}}} became more than {MAX_VALUE} bytes"));
    }
    serde_json::to_value(&value).map_err(|_| format!("{{{{ {expression} }}}} is no JSON value"))
}

/// Whether a value is no larger than `left` bytes; a short expression can stand for a list without an end.
fn fits(value: &minijinja::Value, left: &mut usize) -> bool {
    let own = 1 + value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter().is_ok_and(|mut all| all.all(|v| fits(&v, left))),
        ValueKind::Map => value.try_iter().is_ok_and(|mut keys| {
            keys.all(|key| fits(&key, left) && value.get_item(&key).is_ok_and(|v| fits(&v, left)))
        }),
        _ => true,
    }
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
    if let Some(why) = bounds::fault(text) {
        return Err(why);
    }
    let filled = env
        .render_named_str(kind, text, context.clone())
        .map_err(|e| format!("{}{}", placed(&e, text, 0), explain(&e)))?;
    if filled.len() > MAX_CHARS {
        return Err(format!("became {} characters; expected at most {MAX_CHARS}", filled.len()));
    }
    Ok(filled)
}

fn check_at(env: &Environment<'_>, value: &Value, path: &str) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => {
            let wrong = |message: String| TemplateError { path: path.to_owned(), message };
            // First: what is written out is computed as the text is read.
            if let Some(why) = bounds::fault(text) {
                return Err(wrong(format!("line 1: {why}")));
            }
            let read = env.template_from_str(text);
            read.map(drop).map_err(|e| wrong(format!("{}{}", placed(&e, text, 0), explain(&e))))
        }
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| check_at(env, item, &format!("{path}[{i}]")))
        }
        Value::Object(fields) => {
            fields.iter().try_for_each(|(name, item)| check_at(env, item, &join(path, name)))
        }
        _ => Ok(()),
    }
}

/// Where in its text a template is wrong, as far as it is known; what was read begins at `begin`.
fn placed(error: &Error, text: &str, begin: usize) -> String {
    match error.range() {
        Some(range) => place_of(text, begin.saturating_add(range.start)),
        None => {
            let above = text.get(..begin).unwrap_or_default().matches('\n').count();
            format!("line {}: ", above + error.line().unwrap_or(1))
        }
    }
}

/// Line and column of a byte of a text, as the beginning of a message.
fn place_of(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {}, column {column}: ", before.matches('\n').count() + 1)
}

/// The names that a text takes from its context, with the fields that it asks of them, such as `vars.days`.
pub fn names(text: &str) -> std::collections::BTreeSet<String> {
    if bounds::fault(text).is_some() {
        return Default::default();
    }
    let Ok(template) = ENVIRONMENT.template_from_str(text) else { return Default::default() };
    template.undeclared_variables(true).into_iter().collect()
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
    let mut left = MAX_CHARS;
    if !fits(value, &mut left) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("a value takes more than {MAX_CHARS} characters")));
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
        assert!(error.message.ends_with("takes too much work; use a shorter template"), "{}", error.message);
    }

    /// Each of these would take hours, or more memory than there is; each ends at once, with a reason.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
    fn no_template_takes_long_or_much_memory() {
        let doubled = |n: usize, join: &str| {
            let sets: String = (0..n).map(|_| format!("{{% for a in [a {join} a] %}}")).collect();
            format!("{sets}x{}", "{% endfor %}".repeat(n))
        };
        let texts = [
            "{{ ([1] * 100000000)[99999999:] }}".to_owned(),
            "{{ (([1] * 100000000)[99999999:] * 1000)|length }}".to_owned(),
            "{{ ([1] * 100000000)|last }}".to_owned(),
            "{{ ([1] * 100000000)|list|length }}".to_owned(),
            "{{ ([1] * 100000000)|reverse|first }}".to_owned(),
            "{{ ([[1] * 100000] * 100000)|map('length')|sum }}".to_owned(),
            "{{ 5 in [1] * 100000000 }}".to_owned(),
            "{{ ([1] * 100000000) == ([1] * 100000000) }}".to_owned(),
            "{{ ([1] * 100000000)[99999999] }}".to_owned(),
            "{{ 'x' * 99999999 }}".to_owned(),
            "{{ ('x' * 9999)|replace('x', 'x' * 9999) }}".to_owned(),
            "{{ 'x'|center(99999999) }}{{ 'x'|indent(99999999) }}".to_owned(),
            "{{ '%99999999d'|format(1) }}".to_owned(),
            "{{ range(99999)|list * 9999 }}".to_owned(),
            "{{ (range(99999)|list)|map('string')|join('x' * 9999) }}".to_owned(),
            "{{ 9 ** 9 ** 9 }}".to_owned(),
            "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}".to_owned(),
            "{% set a = [1] %}".to_owned() + &"{% set a = a + a %}".repeat(64) + "{{ a|length }}",
            "{% macro m(a, n) %}{{ m(a ~ a, n - 1) if n }}{% endmacro %}{{ m('xx', 60) }}".to_owned(),
            doubled(60, "+"),
            doubled(60, "~"),
            format!("{{{{ a{} }}}}", " ~ b".repeat(9_000)),
            format!("{{{{ a{} }}}}", "|string".repeat(9_000)),
            format!("{{{{ a{} }}}}", ".b".repeat(9_000)),
            format!("{{{{ {}a }}}}", "not ".repeat(9_000)),
            format!("{{{{ a{} }}}}", " ~ b".repeat(390)),
        ];
        let context = json!({ "a": ["x"], "b": "x".repeat(10_000) });
        let context_of_text = json!({ "a": "x".repeat(1_000), "b": "x".repeat(10_000) });
        for text in &texts {
            let shown: String = text.chars().take(80).collect();
            for context in [&context, &context_of_text] {
                let began = std::time::Instant::now();
                let filled = render_value(&json!(text), context);
                let _ = (check_value(&json!(text)), names(text));
                assert!(began.elapsed() < std::time::Duration::from_secs(1), "{shown} took {:?}", began.elapsed());
                let size = filled.map(|v| v.to_string().len()).unwrap_or_default();
                assert!(size < 1_100_000, "{shown} became {size} bytes");
            }
        }
    }

    #[test]
    fn a_fault_is_told_with_its_line_and_column() {
        for (text, place) in [
            ("{{ nothing }}", "line 1, column 4: "),
            ("one\n  {{ nothing.at }}", "line 2, column 6: "),
            ("one\n\n {{ nothing }} two", "line 3, column 5: "),
            ("\n {{ person.managerId + 1 }}", "line 2, column 5: "),
        ] {
            let error = render_value(&json!(text), &context()).expect_err(text);
            assert!(error.message.starts_with(place), "{text:?}: {}", error.message);
        }
    }

    #[test]
    fn a_value_without_an_end_is_refused() {
        for text in ["{{ [1] * 99999999999 }}", "all: {{ [1] * 99999999999 }}", "{{ 'x' * 99999999999 }}"] {
            assert!(render_value(&json!(text), &context()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_spelling_is_checked_without_a_context() {
        assert!(check_value(&json!({ "dn": "uid={{ person.attributes.uid }},ou=people" })).is_ok());
        let open = check_value(&json!({ "a": ["{{ x"] })).expect_err("open");
        assert_eq!(open.path, "a[0]");
        assert!(open.message.starts_with("line 1"), "{}", open.message);
        let third = check_value(&json!("one\ntwo\n  {{ a b }}")).expect_err("no operator");
        assert!(third.message.starts_with("line 3, column "), "{}", third.message);
    }

    #[test]
    fn the_names_that_a_text_asks_for_are_known() {
        let text = "{{ vars.days }} {% for t in vars.tags %}{{ t.name }}{% endfor %} {{ other }}";
        let found: Vec<String> = names(text).into_iter().collect();
        assert_eq!(found, ["other", "vars.days", "vars.tags"]);
    }
}
