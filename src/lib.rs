//! Tenure: access that ends on time.
//!
//! Modules stand in dependency order; each may use those above it and none below.

pub mod base;
pub mod config;
pub mod platform;
pub mod features;
pub mod app;
pub mod cli;
