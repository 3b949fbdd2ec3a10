//! Going to the provider, coming back, signing out there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;

use super::provider::{Provider, Tokens};
use super::{Arrived, Expected, Refusal, judge, ops, safe_return};
use crate::base::problem::Problem;
use crate::config::Secret;
use crate::features::identity::policy;
use crate::features::identity::policy::ProviderInfo;
use crate::features::identity::sessions::ops::{Arrival, Begun, Identity, Proof, new_secret};
use crate::features::identity::sessions::{Method, Session};

/// Signs people in with the provider.
#[derive(Debug, Clone)]
pub struct Oidc {
    /// Stores, sessions.
    pub identity: Identity,
    /// Whom to ask.
    pub provider: Provider,
    /// What the sign-in page calls it.
    pub name: String,
    /// Where the provider sends people after a sign-out.
    pub after_sign_out: Url,
}

/// A browser on its way to the provider.
#[derive(Debug)]
pub struct Sent {
    /// Where it goes.
    pub url: Url,
    /// What its cookie holds until it is back.
    pub secret: String,
}

/// What a browser brings back.
#[derive(Debug, Clone, Default)]
pub struct Brought {
    /// What becomes tokens.
    pub code: Option<String>,
    /// What was sent along.
    pub state: Option<String>,
    /// Why there is no code (RFC 6749, 4.1.2.1).
    pub error: Option<String>,
    /// Who answers (RFC 9207).
    pub issuer: Option<String>,
}

/// What belongs to one attempt; all of it follows from the cookie.
struct Attempt {
    hash: [u8; 32],
    state: String,
    nonce: String,
    verifier: String,
}

impl Oidc {
    /// What administrators see of it.
    pub fn info(&self) -> ProviderInfo {
        let settings = self.provider.settings();
        ProviderInfo {
            name: self.name.clone(),
            issuer: settings.issuer.to_string(),
            redirect_uri: settings.redirect_uri.to_string(),
            after_sign_out: self.after_sign_out.to_string(),
        }
    }

    fn attempt(&self, secret: &str) -> Attempt {
        let part = |purpose: &str| self.identity.session_key.derive(purpose, secret);
        Attempt {
            hash: part("oidc attempt"),
            state: URL_SAFE_NO_PAD.encode(part("oidc state")),
            nonce: URL_SAFE_NO_PAD.encode(part("oidc nonce")),
            // 43 characters of the alphabet that RFC 7636, 4.1 names.
            verifier: URL_SAFE_NO_PAD.encode(part("oidc verifier")),
        }
    }

    /// Sends a browser to the provider.
    pub async fn begin(&self, return_to: Option<&str>) -> Result<Sent, Refusal> {
        let description = self.provider.description().await?;
        let secret = new_secret(self.identity.ids.as_ref());
        let attempt = self.attempt(&secret);
        let settings = self.provider.settings();
        let mut url = description.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", settings.redirect_uri.as_str())
            .append_pair("scope", &description.scopes())
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(Sha256::digest(&attempt.verifier)))
            .append_pair("code_challenge_method", "S256");
        let return_to = safe_return(return_to);
        let kept = self.identity.store.write(move |tx| ops::begin_attempt(tx, &attempt.hash, &return_to)).await;
        kept.map_err(ours)?;
        Ok(Sent { url, secret })
    }

    /// Takes a browser back: the session that begins, and where it goes on. An attempt is used up by whatever
    /// comes back with its state.
    pub async fn finish(&self, secret: Option<&str>, brought: Brought, arrival: Arrival) -> Result<(Begun, String), Refusal> {
        let secret = secret.ok_or_else(|| Refusal::Again("the browser has no cookie of an attempt; it was not sent from here".to_owned()))?;
        let attempt = self.attempt(secret);
        let state = brought.state.unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(attempt.state.as_bytes())) {
            return Err(Refusal::Again("the state is of another attempt than the cookie".to_owned()));
        }
        let hash = attempt.hash;
        let taken = self.identity.store.write(move |tx| ops::take_attempt(tx, &hash)).await.map_err(ours)?;
        let return_to = taken.ok_or_else(|| Refusal::Again("the attempt was used already, or took longer than ten minutes".to_owned()))?;
        let description = self.provider.description().await?;
        if let Some(issuer) = brought.issuer.filter(|issuer| *issuer != description.issuer) {
            return Err(Refusal::Provider(format!("\"{}\" answered for \"{}\" (iss)", shortened(&issuer), description.issuer)));
        }
        if let Some(error) = brought.error {
            let text = format!("the provider says {}", shortened(&error));
            return Err(match error.as_str() {
                "access_denied" | "login_required" | "consent_required" | "interaction_required" => Refusal::Declined(text),
                "server_error" | "temporarily_unavailable" => Refusal::Unavailable(text),
                _ => Refusal::Provider(text),
            });
        }
        let code = brought.code.ok_or_else(|| Refusal::Provider("the provider sent neither a code nor an error".to_owned()))?;
        let tokens = self.provider.exchange(&code, &attempt.verifier).await?;
        let begun = self.sign_in(&tokens, &attempt.nonce, &description.issuer, arrival).await?;
        Ok((begun, return_to))
    }

    async fn sign_in(&self, tokens: &Tokens, nonce: &str, issuer: &str, arrival: Arrival) -> Result<Begun, Refusal> {
        let mut claims = self.provider.verify(&tokens.id_token).await?;
        let client_id = &self.provider.settings().client_id;
        let expected = Expected { issuer, client_id, nonce, now: self.identity.clock.now() };
        judge(&claims, &expected).map_err(|why| Refusal::Provider(format!("the ID token is not believed: {why}")))?;
        let policy = self.identity.store.read(policy::ops::policy).await.map_err(ours)?;
        let mut wanted = vec!["email", "name"];
        if !policy.role_mapping.is_empty() {
            wanted.push(&policy.groups_claim);
        }
        self.provider.complete(&mut claims, tokens, &wanted).await?;
        let who = Arrived::of(&claims, &policy.groups_claim);
        let account = self.identity.store.write(move |tx| ops::settle(tx, &who, &policy)).await.map_err(ours)??;
        let proof = Proof { method: Method::Oidc, id_token: Some(Secret::new(tokens.id_token.as_str())) };
        self.identity.begin(account, arrival, proof).await.map_err(ours)
    }

    /// Where a session that the provider began ends there as well (OpenID Connect RP-Initiated Logout 1.0). A provider
    /// that cannot be asked keeps nobody from signing out here.
    pub async fn sign_out_url(&self, session: &Session) -> Option<Url> {
        if session.method != Method::Oidc {
            return None;
        }
        let description = match self.provider.description().await {
            Ok(description) => description,
            Err(refusal) => {
                tracing::warn!(why = %refusal, "somebody signed out here and not at the provider");
                return None;
            }
        };
        let mut url = description.end_session_endpoint.clone()?;
        let mut query = url.query_pairs_mut();
        if let Some(token) = self.identity.id_token(session) {
            query.append_pair("id_token_hint", token.expose());
        }
        query.append_pair("client_id", &self.provider.settings().client_id);
        query.append_pair("post_logout_redirect_uri", self.after_sign_out.as_str());
        drop(query);
        Some(url)
    }
}

/// A fault of ours on the way: it is logged here, as nobody else sees it.
fn ours(problem: Problem) -> Refusal {
    match &problem {
        Problem::Internal(cause) => tracing::error!(cause = ?cause, "a sign-in with the provider failed"),
        other => tracing::warn!(why = %other, "a sign-in with the provider could not be carried out"),
    }
    Refusal::Unavailable(problem.to_string())
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
