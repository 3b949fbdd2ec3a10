//! Making and ending delegations.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{Delegation, store};
use crate::base::access::{Permission, Principal};
use crate::base::id::{DelegationId, PersonId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::identity::people::store::find_person;
use crate::features::notifications::{self, Message};
use crate::features::workflow::approvals::rules::Standing;
use crate::features::workflow::approvals::{MAX_TEXT, resolve};
use crate::platform::store::Tx;

/// The longest delegation.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A delegation that is to be made.
#[derive(Debug, Clone)]
pub struct NewDelegation {
    /// Whose decisions they are; the caller's own when absent.
    pub person: Option<PersonId>,
    /// Who decides; the person's manager when absent.
    pub delegate: Option<PersonId>,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Why.
    pub reason: String,
}

/// Who decides instead of this person now: their delegate, or while they are absent their manager.
pub fn stand_in(tx: &Tx<'_>, person: &PersonId) -> Result<Option<PersonId>, Problem> {
    let now = tx.now();
    let Some(found) = store::find_between(tx, person, now, now.plus(Duration::from_millis(1)))? else {
        return Ok(None);
    };
    match found.delegate {
        Some(delegate) => Ok(Some(delegate)),
        None => Ok(find_person(tx, person)?.and_then(|p| p.manager_id)),
    }
}

/// Passes decisions on for a while: the caller's own, or as an administrator those of somebody who is away.
pub fn create(tx: &Tx<'_>, by: &Principal, new: NewDelegation) -> Result<Delegation, Problem> {
    let caller = by
        .person
        .clone()
        .ok_or_else(|| Problem::Forbidden("Only people have decisions to pass on.".to_owned()))?;
    if !by.may_decide {
        // Whoever may not decide by this sign-in must not choose who does.
        return Err(Problem::Forbidden("You may not pass decisions on with this sign-in.".to_owned()));
    }
    let person = new.person.clone().unwrap_or_else(|| caller.clone());
    let own = person == caller;
    by.require(if own { Permission::ApprovalDecide } else { Permission::ApprovalManage })?;
    check(tx, &caller, &person, &new)?;
    if let Some(other) = store::find_between(tx, &person, new.from, new.to)? {
        return Err(Problem::Conflict(format!(
            "There is one from {} to {} already. End it first, or choose other days.",
            other.starts_at, other.ends_at
        )));
    }
    let delegation = Delegation {
        id: tx.new_id(),
        person: person.clone(),
        delegate: new.delegate,
        starts_at: new.from,
        ends_at: new.to,
        reason: new.reason.trim().to_owned(),
        created_at: tx.now(),
        revoked_at: None,
    };
    store::insert_delegation(tx, &delegation)?;
    record(tx, by, "delegation.created", &delegation)?;
    let name = resolve::name(tx, &person)?;
    let span = format!("from {} to {}", delegation.starts_at, delegation.ends_at);
    let by_whom = if own { &name } else { &by.name };
    let said = format!("{by_whom} named you to decide {span}: {}", delegation.reason);
    tell(tx, delegation.delegate.as_ref(), format!("You decide for {name}"), said)?;
    if !own {
        let who = match &delegation.delegate {
            Some(delegate) => resolve::name(tx, delegate)?,
            None => "your manager".to_owned(),
        };
        let said = format!("{} had {who} decide for you {span}: {}", by.name, delegation.reason);
        tell(tx, Some(&person), "Somebody else decides for you".to_owned(), said)?;
    }
    Ok(delegation)
}

fn check(tx: &Tx<'_>, caller: &PersonId, person: &PersonId, new: &NewDelegation) -> Result<(), Problem> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: &str| {
        faults.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    };
    if new.to <= new.from {
        fault("to", "expected an instant after from");
    } else if new.to <= tx.now() {
        fault("to", "expected an instant to come");
    } else if new.to.since(new.from) > LONGEST {
        fault("to", "expected at most 366 days after from");
    }
    let reason = new.reason.trim().chars().count();
    if reason == 0 || reason > MAX_TEXT {
        fault("reason", "expected 1 to 4000 characters");
    }
    let own = caller == person;
    let able = |id: &PersonId| Ok::<_, Problem>(resolve::standing(tx, &BTreeSet::new(), id)? == Standing::Able);
    if !own && !able(person)? {
        fault("personId", "expected somebody active who may decide");
    }
    match &new.delegate {
        // Who chooses who decides is none of them: that would be one person's word.
        Some(delegate) if !own && delegate == caller => fault("delegateId", "you cannot name yourself"),
        None if !own && find_person(tx, person)?.is_some_and(|p| p.manager_id.as_ref() == Some(caller)) => {
            fault("delegateId", "their manager is you; name somebody else");
        }
        Some(delegate) if delegate == person => fault("delegateId", "expected somebody else"),
        Some(delegate) if !able(delegate)? => fault("delegateId", "expected somebody active who may decide"),
        _ => {}
    }
    Problem::from_fields(faults)
}

/// Ends a delegation before its time.
pub fn revoke(tx: &Tx<'_>, by: &Principal, id: &DelegationId) -> Result<(), Problem> {
    let delegation = store::get_delegation(tx, id)?;
    if !by.is_person(&delegation.person) && !by.can(Permission::ApprovalManage) {
        return Err(Problem::missing("delegation", id));
    }
    if delegation.ends_at <= tx.now() || !store::revoke(tx, id)? {
        return Err(Problem::Conflict("It is over already.".to_owned()));
    }
    record(tx, by, "delegation.ended", &delegation)?;
    let name = resolve::name(tx, &delegation.person)?;
    let said = "What was opened until now stays with you.".to_owned();
    tell(tx, delegation.delegate.as_ref(), format!("You do not decide for {name} any more"), said)?;
    if by.is_person(&delegation.person) {
        return Ok(());
    }
    let said = format!("{} ended what was to last until {}.", by.name, delegation.ends_at);
    tell(tx, Some(&delegation.person), "You decide for yourself again".to_owned(), said)
}

fn tell(tx: &Tx<'_>, to: Option<&PersonId>, subject: String, body: String) -> Result<(), Problem> {
    let message = Message { subject, body, link: Some("/delegations".to_owned()), kind: "delegation" };
    notifications::ops::notify(tx, to.map_or(&[], std::slice::from_ref), message)
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, d: &Delegation) -> Result<(), Problem> {
    let state = json!({ "person": d.person, "delegate": d.delegate, "from": d.starts_at, "to": d.ends_at });
    let made = action == "delegation.created";
    let entry = Entry {
        action,
        entity: "delegation",
        entity_id: d.id.to_string(),
        reason: made.then(|| d.reason.clone()),
        prev: (!made).then(|| state.clone()),
        new: made.then_some(state),
    };
    audit::append(tx, by, entry)
}
