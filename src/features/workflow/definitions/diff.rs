//! What differs between two definitions, in their own terms.
//!
//! # Invariants
//! - Steps are known by their ids, transitions by their outcomes, variables by their names: where they
//!   stand is no difference, but for which step comes first.
//! - Two definitions without a difference do the same.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::Definition;

/// What a change is a change of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Something that the whole definition has, such as its name, or which step comes first.
    Setting,
    /// A variable.
    Variable,
    /// A step.
    Step,
    /// Where a run goes after an outcome of a step.
    Transition,
}

/// How it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another one.
    Changed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// Of what.
    pub part: Part,
    /// How.
    pub kind: ChangeKind,
    /// Where, such as `steps[review].config.dueHours`, `steps[review].transitions[approved]`,
    /// `variables[project].label`, `firstStep`.
    pub path: String,
    /// The step it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// The changes that lead from `old` to `new`.
pub fn diff(old: &Definition, new: &Definition) -> Vec<Change> {
    let (a, b) = (json(old), json(new));
    let mut found = Found::default();
    for name in ["name", "description", "category", "onError", "trigger"] {
        found.values(&Place { part: Part::Setting, step: None }, name, &a[name], &b[name]);
    }
    let first = |d: &Definition| d.steps.first().map_or(Value::Null, |s| Value::from(s.id.clone()));
    found.values(&Place { part: Part::Setting, step: None }, "firstStep", &first(old), &first(new));
    let (before, after) = (keyed(&a["variables"], "name"), keyed(&b["variables"], "name"));
    for name in union(&before, &after) {
        let path = format!("variables[{name}]");
        found.whole(&Place { part: Part::Variable, step: None }, &path, &before[&name], &after[&name]);
    }
    let (before, after) = (keyed(&a["steps"], "id"), keyed(&b["steps"], "id"));
    for id in union(&before, &after) {
        found.step(&id, &before[&id], &after[&id]);
    }
    found.0
}

fn json(definition: &Definition) -> Value {
    serde_json::to_value(definition).unwrap_or_default()
}

/// The items of a list by the field that names them; the first of those with one name.
fn keyed(items: &Value, by: &str) -> Value {
    let mut all = Map::new();
    for item in items.as_array().into_iter().flatten() {
        let name = item[by].as_str().unwrap_or_default().to_owned();
        all.entry(name).or_insert_with(|| item.clone());
    }
    Value::Object(all)
}

fn union(a: &Value, b: &Value) -> BTreeSet<String> {
    [a, b].into_iter().filter_map(Value::as_object).flat_map(|all| all.keys().cloned()).collect()
}

struct Place<'a> {
    part: Part,
    step: Option<&'a str>,
}

#[derive(Default)]
struct Found(Vec<Change>);

impl Found {
    fn push(&mut self, at: &Place<'_>, path: &str, old: &Value, new: &Value) {
        let kind = match (old.is_null(), new.is_null()) {
            (true, false) => ChangeKind::Added,
            (false, true) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        let known = |value: &Value| (!value.is_null()).then(|| value.clone());
        let step = at.step.map(str::to_owned);
        self.0.push(Change { part: at.part, kind, path: path.to_owned(), step, old: known(old), new: known(new) });
    }

    /// A thing that is there or not as a whole; what differs inside is told by itself.
    fn whole(&mut self, at: &Place<'_>, path: &str, old: &Value, new: &Value) {
        if old.is_null() || new.is_null() {
            return self.push(at, path, old, new);
        }
        self.values(at, path, old, new);
    }

    /// The innermost places at which two values differ.
    fn values(&mut self, at: &Place<'_>, path: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(_), Value::Object(_)) => {
                for name in union(old, new) {
                    self.values(at, &format!("{path}.{name}"), &old[&name], &new[&name]);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() && a.len() > 1 => {
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    self.values(at, &format!("{path}[{i}]"), a, b);
                }
            }
            _ => self.push(at, path, old, new),
        }
    }

    fn step(&mut self, id: &str, old: &Value, new: &Value) {
        let path = format!("steps[{id}]");
        let at = Place { part: Part::Step, step: Some(id) };
        if old.is_null() || new.is_null() {
            return self.push(&at, &path, old, new);
        }
        for name in union(old, new).into_iter().filter(|n| n != "transitions") {
            self.values(&at, &format!("{path}.{name}"), &old[&name], &new[&name]);
        }
        let at = Place { part: Part::Transition, step: Some(id) };
        let (before, after) = (keyed(&old["transitions"], "on"), keyed(&new["transitions"], "on"));
        for on in union(&before, &after) {
            self.values(&at, &format!("{path}.transitions[{on}]"), &before[&on]["to"], &after[&on]["to"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(value: Value) -> Definition {
        serde_json::from_value(value).expect("reads")
    }

    fn base() -> Value {
        json!({
            "name": "T",
            "variables": [{ "name": "a", "type": "string" }, { "name": "b", "type": "number" }],
            "steps": [
                { "id": "one", "name": "One", "type": "approval",
                  "config": { "title": "t", "approvers": [{ "group": "g" }], "dueHours": 72 },
                  "transitions": [{ "on": "approved", "to": "two" }, { "on": "rejected", "to": "three" }] },
                { "id": "two", "name": "Two", "type": "set", "config": { "values": { "a": "x", "b": 1 } } },
                { "id": "three", "name": "Three", "type": "end" },
            ],
        })
    }

    fn changes(edit: impl FnOnce(&mut Value)) -> Vec<(String, ChangeKind, Option<Value>, Option<Value>)> {
        let mut changed = base();
        edit(&mut changed);
        let found = diff(&definition(base()), &definition(changed));
        found.into_iter().map(|c| (c.path, c.kind, c.old, c.new)).collect()
    }

    #[test]
    fn order_alone_is_no_change() {
        let moved = changes(|d| {
            d["steps"].as_array_mut().unwrap().swap(1, 2);
            d["variables"].as_array_mut().unwrap().reverse();
            d["steps"][0]["transitions"].as_array_mut().unwrap().reverse();
        });
        assert_eq!(moved, []);
    }

    #[test]
    fn which_step_comes_first_is_one() {
        let moved = changes(|d| d["steps"].as_array_mut().unwrap().swap(0, 1));
        assert_eq!(moved, [("firstStep".to_owned(), ChangeKind::Changed, Some(json!("one")), Some(json!("two")))]);
    }

    #[test]
    fn each_change_is_named_by_the_innermost_place() {
        use ChangeKind::{Added, Changed, Removed};
        type Row = (&'static str, fn(&mut Value), &'static str, ChangeKind, Option<Value>, Option<Value>);
        let rows: [Row; 10] = [
            ("name", |d| d["name"] = json!("U"), "name", Changed, Some(json!("T")), Some(json!("U"))),
            ("onError", |d| d["onError"] = json!("continue"), "onError", Changed, Some(json!("stop")), Some(json!("continue"))),
            ("due", |d| d["steps"][0]["config"]["dueHours"] = json!(24), "steps[one].config.dueHours", Changed, Some(json!(72)), Some(json!(24))),
            ("no due", |d| { d["steps"][0]["config"].as_object_mut().unwrap().remove("dueHours"); },
                "steps[one].config.dueHours", Removed, Some(json!(72)), None),
            ("retry", |d| d["steps"][0]["timeout"] = json!({ "seconds": 9 }), "steps[one].timeout", Added, None, Some(json!({ "seconds": 9 }))),
            ("other way", |d| d["steps"][0]["transitions"][0]["to"] = json!("three"),
                "steps[one].transitions[approved]", Changed, Some(json!("two")), Some(json!("three"))),
            ("no way", |d| { d["steps"][0]["transitions"].as_array_mut().unwrap().pop(); },
                "steps[one].transitions[rejected]", Removed, Some(json!("three")), None),
            ("variable", |d| d["variables"][1]["type"] = json!("string"), "variables[b].type", Changed, Some(json!("number")), Some(json!("string"))),
            ("value", |d| d["steps"][1]["config"]["values"]["a"] = json!("y"), "steps[two].config.values.a", Changed, Some(json!("x")), Some(json!("y"))),
            ("trigger", |d| d["trigger"] = json!({ "event": { "name": "e" } }), "trigger", Added, None,
                Some(json!({ "event": { "name": "e", "input": {} } }))),
        ];
        for (what, edit, path, kind, old, new) in rows {
            assert_eq!(changes(edit), [(path.to_owned(), kind, old, new)], "{what}");
        }
    }

    #[test]
    fn steps_come_and_go_as_a_whole() {
        let found = changes(|d| d["steps"][1]["id"] = json!("zwei"));
        let shown: Vec<(&str, ChangeKind)> = found.iter().map(|c| (c.0.as_str(), c.1)).collect();
        assert_eq!(shown, [("steps[two]", ChangeKind::Removed), ("steps[zwei]", ChangeKind::Added)]);
        assert_eq!(found[1].3.as_ref().map(|s| &s["type"]), Some(&json!("set")));
        let found = changes(|d| {
            d["variables"].as_array_mut().unwrap().pop();
        });
        assert_eq!((found[0].0.as_str(), found[0].1), ("variables[b]", ChangeKind::Removed));
    }
}
