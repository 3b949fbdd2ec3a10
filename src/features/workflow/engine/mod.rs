//! The engine: (definition, run state, event) → (new state, effects).
//!
//! # Invariants
//! - Pure: it reads no clock and no database, so histories replay and properties can be tested.
//! - An event for a visit that is over changes nothing: what arrives twice or late is ignored.
//! - After every event the run has ended, waits for something named, or has asked to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::definitions::{Action, Definition, OnError, Step, expression};
use crate::base::template;
use crate::base::time::Timestamp;

/// Steps that one burst goes through at most.
pub const BURST: u32 = 200;
/// Steps that a run goes through at most.
pub const MAX_VISITS: u32 = 100_000;

/// Everything a run remembers between events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// Values of variables.
    pub vars: Map<String, Value>,
    /// What steps gave, by step id.
    pub outputs: BTreeMap<String, Value>,
    /// Where the run is; absent before the start and after the end.
    pub at: Option<Position>,
    /// Steps entered so far.
    pub visits: u32,
    /// How the run ended.
    pub ended: Option<Ended>,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The step.
    pub step: String,
    /// Which visit of the run this is, counted from 1.
    pub visit: u32,
    /// Which try of the step, counted from 1.
    pub attempt: u32,
    /// What it waits for; absent when it is about to go on.
    pub wait: Option<Wait>,
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Wait {
    /// The effect of the step is being done.
    Effect,
    /// Somebody decides.
    Approval {
        /// The approval.
        id: String,
    },
    /// A document is handed in and approved.
    Document {
        /// Its type.
        document_type: String,
        /// Whose it is.
        person: String,
    },
    /// An instant.
    Timer {
        /// Which one.
        until: Timestamp,
    },
    /// The next try of a step.
    Retry {
        /// When.
        until: Timestamp,
    },
    /// An assignment becomes active or fails.
    Assignment {
        /// Which one.
        id: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Whether it did what it is for.
    pub status: EndStatus,
    /// Why, when it failed or was cancelled.
    pub reason: Option<String>,
}

/// The ways a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndStatus {
    /// It went to an end.
    Completed,
    /// A step failed for good.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// What happens to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It begins.
    Start,
    /// It goes on after a burst or a restart.
    GoOn,
    /// A step is done.
    Finished {
        /// The visit it belongs to.
        visit: u32,
        /// Its outcome.
        outcome: String,
        /// What it gave.
        output: Value,
    },
    /// A step failed.
    Failed {
        /// The visit it belongs to.
        visit: u32,
        /// What went wrong.
        error: StepError,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// The effect of a step has begun and the run waits for its outcome.
    Waits {
        /// The visit it belongs to.
        visit: u32,
        /// For what.
        wait: Wait,
    },
    /// An instant has come; timers and retries look at it.
    Tick,
    /// The run made no progress for too long.
    Stuck {
        /// The reason it fails with.
        reason: String,
    },
    /// The run is to end now.
    Stop {
        /// How.
        status: EndStatus,
        /// Why.
        reason: String,
    },
}

/// Why a step failed; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// For people.
    pub message: String,
    /// For programs.
    pub code: String,
}

/// What the run wants of the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// A step is entered.
    Entered {
        /// The visit.
        visit: u32,
        /// The step.
        step: String,
    },
    /// A step is tried again.
    TriedAgain {
        /// The visit.
        visit: u32,
        /// Which try, counted from 1.
        attempt: u32,
    },
    /// A step is over.
    Left {
        /// The visit.
        visit: u32,
        /// The step.
        step: String,
        /// Its outcome.
        outcome: String,
        /// What it gave.
        output: Value,
        /// Why it failed.
        error: Option<StepError>,
    },
    /// The step's settings, rendered: do it, then tell the engine.
    Do {
        /// The visit.
        visit: u32,
        /// Which try.
        attempt: u32,
        /// What to do.
        action: Box<Action>,
    },
    /// Wake the run at this instant.
    WakeAt(Timestamp),
    /// The burst was long; go on in another transaction.
    GoOnLater,
    /// The run is over.
    Ended(Ended),
}

/// What the engine is told of the world.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Values that templates and conditions see: `subject`, `requestor`, `run`.
    pub values: Value,
    /// The instant of the event.
    pub now: Timestamp,
}

/// Applies one event.
pub fn advance(definition: &Definition, state: &RunState, event: Event, scope: &Scope) -> (RunState, Vec<Effect>) {
    let mut engine = Engine { definition, scope, state: state.clone(), effects: Vec::new(), steps: 0 };
    if engine.state.ended.is_none() {
        engine.event(event);
    }
    (engine.state, engine.effects)
}

/// The settings of the step a run is at, with every template filled in.
pub fn rendered(definition: &Definition, state: &RunState, scope: &Scope) -> Option<Result<Action, StepError>> {
    let step = definition.step(&state.at.as_ref()?.step)?;
    let engine = Engine { definition, scope, state: state.clone(), effects: Vec::new(), steps: 0 };
    Some(render(&step.action, &engine.values()))
}

struct Engine<'a> {
    definition: &'a Definition,
    scope: &'a Scope,
    state: RunState,
    effects: Vec<Effect>,
    steps: u32,
}

impl Engine<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Start => {
                if self.state.visits == 0 {
                    let first = self.definition.steps.first().map(|s| s.id.clone());
                    self.go_to(first);
                    self.burst();
                }
            }
            Event::GoOn => self.burst(),
            Event::Finished { visit, outcome, output } => {
                if self.is_at(visit) {
                    self.leave(&outcome, output, None);
                    self.burst();
                }
            }
            Event::Failed { visit, error, retryable } => {
                // A failure that comes while the next try is waited for is of a try that is over.
                if self.is_at(visit) && !self.waits_for_retry() {
                    self.fail(error, retryable);
                    self.burst();
                }
            }
            Event::Waits { visit, wait } => {
                if self.is_at(visit)
                    && let Some(at) = &mut self.state.at
                {
                    at.wait = Some(wait);
                }
            }
            Event::Tick => self.tick(),
            Event::Stuck { reason } => self.stuck(reason),
            Event::Stop { status, reason } => self.end(status, Some(reason)),
        }
    }

    /// What stands still follows `onError`: the run fails, or it goes on as after a step that failed.
    fn stuck(&mut self, reason: String) {
        let at = self.state.at.as_ref().map(|at| at.step.clone());
        match at {
            Some(step) if self.definition.on_error == OnError::Continue && !self.is_approval(&step) => {
                self.leave("error", Value::Null, Some(StepError { message: reason, code: "stuck".to_owned() }));
                self.burst();
            }
            _ => self.end(EndStatus::Failed, Some(reason)),
        }
    }

    fn is_at(&self, visit: u32) -> bool {
        self.state.at.as_ref().is_some_and(|at| at.visit == visit)
    }

    fn waits_for_retry(&self) -> bool {
        self.state.at.as_ref().is_some_and(|at| matches!(at.wait, Some(Wait::Retry { .. })))
    }

    fn tick(&mut self) {
        let now = self.scope.now;
        let Some(at) = &mut self.state.at else { return };
        match at.wait.clone() {
            Some(Wait::Timer { until }) if now >= until => {
                self.leave("success", json!({ "until": until }), None);
                self.burst();
            }
            Some(Wait::Retry { until }) if now >= until => {
                at.wait = None;
                at.attempt += 1;
                let (visit, attempt) = (at.visit, at.attempt);
                self.effects.push(Effect::TriedAgain { visit, attempt });
                self.burst();
            }
            Some(Wait::Timer { until } | Wait::Retry { until }) => self.effects.push(Effect::WakeAt(until)),
            _ => {}
        }
    }

    fn go_to(&mut self, step: Option<String>) {
        match step {
            None => self.end(EndStatus::Completed, None),
            Some(step) => {
                self.state.visits += 1;
                let visit = self.state.visits;
                if visit > MAX_VISITS {
                    self.state.at = None;
                    self.end(EndStatus::Failed, Some(format!("The run went through more than {MAX_VISITS} steps.")));
                    return;
                }
                self.effects.push(Effect::Entered { visit, step: step.clone() });
                self.state.at = Some(Position { step, visit, attempt: 1, wait: None });
            }
        }
    }

    fn end(&mut self, status: EndStatus, reason: Option<String>) {
        let ended = Ended { status, reason };
        self.state.at = None;
        self.state.ended = Some(ended.clone());
        self.effects.push(Effect::Ended(ended));
    }

    /// Goes on until the run waits, ends, or the burst is long enough.
    fn burst(&mut self) {
        while let Some(at) = self.state.at.clone() {
            if at.wait.is_some() {
                return;
            }
            self.steps += 1;
            if self.steps > BURST {
                self.effects.push(Effect::GoOnLater);
                return;
            }
            let Some(step) = self.definition.step(&at.step).cloned() else {
                self.end(EndStatus::Failed, Some(format!("There is no step {}.", at.step)));
                return;
            };
            self.perform(&step, &at);
        }
    }

    fn values(&self) -> Value {
        let mut values = self.scope.values.clone();
        values["vars"] = Value::Object(self.state.vars.clone());
        values["steps"] = json!(self.state.outputs);
        values
    }

    fn perform(&mut self, step: &Step, at: &Position) {
        match &step.action {
            Action::Condition(config) => {
                let values = self.values();
                for (k, case) in config.cases.iter().enumerate() {
                    match expression::is_true(&case.when, &values) {
                        Ok(true) => return self.leave(&case.outcome, Value::Null, None),
                        Ok(false) => {}
                        Err(e) => return self.fail(bad(&format!("cases[{k}].when"), &e.to_string()), false),
                    }
                }
                self.leave(&config.default, Value::Null, None);
            }
            Action::Set(config) => {
                let values = self.values();
                for (name, value) in &config.values {
                    match template::render_value(value, &values) {
                        Ok(value) => {
                            self.state.vars.insert(name.clone(), value);
                        }
                        Err(e) => return self.fail(bad(&format!("values.{name}"), &e.message), false),
                    }
                }
                self.leave("success", Value::Null, None);
            }
            Action::Delay(config) => {
                let until = self.scope.now.plus(Duration::from_secs(config.seconds));
                self.wait(Wait::Timer { until });
                self.effects.push(Effect::WakeAt(until));
            }
            Action::End(config) => {
                self.record_left(at, "success", Value::Null, None);
                if config.failed {
                    let reason = if config.reason.is_empty() { step.name.clone() } else { config.reason.clone() };
                    self.end(EndStatus::Failed, Some(reason));
                } else {
                    self.end(EndStatus::Completed, None);
                }
            }
            outside => match render(outside, &self.values()) {
                Ok(action) => {
                    self.wait(Wait::Effect);
                    let action = Box::new(action);
                    self.effects.push(Effect::Do { visit: at.visit, attempt: at.attempt, action });
                }
                Err(error) => self.fail(error, false),
            },
        }
    }

    fn wait(&mut self, wait: Wait) {
        if let Some(at) = &mut self.state.at {
            at.wait = Some(wait);
        }
    }

    fn fail(&mut self, error: StepError, retryable: bool) {
        let Some(at) = self.state.at.clone() else { return };
        let retry = self.definition.step(&at.step).and_then(|s| s.retry);
        if let Some(retry) = retry
            && retryable
            && at.attempt <= retry.count
        {
            let until = self.scope.now.plus(Duration::from_secs(u64::from(retry.backoff_seconds)));
            self.wait(Wait::Retry { until });
            self.effects.push(Effect::WakeAt(until));
            return;
        }
        self.leave("error", Value::Null, Some(error));
    }

    fn is_approval(&self, step: &str) -> bool {
        self.definition.step(step).is_some_and(|s| matches!(s.action, Action::Approval(_)))
    }

    fn record_left(&mut self, at: &Position, outcome: &str, output: Value, error: Option<StepError>) {
        self.effects.push(Effect::Left {
            visit: at.visit,
            step: at.step.clone(),
            outcome: outcome.to_owned(),
            output,
            error,
        });
    }

    /// The step is over: remember what it gave and follow its outcome.
    fn leave(&mut self, outcome: &str, output: Value, error: Option<StepError>) {
        let Some(at) = self.state.at.take() else { return };
        let given = match &error {
            Some(error) => json!({ "outcome": outcome, "error": error }),
            None => json!({ "outcome": outcome, "output": output }),
        };
        self.state.outputs.insert(at.step.clone(), given);
        self.record_left(&at, outcome, output, error.clone());
        let transitions = self.definition.step(&at.step).map(|s| s.transitions.as_slice()).unwrap_or_default();
        let next = |on: &str| transitions.iter().find(|t| t.on == on).map(|t| t.to.clone());
        match (next(outcome), error) {
            (Some(to), _) => self.go_to(Some(to)),
            (None, None) => self.go_to(None),
            // Going on as if somebody had approved is what an approval is there to prevent.
            (None, Some(_)) if self.definition.on_error == OnError::Continue && !self.is_approval(&at.step) => {
                self.go_to(next("success"));
            }
            (None, Some(error)) => {
                let name = self.definition.step(&at.step).map_or(at.step.as_str(), |s| s.name.as_str());
                self.end(EndStatus::Failed, Some(format!("{name}: {}", error.message)));
            }
        }
    }
}

fn bad(place: &str, why: &str) -> StepError {
    StepError { message: format!("{place}: {why}"), code: "bad_expression".to_owned() }
}

/// The settings with every template filled in.
fn render(action: &Action, values: &Value) -> Result<Action, StepError> {
    let whole = serde_json::to_value(action).map_err(|e| bad("config", &e.to_string()))?;
    let rendered = template::render_value(&whole["config"], values).map_err(|e| bad(&e.path, &e.message))?;
    serde_json::from_value(json!({ "type": action.kind(), "config": rendered }))
        .map_err(|e| bad("config", &e.to_string()))
}

#[cfg(test)]
mod tests;
