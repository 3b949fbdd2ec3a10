//! Events from outside that runs wait for.
//!
//! # Invariants
//! - An event reaches every run that waits for it; one that nobody waits for is kept for a day and taken by
//!   the first run that asks for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Run, ops, store};
use crate::base::access::Principal;
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::workflow::definitions::WebhookWaitConfig;
use crate::features::workflow::engine::{Event, Wait};
use crate::platform::store::Tx;

/// How long an event is kept that nobody waits for.
const KEPT: Duration = Duration::from_secs(86_400);
/// Runs that one event reaches at most.
const MAX_RUNS: u32 = 200;
/// The longest name and key.
const MAX_CHARS: usize = 200;

/// Begins to wait, unless the event is there already.
pub(super) fn wait(tx: &Tx<'_>, run: &Run, visit: u32, config: &WebhookWaitConfig) -> Result<Event, Problem> {
    check(&config.event, &config.key)?;
    if let Some(payload) = store::take_signal(tx, &config.event, &config.key, tx.now().minus(KEPT))? {
        return Ok(super::effects::done(visit, payload));
    }
    store::insert_signal_wait(tx, &run.id, visit, &config.event, &config.key)?;
    let wait = Wait::Signal { event: config.event.clone(), key: config.key.clone() };
    Ok(Event::Waits { visit, wait })
}

/// Hands an event to the runs that wait for it; answers how many there were.
pub fn deliver(tx: &Tx<'_>, by: &Principal, event: &str, key: &str, payload: Value) -> Result<usize, Problem> {
    check(event, key)?;
    let waiting = store::list_signal_waits(tx, event, key, MAX_RUNS)?;
    if waiting.is_empty() {
        store::insert_signal(tx, event, key, &payload, tx.now().minus(KEPT))?;
    }
    for (run, visit) in &waiting {
        store::delete_signal_wait(tx, run, *visit, event, key)?;
        let told = Event::Finished { visit: *visit, outcome: "success".to_owned(), output: payload.clone() };
        ops::apply(tx, by, run, told)?;
    }
    let runs: Vec<_> = waiting.iter().map(|(run, _)| run).collect();
    let entry = Entry {
        action: "run.event_received",
        entity: "event",
        entity_id: format!("{event}/{key}"),
        reason: None,
        prev: None,
        new: Some(json!({ "runs": runs })),
    };
    audit::append(tx, by, entry)?;
    Ok(waiting.len())
}

fn check(event: &str, key: &str) -> Result<(), Problem> {
    for (field, text) in [("event", event), ("key", key)] {
        if text.trim().is_empty() || text.chars().count() > MAX_CHARS {
            return Err(Problem::field(field, format!("expected 1 to {MAX_CHARS} characters")));
        }
    }
    Ok(())
}
