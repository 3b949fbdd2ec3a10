//! Sessions: signed-in browsers.
//!
//! # Invariants
//! - A session ends 30 minutes after it was last seen, 24 hours after it began, and with its account's
//!   epoch.
//! - `last_seen` is written at most once a minute.

pub mod api;
pub mod ops;
pub mod place;
pub mod redis;
pub mod store;
pub mod throttle;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::id::{AccountId, SessionId};
use crate::base::time::Timestamp;

/// Ends this long after it was last seen.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// Ends this long after it began.
pub const ABSOLUTE: Duration = Duration::from_secs(24 * 3600);
/// `last_seen` is not written more often.
pub const TOUCH: Duration = Duration::from_secs(60);

/// How somebody proved who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By the password of a local account.
    #[default]
    Password,
    /// The OpenID provider says so.
    Oidc,
    /// By a passkey.
    Passkey,
}

impl Method {
    /// The name in the database and in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Oidc => "oidc",
            Self::Passkey => "passkey",
        }
    }

    /// The method with this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Password, Self::Oidc, Self::Passkey].into_iter().find(|m| m.as_str() == text)
    }
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The account's epoch at sign-in.
    pub epoch: i64,
    /// What unsafe requests must carry.
    pub csrf: String,
    /// Where it began.
    pub address: Option<String>,
    /// What the browser called itself, cut.
    pub device: Option<String>,
    /// How it began.
    pub method: Method,
    /// The provider's ID token, sealed: it is wanted back at the sign-out.
    pub id_token: Option<Vec<u8>>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last seen, to the minute.
    pub last_seen_at: Timestamp,
}

impl Session {
    /// When it ends unless it is seen before.
    pub fn expires_at(&self) -> Timestamp {
        self.last_seen_at.plus(IDLE).min(self.created_at.plus(ABSOLUTE))
    }

    /// Whether it is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_idling_or_by_age_whichever_comes_first() {
        let at = |minutes: u64| Timestamp::from_millis(0).plus(Duration::from_secs(60 * minutes));
        let session = |last: u64| Session {
            id: crate::base::id::TypedId::from_stored("ses_x".to_owned()),
            account_id: crate::base::id::TypedId::from_stored("acc_x".to_owned()),
            epoch: 1,
            csrf: String::new(),
            address: None,
            device: None,
            method: Method::Password,
            id_token: None,
            created_at: at(0),
            last_seen_at: at(last),
        };
        assert!(!session(10).is_over(at(39)));
        assert!(session(10).is_over(at(40)));
        assert!(session(1430).is_over(at(1440)));
    }
}
