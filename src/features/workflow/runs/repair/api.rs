//! Mending runs over HTTP, and what there is to mend.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Wanted, reason_of};
use crate::base::access::{Permission, may};
use crate::base::id::RunId;
use crate::base::problem::Problem;
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::exceptions::api::{Answer, ExceptionView};
use crate::features::workflow::exceptions::ops::{self as doors, Done};
use crate::features::workflow::runs::api::{RunView, visible_run, visible_to};
use crate::features::workflow::runs::diagnose::{Diagnosis, diagnose};
use crate::platform::http::{Allowed, Body, Failure, IdPath, MaybeBody, Routes};
use crate::platform::store::Tx;

/// The routes of this file.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(diagnose_run))
        .routes(routes!(retry))
        .routes(routes!(skip_step))
        .routes(routes!(change_variables))
        .routes(routes!(start_again))
        .with_state(state)
}

/// What failed, what the run waits for, and what can be done about it.
#[utoipa::path(get, path = "/api/runs/{id}/diagnose", tag = "runs", params(("id" = RunId, Path)),
    responses((status = 200, body = Diagnosis), (status = 404)))]
async fn diagnose_run(
    caller: Allowed<(may::RunRead, may::RunReadOwn)>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
) -> Result<Json<Diagnosis>, Failure> {
    let only = visible_to(&caller.principal)?;
    let policy = api.four_eyes.clone();
    let found = api.store.read(move |tx| {
        let run = visible_run(tx, only.as_ref(), &id)?;
        diagnose(tx, &caller.principal, &policy, &run)
    });
    Ok(Json(found.await?))
}

/// Why a run is taken up again.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct TakeUpBody {
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Takes a failed run up again where it failed.
#[utoipa::path(post, path = "/api/runs/{id}/retry", tag = "runs", params(("id" = RunId, Path)),
    request_body = Option<TakeUpBody>, responses((status = 200, body = RunView), (status = 409), (status = 422)))]
async fn retry(
    caller: Allowed<may::RunManage>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    MaybeBody(body): MaybeBody<TakeUpBody>,
) -> Result<Json<RunView>, Failure> {
    let by = caller.principal;
    let retried = api.store.write(move |tx| {
        let reason = body.reason.as_deref().map(reason_of).transpose()?;
        let run = super::retry(tx, &by, &id, reason.as_deref())?;
        RunView::of(tx, run)
    });
    Ok(Json(retried.await?))
}

/// Which step is passed over.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SkipBody {
    /// The step in the definition; may be left out where the run is in one place.
    #[serde(default)]
    step_id: Option<String>,
    /// Which visit, where the run is at the step more than once.
    #[serde(default)]
    visit: Option<u32>,
    /// The outcome by which it is left; the good one when absent.
    #[serde(default)]
    outcome: Option<String>,
    /// Why.
    reason: String,
}

/// Passes over a step. Where somebody decides in it, or it leads around a decision, and the rule of the
/// second person is on, it is asked for.
#[utoipa::path(post, path = "/api/runs/{id}/skip-step", tag = "runs", params(("id" = RunId, Path)),
    request_body = SkipBody,
    responses((status = 200, body = RunView), (status = 202, body = ExceptionView), (status = 409), (status = 422)))]
async fn skip_step(
    caller: Allowed<may::RunManage>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    Body(body): Body<SkipBody>,
) -> Result<Answer<RunView>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let wanted = Wanted { step: body.step_id.clone(), visit: body.visit };
        let outcome = doors::skip_step(tx, &by, &policy, &id, &wanted, body.outcome.as_deref(), &body.reason)?;
        Answer::of(tx, &by, outcome, run_view)
    });
    Ok(answer.await?)
}

fn run_view(tx: &Tx<'_>, done: Done) -> Result<RunView, Problem> {
    match done {
        Done::Run(run) => RunView::of(tx, *run),
        other => Err(Problem::internal(format!("expected a run, got {other:?}"))),
    }
}

/// New values of variables.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct VariablesBody {
    /// The variables that change, with their new values.
    #[schema(value_type = Object)]
    values: Map<String, Value>,
    /// Why.
    reason: String,
}

/// Corrects variables of a run. Where somebody was asked to decide, and the rule of the second person is on,
/// it is asked for.
#[utoipa::path(put, path = "/api/runs/{id}/variables", tag = "runs", params(("id" = RunId, Path)),
    request_body = VariablesBody,
    responses((status = 200, body = RunView), (status = 202, body = ExceptionView), (status = 409), (status = 422)))]
async fn change_variables(
    caller: Allowed<may::RunManage>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    Body(body): Body<VariablesBody>,
) -> Result<Answer<RunView>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let outcome = doors::change_variables(tx, &by, &policy, &id, body.values.clone(), &body.reason)?;
        Answer::of(tx, &by, outcome, run_view)
    });
    Ok(answer.await?)
}

/// Why a run is started again.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AgainBody {
    /// Why.
    reason: String,
}

/// Starts a failed or cancelled run again on the newest version, with what it was given at first; who
/// started it may, and who manages runs.
#[utoipa::path(post, path = "/api/runs/{id}/start-again", tag = "runs", params(("id" = RunId, Path)),
    request_body = AgainBody, responses((status = 201, body = RunView), (status = 409), (status = 422)))]
async fn start_again(
    caller: Allowed<(may::RunManage, may::WorkflowStart)>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<RunId>,
    Body(body): Body<AgainBody>,
) -> Result<(axum::http::StatusCode, Json<RunView>), Failure> {
    let only = visible_to(&caller.principal)?;
    let by = caller.principal;
    let started = api.store.write(move |tx| {
        let run = visible_run(tx, only.as_ref(), &id)?;
        if run.started_by.is_none() || run.started_by != by.person || !by.can(Permission::WorkflowStart) {
            by.require(Permission::RunManage)?;
        }
        let run = super::start_again(tx, &by, &id, &reason_of(&body.reason)?)?;
        RunView::of(tx, run)
    });
    Ok((axum::http::StatusCode::CREATED, Json(started.await?)))
}
