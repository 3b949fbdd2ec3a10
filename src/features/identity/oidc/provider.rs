//! What is asked of the provider: its description and keys (OpenID Connect Discovery 1.0), tokens for a code, and what
//! it tells about somebody.
//!
//! # Invariants
//! - Every call goes through the one door out, to the issuer and to the addresses of its own description only.
//! - A key that is not known makes the keys be read again: providers change their keys without asking.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::Refusal;
use super::jose::{self, JoseFault, Jwks};
use crate::base::clock::SharedClock;
use crate::base::time::Timestamp;
use crate::config::Secret;
use crate::platform::outbound::{Answer, Loopback, Origin, Outbound, OutboundError, Request};

/// How long a description and its keys are believed.
const FRESH: Duration = Duration::from_secs(3600);
/// The most bytes of an answer.
const ANSWER: usize = 512 * 1024;

/// What the environment says of the provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// `OIDC_ISSUER`.
    pub issuer: Url,
    /// `OIDC_CLIENT_ID`.
    pub client_id: String,
    /// `OIDC_CLIENT_SECRET`.
    pub client_secret: Secret,
    /// `OIDC_REDIRECT_URI`.
    pub redirect_uri: Url,
}

/// The provider's description of itself, as far as it is used.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    /// Its name in tokens.
    pub issuer: String,
    /// Where people sign in.
    pub authorization_endpoint: Url,
    /// Where codes become tokens.
    token_endpoint: Url,
    /// Where its keys are.
    jwks_uri: Url,
    /// Where more about somebody is told.
    #[serde(default)]
    userinfo_endpoint: Option<Url>,
    /// Where people sign out (OpenID Connect RP-Initiated Logout 1.0).
    #[serde(default)]
    pub end_session_endpoint: Option<Url>,
    /// Which scopes it knows.
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
    /// How a client proves who it is.
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Description {
    /// The scopes to ask for: `groups` only where it is known, others refuse what they do not know.
    pub fn scopes(&self) -> String {
        let known = |scope: &str| self.scopes_supported.as_ref().map_or(scope != "groups", |all| all.iter().any(|s| s == scope));
        let more = ["profile", "email", "groups"].into_iter().filter(|scope| known(scope));
        std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
    }

    fn takes_secret_in_body(&self) -> bool {
        let listed = |method: &str| self.token_endpoint_auth_methods_supported.as_ref().is_some_and(|all| all.iter().any(|m| m == method));
        listed("client_secret_post") && !listed("client_secret_basic")
    }
}

/// What a code becomes.
#[derive(Deserialize)]
pub struct Tokens {
    /// Who signed in, signed.
    pub id_token: String,
    /// What the provider is asked with for more about them.
    #[serde(default)]
    access_token: Option<String>,
}

#[derive(Debug, Clone)]
struct Known {
    description: Arc<Description>,
    keys: Arc<Jwks>,
    at: Timestamp,
}

/// The provider. Clones share what is known of it.
#[derive(Debug, Clone)]
pub struct Provider {
    settings: Arc<ProviderSettings>,
    outbound: Outbound,
    clock: SharedClock,
    known: Arc<Mutex<Option<Known>>>,
}

impl Provider {
    /// A provider that is asked when it is needed first.
    pub fn new(settings: ProviderSettings, outbound: Outbound, clock: SharedClock) -> Self {
        Self { settings: Arc::new(settings), outbound, clock, known: Arc::default() }
    }

    /// What the environment says.
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// The provider's description.
    pub async fn description(&self) -> Result<Arc<Description>, Refusal> {
        Ok(self.known(false).await?.description)
    }

    async fn known(&self, anew: bool) -> Result<Known, Refusal> {
        let mut kept = self.known.lock().await;
        let now = self.clock.now();
        if let Some(known) = kept.as_ref().filter(|k| !anew && now >= k.at && now < k.at.plus(FRESH)) {
            return Ok(known.clone());
        }
        let description = self.discover().await?;
        let answer = self.get(&description.jwks_uri, None).await?;
        let keys = Jwks::parse(&answer.body).ok_or_else(|| unreadable(&description.jwks_uri, "a set of keys"))?;
        let known = Known { description: Arc::new(description), keys: Arc::new(keys), at: now };
        *kept = Some(known.clone());
        Ok(known)
    }

    /// OpenID Connect Discovery 1.0, 4.
    async fn discover(&self) -> Result<Description, Refusal> {
        let issuer = self.settings.issuer.as_str().trim_end_matches('/');
        let place = format!("{issuer}/.well-known/openid-configuration");
        let place: Url = place.parse().map_err(|_| Refusal::Provider(format!("{place} is no address; see OIDC_ISSUER")))?;
        let answer = self.get(&place, None).await?;
        let found: Description = serde_json::from_slice(&answer.body).map_err(|_| unreadable(&place, "a description of a provider"))?;
        // A URL has a slash after its host that an issuer need not have; tokens are compared to the letter.
        if found.issuer.trim_end_matches('/') != issuer {
            return Err(Refusal::Provider(format!("{place} describes the issuer \"{}\"; see OIDC_ISSUER", found.issuer)));
        }
        let needed = [&found.authorization_endpoint, &found.token_endpoint, &found.jwks_uri].map(Some);
        let used = needed.into_iter().chain([found.userinfo_endpoint.as_ref(), found.end_session_endpoint.as_ref()]);
        let secure = self.settings.issuer.scheme() == "https";
        let wrong = |url: &&Url| !matches!(url.scheme(), "http" | "https") || (secure && url.scheme() != "https");
        if let Some(url) = used.flatten().find(wrong) {
            return Err(Refusal::Provider(format!("{place} names {url}, which is not https")));
        }
        Ok(found)
    }

    /// Tokens for a code (RFC 6749, 4.1.3; RFC 7636, 4.5).
    pub async fn exchange(&self, code: &str, verifier: &str) -> Result<Tokens, Refusal> {
        let description = self.description().await?;
        let request = self.token_request(&description, code, verifier)?;
        let answer = self.send(request).await?;
        if answer.status != 200 {
            return Err(refused_exchange(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| unreadable(&description.token_endpoint, "tokens with an id_token"))
    }

    fn token_request(&self, description: &Description, code: &str, verifier: &str) -> Result<Request, Refusal> {
        let s = &self.settings;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code").append_pair("code", code);
        form.append_pair("redirect_uri", s.redirect_uri.as_str()).append_pair("code_verifier", verifier);
        let mut request = Request { method: Method::POST, ..Request::get(description.token_endpoint.clone()) };
        if description.takes_secret_in_body() {
            form.append_pair("client_id", &s.client_id).append_pair("client_secret", s.client_secret.expose());
        } else {
            // RFC 6749, 2.3.1: both are written as in a form before they are joined.
            let part = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let both = format!("{}:{}", part(&s.client_id), part(s.client_secret.expose()));
            request.headers.insert(header::AUTHORIZATION, secret_header(&format!("Basic {}", STANDARD.encode(both)))?);
        }
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.body = Some(Bytes::from(form.finish()));
        Ok(request)
    }

    /// The claims of an ID token whose signature is of one of the provider's keys.
    pub async fn verify(&self, id_token: &str) -> Result<Map<String, Value>, Refusal> {
        let known = self.known(false).await?;
        let found = match jose::verify(id_token, &known.keys) {
            Err(JoseFault::NoKey(_)) => jose::verify(id_token, &self.known(true).await?.keys),
            found => found,
        };
        found.map_err(|fault| Refusal::Provider(format!("the ID token is not believed: {fault}")))
    }

    /// Adds what the ID token does not tell (OpenID Connect Core 1.0, 5.3), if one of `wanted` is missing.
    pub async fn complete(&self, claims: &mut Map<String, Value>, tokens: &Tokens, wanted: &[&str]) -> Result<(), Refusal> {
        let description = self.description().await?;
        let missing = wanted.iter().any(|name| !claims.contains_key(*name));
        let (true, Some(place), Some(token)) = (missing, &description.userinfo_endpoint, &tokens.access_token) else {
            return Ok(());
        };
        let answer = self.get(place, Some(token)).await?;
        let told: Map<String, Value> = serde_json::from_slice(&answer.body).map_err(|_| unreadable(place, "claims as JSON"))?;
        if told.get("sub") != claims.get("sub") {
            return Err(Refusal::Provider(format!("{place} tells of somebody else than the ID token")));
        }
        for (name, value) in told {
            claims.entry(name).or_insert(value);
        }
        Ok(())
    }

    async fn get(&self, place: &Url, token: Option<&str>) -> Result<Answer, Refusal> {
        let mut request = Request::get(place.clone());
        request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            request.headers.insert(header::AUTHORIZATION, secret_header(&format!("Bearer {token}"))?);
        }
        let answer = self.send(request).await?;
        match answer.status {
            200 => Ok(answer),
            status @ (429 | 500..) => Err(Refusal::Unavailable(format!("{place} answered {status}"))),
            status => Err(Refusal::Provider(format!("{place} answered {status}"))),
        }
    }

    /// The operator named the issuer, so it may be this machine; where its description leads may not.
    async fn send(&self, request: Request) -> Result<Answer, Refusal> {
        let request = Request { answer_limit: Some(ANSWER), ..request };
        let place = Origin::of(&request.url).ok_or_else(|| Refusal::Provider(format!("{} has no host", request.url)))?;
        let named = Origin::of(&self.settings.issuer).as_ref() == Some(&place);
        let loopback = if named { Loopback::Allowed } else { Loopback::AsSet };
        let answer = self.outbound.send_to(&[place], loopback, request).await;
        answer.map_err(|e: OutboundError| {
            let text = format!("the provider cannot be asked: {e}");
            if e.is_passing() { Refusal::Unavailable(text) } else { Refusal::Provider(text) }
        })
    }
}

fn unreadable(place: &Url, expected: &str) -> Refusal {
    Refusal::Provider(format!("{place} answered something else than {expected}"))
}

fn secret_header(text: &str) -> Result<HeaderValue, Refusal> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Refusal::Provider("a credential has characters that no header may have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a refusal of the token endpoint means (RFC 6749, 5.2); its text may be long and is cut.
fn refused_exchange(answer: &Answer) -> Refusal {
    #[derive(Default, Deserialize)]
    struct Told {
        #[serde(default)]
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let told: Told = serde_json::from_slice(&answer.body).unwrap_or_default();
    let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let text = format!("the provider gives no tokens: {} {} {}", answer.status, cut(&told.error), cut(&told.error_description));
    match told.error.as_str() {
        "invalid_grant" => Refusal::Again(text),
        "invalid_client" => Refusal::Provider(format!("{text}; see OIDC_CLIENT_ID and OIDC_CLIENT_SECRET")),
        _ if answer.status >= 500 => Refusal::Unavailable(text),
        _ => Refusal::Provider(text),
    }
}
