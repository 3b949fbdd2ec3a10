//! Rotating keys over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::features::connectors::rotation::{self, Rotation};
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::exceptions::api::{Answer, ExceptionView};
use crate::features::workflow::exceptions::ops;
use crate::platform::http::{Allowed, Failure, MaybeBody, Routes};

/// The routes of this file.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new().routes(routes!(rotate_keys)).with_state(state)
}

/// Why the secrets are sealed anew.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RotateBody {
    /// Needed where that takes a second person.
    #[serde(default)]
    reason: Option<String>,
}

/// Seals every secret of every connector anew under the present `CONNECTOR_ENCRYPTION_KEY`. What was sealed
/// under `CONNECTOR_ENCRYPTION_KEY_PREVIOUS` is opened with that. Asking again goes on where it stopped. With the
/// rule of the second person on, it is asked for; once somebody agreed, a job does it and tells both.
#[utoipa::path(post, path = "/api/connectors/rotate-keys", tag = "connectors", request_body = Option<RotateBody>,
    responses((status = 200, body = Rotation), (status = 202, body = ExceptionView), (status = 403), (status = 409),
              (status = 422)))]
async fn rotate_keys(
    caller: Allowed<may::ConnectorRotate>,
    State(api): State<WorkflowApi>,
    MaybeBody(body): MaybeBody<RotateBody>,
) -> Result<Answer<Rotation>, Failure> {
    let (by, policy) = (caller.principal, api.four_eyes.clone());
    let actor = by.clone();
    let asked = api.store.write(move |tx| {
        let asked = ops::ask_to_rotate(tx, &actor, &policy, body.reason.as_deref())?;
        asked.map(|exception| ExceptionView::of(tx, &actor, exception)).transpose()
    });
    if let Some(exception) = asked.await? {
        return Ok(Answer::Asked(Box::new(exception)));
    }
    let alone = ops::marked(&by, None, by.person.clone(), None);
    let done = rotation::rotate_keys(&api.store, api.connectors.secrets(), &alone).await?;
    Ok(Answer::Done(StatusCode::OK, done))
}
