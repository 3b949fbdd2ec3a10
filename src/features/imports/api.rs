//! Imports over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Import, ImportKind, ImportRow, MAX_ROWS, RowState, Verdict, ops, store};
use crate::base::access::may;
use crate::base::id::{ConnectorId, ImportId, TypedId as _};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::{Timestamp, day_in};
use crate::features::connectors::{self, Connectors};
use crate::features::settings::Started;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Params, Routes};
use crate::platform::store::Store;

/// The largest file.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct ImportsApi {
    /// The business database.
    pub store: Store,
    /// Connected systems, whose lists can be brought in.
    pub connectors: Connectors,
    /// Whether the rule of the second person is on; a saved setting wins.
    pub four_eyes: Started<bool>,
    /// Where a day of the organisation ends.
    pub timezone: jiff::tz::TimeZone,
}

/// The routes of imports.
pub fn routes(state: ImportsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(list_imports, create_import))
        .routes(routes!(import_from_connector))
        .routes(routes!(get_import))
        .routes(routes!(list_rows))
        .routes(routes!(apply_import))
        .routes(routes!(cancel_import))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(state)
}

/// The instant at which a day such as 2031-03-01 is over.
fn end_of_day(zone: &jiff::tz::TimeZone, text: &str) -> Option<Timestamp> {
    day_in(zone, text).map(|day| day.end)
}

/// A file to be reviewed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ImportBody {
    /// What is in it.
    kind: ImportKind,
    /// What it is called.
    #[serde(default)]
    name: String,
    /// The file: a line with the names of the columns, then a row per person or per assignment.
    csv: String,
}

/// Reviews a file row by row. Nothing is changed until it is applied.
#[utoipa::path(post, path = "/api/imports", tag = "people", request_body = ImportBody,
    responses((status = 201, body = Import), (status = 413), (status = 422)))]
async fn create_import(
    caller: Allowed<(may::PersonWrite, may::AssignmentWrite)>,
    State(api): State<ImportsApi>,
    Body(body): Body<ImportBody>,
) -> Result<(StatusCode, Json<Import>), Failure> {
    let by = caller.principal;
    ops::require(&by, body.kind)?;
    let name = match body.name.trim() {
        "" => format!("{}.csv", body.kind.as_str()),
        name if name.chars().count() > 200 => return Err(Problem::field("name", "expected at most 200 characters").into()),
        name => name.to_owned(),
    };
    let kind = body.kind;
    let rows = ops::rows_of(kind, &body.csv)?;
    let zone = api.timezone.clone();
    // The review reads very much and the writer is everybody's: it has a reader of its own.
    let reviewed = api.store.read(move |tx| ops::review(tx, kind, rows, &|text| end_of_day(&zone, text))).await?;
    let import = api.store.write(move |tx| ops::keep(tx, &by, kind, (&name, "csv"), &reviewed)).await?;
    Ok((StatusCode::CREATED, Json(import)))
}

/// A list of a connected system to be reviewed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListedBody {
    /// What is in it.
    kind: ImportKind,
    /// The connector.
    connector_id: ConnectorId,
    /// Its command that lists.
    command: String,
    /// The parameters of the command.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    params: Value,
    /// The columns, as a file would have them: each a template over `key` and `attributes` of an item, such as
    /// `{{ attributes.mail[0] }}`.
    columns: BTreeMap<String, String>,
}

/// Reviews the list of a connected system item by item. Nothing is changed until it is applied.
#[utoipa::path(post, path = "/api/imports/from-connector", tag = "people", request_body = ListedBody,
    responses((status = 201, body = Import), (status = 404), (status = 422), (status = 503)))]
async fn import_from_connector(
    caller: Allowed<may::ConnectorWrite>,
    State(api): State<ImportsApi>,
    Body(body): Body<ListedBody>,
) -> Result<(StatusCode, Json<Import>), Failure> {
    let (by, kind) = (caller.principal, body.kind);
    ops::require(&by, kind)?;
    // What is wrong with the columns is told before anybody is asked.
    ops::rows_of_list(kind, &body.columns, &[])?;
    let wanted = body.connector_id.clone();
    let connector = api.store.read(move |tx| connectors::store::get_connector(tx, &wanted)).await?;
    let known: Vec<_> = Connectors::commands(connector.kind).iter().filter(|c| c.lists).map(|c| c.name).collect();
    if !known.contains(&body.command.as_str()) {
        return Err(Problem::field("command", format!("expected one of {}", known.join(", "))).into());
    }
    let params = if body.params.is_null() { json!({}) } else { body.params };
    let found = api.connectors.list_all(&connector.id, &body.command, &params, MAX_ROWS).await.map_err(Problem::from)?;
    if found.is_empty() {
        return Err(Problem::refused(format!("{} has nothing in this list.", connector.name)).into());
    }
    let rows = ops::rows_of_list(kind, &body.columns, &found)?;
    let zone = api.timezone.clone();
    let reviewed = api.store.read(move |tx| ops::review(tx, kind, rows, &|text| end_of_day(&zone, text))).await?;
    let kept = api.store.write(move |tx| {
        ops::keep(tx, &by, kind, (&connector.name, connector.id.as_str()), &reviewed)
    });
    Ok((StatusCode::CREATED, Json(kept.await?)))
}

/// Imports, newest first.
#[utoipa::path(get, path = "/api/imports", tag = "people", params(PageRequest),
    responses((status = 200, body = Page<Import>)))]
async fn list_imports(
    _: Allowed<may::PersonRead>,
    State(api): State<ImportsApi>,
    Params(params): Params<PageRequest>,
) -> Result<Json<Page<Import>>, Failure> {
    let limit = params.limit()?;
    let rows = api.store.read(move |tx| store::list_imports(tx, params.cursor.as_deref(), limit + 1)).await?;
    Ok(Json(Page::cut(rows, limit, |i| i.id.to_string())))
}

/// One import, with how far it is.
#[utoipa::path(get, path = "/api/imports/{id}", tag = "people", params(("id" = ImportId, Path)),
    responses((status = 200, body = Import), (status = 404)))]
async fn get_import(
    _: Allowed<may::PersonRead>,
    State(api): State<ImportsApi>,
    IdPath(id): IdPath<ImportId>,
) -> Result<Json<Import>, Failure> {
    Ok(Json(api.store.read(move |tx| store::get_import(tx, &id)).await?))
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct RowParams {
    /// Only rows of this verdict.
    verdict: Option<Verdict>,
    /// Only rows of which this became.
    state: Option<RowState>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// The rows of an import with what they would do, or did.
#[utoipa::path(get, path = "/api/imports/{id}/rows", tag = "people", params(("id" = ImportId, Path), RowParams),
    responses((status = 200, body = Page<ImportRow>), (status = 404), (status = 422)))]
async fn list_rows(
    _: Allowed<may::PersonRead>,
    State(api): State<ImportsApi>,
    IdPath(id): IdPath<ImportId>,
    Params(p): Params<RowParams>,
) -> Result<Json<Page<ImportRow>>, Failure> {
    let limit = PageRequest { limit: p.limit, cursor: None }.limit()?;
    let after = match p.cursor.as_deref() {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| Problem::field("cursor", "expected nextCursor of the page before"))?,
    };
    let rows = api.store.read(move |tx| {
        store::get_import(tx, &id)?;
        store::list_rows(tx, &id, p.verdict, p.state, after, limit + 1)
    });
    Ok(Json(Page::cut(rows.await?, limit, |r| r.line.to_string())))
}

/// Applies a reviewed import in the background. Access is applied by somebody else than whoever brought it.
#[utoipa::path(post, path = "/api/imports/{id}/apply", tag = "people", params(("id" = ImportId, Path)),
    responses((status = 202, body = Import), (status = 403), (status = 404), (status = 409)))]
async fn apply_import(
    caller: Allowed<(may::PersonWrite, may::AssignmentWrite)>,
    State(api): State<ImportsApi>,
    IdPath(id): IdPath<ImportId>,
) -> Result<(StatusCode, Json<Import>), Failure> {
    let four_eyes = api.four_eyes.clone();
    let import = api.store.write(move |tx| ops::apply(tx, &caller.principal, &id, &four_eyes)).await?;
    Ok((StatusCode::ACCEPTED, Json(import)))
}

/// Drops a reviewed import.
#[utoipa::path(post, path = "/api/imports/{id}/cancel", tag = "people", params(("id" = ImportId, Path)),
    responses((status = 200, body = Import), (status = 403), (status = 404), (status = 409)))]
async fn cancel_import(
    caller: Allowed<(may::PersonWrite, may::AssignmentWrite)>,
    State(api): State<ImportsApi>,
    IdPath(id): IdPath<ImportId>,
) -> Result<Json<Import>, Failure> {
    Ok(Json(api.store.write(move |tx| ops::cancel(tx, &caller.principal, &id)).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_of_the_organisation() {
        let zone = jiff::tz::TimeZone::get("Europe/Zurich").unwrap();
        assert_eq!(end_of_day(&zone, "2031-03-01").unwrap().to_string(), "2031-03-01T23:00:00.000Z");
        assert_eq!(end_of_day(&jiff::tz::TimeZone::UTC, "2031-03-01").unwrap().to_string(), "2031-03-02T00:00:00.000Z");
        for bad in ["1.3.2031", "2031-13-01", "2031-03-01T00:00", ""] {
            assert_eq!(end_of_day(&zone, bad), None, "{bad}");
        }
    }
}
