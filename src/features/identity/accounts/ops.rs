//! Use cases around accounts and API tokens.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::store::{self, StoredToken};
use super::Account;
use crate::base::access::{Permission, Principal, SystemRole};
use crate::base::id::{AccountId, PersonId, TokenId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{self, Entry};
use crate::features::identity::people;
use crate::platform::store::Tx;

/// What every API token starts with, so that scanners find leaked ones.
pub const TOKEN_PREFIX: &str = "tnr_";
/// The longest life of a token.
const MAX_TOKEN_LIFE: Duration = Duration::from_secs(366 * 86_400);

/// The hash under which a secret token is stored.
pub fn token_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Gives a person an account.
pub fn create_account(
    tx: &Tx<'_>,
    by: &Principal,
    person: &PersonId,
    email: &str,
    password_hash: Option<String>,
    roles: &[SystemRole],
) -> Result<AccountId, Problem> {
    if store::find_by_email(tx, email)?.is_some() {
        return Err(Problem::Conflict(format!("There is an account with the address {email} already.")));
    }
    let account = Account {
        id: tx.new_id(),
        person_id: person.clone(),
        email: email.to_owned(),
        active: true,
        epoch: 1,
        roles: roles.to_vec(),
        second_factor: false,
    };
    store::insert_account(tx, &account, password_hash.as_deref())?;
    record(tx, by, "account.created", &account, json!({ "email": email, "roles": roles, "active": true }))?;
    Ok(account.id)
}

/// Switches an account off; its sessions and tokens end at once.
pub fn disable_account(tx: &Tx<'_>, by: &Principal, email: &str) -> Result<(), Problem> {
    let account = get_by_email(tx, email)?;
    if !account.active {
        return Err(Problem::Conflict(format!("The account {email} is disabled already.")));
    }
    store::set_active(tx, &account.id, false)?;
    record(tx, by, "account.disabled", &account, json!({ "active": false }))
}

/// Switches the account of a leaver off for good: sessions and tokens end, system roles go. How many tokens
/// were revoked.
pub fn close_account(tx: &Tx<'_>, by: &Principal, account: &Account) -> Result<usize, Problem> {
    let tokens = revoke_tokens(tx, by, &account.id)?;
    store::set_active(tx, &account.id, false)?;
    store::set_roles(tx, &account.id, &[])?;
    let new = json!({ "active": false, "roles": [], "tokensRevoked": tokens, "rolesBefore": account.roles });
    record(tx, by, "account.closed", account, new)?;
    Ok(tokens)
}

/// Switches an account on again, with these system roles and none of the tokens it had.
pub fn enable_account(tx: &Tx<'_>, by: &Principal, id: &AccountId, roles: &[SystemRole]) -> Result<Account, Problem> {
    let account = store::get_account(tx, id)?;
    if account.active {
        return Err(Problem::Conflict(format!("The account {} is enabled already.", account.email)));
    }
    if !people::store::get_person(tx, &account.person_id)?.active {
        return Err(Problem::Conflict("The person is not active. Make them active first.".to_owned()));
    }
    let mut roles = roles.to_vec();
    roles.sort();
    roles.dedup();
    revoke_tokens(tx, by, id)?;
    store::set_active(tx, id, true)?;
    store::set_roles(tx, id, &roles)?;
    record(tx, by, "account.enabled", &account, json!({ "active": true, "roles": roles }))?;
    store::get_account(tx, id)
}

/// Gives an account another password; its sessions end at once.
pub fn reset_password(tx: &Tx<'_>, by: &Principal, email: &str, hash: &str) -> Result<(), Problem> {
    let account = get_by_email(tx, email)?;
    store::set_password(tx, &account.id, hash)?;
    record(tx, by, "account.password_reset", &account, json!({ "epoch": account.epoch + 1 }))
}

/// Somebody gives their own account another password; its sessions end.
pub fn change_password(tx: &Tx<'_>, by: &Principal, id: &AccountId, hash: &str) -> Result<Account, Problem> {
    store::set_password(tx, id, hash)?;
    let account = store::get_account(tx, id)?;
    record(tx, by, "account.password_changed", &account, json!({ "epoch": account.epoch }))?;
    Ok(account)
}

/// Ends all sessions of an account.
pub fn end_sessions(tx: &Tx<'_>, by: &Principal, id: &AccountId) -> Result<(), Problem> {
    let account = store::get_account(tx, id)?;
    store::end_sessions(tx, id)?;
    record(tx, by, "account.sessions_ended", &account, json!({ "epoch": account.epoch + 1 }))
}

fn get_by_email(tx: &Tx<'_>, email: &str) -> Result<Account, Problem> {
    store::find_by_email(tx, email)?.ok_or_else(|| Problem::missing("account", email))
}

/// A token that is wanted.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What its owner calls it.
    pub name: String,
    /// A subset of permissions; absent for all of the owner's.
    pub scope: Option<Vec<String>>,
    /// When it ends; 90 days from now when absent.
    pub expires_at: Option<Timestamp>,
}

/// Makes a token for an account; the secret is given once and stored as a hash.
pub fn create_token(
    tx: &Tx<'_>,
    by: &Principal,
    account: &Account,
    new: NewToken,
    secret: &str,
) -> Result<StoredToken, Problem> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(Problem::field("name", "expected 1 to 100 characters"));
    }
    if let Some(unknown) = new.scope.iter().flatten().find(|s| Permission::parse(s).is_none()) {
        return Err(Problem::field("scope", format!("there is no permission {unknown}")));
    }
    let expires_at = new.expires_at.unwrap_or_else(|| tx.now().plus(Duration::from_secs(90 * 86_400)));
    if expires_at <= tx.now() || expires_at > tx.now().plus(MAX_TOKEN_LIFE) {
        return Err(Problem::field("expiresAt", "expected an instant within the next 366 days"));
    }
    let own = by.account.as_ref() == Some(&account.id) && by.may_decide;
    let token = StoredToken {
        id: tx.new_id(),
        account_id: account.id.clone(),
        name,
        scope: new.scope,
        // A token that somebody else made, or a command, never decides in its owner's name.
        may_decide: own,
        // A token that was made with such a token is its maker's as well.
        made_by: if own { None } else { by.token_maker.clone().or_else(|| by.person.clone()) },
        created_at: tx.now(),
        expires_at,
        last_used_at: None,
        revoked_at: None,
    };
    store::insert_token(tx, &token, &token_hash(secret))?;
    audit::append(
        tx,
        by,
        Entry {
            action: "token.created",
            entity: "api_token",
            entity_id: token.id.to_string(),
            reason: None,
            prev: None,
            new: Some(json!({
                "account": account.id, "name": token.name, "scope": token.scope,
                "expiresAt": token.expires_at, "mayDecide": token.may_decide,
            })),
        },
    )?;
    Ok(token)
}

/// Ends a token.
pub fn revoke_token(tx: &Tx<'_>, by: &Principal, id: &TokenId) -> Result<(), Problem> {
    let token = store::find_token_by_id(tx, id)?.ok_or_else(|| Problem::missing("token", id))?;
    let own = by.account.as_ref() == Some(&token.account_id);
    if !own && !by.can(Permission::AccountWrite) {
        return Err(Problem::missing("token", id));
    }
    if token.revoked_at.is_some() {
        return Ok(());
    }
    end_token(tx, by, id)
}

/// Ends every token of an account; how many there were.
fn revoke_tokens(tx: &Tx<'_>, by: &Principal, id: &AccountId) -> Result<usize, Problem> {
    let tokens = store::list_usable_tokens(tx, id)?;
    tokens.iter().try_for_each(|token| end_token(tx, by, token))?;
    Ok(tokens.len())
}

fn end_token(tx: &Tx<'_>, by: &Principal, id: &TokenId) -> Result<(), Problem> {
    store::revoke_token(tx, id)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "token.revoked",
            entity: "api_token",
            entity_id: id.to_string(),
            reason: None,
            prev: None,
            new: Some(json!({ "revokedAt": tx.now() })),
        },
    )
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    account: &Account,
    new: serde_json::Value,
) -> Result<(), Problem> {
    audit::append(
        tx,
        by,
        Entry { action, entity: "account", entity_id: account.id.to_string(), reason: None, prev: None, new: Some(new) },
    )
}
