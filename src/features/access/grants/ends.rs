//! The ends that commands carry: a connected system that was told until when access lasts is told a later end.
//!
//! # Invariants
//! - What is told is the last end of all assignments that give the entitlement to the person, and never an earlier
//!   one than before: Tenure takes access away at its instant by itself.
//! - Of a call that was made nothing but the end changes, so that the same account is meant whatever the person is
//!   called by now.

use serde_json::Value;

use super::ops::context_of;
use super::{GrantRow, store};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::store::get_assignment;
use crate::features::access::entitlements::ops::{put_in, render};
use crate::features::access::entitlements::{Call, Carried, Entitlement, RenderedCalls, store::get_entitlement};
use crate::platform::store::Tx;

/// What is to be done about the end that the calls of a grant carry.
#[derive(Debug)]
pub(super) enum Later {
    /// Nothing: they carry none, or none that is too early.
    Nothing,
    /// These calls carry the later one.
    Calls(Box<RenderedCalls>),
    /// The later one cannot be put into the calls that were made.
    Unclear,
}

/// Until when access lasts: the later of two ends, of which none is later than any.
fn later(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    Some(one?.max(other?))
}

/// Whether giving an entitlement may say until when: an end is known by its assignment only.
fn may_say(entitlement: &Entitlement) -> bool {
    entitlement.provision.params.to_string().contains("assignment")
}

/// The calls of a grant for which none went out yet.
pub(super) fn first_calls(tx: &Tx<'_>, grant: &GrantRow) -> Result<RenderedCalls, Problem> {
    let entitlement = get_entitlement(tx, &grant.entitlement_id)?;
    let own = get_assignment(tx, &grant.assignment_id)?.expires_at;
    if !may_say(&entitlement) {
        return render(&entitlement, &context_of(tx, grant, own)?);
    }
    let others = store::list_beside(tx, grant)?;
    // What the system was told, if the person has it there already.
    let told = others.iter().filter_map(|o| Some(o.calls.as_ref()?.carried.map_or(o.until, |carried| carried.until)));
    let told = told.reduce(later);
    let until = others.iter().map(|other| other.until).chain(told).fold(own, later);
    let mut calls = render(&entitlement, &context_of(tx, grant, until)?)?;
    calls.carried = Some(Carried { until });
    if let Some(told) = told.filter(|told| *told != until) {
        let as_told = render(&entitlement, &context_of(tx, grant, told)?)?;
        calls.gives_again = as_told.provision != calls.provision;
    }
    Ok(calls)
}

/// Whether the calls of a grant carry an end that is too early by now, and which ones do not. `told` is the end of
/// calls of which that is not known.
pub(super) fn later_calls(tx: &Tx<'_>, grant: &GrantRow, told: Option<Timestamp>) -> Result<Later, Problem> {
    let Some(made) = &grant.calls else { return Ok(Later::Nothing) };
    let entitlement = get_entitlement(tx, &grant.entitlement_id)?;
    let told = made.carried.map_or(told, |carried| carried.until);
    if !may_say(&entitlement) || told.is_none() {
        return Ok(Later::Nothing);
    }
    let own = get_assignment(tx, &grant.assignment_id)?.expires_at;
    let until = store::list_beside(tx, grant)?.iter().map(|other| other.until).fold(own, later);
    if until <= told && until.is_some() {
        return Ok(Later::Nothing);
    }
    let rendered = (
        render(&entitlement, &context_of(tx, grant, told)?),
        render(&entitlement, &context_of(tx, grant, until)?),
    );
    let (before, after) = match rendered {
        (Ok(before), Ok(after)) => (before, after),
        (Err(Problem::Invalid { .. }), _) | (_, Err(Problem::Invalid { .. })) => return Ok(Later::Unclear),
        (Err(other), _) | (_, Err(other)) => return Err(other),
    };
    if before.provision == after.provision {
        return Ok(Later::Nothing);
    }
    Ok(match put_into(made, &before, &after) {
        Some(calls) => Later::Calls(Box::new(RenderedCalls { carried: Some(Carried { until }), gives_again: true, ..calls })),
        None => Later::Unclear,
    })
}

fn put_into(made: &RenderedCalls, before: &RenderedCalls, after: &RenderedCalls) -> Option<RenderedCalls> {
    let one = |made: &Call, before: &Call, after: &Call| -> Option<Call> {
        let params: Value = put_in(&made.params, &before.params, &after.params)?;
        Some(Call { command: made.command.clone(), params })
    };
    Some(RenderedCalls {
        provision: one(&made.provision, &before.provision, &after.provision)?,
        deprovision: one(&made.deprovision, &before.deprovision, &after.deprovision)?,
        check: match (&made.check, &before.check, &after.check) {
            (Some(made), Some(before), Some(after)) => Some(one(made, before, after)?),
            (made, ..) => made.clone(),
        },
        ..made.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_lasts_longer_than_any() {
        let at = |ms| Some(Timestamp::from_millis(ms));
        assert_eq!(later(at(1), at(2)), at(2));
        assert_eq!(later(at(3), at(2)), at(3));
        assert_eq!((later(None, at(2)), later(at(2), None), later(None, None)), (None, None, None));
    }
}
