//! Schedules over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, Whole};
use super::{Overlap, ScheduleDraft, Triggered, read_when, upcoming};
use crate::base::access::{Principal, may};
use crate::base::id::{JobId, PersonId, RunId, WorkflowId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::definitions::{self, WorkflowStatus};
use crate::platform::http::{Allowed, Body, Failure, NamePath, Params, Routes};
use crate::platform::queue::Registry;
use crate::platform::queue::schedule::{MissedRuns, ScheduleKind};
use crate::platform::store::{Store, Tx};

/// Instants that a preview shows.
const PREVIEWED: usize = 5;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct SchedulesApi {
    /// The business database.
    pub store: Store,
    /// Which jobs there are.
    pub registry: Registry,
}

/// The routes of schedules.
pub fn routes(state: SchedulesApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_schedules, create_schedule))
        .routes(routes!(preview))
        .routes(routes!(get_schedule, update_schedule, delete_schedule))
        .routes(routes!(run_schedule))
        .routes(routes!(pause_schedule))
        .routes(routes!(resume_schedule))
        .with_state(state)
}

/// A schedule.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleView {
    /// The job's name for Tenure's own, otherwise an id.
    id: String,
    /// Whose it is.
    kind: ScheduleKind,
    /// How it is called.
    name: String,
    /// Five cron fields.
    cron: String,
    /// The IANA zone they are read in. A local time that does not exist fires at the first instant after
    /// the gap, one that comes twice fires the first time.
    timezone: String,
    /// What becomes of slots that passed while Tenure was down.
    missed: MissedRuns,
    /// Whether it rests.
    paused: bool,
    /// The next slot.
    next_run_at: Option<Timestamp>,
    /// When the last job was made, by a slot or by hand.
    last_run_at: Option<Timestamp>,
    /// How that job stands: `waiting`, `completed` or `failed`; `skipped` when a missed slot made none.
    last_state: Option<String>,
    /// The last job.
    last_job_id: Option<JobId>,
    /// Set when the last slot fired late.
    late: Option<Late>,
    /// What it starts; only of kind `workflow`.
    workflow: Option<Starts>,
}

/// A slot that fired late.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Late {
    /// When it should have fired.
    slot_at: Timestamp,
    /// How long after that it fired.
    by_ms: u64,
}

/// What a schedule starts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Starts {
    /// The workflow's active version, if it has one.
    workflow_id: Option<WorkflowId>,
    /// Shared by all versions.
    workflow_key: String,
    /// How the workflow is called.
    workflow_name: Option<String>,
    /// Values of variables.
    #[schema(value_type = Object)]
    input: Map<String, Value>,
    /// Whom the runs are about; who made the schedule when absent.
    subject: Option<PersonRef>,
    /// What happens when the run before is not over.
    overlap: Overlap,
    /// Who made it.
    created_by: Option<PersonRef>,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// What came of the last slot.
    last_result: Option<Triggered>,
    /// The run that was started last.
    last_run_id: Option<RunId>,
}

fn view(tx: &Tx<'_>, whole: Whole) -> Result<ScheduleView, Problem> {
    let Whole { row, workflow } = whole;
    let refs = |id: &Option<PersonId>| -> Result<Option<PersonRef>, Problem> {
        id.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))
    };
    let late = row.last_slot_at.zip(row.late_by).map(|(slot_at, by)| Late {
        slot_at,
        by_ms: u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
    });
    let mut shown = ScheduleView {
        name: row.name.clone(),
        id: row.name,
        kind: row.kind,
        cron: row.cron,
        timezone: row.timezone,
        missed: row.missed,
        paused: row.paused,
        next_run_at: row.next_slot_at,
        last_run_at: row.last_run_at,
        last_state: row.last_state,
        last_job_id: row.last_job_id,
        late,
        workflow: None,
    };
    if let Some(w) = workflow {
        let active = definitions::store::find_by_status(tx, &w.workflow_key, WorkflowStatus::Active)?;
        let newest = definitions::store::list_versions(tx, &w.workflow_key)?.into_iter().next();
        shown.name = w.name;
        shown.workflow = Some(Starts {
            workflow_id: active.as_ref().map(|a| a.id.clone()),
            workflow_name: active.or(newest).map(|a| a.definition.name.clone()),
            subject: refs(&w.subject_id)?,
            created_by: refs(&w.created_by)?,
            workflow_key: w.workflow_key,
            input: w.input,
            overlap: w.overlap,
            created_at: w.created_at,
            updated_at: w.updated_at,
            last_result: w.last_result,
            last_run_id: w.last_run_id,
        });
    }
    Ok(shown)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// `system`: Tenure's own jobs; `workflow`: those that start workflows; both when absent.
    #[param(inline)]
    kind: Option<ScheduleKind>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Schedules, by id.
#[utoipa::path(get, path = "/api/schedules", tag = "schedules", params(ListParams),
    responses((status = 200, body = Page<ScheduleView>), (status = 422)))]
async fn list_schedules(
    _: Allowed<may::ScheduleRead>,
    State(api): State<SchedulesApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<ScheduleView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let page = api
        .store
        .read(move |tx| {
            let rows = ops::list(tx, params.kind, params.cursor.as_deref().unwrap_or(""), limit + 1)?;
            let Page { items, next_cursor } = Page::cut(rows, limit, |w| w.row.name.clone());
            let items = items.into_iter().map(|w| view(tx, w)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// A schedule to be stored.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScheduleBody {
    /// How it is called.
    name: String,
    /// Any version of the workflow; the active one is started.
    workflow_id: WorkflowId,
    /// Five cron fields.
    cron: String,
    /// The IANA zone they are read in; UTC when absent.
    #[serde(default)]
    timezone: Option<String>,
    /// Values of variables.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    input: Option<Map<String, Value>>,
    /// Whom the runs are about; who made the schedule when absent.
    #[serde(default)]
    subject_id: Option<PersonId>,
    /// What happens when the run before is not over; `skip` when absent.
    #[serde(default)]
    overlap: Option<Overlap>,
    /// What becomes of slots that passed while Tenure was down; `once` when absent.
    #[serde(default)]
    missed: Option<MissedRuns>,
    /// Whether it rests from the start; a change leaves that alone.
    #[serde(default)]
    paused: Option<bool>,
}

impl ScheduleBody {
    fn draft(&self, now: Timestamp) -> Result<ScheduleDraft, Problem> {
        Ok(ScheduleDraft {
            schedule: read_when(&self.cron, self.timezone.as_deref().unwrap_or("UTC"), now)?,
            name: self.name.clone(),
            workflow_id: self.workflow_id.clone(),
            input: self.input.clone().unwrap_or_default(),
            subject_id: self.subject_id.clone(),
            overlap: self.overlap.unwrap_or_default(),
            missed: self.missed.unwrap_or(MissedRuns::Once),
        })
    }
}

/// Adds a schedule that starts a workflow.
#[utoipa::path(post, path = "/api/schedules", tag = "schedules", request_body = ScheduleBody,
    responses((status = 201, body = ScheduleView), (status = 422)))]
async fn create_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    Body(body): Body<ScheduleBody>,
) -> Result<(StatusCode, Json<ScheduleView>), Failure> {
    let paused = body.paused.unwrap_or(false);
    let shown = change(&api, caller, move |tx, by| ops::create(tx, by, &body.draft(tx.now())?, paused)).await?;
    Ok((StatusCode::CREATED, shown))
}

/// When to look ahead to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
struct PreviewParams {
    /// Five cron fields.
    cron: String,
    /// The IANA zone they are read in; UTC when absent.
    #[serde(default)]
    timezone: Option<String>,
}

/// What a schedule would do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = SchedulePreview)]
struct Preview {
    /// The next instants it fires at.
    items: Vec<Timestamp>,
}

/// The next instants of an expression, stored or not.
#[utoipa::path(get, path = "/api/schedules/preview", tag = "schedules", params(PreviewParams),
    responses((status = 200, body = Preview), (status = 422)))]
async fn preview(
    _: Allowed<may::ScheduleRead>,
    State(api): State<SchedulesApi>,
    Params(params): Params<PreviewParams>,
) -> Result<Json<Preview>, Failure> {
    let now = api.store.clock().now();
    let schedule = read_when(&params.cron, params.timezone.as_deref().unwrap_or("UTC"), now)?;
    Ok(Json(Preview { items: upcoming(&schedule, now, PREVIEWED) }))
}

/// One schedule.
#[utoipa::path(get, path = "/api/schedules/{id}", tag = "schedules", params(("id" = String, Path)),
    responses((status = 200, body = ScheduleView), (status = 404)))]
async fn get_schedule(
    _: Allowed<may::ScheduleRead>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
) -> Result<Json<ScheduleView>, Failure> {
    Ok(Json(api.store.read(move |tx| ops::get(tx, &id).and_then(|whole| view(tx, whole))).await?))
}

/// Changes a schedule that starts a workflow; a changed expression goes on with its next slot.
#[utoipa::path(put, path = "/api/schedules/{id}", tag = "schedules", params(("id" = String, Path)),
    request_body = ScheduleBody,
    responses((status = 200, body = ScheduleView), (status = 404), (status = 409), (status = 422)))]
async fn update_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
    Body(body): Body<ScheduleBody>,
) -> Result<Json<ScheduleView>, Failure> {
    change(&api, caller, move |tx, by| ops::update(tx, by, &id, &body.draft(tx.now())?)).await
}

/// Removes a schedule that starts a workflow; runs that it started go on.
#[utoipa::path(delete, path = "/api/schedules/{id}", tag = "schedules", params(("id" = String, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
async fn delete_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
) -> Result<StatusCode, Failure> {
    api.store.write(move |tx| ops::delete(tx, &caller.principal, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The job that was made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct MadeJob {
    /// Look at it under `/api/jobs/{id}`.
    job_id: JobId,
}

/// Makes a job of a schedule now, Tenure's own included.
#[utoipa::path(post, path = "/api/schedules/{id}/run", tag = "schedules", params(("id" = String, Path)),
    responses((status = 202, body = MadeJob), (status = 404)))]
async fn run_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
) -> Result<(StatusCode, Json<MadeJob>), Failure> {
    let registry = api.registry.clone();
    let job_id = api.store.write(move |tx| ops::run_now(tx, &caller.principal, &registry, &id)).await?;
    Ok((StatusCode::ACCEPTED, Json(MadeJob { job_id })))
}

/// Makes a schedule that starts a workflow rest.
#[utoipa::path(post, path = "/api/schedules/{id}/pause", tag = "schedules", params(("id" = String, Path)),
    responses((status = 200, body = ScheduleView), (status = 404), (status = 409)))]
async fn pause_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
) -> Result<Json<ScheduleView>, Failure> {
    change(&api, caller, move |tx, by| ops::set_paused(tx, by, &id, true)).await
}

/// A schedule that rests goes on with its next slot.
#[utoipa::path(post, path = "/api/schedules/{id}/resume", tag = "schedules", params(("id" = String, Path)),
    responses((status = 200, body = ScheduleView), (status = 404), (status = 409)))]
async fn resume_schedule(
    caller: Allowed<may::ScheduleWrite>,
    State(api): State<SchedulesApi>,
    NamePath(id): NamePath,
) -> Result<Json<ScheduleView>, Failure> {
    change(&api, caller, move |tx, by| ops::set_paused(tx, by, &id, false)).await
}

async fn change(
    api: &SchedulesApi,
    caller: Allowed<may::ScheduleWrite>,
    work: impl Fn(&Tx<'_>, &Principal) -> Result<Whole, Problem> + Send + 'static,
) -> Result<Json<ScheduleView>, Failure> {
    let by = caller.principal;
    let shown = api.store.write(move |tx| work(tx, &by).and_then(|whole| view(tx, whole))).await?;
    Ok(Json(shown))
}
