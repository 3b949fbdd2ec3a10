//! Setting a second factor up, asking for it, taking it away.

use serde_json::json;

use super::{REQUIRED, Required, fitting_step, new_recovery_codes, plain, recovery_hash, store};
use crate::base::access::Principal;
use crate::base::id::{AccountId, Ids, TypedId};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::{self, Account};
use crate::features::identity::passkeys;
use crate::features::settings::{self, Effective, Source};
use crate::platform::secrets::{Place, SecretBox};
use crate::platform::store::Tx;

/// Where a secret is kept.
fn place(account: &AccountId) -> Place<'_> {
    Place { table: "second_factor", row: account.as_str(), column: "secret" }
}

fn nonce(random: u128) -> [u8; 12] {
    let [nonce @ .., _, _, _, _] = random.to_be_bytes();
    nonce
}

/// Who has to have a second factor.
pub fn required(tx: &Tx<'_>) -> Result<Effective<Required>, Problem> {
    let saved = settings::store::find(tx, REQUIRED.1)?;
    let value = saved.as_ref().and_then(|s| Required::parse(&s.value));
    Ok(match (saved, value) {
        (Some(saved), Some(value)) => {
            Effective { value, source: Source::Saved, changed_by: Some(saved.changed_by), changed_at: Some(saved.changed_at) }
        }
        _ => Effective { value: Required::default(), source: Source::Default, changed_by: None, changed_at: None },
    })
}

/// Whether somebody has to set a second factor up before anything else.
pub fn is_missing(tx: &Tx<'_>, account: &Account) -> Result<bool, Problem> {
    Ok(!account.second_factor && required(tx)?.value.asks(&account.roles))
}

/// Keeps a new secret that is asked for once a code confirms it.
pub fn begin(tx: &Tx<'_>, account: &AccountId, secret: &[u8], secrets: &SecretBox) -> Result<(), Problem> {
    if store::has_factor(tx, account)? {
        return Err(Problem::Conflict("There is a second factor already. Remove it before you set up another.".to_owned()));
    }
    store::put_factor(tx, account, &secrets.seal(place(account), secret, nonce(tx.random()))?)
}

/// Takes the first code: from now on it is asked for. The recovery codes, shown this once.
pub fn confirm(
    tx: &Tx<'_>,
    by: &Principal,
    account: &AccountId,
    code: &str,
    secrets: &SecretBox,
    ids: &dyn Ids,
) -> Result<Vec<String>, Problem> {
    let factor = store::find_factor(tx, account)?;
    let Some(factor) = factor.filter(|f| f.confirmed_at.is_none()) else {
        return Err(Problem::Conflict("There is no second factor to confirm. Begin to set one up first.".to_owned()));
    };
    let secret = secrets.open(place(account), &factor.secret)?;
    let step = fitting_step(&secret, &plain(code), tx.now(), factor.last_step).ok_or_else(wrong)?;
    store::use_step(tx, account, step)?;
    store::confirm_factor(tx, account)?;
    record(tx, by, "account.second_factor_added", account, json!({ "secondFactor": true }))?;
    replace_codes(tx, account, ids)
}

fn wrong() -> Problem {
    Problem::field("code", "is wrong, or was used already; wait for the next one")
}

fn replace_codes(tx: &Tx<'_>, account: &AccountId, ids: &dyn Ids) -> Result<Vec<String>, Problem> {
    store::delete_codes(tx, account)?;
    let codes = new_recovery_codes(ids);
    for code in &codes {
        store::insert_code(tx, account, &recovery_hash(account, code))?;
    }
    Ok(codes)
}

/// Takes a code of the device or, where `recovery` says so, a recovery code; an error when it does not count.
fn take(
    tx: &Tx<'_>,
    by: &Principal,
    account: &AccountId,
    code: &str,
    secrets: &SecretBox,
    recovery: bool,
) -> Result<(), Problem> {
    let Some(factor) = store::find_factor(tx, account)?.filter(|f| f.confirmed_at.is_some()) else {
        return Err(Problem::Conflict("There is no second factor.".to_owned()));
    };
    let code = plain(code);
    let secret = secrets.open(place(account), &factor.secret)?;
    if let Some(step) = fitting_step(&secret, &code, tx.now(), factor.last_step)
        && store::use_step(tx, account, step)?
    {
        return Ok(());
    }
    if recovery && store::take_code(tx, account, &recovery_hash(account, &code))? {
        let left = store::count_codes(tx, account)?;
        return record(tx, by, "account.recovery_code_used", account, json!({ "left": left }));
    }
    Err(wrong())
}

/// Takes the code of somebody who signs in.
pub fn check(tx: &Tx<'_>, by: &Principal, account: &AccountId, code: &str, secrets: &SecretBox) -> Result<(), Problem> {
    take(tx, by, account, code, secrets, true)
}

/// New recovery codes for whoever has their device; the old ones are gone.
pub fn renew_codes(
    tx: &Tx<'_>,
    by: &Principal,
    account: &AccountId,
    code: &str,
    secrets: &SecretBox,
    ids: &dyn Ids,
) -> Result<Vec<String>, Problem> {
    take(tx, by, account, code, secrets, false)?;
    record(tx, by, "account.recovery_codes_made", account, json!({ "left": super::RECOVERY_CODES }))?;
    replace_codes(tx, account, ids)
}

/// Somebody takes their own second factor away, with a code of it.
pub fn remove(tx: &Tx<'_>, by: &Principal, account: &AccountId, code: &str, secrets: &SecretBox) -> Result<(), Problem> {
    take(tx, by, account, code, secrets, true)?;
    store::delete_factor(tx, account)?;
    record(tx, by, "account.second_factor_removed", account, json!({ "secondFactor": false }))
}

/// An administrator takes second factor and passkeys of somebody away who lost them; their sessions end.
pub fn reset(tx: &Tx<'_>, by: &Principal, id: &AccountId) -> Result<(), Problem> {
    let account = accounts::store::get_account(tx, id)?;
    let passkeys = passkeys::store::delete_passkeys(tx, id)?;
    if !store::delete_factor(tx, id)? && passkeys == 0 {
        return Err(Problem::Conflict(format!("The account {} has neither a second factor nor a passkey.", account.email)));
    }
    accounts::store::end_sessions(tx, id)?;
    record(tx, by, "account.second_factor_reset", id, json!({ "secondFactor": false, "passkeysRemoved": passkeys, "epoch": account.epoch + 1 }))
}

/// What sealing anew did with one secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// It is under the present key now.
    Done,
    /// It was already.
    Skipped,
    /// No key opens it.
    Failed,
}

/// Seals one page of secrets anew; each account with what became of it.
pub fn reseal_page(
    tx: &Tx<'_>,
    secrets: &SecretBox,
    after: &str,
    limit: u32,
) -> Result<Vec<(AccountId, Resealed)>, Problem> {
    let mut done = Vec::new();
    for (account, sealed) in store::list_factors(tx, after, limit)? {
        let outcome = match secrets.open(place(&account), &sealed) {
            Ok(_) if secrets.is_current(&sealed) => Resealed::Skipped,
            Ok(secret) => {
                let sealed = secrets.seal(place(&account), &secret, nonce(tx.random()))?;
                store::reseal_factor(tx, &account, &sealed)?;
                Resealed::Done
            }
            Err(_) => Resealed::Failed,
        };
        done.push((account, outcome));
    }
    Ok(done)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    account: &AccountId,
    new: serde_json::Value,
) -> Result<(), Problem> {
    let entity_id = account.to_string();
    audit::append(tx, by, Entry { action, entity: "account", entity_id, reason: None, prev: None, new: Some(new) })
}
