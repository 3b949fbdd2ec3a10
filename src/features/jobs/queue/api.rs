//! The queue over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{QueueBackend, ops};
use crate::base::access::{Principal, may};
use crate::base::problem::Problem;
use crate::platform::http::{Allowed, Failure, Routes};
use crate::platform::queue::{QueueRuntime, ledger, views};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Clone)]
pub struct QueueApi {
    /// The business database, where the ledger is.
    pub store: Store,
    /// The running queue; absent where no server runs.
    pub queue: Option<Arc<QueueRuntime>>,
    /// What carries the attempts.
    pub backend: QueueBackend,
}

/// The routes of the queue.
pub fn routes(state: QueueApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(get_queue))
        .routes(routes!(pause_queue))
        .routes(routes!(resume_queue))
        .with_state(state)
}

/// The queue as a whole.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueInfo {
    /// Whether jobs are held back.
    paused: bool,
    /// What carries the attempts.
    backend: QueueBackend,
    /// Failed jobs that are kept.
    failed_kept: u64,
    /// How many are kept at most; the oldest leave first.
    failed_limit: u32,
    /// Completed jobs that are kept.
    completed_kept: u64,
    /// How many are kept at most; the oldest leave first.
    completed_limit: u32,
}

impl QueueApi {
    fn running(&self) -> Result<&Arc<QueueRuntime>, Problem> {
        self.queue.as_ref().ok_or_else(|| Problem::refused("No server runs, so that no queue does. Start tenure first."))
    }

    async fn info(&self) -> Result<Json<QueueInfo>, Failure> {
        let paused = self.running()?.is_paused().await?;
        let counts = self.store.read(views::count_jobs).await?;
        Ok(Json(QueueInfo {
            paused,
            backend: self.backend,
            failed_kept: counts.failed,
            failed_limit: ledger::KEEP_FAILED,
            completed_kept: counts.completed,
            completed_limit: ledger::KEEP_DONE,
        }))
    }

    async fn pause(&self, by: Principal, paused: bool) -> Result<Json<QueueInfo>, Failure> {
        let queue = self.running()?;
        if queue.is_paused().await? != paused {
            self.store.write(move |tx| ops::record_pause(tx, &by, paused)).await?;
            if paused { queue.pause().await? } else { queue.resume().await? }
        }
        self.info().await
    }
}

/// How the queue is.
#[utoipa::path(get, path = "/api/queue", tag = "jobs", responses((status = 200, body = QueueInfo)))]
async fn get_queue(_: Allowed<may::JobRead>, State(api): State<QueueApi>) -> Result<Json<QueueInfo>, Failure> {
    api.info().await
}

/// Holds all jobs back until the queue is resumed, over restarts too; what runs goes on.
#[utoipa::path(post, path = "/api/queue/pause", tag = "jobs", responses((status = 200, body = QueueInfo)))]
async fn pause_queue(
    caller: Allowed<may::JobManage>,
    State(api): State<QueueApi>,
) -> Result<Json<QueueInfo>, Failure> {
    api.pause(caller.principal, true).await
}

/// Lets the queue go on.
#[utoipa::path(post, path = "/api/queue/resume", tag = "jobs", responses((status = 200, body = QueueInfo)))]
async fn resume_queue(
    caller: Allowed<may::JobManage>,
    State(api): State<QueueApi>,
) -> Result<Json<QueueInfo>, Failure> {
    api.pause(caller.principal, false).await
}
