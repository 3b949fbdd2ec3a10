//! Approvals: decisions that somebody owes.
//!
//! An approval has stages, one after the other. When a stage opens, its approvers are found: delegations
//! and absences that are in force then are followed, so that a seat is held by somebody who can decide,
//! perhaps on behalf of somebody else. Votes are counted by the rule of the stage.
//!
//! # Invariants
//! - Nobody decides about their own request: neither who asked nor whom it is about, not even an
//!   administrator, and nobody to whom such a person passed it on; a token that somebody else made never
//!   decides, and whoever made the one it was asked for with does not, nor whoever changed what it is about.
//! - With the rule of the second person on, whoever published a workflow is not its only approver.
//! - A person votes once in an approval, in whichever stage and for however many others.
//! - An approval is decided once, and its escalation ends with it.
//! - A rejection has a reason.
//! - If those who can decide are too few for the rule, the step fails at once instead of waiting for ever,
//!   and an administrator is told.
//!
//! # Not here
//! What follows from a decision (the engine).

pub mod api;
pub mod delegations;
pub mod escalation;
pub mod jobs;
pub mod leaving;
pub mod ops;
pub mod resolve;
pub mod rules;
mod stages;
pub mod store;
pub mod turns;
mod view;

use serde::{Deserialize, Serialize};

use super::definitions::{ApprovalConfig, Approver, Pattern, Rule};
use crate::base::access::{Permission, Principal};
use crate::base::id::{ApprovalId, JobId, PersonId, RoleId, RunId};
use crate::base::time::Timestamp;
use rules::{Need, Tally};

/// The longest reason, question and answer.
pub const MAX_TEXT: usize = 4_000;

/// How an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// It is not decided.
    Pending,
    /// As many said yes as its rules want.
    Approved,
    /// Too many said no.
    Rejected,
    /// Nobody decided in time, or nobody could.
    Failed,
    /// The run ended before it was decided.
    Cancelled,
}

impl ApprovalState {
    const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Rejected, Self::Failed, Self::Cancelled];

    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// An approval.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The id.
    pub id: ApprovalId,
    /// The run that waits for it.
    pub run_id: RunId,
    /// The visit of the run that waits for it.
    pub visit: u32,
    /// The step's name.
    pub step_name: String,
    /// The settings, with every template filled in.
    pub config: ApprovalConfig,
    /// How it stands.
    pub state: ApprovalState,
    /// Whom it is about.
    pub subject_id: Option<PersonId>,
    /// Who asked.
    pub requested_by: Option<PersonId>,
    /// The business role it is about.
    pub role_id: Option<RoleId>,
    /// The stage that is open, counted from 1; the last one that was when it is decided.
    pub stage: u32,
    /// When that stage was opened.
    pub stage_opened_at: Timestamp,
    /// Since when it waits.
    pub created_at: Timestamp,
    /// When it is overdue.
    pub due_at: Option<Timestamp>,
    /// When it was decided.
    pub decided_at: Option<Timestamp>,
    /// Who decided; with several, who gave the last vote.
    pub decided_by: Option<PersonId>,
    /// Whether the escalation decided, because nobody had.
    pub by_escalation: bool,
    /// Whether it was approved without anybody having approved.
    pub exception: bool,
    /// Why.
    pub reason: Option<String>,
    /// Who decides, in every stage that was opened, also those who passed it on.
    pub seats: Vec<Seat>,
    /// What was decided so far, in order.
    pub votes: Vec<Vote>,
    /// Who must not decide in it, beside whoever asked and whom it is about.
    pub barred: Vec<(PersonId, Bar)>,
}

/// Somebody who decides in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The stage, counted from 1.
    pub stage: u32,
    /// Who.
    pub person: PersonId,
    /// Whether they are an approver themselves.
    pub own: bool,
    /// For whom else they decide.
    pub on_behalf_of: Vec<PersonId>,
    /// How often it was passed on until it came to them.
    pub hops: u32,
    /// When they passed it on, or it was taken from them.
    pub left_at: Option<Timestamp>,
}

/// What an approver decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The stage, counted from 1.
    pub stage: u32,
    /// Who.
    pub person: PersonId,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What kind of note it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoteKind {
    /// An approver asks.
    Question,
    /// The requestor or the subject answers.
    Answer,
}

impl NoteKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Answer => "answer",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Question, Self::Answer].into_iter().find(|k| k.as_str() == text)
    }
}

/// A question or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its place, counted from 1.
    pub seq: u32,
    /// What it is.
    pub kind: NoteKind,
    /// Who wrote it.
    pub person: PersonId,
    /// The text.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// Why somebody must not decide in an approval, beside whoever asked and whom it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// It was asked for with a token that they made.
    Token,
    /// They changed what it is about.
    Edit,
    /// The run is part of one that is about them.
    Around,
}

impl Bar {
    /// The bar with this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "token" => Some(Self::Token),
            "edit" => Some(Self::Edit),
            "around" => Some(Self::Around),
            _ => None,
        }
    }

    /// What somebody is told whom it keeps from deciding.
    pub fn why(self) -> &'static str {
        match self {
            Self::Token => "It was asked for with a token that you made; somebody else decides.",
            Self::Edit => "You changed what it is about; somebody else decides.",
            Self::Around => "It is part of a request about you; somebody else decides.",
        }
    }
}

/// What a rung of an escalation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RungKind {
    /// Reminds those who have not decided.
    Remind,
    /// Gives it to somebody else.
    Reassign,
    /// Ends it.
    Last,
}

impl RungKind {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remind => "remind",
            Self::Reassign => "reassign",
            Self::Last => "last",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Remind, Self::Reassign, Self::Last].into_iter().find(|k| k.as_str() == text)
    }
}

/// What happens to an overdue approval at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Counted from 1 over all stages of the approval.
    pub level: u32,
    /// The stage it belongs to.
    pub stage: u32,
    /// What happens.
    pub kind: RungKind,
    /// When.
    pub due_at: Timestamp,
    /// The job that waits for it.
    pub job: JobId,
    /// Whether it happened, or is not needed any more.
    pub over: bool,
}

impl Approval {
    /// How many stages it has.
    pub fn stages(&self) -> u32 {
        match self.config.pattern {
            Pattern::Sequential => u32::try_from(self.config.stages.len()).unwrap_or(u32::MAX),
            Pattern::Single | Pattern::Parallel => 1,
        }
    }

    /// The configured approvers of a stage.
    pub fn approvers_of(&self, stage: u32) -> &[Approver] {
        match self.config.pattern {
            Pattern::Sequential => self.config.stages.get(index(stage)).map_or(&[], |s| &s.approvers),
            Pattern::Single | Pattern::Parallel => &self.config.approvers,
        }
    }

    /// The rule of a stage; none when whoever decides first decides.
    pub fn rule_of(&self, stage: u32) -> Option<Rule> {
        match self.config.pattern {
            Pattern::Single => None,
            Pattern::Parallel => Some(self.config.rule),
            Pattern::Sequential => Some(self.config.stages.get(index(stage)).map_or(Rule::Any, |s| s.rule)),
        }
    }

    /// How many have to approve in a stage.
    pub fn need_of(&self, stage: u32) -> Need {
        self.rule_of(stage).map_or(Need::First, Need::of)
    }

    /// How a stage is called; empty when it has no name.
    pub fn stage_name(&self, stage: u32) -> &str {
        match self.config.pattern {
            Pattern::Sequential => self.config.stages.get(index(stage)).map_or("", |s| &s.name),
            Pattern::Single | Pattern::Parallel => "",
        }
    }

    /// What this person decided.
    pub fn vote_of(&self, person: &PersonId) -> Option<&Vote> {
        self.votes.iter().find(|v| v.person == *person)
    }

    /// Who still may decide in the open stage.
    pub fn open_seats(&self) -> impl Iterator<Item = &Seat> {
        self.seats
            .iter()
            .filter(|s| s.stage == self.stage && s.left_at.is_none() && self.vote_of(&s.person).is_none())
    }

    /// The seat that this person has in the open stage and has not left.
    pub fn seat_of(&self, person: &PersonId) -> Option<&Seat> {
        self.seats.iter().find(|s| s.stage == self.stage && s.left_at.is_none() && s.person == *person)
    }

    /// The votes of the open stage.
    pub fn tally(&self) -> Tally {
        let of_stage = || self.votes.iter().filter(|v| v.stage == self.stage);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Tally {
            approvals: count(of_stage().filter(|v| v.approves).count()),
            rejections: count(of_stage().filter(|v| !v.approves).count()),
            open: count(self.open_seats().count()),
        }
    }

    /// Whether it is this person's own request.
    pub fn is_party(&self, person: &PersonId) -> bool {
        self.requested_by.as_ref() == Some(person) || self.subject_id.as_ref() == Some(person)
    }

    /// Everybody whose own request it is.
    pub fn parties(&self) -> Vec<PersonId> {
        let mut parties: Vec<PersonId> = self.requested_by.iter().chain(&self.subject_id).cloned().collect();
        parties.dedup();
        parties
    }

    /// Why this principal may not decide; `None` when they may.
    pub fn why_not(&self, by: &Principal) -> Option<&'static str> {
        let Some(person) = &by.person else { return Some("Only people decide.") };
        if self.state != ApprovalState::Pending {
            return Some("It is decided already.");
        }
        if self.requested_by.as_ref() == Some(person) {
            return Some("You asked for it; somebody else decides.");
        }
        if self.subject_id.as_ref() == Some(person) {
            return Some("It is about you; somebody else decides.");
        }
        if let Some((_, bar)) = self.barred.iter().find(|(p, _)| p == person) {
            return Some(bar.why());
        }
        if self.vote_of(person).is_some() {
            return Some("You have decided; it waits for others.");
        }
        if self.seat_of(person).is_none() {
            return Some("It is not assigned to you.");
        }
        if !by.may_decide || !by.can(Permission::ApprovalDecide) {
            return Some("You may not decide with this sign-in.");
        }
        None
    }
}

fn index(stage: u32) -> usize {
    stage.saturating_sub(1) as usize
}

#[cfg(test)]
mod tests;
