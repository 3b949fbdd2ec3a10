//! Signing in, being recognised, signing out.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::place::SharedSessions;
use super::throttle::{Guess, Throttle};
use super::{Method, Session, TOUCH};
use crate::base::access::{ActorKind, AuthFuture, Authenticate, Credentials, Principal};
use crate::base::clock::SharedClock;
use crate::base::id::{AccountId, Ids, RequestId, SessionId, SharedIds, TypedId};
use crate::base::problem::Problem;
use crate::config::Secret;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::ops::{TOKEN_PREFIX, token_hash};
use crate::features::identity::accounts::password::Passwords;
use crate::features::identity::accounts::{self, Account};
use crate::features::identity::{people, policy, second_factor};
use crate::platform::secrets::{Place, SecretBox};
use crate::platform::store::{Store, Tx};

/// Knows who is signed in.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The business database: people, accounts, tokens.
    pub store: Store,
    /// Where sessions are.
    pub sessions: SharedSessions,
    /// Theirs.
    pub clock: SharedClock,
    /// For tokens.
    pub ids: SharedIds,
    /// What sessions are kept under.
    pub session_key: SessionKey,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// What second factors are sealed with.
    pub secrets: SecretBox,
    /// How fast guesses are made.
    pub throttle: Arc<Throttle>,
}

/// `SESSION_SECRET`: sessions are found only with the secret they were made under.
#[derive(Clone)]
pub struct SessionKey(Arc<Zeroizing<Vec<u8>>>);

impl SessionKey {
    /// The key that `SESSION_SECRET` says.
    pub fn new(secret: &str) -> Self {
        Self(Arc::new(Zeroizing::new(secret.as_bytes().to_vec())))
    }

    /// Under what a session is kept: HMAC-SHA-256 of its cookie. Without the key nobody can tell
    /// whether a cookie belongs to a row, and under another key no row is found.
    fn hash(&self, cookie: &str) -> [u8; 32] {
        self.derive("session", cookie)
    }

    /// What follows from `text` for one purpose, and from nothing else without the key.
    pub fn derive(&self, purpose: &str, text: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(b"\n");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// What secrets of sessions are sealed with: they end with the key, as the sessions do.
    fn sealing(&self) -> SecretBox {
        SecretBox::new("sessions", &self.derive("sealing", ""), None)
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The request that somebody signs in with.
#[derive(Debug, Clone, Default)]
pub struct Arrival {
    /// Where it came from.
    pub address: Option<String>,
    /// Which one it was.
    pub request_id: Option<RequestId>,
    /// What the browser calls itself.
    pub device: Option<String>,
}

/// What somebody types to sign in.
#[derive(Clone)]
pub struct Given {
    /// The address.
    pub email: String,
    /// The password.
    pub password: String,
    /// Of the second factor, once it was asked for.
    pub code: Option<String>,
}

/// Another password of one's own.
#[derive(Clone)]
pub struct PasswordChange {
    /// The present one.
    pub current: String,
    /// The new one.
    pub password: String,
}

/// How somebody proved who they are.
#[derive(Debug, Clone, Default)]
pub struct Proof {
    /// By which way.
    pub method: Method,
    /// What the provider signed.
    pub id_token: Option<Secret>,
}

/// A session that has just begun, with the secret its cookie holds.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The cookie's value.
    pub secret: String,
    /// The session.
    pub session: Session,
    /// Who signed in.
    pub principal: Principal,
}

/// 256 random bits as text.
pub fn new_secret(ids: &dyn Ids) -> String {
    format!("{:032x}{:032x}", ids.next_random(), ids.next_random())
}

impl Identity {
    /// Checks address, password and second factor, and begins a session. Whether a code is needed is told to nobody
    /// without the password.
    pub async fn sign_in(&self, given: Given, from: Arrival) -> Result<Begun, Problem> {
        let Given { email, password, code } = given;
        let guess = Guess::password(&email, from.address.as_deref());
        self.throttle.begin(guess.clone(), self.clock.now())?;
        let wanted = email.clone();
        let known = self
            .store
            .read(move |tx| {
                let Some(account) = accounts::store::find_by_email(tx, &wanted)? else { return Ok(None) };
                let hash = accounts::store::password_hash(tx, &account.id)?;
                Ok(Some((account, hash)))
            })
            .await?;
        let (account, hash) = known.map_or((None, None), |(a, h)| (Some(a), h));
        let fits = self.passwords.verify(password, hash).await?;
        let id = account.as_ref().map(|a| a.id.to_string());
        let Some(account) = account.filter(|a| fits && a.active) else {
            // Nothing changed, so the audit log has no entry. What was typed as the address is not
            // told: people type passwords into the wrong field.
            let address = from.address.as_deref().unwrap_or("unknown");
            let account = id.as_deref().unwrap_or("unknown");
            tracing::warn!(address, account, "a sign-in was refused");
            return Err(Problem::Unauthenticated("The address or the password is wrong.".to_owned()));
        };
        self.throttle.forget(&guess);
        self.check_second_factor(&account, code, &from).await?;
        self.begin(account, from, Proof::default()).await
    }

    async fn check_second_factor(&self, account: &Account, code: Option<String>, from: &Arrival) -> Result<(), Problem> {
        if !account.second_factor {
            return Ok(());
        }
        let code = code.filter(|code| !code.trim().is_empty()).ok_or_else(|| {
            Problem::field("code", "is needed: six digits of your authenticator app, or a recovery code")
        })?;
        let guesses = self.begin_code(&account.id, from).await?;
        let (account, arrival, secrets) = (account.clone(), from.clone(), self.secrets.clone());
        let id = account.id.clone();
        let checked = self.store.write(move |tx| {
            let mut by = principal_of(tx, &account)?;
            by.address.clone_from(&arrival.address);
            by.request_id.clone_from(&arrival.request_id);
            second_factor::ops::check(tx, &by, &account.id, &code, &secrets)
        });
        let checked = checked.await;
        match &checked {
            Ok(()) => guesses.iter().for_each(|guess| self.throttle.forget(guess)),
            Err(_) => {
                let address = from.address.as_deref().unwrap_or("unknown");
                tracing::warn!(address, account = %id, "a sign-in was refused: the code of the second factor is wrong");
            }
        }
        checked
    }

    /// Counts a guess at a code. Whoever guesses has the password, so the account is guarded as a whole as well; but
    /// not where it is signed in, so that nobody is kept out where they are.
    async fn begin_code(&self, account: &AccountId, from: &Arrival) -> Result<Vec<Guess>, Problem> {
        let (now, address) = (self.clock.now(), from.address.as_deref());
        let mut guesses = vec![Guess::code(&account.to_string(), address)];
        let here = |s: &Session| s.address.as_deref() == address;
        if !self.list(account.clone()).await?.iter().any(here) {
            guesses.push(Guess::AnyCode(account.to_string()));
        }
        for guess in &guesses {
            self.throttle.begin(guess.clone(), now)?;
        }
        Ok(guesses)
    }

    /// Gives somebody another password who knows the present one; their other sessions end, and this one begins anew.
    pub async fn change_password(&self, by: Principal, change: PasswordChange, from: Arrival) -> Result<Begun, Problem> {
        let id = by.account.clone().ok_or_else(|| Problem::Forbidden("Only accounts have this.".to_owned()))?;
        let known = self.store.read(move |tx| {
            let account = accounts::store::get_account(tx, &id)?;
            let hash = accounts::store::password_hash(tx, &account.id)?;
            Ok((account, hash, policy::ops::password_length(tx)?.value))
        });
        let (account, hash, least) = known.await?;
        if hash.is_none() {
            return Err(Problem::Conflict("You sign in with the provider and have no password here.".to_owned()));
        }
        let guess = Guess::password(&account.email, from.address.as_deref());
        self.throttle.begin(guess.clone(), self.clock.now())?;
        if !self.passwords.verify(change.current, hash).await? {
            return Err(Problem::field("current", "is not your present password"));
        }
        self.throttle.forget(&guess);
        Problem::from_fields(accounts::password::faults("password", &change.password, &account.email, least))?;
        let hash = self.passwords.hash(change.password).await?;
        let changed = self.store.write(move |tx| accounts::ops::change_password(tx, &by, &account.id, &hash));
        self.begin(changed.await?, from, Proof::default()).await
    }

    /// Begins a session for an account that has proved itself.
    pub async fn begin(&self, account: Account, arrival: Arrival, proof: Proof) -> Result<Begun, Problem> {
        let secret = new_secret(self.ids.as_ref());
        let csrf = new_secret(self.ids.as_ref());
        let hash = self.session_key.hash(&secret);
        let now = self.clock.now();
        let id = SessionId::generate(now, self.ids.as_ref());
        let id_token = proof.id_token.map(|token| self.seal(&id, &token)).transpose()?;
        let session = Session {
            id,
            account_id: account.id.clone(),
            epoch: account.epoch,
            csrf,
            address: arrival.address.clone(),
            device: arrival.device.clone(),
            method: proof.method,
            id_token,
            created_at: now,
            last_seen_at: now,
        };
        self.sessions.insert(session.clone(), hash).await?;
        let began = session.id.clone();
        let principal = self
            .store
            .write(move |tx| {
                let mut principal = principal_of(tx, &account)?;
                principal.address.clone_from(&arrival.address);
                principal.request_id.clone_from(&arrival.request_id);
                record(tx, &principal, "session.started", json!({ "method": proof.method, "session": began }))?;
                Ok(principal)
            })
            .await?;
        Ok(Begun { secret, session, principal })
    }

    fn seal(&self, id: &SessionId, token: &Secret) -> Result<Vec<u8>, Problem> {
        let [nonce @ .., _, _, _, _] = self.ids.next_random().to_be_bytes();
        self.session_key.sealing().seal(place_of_token(id), token.expose().as_bytes(), nonce)
    }

    /// The ID token that a session began with, if it did.
    pub fn id_token(&self, session: &Session) -> Option<Secret> {
        let opened = self.session_key.sealing().open(place_of_token(&session.id), session.id_token.as_ref()?).ok()?;
        std::str::from_utf8(&opened).ok().map(Secret::new)
    }

    /// Ends the session behind a cookie.
    pub async fn sign_out(&self, by: Principal, secret: &str) -> Result<(), Problem> {
        if let Some(session) = self.sessions.find(self.session_key.hash(secret)).await? {
            self.end(by, session.id).await?;
        }
        Ok(())
    }

    /// Ends a session of the caller's account; false when there is none.
    ///
    /// It is told after it is done: two databases cannot commit together, and the log must not say of
    /// a session that goes on that it ended.
    pub async fn end(&self, by: Principal, id: SessionId) -> Result<bool, Problem> {
        let account = by.account.clone().ok_or_else(|| Problem::Forbidden("Only accounts have this.".to_owned()))?;
        if !self.sessions.remove(id.clone(), account).await? {
            return Ok(false);
        }
        self.store.write(move |tx| record(tx, &by, "session.ended", json!({ "session": id }))).await?;
        Ok(true)
    }

    /// The sessions of an account that can be used, oldest first.
    pub async fn list(&self, account: AccountId) -> Result<Vec<Session>, Problem> {
        let wanted = account.clone();
        let account_now = self.store.read(move |tx| accounts::store::get_account(tx, &wanted)).await?;
        let now = self.clock.now();
        let all = self.sessions.list(account).await?;
        Ok(all.into_iter().filter(|s| account_now.active && s.epoch == account_now.epoch && !s.is_over(now)).collect())
    }

    /// The session behind a cookie, unless it is over.
    pub async fn session(&self, secret: &str) -> Result<Option<Session>, Problem> {
        let found = self.sessions.find(self.session_key.hash(secret)).await?;
        Ok(found.filter(|session| !session.is_over(self.clock.now())))
    }

    async fn by_session(&self, secret: &str, credentials: &Credentials) -> Result<Option<Principal>, Problem> {
        let Some(session) = self.session(secret).await? else { return Ok(None) };
        let wanted = session.account_id.clone();
        let by_password = session.method == Method::Password;
        let account = self.store.read_first(move |tx| {
            let Some(found) = with_principal(tx, &wanted)? else { return Ok(None) };
            let limited = by_password && second_factor::ops::is_missing(tx, &found.0)?;
            Ok(Some((found, limited)))
        });
        let Some(((account, mut principal, now), limited)) = account.await? else { return Ok(None) };
        if !account.active || account.epoch != session.epoch {
            return Ok(None);
        }
        if credentials.unsafe_method {
            let given = credentials.csrf.as_deref().unwrap_or("");
            if !bool::from(given.as_bytes().ct_eq(session.csrf.as_bytes())) {
                return Err(Problem::Forbidden(
                    "The X-CSRF-Token header is missing or wrong. Reload the page and try again.".to_owned(),
                ));
            }
        }
        if limited {
            if !credentials.about_sign_in {
                return Err(Problem::Forbidden(
                    "Set up a second factor first, see POST /api/auth/second-factor. An administrator decided that you need one.".to_owned(),
                ));
            }
            principal.scope = Some(Vec::new());
            principal.may_decide = false;
        }
        if now >= session.last_seen_at.plus(TOUCH) {
            self.sessions.touch(session, self.session_key.hash(secret), now).await?;
        }
        Ok(Some(principal))
    }

    async fn by_token(&self, secret: &str) -> Result<Option<Principal>, Problem> {
        if !secret.starts_with(TOKEN_PREFIX) {
            return Ok(None);
        }
        let hash = token_hash(secret);
        let found = self
            .store
            .read_first(move |tx| {
                let Some(token) = accounts::store::find_token(tx, &hash)? else { return Ok(None) };
                let found = with_principal(tx, &token.account_id)?;
                Ok(found.map(|(account, principal, now)| (token, account, principal, now)))
            })
            .await?;
        let Some((token, account, mut principal, now)) = found else { return Ok(None) };
        if !account.active || token.revoked_at.is_some() || now >= token.expires_at {
            return Ok(None);
        }
        principal.scope = token.permissions();
        principal.may_decide = token.may_decide;
        principal.token_maker = token.made_by;
        if token.last_used_at.is_none_or(|at| now >= at.plus(TOUCH)) {
            self.store.write(move |tx| accounts::store::touch_token(tx, &token.id)).await?;
        }
        Ok(Some(principal))
    }
}

impl Authenticate for Identity {
    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> AuthFuture<'a> {
        Box::pin(async move {
            if let Some(bearer) = &credentials.bearer {
                return self.by_token(bearer).await;
            }
            match &credentials.session {
                Some(secret) => self.by_session(secret, credentials).await,
                None => Ok(None),
            }
        })
    }
}

fn place_of_token(id: &SessionId) -> Place<'_> {
    Place { table: "session", row: id.as_str(), column: "id_token" }
}

/// The account with its principal and the instant.
type Found = (Account, Principal, crate::base::time::Timestamp);

fn with_principal(tx: &Tx<'_>, id: &crate::base::id::AccountId) -> Result<Option<Found>, Problem> {
    let Some(account) = accounts::store::find_account(tx, id)? else { return Ok(None) };
    let principal = principal_of(tx, &account)?;
    Ok(Some((account, principal, tx.now())))
}

/// Who an account stands for.
pub fn principal_of(tx: &Tx<'_>, account: &Account) -> Result<Principal, Problem> {
    let person = people::store::get_person(tx, &account.person_id)?;
    Ok(Principal {
        kind: ActorKind::Person,
        person: Some(person.id),
        account: Some(account.id.clone()),
        name: person.display_name,
        roles: account.roles.clone(),
        scope: None,
        may_decide: true,
        token_maker: None,
        address: None,
        request_id: None,
        exception: None,
    })
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, new: serde_json::Value) -> Result<(), Problem> {
    let entity_id = by.account.as_ref().map(ToString::to_string).unwrap_or_default();
    audit::append(tx, by, Entry { action, entity: "account", entity_id, reason: None, prev: None, new: Some(new) })
}

/// A shared [`Identity`] as the port that guards use.
pub fn as_port(identity: &Identity) -> Arc<dyn Authenticate> {
    Arc::new(identity.clone())
}
