//! Conditions: CEL expressions over the values of a run.
//!
//! # Invariants
//! - Truthiness, also of what `!`, `&&`, `||` and `? :` take: false, null, 0, "", [] and {} are false,
//!   everything else is true.
//! - A name, field or element that is missing is null, at any depth, written `vars.a` or `vars["a"]`;
//!   over a list that is missing nothing is repeated.
//! - `has(vars.a)` says whether the field is there, whatever else the expression mentions.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
};
use cel::objects::Key;
use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::Value;

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
/// What the parser calls the result of `all`, `exists`, `map` and `filter` so far.
const SO_FAR: &str = "@result";

// Names that no expression can spell, so that nobody calls these or hides them.
const GET: &str = "@get";
const HAS: &str = "@has";
const TRUTHY: &str = "@truthy";
const ITEMS: &str = "@items";

/// Reads an expression without computing it.
pub fn check(text: &str) -> Result<(), ExpressionError> {
    let program = compile(text)?;
    let mut bound = Vec::new();
    adapt(program.expression(), &mut bound, 0)?;
    let references = program.references();
    for name in references.variables() {
        if !NAMES.contains(&name) && name != SO_FAR && !bound.iter().any(|b| b == name) {
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
    compute(text, values).map(|value| is_truthy(&value))
}

/// What the expression gives, as JSON.
pub fn value(text: &str, values: &Value) -> Result<Value, ExpressionError> {
    compute(text, values)?.json().map_err(|e| ExpressionError(format!("gives no JSON value: {e}")))
}

/// An expression that was read.
struct Ready {
    expression: IdedExpr,
    /// The names that it mentions.
    names: Vec<&'static str>,
}

/// Expressions that a thread keeps: those of the definitions that run.
const KEPT: usize = 500;

thread_local! {
    static READY: Memo<Ready> = Memo::new(KEPT);
    static FUNCTIONS: Result<Context<'static, 'static>, String> = {
        let mut context = Context::default();
        add_functions(&mut context).map(|()| context).map_err(|e| e.to_string())
    };
}

fn read(text: &str) -> Result<Ready, ExpressionError> {
    let program = compile(text)?;
    let expression = adapt(program.expression(), &mut Vec::new(), 0)?;
    let references = program.references();
    let mentioned = references.variables();
    let names = NAMES.into_iter().filter(|name| mentioned.contains(name)).collect();
    Ok(Ready { expression, names })
}

fn compute(text: &str, values: &Value) -> Result<CelValue, ExpressionError> {
    let ready = READY.with(|kept| kept.get(text, || read(text)))?;
    FUNCTIONS.with(|functions| {
        let functions = functions.as_ref().map_err(|e| ExpressionError(e.clone()))?;
        let mut context = functions.new_inner_scope();
        for name in &ready.names {
            let value = values.get(*name).cloned().unwrap_or(Value::Null);
            context
                .add_variable(*name, value)
                .map_err(|e| ExpressionError(format!("{name} cannot be used: {e}")))?;
        }
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| CelValue::resolve(&ready.expression, &context)))
            .map_err(|_| ExpressionError("cannot be computed".to_owned()))?
            .map_err(|e| ExpressionError(e.to_string()))
    })
}

fn add_functions(context: &mut Context<'_, '_>) -> Result<(), cel::DeclarationError> {
    context.add_function(GET, |from: CelValue, key: CelValue| member(&from, &key))?;
    context.add_function(HAS, |from: CelValue, key: CelValue| has(&from, &key))?;
    context.add_function(TRUTHY, |value: CelValue| is_truthy(&value))?;
    context.add_function(ITEMS, |value: CelValue| match value {
        CelValue::Null => CelValue::List(Vec::new().into()),
        other => other,
    })
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

/// The expression with the rules of this language put in; collects the names that macros bind.
fn adapt(e: &IdedExpr, bound: &mut Vec<String>, depth: usize) -> Result<IdedExpr, ExpressionError> {
    if depth > MAX_DEPTH {
        return Err(ExpressionError(format!("is nested more than {MAX_DEPTH} deep; split it over several cases")));
    }
    let mut inner = |e: &IdedExpr| adapt(e, bound, depth + 1);
    let expr = match &e.expr {
        Expr::Select(SelectExpr { operand, field, test }) => {
            let key = ided(e.id, Expr::Literal(LiteralValue::String(field.clone().into())));
            call(if *test { HAS } else { GET }, vec![inner(operand)?, key])
        }
        Expr::Call(c) => {
            let args = c.args.iter().map(&mut inner).collect::<Result<Vec<_>, _>>()?;
            let target = c.target.as_deref().map(&mut inner).transpose()?.map(Box::new);
            adapted_call(&c.func_name, target, args)
        }
        Expr::Comprehension(c) => {
            let made = ComprehensionExpr {
                iter_range: ided(e.id, call(ITEMS, vec![inner(&c.iter_range)?])),
                accu_init: inner(&c.accu_init)?,
                loop_cond: inner(&c.loop_cond)?,
                loop_step: inner(&c.loop_step)?,
                result: inner(&c.result)?,
                ..c.as_ref().clone()
            };
            bound.push(c.iter_var.clone());
            bound.extend(c.iter_var2.clone());
            Expr::Comprehension(Box::new(made))
        }
        Expr::List(list) => {
            let elements = list.elements.iter().map(&mut inner).collect::<Result<Vec<_>, _>>()?;
            Expr::List(ListExpr::new_with_optionals(elements, list.optional_indices.clone()))
        }
        Expr::Map(map) => {
            let mut map = map.clone();
            for entry in &mut map.entries {
                if let EntryExpr::MapEntry(pair) = &mut entry.expr {
                    pair.key = inner(&pair.key)?;
                    pair.value = inner(&pair.value)?;
                }
            }
            Expr::Map(map)
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => e.expr.clone(),
    };
    Ok(ided(e.id, expr))
}

fn adapted_call(name: &str, target: Option<Box<IdedExpr>>, mut args: Vec<IdedExpr>) -> Expr {
    match (name, args.len()) {
        (operators::INDEX, 2) => return call(GET, args),
        (operators::LOGICAL_NOT, 1) | (operators::LOGICAL_AND | operators::LOGICAL_OR, 2) => {
            args = args.into_iter().map(truth_of).collect();
        }
        (operators::CONDITIONAL, 3) => {
            let condition = std::mem::take(&mut args[0]);
            args[0] = truth_of(condition);
        }
        (operators::IN, 2) => {
            let list = std::mem::take(&mut args[1]);
            args[1] = ided(list.id, call(ITEMS, vec![list]));
        }
        _ => {}
    }
    Expr::Call(CallExpr { func_name: name.to_owned(), target, args })
}

fn truth_of(e: IdedExpr) -> IdedExpr {
    match &e.expr {
        Expr::Ident(name) if name == SO_FAR => e,
        _ => ided(e.id, call(TRUTHY, vec![e])),
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

fn ided(id: u64, expr: Expr) -> IdedExpr {
    IdedExpr { id, expr }
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

    #[test]
    fn unreadable_expressions_are_errors_not_panics() {
        for bad in ["", "1 +", "vars.", "((((", "\u{0}", "unknown_name == 1", "'open"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
