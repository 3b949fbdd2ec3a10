//! Passkeys over HTTP: signing in with one, and one's own.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ops::{self, Assertion, Registration};
use super::store::{self, Passkey};
use super::{ALGORITHMS, RelyingParty};
use crate::base::id::{AccountId, PasskeyId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::identity::accounts;
use crate::features::identity::api::{Arriving, IdentityApi, Me, signed_in};
use crate::features::identity::second_factor::api::own;
use crate::features::identity::sessions::Method;
use crate::features::identity::sessions::ops::Proof;
use crate::platform::http::{Anybody, Body, Caller, Failure, IdPath};

/// The routes of passkeys.
pub(in crate::features::identity) fn routes() -> OpenApiRouter<IdentityApi> {
    OpenApiRouter::new()
        .routes(routes!(challenge))
        .routes(routes!(login))
        .routes(routes!(list_passkeys, register))
        .routes(routes!(begin))
        .routes(routes!(remove))
}

fn party(api: &IdentityApi) -> Result<&RelyingParty, Problem> {
    let why = "Passkeys need a host with a name. PUBLIC_URL has an IP address.";
    api.party.as_ref().ok_or_else(|| Problem::Conflict(why.to_owned()))
}

/// Gives a challenge and keeps that it was given.
async fn give(api: &IdentityApi, account: Option<AccountId>) -> Result<String, Problem> {
    let challenge = [api.identity.ids.next_random().to_be_bytes(), api.identity.ids.next_random().to_be_bytes()].concat();
    let text = URL_SAFE_NO_PAD.encode(&challenge);
    api.identity.store.write(move |tx| ops::give(tx, &challenge, account.as_ref())).await?;
    Ok(text)
}

fn decoded(field: &'static str, text: &str) -> Result<Vec<u8>, Problem> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Problem::field(field, "expected base64url without padding"))
}

/// What a browser is asked with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Challenge {
    /// 32 random bytes, base64url.
    challenge: String,
    /// The host that passkeys are for.
    rp_id: String,
}

/// Begins a sign-in with a passkey.
#[utoipa::path(post, path = "/api/auth/passkeys/challenge", tag = "sign-in", security(()),
    responses((status = 200, body = Challenge), (status = 409), (status = 429)))]
async fn challenge(State(api): State<IdentityApi>, _: Anybody) -> Result<Json<Challenge>, Failure> {
    let rp_id = party(&api)?.id.clone();
    Ok(Json(Challenge { challenge: give(&api, None).await?, rp_id }))
}

/// What a browser answers; all of it base64url.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssertionBody {
    /// The authenticator's id of the passkey.
    id: String,
    /// `clientDataJSON`.
    client_data: String,
    /// `authenticatorData`.
    authenticator_data: String,
    /// `signature`.
    signature: String,
}

/// Signs in with a passkey.
#[utoipa::path(post, path = "/api/auth/passkeys/login", tag = "sign-in", security(()), request_body = AssertionBody,
    responses((status = 200, body = Me), (status = 401), (status = 409), (status = 422), (status = 429)))]
async fn login(
    State(api): State<IdentityApi>,
    _: Anybody,
    arrival: Arriving,
    Body(body): Body<AssertionBody>,
) -> Result<Response, Failure> {
    let party = party(&api)?.clone();
    let given = Assertion {
        credential: decoded("id", &body.id)?,
        client_data: decoded("clientData", &body.client_data)?,
        said: decoded("authenticatorData", &body.authenticator_data)?,
        seal: decoded("signature", &body.signature)?,
    };
    let found = api.identity.store.write(move |tx| ops::recognise(tx, &party, &given)).await?;
    let account = found.map_err(|why| {
        let address = arrival.0.address.as_deref().unwrap_or("unknown");
        tracing::warn!(address, why, "a sign-in with a passkey was refused");
        Problem::Unauthenticated("The passkey was not accepted. Try again, or sign in in another way.".to_owned())
    })?;
    let proof = Proof { method: Method::Passkey, id_token: None };
    let begun = api.identity.begin(account, arrival.0, proof).await?;
    signed_in(&api, begun, StatusCode::OK).await
}

/// A passkey.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct PasskeyInfo {
    /// The id.
    id: PasskeyId,
    /// What its owner calls it.
    name: String,
    /// When it was made.
    made_at: Timestamp,
    /// When it was last used.
    last_used_at: Option<Timestamp>,
}

impl From<Passkey> for PasskeyInfo {
    fn from(p: Passkey) -> Self {
        Self { id: p.id, name: p.name, made_at: p.made_at, last_used_at: p.last_used_at }
    }
}

/// One's own passkeys.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct PasskeyList {
    /// Whether there can be passkeys: the host has a name.
    possible: bool,
    /// Oldest first.
    items: Vec<PasskeyInfo>,
}

/// One's own passkeys.
#[utoipa::path(get, path = "/api/auth/passkeys", tag = "sign-in", responses((status = 200, body = PasskeyList)))]
async fn list_passkeys(caller: Caller, State(api): State<IdentityApi>) -> Result<Json<PasskeyList>, Failure> {
    let account = crate::features::identity::api::own_account(&caller)?;
    let items = api.identity.store.read(move |tx| store::list_passkeys(tx, &account)).await?;
    Ok(Json(PasskeyList { possible: api.party.is_some(), items: items.into_iter().map(PasskeyInfo::from).collect() }))
}

/// What a browser makes a passkey with.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    /// 32 random bytes, base64url.
    challenge: String,
    /// The host that passkeys are for.
    rp_id: String,
    /// Whose it becomes, base64url.
    user_id: String,
    /// Their address.
    user_name: String,
    /// COSE numbers of the algorithms that are taken.
    algorithms: Vec<i64>,
    /// Ids of passkeys that there are, base64url: an authenticator has one.
    exclude: Vec<String>,
}

/// Begins to add a passkey.
#[utoipa::path(post, path = "/api/auth/passkeys/begin", tag = "sign-in",
    responses((status = 200, body = Wanted), (status = 409)))]
async fn begin(caller: Caller, State(api): State<IdentityApi>, headers: HeaderMap) -> Result<Json<Wanted>, Failure> {
    let account = own(&caller, &headers)?;
    let rp_id = party(&api)?.id.clone();
    let challenge = give(&api, Some(account.clone())).await?;
    let user_id = URL_SAFE_NO_PAD.encode(account.to_string());
    let (known, user_name) = api
        .identity
        .store
        .read(move |tx| Ok((store::list_passkeys(tx, &account)?, accounts::store::get_account(tx, &account)?.email)))
        .await?;
    let exclude = known.iter().map(|p| URL_SAFE_NO_PAD.encode(&p.credential)).collect();
    Ok(Json(Wanted { challenge, rp_id, user_id, user_name, algorithms: ALGORITHMS.to_vec(), exclude }))
}

/// A new passkey; all but the name is base64url.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegistrationBody {
    /// What its owner calls it.
    name: String,
    /// `clientDataJSON`.
    client_data: String,
    /// `attestationObject`.
    attestation: String,
}

/// Adds a passkey.
#[utoipa::path(post, path = "/api/auth/passkeys", tag = "sign-in", request_body = RegistrationBody,
    responses((status = 201, body = PasskeyInfo), (status = 409), (status = 422)))]
async fn register(
    caller: Caller,
    State(api): State<IdentityApi>,
    headers: HeaderMap,
    Body(body): Body<RegistrationBody>,
) -> Result<(StatusCode, Json<PasskeyInfo>), Failure> {
    let account = own(&caller, &headers)?;
    let party = party(&api)?.clone();
    let new = Registration {
        name: body.name,
        client_data: decoded("clientData", &body.client_data)?,
        attestation: decoded("attestation", &body.attestation)?,
    };
    let by = caller.principal;
    let made = api.identity.store.write(move |tx| ops::register(tx, &by, &account, &party, &new)).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Removes one of one's own passkeys.
#[utoipa::path(delete, path = "/api/auth/passkeys/{id}", tag = "sign-in", params(("id" = PasskeyId, Path)),
    responses((status = 204), (status = 404)))]
async fn remove(
    caller: Caller,
    State(api): State<IdentityApi>,
    headers: HeaderMap,
    IdPath(id): IdPath<PasskeyId>,
) -> Result<StatusCode, Failure> {
    let account = own(&caller, &headers)?;
    let by = caller.principal;
    api.identity.store.write(move |tx| ops::remove(tx, &by, &account, &id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
