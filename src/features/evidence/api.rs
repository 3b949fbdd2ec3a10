//! Evidence packs over HTTP.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::pack::Pack;
use super::{Asked, ops};
use crate::base::access::{Permission, may};
use crate::base::id::{PersonId, RoleId};
use crate::base::problem::{FieldError, Problem};
use crate::base::time::{Timestamp, day_in};
use crate::features::audit::export;
use crate::features::checkpoints::Reason;
use crate::features::checkpoints::service::Checkpoints;
use crate::platform::http::{Allowed, Body as Json, Failure, Routes, as_attachment};
use crate::platform::pieces::as_tar;
use crate::platform::store::Store;

/// The most roles and people that one pack is narrowed to.
const MAX_IDS: usize = 1_000;
/// Thirty days.
const LONGEST_LATE: u32 = 30 * 24 * 60;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct EvidenceApi {
    /// The business database.
    pub store: Store,
    /// Who signs for the log as it is.
    pub checkpoints: Checkpoints,
    /// Where a day of the organisation begins and ends.
    pub timezone: jiff::tz::TimeZone,
}

/// The routes of evidence packs.
pub fn routes(state: EvidenceApi) -> Routes {
    OpenApiRouter::new().routes(routes!(take_pack)).with_state(state)
}

/// What a pack is to be about.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewEvidencePack)]
struct NewPack {
    /// The first day of the period, or its first instant.
    from: String,
    /// The last day of the period, or the first instant after it; not after now.
    to: String,
    /// Which roles and people; all when absent.
    #[serde(default)]
    scope: PackScope,
    /// Whether grants in the period that are not in the scope are opened: whose, which role, why. Only then can an
    /// outsider see that none is missing.
    #[serde(default = "yes")]
    open_others: bool,
    /// How many minutes after its end access may still be there before that is an exception.
    #[serde(default = "an_hour")]
    late_after_minutes: u32,
}

/// Which roles and people a pack is about.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = EvidencePackScope)]
struct PackScope {
    /// Only these roles; every role when empty.
    role_ids: Vec<RoleId>,
    /// Only these people; everybody when empty.
    person_ids: Vec<PersonId>,
}

fn yes() -> bool {
    true
}

fn an_hour() -> u32 {
    60
}

impl NewPack {
    fn asked(self, zone: &jiff::tz::TimeZone, now: Timestamp) -> Result<Asked, Problem> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push(FieldError { field: field.to_owned(), message });
        let from = instant(zone, &self.from).map(|(begin, _)| begin);
        // Of the day that is not over yet what there is.
        let to = instant(zone, &self.to).map(|(begin, end)| if begin < now { end.min(now) } else { end });
        for (field, text, at) in [("from", &self.from, from), ("to", &self.to, to)] {
            if at.is_none() {
                fault(field, format!("got \"{text}\"; expected a day such as 2031-03-01, or an instant such as 2031-03-01T12:00:00Z"));
            }
        }
        if let Some(to) = to.filter(|to| *to > now) {
            fault("to", format!("got {to}; expected an instant up to now, {now}"));
        } else if from.zip(to).is_some_and(|(from, to)| from >= to) {
            fault("to", "expected an end after the beginning".to_owned());
        }
        for (field, count) in [("scope.roleIds", self.scope.role_ids.len()), ("scope.personIds", self.scope.person_ids.len())] {
            if count > MAX_IDS {
                fault(field, format!("got {count}; expected at most {MAX_IDS}"));
            }
        }
        if !(1..=LONGEST_LATE).contains(&self.late_after_minutes) {
            fault("lateAfterMinutes", format!("got {}; expected 1 to {LONGEST_LATE}", self.late_after_minutes));
        }
        Problem::from_fields(faults)?;
        Ok(Asked {
            from: from.unwrap_or_default(),
            to: to.unwrap_or_default(),
            role_ids: self.scope.role_ids,
            person_ids: self.scope.person_ids,
            open_others: self.open_others,
            late_after_minutes: self.late_after_minutes,
        })
    }
}

/// The first instant that a text means, and the first one behind what it means.
fn instant(zone: &jiff::tz::TimeZone, text: &str) -> Option<(Timestamp, Timestamp)> {
    if let Some(day) = day_in(zone, text) {
        return Some((day.start, day.end));
    }
    text.parse().ok().map(|at| (at, at))
}

/// Makes an evidence pack: who held what in a period, who decided, what was out of the ordinary, with the whole log as
/// proof, as a tar. A checkpoint is made first, and that a pack was taken is an entry of the log.
#[utoipa::path(post, path = "/api/evidence-packs", tag = "audit", request_body = NewPack, responses(
    (status = 200, body = String, content_type = "application/x-tar"), (status = 409), (status = 422)))]
async fn take_pack(
    caller: Allowed<may::AuditRead>,
    State(api): State<EvidenceApi>,
    Json(new): Json<NewPack>,
) -> Result<impl IntoResponse, Failure> {
    // It shows what these show; a token that is limited to the log does not get it by this way.
    for needed in [Permission::AssignmentRead, Permission::PersonRead, Permission::DocumentRead, Permission::RoleRead] {
        caller.principal.require(needed)?;
    }
    let now = api.store.clock().now();
    let asked = new.asked(&api.timezone, now)?;
    let record = api.checkpoints.make(Reason::Manual).await?;
    let (by, about) = (caller.principal, asked.clone());
    let written = api.store.write(move |tx| {
        let signed = export::ops::open(tx, record.note.clone())?;
        let id = ops::record(tx, &by, &about, &signed)?;
        Ok((signed, id))
    });
    let (signed, id) = written.await?;
    let name = format!("evidence-{}-{}", day(asked.from), day(asked.to));
    let pack = Pack::new(api.store, asked, id.to_string(), signed, now)?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, as_attachment(&format!("{name}.tar"))),
    ];
    Ok((headers, Body::from_stream(as_tar(Box::new(pack), name, now))))
}

/// The day of an instant, for the name of a file.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: serde_json::Value) -> Result<Asked, String> {
        let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
        let new: NewPack = serde_json::from_value(body).unwrap();
        new.asked(&zone, "2031-06-15T12:00:00Z".parse().unwrap()).map_err(|p| format!("{p:?}"))
    }

    #[test]
    fn a_period_is_days_of_the_organisation_or_instants() {
        let days = asked(serde_json::json!({ "from": "2031-03-01", "to": "2031-03-31" })).unwrap();
        assert_eq!((days.from.to_string(), days.to.to_string()),
            ("2031-02-28T23:00:00.000Z".to_owned(), "2031-03-31T22:00:00.000Z".to_owned()));
        assert!(days.is_all() && days.open_others);
        let instants = asked(serde_json::json!({ "from": "2031-03-01T00:00:00Z", "to": "2031-04-01T00:00:00Z" })).unwrap();
        assert_eq!(instants.to.to_string(), "2031-04-01T00:00:00.000Z");
        let today = asked(serde_json::json!({ "from": "2031-06-15", "to": "2031-06-15" })).unwrap();
        assert_eq!(today.to.to_string(), "2031-06-15T12:00:00.000Z");
    }

    #[test]
    fn what_is_no_period_is_told_by_its_field() {
        for (body, field) in [
            (serde_json::json!({ "from": "March", "to": "2031-03-31" }), "from"),
            (serde_json::json!({ "from": "2031-03-01", "to": "2031-06-16" }), "to"),
            (serde_json::json!({ "from": "2031-03-02", "to": "2031-03-01" }), "to"),
            (serde_json::json!({ "from": "2031-03-01", "to": "2031-03-31", "lateAfterMinutes": 0 }), "lateAfterMinutes"),
        ] {
            let told = asked(body).unwrap_err();
            assert!(told.contains(&format!("field: \"{field}\"")), "{field}: {told}");
        }
    }
}
