//! Events from outside that runs wait for.
//!
//! # Invariants
//! - An event reaches every run that waits for it and starts every workflow whose active version has it for a
//!   trigger; one that nobody takes is kept for a day, for the first run that asks for it.
//! - A workflow that cannot be started with what an event brings keeps no other from it, and is told of.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Beginning, Run, ops, store};
use crate::base::access::Principal;
use crate::base::id::{RunId, WorkflowId};
use crate::base::problem::Problem;
use crate::base::template;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::timekeeping::ops::is_held;
use crate::features::workflow::definitions::{self, Trigger, WebhookWaitConfig, Workflow};
use crate::features::workflow::engine::{Event, Wait};
use crate::platform::store::Tx;

/// How long an event is kept that nobody waits for.
const KEPT: Duration = Duration::from_secs(86_400);
/// Runs that one event reaches at most.
const MAX_RUNS: u32 = 200;
/// Workflows that one event starts at most.
const MAX_STARTS: u32 = 50;
/// The longest name and key.
const MAX_CHARS: usize = 200;

/// Since when events are kept: by a clock in doubt none is old.
fn kept_since(tx: &Tx<'_>) -> Result<Timestamp, Problem> {
    Ok(if is_held(tx)? { Timestamp::from_millis(i64::MIN) } else { tx.now().minus(KEPT) })
}

/// Begins to wait, unless the event is there already.
pub(super) fn wait(tx: &Tx<'_>, run: &Run, visit: u32, config: &WebhookWaitConfig) -> Result<Event, Problem> {
    check(&config.event, &config.key)?;
    if let Some(payload) = store::take_signal(tx, &config.event, &config.key, kept_since(tx)?)? {
        return Ok(super::effects::done(visit, payload));
    }
    store::insert_signal_wait(tx, &run.id, visit, &config.event, &config.key)?;
    let wait = Wait::Signal { event: config.event.clone(), key: config.key.clone() };
    Ok(Event::Waits { visit, wait })
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Delivered {
    /// Runs that waited for it.
    pub resumed: Vec<RunId>,
    /// Runs that it started.
    pub started: Vec<RunId>,
    /// Workflows that it could not start, with the reason.
    pub refused: Vec<(WorkflowId, String)>,
}

/// Hands an event to the runs that wait for it and to the workflows that it starts.
pub fn deliver(tx: &Tx<'_>, by: &Principal, event: &str, key: &str, payload: Value) -> Result<Delivered, Problem> {
    check(event, key)?;
    let mut delivered = Delivered::default();
    for (run, visit) in store::list_signal_waits(tx, event, key, MAX_RUNS)? {
        store::delete_signal_wait(tx, &run, visit, event, key)?;
        let told = Event::Finished { visit, outcome: "success".to_owned(), output: payload.clone() };
        ops::apply(tx, by, &run, told)?;
        delivered.resumed.push(run);
    }
    let values = json!({ "event": event, "key": key, "payload": payload });
    for workflow in definitions::store::list_triggered(tx, event, MAX_STARTS)? {
        match tx.savepoint(|tx| start(tx, by, &workflow, &values))? {
            Ok(run) => delivered.started.push(run),
            Err(problem) if problem.status() < 500 => delivered.refused.push((workflow.id, problem.to_string())),
            Err(problem) => return Err(problem),
        }
    }
    if delivered.resumed.is_empty() && delivered.started.is_empty() {
        store::insert_signal(tx, event, key, &payload, kept_since(tx)?)?;
    }
    let refused: Vec<Value> =
        delivered.refused.iter().map(|(id, why)| json!({ "workflowId": id, "reason": why })).collect();
    let entry = Entry {
        action: "run.event_received",
        entity: "event",
        entity_id: format!("{event}/{key}"),
        reason: None,
        prev: None,
        new: Some(json!({ "runs": delivered.resumed, "started": delivered.started, "refused": refused })),
    };
    audit::append(tx, by, entry)?;
    Ok(delivered)
}

/// Starts a workflow with what its trigger takes from an event.
fn start(tx: &Tx<'_>, by: &Principal, workflow: &Workflow, values: &Value) -> Result<RunId, Problem> {
    let Some(Trigger::Event(trigger)) = &workflow.definition.trigger else {
        return Err(Problem::internal(format!("{} has no trigger", workflow.id)));
    };
    let fill = |place: &str, value: &Value| {
        template::render_value(value, values).map_err(|e| Problem::field(format!("trigger.event.{place}"), e.to_string()))
    };
    let subject = match &trigger.subject {
        Some(text) => {
            let text = fill("subject", &json!(text))?;
            let text = text.as_str().unwrap_or_default();
            Some(ops::find_person(tx, text)?.ok_or_else(|| Problem::missing("person", text))?)
        }
        None => None,
    };
    let input = fill("input", &Value::Object(trigger.input.clone()))?;
    let input = input.as_object().cloned().unwrap_or_default();
    ops::start(tx, by, &workflow.id, Beginning { subject, input, mock: false }).map(|run| run.id)
}

fn check(event: &str, key: &str) -> Result<(), Problem> {
    for (field, text) in [("event", event), ("key", key)] {
        if text.trim().is_empty() || text.chars().count() > MAX_CHARS {
            return Err(Problem::field(field, format!("expected 1 to {MAX_CHARS} characters")));
        }
    }
    Ok(())
}
