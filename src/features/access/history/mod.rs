//! History: who had what on a past day, why, and who agreed to it.
//!
//! How something stood is what the audit log says of it: every change of an assignment, a grant or a document
//! has its entry there, with the object after the change, and nothing else is as hard to change afterwards.
//! `access_period` is an index over those entries that the database keeps itself, entry by entry, because a page
//! of a past day among a hundred thousand assignments cannot be found by reading their entries one by one.
//!
//! # Invariants
//! - What is shown of a past instant does not change any more, whatever happens later.
//! - An instant to come has no history: it is refused.
//! - A person sees the history of what they may see now.
//!
//! # Not here
//! Who decided in a run: `app` plugs that in ([`Decisions`]), for runs stand above access.

pub mod api;
pub mod csv;
pub mod ops;
pub mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use super::assignments::Assignment;
use super::documents::DocumentState;
use crate::base::access::ExceptionMark;
use crate::base::id::{DocumentId, PersonId, RunId};
use crate::base::problem::Problem;
use crate::base::time::{Timestamp, day_in};
use crate::features::identity::people::PersonRef;
use crate::platform::store::Tx;

/// The instant that a question about the past is about: an instant as it stands, or the end of a day where the
/// organisation is. Of the day that is not over yet it is `now`.
pub fn as_of(text: &str, zone: &jiff::tz::TimeZone, now: Timestamp) -> Result<Timestamp, Problem> {
    let at = match (day_in(zone, text), text.parse::<Timestamp>()) {
        // Access that ends at 24:00 was there on that day: the day's last millisecond, not the next day's first.
        (Some(day), _) if day.start <= now => Timestamp::from_millis(day.end.as_millis() - 1).min(now),
        (Some(day), _) => day.start,
        (None, Ok(at)) => at,
        (None, Err(_)) => {
            return Err(Problem::field(
                "asOf",
                format!("got \"{text}\"; expected a day such as 2031-03-01, or an instant such as 2031-03-01T12:00:00Z"),
            ));
        }
    };
    if at > now {
        return Err(Problem::field("asOf", format!("got \"{text}\"; expected an instant up to now, {now}")));
    }
    Ok(at)
}

/// How somebody came to stand behind access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// They approved it in its run.
    Approval,
    /// Nobody decided in time, and the workflow lets that count as approved.
    Escalation,
    /// A step of its run that others would have decided was passed over by them.
    PassedOver,
    /// They agreed, as the second person, that it is given outside a run.
    SecondPerson,
    /// They gave it outside a run, where one person may.
    Alone,
    /// They brought it in from a file.
    Import,
    /// They took it themselves in an emergency.
    Emergency,
    /// They let it last longer, or agreed to that.
    Extension,
}

impl Way {
    /// The name on the wire and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Escalation => "escalation",
            Self::PassedOver => "passed_over",
            Self::SecondPerson => "second_person",
            Self::Alone => "alone",
            Self::Import => "import",
            Self::Emergency => "emergency",
            Self::Extension => "extension",
        }
    }

    /// The way that an exception from the rules says.
    pub fn of(mark: &ExceptionMark) -> Self {
        match mark.id.as_deref().and_then(|id| id.split_once('_')) {
            Some(("brk", _)) => Self::Emergency,
            Some(("imp", _)) => Self::Import,
            _ if mark.decided_by.is_some() => Self::SecondPerson,
            _ => Self::Alone,
        }
    }
}

/// Who agreed to access, and when.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PastApprover)]
pub struct Approver {
    /// Who; null when nobody decided.
    pub person: Option<PersonRef>,
    /// How.
    pub way: Way,
    /// When.
    pub at: Timestamp,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The step of the run.
    pub step: Option<String>,
    /// For whom they decided.
    pub on_behalf_of: Vec<PersonRef>,
    /// Who asked for it, where somebody else agreed.
    pub asked_by: Option<PersonRef>,
}

/// A decision in a run, as the workflow tells it.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Who; nobody when the escalation decided.
    pub person: Option<PersonId>,
    /// How.
    pub way: Way,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// In which step.
    pub step: String,
    /// For whom.
    pub on_behalf_of: Vec<PersonId>,
    /// Who asked, where somebody else agreed.
    pub asked_by: Option<PersonId>,
}

/// What was decided in favour of a run's wish, up to an instant.
#[derive(Clone)]
pub struct Decisions(pub Arc<DecisionsOf>);

/// The function behind [`Decisions`].
pub type DecisionsOf = dyn Fn(&Tx<'_>, &RunId, Timestamp) -> Result<Vec<Decision>, Problem> + Send + Sync;

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decisions")
    }
}

impl Decisions {
    /// Nobody ever decides: where there are no workflows.
    pub fn none() -> Self {
        Self(Arc::new(|_, _, _| Ok(Vec::new())))
    }

    fn of(&self, tx: &Tx<'_>, run: &RunId, until: Timestamp) -> Result<Vec<Decision>, Problem> {
        (self.0)(tx, run, until)
    }
}

/// Who made a change.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PastChangedBy)]
pub struct By {
    /// `person`, `cli`, `scim` or `system`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id.
    pub id: String,
    /// The name at that time.
    pub name: String,
}

/// A document that an assignment rests on.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestsOn {
    /// The id.
    pub id: DocumentId,
    /// What it is, such as `training-certificate`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stood.
    pub state: DocumentState,
    /// Until when it counts.
    pub expires_at: Timestamp,
}

/// How an assignment stood at an instant, with what it rests on and who stands behind it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentRecord {
    /// The assignment as it was.
    #[serde(flatten)]
    pub assignment: Assignment,
    /// The instant that this is about.
    pub as_of: Timestamp,
    /// When it was granted.
    pub granted_at: Option<Timestamp>,
    /// Who granted it.
    pub granted_by: Option<By>,
    /// The documents that it rests on.
    pub documents: Vec<RestsOn>,
    /// When a document ends it, if that is before its own end.
    pub document_ends_at: Option<Timestamp>,
    /// Who agreed to it until then, in order; nobody when nobody was asked.
    pub approved_by: Vec<Approver>,
}

/// One change of an assignment, or of one of its grants.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssignmentChange)]
pub struct Change {
    /// Its place in the audit log.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What, such as `role.extended`.
    pub action: String,
    /// Who.
    pub by: By,
    /// Who asked for it, where the rules let nobody do it alone.
    pub asked_by: Option<PersonRef>,
    /// Who agreed to it, where the rules let nobody do it alone.
    pub agreed_by: Option<PersonRef>,
    /// Why.
    pub reason: Option<String>,
    /// The state from then on: of the assignment, or of the grant.
    pub state: Option<String>,
    /// The end from then on.
    pub expires_at: Option<Timestamp>,
    /// The entitlement, where it is about a grant.
    pub entitlement: Option<String>,
}

/// When a document ends an assignment before its own end at `expires_at`.
pub fn ends_before(document_end: Option<Timestamp>, expires_at: Option<Timestamp>) -> Option<Timestamp> {
    document_end.filter(|end| expires_at.is_none_or(|own| *end < own))
}
