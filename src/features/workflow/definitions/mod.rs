//! Workflow definitions: steps, transitions, variables; what may be written, and what it means.
//!
//! # Invariants
//! - Active and deprecated versions never change; `create-version` clones one into a draft.
//! - A version is published only when [`validate::validate`] finds no error in it.

pub mod api;
pub mod expression;
pub mod ops;
pub mod store;
pub mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::id::{PersonId, WorkflowId};
use crate::base::time::Timestamp;

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
    /// What a run is given and works with.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// The steps; the first one is where a run begins.
    pub steps: Vec<Step>,
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
    #[schema(value_type = Option<Object>)]
    pub default: Option<Value>,
    /// What forms show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
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
    #[serde(default)]
    config: Value,
    #[serde(default)]
    retry: Option<Retry>,
    #[serde(default)]
    transitions: Vec<Transition>,
}

impl TryFrom<WrittenStep> for Step {
    type Error = String;

    fn try_from(written: WrittenStep) -> Result<Self, String> {
        let action = serde_json::json!({ "type": written.kind, "config": written.config });
        let action =
            serde_path_to_error::deserialize(action).map_err(|e| format!("step {}: {}: {}", written.id, e.path(), e.inner()))?;
        let WrittenStep { id, name, retry, transitions, .. } = written;
        Ok(Self { id, name, action, retry, transitions })
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

/// What a step does, with its settings. Texts are templates unless they are called expressions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "config", rename_all = "snake_case")]
pub enum Action {
    /// Somebody decides.
    Approval(ApprovalConfig),
    /// The first case whose expression is true gives the outcome.
    Condition(ConditionConfig),
    /// Variables get values.
    Set(SetConfig),
    /// A connected system is asked to do something.
    Connector(ConnectorConfig),
    /// People are told something.
    Notification(NotificationConfig),
    /// A person gets a role for a time.
    RoleGrant(RoleGrantConfig),
    /// A person loses a role.
    RoleRevoke(RoleRevokeConfig),
    /// The run waits until a person has a document that is approved and valid.
    DocumentRequest(DocumentRequestConfig),
    /// The run waits for a time.
    Delay(DelayConfig),
    /// The run ends.
    End(EndConfig),
}

impl Action {
    /// The name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Approval(_) => "approval",
            Self::Condition(_) => "condition",
            Self::Set(_) => "set",
            Self::Connector(_) => "connector",
            Self::Notification(_) => "notification",
            Self::RoleGrant(_) => "role_grant",
            Self::RoleRevoke(_) => "role_revoke",
            Self::DocumentRequest(_) => "document_request",
            Self::Delay(_) => "delay",
            Self::End(_) => "end",
        }
    }

    /// The outcomes it can have; a condition has its own.
    pub fn outcomes(&self) -> Vec<&str> {
        match self {
            Self::Approval(_) => vec!["approved", "rejected", "error"],
            Self::Condition(c) => {
                let mut all: Vec<&str> = c.cases.iter().map(|case| case.outcome.as_str()).collect();
                all.extend([c.default.as_str(), "error"]);
                all
            }
            Self::End(_) => Vec::new(),
            _ => vec!["success", "error"],
        }
    }
}

/// Settings of an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalConfig {
    /// What is asked.
    pub title: String,
    /// What one should know.
    #[serde(default)]
    pub description: String,
    /// Who may decide; any one of them.
    pub approvers: Vec<Approver>,
    /// The business role it is about, by name or id, so that approvers see what it contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Hours after which it is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_hours: Option<u32>,
}

/// Who may decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Approver {
    /// A person, by id or address.
    Person(String),
    /// The members of a group, by name.
    Group(String),
    /// Everybody with a system role.
    SystemRole(crate::base::access::SystemRole),
    /// The manager of the subject.
    ManagerOf(Who),
}

/// Somebody in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Whom the run is about.
    #[default]
    Subject,
    /// Who started the run.
    Requestor,
}

/// Settings of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionConfig {
    /// Tried in order.
    pub cases: Vec<Case>,
    /// The outcome when no case is true.
    #[serde(default = "default_outcome")]
    pub default: String,
}

fn default_outcome() -> String {
    "default".to_owned()
}

/// One case of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// A CEL expression over `vars`, `subject`, `requestor`, `steps`.
    pub when: String,
    /// The outcome when it is true.
    pub outcome: String,
}

/// Settings of `set`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetConfig {
    /// Variables with their new values; texts are templates.
    #[schema(value_type = Object)]
    pub values: BTreeMap<String, Value>,
}

/// Settings of a connector call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectorConfig {
    /// The connector, by name or id.
    pub connector: String,
    /// What it shall do.
    pub command: String,
    /// With what; texts are templates.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Value,
}

/// Settings of a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotificationConfig {
    /// Who is told.
    pub to: Vec<Recipient>,
    /// Subject line.
    pub subject: String,
    /// Text.
    pub body: String,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Recipient {
    /// Subject or requestor.
    Who(Who),
    /// A person, by id or address.
    Person(String),
    /// The members of a group, by name.
    Group(String),
    /// Everybody with a system role.
    SystemRole(crate::base::access::SystemRole),
}

/// Settings of a grant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleGrantConfig {
    /// The role, by name or id.
    pub role: String,
    /// Who gets it.
    #[serde(default)]
    pub person: Who,
    /// For how many days, from the moment of the grant; the role's own default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_days: Option<u32>,
    /// The types of documents it rests on.
    #[serde(default)]
    pub documents: Vec<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Settings of a revocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleRevokeConfig {
    /// The role, by name or id.
    pub role: String,
    /// Who loses it.
    #[serde(default)]
    pub person: Who,
    /// Why.
    pub reason: String,
}

/// Settings of a document request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DocumentRequestConfig {
    /// The type of document.
    #[serde(rename = "documentType")]
    pub kind: String,
    /// Whose it is.
    #[serde(default)]
    pub person: Who,
}

/// Settings of a delay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DelayConfig {
    /// How long, in seconds; at most ten years.
    pub seconds: u64,
}

/// Settings of an end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndConfig {
    /// Whether the run counts as failed.
    #[serde(default)]
    pub failed: bool,
    /// Why, for a run that counts as failed.
    #[serde(default)]
    pub reason: String,
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
    pub definition: Definition,
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
