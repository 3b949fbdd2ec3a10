//! Lifecycle: what follows when somebody leaves.
//!
//! # Invariants
//! - Every assignment from before somebody left is revoked, also when they came back meanwhile.
//! - Their own open requests are cancelled; the run that closed them is not.
//! - Work that they owed goes to others who had it beside them, to their manager, or an administrator is told.
//! - The job takes up where it was cut: each page is one transaction and looks at what is left.
//!
//! # Not here
//! Who leaves and whether that is held (`identity::leavers`).

pub mod api;
pub mod jobs;
pub mod ops;
pub mod store;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::features::audit::Writes;
use crate::features::identity::leavers;
use crate::features::{access, workflow};
use crate::features::workflow::Handed;
use crate::platform::queue::JobHandler;

/// How much was ended and handed over; stored with the leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ended {
    /// Assignments revoked.
    pub assignments: u32,
    /// Requests cancelled.
    pub requests: u32,
    /// Approvals and tasks that others have now.
    pub handed_over: u32,
    /// Approvals and tasks that nobody could take.
    pub left_over: u32,
    /// What went wrong, in words.
    pub failed: Vec<String>,
}

impl Ended {
    fn count(&mut self, handed: Handed) {
        match handed {
            Handed::NotTheirs => {}
            Handed::ToOthers | Handed::ToSuccessor => self.handed_over += 1,
            Handed::ToNobody => self.left_over += 1,
        }
    }
}

/// The jobs of this feature.
pub fn jobs() -> Vec<Arc<dyn JobHandler>> {
    vec![Arc::new(jobs::EndLeaver), Arc::new(jobs::TellHeld)]
}

/// What the operations and jobs of this feature write into the log.
pub const WRITES: &[Writes] = &[
    Writes::with("POST /api/people/{id}/deactivate", &["person.leave_held"], &[leavers::LEAVES]),
    Writes::of("POST /api/people/{id}/reactivate", &["person.reactivated", "person.leave_withdrawn"]),
    Writes::with("POST /api/leavers/decide", &["person.leave_released", "person.leave_dismissed"], &[leavers::LEAVES]),
    Writes::with(
        "end-leaver-access",
        &["approval.reassigned", "task.assigned"],
        &[access::COMES_AND_GOES, workflow::GOES_ON],
    ),
    Writes::of("tell-held-leavers", &[]),
];
