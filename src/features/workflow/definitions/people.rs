//! Settings of steps in which people do something.

use serde::{Deserialize, Serialize};

use super::actions::Rule;
use super::Variable;

/// Settings of an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalConfig {
    /// What is asked.
    pub title: String,
    /// What one should know.
    #[serde(default)]
    pub description: String,
    /// How many stages it has, and how many people decide in each.
    #[serde(default)]
    pub pattern: Pattern,
    /// Who may decide, when there is one stage.
    #[serde(default)]
    pub approvers: Vec<Approver>,
    /// How many of them have to approve, in the pattern `parallel`.
    #[serde(default)]
    pub rule: Rule,
    /// The stages of the pattern `sequential`, in order.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// The business role it is about, by name or id, so that approvers see what it contains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Hours after which it is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_hours: Option<u32>,
    /// What happens while nobody decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
}

/// How an approval is decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Any one of the approvers decides.
    #[default]
    Single,
    /// Stages follow one another; each has to approve.
    Sequential,
    /// Several approvers decide, as many as the rule says.
    Parallel,
}

/// One stage of an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// How it is called.
    #[serde(default)]
    pub name: String,
    /// Who may decide.
    pub approvers: Vec<Approver>,
    /// How many of them have to approve.
    #[serde(default = "any")]
    pub rule: Rule,
}

fn any() -> Rule {
    Rule::Any
}

/// What happens while nobody decides. Every time counts from the opening of the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalation {
    /// Minutes after which those who have not decided are reminded.
    #[serde(default)]
    pub remind_after_minutes: Vec<u32>,
    /// Minutes after which it goes to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassign: Option<Reassign>,
    /// What happens in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRung>,
}

/// To whom an overdue approval goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reassign {
    /// When.
    pub after_minutes: u32,
    /// To whom; to the managers of those who have not decided when empty.
    #[serde(default)]
    pub to: Vec<Approver>,
}

/// What happens in the end when nobody decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LastRung {
    /// When.
    pub after_minutes: u32,
    /// What.
    pub then: LastAction,
}

/// The last word on an approval that nobody decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LastAction {
    /// It counts as approved.
    Approve,
    /// It counts as rejected.
    Reject,
    /// The step fails.
    Fail,
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
    /// A CEL expression that gives a person's id or address, or a list of them.
    Expression(String),
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

/// Settings of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskConfig {
    /// What is to be done.
    pub title: String,
    /// How.
    #[serde(default)]
    pub description: String,
    /// Who may do it. One person alone has it assigned; several see it until one claims it.
    pub assignees: Vec<Approver>,
    /// What is filled in when it is completed; what was given is the step's output.
    #[serde(default)]
    pub form: Vec<Variable>,
    /// Variables of the run that get the values of the fields with these names.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// Hours after which it is overdue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_hours: Option<u32>,
}

/// Settings of a consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConsentConfig {
    /// How the text is called.
    pub title: String,
    /// What the person agrees to; it is kept with their answer.
    pub text: String,
    /// Who is asked.
    #[serde(default)]
    pub person: Who,
}

/// Settings of an invitation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvitationConfig {
    /// Where the link is sent.
    pub email: String,
    /// How the person is called.
    #[serde(default)]
    pub display_name: String,
    /// What one should know.
    #[serde(default)]
    pub message: String,
    /// What is filled in when it is accepted; what was given is the step's output.
    #[serde(default)]
    pub form: Vec<Variable>,
    /// Hours for which the link works, 1 to 8784.
    #[serde(default = "two_weeks")]
    pub valid_hours: u32,
    /// Whether the run is about them from now on; they are added when nobody has the address.
    #[serde(default)]
    pub becomes_subject: bool,
}

fn two_weeks() -> u32 {
    336
}

/// Settings of a proof that an address is somebody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyContactConfig {
    /// Whose address it is.
    #[serde(default)]
    pub person: Who,
    /// The address; the person's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Hours for which the link works, 1 to 720.
    #[serde(default = "two_days")]
    pub valid_hours: u32,
}

fn two_days() -> u32 {
    48
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
