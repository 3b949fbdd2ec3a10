//! Workflows: definitions, the engine that carries runs, the people who decide in them.
//!
//! # Invariants
//! - A run stays on the version it started with.
//! - Every run ends or waits for something that has a name.
//! - Nobody decides about their own request.
//!
//! # Not here
//! What a granted role means in a connected system (the access feature).

pub mod approvals;
pub mod cleanup;
pub mod definitions;
pub mod engine;
pub mod links;
pub mod events;
pub mod exceptions;
pub mod runs;
pub mod tasks;
pub mod writes;

use std::sync::Arc;

use crate::features::connectors::Connectors;
use crate::features::settings::Started;
use crate::platform::blobs::BlobStore;
use crate::platform::http::Routes;
use crate::platform::mail::Mailer;
use crate::platform::queue::JobHandler;
use crate::platform::store::Store;
pub use writes::GOES_ON;

/// What became of work that somebody owed who leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It is not theirs any more.
    NotTheirs,
    /// Others who had it beside them do it.
    ToOthers,
    /// Somebody else got it.
    ToSuccessor,
    /// Nobody could take it; an administrator was told.
    ToNobody,
}

/// What the routes need.
#[derive(Debug, Clone)]
pub struct WorkflowApi {
    /// The business database.
    pub store: Store,
    /// Whether the rule of the second person is on; a saved setting wins.
    pub four_eyes: Started<bool>,
    /// Whether runs may pretend; never in production.
    pub allow_mocks: bool,
    /// Connected systems.
    pub connectors: Connectors,
}

/// The routes of workflows, runs and approvals.
pub fn routes(state: WorkflowApi) -> Routes {
    Routes::new()
        .merge(definitions::api::routes(state.clone()))
        .merge(runs::api::routes(state.clone()))
        .merge(approvals::delegations::api::routes(state.clone()))
        .merge(tasks::api::routes(state.clone()))
        .merge(links::api::routes(state.clone()))
        .merge(events::api::routes(state.clone()))
        .merge(runs::repair::api::routes(state.clone()))
        .merge(exceptions::api::routes(state.clone()))
        .merge(exceptions::break_glass::api::routes(state.clone()))
        .merge(exceptions::adoption::api::routes(state.clone()))
        .merge(exceptions::rotation::api::routes(state.clone()))
        .merge(exceptions::erasure::api::routes(state.clone()))
        .merge(approvals::api::routes(state))
}

/// What the jobs need.
#[derive(Debug, Clone)]
pub struct WorkflowJobs {
    /// Connected systems.
    pub connectors: Connectors,
    /// The files of documents.
    pub blobs: BlobStore,
    /// `STUCK_RUN_TIMEOUT_MINUTES`; a saved setting wins.
    pub stuck_run_timeout: Started<u32>,
    /// Where the mails of links go.
    pub mailer: Mailer,
    /// How addresses of the UI begin.
    pub public_url: String,
}

/// The jobs of this feature.
pub fn jobs(needs: WorkflowJobs) -> Vec<Arc<dyn JobHandler>> {
    let mut all: Vec<Arc<dyn JobHandler>> = vec![
        Arc::new(runs::jobs::AdvanceRun::new(Arc::new(needs.connectors))),
        Arc::new(runs::jobs::StuckRunRecovery { timeout: needs.stuck_run_timeout }),
        Arc::new(cleanup::jobs::RunOrphanCleanup { blobs: needs.blobs }),
        Arc::new(approvals::jobs::EscalationReminder),
        Arc::new(approvals::jobs::EscalationReassignment),
        Arc::new(links::jobs::SendLink::new(needs.mailer, needs.public_url)),
    ];
    all.extend(exceptions::jobs::handlers());
    all
}

#[cfg(test)]
mod tests;
