//! Events, and the way a token takes from step to step.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    BURST, Effect, EndStatus, Ended, Event, FrameKind, MAX_TOKENS, MAX_VISITS, RunState, Scope, StepError, Token, Wait, state,
};
use crate::features::workflow::definitions::{Definition, OnError, Step};

/// One event being applied.
pub(super) struct Engine<'a> {
    pub(super) definition: &'a Definition,
    pub(super) scope: &'a Scope,
    pub(super) state: RunState,
    pub(super) effects: Vec<Effect>,
    steps: u32,
}

impl<'a> Engine<'a> {
    pub(super) fn new(definition: &'a Definition, scope: &'a Scope, state: RunState) -> Self {
        Self { definition, scope, state, effects: Vec::new(), steps: 0 }
    }

    pub(super) fn finish(self) -> (RunState, Vec<Effect>) {
        (self.state, self.effects)
    }

    pub(super) fn event(&mut self, event: Event) {
        if self.state.ended.is_some() {
            return self.event_after_end(event);
        }
        match event {
            Event::Start => self.start(),
            Event::GoOn => {}
            Event::Finished { visit, outcome, output } => {
                if self.is_outside(visit) {
                    self.leave(visit, &outcome, output, None);
                }
            }
            Event::Answered { visit, outcome, output, values } => {
                if self.is_outside(visit) {
                    self.state.vars.extend(values);
                    self.leave(visit, &outcome, output, None);
                }
            }
            Event::Computed { visit, values } => {
                if self.is_outside(visit) {
                    self.computed(visit, values);
                }
            }
            Event::Failed { visit, error, retryable } => {
                // A failure that comes while the next try is waited for is of a try that is over.
                if self.is_outside(visit) && !self.waits_for_retry(visit) {
                    self.fail(visit, error, retryable);
                }
            }
            Event::Waits { visit, wait } => {
                if self.state.token(visit).is_some_and(|t| t.wait == Some(Wait::Effect)) {
                    self.wait(visit, wait);
                }
            }
            Event::Tick => self.tick(),
            Event::Stuck { reason } => self.stuck(reason),
            // Half undone is worse than either: what has begun is brought to its end.
            Event::Stop { .. } | Event::Undo { .. } if self.state.undoing.is_some() => {}
            Event::Stop { status, reason } => self.stop(status, reason),
            Event::Undo { reason } => self.undo_all(EndStatus::Cancelled, reason),
            Event::TakeUp => {}
            Event::Skip { visit, outcome, reason } => self.skip(visit, &outcome, &reason),
            Event::Correct { values } => self.state.vars.extend(values),
        }
        self.burst();
    }

    /// A run that failed can be taken up again, and unless it was cancelled be undone; else the end is final.
    fn event_after_end(&mut self, event: Event) {
        let ended = self.state.ended.as_ref().map(|e| e.status);
        if let Event::Undo { reason } = event {
            if ended != Some(EndStatus::Cancelled) && self.state.undoing.is_none() {
                self.undo_ended(reason);
                self.burst();
            }
            return;
        }
        if ended != Some(EndStatus::Failed) || self.state.tokens.is_empty() {
            return;
        }
        match event {
            Event::Correct { values } => self.state.vars.extend(values),
            Event::TakeUp => {
                self.take_up(None);
                self.burst();
            }
            Event::Skip { visit, outcome, reason } if self.state.token(visit).is_some() => {
                self.take_up(Some(visit));
                self.skip(visit, &outcome, &reason);
                self.burst();
            }
            _ => {}
        }
    }

    /// A transform is done; what it gives is of the types that its variables have.
    fn computed(&mut self, visit: u32, values: Map<String, Value>) {
        let misfit = self.definition.variables.iter().find_map(|v| {
            let value = values.get(&v.name)?;
            let fits = v.kind.fits(value) || value.is_null() && !v.required;
            (!fits).then(|| format!("script: {} is {}; expected {}", v.name, found(value), v.kind.expected()))
        });
        if let Some(why) = misfit {
            return self.fail(visit, StepError::new("script", why), false);
        }
        let names: Vec<String> = values.keys().cloned().collect();
        self.state.vars.extend(values);
        self.leave(visit, "success", json!({ "changed": names }), None);
    }

    fn start(&mut self) {
        if self.state.visits > 0 {
            return;
        }
        match self.definition.steps.first() {
            Some(first) => self.enter(first.id.clone(), None, 0),
            None => self.end(EndStatus::Completed, None),
        }
    }

    /// Every place where the run was begins again, but for the one that is kept as it was.
    fn take_up(&mut self, kept: Option<u32>) {
        self.state.ended = None;
        for token in std::mem::take(&mut self.state.tokens) {
            if matches!(token.wait, Some(Wait::Branches { .. })) || Some(token.visit) == kept {
                let (visit, attempt) = (token.visit, token.attempt);
                self.effects.push(Effect::TriedAgain { visit, attempt });
                self.state.tokens.push(token);
            } else {
                self.enter(token.step, token.frame, token.branch);
            }
        }
    }

    fn skip(&mut self, visit: u32, outcome: &str, reason: &str) {
        let Some(token) = self.state.token(visit).cloned() else { return };
        self.withdraw(&token);
        self.left(visit, outcome, json!({ "reason": reason }), None, true);
    }

    fn stop(&mut self, status: EndStatus, reason: String) {
        self.withdraw_all();
        self.state.tokens.clear();
        self.state.frames.clear();
        self.end(status, Some(reason));
    }

    /// What stands still follows `onError`.
    fn stuck(&mut self, reason: String) {
        let still: Vec<Token> =
            self.state.tokens.iter().filter(|t| t.wait.as_ref().is_none_or(Wait::is_work)).cloned().collect();
        let Some(first) = still.first().cloned() else { return };
        if first.undoing {
            let error = StepError::new("stuck", reason);
            return self.leave(first.visit, "error", Value::Null, Some(error));
        }
        match self.definition.on_error {
            OnError::Continue if still.iter().all(|t| !self.is_decision(&t.step)) => {
                for token in still {
                    let error = StepError::new("stuck", reason.clone());
                    if self.state.ended.is_none() {
                        self.leave(token.visit, "error", Value::Null, Some(error));
                    }
                }
            }
            OnError::Compensate if !self.state.undo.is_empty() => {
                self.record_stuck(&still, &reason);
                self.undo_all(EndStatus::Failed, reason);
            }
            // With nothing to undo, where it failed is kept, so that it can be taken up again.
            OnError::Stop | OnError::Continue | OnError::Compensate => {
                self.record_stuck(&still, &reason);
                self.withdraw_all();
                self.end(EndStatus::Failed, Some(reason));
            }
        }
    }

    fn record_stuck(&mut self, still: &[Token], reason: &str) {
        for token in still {
            self.record_left(token, "error", Value::Null, Some(StepError::new("stuck", reason)));
        }
    }

    /// Whether the world has the word on a step: what branches and timers come to is the engine's own.
    fn is_outside(&self, visit: u32) -> bool {
        self.state.token(visit).is_some_and(|t| !matches!(t.wait, Some(Wait::Branches { .. } | Wait::Timer { .. })))
    }

    fn waits_for_retry(&self, visit: u32) -> bool {
        self.state.token(visit).is_some_and(|t| matches!(t.wait, Some(Wait::Retry { .. })))
    }

    fn tick(&mut self) {
        let visits: Vec<u32> = self.state.tokens.iter().map(|t| t.visit).collect();
        for visit in visits {
            // A run that ended keeps its places to be taken up again; they are over all the same.
            if self.state.ended.is_none() {
                self.tick_token(visit);
            }
        }
        if let Some(at) = self.state.due_at() {
            self.effects.push(Effect::WakeAt { at });
        }
    }

    fn tick_token(&mut self, visit: u32) {
        let now = self.scope.now;
        let Some(found) = self.state.token(visit) else { return };
        let (_, backoff) = self.retry_of(found);
        let Some(token) = self.state.tokens.iter_mut().find(|t| t.visit == visit) else { return };
        if token.deadline.is_some_and(|at| now >= at) {
            let token = token.clone();
            self.withdraw(&token);
            let error = StepError::new("timeout", "It took longer than the step allows.");
            return self.leave(visit, "timeout", Value::Null, Some(error));
        }
        match token.wait {
            Some(Wait::Timer { until }) if now >= until => {
                self.leave(visit, "success", json!({ "until": until }), None);
            }
            // One that is further away than any was begun by a clock that has been set back since.
            Some(Wait::Retry { until }) if now >= until || until > now.plus(Duration::from_secs(backoff)) => {
                token.wait = None;
                token.attempt += 1;
                let attempt = token.attempt;
                self.effects.push(Effect::TriedAgain { visit, attempt });
            }
            _ => {}
        }
    }

    /// Puts a token into a step.
    pub(super) fn enter(&mut self, step: String, frame: Option<u32>, branch: u32) {
        if self.state.ended.is_some() {
            return;
        }
        if self.state.visits >= MAX_VISITS {
            return self.stop(EndStatus::Failed, format!("The run went through more than {MAX_VISITS} steps."));
        }
        if self.state.tokens.len() >= MAX_TOKENS {
            return self.stop(EndStatus::Failed, format!("The run is in more than {MAX_TOKENS} places at once."));
        }
        self.state.visits += 1;
        let visit = self.state.visits;
        self.effects.push(Effect::Entered { visit, step: step.clone(), undoing: false });
        let timeout = self.definition.step(&step).and_then(|s| s.timeout);
        let deadline = timeout.map(|t| self.scope.now.plus(Duration::from_secs(t.seconds)));
        if let Some(at) = deadline {
            self.effects.push(Effect::WakeAt { at });
        }
        self.state.tokens.push(Token { step, visit, attempt: 1, wait: None, frame, branch, deadline, undoing: false });
    }

    pub(super) fn end(&mut self, status: EndStatus, reason: Option<String>) {
        let ended = Ended { status, reason };
        if status != EndStatus::Failed {
            self.state.tokens.clear();
            self.state.frames.clear();
        }
        self.state.ended = Some(ended.clone());
        self.effects.push(Effect::Ended(ended));
    }

    /// Goes on until the run waits everywhere, ends, or the burst is long enough.
    fn burst(&mut self) {
        while self.state.ended.is_none() {
            let Some(token) = self.state.tokens.iter().find(|t| t.wait.is_none()).cloned() else { return };
            self.steps += 1;
            if self.steps > BURST {
                self.effects.push(Effect::GoOnLater);
                return;
            }
            if token.undoing {
                self.perform_undo(&token);
                continue;
            }
            let definition = self.definition;
            match definition.step(&token.step) {
                Some(step) => self.perform(step, &token),
                None => {
                    self.withdraw_all();
                    self.end(EndStatus::Failed, Some(format!("There is no step {}.", token.step)));
                }
            }
        }
    }

    pub(super) fn wait(&mut self, visit: u32, wait: Wait) {
        if let Some(token) = self.state.tokens.iter_mut().find(|t| t.visit == visit) {
            token.wait = Some(wait);
        }
    }

    pub(super) fn fail(&mut self, visit: u32, error: StepError, retryable: bool) {
        let Some(token) = self.state.token(visit).cloned() else { return };
        let (tries, backoff) = self.retry_of(&token);
        if retryable && token.attempt <= tries {
            let until = self.scope.now.plus(Duration::from_secs(backoff));
            self.wait(visit, Wait::Retry { until });
            self.effects.push(Effect::WakeAt { at: until });
            return;
        }
        self.leave(visit, "error", Value::Null, Some(error));
    }

    /// How often a step is tried again, and after how many seconds.
    fn retry_of(&self, token: &Token) -> (u32, u64) {
        if token.undoing {
            return self.undo_retry(&token.step);
        }
        let retry = self.definition.step(&token.step).and_then(|s| s.retry);
        retry.map_or((0, 0), |r| (r.count, u64::from(r.backoff_seconds)))
    }

    pub(super) fn is_decision(&self, step: &str) -> bool {
        self.definition.step(step).is_some_and(|s| s.action.is_decision())
    }

    pub(super) fn record_left(&mut self, token: &Token, outcome: &str, output: Value, error: Option<StepError>) {
        let (visit, step, outcome) = (token.visit, token.step.clone(), outcome.to_owned());
        self.effects.push(Effect::Left { visit, step, outcome, output, error, skipped: false });
    }

    /// The step is over: remember what it gave and follow its outcome.
    pub(super) fn leave(&mut self, visit: u32, outcome: &str, output: Value, error: Option<StepError>) {
        self.left(visit, outcome, output, error, false);
    }

    fn left(&mut self, visit: u32, outcome: &str, output: Value, error: Option<StepError>, skipped: bool) {
        let Some(i) = self.state.tokens.iter().position(|t| t.visit == visit) else { return };
        let token = self.state.tokens.remove(i);
        if token.undoing {
            return self.undone(&token, output, error);
        }
        self.state.outputs.insert(token.step.clone(), state::remembered(outcome, &output, error.as_ref(), skipped));
        let (step, given, why) = (token.step.clone(), output.clone(), error.clone());
        self.effects.push(Effect::Left { visit, step, outcome: outcome.to_owned(), output: given, error: why, skipped });
        let definition = self.definition;
        let Some(step) = definition.step(&token.step) else { return };
        if error.is_some() {
            self.remember_inner(step, &token);
        } else if !skipped {
            self.remember_undo(step, &token, &output);
        }
        self.follow(step, token, outcome, output, error);
    }

    fn follow(&mut self, step: &Step, token: Token, outcome: &str, output: Value, error: Option<StepError>) {
        let next = |on: &str| step.transitions.iter().find(|t| t.on == on).map(|t| t.to.clone());
        let to = next(outcome).or_else(|| if error.is_some() { next("error") } else { None });
        match (to, error) {
            (Some(to), _) => self.enter(to, token.frame, token.branch),
            (None, None) => self.finish_path(&token, output),
            (None, Some(error)) => self.unhandled(step, token, &error),
        }
    }

    /// A step failed and nothing in the definition follows from it.
    fn unhandled(&mut self, step: &Step, token: Token, error: &StepError) {
        if self.passes_over_item(&token) {
            return self.item_done(token.frame.unwrap_or_default(), token.branch, Err(error.clone()));
        }
        // Going on as if somebody had approved is what an approval is there to prevent.
        if self.definition.on_error == OnError::Continue && !step.action.is_decision() {
            let next = step.transitions.iter().find(|t| t.on == "success").map(|t| t.to.clone());
            return match next {
                Some(to) => self.enter(to, token.frame, token.branch),
                None => self.finish_path(&token, Value::Null),
            };
        }
        let reason = format!("{}: {}", step.name, error.message);
        if self.definition.on_error == OnError::Compensate && !self.state.undo.is_empty() {
            return self.undo_all(EndStatus::Failed, reason);
        }
        self.withdraw_all();
        // Where it failed is where it can be taken up again.
        self.state.tokens.insert(0, Token { wait: None, ..token });
        self.end(EndStatus::Failed, Some(reason));
    }

    fn passes_over_item(&self, token: &Token) -> bool {
        let Some(frame) = token.frame else { return false };
        let each = matches!(self.state.frame(frame), Some(f) if matches!(f.kind, FrameKind::Each { .. }));
        each && self.foreach_of(frame).is_some_and(|config| config.continue_on_error)
    }

    /// A path ends where no transition follows.
    pub(super) fn finish_path(&mut self, token: &Token, output: Value) {
        match token.frame {
            None => self.end(EndStatus::Completed, None),
            Some(frame) => match self.state.frame(frame).map(|f| &f.kind) {
                Some(FrameKind::Each { .. }) => self.item_done(frame, token.branch, Ok(output)),
                Some(FrameKind::Parallel { .. }) => self.branch_ended(frame),
                None => {}
            },
        }
    }

    /// What a token waits for is not wanted any more; with it goes what it opened.
    pub(super) fn withdraw(&mut self, token: &Token) {
        if let Some(Wait::Branches { frame }) = token.wait {
            self.close(frame);
        }
        let (visit, step, wait) = (token.visit, token.step.clone(), token.wait.clone());
        self.effects.push(Effect::Withdrawn { visit, step, wait });
    }

    /// Tells that nothing is waited for any more; the tokens stay where they are.
    pub(super) fn withdraw_all(&mut self) {
        for token in &self.state.tokens {
            let (visit, step, wait) = (token.visit, token.step.clone(), token.wait.clone());
            self.effects.push(Effect::Withdrawn { visit, step, wait });
        }
    }
}

/// What kind of value it is, for people; the value itself may be a secret.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
