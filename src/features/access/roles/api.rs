//! Business roles over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use super::ops::{self, NewRole};
use super::store::{self, Filter};
use super::{Role, RoleStatus};
use crate::base::access::may;
use crate::base::id::{EntitlementId, PersonId, RoleId};
use crate::base::page::{Page, PageRequest};
use crate::features::access::AccessApi;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};

/// The routes of roles.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_roles, create_role))
        .routes(routes!(get_role, update_role))
        .routes(routes!(retire_role))
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
    status: Option<RoleStatus>,
    /// Only roles that give this.
    entitlement_id: Option<EntitlementId>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Roles, oldest first.
#[utoipa::path(get, path = "/api/roles", tag = "access", params(ListParams),
    responses((status = 200, body = Page<Role>)))]
async fn list_roles(
    _: Allowed<may::RoleRead>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Role>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let filter = Filter { q: params.q, status: params.status, entitlement: params.entitlement_id };
    let rows = api.store.read(move |tx| store::list_roles(tx, &filter, params.cursor.as_deref(), limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |r| r.id.to_string())))
}

/// One role.
#[utoipa::path(get, path = "/api/roles/{id}", tag = "access", params(("id" = RoleId, Path)),
    responses((status = 200, body = Role), (status = 404)))]
async fn get_role(
    _: Allowed<may::RoleRead>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<RoleId>,
) -> Result<Json<Role>, Failure> {
    Ok(Json(api.store.read(move |tx| store::get_role(tx, &id)).await?))
}

/// A role to be added.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RoleBody {
    /// How it is called; unique.
    name: String,
    /// What it is for.
    #[serde(default)]
    description: String,
    /// Who answers for it.
    #[serde(default)]
    owner_id: Option<PersonId>,
    /// How long it lasts unless somebody says otherwise.
    #[serde(default)]
    default_duration_days: Option<u32>,
    /// Types of documents that whoever holds it must have.
    #[serde(default)]
    required_document_types: Vec<String>,
    /// What it gives.
    #[serde(default)]
    entitlement_ids: Vec<EntitlementId>,
}

impl From<RoleBody> for NewRole {
    fn from(body: RoleBody) -> Self {
        Self {
            name: body.name,
            description: body.description,
            owner_id: body.owner_id,
            default_duration_days: body.default_duration_days,
            required_document_types: body.required_document_types,
            entitlement_ids: body.entitlement_ids,
        }
    }
}

/// Adds a role.
#[utoipa::path(post, path = "/api/roles", tag = "access", request_body = RoleBody,
    responses((status = 201, body = Role), (status = 409), (status = 422)))]
async fn create_role(
    caller: Allowed<may::RoleWrite>,
    State(api): State<AccessApi>,
    Body(body): Body<RoleBody>,
) -> Result<(StatusCode, Json<Role>), Failure> {
    let role = api.store.write(move |tx| ops::create_role(tx, &caller.principal, body.clone().into())).await?;
    Ok((StatusCode::CREATED, Json(role)))
}

/// Changes a role for whom it is granted to from now on; who holds it keeps what they have.
#[utoipa::path(put, path = "/api/roles/{id}", tag = "access", params(("id" = RoleId, Path)), request_body = RoleBody,
    responses((status = 200, body = Role), (status = 404), (status = 409), (status = 422)))]
async fn update_role(
    caller: Allowed<may::RoleWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<RoleId>,
    Body(body): Body<RoleBody>,
) -> Result<Json<Role>, Failure> {
    Ok(Json(api.store.write(move |tx| ops::update_role(tx, &caller.principal, &id, body.clone().into())).await?))
}

/// Retires a role: it is not granted any more; who holds it keeps it until its end.
#[utoipa::path(post, path = "/api/roles/{id}/retire", tag = "access", params(("id" = RoleId, Path)),
    responses((status = 200, body = Role), (status = 404), (status = 409)))]
async fn retire_role(
    caller: Allowed<may::RoleWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<RoleId>,
) -> Result<Json<Role>, Failure> {
    Ok(Json(api.store.write(move |tx| ops::retire_role(tx, &caller.principal, &id)).await?))
}
