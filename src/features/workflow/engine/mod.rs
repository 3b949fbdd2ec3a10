//! The engine: (definition, run state, event) → (new state, effects).
//!
//! # Invariants
//! - Pure: it reads no clock and no database, so histories replay and properties can be tested.
//! - An event for a visit that is over changes nothing: what arrives twice or late is ignored.
//! - After every event the run has ended, waits for something named, or has asked to go on.
//! - A frame that is open has tokens in it, and its parent waits for it.
//! - What succeeded and can be undone is undone once, in reverse order, when `onError` is `compensate` or
//!   somebody asks for it; once begun, undoing is not stopped.
//! - A step that was skipped did not succeed: nothing undoes it. That it was is the state's word, not a value's.
//! - Of a run that has ended nothing follows, but that it is undone with the run that it is part of.
//! - A transform gives its variables values of their types, or fails.

mod forks;
mod machine;
mod state;
mod steps;
mod undo;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use state::*;

use super::definitions::{Action, Definition};
use crate::base::template::{self, TemplateError};
use crate::base::time::Timestamp;
use machine::Engine;

/// Steps that one burst goes through at most.
pub const BURST: u32 = 200;
/// Steps that a run goes through at most.
pub const MAX_VISITS: u32 = 100_000;

/// Places where a run is at once, at most.
pub const MAX_TOKENS: usize = 500;

/// What happens to a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
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
    /// A step in which people filled something in is done: variables get values, and it has an outcome.
    Answered {
        /// The visit it belongs to.
        visit: u32,
        /// Its outcome.
        outcome: String,
        /// What it gave.
        output: Value,
        /// The variables.
        values: Map<String, Value>,
    },
    /// A transform is done: variables get values.
    Computed {
        /// The visit it belongs to.
        visit: u32,
        /// The variables.
        values: Map<String, Value>,
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
    /// An instant has come; timers, retries and deadlines look at it.
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
    /// The run is to end as cancelled, and what succeeded is undone before it does; also when it has ended by itself.
    Undo {
        /// Why.
        reason: String,
    },
    /// A failed run is taken up again where it failed.
    TakeUp,
    /// A step is passed over by hand.
    Skip {
        /// The visit.
        visit: u32,
        /// The outcome that is followed.
        outcome: String,
        /// Why.
        reason: String,
    },
    /// Variables are corrected by hand.
    Correct {
        /// Their new values.
        values: Map<String, Value>,
    },
}

/// Why a step failed; holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepError {
    /// For people.
    pub message: String,
    /// For programs.
    pub code: String,
}

impl StepError {
    /// An error with a code.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { message: message.into(), code: code.to_owned() }
    }
}

/// What the run wants of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// A step is entered.
    Entered {
        /// The visit.
        visit: u32,
        /// The step.
        step: String,
        /// Whether it is entered to be undone.
        undoing: bool,
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
        /// Whether it was passed over by hand.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        skipped: bool,
    },
    /// What a step waits for is not wanted any more: its branch, its time or its run is over.
    Withdrawn {
        /// The visit.
        visit: u32,
        /// The step.
        step: String,
        /// What it waited for.
        wait: Option<Wait>,
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
    /// An assignment that the run made is to be revoked; tell the engine when it is.
    RevokeAssignment {
        /// The visit.
        visit: u32,
        /// Which one.
        id: String,
    },
    /// What a run inside this one did is to be undone; tell the engine when it is.
    UndoRun {
        /// The visit.
        visit: u32,
        /// Which one.
        id: String,
    },
    /// Wake the run at this instant.
    WakeAt {
        /// When.
        at: Timestamp,
    },
    /// The burst was long; go on in another transaction.
    GoOnLater,
    /// What succeeded is being undone.
    Undoing {
        /// Why.
        reason: String,
        /// How many steps.
        steps: u32,
    },
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
pub fn advance(definition: &Definition, state: RunState, event: Event, scope: &Scope) -> (RunState, Vec<Effect>) {
    let mut engine = Engine::new(definition, scope, state);
    engine.event(event);
    engine.finish()
}

/// What the step of this visit is to do, with every template filled in.
pub fn rendered(
    definition: &Definition,
    state: &RunState,
    visit: u32,
    scope: &Scope,
) -> Option<Result<Action, StepError>> {
    let token = state.token(visit)?;
    if token.undoing {
        let current = state.undoing.as_ref()?.current.as_ref()?;
        return match &current.action {
            UndoAction::Action { action } => Some(Ok((**action).clone())),
            UndoAction::RevokeAssignment { .. } | UndoAction::Run { .. } => None,
        };
    }
    let step = definition.step(&token.step)?;
    Some(render(&step.action, &values(state, token.frame, token.branch, scope)))
}

/// What templates and expressions of a step see.
pub fn values_at(state: &RunState, visit: u32, scope: &Scope) -> Value {
    let (frame, branch) = state.token(visit).map_or((None, 0), |t| (t.frame, t.branch));
    values(state, frame, branch, scope)
}

fn values(state: &RunState, frame: Option<u32>, branch: u32, scope: &Scope) -> Value {
    let mut values = scope.values.clone();
    values["vars"] = Value::Object(state.vars.clone());
    values["steps"] = json!(state.outputs);
    if let Some((item, index)) = item_of(state, frame, branch) {
        values["item"] = item;
        values["index"] = json!(index);
    }
    values
}

/// The item of the nearest repetition around a place.
fn item_of(state: &RunState, mut frame: Option<u32>, mut branch: u32) -> Option<(Value, u32)> {
    while let Some(id) = frame {
        let open = state.frame(id)?;
        if let FrameKind::Each { items, .. } = &open.kind {
            return Some((items.get(branch as usize)?.clone(), branch));
        }
        let parent = state.token(id)?;
        (frame, branch) = (parent.frame, parent.branch);
    }
    None
}

fn bad(place: &str, why: &str) -> StepError {
    StepError::new("bad_expression", format!("{place}: {why}"))
}

/// What is wrong with a template somewhere below `place`, by its whole path in the step.
fn bad_template(place: &str, fault: &TemplateError) -> StepError {
    let dot = if fault.path.is_empty() || fault.path.starts_with('[') { "" } else { "." };
    bad(&format!("{place}{dot}{}", fault.path), &fault.message)
}

/// The settings with every template filled in; a script is not a template.
fn render(action: &Action, values: &Value) -> Result<Action, StepError> {
    if matches!(action, Action::Transform(_)) {
        return Ok(action.clone());
    }
    let whole = serde_json::to_value(action).map_err(|e| bad("config", &e.to_string()))?;
    let rendered = template::render_value(&whole["config"], values).map_err(|e| bad_template("config", &e))?;
    let whole = json!({ "type": action.kind(), "config": rendered });
    serde_path_to_error::deserialize(whole).map_err(|e| bad(&e.path().to_string(), &e.inner().to_string()))
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(in crate::features::workflow) use tests::properties;
