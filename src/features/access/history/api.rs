//! The past over HTTP: the changes of an assignment, and who had what as a file.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use utoipa_axum::routes;

use super::{AssignmentRecord, Change, as_of, csv, ops};
use crate::base::access::may;
use crate::base::id::{AssignmentId, EntitlementId, PersonId, RoleId, TypedId as _};
use crate::base::page::{MAX_LIMIT, Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::AccessApi;
use crate::features::access::assignments::AssignmentState;
use crate::features::access::assignments::api::{scope, sees, states};
use crate::features::access::assignments::store::{AssignmentFilter, get_assignment};
use crate::features::identity::people::store::find_person;
use crate::platform::http::{Allowed, Caller, Failure, IdPath, Params, Routes, as_attachment};

/// The routes of this file.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(export_assignments))
        .routes(routes!(list_changes))
        .with_state(state)
}

/// The formats of a file.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AssignmentExportFormat)]
enum Format {
    /// Comma-separated values.
    #[default]
    Csv,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ExportParams {
    /// A past instant, or a day whose end is meant; now when absent.
    as_of: Option<String>,
    /// `csv`, which is all there is.
    #[param(inline)]
    format: Format,
    /// Only of this person.
    person_id: Option<PersonId>,
    /// Only of this role.
    role_id: Option<RoleId>,
    /// Only those that give this entitlement.
    entitlement_id: Option<EntitlementId>,
    /// Only those that were in this state.
    state: Option<AssignmentState>,
    /// Only those of which their person may have had something.
    held: bool,
}

/// What an export goes on with.
struct Export {
    api: AccessApi,
    filter: AssignmentFilter,
    at: Timestamp,
    /// The last assignment that was written.
    after: Option<String>,
    /// Whether there may be more.
    more: bool,
}

impl Export {
    /// The lines of the next page.
    async fn next(&mut self) -> Result<String, Problem> {
        let (decisions, filter, at) = (self.api.decisions.clone(), self.filter.clone(), self.at);
        let after = self.after.take();
        let page = self.api.store.read(move |tx| {
            let records = ops::list_assignments(tx, &decisions, &filter, at, after.as_deref(), MAX_LIMIT)?;
            let mut lines = String::new();
            for record in &records {
                lines.push_str(&csv::row(record, find_person(tx, &record.assignment.person.id)?.as_ref()));
            }
            let last = records.last().map(|r: &AssignmentRecord| r.assignment.id.as_str().to_owned());
            Ok((lines, last, records.len() == MAX_LIMIT as usize))
        });
        let (lines, last, more) = page.await?;
        (self.after, self.more) = (last, more);
        Ok(lines)
    }
}

/// Who had what at an instant as a file, newest first; one's own unless one may see all. It is written page by
/// page while it is sent.
#[utoipa::path(get, path = "/api/assignments/export", tag = "access", params(ExportParams),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 422)))]
async fn export_assignments(
    caller: Allowed<(may::AssignmentRead, may::AssignmentReadOwn)>,
    State(api): State<AccessApi>,
    Params(params): Params<ExportParams>,
) -> Result<impl IntoResponse, Failure> {
    let Format::Csv = params.format;
    let now = api.store.clock().now();
    let at = params.as_of.as_deref().map_or(Ok(now), |text| as_of(text, &api.timezone, now))?;
    let states = states(params.state, params.held)?;
    let scope = scope(&caller.principal, params.person_id);
    let filter = AssignmentFilter {
        person: scope.clone().flatten(),
        role: params.role_id,
        entitlement: params.entitlement_id,
        states,
    };
    let mut export = Export { api, filter, at, after: None, more: scope.is_some() };
    let mut begin = csv::head();
    // What is wrong is told before anything was sent.
    if export.more {
        begin.push_str(&export.next().await?);
    }
    let rest = stream::try_unfold(export, |mut export| async move {
        if !export.more {
            return Ok::<_, Problem>(None);
        }
        let lines = export.next().await?;
        Ok(Some((Bytes::from(lines), export)))
    });
    let whole = futures::StreamExt::chain(stream::iter([Ok(Bytes::from(begin))]), rest);
    let name = format!("access-{}.csv", at.to_string().replace(':', ""));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, as_attachment(&name)),
    ];
    Ok((headers, Body::from_stream(whole)))
}

/// The changes of an assignment and of its grants, oldest first, for whoever may see it.
#[utoipa::path(get, path = "/api/assignments/{id}/history", tag = "access",
    params(("id" = AssignmentId, Path), PageRequest), responses((status = 200, body = Page<Change>), (status = 404)))]
async fn list_changes(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<AssignmentId>,
    Params(params): Params<PageRequest>,
) -> Result<Json<Page<Change>>, Failure> {
    let limit = params.limit()?;
    let after = match params.cursor.as_deref() {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| Problem::field("cursor", "expected nextCursor of the page before"))?,
    };
    let rows = api.store.read(move |tx| {
        let assignment = get_assignment(tx, &id)?;
        if !sees(&caller.principal, &assignment.person.id) {
            return Err(Problem::missing("assignment", &id));
        }
        ops::list_changes(tx, &id, after, limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |change| change.seq.to_string())))
}
