//! Accounts: how a person signs in, with which system roles, and API tokens.

pub mod api;
pub mod common;
pub mod ops;
pub mod password;
pub mod store;

use crate::base::access::SystemRole;
use crate::base::id::{AccountId, PersonId};

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The id.
    pub id: AccountId,
    /// Whose it is.
    pub person_id: PersonId,
    /// The address that is typed at sign-in.
    pub email: String,
    /// False once it was disabled.
    pub active: bool,
    /// Sessions with another epoch are over.
    pub epoch: i64,
    /// System roles.
    pub roles: Vec<SystemRole>,
    /// Whether a code is asked for after the password.
    pub second_factor: bool,
}
