//! Notifications: messages to people, in the UI and by mail.
//!
//! # Invariants
//! - A message commits with the change it tells of, together with the job that mails it.
//! - A message is mailed at least once and marked so; marking keeps a repeated job from mailing again.
//! - A person sees their own messages only.

pub mod api;
pub mod digest;
pub mod jobs;
pub mod ops;
pub mod store;
pub mod templates;

use serde::{Deserialize, Serialize};

use crate::base::id::{NotificationId, PersonId};
use crate::base::time::Timestamp;
use crate::features::audit::Writes;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// A path of the UI to go to, such as `/inbox`.
    pub link: Option<String>,
    /// What it is about, such as `approval.opened`.
    pub kind: &'static str,
}

/// How a person wants their mails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailChoice {
    /// Alone until there are many, then together, as the installation is set.
    #[default]
    Usual,
    /// Each message alone.
    Each,
    /// Always together, in the rhythm of the installation.
    Together,
}

impl MailChoice {
    /// The name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "usual",
            Self::Each => "each",
            Self::Together => "together",
        }
    }

    /// The choice with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Usual, Self::Each, Self::Together].into_iter().find(|c| c.as_str() == text)
    }
}

/// A message to one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The id.
    pub id: NotificationId,
    /// To whom.
    pub person: PersonId,
    /// What it is about.
    pub kind: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// A path of the UI to go to.
    pub link: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When the person read it.
    pub read_at: Option<Timestamp>,
    /// When it was handed to the mail system.
    pub mailed_at: Option<Timestamp>,
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/notifications/read-all", &[]),
    Writes::of("POST /api/notifications/{id}/read", &[]),
    Writes::of("PUT /api/notifications/choice", &["notification_choice.changed"]),
    Writes::of("PUT /api/notifications/templates/{key}", &["notification_template.changed"]),
    Writes::of("DELETE /api/notifications/templates/{key}", &["notification_template.restored"]),
    Writes::of("POST /api/notifications/templates/{key}/preview", &[]),
    Writes::of("send-mail", &[]),
    Writes::of("send-digest", &[]),
];
