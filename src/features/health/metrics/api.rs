//! `GET /metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Standing, circuits, database, process, standing, store};
use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::connectors::Connectors;
use crate::platform::http::{Allowed, Failure, Routes};
use crate::platform::metrics::{CONTENT_TYPE, Figure, Stopwatch};
use crate::platform::queue::Registry;
use crate::platform::store::Store;

/// How long figures of the database are shared.
pub const SHARED: Duration = Duration::from_secs(10);

/// What the route needs.
#[derive(Clone)]
pub struct MetricsApi {
    store: Store,
    connectors: Connectors,
    registry: Registry,
    started: Stopwatch,
    started_at: Timestamp,
    last: Arc<Mutex<Option<(Stopwatch, Standing)>>>,
}

impl MetricsApi {
    /// Of this database, these systems and these jobs; the process counts as started now.
    pub fn new(store: Store, connectors: Connectors, registry: Registry) -> Self {
        let started_at = store.clock().now();
        Self { store, connectors, registry, started: Stopwatch::start(), started_at, last: Arc::default() }
    }

    /// How things stand, counted anew when the last count is older than [`SHARED`].
    async fn standing(&self) -> Result<Standing, Problem> {
        // Whoever comes meanwhile waits for this count.
        let mut last = self.last.lock().await;
        if let Some((at, standing)) = &*last
            && at.seconds() < SHARED.as_secs_f64()
        {
            return Ok(standing.clone());
        }
        let found = self.store.read(store::get_standing).await?;
        *last = Some((Stopwatch::start(), found.clone()));
        Ok(found)
    }
}

/// The route of metrics.
pub fn routes(state: MetricsApi) -> Routes {
    OpenApiRouter::new().routes(routes!(metrics)).with_state(state)
}

/// Figures for Prometheus, in its text format. Scrape it with a token whose owner may see the system.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(_: Allowed<may::SystemRead>, State(api): State<MetricsApi>) -> Result<impl IntoResponse, Failure> {
    let mut figures = database(api.store.pool_stats(), api.store.writer_stats());
    let found = api.standing().await;
    figures.push(Figure::gauge(
        "tenure_metrics_complete",
        "1 when the database answered; 0 when what it knows is missing here.",
        f64::from(u8::from(found.is_ok())),
    ));
    match found {
        Ok(found) => {
            figures.extend(standing(&found, |name| api.registry.find(name).is_some()));
            figures.push(circuits(found.connectors.iter().map(|id| api.connectors.breaker(id).state)));
        }
        Err(problem) => tracing::warn!(%problem, "metrics are told without those of the database"),
    }
    figures.extend(tokio::task::spawn_blocking(process::figures).await.map_err(Problem::internal)?);
    figures.push(Figure::gauge("tenure_uptime_seconds", "Time since the process started.", api.started.seconds()));
    figures.push(Figure::gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970.",
        api.started_at.as_millis() as f64 / 1000.0,
    ));
    figures.push(Figure::by("tenure_build_info", "Always 1; its label is the version.", "version", [(env!("CARGO_PKG_VERSION"), 1.0)]));
    let text = api.store.metrics().text(figures)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text))
}
