//! JavaScript in a box: one function of JSON, without input or output, bounded in time and memory.
//!
//! # Invariants
//! - A script reaches nothing but its input: no files, no network, no timers, no modules.
//! - It ends: after [`LIMITS`] it is stopped, and so is one that takes too much memory or stack.
//! - What it gives is plain JSON.

use std::time::{Duration, Instant};

use rquickjs::{CatchResultExt as _, CaughtError, Context, Ctx, Function, Runtime, Value as JsValue};
use serde_json::Value;

/// What a script may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it may run.
    pub time: Duration,
    /// Bytes it may hold.
    pub memory: usize,
}

/// 5 seconds, 16 MB.
pub const LIMITS: Limits = Limits { time: Duration::from_secs(5), memory: 16 * 1024 * 1024 };

/// Bytes of stack.
const STACK: usize = 256 * 1024;
/// The largest result, as JSON text.
const MAX_RESULT: usize = 1024 * 1024;

/// Why a script gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", line.map(|l| format!(" (line {l})")).unwrap_or_default())]
pub struct ScriptError {
    /// For people.
    pub message: String,
    /// The line of the script, counted from 1, where it is known.
    pub line: Option<u32>,
}

impl ScriptError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None }
    }
}

/// Runs the body of a function of `input`. Takes up to the time limit: call it where blocking is allowed.
pub fn run(body: &str, input: &Value, limits: Limits) -> Result<Value, ScriptError> {
    let runtime = Runtime::new().map_err(|e| ScriptError::new(e.to_string()))?;
    runtime.set_memory_limit(limits.memory);
    runtime.set_max_stack_size(STACK);
    let end = monotonic() + limits.time;
    runtime.set_interrupt_handler(Some(Box::new(move || monotonic() >= end)));
    let context = Context::full(&runtime).map_err(|e| ScriptError::new(e.to_string()))?;
    let text = context.with(|ctx| evaluate(&ctx, body, input, end, limits))?;
    serde_json::from_str(&text).map_err(|_| ScriptError::new("expected a result that JSON can hold"))
}

#[allow(clippy::disallowed_methods, reason = "how long a script may take is no rule's time")]
fn monotonic() -> Instant {
    Instant::now()
}

/// Reads a script without running it.
pub fn check(body: &str) -> Result<(), ScriptError> {
    let runtime = Runtime::new().map_err(|e| ScriptError::new(e.to_string()))?;
    runtime.set_memory_limit(LIMITS.memory);
    runtime.set_max_stack_size(STACK);
    let context = Context::full(&runtime).map_err(|e| ScriptError::new(e.to_string()))?;
    context.with(|ctx| function(&ctx, body).map(drop))
}

/// The line of the script that stands where the function's own first line stands.
const HEAD: &str = "(function (input) { 'use strict';\n";

fn function<'js>(ctx: &Ctx<'js>, body: &str) -> Result<Function<'js>, ScriptError> {
    // A body that closes the function would be code outside of it.
    let text = format!("{HEAD}{body}\n}})");
    ctx.eval::<Function<'js>, _>(text).catch(ctx).map_err(|e| explain(&e))
}

fn evaluate(ctx: &Ctx<'_>, body: &str, input: &Value, end: Instant, limits: Limits) -> Result<String, ScriptError> {
    let late = |e: ScriptError| {
        if monotonic() >= end { ScriptError::new(format!("ran longer than {} s", limits.time.as_secs())) } else { e }
    };
    let function = function(ctx, body).map_err(late)?;
    let input = ctx.json_parse(input.to_string()).catch(ctx).map_err(|e| explain(&e))?;
    let result: JsValue<'_> = function.call((input,)).catch(ctx).map_err(|e| late(explain(&e)))?;
    let text = ctx.json_stringify(result).catch(ctx).map_err(|e| late(explain(&e)))?;
    let text = text.map(|t| t.to_string()).transpose().catch(ctx).map_err(|e| explain(&e))?;
    match text {
        None => Ok("null".to_owned()),
        Some(text) if text.len() <= MAX_RESULT => Ok(text),
        Some(_) => Err(ScriptError::new(format!("gave more than {MAX_RESULT} characters"))),
    }
}

fn explain(error: &CaughtError<'_>) -> ScriptError {
    match error {
        CaughtError::Exception(exception) => {
            let message = exception.message().unwrap_or_else(|| "an exception without a message".to_owned());
            let stack = exception.stack().unwrap_or_default();
            ScriptError { message, line: line_of(&stack) }
        }
        CaughtError::Value(value) => {
            let thrown = value.as_string().and_then(|s| s.to_string().ok());
            ScriptError::new(thrown.unwrap_or_else(|| "something was thrown that is no error".to_owned()))
        }
        CaughtError::Error(error) => ScriptError::new(error.to_string()),
    }
}

/// The line of the script in the first place of a stack: `at f (eval_script:3:7)`.
fn line_of(stack: &str) -> Option<u32> {
    let place = stack.lines().next()?.rsplit_once("eval_script:")?.1;
    let line: u32 = place.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    line.checked_sub(1).filter(|l| *l > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run_it(body: &str) -> Result<Value, ScriptError> {
        run(body, &json!({ "vars": { "n": 20, "name": "Ada" } }), LIMITS)
    }

    #[test]
    fn a_script_computes_json_from_json() {
        let result = run_it("const { n, name } = input.vars;\nreturn { double: n * 2, upper: name.toUpperCase(), list: [1, null] };");
        assert_eq!(result, Ok(json!({ "double": 40, "upper": "ADA", "list": [1, null] })));
        assert_eq!(run_it("let x = 1;"), Ok(Value::Null));
    }

    #[test]
    fn a_script_reaches_nothing_outside() {
        for name in ["process", "require", "fetch", "setTimeout", "std", "os", "console", "Deno", "XMLHttpRequest"] {
            assert_eq!(run_it(&format!("return typeof {name};")), Ok(json!("undefined")), "{name}");
        }
        assert!(run_it("return import('fs');").is_ok_and(|v| v == json!({})) || run_it("return import('fs');").is_err());
    }

    #[test]
    fn one_that_does_not_end_is_stopped() {
        let limits = Limits { time: Duration::from_millis(50), ..LIMITS };
        let began = monotonic();
        let error = run("while (true) {}", &json!({}), limits).expect_err("stopped");
        assert!(error.message.contains("ran longer"), "{error}");
        let caught = run("try { while (true) {} } catch (e) {} return 1;", &json!({}), limits);
        assert!(caught.is_err(), "{caught:?}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn memory_and_stack_have_an_end() {
        assert!(run_it("const a = []; while (true) a.push(new Array(10000).fill('x'));").is_err());
        assert!(run_it("return 'x'.repeat(100000000);").is_err());
        assert!(run_it("function f() { return f() + 1; } return f();").is_err());
        assert!(run_it("return 'x'.repeat(2000000);").is_err(), "a result is bounded");
    }

    #[test]
    fn a_fault_names_its_line() {
        let error = run_it("const a = 1;\nreturn missing + a;").expect_err("a fault");
        assert_eq!((error.line, error.message.contains("missing")), (Some(2), true), "{error}");
        let error = run_it("const a = 1;\nthrow new Error('no way');").expect_err("a fault");
        assert_eq!((error.line, error.message.as_str()), (Some(2), "no way"));
        assert!(check("return 1 +;").is_err());
        assert!(check("return { a: input.vars.n };").is_ok());
    }

    #[test]
    fn what_json_cannot_hold_is_refused_or_null() {
        assert!(run_it("const a = {}; a.a = a; return a;").is_err());
        assert!(run_it("return 10n;").is_err());
        assert_eq!(run_it("return () => 1;"), Ok(Value::Null));
    }
}
