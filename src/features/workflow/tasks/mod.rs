//! Tasks: work that somebody owes to a run, and consents, which one person alone gives or declines.
//!
//! # Invariants
//! - A task has people who can do it, or its step fails at once.
//! - One person at a time has a task; it is done once, by whoever has it.
//! - Neither a task is done nor a consent given by a token that somebody else made.
//! - A consent is given by the one person who is asked; the text they saw is kept, and its hash is audited.
//! - What was filled in fits the form.

pub mod api;
mod candidates;
pub mod leaving;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::definitions::Variable;
use crate::base::access::{Permission, Principal};
use crate::base::id::{CommentId, PersonId, RunId, TaskId};
use crate::base::time::Timestamp;

/// What is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Work, perhaps with a form.
    Task,
    /// An answer to a text.
    Consent,
}

impl TaskKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Consent => "consent",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Task, Self::Consent].into_iter().find(|k| k.as_str() == text)
    }
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Nobody has it.
    Open,
    /// Somebody has it.
    Assigned,
    /// Whoever has it waits for something.
    Held,
    /// It is done or answered.
    Done,
    /// The run went on without it.
    Cancelled,
}

impl TaskState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Open, Self::Assigned, Self::Held, Self::Done, Self::Cancelled];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Assigned => "assigned",
            Self::Held => "held",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether nobody owes it any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// How a task that is owed stands, as lists are narrowed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WhichTasks)]
pub enum Which {
    /// Nobody has it.
    Free,
    /// Somebody has it.
    Taken,
    /// Whoever has it waits for something.
    Held,
    /// It should be done by now.
    Overdue,
}

/// How many tasks are owed, in all and by how they stand.
#[derive(Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TaskCounts)]
pub struct Counts {
    /// All that are owed.
    pub open: u32,
    /// Nobody has them.
    pub free: u32,
    /// Somebody has them.
    pub taken: u32,
    /// Whoever has them waits for something.
    pub held: u32,
    /// They should be done by now.
    pub overdue: u32,
}

/// A task.
#[derive(Debug, Clone)]
pub struct Task {
    /// The id.
    pub id: TaskId,
    /// What is owed.
    pub kind: TaskKind,
    /// The run that waits for it.
    pub run_id: RunId,
    /// The visit of the run that waits for it.
    pub visit: u32,
    /// The step's name.
    pub step_name: String,
    /// What is to be done.
    pub title: String,
    /// How; of a consent, the text.
    pub description: String,
    /// What is filled in.
    pub form: Vec<Variable>,
    /// Fields whose values go into variables of the run.
    pub outputs: Vec<String>,
    /// How it stands.
    pub state: TaskState,
    /// Whom the run is about.
    pub subject_id: Option<PersonId>,
    /// Who started the run.
    pub requested_by: Option<PersonId>,
    /// Who may do it.
    pub candidates: Vec<PersonId>,
    /// Who has it.
    pub assignee_id: Option<PersonId>,
    /// What whoever has it waits for.
    pub hold_reason: Option<String>,
    /// Since when it is owed.
    pub created_at: Timestamp,
    /// When it is overdue.
    pub due_at: Option<Timestamp>,
    /// `completed`, `agreed` or `declined`, once it is over.
    pub outcome: Option<String>,
    /// What was filled in.
    pub given: Option<Map<String, Value>>,
    /// What was said with the answer.
    pub reason: Option<String>,
    /// When it was done.
    pub done_at: Option<Timestamp>,
    /// Who did it.
    pub done_by: Option<PersonId>,
}

/// Something somebody wrote about a task.
#[derive(Debug, Clone)]
pub struct Comment {
    /// The id.
    pub id: CommentId,
    /// Who.
    pub person: PersonId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// What one can do with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Take it.
    Claim,
    /// Give it back.
    Release,
    /// Give it to somebody.
    Assign,
    /// Say that it waits for something.
    Hold,
    /// Go on with it.
    Resume,
    /// Finish it.
    Complete,
    /// Agree or decline.
    Answer,
    /// Write about it.
    Comment,
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Claim,
        Self::Release,
        Self::Assign,
        Self::Hold,
        Self::Resume,
        Self::Complete,
        Self::Answer,
        Self::Comment,
    ];
}

/// Why somebody may not do something with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// They may not.
    Forbidden(&'static str),
    /// It does not stand so that it could be done.
    Conflict(&'static str),
}

impl Task {
    /// Whether the caller may know of this task.
    pub fn is_visible_to(&self, by: &Principal) -> bool {
        by.can(Permission::TaskRead) || by.person.as_ref().is_some_and(|p| self.is_party(p) || self.is_about(p))
    }

    fn is_party(&self, person: &PersonId) -> bool {
        self.candidates.contains(person) || self.assignee_id.as_ref() == Some(person)
    }

    fn is_about(&self, person: &PersonId) -> bool {
        self.subject_id.as_ref() == Some(person) || self.requested_by.as_ref() == Some(person)
    }

    /// Why this principal may not do this now; `None` when they may.
    pub fn why_not(&self, by: &Principal, act: Act) -> Option<Refusal> {
        use Refusal::{Conflict, Forbidden};
        let Some(person) = &by.person else { return Some(Forbidden("Only people do tasks.")) };
        let consent = self.kind == TaskKind::Consent;
        match act {
            Act::Answer if !consent => return Some(Conflict("This is a task; complete it.")),
            Act::Complete if consent => return Some(Conflict("This is a consent; answer it.")),
            Act::Claim | Act::Release | Act::Assign | Act::Hold | Act::Resume if consent => {
                return Some(Conflict("A consent is one person's own."));
            }
            _ => {}
        }
        let manages = by.can(Permission::TaskAssign);
        if act == Act::Assign && !manages {
            return Some(Forbidden("Only administrators and resource managers give tasks to others."));
        }
        if act == Act::Comment {
            let takes_part = self.is_party(person) || self.is_about(person);
            return (!(manages || takes_part && by.can(Permission::TaskWork)))
                .then_some(Forbidden("You take no part in it."));
        }
        if !by.can(Permission::TaskWork) {
            return Some(Forbidden("You may not work on tasks with this sign-in."));
        }
        if self.state.is_over() {
            return Some(Conflict("It is over already."));
        }
        let has = self.assignee_id.as_ref() == Some(person);
        match act {
            Act::Claim if !self.candidates.contains(person) => Some(Forbidden("It is not offered to you.")),
            Act::Claim if has => Some(Conflict("You have it already.")),
            Act::Claim if self.state != TaskState::Open => Some(Conflict("Somebody else has it.")),
            Act::Claim | Act::Assign | Act::Comment => None,
            Act::Release | Act::Hold | Act::Resume if self.assignee_id.is_none() => Some(Conflict("Nobody has it.")),
            Act::Release | Act::Hold | Act::Resume if !has && !manages => Some(Forbidden("You do not have it.")),
            Act::Release if self.candidates.len() < 2 => {
                Some(Conflict("Nobody else can do it; an administrator can give it to somebody."))
            }
            Act::Hold if self.state == TaskState::Held => Some(Conflict("It is on hold already.")),
            Act::Resume if self.state != TaskState::Held => Some(Conflict("It is not on hold.")),
            Act::Release | Act::Hold | Act::Resume => None,
            Act::Complete | Act::Answer if !has && self.state == TaskState::Open && self.candidates.contains(person) => {
                Some(Conflict("Claim it first."))
            }
            Act::Complete | Act::Answer if !has => Some(Forbidden("You do not have it.")),
            Act::Complete | Act::Answer if !by.may_decide => {
                Some(Forbidden("A token that somebody else made answers nothing in your name."))
            }
            Act::Complete if self.state == TaskState::Held => Some(Conflict("It is on hold; resume it first.")),
            Act::Complete | Act::Answer => None,
        }
    }
}
