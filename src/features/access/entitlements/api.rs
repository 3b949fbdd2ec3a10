//! Entitlements over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use super::ops::{self, NewEntitlement};
use super::store::{self, Filter};
use super::{Call, Entitlement, EntitlementStatus, ListCall, Reconcile};
use crate::base::access::may;
use crate::base::id::{ConnectorId, EntitlementId};
use crate::base::page::{Page, PageRequest};
use crate::features::access::AccessApi;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};

/// The routes of entitlements.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_entitlements, create_entitlement))
        .routes(routes!(get_entitlement, update_entitlement))
        .routes(routes!(retire_entitlement))
        .with_state(state)
}

/// What a list is narrowed by.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// A part of the name.
    q: Option<String>,
    /// `active` or `retired`.
    status: Option<EntitlementStatus>,
    /// Only what is given there.
    connector_id: Option<ConnectorId>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Entitlements, oldest first.
#[utoipa::path(get, path = "/api/entitlements", tag = "access", params(ListParams),
    responses((status = 200, body = Page<Entitlement>)))]
async fn list_entitlements(
    _: Allowed<may::EntitlementRead>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Entitlement>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let filter = Filter { q: params.q, status: params.status, connector: params.connector_id };
    let rows =
        api.store.read(move |tx| store::list_entitlements(tx, &filter, params.cursor.as_deref(), limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |e| e.id.to_string())))
}

/// One entitlement.
#[utoipa::path(get, path = "/api/entitlements/{id}", tag = "access", params(("id" = EntitlementId, Path)),
    responses((status = 200, body = Entitlement), (status = 404)))]
async fn get_entitlement(
    _: Allowed<may::EntitlementRead>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<EntitlementId>,
) -> Result<Json<Entitlement>, Failure> {
    Ok(Json(api.store.read(move |tx| store::get_entitlement(tx, &id)).await?))
}

/// An entitlement to be added.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntitlementBody {
    /// How it is called; unique.
    name: String,
    /// Where it is given.
    connector_id: ConnectorId,
    /// Gives it.
    provision: Call,
    /// Takes it away.
    deprovision: Call,
    /// Answers whether it is there.
    #[serde(default)]
    check: Option<Call>,
    /// Asks who has it there.
    #[serde(default)]
    list: Option<ListCall>,
    /// What is done when the list differs from what should be there; it is told when absent.
    #[serde(default)]
    reconcile: Reconcile,
}

impl From<EntitlementBody> for NewEntitlement {
    fn from(body: EntitlementBody) -> Self {
        Self {
            name: body.name,
            connector_id: body.connector_id,
            provision: body.provision,
            deprovision: body.deprovision,
            check: body.check,
            list: body.list,
            reconcile: body.reconcile,
        }
    }
}

/// Adds an entitlement.
#[utoipa::path(post, path = "/api/entitlements", tag = "access", request_body = EntitlementBody,
    responses((status = 201, body = Entitlement), (status = 409), (status = 422)))]
async fn create_entitlement(
    caller: Allowed<may::EntitlementWrite>,
    State(api): State<AccessApi>,
    Body(body): Body<EntitlementBody>,
) -> Result<(StatusCode, Json<Entitlement>), Failure> {
    let made =
        api.store.write(move |tx| ops::create_entitlement(tx, &caller.principal, body.clone().into())).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Changes an entitlement. As long as somebody holds it, its connector and commands stay as they are.
#[utoipa::path(put, path = "/api/entitlements/{id}", tag = "access", params(("id" = EntitlementId, Path)),
    request_body = EntitlementBody,
    responses((status = 200, body = Entitlement), (status = 404), (status = 409), (status = 422)))]
async fn update_entitlement(
    caller: Allowed<may::EntitlementWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<EntitlementId>,
    Body(body): Body<EntitlementBody>,
) -> Result<Json<Entitlement>, Failure> {
    let changed =
        api.store.write(move |tx| ops::update_entitlement(tx, &caller.principal, &id, body.clone().into())).await?;
    Ok(Json(changed))
}

/// Retires an entitlement: roles do not give it any more; what was given stays until its end.
#[utoipa::path(post, path = "/api/entitlements/{id}/retire", tag = "access", params(("id" = EntitlementId, Path)),
    responses((status = 200, body = Entitlement), (status = 404), (status = 409)))]
async fn retire_entitlement(
    caller: Allowed<may::EntitlementWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<EntitlementId>,
) -> Result<Json<Entitlement>, Failure> {
    Ok(Json(api.store.write(move |tx| ops::retire_entitlement(tx, &caller.principal, &id)).await?))
}
