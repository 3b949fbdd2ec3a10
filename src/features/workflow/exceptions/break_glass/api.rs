//! Breaking the glass over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{BreakGlass, Verdict, ops, store};
use crate::base::access::{Principal, may};
use crate::base::id::{AssignmentId, BreakGlassId, RoleId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::RoleRef;
use crate::features::access::roles;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::WorkflowApi;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of this file.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_break_glass, break_glass))
        .routes(routes!(get_break_glass))
        .routes(routes!(review))
        .with_state(state)
}

/// A role that somebody took in an emergency.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct BreakGlassView {
    /// The id.
    id: BreakGlassId,
    /// Who.
    person: Option<PersonRef>,
    /// Which role.
    role: RoleRef,
    /// The assignment.
    assignment_id: AssignmentId,
    /// Why.
    reason: String,
    /// For how many hours.
    hours: u32,
    /// When.
    created_at: Timestamp,
    /// Until when.
    ends_at: Timestamp,
    /// What the review came to; null until there is one.
    verdict: Option<Verdict>,
    /// Why.
    review_reason: Option<String>,
    /// Who reviewed it.
    reviewed_by: Option<PersonRef>,
    /// When.
    reviewed_at: Option<Timestamp>,
    /// Whether the caller may review it.
    can_review: bool,
    /// Why the caller may not.
    why_not: Option<&'static str>,
}

fn view(tx: &Tx<'_>, by: &Principal, b: BreakGlass) -> Result<BreakGlassView, Problem> {
    let role = roles::store::get_role(tx, &b.role_id)?;
    let why_not = b.why_not(by);
    Ok(BreakGlassView {
        person: people::store::person_ref(tx, &b.person_id)?,
        role: RoleRef { id: role.id, name: role.name },
        reviewed_by: b.reviewed_by.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))?,
        can_review: why_not.is_none(),
        why_not,
        id: b.id,
        assignment_id: b.assignment_id,
        reason: b.reason,
        hours: b.hours,
        created_at: b.created_at,
        ends_at: b.ends_at,
        verdict: b.verdict,
        review_reason: b.review_reason,
        reviewed_at: b.reviewed_at,
    })
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// Only those that nobody reviewed.
    open: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Emergencies, newest first.
#[utoipa::path(get, path = "/api/break-glass", tag = "exceptions", params(ListParams),
    responses((status = 200, body = Page<BreakGlassView>)))]
async fn list_break_glass(
    caller: Allowed<may::BreakGlassRead>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<BreakGlassView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let page = api
        .store
        .read(move |tx| {
            let open = params.open.unwrap_or(false);
            let rows = store::list_break_glass(tx, open, params.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |b| b.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|b| view(tx, &caller.principal, b)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// One emergency.
#[utoipa::path(get, path = "/api/break-glass/{id}", tag = "exceptions", params(("id" = BreakGlassId, Path)),
    responses((status = 200, body = BreakGlassView), (status = 404)))]
async fn get_break_glass(
    caller: Allowed<may::BreakGlassRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<BreakGlassId>,
) -> Result<Json<BreakGlassView>, Failure> {
    let found = api.store.read(move |tx| view(tx, &caller.principal, store::get_break_glass(tx, &id)?));
    Ok(Json(found.await?))
}

/// A role for oneself, in an emergency.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BreakBody {
    /// Which role.
    role_id: RoleId,
    /// What the emergency is; at least 20 characters.
    reason: String,
    /// For how many hours, 1 to 8.
    hours: u32,
}

/// Gives the caller a role for a few hours; the role's owner and all administrators are told at once.
#[utoipa::path(post, path = "/api/break-glass", tag = "exceptions", request_body = BreakBody,
    responses((status = 201, body = BreakGlassView), (status = 403), (status = 409), (status = 422)))]
async fn break_glass(
    caller: Allowed<may::BreakGlassUse>,
    State(api): State<WorkflowApi>,
    Body(body): Body<BreakBody>,
) -> Result<(StatusCode, Json<BreakGlassView>), Failure> {
    let by = caller.principal;
    let broken = api.store.write(move |tx| {
        let broken = ops::break_glass(tx, &by, &body.role_id, &body.reason, body.hours)?;
        view(tx, &by, broken)
    });
    Ok((StatusCode::CREATED, Json(broken.await?)))
}

/// A review.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReviewBody {
    /// `justified` or `unjustified`.
    verdict: Verdict,
    /// Why.
    reason: String,
}

/// Says what somebody else's emergency was; `unjustified` takes back what is left of the access.
#[utoipa::path(post, path = "/api/break-glass/{id}/review", tag = "exceptions", params(("id" = BreakGlassId, Path)),
    request_body = ReviewBody,
    responses((status = 200, body = BreakGlassView), (status = 403), (status = 409), (status = 422)))]
async fn review(
    caller: Allowed<may::BreakGlassUse>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<BreakGlassId>,
    Body(body): Body<ReviewBody>,
) -> Result<Json<BreakGlassView>, Failure> {
    let by = caller.principal;
    let reviewed = api.store.write(move |tx| {
        let reviewed = ops::review(tx, &by, &id, body.verdict, &body.reason)?;
        view(tx, &by, reviewed)
    });
    Ok(Json(reviewed.await?))
}
