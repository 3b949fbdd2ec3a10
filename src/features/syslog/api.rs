//! The system log over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{LEVELS, LogEntry, LogFilter, ops, store};
use crate::base::access::Permission;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::features::settings::{self, LOG_RETENTION, Started};
use crate::platform::http::{Body, Caller, Failure, Params, Routes};
use crate::platform::store::Store;

/// The longest age that can be asked for, in days.
const MAX_DAYS: u32 = 3_650;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct SyslogApi {
    /// The business database, for the retention in force and the audit log.
    pub store: Store,
    /// `logs.db`.
    pub logs: Store,
    /// `LOG_RETENTION_DAYS` as the process was started with.
    pub started: Started<u32>,
}

/// The routes of the system log.
pub fn routes(state: SyslogApi) -> Routes {
    OpenApiRouter::new().routes(routes!(list_logs)).routes(routes!(purge_logs)).with_state(state)
}

/// What a list is narrowed by.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: Option<String>,
    /// Text in message, target or fields; or a request id.
    q: Option<String>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What Tenure said about itself, newest first.
#[utoipa::path(get, path = "/api/logs", tag = "logs", params(ListParams), responses((status = 200, body = Page<LogEntry>)))]
async fn list_logs(
    State(api): State<SyslogApi>,
    caller: Caller,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<LogEntry>>, Failure> {
    caller.require(Permission::LogRead)?;
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let level = params.level.filter(|l| !l.is_empty());
    if let Some(level) = &level
        && !LEVELS.contains(&level.as_str())
    {
        return Err(Problem::field("level", format!("got {level}; expected one of {}", LEVELS.join(", "))).into());
    }
    let before = match params.cursor.as_deref().filter(|c| !c.is_empty()) {
        None => None,
        Some(cursor) => {
            Some(cursor.parse().map_err(|_| Problem::field("cursor", "expected nextCursor of the page before"))?)
        }
    };
    let filter = LogFilter { level, q: params.q };
    let rows = api.logs.read(move |tx| store::list_entries(tx, &filter, before, limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |entry| entry.id.clone())))
}

/// What is to be purged.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PurgeBody {
    /// Purges what is older than this; the retention in force when absent.
    #[serde(default)]
    older_than_days: Option<u32>,
}

/// What was purged.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Purged {
    /// How many entries.
    purged: u64,
}

/// Purges old entries now.
#[utoipa::path(post, path = "/api/logs/purge", tag = "logs", request_body = PurgeBody,
    responses((status = 200, body = Purged), (status = 403), (status = 422)))]
async fn purge_logs(
    State(api): State<SyslogApi>,
    caller: Caller,
    Body(body): Body<PurgeBody>,
) -> Result<Json<Purged>, Failure> {
    caller.require(Permission::LogPurge)?;
    if let Some(days) = body.older_than_days
        && days > MAX_DAYS
    {
        return Err(Problem::field("olderThanDays", format!("got {days}; expected 0 to {MAX_DAYS}")).into());
    }
    let started = api.started.clone();
    let older_than = api
        .store
        .read(move |tx| {
            let days = match body.older_than_days {
                Some(days) => days,
                None => settings::ops::number(tx, LOG_RETENTION, &started)?.value,
            };
            Ok(ops::cutoff(tx.now(), days))
        })
        .await?;
    let entries = api.logs.read(move |tx| store::count_older(tx, older_than)).await?;
    // Audited before it is done: two databases cannot commit together, and a purge that nobody can
    // read of is worse than an entry about one that a crash cut short.
    let by = caller.principal;
    api.store.write(move |tx| ops::record_purge(tx, &by, older_than, entries)).await?;
    let purged = ops::purge_all(&api.logs, older_than, || false).await?;
    Ok(Json(Purged { purged }))
}
