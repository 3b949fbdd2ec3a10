//! Assignments over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::routes;

use super::store::{self, AssignmentFilter};
use super::{Assignment, AssignmentState, EndReason, ops};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{AssignmentId, PersonId, RoleId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::features::access::AccessApi;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Params, Routes};

/// The routes of assignments.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_assignments))
        .routes(routes!(get_assignment))
        .routes(routes!(revoke_assignment))
        .with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// Only of this person.
    person_id: Option<PersonId>,
    /// Only of this role.
    role_id: Option<RoleId>,
    /// Only in this state.
    state: Option<AssignmentState>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Whether the principal may see what belongs to `person`.
fn sees(principal: &Principal, person: &PersonId) -> bool {
    principal.can(Permission::AssignmentRead)
        || (principal.can(Permission::AssignmentReadOwn) && principal.is_person(person))
}

/// Assignments, newest first; one's own unless one may see all.
#[utoipa::path(get, path = "/api/assignments", tag = "access", params(ListParams),
    responses((status = 200, body = Page<Assignment>)))]
async fn list_assignments(
    caller: Allowed<(may::AssignmentRead, may::AssignmentReadOwn)>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Assignment>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let mut person = params.person_id;
    if !caller.principal.can(Permission::AssignmentRead) {
        let own = caller.principal.person.clone();
        if own.is_none() || person.as_ref().is_some_and(|p| Some(p) != own.as_ref()) {
            return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
        }
        person = own;
    }
    let filter = AssignmentFilter { person, role: params.role_id, state: params.state };
    let rows = api
        .store
        .read(move |tx| store::list_assignments(tx, &filter, params.cursor.as_deref(), limit + 1))
        .await?;
    Ok(Json(Page::cut(rows, limit, |a| a.id.to_string())))
}

/// One assignment.
#[utoipa::path(get, path = "/api/assignments/{id}", tag = "access", params(("id" = AssignmentId, Path)),
    responses((status = 200, body = Assignment), (status = 404)))]
async fn get_assignment(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<AssignmentId>,
) -> Result<Json<Assignment>, Failure> {
    let wanted = id.clone();
    let found = api.store.read(move |tx| store::find_assignment(tx, &wanted)).await?;
    let seen = found.filter(|a| sees(&caller.principal, &a.person.id));
    Ok(Json(seen.ok_or_else(|| Problem::missing("assignment", &id))?))
}

/// Why an assignment is ended.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RevokeBody {
    /// The reason, for the person and the audit log.
    reason: String,
}

/// Ends an assignment now.
#[utoipa::path(post, path = "/api/assignments/{id}/revoke", tag = "access", params(("id" = AssignmentId, Path)),
    request_body = RevokeBody,
    responses((status = 200, body = Assignment), (status = 404), (status = 409), (status = 422)))]
async fn revoke_assignment(
    caller: Allowed<may::AssignmentWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<AssignmentId>,
    Body(body): Body<RevokeBody>,
) -> Result<Json<Assignment>, Failure> {
    let reason = body.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > 1000 {
        return Err(Problem::field("reason", "expected 1 to 1000 characters").into());
    }
    let assignment = api
        .store
        .write(move |tx| {
            let now = store::get_assignment(tx, &id)?;
            if !now.state.is_live() {
                return Err(Problem::Conflict(format!("The assignment is {} already.", now.state.as_str())));
            }
            ops::revoke(tx, &caller.principal, &id, EndReason::Revoked(reason.clone()))?;
            store::get_assignment(tx, &id)
        })
        .await?;
    Ok(Json(assignment))
}
