//! Conditions: CEL expressions over the values of a run.
//!
//! # Invariants
//! - Truthiness, also of what `!`, `&&`, `||` and `? :` take: false, null, 0, "", [] and {} are false,
//!   everything else is true.
//! - A name, field or element that is missing is null, at any depth, written `vars.a` or `vars["a"]`;
//!   over a list that is missing nothing is repeated.
//! - `has(vars.a)` says whether the field is there, whatever else the expression mentions.
//! - An expression goes through a bounded number of items, does a bounded amount of work and gives a value of
//!   bounded size.

mod adapt;

use std::cell::Cell;
use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::objects::Key;
use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::Value;

use self::adapt::{Adapted, GET, HAS, ITEMS, PART, PATTERN, SO_FAR, TRUTHY, adapt};
use crate::base::memo::Memo;

/// The longest expression that is read.
const MAX_CHARS: usize = 4_000;
/// The names an expression may use.
pub const NAMES: [&str; 7] = ["vars", "subject", "requestor", "steps", "run", "item", "index"];

/// Why an expression cannot be read or computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ExpressionError(pub String);

/// The deepest nesting that is computed.
const MAX_DEPTH: usize = 200;
/// The most items that one expression goes through, repetitions inside repetitions counted each time.
const MAX_ITEMS: usize = 20_000;
/// The largest value, in bytes, that is gone through or given.
const MAX_SIZE: usize = 512 * 1024;
/// The most work of one expression: bytes of values that are looked at or made, eight more for each.
const MAX_WORK: usize = 16 * 1024 * 1024;
/// What a character of a pattern costs each time that the pattern is read.
const PATTERN_WORK: usize = 512;

/// Reads an expression without computing it.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    let program = compile(text)?;
    let bound = adapt(program.expression(), false)?.bound;
    let references = program.references();
    for name in references.variables() {
        if !NAMES.contains(&name) && name != SO_FAR && !bound.iter().any(|b| b == name) {
            let place = place_of(text, name);
            return Err(ExpressionError(format!("{place}{name} is not known here; use {}", NAMES.join(", "))));
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
        .map_err(|e| ExpressionError(e.errors.first().map_or_else(|| e.to_string(), |first| {
            let (line, column) = first.pos;
            // The end of the text has no place of its own.
            let place = if line > 0 { format!("line {line}, column {column}: ") } else { String::new() };
            format!("{place}{}", first.msg.lines().collect::<Vec<_>>().join(" "))
        })))
}

/// Where a name stands first in an expression.
fn place_of(text: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let found = text.match_indices(name).find(|(at, _)| {
        !text[..*at].ends_with(is_word) && !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    let Some((at, _)) = found else { return String::new() };
    let before = &text[..at];
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    format!("line {}, column {column}: ", before.matches('\n').count() + 1)
}

/// The variables of the run that an expression asks for, such as `days` for `vars.days`.
pub fn variables(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    if let Ok(program) = compile(text) {
        collect(program.expression(), &mut found, 0);
    }
    found
}

fn collect(e: &IdedExpr, found: &mut BTreeSet<String>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let mut inner = |e: &IdedExpr| collect(e, found, depth + 1);
    match &e.expr {
        Expr::Select(select) => {
            inner(&select.operand);
            if matches!(&select.operand.expr, Expr::Ident(name) if name == "vars") {
                found.insert(select.field.clone());
            }
        }
        Expr::Call(c) => {
            c.target.as_deref().into_iter().chain(&c.args).for_each(&mut inner);
            if let (operators::INDEX, [from, key]) = (c.func_name.as_str(), c.args.as_slice())
                && matches!(&from.expr, Expr::Ident(name) if name == "vars")
                && let Expr::Literal(LiteralValue::String(key)) = &key.expr
            {
                found.insert(key.to_string());
            }
        }
        Expr::Comprehension(c) => {
            [&c.iter_range, &c.accu_init, &c.loop_cond, &c.loop_step, &c.result].into_iter().for_each(inner);
        }
        Expr::List(list) => list.elements.iter().for_each(inner),
        Expr::Map(map) => {
            for entry in &map.entries {
                if let EntryExpr::MapEntry(pair) = &entry.expr {
                    inner(&pair.key);
                    inner(&pair.value);
                }
            }
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {}
    }
}

/// Whether the expression is true of these values.
pub fn is_true(text: &str, values: &Value) -> Result<bool, ExpressionError> {
    compute(text, values).map(|value| is_truthy(&value))
}

/// What the expression gives, as JSON.
pub fn value(text: &str, values: &Value) -> Result<Value, ExpressionError> {
    let value = compute(text, values)?;
    check_size(&value).map_err(|e| ExpressionError(e.to_string()))?;
    value.json().map_err(|e| ExpressionError(format!("gives no JSON value: {e}")))
}

/// An expression that was read.
struct Ready {
    /// Asks for the values of the run one by one: each is found once, before it is computed.
    quick: Adapted,
    /// Takes them from the whole: for when one of them cannot be found that way, so that what is wrong with
    /// it is told only if it is needed.
    plain: Adapted,
}

/// Expressions that a thread keeps: those of the definitions that run.
const KEPT: usize = 500;

thread_local! {
    /// Items that the expression that is being computed went through so far.
    static GONE_THROUGH: Cell<usize> = const { Cell::new(0) };
    /// The work that it did so far.
    static WORK: Cell<usize> = const { Cell::new(0) };
    static READY: Memo<Ready> = Memo::new(KEPT);
    static FUNCTIONS: Result<Context<'static, 'static>, String> = {
        let mut context = Context::default();
        add_functions(&mut context).map(|()| context).map_err(|e| e.to_string())
    };
}

fn read(text: &str) -> Result<Ready, ExpressionError> {
    let program = compile(text)?;
    Ok(Ready { quick: adapt(program.expression(), true)?, plain: adapt(program.expression(), false)? })
}

fn compute(text: &str, values: &Value) -> Result<CelValue, ExpressionError> {
    let ready = READY.with(|kept| kept.get(text, || read(text)))?;
    GONE_THROUGH.set(0);
    WORK.set(0);
    let found: Option<Vec<_>> = ready.quick.paths.iter().map(|path| path.find(values)).collect();
    let adapted = if found.is_some() { &ready.quick } else { &ready.plain };
    FUNCTIONS.with(|functions| {
        let functions = functions.as_ref().map_err(|e| ExpressionError(e.clone()))?;
        let mut context = functions.new_inner_scope();
        let mut add = |name: &str, value: &Value| {
            context.add_variable(name, value).map_err(|e| ExpressionError(format!("{name} cannot be used: {e}")))
        };
        for name in &adapted.names {
            add(name, values.get(*name).unwrap_or(&Value::Null))?;
        }
        for (path, value) in adapted.paths.iter().zip(found.iter().flatten()) {
            add(&path.slot, value)?;
        }
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| CelValue::resolve(&adapted.expression, &context)))
            .map_err(|gone| match gone.downcast::<TooMuch>() {
                Ok(why) => ExpressionError(why.0),
                Err(_) => ExpressionError("cannot be computed".to_owned()),
            })?
            .map_err(|e| ExpressionError(e.to_string()))
    })
}

fn add_functions(context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
    context.add_function(GET, |from: CelValue, key: CelValue| spend(&from).and_then(|()| member(&from, &key)))?;
    context.add_function(HAS, |from: CelValue, key: CelValue| spend(&from).and_then(|()| has(&from, &key)))?;
    context.add_function(TRUTHY, |value: CelValue| spend(&value).map(|()| is_truthy(&value)))?;
    context.add_function(PART, |value: CelValue| spend(&value).map(|()| value))?;
    context.add_function(PATTERN, |value: CelValue| spend_on_pattern(&value).map(|()| value))?;
    context.add_function(ITEMS, items)
}

/// Counts the work of looking at a value, which is as large as the value.
fn spend(value: &CelValue) -> Result<(), ExecutionError> {
    let mut left = MAX_WORK.saturating_sub(WORK.get());
    let enough = fits(value, &mut left);
    WORK.set(MAX_WORK - left);
    if enough { Ok(()) } else { too_much_work() }
}

/// Ends the computation at once. As an error it would be kept until a repetition is over: in `all` and `exists`, a
/// later item may make it irrelevant, so that all of them are gone through.
struct TooMuch(String);

fn give_up(why: String) -> ! {
    // Not a panic: nothing is reported, and `compute` takes it.
    std::panic::resume_unwind(Box::new(TooMuch(why)))
}

fn too_much_work() -> ! {
    give_up("takes too much work; go through fewer or smaller values".to_owned())
}

/// Counts the work of reading a pattern: what is to be there many times is read as often.
fn spend_on_pattern(value: &CelValue) -> Result<(), ExecutionError> {
    let CelValue::String(text) = value else { return Ok(()) };
    // A class such as \w stands for many characters.
    let (mut size, mut factor) = (text.len() + 16 * text.matches('\\').count(), 1_usize);
    for (at, _) in text.match_indices('{') {
        let counts = text[at + 1..].split('}').next().unwrap_or_default();
        let most = counts.split(',').filter_map(|n| n.trim().parse::<usize>().ok()).max().unwrap_or(1);
        // A group in a group multiplies, a character does not.
        if text[..at].ends_with(')') {
            factor = factor.saturating_mul(most.max(1));
        } else {
            size = size.saturating_add(most);
        }
    }
    let work = size.saturating_mul(factor).saturating_mul(PATTERN_WORK).saturating_add(WORK.get());
    WORK.set(work.min(MAX_WORK));
    if work > MAX_WORK { too_much_work() } else { Ok(()) }
}

/// What is gone through, unless it is too much: repetitions inside repetitions multiply.
fn items(value: CelValue) -> Result<CelValue, ExecutionError> {
    let count = match &value {
        CelValue::Null => return Ok(CelValue::List(Vec::new().into())),
        CelValue::List(list) => list.len(),
        CelValue::Map(map) => map.map.len(),
        _ => 0,
    };
    let total = GONE_THROUGH.get().saturating_add(count);
    GONE_THROUGH.set(total);
    if total > MAX_ITEMS {
        give_up(format!("goes through more than {MAX_ITEMS} items"));
    }
    check_size(&value)?;
    spend(&value)?;
    Ok(value)
}

/// A value may hold the same part many times over and so be far larger than what it was made of.
fn check_size(value: &CelValue) -> Result<(), ExecutionError> {
    let mut left = MAX_SIZE;
    if fits(value, &mut left) {
        return Ok(());
    }
    Err(ExecutionError::function_error("size", format!("a value takes more than {MAX_SIZE} bytes")))
}

fn fits(value: &CelValue, left: &mut usize) -> bool {
    let own = 8 + match value {
        CelValue::String(text) => text.len(),
        CelValue::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    let Some(rest) = left.checked_sub(own) else { return false };
    *left = rest;
    match value {
        CelValue::List(list) => list.iter().all(|v| fits(v, left)),
        CelValue::Map(map) => map.map.values().all(|v| fits(v, left)),
        _ => true,
    }
}

/// A field of an object or an element of a list; null when it is missing.
fn member(from: &CelValue, key: &CelValue) -> Result<CelValue, ExecutionError> {
    match (from, key) {
        (CelValue::Null, _) => Ok(CelValue::Null),
        (CelValue::Map(map), key) => Ok(map.get(&map_key(key)?).cloned().unwrap_or(CelValue::Null)),
        (CelValue::List(list), CelValue::Int(i)) => {
            Ok(usize::try_from(*i).ok().and_then(|i| list.get(i)).cloned().unwrap_or(CelValue::Null))
        }
        (_, key) => Err(no_member(key)),
    }
}

fn has(from: &CelValue, key: &CelValue) -> Result<bool, ExecutionError> {
    match from {
        CelValue::Null => Ok(false),
        CelValue::Map(map) => Ok(map.get(&map_key(key)?).is_some()),
        _ => Err(no_member(key)),
    }
}

fn map_key(key: &CelValue) -> Result<Key, ExecutionError> {
    match key {
        CelValue::String(text) => Ok(Key::String(text.clone())),
        CelValue::Int(i) => Ok(Key::Int(*i)),
        CelValue::UInt(i) => Ok(Key::Uint(*i)),
        CelValue::Bool(b) => Ok(Key::Bool(*b)),
        other => Err(ExecutionError::unsupported_key_type(other.clone())),
    }
}

fn no_member(key: &CelValue) -> ExecutionError {
    let key = match key {
        CelValue::String(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    ExecutionError::function_error("field", format!("{key} is asked of a value that is neither an object nor a list"))
}

fn is_truthy(value: &CelValue) -> bool {
    match value {
        CelValue::Null => false,
        CelValue::Bool(b) => *b,
        CelValue::Int(i) => *i != 0,
        CelValue::UInt(i) => *i != 0,
        CelValue::Float(f) => *f != 0.0,
        CelValue::String(text) => !text.is_empty(),
        CelValue::Bytes(bytes) => !bytes.is_empty(),
        CelValue::List(list) => !list.is_empty(),
        CelValue::Map(map) => !map.map.is_empty(),
        _ => true,
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

    /// Missing is null, null is false, at any depth and in every form of writing it.
    #[test]
    fn what_is_missing_is_null_and_null_is_false() {
        let values = json!({
            "vars": {
                "none": null, "zero": 0, "one": 1, "half": 0.5, "empty": "", "word": "x", "no": false, "yes": true,
                "list": [], "tags": ["a", "b"], "bag": {}, "box": { "part": { "deep": 7 }, "null": null },
                "people": [{ "name": "Ada", "lead": true }, { "name": "Rosa" }],
            },
            "subject": { "attributes": { "uid": "ada" } },
            "requestor": null,
            "steps": { "ask": { "outcome": "approved" } },
        });
        let rows: [(&str, bool); 74] = [
            // Fields that are missing, nested and by index.
            ("vars.a", false), ("!vars.a", true), ("vars.a.b", false), ("!vars.a.b", true), ("!vars.a.b.c.d", true),
            ("vars.a.b == null", true), ("vars.a.b != 1", true), ("vars.box.part.deep == 7", true),
            ("!vars.box.out.deep", true), ("!vars.none.deep", true), ("!requestor.email", true),
            ("requestor.email == null", true), ("steps.ask.outcome == 'approved'", true), ("!steps.other.outcome", true),
            (r#"vars["a"]"#, false), (r#"!vars["a"]"#, true), (r#"!vars["a"]["b"]"#, true), (r#"!vars["a"].b"#, true),
            (r#"!vars.a["b"]"#, true), (r#"vars["box"].part["deep"] == 7"#, true), ("vars['word'] == 'x'", true),
            ("vars.tags[0] == 'a'", true), ("vars.tags[5] == null", true), ("!vars.tags[-1]", true),
            (r#"vars["word"] == vars.word"#, true), ("subject.attributes['uid'] == 'ada'", true),
            ("!subject.attributes['mail']", true),
            // has: alone, nested, beside another mention of the same field.
            ("has(vars.a)", false), ("has(vars.word)", true), ("!has(vars.a)", true), ("has(vars.none)", true),
            ("has(vars.a.b)", false), ("has(vars.box.part)", true), ("has(vars.box.out)", false),
            ("has(vars.box.part.deep)", true), ("has(requestor.email)", false), ("has(vars.a) && vars.a == 1", false),
            ("vars.a == null && !has(vars.a)", true), ("!has(vars.a) || vars.a == 'x'", true),
            ("vars.a == 1 || has(vars.a)", false), ("has(vars.word) && vars.word == 'x'", true),
            ("has(vars.a) ? vars.a : vars.word == 'x'", true), (r#"has(vars.a) || vars["a"] == null"#, true),
            // Truthiness of other kinds.
            ("vars.zero", false), ("vars.one", true), ("vars.half", true), ("vars.empty", false), ("vars.word", true),
            ("vars.none", false), ("vars.list", false), ("vars.tags", true), ("vars.bag", false), ("vars.box", true),
            ("!vars.zero", true), ("!vars.word", false), ("!vars.list", true), ("!!vars.word", true),
            // Operators that take truth.
            ("vars.word && vars.one", true), ("vars.word && vars.zero", false), ("vars.a && vars.a.b > 3", false),
            ("vars.a || vars.word", true), ("vars.a || vars.none", false), ("!vars.a && !vars.none", true),
            ("vars.word ? vars.yes : vars.no", true), ("vars.a ? vars.yes : vars.no", false),
            ("(vars.zero ? 'y' : 'n') == 'n'", true), ("!(vars.a.b || vars.empty)", true),
            // Lists.
            ("vars.people.exists(p, p.lead)", true), ("vars.people.all(p, p.lead)", false),
            ("vars.people.filter(p, !p.lead).size() == 1", true), ("vars.a.exists(p, p.lead)", false),
            ("vars.people.map(p, p.name) == ['Ada', 'Rosa']", true), ("'a' in vars.a", false),
            ("vars.people.exists_one(p, has(p.lead))", true),
        ];
        for (text, expected) in rows {
            assert_eq!(check(text), Ok(()), "{text}");
            assert_eq!(is_true(text, &values), Ok(expected), "{text}");
        }
    }

    /// What is no object has no fields: a condition over it is wrong, not false.
    #[test]
    fn a_field_of_a_text_is_an_error_that_names_it() {
        let values = json!({ "vars": { "word": "x" } });
        let error = is_true("vars.word.length > 3", &values).unwrap_err().to_string();
        assert!(error.contains("length"), "{error}");
    }

    #[test]
    fn nesting_has_an_end() {
        let deep = format!("vars{}", ".a".repeat(1_500));
        assert!(check(&deep).is_err());
        assert!(is_true(&deep, &json!({})).is_err());
    }

    #[test]
    fn names_that_a_macro_binds_are_known() {
        assert_eq!(check("vars.tags.all(t, t == 'a')"), Ok(()));
        assert_eq!(check("[1, 2].exists(x, x > 1)"), Ok(()));
        assert!(check("t == 'a'").is_err());
    }

    /// Each level of these doubles or multiplies; without a bound they would outlast the universe.
    #[test]
    fn repetitions_inside_repetitions_have_an_end() {
        let values = json!({ "vars": { "list": (0..1000).collect::<Vec<_>>() } });
        assert_eq!(is_true("vars.list.all(a, vars.list.filter(b, b == 3).size() < 2 || a > 9)", &json!({ "vars": { "list": [1, 2] } })), Ok(true));
        let product = "vars.list.exists(a, vars.list.exists(b, vars.list.exists(c, a + b + c == -1)))";
        let error = is_true(product, &values).unwrap_err().to_string();
        assert!(error.contains("more than 20000 items"), "{error}");
        let lists = format!("[[1]]{}", ".map(a, [a, a])".repeat(60));
        assert!(value(&lists, &values).is_err());
        assert!(is_true(&format!("{lists} == {lists}"), &values).is_err());
        let texts = format!("['x']{}", ".map(s, s + s)".repeat(60));
        assert!(value(&texts, &values).is_err());
    }

    /// Each of these would take minutes or more memory than there is; each ends soon, with a reason.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
    fn no_expression_takes_long_or_much_memory() {
        let list: Vec<Value> = (0..10_000).map(|n| json!({ "n": n, "name": format!("name {n}") })).collect();
        let values = json!({ "vars": { "list": list, "big": "x".repeat(400_000), "few": (0..150).collect::<Vec<_>>() } });
        let sum = |n: usize| vec!["vars.big"; n].join(" + ");
        let texts = [
            "vars.list.all(a, vars == null || a.n >= 0)".to_owned(),
            "vars.list.all(a, has(vars.other) || a.n < 0 || vars.list == vars.list)".to_owned(),
            "vars.list.all(a, vars.big == vars.big)".to_owned(),
            "vars.list.all(a, !vars.big.contains('y'))".to_owned(),
            "vars.list.map(a, vars.big)".to_owned(),
            "vars.list.map(a, vars.big + 'y').size() > 0".to_owned(),
            "vars.list.map(a, [vars.big, vars.big]).size() > 0".to_owned(),
            "vars.list.map(a, {'a': vars.big}).size() > 0".to_owned(),
            "vars.few.all(a, vars.few.all(b, vars.few.all(c, true)))".to_owned(),
            "vars.list.all(a, a.name.matches('(n{1000}){1000}'))".to_owned(),
            "vars.list.all(a, a.name.matches('[\\\\pL\\\\d ]+ [0-9]+'))".to_owned(),
            format!("({}).size() > 0", sum(150)),
            format!("[{}].size() > 0", sum(380).replace(" + ", ", ")),
            format!("vars.list.all(a, {})", vec!["1 < 2"; 150].join(" && ")),
        ];
        for text in texts {
            let shown: String = text.chars().take(60).collect();
            let began = std::time::Instant::now();
            let error = value(&text, &values).expect_err(&shown).to_string();
            // Without optimisation everything takes many times as long.
            let most = std::time::Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
            assert!(began.elapsed() < most, "{shown} took {:?}", began.elapsed());
            assert!(error.contains("too much work") || error.contains("more than"), "{shown}: {error}");
        }
    }

    /// What people ask of lists of a size that people have stays well within it.
    #[test]
    fn ordinary_questions_are_answered() {
        let people: Vec<Value> =
            (0..500).map(|n| json!({ "id": n, "mail": format!("p{n}@example.org"), "born": "1990-01-31" })).collect();
        let values = json!({ "vars": { "people": people, "owner": 499, "text": "x".repeat(100_000) } });
        for text in [
            "vars.people.exists(p, p.id == vars.owner && p.mail.endsWith('example.org'))",
            "vars.people.all(p, p.mail.matches('^p[0-9]+@example.org$'))",
            "vars.people.filter(p, p.id > 10).map(p, p.mail + ';').size() == 489",
            "vars.text + vars.text != ''",
            "'p7@example.org' in vars.people.map(p, p.mail)",
        ] {
            assert_eq!(is_true(text, &values), Ok(true), "{text}");
        }
        assert_eq!(is_true("vars.people.exists(vars, vars.id == 7)", &values), Ok(true), "a name that is bound is that one");
        let deep = format!("'a'{} != ''", " + 'a'".repeat(190));
        assert_eq!(is_true(&deep, &values), Ok(true));
    }

    /// What is wrong with a value is told only where the value is needed.
    #[test]
    fn a_value_that_cannot_be_found_is_told_when_it_is_needed() {
        let values = json!({ "vars": { "word": "x", "n": 1 } });
        assert_eq!(is_true("vars.n == 2 && vars.word.length > 3", &values), Ok(false));
        assert_eq!(is_true("vars.n == 1 || vars.word[0] == 'x'", &values), Ok(true));
        assert!(is_true("vars.n == 1 && vars.word.length > 3", &values).is_err());
    }

    #[test]
    fn a_fault_says_line_and_column() {
        for (text, place) in [
            ("vars.days >\n  1 1", "line 2, column 5: "),
            ("vars.a ==\n nobody", "line 2, column 2: nobody is not known"),
            ("1 + person.name", "line 1, column 5: person is not known"),
            ("vars.person == person", "line 1, column 16: person is not known"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.starts_with(place), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_variables_of_an_expression_are_known() {
        let text = r#"vars.a > 1 && (vars["b"] || !vars.c.d) && vars.list.exists(x, x == vars.e) && steps.vars.f == null"#;
        let found: Vec<String> = variables(text).into_iter().collect();
        assert_eq!(found, ["a", "b", "c", "e", "list"]);
    }

    #[test]
    fn unreadable_expressions_are_errors_not_panics() {
        for bad in ["", "1 +", "vars.", "((((", "\u{0}", "unknown_name == 1", "'open"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
