//! The outside world: files, sockets, processes, time. Knows no feature.

pub mod archive;
pub mod blobs;
pub mod clock;
pub mod faults;
pub mod http;
pub mod lifecycle;
pub mod mail;
pub mod metrics;
pub mod outbound;
pub mod pieces;
pub mod queue;
pub mod redis;
pub mod script;
pub mod sealed;
pub mod secrets;
pub mod store;
pub mod telemetry;
