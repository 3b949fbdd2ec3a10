//! Events from outside over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::base::id::{RunId, WorkflowId};
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::runs::signals;
use crate::platform::http::{Allowed, Body, Failure, Routes};

/// The route of events.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new().routes(routes!(receive_event)).with_state(state)
}

/// Something that happened outside.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct EventBody {
    /// Its name, such as `hr.person_joined`.
    event: String,
    /// Which one of its kind, such as an order number.
    key: String,
    /// What it brings; the output of the step that waited for it, and what a trigger takes its input from.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    payload: Value,
}

/// What became of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DeliveredView {
    /// Runs that waited for it and go on.
    resumed: Vec<RunId>,
    /// Runs that it started.
    started: Vec<RunId>,
    /// Workflows that it could not start.
    refused: Vec<RefusedView>,
    /// Whether nobody took it, so that it is kept for a day.
    kept: bool,
}

/// A workflow that an event could not start.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct RefusedView {
    /// The version.
    workflow_id: WorkflowId,
    /// Why.
    reason: String,
}

/// Hands an event to the runs that wait for it and starts the workflows that have it for a trigger.
#[utoipa::path(post, path = "/api/workflow-events", tag = "runs", request_body = EventBody,
    responses((status = 200, body = DeliveredView), (status = 422)))]
async fn receive_event(
    caller: Allowed<may::RunManage>,
    State(api): State<WorkflowApi>,
    Body(body): Body<EventBody>,
) -> Result<Json<DeliveredView>, Failure> {
    let by = caller.principal;
    let done = api
        .store
        .write(move |tx| signals::deliver(tx, &by, &body.event, &body.key, body.payload.clone()))
        .await?;
    let kept = done.resumed.is_empty() && done.started.is_empty();
    let refused = done.refused.into_iter().map(|(workflow_id, reason)| RefusedView { workflow_id, reason }).collect();
    Ok(Json(DeliveredView { resumed: done.resumed, started: done.started, refused, kept }))
}
