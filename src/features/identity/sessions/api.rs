//! Signed-in browsers over HTTP: one's own, and for administrators those of others.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Method, Session};
use crate::base::access::may;
use crate::base::id::{AccountId, SessionId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::api::{IdentityApi, own_account};
use crate::platform::http::middleware::session_cookie;
use crate::platform::http::{Allowed, Caller, Failure, IdPath};

/// The routes of sessions.
pub(in crate::features::identity) fn routes() -> OpenApiRouter<IdentityApi> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions, end_others))
        .routes(routes!(end_session))
        .routes(routes!(list_of_account))
        .routes(routes!(end_of_account))
}

/// A signed-in browser.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionInfo {
    /// The id.
    id: SessionId,
    /// Where it began.
    address: Option<String>,
    /// What the browser called itself.
    device: Option<String>,
    /// How it began.
    method: Method,
    /// Whether it is the one of this request.
    current: bool,
    /// When it began.
    created_at: Timestamp,
    /// When it was last seen, to the minute.
    last_seen_at: Timestamp,
    /// When it ends unless it is used.
    expires_at: Timestamp,
}

/// Sessions of one account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SessionList {
    /// Oldest first.
    items: Vec<SessionInfo>,
}

fn shown(sessions: Vec<Session>, own: Option<&SessionId>) -> Json<SessionList> {
    let items = sessions.into_iter().map(|s| SessionInfo {
        current: own == Some(&s.id),
        expires_at: s.expires_at(),
        id: s.id,
        address: s.address,
        device: s.device,
        method: s.method,
        created_at: s.created_at,
        last_seen_at: s.last_seen_at,
    });
    Json(SessionList { items: items.collect() })
}

/// The session of this request, if it has one.
async fn current(api: &IdentityApi, headers: &HeaderMap) -> Result<Option<SessionId>, Problem> {
    match session_cookie(headers, api.secure) {
        Some(secret) => Ok(api.identity.session(&secret).await?.map(|s| s.id)),
        None => Ok(None),
    }
}

/// One's own sessions.
#[utoipa::path(get, path = "/api/auth/sessions", tag = "sign-in", responses((status = 200, body = SessionList)))]
async fn list_sessions(
    caller: Caller,
    State(api): State<IdentityApi>,
    headers: HeaderMap,
) -> Result<Json<SessionList>, Failure> {
    let own = current(&api, &headers).await?;
    Ok(shown(api.identity.list(own_account(&caller)?).await?, own.as_ref()))
}

/// Ends all of one's own sessions but the one of this request.
#[utoipa::path(delete, path = "/api/auth/sessions", tag = "sign-in", responses((status = 204)))]
async fn end_others(caller: Caller, State(api): State<IdentityApi>, headers: HeaderMap) -> Result<StatusCode, Failure> {
    let own = current(&api, &headers).await?;
    for session in api.identity.list(own_account(&caller)?).await? {
        if own.as_ref() != Some(&session.id) {
            api.identity.end(caller.principal.clone(), session.id).await?;
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends one of one's own sessions.
#[utoipa::path(delete, path = "/api/auth/sessions/{id}", tag = "sign-in", params(("id" = SessionId, Path)),
    responses((status = 204), (status = 404)))]
async fn end_session(
    caller: Caller,
    State(api): State<IdentityApi>,
    IdPath(id): IdPath<SessionId>,
) -> Result<StatusCode, Failure> {
    let gone = api.identity.end(caller.principal, id.clone()).await?;
    if gone { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::missing("session", id).into()) }
}

/// The sessions of an account.
#[utoipa::path(get, path = "/api/accounts/{id}/sessions", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 200, body = SessionList), (status = 404)))]
async fn list_of_account(
    _: Allowed<may::AccountRead>,
    State(api): State<IdentityApi>,
    headers: HeaderMap,
    IdPath(id): IdPath<AccountId>,
) -> Result<Json<SessionList>, Failure> {
    let own = current(&api, &headers).await?;
    Ok(shown(api.identity.list(id).await?, own.as_ref()))
}

/// Ends all sessions of an account; its tokens go on.
#[utoipa::path(post, path = "/api/accounts/{id}/end-sessions", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 204), (status = 404)))]
async fn end_of_account(
    caller: Allowed<may::AccountWrite>,
    State(api): State<IdentityApi>,
    IdPath(id): IdPath<AccountId>,
) -> Result<StatusCode, Failure> {
    let by = caller.principal;
    api.identity.store.write(move |tx| crate::features::identity::accounts::ops::end_sessions(tx, &by, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
