//! Hooks over HTTP. Whoever sends one signs it instead of signing in.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::Principal;
use crate::base::id::ConnectorId;
use crate::features::connectors::hooks::{self, Signed};
use crate::features::workflow::runs::signals;
use crate::platform::http::{Anybody, Failure, NamePath, Routes, parse_json};
use crate::platform::secrets::SecretBox;
use crate::platform::store::Store;

/// What the route needs.
#[derive(Debug, Clone)]
pub struct HooksApi {
    /// The business database.
    pub store: Store,
    /// The box that connector secrets are sealed with.
    pub secrets: SecretBox,
}

/// The route of hooks.
pub fn routes(state: HooksApi) -> Routes {
    OpenApiRouter::new().routes(routes!(receive_hook)).with_state(state)
}

/// Something that happened in a connected system.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct HookBody {
    /// Its name, such as `hr.person_joined`; one that the connector's `policy.hookEvents` names.
    event: String,
    /// Which one of its kind, such as a personnel number.
    key: String,
    /// What it brings.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    payload: Value,
}

/// What became of a hook.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TakenView {
    /// How many runs waited for it and go on.
    resumed: usize,
    /// How many runs it started.
    started: usize,
    /// How many workflows it could not start; the audit log says why.
    refused: usize,
    /// Whether nobody took it, so that it is kept for a day.
    kept: bool,
}

/// Takes an event from a connected system: `X-Tenure-Timestamp` has the seconds since 1970, at most five
/// minutes away from Tenure's time, and `X-Tenure-Signature` is `sha256=` and the hexadecimal HMAC-SHA-256 of
/// `TIMESTAMP.BODY` under the connector's secret `hook`. Each is taken once.
#[utoipa::path(post, path = "/api/hooks/{connectorId}", tag = "connectors", security(()),
    params(("connectorId" = ConnectorId, Path,), ("X-Tenure-Timestamp" = String, Header,), ("X-Tenure-Signature" = String, Header,)),
    request_body = HookBody,
    responses((status = 200, body = TakenView), (status = 401), (status = 409), (status = 422), (status = 429)))]
async fn receive_hook(
    _: Anybody,
    State(api): State<HooksApi>,
    NamePath(id): NamePath,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<TakenView>, Failure> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let signed = Signed { timestamp: text("x-tenure-timestamp"), signature: text("x-tenure-signature"), body: &body };
    let sender = match id.parse::<ConnectorId>() {
        Ok(id) => {
            let secrets = api.secrets.clone();
            api.store.read(move |tx| hooks::sender(tx, &id, &secrets)).await?
        }
        Err(_) => None,
    };
    let secret = sender.as_ref().map(|(_, secret)| secret.as_slice());
    let signature = hooks::check(secret, &signed, api.store.clock().now())?;
    let Some((connector, _)) = sender else { return Err(hooks::unsigned().into()) };
    let event: HookBody = parse_json(&body)?;
    let by = Principal { name: format!("{} (hook)", connector.name), ..Principal::system("hook") };
    let done = api
        .store
        .write(move |tx| {
            hooks::take(tx, &connector, &signature, &event.event)?;
            signals::deliver(tx, &by, &event.event, &event.key, event.payload.clone())
        })
        .await?;
    let kept = done.resumed.is_empty() && done.started.is_empty();
    Ok(Json(TakenView { resumed: done.resumed.len(), started: done.started.len(), refused: done.refused.len(), kept }))
}
