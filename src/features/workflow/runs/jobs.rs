//! `advance-run` carries a run to its next wait or end; `stuck-run-recovery` fails stuck ones.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{RunStatus, effects, ops, store};
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::{ConnectorId, PersonId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::features::connectors::{self, CallAnswer, CallFailure, Connectors};
use crate::features::settings::{self, STUCK_RUN_TIMEOUT, Started};
use crate::features::workflow::definitions::{self, Action, ConnectorConfig};
use crate::features::workflow::engine::{Event, Position, StepError, Wait};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Tx;

/// Runs failed in one transaction.
const PAGE: u32 = 100;

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
}

/// Carries a run on.
#[derive(Debug)]
pub struct AdvanceRun {
    connectors: Arc<dyn Calls>,
    calling: Arc<Mutex<BTreeSet<RunId>>>,
}

impl AdvanceRun {
    /// Calls through `connectors`.
    pub fn new(connectors: Arc<dyn Calls>) -> Self {
        Self { connectors, calling: Arc::default() }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    run_id: RunId,
}

impl JobHandler for AdvanceRun {
    fn name(&self) -> &'static str {
        names::ADVANCE_RUN
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let Payload { run_id } = serde_json::from_value(payload)
                .map_err(|e| Problem::refused(format!("payload: {e}; expected {{\"runId\": \"run_…\"}}")))?;
            let wanted = run_id.clone();
            let pending = cx.store().read(move |tx| pending_call(tx, &wanted)).await?;
            let by = Principal::system("advance-run");
            match pending {
                None => cx.complete(move |tx| go_on(tx, &by, &run_id)).await,
                Some(pending) => self.call(cx, by, run_id, pending).await,
            }
        })
    }
}

/// How long a second job of a run waits while the first one calls out.
const BUSY: Duration = Duration::from_secs(2);

impl AdvanceRun {
    /// Calls the connected system and applies its answer. One call of a run is made at a time: this
    /// process owns the data directory, so a set in memory is enough, and it is empty after a crash.
    async fn call(&self, cx: &JobCx, by: Principal, run: RunId, pending: Pending) -> Result<(), Problem> {
        let Some(_turn) = Turn::take(&self.calling, &run) else {
            return cx.snooze(cx.store().clock().now().plus(BUSY)).await;
        };
        // The same for every try: a try whose answer was lost must not act twice.
        let key = format!("{run}/{}", pending.at.visit);
        let visit = pending.at.visit;
        let event = match pending.call {
            Err(error) => Event::Failed { visit, retryable: false, error },
            Ok((connector, config)) => {
                match self.connectors.call(&connector, &config.command, &config.params, &key).await {
                    Ok(answer) => Event::Finished { visit, outcome: "success".to_owned(), output: answer.output },
                    Err(failure) => Event::Failed {
                        visit,
                        retryable: failure.retryable,
                        error: StepError { message: failure.message, code: failure.code },
                    },
                }
            }
        };
        cx.complete(move |tx| ops::apply_call(tx, &by, &run, &pending.at, &event)).await
    }
}

/// The right to call out for a run, given back when dropped.
struct Turn {
    calling: Arc<Mutex<BTreeSet<RunId>>>,
    run: RunId,
}

impl Turn {
    fn take(calling: &Arc<Mutex<BTreeSet<RunId>>>, run: &RunId) -> Option<Self> {
        let fresh = calling.lock().unwrap_or_else(PoisonError::into_inner).insert(run.clone());
        fresh.then(|| Self { calling: Arc::clone(calling), run: run.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.calling.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

/// A connector call that a run waits for, or why it cannot be made.
struct Pending {
    at: Position,
    call: Result<(ConnectorId, ConnectorConfig), StepError>,
}

fn pending_call(tx: &Tx<'_>, id: &RunId) -> Result<Option<Pending>, Problem> {
    let run = store::get_run(tx, id)?;
    let Some(at) = run.state.at.clone().filter(|at| at.wait == Some(Wait::Effect)) else { return Ok(None) };
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let config = match ops::rendered(tx, &run, &workflow.definition)? {
        Some(Ok(Action::Connector(config))) => config,
        Some(Err(error)) => return Ok(Some(Pending { at, call: Err(error) })),
        Some(Ok(_)) | None => return Ok(None),
    };
    let found = match config.connector.parse::<ConnectorId>() {
        Ok(id) => connectors::store::find_connector(tx, &id)?,
        Err(_) => connectors::store::find_by_name(tx, &config.connector)?,
    };
    let call = found.map(|c| (c.id, config.clone())).ok_or_else(|| StepError {
        message: format!("There is no connector {}.", config.connector),
        code: "unknown_connector".to_owned(),
    });
    Ok(Some(Pending { at, call }))
}

/// Looks whether what the run waits for has come.
pub(in crate::features::workflow) fn go_on(tx: &Tx<'_>, by: &Principal, id: &RunId) -> Result<(), Problem> {
    let run = store::get_run(tx, id)?;
    if matches!(run.status, RunStatus::Failed | RunStatus::Cancelled) {
        return effects::take_back_late(tx, by, run);
    }
    let Some(at) = run.state.at.clone() else { return Ok(()) };
    let event = match &at.wait {
        None => Some(Event::GoOn),
        Some(Wait::Timer { .. } | Wait::Retry { .. }) => Some(Event::Tick),
        Some(Wait::Document { document_type, person }) => {
            effects::document_found(tx, at.visit, &PersonId::from_stored(person.clone()), document_type)?
        }
        Some(Wait::Assignment { id }) => effects::assignment_settled(tx, at.visit, id)?,
        Some(Wait::Approval { .. } | Wait::Effect) => None,
    };
    match event {
        Some(event) => ops::apply(tx, by, id, event).map(drop),
        None => Ok(()),
    }
}

/// Stuck runs that could not be failed.
#[derive(Default)]
struct Refused {
    count: usize,
    first: Option<(RunId, Problem)>,
}

impl Refused {
    fn add(&mut self, found: Vec<(RunId, Problem)>) {
        for (run, problem) in found {
            tracing::error!(%run, ?problem, "a stuck run could not be failed");
            self.count += 1;
            self.first.get_or_insert((run, problem));
        }
    }

    /// The job fails when any is left, so that somebody looks.
    fn outcome(self) -> Result<(), Problem> {
        let Some((run, problem)) = self.first else { return Ok(()) };
        Err(Problem::refused(format!(
            "{} stuck {} could not be failed; the first is {run}: {problem} The log names each of them. Cancel them, \
             or tell your administrator.",
            self.count,
            if self.count == 1 { "run" } else { "runs" },
        )))
    }
}

/// Deals with runs that made no progress for longer than the timeout in force.
#[derive(Debug)]
pub struct StuckRunRecovery {
    /// `STUCK_RUN_TIMEOUT_MINUTES`; a saved setting wins.
    pub timeout: Started<u32>,
}

impl JobHandler for StuckRunRecovery {
    fn name(&self) -> &'static str {
        names::STUCK_RUN_RECOVERY
    }

    fn schedule(&self) -> Option<Schedule> {
        Some(Schedule::utc("*/15 * * * *").expect("a constant schedule"))
    }

    fn run<'a>(&'a self, cx: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async move {
            let mut after = None;
            let mut refused = Refused::default();
            loop {
                let (started, cursor) = (self.timeout.clone(), after.take());
                let page = cx
                    .page(move |tx| {
                        let timeout = settings::ops::number(tx, STUCK_RUN_TIMEOUT, &started)?;
                        ops::fail_stuck(tx, timeout.value, cursor.as_ref(), PAGE)
                    })
                    .await?;
                refused.add(page.refused);
                after = page.next;
                if after.is_none() {
                    return refused.outcome();
                }
                if cx.stopping() {
                    return Err(Problem::unavailable("Tenure is shutting down.", 5));
                }
            }
        })
    }
}

