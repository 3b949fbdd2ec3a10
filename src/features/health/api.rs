//! Health over HTTP, without sign-in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Check, Health, Overall, Report, Status};
use crate::platform::http::Routes;

/// The routes of health.
pub fn routes(state: Health) -> Routes {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(ready)).with_state(state)
}

/// How this process is; 503 when a part is down without which it cannot do all of its work.
#[utoipa::path(get, path = "/api/health", tag = "health", security(()),
    responses((status = 200, body = Report), (status = 503, body = Report)))]
async fn health(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    let report = health.report().await;
    let code = match report.status {
        Overall::Ok => StatusCode::OK,
        Overall::Degraded => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(report))
}

/// The process runs.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Live {
    /// Always `ok`.
    status: Status,
}

/// Whether the process runs at all; looks at nothing.
#[utoipa::path(get, path = "/api/health/live", tag = "health", security(()), responses((status = 200, body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { status: Status::Ok })
}

/// Whether requests should be sent here.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Ready {
    /// Whether they should.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// Whether requests should be sent here: 503 while draining or without a database.
#[utoipa::path(get, path = "/api/health/ready", tag = "health", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn ready(State(health): State<Health>) -> (StatusCode, Json<Ready>) {
    let why_not = if health.is_draining() {
        Some("shutting down".to_owned())
    } else {
        let report = health.report().await;
        report.checks.get("database").filter(|c| c.status == Status::Down).map(why)
    };
    let code = if why_not.is_some() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(Ready { ready: why_not.is_none(), detail: why_not }))
}

fn why(database: &Check) -> String {
    format!("database: {}", database.detail.as_deref().unwrap_or("down"))
}
