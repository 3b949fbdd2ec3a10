//! Assignments over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

use super::store::{self, AssignmentFilter};
use super::{Assignment, AssignmentState, EndReason, ops};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{AssignmentId, EntitlementId, PersonId, RoleId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::features::access::AccessApi;
use crate::features::access::history::{AssignmentRecord, as_of, ops as history};
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
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// How it was at a past instant, or at the end of a day such as 2031-03-01 where the organisation is.
    as_of: Option<String>,
    /// Only of this person.
    person_id: Option<PersonId>,
    /// Only of this role.
    role_id: Option<RoleId>,
    /// Only those that give this entitlement.
    entitlement_id: Option<EntitlementId>,
    /// Only in this state; with `asOf`, in this state then.
    state: Option<AssignmentState>,
    /// Only those of which their person may have something.
    held: bool,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Whether the principal may see what belongs to `person`.
pub(in crate::features::access) fn sees(principal: &Principal, person: &PersonId) -> bool {
    principal.can(Permission::AssignmentRead)
        || (principal.can(Permission::AssignmentReadOwn) && principal.is_person(person))
}

/// Whose assignments a principal is shown who asked for those of `wanted`: `Some(None)` is everybody's, `None`
/// nobody's.
pub(in crate::features::access) fn scope(principal: &Principal, wanted: Option<PersonId>) -> Option<Option<PersonId>> {
    if principal.can(Permission::AssignmentRead) {
        return Some(wanted);
    }
    let own = principal.person.clone()?;
    wanted.is_none_or(|w| w == own).then_some(Some(own))
}

/// The states that are asked for; none when any will do.
pub(in crate::features::access) fn states(
    state: Option<AssignmentState>,
    held: bool,
) -> Result<Vec<AssignmentState>, Problem> {
    match state {
        Some(state) if held && !state.is_held() => Err(Problem::field(
            "held",
            format!("nobody has anything of what is {}; expected one of the two only", state.as_str()),
        )),
        Some(state) => Ok(vec![state]),
        None if held => Ok(AssignmentState::HELD.to_vec()),
        None => Ok(Vec::new()),
    }
}

/// A page as it is now, or as it was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum AssignmentPage {
    /// Now.
    Now(Page<Assignment>),
    /// Then, with what it rested on and who agreed to it.
    Then(Page<AssignmentRecord>),
}

/// Assignments, newest first; one's own unless one may see all. With `asOf`, as they were then.
#[utoipa::path(get, path = "/api/assignments", tag = "access", params(ListParams),
    responses((status = 200, body = AssignmentPage), (status = 422)))]
async fn list_assignments(
    caller: Allowed<(may::AssignmentRead, may::AssignmentReadOwn)>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<AssignmentPage>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let states = states(params.state, params.held)?;
    let now = api.store.clock().now();
    let at = params.as_of.as_deref().map(|text| as_of(text, &api.timezone, now)).transpose()?;
    let scope = scope(&caller.principal, params.person_id);
    let nobody = scope.is_none();
    let filter = AssignmentFilter {
        person: scope.flatten(),
        role: params.role_id,
        entitlement: params.entitlement_id,
        states,
    };
    let cursor = params.cursor;
    let page = api.store.read(move |tx| {
        if nobody {
            return Ok(AssignmentPage::Now(Page { items: Vec::new(), next_cursor: None }));
        }
        let before = cursor.as_deref();
        Ok(match at {
            None => {
                let rows = store::list_assignments(tx, &filter, before, limit + 1)?;
                AssignmentPage::Now(Page::cut(rows, limit, |a| a.id.to_string()))
            }
            Some(at) => {
                let rows = history::list_assignments(tx, &api.decisions, &filter, at, before, limit + 1)?;
                AssignmentPage::Then(Page::cut(rows, limit, |r| r.assignment.id.to_string()))
            }
        })
    });
    Ok(Json(page.await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct OneParams {
    /// How it was at a past instant, or at the end of a day such as 2031-03-01 where the organisation is.
    as_of: Option<String>,
}

/// One assignment, with what it rests on and who agreed to it. With `asOf`, as it was then.
#[utoipa::path(get, path = "/api/assignments/{id}", tag = "access", params(("id" = AssignmentId, Path), OneParams),
    responses((status = 200, body = AssignmentRecord), (status = 404), (status = 422)))]
async fn get_assignment(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<AssignmentId>,
    Params(params): Params<OneParams>,
) -> Result<Json<AssignmentRecord>, Failure> {
    let now = api.store.clock().now();
    let at = params.as_of.as_deref().map(|text| as_of(text, &api.timezone, now)).transpose()?;
    let found = api.store.read(move |tx| {
        let found = store::find_assignment(tx, &id)?.filter(|a| sees(&caller.principal, &a.person.id));
        let assignment = found.ok_or_else(|| Problem::missing("assignment", &id))?;
        match at {
            None => history::record_now(tx, &api.decisions, assignment),
            Some(at) => history::find_assignment(tx, &api.decisions, &id, at)?
                .ok_or_else(|| Problem::missing("assignment of that time", &id)),
        }
    });
    Ok(Json(found.await?))
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
