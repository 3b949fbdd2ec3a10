//! Workflow definitions over HTTP.

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::diff::{Change, diff};
use super::ops::Outcome;
use super::store::WorkflowFilter;
use super::text::{self, Document, Fault, Format, WorkflowFile};
use super::validate::{Finding, Validation, validate};
use super::{Definition, Workflow, WorkflowStatus, ops, store};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::WorkflowId;
use crate::base::page::{Page, PageRequest};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::Timestamp;
use crate::features::workflow::exceptions::api::{Answer, ExceptionView};
use crate::features::workflow::{WorkflowApi, exceptions};
use crate::features::workflow::runs::Beginning;
use crate::features::workflow::runs::api::RunView;
use crate::features::workflow::runs::forms::FormView;
use crate::features::workflow::runs::ops as run_ops;
use crate::platform::http::{Allowed, Body, Failure, IdPath, MaybeBody, Params, Routes, as_attachment};
use crate::platform::store::Tx;

/// The routes of definitions.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_workflows, create_workflow))
        .routes(routes!(validate_definition))
        .routes(routes!(import))
        .routes(routes!(export))
        .routes(routes!(compare))
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
    /// Whether a run of it may only pretend; never in production.
    can_pretend: bool,
    /// What it says; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<Definition>,
}

fn view(w: Workflow, by: &Principal, allow_mocks: bool, whole: bool) -> WorkflowView {
    WorkflowView {
        can_pretend: allow_mocks,
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
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// `draft`, `active` or `deprecated`.
    status: Option<WorkflowStatus>,
    /// Part of the name.
    q: Option<String>,
    /// The key that the versions of one workflow share.
    key: Option<String>,
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
    let filter = WorkflowFilter { status: params.status, q: params.q, key: params.key };
    let rows = api
        .store
        .read(move |tx| store::list_workflows(tx, &filter, params.cursor.as_deref(), limit + 1))
        .await?;
    let page = Page::cut(rows, limit, |w| w.id.to_string());
    Ok(Json(page.map(|w| view(w, &caller.principal, api.allow_mocks, false))))
}

/// A definition to be stored.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DefinitionBody {
    /// What it says.
    #[schema(value_type = Definition)]
    definition: Value,
}

impl DefinitionBody {
    /// The definition; each fault of its form is told by its path.
    fn read(self) -> Result<Definition, Problem> {
        text::definition(self.definition).map_err(|found| {
            let field = |path: &str| if path.is_empty() { "definition".to_owned() } else { format!("definition.{path}") };
            let faults: Vec<FieldError> =
                found.into_iter().map(|f| FieldError { field: field(&f.path), message: f.message }).collect();
            Problem::from_fields(faults).err().unwrap_or_else(|| Problem::refused("The definition cannot be read."))
        })
    }
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
    let definition = body.read()?;
    let workflow = api.store.write(move |tx| ops::create(tx, &by, definition.clone())).await?;
    Ok((StatusCode::CREATED, Json(view(workflow, &caller.principal, api.allow_mocks, true))))
}

/// What may be a definition, or is to become one.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CandidateBody {
    /// What it says so far.
    definition: Value,
}

/// Checks a definition without storing it, also one that could not be stored.
#[utoipa::path(post, path = "/api/workflows/validate", tag = "workflows", request_body = CandidateBody,
    responses((status = 200, body = Validation)))]
async fn validate_definition(
    _: Allowed<may::WorkflowRead>,
    Body(body): Body<CandidateBody>,
) -> Result<Json<Validation>, Failure> {
    Ok(Json(match text::definition(body.definition) {
        Ok(definition) => validate(&definition),
        Err(errors) => Validation { valid: false, errors, warnings: Vec::new() },
    }))
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
    Ok(Json(view(workflow, &caller.principal, api.allow_mocks, true)))
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
    let definition = body.read()?;
    change(caller, api, move |tx, by| ops::update(tx, by, &id, definition.clone())).await
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
    let items = rows.into_iter().map(|w| view(w, &caller.principal, api.allow_mocks, false)).collect();
    Ok(Json(VersionList { items }))
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

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct CompareParams {
    /// The version that is compared with.
    with: WorkflowId,
}

/// What differs between two versions.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Comparison {
    /// The version that is compared with.
    from: WorkflowId,
    /// The version in the path.
    to: WorkflowId,
    /// What leads from the one to the other.
    changes: Vec<Change>,
}

/// What differs between another version and this one.
#[utoipa::path(get, path = "/api/workflows/{id}/diff", tag = "workflows",
    params(("id" = WorkflowId, Path), CompareParams), responses((status = 200, body = Comparison), (status = 404)))]
async fn compare(
    _: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
    Params(params): Params<CompareParams>,
) -> Result<Json<Comparison>, Failure> {
    let found = api
        .store
        .read(move |tx| {
            let (from, to) = (store::get_workflow(tx, &params.with)?, store::get_workflow(tx, &id)?);
            Ok(Comparison { changes: diff(&from.definition, &to.definition), from: from.id, to: to.id })
        })
        .await?;
    Ok(Json(found))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ExportParams {
    /// `yaml` (the default) or `json`.
    #[param(inline)]
    format: Format,
}

/// A version as a file, with the key of its workflow.
#[utoipa::path(get, path = "/api/workflows/{id}/export", tag = "workflows",
    params(("id" = WorkflowId, Path), ExportParams),
    responses((status = 200, content((WorkflowFile = "application/yaml"), (WorkflowFile = "application/json"))), (status = 404)))]
async fn export(
    _: Allowed<may::WorkflowRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Failure> {
    let workflow = api.store.read(move |tx| store::get_workflow(tx, &id)).await?;
    let format = params.format;
    let text = text::write(&workflow.key, &workflow.definition, format).map_err(Problem::internal)?;
    let kind = match format {
        Format::Yaml => "application/yaml",
        Format::Json => "application/json",
    };
    let name = as_attachment(&format!("{}.{}", workflow.key, format.ending()));
    Ok(([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, name)], text).into_response())
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ImportParams {
    /// Tells what would happen, and stores nothing.
    dry_run: bool,
}

/// What became of a file, or would.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ImportView {
    /// What becomes of it.
    outcome: Outcome,
    /// How the workflow is called.
    name: String,
    /// The key of the workflow; none for one that would be new and has none.
    key: Option<String>,
    /// The version that says it now; none for one that would be new.
    id: Option<WorkflowId>,
    /// How that version stands.
    status: WorkflowStatus,
    /// What is different from the draft, or from the newest version when there is none.
    changes: Vec<Change>,
    /// What keeps it from being published.
    errors: Vec<Finding>,
    /// What somebody should look at.
    warnings: Vec<Finding>,
}

/// Takes a file in: a draft of a new workflow, or the draft of the one with its key, or else its name.
#[utoipa::path(post, path = "/api/workflows/import", tag = "workflows", params(ImportParams),
    request_body(content((Definition = "application/json"), (String = "application/yaml"))),
    responses((status = 200, body = ImportView), (status = 400), (status = 409), (status = 413), (status = 415), (status = 422)))]
async fn import(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ImportParams>,
    request: Request,
) -> Result<Json<ImportView>, Failure> {
    let document = document(request).await?;
    let Validation { errors, warnings, .. } = validate(&document.definition);
    let (name, key) = (document.definition.name.clone(), document.key.clone());
    let (plan, stored) = if params.dry_run {
        (api.store.read(move |tx| ops::plan_import(tx, &document)).await?, None)
    } else {
        let (plan, stored) =
            api.store.write(move |tx| ops::import(tx, &caller.principal, document.clone())).await?;
        (plan, Some(stored))
    };
    let shown = stored.as_ref().or(plan.base.as_ref());
    let unstored = plan.outcome == Outcome::Changed && stored.is_none();
    Ok(Json(ImportView {
        outcome: plan.outcome,
        name,
        key: shown.map(|w| w.key.clone()).or(key),
        id: shown.map(|w| w.id.clone()),
        status: shown.filter(|_| !unstored).map_or(WorkflowStatus::Draft, |w| w.status),
        changes: plan.changes,
        errors,
        warnings,
    }))
}

/// The document that a request brings, by its content type.
async fn document(request: Request) -> Result<Document, Failure> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let essence = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let format = match essence.as_str() {
        "application/json" => Format::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" => Format::Yaml,
        other if other.ends_with("+json") => Format::Json,
        other if other.ends_with("+yaml") => Format::Yaml,
        _ => {
            let detail = format!("got content type \"{kind}\"; expected application/json or application/yaml");
            return Err(Problem::UnsupportedMedia(detail).into());
        }
    };
    let bytes = axum::body::Bytes::from_request(request, &()).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge("The file is larger than 1 MB.".to_owned())
        } else {
            Problem::Malformed("The body could not be read.".to_owned())
        }
    })?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::Malformed("The file is not UTF-8.".to_owned()))?;
    Ok(text::read(text, format).map_err(unreadable)?)
}

/// Faults of a file: of the text itself 400, of what it says 422.
fn unreadable(faults: Vec<Fault>) -> Problem {
    let place = |f: &Fault| match (f.line, f.column) {
        (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
        _ => String::new(),
    };
    if let [one] = faults.as_slice()
        && one.path.is_empty()
    {
        return Problem::Malformed(format!("The file cannot be read: {}{}.", one.message, place(one)));
    }
    let field = |f: &Fault| FieldError { field: f.path.clone(), message: format!("{}{}", f.message, place(f)) };
    let errors = faults.iter().map(field).collect();
    Problem::from_fields(errors).err().unwrap_or_else(|| Problem::refused("The file cannot be read."))
}

async fn change(
    caller: Allowed<may::WorkflowWrite>,
    api: WorkflowApi,
    work: impl Fn(&Tx<'_>, &Principal) -> Result<Workflow, Problem> + Send + 'static,
) -> Result<Json<WorkflowView>, Failure> {
    let by = caller.principal.clone();
    let workflow = api.store.write(move |tx| work(tx, &by)).await?;
    Ok(Json(view(workflow, &caller.principal, api.allow_mocks, true)))
}

/// Why a version is published.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PublishBody {
    /// Needed by whoever publishes what they wrote, where that takes a second person.
    #[serde(default)]
    reason: Option<String>,
}

/// Makes a draft the active version. With the rule of the second person on, whoever wrote it asks for it.
#[utoipa::path(post, path = "/api/workflows/{id}/publish", tag = "workflows", params(("id" = WorkflowId, Path)),
    request_body = Option<PublishBody>,
    responses((status = 200, body = WorkflowView), (status = 202, body = ExceptionView), (status = 409), (status = 422)))]
async fn publish(
    caller: Allowed<may::WorkflowWrite>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<WorkflowId>,
    MaybeBody(body): MaybeBody<PublishBody>,
) -> Result<Answer<WorkflowView>, Failure> {
    let by = caller.principal;
    let (policy, allow_mocks) = (api.four_eyes.clone(), api.allow_mocks);
    let answer = api.store.write(move |tx| {
        let outcome = exceptions::ops::publish(tx, &by, &policy, &id, body.reason.as_deref())?;
        Answer::of(tx, &by, outcome, |tx, _| Ok(view(store::get_workflow(tx, &id)?, &by, allow_mocks, true)))
    });
    Ok(answer.await?)
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
#[schema(as = WorkflowStartBody)]
struct StartBody {
    /// Whom it is about; the caller when absent.
    subject_id: Option<crate::base::id::PersonId>,
    /// Values of variables.
    #[schema(value_type = Option<Object>)]
    input: Option<serde_json::Map<String, Value>>,
    /// Whether the run only pretends: it calls no connected system and changes no person and nobody's access. Not in
    /// production.
    mock: bool,
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
    if body.mock && !api.allow_mocks {
        return Err(Problem::field("mock", "expected false: production pretends nothing").into());
    }
    let run = api
        .store
        .write(move |tx| {
            let input = body.input.clone().unwrap_or_default();
            let with = Beginning { subject: body.subject_id.clone(), input, mock: body.mock };
            let run = run_ops::start(tx, &caller.principal, &id, with)?;
            RunView::of(tx, run)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(run)))
}
