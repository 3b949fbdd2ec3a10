//! What is wrong with a definition, each fault by its path.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Action, Definition, Step, expression};
use crate::base::template;

/// A fault or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Where, such as `steps[2].config.approvers`.
    pub path: String,
    /// What is wrong and what is expected.
    pub message: String,
}

/// What a definition's check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Validation {
    /// Whether it may be published.
    pub valid: bool,
    /// What keeps it from being published.
    pub errors: Vec<Finding>,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
}

/// The most steps of a definition.
const MAX_STEPS: usize = 500;
/// The longest delay: ten years.
const MAX_DELAY: u64 = 10 * 366 * 86_400;

/// Checks a definition.
pub fn validate(definition: &Definition) -> Validation {
    let mut check = Check { definition, found: Validation::default() };
    check.whole();
    for (i, step) in definition.steps.iter().enumerate() {
        check.step(i, step);
    }
    check.reachability();
    check.found.valid = check.found.errors.is_empty();
    check.found
}

struct Check<'a> {
    definition: &'a Definition,
    found: Validation,
}

impl Check<'_> {
    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.errors.push(Finding { path: path.into(), message: message.into() });
    }

    fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.warnings.push(Finding { path: path.into(), message: message.into() });
    }

    fn whole(&mut self) {
        let definition = self.definition;
        if definition.name.trim().is_empty() || definition.name.chars().count() > 200 {
            self.error("name", "expected 1 to 200 characters");
        }
        if definition.steps.is_empty() || definition.steps.len() > MAX_STEPS {
            self.error("steps", format!("expected 1 to {MAX_STEPS} steps"));
        }
        let mut names = BTreeSet::new();
        for (i, variable) in definition.variables.iter().enumerate() {
            let path = format!("variables[{i}]");
            if !is_name(&variable.name) {
                self.error(format!("{path}.name"), "expected a letter, then letters, digits and underscores");
            }
            if !names.insert(&variable.name) {
                self.error(format!("{path}.name"), format!("{} is there twice", variable.name));
            }
            if variable.default.as_ref().is_some_and(|d| !variable.kind.fits(d)) {
                self.error(format!("{path}.default"), "expected a value of the variable's type");
            }
        }
        let mut ids = BTreeSet::new();
        for (i, step) in definition.steps.iter().enumerate() {
            if !is_name(&step.id.replace('-', "_")) {
                self.error(format!("steps[{i}].id"), "expected a letter, then letters, digits, hyphens and underscores");
            }
            if !ids.insert(&step.id) {
                self.error(format!("steps[{i}].id"), format!("{} is there twice", step.id));
            }
        }
    }

    fn step(&mut self, i: usize, step: &Step) {
        let path = format!("steps[{i}]");
        if step.name.trim().is_empty() {
            self.error(format!("{path}.name"), "expected a name");
        }
        if let Some(retry) = step.retry
            && (!(1..=20).contains(&retry.count) || !(1..=86_400).contains(&retry.backoff_seconds))
        {
            self.error(format!("{path}.retry"), "expected 1 to 20 tries, 1 to 86400 seconds apart");
        }
        self.transitions(&path, step);
        self.action(&format!("{path}.config"), &step.action);
        let touches = matches!(step.action, Action::RoleGrant(_) | Action::Connector(_));
        if touches && !step.transitions.iter().any(|t| t.on == "error") {
            self.warning(format!("{path}.transitions"), "no error transition: a failure follows onError");
        }
    }

    fn transitions(&mut self, path: &str, step: &Step) {
        let outcomes = step.action.outcomes();
        let mut seen = BTreeSet::new();
        for (j, transition) in step.transitions.iter().enumerate() {
            let path = format!("{path}.transitions[{j}]");
            if self.definition.step(&transition.to).is_none() {
                self.error(format!("{path}.to"), format!("there is no step {}", transition.to));
            }
            if !outcomes.contains(&transition.on.as_str()) {
                let expected = if outcomes.is_empty() { "none".to_owned() } else { outcomes.join(", ") };
                self.error(format!("{path}.on"), format!("got {}; expected {expected}", transition.on));
            }
            if !seen.insert(&transition.on) {
                self.error(format!("{path}.on"), format!("{} is there twice", transition.on));
            }
        }
        for outcome in outcomes.iter().filter(|o| **o != "error") {
            if !step.transitions.iter().any(|t| t.on == **outcome) {
                self.warning(format!("{path}.transitions"), format!("the run completes after {outcome}"));
            }
        }
    }

    fn template(&mut self, path: &str, text: &str) {
        if let Err(e) = template::check_value(&serde_json::Value::String(text.to_owned())) {
            self.error(path, e.message);
        }
    }

    fn action(&mut self, path: &str, action: &Action) {
        match action {
            Action::Approval(c) => {
                self.template(&format!("{path}.title"), &c.title);
                self.template(&format!("{path}.description"), &c.description);
                if c.approvers.is_empty() {
                    self.error(format!("{path}.approvers"), "nobody can decide; name at least one");
                }
                if c.due_hours.is_some_and(|h| !(1..=8_784).contains(&h)) {
                    self.error(format!("{path}.dueHours"), "expected 1 to 8784 hours");
                }
            }
            Action::Condition(c) => {
                for (k, case) in c.cases.iter().enumerate() {
                    if let Err(e) = expression::check(&case.when) {
                        self.error(format!("{path}.cases[{k}].when"), e.to_string());
                    }
                    if case.outcome == "error" || !is_name(&case.outcome) {
                        self.error(format!("{path}.cases[{k}].outcome"), "expected a name other than error");
                    }
                }
            }
            Action::Set(c) => {
                for (name, value) in &c.values {
                    let path = format!("{path}.values.{name}");
                    if !self.definition.variables.iter().any(|v| v.name == *name) {
                        self.error(&path, format!("there is no variable {name}"));
                    }
                    if let Err(e) = template::check_value(value) {
                        self.error(&path, e.message);
                    }
                }
            }
            Action::Connector(c) => {
                if let Err(e) = template::check_value(&c.params) {
                    self.error(format!("{path}.params"), e.message);
                }
            }
            Action::Notification(c) => {
                if c.to.is_empty() {
                    self.error(format!("{path}.to"), "expected at least one recipient");
                }
                self.template(&format!("{path}.subject"), &c.subject);
                self.template(&format!("{path}.body"), &c.body);
            }
            Action::RoleGrant(c) => {
                self.template(&format!("{path}.reason"), &c.reason);
                if c.duration_days.is_some_and(|d| !(1..=3_660).contains(&d)) {
                    self.error(format!("{path}.durationDays"), "expected 1 to 3660 days");
                }
            }
            Action::RoleRevoke(c) => self.template(&format!("{path}.reason"), &c.reason),
            Action::DocumentRequest(c) => {
                if c.kind.trim().is_empty() {
                    self.error(format!("{path}.documentType"), "expected a type of document");
                }
            }
            Action::Delay(c) => {
                if !(1..=MAX_DELAY).contains(&c.seconds) {
                    self.error(format!("{path}.seconds"), format!("expected 1 to {MAX_DELAY}"));
                }
            }
            Action::End(_) => {}
        }
    }

    fn reachability(&mut self) {
        let definition = self.definition;
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = definition.steps.first().map(|s| s.id.as_str()).into_iter().collect();
        while let Some(id) = open.pop() {
            if reached.insert(id)
                && let Some(step) = definition.step(id)
            {
                open.extend(step.transitions.iter().map(|t| t.to.as_str()));
            }
        }
        for (i, step) in definition.steps.iter().enumerate() {
            if !reached.contains(step.id.as_str()) {
                self.warning(format!("steps[{i}]"), format!("no run ever reaches {}", step.id));
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(steps: serde_json::Value) -> Validation {
        let definition = serde_json::from_value(json!({ "name": "Test", "steps": steps })).expect("reads");
        validate(&definition)
    }

    #[test]
    fn every_fault_is_named_by_its_path() {
        let found = check(json!([
            { "id": "a", "name": "A", "type": "condition",
              "config": { "cases": [{ "when": "1 +", "outcome": "big" }] },
              "transitions": [{ "on": "big", "to": "nowhere" }, { "on": "small", "to": "b" }] },
            { "id": "b", "name": "", "type": "approval", "config": { "title": "{{ vars.", "approvers": [] } },
            { "id": "b", "name": "C", "type": "delay", "config": { "seconds": 0 } },
        ]));
        let paths: Vec<&str> = found.errors.iter().map(|f| f.path.as_str()).collect();
        for path in [
            "steps[0].config.cases[0].when",
            "steps[0].transitions[0].to",
            "steps[0].transitions[1].on",
            "steps[1].name",
            "steps[1].config.title",
            "steps[1].config.approvers",
            "steps[2].id",
            "steps[2].config.seconds",
        ] {
            assert!(paths.contains(&path), "{path} is missing in {paths:?}");
        }
    }

    #[test]
    fn the_sample_workflow_is_valid() {
        let text = include_str!("../../../../examples/workflows/genome-access.json");
        let definition: Definition = serde_json::from_str(text).expect("reads");
        let found = validate(&definition);
        assert_eq!(found.errors, Vec::new());
    }

    #[test]
    fn a_step_that_nothing_leads_to_is_a_warning() {
        let found = check(json!([
            { "id": "a", "name": "A", "type": "end", "config": {} },
            { "id": "b", "name": "B", "type": "end", "config": {} },
        ]));
        assert!(found.valid);
        assert!(found.warnings.iter().any(|w| w.path == "steps[1]"));
    }
}
