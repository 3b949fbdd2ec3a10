//! SCIM tokens over HTTP, for administrators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ScimToken, ops, store};
use crate::base::access::may;
use crate::base::id::{ScimTokenId, SharedIds};
use crate::base::time::Timestamp;
use crate::features::identity::sessions::ops::new_secret;
use crate::features::scim::TOKEN_PREFIX;
use crate::platform::http::{Allowed, Body, Failure, IdPath, Routes};
use crate::platform::store::Store;

/// What the routes need.
#[derive(Debug, Clone)]
pub struct TokensApi {
    /// The business database.
    pub store: Store,
    /// For secrets.
    pub ids: SharedIds,
    /// Where SCIM is, for whoever sets the identity provider up.
    pub base_url: String,
}

/// The routes of SCIM tokens.
pub fn routes(state: TokensApi) -> Routes {
    OpenApiRouter::new().routes(routes!(list_tokens, create_token)).routes(routes!(revoke_token)).with_state(state)
}

/// Every token, and where SCIM is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ScimTokenList)]
struct TokenList {
    /// The address that an identity provider is given.
    base_url: String,
    /// Newest first.
    items: Vec<ScimToken>,
}

/// SCIM tokens, newest first.
#[utoipa::path(get, path = "/api/scim-tokens", tag = "people", responses((status = 200, body = TokenList)))]
async fn list_tokens(_: Allowed<may::AccountRead>, State(api): State<TokensApi>) -> Result<Json<TokenList>, Failure> {
    let items = api.store.read(store::list_tokens).await?;
    Ok(Json(TokenList { base_url: api.base_url, items }))
}

/// A token that is wanted.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ScimTokenBody)]
struct TokenBody {
    /// What it is for, such as the name of the identity provider.
    name: String,
    /// When it ends; absent when it lasts until it is revoked.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// A token with its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct MadeToken {
    /// The token.
    #[serde(flatten)]
    token: ScimToken,
    /// The secret, in this answer and never again.
    secret: String,
}

/// Makes a SCIM token; its secret is in this answer and never again.
#[utoipa::path(post, path = "/api/scim-tokens", tag = "people", request_body = TokenBody,
    responses((status = 201, body = MadeToken), (status = 409), (status = 422)))]
async fn create_token(
    caller: Allowed<may::AccountWrite>,
    State(api): State<TokensApi>,
    Body(body): Body<TokenBody>,
) -> Result<(StatusCode, Json<MadeToken>), Failure> {
    let secret = format!("{TOKEN_PREFIX}{}", new_secret(api.ids.as_ref()));
    let shown = secret.clone();
    let token = api
        .store
        .write(move |tx| ops::create(tx, &caller.principal, &body.name, body.expires_at, &secret))
        .await?;
    Ok((StatusCode::CREATED, Json(MadeToken { token, secret: shown })))
}

/// Ends a SCIM token at once.
#[utoipa::path(delete, path = "/api/scim-tokens/{id}", tag = "people", params(("id" = ScimTokenId, Path)),
    responses((status = 204), (status = 404)))]
async fn revoke_token(
    caller: Allowed<may::AccountWrite>,
    State(api): State<TokensApi>,
    IdPath(id): IdPath<ScimTokenId>,
) -> Result<StatusCode, Failure> {
    api.store.write(move |tx| ops::revoke(tx, &caller.principal, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
