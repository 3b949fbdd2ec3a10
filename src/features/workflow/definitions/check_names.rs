//! What templates and expressions ask for: names, variables and steps that there must be.

use serde_json::Value;

use super::check_actions::is_plain;
use super::validate::{Check, is_name};
use super::Trigger;
use crate::base::template;

/// What templates have beside the values of a run.
const GLOBALS: [&str; 4] = ["range", "dict", "namespace", "debug"];
/// What the templates of a trigger see.
const OF_EVENTS: [&str; 3] = ["event", "key", "payload"];
/// The longest name of an event.
const MAX_EVENT: usize = 200;

impl Check<'_> {
    /// Every template in a value, with the names it may use.
    pub(super) fn templates(&mut self, path: &str, value: &Value, known: &[&str]) {
        match value {
            Value::String(text) => self.template(path, text, known),
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.templates(&format!("{path}[{i}]"), item, known);
                }
            }
            Value::Object(fields) => {
                for (name, item) in fields {
                    self.templates(&format!("{path}.{name}"), item, known);
                }
            }
            _ => {}
        }
    }

    fn template(&mut self, path: &str, text: &str, known: &[&str]) {
        if let Err(e) = template::check_value(&Value::from(text)) {
            return self.error(path, e.message);
        }
        let mut variables = Vec::new();
        let names = template::names(text);
        for name in &names {
            let mut parts = name.split('.');
            let (root, field) = (parts.next().unwrap_or_default(), parts.next());
            if !known.contains(&root) && !GLOBALS.contains(&root) {
                self.error(path, format!("{root} is not known here; use {}", known.join(", ")));
            }
            match (root, field) {
                ("vars", Some(field)) => variables.push(field),
                ("steps", Some(field)) if is_name(field) && self.definition.step(field).is_none() => {
                    self.warning(path, format!("there is no step {field}"));
                }
                _ => {}
            }
        }
        self.known_variables(path, variables.into_iter());
    }

    /// A variable that is not there is null in an expression, and a failure in a template.
    pub(super) fn known_variables<'n>(&mut self, path: &str, names: impl Iterator<Item = &'n str>) {
        for name in names {
            if !self.definition.variables.iter().any(|v| v.name == name) {
                self.warning(path, format!("there is no variable {name}"));
            }
        }
    }

    /// What starts a run by itself.
    pub(super) fn trigger(&mut self) {
        let definition = self.definition;
        let Some(Trigger::Event(event)) = &definition.trigger else { return };
        let path = "trigger.event";
        self.filled(&format!("{path}.name"), &event.name);
        if event.name.chars().count() > MAX_EVENT {
            self.error(format!("{path}.name"), format!("expected at most {MAX_EVENT} characters"));
        }
        if let Some(subject) = &event.subject {
            self.filled(&format!("{path}.subject"), subject);
            self.template(&format!("{path}.subject"), subject, &OF_EVENTS);
        }
        for (name, value) in &event.input {
            let path = format!("{path}.input.{name}");
            self.variable(&path, name);
            self.templates(&path, value, &OF_EVENTS);
            let kind = definition.variables.iter().find(|v| v.name == *name).map(|v| v.kind);
            if is_plain(value) && kind.is_some_and(|kind| !kind.fits(value)) {
                self.error(path, "expected a value of the variable's type");
            }
        }
        for variable in definition.variables.iter().filter(|v| v.required && v.default.is_none()) {
            if !event.input.contains_key(&variable.name) {
                self.error(format!("{path}.input"), format!("every start needs {}; name where it comes from", variable.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::{Validation, validate};
    use super::*;

    fn check(mut whole: Value) -> Validation {
        if whole["steps"].is_null() {
            whole["steps"] = json!([{ "id": "end", "name": "End", "type": "end" }]);
        }
        whole["name"] = json!("T");
        validate(&serde_json::from_value(whole).expect("reads"))
    }

    fn told(found: &[super::super::validate::Finding], path: &str, part: &str) -> bool {
        found.iter().any(|f| f.path == path && f.message.contains(part))
    }

    #[test]
    fn what_a_template_asks_for_must_be_there() {
        let found = check(json!({
            "variables": [{ "name": "days", "type": "number" }],
            "steps": [{ "id": "tell", "name": "Tell", "type": "notification", "config": { "to": [{ "who": "subject" }],
                "subject": "{{ person.name }}", "body": "{{ vars.days }} {{ vars.dys }} {{ steps.ask.outcome }}" } }],
        }));
        assert!(told(&found.errors, "steps[0].config.subject", "person is not known here"), "{found:?}");
        assert!(told(&found.warnings, "steps[0].config.body", "there is no variable dys"), "{found:?}");
        assert!(told(&found.warnings, "steps[0].config.body", "there is no step ask"), "{found:?}");
        assert!(!found.warnings.iter().any(|w| w.message.contains("days")), "{found:?}");
    }

    #[test]
    fn what_an_expression_asks_for_must_be_there() {
        let found = check(json!({
            "steps": [{ "id": "ask", "name": "Ask", "type": "condition",
                "config": { "cases": [{ "when": "vars.days > 1", "outcome": "many" }] } }],
        }));
        assert!(told(&found.warnings, "steps[0].config.cases[0].when", "there is no variable days"), "{found:?}");
    }

    #[test]
    fn a_trigger_fills_what_a_start_needs() {
        let variables = json!([{ "name": "email", "type": "string", "required": true }, { "name": "n", "type": "number" }]);
        let trigger = |event: Value| check(json!({ "variables": variables, "trigger": { "event": event } }));
        let good = trigger(json!({ "name": "hr.joined", "subject": "{{ payload.email }}",
            "input": { "email": "{{ payload.email }}", "n": 3 } }));
        assert_eq!(good.errors, []);
        let bad = trigger(json!({ "name": " ", "subject": "{{ vars.email }}", "input": { "n": "x", "m": 1 } }));
        for (path, part) in [
            ("trigger.event.name", "expected a text"),
            ("trigger.event.subject", "vars is not known here"),
            ("trigger.event.input.n", "variable's type"),
            ("trigger.event.input.m", "there is no variable m"),
            ("trigger.event.input", "every start needs email"),
        ] {
            assert!(told(&bad.errors, path, part), "{path} is missing in {bad:?}");
        }
    }
}
