//! Exceptions: what opens a way around an approval, and therefore needs a second person and a reason.
//!
//! # Invariants
//! - With the rule of the second person on, nobody passes over a decision, corrects a variable of a run in
//!   which somebody was asked to decide, grants or extends access outside a run, makes access of accounts
//!   that a reconciliation found, publishes what they wrote, seals the secrets of connectors under another key, erases
//!   what the audit log keeps of somebody, or switches the rule off, alone; whatever they are and however they signed in.
//! - Whoever asked, whom it is about and who asked for the run do not agree, nor does a token that somebody
//!   else made, a command or a job; nor an account that whoever asked made or gave a password to lately.
//! - What is done is what was asked for: if it changed meanwhile, it is refused.
//! - It is done in the transaction of the agreement, and every audit entry of it names both people.
//!
//! # Not here
//! How a step is passed over or a role granted ([`super::runs::repair`], the access feature): this is the
//! only way to them.

pub mod adoption;
pub mod api;
pub mod authors;
pub mod break_glass;
pub mod erasure;
pub mod jobs;
pub mod ops;
pub mod rotation;
pub mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::access::{Permission, Principal};
use crate::base::id::{
    AssignmentId, DifferenceId, DocumentId, ExceptionId, PersonId, PlanId, RoleId, RunId, WorkflowId,
};
use crate::base::time::Timestamp;
use crate::features::audit::erasure::Ranges;

/// How long an exception waits for somebody to agree.
pub const WAITS_HOURS: u64 = 72;

/// What is done when somebody agrees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Act {
    /// A step is passed over.
    SkipStep {
        /// The run.
        run_id: RunId,
        /// The visit.
        visit: u32,
        /// The step.
        step: String,
        /// The outcome by which it is left.
        outcome: String,
    },
    /// Variables are corrected.
    ChangeVariables {
        /// The run.
        run_id: RunId,
        /// Their new values.
        values: Map<String, Value>,
        /// Their values when it was asked for.
        before: Map<String, Value>,
    },
    /// A role is granted outside a run.
    GrantRole {
        /// Who gets it.
        person_id: PersonId,
        /// Which one.
        role_id: RoleId,
        /// From when; at once when absent.
        starts_at: Option<Timestamp>,
        /// Until when.
        expires_at: Option<Timestamp>,
        /// The documents it rests on.
        document_ids: Vec<DocumentId>,
    },
    /// An assignment lasts longer.
    ExtendAssignment {
        /// Which one.
        assignment_id: AssignmentId,
        /// Until when.
        expires_at: Timestamp,
        /// Until when it lasted when it was asked for.
        before: Option<Timestamp>,
    },
    /// An account that a reconciliation found becomes an assignment.
    AdoptAccount {
        /// Which one.
        item_id: DifferenceId,
        /// Whose it is.
        person_id: PersonId,
        /// Of which role.
        role_id: RoleId,
        /// Until when.
        expires_at: Timestamp,
    },
    /// All accounts of a plan whose person is known become assignments.
    AdoptAccounts {
        /// Of which plan.
        plan_id: PlanId,
        /// Of which role.
        role_id: RoleId,
        /// Until when.
        expires_at: Timestamp,
        /// How many there were when it was asked for.
        accounts: u64,
    },
    /// Somebody publishes what they wrote.
    PublishWorkflow {
        /// The version.
        workflow_id: WorkflowId,
        /// What it said when it was asked for.
        definition: Value,
    },
    /// The secrets of connectors are sealed under the present key.
    RotateKeys,
    /// What entries of the audit log stand for is erased.
    EraseStates {
        /// Of the entries about this person and by them.
        person_id: Option<PersonId>,
        /// Of these entries.
        entries: Ranges,
    },
    /// The rule of the second person is switched off.
    FourEyesOff,
}

/// The kinds of exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ExceptionKind)]
pub enum Kind {
    /// A step is passed over.
    SkipStep,
    /// Variables are corrected.
    ChangeVariables,
    /// A role is granted outside a run.
    GrantRole,
    /// An assignment lasts longer.
    ExtendAssignment,
    /// An account that a reconciliation found becomes an assignment.
    AdoptAccount,
    /// All accounts of a plan whose person is known become assignments.
    AdoptAccounts,
    /// Somebody publishes what they wrote.
    PublishWorkflow,
    /// The secrets of connectors are sealed under the present key.
    RotateKeys,
    /// What entries of the audit log stand for is erased.
    EraseStates,
    /// The rule of the second person is switched off.
    FourEyesOff,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SkipStep,
        Self::ChangeVariables,
        Self::GrantRole,
        Self::ExtendAssignment,
        Self::AdoptAccount,
        Self::AdoptAccounts,
        Self::PublishWorkflow,
        Self::RotateKeys,
        Self::EraseStates,
        Self::FourEyesOff,
    ];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SkipStep => "skip_step",
            Self::ChangeVariables => "change_variables",
            Self::GrantRole => "grant_role",
            Self::ExtendAssignment => "extend_assignment",
            Self::AdoptAccount => "adopt_account",
            Self::AdoptAccounts => "adopt_accounts",
            Self::PublishWorkflow => "publish_workflow",
            Self::RotateKeys => "rotate_keys",
            Self::EraseStates => "erase_states",
            Self::FourEyesOff => "four_eyes_off",
        }
    }

    /// What one needs to ask for it and to agree to it.
    pub fn permission(self) -> Permission {
        match self {
            Self::SkipStep | Self::ChangeVariables => Permission::RunManage,
            Self::GrantRole | Self::ExtendAssignment | Self::AdoptAccount | Self::AdoptAccounts => {
                Permission::AssignmentWrite
            }
            Self::PublishWorkflow => Permission::WorkflowWrite,
            Self::RotateKeys => Permission::ConnectorRotate,
            Self::EraseStates => Permission::AuditErase,
            Self::FourEyesOff => Permission::SettingsWrite,
        }
    }
}

impl Act {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::SkipStep { .. } => Kind::SkipStep,
            Self::ChangeVariables { .. } => Kind::ChangeVariables,
            Self::GrantRole { .. } => Kind::GrantRole,
            Self::ExtendAssignment { .. } => Kind::ExtendAssignment,
            Self::AdoptAccount { .. } => Kind::AdoptAccount,
            Self::AdoptAccounts { .. } => Kind::AdoptAccounts,
            Self::PublishWorkflow { .. } => Kind::PublishWorkflow,
            Self::RotateKeys => Kind::RotateKeys,
            Self::EraseStates { .. } => Kind::EraseStates,
            Self::FourEyesOff => Kind::FourEyesOff,
        }
    }

    /// What it is done to: one exception of a kind waits for one of these at a time.
    pub fn target(&self) -> String {
        match self {
            Self::SkipStep { run_id, visit, .. } => format!("{run_id}/{visit}"),
            Self::ChangeVariables { run_id, .. } => run_id.to_string(),
            Self::GrantRole { person_id, role_id, .. } => format!("{person_id}/{role_id}"),
            Self::ExtendAssignment { assignment_id, .. } => assignment_id.to_string(),
            Self::AdoptAccount { item_id, .. } => item_id.to_string(),
            Self::AdoptAccounts { plan_id, .. } => plan_id.to_string(),
            Self::PublishWorkflow { workflow_id, .. } => workflow_id.to_string(),
            Self::RotateKeys => "connectors".to_owned(),
            Self::EraseStates { person_id, entries } => {
                person_id.as_ref().map_or_else(|| entries.to_string(), ToString::to_string)
            }
            Self::FourEyesOff => "security".to_owned(),
        }
    }

    /// The run it is done in.
    pub fn run_id(&self) -> Option<&RunId> {
        match self {
            Self::SkipStep { run_id, .. } | Self::ChangeVariables { run_id, .. } => Some(run_id),
            _ => None,
        }
    }
}

/// How an exception stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExceptionState {
    /// Nobody has decided.
    Pending,
    /// Somebody agreed, and it was done.
    Approved,
    /// Somebody refused.
    Rejected,
    /// Nobody decided in time.
    Expired,
}

impl ExceptionState {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Rejected, Self::Expired].into_iter().find(|s| s.as_str() == text)
    }
}

/// Something that nobody does alone, and that somebody asked for.
#[derive(Debug, Clone)]
pub struct Exception {
    /// The id.
    pub id: ExceptionId,
    /// What is done when somebody agrees.
    pub act: Act,
    /// Whom it is about.
    pub subject_id: Option<PersonId>,
    /// Who asked for the run.
    pub requestor_id: Option<PersonId>,
    /// Why.
    pub reason: String,
    /// Who asked.
    pub requested_by: PersonId,
    /// How it stands.
    pub state: ExceptionState,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when somebody may agree; the instant itself is too late.
    pub expires_at: Timestamp,
    /// Who decided.
    pub decided_by: Option<PersonId>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub decision_reason: Option<String>,
}

impl Exception {
    /// Whether this person is one of those whom it is for, so that they do not agree to it.
    pub fn is_party(&self, person: &PersonId) -> bool {
        self.requested_by == *person
            || self.subject_id.as_ref() == Some(person)
            || self.requestor_id.as_ref() == Some(person)
    }

    /// Why this principal may not decide; `None` when they may.
    pub fn why_not(&self, by: &Principal, now: Timestamp) -> Option<&'static str> {
        let Some(person) = &by.person else { return Some("Only people decide.") };
        if self.state != ExceptionState::Pending {
            return Some("It is decided already.");
        }
        if now >= self.expires_at {
            return Some("Nobody decided in time; it has to be asked for again.");
        }
        if self.requested_by == *person {
            return Some("You asked for it; somebody else decides.");
        }
        if self.subject_id.as_ref() == Some(person) {
            return Some("It is about you; somebody else decides.");
        }
        if self.requestor_id.as_ref() == Some(person) {
            return Some("It is about your own request; somebody else decides.");
        }
        if !by.can(self.act.kind().permission()) {
            return Some("You may not do this yourself, so you may not agree to it.");
        }
        if !by.may_decide {
            return Some("You may not decide with this sign-in.");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::SystemRole;
    use crate::base::id::TypedId;

    fn person(name: &str) -> PersonId {
        PersonId::from_stored(name.to_owned())
    }

    fn by(name: &str, role: SystemRole) -> Principal {
        Principal { person: Some(person(name)), roles: vec![role], may_decide: true, ..Principal::system("test") }
    }

    #[test]
    fn somebody_else_who_may_do_it_decides_in_time() {
        let at = Timestamp::from_millis;
        let exception = Exception {
            id: ExceptionId::from_stored("exc".to_owned()),
            act: Act::ChangeVariables {
                run_id: RunId::from_stored("run".to_owned()),
                values: Map::new(),
                before: Map::new(),
            },
            subject_id: Some(person("ada")),
            requestor_id: Some(person("rosa")),
            reason: "because".to_owned(),
            requested_by: person("mona"),
            state: ExceptionState::Pending,
            created_at: at(0),
            expires_at: at(100),
            decided_by: None,
            decided_at: None,
            decision_reason: None,
        };
        let why = |p: &Principal, now| exception.why_not(p, at(now));
        for party in ["mona", "ada", "rosa"] {
            assert!(why(&by(party, SystemRole::Admin), 0).is_some(), "{party}");
        }
        assert_eq!(why(&by("ines", SystemRole::Admin), 99), None);
        assert_eq!(why(&by("ines", SystemRole::ResourceManager), 0), None);
        for role in [SystemRole::Approver, SystemRole::Requestor, SystemRole::Auditor] {
            assert!(why(&by("ines", role), 0).is_some(), "{role:?}");
        }
        assert!(why(&by("ines", SystemRole::Admin), 100).is_some(), "the instant itself is too late");
        let foreign = Principal { may_decide: false, ..by("ines", SystemRole::Admin) };
        let scoped = Principal { scope: Some(vec![Permission::RunRead]), ..by("ines", SystemRole::Admin) };
        for nobody in [&foreign, &scoped, &Principal::cli(0), &Principal::system("job")] {
            assert!(why(nobody, 0).is_some(), "{}", nobody.name);
        }
        let decided = Exception { state: ExceptionState::Approved, ..exception };
        assert!(decided.why_not(&by("ines", SystemRole::Admin), at(0)).is_some());
    }

    #[test]
    fn an_act_is_stored_and_read_as_it_was() {
        let act = Act::PublishWorkflow {
            workflow_id: "wfl_00000000000000000000000000".parse().unwrap(),
            definition: serde_json::json!({ "name": "x" }),
        };
        let text = serde_json::to_string(&act).unwrap();
        assert!(text.contains("\"kind\":\"publish_workflow\"") && text.contains("workflowId"), "{text}");
        assert_eq!(serde_json::from_str::<Act>(&text).unwrap(), act);
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
