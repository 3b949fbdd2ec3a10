//! Reconciliation: what should be in a connected system, what is there, and what is done about the
//! difference.
//!
//! A reconciliation has one plan per entitlement that says how its accounts are listed. A plan lists page
//! by page, compares, is held or carried out through the grants' one code path, and tells the rest.
//!
//! # Invariants
//! - A system that is unreachable, one that answers empty and one that gives half of its pages are three
//!   results; none of them takes anything away.
//! - Nothing is removed that a live or a coming grant needs: what a plan says is judged again in the
//!   transaction that carries it out, and a removal and a provisioning of one account never overlap.
//! - Removals are counted per entitlement, per connector and over all in the 24 hours before; a plan that
//!   goes over the threshold is held whole.
//! - A page that came is staged in one transaction with the cursor behind it: a crash repeats nothing and
//!   loses nothing.
//! - A reconciliation ends `completed` only when every plan of it did.
//!
//! # Not here
//! How a system is listed (`connectors`); how access is given and taken ([`super::grants`]).

pub mod adoption;
pub mod api;
pub mod items;
pub mod jobs;
pub mod listing;
pub mod ops;
pub mod plan;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use super::entitlements::Policy;
use crate::base::id::{
    AssignmentId, ConnectorId, DifferenceId, EntitlementId, GrantId, JobId, PersonId, PlanId, ReconciliationId,
};
use crate::base::time::Timestamp;

super::states! {
    /// What a difference asks for.
    Action {
        /// Give again what is missing.
        Add = "add",
        /// Take away what should not be there.
        Remove = "remove",
        /// Somebody may make an assignment of it.
        Adopt = "adopt",
        /// Nothing: it is told so that it is explained.
        Ignore = "ignore",
    }
}

super::states! {
    /// Why there is a difference, or why nothing is done about it.
    Reason {
        /// It was given, and is not there.
        Missing = "missing",
        /// The access ended, and it is still there.
        StillThere = "still_there",
        /// A job gives it right now.
        BeingGiven = "being_given",
        /// A job takes it away right now.
        BeingTaken = "being_taken",
        /// Its grant changed while the system was listed.
        Changed = "changed",
        /// No grant ever stood behind it.
        Unknown = "unknown",
        /// No grant ever stood behind it, and the entitlement does not say how it is removed.
        NoRemoveCall = "no_remove_call",
        /// No grant is known to stand behind it, but some grants do not know their account.
        KeysMissing = "keys_missing",
        /// No grant is known to stand behind it, but some account that should be there is not: it may be that
        /// one under another name.
        OthersMissing = "others_missing",
        /// The person it belongs to has the entitlement under another key.
        HeldOtherwise = "held_otherwise",
        /// A grant stands behind the same key in another spelling.
        OtherSpelling = "other_spelling",
    }
}

impl Reason {
    /// In a sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "It was given and confirmed, and the connected system does not have it any more.",
            Self::StillThere => "The access ended and was confirmed gone, and the connected system still has it.",
            Self::BeingGiven => "A job is giving it; nothing else is needed.",
            Self::BeingTaken => "A job is taking it away; nothing else is needed.",
            Self::Changed => "Its access changed while the system was listed; the next reconciliation looks again.",
            Self::Unknown => "No assignment ever stood behind it.",
            Self::NoRemoveCall => "No assignment ever stood behind it, and the entitlement does not say how it is removed.",
            Self::KeysMissing => "No assignment is known to stand behind it, but some do not know what their account is called.",
            Self::OthersMissing => "No assignment is known to stand behind it, but accounts that should be there are not: it may be one of them, renamed.",
            Self::HeldOtherwise => "The person it belongs to has this access under another account.",
            Self::OtherSpelling => "An assignment stands behind the same account in another spelling.",
        }
    }
}

super::states! {
    /// Where a difference stands.
    ItemState {
        /// It is only told.
        Reported = "reported",
        /// It is carried out once its plan is.
        Planned = "planned",
        /// A job is at it.
        Applying = "applying",
        /// The connected system confirmed it, or it was adopted.
        Done = "done",
        /// It failed after all attempts.
        Failed = "failed",
        /// It was not needed any more when its turn came.
        Skipped = "skipped",
    }
}

super::states! {
    /// Where a plan stands.
    PlanStatus {
        /// What is there comes in page by page.
        Listing = "listing",
        /// It is compared with what should be there.
        Comparing = "comparing",
        /// It waits for somebody's agreement.
        Held = "held",
        /// It is carried out.
        Applying = "applying",
        /// All of it is over and well.
        Completed = "completed",
        /// It could not be listed whole, or a part of it failed.
        Failed = "failed",
        /// Somebody refused it.
        Rejected = "rejected",
        /// A newer plan took its place while it was held.
        Superseded = "superseded",
    }
}

impl PlanStatus {
    /// Whether a job is at it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Listing | Self::Comparing | Self::Applying)
    }
}

super::states! {
    /// Where a reconciliation stands.
    Status {
        /// A plan of it is open.
        Running = "running",
        /// Every plan is over and well.
        Completed = "completed",
        /// A plan waits for somebody.
        Held = "held",
        /// A plan failed.
        Failed = "failed",
    }
}

super::states! {
    /// Why there is a reconciliation.
    Kind {
        /// Its time had come.
        Scheduled = "scheduled",
        /// Somebody asked for it.
        Manual = "manual",
        /// Somebody asked what it would do.
        DryRun = "dry_run",
    }
}

/// A comparison of connected systems with what should be there.
#[derive(Debug, Clone)]
pub struct Reconciliation {
    /// The id.
    pub id: ReconciliationId,
    /// Why there is one.
    pub kind: Kind,
    /// Who asked for it, as the audit log calls them.
    pub requested_by: String,
    /// Where it stands.
    pub status: Status,
    /// Since when.
    pub started_at: Timestamp,
    /// When the last of its plans came to rest.
    pub ended_at: Option<Timestamp>,
}

/// One entitlement of a reconciliation.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The number its parts name it by.
    pub no: i64,
    /// The id.
    pub id: PlanId,
    /// Of which reconciliation.
    pub reconciliation_id: ReconciliationId,
    /// Of which entitlement.
    pub entitlement_id: EntitlementId,
    /// Where it is given.
    pub connector_id: ConnectorId,
    /// What was done about differences when it began.
    pub policy: Policy,
    /// What it was compared by, see [`Entitlement::terms`](super::entitlements::Entitlement::terms).
    pub terms: String,
    /// Whether it only shows what it would do.
    pub dry_run: bool,
    /// Where it stands.
    pub status: PlanStatus,
    /// The job that is at it.
    pub job_id: JobId,
    /// What is compared.
    pub pass: Pass,
    /// Where the job goes on.
    pub cursor: Option<String>,
    /// Pages that came.
    pub pages: u64,
    /// Entries that came.
    pub seen: u64,
    /// Accounts among them.
    pub found: u64,
    /// Accounts that are to be there.
    pub expected: u64,
    /// Wanted grants that do not know their account.
    pub nameless: u64,
    /// Removals that were let go.
    pub removals: u64,
    /// Why it is held or failed, for programs.
    pub why: Option<String>,
    /// The same for people.
    pub detail: Option<String>,
    /// Since when.
    pub started_at: Timestamp,
    /// When the last account was compared.
    pub compared_at: Option<Timestamp>,
    /// When it was let go.
    pub let_go_at: Option<Timestamp>,
    /// When it came to rest.
    pub ended_at: Option<Timestamp>,
    /// Who decided about it while it was held.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub decision_reason: Option<String>,
}

super::states! {
    /// What is compared.
    Pass {
        /// What was found, with what is known of it.
        Found = "found",
        /// What is known, with what was found.
        Grants = "grants",
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its place in the plan.
    pub no: i64,
    /// The id.
    pub id: DifferenceId,
    /// Of which plan.
    pub plan_no: i64,
    /// What the connected system calls it.
    pub account: String,
    /// What it asks for.
    pub action: Action,
    /// Why.
    pub reason: Reason,
    /// Where it stands.
    pub state: ItemState,
    /// The grant that it is about.
    pub grant_id: Option<GrantId>,
    /// The generation of that grant: when it was compared, and once it is carried out, the one that does it.
    pub generation: Option<u32>,
    /// Whose it seems to be.
    pub person_id: Option<PersonId>,
    /// What the connected system says about it.
    pub attributes: Option<Value>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
    /// The job that removes an account without a grant.
    pub job_id: Option<JobId>,
    /// What it became when it was adopted.
    pub assignment_id: Option<AssignmentId>,
    /// When it last changed.
    pub changed_at: Timestamp,
}

/// How many items of a plan there are, by what they ask for and where they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// To be given again.
    pub add: u64,
    /// To be taken away.
    pub remove: u64,
    /// To be adopted by somebody.
    pub adopt: u64,
    /// Explained.
    pub ignore: u64,
    /// Only told.
    pub reported: u64,
    /// Waiting for their plan.
    pub planned: u64,
    /// Underway.
    pub applying: u64,
    /// Confirmed.
    pub done: u64,
    /// Failed.
    pub failed: u64,
    /// Not needed any more.
    pub skipped: u64,
}

impl Counts {
    /// Counts `n` items of one kind in.
    pub fn count(&mut self, action: Action, state: ItemState, n: u64) {
        match action {
            Action::Add => self.add += n,
            Action::Remove => self.remove += n,
            Action::Adopt => self.adopt += n,
            Action::Ignore => self.ignore += n,
        }
        match state {
            ItemState::Reported => self.reported += n,
            ItemState::Planned => self.planned += n,
            ItemState::Applying => self.applying += n,
            ItemState::Done => self.done += n,
            ItemState::Failed => self.failed += n,
            ItemState::Skipped => self.skipped += n,
        }
    }
}
