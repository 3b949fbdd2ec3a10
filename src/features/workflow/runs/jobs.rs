//! `advance-run` carries a run to its next wait or end; `stuck-run-recovery` fails stuck ones.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::calls::{self, Calling, Calls, Turn};
use super::{Run, RunStatus, effects, ops, store};
use crate::base::access::Principal;
use crate::base::cron::Schedule;
use crate::base::id::{JobId, PersonId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::settings::{self, STUCK_RUN_TIMEOUT, Started};
use crate::features::timekeeping::ops::{is_held, stand_back};
use crate::features::workflow::engine::{Event, Wait};
use crate::features::workflow::links;
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Tx;

/// Runs failed in one transaction.
const PAGE: u32 = 100;

/// Carries a run on.
#[derive(Debug)]
pub struct AdvanceRun {
    calls: Arc<dyn Calls>,
    calling: Calling,
}

impl AdvanceRun {
    /// Calls through `connectors`.
    pub fn new(connectors: Arc<dyn Calls>) -> Self {
        Self { calls: connectors, calling: Arc::default() }
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
            let pending = cx.store().read(move |tx| calls::pending(tx, &wanted)).await?;
            let (by, job) = (Principal::system("advance-run"), cx.id().clone());
            if pending.is_empty() {
                return cx.complete_or_wait(move |tx| go_on_in_time(tx, &by, &job, &run_id)).await;
            }
            // Each step that is to be done has a job of its own; this one takes what no other is at.
            let free = pending.into_iter().find_map(|one| {
                let turn = Turn::take(&self.calling, &run_id, one.at.visit)?;
                Some((turn, one))
            });
            let Some((_turn, one)) = free else {
                return cx.snooze(cx.store().clock().now().plus(BUSY)).await;
            };
            let (at, event) = one.perform(self.calls.as_ref(), &run_id).await;
            cx.complete_or_wait(move |tx| {
                calls::apply(tx, &by, &run_id, &at, &event)?;
                go_on_in_time(tx, &by, &job, &run_id)
            })
            .await
        })
    }
}

/// How long a second job of a run waits while the first one calls out.
const BUSY: Duration = Duration::from_secs(2);

/// Looks whether what the run waits for has come; answers until when the job is to wait, if it came for an
/// instant while the clock is in doubt.
fn go_on_in_time(tx: &Tx<'_>, by: &Principal, job: &JobId, id: &RunId) -> Result<Option<Timestamp>, Problem> {
    go_on(tx, by, id)?;
    if is_held(tx)? && has_come(tx, &store::get_run(tx, id)?)? { stand_back(tx, job).map(Some) } else { Ok(None) }
}

/// Whether an instant that the run waits for has come by the clock.
fn has_come(tx: &Tx<'_>, run: &Run) -> Result<bool, Problem> {
    if run.state.due_at().is_some_and(|at| at <= tx.now()) {
        return Ok(true);
    }
    for (_, wait) in run.state.waits() {
        if let Wait::Link { id } = wait
            && links::store::get_link(tx, &TypedId::from_stored(id.clone()))?.expires_at <= tx.now()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Looks whether what the run waits for has come. While the clock is in doubt no instant has.
pub(in crate::features::workflow) fn go_on(tx: &Tx<'_>, by: &Principal, id: &RunId) -> Result<(), Problem> {
    let held = is_held(tx)?;
    let run = store::get_run(tx, id)?;
    if matches!(run.status, RunStatus::Failed | RunStatus::Cancelled) {
        return effects::take_back_late(tx, by, run);
    }
    let mut events = vec![Event::GoOn];
    if !held {
        events.push(Event::Tick);
    }
    for (token, wait) in run.state.waits() {
        let (visit, found) = (token.visit, wait.clone());
        events.extend(match found {
            Wait::Document { document_type, person } => {
                effects::document_found(tx, visit, &PersonId::from_stored(person), &document_type)?
            }
            Wait::Assignment { id } => effects::assignment_settled(tx, visit, &id)?,
            Wait::Link { .. } if held => None,
            Wait::Link { id } => links::ops::expired(tx, by, visit, &TypedId::from_stored(id))?,
            Wait::Run { id } if token.undoing => {
                effects::run_undone(visit, &store::get_run(tx, &RunId::from_stored(id))?)
            }
            Wait::Run { id } => effects::run_ended(tx, visit, &RunId::from_stored(id))?,
            _ => None,
        });
    }
    // What is over by the time its event comes is ignored.
    ops::apply_all(tx, by, run, events)
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
                        // By a clock in doubt every run may look stuck: a later check finds those that are.
                        if is_held(tx)? {
                            return Ok(ops::StuckPage::default());
                        }
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

