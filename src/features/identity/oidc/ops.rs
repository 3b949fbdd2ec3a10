//! Whose account somebody from the provider signs in with, made and linked as the settings allow.

use serde_json::json;

use super::{ATTEMPT_LIFE, Arrived, Refusal, mapped, store};
use crate::base::access::{Principal, SystemRole};
use crate::base::problem::Problem;
use crate::features::audit::{self, Entry};
use crate::features::identity::accounts::{self, Account};
use crate::features::identity::people::{self, NewPerson, Person};
use crate::features::identity::policy::SignInPolicy;
use crate::platform::store::Tx;

/// Remembers that a browser was sent to the provider.
pub fn begin_attempt(tx: &Tx<'_>, hash: &[u8], return_to: &str) -> Result<(), Problem> {
    store::delete_attempts(tx, tx.now().minus(ATTEMPT_LIFE))?;
    store::insert_attempt(tx, hash, return_to)
}

/// Uses an attempt up; answers where to go on, unless it is too old or used already.
pub fn take_attempt(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<String>, Problem> {
    let found = store::take_attempt(tx, hash)?;
    Ok(found.and_then(|(return_to, began_at)| (tx.now() < began_at.plus(ATTEMPT_LIFE)).then_some(return_to)))
}

/// The account of somebody whom the provider sent, by subject, else by address, else a new one; its system roles
/// follow the groups.
pub fn settle(tx: &Tx<'_>, who: &Arrived, policy: &SignInPolicy) -> Result<Result<Account, Refusal>, Problem> {
    let by = Principal::system("sign-in");
    let account = match store::find_account(tx, &who.issuer, &who.subject)? {
        Some(id) => Ok(accounts::store::get_account(tx, &id)?),
        None => match by_address(tx, &by, who, policy)? {
            Some(found) => found,
            None => new_person(tx, &by, who, policy)?,
        },
    };
    let account = match account {
        Ok(account) => account,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if !account.active || !people::store::get_person(tx, &account.person_id)?.active {
        return Ok(Err(Refusal::NotLetIn(format!("the account {} is disabled", account.id))));
    }
    follow_groups(tx, &by, account, who, policy).map(Ok)
}

/// Somebody with this address who is here already: theirs is the account only if that is allowed.
fn by_address(
    tx: &Tx<'_>,
    by: &Principal,
    who: &Arrived,
    policy: &SignInPolicy,
) -> Result<Option<Result<Account, Refusal>>, Problem> {
    let Some(email) = &who.email else { return Ok(None) };
    let account = accounts::store::find_by_email(tx, email)?;
    let person = people::store::find_by_email(tx, email)?;
    if account.is_none() && person.is_none() {
        return Ok(None);
    }
    let refused = |why: &str| Ok(Some(Err(Refusal::NotLetIn(why.to_owned()))));
    if !policy.match_by_mail {
        return refused(
            "somebody with this address is known and not linked to the provider; allow matching by address in \
             Admin > Sign-in if the provider verifies addresses",
        );
    }
    if who.email_verified != Some(true) {
        return refused("somebody with this address is known; the provider does not say that it verified the address (email_verified)");
    }
    let account = match (account, person) {
        (Some(account), _) => account,
        (None, Some(person)) => account_of(tx, by, &person)?,
        (None, None) => return Ok(None),
    };
    if store::is_linked(tx, &account.id, &who.issuer)? {
        return refused("the account with this address belongs to another subject of the provider already");
    }
    if account.active {
        link(tx, by, who, &account, "address")?;
    }
    Ok(Some(Ok(account)))
}

fn account_of(tx: &Tx<'_>, by: &Principal, person: &Person) -> Result<Account, Problem> {
    if let Some(account) = accounts::store::find_by_person(tx, &person.id)? {
        return Ok(account);
    }
    let id = accounts::ops::create_account(tx, by, &person.id, &person.email, None, &[])?;
    accounts::store::get_account(tx, &id)
}

/// Somebody who was never here.
fn new_person(
    tx: &Tx<'_>,
    by: &Principal,
    who: &Arrived,
    policy: &SignInPolicy,
) -> Result<Result<Account, Refusal>, Problem> {
    let refused = |why: String| Ok(Err(Refusal::NotLetIn(why)));
    if !policy.create_people {
        return refused("nobody here has this subject, and Admin > Sign-in lets the provider bring no new people".to_owned());
    }
    let Some(email) = who.email.clone() else {
        return refused("the provider tells no address (email), and a person here needs one; see the scopes of the client".to_owned());
    };
    if who.email_verified == Some(false) {
        return refused("the provider says that the address is not verified".to_owned());
    }
    let local = email.split('@').next().unwrap_or_default();
    let display_name = who.name.clone().unwrap_or_else(|| local.to_owned());
    let new = NewPerson { display_name, email, manager_id: None, attributes: json!({}) };
    if let Some(fault) = new.faults().first() {
        return refused(format!("what the provider tells makes no person: {} {}", fault.field, fault.message));
    }
    let person = people::ops::create_person(tx, by, new)?;
    let account = account_of(tx, by, &person)?;
    link(tx, by, who, &account, "new")?;
    Ok(Ok(account))
}

fn link(tx: &Tx<'_>, by: &Principal, who: &Arrived, account: &Account, how: &str) -> Result<(), Problem> {
    store::insert_identity(tx, &who.issuer, &who.subject, &account.id)?;
    let new = json!({ "issuer": who.issuer, "subject": who.subject, "matchedBy": how });
    record(tx, by, "account.linked", account, None, new)
}

fn follow_groups(
    tx: &Tx<'_>,
    by: &Principal,
    account: Account,
    who: &Arrived,
    policy: &SignInPolicy,
) -> Result<Account, Problem> {
    let mut wanted = mapped(&policy.role_mapping, &who.groups, &account.roles);
    let last = || Ok::<_, Problem>(accounts::store::people_with_role(tx, SystemRole::Admin)?.len() <= 1);
    if account.roles.contains(&SystemRole::Admin) && !wanted.contains(&SystemRole::Admin) && last()? {
        tracing::warn!(account = %account.id, "the provider's groups would take the last administrator away; the role stays");
        wanted.push(SystemRole::Admin);
        wanted.sort();
    }
    let mut before = account.roles.clone();
    before.sort();
    if wanted == before {
        return Ok(account);
    }
    accounts::store::set_roles(tx, &account.id, &wanted)?;
    let prev = json!({ "roles": before });
    record(tx, by, "account.roles_changed", &account, Some(prev), json!({ "roles": wanted, "groups": who.groups }))?;
    accounts::store::get_account(tx, &account.id)
}

fn record(
    tx: &Tx<'_>,
    by: &Principal,
    action: &'static str,
    account: &Account,
    prev: Option<serde_json::Value>,
    new: serde_json::Value,
) -> Result<(), Problem> {
    let entity_id = account.id.to_string();
    audit::append(tx, by, Entry { action, entity: "account", entity_id, reason: None, prev, new: Some(new) })
}
