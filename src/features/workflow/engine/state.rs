//! What a run remembers, and what it waits for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::StepError;
use crate::base::time::Timestamp;
use crate::features::workflow::definitions::Action;

/// Everything a run remembers between events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunState {
    /// Values of variables.
    pub vars: Map<String, Value>,
    /// What steps gave, by step id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Value>,
    /// The places where the run is, oldest first. While it undoes, the one step that is being undone.
    /// When it has failed, where it was, so that it can be taken up again from there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
    /// Branches and repetitions that are open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// Steps entered so far.
    pub visits: u32,
    /// What would undo the steps that succeeded, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Undo>,
    /// Set while the run undoes what succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoing: Option<Undoing>,
    /// How the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl RunState {
    /// The token of this visit.
    pub fn token(&self, visit: u32) -> Option<&Token> {
        self.tokens.iter().find(|t| t.visit == visit)
    }

    /// Where the run is; nowhere once it ended.
    pub fn places(&self) -> &[Token] {
        if self.ended.is_some() { &[] } else { &self.tokens }
    }

    /// The next instant that the run waits for.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.places().iter().filter_map(Token::due_at).min()
    }

    /// What the run waits for.
    pub fn waits(&self) -> impl Iterator<Item = (&Token, &Wait)> {
        self.places().iter().filter_map(|t| t.wait.as_ref().map(|w| (t, w)))
    }

    pub(super) fn frame(&self, id: u32) -> Option<&Frame> {
        self.frames.iter().find(|f| f.id == id)
    }

    pub(super) fn frame_mut(&mut self, id: u32) -> Option<&mut Frame> {
        self.frames.iter_mut().find(|f| f.id == id)
    }
}

/// One place where a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The step.
    pub step: String,
    /// Which visit of the run this is, counted from 1.
    pub visit: u32,
    /// Which try of the step, counted from 1.
    pub attempt: u32,
    /// What it waits for; absent when it is about to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
    /// The frame it is in; absent outside of branches and repetitions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<u32>,
    /// Which branch or item of the frame it is, counted from 0.
    #[serde(default)]
    pub branch: u32,
    /// When the step has taken too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Whether the step is being undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undoing: bool,
}

impl Token {
    /// When it wants to be woken.
    fn due_at(&self) -> Option<Timestamp> {
        let timer = match self.wait {
            Some(Wait::Timer { until } | Wait::Retry { until }) => Some(until),
            _ => None,
        };
        [timer, self.deadline].into_iter().flatten().min()
    }
}

/// What a run waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Wait {
    /// The effect of the step is being done.
    Effect,
    /// Somebody decides.
    Approval {
        /// The approval.
        id: String,
    },
    /// Somebody does a task, or agrees to a text.
    Task {
        /// The task.
        id: String,
    },
    /// Somebody follows a one-time link.
    Link {
        /// The link.
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
    /// Another run ends.
    Run {
        /// Which one.
        id: String,
    },
    /// An event comes from outside.
    Signal {
        /// Its name.
        event: String,
        /// Which one of its kind.
        key: String,
    },
    /// Branches or items are gone through.
    Branches {
        /// The frame.
        frame: u32,
    },
}

impl Wait {
    /// Whether Tenure itself works on it, so that standing still is a fault.
    pub fn is_work(&self) -> bool {
        matches!(self, Self::Effect)
    }
}

/// Branches or a repetition that are open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Frame {
    /// Unique in the run: the visit that opened it.
    pub id: u32,
    /// What it is.
    #[serde(flatten)]
    pub kind: FrameKind,
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FrameKind {
    /// Branches that begin at once.
    Parallel {
        /// How many there are.
        of: u32,
        /// How many reached the join.
        arrived: u32,
        /// How many ended without it.
        ended: u32,
        /// Where they meet; known once one has arrived.
        join: Option<String>,
    },
    /// A step for each item.
    Each {
        /// The items.
        items: Vec<Value>,
        /// The item that begins next.
        next: u32,
        /// What items gave, in their order; null until then.
        results: Vec<Value>,
        /// How many are done.
        done: u32,
        /// How many of them failed.
        failed: u32,
    },
}

/// What would undo a step that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undo {
    /// The step.
    pub step: String,
    /// The visit that succeeded.
    pub visit: u32,
    /// What undoes it, with every template filled in.
    pub action: UndoAction,
}

/// How a step is undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum UndoAction {
    /// The assignment that it made is revoked.
    RevokeAssignment {
        /// Which one.
        id: String,
    },
    /// What the definition says.
    Action {
        /// Rendered.
        action: Box<Action>,
    },
    /// What the run inside it did is undone.
    Run {
        /// Which one.
        id: String,
    },
}

/// How far a run is with undoing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Undoing {
    /// Why the run ends.
    pub reason: String,
    /// How it ends.
    #[serde(default = "failed")]
    pub status: EndStatus,
    /// Steps undone.
    pub undone: u32,
    /// Steps that could not be undone, by name.
    pub failed: Vec<String>,
    /// The one being undone.
    pub current: Option<Undo>,
}

fn failed() -> EndStatus {
    EndStatus::Failed
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

/// A step as it is remembered among the outputs. That it was skipped stands beside what it gave: whatever
/// a step gives, it cannot say so of itself.
pub(super) fn remembered(outcome: &str, output: &Value, error: Option<&StepError>, skipped: bool) -> Value {
    match error {
        Some(error) => serde_json::json!({ "outcome": outcome, "error": error }),
        None if skipped => serde_json::json!({ "outcome": outcome, "output": output, "skipped": true }),
        None => serde_json::json!({ "outcome": outcome, "output": output }),
    }
}
