//! First start, sign-in, sessions and API tokens over HTTP.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::accounts::ops::{self, NewToken, TOKEN_PREFIX};
use super::accounts::store::{self as account_store, StoredToken};
use super::sessions::ops::{Arrival, Begun, Given, Identity, PasswordChange, new_secret};
use super::oidc::flow::Oidc;
use super::passkeys::RelyingParty;
use super::sessions::{ABSOLUTE, Method, Session};
use super::setup::{FirstAdmin, Setup};
use crate::base::access::{Permission, Principal, SystemRole};
use crate::base::id::{AccountId, PersonId, RequestId, TokenId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::middleware::{PeerAddress, session_cookie};
use crate::platform::http::{Anybody, Body, COOKIE, Caller, Failure, IdPath, Routes, SECURE_COOKIE};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct IdentityApi {
    /// Who is signed in.
    pub identity: Identity,
    /// First start.
    pub setup: Setup,
    /// Whether cookies go over HTTPS only.
    pub secure: bool,
    /// The OpenID provider, when there is one.
    pub oidc: Option<Oidc>,
    /// Where passkeys are for, when they can be.
    pub party: Option<RelyingParty>,
}

/// The routes of identity.
pub fn routes(state: IdentityApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(get_setup, post_setup))
        .routes(routes!(login))
        .merge(super::oidc::api::routes())
        .merge(super::passkeys::api::routes())
        .routes(routes!(change_password))
        .routes(routes!(logout))
        .routes(routes!(me))
        .merge(super::sessions::api::routes())
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(revoke_token))
        .with_state(state)
}

/// Whether the first administrator is still to be made.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct SetupState {
    /// True until there is an account.
    needed: bool,
}

/// Whether the first administrator is still to be made.
#[utoipa::path(get, path = "/api/setup", tag = "first start", security(()), responses((status = 200, body = SetupState)))]
async fn get_setup(State(api): State<IdentityApi>) -> Result<Json<SetupState>, Failure> {
    Ok(Json(SetupState { needed: api.setup.is_needed().await? }))
}

/// The first administrator.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetupBody {
    /// What was printed at first start.
    token: String,
    /// Address to sign in with.
    email: String,
    /// How they are called.
    display_name: String,
    /// At least 12 characters.
    password: String,
}

/// Makes the first administrator and signs them in.
#[utoipa::path(post, path = "/api/setup", tag = "first start", security(()), request_body = SetupBody,
    responses((status = 201, body = Me), (status = 403), (status = 409), (status = 422)))]
async fn post_setup(
    State(api): State<IdentityApi>,
    _: Anybody,
    arrival: Arriving,
    Body(body): Body<SetupBody>,
) -> Result<Response, Failure> {
    let first = FirstAdmin {
        token: body.token,
        email: body.email,
        display_name: body.display_name,
        password: body.password,
    };
    let begun = api.setup.complete(first, arrival.0).await?;
    signed_in(&api, begun, StatusCode::CREATED).await
}

/// The most characters that are kept of what a browser calls itself.
const MOST_OF_DEVICE: usize = 200;

/// Which request somebody signs in with, and from where.
pub(super) struct Arriving(pub(super) Arrival);

impl<S: Send + Sync> FromRequestParts<S> for Arriving {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<PeerAddress>().and_then(|p| p.0).map(|a| a.to_string());
        let device = parts.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok());
        Ok(Self(Arrival {
            address,
            request_id: parts.extensions.get::<RequestId>().cloned(),
            device: device.map(|text| text.chars().take(MOST_OF_DEVICE).collect()),
        }))
    }
}

/// Address and password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    /// The account's address.
    email: String,
    /// The account's password.
    password: String,
    /// Six digits of the authenticator app, or a recovery code: for accounts with a second factor.
    #[serde(default)]
    code: Option<String>,
}

/// Signs in with a local account. An account with a second factor needs a code as well: without one the right
/// password is answered 422 with a fault of the field `code`.
#[utoipa::path(post, path = "/api/auth/login", tag = "sign-in", security(()), request_body = LoginBody,
    responses((status = 200, body = Me), (status = 401), (status = 422), (status = 429)))]
async fn login(
    State(api): State<IdentityApi>,
    _: Anybody,
    arrival: Arriving,
    Body(body): Body<LoginBody>,
) -> Result<Response, Failure> {
    let begun = api.identity.sign_in(Given { email: body.email, password: body.password, code: body.code }, arrival.0).await?;
    signed_in(&api, begun, StatusCode::OK).await
}

/// Another password of one's own.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChangeBody {
    /// The present one.
    current: String,
    /// The new one: long enough, and none that is tried first.
    password: String,
}

/// Changes one's own password: all other sessions end, and this one begins anew.
#[utoipa::path(post, path = "/api/auth/password", tag = "sign-in", request_body = PasswordChangeBody,
    responses((status = 200, body = Me), (status = 409), (status = 422), (status = 429)))]
async fn change_password(
    caller: Caller,
    State(api): State<IdentityApi>,
    headers: HeaderMap,
    arrival: Arriving,
    Body(body): Body<PasswordChangeBody>,
) -> Result<Response, Failure> {
    super::second_factor::api::own(&caller, &headers)?;
    let change = PasswordChange { current: body.current, password: body.password };
    let begun = api.identity.change_password(caller.principal, change, arrival.0).await?;
    signed_in(&api, begun, StatusCode::OK).await
}

/// Where to sign out as well.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SignedOut {
    /// The browser goes there to end the session at the provider; that comes back to the sign-in page.
    end_session_url: String,
}

/// Signs out: the session ends on the server, the cookie in the browser. Whoever signed in with a provider is told
/// where the session there ends.
#[utoipa::path(post, path = "/api/auth/logout", tag = "sign-in",
    responses((status = 200, body = SignedOut), (status = 204)))]
async fn logout(caller: Caller, State(api): State<IdentityApi>, headers: HeaderMap) -> Result<Response, Failure> {
    let mut elsewhere = None;
    if let Some(secret) = session_cookie(&headers, api.secure) {
        if let (Some(oidc), Some(session)) = (&api.oidc, api.identity.session(&secret).await?) {
            elsewhere = oidc.sign_out_url(&session).await;
        }
        api.identity.sign_out(caller.principal, &secret).await?;
    }
    let mut response = match elsewhere {
        Some(url) => Json(SignedOut { end_session_url: url.into() }).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    };
    set_cookie(&mut response, &api, "", 0);
    Ok(response)
}

/// Who is signed in, and what they may do.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    /// The person.
    person: MyPerson,
    /// The account.
    account_id: AccountId,
    /// System roles.
    roles: Vec<SystemRole>,
    /// Permissions, `<entity>:<verb>`.
    permissions: Vec<String>,
    /// What unsafe requests must carry as `X-CSRF-Token`; empty for tokens.
    csrf_token: String,
    /// When the session ends unless it is used; absent for tokens.
    expires_at: Option<Timestamp>,
    /// Whether they have to set up a second factor before anything else.
    second_factor_missing: bool,
}

/// The person who is signed in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct MyPerson {
    /// The id.
    id: PersonId,
    /// How they are called.
    display_name: String,
    /// Their address.
    email: String,
}

/// Who is signed in, and what they may do.
#[utoipa::path(get, path = "/api/auth/me", tag = "sign-in", responses((status = 200, body = Me), (status = 401)))]
async fn me(caller: Caller, State(api): State<IdentityApi>, headers: HeaderMap) -> Result<Json<Me>, Failure> {
    let session = match session_cookie(&headers, api.secure) {
        Some(secret) => api.identity.session(&secret).await?,
        None => None,
    };
    Ok(Json(me_of(&api, &caller.principal, session.as_ref()).await?))
}

async fn me_of(api: &IdentityApi, principal: &Principal, session: Option<&Session>) -> Result<Me, Problem> {
    let not_a_person = || Problem::Forbidden("Only people have a profile.".to_owned());
    let id = principal.person.clone().ok_or_else(not_a_person)?;
    let account_id = principal.account.clone().ok_or_else(not_a_person)?;
    let (account, by_password) = (account_id.clone(), session.is_some_and(|s| s.method == Method::Password));
    let (person, missing) = api
        .identity
        .store
        .read(move |tx| {
            let account = account_store::get_account(tx, &account)?;
            let missing = by_password && super::second_factor::ops::is_missing(tx, &account)?;
            Ok((super::people::store::get_person(tx, &id)?, missing))
        })
        .await?;
    let permissions = Permission::ALL.iter().filter(|p| principal.can(**p)).map(|p| p.as_str().to_owned());
    Ok(Me {
        person: MyPerson { id: person.id, display_name: person.display_name, email: person.email },
        account_id,
        roles: principal.roles.clone(),
        permissions: permissions.collect(),
        csrf_token: session.map(|s| s.csrf.clone()).unwrap_or_default(),
        expires_at: session.map(Session::expires_at),
        second_factor_missing: missing,
    })
}

pub(super) async fn signed_in(api: &IdentityApi, begun: Begun, status: StatusCode) -> Result<Response, Failure> {
    let me = me_of(api, &begun.principal, Some(&begun.session)).await?;
    let mut response = (status, Json(me)).into_response();
    set_cookie(&mut response, api, &begun.secret, ABSOLUTE.as_secs());
    Ok(response)
}

pub(super) fn set_cookie(response: &mut Response, api: &IdentityApi, value: &str, max_age: u64) {
    let (name, secure) = if api.secure { (SECURE_COOKIE, "; Secure") } else { (COOKIE, "") };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

pub(super) fn own_account(caller: &Caller) -> Result<AccountId, Problem> {
    caller.principal.account.clone().ok_or_else(|| Problem::Forbidden("Only accounts have this.".to_owned()))
}

/// An API token, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenInfo {
    /// The id.
    id: TokenId,
    /// What its owner calls it.
    name: String,
    /// The subset of permissions it is limited to.
    scope: Option<Vec<String>>,
    /// Whether it may decide approvals.
    may_decide: bool,
    /// When it was made.
    created_at: Timestamp,
    /// When it ends.
    expires_at: Timestamp,
    /// When it was last used, to the minute.
    last_used_at: Option<Timestamp>,
    /// When it was revoked.
    revoked_at: Option<Timestamp>,
    /// The secret, once, in the answer that makes the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

fn token_info(t: StoredToken, secret: Option<String>) -> TokenInfo {
    TokenInfo {
        id: t.id,
        name: t.name,
        scope: t.scope,
        may_decide: t.may_decide,
        created_at: t.created_at,
        expires_at: t.expires_at,
        last_used_at: t.last_used_at,
        revoked_at: t.revoked_at,
        token: secret,
    }
}

/// One's own tokens.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct TokenList {
    /// Oldest first.
    items: Vec<TokenInfo>,
}

/// One's own API tokens.
#[utoipa::path(get, path = "/api/auth/tokens", tag = "sign-in", responses((status = 200, body = TokenList)))]
async fn list_tokens(caller: Caller, State(api): State<IdentityApi>) -> Result<Json<TokenList>, Failure> {
    let account = own_account(&caller)?;
    let rows = api.identity.store.read(move |tx| account_store::list_tokens(tx, &account)).await?;
    Ok(Json(TokenList { items: rows.into_iter().map(|t| token_info(t, None)).collect() }))
}

/// A token that is wanted.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenBody {
    /// What its owner calls it.
    name: String,
    /// A subset of permissions; absent for all of the owner's.
    #[serde(default)]
    scope: Option<Vec<String>>,
    /// When it ends; 90 days from now when absent, at most 366.
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

/// Makes a token for oneself; its secret is in this answer and never again.
#[utoipa::path(post, path = "/api/auth/tokens", tag = "sign-in", request_body = TokenBody,
    responses((status = 201, body = TokenInfo), (status = 422)))]
async fn create_token(
    caller: Caller,
    State(api): State<IdentityApi>,
    Body(body): Body<TokenBody>,
) -> Result<(StatusCode, Json<TokenInfo>), Failure> {
    let account = own_account(&caller)?;
    if caller.principal.scope.is_some() {
        return Err(Problem::Forbidden("A token with a scope cannot make other tokens.".to_owned()).into());
    }
    let secret = format!("{TOKEN_PREFIX}{}", new_secret(api.identity.ids.as_ref()));
    let given = secret.clone();
    let token = api
        .identity
        .store
        .write(move |tx| {
            let account = account_store::find_account(tx, &account)?
                .ok_or_else(|| Problem::missing("account", &account))?;
            let body = body.clone();
            let new = NewToken { name: body.name, scope: body.scope, expires_at: body.expires_at };
            ops::create_token(tx, &caller.principal, &account, new, &secret)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(token_info(token, Some(given)))))
}

/// Ends a token.
#[utoipa::path(delete, path = "/api/auth/tokens/{id}", tag = "sign-in", params(("id" = TokenId, Path)),
    responses((status = 204), (status = 404)))]
async fn revoke_token(
    caller: Caller,
    State(api): State<IdentityApi>,
    IdPath(id): IdPath<TokenId>,
) -> Result<StatusCode, Failure> {
    api.identity.store.write(move |tx| ops::revoke_token(tx, &caller.principal, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
