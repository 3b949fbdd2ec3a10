//! Databases: PostgreSQL, MySQL and MariaDB, SQLite.
//!
//! # Invariants
//! - A statement is named in the settings and written by whoever manages the connector; what a call brings
//!   is bound to its parameters and never becomes a part of its text.
//! - One call runs one statement; looking and listing run in a transaction that cannot write.
//! - A database server is reached through the one door out, with TLS unless the settings say otherwise; a
//!   file only under the name by which whoever started Tenure allowed it.
//! - A result with more rows than allowed is a failure, never a part of it.
//! - A server that sends more bytes than a result may have is broken off, whatever it calls them.

mod mysql;
mod mysql_wire;
mod postgres;
mod sqlite;
mod statement;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, Found, ListFuture, ListPage, ListRequest, ParamSpec, Target,
    text_param,
};
use super::{check_timeout, command, fault, listing, param, read_config};
use crate::base::problem::FieldError;
use crate::platform::outbound::{Origin, Outbound, OutboundError, within};
use statement::Statement;

const STATEMENT: ParamSpec = param("statement", "string", true, "the name of a statement of the settings");
const PARAMS: ParamSpec = param("params", "object", false, "what is bound to the parameters of the statement");

/// What a database understands.
pub const COMMANDS: &[CommandSpec] = &[
    command("execute", true, "Runs a statement that changes; running it again must change nothing more.", &[STATEMENT, PARAMS]),
    command(
        "check",
        false,
        "Whether a statement gives a row; if it has a column `present`, what that says.",
        &[STATEMENT, PARAMS],
    ),
    listing("list", "The rows of a statement; its column `key` is the key.", &[STATEMENT, PARAMS]),
];

/// The password of `user`.
pub const SECRETS: &[&str] = &["password"];

/// The most rows unless the settings say otherwise.
const MAX_ROWS: usize = 10_000;
/// Bytes from a server beside the rows: greetings, and how the columns are called. Rows themselves are at most
/// twice as long on the wire as they count.
const TALK: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    Postgresql,
    /// MariaDB as well.
    Mysql,
    Sqlite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tls {
    /// Encrypted, with a certificate that is trusted.
    #[default]
    Require,
    /// Not encrypted.
    Off,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    engine: Engine,
    /// `postgresql://host:5432/database` or `mysql://host:3306/database`.
    url: Option<Url>,
    /// With `sqlite`: the name of an allowed file.
    file: Option<String>,
    /// Who Tenure is there.
    user: Option<String>,
    #[serde(default)]
    tls: Tls,
    /// Statements by name; `:name` stands for a parameter.
    statements: BTreeMap<String, String>,
    timeout_seconds: Option<u64>,
    max_rows: Option<usize>,
}

impl Config {
    fn read(target: &Target) -> Result<Self, CallFailure> {
        read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(10))
    }

    /// Where the server is, and the name of the database.
    fn server(&self) -> Option<(Origin, String)> {
        let url = self.url.as_ref()?;
        let (scheme, port) = match self.engine {
            Engine::Postgresql => ("postgresql", 5432),
            Engine::Mysql => ("mysql", 3306),
            Engine::Sqlite => return None,
        };
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let database = url.path().trim_start_matches('/');
        let good = url.scheme() == scheme && !host.is_empty() && !database.is_empty() && !database.contains(['/', '%']);
        let origin = Origin { scheme: scheme.to_owned(), host, port: url.port().unwrap_or(port) };
        good.then(|| (origin, database.to_owned()))
    }
}

pub(super) fn destination(config: &Value) -> Option<String> {
    let config: Config = read_config(config).ok()?;
    let (origin, database) = config.server()?;
    // Whoever turns TLS off sends the password to whoever listens on the way.
    Some(format!("{origin}/{database} tls={:?}", config.tls))
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    let config: Config = match read_config(config) {
        Ok(config) => config,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    if config.engine == Engine::Sqlite {
        if config.file.as_deref().is_none_or(str::is_empty) {
            faults.push(fault("file", "expected the name of a file that CONNECTOR_SQLITE_FILES allows"));
        }
        if config.url.is_some() || config.user.is_some() {
            faults.push(fault("url", "expected none, as the database is a file"));
        }
    } else {
        let plain = config.url.as_ref().is_some_and(|u| {
            u.username().is_empty() && u.password().is_none() && u.query().is_none() && u.fragment().is_none()
        });
        if config.server().is_none() || !plain {
            faults.push(fault("url", "expected postgresql://host:5432/database or mysql://host:3306/database, without a user"));
        }
        if config.user.as_deref().is_none_or(str::is_empty) {
            faults.push(fault("user", "expected the name by which Tenure signs in"));
        }
        if config.file.is_some() {
            faults.push(fault("file", "expected none, as the database is a server"));
        }
    }
    if config.statements.is_empty() || config.statements.len() > 50 {
        faults.push(fault("statements", "expected 1 to 50 statements by name"));
    }
    for (name, text) in &config.statements {
        if let Err(why) = Statement::read(text, config.engine) {
            faults.push(fault(&format!("statements.{name}"), why));
        }
    }
    if config.max_rows.is_some_and(|n| !(1..=100_000).contains(&n)) {
        faults.push(fault("maxRows", "expected 1 to 100000"));
    }
    faults.extend(check_timeout(config.timeout_seconds));
    faults
}

/// Drives databases.
pub(in super::super) struct SqlDriver {
    outbound: Outbound,
    files: BTreeMap<String, PathBuf>,
}

/// What of a call the engines need.
struct Work {
    statement: Statement,
    /// In the order of the statement's parameters.
    values: Vec<Value>,
    /// Whether it must not change anything.
    reads: bool,
    limit: Duration,
    max_rows: usize,
    max_bytes: usize,
}

/// What a statement gave.
#[derive(Debug, Default)]
struct Outcome {
    /// Rows that it changed.
    changed: u64,
    rows: Vec<Map<String, Value>>,
    bytes: usize,
}

fn too_large(most: usize) -> CallFailure {
    CallFailure::lasting("too_large", format!("what the statement gives is larger than {most} bytes"))
}

impl Outcome {
    /// Takes a row in, as long as there is room.
    fn push(&mut self, row: Map<String, Value>, work: &Work) -> Result<(), CallFailure> {
        if self.rows.len() >= work.max_rows {
            let message = format!("the statement gives more than {} rows; narrow it, or raise maxRows", work.max_rows);
            return Err(CallFailure::lasting("too_many", message));
        }
        let length = |value: &Value| value.as_str().map_or_else(|| value.to_string().len().max(8), str::len);
        self.bytes += row.iter().map(|(name, value)| name.len() + length(value)).sum::<usize>();
        if self.bytes > work.max_bytes {
            return Err(too_large(work.max_bytes));
        }
        self.rows.push(row);
        Ok(())
    }
}

impl SqlDriver {
    pub(super) fn new(outbound: Outbound, files: BTreeMap<String, PathBuf>) -> Self {
        Self { outbound, files }
    }

    /// What the settings need that whoever started Tenure did not allow.
    pub(super) fn allowed(&self, config: &Value) -> Vec<FieldError> {
        let Ok(Config { file: Some(file), .. }) = read_config::<Config>(config) else { return Vec::new() };
        if self.files.contains_key(&file) {
            return Vec::new();
        }
        vec![fault("file", format!("{file:?} is no name in CONNECTOR_SQLITE_FILES, by which files are allowed when Tenure is started"))]
    }

    async fn execute_work(&self, target: &Target, config: &Config, work: Work) -> Result<Outcome, CallFailure> {
        let Some((origin, database)) = config.server() else {
            let name = config.file.as_deref().unwrap_or_default();
            let path = self.files.get(name).ok_or_else(|| {
                CallFailure::lasting("not_listed", format!("{name:?} is no file that CONNECTOR_SQLITE_FILES allows"))
            })?;
            return sqlite::run(path.clone(), work).await;
        };
        let server = Server {
            outbound: &self.outbound,
            origin: &origin,
            database: &database,
            user: config.user.as_deref().unwrap_or_default(),
            password: target.secret("password")?,
            tls: config.tls == Tls::Require,
        };
        let limit = config.time_limit();
        let answer = async {
            Ok(match config.engine {
                Engine::Postgresql => postgres::run(&server, work).await,
                _ => mysql::run(&server, work).await,
            })
        };
        within(&origin, limit, answer).await.map_err(super::http::from_outbound)?
    }

    async fn run(&self, target: &Target, command: &str, params: &Value) -> Result<CallAnswer, CallFailure> {
        let outcome = self.statement(target, params, command != "execute").await?;
        let output = if command == "execute" {
            json!({ "changed": outcome.changed > 0, "rows": outcome.changed })
        } else {
            json!({ "present": presence(&outcome.rows)? })
        };
        Ok(CallAnswer { output })
    }

    async fn statement(&self, target: &Target, params: &Value, reads: bool) -> Result<Outcome, CallFailure> {
        let config = Config::read(target)?;
        let name = text_param(params, "statement")?;
        let text = config.statements.get(name).ok_or_else(|| {
            let known: Vec<&str> = config.statements.keys().map(String::as_str).collect();
            CallFailure::param("statement", format!("there is no statement \"{name}\"; there are {}", known.join(", ")))
        })?;
        let statement = Statement::read(text, config.engine).map_err(|why| CallFailure::lasting("bad_config", why))?;
        let values = statement.bind(params.get("params"))?;
        let work = Work {
            statement,
            values,
            reads,
            limit: config.time_limit(),
            max_rows: config.max_rows.unwrap_or(MAX_ROWS),
            max_bytes: target.policy.max_answer_bytes,
        };
        self.execute_work(target, &config, work).await
    }

    async fn page(&self, target: &Target, request: &ListRequest) -> Result<ListPage, CallFailure> {
        if request.cursor.is_some() {
            return Err(CallFailure::param("cursor", "a list of a database has one page only"));
        }
        let outcome = self.statement(target, &request.params, true).await?;
        outcome.rows.into_iter().map(found).collect::<Result<_, _>>().map(ListPage::last)
    }

    /// The statement of a test reads nothing of anybody.
    async fn try_out(&self, target: &Target) -> Result<CallAnswer, CallFailure> {
        let config = Config::read(target)?;
        let statement = Statement::nothing();
        let work = Work {
            statement,
            values: Vec::new(),
            reads: true,
            limit: config.time_limit(),
            max_rows: 1,
            max_bytes: 1024,
        };
        self.execute_work(target, &config, work).await?;
        let plain = config.engine != Engine::Sqlite && config.tls == Tls::Off;
        let warning = plain.then_some("the connection is not encrypted; set tls to require");
        Ok(CallAnswer { output: json!({ "ok": true, "warning": warning }) })
    }
}

impl Driver for SqlDriver {
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a> {
        Box::pin(self.try_out(target))
    }

    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, _key: &'a str) -> CallFuture<'a> {
        Box::pin(self.run(target, command, params))
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(self.page(target, request))
    }
}

/// A database server and who Tenure is there.
struct Server<'a> {
    outbound: &'a Outbound,
    origin: &'a Origin,
    database: &'a str,
    user: &'a str,
    password: &'a str,
    tls: bool,
}

impl Server<'_> {
    /// The connection failed or broke.
    fn broken(&self, why: impl std::fmt::Display) -> CallFailure {
        let host = self.origin.host.clone();
        super::http::from_outbound(OutboundError::Broken { host, why: why.to_string() })
    }

    /// TLS failed.
    fn untrusted(&self, why: impl std::fmt::Display) -> CallFailure {
        let host = self.origin.host.clone();
        super::http::from_outbound(OutboundError::Tls { host, why: why.to_string() })
    }

    /// The server answered, and the answer is no. What it says may hold values of rows, so that only a
    /// text without the password is shown.
    fn refused(&self, code: &str, message: &str, passing: bool) -> CallFailure {
        let shown = if message.contains(self.password) { "see the log of the database" } else { message };
        let shown: String = shown.chars().take(300).collect();
        CallFailure { message: format!("the database refused: {shown}"), code: format!("sql_{code}"), retryable: passing }
    }
}

/// No row is no; a row is yes, unless it has a column `present` that says otherwise.
fn presence(rows: &[Map<String, Value>]) -> Result<bool, CallFailure> {
    let Some(first) = rows.first() else { return Ok(false) };
    match first.get("present") {
        None => Ok(true),
        Some(_) if rows.len() > 1 => Err(CallFailure::bad_answer("present stands in more than one row")),
        Some(Value::Bool(yes)) => Ok(*yes),
        Some(Value::Number(number)) if number.as_i64() == Some(0) => Ok(false),
        Some(Value::Number(number)) if number.as_i64() == Some(1) => Ok(true),
        Some(other) => Err(CallFailure::bad_answer(format!("present is {other}; expected true, false, 1 or 0"))),
    }
}

fn found(row: Map<String, Value>) -> Result<Found, CallFailure> {
    let key = match row.get("key") {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(CallFailure::bad_answer("a row has no key; name a column key that is never empty")),
    };
    Ok(Found { key, attributes: row.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(value: Value) -> Vec<Map<String, Value>> {
        serde_json::from_value(value).expect("rows")
    }

    #[test]
    fn only_a_clear_answer_says_that_something_is_there() {
        for (given, expected) in [
            (json!([]), Some(false)), (json!([{ "id": 1 }]), Some(true)), (json!([{ "present": 0 }]), Some(false)),
            (json!([{ "present": true }]), Some(true)), (json!([{ "present": "t" }]), None), (json!([{ "present": null }]), None),
            (json!([{ "present": 2 }]), None), (json!([{ "present": 1 }, { "present": 1 }]), None), (json!([{ "a": 1 }, { "a": 2 }]), Some(true)),
        ] {
            assert_eq!(presence(&rows(given.clone())).ok(), expected, "{given}");
        }
    }

    #[test]
    fn a_config_with_faults_names_each() {
        let fields = |config: Value| check_config(&config).into_iter().map(|f| f.field).collect::<Vec<_>>();
        let good = json!({ "engine": "postgresql", "url": "postgresql://db.example/hr", "user": "t", "statements": { "a": "SELECT :x" } });
        assert!(fields(good).is_empty());
        for url in ["mysql://db.example/hr", "postgresql://db.example", "postgresql://t:p@db.example/hr", "postgresql:///hr", "postgresql://db.example/a/b"] {
            let config = json!({ "engine": "postgresql", "url": url, "user": "t", "statements": { "a": "x" } });
            assert_eq!(fields(config), ["config.url"], "{url}");
        }
        assert_eq!(
            fields(json!({ "engine": "sqlite", "url": "mysql://a/b", "statements": { "a": "x; y" }, "maxRows": 0, "timeoutSeconds": 0 })),
            ["config.file", "config.url", "config.statements.a", "config.maxRows", "config.timeoutSeconds"]
        );
        let one = destination(&json!({ "engine": "mysql", "url": "mysql://A/b", "user": "t", "statements": { "a": "x" } }));
        assert_eq!(one.as_deref(), Some("mysql://a:3306/b tls=Require"));
    }
}
