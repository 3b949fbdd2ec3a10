//! Who can do a task.

use serde_json::Value;

use crate::base::access::{Permission, SystemRole};
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::identity::accounts::store::{list_able, people_with_role};
use crate::features::identity::people::store::{get_person, group_members};
use crate::features::workflow::definitions::{Approver, expression};
use crate::features::workflow::engine;
use crate::features::workflow::runs::Run;
use crate::features::workflow::runs::ops::{self as runs, find_person, person_of};
use crate::platform::store::Tx;

/// The people whom a step names and who can do a task, each once.
pub(super) fn of(tx: &Tx<'_>, run: &Run, visit: u32, named: &[Approver]) -> Result<Vec<PersonId>, Problem> {
    let mut people = Vec::new();
    for one in named {
        match one {
            Approver::Person(text) => people.push(known(tx, text)?),
            Approver::Group(name) => people.extend(group_members(tx, name)?),
            Approver::SystemRole(role) => people.extend(people_with_role(tx, *role)?),
            Approver::ManagerOf(who) => people.extend(get_person(tx, &person_of(run, *who)?)?.manager_id),
            Approver::Expression(text) => people.extend(computed(tx, run, visit, text)?),
        }
    }
    people.sort();
    people.dedup();
    able(tx, &people)
}

/// Those of these people who can do tasks, by id: one query, however many they are.
fn able(tx: &Tx<'_>, people: &[PersonId]) -> Result<Vec<PersonId>, Problem> {
    let roles: Vec<SystemRole> = SystemRole::ALL.into_iter().filter(|r| r.allows(Permission::TaskWork)).collect();
    list_able(tx, people, &roles)
}

/// Whether somebody is active and has a sign-in that may do tasks.
pub(super) fn is_able(tx: &Tx<'_>, person: &PersonId) -> Result<bool, Problem> {
    Ok(!able(tx, std::slice::from_ref(person))?.is_empty())
}

fn known(tx: &Tx<'_>, text: &str) -> Result<PersonId, Problem> {
    find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))
}

/// The people that an expression names, by id or address.
fn computed(tx: &Tx<'_>, run: &Run, visit: u32, text: &str) -> Result<Vec<PersonId>, Problem> {
    let values = engine::values_at(&run.state, visit, &runs::scope(tx, run)?);
    let fault = |why: String| Problem::refused(format!("The expression {text}: {why}."));
    let named = match expression::value(text, &values).map_err(|e| fault(e.to_string()))? {
        Value::Null => Vec::new(),
        Value::Array(all) => all,
        one => vec![one],
    };
    let mut people = Vec::with_capacity(named.len());
    for one in named {
        let Some(name) = one.as_str() else { return Err(fault(format!("got {one}; expected an id or an address"))) };
        people.push(known(tx, name)?);
    }
    Ok(people)
}
