//! Approvals over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, ApprovalFilter};
use super::{Approval, ApprovalState, ops};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{ApprovalId, DocumentId, EntitlementId, PersonId, RoleId, RunId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::documents;
use crate::features::access::roles;
use crate::features::identity::people::{self, PersonRef};
use crate::features::workflow::{WorkflowApi, definitions, runs};
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Tx;

/// The routes of approvals.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_approvals))
        .routes(routes!(get_approval))
        .routes(routes!(decide))
        .with_state(state)
}

/// An approval, with what one should know to decide.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// The id.
    id: ApprovalId,
    /// The run that waits for it.
    run_id: RunId,
    /// The workflow's name.
    workflow_name: String,
    /// The step's name.
    step_name: String,
    /// What is asked.
    title: String,
    /// What one should know.
    description: String,
    /// How it stands.
    state: ApprovalState,
    /// Whom it is about.
    subject: Option<PersonRef>,
    /// Who asked.
    requested_by: Option<PersonRef>,
    /// Who may decide.
    approvers: Vec<PersonRef>,
    /// The business role it is about.
    role: Option<RoleInApproval>,
    /// The subject's documents.
    documents: Vec<DocumentInApproval>,
    /// Since when it waits.
    created_at: Timestamp,
    /// When it is overdue.
    due_at: Option<Timestamp>,
    /// When it was decided.
    decided_at: Option<Timestamp>,
    /// Who decided.
    decided_by: Option<PersonRef>,
    /// Why.
    reason: Option<String>,
    /// Whether the caller may decide.
    can_decide: bool,
    /// Why the caller may not.
    why_not: Option<&'static str>,
    /// When a reason is needed.
    reason_required: ReasonRequired,
}

/// What the role of an approval contains.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct RoleInApproval {
    /// The id.
    id: RoleId,
    /// How it is called.
    name: String,
    /// What it is for.
    description: String,
    /// For how many days it is granted.
    default_duration_days: Option<u32>,
    /// What it gives.
    entitlements: Vec<EntitlementInApproval>,
}

/// An entitlement in few words.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct EntitlementInApproval {
    /// The id.
    id: EntitlementId,
    /// How it is called.
    name: String,
    /// Where it is.
    connector_name: String,
}

/// A document in few words.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct DocumentInApproval {
    /// The id.
    id: DocumentId,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// How it stands.
    state: documents::DocumentState,
    /// From when it counts.
    valid_from: Timestamp,
    /// Until when it counts.
    expires_at: Timestamp,
}

/// When a reason is needed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ReasonRequired {
    /// To approve.
    approve: bool,
    /// To reject.
    reject: bool,
}

fn view(tx: &Tx<'_>, by: &Principal, a: Approval) -> Result<ApprovalView, Problem> {
    let refs = |id: &Option<PersonId>| -> Result<Option<PersonRef>, Problem> {
        id.as_ref().map_or(Ok(None), |id| people::store::person_ref(tx, id))
    };
    let run = runs::store::get_run(tx, &a.run_id)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let why_not = a.why_not(by);
    let mut approvers = Vec::new();
    for id in &a.approvers {
        approvers.extend(people::store::person_ref(tx, id)?);
    }
    Ok(ApprovalView {
        workflow_name: workflow.definition.name.clone(),
        subject: refs(&a.subject_id)?,
        requested_by: refs(&a.requested_by)?,
        decided_by: refs(&a.decided_by)?,
        approvers,
        role: a.role_id.as_ref().map(|id| role(tx, id)).transpose()?,
        documents: documents_of(tx, a.subject_id.as_ref())?,
        can_decide: why_not.is_none(),
        why_not,
        reason_required: ReasonRequired { approve: false, reject: true },
        id: a.id,
        run_id: a.run_id,
        step_name: a.step_name,
        title: a.title,
        description: a.description,
        state: a.state,
        created_at: a.created_at,
        due_at: a.due_at,
        decided_at: a.decided_at,
        reason: a.reason,
    })
}

fn role(tx: &Tx<'_>, id: &RoleId) -> Result<RoleInApproval, Problem> {
    let role = roles::store::get_role(tx, id)?;
    let entitlements = role.entitlements.into_iter().map(|e| EntitlementInApproval {
        id: e.id,
        name: e.name,
        connector_name: e.connector_name,
    });
    Ok(RoleInApproval {
        id: role.id,
        name: role.name,
        description: role.description,
        default_duration_days: role.default_duration_days,
        entitlements: entitlements.collect(),
    })
}

fn documents_of(tx: &Tx<'_>, person: Option<&PersonId>) -> Result<Vec<DocumentInApproval>, Problem> {
    let Some(person) = person else { return Ok(Vec::new()) };
    let filter = documents::store::DocumentFilter { person: Some(person.clone()), ..Default::default() };
    let found = documents::store::list_documents(tx, &filter, None, 50)?;
    Ok(found
        .into_iter()
        .map(|d| DocumentInApproval {
            id: d.id,
            kind: d.kind,
            state: d.state,
            valid_from: d.valid_from,
            expires_at: d.expires_at,
        })
        .collect())
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct ListParams {
    /// `pending`, `decided` or `all`; pending when absent.
    state: Option<String>,
    /// Only those assigned to the caller.
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
        || by.person.as_ref().is_some_and(|p| {
            a.approvers.contains(p) || a.subject_id.as_ref() == Some(p) || a.requested_by.as_ref() == Some(p)
        })
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
            let approval = store::get_approval(tx, &id)?;
            if !visible(&caller.principal, &approval) {
                return Err(Problem::missing("approval", &id));
            }
            view(tx, &caller.principal, approval)
        })
        .await?;
    Ok(Json(found))
}

/// A decision.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    /// `approve` or `reject`.
    decision: Decision,
    /// Why; needed to reject.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// Decides an approval that is assigned to the caller.
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
            let approval = store::get_approval(tx, &id)?;
            if !visible(&by, &approval) {
                return Err(Problem::missing("approval", &id));
            }
            let approve = body.decision == Decision::Approve;
            let approval = ops::decide(tx, &by, &id, approve, body.reason.as_deref())?;
            view(tx, &by, approval)
        })
        .await?;
    Ok(Json(decided))
}
