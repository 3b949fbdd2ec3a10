//! What people do with an approval beside deciding it: hand it over, reassign it, ask, answer.

use std::collections::BTreeSet;

use serde_json::json;

use super::ops::{decider, text};
use super::rules::{MAX_HOPS, Verdict, shortfall, verdict};
use super::stages::seat_state;
use super::{Approval, ApprovalState, NoteKind, Seat, resolve, stages, store};
use crate::base::access::{Permission, Principal};
use crate::base::id::{ApprovalId, PersonId};
use crate::base::problem::{FieldError, Problem};
use crate::features::identity::people::store::get_person;
use crate::features::workflow::runs::store as run_store;
use crate::platform::store::Tx;

/// People that an approval is reassigned to at most.
const MAX_PEOPLE: usize = 50;

/// Gives seats to others, and tells those who leave and those who come.
pub(super) fn replace(
    tx: &Tx<'_>,
    approval: &Approval,
    leave: &[PersonId],
    come: &[Seat],
    why: &str,
) -> Result<(), Problem> {
    for person in leave {
        store::leave_seat(tx, &approval.id, approval.stage, person)?;
    }
    for seat in come {
        store::put_seat(tx, &approval.id, seat)?;
    }
    let names = resolve::names(tx, come.iter().map(|s| &s.person))?;
    let body = format!("{why}: it was passed to {names}; there is nothing left for you to do.");
    stages::tell(tx, approval, leave, format!("Passed on: {}", approval.config.title), body)?;
    stages::invite(tx, approval, come)
}

/// The approver hands this one over to somebody else, who decides on their behalf.
pub fn hand_over(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ApprovalId,
    to: &PersonId,
    reason: &str,
) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let person = decider(tx, by, &approval)?;
    let reason = text("reason", reason)?;
    let seat = approval.seat_of(&person).cloned().ok_or_else(|| Problem::internal("a decider without a seat"))?;
    if seat.hops >= MAX_HOPS {
        let why =
            format!("It was passed on {MAX_HOPS} times already; decide, or ask an administrator to reassign it.");
        return Err(Problem::Conflict(why));
    }
    let run = run_store::get_run(tx, &approval.run_id)?;
    let mut barred = resolve::barred(&run, Some(&approval));
    // Who has it decides for themselves, and who passed it on does not get it back: that would go round.
    barred.extend(approval.seats.iter().filter(|s| s.stage == approval.stage).map(|s| s.person.clone()));
    let way = resolve::holder(tx, to, MAX_HOPS - seat.hops - 1, &barred)?;
    let Some((holder, hops)) = way.and_then(|w| Some((w.last()?.clone(), u32::try_from(w.len()).ok()?))) else {
        return Err(Problem::field("to", cannot(tx, &approval, to)?));
    };
    let others = approval.seats.iter().filter(|s| s.stage == approval.stage && s.left_at.is_none());
    let stay = others.map(|s| &s.person).filter(|p| **p != person).chain([&holder]);
    if let Some(why) = resolve::only_publisher(tx, &run, &approval, stay)? {
        return Err(Problem::field("to", why));
    }
    let mut on_behalf_of = seat.on_behalf_of.clone();
    if seat.own {
        on_behalf_of.push(person.clone());
    }
    let new = Seat {
        stage: approval.stage,
        person: holder.clone(),
        own: false,
        on_behalf_of,
        hops: seat.hops + hops,
        left_at: None,
    };
    let name = resolve::name(tx, &person)?;
    let subject = format!("{name} handed it over");
    replace(tx, &approval, std::slice::from_ref(&person), std::slice::from_ref(&new), &subject)?;
    let called = resolve::called(tx, &new)?;
    let words = format!("{name} handed it over: now {called} decides");
    stages::tell_parties(tx, &approval, format!("Handed over: {}", approval.config.title), format!("{words}."))?;
    let data = json!({ "from": person, "to": holder, "onBehalfOf": new.on_behalf_of });
    stages::note(tx, &approval, "approval.delegated", &words, data.clone())?;
    stages::record(tx, by, &approval, "approval.delegated", Some(reason), (Some(seat_state(&seat)), data))?;
    store::get_approval(tx, id)
}

/// Why somebody cannot decide in this approval.
fn cannot(tx: &Tx<'_>, approval: &Approval, person: &PersonId) -> Result<String, Problem> {
    let name = get_person(tx, person)?.display_name;
    let had = approval.seats.iter().find(|s| s.stage == approval.stage && s.person == *person);
    Ok(if approval.is_party(person) {
        format!("{name} cannot decide: it is their own request")
    } else if approval.barred.iter().any(|(p, _)| p == person) {
        format!("{name} cannot decide: it was asked for with a token of theirs, is about them, or they changed it")
    } else if approval.vote_of(person).is_some() {
        format!("{name} has decided in it already")
    } else if had.is_some_and(|s| s.left_at.is_none()) {
        format!("{name} decides in it already")
    } else if had.is_some() {
        format!("{name} passed it on; ask an administrator to reassign it")
    } else {
        format!("{name} cannot decide: expected somebody active who may decide")
    })
}

/// An administrator gives what is not decided to others.
pub fn reassign(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ApprovalId,
    to: &[PersonId],
    reason: &str,
) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let admin = may_reassign(by, &approval)?;
    let reason = text("reason", reason)?;
    let run = run_store::get_run(tx, &approval.run_id)?;
    let named: BTreeSet<PersonId> = to.iter().cloned().collect();
    if named.is_empty() || named.len() > MAX_PEOPLE {
        return Err(Problem::field("to", format!("expected 1 to {MAX_PEOPLE} people")));
    }
    let mut barred = resolve::barred(&run, Some(&approval));
    // Who chooses the approvers is none of them: that would be one person's word.
    barred.insert(admin.clone());
    let mut faults = Vec::new();
    for (i, person) in to.iter().enumerate() {
        if resolve::holder(tx, person, MAX_HOPS, &barred)?.is_none() {
            let message = if *person == admin {
                "you cannot assign it to yourself".to_owned()
            } else {
                cannot(tx, &approval, person)?
            };
            faults.push(FieldError { field: format!("to[{i}]"), message });
        }
    }
    Problem::from_fields(faults)?;
    let seats = resolve::seats(tx, approval.stage, &named, &barred)?;
    let voted = approval.votes.iter().map(|v| &v.person);
    if let Some(why) = resolve::only_publisher(tx, &run, &approval, seats.iter().map(|s| &s.person).chain(voted))? {
        return Err(Problem::field("to", why));
    }
    let leave: Vec<PersonId> = approval
        .open_seats()
        .map(|s| s.person.clone())
        .filter(|p| !seats.iter().any(|s| s.person == *p))
        .collect();
    let come: Vec<Seat> = seats.iter().filter(|s| approval.seat_of(&s.person).is_none()).cloned().collect();
    if come.is_empty() && leave.is_empty() {
        return Err(Problem::Conflict("They have it already.".to_owned()));
    }
    let mut tally = approval.tally();
    tally.open = u32::try_from(seats.len()).unwrap_or(u32::MAX);
    let need = approval.need_of(approval.stage);
    if verdict(need, tally) != Verdict::Open {
        let able = tally.approvals.saturating_add(tally.open);
        let why =
            shortfall(need, able).unwrap_or_else(|| "expected others than those who have decided".to_owned());
        return Err(Problem::field("to", why));
    }
    let (before, after) = (resolve::names(tx, &leave)?, resolve::names(tx, seats.iter().map(|s| &s.person))?);
    replace(tx, &approval, &leave, &come, "An administrator reassigned it")?;
    let words = format!("{} reassigned it from {before} to {after}", by.name);
    stages::tell_parties(tx, &approval, format!("Reassigned: {}", approval.config.title), format!("{words}."))?;
    let data = json!({ "from": leave, "to": seats.iter().map(seat_state).collect::<Vec<_>>() });
    stages::note(tx, &approval, "approval.reassigned", &words, data.clone())?;
    stages::record(tx, by, &approval, "approval.reassigned", Some(reason), (None, data))?;
    store::get_approval(tx, id)
}

fn may_reassign(by: &Principal, approval: &Approval) -> Result<PersonId, Problem> {
    by.require(Permission::ApprovalManage)?;
    let person = by.person.clone().filter(|_| by.may_decide).ok_or_else(|| {
        Problem::Forbidden("Only people who signed in themselves choose who decides.".to_owned())
    })?;
    if approval.state != ApprovalState::Pending {
        return Err(Problem::Conflict(format!("It is {} already.", approval.state.as_str())));
    }
    let barred = approval.barred.iter().any(|(p, _)| *p == person);
    if approval.is_party(&person) || barred {
        return Err(Problem::Forbidden("It is your own request; another administrator reassigns it.".to_owned()));
    }
    Ok(person)
}

/// An approver asks those whose request it is.
pub fn ask(tx: &Tx<'_>, by: &Principal, id: &ApprovalId, question: &str) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let person = decider(tx, by, &approval)?;
    let question = text("question", question)?;
    if approval.parties().is_empty() {
        return Err(Problem::refused("Nobody asked for it, so that there is nobody to answer."));
    }
    store::insert_note(tx, id, NoteKind::Question, &person, question)?;
    let subject = format!("A question about: {}", approval.config.title);
    // It is answered where it is asked.
    stages::tell(tx, &approval, &approval.parties(), subject, format!("{} asks: {question}", by.name))?;
    let data = json!({ "person": person, "text": question });
    stages::note(tx, &approval, "approval.asked", &format!("{} asked: {question}", by.name), data.clone())?;
    stages::record(tx, by, &approval, "approval.asked", None, (None, data))?;
    store::get_approval(tx, id)
}

/// The requestor or the subject answers; all who decide are told.
pub fn answer(tx: &Tx<'_>, by: &Principal, id: &ApprovalId, given: &str) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    let person = by
        .person
        .clone()
        .filter(|p| approval.is_party(p))
        .ok_or_else(|| Problem::Forbidden("Only the requestor and the subject answer.".to_owned()))?;
    if approval.state != ApprovalState::Pending {
        return Err(Problem::Conflict(format!("It is {} already.", approval.state.as_str())));
    }
    let given = text("text", given)?;
    let asked: BTreeSet<PersonId> = store::list_notes(tx, id)?
        .into_iter()
        .filter(|n| n.kind == NoteKind::Question)
        .map(|n| n.person)
        .collect();
    if asked.is_empty() {
        return Err(Problem::Conflict("Nobody asked anything.".to_owned()));
    }
    store::insert_note(tx, id, NoteKind::Answer, &person, given)?;
    let mut to: Vec<PersonId> = approval.open_seats().map(|s| s.person.clone()).collect();
    to.extend(asked);
    let subject = format!("An answer about: {}", approval.config.title);
    stages::tell(tx, &approval, &to, subject, format!("{} answers: {given}", by.name))?;
    let data = json!({ "person": person, "text": given });
    stages::note(tx, &approval, "approval.answered", &format!("{} answered: {given}", by.name), data.clone())?;
    stages::record(tx, by, &approval, "approval.answered", None, (None, data))?;
    store::get_approval(tx, id)
}
