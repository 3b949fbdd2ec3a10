//! One's own second factor over HTTP, and taking that of somebody else away.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use qrcode::QrCode;
use qrcode::render::svg;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{base32, new_secret, ops, store, uri};
use crate::base::access::may;
use crate::base::id::AccountId;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::accounts;
use crate::features::identity::sessions::ops::Identity;
use crate::platform::http::{Allowed, Body, Caller, Failure, IdPath, Routes};

/// What the routes need.
#[derive(Debug, Clone)]
pub struct SecondFactorApi {
    /// Stores, ids, secrets.
    pub identity: Identity,
    /// The host that authenticator apps show.
    pub host: String,
}

/// The routes of second factors.
pub fn routes(state: SecondFactorApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(get_factor, begin))
        .routes(routes!(confirm))
        .routes(routes!(remove))
        .routes(routes!(renew_codes))
        .routes(routes!(reset))
        .with_state(state)
}

/// One's own second factor.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct FactorState {
    /// Since when it is asked for; absent when there is none.
    confirmed_at: Option<Timestamp>,
    /// How many recovery codes are left.
    recovery_codes_left: u32,
    /// Whether one has to have one.
    required: bool,
}

/// A secret, once.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewFactor {
    /// For typing into an authenticator app.
    secret: String,
    /// The same for a link, with name and issuer.
    uri: String,
    /// The link as a picture to scan, an SVG document.
    qr_svg: String,
}

/// A code.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CodeBody {
    /// Six digits of the authenticator app; where it is said, a recovery code.
    code: String,
}

/// Recovery codes, once.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct RecoveryCodes {
    /// Each signs in once in place of the device.
    recovery_codes: Vec<String>,
}

/// What concerns how one signs in is done in a browser: a token that leaked must not change it.
pub(in crate::features::identity) fn own(caller: &Caller, headers: &HeaderMap) -> Result<AccountId, Problem> {
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::Forbidden("This takes a signed-in browser; a token cannot change how somebody signs in.".to_owned()));
    }
    caller.principal.account.clone().ok_or_else(|| Problem::Forbidden("Only accounts have this.".to_owned()))
}

/// One's own second factor.
#[utoipa::path(get, path = "/api/auth/second-factor", tag = "sign-in", responses((status = 200, body = FactorState)))]
async fn get_factor(caller: Caller, State(api): State<SecondFactorApi>) -> Result<Json<FactorState>, Failure> {
    let account = caller.principal.account.ok_or_else(|| Problem::Forbidden("Only accounts have this.".to_owned()))?;
    let roles = caller.principal.roles;
    let state = api.identity.store.read(move |tx| {
        Ok(FactorState {
            confirmed_at: store::find_factor(tx, &account)?.and_then(|f| f.confirmed_at),
            recovery_codes_left: store::count_codes(tx, &account)?,
            required: ops::required(tx)?.value.asks(&roles),
        })
    });
    Ok(Json(state.await?))
}

/// Begins to set one up: a secret for an authenticator app. Nothing is asked for before it is confirmed.
#[utoipa::path(post, path = "/api/auth/second-factor", tag = "sign-in",
    responses((status = 201, body = NewFactor), (status = 409)))]
async fn begin(
    caller: Caller,
    State(api): State<SecondFactorApi>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<NewFactor>), Failure> {
    let account = own(&caller, &headers)?;
    let secret = new_secret(api.identity.ids.as_ref());
    let secrets = api.identity.secrets.clone();
    let address = api.identity.store.write(move |tx| {
        ops::begin(tx, &account, &secret, &secrets)?;
        Ok(accounts::store::get_account(tx, &account)?.email)
    });
    let uri = uri(&secret, &address.await?, &api.host);
    let qr = QrCode::new(uri.as_bytes()).map_err(Problem::internal)?;
    let qr_svg = qr.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok((StatusCode::CREATED, Json(NewFactor { secret: base32(&secret), uri, qr_svg })))
}

/// Shows by a code that the app has the secret; from then on a code is asked for at each sign-in.
#[utoipa::path(post, path = "/api/auth/second-factor/confirm", tag = "sign-in", request_body = CodeBody,
    responses((status = 200, body = RecoveryCodes), (status = 409), (status = 422)))]
async fn confirm(
    caller: Caller,
    State(api): State<SecondFactorApi>,
    headers: HeaderMap,
    Body(body): Body<CodeBody>,
) -> Result<Json<RecoveryCodes>, Failure> {
    let account = own(&caller, &headers)?;
    let Identity { store, secrets, ids, .. } = api.identity;
    let done = move |tx: &crate::platform::store::Tx<'_>| {
        ops::confirm(tx, &caller.principal, &account, &body.code, &secrets, ids.as_ref())
    };
    Ok(Json(RecoveryCodes { recovery_codes: store.write(done).await? }))
}

/// Takes one's own second factor away, with a code of it or a recovery code.
#[utoipa::path(post, path = "/api/auth/second-factor/remove", tag = "sign-in", request_body = CodeBody,
    responses((status = 204), (status = 409), (status = 422)))]
async fn remove(
    caller: Caller,
    State(api): State<SecondFactorApi>,
    headers: HeaderMap,
    Body(body): Body<CodeBody>,
) -> Result<StatusCode, Failure> {
    let account = own(&caller, &headers)?;
    let Identity { store, secrets, .. } = api.identity;
    store.write(move |tx| ops::remove(tx, &caller.principal, &account, &body.code, &secrets)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// New recovery codes in place of the old ones, with a code of the app.
#[utoipa::path(post, path = "/api/auth/second-factor/recovery-codes", tag = "sign-in", request_body = CodeBody,
    responses((status = 200, body = RecoveryCodes), (status = 409), (status = 422)))]
async fn renew_codes(
    caller: Caller,
    State(api): State<SecondFactorApi>,
    headers: HeaderMap,
    Body(body): Body<CodeBody>,
) -> Result<Json<RecoveryCodes>, Failure> {
    let account = own(&caller, &headers)?;
    let Identity { store, secrets, ids, .. } = api.identity;
    let done = move |tx: &crate::platform::store::Tx<'_>| {
        ops::renew_codes(tx, &caller.principal, &account, &body.code, &secrets, ids.as_ref())
    };
    Ok(Json(RecoveryCodes { recovery_codes: store.write(done).await? }))
}

/// Takes second factor and passkeys of somebody away who lost them; their sessions end.
#[utoipa::path(post, path = "/api/accounts/{id}/reset-second-factor", tag = "accounts", params(("id" = AccountId, Path)),
    responses((status = 204), (status = 404), (status = 409)))]
async fn reset(
    caller: Allowed<may::AccountWrite>,
    State(api): State<SecondFactorApi>,
    IdPath(id): IdPath<AccountId>,
) -> Result<StatusCode, Failure> {
    let by = caller.principal;
    api.identity.store.write(move |tx| ops::reset(tx, &by, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
