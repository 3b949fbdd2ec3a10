//! `run-orphan-cleanup`: the nightly removal of what runs leave behind.
//!
//! What counts as an artifact, and when it goes:
//!
//! - **Waits** for documents, of runs that ended or are no longer there: at once.
//! - **Large outputs** of steps, above [`INLINE`] bytes, of runs that ended [`LONG_AGO`] or earlier. In
//!   their place stands how large they were and when they went. Smaller outputs, events, approvals and
//!   the state that a run could be carried on from are its history and stay.
//! - **Contents** of `blobs/` that no document refers to, and files there without a row: after 24 hours
//!   (`access::documents::cleanup`).
//!
//! # Invariants
//! - Every part removes page by page, may stop between two, and finds by itself what is left.
//! - What is removed is audited with its removal; a night without anything to remove writes nothing.

pub mod jobs;
pub mod store;

use std::time::Duration;

/// The largest output of a step that stays for good, in bytes. The index `run_step_large` knows it too.
pub const INLINE: u64 = 16 * 1024;
/// How long ago a run ended whose large outputs go.
pub const LONG_AGO: Duration = Duration::from_secs(90 * 24 * 60 * 60);
