//! The system log over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{LogEntry, store as sql};
use crate::base::access::Permission;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::platform::http::{Caller, Failure, Params, Routes};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct SyslogApi {
    /// `logs.db`.
    pub logs: Store,
}

/// The routes of the system log.
pub fn routes(state: SyslogApi) -> Routes {
    OpenApiRouter::new().routes(routes!(list_logs)).with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct ListParams {
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    level: Option<String>,
    /// Part of a message, or a request id.
    q: Option<String>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Entries, newest first.
#[utoipa::path(get, path = "/api/logs", tag = "logs", params(ListParams),
    responses((status = 200, body = Page<LogEntry>)))]
async fn list_logs(
    caller: Caller,
    State(api): State<SyslogApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<LogEntry>>, Failure> {
    caller.require(Permission::LogRead)?;
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let level = params.level.map(|l| l.to_ascii_uppercase());
    if level.as_deref().is_some_and(|l| !["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&l)) {
        return Err(Problem::field("level", "expected ERROR, WARN, INFO, DEBUG or TRACE").into());
    }
    let before = match params.cursor.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Problem::field("cursor", "expected nextCursor of the page before").into()),
    };
    let rows =
        api.logs.read(move |tx| sql::list(tx, level.as_deref(), params.q.as_deref(), before, limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |e| e.id.to_string())))
}
