//! The clock in doubt, as people see it: administrators are told, one of them confirms the time, and what
//! stood back goes on.
//!
//! # Invariants
//! - Administrators are told once of each doubt, in Tenure and by mail.
//! - After a confirmation every end happens at its instant: at once when that has passed, whether the clock
//!   was set right meanwhile or was right all along.
//!
//! # Not here
//! When the clock is in doubt and what stands back (`timekeeping`).

pub mod api;
pub mod jobs;
pub mod ops;

use crate::features::audit::Writes;
use crate::features::notifications::Message;
use crate::features::timekeeping::Doubt;

/// What administrators are told.
pub fn message(doubt: &Doubt) -> Message {
    Message {
        subject: "The clock is in doubt: no access ends by itself".to_owned(),
        body: format!(
            "{} Until an administrator confirms the time, no access and no document ends or begins by itself, timers \
             and deadlines wait, schedules of workflows rest, and nothing is removed for its age. What people do goes \
             on, with the time that the clock shows.\n\n\
             Compare the clock of the machine with another one (timedatectl says whether it is kept in step). If it \
             is wrong, set it right. Then confirm the time on the overview page: what stood back goes on, each at \
             its instant.",
            doubt.why()
        ),
        link: Some("/overview".to_owned()),
        kind: "clock",
    }
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::of("tell-clock-doubt", &[]),
    Writes::of("resume-expiry", &[]),
];
