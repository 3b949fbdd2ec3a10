//! One-time links over HTTP: for whoever has the link, signed in or not.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Link, LinkKind, LinkState, ops};
use crate::base::access::Principal;
use crate::base::id::RequestId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::workflow::runs::forms::FormView;
use crate::features::workflow::{WorkflowApi, definitions, runs};
use crate::platform::http::middleware::PeerAddress;
use crate::platform::http::{Anybody, Body, Failure, NamePath, Routes};
use crate::platform::store::Tx;

/// The routes of links.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new().routes(routes!(get_link)).routes(routes!(accept_link)).with_state(state)
}

/// What a link is for, as whoever has it may know.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// What it is for.
    kind: LinkKind,
    /// Which process it belongs to.
    workflow_name: String,
    /// Where it was sent.
    email: String,
    /// How whoever follows it is called.
    display_name: String,
    /// What they should know.
    message: String,
    /// What is filled in.
    form: FormView,
    /// How it stands.
    state: LinkState,
    /// Until when it works.
    expires_at: Timestamp,
}

fn view(tx: &Tx<'_>, link: Link) -> Result<LinkView, Problem> {
    let run = runs::store::get_run(tx, &link.run_id)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let state = link.state_at(tx.now());
    Ok(LinkView {
        kind: link.kind,
        workflow_name: workflow.definition.name.clone(),
        email: link.email,
        display_name: link.display_name,
        message: link.message,
        form: FormView::of(link.form),
        state,
        expires_at: link.expires_at,
    })
}

/// What a link asks for. Looking at it uses nothing up.
#[utoipa::path(get, path = "/api/links/{token}", tag = "links", security(()), params(("token" = String, Path)),
    responses((status = 200, body = LinkView), (status = 404), (status = 429)))]
async fn get_link(
    _: Anybody,
    State(api): State<WorkflowApi>,
    NamePath(token): NamePath,
) -> Result<Json<LinkView>, Failure> {
    Ok(Json(api.store.read(move |tx| ops::of_token(tx, &token).and_then(|link| view(tx, link))).await?))
}

/// What is sent to follow a link.
#[derive(Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct AcceptBody {
    /// The link's token once more: nothing that only knows the address to call follows it by accident.
    token: String,
    /// A value for each field of the form.
    #[serde(default)]
    #[schema(value_type = Object)]
    values: Map<String, Value>,
}

/// Follows a link, once.
#[utoipa::path(post, path = "/api/links/{token}/accept", tag = "links", security(()),
    params(("token" = String, Path)), request_body = AcceptBody,
    responses((status = 200, body = LinkView), (status = 404), (status = 409), (status = 422), (status = 429)))]
async fn accept_link(
    _: Anybody,
    State(api): State<WorkflowApi>,
    request_id: Option<Extension<RequestId>>,
    address: Option<Extension<PeerAddress>>,
    NamePath(token): NamePath,
    Body(body): Body<AcceptBody>,
) -> Result<Json<LinkView>, Failure> {
    if body.token != token {
        return Err(Problem::field("token", "expected the token of this link").into());
    }
    // Who follows a link is known by the link alone, whoever else is signed in in this browser.
    let by = Principal {
        address: address.and_then(|a| a.0.0).map(|a| a.to_string()),
        request_id: request_id.map(|r| r.0),
        ..Principal::system("link")
    };
    let used = api
        .store
        .write(move |tx| ops::accept(tx, &by, &body.token, body.values.clone()).and_then(|link| view(tx, link)))
        .await?;
    Ok(Json(used))
}
