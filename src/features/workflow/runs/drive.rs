//! Driving a run: one event in, effects out, all in the caller's transaction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::store::NewEvent;
use super::{Run, RunStatus, effects, ops, store};
use crate::base::access::Principal;
use crate::base::id::{AssignmentId, RunId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::{self, EndReason};
use crate::features::access::documents;
use crate::features::workflow::definitions::Definition;
use crate::features::workflow::engine::{self, Effect, EndStatus, Ended, Event, StepError, Token, Wait};
use crate::features::workflow::approvals;
use crate::platform::queue::{JobDraft, enqueue, is_due_at, names};
use crate::platform::store::Tx;

/// Applies an event and everything that follows from it at once, and stores the run.
pub(super) fn drive(
    tx: &Tx<'_>,
    by: &Principal,
    run: Run,
    definition: &Definition,
    event: Event,
) -> Result<Run, Problem> {
    Drive::of(tx, by, run, definition).through(event)
}

/// Carries a run that is not stored yet to its first wait, and stores it. `text` and `data` say how it began.
pub(super) fn drive_first(
    tx: &Tx<'_>,
    by: &Principal,
    run: Run,
    definition: &Definition,
    text: String,
    data: Value,
) -> Result<Run, Problem> {
    let mut drive = Drive { stored: false, ..Drive::of(tx, by, run, definition) };
    drive.log("run.started", None, text, data);
    drive.through(Event::Start)
}

/// Why a run is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wake {
    /// The burst goes on.
    GoOn,
    /// A step is to be done outside of the transaction.
    Call(u32),
    /// An instant.
    At(Timestamp),
}

/// A step that was entered in this transaction; its row is written once, as it is at the end.
struct Entered {
    step: String,
    attempt: u32,
    left: Option<Left>,
}

struct Left {
    status: &'static str,
    outcome: Option<String>,
    output: Value,
    error: Option<StepError>,
}

struct Drive<'a, 'c> {
    tx: &'a Tx<'c>,
    by: &'a Principal,
    definition: &'a Definition,
    run: Run,
    /// Whether the run has its row. A new one that only computes gets it once, as it is at the end.
    stored: bool,
    /// Events that have their number and not yet their row.
    unwritten: Vec<NewEvent>,
    entered: BTreeMap<u32, Entered>,
    /// Visits that the event at hand leaves by an outcome: what they waited for is withdrawn, they are not.
    leaving: BTreeSet<u32>,
    wakes: Vec<Wake>,
}

impl<'a, 'c> Drive<'a, 'c> {
    fn of(tx: &'a Tx<'c>, by: &'a Principal, run: Run, definition: &'a Definition) -> Self {
        let (entered, leaving) = (BTreeMap::new(), BTreeSet::new());
        Self { tx, by, definition, run, stored: true, unwritten: Vec::new(), entered, leaving, wakes: Vec::new() }
    }

    fn through(mut self, event: Event) -> Result<Run, Problem> {
        let before = self.run.state.tokens.clone();
        self.run_through(event)?;
        self.tell_waits(&before)?;
        self.finish()
    }

    /// Gives the next event its number.
    fn log(&mut self, kind: &'static str, step: Option<&str>, text: String, data: Value) {
        self.run.events += 1;
        let step = step.map(str::to_owned);
        self.unwritten.push(NewEvent { seq: self.run.events, kind, step, text, data });
    }

    /// Writes what was held back: whoever is called next refers to the run or reads of it.
    fn write_down(&mut self) -> Result<(), Problem> {
        if !self.stored {
            store::insert_run(self.tx, &self.run)?;
            if let Some(maker) = &self.by.token_maker {
                store::insert_party(self.tx, &self.run.id, maker, "token")?;
            }
            self.stored = true;
        }
        store::insert_events(self.tx, &self.run.id, &std::mem::take(&mut self.unwritten))
    }

    fn run_through(&mut self, event: Event) -> Result<(), Problem> {
        let mut scope = ops::scope(self.tx, &self.run)?;
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let state = std::mem::take(&mut self.run.state);
            let (state, found) = engine::advance(self.definition, state, event, &scope);
            self.run.state = state;
            self.leaving = found.iter().filter_map(left_by).collect();
            for effect in found {
                let subject = self.run.subject_id.clone();
                events.extend(self.effect(effect)?);
                if self.run.subject_id != subject {
                    scope = ops::scope(self.tx, &self.run)?;
                }
            }
        }
        Ok(())
    }

    /// Carries one effect out; answers what the engine is to be told of it now.
    fn effect(&mut self, effect: Effect) -> Result<Option<Event>, Problem> {
        match effect {
            Effect::Entered { visit, step, undoing } => self.enter(visit, step, undoing),
            Effect::TriedAgain { visit, attempt } => match self.entered.get_mut(&visit) {
                Some(entered) => entered.attempt = attempt,
                None => store::update_step(self.tx, &self.run.id, visit, "running", Some(attempt))?,
            },
            Effect::Left { visit, step, outcome, output, error, skipped } => {
                let status = if error.is_some() { "failed" } else if skipped { "skipped" } else { "completed" };
                self.leave(visit, &step, Left { status, outcome: Some(outcome), output, error })?;
            }
            Effect::Withdrawn { visit, step, wait } => self.withdraw(visit, &step, wait)?,
            Effect::Do { visit, attempt, action } => {
                self.write_down()?;
                if action.calls_out() {
                    self.wakes.push(Wake::Call(visit));
                }
                return effects::perform(self.tx, self.by, &mut self.run, visit, attempt, *action);
            }
            Effect::RevokeAssignment { visit, id } => {
                let reason = EndReason::RunCompensated(self.run.id.clone());
                assignments::ops::revoke(self.tx, self.by, &AssignmentId::from_stored(id.clone()), reason)?;
                let output = json!({ "assignmentId": id });
                return Ok(Some(Event::Finished { visit, outcome: "success".to_owned(), output }));
            }
            Effect::UndoRun { visit, id } => {
                return ops::undo_inside(self.tx, self.by, visit, &RunId::from_stored(id)).map(Some);
            }
            Effect::WakeAt { at } => self.wakes.push(Wake::At(at)),
            Effect::GoOnLater => self.wakes.push(Wake::GoOn),
            Effect::Undoing { reason, steps } => {
                let text = format!("{reason} {steps} {} undone", if steps == 1 { "step is" } else { "steps are" });
                self.log("run.undoing", None, text, json!({ "steps": steps }));
                ops::record(self.tx, self.by, "run.undoing", &self.run, Some(reason), json!({ "steps": steps }))?;
            }
            Effect::Ended(ended) => self.over(&ended)?,
        }
        Ok(None)
    }

    fn enter(&mut self, visit: u32, step: String, undoing: bool) {
        let (name, kind) = self.names(&step);
        let (event, text) =
            if undoing { ("step.undoing", format!("{name} is undone")) } else { ("step.started", name.to_owned()) };
        let data = json!({ "visit": visit, "type": kind });
        self.entered.insert(visit, Entered { step: step.clone(), attempt: 1, left: None });
        self.log(event, Some(&step), text, data);
    }

    fn names(&self, step: &str) -> (String, &'static str) {
        self.definition.step(step).map_or_else(|| (step.to_owned(), ""), |s| (s.name.clone(), s.action.kind()))
    }

    fn leave(&mut self, visit: u32, step: &str, left: Left) -> Result<(), Problem> {
        let (name, _) = self.names(step);
        let outcome = left.outcome.as_deref().unwrap_or_default();
        let (kind, text, data) = match &left.error {
            Some(e) => ("step.failed", format!("{name}: {}", e.message), json!({ "visit": visit, "code": e.code })),
            None => ("step.completed", format!("{name}: {outcome}"), json!({ "visit": visit, "outcome": outcome })),
        };
        self.step_is_over(visit, left)?;
        self.log(kind, Some(step), text, data);
        Ok(())
    }

    fn step_is_over(&mut self, visit: u32, left: Left) -> Result<(), Problem> {
        if let Some(entered) = self.entered.get_mut(&visit) {
            entered.left.get_or_insert(left);
            return Ok(());
        }
        let shown = (!left.output.is_null()).then_some(&left.output);
        let outcome = left.outcome.as_deref();
        store::end_step(self.tx, &self.run.id, visit, left.status, outcome, shown, left.error.as_ref())
    }

    /// Closes what a step waited for.
    fn withdraw(&mut self, visit: u32, step: &str, wait: Option<Wait>) -> Result<(), Problem> {
        self.write_down()?;
        if !self.leaving.contains(&visit) {
            self.step_is_over(visit, Left { status: "cancelled", outcome: None, output: Value::Null, error: None })?;
        }
        let (tx, run) = (self.tx, &self.run.id);
        match wait {
            Some(Wait::Approval { id }) => approvals::ops::withdraw(tx, self.by, &TypedId::from_stored(id))?,
            Some(Wait::Document { document_type, person }) => {
                documents::ops::stop_waiting_for(tx, run, &TypedId::from_stored(person), &document_type)?;
            }
            // Of a run that has ended it is written down how the access turned out, before it is taken back.
            Some(Wait::Assignment { .. }) if self.run.state.ended.is_some() => {}
            Some(Wait::Assignment { id }) => {
                let reason = EndReason::RunCompensated(run.clone());
                assignments::ops::revoke(tx, self.by, &AssignmentId::from_stored(id), reason)?;
            }
            Some(Wait::Run { id }) => {
                let reason = format!("The run that it is part of does not wait for it any more ({step}).");
                // What is undone out here is undone in there, too.
                let undo = self.run.state.undoing.is_some();
                ops::stop_inside(tx, self.by, &RunId::from_stored(id), &reason, undo)?;
            }
            Some(Wait::Signal { event, key }) => store::delete_signal_wait(tx, run, visit, &event, &key)?,
            Some(wait) => effects::withdraw_from_people(tx, self.by, &wait)?,
            None => {}
        }
        Ok(())
    }

    fn over(&mut self, ended: &Ended) -> Result<(), Problem> {
        self.run.reason.clone_from(&ended.reason);
        self.run.ended_at = Some(self.tx.now());
        // A run without a row asked nobody for anything.
        if self.stored {
            self.write_down()?;
            documents::ops::stop_waiting(self.tx, &self.run.id)?;
            approvals::ops::cancel_open(self.tx, self.by, &self.run.id)?;
            store::delete_signal_waits(self.tx, &self.run.id)?;
        }
        let action = match ended.status {
            EndStatus::Completed => "run.completed",
            EndStatus::Failed => "run.failed",
            EndStatus::Cancelled => "run.cancelled",
        };
        let text = ended.reason.clone().unwrap_or_else(|| "The run is complete".to_owned());
        self.log(action, None, text, json!({}));
        ops::record(self.tx, self.by, action, &self.run, ended.reason.clone(), json!({ "status": ended.status }))?;
        match &self.run.parent_run_id {
            Some(parent) => enqueue(self.tx, JobDraft::now(names::ADVANCE_RUN, json!({ "runId": parent }))).map(drop),
            None => Ok(()),
        }
    }

    /// Writes down what the run has begun to wait for.
    fn tell_waits(&mut self, before: &[Token]) -> Result<(), Problem> {
        let fresh: Vec<Token> = self
            .run
            .state
            .places()
            .iter()
            .filter(|t| !before.iter().any(|b| b.visit == t.visit && b.wait == t.wait))
            .cloned()
            .collect();
        for token in fresh {
            let Some(text) = token.wait.as_ref().and_then(wait_text) else { continue };
            let data = json!({ "visit": token.visit, "for": token.wait });
            self.log("run.waiting", Some(&token.step), text, data);
            if !self.entered.contains_key(&token.visit) {
                store::update_step(self.tx, &self.run.id, token.visit, "waiting", None)?;
            }
        }
        Ok(())
    }

    /// Stores the run and asks for the jobs that carry it on.
    fn finish(mut self) -> Result<Run, Problem> {
        settle(self.tx, &mut self.run);
        if self.stored {
            store::update_run(self.tx, &self.run)?;
            self.run.revision += 1;
        }
        self.write_down()?;
        self.write_steps()?;
        self.wakes.sort();
        self.wakes.dedup();
        wake(self.tx, &self.run, &self.wakes)?;
        Ok(self.run)
    }

    fn write_steps(&self) -> Result<(), Problem> {
        for (visit, entered) in &self.entered {
            let (name, kind) = self.names(&entered.step);
            let waits = self.run.state.token(*visit).is_some_and(|t| t.wait.as_ref().is_some_and(|w| !w.is_work()));
            let (status, left) = match &entered.left {
                Some(left) => (left.status, Some(left)),
                None if waits => ("waiting", None),
                None => ("running", None),
            };
            store::insert_step(
                self.tx,
                &self.run.id,
                &store::NewStep {
                    visit: *visit,
                    step: &entered.step,
                    name: &name,
                    kind,
                    status,
                    attempt: entered.attempt,
                    outcome: left.and_then(|l| l.outcome.as_deref()),
                    output: left.map(|l| &l.output).filter(|o| !o.is_null()),
                    error: left.and_then(|l| l.error.as_ref()),
                    over: left.is_some(),
                },
            )?;
        }
        Ok(())
    }
}

fn left_by(effect: &Effect) -> Option<u32> {
    match effect {
        Effect::Left { visit, .. } => Some(*visit),
        _ => None,
    }
}

/// Says how the run stands now.
fn settle(tx: &Tx<'_>, run: &mut Run) {
    run.status = RunStatus::of(&run.state);
    run.updated_at = tx.now();
    if !run.status.is_over() {
        run.ended_at = None;
        run.reason = None;
    }
}

/// Asks for the jobs that carry the run on.
fn wake(tx: &Tx<'_>, run: &Run, wakes: &[Wake]) -> Result<(), Problem> {
    if run.status.is_over() {
        return Ok(());
    }
    for wake in wakes {
        let payload = json!({ "runId": run.id });
        // One job per revision and reason: what asks twice in one transaction gets one.
        let (draft, suffix) = match wake {
            Wake::GoOn => (JobDraft::now(names::ADVANCE_RUN, payload), String::new()),
            Wake::Call(visit) => (JobDraft::now(names::ADVANCE_RUN, payload), format!("call-{visit}")),
            Wake::At(at) if is_due_at(tx, run.id.as_str(), *at)? => continue,
            Wake::At(at) => (JobDraft::at(names::ADVANCE_RUN, payload, *at), at.as_millis().to_string()),
        };
        enqueue(tx, draft.with_key(format!("{}-{}-{suffix}", run.id, run.revision)))?;
    }
    Ok(())
}

/// Has a run looked at when an instant comes that a clock which was set back has not reached yet.
pub(super) fn wake_again(tx: &Tx<'_>, run: &Run, at: Timestamp) -> Result<(), Problem> {
    if is_due_at(tx, run.id.as_str(), at)? {
        return Ok(());
    }
    let key = format!("{}-again-{}-{}", run.id, at.as_millis(), tx.now().as_millis());
    enqueue(tx, JobDraft::at(names::ADVANCE_RUN, json!({ "runId": run.id }), at).with_key(key)).map(drop)
}

/// Stores a run as it is and, if asked, has it looked at.
pub(super) fn touch(tx: &Tx<'_>, mut run: Run, woken: bool) -> Result<Run, Problem> {
    settle(tx, &mut run);
    store::update_run(tx, &run)?;
    run.revision += 1;
    wake(tx, &run, if woken { &[Wake::GoOn] } else { &[] })?;
    Ok(run)
}

fn wait_text(wait: &Wait) -> Option<String> {
    Some(match wait {
        // Tenure works on it, or its branches say what they wait for.
        Wait::Effect | Wait::Branches { .. } => return None,
        Wait::Approval { .. } => "Waits for a decision".to_owned(),
        Wait::Task { .. } => "Waits for a task to be done".to_owned(),
        Wait::Link { .. } => "Waits until a link is followed".to_owned(),
        Wait::Document { document_type, .. } => format!("Waits for the document “{}”", documents::title(document_type)),
        Wait::Timer { until } => format!("Waits until {until}"),
        Wait::Retry { until } => format!("Waits until {until} to try again"),
        Wait::Assignment { .. } => "Waits until the access is set up".to_owned(),
        Wait::Run { .. } => "Waits until another run ends".to_owned(),
        Wait::Signal { event, key } => format!("Waits for the event {event} of {key}"),
    })
}

