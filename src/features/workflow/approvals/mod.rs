//! Approvals: decisions that somebody owes.
//!
//! # Invariants
//! - Nobody decides about their own request: neither who asked nor whom it is about, not even an
//!   administrator; a token that somebody else made never decides.
//! - An approval is decided once.
//! - A rejection has a reason.
//! - If nobody can decide, the step fails at once instead of waiting for ever.

pub mod api;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};

use crate::base::access::{Permission, Principal};
use crate::base::id::{ApprovalId, PersonId, RoleId, RunId};
use crate::base::time::Timestamp;

/// How an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Somebody said yes.
    Approved,
    /// Somebody said no.
    Rejected,
    /// The run ended before anybody decided.
    Cancelled,
}

impl ApprovalState {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Approved, Self::Rejected, Self::Cancelled].into_iter().find(|s| s.as_str() == text)
    }
}

/// An approval.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The id.
    pub id: ApprovalId,
    /// The run that waits for it.
    pub run_id: RunId,
    /// The visit of the run that waits for it.
    pub visit: u32,
    /// The step's name.
    pub step_name: String,
    /// What is asked.
    pub title: String,
    /// What one should know.
    pub description: String,
    /// How it stands.
    pub state: ApprovalState,
    /// Whom it is about.
    pub subject_id: Option<PersonId>,
    /// Who asked.
    pub requested_by: Option<PersonId>,
    /// The business role it is about.
    pub role_id: Option<RoleId>,
    /// Who may decide.
    pub approvers: Vec<PersonId>,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// When it is overdue.
    pub due_at: Option<Timestamp>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// Who decided.
    pub decided_by: Option<PersonId>,
    /// Why.
    pub reason: Option<String>,
}

impl Approval {
    /// Why this principal may not decide; `None` when they may.
    pub fn why_not(&self, by: &Principal) -> Option<&'static str> {
        let Some(person) = &by.person else { return Some("Only people decide.") };
        if self.state != ApprovalState::Pending {
            return Some("It is decided already.");
        }
        if self.requested_by.as_ref() == Some(person) {
            return Some("You asked for it; somebody else decides.");
        }
        if self.subject_id.as_ref() == Some(person) {
            return Some("It is about you; somebody else decides.");
        }
        if !self.approvers.contains(person) {
            return Some("It is not assigned to you.");
        }
        if !by.may_decide || !by.can(Permission::ApprovalDecide) {
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

    fn by(name: &str, role: SystemRole, may_decide: bool) -> Principal {
        Principal { person: Some(person(name)), roles: vec![role], may_decide, ..Principal::system("test") }
    }

    #[test]
    fn neither_requestor_nor_subject_decides_not_even_as_admin() {
        let approval = Approval {
            id: ApprovalId::from_stored("apr".to_owned()),
            run_id: RunId::from_stored("run".to_owned()),
            visit: 1,
            step_name: String::new(),
            title: String::new(),
            description: String::new(),
            state: ApprovalState::Pending,
            subject_id: Some(person("ada")),
            requested_by: Some(person("boss")),
            role_id: None,
            approvers: vec![person("ada"), person("boss"), person("rosa")],
            created_at: Timestamp::from_millis(0),
            due_at: None,
            decided_at: None,
            decided_by: None,
            reason: None,
        };
        assert!(approval.why_not(&by("ada", SystemRole::Admin, true)).is_some());
        assert!(approval.why_not(&by("boss", SystemRole::Admin, true)).is_some());
        assert!(approval.why_not(&by("other", SystemRole::Admin, true)).is_some());
        assert!(approval.why_not(&by("rosa", SystemRole::Approver, false)).is_some());
        assert!(approval.why_not(&by("rosa", SystemRole::Requestor, true)).is_some());
        assert_eq!(approval.why_not(&by("rosa", SystemRole::Approver, true)), None);
        let decided = Approval { state: ApprovalState::Approved, ..approval };
        assert!(decided.why_not(&by("rosa", SystemRole::Approver, true)).is_some());
    }
}
