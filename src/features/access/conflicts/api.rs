//! Roles that exclude each other, over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use super::{RoleConflict, Violation, ops, store};
use crate::base::access::may;
use crate::base::id::{RoleConflictId, RoleId};
use crate::base::page::{Page, PageRequest};
use crate::features::access::AccessApi;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};

/// The routes of roles that exclude each other.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_conflicts, create_conflict))
        .routes(routes!(list_violations))
        .routes(routes!(remove_conflict))
        .with_state(state)
}

/// Roles that nobody holds at the same time, oldest rule first.
#[utoipa::path(get, path = "/api/role-conflicts", tag = "access", params(PageRequest),
    responses((status = 200, body = Page<RoleConflict>)))]
async fn list_conflicts(
    _: Allowed<may::RoleRead>,
    State(api): State<AccessApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<RoleConflict>>, Failure> {
    let limit = page.limit()?;
    let rows = api.store.read(move |tx| store::list_conflicts(tx, page.cursor.as_deref(), limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |c| c.id.to_string())))
}

/// Two roles that are to exclude each other.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConflictBody {
    /// The two.
    role_ids: Vec<RoleId>,
    /// Why, for whoever is refused one of them.
    reason: String,
}

/// Says that nobody holds two roles at the same time from now on. Who holds both keeps them and is listed.
#[utoipa::path(post, path = "/api/role-conflicts", tag = "access", request_body = ConflictBody,
    responses((status = 201, body = RoleConflict), (status = 409), (status = 422)))]
async fn create_conflict(
    caller: Allowed<may::RoleWrite>,
    State(api): State<AccessApi>,
    Body(body): Body<ConflictBody>,
) -> Result<(StatusCode, Json<RoleConflict>), Failure> {
    let made = api.store.write(move |tx| ops::create_conflict(tx, &caller.principal, &body.role_ids, &body.reason));
    Ok((StatusCode::CREATED, Json(made.await?)))
}

/// People who hold, or are to hold, two roles that exclude each other: from before the rule.
#[utoipa::path(get, path = "/api/role-conflicts/violations", tag = "access", params(PageRequest),
    responses((status = 200, body = Page<Violation>)))]
async fn list_violations(
    _: Allowed<may::AssignmentRead>,
    State(api): State<AccessApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<Violation>>, Failure> {
    let limit = page.limit()?;
    let rows = api.store.read(move |tx| store::list_violations(tx, page.cursor.as_deref(), limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |v| v.assignments.iter().map(|a| a.id.to_string()).collect())))
}

/// Why two roles may be held at the same time again.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RemoveBody {
    /// For the audit log.
    reason: String,
}

/// Lets two roles be held at the same time again.
#[utoipa::path(post, path = "/api/role-conflicts/{id}/remove", tag = "access", params(("id" = RoleConflictId, Path)),
    request_body = RemoveBody, responses((status = 204), (status = 404), (status = 422)))]
async fn remove_conflict(
    caller: Allowed<may::RoleWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<RoleConflictId>,
    Body(body): Body<RemoveBody>,
) -> Result<StatusCode, Failure> {
    api.store.write(move |tx| ops::remove_conflict(tx, &caller.principal, &id, &body.reason)).await?;
    Ok(StatusCode::NO_CONTENT)
}
