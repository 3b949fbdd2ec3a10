//! Expressions as they are computed: the rules of this language put in, values of the run found before.

use std::borrow::Cow;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
};
use serde_json::Value;

use super::{ExpressionError, MAX_DEPTH, NAMES};

/// What the parser calls the result of `all`, `exists`, `map` and `filter` so far.
pub(super) const SO_FAR: &str = "@result";

// Names that no expression can spell, so that nobody calls these or hides them.
pub(super) const GET: &str = "@get";
pub(super) const HAS: &str = "@has";
pub(super) const TRUTHY: &str = "@truthy";
pub(super) const ITEMS: &str = "@items";
pub(super) const PART: &str = "@part";
pub(super) const PATTERN: &str = "@pattern";

/// An expression as it is computed.
pub(super) struct Adapted {
    pub(super) expression: IdedExpr,
    /// The values of the run that it needs whole.
    pub(super) names: Vec<&'static str>,
    /// Those that are found before.
    pub(super) paths: Vec<Path>,
    /// The names that macros bind.
    pub(super) bound: Vec<String>,
}

/// A value of the run, such as `vars.days`, or whether it is there.
#[derive(PartialEq)]
pub(super) struct Path {
    /// The name that stands for it.
    pub(super) slot: String,
    root: &'static str,
    keys: Vec<Key>,
    test: bool,
}

#[derive(PartialEq)]
enum Key {
    Field(String),
    Index(i64),
}

impl Path {
    /// What it is: null when it is missing. Nothing when a field is asked of what has none.
    pub(super) fn find<'a>(&self, values: &'a Value) -> Option<Cow<'a, Value>> {
        let (last, before) = self.keys.split_last()?;
        let from = before.iter().try_fold(values.get(self.root).unwrap_or(&Value::Null), |from, key| member(from, key))?;
        if !self.test {
            return member(from, last).map(Cow::Borrowed);
        }
        match (from, last) {
            (Value::Null, _) => Some(Cow::Owned(Value::Bool(false))),
            (Value::Object(fields), Key::Field(name)) => Some(Cow::Owned(Value::Bool(fields.contains_key(name)))),
            _ => None,
        }
    }
}

fn member<'a>(from: &'a Value, key: &Key) -> Option<&'a Value> {
    match (from, key) {
        (Value::Null, _) | (Value::Object(_), Key::Index(_)) => Some(&Value::Null),
        (Value::Object(fields), Key::Field(name)) => Some(fields.get(name).unwrap_or(&Value::Null)),
        (Value::Array(items), Key::Index(i)) => {
            Some(usize::try_from(*i).ok().and_then(|i| items.get(i)).unwrap_or(&Value::Null))
        }
        _ => None,
    }
}

/// The expression with the rules of this language put in; `quick` has values of the run found before.
pub(super) fn adapt(e: &IdedExpr, quick: bool) -> Result<Adapted, ExpressionError> {
    let mut adapter = Adapter { quick, scope: Vec::new(), bound: Vec::new(), names: Vec::new(), paths: Vec::new() };
    let expression = adapter.adapt(e, 0)?;
    let Adapter { bound, names, paths, .. } = adapter;
    Ok(Adapted { expression, names, paths, bound })
}

struct Adapter {
    quick: bool,
    /// The names that macros bind around the place at hand.
    scope: Vec<String>,
    bound: Vec<String>,
    names: Vec<&'static str>,
    paths: Vec<Path>,
}

impl Adapter {
    fn adapt(&mut self, e: &IdedExpr, depth: usize) -> Result<IdedExpr, ExpressionError> {
        if depth > MAX_DEPTH {
            return Err(ExpressionError(format!("is nested more than {MAX_DEPTH} deep; split it over several cases")));
        }
        if let Some(slot) = self.found_before(e) {
            return Ok(ided(e.id, Expr::Ident(slot)));
        }
        let depth = depth + 1;
        let expr = match &e.expr {
            Expr::Select(SelectExpr { operand, field, test }) => {
                let key = ided(e.id, Expr::Literal(LiteralValue::String(field.clone().into())));
                call(if *test { HAS } else { GET }, vec![self.adapt(operand, depth)?, key])
            }
            Expr::Call(c) => {
                let args = c.args.iter().map(|a| self.adapt(a, depth)).collect::<Result<Vec<_>, _>>()?;
                let target = c.target.as_deref().map(|t| self.adapt(t, depth)).transpose()?;
                self.call(&c.func_name, target, args)
            }
            Expr::Comprehension(c) => self.comprehension(e.id, c, depth)?,
            Expr::List(list) => {
                let elements = list.elements.iter().map(|e| Ok(part(self.adapt(e, depth)?))).collect::<Result<Vec<_>, _>>()?;
                Expr::List(ListExpr::new_with_optionals(elements, list.optional_indices.clone()))
            }
            Expr::Map(map) => {
                let mut map = map.clone();
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(pair) = &mut entry.expr {
                        pair.key = self.adapt(&pair.key, depth)?;
                        pair.value = part(self.adapt(&pair.value, depth)?);
                    }
                }
                Expr::Map(map)
            }
            Expr::Ident(name) => {
                self.names.extend(self.root(name).filter(|root| !self.names.contains(root)));
                e.expr.clone()
            }
            Expr::Unspecified | Expr::Literal(_) | Expr::Struct(_) => e.expr.clone(),
        };
        Ok(ided(e.id, expr))
    }

    /// The value of the run with this name, unless a macro bound the name to something else.
    fn root(&self, name: &str) -> Option<&'static str> {
        NAMES.into_iter().find(|n| *n == name && !self.scope.iter().any(|s| s == name))
    }

    /// The name that stands for a value that is found before.
    fn found_before(&mut self, e: &IdedExpr) -> Option<String> {
        if !self.quick {
            return None;
        }
        let (e, test) = match &e.expr {
            Expr::Select(SelectExpr { operand, field, test: true }) => (&**operand, Some(Key::Field(field.clone()))),
            _ => (e, None),
        };
        let (root, mut keys) = self.path(e, 0)?;
        let is_test = test.is_some();
        keys.extend(test);
        if keys.is_empty() {
            return None;
        }
        let known = self.paths.iter().find(|p| p.root == root && p.keys == keys && p.test == is_test);
        if let Some(known) = known {
            return Some(known.slot.clone());
        }
        let slot = format!("@{}", self.paths.len());
        self.paths.push(Path { slot: slot.clone(), root, keys, test: is_test });
        Some(slot)
    }

    fn path(&self, e: &IdedExpr, depth: usize) -> Option<(&'static str, Vec<Key>)> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (from, key) = match &e.expr {
            Expr::Ident(name) => return Some((self.root(name)?, Vec::new())),
            Expr::Select(SelectExpr { operand, field, test: false }) => (&**operand, Key::Field(field.clone())),
            Expr::Call(c) if c.func_name == operators::INDEX && c.target.is_none() => match c.args.as_slice() {
                [from, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                    (from, Key::Field(name.inner().to_owned()))
                }
                [from, IdedExpr { expr: Expr::Literal(LiteralValue::Int(i)), .. }] => (from, Key::Index(*i.inner())),
                _ => return None,
            },
            _ => return None,
        };
        let (root, mut keys) = self.path(from, depth + 1)?;
        keys.push(key);
        Some((root, keys))
    }

    fn comprehension(&mut self, id: u64, c: &ComprehensionExpr, depth: usize) -> Result<Expr, ExpressionError> {
        let iter_range = ided(id, call(ITEMS, vec![self.adapt(&c.iter_range, depth)?]));
        let accu_init = self.adapt(&c.accu_init, depth)?;
        let names: Vec<String> = [&c.iter_var].into_iter().chain(&c.iter_var2).cloned().collect();
        self.bound.extend(names.iter().cloned());
        let outside = self.scope.len();
        self.scope.extend(names);
        let made = ComprehensionExpr {
            iter_range,
            accu_init,
            loop_cond: self.adapt(&c.loop_cond, depth)?,
            loop_step: self.adapt(&c.loop_step, depth)?,
            result: self.adapt(&c.result, depth)?,
            ..c.clone()
        };
        self.scope.truncate(outside);
        Ok(Expr::Comprehension(Box::new(made)))
    }

    fn call(&self, name: &str, target: Option<IdedExpr>, mut args: Vec<IdedExpr>) -> Expr {
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
                let item = std::mem::take(&mut args[0]);
                args[0] = part(item);
            }
            // What the parser adds to the result so far is taken as it is: that is fast.
            (operators::ADD, 2) if is_so_far(&args[0]) => {}
            (operators::NOT_STRICTLY_FALSE, _) => {}
            (operators::ADD, _) => args = args.into_iter().map(part).collect(),
            // Once is little work, whatever it is; in a repetition it is counted.
            _ if !self.scope.is_empty() => args = args.into_iter().map(part).collect(),
            _ => {}
        }
        if name == "matches"
            && let Some(pattern) = args.pop()
        {
            args.push(ided(pattern.id, call(PATTERN, vec![pattern])));
        }
        let target = target.map(|t| Box::new(if self.scope.is_empty() { t } else { part(t) }));
        Expr::Call(CallExpr { func_name: name.to_owned(), target, args })
    }
}

fn is_so_far(e: &IdedExpr) -> bool {
    matches!(&e.expr, Expr::Ident(name) if name == SO_FAR)
}

fn truth_of(e: IdedExpr) -> IdedExpr {
    if is_so_far(&e) { e } else { ided(e.id, call(TRUTHY, vec![e])) }
}

/// Counts the work of what is looked at or copied; a literal is as long as it is written.
fn part(e: IdedExpr) -> IdedExpr {
    if is_so_far(&e) || matches!(e.expr, Expr::Literal(_)) { e } else { ided(e.id, call(PART, vec![e])) }
}

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

fn ided(id: u64, expr: Expr) -> IdedExpr {
    IdedExpr { id, expr }
}
