//! What becomes of the tasks of somebody who leaves.

use serde_json::json;

use super::ops::{record, tell, without};
use super::{Task, TaskKind, TaskState, candidates, store};
use crate::base::access::{Principal, SystemRole};
use crate::base::id::{PersonId, TaskId};
use crate::base::problem::Problem;
use crate::features::identity::accounts::store::people_with_role;
use crate::features::identity::people::store::get_person;
use crate::features::workflow::Handed;
use crate::platform::store::Tx;

/// Takes a task from somebody who leaves: the others who can do it have it, or their manager does. When
/// nobody can, an administrator is told and gives it to somebody.
pub fn hand_over(
    tx: &Tx<'_>,
    by: &Principal,
    id: &TaskId,
    leaver: &PersonId,
    manager: Option<&PersonId>,
) -> Result<Handed, Problem> {
    let task = store::get_task(tx, id)?;
    let has = task.assignee_id.as_ref() == Some(leaver);
    if task.state.is_over() || !(has || task.candidates.contains(leaver)) {
        return Ok(Handed::NotTheirs);
    }
    let name = get_person(tx, leaver)?.display_name;
    if task.kind == TaskKind::Consent {
        return to_nobody(tx, &task, &format!("{name} left and cannot answer any more; skip the step or cancel the run."));
    }
    let mut others = Vec::new();
    for person in without(&task.candidates, leaver) {
        if candidates::is_able(tx, &person)? {
            others.push(person);
        }
    }
    let taken_by_another = task.assignee_id.is_some() && !has;
    if !others.is_empty() || taken_by_another {
        store::remove_candidate(tx, id, leaver)?;
        if has {
            let alone = (others.len() == 1).then(|| others[0].clone());
            let state = if alone.is_some() { TaskState::Assigned } else { TaskState::Open };
            moved(tx, by, &task, state, alone.as_ref())?;
            tell(tx, &task, &others, format!("Free again: {}", task.title), format!("{name} left."))?;
        }
        return Ok(Handed::ToOthers);
    }
    match manager {
        Some(manager) if candidates::is_able(tx, manager)? => {
            store::remove_candidate(tx, id, leaver)?;
            store::add_candidate(tx, id, manager)?;
            moved(tx, by, &task, TaskState::Assigned, Some(manager))?;
            let body = format!("{name} left; it comes to you as their manager.\n\n{}", task.description);
            tell(tx, &task, std::slice::from_ref(manager), format!("A task for you: {}", task.title), body)?;
            Ok(Handed::ToSuccessor)
        }
        _ => to_nobody(tx, &task, &format!("{name} left and nobody else can do it; give it to somebody.")),
    }
}

fn moved(tx: &Tx<'_>, by: &Principal, task: &Task, state: TaskState, to: Option<&PersonId>) -> Result<(), Problem> {
    if !store::update_task(tx, &task.id, state, to, None)? {
        return Err(Problem::Conflict("It is over already.".to_owned()));
    }
    let new = json!({ "state": state, "assignee": to });
    record(tx, by, "task.assigned", task, Some("whoever had it left".to_owned()), Some(task), new)
}

fn to_nobody(tx: &Tx<'_>, task: &Task, why: &str) -> Result<Handed, Problem> {
    let admins = people_with_role(tx, SystemRole::Admin)?;
    tell(tx, task, &admins, format!("Nobody has it: {}", task.title), why.to_owned())?;
    Ok(Handed::ToNobody)
}
