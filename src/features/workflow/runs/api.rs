//! Runs over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, RunFilter};
use super::{Run, RunStatus, ops};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{PersonId, RunId, StepId, WorkflowId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::documents;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::engine::{StepError, Wait};
use crate::features::workflow::{WorkflowApi, definitions};
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of runs.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_runs))
        .routes(routes!(get_run))
        .routes(routes!(list_steps))
        .routes(routes!(list_events))
        .routes(routes!(cancel))
        .with_state(state)
}

/// A run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    /// The id.
    id: RunId,
    /// The version it follows.
    workflow_id: WorkflowId,
    /// How the workflow is called.
    workflow_name: String,
    /// The number of the version.
    workflow_version: u32,
    /// How it stands.
    status: RunStatus,
    /// Why it failed or was cancelled.
    reason: Option<String>,
    /// Who started it.
    started_by: Option<PersonRef>,
    /// Whom it is about.
    subject: Option<PersonRef>,
    /// What it waits for.
    waiting_for: Vec<WaitingFor>,
    /// When it was started.
    created_at: Timestamp,
    /// When it last made progress.
    updated_at: Timestamp,
    /// When it ended.
    ended_at: Option<Timestamp>,
    /// Whether something was done in it that the rules let nobody do alone, or approved without anybody approving.
    exception: bool,
    /// Whether it only pretends: it calls no connected system and changes no person and nobody's access.
    mock: bool,
    /// Values of variables; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    variables: Option<Map<String, Value>>,
}

/// What a run waits for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct WaitingFor {
    /// `approval`, `task`, `link`, `document`, `timer`, `event`, `run` or `job`.
    kind: &'static str,
    /// In words.
    label: String,
    /// Since when.
    since: Timestamp,
    /// Until when, for a timer.
    until: Option<Timestamp>,
    /// The object it waits for.
    ref_id: Option<String>,
}

impl RunView {
    /// The run with what names it.
    pub fn of(tx: &Tx<'_>, run: Run) -> Result<Self, Problem> {
        let mut view = Self::in_list(tx, &run)?;
        view.variables = Some(run.state.vars);
        Ok(view)
    }

    fn in_list(tx: &Tx<'_>, run: &Run) -> Result<Self, Problem> {
        let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
        let refs = |id: &Option<PersonId>| -> Result<Option<PersonRef>, Problem> {
            id.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))
        };
        Ok(Self {
            id: run.id.clone(),
            workflow_id: run.workflow_id.clone(),
            waiting_for: waiting_for(run, &workflow.definition),
            workflow_name: workflow.definition.name.clone(),
            workflow_version: workflow.version,
            status: run.status,
            reason: run.reason.clone(),
            started_by: refs(&run.started_by)?,
            subject: refs(&run.subject_id)?,
            created_at: run.created_at,
            updated_at: run.updated_at,
            ended_at: run.ended_at,
            exception: store::has_exceptions(tx, &run.id)?,
            mock: run.mock,
            variables: None,
        })
    }
}

fn waiting_for(run: &Run, definition: &definitions::Definition) -> Vec<WaitingFor> {
    let name = |step: &str| definition.step(step).map_or_else(|| step.to_owned(), |s| s.name.clone());
    run.state.waits().filter_map(|(token, wait)| waiting_at(name(&token.step), wait, run.updated_at)).collect()
}

fn waiting_at(name: String, wait: &Wait, since: Timestamp) -> Option<WaitingFor> {
    let (kind, label, until, ref_id) = match wait {
        // The branches say what they wait for.
        Wait::Branches { .. } => return None,
        Wait::Effect => ("job", name, None, None),
        Wait::Approval { id } => ("approval", name, None, Some(id.clone())),
        Wait::Task { id } => ("task", name, None, Some(id.clone())),
        Wait::Link { id } => ("link", name, None, Some(id.clone())),
        Wait::Document { document_type, .. } => ("document", documents::title(document_type), None, None),
        Wait::Timer { until } | Wait::Retry { until } => ("timer", name, Some(*until), None),
        Wait::Assignment { id } => ("job", name, None, Some(id.clone())),
        Wait::Run { id } => ("run", name, None, Some(id.clone())),
        Wait::Signal { event, key } => ("event", format!("{event} of {key}"), None, None),
    };
    Some(WaitingFor { kind, label, since, until, ref_id })
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// How they stand.
    status: Option<RunStatus>,
    /// What they follow.
    workflow_id: Option<WorkflowId>,
    /// Whom they are about.
    subject_id: Option<PersonId>,
    /// Started at or after.
    from: Option<Timestamp>,
    /// Started before.
    to: Option<Timestamp>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// What one needs to see runs at all.
type SeesRuns = (may::RunRead, may::RunReadOwn);

/// 403 unless the caller may see runs at all; the person to narrow by when only their own.
pub(in crate::features::workflow) fn visible_to(by: &Principal) -> Result<Option<PersonId>, Problem> {
    if by.can(Permission::RunRead) {
        return Ok(None);
    }
    by.require(Permission::RunReadOwn)?;
    by.person.clone().map(Some).ok_or_else(|| Problem::Forbidden("Only people have runs of their own.".to_owned()))
}

/// Runs, newest first.
#[utoipa::path(get, path = "/api/runs", tag = "runs", params(ListParams),
    responses((status = 200, body = Page<RunView>)))]
async fn list_runs(
    caller: Allowed<SeesRuns>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<RunView>>, Failure> {
    let visible_to = visible_to(&caller.principal)?;
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let filter = RunFilter {
        status: params.status,
        workflow_id: params.workflow_id,
        subject_id: params.subject_id,
        from: params.from,
        to: params.to,
        visible_to,
    };
    let page = api
        .store
        .read(move |tx| {
            let rows = store::list_runs(tx, &filter, params.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |r| r.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.iter().map(|r| RunView::in_list(tx, r)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// The run, if the caller may see it.
pub(in crate::features::workflow) fn visible_run(
    tx: &Tx<'_>,
    only: Option<&PersonId>,
    id: &RunId,
) -> Result<Run, Problem> {
    let run = store::get_run(tx, id)?;
    match only {
        Some(person) if !store::is_visible_to(tx, &run, person)? => Err(Problem::missing("run", id)),
        _ => Ok(run),
    }
}

/// One run.
#[utoipa::path(get, path = "/api/runs/{id}", tag = "runs", params(("id" = RunId, Path)),
    responses((status = 200, body = RunView), (status = 404)))]
async fn get_run(
    caller: Allowed<SeesRuns>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
) -> Result<Json<RunView>, Failure> {
    let only = visible_to(&caller.principal)?;
    let found =
        api.store.read(move |tx| visible_run(tx, only.as_ref(), &id).and_then(|run| RunView::of(tx, run))).await?;
    Ok(Json(found))
}

/// A step of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct StepView {
    /// The id of this execution.
    id: StepId,
    /// The step in the definition.
    step_id: String,
    /// How it is called.
    name: String,
    /// What it does.
    #[serde(rename = "type")]
    kind: String,
    /// How it stands.
    status: String,
    /// Its outcome.
    outcome: Option<String>,
    /// Tries.
    attempt: u32,
    /// What it gave.
    output: Option<Value>,
    /// Why it failed.
    error: Option<StepError>,
    /// When it was entered.
    started_at: Timestamp,
    /// When it was left.
    ended_at: Option<Timestamp>,
}

/// The steps of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct StepList {
    /// In order.
    items: Vec<StepView>,
}

/// The steps a run went through, in order.
#[utoipa::path(get, path = "/api/runs/{id}/steps", tag = "runs", params(("id" = RunId, Path)),
    responses((status = 200, body = StepList), (status = 404)))]
async fn list_steps(
    caller: Allowed<SeesRuns>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
) -> Result<Json<StepList>, Failure> {
    let only = visible_to(&caller.principal)?;
    let rows = api
        .store
        .read(move |tx| visible_run(tx, only.as_ref(), &id).and_then(|run| store::list_steps(tx, &run.id)))
        .await?;
    let items = rows.into_iter().map(|s| StepView {
        id: s.id,
        step_id: s.step_id,
        name: s.name,
        kind: s.kind,
        status: s.status,
        outcome: s.outcome,
        attempt: s.attempt,
        output: s.output,
        error: s.error,
        started_at: s.started_at,
        ended_at: s.ended_at,
    });
    Ok(Json(StepList { items: items.collect() }))
}

/// Something that happened in a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct EventView {
    /// Place in the run.
    seq: u32,
    /// When.
    at: Timestamp,
    /// What kind, such as `step.completed`.
    kind: String,
    /// In which step.
    step_id: Option<String>,
    /// In words.
    text: String,
    /// For programs.
    #[schema(value_type = Object)]
    data: Value,
}

/// What happened in a run, oldest first.
#[utoipa::path(get, path = "/api/runs/{id}/events", tag = "runs", params(("id" = RunId, Path), PageRequest),
    responses((status = 200, body = Page<EventView>), (status = 404)))]
async fn list_events(
    caller: Allowed<SeesRuns>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<EventView>>, Failure> {
    let only = visible_to(&caller.principal)?;
    let limit = page.limit()?;
    let after = match page.cursor.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(seq)) => seq,
        Some(Err(_)) => return Err(Problem::field("cursor", "expected nextCursor of the page before").into()),
    };
    let rows = api
        .store
        .read(move |tx| {
            let run = visible_run(tx, only.as_ref(), &id)?;
            store::list_events(tx, &run.id, after, limit + 1)
        })
        .await?;
    let page = Page::cut(rows, limit, |e| e.seq.to_string());
    Ok(Json(page.map(|e| EventView {
        seq: e.seq,
        at: e.at,
        kind: e.kind,
        step_id: e.step_id,
        text: e.text,
        data: e.data,
    })))
}

/// Why a run is ended.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CancelBody {
    /// Why.
    reason: String,
    /// Whether what succeeded is undone before the run ends.
    #[serde(default)]
    undo: bool,
}

/// Ends a run before its time; who started it may, and who manages runs.
#[utoipa::path(post, path = "/api/runs/{id}/cancel", tag = "runs", params(("id" = RunId, Path)),
    request_body = CancelBody, responses((status = 200, body = RunView), (status = 403), (status = 409)))]
async fn cancel(
    caller: Allowed<SeesRuns>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    Body(body): Body<CancelBody>,
) -> Result<Json<RunView>, Failure> {
    let only = visible_to(&caller.principal)?;
    let by = caller.principal;
    let cancelled = api
        .store
        .write(move |tx| {
            let run = visible_run(tx, only.as_ref(), &id)?;
            let own = run.started_by.is_some() && run.started_by == by.person;
            if !own || by.roles.iter().all(|r| !r.allows(Permission::WorkflowStart)) {
                by.require(Permission::RunManage)?;
            }
            let end = if body.undo { ops::cancel_and_undo } else { ops::cancel };
            let run = end(tx, &by, &id, &body.reason)?;
            RunView::of(tx, run)
        })
        .await?;
    Ok(Json(cancelled))
}
