//! Ending what a leaver held, page by page.

use serde_json::Value;

use super::{Ended, store};
use crate::base::access::{Principal, SystemRole};
use crate::base::id::{LeaveId, PersonId, TypedId};
use crate::base::problem::Problem;
use crate::features::access::assignments::{self, EndReason};
use crate::features::identity::accounts::store::people_with_role;
use crate::features::identity::leavers::{self, Leave, LeaveState};
use crate::features::identity::people;
use crate::features::notifications::{self, Message};
use crate::features::workflow::{approvals, runs, tasks};
use crate::platform::store::Tx;

/// Assignments that one transaction revokes.
const ASSIGNMENTS: u32 = 50;
/// Requests, approvals and tasks that one transaction deals with.
const WORK: u32 = 20;
/// Failures that are kept in words.
const MAX_FAILED: usize = 20;

/// What comes next: the kind of thing, and the id after which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Assignments.
    Assignments(String),
    /// Own requests.
    Requests(u32),
    /// Approvals.
    Approvals(String),
    /// Tasks.
    Tasks(String),
    /// Telling whoever has to know.
    Telling,
}

impl Next {
    /// The first page.
    pub fn first() -> Self {
        Self::Assignments(String::new())
    }
}

/// Does one page; what comes next, nothing when all is done. A thing that cannot be ended keeps no other
/// from it: it is written down and told.
pub fn end_page(tx: &Tx<'_>, by: &Principal, id: &LeaveId, next: &Next) -> Result<Option<Next>, Problem> {
    let leave = leavers::store::get_leave(tx, id)?;
    if leave.state != LeaveState::Open {
        return Ok(None);
    }
    let mut ended = ended_of(&leave.result);
    let person = &leave.person.id;
    let next = match next {
        Next::Assignments(after) => {
            let page = store::live_assignments(tx, person, leave.began_at.unwrap_or(leave.created_at), after, ASSIGNMENTS)?;
            for one in &page {
                let reason = EndReason::Revoked(format!("the person left: {}", leave.reason));
                let done = tx.savepoint(|tx| assignments::ops::revoke(tx, by, one, reason.clone()))?;
                if noted(&mut ended, one.as_str(), done).is_some() {
                    ended.assignments += 1;
                }
            }
            match page.last().filter(|_| page.len() == ASSIGNMENTS as usize) {
                Some(last) => Next::Assignments(last.to_string()),
                None => Next::Requests(0),
            }
        }
        Next::Requests(passed) => {
            // What could not be cancelled stays in the list and is passed over.
            let page = runs::store::list_own_open(tx, person, leave.run_id.as_ref(), WORK.saturating_add(*passed))?;
            let mut stuck = *passed;
            let todo: Vec<_> = page.iter().skip(*passed as usize).collect();
            for one in &todo {
                let done = tx.savepoint(|tx| runs::ops::cancel(tx, by, one, "whoever asked for it left"))?;
                match noted(&mut ended, one.as_str(), done) {
                    Some(_) => ended.requests += 1,
                    None => stuck += 1,
                }
            }
            if todo.len() == WORK as usize { Next::Requests(stuck) } else { Next::Approvals(String::new()) }
        }
        Next::Approvals(after) => {
            let manager = people::store::get_person(tx, person)?.manager_id;
            let page = store::owed_approvals(tx, person, after, WORK)?;
            for one in &page {
                let done = tx.savepoint(|tx| approvals::leaving::hand_over(tx, by, one, person, manager.as_ref()))?;
                if let Some(handed) = noted(&mut ended, one.as_str(), done) {
                    ended.count(handed);
                }
            }
            match page.last().filter(|_| page.len() == WORK as usize) {
                Some(last) => Next::Approvals(last.to_string()),
                None => Next::Tasks(String::new()),
            }
        }
        Next::Tasks(after) => {
            let manager = people::store::get_person(tx, person)?.manager_id;
            let page = store::owed_tasks(tx, person, after, WORK)?;
            for one in &page {
                let done = tx.savepoint(|tx| tasks::leaving::hand_over(tx, by, one, person, manager.as_ref()))?;
                if let Some(handed) = noted(&mut ended, one.as_str(), done) {
                    ended.count(handed);
                }
            }
            match page.last().filter(|_| page.len() == WORK as usize) {
                Some(last) => Next::Tasks(last.to_string()),
                None => Next::Telling,
            }
        }
        Next::Telling => {
            tell(tx, &leave, &ended)?;
            save(tx, &leave, &ended, true)?;
            return Ok(None);
        }
    };
    save(tx, &leave, &ended, false)?;
    Ok(Some(next))
}

fn ended_of(result: &Value) -> Ended {
    // What was stored before this job began has other fields beside these.
    serde_json::from_value(result.clone()).unwrap_or_default()
}

fn save(tx: &Tx<'_>, leave: &Leave, ended: &Ended, done: bool) -> Result<(), Problem> {
    let mut result = leave.result.clone();
    let Value::Object(fields) = serde_json::to_value(ended).map_err(Problem::internal)? else { return Ok(()) };
    if let Some(all) = result.as_object_mut() {
        all.extend(fields);
    }
    leavers::store::update_result(tx, &leave.id, &result, done)
}

/// The value of what went well; a failure is written down.
fn noted<T>(ended: &mut Ended, id: &str, done: Result<T, Problem>) -> Option<T> {
    match done {
        Ok(value) => Some(value),
        Err(problem) => {
            tracing::warn!(id, ?problem, "what a leaver held could not be ended");
            if ended.failed.len() < MAX_FAILED {
                ended.failed.push(format!("{id}: {problem}"));
            }
            None
        }
    }
}

/// The manager learns what came to them, administrators what is left over.
fn tell(tx: &Tx<'_>, leave: &Leave, ended: &Ended) -> Result<(), Problem> {
    let person = people::store::get_person(tx, &leave.person.id)?;
    let reports = people::store::reports(tx, &person.id, 200)?.len();
    let link = Some(format!("/people/{}", person.id));
    let body = format!(
        "{} access assignments end, {} requests were cancelled, {} approvals and tasks are with others now.",
        ended.assignments, ended.requests, ended.handed_over
    );
    if let Some(manager) = active(tx, person.manager_id.as_ref())? {
        let subject = format!("{} has left", person.display_name);
        let message = Message { subject, body: body.clone(), link: link.clone(), kind: "leaver" };
        notifications::ops::notify(tx, &[manager], message)?;
    }
    if ended.left_over == 0 && ended.failed.is_empty() && reports == 0 {
        return Ok(());
    }
    let mut left = vec![body];
    if ended.left_over > 0 {
        left.push(format!("{} approvals and tasks have nobody: reassign them.", ended.left_over));
    }
    if reports > 0 {
        left.push(format!("{reports} people still report to them: give them another manager."));
    }
    left.extend(ended.failed.iter().map(|f| format!("Not done: {f}")));
    let subject = format!("{} has left: something is to be done", person.display_name);
    let message = Message { subject, body: left.join("\n"), link, kind: "leaver" };
    notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message)
}

fn active(tx: &Tx<'_>, person: Option<&PersonId>) -> Result<Option<PersonId>, Problem> {
    let Some(id) = person else { return Ok(None) };
    Ok(people::store::find_person(tx, id)?.filter(|p| p.active).map(|p| p.id))
}

/// Tells administrators how many people wait for their decision, by one source.
pub fn tell_held(tx: &Tx<'_>, source: &str) -> Result<(), Problem> {
    let count = leavers::store::count_held(tx, source)?;
    let newest = leavers::store::list_leaves(tx, Some(LeaveState::Held), None, None, 200)?;
    let Some(leave) = newest.into_iter().find(|l| l.source == source) else { return Ok(()) };
    let (people, they) = if count == 1 { ("person", "it is") } else { ("people", "they are") };
    let message = Message {
        subject: format!("{count} {people} would leave: decide"),
        body: format!(
            "{} says that {count} {people} left. Nobody of them lost anything yet: {they} held. {}",
            leave.source_name,
            leave.held_because.unwrap_or_default()
        ),
        link: Some("/people?tab=leavers".to_owned()),
        kind: "leaver",
    };
    notifications::ops::notify(tx, &people_with_role(tx, SystemRole::Admin)?, message)
}
