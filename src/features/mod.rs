//! What the product does, one folder each, from low to high; each may use those above it.

pub mod audit;
pub mod timekeeping;
pub mod settings;
pub mod syslog;
pub mod identity;
pub mod notifications;
pub mod checkpoints;
pub mod jobs;
pub mod connectors;
pub mod access;
pub mod workflow;
pub mod schedules;
pub mod clock;
pub mod lifecycle;
pub mod scim;
pub mod imports;
pub mod evidence;
pub mod backup;
pub mod health;
