//! Jobs over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value as JsonValue;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops;
use crate::base::access::{Principal, may};
use crate::base::id::{JobId, TypedId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::extract::parse_json;
use crate::platform::http::{Allowed, Failure, IdPath, Params, Routes};
use crate::platform::queue::attempts::{self, Attempt};
use crate::platform::queue::groups::{self, ErrorGroup};
use crate::platform::queue::views::{self, JobCounts, JobFilter, JobState, JobView};
use crate::platform::store::{Store, Tx};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct JobsApi {
    /// The business database, where the ledger is.
    pub store: Store,
}

/// The routes of jobs.
pub fn routes(state: JobsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_jobs))
        .routes(routes!(count_jobs))
        .routes(routes!(list_error_groups))
        .routes(routes!(get_job))
        .routes(routes!(list_attempts))
        .routes(routes!(retry_job))
        .routes(routes!(promote_job))
        .routes(routes!(remove_job))
        .with_state(state)
}

/// A background job, in BullMQ's words.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    id: JobId,
    /// What it does.
    name: String,
    /// How it stands.
    state: JobState,
    /// What it was given.
    #[schema(value_type = Object)]
    payload: JsonValue,
    /// Attempts that ended.
    attempts_made: u32,
    /// Why the last failed attempt failed.
    failed_reason: Option<String>,
    /// When it may start next.
    run_at: Timestamp,
    /// When the last attempt started.
    processed_on: Option<Timestamp>,
    /// When it ended.
    finished_on: Option<Timestamp>,
}

impl From<JobView> for Job {
    fn from(view: JobView) -> Self {
        Self {
            id: view.id,
            name: view.name,
            state: view.state,
            payload: view.payload,
            attempts_made: view.attempts_made,
            failed_reason: view.failed_reason,
            run_at: view.run_at,
            processed_on: view.processed_on,
            finished_on: view.finished_on,
        }
    }
}

/// What a list is narrowed by.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// `waiting`, `delayed`, `active`, `completed` or `failed`.
    #[param(inline)]
    state: Option<JobState>,
    /// Such as `role-expiry-check`.
    name: Option<String>,
    /// Text in id, name, payload or reason.
    q: Option<String>,
    /// Only with a reason of this group, as `GET /api/jobs/errors` names it.
    group: Option<String>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(ListParams),
    responses((status = 200, body = Page<Job>)))]
async fn list_jobs(
    State(api): State<JobsApi>,
    _: Allowed<may::JobRead>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Job>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let before: Option<JobId> = match params.cursor.as_deref().filter(|c| !c.is_empty()) {
        None => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| {
            Problem::field("cursor", "expected nextCursor of the page before")
        })?),
    };
    let filter = JobFilter { state: params.state, name: params.name, q: params.q, group: params.group, ..JobFilter::default() };
    let rows = api
        .store
        .read(move |tx| views::list_jobs(tx, &filter, before.as_ref(), limit + 1))
        .await?;
    let page = Page::cut(rows, limit, |job: &JobView| job.id.as_str().to_owned());
    Ok(Json(page.map(Job::from)))
}

/// How many jobs are in which state.
#[utoipa::path(get, path = "/api/jobs/counts", tag = "jobs",
    responses((status = 200, body = JobCounts)))]
async fn count_jobs(
    State(api): State<JobsApi>,
    _: Allowed<may::JobRead>,
) -> Result<Json<JobCounts>, Failure> {
    Ok(Json(api.store.read(views::count_jobs).await?))
}

/// One job.
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = Job)))]
async fn get_job(
    State(api): State<JobsApi>,
    _: Allowed<may::JobRead>,
    IdPath(id): IdPath<JobId>,
) -> Result<Json<Job>, Failure> {
    Ok(Json(api.store.read(move |tx| views::get_job(tx, &id)).await?.into()))
}

/// Failed jobs by what went wrong.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ErrorGroupList {
    /// The largest first.
    items: Vec<ErrorGroup>,
}

/// Failed jobs by what went wrong; reasons that differ in ids, numbers and quoted words are one group.
#[utoipa::path(get, path = "/api/jobs/errors", tag = "jobs", responses((status = 200, body = ErrorGroupList)))]
async fn list_error_groups(
    State(api): State<JobsApi>,
    _: Allowed<may::JobRead>,
) -> Result<Json<ErrorGroupList>, Failure> {
    Ok(Json(ErrorGroupList { items: api.store.read(groups::list_error_groups).await? }))
}

/// The attempts of a job.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct AttemptList {
    /// Newest first.
    items: Vec<Attempt>,
}

/// The attempts of a job: when each began and ended, and why it failed.
#[utoipa::path(get, path = "/api/jobs/{id}/attempts", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = AttemptList)))]
async fn list_attempts(
    State(api): State<JobsApi>,
    _: Allowed<may::JobRead>,
    IdPath(id): IdPath<JobId>,
) -> Result<Json<AttemptList>, Failure> {
    Ok(Json(AttemptList { items: api.store.read(move |tx| attempts::list_attempts(tx, &id)).await? }))
}

/// Removes a job that does not run.
#[utoipa::path(post, path = "/api/jobs/{id}/remove", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = Job, description = "The job as it was.")))]
async fn remove_job(
    State(api): State<JobsApi>,
    caller: Allowed<may::JobManage>,
    IdPath(id): IdPath<JobId>,
) -> Result<Json<Job>, Failure> {
    change(&api, caller, id, ops::remove).await
}

/// What a retry gives a failed job.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
enum RetryMode {
    /// All its attempts again, counted from one.
    #[default]
    StartOver,
    /// One more attempt; its count goes on.
    OneMore,
}

/// How a failed job is retried.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RetryBody {
    /// `start-over` when absent.
    #[schema(inline)]
    mode: RetryMode,
}

/// A failed job runs again: it starts over, or gets one more attempt. The body may be left out.
#[utoipa::path(post, path = "/api/jobs/{id}/retry", tag = "jobs", params(("id" = JobId, Path)),
    request_body = Option<RetryBody>, responses((status = 200, body = Job), (status = 409)))]
async fn retry_job(
    State(api): State<JobsApi>,
    caller: Allowed<may::JobManage>,
    IdPath(id): IdPath<JobId>,
    bytes: bytes::Bytes,
) -> Result<Json<Job>, Failure> {
    let body: Option<RetryBody> = if bytes.is_empty() { None } else { parse_json(&bytes)? };
    let how: Change = match body.unwrap_or_default().mode {
        RetryMode::StartOver => ops::retry,
        RetryMode::OneMore => ops::retry_once,
    };
    change(&api, caller, id, how).await
}

/// A delayed job runs now.
#[utoipa::path(post, path = "/api/jobs/{id}/promote", tag = "jobs", params(("id" = JobId, Path)),
    responses((status = 200, body = Job)))]
async fn promote_job(
    State(api): State<JobsApi>,
    caller: Allowed<may::JobManage>,
    IdPath(id): IdPath<JobId>,
) -> Result<Json<Job>, Failure> {
    change(&api, caller, id, ops::promote).await
}

type Change = fn(&Tx<'_>, &Principal, &JobId) -> Result<JobView, Problem>;

async fn change(
    api: &JobsApi,
    caller: Allowed<may::JobManage>,
    id: JobId,
    change: Change,
) -> Result<Json<Job>, Failure> {
    let by = caller.principal;
    let job = api.store.write(move |tx| change(tx, &by, &id)).await?;
    Ok(Json(job.into()))
}
