//! Connectors: the systems that access is given and taken in, and the commands they understand.
//!
//! # Invariants
//! - A command that makes something present or absent may be repeated: what is there already, or gone
//!   already, is success.
//! - The answer to a call with a used key is the stored one where the connected system can keep it
//!   (`directory`), and the key is passed on where it cannot (`http`).
//! - A secret goes in and never out: not in answers, audit entries, failures, logs or `Debug`.
//! - No call goes out while a transaction is open.
//!
//! # Not here
//! When a command is called, and what its answer means for a grant: that is `access`.

pub mod api;
pub mod drivers;
pub mod links;
pub mod ops;
mod service;
pub mod store;

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

pub use service::Connectors;

/// The kinds of systems that can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The small directory inside Tenure.
    Directory,
    /// Any HTTP API.
    Http,
    /// An LDAP directory.
    Ldap,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Directory, Self::Http, Self::Ldap];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Http => "http",
            Self::Ldap => "ldap",
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
    /// Its parameters.
    pub params: &'static [ParamSpec],
}

/// A call of an HTTP service that is no connector; it carries no secret.
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
    /// The settings.
    pub config: Value,
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

/// Speaks to the systems of one kind.
pub trait Driver: Send + Sync + 'static {
    /// Whether the system is there and lets us in.
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a>;

    /// Runs a command; `key` is the same for every repetition of one intended call.
    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, key: &'a str) -> CallFuture<'a>;
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
