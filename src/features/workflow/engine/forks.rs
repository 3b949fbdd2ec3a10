//! Branches, their meeting, and repetitions.

use serde_json::{Value, json};

use super::machine::Engine;
use super::{Frame, FrameKind, StepError, Token, Wait};
use crate::features::workflow::definitions::{Action, ForeachConfig, JoinConfig, ParallelConfig, Rule, Step};

/// The most items of a repetition.
pub(super) const MAX_ITEMS: usize = 1_000;

impl Engine<'_> {
    pub(super) fn fork(&mut self, token: &Token, config: &ParallelConfig) {
        let frame = token.visit;
        let of = u32::try_from(config.branches.len()).unwrap_or(u32::MAX);
        // A loop of forks is stopped by how many places a run may be in, before it takes all memory.
        let kind = FrameKind::Parallel { of, arrived: 0, ended: 0, join: None };
        self.state.frames.push(Frame { id: frame, kind });
        self.wait(token.visit, Wait::Branches { frame });
        for (branch, step) in (0..).zip(&config.branches) {
            self.enter(step.clone(), Some(frame), branch);
        }
    }

    /// A branch has come to where branches meet.
    pub(super) fn arrive(&mut self, step: &Step, token: &Token) {
        let Some(frame) = token.frame else {
            let error = StepError::new("no_branches", "There are no branches here that could meet.");
            return self.leave(token.visit, "error", Value::Null, Some(error));
        };
        match self.state.frame_mut(frame).map(|f| &mut f.kind) {
            Some(FrameKind::Parallel { arrived, join, .. }) if join.as_ref().is_none_or(|j| *j == step.id) => {
                *arrived += 1;
                *join = Some(step.id.clone());
            }
            Some(FrameKind::Parallel { join, .. }) => {
                let other = join.clone().unwrap_or_default();
                let why = format!("Branches that began together meet at one step; another one came to {other}.");
                return self.leave(token.visit, "error", Value::Null, Some(StepError::new("other_join", why)));
            }
            _ => {
                let error = StepError::new("no_branches", "A repetition has no branches that could meet.");
                return self.leave(token.visit, "error", Value::Null, Some(error));
            }
        }
        self.state.tokens.retain(|t| t.visit != token.visit);
        self.record_left(token, "success", Value::Null, None);
        self.meet(frame);
    }

    /// A branch has ended without coming to the meeting.
    pub(super) fn branch_ended(&mut self, frame: u32) {
        if let Some(FrameKind::Parallel { ended, .. }) = self.state.frame_mut(frame).map(|f| &mut f.kind) {
            *ended += 1;
        }
        self.meet(frame);
    }

    /// Goes on after the branches, if as many have come as are needed.
    fn meet(&mut self, frame: u32) {
        let Some(FrameKind::Parallel { of, arrived, ended, join }) = self.state.frame(frame).map(|f| f.kind.clone())
        else {
            return;
        };
        let over = arrived + ended >= of;
        let Some(join) = join else {
            if over {
                self.state.frames.retain(|f| f.id != frame);
                self.leave(frame, "success", json!({ "arrived": 0, "ended": ended }), None);
            }
            return;
        };
        let needed = match self.join_rule(&join) {
            Rule::All => of - ended,
            Rule::Any => 1,
            Rule::Quorum(n) => n,
        };
        if arrived >= needed {
            return self.go_on_after(frame, &join, json!({ "arrived": arrived, "ended": ended }));
        }
        if over {
            self.state.frames.retain(|f| f.id != frame);
            let why = format!("{arrived} of the {needed} branches that are needed came to the meeting.");
            self.leave(frame, "error", Value::Null, Some(StepError::new("too_few_branches", why)));
        }
    }

    fn join_rule(&self, join: &str) -> Rule {
        match self.definition.step(join).map(|s| &s.action) {
            Some(Action::Join(JoinConfig { rule })) => *rule,
            _ => Rule::All,
        }
    }

    /// The branches are closed, and the run goes on from the meeting in place of the step that forked.
    fn go_on_after(&mut self, frame: u32, join: &str, output: Value) {
        self.close(frame);
        let Some(i) = self.state.tokens.iter().position(|t| t.visit == frame) else { return };
        let parent = self.state.tokens.remove(i);
        self.record_left(&parent, "success", output.clone(), None);
        for step in [parent.step.as_str(), join] {
            let given = super::state::remembered("success", &output, None, false);
            self.state.outputs.insert(step.to_owned(), given);
        }
        let next = self.definition.step(join).and_then(|s| s.transitions.iter().find(|t| t.on == "success"));
        match next.map(|t| t.to.clone()) {
            Some(to) => self.enter(to, parent.frame, parent.branch),
            None => self.finish_path(&parent, output),
        }
    }

    /// Ends everything inside a frame, and the frame.
    pub(super) fn close(&mut self, frame: u32) {
        let inside: Vec<Token> = self.state.tokens.iter().filter(|t| t.frame == Some(frame)).cloned().collect();
        for token in inside {
            self.withdraw(&token);
            self.state.tokens.retain(|t| t.visit != token.visit);
        }
        self.state.frames.retain(|f| f.id != frame);
    }

    pub(super) fn foreach_of(&self, frame: u32) -> Option<&ForeachConfig> {
        match self.definition.step(&self.state.token(frame)?.step).map(|s| &s.action) {
            Some(Action::Foreach(config)) => Some(config),
            _ => None,
        }
    }

    pub(super) fn repeat(&mut self, token: &Token, items: Vec<Value>) {
        if items.is_empty() {
            return self.leave(token.visit, "success", json!({ "count": 0, "failed": 0, "results": [] }), None);
        }
        let frame = token.visit;
        let results = vec![Value::Null; items.len()];
        self.state.frames.push(Frame { id: frame, kind: FrameKind::Each { items, next: 0, results, done: 0, failed: 0 } });
        self.wait(token.visit, Wait::Branches { frame });
        self.begin_items(frame);
    }

    fn begin_items(&mut self, frame: u32) {
        let Some((body, most)) = self.foreach_of(frame).map(|c| (c.body.clone(), c.max_parallel.max(1) as usize)) else {
            return;
        };
        let mut open = self.state.tokens.iter().filter(|t| t.frame == Some(frame)).count();
        while open < most && self.state.ended.is_none() {
            let Some(FrameKind::Each { items, next, .. }) = self.state.frame_mut(frame).map(|f| &mut f.kind) else {
                return;
            };
            let item = *next;
            if item as usize >= items.len() {
                return;
            }
            *next += 1;
            self.enter(body.clone(), Some(frame), item);
            open += 1;
        }
    }

    pub(super) fn item_done(&mut self, frame: u32, item: u32, result: Result<Value, StepError>) {
        let Some(FrameKind::Each { items, results, done, failed, .. }) = self.state.frame_mut(frame).map(|f| &mut f.kind)
        else {
            return;
        };
        *done += 1;
        let given = match result {
            Ok(output) => output,
            Err(error) => {
                *failed += 1;
                json!({ "error": error })
            }
        };
        if let Some(place) = results.get_mut(item as usize) {
            *place = given;
        }
        if (*done as usize) < items.len() {
            return self.begin_items(frame);
        }
        let output = json!({ "count": *done, "failed": *failed, "results": std::mem::take(results) });
        self.state.frames.retain(|f| f.id != frame);
        self.leave(frame, "success", output, None);
    }
}
