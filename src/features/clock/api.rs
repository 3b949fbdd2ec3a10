//! The clock over HTTP: what it shows, whether it is in doubt, and the word of an administrator.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::timekeeping::{self, DoubtKind};
use crate::platform::http::{Allowed, Body, Failure, Routes};
use crate::platform::queue::doubt::count_standing_back;
use crate::platform::store::{Store, Tx};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct ClockApi {
    /// The business database.
    pub store: Store,
}

/// The routes of the clock.
pub fn routes(state: ClockApi) -> Routes {
    OpenApiRouter::new().routes(routes!(get_clock)).routes(routes!(confirm_clock)).with_state(state)
}

/// The clock, and whether it is believed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Clock {
    /// What it shows now.
    now: Timestamp,
    /// Whether nothing ends by itself until an administrator confirms the time.
    held: bool,
    /// What casts doubt on it.
    kind: Option<DoubtKind>,
    /// Why it is in doubt, in words.
    why: Option<String>,
    /// What it showed when that was noticed.
    since: Option<Timestamp>,
    /// What it should have been near then.
    expected_at: Option<Timestamp>,
    /// How far it has left a steady clock, in milliseconds; more than zero when it is ahead.
    drift_ms: i64,
    /// How many jobs came meanwhile and stand back.
    jobs_waiting: u64,
    /// The newest entry of the audit log.
    newest_audit_entry: Option<NewestEntry>,
}

/// An entry of the audit log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct NewestEntry {
    /// Its number.
    seq: u64,
    /// When it was written, by the clock of then.
    at: Timestamp,
}

/// How somebody knows that the time is right.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ConfirmBody {
    /// Why the clock is believed from now on.
    reason: String,
}

fn look(tx: &Tx<'_>) -> Result<Clock, Problem> {
    let doubt = timekeeping::ops::find_doubt(tx)?;
    Ok(Clock {
        now: tx.now(),
        held: doubt.is_some(),
        kind: doubt.map(|d| d.kind),
        why: doubt.map(|d| d.why()),
        since: doubt.map(|d| d.shown_at),
        expected_at: doubt.map(|d| d.expected_at),
        drift_ms: tx.drift_ms(),
        jobs_waiting: count_standing_back(tx)?,
        newest_audit_entry: timekeeping::ops::newest_entry(tx)?.map(|(seq, at)| NewestEntry { seq, at }),
    })
}

/// What the clock shows and whether it is in doubt.
#[utoipa::path(get, path = "/api/clock", tag = "settings", responses((status = 200, body = Clock)))]
async fn get_clock(_: Allowed<may::SettingsRead>, State(api): State<ClockApi>) -> Result<Json<Clock>, Failure> {
    Ok(Json(api.store.read(look).await?))
}

/// Says that the clock is right as it is now; what stood back goes on, each at its instant.
#[utoipa::path(post, path = "/api/clock/confirm", tag = "settings", request_body = ConfirmBody,
    responses((status = 200, body = Clock), (status = 403), (status = 409), (status = 422)))]
async fn confirm_clock(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<ClockApi>,
    Body(body): Body<ConfirmBody>,
) -> Result<Json<Clock>, Failure> {
    // What nobody noticed yet is written down first: a doubt is confirmed as it is stored.
    api.store.write(timekeeping::ops::is_held).await?;
    let by = caller.principal;
    api.store.write(move |tx| timekeeping::ops::confirm(tx, &by, &body.reason)).await?;
    Ok(Json(api.store.read(look).await?))
}
