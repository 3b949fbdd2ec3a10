//! Workflow definitions over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::validate::{Validation, validate};
use super::{Definition, Workflow, WorkflowStatus, ops, store};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::WorkflowId;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::runs::api::RunView;
use crate::features::workflow::runs::forms::FormView;
use crate::features::workflow::runs::ops as run_ops;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of definitions.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_workflows, create_workflow))
        .routes(routes!(validate_definition))
        .routes(routes!(get_workflow, update_workflow, delete_workflow))
        .routes(routes!(list_versions))
        .routes(routes!(get_form))
        .routes(routes!(publish))
        .routes(routes!(create_version))
        .routes(routes!(deprecate))
        .routes(routes!(duplicate))
        .routes(routes!(start_run))
        .with_state(state)
}

/// One version of a workflow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowView {
    /// The version's id.
    id: WorkflowId,
    /// Shared by all versions.
    key: String,
    /// How it is called.
    name: String,
    /// What it is for.
    description: String,
    /// Where it stands in lists.
    category: String,
    /// Its number; 0 for a draft.
    version: u32,
    /// How it stands.
    status: WorkflowStatus,
    /// When it was made.
    created_at: Timestamp,
    /// When it was last changed.
    updated_at: Timestamp,
    /// When it was published.
    published_at: Option<Timestamp>,
    /// Whether the caller may start it.
    can_start: bool,
    /// What it says; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Definition>,
}

fn view(w: Workflow, by: &Principal, whole: bool) -> WorkflowView {
    WorkflowView {
        can_start: w.status == WorkflowStatus::Active && by.can(Permission::WorkflowStart) && by.person.is_some(),
        id: w.id,
        key: w.key,
        name: w.definition.name.clone(),
        description: w.definition.description.clone(),
        category: w.definition.category.clone(),
        version: w.version,
        status: w.status,
        created_at: w.created_at,
        updated_at: w.updated_at,
        published_at: w.published_at,
        definition: whole.then(|| (*w.definition).clone()),
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct ListParams {
    /// `draft`, `active` or `deprecated`.
    status: Option<WorkflowStatus>,
    /// Part of the name.
    q: Option<String>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Versions of workflows.
#[utoipa::path(get, path = "/api/workflows", tag = "workflows", params(ListParams),
    responses((status = 200, body = Page<WorkflowView>)))]
async fn list_workflows(
    caller: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<WorkflowView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let rows = api
        .store
        .read(move |tx| {
            store::list_workflows(tx, params.status, params.q.as_deref(), params.cursor.as_deref(), limit + 1)
        })
        .await?;
    let page = Page::cut(rows, limit, |w| w.id.to_string());
    Ok(Json(page.map(|w| view(w, &caller.principal, false))))
}

/// A definition to be stored.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DefinitionBody {
    /// What it says.
    definition: Definition,
}

/// Adds a draft.
#[utoipa::path(post, path = "/api/workflows", tag = "workflows", request_body = DefinitionBody,
    responses((status = 201, body = WorkflowView), (status = 422)))]
async fn create_workflow(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    Body(body): Body<DefinitionBody>,
) -> Result<(StatusCode, Json<WorkflowView>), Failure> {
    let by = caller.principal.clone();
    let workflow = api.store.write(move |tx| ops::create(tx, &by, body.definition.clone())).await?;
    Ok((StatusCode::CREATED, Json(view(workflow, &caller.principal, true))))
}

/// Checks a definition without storing it.
#[utoipa::path(post, path = "/api/workflows/validate", tag = "workflows", request_body = DefinitionBody,
    responses((status = 200, body = Validation), (status = 422)))]
async fn validate_definition(
    _: Allowed<may::WorkflowRead>,
    Body(body): Body<DefinitionBody>,
) -> Result<Json<Validation>, Failure> {
    Ok(Json(validate(&body.definition)))
}

/// One version.
#[utoipa::path(get, path = "/api/workflows/{id}", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = WorkflowView), (status = 404)))]
async fn get_workflow(
    caller: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<WorkflowView>, Failure> {
    let workflow = api.store.read(move |tx| store::get_workflow(tx, &id)).await?;
    Ok(Json(view(workflow, &caller.principal, true)))
}

/// Changes a draft.
#[utoipa::path(put, path = "/api/workflows/{id}", tag = "workflows", params(("id" = WorkflowId, Path)),
    request_body = DefinitionBody, responses((status = 200, body = WorkflowView), (status = 409)))]
async fn update_workflow(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
    Body(body): Body<DefinitionBody>,
) -> Result<Json<WorkflowView>, Failure> {
    change(caller, api, move |tx, by| ops::update(tx, by, &id, body.definition.clone())).await
}

/// Removes a draft.
#[utoipa::path(delete, path = "/api/workflows/{id}", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 204), (status = 409)))]
async fn delete_workflow(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<StatusCode, Failure> {
    api.store.write(move |tx| ops::delete(tx, &caller.principal, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All versions of a workflow.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct VersionList {
    /// The newest first.
    items: Vec<WorkflowView>,
}

/// All versions of a workflow, the newest first.
#[utoipa::path(get, path = "/api/workflows/{id}/versions", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = VersionList), (status = 404)))]
async fn list_versions(
    caller: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<VersionList>, Failure> {
    let rows = api
        .store
        .read(move |tx| {
            let one = store::get_workflow(tx, &id)?;
            store::list_versions(tx, &one.key)
        })
        .await?;
    Ok(Json(VersionList { items: rows.into_iter().map(|w| view(w, &caller.principal, false)).collect() }))
}

/// What a run of a version is started with.
#[utoipa::path(get, path = "/api/workflows/{id}/form", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = FormView), (status = 404)))]
async fn get_form(
    _: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<FormView>, Failure> {
    let workflow = api.store.read(move |tx| store::get_workflow(tx, &id)).await?;
    Ok(Json(FormView::of(workflow.definition.variables.clone())))
}

async fn change(
    caller: Allowed<may::WorkflowWrite>,
    api: WorkflowApi,
    work: impl Fn(&Tx<'_>, &Principal) -> Result<Workflow, Problem> + Send + 'static,
) -> Result<Json<WorkflowView>, Failure> {
    let by = caller.principal.clone();
    let workflow = api.store.write(move |tx| work(tx, &by)).await?;
    Ok(Json(view(workflow, &caller.principal, true)))
}

/// Makes a draft the active version.
#[utoipa::path(post, path = "/api/workflows/{id}/publish", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = WorkflowView), (status = 409), (status = 422)))]
async fn publish(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<WorkflowView>, Failure> {
    change(caller, api, move |tx, by| ops::publish(tx, by, &id)).await
}

/// Clones a version into a draft of the same workflow.
#[utoipa::path(post, path = "/api/workflows/{id}/create-version", tag = "workflows",
    params(("id" = WorkflowId, Path)), responses((status = 200, body = WorkflowView), (status = 409)))]
async fn create_version(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<WorkflowView>, Failure> {
    change(caller, api, move |tx, by| ops::create_version(tx, by, &id)).await
}

/// Takes the active version out of use; its runs go on.
#[utoipa::path(post, path = "/api/workflows/{id}/deprecate", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = WorkflowView), (status = 409)))]
async fn deprecate(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<WorkflowView>, Failure> {
    change(caller, api, move |tx, by| ops::deprecate(tx, by, &id)).await
}

/// Clones a version into a draft of a new workflow.
#[utoipa::path(post, path = "/api/workflows/{id}/duplicate", tag = "workflows", params(("id" = WorkflowId, Path)),
    responses((status = 200, body = WorkflowView)))]
async fn duplicate(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
) -> Result<Json<WorkflowView>, Failure> {
    change(caller, api, move |tx, by| ops::duplicate(tx, by, &id)).await
}

/// What a run is started with.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct StartBody {
    /// Whom it is about; the caller when absent.
    subject_id: Option<crate::base::id::PersonId>,
    /// Values of variables.
    #[schema(value_type = Option<Object>)]
    input: Option<serde_json::Map<String, Value>>,
}

/// Starts a run of the active version.
#[utoipa::path(post, path = "/api/workflows/{id}/start", tag = "workflows", params(("id" = WorkflowId, Path)),
    request_body = StartBody, responses((status = 201, body = RunView), (status = 409), (status = 422)))]
async fn start_run(
    caller: Allowed<may::WorkflowStart>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
    Body(body): Body<StartBody>,
) -> Result<(StatusCode, Json<RunView>), Failure> {
    let run = api
        .store
        .write(move |tx| {
            let input = body.input.clone().unwrap_or_default();
            let run = run_ops::start(tx, &caller.principal, &id, body.subject_id.clone(), input)?;
            RunView::of(tx, run)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(run)))
}
