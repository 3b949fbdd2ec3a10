//! Documents over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa_axum::routes;

use super::ops::{self, NewDocument};
use super::files::{self, NewFile};
use super::store::{self, DocumentFilter};
use super::{Document, DocumentState, MAX_FILE, MEDIA_TYPES, fault_of_file_name};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{DocumentId, PersonId, RunId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::AccessApi;
use crate::features::access::history::{as_of, ops as history};
use crate::platform::blobs::{BlobHash, too_large};
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Params, Routes, Upload, as_attachment};
use crate::platform::store::Tx;

/// The routes of documents.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_documents, submit_document))
        .routes(routes!(get_document))
        .routes(routes!(approve_document))
        .routes(routes!(reject_document))
        .routes(routes!(withdraw_document))
        .routes(routes!(put_content, get_content))
        .with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// How they were at a past instant, or at the end of a day such as 2031-03-01 where the organisation is.
    as_of: Option<String>,
    /// Only of this person.
    person_id: Option<PersonId>,
    /// Only in this state; with `asOf`, in this state then.
    state: Option<DocumentState>,
    /// How many items, 1 to 200; 50 when absent.
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Whether the principal may see what belongs to `person`.
fn sees(principal: &Principal, person: &PersonId) -> bool {
    principal.can(Permission::DocumentRead)
        || (principal.can(Permission::DocumentReadOwn) && principal.is_person(person))
}

/// The document with this id, if the principal may see it.
fn visible(tx: &Tx<'_>, principal: &Principal, id: &DocumentId) -> Result<Document, Problem> {
    let seen = store::find_document(tx, id)?.filter(|d| sees(principal, &d.person.id));
    seen.ok_or_else(|| Problem::missing("document", id))
}

/// Documents, newest first; one's own unless one may see all. With `asOf`, as they were then.
#[utoipa::path(get, path = "/api/documents", tag = "access", params(ListParams),
    responses((status = 200, body = Page<Document>), (status = 422)))]
async fn list_documents(
    caller: Allowed<(may::DocumentRead, may::DocumentReadOwn)>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Document>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let now = api.store.clock().now();
    let at = params.as_of.as_deref().map(|text| as_of(text, &api.timezone, now)).transpose()?;
    let mut person = params.person_id;
    if !caller.principal.can(Permission::DocumentRead) {
        let own = caller.principal.person.clone();
        if own.is_none() || person.as_ref().is_some_and(|p| Some(p) != own.as_ref()) {
            return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
        }
        person = own;
    }
    let filter = DocumentFilter { person, state: params.state };
    let rows = api.store.read(move |tx| {
        let before = params.cursor.as_deref();
        match at {
            None => store::list_documents(tx, &filter, before, limit + 1),
            Some(at) => history::list_documents(tx, &filter, at, before, limit + 1),
        }
    });
    Ok(Json(Page::cut(rows.await?, limit, |d| d.id.to_string())))
}

/// One document.
#[utoipa::path(get, path = "/api/documents/{id}", tag = "access", params(("id" = DocumentId, Path)),
    responses((status = 200, body = Document), (status = 404)))]
async fn get_document(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
) -> Result<Json<Document>, Failure> {
    Ok(Json(api.store.read(move |tx| visible(tx, &caller.principal, &id)).await?))
}

/// A document that is handed in.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DocumentBody {
    /// What it is, such as `training-certificate`.
    #[serde(rename = "type")]
    kind: String,
    /// Whose it is.
    person_id: PersonId,
    /// From when it counts.
    valid_from: Timestamp,
    /// Until when.
    expires_at: Timestamp,
    /// The run it is handed in for.
    #[serde(default)]
    run_id: Option<RunId>,
}

/// Hands a document in: one's own, or somebody else's if one may review.
#[utoipa::path(post, path = "/api/documents", tag = "access", request_body = DocumentBody,
    responses((status = 201, body = Document), (status = 403), (status = 422)))]
async fn submit_document(
    caller: Allowed<may::DocumentWrite>,
    State(api): State<AccessApi>,
    Body(body): Body<DocumentBody>,
) -> Result<(StatusCode, Json<Document>), Failure> {
    if !caller.principal.is_person(&body.person_id) {
        caller.principal.require(Permission::DocumentReview)?;
    }
    let document = api
        .store
        .write(move |tx| {
            let body = body.clone();
            let new = NewDocument {
                kind: body.kind,
                person: body.person_id,
                valid_from: body.valid_from,
                expires_at: body.expires_at,
                run: body.run_id,
            };
            ops::submit(tx, &caller.principal, new)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(document)))
}

/// What a file is called.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ContentParams {
    /// Its name, without a folder.
    name: String,
}

/// Hands in the file of a document, in the place of the one before. The body is the file, at most
/// 25 MiB; its `Content-Type` is one of those taken: PDF, JPEG, PNG, TIFF, WebP, plain text, CSV,
/// OpenDocument and Office Open XML texts and tables.
#[utoipa::path(put, path = "/api/documents/{id}/content", tag = "access",
    params(("id" = DocumentId, Path), ContentParams),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = Document), (status = 403), (status = 404), (status = 409), (status = 413),
        (status = 415), (status = 422), (status = 503)))]
async fn put_content(
    caller: Allowed<may::DocumentWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
    Params(params): Params<ContentParams>,
    upload: Upload,
) -> Result<Json<Document>, Failure> {
    let (by, wanted) = (caller.principal.clone(), id.clone());
    api.store
        .read(move |tx| {
            visible(tx, &by, &wanted)?;
            files::open_for(tx, &by, &wanted)
        })
        .await?;
    if let Some(fault) = fault_of_file_name(&params.name) {
        return Err(Problem::field("name", fault).into());
    }
    if !MEDIA_TYPES.contains(&upload.media_type.as_str()) {
        return Err(Problem::UnsupportedMedia(format!(
            "got content type \"{}\"; expected one of {}",
            upload.media_type,
            MEDIA_TYPES.join(", ")
        ))
        .into());
    }
    if upload.announced.is_some_and(|size| size > MAX_FILE) {
        return Err(too_large(MAX_FILE).into());
    }
    let new = NewFile { name: params.name, media_type: upload.media_type };
    Ok(Json(files::upload((&api.store, &api.blobs), caller.principal, id, new, upload.pieces).await?))
}

/// The file of a document, to be saved; a browser never shows it.
#[utoipa::path(get, path = "/api/documents/{id}/content", tag = "access", params(("id" = DocumentId, Path)),
    responses((status = 200, body = String, content_type = "application/octet-stream"), (status = 404)))]
async fn get_content(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
) -> Result<impl IntoResponse, Failure> {
    let wanted = id.clone();
    let document = api.store.read(move |tx| visible(tx, &caller.principal, &wanted)).await?;
    let file = document.file.ok_or_else(|| Problem::missing("file of the document", &id))?;
    let hash = BlobHash::parse(&file.sha256)
        .ok_or_else(|| Problem::internal(format!("{id} has {:?}, which is no hash", file.sha256)))?;
    let pieces = api.blobs.read(&hash, file.size).await?;
    let headers = [
        (header::CONTENT_TYPE, file.media_type),
        (header::CONTENT_LENGTH, file.size.to_string()),
        (header::CONTENT_DISPOSITION, as_attachment(&file.name)),
    ];
    Ok((headers, axum::body::Body::from_stream(pieces)))
}

/// Why a document is approved, rejected or withdrawn.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DocumentReasonBody)]
struct ReasonBody {
    /// The reason; a rejection needs one.
    reason: Option<String>,
}

/// Why a document is approved, and what was looked at.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ApproveBody {
    /// The reason.
    reason: Option<String>,
    /// SHA-256 of the file that was looked at: another one is not approved by mistake.
    sha256: Option<String>,
}

impl ReasonBody {
    fn text(self) -> Result<Option<String>, Problem> {
        let text = self.reason.map(|r| r.trim().to_owned()).filter(|r| !r.is_empty());
        match &text {
            Some(t) if t.chars().count() > 1000 => Err(Problem::field("reason", "expected at most 1000 characters")),
            _ => Ok(text),
        }
    }
}

/// Accepts a document.
#[utoipa::path(post, path = "/api/documents/{id}/approve", tag = "access", params(("id" = DocumentId, Path)),
    request_body = ApproveBody, responses((status = 200, body = Document), (status = 403), (status = 404), (status = 409)))]
async fn approve_document(
    caller: Allowed<may::DocumentReview>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
    Body(body): Body<ApproveBody>,
) -> Result<Json<Document>, Failure> {
    let reason = ReasonBody { reason: body.reason }.text()?;
    let approved = api.store.write(move |tx| {
        files::check_looked_at(tx, &id, body.sha256.as_deref())?;
        ops::approve(tx, &caller.principal, &id, reason.clone())
    });
    Ok(Json(approved.await?))
}

/// Turns a document down.
#[utoipa::path(post, path = "/api/documents/{id}/reject", tag = "access", params(("id" = DocumentId, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Document), (status = 403), (status = 404), (status = 409), (status = 422)))]
async fn reject_document(
    caller: Allowed<may::DocumentReview>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Document>, Failure> {
    let reason = body.text()?.unwrap_or_default();
    Ok(Json(api.store.write(move |tx| ops::reject(tx, &caller.principal, &id, reason.clone())).await?))
}

/// Takes a document back; whatever rests on it ends.
#[utoipa::path(post, path = "/api/documents/{id}/withdraw", tag = "access", params(("id" = DocumentId, Path)),
    request_body = ReasonBody, responses((status = 200, body = Document), (status = 404), (status = 409)))]
async fn withdraw_document(
    caller: Allowed<may::DocumentWrite>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Document>, Failure> {
    let reason = body.text()?;
    let document = api
        .store
        .write(move |tx| {
            let owner = visible(tx, &caller.principal, &id)?.person.id;
            if !caller.principal.is_person(&owner) {
                caller.principal.require(Permission::DocumentReview)?;
            }
            ops::withdraw(tx, &caller.principal, &id, reason.clone())
        })
        .await?;
    Ok(Json(document))
}
