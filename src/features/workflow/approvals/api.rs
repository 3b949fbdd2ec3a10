//! Approvals over HTTP.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, ApprovalFilter};
use super::view::{ApprovalView, view};
use super::{Approval, ops, turns};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{ApprovalId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::features::workflow::WorkflowApi;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of approvals.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_approvals))
        .routes(routes!(get_approval))
        .routes(routes!(decide))
        .routes(routes!(hand_over))
        .routes(routes!(reassign))
        .routes(routes!(ask))
        .routes(routes!(answer))
        .with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ListParams {
    /// `pending`, `decided` or `all`; pending when absent.
    state: Option<String>,
    /// Only those that wait for the caller; of those that are over, in which the caller was an approver.
    mine: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Approvals, newest first.
#[utoipa::path(get, path = "/api/approvals", tag = "people's work", params(ListParams),
    responses((status = 200, body = Page<ApprovalView>)))]
async fn list_approvals(
    caller: Allowed<may::ApprovalRead>,
    State(api): State<WorkflowApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<ApprovalView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let pending = match params.state.as_deref() {
        None | Some("pending") => Some(true),
        Some("decided") => Some(false),
        Some("all") => None,
        Some(_) => return Err(Problem::field("state", "expected pending, decided or all").into()),
    };
    let by = caller.principal;
    let filter = ApprovalFilter {
        pending,
        approver: params.mine.unwrap_or(false).then(|| by.person.clone()).flatten(),
        visible_to: if by.can(Permission::RunRead) { None } else { by.person.clone() },
    };
    let page = api
        .store
        .read(move |tx| {
            let rows = store::list_approvals(tx, &filter, params.cursor.as_deref(), limit + 1)?;
            let page = Page::cut(rows, limit, |a| a.id.to_string());
            let next_cursor = page.next_cursor;
            let items = page.items.into_iter().map(|a| view(tx, &by, a)).collect::<Result<_, _>>()?;
            Ok(Page { items, next_cursor })
        })
        .await?;
    Ok(Json(page))
}

/// Whether the caller may know of this approval.
fn visible(by: &Principal, a: &Approval) -> bool {
    by.can(Permission::RunRead)
        || by.person.as_ref().is_some_and(|p| a.is_party(p) || a.seats.iter().any(|s| s.person == *p))
}

/// The approval, if the caller may know of it.
fn visible_approval(tx: &Tx<'_>, by: &Principal, id: &ApprovalId) -> Result<Approval, Problem> {
    let approval = store::get_approval(tx, id)?;
    if visible(by, &approval) { Ok(approval) } else { Err(Problem::missing("approval", id)) }
}

/// One approval.
#[utoipa::path(get, path = "/api/approvals/{id}", tag = "people's work", params(("id" = ApprovalId, Path)),
    responses((status = 200, body = ApprovalView), (status = 404)))]
async fn get_approval(
    caller: Allowed<may::ApprovalRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
) -> Result<Json<ApprovalView>, Failure> {
    let found = api
        .store
        .read(move |tx| {
            let approval = visible_approval(tx, &caller.principal, &id)?;
            view(tx, &caller.principal, approval)
        })
        .await?;
    Ok(Json(found))
}

/// A decision.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApprovalDecisionBody)]
struct DecisionBody {
    /// `approve` or `reject`.
    decision: Decision,
    /// Why; needed to reject, and to approve when the settings say so.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = ApprovalDecision)]
enum Decision {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// Decides an approval that is assigned to the caller. With several approvers it is a vote, and the
/// approval is decided as soon as its rule is met or can no longer be.
#[utoipa::path(post, path = "/api/approvals/{id}/decide", tag = "people's work", params(("id" = ApprovalId, Path)),
    request_body = DecisionBody,
    responses((status = 200, body = ApprovalView), (status = 403), (status = 409), (status = 422)))]
async fn decide(
    caller: Allowed<(may::ApprovalRead, may::ApprovalDecide)>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
    Body(body): Body<DecisionBody>,
) -> Result<Json<ApprovalView>, Failure> {
    let by = caller.principal;
    let decided = api
        .store
        .write(move |tx| {
            visible_approval(tx, &by, &id)?;
            let approve = body.decision == Decision::Approve;
            let approval = ops::decide(tx, &by, &id, approve, body.reason.as_deref())?;
            view(tx, &by, approval)
        })
        .await?;
    Ok(Json(decided))
}

/// Who is to decide instead of the caller.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct HandOverBody {
    /// Who.
    to: PersonId,
    /// Why.
    reason: String,
}

/// Hands one approval over; the other one decides on the caller's behalf.
#[utoipa::path(post, path = "/api/approvals/{id}/delegate", tag = "people's work",
    params(("id" = ApprovalId, Path)), request_body = HandOverBody,
    responses((status = 200, body = ApprovalView), (status = 403), (status = 409), (status = 422)))]
async fn hand_over(
    caller: Allowed<may::ApprovalDecide>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
    Body(body): Body<HandOverBody>,
) -> Result<Json<ApprovalView>, Failure> {
    let by = caller.principal;
    let changed = api.store.write(move |tx| {
        visible_approval(tx, &by, &id)?;
        let approval = turns::hand_over(tx, &by, &id, &body.to, &body.reason)?;
        view(tx, &by, approval)
    });
    Ok(Json(changed.await?))
}

/// Who is to decide from now on.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReassignBody {
    /// Who, at most 50; those who have voted keep their vote.
    to: Vec<PersonId>,
    /// Why.
    reason: String,
}

/// Gives the open stage of an approval to other people than those who have not decided.
#[utoipa::path(post, path = "/api/approvals/{id}/reassign", tag = "people's work",
    params(("id" = ApprovalId, Path)), request_body = ReassignBody,
    responses((status = 200, body = ApprovalView), (status = 403), (status = 409), (status = 422)))]
async fn reassign(
    caller: Allowed<may::ApprovalManage>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
    Body(body): Body<ReassignBody>,
) -> Result<Json<ApprovalView>, Failure> {
    let by = caller.principal;
    let changed = api.store.write(move |tx| {
        visible_approval(tx, &by, &id)?;
        let approval = turns::reassign(tx, &by, &id, &body.to, &body.reason)?;
        view(tx, &by, approval)
    });
    Ok(Json(changed.await?))
}

/// A question.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct QuestionBody {
    /// What the approver wants to know.
    question: String,
}

/// Asks those whose request it is; what waits goes on waiting.
#[utoipa::path(post, path = "/api/approvals/{id}/ask", tag = "people's work", params(("id" = ApprovalId, Path)),
    request_body = QuestionBody,
    responses((status = 200, body = ApprovalView), (status = 403), (status = 409), (status = 422)))]
async fn ask(
    caller: Allowed<may::ApprovalDecide>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
    Body(body): Body<QuestionBody>,
) -> Result<Json<ApprovalView>, Failure> {
    let by = caller.principal;
    let changed = api.store.write(move |tx| {
        visible_approval(tx, &by, &id)?;
        let approval = turns::ask(tx, &by, &id, &body.question)?;
        view(tx, &by, approval)
    });
    Ok(Json(changed.await?))
}

/// An answer.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApprovalAnswerBody)]
struct AnswerBody {
    /// What the approvers should know.
    text: String,
}

/// Answers what approvers asked; the requestor and the subject may.
#[utoipa::path(post, path = "/api/approvals/{id}/answer", tag = "people's work", params(("id" = ApprovalId, Path)),
    request_body = AnswerBody,
    responses((status = 200, body = ApprovalView), (status = 403), (status = 409), (status = 422)))]
async fn answer(
    caller: Allowed<may::ApprovalRead>,
    State(api): State<WorkflowApi>,
    IdPath(id): IdPath<ApprovalId>,
    Body(body): Body<AnswerBody>,
) -> Result<Json<ApprovalView>, Failure> {
    let by = caller.principal;
    let changed = api.store.write(move |tx| {
        visible_approval(tx, &by, &id)?;
        let approval = turns::answer(tx, &by, &id, &body.text)?;
        view(tx, &by, approval)
    });
    Ok(Json(changed.await?))
}
