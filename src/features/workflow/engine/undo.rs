//! Undoing what succeeded, in reverse order.

use serde_json::{Value, json};

use super::machine::Engine;
use super::{Effect, EndStatus, StepError, Token, Undo, UndoAction, Undoing, Wait, render, state};
use crate::features::workflow::definitions::{Action, Step};

/// Tries after the first, for a step that says nothing else.
const TRIES: u32 = 3;
/// Seconds between them.
const BACKOFF: u64 = 5;

impl Engine<'_> {
    /// Keeps what would undo the step that succeeded; its templates see what the step gave.
    /// Kept whatever `onError` says: whoever cancels a run may have it undone.
    pub(super) fn remember_undo(&mut self, step: &Step, token: &Token, output: &Value) {
        let action = match (&step.compensation, &step.action) {
            (Some(compensation), _) => match render(&compensation.action, &self.values(token)) {
                Ok(action) => UndoAction::Action { action: Box::new(action) },
                // Kept as it is written: undoing it then says what is wrong.
                Err(_) => UndoAction::Action { action: Box::new(compensation.action.clone()) },
            },
            (None, Action::RoleGrant(_)) => match output["assignmentId"].as_str() {
                Some(id) => UndoAction::RevokeAssignment { id: id.to_owned() },
                None => return,
            },
            (None, Action::Subworkflow(_)) => match output["runId"].as_str() {
                Some(id) => UndoAction::Run { id: id.to_owned() },
                None => return,
            },
            _ => return,
        };
        self.state.undo.push(Undo { step: step.id.clone(), visit: token.visit, action });
    }

    /// The run ends as `status`, and what succeeded is undone before it does.
    pub(super) fn undo_all(&mut self, status: EndStatus, reason: String) {
        self.withdraw_all();
        self.state.tokens.clear();
        self.state.frames.clear();
        let steps = u32::try_from(self.state.undo.len()).unwrap_or(u32::MAX);
        if steps > 0 {
            self.effects.push(Effect::Undoing { reason: reason.clone(), steps });
        }
        self.state.undoing = Some(Undoing { reason, status, undone: 0, failed: Vec::new(), current: None });
        self.undo_next();
    }

    /// A run inside this one that failed may have done something before it did.
    pub(super) fn remember_inner(&mut self, step: &Step, token: &Token) {
        if let (Some(Wait::Run { id }), None) = (&token.wait, &step.compensation) {
            let action = UndoAction::Run { id: id.clone() };
            self.state.undo.push(Undo { step: step.id.clone(), visit: token.visit, action });
        }
    }

    /// What a run did that has come to its end is undone, because the run that it is part of is.
    pub(super) fn undo_ended(&mut self, reason: String) {
        if !self.state.undo.is_empty() {
            self.state.ended = None;
            self.undo_all(EndStatus::Cancelled, reason);
        }
    }

    fn undo_next(&mut self) {
        let next = self.state.undo.pop();
        let Some(undoing) = &mut self.state.undoing else { return };
        undoing.current.clone_from(&next);
        let Some(undo) = next else {
            let (status, mut reason) = (undoing.status, undoing.reason.clone());
            if !undoing.failed.is_empty() {
                reason.push_str(&format!(" Not undone: {}.", undoing.failed.join(", ")));
            } else if undoing.undone > 0 {
                reason.push_str(" What had succeeded was undone.");
            }
            return self.end(status, Some(reason));
        };
        self.state.visits += 1;
        let visit = self.state.visits;
        self.effects.push(Effect::Entered { visit, step: undo.step.clone(), undoing: true });
        self.state.tokens.push(Token {
            step: undo.step,
            visit,
            attempt: 1,
            wait: None,
            frame: None,
            branch: 0,
            deadline: None,
            undoing: true,
        });
    }

    pub(super) fn perform_undo(&mut self, token: &Token) {
        let (visit, attempt) = (token.visit, token.attempt);
        let Some(current) = self.state.undoing.as_ref().and_then(|u| u.current.clone()) else {
            let error = StepError::new("nothing_to_undo", "There is nothing to undo.");
            return self.leave(visit, "error", Value::Null, Some(error));
        };
        self.wait(visit, Wait::Effect);
        self.effects.push(match current.action {
            UndoAction::RevokeAssignment { id } => Effect::RevokeAssignment { visit, id },
            UndoAction::Action { action } => Effect::Do { visit, attempt, action },
            UndoAction::Run { id } => Effect::UndoRun { visit, id },
        });
    }

    /// How often undoing a step is tried again, and after how many seconds.
    pub(super) fn undo_retry(&self, step: &str) -> (u32, u64) {
        let retry = self.definition.step(step).and_then(|s| s.retry);
        retry.map_or((TRIES, BACKOFF), |r| (r.count, u64::from(r.backoff_seconds)))
    }

    pub(super) fn undone(&mut self, token: &Token, output: Value, error: Option<StepError>) {
        let name = self.definition.step(&token.step).map_or_else(|| token.step.clone(), |s| s.name.clone());
        if let Some(undoing) = &mut self.state.undoing {
            match &error {
                None => undoing.undone += 1,
                Some(_) => undoing.failed.push(name),
            }
        }
        let outcome = if error.is_some() { "error" } else { "undone" };
        let given = json!({ "undone": state::remembered(outcome, &output, error.as_ref(), false) });
        self.state.outputs.entry(token.step.clone()).and_modify(|o| o["undone"] = given["undone"].clone()).or_insert(given);
        self.record_left(token, outcome, output, error);
        self.undo_next();
    }
}
