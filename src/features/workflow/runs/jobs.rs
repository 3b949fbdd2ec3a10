//! `advance-run` carries a run to its next wait or end; `stuck-run-recovery` fails stuck ones.

use serde::Deserialize;
use serde_json::Value;

use super::{effects, ops, store};
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::{ConnectorId, PersonId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::features::connectors::{self, Connectors};
use crate::features::settings::{self, STUCK_RUN_TIMEOUT, Started};
use crate::features::workflow::definitions::{self, Action, ConnectorConfig};
use crate::features::workflow::engine::{Event, Position, StepError, Wait};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Tx;

/// Runs failed in one transaction.
const PAGE: u32 = 100;

/// Carries a run on.
#[derive(Debug)]
pub struct AdvanceRun {
    /// Connected systems.
    pub connectors: Connectors,
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
            let call = cx.store().read(move |tx| pending_call(tx, &wanted)).await?;
            let by = Principal::system("advance-run");
            match call {
                None => cx.complete(move |tx| go_on(tx, &by, &run_id)).await,
                Some(call) => {
                    let key = format!("{run_id}/{}/{}", call.at.visit, call.at.attempt);
                    let answer =
                        self.connectors.call(&call.connector, &call.config.command, &call.config.params, &key).await;
                    let visit = call.at.visit;
                    let event = match answer {
                        Ok(answer) => {
                            Event::Finished { visit, outcome: "success".to_owned(), output: answer.output }
                        }
                        Err(failure) => Event::Failed {
                            visit,
                            retryable: failure.retryable,
                            error: StepError { message: failure.message, code: failure.code },
                        },
                    };
                    cx.complete(move |tx| ops::apply(tx, &by, &run_id, event.clone()).map(drop)).await
                }
            }
        })
    }
}

/// A connector call that a run waits for.
struct Call {
    at: Position,
    connector: ConnectorId,
    config: ConnectorConfig,
}

fn pending_call(tx: &Tx<'_>, id: &RunId) -> Result<Option<Call>, Problem> {
    let run = store::get_run(tx, id)?;
    let Some(at) = run.state.at.clone().filter(|at| at.wait == Some(Wait::Effect)) else { return Ok(None) };
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let Some(rendered) = ops::rendered(tx, &run, &workflow.definition)? else { return Ok(None) };
    let Action::Connector(config) = rendered else { return Ok(None) };
    let connector = if config.connector.parse::<ConnectorId>().is_ok() {
        ConnectorId::from_stored(config.connector.clone())
    } else {
        connectors::store::find_by_name(tx, &config.connector)?
            .ok_or_else(|| Problem::missing("connector", &config.connector))?
            .id
    };
    Ok(Some(Call { at, connector, config }))
}

/// Looks whether what the run waits for has come.
fn go_on(tx: &Tx<'_>, by: &Principal, id: &RunId) -> Result<(), Problem> {
    let run = store::get_run(tx, id)?;
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

/// Fails runs that made no progress for longer than the timeout in force.
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
            loop {
                let started = self.timeout.clone();
                let failed = cx
                    .page(move |tx| {
                        let timeout = settings::ops::number(tx, STUCK_RUN_TIMEOUT, &started)?;
                        ops::fail_stuck(tx, timeout.value, PAGE)
                    })
                    .await?;
                if failed < PAGE as usize {
                    return Ok(());
                }
                if cx.stopping() {
                    return Err(Problem::unavailable("Tenure is shutting down.", 5));
                }
            }
        })
    }
}

