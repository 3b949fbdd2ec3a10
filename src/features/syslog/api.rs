//! The system log over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, Plan};
use super::{LEVELS, LogEntry, store as sql};
use crate::base::access::may;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::settings::{LOG_RETENTION, Started};
use crate::features::timekeeping::ops::is_held;
use crate::platform::http::{Allowed, Body, Failure, Params, Routes};
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
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: Option<String>,
    /// Part of message, target or fields; or a request id.
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
    _: Allowed<may::LogRead>,
    State(api): State<SyslogApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<LogEntry>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let level = params.level.filter(|l| !l.is_empty()).map(|l| l.to_ascii_lowercase());
    if level.as_deref().is_some_and(|l| !LEVELS.contains(&l)) {
        return Err(Problem::field("level", format!("expected one of {}", LEVELS.join(", "))).into());
    }
    let before = match params.cursor.as_deref().filter(|c| !c.is_empty()).map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Problem::field("cursor", "expected nextCursor of the page before").into()),
    };
    let rows =
        api.logs.read(move |tx| sql::list(tx, level.as_deref(), params.q.as_deref(), before, limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |e| e.id.clone())))
}

/// What "Purge Now" needs.
#[derive(Debug, Clone)]
pub struct PurgeApi {
    /// The business database, for the retention in force and the audit log.
    pub store: Store,
    /// `logs.db`.
    pub logs: Store,
    /// `LOG_RETENTION_DAYS` as the process was started with.
    pub started: Started<u32>,
}

/// The route of "Purge Now".
pub fn purge_routes(state: PurgeApi) -> Routes {
    OpenApiRouter::new().routes(routes!(purge_logs)).routes(routes!(preview_purge)).with_state(state)
}

impl PurgeApi {
    async fn plan(&self, days: Option<u32>) -> Result<Plan, Failure> {
        if days.is_some_and(|days| days > LOG_RETENTION.max) {
            return Err(Problem::field("olderThanDays", format!("expected 0 to {}", LOG_RETENTION.max)).into());
        }
        Ok(ops::plan(&self.store, &self.logs, &self.started, days).await?)
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct PreviewParams {
    /// Counts what is older than this, 0 to 3650; the retention in force when absent.
    older_than_days: Option<u32>,
}

/// What a purge would remove.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PurgePreview)]
struct Preview {
    /// How many entries.
    count: u64,
    /// They are all from before this instant.
    before: Timestamp,
}

/// Counts what a purge would remove now.
#[utoipa::path(get, path = "/api/logs/purge-preview", tag = "logs", params(PreviewParams),
    responses((status = 200, body = Preview), (status = 403), (status = 422)))]
async fn preview_purge(
    _: Allowed<may::LogPurge>,
    State(api): State<PurgeApi>,
    Params(params): Params<PreviewParams>,
) -> Result<Json<Preview>, Failure> {
    let plan = api.plan(params.older_than_days).await?;
    Ok(Json(Preview { count: plan.entries, before: plan.before }))
}

/// What is to be purged.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PurgeBody {
    /// Purges what is older than this, 0 to 3650; the retention in force when absent.
    #[serde(default)]
    older_than_days: Option<u32>,
}

/// What was purged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Purged {
    /// How many entries.
    purged: u64,
}

/// Purges old entries now; refused while the clock is in doubt.
#[utoipa::path(post, path = "/api/logs/purge", tag = "logs", request_body = PurgeBody,
    responses((status = 200, body = Purged), (status = 403), (status = 409), (status = 422)))]
async fn purge_logs(
    caller: Allowed<may::LogPurge>,
    State(api): State<PurgeApi>,
    Body(body): Body<PurgeBody>,
) -> Result<Json<Purged>, Failure> {
    let plan = api.plan(body.older_than_days).await?;
    // After the plan, whose instant is the clock's. By one in doubt everything may look old.
    if api.store.write(is_held).await? {
        return Err(Problem::Conflict(
            "The clock is in doubt, so nobody can tell what is old, and nothing was purged. Confirm the time on the \
             overview page first, then purge again."
                .to_owned(),
        )
        .into());
    }
    // What was told to the audit log is done, even if whoever asked goes away.
    let purging = tokio::spawn(async move {
        let record = api.store.write(move |tx| ops::record_purge(tx, &caller.principal, plan));
        ops::purge(&api.logs, plan, record, || false).await
    });
    Ok(Json(Purged { purged: purging.await.map_err(Problem::internal)??.purged }))
}
