//! Steps that change what is known of people.

use serde_json::json;

use super::effects::done;
use super::ops::{find_person, log, person_of};
use super::Run;
use crate::base::access::Principal;
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::connectors::{self, links};
use crate::features::identity::leavers;
use crate::features::identity::people::{self, NewPerson};
use crate::features::workflow::definitions::{IdentityLinkConfig, ProfileUpdateConfig, UserCreateConfig};
use crate::features::workflow::engine::Event;
use crate::platform::store::Tx;

/// Adds a person; somebody who has the address already is taken as they are.
pub(super) fn create(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &UserCreateConfig,
) -> Result<Event, Problem> {
    let new = NewPerson {
        display_name: config.display_name.clone(),
        email: config.email.clone(),
        manager_id: manager(tx, config.manager.as_deref())?,
        attributes: config.attributes.clone().into(),
    };
    let (id, created) = find_or_create(tx, by, new)?;
    for group in &config.groups {
        people::ops::set_member(tx, by, group, &id, true)?;
    }
    if config.becomes_subject {
        become_subject(tx, run, visit, &id)?;
    }
    Ok(done(visit, json!({ "personId": id, "created": created })))
}

/// The person with this address, added when nobody has it; whether they were.
pub(in crate::features::workflow) fn find_or_create(
    tx: &Tx<'_>,
    by: &Principal,
    new: NewPerson,
) -> Result<(PersonId, bool), Problem> {
    match people::store::find_by_email(tx, &new.email)? {
        Some(known) if !known.active => {
            Err(Problem::refused(format!("{} left; make them active before access is given.", new.email)))
        }
        Some(known) => Ok((known.id, false)),
        None => Ok((people::ops::create_person(tx, by, new)?.id, true)),
    }
}

/// From now on the run is about this person.
pub(in crate::features::workflow) fn become_subject(tx: &Tx<'_>, run: &mut Run, visit: u32, id: &PersonId) -> Result<(), Problem> {
    run.subject_id = Some(id.clone());
    log(tx, run, visit, "run.subject_changed", "The run is about somebody else now", &json!({ "personId": id }))
}

fn manager(tx: &Tx<'_>, text: Option<&str>) -> Result<Option<PersonId>, Problem> {
    let Some(text) = text.filter(|t| !t.trim().is_empty()) else { return Ok(None) };
    find_person(tx, text)?.map(Some).ok_or_else(|| Problem::missing("person", text))
}

/// Changes a profile and memberships.
pub(super) fn update(
    tx: &Tx<'_>,
    by: &Principal,
    run: &Run,
    visit: u32,
    config: &ProfileUpdateConfig,
) -> Result<Event, Problem> {
    let id = person_of(run, config.person)?;
    let known = people::store::get_person(tx, &id)?;
    let mut attributes = known.attributes.clone();
    if let Some(all) = attributes.as_object_mut() {
        for (name, value) in &config.attributes {
            if value.is_null() {
                all.remove(name);
            } else {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    let change = people::ops::PersonChange {
        display_name: config.display_name.clone(),
        email: None,
        manager_id: manager(tx, config.manager.as_deref())?.map(Some),
        attributes: Some(attributes),
        active: config.active.filter(|active| *active),
    };
    people::ops::change_person(tx, by, &id, change)?;
    let mut output = json!({ "personId": id });
    for (groups, member) in [(&config.join_groups, true), (&config.leave_groups, false)] {
        for group in groups {
            people::ops::set_member(tx, by, group, &id, member)?;
        }
    }
    if config.active == Some(false) {
        let reason = format!("closed by the run {}", run.id);
        let leaving = leavers::Leaving { run: Some(run.id.clone()), ..leavers::Leaving::because(reason) };
        let held = matches!(leavers::ops::leave(tx, by, &id, leaving)?, leavers::Left::Held(_));
        output["held"] = json!(held);
    }
    Ok(done(visit, output))
}

/// Ties a person to their account in a connected system.
pub(super) fn link(
    tx: &Tx<'_>,
    by: &Principal,
    run: &Run,
    visit: u32,
    config: &IdentityLinkConfig,
) -> Result<Event, Problem> {
    let person = person_of(run, config.person)?;
    let connector = connectors::store::find_by_id_or_name(tx, &config.connector)?
        .ok_or_else(|| Problem::missing("connector", &config.connector))?;
    let changed = links::link(tx, by, &person, &connector.id, &config.external_id)?;
    Ok(done(visit, json!({ "personId": person, "externalId": config.external_id, "changed": changed })))
}
