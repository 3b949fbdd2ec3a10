//! Connectors: the systems that access is given and taken in, and the commands they understand.
//!
//! # Invariants
//! - A command that makes something present or absent may be repeated: what is there already, or gone
//!   already, is success.
//! - The answer to a call with a used key is the stored one where the connected system can keep it
//!   (`directory`), and the key is passed on where it cannot (`http`).
//! - A secret goes in and never out: not in answers, audit entries, failures, logs or `Debug`.
//! - No call goes out while a transaction is open.
//! - Whatever is called is a system that an administrator connected, by the rules of its connector; also by a
//!   workflow's plain `http` step.
//! - A system that cannot be reached, one that has nothing and one that gives half of its pages are three
//!   different answers to [`Connectors::list`].
//! - What is only pretended says so and counts nowhere as done; production pretends nothing.
//!
//! # Not here
//! When a command is called, and what its answer means for a grant: that is `access`.

pub mod api;
pub mod drivers;
pub mod guard;
pub mod hooks;
pub mod jobs;
pub mod links;
pub mod ops;
pub mod rotation;
mod service;
pub mod store;
mod veil;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::base::id::ConnectorId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::Writes;

pub use guard::{BreakerState, Policy};
pub use service::{ConnectorSettings, Connectors};

/// The kinds of systems that can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The small directory inside Tenure.
    Directory,
    /// Any HTTP API.
    Http,
    /// An LDAP directory, Active Directory included.
    Ldap,
    /// A service that speaks SCIM 2.0.
    Scim,
    /// A database.
    Sql,
    /// A program on this machine.
    Exec,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Directory, Self::Http, Self::Ldap, Self::Scim, Self::Sql, Self::Exec];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Http => "http",
            Self::Ldap => "ldap",
            Self::Scim => "scim",
            Self::Sql => "sql",
            Self::Exec => "exec",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// A connected system, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Connector {
    /// The id.
    pub id: ConnectorId,
    /// The name, unique.
    pub name: String,
    /// What kind of system it is.
    pub kind: Kind,
    /// Its settings; holds no secret.
    pub config: Value,
    /// How its calls are repeated and limited.
    pub policy: Policy,
    /// Whether its commands are only pretended.
    pub mock: bool,
    /// The names of the secrets that are set.
    pub secrets_set: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a new connector is made of.
#[derive(Clone)]
pub struct NewConnector {
    /// The name, unique.
    pub name: String,
    /// What kind of system it is.
    pub kind: Kind,
    /// Its settings.
    pub config: Value,
    /// How its calls are repeated and limited.
    pub policy: Policy,
    /// Whether its commands are only pretended.
    pub mock: bool,
    /// Its secrets by name, such as `password`.
    pub secrets: BTreeMap<String, String>,
}

impl fmt::Debug for NewConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewConnector")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("config", &self.config)
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A change of a connector; absent parts stay.
#[derive(Clone, Default)]
pub struct ConnectorChange {
    /// A new name.
    pub name: Option<String>,
    /// New settings, whole.
    pub config: Option<Value>,
    /// Another policy, whole.
    pub policy: Option<Policy>,
    /// Whether its commands are only pretended.
    pub mock: Option<bool>,
    /// Secrets to set, and to remove where `None`.
    pub secrets: BTreeMap<String, Option<String>>,
}

impl fmt::Debug for ConnectorChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorChange")
            .field("name", &self.name)
            .field("config", &self.config)
            .field("secrets", &self.secrets.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A parameter of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ParamSpec {
    /// Its name.
    pub name: &'static str,
    /// Its JSON type: `string`, `object`, `array`, `any`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it is for.
    pub description: &'static str,
}

/// A command that a connector understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CommandSpec {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Whether it changes the connected system.
    pub changes: bool,
    /// Whether it lists what is there, page by page; such a command is for [`Connectors::list`] alone.
    pub lists: bool,
    /// Its parameters.
    pub params: &'static [ParamSpec],
}

/// A call of an address below the base URL of an HTTP connector; it carries no secret.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainCall {
    /// The method.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Header fields.
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    pub body: Option<Value>,
}

/// What a call answered.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CallAnswer {
    /// `{present}` for checks, `{changed}` for changes, `{status, body}` for HTTP.
    #[schema(value_type = Object)]
    pub output: Value,
}

impl CallAnswer {
    /// What a call answers that was only pretended.
    pub(crate) fn mocked() -> Self {
        Self { output: serde_json::json!({ "mocked": true }) }
    }

    /// Whether nothing was called: such an answer says nothing about the connected system.
    pub fn is_mocked(&self) -> bool {
        self.output.get("mocked").and_then(Value::as_bool) == Some(true)
    }
}

/// Which page of which list is wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct ListRequest {
    /// The listing command, such as `list_members`.
    pub command: String,
    /// Its parameters.
    pub params: Value,
    /// Where the page begins: the `next` of the page before; the first page when absent.
    pub cursor: Option<String>,
    /// How many are wanted at once. A system that can only be read in one go may give more.
    pub limit: u32,
}

/// One thing that is there.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Found {
    /// What the connected system calls it; never empty.
    pub key: String,
    /// What it says about it, an object.
    #[schema(value_type = Object)]
    pub attributes: Value,
}

/// A page of what is there.
///
/// A system that cannot be reached, or gives a page that is not whole, is a [`CallFailure`] and never a
/// page; a list that is empty is a page without items that is complete.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ListPage {
    /// What is there, in the order of the connected system.
    pub items: Vec<Found>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Whether this page is the last and everything before it was seen; never without that.
    pub complete: bool,
}

impl ListPage {
    /// A page that others follow.
    pub fn more(items: Vec<Found>, next: String) -> Self {
        Self { items, next: Some(next), complete: false }
    }

    /// The last page.
    pub fn last(items: Vec<Found>) -> Self {
        Self { items, next: None, complete: true }
    }
}

/// Why a call did not do what it was asked; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct CallFailure {
    /// What happened, for people.
    pub message: String,
    /// What happened, for programs: `unreachable`, `timeout`, `refused`, `http_503`, `ldap_50`, …
    pub code: String,
    /// Whether the same call may succeed later without anybody mending anything.
    pub retryable: bool,
}

impl CallFailure {
    /// A failure that repeating may mend.
    pub fn passing(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code.into(), retryable: true }
    }

    /// A failure that stays until somebody changes something.
    pub fn lasting(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code.into(), retryable: false }
    }

    /// A list of which only a part came: it says nothing about what is not in it.
    pub fn incomplete(message: impl fmt::Display) -> Self {
        Self::passing("incomplete", format!("the list is not whole: {message}"))
    }

    /// An answer that does not have the form it should have.
    pub fn bad_answer(message: impl fmt::Display) -> Self {
        Self::lasting("bad_answer", format!("the answer is not what was expected: {message}"))
    }

    /// A parameter that is missing or of the wrong kind.
    pub fn param(name: &str, message: impl fmt::Display) -> Self {
        Self::lasting("bad_params", format!("params.{name}: {message}"))
    }
}

impl From<CallFailure> for Problem {
    fn from(failure: CallFailure) -> Self {
        let text = format!("{} ({})", failure.message, failure.code);
        if failure.retryable { Self::unavailable(text, 30) } else { Self::refused(text) }
    }
}

impl From<Problem> for CallFailure {
    fn from(problem: Problem) -> Self {
        let passing = matches!(problem, Problem::Unavailable { .. } | Problem::TooMany { .. } | Problem::Internal(_));
        if let Problem::Internal(cause) = &problem {
            tracing::error!(?cause, "a connector call failed inside Tenure");
        }
        let code = if passing { "unavailable" } else { "refused" };
        Self { message: problem.to_string(), code: code.to_owned(), retryable: passing }
    }
}

/// What a driver is told about the connector it drives.
pub struct Target {
    /// The id.
    pub id: ConnectorId,
    /// The name.
    pub name: String,
    /// The settings.
    pub config: Value,
    /// How its calls are repeated and limited.
    pub policy: Policy,
    /// Whether its commands are only pretended.
    pub mock: bool,
    /// The opened secrets by name.
    pub secrets: BTreeMap<String, Zeroizing<String>>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Target {
    /// The secret with this name, or a failure that says it is not set.
    pub fn secret(&self, name: &str) -> Result<&str, CallFailure> {
        self.secrets.get(name).map(|s| s.as_str()).ok_or_else(|| {
            CallFailure::lasting("no_secret", format!("the secret \"{name}\" is not set; set it in the connector"))
        })
    }
}

/// The future of a call.
pub type CallFuture<'a> = Pin<Box<dyn Future<Output = Result<CallAnswer, CallFailure>> + Send + 'a>>;

/// The future of a page.
pub type ListFuture<'a> = Pin<Box<dyn Future<Output = Result<ListPage, CallFailure>> + Send + 'a>>;

/// Speaks to the systems of one kind.
pub trait Driver: Send + Sync + 'static {
    /// Whether the system is there and lets us in.
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a>;

    /// Runs a command; `key` is the same for every repetition of one intended call.
    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, key: &'a str) -> CallFuture<'a>;

    /// A page of what is there. What cannot be read whole is a failure, never a shorter list.
    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a>;
}

/// The text parameter `name`, which must be there and not be empty.
pub(crate) fn text_param<'p>(params: &'p Value, name: &str) -> Result<&'p str, CallFailure> {
    match params.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(Value::String(_)) => Err(CallFailure::param(name, "is empty; expected a text")),
        Some(_) => Err(CallFailure::param(name, "expected a text")),
        None => Err(CallFailure::param(name, "is missing; expected a text")),
    }
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/connectors", &["connector.created"]),
    Writes::of("PATCH /api/connectors/{id}", &["connector.changed"]),
    Writes::of("POST /api/connectors/{id}/execute", &["connector.executed"]),
    Writes::of("POST /api/connectors/{id}/list", &["connector.executed"]),
    Writes::of("POST /api/connectors/{id}/test", &[]),
    Writes::of("rotate-connector-keys", &["connector.keys_rotated", "connector.secrets_resealed"]),
];
