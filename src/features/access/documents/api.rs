//! Documents over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa_axum::routes;

use super::ops::{self, NewDocument};
use super::store::{self, DocumentFilter};
use super::{Document, DocumentState};
use crate::base::access::{Permission, Principal, may};
use crate::base::id::{DocumentId, PersonId, RunId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::access::AccessApi;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Params, Routes};

/// The routes of documents.
pub fn routes(state: AccessApi) -> Routes {
    utoipa_axum::router::OpenApiRouter::new()
        .routes(routes!(list_documents, submit_document))
        .routes(routes!(get_document))
        .routes(routes!(approve_document))
        .routes(routes!(reject_document))
        .routes(routes!(withdraw_document))
        .with_state(state)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, rename_all = "camelCase")]
struct ListParams {
    /// Only of this person.
    person_id: Option<PersonId>,
    /// Only in this state.
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

/// Documents, newest first; one's own unless one may see all.
#[utoipa::path(get, path = "/api/documents", tag = "access", params(ListParams),
    responses((status = 200, body = Page<Document>)))]
async fn list_documents(
    caller: Allowed<(may::DocumentRead, may::DocumentReadOwn)>,
    State(api): State<AccessApi>,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Document>>, Failure> {
    let limit = PageRequest { limit: params.limit, cursor: None }.limit()?;
    let mut person = params.person_id;
    if !caller.principal.can(Permission::DocumentRead) {
        let own = caller.principal.person.clone();
        if own.is_none() || person.as_ref().is_some_and(|p| Some(p) != own.as_ref()) {
            return Ok(Json(Page { items: Vec::new(), next_cursor: None }));
        }
        person = own;
    }
    let filter = DocumentFilter { person, state: params.state };
    let rows = api
        .store
        .read(move |tx| store::list_documents(tx, &filter, params.cursor.as_deref(), limit + 1))
        .await?;
    Ok(Json(Page::cut(rows, limit, |d| d.id.to_string())))
}

/// One document.
#[utoipa::path(get, path = "/api/documents/{id}", tag = "access", params(("id" = DocumentId, Path)),
    responses((status = 200, body = Document), (status = 404)))]
async fn get_document(
    caller: Caller,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
) -> Result<Json<Document>, Failure> {
    let wanted = id.clone();
    let found = api.store.read(move |tx| store::find_document(tx, &wanted)).await?;
    let seen = found.filter(|d| sees(&caller.principal, &d.person.id));
    Ok(Json(seen.ok_or_else(|| Problem::missing("document", &id))?))
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

/// Why a document is approved, rejected or withdrawn.
#[derive(Debug, Clone, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ReasonBody {
    /// The reason; a rejection needs one.
    reason: Option<String>,
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
    request_body = ReasonBody, responses((status = 200, body = Document), (status = 403), (status = 404), (status = 409)))]
async fn approve_document(
    caller: Allowed<may::DocumentReview>,
    State(api): State<AccessApi>,
    IdPath(id): IdPath<DocumentId>,
    Body(body): Body<ReasonBody>,
) -> Result<Json<Document>, Failure> {
    let reason = body.text()?;
    Ok(Json(api.store.write(move |tx| ops::approve(tx, &caller.principal, &id, reason.clone())).await?))
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
            let owner = store::find_document(tx, &id)?
                .filter(|d| sees(&caller.principal, &d.person.id))
                .ok_or_else(|| Problem::missing("document", &id))?
                .person
                .id;
            if !caller.principal.is_person(&owner) {
                caller.principal.require(Permission::DocumentReview)?;
            }
            ops::withdraw(tx, &caller.principal, &id, reason.clone())
        })
        .await?;
    Ok(Json(document))
}
