//! Bulk actions over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops;
use crate::base::access::may;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Routes};
use crate::platform::queue::bulk::{self, BulkAction, BulkProgress};
use crate::platform::queue::views::{self, JobFilter, JobState};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct BulkApi {
    /// The business database, where the ledger is.
    pub store: Store,
}

/// The routes of bulk actions.
pub fn routes(state: BulkApi) -> Routes {
    OpenApiRouter::new().routes(routes!(start_bulk)).routes(routes!(get_bulk)).with_state(state)
}

/// Which jobs.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct BulkFilter {
    /// Only in this state.
    state: Option<JobState>,
    /// Only of this name.
    name: Option<String>,
    /// Only where id, name, payload or reason contain this text.
    q: Option<String>,
    /// Only with a reason of this group, as `GET /api/jobs/errors` names it.
    group: Option<String>,
}

/// What to do with which jobs.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BulkBody {
    /// What is done to each.
    action: BulkAction,
    /// To which.
    filter: BulkFilter,
    /// How many are expected to match; needed unless `dryRun`.
    #[serde(default)]
    expected_count: Option<u64>,
    /// Only counts.
    #[serde(default)]
    dry_run: bool,
}

/// What a bulk action was found to match.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct BulkStarted {
    /// The job that carries it out, whose progress can be asked for; absent when only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<JobId>,
    /// Jobs that match.
    matched: u64,
}

/// Acts on all jobs that match a filter, in the background; `dryRun` only counts them.
#[utoipa::path(post, path = "/api/jobs/bulk", tag = "jobs", request_body = BulkBody,
    responses((status = 200, body = BulkStarted, description = "Counted."),
              (status = 202, body = BulkStarted, description = "Begun."), (status = 409), (status = 422)))]
async fn start_bulk(
    caller: Allowed<may::JobManage>,
    State(api): State<BulkApi>,
    Body(body): Body<BulkBody>,
) -> Result<(StatusCode, Json<BulkStarted>), Failure> {
    let given = body.filter;
    let filter = JobFilter { state: given.state, name: given.name, q: given.q, group: given.group, ..JobFilter::default() };
    if body.dry_run {
        let matched = api.store.read(move |tx| views::count_matching(tx, &filter)).await?;
        return Ok((StatusCode::OK, Json(BulkStarted { id: None, matched })));
    }
    let Some(expected) = body.expected_count else {
        return Err(Problem::field("expectedCount", "expected the number that a request with dryRun answered").into());
    };
    let (by, action) = (caller.principal, body.action);
    let begun = api.store.write(move |tx| ops::start(tx, &by, action, &filter, expected)).await?;
    Ok((StatusCode::ACCEPTED, Json(BulkStarted { id: Some(begun.id), matched: begun.total })))
}

/// How far a bulk action is.
#[utoipa::path(get, path = "/api/jobs/bulk/{id}", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = BulkProgress), (status = 404)))]
async fn get_bulk(
    State(api): State<BulkApi>,
    _: Allowed<may::JobRead>,
    IdPath(id): IdPath<JobId>,
) -> Result<Json<BulkProgress>, Failure> {
    Ok(Json(api.store.read(move |tx| bulk::progress(tx, &id)).await?))
}
