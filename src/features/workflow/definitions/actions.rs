//! What steps do: their types, settings and outcomes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::people::{
    ApprovalConfig, ConsentConfig, DocumentRequestConfig, InvitationConfig, NotificationConfig, TaskConfig,
    VerifyContactConfig, Who,
};

/// What a step does, with its settings. Texts are templates unless they are called expressions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", content = "config", rename_all = "snake_case")]
pub enum Action {
    /// Somebody decides.
    Approval(ApprovalConfig),
    /// Somebody does something and fills in a form.
    Task(TaskConfig),
    /// A person agrees to a text.
    Consent(ConsentConfig),
    /// Somebody outside is invited by a one-time link.
    Invitation(InvitationConfig),
    /// The run waits until a person has a document that is approved and valid.
    DocumentRequest(DocumentRequestConfig),
    /// A person proves that an address is theirs.
    VerifyContact(VerifyContactConfig),
    /// People are told something.
    Notification(NotificationConfig),
    /// A person gets a role for a time.
    RoleGrant(RoleGrantConfig),
    /// A person loses a role.
    RoleRevoke(RoleRevokeConfig),
    /// A person is added.
    UserCreate(UserCreateConfig),
    /// What is known of a person changes.
    ProfileUpdate(ProfileUpdateConfig),
    /// A person is tied to their account in a connected system.
    IdentityLink(IdentityLinkConfig),
    /// A connected system is asked to do something.
    Connector(ConnectorConfig),
    /// An HTTP service is called.
    Http(HttpConfig),
    /// The run waits for an event from outside.
    WebhookWait(WebhookWaitConfig),
    /// Variables get values.
    Set(SetConfig),
    /// JavaScript computes values of variables.
    Transform(TransformConfig),
    /// The first case whose expression is true gives the outcome.
    Condition(ConditionConfig),
    /// The case that a value equals gives the outcome.
    Case(CaseConfig),
    /// Several branches begin at once.
    Parallel(ParallelConfig),
    /// The branches of a `parallel` step meet.
    Join(JoinConfig),
    /// Steps are gone through once for each item of a list.
    Foreach(ForeachConfig),
    /// Another workflow runs.
    Subworkflow(SubworkflowConfig),
    /// The run waits for a time.
    Delay(DelayConfig),
    /// The run waits until an instant.
    WaitUntil(WaitUntilConfig),
    /// The run ends.
    End(EndConfig),
}

impl Action {
    /// The name on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Approval(_) => "approval",
            Self::Task(_) => "task",
            Self::Consent(_) => "consent",
            Self::Invitation(_) => "invitation",
            Self::DocumentRequest(_) => "document_request",
            Self::VerifyContact(_) => "verify_contact",
            Self::Notification(_) => "notification",
            Self::RoleGrant(_) => "role_grant",
            Self::RoleRevoke(_) => "role_revoke",
            Self::UserCreate(_) => "user_create",
            Self::ProfileUpdate(_) => "profile_update",
            Self::IdentityLink(_) => "identity_link",
            Self::Connector(_) => "connector",
            Self::Http(_) => "http",
            Self::WebhookWait(_) => "webhook_wait",
            Self::Set(_) => "set",
            Self::Transform(_) => "transform",
            Self::Condition(_) => "condition",
            Self::Case(_) => "case",
            Self::Parallel(_) => "parallel",
            Self::Join(_) => "join",
            Self::Foreach(_) => "foreach",
            Self::Subworkflow(_) => "subworkflow",
            Self::Delay(_) => "delay",
            Self::WaitUntil(_) => "wait_until",
            Self::End(_) => "end",
        }
    }

    /// The outcomes it can have beside `timeout`; a condition has its own.
    pub fn outcomes(&self) -> Vec<&str> {
        match self {
            Self::Approval(_) => vec!["approved", "rejected", "error"],
            Self::Consent(_) => vec!["agreed", "declined", "error"],
            Self::Invitation(_) | Self::VerifyContact(_) => vec!["success", "expired", "error"],
            Self::Condition(c) => own_outcomes(c.cases.iter().map(|case| case.outcome.as_str()), &c.default),
            Self::Case(c) => own_outcomes(c.cases.iter().map(|case| case.outcome.as_str()), &c.default),
            Self::End(_) => Vec::new(),
            _ => vec!["success", "error"],
        }
    }

    /// Whether people decide in it: going on as if they had said yes would undo what it is for.
    pub fn is_decision(&self) -> bool {
        matches!(self, Self::Approval(_) | Self::Consent(_) | Self::VerifyContact(_))
    }

    /// Whether it is done outside of any transaction, by a job.
    pub fn calls_out(&self) -> bool {
        matches!(self, Self::Connector(_) | Self::Http(_) | Self::Transform(_))
    }

    /// Whether it changes a person, or what somebody may do: a run that only pretends leaves it out.
    pub fn changes_people(&self) -> bool {
        matches!(
            self,
            Self::Invitation(_)
                | Self::RoleGrant(_)
                | Self::RoleRevoke(_)
                | Self::UserCreate(_)
                | Self::ProfileUpdate(_)
                | Self::IdentityLink(_)
        )
    }

    /// Whether it may undo another step.
    pub fn may_compensate(&self) -> bool {
        self.calls_out() || matches!(self, Self::RoleRevoke(_) | Self::Notification(_) | Self::ProfileUpdate(_))
    }
}

fn own_outcomes<'a>(cases: impl Iterator<Item = &'a str>, default: &'a str) -> Vec<&'a str> {
    let mut all: Vec<&str> = cases.collect();
    all.extend([default, "error"]);
    all
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
    /// A CEL expression over `vars`, `subject`, `requestor`, `steps`, `run`, `item`, `index`.
    pub when: String,
    /// The outcome when it is true.
    pub outcome: String,
}

/// Settings of a case distinction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaseConfig {
    /// A CEL expression that gives the value.
    pub value: String,
    /// Tried in order.
    pub cases: Vec<ValueCase>,
    /// The outcome when no case fits.
    #[serde(default = "default_outcome")]
    pub default: String,
}

/// One case of a case distinction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueCase {
    /// The value; or, as a list, any of these.
    pub equals: Value,
    /// The outcome when the value is this one.
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

/// Settings of a transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransformConfig {
    /// The body of a JavaScript function of `input`, which holds `vars`, `subject`, `requestor`, `steps`,
    /// `run`, `item` and `index`; it returns an object with the outputs. Not a template.
    pub script: String,
    /// The variables that may get values; anything else that is returned is a fault.
    pub outputs: Vec<String>,
}

/// Settings of branches that begin at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParallelConfig {
    /// The first step of each branch, 2 to 20. A branch ends at a `join`, or where no transition follows.
    pub branches: Vec<String>,
}

/// Settings of a meeting of branches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JoinConfig {
    /// When the run goes on; branches that are not there by then are ended.
    #[serde(default)]
    pub rule: Rule,
}

/// How many of several are needed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Rule {
    /// Every one.
    #[default]
    All,
    /// One.
    Any,
    /// This many.
    Quorum(u32),
}

/// Settings of a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForeachConfig {
    /// A CEL expression that gives a list of at most 1000 items.
    pub items: String,
    /// The first step of the body; it sees `item` and `index`. An item is done where no transition follows.
    pub body: String,
    /// How many items are gone through at once, 1 to 50.
    #[serde(default = "one")]
    pub max_parallel: u32,
    /// Whether the others go on when an item fails.
    #[serde(default)]
    pub continue_on_error: bool,
}

fn one() -> u32 {
    1
}

/// Settings of a workflow inside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SubworkflowConfig {
    /// The workflow, by name or key; its active version runs.
    pub workflow: String,
    /// Whom it is about: a person's id or address; the subject of this run when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its input; texts are templates.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: serde_json::Map<String, Value>,
    /// Whether this run waits for its end.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
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
    /// Set to try a workflow: nothing is called, and this is what the step is told. Production refuses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub mock: Option<serde_json::Map<String, Value>>,
}

/// Settings of an HTTP call that needs no secret, to an address below the base URL of an HTTP connector; what
/// needs a secret is a command of the connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpConfig {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    #[serde(default = "get")]
    pub method: String,
    /// The address.
    pub url: String,
    /// Header fields; none that signs in.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Sent as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub body: Option<Value>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Settings of a wait for an event from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookWaitConfig {
    /// The name of the event.
    pub event: String,
    /// Which one of its kind, such as an order number; events carry the same text.
    pub key: String,
}

/// A number, or a template that gives one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Count {
    /// A number.
    Number(u64),
    /// A template, such as `{{ vars.days }}`.
    Template(String),
}

impl Count {
    /// The number, once templates are filled in.
    pub fn number(&self) -> Result<u64, String> {
        match self {
            Self::Number(n) => Ok(*n),
            Self::Template(text) => {
                text.trim().parse().map_err(|_| format!("got {text:?}; expected a whole number, 0 or more"))
            }
        }
    }
}

/// The longest grant: ten years.
pub const MAX_DAYS: u64 = 3_660;

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
    pub duration_days: Option<Count>,
    /// For how many hours instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_hours: Option<Count>,
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

/// Settings of a new person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserCreateConfig {
    /// Their address; somebody who has it already is taken as they are.
    pub email: String,
    /// How they are called.
    pub display_name: String,
    /// Their manager, by id or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Groups they become a member of, by name.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What else is known of them.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub attributes: serde_json::Map<String, Value>,
    /// Whether the run is about them from now on.
    #[serde(default)]
    pub becomes_subject: bool,
}

/// Settings of a change of a profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProfileUpdateConfig {
    /// Whose profile.
    #[serde(default)]
    pub person: Who,
    /// How they are called now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Their manager, by id or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// Attributes that change; null takes one away.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub attributes: serde_json::Map<String, Value>,
    /// Groups they join, by name.
    #[serde(default)]
    pub join_groups: Vec<String>,
    /// Groups they leave, by name.
    #[serde(default)]
    pub leave_groups: Vec<String>,
    /// Whether they are active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// Settings of a tie to an account elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityLinkConfig {
    /// Whose account it is.
    #[serde(default)]
    pub person: Who,
    /// The connector, by name or id.
    pub connector: String,
    /// What the connected system calls them.
    pub external_id: String,
}

/// Settings of a delay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DelayConfig {
    /// How long, in seconds; at most ten years.
    pub seconds: Count,
}

/// Settings of a wait for an instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitUntilConfig {
    /// The instant (`2031-03-01T08:00:00Z`) or day (`2031-03-01`, its beginning in UTC). One that is over is
    /// not waited for.
    pub until: String,
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
