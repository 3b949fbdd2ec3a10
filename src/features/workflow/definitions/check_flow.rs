//! What should be looked at in the ways that a run can take: steps that nothing reaches, loops that no run
//! leaves, decisions that nobody can make.

use std::collections::{BTreeMap, BTreeSet};

use super::validate::Check;
use super::{Action, Approver, ApprovalConfig, Pattern, Rule, Step};

impl Action {
    /// Whether a run may stand here until somebody or something outside moves it.
    fn waits(&self) -> bool {
        matches!(
            self,
            Self::Approval(_) | Self::Task(_) | Self::Consent(_) | Self::Invitation(_) | Self::DocumentRequest(_)
                | Self::VerifyContact(_) | Self::RoleGrant(_) | Self::WebhookWait(_) | Self::Delay(_) | Self::WaitUntil(_)
                | Self::Subworkflow(_)
        )
    }
}

impl Check<'_> {
    pub(super) fn flow(&mut self) {
        self.reachability();
        self.loops();
        self.undecidable();
    }

    fn reachability(&mut self) {
        let definition = self.definition;
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = definition.steps.first().map(|s| s.id.as_str()).into_iter().collect();
        while let Some(id) = open.pop() {
            if reached.insert(id)
                && let Some(step) = definition.step(id)
            {
                open.extend(next(step));
            }
        }
        for (i, step) in definition.steps.iter().enumerate() {
            if !reached.contains(step.id.as_str()) {
                self.warning(format!("steps[{i}]"), format!("no run ever reaches {}", step.id));
            }
        }
    }

    /// A loop that neither waits nor can be left is gone through until the run has taken too many steps.
    fn loops(&mut self) {
        let definition = self.definition;
        let mut told = BTreeSet::new();
        let index: BTreeMap<&str, &Step> = definition.steps.iter().map(|s| (s.id.as_str(), s)).collect();
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            definition.steps.iter().map(|s| (s.id.as_str(), after(&index, s))).collect();
        for (i, step) in definition.steps.iter().enumerate() {
            let id = step.id.as_str();
            if !reach[id].contains(id) || told.contains(id) {
                continue;
            }
            // Everything that leads back to where it came from is one loop.
            let inside: BTreeSet<&str> =
                reach[id].iter().copied().filter(|other| reach.get(other).is_some_and(|r| r.contains(id))).collect();
            told.extend(inside.iter().copied());
            let steps: Vec<&Step> = inside.iter().filter_map(|id| index.get(id).copied()).collect();
            let waits = steps.iter().any(|s| s.action.waits());
            let left = steps.iter().any(|s| leaves(s, &inside));
            if !waits && !left {
                let all: Vec<&str> = inside.into_iter().collect();
                let message = format!("a loop without an exit: {}; give a condition in it a way out", all.join(", "));
                self.warning(format!("steps[{i}]"), message);
            }
        }
    }

    fn undecidable(&mut self) {
        for (i, step) in self.definition.steps.iter().enumerate() {
            if let Action::Approval(config) = &step.action {
                self.approval_of_nobody(&format!("steps[{i}].config"), config);
            }
        }
    }

    fn approval_of_nobody(&mut self, path: &str, c: &ApprovalConfig) {
        if c.pattern == Pattern::Sequential {
            for (k, stage) in c.stages.iter().enumerate() {
                self.nobody(&format!("{path}.stages[{k}].approvers"), &stage.approvers, stage.rule);
            }
        } else {
            let rule = if c.pattern == Pattern::Parallel { c.rule } else { Rule::Any };
            self.nobody(&format!("{path}.approvers"), &c.approvers, rule);
        }
        if let Some(reassign) = c.escalation.as_ref().and_then(|e| e.reassign.as_ref()) {
            self.nobody(&format!("{path}.escalation.reassign.to"), &reassign.to, Rule::Any);
        }
    }

    fn nobody(&mut self, path: &str, approvers: &[Approver], rule: Rule) {
        if !approvers.is_empty() && approvers.iter().all(is_party) {
            self.warning(path, "nobody can decide: subject and requestor never decide about their own request");
        }
        let people: BTreeSet<&str> = approvers.iter().filter_map(one_person).collect();
        let known = approvers.iter().all(|a| one_person(a).is_some());
        if let Rule::Quorum(n) = rule
            && known
            && (n as usize) > people.len()
        {
            self.warning(path, format!("{n} have to approve, and {} may", people.len()));
        }
    }
}

/// Every step that may come after this one.
fn after<'d>(index: &BTreeMap<&'d str, &'d Step>, step: &'d Step) -> BTreeSet<&'d str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&'d str> = next(step).collect();
    while let Some(id) = open.pop() {
        if found.insert(id)
            && let Some(step) = index.get(id)
        {
            open.extend(next(step));
        }
    }
    found
}

/// Where a step leads.
fn next(step: &Step) -> impl Iterator<Item = &str> {
    step.transitions.iter().map(|t| t.to.as_str()).chain(step.action.opens())
}

/// Whether a run may go from a step to somewhere outside of a loop, or end there, without a failure.
fn leaves(step: &Step, inside: &BTreeSet<&str>) -> bool {
    let goes_on = |on: &str| step.transitions.iter().any(|t| t.on == on);
    let out = next(step).any(|to| !inside.contains(to));
    out || step.action.outcomes().iter().any(|on| *on != "error" && !goes_on(on))
}

/// Whether it can only be whom the run is about, or who started it.
fn is_party(approver: &Approver) -> bool {
    let text = match approver {
        Approver::Person(text) => text.trim().trim_start_matches("{{").trim_end_matches("}}").trim(),
        Approver::Expression(text) => text.trim(),
        _ => return false,
    };
    ["subject.id", "subject.email", "requestor.id", "requestor.email"].contains(&text)
}

/// The one person that it names, if it is one.
fn one_person(approver: &Approver) -> Option<&str> {
    match approver {
        Approver::Person(text) => Some(text.trim()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::validate::{Finding, validate};

    fn warnings(steps: Value) -> Vec<Finding> {
        let definition = json!({ "name": "T", "variables": [{ "name": "n", "type": "number" }], "steps": steps });
        validate(&serde_json::from_value(definition).expect("reads")).warnings
    }

    fn told(found: &[Finding], path: &str, part: &str) -> bool {
        found.iter().any(|f| f.path == path && f.message.contains(part))
    }

    fn step(id: &str, kind: &str, config: Value, ways: &[(&str, &str)]) -> Value {
        let ways: Vec<Value> = ways.iter().map(|(on, to)| json!({ "on": on, "to": to })).collect();
        json!({ "id": id, "name": id, "type": kind, "config": config, "transitions": ways })
    }

    #[test]
    fn a_loop_that_nobody_leaves_is_told_once() {
        let set = json!({ "values": { "n": 1 } });
        let found = warnings(json!([
            step("a", "set", set, &[("success", "b")]),
            step("b", "condition", json!({ "cases": [{ "when": "vars.n > 1", "outcome": "more" }] }), &[("more", "a"), ("default", "a")]),
        ]));
        assert!(told(&found, "steps[0]", "loop without an exit: a, b"), "{found:?}");
        assert_eq!(found.iter().filter(|f| f.message.contains("loop")).count(), 1);
    }

    #[test]
    fn a_loop_that_waits_or_can_be_left_is_none() {
        let set = || json!({ "values": { "n": 1 } });
        let condition = || json!({ "cases": [{ "when": "vars.n > 1", "outcome": "more" }] });
        for steps in [
            json!([step("a", "set", set(), &[("success", "b")]), step("b", "condition", condition(), &[("more", "a")])]),
            json!([step("a", "set", set(), &[("success", "b")]), step("b", "delay", json!({ "seconds": 9 }), &[("success", "a")])]),
            json!([step("a", "condition", condition(), &[("more", "a"), ("default", "b")]), step("b", "end", json!({}), &[])]),
        ] {
            let found = warnings(steps);
            assert!(!found.iter().any(|f| f.message.contains("loop")), "{found:?}");
        }
    }

    #[test]
    fn a_step_that_leads_to_itself_is_a_loop() {
        let found = warnings(json!([step("a", "set", json!({ "values": { "n": 1 } }), &[("success", "a")])]));
        assert!(told(&found, "steps[0]", "loop without an exit: a;"), "{found:?}");
    }

    #[test]
    fn approvals_that_nobody_can_decide_are_told() {
        let approval = |config: Value| {
            let mut whole = json!({ "title": "t" });
            whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
            warnings(json!([step("a", "approval", whole, &[])]))
        };
        for approvers in [
            json!([{ "expression": "subject.id" }]),
            json!([{ "person": "{{ requestor.email }}" }, { "expression": " subject.email " }]),
        ] {
            let found = approval(json!({ "approvers": approvers }));
            assert!(told(&found, "steps[0].config.approvers", "nobody can decide"), "{approvers}: {found:?}");
        }
        for approvers in [
            json!([{ "managerOf": "subject" }]),
            json!([{ "expression": "subject.attributes.mentor" }]),
            json!([{ "expression": "subject.id" }, { "group": "g" }]),
        ] {
            let found = approval(json!({ "approvers": approvers }));
            assert!(!found.iter().any(|f| f.message.contains("nobody")), "{approvers}: {found:?}");
        }
        let two = json!([{ "person": "a@b.c" }, { "person": "a@b.c" }, { "person": "d@b.c" }]);
        let found = approval(json!({ "pattern": "parallel", "approvers": two, "rule": { "quorum": 3 } }));
        assert!(told(&found, "steps[0].config.approvers", "3 have to approve, and 2 may"), "{found:?}");
        let found = approval(json!({ "pattern": "sequential", "stages": [
            { "approvers": [{ "group": "g" }] }, { "approvers": [{ "expression": "requestor.id" }] } ] }));
        assert!(told(&found, "steps[0].config.stages[1].approvers", "nobody can decide"), "{found:?}");
    }

    #[test]
    fn a_step_that_nothing_leads_to_is_told() {
        let found = warnings(json!([step("a", "end", json!({}), &[]), step("b", "end", json!({}), &[])]));
        assert!(told(&found, "steps[1]", "no run ever reaches b"), "{found:?}");
    }
}
