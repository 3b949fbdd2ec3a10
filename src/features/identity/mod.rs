//! Identity: people, the accounts they sign in with, sessions, API tokens, first start.
//!
//! # Invariants
//! - A session is valid while its epoch equals the account's: disabling an account or a new password
//!   ends all of its sessions in the same transaction.
//! - Passwords, session tokens and API tokens are kept as hashes only.
//! - Whoever leaves has no session, no token, no system role and no group from the same transaction on; what
//!   else they held is ended by a job that the transaction makes. More people than a threshold do not leave
//!   by one source on one day without an administrator.
//! - Nobody reports to themselves, not even through others.
//! - Signing in takes the same time for known and unknown addresses.
//!
//! # Not here
//! What a role allows ([`crate::base::access`]); business roles (the access feature).

pub mod accounts;
pub mod api;
pub mod groups;
pub mod leavers;
pub mod oidc;
pub mod passkeys;
pub mod people;
pub mod policy;
pub mod second_factor;
pub mod sessions;
pub mod setup;
pub mod writes;
#[cfg(test)]
mod tests;
