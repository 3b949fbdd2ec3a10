//! Who decides: from the approvers of a definition to people who can.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{MAX_HOPS, Standing, way};
use super::{Approval, Seat, delegations};
use crate::base::access::{Permission, SystemRole};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::identity::accounts::store::{find_by_person, people_with_role};
use crate::features::identity::people::PersonRef;
use crate::features::identity::people::store::{find_person as person_with, get_person, group_members, person_ref};
use crate::features::settings;
use crate::features::workflow::definitions::store::find_publisher;
use crate::features::workflow::definitions::{Approver, expression};
use crate::features::workflow::engine;
use crate::features::workflow::runs::Run;
use crate::features::workflow::runs::ops::{self as runs, find_person, person_of};
use crate::platform::store::Tx;

/// The people behind configured approvers, able or not, each once.
pub(super) fn named(
    tx: &Tx<'_>,
    run: &Run,
    visit: u32,
    approvers: &[Approver],
) -> Result<BTreeSet<PersonId>, Problem> {
    let mut people = BTreeSet::new();
    for approver in approvers {
        match approver {
            Approver::Person(text) => {
                people.insert(find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))?);
            }
            Approver::Group(name) => people.extend(group_members(tx, name)?),
            Approver::SystemRole(role) => people.extend(people_with_role(tx, *role)?),
            Approver::Expression(text) => people.extend(computed(tx, run, visit, text)?),
            Approver::ManagerOf(who) => people.extend(get_person(tx, &person_of(run, *who)?)?.manager_id),
        }
    }
    Ok(people)
}

/// The people that an expression names, by id or address.
fn computed(tx: &Tx<'_>, run: &Run, visit: u32, text: &str) -> Result<Vec<PersonId>, Problem> {
    let values = engine::values_at(&run.state, visit, &runs::scope(tx, run)?);
    let fault = |why: String| Problem::refused(format!("The approvers' expression {text}: {why}."));
    let named = match expression::value(text, &values).map_err(|e| fault(e.to_string()))? {
        serde_json::Value::Null => Vec::new(),
        serde_json::Value::Array(all) => all,
        one => vec![one],
    };
    let mut people = Vec::with_capacity(named.len());
    for one in named {
        let Some(name) = one.as_str() else {
            return Err(fault(format!("got {one}; expected an id or an address")));
        };
        people.push(find_person(tx, name)?.ok_or_else(|| Problem::missing("person", name))?);
    }
    Ok(people)
}

/// Who must not decide in an approval, nor anybody to whom they passed it on: requestor, subject, and who
/// has voted.
pub(super) fn barred(run: &Run, approval: Option<&Approval>) -> BTreeSet<PersonId> {
    let mut barred: BTreeSet<PersonId> = run.started_by.iter().chain(&run.subject_id).cloned().collect();
    if let Some(approval) = approval {
        // The subject may be another one by now; it stays about both.
        barred.extend(approval.parties());
        barred.extend(approval.votes.iter().map(|v| v.person.clone()));
        barred.extend(approval.barred.iter().map(|(person, _)| person.clone()));
    }
    barred
}

/// Why those who hold the seats of an approval are too few, though they can decide: with the rule of the second
/// person on, whoever published the workflow is not its only approver. `holders` are all who have voted or may.
pub(super) fn only_publisher<'a>(
    tx: &Tx<'_>,
    run: &Run,
    approval: &Approval,
    holders: impl IntoIterator<Item = &'a PersonId>,
) -> Result<Option<&'static str>, Problem> {
    let mut holders = holders.into_iter();
    // In a later stage others have decided.
    let (Some(first), 1) = (holders.next(), approval.stages()) else { return Ok(None) };
    if holders.any(|p| p != first) || !settings::ops::four_eyes(tx)? {
        return Ok(None);
    }
    let is_publisher = find_publisher(tx, &run.workflow_id)?.as_ref() == Some(first);
    Ok(is_publisher.then_some(
        "Whoever published this workflow would be its only approver; with the rule of the second person on, somebody \
         else decides. An administrator can reassign it.",
    ))
}

/// Whether somebody can hold a seat.
pub(super) fn standing(tx: &Tx<'_>, barred: &BTreeSet<PersonId>, id: &PersonId) -> Result<Standing, Problem> {
    if barred.contains(id) {
        return Ok(Standing::Barred);
    }
    let account = find_by_person(tx, id)?.filter(|a| a.active);
    let may = account.is_some_and(|a| a.roles.iter().any(|r| r.allows(Permission::ApprovalDecide)));
    let able = may && person_with(tx, id)?.is_some_and(|p| p.active);
    Ok(if able { Standing::Able } else { Standing::Unable })
}

/// Everybody who may decide and whose name contains `q`, by name.
pub(super) fn able(tx: &Tx<'_>, q: &str) -> Result<Vec<PersonRef>, Problem> {
    let mut people = BTreeSet::new();
    for role in SystemRole::ALL.into_iter().filter(|r| r.allows(Permission::ApprovalDecide)) {
        people.extend(people_with_role(tx, role)?);
    }
    let wanted = q.trim().to_lowercase();
    let mut found = Vec::new();
    for id in &people {
        found.extend(person_ref(tx, id)?.filter(|p| p.display_name.to_lowercase().contains(&wanted)));
    }
    found.sort_by_cached_key(|p| p.display_name.to_lowercase());
    Ok(found)
}

/// Who decides when `start` is to, by the delegations and absences that are in force now: the way there,
/// the holder last.
pub(super) fn holder(
    tx: &Tx<'_>,
    start: &PersonId,
    hops: u32,
    barred: &BTreeSet<PersonId>,
) -> Result<Option<Vec<PersonId>>, Problem> {
    way(start, hops, |p| delegations::ops::stand_in(tx, p), |p| standing(tx, barred, p))
}

/// The seats of a stage: who was named, or decides for them. Nobody has two.
pub(super) fn seats(
    tx: &Tx<'_>,
    stage: u32,
    named: &BTreeSet<PersonId>,
    barred: &BTreeSet<PersonId>,
) -> Result<Vec<Seat>, Problem> {
    let mut seats: BTreeMap<PersonId, Seat> = BTreeMap::new();
    for person in named {
        let Some(way) = holder(tx, person, MAX_HOPS, barred)? else { continue };
        let Some(last) = way.last() else { continue };
        let seat = seats.entry(last.clone()).or_insert_with(|| Seat {
            stage,
            person: last.clone(),
            own: false,
            on_behalf_of: Vec::new(),
            hops: 0,
            left_at: None,
        });
        if last == person {
            seat.own = true;
        } else {
            seat.on_behalf_of.push(person.clone());
            seat.hops = seat.hops.max(u32::try_from(way.len() - 1).unwrap_or(MAX_HOPS));
        }
    }
    Ok(seats.into_values().collect())
}

/// "Rosa", "Rosa on behalf of Mona", "Rosa, also on behalf of Mona and Eve".
pub(super) fn called(tx: &Tx<'_>, seat: &Seat) -> Result<String, Problem> {
    let name = name(tx, &seat.person)?;
    if seat.on_behalf_of.is_empty() {
        return Ok(name);
    }
    let others = names(tx, &seat.on_behalf_of)?;
    Ok(if seat.own {
        format!("{name}, also on behalf of {others}")
    } else {
        format!("{name} on behalf of {others}")
    })
}

/// How somebody is called.
pub(super) fn name(tx: &Tx<'_>, person: &PersonId) -> Result<String, Problem> {
    Ok(person_with(tx, person)?.map_or_else(|| person.to_string(), |p| p.display_name))
}

/// "Mona", "Mona and Eve", "Mona, Eve and Otto".
pub(super) fn names<'a>(tx: &Tx<'_>, people: impl IntoIterator<Item = &'a PersonId>) -> Result<String, Problem> {
    let all = people.into_iter().map(|p| name(tx, p)).collect::<Result<Vec<_>, _>>()?;
    Ok(match all.as_slice() {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    })
}
