//! Workflow definitions: steps, transitions, variables; what may be written, and what it means.
//!
//! # Invariants
//! - Active and deprecated versions never change; `create-version` clones one into a draft.
//! - A version is published only when [`validate::validate`] finds no error in it.

pub mod actions;
pub mod api;
mod check_actions;
mod check_flow;
mod check_names;
pub mod diff;
pub mod expression;
pub mod fields;
pub mod ops;
pub mod people;
pub mod store;
pub mod text;
pub mod validate;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::base::id::{PersonId, WorkflowId};
use crate::base::time::Timestamp;

pub use actions::*;
pub use people::*;

/// What a run follows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// How it is called.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Where it stands in lists.
    #[serde(default)]
    pub category: String,
    /// What happens when a step fails without an `error` transition.
    #[serde(default)]
    pub on_error: OnError,
    /// What starts a run without anybody asking for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// What a run is given and works with.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The steps; the first one is where a run begins.
    pub steps: Vec<Step>,
}

/// What starts a run without anybody asking for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Trigger {
    /// An event from outside.
    Event(EventTrigger),
}

/// Settings of a start by an event. Texts are templates over `event`, `key` and `payload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventTrigger {
    /// The name of the event.
    pub name: String,
    /// Whom the run is about: a person's id or address; whoever sent the event when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Values of variables.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: Map<String, Value>,
}

/// What happens when a step fails without an `error` transition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The run fails.
    #[default]
    Stop,
    /// The run goes on as if the step had succeeded.
    Continue,
    /// What succeeded is undone in reverse order; then the run fails.
    Compensate,
}

/// A value that a run is given or works with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Variable {
    /// Its name: a letter, then letters, digits, underscores.
    pub name: String,
    /// The kind of value.
    #[serde(rename = "type")]
    pub kind: VariableType,
    /// Whether a start without it is refused.
    #[serde(default)]
    pub required: bool,
    /// Its value when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What forms show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What one should know to fill it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The values that are taken; of a list, its items. Any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Value>,
    /// The smallest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub min: Option<serde_json::Number>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub max: Option<serde_json::Number>,
    /// A regular expression that a text fits, somewhere unless it has `^` and `$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The most characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
}

/// Kinds of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum VariableType {
    /// Text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A day, `2031-03-01`.
    Date,
    /// An object.
    Object,
    /// A list.
    Array,
}

impl VariableType {
    /// Whether a value is of this kind.
    pub fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Date => value.as_str().is_some_and(|s| s.parse::<jiff::civil::Date>().is_ok()),
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
        }
    }

    /// What is expected of a value, for people.
    pub fn expected(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Date => "a date such as 2031-03-01",
            Self::Object => "an object",
            Self::Array => "an array",
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", try_from = "WrittenStep")]
pub struct Step {
    /// Its id, unique in the definition.
    pub id: String,
    /// How it is called.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
    /// How often it is tried again before it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long it may take, waiting and retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timeout>,
    /// What undoes it, when the run fails later and `onError` is `compensate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compensation: Option<Box<Compensation>>,
    /// Where the run goes, by outcome.
    #[serde(default)]
    pub transitions: Vec<Transition>,
}

/// A step as it is written; a field that is not one of these is a fault, not something to skip.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenStep {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "settings")]
    config: Settings,
    #[serde(default)]
    retry: Option<Retry>,
    #[serde(default)]
    timeout: Option<Timeout>,
    #[serde(default)]
    compensation: Option<Compensation>,
    #[serde(default)]
    transitions: Vec<Transition>,
}

/// Settings as they are written; a step that has none needs none.
#[derive(Default)]
struct Settings(Map<String, Value>);

fn settings<'de, D: Deserializer<'de>>(d: D) -> Result<Settings, D::Error> {
    Ok(Settings(Option::<Map<String, Value>>::deserialize(d)?.unwrap_or_default()))
}

/// What a step does; a fault comes with its path, which begins with `type` or `config`.
fn action(kind: &str, config: Value) -> Result<Action, (String, String)> {
    // As a list the type comes first: a fault in the settings is met where it is, and not in a copy.
    let whole = serde_json::json!([kind, config]);
    serde_path_to_error::deserialize(whole).map_err(|e| {
        let path = e.path().to_string();
        let path = match path.strip_prefix("[1]") {
            Some(inside) => format!("config{inside}"),
            None if path == "[0]" => "type".to_owned(),
            None => "config".to_owned(),
        };
        (path, e.inner().to_string())
    })
}

fn action_of(kind: &str, config: Settings, step: &str) -> Result<Action, String> {
    action(kind, Value::Object(config.0)).map_err(|(path, message)| format!("{step}: {path}: {message}"))
}

impl TryFrom<WrittenStep> for Step {
    type Error = String;

    fn try_from(written: WrittenStep) -> Result<Self, String> {
        let WrittenStep { id, name, kind, config, retry, timeout, compensation, transitions } = written;
        let action = action_of(&kind, config, &format!("step {id}"))?;
        Ok(Self { id, name, action, retry, timeout, compensation: compensation.map(Box::new), transitions })
    }
}

/// How long a step may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeout {
    /// Seconds from the moment the step is entered, 1 to ten years. Then its outcome is `timeout`.
    pub seconds: u64,
}

/// What undoes a step. Its texts are templates that also see what the step gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "WrittenCompensation")]
pub struct Compensation {
    /// What is done.
    #[serde(flatten)]
    pub action: Action,
}

/// A compensation as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCompensation {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "settings")]
    config: Settings,
}

impl TryFrom<WrittenCompensation> for Compensation {
    type Error = String;

    fn try_from(written: WrittenCompensation) -> Result<Self, String> {
        action_of(&written.kind, written.config, "compensation").map(|action| Self { action })
    }
}

/// Where a run goes after an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// The outcome: `success`, `error`, `approved`, `rejected`, or a condition's own.
    pub on: String,
    /// The next step's id.
    pub to: String,
}

/// How often a step is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Tries after the first, 1 to 20.
    pub count: u32,
    /// Seconds before the next try.
    pub backoff_seconds: u32,
}

/// How a version stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowStatus {
    /// May be changed, cannot be started.
    Draft,
    /// Can be started, never changes.
    Active,
    /// Cannot be started any more.
    Deprecated,
}

impl WorkflowStatus {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
        }
    }

    /// The status with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Draft, Self::Active, Self::Deprecated].into_iter().find(|s| s.as_str() == text)
    }
}

/// One stored version.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// The version's id.
    pub id: WorkflowId,
    /// Shared by all versions.
    pub key: String,
    /// Its number; 0 for a draft.
    pub version: u32,
    /// How it stands.
    pub status: WorkflowStatus,
    /// What it says.
    pub definition: Arc<Definition>,
    /// Who wrote it.
    pub created_by: Option<PersonId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
}

impl Definition {
    /// The step with this id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|s| s.id == id)
    }
}
