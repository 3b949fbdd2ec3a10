//! Hooks: events that connected systems bring on their own, signed.
//!
//! # Not here
//! What a signature is and which events a system may bring: [`crate::features::connectors::hooks`].

pub mod api;
