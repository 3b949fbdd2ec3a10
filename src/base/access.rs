//! Who asks, and what they may do: the words that guards and features share.
//!
//! The port [`Authenticate`] is implemented by the identity feature and plugged in by `app`, so that
//! features below identity are guarded too.

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::id::{AccountId, PersonId, RequestId};
use super::problem::Problem;

/// The system roles of the product; business roles are data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// Everything.
    Admin,
    /// Workflows, schedules, reports, roles, connectors.
    ResourceManager,
    /// Decides what is assigned to them.
    Approver,
    /// Starts workflows they may start and sees their own requests.
    Requestor,
    /// Reads and exports everything, changes nothing.
    Auditor,
}

impl SystemRole {
    /// All of them, the widest first.
    pub const ALL: [Self; 5] =
        [Self::Admin, Self::ResourceManager, Self::Approver, Self::Requestor, Self::Auditor];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::ResourceManager => "resource_manager",
            Self::Approver => "approver",
            Self::Requestor => "requestor",
            Self::Auditor => "auditor",
        }
    }

    /// The role with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Whether this role alone allows `permission`.
    pub fn allows(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Admin => true,
            Self::Auditor => permission.is_read(),
            Self::ResourceManager => matches!(
                permission,
                P::WorkflowRead | P::WorkflowWrite | P::WorkflowStart
                    | P::RunRead | P::RunManage | P::ApprovalRead | P::ApprovalDecide
                    | P::TaskRead | P::TaskWork | P::TaskAssign
                    | P::PersonRead | P::RoleRead | P::RoleWrite | P::EntitlementRead | P::EntitlementWrite
                    | P::AssignmentRead | P::AssignmentWrite | P::DocumentRead | P::DocumentWrite | P::DocumentReview
                    | P::ConnectorRead | P::ConnectorWrite | P::ScheduleRead | P::ScheduleWrite | P::JobRead
                    | P::RunReadOwn | P::AssignmentReadOwn | P::DocumentReadOwn
                    | P::BreakGlassRead | P::BreakGlassUse
            ),
            Self::Approver => matches!(
                permission,
                P::WorkflowRead | P::WorkflowStart | P::ApprovalRead | P::ApprovalDecide | P::TaskWork
                    | P::RunReadOwn | P::RoleRead | P::AssignmentReadOwn | P::DocumentReadOwn | P::DocumentWrite
            ),
            Self::Requestor => matches!(
                permission,
                P::WorkflowRead | P::WorkflowStart | P::RunReadOwn | P::RoleRead
                    | P::AssignmentReadOwn | P::DocumentReadOwn | P::DocumentWrite | P::ApprovalRead | P::TaskWork
            ),
        }
    }
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// One thing that one may do, written `<entity>:<verb>`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $($(#[$doc])* $name,)* }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// `<entity>:<verb>`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        /// Each permission as a type, for routes that say in their signature what they need.
        pub mod may {
            use super::{Permission, Permit};
            $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $name;
            impl Permit for $name { const ASKED: Permission = Permission::$name; })*
        }
    };
}

/// What a route lets people in with: a type of [`may`], or a pair of which either is enough.
pub trait Permit: Send + Sync + 'static {
    /// What is asked for when it is missing.
    const ASKED: Permission;

    /// Whether the principal has it.
    fn granted(principal: &Principal) -> bool {
        principal.can(Self::ASKED)
    }
}

impl<A: Permit, B: Permit> Permit for (A, B) {
    const ASKED: Permission = B::ASKED;

    fn granted(principal: &Principal) -> bool {
        A::granted(principal) || B::granted(principal)
    }
}

permissions! {
    /// See workflow definitions.
    WorkflowRead = "workflow:read",
    /// Write, publish and deprecate definitions.
    WorkflowWrite = "workflow:write",
    /// Start a run.
    WorkflowStart = "workflow:start",
    /// See every run.
    RunRead = "run:read",
    /// See runs that one started or is the subject of.
    RunReadOwn = "run:read_own",
    /// Cancel, retry, skip.
    RunManage = "run:manage",
    /// See approvals that concern one.
    ApprovalRead = "approval:read",
    /// Decide approvals that are assigned to one.
    ApprovalDecide = "approval:decide",
    /// Reassign approvals, see and end the delegations of others.
    ApprovalManage = "approval:manage",
    /// See every task.
    TaskRead = "task:read",
    /// Do tasks and give consents that are one's own.
    TaskWork = "task:work",
    /// Give tasks to others.
    TaskAssign = "task:assign",
    /// See people.
    PersonRead = "person:read",
    /// Create and change people.
    PersonWrite = "person:write",
    /// See business roles.
    RoleRead = "role:read",
    /// Create and change business roles.
    RoleWrite = "role:write",
    /// See entitlements.
    EntitlementRead = "entitlement:read",
    /// Create and change entitlements.
    EntitlementWrite = "entitlement:write",
    /// Approve and reject plans of reconciliations that are held.
    ReconciliationDecide = "reconciliation:decide",
    /// See every assignment.
    AssignmentRead = "assignment:read",
    /// See one's own assignments.
    AssignmentReadOwn = "assignment:read_own",
    /// Revoke assignments.
    AssignmentWrite = "assignment:write",
    /// See every document.
    DocumentRead = "document:read",
    /// See one's own documents.
    DocumentReadOwn = "document:read_own",
    /// Hand in documents.
    DocumentWrite = "document:write",
    /// Approve and reject documents.
    DocumentReview = "document:review",
    /// See connectors, never their secrets.
    ConnectorRead = "connector:read",
    /// Create, change, test and run connectors.
    ConnectorWrite = "connector:write",
    /// Seal the secrets of connectors anew under another key.
    ConnectorRotate = "connector:rotate",
    /// See schedules.
    ScheduleRead = "schedule:read",
    /// Change schedules and run them now.
    ScheduleWrite = "schedule:write",
    /// See background jobs.
    JobRead = "job:read",
    /// Retry, promote and remove background jobs.
    JobManage = "job:manage",
    /// See and export the audit log.
    AuditRead = "audit:read",
    /// Erase what entries of the audit log stand for.
    AuditErase = "audit:erase",
    /// See the system log.
    LogRead = "log:read",
    /// Purge the system log.
    LogPurge = "log:purge",
    /// See settings.
    SettingsRead = "settings:read",
    /// Change settings.
    SettingsWrite = "settings:write",
    /// See pool, files and versions.
    SystemRead = "system:read",
    /// See accounts.
    AccountRead = "account:read",
    /// Create, disable and change accounts.
    AccountWrite = "account:write",
    /// See the times when somebody broke the glass.
    BreakGlassRead = "break_glass:read",
    /// Take a role in an emergency, for a few hours, and review such times of others.
    BreakGlassUse = "break_glass:use",
}

impl Permission {
    /// Whether it only reads.
    pub fn is_read(self) -> bool {
        matches!(self.as_str().split_once(':'), Some((_, "read" | "read_own")))
    }

    /// The permission with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.as_str() == text)
    }
}

/// Who is behind a request or a command.
#[derive(Debug, Clone)]
pub struct Principal {
    /// What the audit log calls the actor: `person`, `cli`, `system`.
    pub kind: ActorKind,
    /// The person behind it, when there is one.
    pub person: Option<PersonId>,
    /// The account they signed in with.
    pub account: Option<AccountId>,
    /// A name for humans.
    pub name: String,
    /// System roles held.
    pub roles: Vec<SystemRole>,
    /// When set, the subset that a token is limited to.
    pub scope: Option<Vec<Permission>>,
    /// A token that somebody else made never decides an approval.
    pub may_decide: bool,
    /// Who made the token that was shown, if it was somebody else: what is asked for may be their own wish.
    pub token_maker: Option<PersonId>,
    /// The address the request came from.
    pub address: Option<String>,
    /// The request that this is done for, for the audit log.
    pub request_id: Option<RequestId>,
    /// Set while something is done that the rules let nobody do alone; every audit entry says so.
    pub exception: Option<ExceptionMark>,
}

/// Who stands behind an exception from the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionMark {
    /// The exception or the break of the glass; absent where the policy lets one person alone.
    pub id: Option<String>,
    /// Who asked.
    pub requested_by: Option<PersonId>,
    /// Who agreed.
    pub decided_by: Option<PersonId>,
}

/// The kinds of actors in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActorKind {
    /// A signed-in person.
    Person,
    /// A command on the machine, with the uid it ran as.
    Cli(u32),
    /// Tenure itself; the text names the job or engine part.
    System(&'static str),
    /// An identity provider, with the id of its SCIM token.
    Scim(String),
}

impl Principal {
    /// Tenure itself, acting by a job or the engine.
    pub fn system(part: &'static str) -> Self {
        Self {
            kind: ActorKind::System(part),
            person: None,
            account: None,
            name: format!("Tenure ({part})"),
            roles: vec![SystemRole::Admin],
            scope: None,
            may_decide: false,
            token_maker: None,
            address: None,
            request_id: None,
            exception: None,
        }
    }

    /// An administrator at the machine's command line.
    pub fn cli(uid: u32) -> Self {
        Self { kind: ActorKind::Cli(uid), name: format!("cli:{uid}"), ..Self::system("cli") }
    }

    /// An identity provider that speaks SCIM with this token: it has no permission of its own, the routes
    /// of SCIM are all it reaches.
    pub fn scim(token: &str, name: &str) -> Self {
        let kind = ActorKind::Scim(token.to_owned());
        Self { kind, name: format!("SCIM: {name}"), roles: Vec::new(), ..Self::system("scim") }
    }

    /// Whether any role allows it, within the token's scope if there is one.
    pub fn can(&self, permission: Permission) -> bool {
        self.roles.iter().any(|r| r.allows(permission))
            && self.scope.as_ref().is_none_or(|s| s.contains(&permission))
    }

    /// An error that names the missing permission unless [`Principal::can`].
    pub fn require(&self, permission: Permission) -> Result<(), Problem> {
        if self.can(permission) {
            return Ok(());
        }
        Err(Problem::Forbidden(format!(
            "This needs the permission {}. Ask an administrator for a role that has it.",
            permission.as_str()
        )))
    }

    /// An error unless what `P` says is there.
    pub fn permit<P: Permit>(&self) -> Result<(), Problem> {
        if P::granted(self) { Ok(()) } else { self.require(P::ASKED) }
    }

    /// Whether this is the given person.
    pub fn is_person(&self, person: &PersonId) -> bool {
        self.person.as_ref() == Some(person)
    }

    /// Type and id for the audit log.
    pub fn actor(&self) -> (&'static str, String) {
        match &self.kind {
            ActorKind::Person => {
                ("person", self.person.as_ref().map(ToString::to_string).unwrap_or_default())
            }
            ActorKind::Cli(uid) => ("cli", format!("cli:{uid}")),
            ActorKind::System(part) => ("system", (*part).to_owned()),
            ActorKind::Scim(token) => ("scim", token.clone()),
        }
    }
}

/// How a request proves who is behind it.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Value of the session cookie.
    pub session: Option<String>,
    /// Bearer token.
    pub bearer: Option<String>,
    /// Value of `X-CSRF-Token`.
    pub csrf: Option<String>,
    /// Whether the method changes state, so that a session needs the CSRF token.
    pub unsafe_method: bool,
    /// The caller's address.
    pub address: Option<String>,
    /// Whether the request is about the caller's own sign-in: whoever has to set up a second factor first may do that.
    pub about_sign_in: bool,
}

/// The future of an authentication.
pub type AuthFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Principal>, Problem>> + Send + 'a>>;

/// Turns credentials into a principal.
pub trait Authenticate: Send + Sync + 'static {
    /// `None` when there are no valid credentials; an error when they are there but refused (CSRF).
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> AuthFuture<'a>;
}
