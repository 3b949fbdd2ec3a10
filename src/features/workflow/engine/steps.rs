//! The steps that the engine computes by itself, and those that it asks the world to do.

use std::time::Duration;

use serde_json::{Value, json};

use super::forks::MAX_ITEMS;
use super::machine::Engine;
use super::{Effect, EndStatus, StepError, Token, Wait, bad, bad_template, render, values};
use crate::base::template;
use crate::base::time::Timestamp;
use crate::features::workflow::definitions::{
    Action, CaseConfig, ConditionConfig, DelayConfig, SetConfig, Step, WaitUntilConfig, expression,
};

impl Engine<'_> {
    pub(super) fn values(&self, token: &Token) -> Value {
        values(&self.state, token.frame, token.branch, self.scope)
    }

    pub(super) fn perform(&mut self, step: &Step, token: &Token) {
        match &step.action {
            Action::Condition(config) => self.condition(token, config),
            Action::Case(config) => self.case(token, config),
            Action::Set(config) => self.set(token, config),
            Action::Delay(config) => self.delay(token, config),
            Action::WaitUntil(config) => self.wait_until(token, config),
            Action::Parallel(config) => self.fork(token, config),
            Action::Join(_) => self.arrive(step, token),
            Action::Foreach(config) => match items(&config.items, &self.values(token)) {
                Ok(items) => self.repeat(token, items),
                Err(error) => self.fail(token.visit, error, false),
            },
            Action::End(config) => {
                let failed = config.failed;
                let reason = if config.reason.is_empty() { step.name.clone() } else { config.reason.clone() };
                self.end_here(token, failed, reason);
            }
            outside => match render(outside, &self.values(token)) {
                Ok(action) => {
                    self.wait(token.visit, Wait::Effect);
                    let action = Box::new(action);
                    self.effects.push(Effect::Do { visit: token.visit, attempt: token.attempt, action });
                }
                Err(error) => self.fail(token.visit, error, false),
            },
        }
    }

    /// An end is the end of the run, also inside a branch.
    fn end_here(&mut self, token: &Token, failed: bool, reason: String) {
        self.state.tokens.retain(|t| t.visit != token.visit);
        self.record_left(token, "success", Value::Null, None);
        self.withdraw_all();
        self.state.tokens.clear();
        self.state.frames.clear();
        if failed {
            self.end(EndStatus::Failed, Some(reason));
        } else {
            self.end(EndStatus::Completed, None);
        }
    }

    fn condition(&mut self, token: &Token, config: &ConditionConfig) {
        let values = self.values(token);
        for (k, case) in config.cases.iter().enumerate() {
            match expression::is_true(&case.when, &values) {
                Ok(true) => return self.leave(token.visit, &case.outcome, Value::Null, None),
                Ok(false) => {}
                Err(e) => return self.fail(token.visit, bad(&format!("config.cases[{k}].when"), &e.to_string()), false),
            }
        }
        self.leave(token.visit, &config.default, Value::Null, None);
    }

    fn case(&mut self, token: &Token, config: &CaseConfig) {
        let value = match expression::value(&config.value, &self.values(token)) {
            Ok(value) => value,
            Err(e) => return self.fail(token.visit, bad("config.value", &e.to_string()), false),
        };
        let fits = |wanted: &Value| match wanted {
            Value::Array(any) => any.iter().any(|one| same(one, &value)),
            one => same(one, &value),
        };
        let outcome = config.cases.iter().find(|c| fits(&c.equals)).map_or(&config.default, |c| &c.outcome);
        self.leave(token.visit, outcome, json!({ "value": value }), None);
    }

    fn set(&mut self, token: &Token, config: &SetConfig) {
        let values = self.values(token);
        // All or nothing: what a failed step computed before the fault is not kept.
        let mut computed = Vec::with_capacity(config.values.len());
        for (name, value) in &config.values {
            match template::render_value(value, &values) {
                Ok(value) => computed.push((name.clone(), value)),
                Err(e) => return self.fail(token.visit, bad_template(&format!("config.values.{name}"), &e), false),
            }
        }
        self.state.vars.extend(computed);
        self.leave(token.visit, "success", Value::Null, None);
    }

    fn delay(&mut self, token: &Token, config: &DelayConfig) {
        let seconds = match render_count(config, &self.values(token)) {
            Ok(seconds) => seconds,
            Err(error) => return self.fail(token.visit, error, false),
        };
        self.sleep_until(token, self.scope.now.plus(Duration::from_secs(seconds)));
    }

    fn wait_until(&mut self, token: &Token, config: &WaitUntilConfig) {
        let until = template::render_text(&config.until, &self.values(token))
            .map_err(|e| bad_template("config.until", &e))
            .and_then(|text| instant(&text));
        match until {
            Ok(until) if until <= self.scope.now => {
                self.leave(token.visit, "success", json!({ "until": until }), None);
            }
            Ok(until) => self.sleep_until(token, until),
            Err(error) => self.fail(token.visit, error, false),
        }
    }

    fn sleep_until(&mut self, token: &Token, until: Timestamp) {
        self.wait(token.visit, Wait::Timer { until });
        self.effects.push(Effect::WakeAt { at: until });
    }
}

/// Numbers are the same by value: CEL tells 1 from 1.0, JSON does not.
fn same(a: &Value, b: &Value) -> bool {
    a == b || matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if a == b)
}

/// The longest delay: ten years.
pub const MAX_DELAY: u64 = 10 * 366 * 86_400;

fn render_count(config: &DelayConfig, values: &Value) -> Result<u64, StepError> {
    let rendered = json!(config.seconds);
    let rendered = template::render_value(&rendered, values).map_err(|e| bad_template("config.seconds", &e))?;
    let count = match &rendered {
        Value::Number(n) => n.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    count
        .filter(|seconds| *seconds <= MAX_DELAY)
        .ok_or_else(|| bad("config.seconds", &format!("got {rendered}; expected a whole number, at most {MAX_DELAY}")))
}

/// An instant, or the beginning of a day in UTC.
fn instant(text: &str) -> Result<Timestamp, StepError> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let day = text.parse::<jiff::civil::Date>().ok().and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
    day.map(|d| Timestamp::from_millis(d.timestamp().as_millisecond()))
        .ok_or_else(|| bad("config.until", &format!("got {text:?}; expected an instant (2031-03-01T08:00:00Z) or a day")))
}

fn items(text: &str, values: &Value) -> Result<Vec<Value>, StepError> {
    match expression::value(text, values).map_err(|e| bad("config.items", &e.to_string()))? {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.len() <= MAX_ITEMS => Ok(items),
        Value::Array(items) => Err(bad("config.items", &format!("got {} items; expected at most {MAX_ITEMS}", items.len()))),
        _ => Err(bad("config.items", "expected a list")),
    }
}
