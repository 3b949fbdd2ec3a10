//! What every other module may use: clock, ids, instants, pages, problems, principals.
//!
//! # Invariants
//! - Nothing here does I/O or spawns a task; time, ids and randomness are ports that callers pass in.
//!
//! # Not here
//! Implementations that touch the world ([`crate::platform::clock`]) and any rule of a feature.

pub mod access;
pub mod clock;
pub mod cron;
pub mod csv;
pub mod id;
pub mod memo;
pub mod page;
pub mod problem;
pub mod strict;
pub mod template;
pub mod time;
pub mod yaml;

pub use access::{Permission, Principal, SystemRole};
pub use clock::Clock;
pub use id::Ids;
pub use page::{Page, PageRequest};
pub use problem::{FieldError, Problem};
pub use time::Timestamp;
