//! Statements with named parameters, as each engine wants them: `:name` becomes `$1` or `?`.
//!
//! # Invariants
//! - What stands in a text, a quoted name or a comment is no parameter.
//! - There is one statement: a semicolon stands at the end or in a text.

use serde_json::Value;

use super::Engine;
use crate::features::connectors::CallFailure;

/// The longest statement.
const MAX_CHARS: usize = 8_000;

/// A statement for one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// With the engine's own marks for parameters.
    pub(super) text: String,
    /// The name that is bound at each place, in their order.
    pub(super) names: Vec<String>,
    /// Whether it is the statement of a test, which only connects.
    pub(super) is_nothing: bool,
}

impl Statement {
    /// Only connects.
    pub(super) fn nothing() -> Self {
        Self { text: String::new(), names: Vec::new(), is_nothing: true }
    }

    /// Reads a statement; the fault is for whoever wrote it.
    pub(super) fn read(text: &str, engine: Engine) -> Result<Self, String> {
        if text.trim().is_empty() || text.chars().count() > MAX_CHARS {
            return Err(format!("expected a statement of 1 to {MAX_CHARS} characters"));
        }
        if text.contains('\0') {
            return Err("expected no NUL character".to_owned());
        }
        let mut reading = Reading { rest: text, engine, text: String::new(), names: Vec::new() };
        reading.read()?;
        Ok(Self { text: reading.text, names: reading.names, is_nothing: false })
    }

    /// The values in the order of the parameters; each parameter has one, and no value is left over.
    pub(super) fn bind(&self, params: Option<&Value>) -> Result<Vec<Value>, CallFailure> {
        let empty = serde_json::Map::new();
        let given = match params {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(fields)) => fields,
            Some(_) => return Err(CallFailure::param("params", "expected an object")),
        };
        if let Some(name) = given.keys().find(|name| !self.names.contains(name)) {
            return Err(CallFailure::param(&format!("params.{name}"), "the statement has no such parameter"));
        }
        self.names
            .iter()
            .map(|name| match given.get(name) {
                None => Err(CallFailure::param(&format!("params.{name}"), "is missing; the statement needs it")),
                Some(Value::String(text)) if text.contains('\0') => {
                    Err(CallFailure::param(&format!("params.{name}"), "expected no NUL character"))
                }
                Some(value) => Ok(value.clone()),
            })
            .collect()
    }
}

struct Reading<'a> {
    rest: &'a str,
    engine: Engine,
    text: String,
    names: Vec<String>,
}

impl<'a> Reading<'a> {
    /// Takes over `bytes` bytes as they are.
    fn copy(&mut self, bytes: usize) {
        let (head, tail) = self.rest.split_at(bytes.min(self.rest.len()));
        self.text.push_str(head);
        self.rest = tail;
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(first) = self.rest.chars().next() {
            match first {
                '\'' => self.quoted('\'', self.engine == Engine::Mysql || self.is_escaped_text())?,
                '"' => self.quoted('"', self.engine == Engine::Mysql)?,
                '`' if self.engine != Engine::Postgresql => self.quoted('`', false)?,
                '-' if self.rest.starts_with("--") => self.line(),
                '#' if self.engine == Engine::Mysql => self.line(),
                '/' if self.rest.starts_with("/*") => self.comment()?,
                '$' if self.engine == Engine::Postgresql => self.dollars()?,
                ':' if self.rest.starts_with("::") => self.copy(2),
                ':' => self.parameter(),
                ';' => {
                    if !self.rest[1..].trim().is_empty() {
                        return Err("expected one statement; a semicolon stands at its end only".to_owned());
                    }
                    self.rest = "";
                }
                // It would be taken for a parameter that nothing is bound to.
                '?' if self.engine != Engine::Postgresql => {
                    return Err("expected parameters as :name; a question mark stands in texts only".to_owned());
                }
                other => self.copy(other.len_utf8()),
            }
        }
        Ok(())
    }

    /// PostgreSQL's `E'…'`.
    fn is_escaped_text(&self) -> bool {
        let mut before = self.text.chars().rev();
        self.engine == Engine::Postgresql
            && before.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'))
            && before.next().is_none_or(|c| !c.is_alphanumeric() && c != '_')
    }

    /// A doubled quote inside reads as two texts beside each other, which comes to the same.
    fn quoted(&mut self, quote: char, backslashes: bool) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if c == '\\' && backslashes {
                escaped = true;
            } else if c == quote {
                self.copy(at + c.len_utf8());
                return Ok(());
            }
        }
        Err(format!("a {quote} is not closed"))
    }

    fn line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.copy(end);
    }

    fn comment(&mut self) -> Result<(), String> {
        if self.rest[2..].starts_with('!') || self.rest[2..].starts_with("M!") {
            return Err("expected no comment that is carried out".to_owned());
        }
        let end = self.rest[2..].find("*/").ok_or("a comment is not closed")?;
        if self.rest[2..2 + end].contains("/*") {
            return Err("expected no comment in a comment".to_owned());
        }
        self.copy(end + 4);
        Ok(())
    }

    /// `$tag$ … $tag$`; `$1` is a parameter that nothing is bound to.
    fn dollars(&mut self) -> Result<(), String> {
        let name = self.rest[1..].find('$').map(|at| &self.rest[..at + 2]);
        let tag = name.filter(|t| t[1..t.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') && !t[1..].starts_with(|c: char| c.is_ascii_digit()));
        let Some(tag) = tag else { return Err("expected parameters as :name, and no other $".to_owned()) };
        let end = self.rest[tag.len()..].find(tag).ok_or_else(|| format!("{tag} is not closed"))?;
        self.copy(tag.len() * 2 + end);
        Ok(())
    }

    fn parameter(&mut self) {
        let name: String = self.rest[1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return self.copy(1);
        }
        self.rest = &self.rest[1 + name.len()..];
        let at = match (self.engine, self.names.iter().position(|n| *n == name)) {
            // Its marks have no numbers, so each place is bound on its own.
            (Engine::Mysql, _) | (_, None) => {
                self.names.push(name);
                self.names.len()
            }
            (_, Some(at)) => at + 1,
        };
        match self.engine {
            Engine::Postgresql => self.text.push_str(&format!("${at}")),
            Engine::Mysql => self.text.push('?'),
            Engine::Sqlite => self.text.push_str(&format!("?{at}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, engine: Engine) -> (String, Vec<String>) {
        let statement = Statement::read(text, engine).expect("a statement");
        (statement.text, statement.names)
    }

    #[test]
    fn parameters_are_found_where_they_are_and_nowhere_else() {
        let text = "SELECT ':no', \":no\", a::text -- :no\n FROM t /* :no */ WHERE u = :user AND g IN (:group, :user) ;";
        let (postgres, names) = read(text, Engine::Postgresql);
        assert_eq!(postgres, "SELECT ':no', \":no\", a::text -- :no\n FROM t /* :no */ WHERE u = $1 AND g IN ($2, $1) ");
        assert_eq!(names, ["user", "group"]);
        let (mysql, names) = read("UPDATE `:no` SET a = '\\':no' # :no\n WHERE u = :u OR v = :u", Engine::Mysql);
        assert_eq!((mysql.as_str(), names.len()), ("UPDATE `:no` SET a = '\\':no' # :no\n WHERE u = ? OR v = ?", 2));
        assert_eq!(read("DELETE FROM t WHERE a = 'it''s :no' AND b = :b", Engine::Sqlite).0, "DELETE FROM t WHERE a = 'it''s :no' AND b = ?1");
        assert_eq!(read("SELECT $a$ :no $$ $a$, $$ :no $$, E'\\' :no', :x", Engine::Postgresql).1, ["x"]);
        assert_eq!(read("SELECT x[1:2], :x", Engine::Postgresql).0, "SELECT x[1:2], $1");
    }

    #[test]
    fn more_than_one_statement_is_none() {
        for text in ["", " ", "SELECT 1; DROP TABLE t", "SELECT 'a", "SELECT \"a", "SELECT /* a", "SELECT $1", "SELECT $a$ b", "a\0b"] {
            assert!(Statement::read(text, Engine::Postgresql).is_err(), "{text}");
        }
        for text in ["SELECT ?", "SELECT /*! 1 */", "SELECT /*M! 1 */", "SELECT 1;;", "SELECT `a"] {
            assert!(Statement::read(text, Engine::Mysql).is_err(), "{text}");
        }
    }

    #[test]
    fn each_parameter_has_a_value_and_no_value_is_left_over() {
        let statement = Statement::read("SELECT :a, :b, :a", Engine::Mysql).unwrap();
        assert_eq!(statement.bind(Some(&json!({ "a": 1, "b": null }))).unwrap(), [json!(1), json!(null), json!(1)]);
        for params in [None, Some(json!({ "a": 1 })), Some(json!({ "a": 1, "b": 2, "c": 3 })), Some(json!([1])), Some(json!({ "a": "x\0", "b": 1 }))] {
            assert_eq!(statement.bind(params.as_ref()).unwrap_err().code, "bad_params");
        }
    }
}
