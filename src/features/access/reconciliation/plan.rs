//! The rules of a reconciliation: what a difference means, what is done about it, when a plan is held.
//!
//! Everything here is a function of what was found and what is known; no I/O, no clock.

use super::{Action, ItemState, PlanStatus, Reason, Status};
use crate::features::access::entitlements::Policy;
use crate::features::access::grants::{GrantState, Wanted};
use crate::features::connectors::CallFailure;

/// What is known of one account: whether the listing has it, and which grants stand behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// The listing has it.
    pub found: bool,
    /// Grants that were confirmed and are wanted.
    pub live: u32,
    /// Grants that are wanted and not confirmed yet.
    pub wanting: u32,
    /// Grants that are on their way out.
    pub leaving: u32,
    /// Grants that were confirmed gone.
    pub ended: u32,
    /// A grant changed since the listing began, so that the listing may speak of what was before.
    pub changed: bool,
}

/// What the facts about one account come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Fine,
    /// It is not.
    Differs(Action, Reason),
    /// No grant ever stood behind it; see [`judge_unknown`].
    Unknown,
}

/// Judges one account.
pub fn judge(facts: &Facts) -> Verdict {
    use Verdict::{Differs, Fine};
    let wanted = facts.live + facts.wanting > 0;
    match (facts.found, wanted) {
        (true, true) => Fine,
        (true, false) if facts.leaving > 0 => Differs(Action::Ignore, Reason::BeingTaken),
        (true, false) if facts.ended > 0 && facts.changed => Differs(Action::Ignore, Reason::Changed),
        (true, false) if facts.ended > 0 => Differs(Action::Remove, Reason::StillThere),
        (true, false) => Verdict::Unknown,
        (false, true) if facts.live == 0 => Differs(Action::Ignore, Reason::BeingGiven),
        (false, true) if facts.changed => Differs(Action::Ignore, Reason::Changed),
        (false, true) => Differs(Action::Add, Reason::Missing),
        (false, false) => Fine,
    }
}

/// What is known of an account that no grant ever stood behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// What the entitlement says about such accounts.
    pub policy: Policy,
    /// The entitlement says how one is removed.
    pub removable: bool,
    /// Every grant of the entitlement knows its account, so that unknown means unknown.
    pub all_named: bool,
    /// The person it seems to belong to is to have the entitlement already, under another key.
    pub holds_otherwise: bool,
}

/// Judges an account that no grant ever stood behind.
pub fn judge_unknown(stranger: &Stranger) -> (Action, Reason) {
    if stranger.holds_otherwise {
        return (Action::Ignore, Reason::HeldOtherwise);
    }
    match stranger.policy {
        Policy::Report | Policy::Repair => (Action::Adopt, Reason::Unknown),
        Policy::RevokeUnknown if !stranger.all_named => (Action::Adopt, Reason::KeysMissing),
        Policy::RevokeUnknown if !stranger.removable => (Action::Adopt, Reason::NoRemoveCall),
        Policy::RevokeUnknown => (Action::Remove, Reason::Unknown),
    }
}

/// Whether the plan carries this out, or only tells it.
pub fn first_state(policy: Policy, action: Action, reason: Reason) -> ItemState {
    let planned = match (policy, action) {
        (Policy::Report, _) | (_, Action::Adopt | Action::Ignore) => false,
        (Policy::Repair, Action::Remove) => reason == Reason::StillThere,
        (Policy::Repair | Policy::RevokeUnknown, Action::Add) | (Policy::RevokeUnknown, Action::Remove) => true,
    };
    if planned { ItemState::Planned } else { ItemState::Reported }
}

/// From how many removals on somebody has to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// More than so many of a hundred that are there.
    pub percent: u32,
    /// More than so many.
    pub removals: u32,
}

/// Removals within one scope: an entitlement, a connector, or all of them, in the 24 hours before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scope {
    /// What the plan would remove.
    pub planned: u64,
    /// What reconciliations let go in the 24 hours before.
    pub removed: u64,
    /// What the newest listings found.
    pub there: u64,
}

impl Scope {
    fn is_over(&self, threshold: Threshold) -> bool {
        let removals = self.planned + self.removed;
        // What went today was there this morning: it belongs to the whole, or the last one of ten
        // would weigh more than the first.
        let whole = self.there + self.removed;
        removals > u64::from(threshold.removals) || removals * 100 > u64::from(threshold.percent) * whole
    }
}

/// Why a plan with these removals needs somebody's agreement; nothing when it does not.
///
/// The scopes are those of the entitlement, of its connector and of everything: what is cut into many
/// small plans is counted together.
pub fn over_threshold(threshold: Threshold, scopes: [(&str, Scope); 3]) -> Option<String> {
    let (name, scope) = scopes.into_iter().find(|(_, s)| s.planned > 0 && s.is_over(threshold))?;
    Some(format!(
        "It would remove {} {name}, after {} in the 24 hours before, of {} that are there; more than {} or {} % need an approval.",
        scope.planned, scope.removed, scope.there, threshold.removals, threshold.percent
    ))
}

/// What the comparison of a plan came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Items that the plan carries out.
    pub planned: u64,
    /// Accounts that were found.
    pub found: u64,
    /// Accounts that are to be there.
    pub expected: u64,
    /// Nothing is to be carried out, whatever comes of it.
    pub dry_run: bool,
    /// Why removing needs somebody's agreement, if it does.
    pub over: Option<String>,
}

/// How a plan goes on after its comparison, and why it is held if it is.
pub fn after_comparison(compared: &Compared) -> (PlanStatus, Option<(&'static str, String)>) {
    let empty = compared.found == 0 && compared.expected > 0;
    let why = if empty {
        let text = format!("The connected system has no account at all; {} are expected. Nothing is changed.", compared.expected);
        Some(("empty", text))
    } else {
        compared.over.clone().map(|text| ("threshold", text))
    };
    let status = match (&why, compared.dry_run, compared.planned) {
        (_, true, _) => PlanStatus::Completed,
        (Some(_), false, _) => PlanStatus::Held,
        (None, false, 0) => PlanStatus::Completed,
        (None, false, _) => PlanStatus::Applying,
    };
    (status, why)
}

/// Where a reconciliation stands, given its plans: never well while a part of it is not.
pub fn overall(plans: &[PlanStatus]) -> Status {
    let has = |wanted: fn(PlanStatus) -> bool| plans.iter().any(|p| wanted(*p));
    if has(PlanStatus::is_open) {
        Status::Running
    } else if has(|p| p == PlanStatus::Failed) {
        Status::Failed
    } else if has(|p| p == PlanStatus::Held) {
        Status::Held
    } else {
        Status::Completed
    }
}

/// Why a listing that failed cannot be compared, in a word: unreachable, refused, half, or no list at all.
pub fn why_unlisted(failure: &CallFailure) -> &'static str {
    match failure.code.as_str() {
        "incomplete" => "incomplete",
        "bad_answer" => "malformed",
        _ if failure.retryable => "unreachable",
        _ => "refused",
    }
}

/// Where an item that was carried out stands, given how its grant stands.
pub fn item_after(action: Action, wanted: Wanted, state: GrantState) -> ItemState {
    let intended = if action == Action::Add { Wanted::Present } else { Wanted::Absent };
    match state {
        _ if wanted != intended => ItemState::Skipped,
        GrantState::Provisioned | GrantState::Deprovisioned => ItemState::Done,
        GrantState::Failed => ItemState::Failed,
        GrantState::Pending | GrantState::Deprovisioning | GrantState::Orphaned => ItemState::Applying,
    }
}
