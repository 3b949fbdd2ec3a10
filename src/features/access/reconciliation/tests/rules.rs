//! What a difference means, in tables and in every combination.

use super::super::plan::*;
use super::super::{Action, ItemState, PlanStatus, Reason, Status};
use crate::features::access::entitlements::Policy;
use crate::features::access::grants::{GrantState, Wanted};
use crate::features::connectors::CallFailure;

const POLICIES: [Policy; 3] = [Policy::Report, Policy::Repair, Policy::RevokeUnknown];

fn facts(found: bool, live: u32, wanting: u32, leaving: u32, ended: u32) -> Facts {
    Facts { found, live, wanting, leaving, ended, changed: false }
}

#[test]
fn each_difference_has_one_meaning() {
    use Verdict::{Differs, Fine, Unknown};
    for (given, expected) in [
        (facts(true, 1, 0, 0, 0), Fine),
        (facts(true, 0, 1, 0, 0), Fine),
        (facts(true, 1, 0, 1, 3), Fine),
        (facts(true, 0, 0, 1, 2), Differs(Action::Ignore, Reason::BeingTaken)),
        (facts(true, 0, 0, 0, 1), Differs(Action::Remove, Reason::StillThere)),
        (facts(true, 0, 0, 0, 0), Unknown),
        (facts(false, 1, 0, 0, 0), Differs(Action::Add, Reason::Missing)),
        (facts(false, 2, 1, 0, 4), Differs(Action::Add, Reason::Missing)),
        (facts(false, 0, 1, 0, 0), Differs(Action::Ignore, Reason::BeingGiven)),
        (facts(false, 0, 0, 1, 0), Fine),
        (facts(false, 0, 0, 0, 1), Fine),
        (Facts { changed: true, ..facts(true, 0, 0, 0, 1) }, Differs(Action::Ignore, Reason::Changed)),
        (Facts { changed: true, ..facts(false, 1, 0, 0, 0) }, Differs(Action::Ignore, Reason::Changed)),
        (Facts { changed: true, ..facts(true, 1, 0, 0, 0) }, Fine),
    ] {
        assert_eq!(judge(&given), expected, "{given:?}");
    }
}

/// What should be and what is agree exactly when there is no item; and nothing is removed that a live
/// or a coming grant needs, in every combination of facts.
#[test]
fn every_difference_is_explained_and_nothing_that_is_needed_is_removed() {
    for bits in 0..64_u32 {
        let bit = |n: u32| bits >> n & 1;
        let given = Facts {
            found: bit(0) == 1,
            live: bit(1),
            wanting: bit(2),
            leaving: bit(3),
            ended: bit(4),
            changed: bit(5) == 1,
        };
        let should = given.live + given.wanting > 0;
        let verdict = judge(&given);
        assert_eq!(verdict == Verdict::Fine, should == given.found, "{given:?}");
        if let Verdict::Differs(Action::Remove, _) = verdict {
            assert!(given.found && !should && given.leaving == 0 && !given.changed, "{given:?}");
        }
    }
}

#[test]
fn an_unknown_account_is_removed_only_when_the_entitlement_says_so_and_how() {
    let whole = Stranger { policy: Policy::RevokeUnknown, removable: true, all_named: true, holds_otherwise: false };
    assert_eq!(judge_unknown(&whole), (Action::Remove, Reason::Unknown));
    for (given, expected) in [
        (Stranger { policy: Policy::Report, ..whole }, (Action::Adopt, Reason::Unknown)),
        (Stranger { policy: Policy::Repair, ..whole }, (Action::Adopt, Reason::Unknown)),
        (Stranger { removable: false, ..whole }, (Action::Adopt, Reason::NoRemoveCall)),
        (Stranger { all_named: false, ..whole }, (Action::Adopt, Reason::KeysMissing)),
        (Stranger { holds_otherwise: true, ..whole }, (Action::Ignore, Reason::HeldOtherwise)),
    ] {
        assert_eq!(judge_unknown(&given), expected, "{given:?}");
    }
}

#[test]
fn a_policy_carries_out_what_it_names_and_tells_the_rest() {
    let planned = |policy, action, reason| first_state(policy, action, reason) == ItemState::Planned;
    for action in Action::ALL {
        for reason in Reason::ALL {
            assert!(!planned(Policy::Report, *action, *reason), "{action:?} {reason:?}");
        }
    }
    for policy in POLICIES {
        assert!(!planned(policy, Action::Adopt, Reason::Unknown) && !planned(policy, Action::Ignore, Reason::Changed));
    }
    assert!(planned(Policy::Repair, Action::Add, Reason::Missing));
    assert!(planned(Policy::Repair, Action::Remove, Reason::StillThere));
    assert!(!planned(Policy::Repair, Action::Remove, Reason::Unknown));
    assert!(planned(Policy::RevokeUnknown, Action::Remove, Reason::Unknown));
}

#[test]
fn a_threshold_counts_what_went_before() {
    let threshold = Threshold { percent: 10, removals: 20 };
    let scope = |planned, removed, there| Scope { planned, removed, there };
    let calm = scope(1, 0, 100_000);
    let over = |s| over_threshold(threshold, [("for it", s), ("here", calm), ("in all", calm)]).is_some();
    for (given, expected) in [
        (scope(0, 500, 10), false),
        (scope(1, 0, 10), false),
        (scope(1, 0, 9), true),
        (scope(10, 0, 100), false),
        (scope(11, 0, 100), true),
        (scope(20, 0, 100_000), false),
        (scope(21, 0, 100_000), true),
        (scope(1, 20, 100_000), true),
        (scope(1, 9, 91), false),
        (scope(2, 9, 91), true),
    ] {
        assert_eq!(over(given), expected, "{given:?}");
    }
}

/// However removals are cut into plans, no more of them go in a day than one plan might have.
#[test]
fn cutting_a_removal_into_slices_lets_no_more_through() {
    let threshold = Threshold { percent: 10, removals: 20 };
    for size in 1..=30_u64 {
        let (mut gone, mut there) = (0, 1_000);
        for _ in 0..40 {
            let mine = Scope { planned: size, removed: 0, there: 1_000 };
            let all = Scope { planned: size, removed: gone, there };
            if over_threshold(threshold, [("for it", mine), ("here", all), ("in all", all)]).is_none() {
                gone += size;
                there -= size;
            }
        }
        assert!(gone <= 20, "slices of {size} let {gone} through");
    }
}

#[test]
fn an_empty_answer_and_one_over_the_threshold_are_held() {
    let well = Compared { planned: 2, found: 10, expected: 12, dry_run: false, over: None };
    for (given, status, why) in [
        (well.clone(), PlanStatus::Applying, None),
        (Compared { planned: 0, ..well.clone() }, PlanStatus::Completed, None),
        (Compared { found: 0, ..well.clone() }, PlanStatus::Held, Some("empty")),
        (Compared { found: 0, planned: 0, ..well.clone() }, PlanStatus::Held, Some("empty")),
        (Compared { found: 0, expected: 0, planned: 0, ..well.clone() }, PlanStatus::Completed, None),
        (Compared { over: Some("many".into()), ..well.clone() }, PlanStatus::Held, Some("threshold")),
        (Compared { dry_run: true, ..well.clone() }, PlanStatus::Completed, None),
        (Compared { dry_run: true, found: 0, ..well }, PlanStatus::Completed, Some("empty")),
    ] {
        let (found, held) = after_comparison(&given);
        assert_eq!((found, held.map(|h| h.0)), (status, why), "{given:?}");
    }
}

#[test]
fn a_reconciliation_is_never_well_over_a_part_that_is_not() {
    use PlanStatus as P;
    for (plans, expected) in [
        (vec![], Status::Completed),
        (vec![P::Completed, P::Rejected, P::Superseded], Status::Completed),
        (vec![P::Completed, P::Held], Status::Held),
        (vec![P::Completed, P::Failed, P::Held], Status::Failed),
        (vec![P::Failed, P::Listing], Status::Running),
        (vec![P::Comparing], Status::Running),
        (vec![P::Applying, P::Held], Status::Running),
    ] {
        assert_eq!(overall(&plans), expected, "{plans:?}");
    }
}

#[test]
fn an_item_follows_its_grant() {
    use {Action as A, GrantState as G, ItemState as I, Wanted as W};
    for (action, wanted, state, expected) in [
        (A::Add, W::Present, G::Pending, I::Applying),
        (A::Add, W::Present, G::Provisioned, I::Done),
        (A::Add, W::Present, G::Failed, I::Failed),
        (A::Add, W::Absent, G::Deprovisioning, I::Skipped),
        (A::Add, W::Absent, G::Deprovisioned, I::Skipped),
        (A::Remove, W::Absent, G::Deprovisioning, I::Applying),
        (A::Remove, W::Absent, G::Deprovisioned, I::Done),
        (A::Remove, W::Absent, G::Failed, I::Failed),
    ] {
        assert_eq!(item_after(action, wanted, state), expected, "{action:?} {wanted:?} {state:?}");
    }
}

#[test]
fn what_was_not_listed_is_told_apart() {
    for (failure, expected) in [
        (CallFailure::passing("timeout", ""), "unreachable"),
        (CallFailure::passing("http_500", ""), "unreachable"),
        (CallFailure::incomplete(""), "incomplete"),
        (CallFailure::bad_answer(""), "malformed"),
        (CallFailure::lasting("ldap_50", ""), "refused"),
    ] {
        assert_eq!(why_unlisted(&failure), expected, "{failure:?}");
    }
}
