//! What is wrong with a definition, each fault by its path.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Action, Definition, OnError, Step};

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
/// The longest time a step may take: ten years.
const MAX_SECONDS: u64 = 10 * 366 * 86_400;

/// Checks a definition.
pub fn validate(definition: &Definition) -> Validation {
    let mut check = Check { definition, inside: inside(definition), found: Validation::default() };
    check.whole();
    for (i, step) in definition.steps.iter().enumerate() {
        check.step(i, step);
    }
    check.trigger();
    check.flow();
    check.found.valid = check.found.errors.is_empty();
    check.found
}

pub(super) struct Check<'a> {
    pub(super) definition: &'a Definition,
    /// Steps of branches and repetitions.
    inside: BTreeSet<&'a str>,
    found: Validation,
}

impl Check<'_> {
    pub(super) fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.errors.push(Finding { path: path.into(), message: message.into() });
    }

    pub(super) fn warning(&mut self, path: impl Into<String>, message: impl Into<String>) {
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
        self.fields("variables", &definition.variables);
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
        if step.timeout.is_some_and(|t| !(1..=MAX_SECONDS).contains(&t.seconds)) {
            self.error(format!("{path}.timeout.seconds"), format!("expected 1 to {MAX_SECONDS}"));
        }
        self.transitions(&path, step);
        self.action(&format!("{path}.config"), &step.action);
        if let Some(compensation) = &step.compensation {
            if !compensation.action.may_compensate() {
                let kind = compensation.action.kind();
                self.error(format!("{path}.compensation.type"), format!("got {kind}; expected a step that acts and does not wait"));
            }
            self.action(&format!("{path}.compensation.config"), &compensation.action);
        }
        let touches = step.action.calls_out() || matches!(step.action, Action::RoleGrant(_));
        let undone = self.definition.on_error == OnError::Compensate;
        if touches && !undone && !step.transitions.iter().any(|t| t.on == "error") {
            self.warning(format!("{path}.transitions"), "no error transition: a failure follows onError");
        }
    }

    fn transitions(&mut self, path: &str, step: &Step) {
        let mut outcomes = step.action.outcomes();
        if step.timeout.is_some() {
            outcomes.push("timeout");
        }
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
        // A repetition's body and a branch end where no transition follows; that is how they are written.
        if self.inside.contains(step.id.as_str()) {
            return;
        }
        for outcome in outcomes.iter().filter(|o| !matches!(**o, "error" | "timeout")) {
            if !step.transitions.iter().any(|t| t.on == **outcome) {
                self.warning(format!("{path}.transitions"), format!("the run completes after {outcome}"));
            }
        }
    }
}

/// The steps that branches and repetitions go through, up to where branches meet.
fn inside(definition: &Definition) -> BTreeSet<&str> {
    let mut open: Vec<&str> = definition.steps.iter().flat_map(|s| s.action.opens()).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(step) = definition.step(id).filter(|s| !matches!(s.action, Action::Join(_))) else { continue };
        if found.insert(step.id.as_str()) {
            open.extend(step.transitions.iter().map(|t| t.to.as_str()));
        }
    }
    found
}

pub(super) fn is_name(text: &str) -> bool {
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
