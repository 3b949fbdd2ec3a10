//! What is wrong with the settings of a step.

use std::collections::BTreeSet;

use serde_json::Value;

use super::validate::{Check, is_name};
use super::{
    Action, Approver, ApprovalConfig, Count, Escalation, ForeachConfig, HttpConfig, MAX_DAYS, NotificationConfig,
    ParallelConfig, Pattern, ProfileUpdateConfig, Recipient, Rule, SetConfig, SubworkflowConfig, TaskConfig,
    TransformConfig, Variable, expression, fields,
};
use crate::base::time::Timestamp;
use crate::features::connectors::drivers::http::is_reserved;
use crate::platform::script;

/// The longest delay: ten years.
const MAX_DELAY: u64 = 10 * 366 * 86_400;
/// The longest time until something is overdue or expires: a year.
const MAX_HOURS: u32 = 8_784;
/// The longest time until an escalation: a year.
const MAX_MINUTES: u32 = 527_040;
/// Branches inside branches that are looked into.
const MAX_NESTING: u32 = 5;
/// The longest script.
const MAX_SCRIPT: usize = 20_000;
/// The most cases of one step.
const MAX_CASES: usize = 100;

/// Whether a value holds no template, so that it is known what it is.
pub(super) fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => is_plain_text(text),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => fields.values().all(is_plain),
        _ => true,
    }
}

fn is_plain_text(text: &str) -> bool {
    !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

impl Action {
    /// The first steps of the branches or the repetition that it opens.
    pub fn opens(&self) -> Vec<&str> {
        match self {
            Self::Parallel(config) => config.branches.iter().map(String::as_str).collect(),
            Self::Foreach(config) => vec![config.body.as_str()],
            _ => Vec::new(),
        }
    }
}

impl Check<'_> {
    fn expression(&mut self, path: &str, text: &str) {
        if let Err(e) = expression::check(text) {
            return self.error(path, e.to_string());
        }
        self.known_variables(path, expression::variables(text).iter().map(String::as_str));
    }

    pub(super) fn variable(&mut self, path: &str, name: &str) {
        if !self.definition.variables.iter().any(|v| v.name == name) {
            self.error(path, format!("there is no variable {name}"));
        }
    }

    pub(super) fn filled(&mut self, path: &str, text: &str) {
        if text.trim().is_empty() {
            self.error(path, "expected a text");
        }
    }

    pub(super) fn action(&mut self, path: &str, action: &Action) {
        // Every text of the settings is a template, but for a script.
        if !matches!(action, Action::Transform(_) | Action::Condition(_)) {
            let config = serde_json::to_value(action).map(|mut whole| whole["config"].take()).unwrap_or_default();
            self.templates(path, &config, &expression::NAMES);
        }
        match action {
            Action::Approval(c) => self.approval(path, c),
            Action::Task(c) => self.task(path, c),
            Action::Condition(c) => {
                self.few_cases(path, c.cases.len());
                for (k, case) in c.cases.iter().enumerate() {
                    self.expression(&format!("{path}.cases[{k}].when"), &case.when);
                    self.outcome(&format!("{path}.cases[{k}].outcome"), &case.outcome);
                }
                self.outcome(&format!("{path}.default"), &c.default);
            }
            Action::Case(c) => {
                self.expression(&format!("{path}.value"), &c.value);
                self.few_cases(path, c.cases.len());
                for (k, case) in c.cases.iter().enumerate() {
                    self.outcome(&format!("{path}.cases[{k}].outcome"), &case.outcome);
                }
                self.outcome(&format!("{path}.default"), &c.default);
            }
            Action::Set(c) => self.set(path, c),
            Action::Transform(c) => self.transform(path, c),
            Action::Parallel(c) => self.parallel(path, c),
            Action::Join(c) => self.rule(&format!("{path}.rule"), c.rule, None),
            Action::Foreach(c) => self.foreach(path, c),
            Action::Http(c) => self.http(path, c),
            _ => self.more(path, action),
        }
    }

    fn more(&mut self, path: &str, action: &Action) {
        match action {
            Action::Notification(c) => self.notification(path, c),
            Action::RoleGrant(c) => {
                self.filled(&format!("{path}.role"), &c.role);
                for (i, kind) in c.documents.iter().enumerate() {
                    self.filled(&format!("{path}.documents[{i}]"), kind);
                }
                if let Some(days) = &c.duration_days {
                    self.count(&format!("{path}.durationDays"), days, 1..=MAX_DAYS, "days");
                }
                if let Some(hours) = &c.duration_hours {
                    let path = format!("{path}.durationHours");
                    self.count(&path, hours, 1..=24 * MAX_DAYS, "hours");
                    if c.duration_days.is_some() {
                        self.error(path, "expected either durationDays or durationHours, not both");
                    }
                }
            }
            Action::RoleRevoke(c) => {
                self.filled(&format!("{path}.role"), &c.role);
                self.filled(&format!("{path}.reason"), &c.reason);
            }
            Action::DocumentRequest(c) if c.kind.trim().is_empty() => {
                self.error(format!("{path}.documentType"), "expected a type of document");
            }
            Action::Delay(c) => self.count(&format!("{path}.seconds"), &c.seconds, 1..=MAX_DELAY, "seconds"),
            Action::WaitUntil(c) => self.until(&format!("{path}.until"), &c.until),
            Action::WebhookWait(c) => {
                self.filled(&format!("{path}.event"), &c.event);
                self.filled(&format!("{path}.key"), &c.key);
            }
            Action::Subworkflow(c) => self.subworkflow(path, c),
            Action::Connector(c) => {
                self.filled(&format!("{path}.connector"), &c.connector);
                self.filled(&format!("{path}.command"), &c.command);
            }
            Action::UserCreate(c) => {
                self.filled(&format!("{path}.email"), &c.email);
                self.filled(&format!("{path}.displayName"), &c.display_name);
                self.names(&format!("{path}.groups"), &c.groups);
            }
            Action::ProfileUpdate(c) => self.profile(path, c),
            Action::IdentityLink(c) => {
                self.filled(&format!("{path}.connector"), &c.connector);
                self.filled(&format!("{path}.externalId"), &c.external_id);
            }
            Action::Consent(c) => {
                self.filled(&format!("{path}.title"), &c.title);
                self.filled(&format!("{path}.text"), &c.text);
            }
            Action::Invitation(c) => {
                self.filled(&format!("{path}.email"), &c.email);
                self.fields(&format!("{path}.form"), &c.form);
                if !(1..=MAX_HOURS).contains(&c.valid_hours) {
                    self.error(format!("{path}.validHours"), format!("expected 1 to {MAX_HOURS} hours"));
                }
            }
            Action::VerifyContact(c) if !(1..=720).contains(&c.valid_hours) => {
                self.error(format!("{path}.validHours"), "expected 1 to 720 hours");
            }
            Action::End(c) if !c.failed && !c.reason.is_empty() => {
                self.warning(format!("{path}.reason"), "only a run that counts as failed has a reason");
            }
            _ => {}
        }
    }

    fn few_cases(&mut self, path: &str, cases: usize) {
        if !(1..=MAX_CASES).contains(&cases) {
            self.error(format!("{path}.cases"), format!("expected 1 to {MAX_CASES} cases"));
        }
    }

    fn set(&mut self, path: &str, c: &SetConfig) {
        if c.values.is_empty() {
            self.error(format!("{path}.values"), "expected at least one variable");
        }
        for (name, value) in &c.values {
            let path = format!("{path}.values.{name}");
            self.variable(&path, name);
            let kind = self.definition.variables.iter().find(|v| v.name == *name).map(|v| v.kind);
            if let Some(kind) = kind
                && !value.is_null()
                && is_plain(value)
                && !kind.fits(value)
            {
                self.error(path, "expected a value of the variable's type");
            }
        }
    }

    fn count(&mut self, path: &str, count: &Count, range: std::ops::RangeInclusive<u64>, what: &str) {
        let expected = format!("expected {} to {} {what}", range.start(), range.end());
        match count {
            Count::Number(n) if !range.contains(n) => self.error(path, expected),
            Count::Template(text) if is_plain_text(text) && !text.trim().parse().is_ok_and(|n| range.contains(&n)) => {
                self.error(path, format!("{expected}, or a template that gives them"));
            }
            _ => {}
        }
    }

    fn until(&mut self, path: &str, text: &str) {
        let text = text.trim();
        let reads = text.parse::<Timestamp>().is_ok() || text.parse::<jiff::civil::Date>().is_ok();
        if is_plain_text(text) && !reads {
            self.error(path, "expected an instant (2031-03-01T08:00:00Z), a day or a template that gives one");
        }
    }

    fn notification(&mut self, path: &str, c: &NotificationConfig) {
        if c.to.is_empty() {
            self.error(format!("{path}.to"), "expected at least one recipient");
        }
        for (i, to) in c.to.iter().enumerate() {
            match to {
                Recipient::Person(text) => self.filled(&format!("{path}.to[{i}].person"), text),
                Recipient::Group(text) => self.filled(&format!("{path}.to[{i}].group"), text),
                Recipient::Who(_) | Recipient::SystemRole(_) => {}
            }
        }
        self.filled(&format!("{path}.subject"), &c.subject);
    }

    fn subworkflow(&mut self, path: &str, c: &SubworkflowConfig) {
        let path = format!("{path}.workflow");
        self.filled(&path, &c.workflow);
        if c.workflow == self.definition.name {
            self.warning(path, "it runs itself; that ends after ten runs inside one another");
        }
    }

    fn profile(&mut self, path: &str, c: &ProfileUpdateConfig) {
        self.names(&format!("{path}.joinGroups"), &c.join_groups);
        self.names(&format!("{path}.leaveGroups"), &c.leave_groups);
        let nothing = ProfileUpdateConfig { person: c.person, ..ProfileUpdateConfig::default() };
        if *c == nothing {
            self.error(path, "expected something that changes: displayName, manager, attributes, groups or active");
        }
    }

    fn names(&mut self, path: &str, names: &[String]) {
        for (i, name) in names.iter().enumerate() {
            self.filled(&format!("{path}[{i}]"), name);
        }
    }

    fn outcome(&mut self, path: &str, outcome: &str) {
        if matches!(outcome, "error" | "timeout") || !is_name(outcome) {
            self.error(path, "expected a name other than error and timeout");
        }
    }

    fn due(&mut self, path: &str, hours: Option<u32>) {
        if hours.is_some_and(|h| !(1..=MAX_HOURS).contains(&h)) {
            self.error(format!("{path}.dueHours"), format!("expected 1 to {MAX_HOURS} hours"));
        }
    }

    fn approvers(&mut self, path: &str, approvers: &[Approver]) {
        if approvers.is_empty() {
            self.error(path, "nobody can decide; name at least one");
        }
        for (i, approver) in approvers.iter().enumerate() {
            match approver {
                Approver::Expression(text) => self.expression(&format!("{path}[{i}].expression"), text),
                Approver::Person(text) => self.filled(&format!("{path}[{i}].person"), text),
                Approver::Group(text) => self.filled(&format!("{path}[{i}].group"), text),
                Approver::SystemRole(_) | Approver::ManagerOf(_) => {}
            }
        }
    }

    fn rule(&mut self, path: &str, rule: Rule, of: Option<usize>) {
        if let Rule::Quorum(n) = rule
            && (n == 0 || of.is_some_and(|of| n as usize > of))
        {
            self.error(path, of.map_or("expected a quorum of 1 or more".to_owned(), |of| format!("expected a quorum of 1 to {of}")));
        }
    }

    fn approval(&mut self, path: &str, c: &ApprovalConfig) {
        self.filled(&format!("{path}.title"), &c.title);
        self.due(path, c.due_hours);
        if c.pattern == Pattern::Sequential {
            if c.stages.is_empty() || c.stages.len() > 20 {
                self.error(format!("{path}.stages"), "expected 1 to 20 stages");
            }
            if !c.approvers.is_empty() {
                self.error(format!("{path}.approvers"), "a sequential approval names its approvers in stages");
            }
            for (i, stage) in c.stages.iter().enumerate() {
                self.approvers(&format!("{path}.stages[{i}].approvers"), &stage.approvers);
                self.rule(&format!("{path}.stages[{i}].rule"), stage.rule, None);
            }
        } else {
            if !c.stages.is_empty() {
                self.error(format!("{path}.stages"), "only a sequential approval has stages");
            }
            self.approvers(&format!("{path}.approvers"), &c.approvers);
            self.rule(&format!("{path}.rule"), c.rule, None);
        }
        if let Some(escalation) = &c.escalation {
            self.escalation(&format!("{path}.escalation"), escalation);
        }
    }

    fn escalation(&mut self, path: &str, c: &Escalation) {
        let within = |minutes: u32| (1..=MAX_MINUTES).contains(&minutes);
        let range = format!("expected 1 to {MAX_MINUTES} minutes");
        if c.remind_after_minutes.len() > 20 || !c.remind_after_minutes.iter().all(|m| within(*m)) {
            self.error(format!("{path}.remindAfterMinutes"), format!("{range}, at most 20 times"));
        }
        if let Some(reassign) = &c.reassign {
            if !within(reassign.after_minutes) {
                self.error(format!("{path}.reassign.afterMinutes"), range.clone());
            }
            if !reassign.to.is_empty() {
                self.approvers(&format!("{path}.reassign.to"), &reassign.to);
            }
        }
        if let Some(last) = c.last {
            if !within(last.after_minutes) {
                self.error(format!("{path}.last.afterMinutes"), range);
            }
            if c.reassign.as_ref().is_some_and(|r| r.after_minutes >= last.after_minutes) {
                self.error(format!("{path}.last.afterMinutes"), "expected a later time than that of reassign");
            }
        }
    }

    fn task(&mut self, path: &str, c: &TaskConfig) {
        self.filled(&format!("{path}.title"), &c.title);
        self.due(path, c.due_hours);
        self.approvers(&format!("{path}.assignees"), &c.assignees);
        self.fields(&format!("{path}.form"), &c.form);
        for (i, name) in c.outputs.iter().enumerate() {
            let path = format!("{path}.outputs[{i}]");
            self.variable(&path, name);
            let variable = self.definition.variables.iter().find(|v| v.name == *name).map(|v| v.kind);
            match c.form.iter().find(|f| f.name == *name) {
                None => self.error(path, format!("there is no field {name}")),
                Some(field) if variable.is_some_and(|kind| kind != field.kind) => {
                    self.error(path, "the field and the variable are of different types");
                }
                Some(_) => {}
            }
        }
    }

    /// Variables of a definition, or fields of a form.
    pub(super) fn fields(&mut self, path: &str, fields: &[Variable]) {
        if fields.len() > fields::MAX_FIELDS {
            self.error(path, format!("expected at most {} fields", fields::MAX_FIELDS));
        }
        let mut names = BTreeSet::new();
        for (i, field) in fields.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if !is_name(&field.name) {
                self.error(format!("{path}.name"), "expected a letter, then letters, digits and underscores");
            }
            if !names.insert(&field.name) {
                self.error(format!("{path}.name"), format!("{} is there twice", field.name));
            }
            for (part, message) in fields::faults_of(field) {
                self.error(format!("{path}.{part}"), message);
            }
        }
    }

    fn transform(&mut self, path: &str, c: &TransformConfig) {
        if c.script.trim().is_empty() || c.script.len() > MAX_SCRIPT {
            self.error(format!("{path}.script"), format!("expected 1 to {MAX_SCRIPT} characters"));
        } else if let Err(e) = script::check(&c.script) {
            self.error(format!("{path}.script"), e.to_string());
        }
        if c.outputs.is_empty() {
            self.error(format!("{path}.outputs"), "expected at least one variable");
        }
        for (i, name) in c.outputs.iter().enumerate() {
            self.variable(&format!("{path}.outputs[{i}]"), name);
        }
    }

    fn parallel(&mut self, path: &str, c: &ParallelConfig) {
        if !(2..=20).contains(&c.branches.len()) {
            self.error(format!("{path}.branches"), "expected 2 to 20 branches");
        }
        let mut meetings = BTreeSet::new();
        for (i, branch) in c.branches.iter().enumerate() {
            self.begins(&format!("{path}.branches[{i}]"), branch);
            meetings.extend(self.meeting_of(branch, 0));
        }
        if meetings.len() > 1 {
            let all: Vec<&str> = meetings.iter().map(String::as_str).collect();
            self.error(format!("{path}.branches"), format!("branches meet at one join; these meet at {}", all.join(", ")));
        }
    }

    /// The joins that a branch comes to, with those of branches inside it left out.
    fn meeting_of(&self, branch: &str, depth: u32) -> BTreeSet<String> {
        let (mut open, mut seen, mut found) = (vec![branch.to_owned()], BTreeSet::new(), BTreeSet::new());
        while let Some(id) = open.pop() {
            let Some(step) = self.definition.step(&id) else { continue };
            if !seen.insert(id) {
                continue;
            }
            match &step.action {
                Action::Join(_) => {
                    found.insert(step.id.clone());
                }
                Action::Parallel(inner) if depth < MAX_NESTING => {
                    // What follows the inner meeting is this branch again.
                    let inside: BTreeSet<String> = inner.branches.iter().flat_map(|b| self.meeting_of(b, depth + 1)).collect();
                    for join in inside {
                        let next = self.definition.step(&join).map(|s| s.transitions.as_slice()).unwrap_or_default();
                        open.extend(next.iter().map(|t| t.to.clone()));
                    }
                    open.extend(step.transitions.iter().map(|t| t.to.clone()));
                }
                _ => open.extend(step.transitions.iter().map(|t| t.to.clone())),
            }
        }
        found
    }

    fn begins(&mut self, path: &str, step: &str) {
        if self.definition.step(step).is_none() {
            self.error(path, format!("there is no step {step}"));
        }
    }

    fn foreach(&mut self, path: &str, c: &ForeachConfig) {
        self.expression(&format!("{path}.items"), &c.items);
        self.begins(&format!("{path}.body"), &c.body);
        if !(1..=50).contains(&c.max_parallel) {
            self.error(format!("{path}.maxParallel"), "expected 1 to 50");
        }
    }

    fn http(&mut self, path: &str, c: &HttpConfig) {
        if !matches!(c.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            self.error(format!("{path}.method"), "expected GET, POST, PUT, PATCH or DELETE");
        }
        let plain = ["http://", "https://", "{{"].iter().any(|p| c.url.trim_start().starts_with(p));
        if !plain {
            self.error(format!("{path}.url"), "expected an address that begins with https:// or http://");
        }
        for name in c.headers.keys() {
            let secret = ["authorization", "cookie", "proxy-authorization"].contains(&name.to_ascii_lowercase().as_str());
            if secret || name.to_ascii_lowercase().contains("api-key") {
                self.error(format!("{path}.headers.{name}"), "signs in; make a connector, which keeps secrets sealed");
            } else if is_reserved(name) {
                self.error(format!("{path}.headers.{name}"), "is set by Tenure");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::validate;
    use super::*;

    /// Where the settings of a step are at fault.
    fn faults(kind: &str, config: &Value) -> Vec<String> {
        let variables = json!([{ "name": "n", "type": "number" }, { "name": "text", "type": "string" }]);
        let step = json!({ "id": "a", "name": "A", "type": kind, "config": config });
        let definition = json!({ "name": "T", "variables": variables, "steps": [step] });
        let definition = serde_json::from_value(definition).unwrap_or_else(|e| panic!("{kind} {config}: {e}"));
        let found = validate(&definition).errors.into_iter();
        found.map(|f| f.path.strip_prefix("steps[0].config.").map_or(f.path.clone(), str::to_owned)).collect()
    }

    #[test]
    fn settings_that_can_never_work_are_faults_of_their_field() {
        let rows = [
            ("role_grant", json!({ "role": " ", "documents": [""] }), vec!["role", "documents[0]"]),
            ("role_grant", json!({ "role": "r", "durationDays": 3661 }), vec!["durationDays"]),
            ("role_grant", json!({ "role": "r", "durationDays": "a year" }), vec!["durationDays"]),
            ("role_grant", json!({ "role": "r", "durationHours": 0 }), vec!["durationHours"]),
            ("role_grant", json!({ "role": "r", "durationHours": 87_841 }), vec!["durationHours"]),
            ("role_grant", json!({ "role": "r", "durationDays": 1, "durationHours": "{{ vars.n }}" }), vec!["durationHours"]),
            ("http", json!({ "url": "https://a.example/", "headers": { "Host": "b.example", "X-Api-Key": "1" } }),
             vec!["headers.Host", "headers.X-Api-Key"]),
            ("role_revoke", json!({ "role": "", "reason": "" }), vec!["role", "reason"]),
            ("notification", json!({ "to": [], "subject": "", "body": "" }), vec!["to", "subject"]),
            ("notification", json!({ "to": [{ "group": "" }], "subject": "s", "body": "" }), vec!["to[0].group"]),
            ("profile_update", json!({}), vec!["steps[0].config"]),
            ("profile_update", json!({ "joinGroups": [""] }), vec!["joinGroups[0]"]),
            ("user_create", json!({ "email": "", "displayName": "", "groups": [""] }), vec!["email", "displayName", "groups[0]"]),
            ("wait_until", json!({ "until": "tomorrow" }), vec!["until"]),
            ("delay", json!({ "seconds": "soon" }), vec!["seconds"]),
            ("set", json!({ "values": {} }), vec!["values"]),
            ("set", json!({ "values": { "n": "three", "text": "t" } }), vec!["values.n"]),
            ("condition", json!({ "cases": [] }), vec!["cases"]),
            ("case", json!({ "value": "vars.n", "cases": [] }), vec!["cases"]),
            ("approval", json!({ "title": "t", "approvers": [{ "person": "" }, { "group": " " }] }), vec!["approvers[0].person", "approvers[1].group"]),
        ];
        for (kind, config, expected) in rows {
            assert_eq!(faults(kind, &config), expected, "{kind} {config}");
        }
    }

    #[test]
    fn settings_that_are_known_only_later_are_none() {
        for (kind, config) in [
            ("role_grant", json!({ "role": "r", "durationDays": "{{ vars.n }}" })),
            ("role_grant", json!({ "role": "r", "durationDays": "30" })),
            ("role_grant", json!({ "role": "r", "durationHours": 8 })),
            ("role_grant", json!({ "role": "r", "durationHours": "{{ vars.n }}" })),
            ("wait_until", json!({ "until": "{{ vars.text }}" })),
            ("wait_until", json!({ "until": "2031-03-01" })),
            ("set", json!({ "values": { "n": "{{ vars.n + 1 }}", "text": null } })),
            ("profile_update", json!({ "active": false })),
        ] {
            assert_eq!(faults(kind, &config), Vec::<String>::new(), "{kind} {config}");
        }
    }
}
