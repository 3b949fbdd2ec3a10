//! What a step does outside of any transaction: calls of connected systems, HTTP calls, transforms.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::{Run, drive, ops, store};
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, RunId};
use crate::base::problem::Problem;
use crate::platform::script;
use crate::features::connectors::{self, CallAnswer, CallFailure, Connectors, PlainCall};
use crate::features::workflow::definitions::{self, Action, ConnectorConfig, TransformConfig};
use crate::features::workflow::engine::{self, Event, StepError, Token, Wait};
use crate::platform::store::Tx;

/// The future of a call.
pub type CallOut<'a> = Pin<Box<dyn Future<Output = Result<CallAnswer, CallFailure>> + Send + 'a>>;

/// The way out to connected systems, as runs need it.
pub trait Calls: std::fmt::Debug + Send + Sync + 'static {
    /// Runs `command`; `key` is the same for each try of the same intention.
    fn call<'a>(
        &'a self,
        connector: &'a ConnectorId,
        command: &'a str,
        params: &'a Value,
        key: &'a str,
    ) -> CallOut<'a>;

    /// What a step is told that only pretends to call; refused unless pretending is allowed.
    fn pretend(&self, _output: Map<String, Value>) -> Result<CallAnswer, CallFailure> {
        Err(CallFailure::lasting("mock_refused", "nothing is pretended here; take mock out of the step"))
    }

    /// Calls an address of a connected HTTP system, without credentials.
    fn http<'a>(&'a self, call: PlainCall, key: &'a str) -> CallOut<'a>;
}

impl Calls for Connectors {
    fn call<'a>(
        &'a self,
        connector: &'a ConnectorId,
        command: &'a str,
        params: &'a Value,
        key: &'a str,
    ) -> CallOut<'a> {
        Box::pin(Connectors::call(self, connector, command, params, key))
    }

    fn pretend(&self, output: Map<String, Value>) -> Result<CallAnswer, CallFailure> {
        Connectors::pretend(self, output)
    }

    fn http<'a>(&'a self, call: PlainCall, key: &'a str) -> CallOut<'a> {
        Box::pin(Connectors::call_plain(self, call, key))
    }
}

/// The right to call out for a step of a run, given back when dropped. One call of a step is made at a
/// time: this process owns the data directory, so a set in memory is enough, and it is empty after a crash.
pub(super) struct Turn {
    calling: Calling,
    place: (RunId, u32),
}

/// The steps for which somebody calls out.
pub(super) type Calling = Arc<Mutex<BTreeSet<(RunId, u32)>>>;

impl Turn {
    pub(super) fn take(calling: &Calling, run: &RunId, visit: u32) -> Option<Self> {
        let place = (run.clone(), visit);
        let fresh = calling.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone());
        fresh.then(|| Self { calling: Arc::clone(calling), place })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.calling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.place);
    }
}

/// Something that a run waits for and that is done outside of a transaction.
pub(super) struct Pending {
    pub(super) at: Token,
    work: Work,
}

enum Work {
    Connector { id: ConnectorId, command: String, params: Value },
    Http(PlainCall),
    Pretended(Map<String, Value>),
    Transform { config: TransformConfig, input: Value },
    /// It cannot be done.
    Refused(StepError),
}

/// What of a run is to be done outside of a transaction, in the order of its steps.
pub(super) fn pending(tx: &Tx<'_>, id: &RunId) -> Result<Vec<Pending>, Problem> {
    let run = store::get_run(tx, id)?;
    let waiting: Vec<Token> = run.state.waits().filter(|(_, w)| **w == Wait::Effect).map(|(t, _)| t.clone()).collect();
    if waiting.is_empty() {
        return Ok(Vec::new());
    }
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let mut found = Vec::new();
    for at in waiting {
        let work = match ops::rendered(tx, &run, at.visit, &workflow.definition)? {
            Some(Ok(action)) => work_of(tx, &run, &at, action)?,
            Some(Err(error)) => Some(Work::Refused(error)),
            None => None,
        };
        found.extend(work.map(|work| Pending { at, work }));
    }
    Ok(found)
}

fn work_of(tx: &Tx<'_>, run: &Run, at: &Token, action: Action) -> Result<Option<Work>, Problem> {
    Ok(Some(match action {
        Action::Connector(ConnectorConfig { mock: Some(output), .. }) => Work::Pretended(output),
        Action::Connector(_) | Action::Http(_) if run.mock => Work::Pretended(Map::new()),
        Action::Connector(config) => match connectors::store::find_by_id_or_name(tx, &config.connector)? {
            Some(found) => Work::Connector { id: found.id, command: config.command, params: config.params },
            None => {
                let message = format!("There is no connector {}.", config.connector);
                Work::Refused(StepError::new("unknown_connector", message))
            }
        },
        Action::Http(config) => Work::Http(PlainCall {
            method: config.method,
            url: config.url,
            headers: config.headers,
            body: config.body,
        }),
        Action::Transform(config) => {
            let input = engine::values_at(&run.state, at.visit, &ops::scope(tx, run)?);
            Work::Transform { config, input }
        }
        _ => return Ok(None),
    }))
}

impl Pending {
    /// Does it; answers what the engine is to be told.
    pub(super) async fn perform(self, calls: &dyn Calls, run: &RunId) -> (Token, Event) {
        let visit = self.at.visit;
        // The same for every try: a try whose answer was lost must not act twice.
        let key = format!("{run}/{visit}");
        let event = match self.work {
            Work::Refused(error) => Event::Failed { visit, retryable: false, error },
            Work::Connector { id, command, params } => told(visit, calls.call(&id, &command, &params, &key).await),
            Work::Pretended(output) => told(visit, calls.pretend(output)),
            Work::Http(call) => told(visit, calls.http(call, &key).await),
            Work::Transform { config, input } => match compute(config, input).await {
                Ok(values) => Event::Computed { visit, values },
                Err(error) => Event::Failed { visit, retryable: false, error },
            },
        };
        (self.at, event)
    }
}

fn told(visit: u32, answer: Result<CallAnswer, CallFailure>) -> Event {
    match answer {
        Ok(answer) => Event::Finished { visit, outcome: "success".to_owned(), output: answer.output },
        Err(failure) => Event::Failed {
            visit,
            retryable: failure.retryable,
            error: StepError { message: failure.message, code: failure.code },
        },
    }
}

/// The variables that a script gives.
async fn compute(config: TransformConfig, input: Value) -> Result<Map<String, Value>, StepError> {
    let fault = |message: String| StepError::new("script", message);
    let TransformConfig { script, outputs } = config;
    let result = tokio::task::spawn_blocking(move || script::run(&script, &input, script::LIMITS))
        .await
        .map_err(|_| fault("script: it could not be run".to_owned()))?
        .map_err(|e| fault(format!("script: {e}")))?;
    let Value::Object(values) = result else {
        return Err(fault("script: expected it to return an object with the outputs".to_owned()));
    };
    match values.keys().find(|name| !outputs.contains(name)) {
        Some(name) => Err(fault(format!("script: it returned {name}; the outputs are {}", outputs.join(", ")))),
        None => Ok(values),
    }
}

/// Applies the outcome of work that was done outside, unless the run has left the place it was done for.
pub(super) fn apply(tx: &Tx<'_>, by: &Principal, id: &RunId, at: &Token, event: &Event) -> Result<(), Problem> {
    let mut run = store::get_run(tx, id)?;
    if run.status.is_over() {
        return note_late(tx, by, run, at, event);
    }
    if run.state.token(at.visit) != Some(at) {
        return Ok(());
    }
    if !matches!(event, Event::Computed { .. }) {
        let (kind, text, outcome) = match event {
            Event::Failed { error, .. } => ("effect.failed", error.message.clone(), "failed"),
            _ => ("effect.completed", "The connected system answered".to_owned(), "done"),
        };
        let data = json!({ "visit": at.visit, "attempt": at.attempt });
        ops::log(tx, &mut run, at.visit, kind, &text, &data)?;
        let new = json!({ "step": at.step, "visit": at.visit, "attempt": at.attempt, "outcome": outcome });
        ops::record(tx, by, "connector.called", &run, None, new)?;
    }
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    drive::drive(tx, by, run, &workflow.definition, event.clone()).map(drop)
}

/// Writes down the outcome of a call whose run ended meanwhile; nothing follows from it.
fn note_late(tx: &Tx<'_>, by: &Principal, mut run: Run, at: &Token, event: &Event) -> Result<(), Problem> {
    if matches!(event, Event::Computed { .. }) {
        return Ok(());
    }
    let (text, outcome) = match event {
        Event::Failed { error, .. } => (error.message.as_str(), "failed"),
        _ => ("The connected system answered after the run had ended", "done"),
    };
    let data = json!({ "visit": at.visit, "attempt": at.attempt, "outcome": outcome });
    ops::log_in(tx, &mut run, "effect.late", Some(&at.step), text, &data)?;
    let new = json!({ "step": at.step, "visit": at.visit, "attempt": at.attempt, "outcome": outcome, "late": true });
    ops::record(tx, by, "connector.called", &run, None, new)?;
    store::update_run(tx, &run)
}
