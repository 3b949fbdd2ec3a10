//! Erasing what entries of the audit log stand for, over HTTP.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::base::id::PersonId;
use crate::base::problem::Problem;
use crate::features::audit::erasure::Ranges;
use crate::features::workflow::WorkflowApi;
use crate::features::workflow::exceptions::Act;
use crate::features::workflow::exceptions::api::{Answer, ExceptionView};
use crate::features::workflow::exceptions::ops::{self, Done};
use crate::platform::http::{Allowed, Body, Failure, Routes};

/// The routes of this file.
pub fn routes(state: WorkflowApi) -> Routes {
    OpenApiRouter::new().routes(routes!(erase_states)).with_state(state)
}

/// What is to be erased.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EraseBody {
    /// Everything in the entries about this person and their account, and name, address and reasons in those that they
    /// made.
    #[serde(default)]
    person_id: Option<PersonId>,
    /// Everything in these entries, by number, such as `5-9,12`.
    #[serde(default)]
    entries: Option<String>,
    /// Why. It is kept in the audit log.
    reason: String,
}

/// That it begins.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Erasing {
    /// How many states are erased: up to three for an entry.
    states: u64,
}

/// Has what entries of the audit log stand for erased by a job: who, before and after. The entries and every proof
/// stay, and an entry tells what was erased. What entries about the log itself say of it is never erased. With the rule
/// of the second person on, it is asked for.
#[utoipa::path(post, path = "/api/audit/erase", tag = "audit", request_body = EraseBody,
    responses((status = 200, body = Erasing), (status = 202, body = ExceptionView), (status = 403), (status = 409),
              (status = 422)))]
async fn erase_states(
    caller: Allowed<may::AuditErase>,
    State(api): State<WorkflowApi>,
    Body(body): Body<EraseBody>,
) -> Result<Answer<Erasing>, Failure> {
    let (by, policy) = (caller.principal, api.four_eyes.clone());
    let entries = match body.entries.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => Ranges::parse(text).map_err(|why| Problem::field("entries", why))?,
        None => Ranges::default(),
    };
    let answer = api.store.write(move |tx| {
        let act = Act::EraseStates { person_id: body.person_id.clone(), entries: entries.clone() };
        let outcome = ops::through(tx, &by, &policy, act, &body.reason)?;
        Answer::of(tx, &by, outcome, |_, done| match done {
            Done::Erasing(states) => Ok(Erasing { states }),
            other => Err(Problem::internal(format!("expected states to be erased, got {other:?}"))),
        })
    });
    Ok(answer.await?)
}
