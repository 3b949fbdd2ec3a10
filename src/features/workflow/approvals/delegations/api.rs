//! Delegations over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Delegation, ops, store};
use crate::base::access::{Permission, may};
use crate::base::id::{DelegationId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::approvals::resolve;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of delegations.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_delegations, create_delegation))
        .routes(routes!(end_delegation))
        .routes(routes!(list_deciders))
        .with_state(state)
}

/// Somebody decides instead of somebody else for a while.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct DelegationView {
    /// The id.
    id: DelegationId,
    /// Whose decisions they are.
    person: Option<PersonRef>,
    /// Who makes them; null for an absence, in which the person's manager does.
    delegate: Option<PersonRef>,
    /// From when on.
    from: Timestamp,
    /// Until when.
    to: Timestamp,
    /// Why.
    reason: String,
    /// Whether it is in force now.
    in_force: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When somebody ended it before its time.
    ended_at: Option<Timestamp>,
}

fn view(tx: &Tx<'_>, d: Delegation) -> Result<DelegationView, Problem> {
    Ok(DelegationView {
        person: people::store::person_ref(tx, &d.person)?,
        delegate: d.delegate.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))?,
        in_force: d.holds(tx.now()),
        id: d.id,
        from: d.starts_at,
        to: d.ends_at,
        reason: d.reason,
        created_at: d.created_at,
        ended_at: d.revoked_at,
    })
}

/// Delegations, newest first: the caller's own and those by which they decide; all for administrators.
#[utoipa::path(get, path = "/api/delegations", tag = "people's work", params(PageRequest),
    responses((status = 200, body = Page<DelegationView>)))]
async fn list_delegations(
    caller: Allowed<may::ApprovalRead>,
    State(api): State<WorkflowApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<DelegationView>>, Failure> {
    let limit = page.limit()?;
    let by = caller.principal;
    let all = by.can(Permission::ApprovalManage);
    if !all && by.person.is_none() {
        return Err(Problem::Forbidden("Only people have delegations of their own.".to_owned()).into());
    }
    let found = api
        .store
        .read(move |tx| {
            let of = if all { None } else { by.person.as_ref() };
            let rows = store::list_delegations(tx, of, page.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |d| d.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|d| view(tx, d)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(found))
}

/// Who decides for somebody, and for how long.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DelegationBody {
    /// Whose decisions; the caller's own when absent, anybody's for administrators.
    #[serde(default)]
    person_id: Option<PersonId>,
    /// Who decides; left out for an absence, in which the person's manager does.
    #[serde(default)]
    delegate_id: Option<PersonId>,
    /// From when on.
    from: Timestamp,
    /// Until when; at most 366 days later.
    to: Timestamp,
    /// Why.
    reason: String,
}

/// Passes decisions on for a while; it counts for approvals that are opened in it.
#[utoipa::path(post, path = "/api/delegations", tag = "people's work", request_body = DelegationBody,
    responses((status = 201, body = DelegationView), (status = 403), (status = 409), (status = 422)))]
async fn create_delegation(
    caller: Allowed<(may::ApprovalManage, may::ApprovalDecide)>,
    State(api): State<WorkflowApi>,
    Body(body): Body<DelegationBody>,
) -> Result<(StatusCode, Json<DelegationView>), Failure> {
    let by = caller.principal;
    let made = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let new = ops::NewDelegation {
                person: body.person_id,
                delegate: body.delegate_id,
                from: body.from,
                to: body.to,
                reason: body.reason,
            };
            let made = ops::create(tx, &by, new)?;
            view(tx, made)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Ends a delegation before its time; one's own, or as an administrator anybody's.
#[utoipa::path(delete, path = "/api/delegations/{id}", tag = "people's work", params(("id" = DelegationId, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
async fn end_delegation(
    caller: Allowed<(may::ApprovalManage, may::ApprovalDecide)>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<DelegationId>,
) -> Result<StatusCode, Failure> {
    let by = caller.principal;
    api.store.write(move |tx| ops::revoke(tx, &by, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct DecidersParams {
    /// Text in the name.
    q: Option<String>,
}

/// People who may decide.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Deciders {
    /// By name, the first of them.
    items: Vec<PersonRef>,
    /// Whether there are more than are listed; `q` narrows them.
    more: bool,
}

/// The most people that are listed.
const LISTED: usize = 200;

/// People who may decide, by name: those that one can name in a delegation or hand an approval over to.
#[utoipa::path(get, path = "/api/deciders", tag = "people's work", params(DecidersParams),
    responses((status = 200, body = Deciders)))]
async fn list_deciders(
    _: Allowed<(may::ApprovalManage, may::ApprovalDecide)>,
    State(api): State<WorkflowApi>,
    Params(params): Params<DecidersParams>,
) -> Result<Json<Deciders>, Failure> {
    let mut items = api.store.read(move |tx| resolve::able(tx, params.q.as_deref().unwrap_or_default())).await?;
    let more = items.len() > LISTED;
    items.truncate(LISTED);
    Ok(Json(Deciders { items, more }))
}
