//! Sign-in with the provider over HTTP: a browser goes there and comes back.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::flow::{Brought, Oidc};
use super::{ATTEMPT_LIFE, Refusal, safe_return};
use crate::base::problem::Problem;
use crate::features::identity::api::{Arriving, IdentityApi, set_cookie};
use crate::features::identity::sessions::ABSOLUTE;
use crate::platform::http::middleware::cookie;
use crate::platform::http::{Anybody, Failure, Params};

/// The cookie of a browser that was sent to the provider, over plain HTTP and over HTTPS.
const COOKIES: [&str; 2] = ["tenure_oidc", "__Host-tenure_oidc"];

/// The routes of the provider.
pub(in crate::features::identity) fn routes() -> OpenApiRouter<IdentityApi> {
    OpenApiRouter::new().routes(routes!(methods)).routes(routes!(go)).routes(routes!(come_back))
}

/// How one can sign in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Methods {
    /// The provider, when there is one.
    oidc: Option<ProviderName>,
    /// Whether there can be passkeys.
    passkeys: bool,
}

/// What the provider is called.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ProviderName {
    /// For the button.
    name: String,
}

/// How one can sign in, besides with the password of a local account.
#[utoipa::path(get, path = "/api/auth/methods", tag = "sign-in", security(()), responses((status = 200, body = Methods)))]
async fn methods(State(api): State<IdentityApi>) -> Json<Methods> {
    Json(Methods { passkeys: api.party.is_some(), oidc: api.oidc.map(|oidc| ProviderName { name: oidc.name }) })
}

/// Where to go on.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    /// A path of the UI.
    return_to: Option<String>,
}

/// Sends the browser to the provider.
#[utoipa::path(get, path = "/api/auth/oidc/login", tag = "sign-in", security(()), params(Wanted),
    responses((status = 303), (status = 404), (status = 429)))]
async fn go(
    State(api): State<IdentityApi>,
    _: Anybody,
    arrival: Arriving,
    Params(wanted): Params<Wanted>,
) -> Result<Response, Failure> {
    let oidc = provider(&api)?;
    Ok(match oidc.begin(wanted.return_to.as_deref()).await {
        Ok(sent) => {
            let mut response = to(sent.url.as_str());
            set_attempt(&mut response, api.secure, &sent.secret, ATTEMPT_LIFE.as_secs());
            response
        }
        Err(refusal) => refused(&refusal, wanted.return_to.as_deref(), &arrival),
    })
}

/// What a browser brings back; providers add to it.
#[derive(Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct BroughtParams {
    /// What becomes tokens.
    code: Option<String>,
    /// What was sent along.
    state: Option<String>,
    /// Why there is no code.
    error: Option<String>,
    /// Who answers.
    iss: Option<String>,
}

/// Takes the browser back from the provider and signs the person in.
#[utoipa::path(get, path = "/api/auth/oidc/callback", tag = "sign-in", security(()), params(BroughtParams),
    responses((status = 303), (status = 404), (status = 429)))]
async fn come_back(
    State(api): State<IdentityApi>,
    _: Anybody,
    headers: HeaderMap,
    arrival: Arriving,
    Params(brought): Params<BroughtParams>,
) -> Result<Response, Failure> {
    let oidc = provider(&api)?;
    let BroughtParams { code, state, error, iss } = brought;
    let secret = cookie(&headers, COOKIES[usize::from(api.secure)]);
    let brought = Brought { code, state, error, issuer: iss };
    let mut response = match oidc.finish(secret.as_deref(), brought, arrival.0.clone()).await {
        Ok((begun, return_to)) => {
            let mut response = to(&return_to);
            set_cookie(&mut response, &api, &begun.secret, ABSOLUTE.as_secs());
            response
        }
        Err(refusal) => refused(&refusal, None, &arrival),
    };
    set_attempt(&mut response, api.secure, "", 0);
    Ok(response)
}

fn provider(api: &IdentityApi) -> Result<&Oidc, Problem> {
    api.oidc.as_ref().ok_or_else(|| Problem::missing("provider", "to sign in with"))
}

/// The sign-in page says what happened in calm words; what to mend stands in the log.
fn refused(refusal: &Refusal, return_to: Option<&str>, arrival: &Arriving) -> Response {
    let address = arrival.0.address.as_deref().unwrap_or("unknown");
    tracing::warn!(address, kind = refusal.code(), why = %refusal, "a sign-in with the provider was refused");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("failed", refusal.code());
    let next = safe_return(return_to);
    if next != "/" {
        query.append_pair("next", &next);
    }
    to(&format!("/sign-in?{}", query.finish()))
}

fn to(place: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn set_attempt(response: &mut Response, secure: bool, value: &str, max_age: u64) {
    let (name, more) = (COOKIES[usize::from(secure)], if secure { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{more}");
    if let Ok(cookie) = HeaderValue::from_str(&text) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
