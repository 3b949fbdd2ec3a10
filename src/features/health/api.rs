//! Health over HTTP, without signing in, and the figures of the machine room.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::checks::Checks;
use super::{Health, Overall};
use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::http::{Allowed, Failure, Routes};
use crate::platform::store::{PoolStats, Store, WriterStats};

/// What the routes need.
#[derive(Clone)]
pub struct HealthApi {
    /// Asks the parts.
    pub checks: Checks,
    /// Cancelled when the process goes down.
    pub stopping: CancellationToken,
    /// The business database.
    pub store: Store,
    /// When the process started.
    pub started_at: Timestamp,
}

/// The routes of health.
pub fn routes(state: HealthApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(system))
        .with_state(state)
}

/// How Tenure and its dependencies are; 503 when degraded, for load balancers.
#[utoipa::path(get, path = "/api/health", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn health(State(api): State<HealthApi>) -> (StatusCode, Json<Health>) {
    let health = api.checks.health().await;
    let status = match health.status {
        Overall::Ok => StatusCode::OK,
        Overall::Degraded => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health))
}

/// A yes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Yes {
    /// Always `ok`.
    status: &'static str,
}

/// 200 while the process runs.
#[utoipa::path(get, path = "/api/health/live", tag = "health", security(()), responses((status = 200, body = Yes)))]
async fn live() -> Json<Yes> {
    Json(Yes { status: "ok" })
}

/// 503 while draining or without a database.
#[utoipa::path(get, path = "/api/health/ready", tag = "health", security(()),
    responses((status = 200, body = Yes), (status = 503)))]
async fn ready(State(api): State<HealthApi>) -> Result<Json<Yes>, Failure> {
    if api.stopping.is_cancelled() {
        return Err(Problem::unavailable("Tenure is shutting down.", 5).into());
    }
    if !api.checks.database_is_up().await {
        return Err(Problem::unavailable("The database does not answer.", 5).into());
    }
    Ok(Json(Yes { status: "ok" }))
}

/// The figures of the machine room.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct System {
    /// Tenure's version.
    version: &'static str,
    /// SQLite's version.
    sqlite_version: String,
    /// When the process started.
    started_at: Timestamp,
    /// What Tenure's clock shows.
    now: Timestamp,
    /// Where the data is.
    data_dir: String,
    /// Connections.
    pool: PoolStats,
    /// Commits.
    writer: WriterStats,
    /// Files and their sizes.
    files: Vec<FileSize>,
}

/// A file of the data directory.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct FileSize {
    /// Its name.
    name: String,
    /// Its size.
    bytes: u64,
}

/// Pool, writer, versions, files.
#[utoipa::path(get, path = "/api/system", tag = "health", responses((status = 200, body = System)))]
async fn system(_: Allowed<may::SystemRead>, State(api): State<HealthApi>) -> Result<Json<System>, Failure> {
    let pool = api.store.pool_stats();
    let writer = api.store.writer_stats();
    let folder = api.store.path().parent().map(std::path::Path::to_owned).unwrap_or_default();
    let listed = folder.clone();
    let files = tokio::task::spawn_blocking(move || sizes(&listed)).await.map_err(Problem::internal)?;
    // The figures must be had while every reader is busy, so nothing here waits for one.
    let sqlite_version = sqlite_version(&api.store).await;
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION"),
        sqlite_version,
        started_at: api.started_at,
        now: api.store.clock().now(),
        data_dir: folder.display().to_string(),
        pool,
        writer,
        files,
    }))
}

async fn sqlite_version(store: &Store) -> String {
    store
        .write(|tx| tx.scalar::<String>("SELECT sqlite_version()", params![]))
        .await
        .unwrap_or_else(|_| "unknown".to_owned())
}

fn sizes(folder: &std::path::Path) -> Vec<FileSize> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<FileSize> = entries
        .filter_map(Result::ok)
        .filter_map(|e| {
            let meta = e.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(FileSize { name: e.file_name().to_string_lossy().into_owned(), bytes: meta.len() })
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
