//! Opening tasks and consents, and what people do with them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Act, Comment, Refusal, Task, TaskKind, TaskState, candidates, store};
use crate::base::access::Principal;
use crate::base::id::{PersonId, TaskId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::people;
use crate::features::notifications::{self, Message};
use crate::features::workflow::definitions::{self, ConsentConfig, TaskConfig};
use crate::features::workflow::engine::{Event, Wait};
use crate::features::workflow::runs::ops::{self as runs, log, person_of};
use crate::features::workflow::runs::{Run, forms};
use crate::platform::store::Tx;

/// The longest reason and comment.
const MAX_TEXT: usize = 4_000;

/// Opens a task and tells those who can do it; fails when nobody can.
pub fn open(tx: &Tx<'_>, by: &Principal, run: &mut Run, visit: u32, config: &TaskConfig) -> Result<Event, Problem> {
    let able = candidates::of(tx, run, visit, &config.assignees)?;
    if able.is_empty() {
        return Err(Problem::refused(
            "Nobody can do it: everybody who is named is not active, has no sign-in, or may not do tasks. An \
             administrator has to name somebody else.",
        ));
    }
    let alone = (able.len() == 1).then(|| able[0].clone());
    let task = Task {
        title: config.title.clone(),
        description: config.description.clone(),
        form: config.form.clone(),
        outputs: config.outputs.clone(),
        state: if alone.is_some() { TaskState::Assigned } else { TaskState::Open },
        candidates: able,
        assignee_id: alone,
        due_at: config.due_hours.map(|h| tx.now().plus(Duration::from_secs(3600 * u64::from(h)))),
        ..blank(tx, run, visit, TaskKind::Task)?
    };
    store::insert_task(tx, &task)?;
    let subject = format!("A task for you: {}", task.title);
    tell(tx, &task, &task.candidates, subject, task.description.clone())?;
    opened(tx, by, run, &task, json!({ "candidates": task.candidates, "dueAt": task.due_at }))
}

/// Asks a person for their consent; fails when they have no way to answer.
pub fn ask_consent(
    tx: &Tx<'_>,
    by: &Principal,
    run: &mut Run,
    visit: u32,
    config: &ConsentConfig,
) -> Result<Event, Problem> {
    let person = person_of(run, config.person)?;
    if !candidates::is_able(tx, &person)? {
        let name = people::store::get_person(tx, &person)?.display_name;
        return Err(Problem::refused(format!(
            "Nobody can answer: {name} is not active, has no sign-in, or may not give consents."
        )));
    }
    let task = Task {
        title: config.title.clone(),
        description: config.text.clone(),
        state: TaskState::Assigned,
        candidates: vec![person.clone()],
        assignee_id: Some(person.clone()),
        ..blank(tx, run, visit, TaskKind::Consent)?
    };
    store::insert_task(tx, &task)?;
    let subject = format!("Your consent is needed: {}", task.title);
    tell(tx, &task, &task.candidates, subject, "Read the text, then agree to it or decline.".to_owned())?;
    opened(tx, by, run, &task, json!({ "person": person, "textSha256": hash(&task.description) }))
}

/// What tasks and consents have in common.
fn blank(tx: &Tx<'_>, run: &Run, visit: u32, kind: TaskKind) -> Result<Task, Problem> {
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let at = run.state.token(visit).map(|t| t.step.as_str()).unwrap_or_default();
    Ok(Task {
        id: tx.new_id(),
        kind,
        run_id: run.id.clone(),
        visit,
        step_name: workflow.definition.step(at).map(|s| s.name.clone()).unwrap_or_default(),
        title: String::new(),
        description: String::new(),
        form: Vec::new(),
        outputs: Vec::new(),
        state: TaskState::Open,
        subject_id: run.subject_id.clone(),
        requested_by: run.started_by.clone(),
        candidates: Vec::new(),
        assignee_id: None,
        hold_reason: None,
        created_at: tx.now(),
        due_at: None,
        outcome: None,
        given: None,
        reason: None,
        done_at: None,
        done_by: None,
    })
}

fn opened(tx: &Tx<'_>, by: &Principal, run: &mut Run, task: &Task, what: Value) -> Result<Event, Problem> {
    let (event, action) = match task.kind {
        TaskKind::Task => ("task.opened", "task.opened"),
        TaskKind::Consent => ("consent.asked", "consent.asked"),
    };
    log(tx, run, task.visit, event, &task.title, &json!({ "taskId": task.id, "candidates": task.candidates }))?;
    let mut new = json!({ "run": run.id, "title": task.title });
    merge(&mut new, what);
    record(tx, by, action, task, None, None, new)?;
    Ok(Event::Waits { visit: task.visit, wait: Wait::Task { id: task.id.to_string() } })
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(all), Value::Object(more)) = (into.as_object_mut(), more) {
        all.extend(more);
    }
}

/// The task, if the caller sees it and may do this with it now.
fn acting(tx: &Tx<'_>, by: &Principal, id: &TaskId, act: Act) -> Result<(Task, PersonId), Problem> {
    let task = store::get_task(tx, id)?;
    if !task.is_visible_to(by) {
        return Err(Problem::missing("task", id));
    }
    match task.why_not(by, act) {
        Some(Refusal::Forbidden(why)) => Err(Problem::Forbidden(why.to_owned())),
        Some(Refusal::Conflict(why)) => Err(Problem::Conflict(why.to_owned())),
        None => {
            let person = by.person.clone().ok_or_else(|| Problem::Forbidden("Only people do tasks.".to_owned()))?;
            Ok((task, person))
        }
    }
}

/// Takes a task that nobody has.
pub fn claim(tx: &Tx<'_>, by: &Principal, id: &TaskId) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Claim)?;
    let after = changed(tx, by, &task, "task.claimed", TaskState::Assigned, Some(&person), None)?;
    let others = without(&task.candidates, &person);
    tell(tx, &task, &others, format!("Taken: {}", task.title), format!("{} does it.", by.name))?;
    Ok(after)
}

/// Gives a task back to everybody who can do it.
pub fn release(tx: &Tx<'_>, by: &Principal, id: &TaskId) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Release)?;
    let after = changed(tx, by, &task, "task.released", TaskState::Open, None, None)?;
    let others = without(&task.candidates, &person);
    tell(tx, &task, &others, format!("Free again: {}", task.title), "Nobody has it any more; claim it.".to_owned())?;
    Ok(after)
}

/// Gives a task to somebody, who can do it from then on.
pub fn assign(
    tx: &Tx<'_>,
    by: &Principal,
    id: &TaskId,
    to: &PersonId,
    reason: Option<&str>,
) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Assign)?;
    let reason = text("reason", reason)?;
    if people::store::find_person(tx, to)?.is_none() {
        return Err(Problem::field("personId", format!("there is no person {to}")));
    }
    if !candidates::is_able(tx, to)? {
        return Err(Problem::field("personId", "expected somebody who is active and may do tasks"));
    }
    if task.assignee_id.as_ref() == Some(to) {
        return Err(Problem::Conflict("They have it already.".to_owned()));
    }
    store::add_candidate(tx, id, to)?;
    let after = changed(tx, by, &task, "task.assigned", TaskState::Assigned, Some(to), reason.as_deref())?;
    let given = format!("A task for you: {}", task.title);
    tell(tx, &task, &without(std::slice::from_ref(to), &person), given, task.description.clone())?;
    let gone: Vec<PersonId> = task.assignee_id.iter().filter(|a| **a != person).cloned().collect();
    tell(tx, &task, &gone, format!("Given to somebody else: {}", task.title), format!("{} decided so.", by.name))?;
    Ok(after)
}

/// Says that a task waits for something.
pub fn hold(tx: &Tx<'_>, by: &Principal, id: &TaskId, reason: &str) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Hold)?;
    let reason = text("reason", Some(reason))?.ok_or_else(|| Problem::field("reason", "expected what it waits for"))?;
    let after = changed(tx, by, &task, "task.held", TaskState::Held, task.assignee_id.as_ref(), Some(&reason))?;
    tell_involved(tx, &task, &person, format!("On hold: {}", task.title), reason)?;
    Ok(after)
}

/// Goes on with a task that was on hold.
pub fn resume(tx: &Tx<'_>, by: &Principal, id: &TaskId) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Resume)?;
    let after = changed(tx, by, &task, "task.resumed", TaskState::Assigned, task.assignee_id.as_ref(), None)?;
    tell_involved(tx, &task, &person, format!("Goes on: {}", task.title), "It is not on hold any more.".to_owned())?;
    Ok(after)
}

/// Writes about a task.
pub fn comment(tx: &Tx<'_>, by: &Principal, id: &TaskId, words: &str) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Comment)?;
    let words = text("text", Some(words))?.ok_or_else(|| Problem::field("text", "expected a comment"))?;
    let comment = Comment { id: tx.new_id(), person: person.clone(), at: tx.now(), text: words.clone() };
    store::insert_comment(tx, id, &comment)?;
    record(tx, by, "task.commented", &task, None, None, json!({ "comment": comment.id, "text": words }))?;
    tell_involved(tx, &task, &person, format!("{} wrote about: {}", by.name, task.title), words)?;
    Ok(task)
}

/// Finishes a task with what its form asks for, and carries its run on, in one transaction.
pub fn complete(tx: &Tx<'_>, by: &Principal, id: &TaskId, values: Map<String, Value>) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Complete)?;
    let values = forms::filled("values", &task.form, values)?;
    let outputs: Map<String, Value> =
        task.outputs.iter().filter_map(|name| Some((name.clone(), values.get(name)?.clone()))).collect();
    let given = Value::Object(values);
    if !store::finish(tx, id, "completed", &person, Some(&given), None)? {
        return Err(Problem::Conflict("It is over already.".to_owned()));
    }
    let new = json!({ "state": "done", "run": task.run_id, "values": given });
    record(tx, by, "task.completed", &task, None, Some(&task), new)?;
    tell_involved(tx, &task, &person, format!("Done: {}", task.title), format!("{} did it.", by.name))?;
    let event = Event::Answered { visit: task.visit, outcome: "success".to_owned(), output: given, values: outputs };
    runs::answer(tx, by, &task.run_id, event, |run| {
        let text = format!("{} did “{}”", by.name, task.title);
        log(tx, run, task.visit, "task.completed", &text, &json!({ "taskId": id, "completedBy": person }))
    })?;
    store::get_task(tx, id)
}

/// Agrees to the text of a consent or declines, and carries its run on, in one transaction.
pub fn answer(
    tx: &Tx<'_>,
    by: &Principal,
    id: &TaskId,
    agree: bool,
    reason: Option<&str>,
) -> Result<Task, Problem> {
    let (task, person) = acting(tx, by, id, Act::Answer)?;
    let reason = text("reason", reason)?;
    let (outcome, action, verb) = if agree {
        ("agreed", "consent.agreed", "agreed to")
    } else {
        ("declined", "consent.declined", "declined")
    };
    if !store::finish(tx, id, outcome, &person, None, reason.as_deref())? {
        return Err(Problem::Conflict("It is over already.".to_owned()));
    }
    let sha256 = hash(&task.description);
    let new = json!({ "state": "done", "run": task.run_id, "title": task.title, "answer": outcome, "textSha256": sha256 });
    record(tx, by, action, &task, reason.clone(), Some(&task), new)?;
    tell_involved(tx, &task, &person, format!("{}: {}", capital(outcome), task.title), format!("{} {verb} it.", by.name))?;
    let output = json!({ "taskId": id, "person": person, "textSha256": sha256, "answeredAt": tx.now(), "reason": reason });
    let event = Event::Finished { visit: task.visit, outcome: outcome.to_owned(), output: output.clone() };
    runs::answer(tx, by, &task.run_id, event, |run| {
        log(tx, run, task.visit, action, &format!("{} {verb} “{}”", by.name, task.title), &output)
    })?;
    store::get_task(tx, id)
}

/// Closes a task whose step is over without it.
pub fn withdraw(tx: &Tx<'_>, by: &Principal, id: &TaskId) -> Result<(), Problem> {
    if !store::cancel(tx, id)? {
        return Ok(());
    }
    let task = store::get_task(tx, id)?;
    record(tx, by, "task.cancelled", &task, None, None, json!({ "state": "cancelled", "run": task.run_id }))?;
    let told = task.assignee_id.clone().map_or_else(|| task.candidates.clone(), |one| vec![one]);
    let body = "The request went on without it; there is nothing left for you to do.".to_owned();
    tell(tx, &task, &told, format!("Not needed any more: {}", task.title), body)
}

/// Stores who has a task now, and writes it down.
fn changed(
    tx: &Tx<'_>,
    by: &Principal,
    task: &Task,
    action: &'static str,
    state: TaskState,
    assignee: Option<&PersonId>,
    reason: Option<&str>,
) -> Result<Task, Problem> {
    let held = reason.filter(|_| state == TaskState::Held);
    if !store::update_task(tx, &task.id, state, assignee, held)? {
        return Err(Problem::Conflict("It is over already.".to_owned()));
    }
    let new = json!({ "state": state, "assignee": assignee });
    record(tx, by, action, task, reason.map(str::to_owned), Some(task), new)?;
    store::get_task(tx, &task.id)
}

/// A text without blanks around it, if there is any.
fn text(field: &str, given: Option<&str>) -> Result<Option<String>, Problem> {
    let text = given.map(str::trim).filter(|t| !t.is_empty());
    if text.is_some_and(|t| t.chars().count() > MAX_TEXT) {
        return Err(Problem::field(field, format!("expected at most {MAX_TEXT} characters")));
    }
    Ok(text.map(str::to_owned))
}

pub(super) fn without(people: &[PersonId], one: &PersonId) -> Vec<PersonId> {
    people.iter().filter(|p| *p != one).cloned().collect()
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// SHA-256 of a text, in hexadecimal.
fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Tells whoever has a task, whoever asked for it and whoever wrote about it, but not who did this.
fn tell_involved(tx: &Tx<'_>, task: &Task, but: &PersonId, subject: String, body: String) -> Result<(), Problem> {
    let mut people: BTreeSet<PersonId> = task.assignee_id.iter().chain(&task.requested_by).cloned().collect();
    people.extend(store::list_comments(tx, &task.id, 100)?.into_iter().map(|c| c.person));
    people.remove(but);
    tell(tx, task, &people.into_iter().collect::<Vec<_>>(), subject, body)
}

pub(super) fn tell(tx: &Tx<'_>, task: &Task, to: &[PersonId], subject: String, body: String) -> Result<(), Problem> {
    let kind = task.kind.as_str();
    notifications::ops::notify(tx, to, Message { subject, body, link: Some(format!("/tasks?id={}", task.id)), kind })
}

pub(super) fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    task: &Task,
    reason: Option<String>,
    before: Option<&Task>,
    new: Value,
) -> Result<(), Problem> {
    let prev = before.map(|t| json!({ "state": t.state, "assignee": t.assignee_id }));
    audit::append(
        tx,
        by,
        Entry { action, entity: "task", entity_id: task.id.to_string(), reason, prev, new: Some(new) },
    )
}
