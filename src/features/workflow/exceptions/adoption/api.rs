//! Adopting over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::base::id::{AdoptionId, DifferenceId, PersonId, PlanId, ReconciliationId, RoleId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::assignments::Assignment;
use crate::features::access::reconciliation::{adoption::ops as adoptions, items, ops as reconciliations, store as plans};
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::exceptions::api::{Answer, ExceptionView, assignment};
use crate::features::workflow::exceptions::ops::{self, Done};
use crate::features::workflow::exceptions::Act;
use crate::platform::http::{Allowed, Body, Failure, IdsPath, Routes};

/// The routes of this file.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new().routes(routes!(adopt_account)).routes(routes!(adopt_accounts)).with_state(state)
}

/// What an account becomes.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdoptBody {
    /// Whose it is; the person that it seems to belong to when absent.
    #[serde(default)]
    person_id: Option<PersonId>,
    /// The role whose assignment it becomes; it gives the entitlement that was reconciled.
    role_id: RoleId,
    /// Until when.
    expires_at: Timestamp,
    /// Why.
    reason: String,
}

/// Makes an assignment of an account that was found. With the rule of the second person on, it is asked for.
#[utoipa::path(post, path = "/api/reconciliations/{id}/items/{itemId}/adopt", tag = "access",
    params(("id" = ReconciliationId, Path), ("itemId" = DifferenceId, Path)), request_body = AdoptBody,
    responses((status = 201, body = Assignment), (status = 202, body = ExceptionView), (status = 403), (status = 404),
              (status = 409), (status = 422)))]
async fn adopt_account(
    caller: Allowed<may::AssignmentWrite>,
    State(api): State<WorkflowApi>,
    IdsPath(id, item): IdsPath<ReconciliationId, DifferenceId>,
    Body(body): Body<AdoptBody>,
) -> Result<Answer<Assignment>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        let found = items::store::get_item(tx, &item)?;
        if plans::get_plan_no(tx, found.plan_no)?.reconciliation_id != id {
            return Err(Problem::missing("item", &item));
        }
        let person_id = body.person_id.clone().or(found.person_id).ok_or_else(|| {
            Problem::field("personId", "nobody knows whose this account is; expected the person")
        })?;
        let act = Act::AdoptAccount {
            item_id: item.clone(),
            person_id,
            role_id: body.role_id.clone(),
            expires_at: body.expires_at,
        };
        let outcome = ops::through(tx, &by, &policy, act, &body.reason)?;
        Answer::of(tx, &by, outcome, assignment).map(|a| a.as_status(StatusCode::CREATED))
    });
    Ok(answer.await?)
}

/// What many accounts become.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdoptAllBody {
    /// The role whose assignments they become; it gives the entitlement that was reconciled.
    role_id: RoleId,
    /// Until when.
    expires_at: Timestamp,
    /// Why.
    reason: String,
    /// How many there are, as `adoptable` of the plan says.
    expected_count: u64,
}

/// An adoption of many accounts that was begun; the plan shows how far it is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdoptionBegun {
    /// The id.
    id: AdoptionId,
}

/// Makes assignments of all accounts of a plan whose person is known. With the rule of the second person on,
/// it is asked for.
#[utoipa::path(post, path = "/api/reconciliations/{id}/plans/{planId}/adopt", tag = "access",
    params(("id" = ReconciliationId, Path), ("planId" = PlanId, Path)), request_body = AdoptAllBody,
    responses((status = 201, body = AdoptionBegun), (status = 202, body = ExceptionView), (status = 403), (status = 404),
              (status = 409), (status = 422)))]
async fn adopt_accounts(
    caller: Allowed<may::AssignmentWrite>,
    State(api): State<WorkflowApi>,
    IdsPath(id, plan): IdsPath<ReconciliationId, PlanId>,
    Body(body): Body<AdoptAllBody>,
) -> Result<Answer<AdoptionBegun>, Failure> {
    let by = caller.principal;
    let policy = api.four_eyes.clone();
    let answer = api.store.write(move |tx| {
        reconciliations::plan_of(tx, &id, &plan)?;
        let accounts = adoptions::count(tx, &plan)?;
        if accounts != body.expected_count {
            return Err(Problem::Conflict(format!(
                "{accounts} accounts of this plan can be adopted now; expected {}. Look at the list again and repeat.",
                body.expected_count
            )));
        }
        let act = Act::AdoptAccounts {
            plan_id: plan.clone(),
            role_id: body.role_id.clone(),
            expires_at: body.expires_at,
            accounts,
        };
        let outcome = ops::through(tx, &by, &policy, act, &body.reason)?;
        let answer = Answer::of(tx, &by, outcome, |_, done| match done {
            Done::Adopting(id) => Ok(AdoptionBegun { id }),
            other => Err(Problem::internal(format!("expected an adoption, got {other:?}"))),
        });
        answer.map(|a| a.as_status(StatusCode::CREATED))
    });
    Ok(answer.await?)
}
