//! Leaving and coming back over HTTP.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::base::id::{LeaveId, PersonId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::features::identity::leavers::{self, Leave, LeaveState, Leaving};
use crate::features::identity::people::{Person, store as people};
use crate::features::settings::api::NumberInForce;
use crate::features::settings::{self, Source, Started};
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes, nullable};
use crate::platform::store::{Store, Tx};

/// Decisions that one request takes at most.
const MAX_DECISIONS: usize = 200;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct LifecycleApi {
    /// The business database.
    pub store: Store,
}

/// The routes of leavers.
pub fn routes(state: LifecycleApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(deactivate))
        .routes(routes!(reactivate))
        .routes(routes!(list_leavers))
        .routes(routes!(decide))
        .routes(routes!(get_leaver))
        .routes(routes!(get_thresholds, put_thresholds))
        .with_state(state)
}

/// Why somebody leaves or comes back.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaverReasonBody)]
struct ReasonBody {
    /// For the audit log.
    reason: String,
}

/// The person after it was said.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Deactivated {
    /// As they are now: still active when it is held.
    person: Person,
    /// What was begun, or waits for an administrator; null when they had left before.
    leave: Option<Leave>,
}

/// Somebody leaves: sign-in, tokens and groups go at once, everything else that they held follows.
#[utoipa::path(post, path = "/api/people/{id}/deactivate", tag = "people", params(("id" = PersonId, Path)),
    request_body = ReasonBody, responses((status = 200, body = Deactivated), (status = 404), (status = 409), (status = 422)))]
async fn deactivate(
    caller: Allowed<may::PersonWrite>,
    State(api): State<LifecycleApi>,
    IdPath(id): IdPath<PersonId>,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Deactivated>, Failure> {
    let reason = leavers::ops::reason_of(&body.reason)?;
    let answer = api.store.write(move |tx| {
        let left = leavers::ops::leave(tx, &caller.principal, &id, Leaving::because(reason.clone()))?;
        let leave = match left {
            leavers::Left::Gone(id) | leavers::Left::Held(id) => Some(leavers::store::get_leave(tx, &id)?),
            leavers::Left::Before => None,
        };
        Ok(Deactivated { person: people::get_person(tx, &id)?, leave })
    });
    Ok(Json(answer.await?))
}

/// Somebody comes back: active again, with nothing of what they held.
#[utoipa::path(post, path = "/api/people/{id}/reactivate", tag = "people", params(("id" = PersonId, Path)),
    request_body = ReasonBody, responses((status = 200, body = Person), (status = 404), (status = 422)))]
async fn reactivate(
    caller: Allowed<may::PersonWrite>,
    State(api): State<LifecycleApi>,
    IdPath(id): IdPath<PersonId>,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Person>, Failure> {
    let reason = leavers::ops::reason_of(&body.reason)?;
    let person = api.store.write(move |tx| {
        leavers::ops::rejoin(tx, &caller.principal, &id, Some(&reason))?;
        people::get_person(tx, &id)
    });
    Ok(Json(person.await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// Only in this state.
    state: Option<LeaveState>,
    /// Only of this person.
    person_id: Option<PersonId>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Who left or would leave, newest first.
#[utoipa::path(get, path = "/api/leavers", tag = "people", params(ListParams),
    responses((status = 200, body = Page<Leave>)))]
async fn list_leavers(
    _: Allowed<may::PersonRead>,
    State(api): State<LifecycleApi>,
    Params(p): Params<ListParams>,
) -> Result<Json<Page<Leave>>, Failure> {
    let limit = PageRequest { limit: p.limit, cursor: None }.limit()?;
    let rows = api.store.read(move |tx| {
        leavers::store::list_leaves(tx, p.state, p.person_id.as_ref(), p.cursor.as_deref(), limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |l| l.id.to_string())))
}

/// One leaver.
#[utoipa::path(get, path = "/api/leavers/{id}", tag = "people", params(("id" = LeaveId, Path)),
    responses((status = 200, body = Leave), (status = 404)))]
async fn get_leaver(
    _: Allowed<may::PersonRead>,
    State(api): State<LifecycleApi>,
    IdPath(id): IdPath<LeaveId>,
) -> Result<Json<Leave>, Failure> {
    Ok(Json(api.store.read(move |tx| leavers::store::get_leave(tx, &id)).await?))
}

/// What is decided about people whose leaving is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LeaverDecision)]
enum Decision {
    /// They leave.
    Release,
    /// They stay.
    Dismiss,
}

/// Decides about people whose leaving is held.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct DecideBody {
    /// Which ones, at most 200.
    ids: Vec<LeaveId>,
    /// What.
    decision: Decision,
    /// Why.
    reason: String,
}

/// What became of them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Decided {
    /// As they stand now.
    items: Vec<Leave>,
}

/// Releases or dismisses people whose leaving is held: all of them, or none.
#[utoipa::path(post, path = "/api/leavers/decide", tag = "people", request_body = DecideBody,
    responses((status = 200, body = Decided), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn decide(
    caller: Allowed<may::PersonWrite>,
    State(api): State<LifecycleApi>,
    Body(body): Body<DecideBody>,
) -> Result<Json<Decided>, Failure> {
    let reason = leavers::ops::reason_of(&body.reason)?;
    if body.ids.is_empty() || body.ids.len() > MAX_DECISIONS {
        return Err(Problem::field("ids", format!("expected 1 to {MAX_DECISIONS} ids")).into());
    }
    let release = body.decision == Decision::Release;
    let items = api.store.write(move |tx| {
        body.ids.iter().map(|id| leavers::ops::decide(tx, &caller.principal, id, release, &reason)).collect::<Result<Vec<_>, _>>()
    });
    Ok(Json(Decided { items: items.await? }))
}

/// How many people may leave by one source within 24 hours before an administrator has to decide.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Thresholds {
    /// Of a hundred active people.
    leavers_percent: NumberInForce,
    /// At most.
    leavers_count: NumberInForce,
    /// What that makes now; a handful may always leave.
    now: u32,
}

/// Any subset; null goes back to the default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ThresholdChange {
    /// 1 to 100.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    leavers_percent: Option<Option<u32>>,
    /// 1 to 100000.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    leavers_count: Option<Option<u32>>,
}

/// The thresholds in force.
#[utoipa::path(get, path = "/api/settings/leavers", tag = "settings", responses((status = 200, body = Thresholds)))]
async fn get_thresholds(_: Allowed<may::SettingsRead>, State(api): State<LifecycleApi>) -> Result<Json<Thresholds>, Failure> {
    Ok(Json(api.store.read(thresholds).await?))
}

/// Changes the thresholds.
#[utoipa::path(put, path = "/api/settings/leavers", tag = "settings", request_body = ThresholdChange,
    responses((status = 200, body = Thresholds), (status = 422)))]
async fn put_thresholds(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<LifecycleApi>,
    Body(change): Body<ThresholdChange>,
) -> Result<Json<Thresholds>, Failure> {
    let answer = api.store.write(move |tx| {
        if let Some(value) = change.leavers_percent {
            settings::ops::set_number(tx, &caller.principal, leavers::LEAVERS_PERCENT, value)?;
        }
        if let Some(value) = change.leavers_count {
            settings::ops::set_number(tx, &caller.principal, leavers::LEAVERS_COUNT, value)?;
        }
        thresholds(tx)
    });
    Ok(Json(answer.await?))
}

fn thresholds(tx: &Tx<'_>) -> Result<Thresholds, Problem> {
    let of = |setting, value| -> Result<NumberInForce, Problem> {
        let started = Started { value, source: Source::Default };
        Ok(NumberInForce::of(settings::ops::number(tx, setting, &started)?, setting))
    };
    Ok(Thresholds {
        leavers_percent: of(leavers::LEAVERS_PERCENT, leavers::DEFAULT_PERCENT)?,
        leavers_count: of(leavers::LEAVERS_COUNT, leavers::DEFAULT_COUNT)?,
        now: leavers::ops::limit_now(tx)?,
    })
}
