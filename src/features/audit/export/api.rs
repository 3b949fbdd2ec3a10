//! The export over HTTP.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rows::{Lines, Parts};
use super::tiles::Tiles;
use super::{Kind, Newest, Selection, ops};
use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::{Allowed, Failure, Params, Routes, as_attachment};
use crate::platform::pieces::{Pieces, as_tar};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct ExportApi {
    /// The business database.
    pub store: Store,
    /// The newest checkpoint: checkpoints stand above the log.
    pub newest: Newest,
}

/// The routes of this file.
pub fn routes(state: ExportApi) -> Routes {
    OpenApiRouter::new().routes(routes!(export_log)).with_state(state)
}

/// The formats of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AuditExportFormat)]
enum Format {
    /// A line of JSON for each entry.
    #[default]
    Jsonl,
    /// A table.
    Csv,
    /// C2SP `tlog-tiles` in a tar: every entry up to the newest checkpoint, which it can be proved by.
    Tiles,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ExportParams {
    /// `jsonl`, `csv` or `tiles`.
    #[param(inline)]
    format: Format,
    /// Whether it comes as a tar with a manifest; `tiles` always do.
    manifest: bool,
    /// Kind of thing, such as `assignment`.
    entity: Option<String>,
    /// Which one.
    entity_id: Option<String>,
    /// Such as `role.revoked`.
    action: Option<String>,
    /// Who did it.
    actor_id: Option<String>,
    /// From this instant on.
    from: Option<Timestamp>,
    /// Before this instant.
    to: Option<Timestamp>,
}

/// The audit log as a file, oldest first. It is written while it is sent.
#[utoipa::path(get, path = "/api/audit/export", tag = "audit", params(ExportParams), responses(
    (status = 200, content((String = "application/x-ndjson"), (String = "text/csv"), (Vec<u8> = "application/x-tar"))),
    (status = 409), (status = 422)))]
async fn export_log(
    _: Allowed<may::AuditRead>,
    State(api): State<ExportApi>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Failure> {
    let now = api.store.clock().now();
    let selection = Selection {
        entity: params.entity,
        entity_id: params.entity_id,
        action: params.action,
        actor_id: params.actor_id,
        from: params.from,
        to: params.to,
    };
    let kind = match params.format {
        Format::Jsonl => Kind::Jsonl,
        Format::Csv => Kind::Csv,
        Format::Tiles => return tiles(api, &selection, now).await,
    };
    let lines = Lines::begin(api.store, api.newest, kind, selection).await?;
    if params.manifest {
        return Ok(tar(Box::new(Parts::new(lines)), "audit", now));
    }
    plain(lines, kind, now).await
}

async fn tiles(api: ExportApi, selection: &Selection, now: Timestamp) -> Result<Response, Failure> {
    if *selection != Selection::default() {
        return Err(Problem::field("format", "tiles hold every entry: leave the other parameters out").into());
    }
    let newest = api.newest;
    let signed = api.store.read(move |tx| ops::signed(tx, &newest)).await?.ok_or_else(ops::unsigned)?;
    Ok(tar(Box::new(Tiles::new(api.store, signed, now)), "audit-tiles", now))
}

/// The instant as a part of a name of a file.
fn compact(at: Timestamp) -> String {
    at.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

fn tar(pieces: Box<dyn Pieces>, what: &str, now: Timestamp) -> Response {
    let name = format!("{what}-{}", compact(now));
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, as_attachment(&format!("{name}.tar"))),
    ];
    (headers, Body::from_stream(as_tar(pieces, name, now))).into_response()
}

async fn plain(mut lines: Lines, kind: Kind, now: Timestamp) -> Result<Response, Failure> {
    // What is wrong is told before anything was sent.
    let begin = lines.lines().await?.unwrap_or_default();
    let rest = stream::try_unfold(lines, |mut lines| async move {
        let next = lines.lines().await?;
        Ok::<_, Problem>(next.map(|text| (Bytes::from(text), lines)))
    });
    let (media, ending) =
        if kind == Kind::Csv { ("text/csv; charset=utf-8", "csv") } else { ("application/x-ndjson", "jsonl") };
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CONTENT_DISPOSITION, as_attachment(&format!("audit-{}.{ending}", compact(now)))),
    ];
    let whole = stream::iter([Ok(Bytes::from(begin))]).chain(rest);
    Ok((headers, Body::from_stream(whole)).into_response())
}
