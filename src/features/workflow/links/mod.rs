//! One-time links: invitations, and proofs that an address is somebody's.
//!
//! # Invariants
//! - A token has 256 random bits. Only its SHA-256 is stored; in clear it stands in the mail alone.
//! - A link is used once, before it expires; looking at it uses nothing up, so that a mail filter which
//!   follows links does no harm.
//! - A link that nobody follows expires, and its run goes on with that outcome.

pub mod api;
pub mod jobs;
pub mod ops;
pub mod store;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::definitions::Variable;
use crate::base::id::{LinkId, PersonId, RunId};
use crate::base::time::Timestamp;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// Somebody is invited.
    Invitation,
    /// Somebody proves that an address is theirs.
    VerifyContact,
}

impl LinkKind {
    /// The name in the database, and of the mail's template.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::VerifyContact => "verify_contact",
        }
    }

    /// The kind with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Invitation, Self::VerifyContact].into_iter().find(|k| k.as_str() == text)
    }
}

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// It can be followed.
    Open,
    /// It was followed.
    Used,
    /// Nobody followed it in time.
    Expired,
    /// The run went on without it.
    Cancelled,
}

impl LinkState {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Used, Self::Expired, Self::Cancelled].into_iter().find(|s| s.as_str() == text)
    }
}

/// A link.
#[derive(Debug, Clone)]
pub struct Link {
    /// The id.
    pub id: LinkId,
    /// What it is for.
    pub kind: LinkKind,
    /// The run that waits for it.
    pub run_id: RunId,
    /// The visit of the run that waits for it.
    pub visit: u32,
    /// Where it was sent.
    pub email: String,
    /// How whoever follows it is called.
    pub display_name: String,
    /// What they should know.
    pub message: String,
    /// Whose address is proven.
    pub person_id: Option<PersonId>,
    /// What is filled in.
    pub form: Vec<Variable>,
    /// Whether the run is about them from then on.
    pub becomes_subject: bool,
    /// How it stands in the database; see [`Link::state_at`].
    pub state: LinkState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it works no more.
    pub expires_at: Timestamp,
    /// When it was mailed.
    pub mailed_at: Option<Timestamp>,
    /// When it was followed.
    pub used_at: Option<Timestamp>,
}

impl Link {
    /// How it stands at an instant: it is expired from its instant on, whether or not that was written down.
    pub fn state_at(&self, now: Timestamp) -> LinkState {
        if self.state == LinkState::Open && now >= self.expires_at { LinkState::Expired } else { self.state }
    }
}

/// What is stored of a token; nothing for a text that is no token.
pub fn token_hash(token: &str) -> Option<[u8; 32]> {
    let sound = token.len() == 64 && token.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    sound.then(|| Sha256::digest(token).into())
}
