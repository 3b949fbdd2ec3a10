//! Events from outside, as they come in over HTTP.
//!
//! # Not here
//! Which runs wait for them and which workflows they start: [`super::runs::signals`].

pub mod api;
pub mod hooks;
