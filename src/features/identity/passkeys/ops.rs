//! Giving challenges, taking new passkeys, letting somebody in with one.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::store::{self, Passkey};
use super::{CHALLENGE_LIFE, MOST, RelyingParty, challenge_of, counts_on, is_known_key, is_signed, read_said, said_in};
use crate::base::access::Principal;
use crate::base::id::{AccountId, PasskeyId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::{self, Account};
use crate::platform::store::Tx;

/// Keeps a challenge that was given; for somebody who is signed in, or for whoever comes.
pub fn give(tx: &Tx<'_>, challenge: &[u8], account: Option<&AccountId>) -> Result<(), Problem> {
    store::delete_challenges(tx, tx.now().minus(CHALLENGE_LIFE))?;
    store::insert_challenge(tx, &Sha256::digest(challenge), account)
}

/// Uses a challenge up; whether it was given to this account, or to nobody, and is not too old.
fn take(tx: &Tx<'_>, challenge: &[u8], account: Option<&AccountId>) -> Result<bool, Problem> {
    let found = store::take_challenge(tx, &Sha256::digest(challenge))?;
    Ok(found.is_some_and(|(whose, given_at)| whose.as_ref() == account && tx.now() < given_at.plus(CHALLENGE_LIFE)))
}

/// What a browser brings for a new passkey.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What its owner calls it.
    pub name: String,
    /// What the browser says.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub attestation: Vec<u8>,
}

/// Adds a passkey to the caller's account.
pub fn register(tx: &Tx<'_>, by: &Principal, account: &AccountId, party: &RelyingParty, new: &Registration) -> Result<Passkey, Problem> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 60 {
        return Err(Problem::field("name", "expected 1 to 60 characters"));
    }
    let refused = |why: &str| Problem::refused(format!("The passkey is not taken: {why}."));
    let challenge = challenge_of(&new.client_data, "webauthn.create", party).map_err(refused)?;
    if !take(tx, &challenge, Some(account))? {
        return Err(refused("it took too long, or was sent twice; begin again"));
    }
    let said = said_in(&new.attestation).ok_or_else(|| refused("what the authenticator says cannot be read"))?;
    let said = read_said(&said, party).map_err(refused)?;
    let made = said.made.ok_or_else(|| refused("the authenticator tells of no key"))?;
    if !is_known_key(&made.public_key) {
        return Err(refused("its key is of a kind that is not known here; ES256, EdDSA and RS256 are"));
    }
    if store::find_passkey(tx, &made.id)?.is_some() {
        return Err(Problem::Conflict("This passkey is known already.".to_owned()));
    }
    if store::list_passkeys(tx, account)?.len() >= MOST {
        return Err(Problem::Conflict(format!("There are {MOST} passkeys already. Remove one that you do not use.")));
    }
    let passkey = Passkey {
        id: tx.new_id(),
        account_id: account.clone(),
        credential: made.id,
        public_key: made.public_key,
        sign_count: said.sign_count,
        name,
        made_at: tx.now(),
        last_used_at: None,
    };
    store::insert_passkey(tx, &passkey)?;
    record(tx, by, "account.passkey_added", account, json!({ "passkey": passkey.id, "name": passkey.name }))?;
    Ok(passkey)
}

/// What a browser brings to sign in.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The authenticator's id of the passkey.
    pub credential: Vec<u8>,
    /// What the browser says.
    pub client_data: Vec<u8>,
    /// What the authenticator says.
    pub said: Vec<u8>,
    /// Its signature over both.
    pub seal: Vec<u8>,
}

/// The account that a passkey signs in with; why not, for the log. The challenge is used up either way.
pub fn recognise(tx: &Tx<'_>, party: &RelyingParty, given: &Assertion) -> Result<Result<Account, &'static str>, Problem> {
    let challenge = match challenge_of(&given.client_data, "webauthn.get", party) {
        Ok(challenge) => challenge,
        Err(why) => return Ok(Err(why)),
    };
    if !take(tx, &challenge, None)? {
        return Ok(Err("the challenge is unknown, used or too old"));
    }
    let Some(passkey) = store::find_passkey(tx, &given.credential)? else { return Ok(Err("the passkey is unknown")) };
    if !is_signed(&passkey.public_key, &given.said, &given.client_data, &given.seal) {
        return Ok(Err("the signature is not of the passkey"));
    }
    let said = match read_said(&given.said, party) {
        Ok(said) => said,
        Err(why) => return Ok(Err(why)),
    };
    if !counts_on(passkey.sign_count, said.sign_count) {
        return Ok(Err("the counter of the passkey did not grow: there may be a copy of it"));
    }
    let account = accounts::store::get_account(tx, &passkey.account_id)?;
    if !account.active {
        return Ok(Err("the account is disabled"));
    }
    store::use_passkey(tx, &passkey.id, said.sign_count)?;
    Ok(Ok(account))
}

/// Removes one of the caller's passkeys.
pub fn remove(tx: &Tx<'_>, by: &Principal, account: &AccountId, id: &PasskeyId) -> Result<(), Problem> {
    if !store::delete_passkey(tx, id, account)? {
        return Err(Problem::missing("passkey", id));
    }
    record(tx, by, "account.passkey_removed", account, json!({ "passkey": id }))
}

fn record(tx: &Tx<'_>, by: &Principal, action: &'static str, account: &AccountId, new: serde_json::Value) -> Result<(), Problem> {
    let entity_id = account.to_string();
    audit::append(tx, by, Entry { action, entity: "account", entity_id, reason: None, prev: None, new: Some(new) })
}
