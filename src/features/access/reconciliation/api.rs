//! Reconciliations over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::routes;

use super::adoption::{self, Adoption};
use super::items::store::{self as items, ItemFilter, Named, StillPresent};
use super::{Action, Counts, Item, ItemState, Kind, Plan, PlanStatus, Reason, Reconciliation, Status, ops, store};
use crate::base::access::may;
use crate::base::id::{
    AdoptionId, AssignmentId, ConnectorId, DifferenceId, EntitlementId, GrantId, PlanId, ReconciliationId, RoleId,
};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::AccessApi;
use crate::features::access::entitlements::{Policy, store::get_entitlement};
use crate::features::identity::people::PersonRef;
use crate::platform::http::{Allowed, Body, Failure, IdPath, IdsPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of reconciliations. Adopting takes two people and stands with the exceptions of workflows.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_reconciliations, start_reconciliation))
        .routes(routes!(list_still_present))
        .routes(routes!(get_reconciliation))
        .routes(routes!(list_items))
        .routes(routes!(approve_plan))
        .routes(routes!(reject_plan))
        .with_state(state)
}

/// A comparison of connected systems with what should be there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReconciliationView {
    /// The id.
    id: ReconciliationId,
    /// Why there is one.
    #[schema(inline)]
    kind: Kind,
    /// Who asked for it, as the audit log calls them.
    requested_by: String,
    /// Where it stands.
    #[schema(inline)]
    status: Status,
    /// Since when.
    started_at: Timestamp,
    /// When the last of its plans came to rest.
    ended_at: Option<Timestamp>,
    /// One for each entitlement.
    plans: Vec<PlanView>,
}

/// One entitlement of a reconciliation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct PlanView {
    /// The id.
    id: PlanId,
    /// Of which entitlement.
    entitlement_id: EntitlementId,
    /// How it is called.
    entitlement_name: String,
    /// Where it is given.
    connector_id: ConnectorId,
    /// How that system is called.
    connector_name: String,
    /// What was done about differences when it began.
    policy: Policy,
    /// Whether it only shows what it would do.
    dry_run: bool,
    /// Where it stands.
    status: PlanStatus,
    /// Why it is held or failed: `empty`, `threshold`, `unreachable`, `incomplete`, `malformed`, `refused`,
    /// `interrupted` or `items`.
    why: Option<String>,
    /// The same for people.
    detail: Option<String>,
    /// Pages that came.
    pages: u64,
    /// Accounts that were found.
    found: u64,
    /// Entries that came more than once.
    duplicates: u64,
    /// Accounts that are to be there.
    expected: u64,
    /// Wanted grants whose account cannot be told, so that they are not compared.
    nameless: u64,
    /// Its differences, by what they ask for and where they stand.
    counts: Counts,
    /// Accounts that can be adopted all at once: their person is known.
    adoptable: u64,
    /// Adoptions of many accounts.
    adoptions: Vec<AdoptionView>,
    /// Since when.
    started_at: Timestamp,
    /// When the last account was compared.
    compared_at: Option<Timestamp>,
    /// When it came to rest.
    ended_at: Option<Timestamp>,
    /// Who decided about it while it was held.
    decided_by: Option<String>,
    /// When.
    decided_at: Option<Timestamp>,
    /// Why.
    decision_reason: Option<String>,
}

/// How far an adoption of many accounts is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdoptionView {
    /// The id.
    id: AdoptionId,
    /// What they become.
    role_id: RoleId,
    /// Until when.
    expires_at: Timestamp,
    /// Why.
    reason: String,
    /// How many there were.
    total: u64,
    /// How many became assignments.
    adopted: u64,
    /// How many could not; each says why.
    skipped: u64,
    /// When the last was looked at.
    ended_at: Option<Timestamp>,
}

impl From<Adoption> for AdoptionView {
    fn from(a: Adoption) -> Self {
        Self {
            id: a.id,
            role_id: a.role_id,
            expires_at: a.expires_at,
            reason: a.reason,
            total: a.total,
            adopted: a.adopted,
            skipped: a.skipped,
            ended_at: a.ended_at,
        }
    }
}

impl ReconciliationView {
    fn of(tx: &Tx<'_>, r: Reconciliation) -> Result<Self, Problem> {
        let plans = store::list_plans(tx, &r.id)?.into_iter().map(|p| PlanView::of(tx, p)).collect::<Result<_, _>>()?;
        Ok(Self {
            id: r.id,
            kind: r.kind,
            requested_by: r.requested_by,
            status: r.status,
            started_at: r.started_at,
            ended_at: r.ended_at,
            plans,
        })
    }
}

impl PlanView {
    fn of(tx: &Tx<'_>, p: Plan) -> Result<Self, Problem> {
        let entitlement = get_entitlement(tx, &p.entitlement_id)?;
        let adoptions = adoption::store::list_adoptions(tx, p.no)?.into_iter().map(AdoptionView::from).collect();
        Ok(Self {
            entitlement_name: entitlement.name,
            connector_name: entitlement.connector_name,
            counts: items::counts(tx, p.no)?,
            adoptable: items::count_adoptable(tx, p.no)?,
            adoptions,
            duplicates: if p.status == PlanStatus::Listing { 0 } else { p.seen.saturating_sub(p.found) },
            id: p.id,
            entitlement_id: p.entitlement_id,
            connector_id: p.connector_id,
            policy: p.policy,
            dry_run: p.dry_run,
            status: p.status,
            why: p.why,
            detail: p.detail,
            pages: p.pages,
            found: p.found,
            expected: p.expected,
            nameless: p.nameless,
            started_at: p.started_at,
            compared_at: p.compared_at,
            ended_at: p.ended_at,
            decided_by: p.decided_by,
            decided_at: p.decided_at,
            decision_reason: p.decision_reason,
        })
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// `running`, `completed`, `held` or `failed`.
    #[param(inline)]
    status: Option<Status>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Reconciliations, newest first.
#[utoipa::path(get, path = "/api/reconciliations", tag = "access", params(ListParams),
    responses((status = 200, body = Page<ReconciliationView>)))]
async fn list_reconciliations(
    _: Allowed<may::EntitlementRead>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<ReconciliationView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let page = api.store.read(move |tx| {
        let rows = store::list_reconciliations(tx, params.status, params.cursor.as_deref(), limit + 1)?;
        let page = Page::cut(rows, limit, |r| r.id.to_string());
        let next_cursor = page.next_cursor;
        let items = page.items.into_iter().map(|r| ReconciliationView::of(tx, r)).collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor })
    });
    Ok(Json(page.await?))
}

/// One reconciliation with its plans.
#[utoipa::path(get, path = "/api/reconciliations/{id}", tag = "access", params(("id" = ReconciliationId, Path)),
    responses((status = 200, body = ReconciliationView), (status = 404)))]
async fn get_reconciliation(
    _: Allowed<may::EntitlementRead>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<ReconciliationId>,
) -> Result<Json<ReconciliationView>, Failure> {
    let found = api.store.read(move |tx| ReconciliationView::of(tx, store::get_reconciliation(tx, &id)?)).await?;
    Ok(Json(found))
}

/// What is to be reconciled.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ReconciliationStartBody)]
struct StartBody {
    /// Which entitlements; all that say how they are listed when absent.
    entitlement_ids: Option<Vec<EntitlementId>>,
    /// Only shows what would be done.
    dry_run: bool,
}

/// Begins a reconciliation.
#[utoipa::path(post, path = "/api/reconciliations", tag = "access", request_body = StartBody,
    responses((status = 202, body = ReconciliationView), (status = 409), (status = 422)))]
async fn start_reconciliation(
    caller: Allowed<may::EntitlementWrite>,
    State(api): State<AccessApi>,
    Body(body): Body<StartBody>,
) -> Result<(StatusCode, Json<ReconciliationView>), Failure> {
    let kind = if body.dry_run { Kind::DryRun } else { Kind::Manual };
    let begun = api.store.write(move |tx| {
        let begun = ops::start(tx, &caller.principal, kind, body.entitlement_ids.as_deref())?;
        let begun = begun.ok_or_else(|| {
            Problem::Conflict(
                "There is nothing to reconcile: no entitlement says how its accounts are listed, or all of them are being \
                 reconciled already."
                    .to_owned(),
            )
        })?;
        ReconciliationView::of(tx, begun)
    });
    Ok((StatusCode::ACCEPTED, Json(begun.await?)))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ItemParams {
    /// `add`, `remove`, `adopt` or `ignore`.
    #[param(inline)]
    action: Option<Action>,
    /// Only for this reason, such as `still_there`.
    #[param(inline)]
    reason: Option<Reason>,
    /// `reported`, `planned`, `applying`, `done`, `failed` or `skipped`.
    #[param(inline)]
    state: Option<ItemState>,
    /// Only accounts whose name contains this.
    q: Option<String>,
    /// Only those whose person is known (`true`), or is not (`false`).
    matched: Option<bool>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A difference.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ItemView {
    /// The id.
    id: DifferenceId,
    /// What the connected system calls it.
    account: String,
    /// What it asks for.
    #[schema(inline)]
    action: Action,
    /// Why.
    #[schema(inline)]
    reason: Reason,
    /// The same in a sentence.
    text: &'static str,
    /// Where it stands.
    #[schema(inline)]
    state: ItemState,
    /// The grant that it is about.
    grant_id: Option<GrantId>,
    /// Whose it is, or seems to be.
    person: Option<PersonRef>,
    /// What the connected system says about it.
    #[schema(value_type = Option<Object>)]
    attributes: Option<Value>,
    /// Why it failed or was skipped.
    error: Option<String>,
    /// What it became when it was adopted.
    assignment_id: Option<AssignmentId>,
    /// When it last changed.
    changed_at: Timestamp,
}

impl From<Named> for ItemView {
    fn from((item, person): Named) -> Self {
        let Item { id, account, action, reason, state, grant_id, attributes, error, assignment_id, changed_at, .. } = item;
        Self {
            text: reason.text(),
            id,
            account,
            action,
            reason,
            state,
            grant_id,
            person,
            attributes,
            error,
            assignment_id,
            changed_at,
        }
    }
}

/// The differences of a plan.
#[utoipa::path(get, path = "/api/reconciliations/{id}/plans/{planId}/items", tag = "access",
    params(("id" = ReconciliationId, Path), ("planId" = PlanId, Path), ItemParams),
    responses((status = 200, body = Page<ItemView>), (status = 404)))]
async fn list_items(
    _: Allowed<may::EntitlementRead>,
    State(api): State<AccessApi>,
    IdsPath(id, plan): IdsPath<ReconciliationId, PlanId>,
    Params(params): Params<ItemParams>,
) -> Result<Json<Page<ItemView>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let after = match params.cursor.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => return Err(Problem::field("cursor", "expected the nextCursor of a page before").into()),
    };
    let filter = ItemFilter {
        action: params.action,
        reason: params.reason,
        state: params.state,
        q: params.q,
        matched: params.matched,
    };
    let rows = api.store.read(move |tx| {
        let plan = ops::plan_of(tx, &id, &plan)?;
        items::list_items(tx, plan.no, &filter, after, limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |(item, _)| item.no.to_string()).map(ItemView::from)))
}

/// Why a plan is approved or rejected.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = PlanDecisionBody)]
struct DecisionBody {
    /// The reason, for the audit log.
    reason: String,
}

/// Lets a held plan go: it is carried out as far as it still holds.
#[utoipa::path(post, path = "/api/reconciliations/{id}/plans/{planId}/approve", tag = "access",
    params(("id" = ReconciliationId, Path), ("planId" = PlanId, Path)), request_body = DecisionBody,
    responses((status = 200, body = ReconciliationView), (status = 404), (status = 409), (status = 422)))]
async fn approve_plan(
    caller: Allowed<may::ReconciliationDecide>,
    State(api): State<AccessApi>,
    IdsPath(id, plan): IdsPath<ReconciliationId, PlanId>,
    Body(body): Body<DecisionBody>,
) -> Result<Json<ReconciliationView>, Failure> {
    decide(api, caller, (id, plan), true, body).await
}

/// Ends a held plan: nothing of it is carried out.
#[utoipa::path(post, path = "/api/reconciliations/{id}/plans/{planId}/reject", tag = "access",
    params(("id" = ReconciliationId, Path), ("planId" = PlanId, Path)), request_body = DecisionBody,
    responses((status = 200, body = ReconciliationView), (status = 404), (status = 409), (status = 422)))]
async fn reject_plan(
    caller: Allowed<may::ReconciliationDecide>,
    State(api): State<AccessApi>,
    IdsPath(id, plan): IdsPath<ReconciliationId, PlanId>,
    Body(body): Body<DecisionBody>,
) -> Result<Json<ReconciliationView>, Failure> {
    decide(api, caller, (id, plan), false, body).await
}

async fn decide(
    api: AccessApi,
    caller: Allowed<may::ReconciliationDecide>,
    (id, plan): (ReconciliationId, PlanId),
    approve: bool,
    body: DecisionBody,
) -> Result<Json<ReconciliationView>, Failure> {
    let decided = api.store.write(move |tx| {
        ops::decide(tx, &caller.principal, (&id, &plan), approve, &body.reason)?;
        ReconciliationView::of(tx, store::get_reconciliation(tx, &id)?)
    });
    Ok(Json(decided.await?))
}

/// Access that ended and that the connected system has not let go of, or has again.
#[utoipa::path(get, path = "/api/reconciliations/still-present", tag = "access", params(PageRequest),
    responses((status = 200, body = Page<StillPresent>)))]
async fn list_still_present(
    _: Allowed<may::AssignmentRead>,
    State(api): State<AccessApi>,
    Params(page): Params<PageRequest>,
) -> Result<Json<Page<StillPresent>>, Failure> {
    let limit = page.limit()?;
    let rows = api.store.read(move |tx| {
        items::list_still_present(tx, tx.now(), page.cursor.as_deref().unwrap_or(""), limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |s| s.grant_id.to_string())))
}
