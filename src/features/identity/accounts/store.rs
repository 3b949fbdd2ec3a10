//! SQL of accounts and API tokens.

use super::Account;
use crate::base::access::{Permission, SystemRole};
use crate::base::id::{AccountId, PersonId, TokenId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Tx, Value};

fn find(tx: &Tx<'_>, column: &str, value: Value) -> Result<Option<Account>, Problem> {
    let sql = format!(
        "SELECT id, person_id, email, active, epoch,
                EXISTS (SELECT 1 FROM second_factor f WHERE f.account_id = account.id AND f.confirmed_at IS NOT NULL) AS second_factor
         FROM account WHERE {column} = ?1"
    );
    let found = tx.query_opt(&sql, &[value], |r| {
        Ok(Account {
            id: r.get("id")?,
            person_id: r.get("person_id")?,
            email: r.get("email")?,
            active: r.get("active")?,
            epoch: r.get("epoch")?,
            roles: Vec::new(),
            second_factor: r.get("second_factor")?,
        })
    })?;
    let Some(mut account) = found else { return Ok(None) };
    account.roles = roles(tx, &account.id)?;
    Ok(Some(account))
}

fn roles(tx: &Tx<'_>, id: &AccountId) -> Result<Vec<SystemRole>, Problem> {
    let names: Vec<String> =
        tx.query("SELECT role FROM account_role WHERE account_id = ?1 ORDER BY role", params![id], |r| r.get("role"))?;
    Ok(names.iter().filter_map(|n| SystemRole::parse(n)).collect())
}

/// The account with this id.
pub fn find_account(tx: &Tx<'_>, id: &AccountId) -> Result<Option<Account>, Problem> {
    find(tx, "id", Value::Text(id.to_string()))
}

/// The account that signs in with this address.
pub fn find_by_email(tx: &Tx<'_>, email: &str) -> Result<Option<Account>, Problem> {
    find(tx, "email", Value::Text(email.to_owned()))
}

/// The account of this person.
pub fn find_by_person(tx: &Tx<'_>, person: &PersonId) -> Result<Option<Account>, Problem> {
    find(tx, "person_id", Value::Text(person.to_string()))
}

/// The stored hash, when the account may sign in with a password.
pub fn password_hash(tx: &Tx<'_>, id: &AccountId) -> Result<Option<String>, Problem> {
    Ok(tx.query_opt("SELECT password_hash FROM account WHERE id = ?1", params![id], |r| r.get("password_hash"))?.flatten())
}

/// Whether anybody can sign in at all.
pub fn any_account(tx: &Tx<'_>) -> Result<bool, Problem> {
    tx.scalar("SELECT EXISTS (SELECT 1 FROM account)", params![])
}

/// The account with this id, or an error that says there is none.
pub fn get_account(tx: &Tx<'_>, id: &AccountId) -> Result<Account, Problem> {
    find_account(tx, id)?.ok_or_else(|| Problem::missing("account", id))
}

/// Up to `limit` accounts by address, those behind the address `after`.
pub fn list_accounts(tx: &Tx<'_>, after: Option<&str>, limit: u32) -> Result<Vec<Account>, Problem> {
    let ids: Vec<AccountId> = tx.query(
        "SELECT id FROM account WHERE ?1 IS NULL OR email > ?1 ORDER BY email LIMIT ?2",
        params![after, limit],
        |r| r.get("id"),
    )?;
    let mut accounts = Vec::with_capacity(ids.len());
    for id in ids {
        accounts.extend(find_account(tx, &id)?);
    }
    Ok(accounts)
}

/// Active people whose account has this system role, by id.
pub fn people_with_role(tx: &Tx<'_>, role: SystemRole) -> Result<Vec<PersonId>, Problem> {
    tx.query(
        "SELECT p.id FROM account_role r
         JOIN account a ON a.id = r.account_id AND a.active = 1
         JOIN person p ON p.id = a.person_id AND p.active = 1
         WHERE r.role = ?1 ORDER BY p.id",
        params![role.as_str()],
        |r| r.get("id"),
    )
}

/// Those of these people who are active and whose account is, with one of these system roles, by id.
///
/// One query, whoever they are:
/// ```text
/// SCAN wanted VIRTUAL TABLE INDEX 1:
/// SEARCH a USING INDEX sqlite_autoindex_account_2 (person_id=?)
/// SEARCH p USING INDEX sqlite_autoindex_person_1 (id=?)
/// SEARCH r EXISTS USING PRIMARY KEY (account_id=? AND role=?)
/// ```
pub fn list_able(tx: &Tx<'_>, people: &[PersonId], roles: &[SystemRole]) -> Result<Vec<PersonId>, Problem> {
    let roles: Vec<&str> = roles.iter().map(|r| r.as_str()).collect();
    tx.query(LIST_ABLE, params![Json(people), Json(&roles)], |r| r.get("id"))
}

/// The SQL of [`list_able`].
pub(crate) const LIST_ABLE: &str = "SELECT p.id FROM json_each(?1) wanted
     CROSS JOIN account a ON a.person_id = wanted.value AND a.active = 1
     CROSS JOIN person p ON p.id = a.person_id AND p.active = 1
     WHERE EXISTS (SELECT 1 FROM account_role r
                   WHERE r.account_id = a.id AND r.role IN (SELECT value FROM json_each(?2)))
     ORDER BY p.id";

/// Stores a new account with its roles.
pub fn insert_account(tx: &Tx<'_>, account: &Account, hash: Option<&str>) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO account (id, person_id, email, password_hash, active, epoch, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![account.id, account.person_id, account.email, hash, account.active, account.epoch, tx.now()],
    )?;
    for role in &account.roles {
        tx.execute("INSERT INTO account_role (account_id, role) VALUES (?1, ?2)", params![account.id, role.as_str()])?;
    }
    Ok(())
}

/// Switches an account off or on; its sessions end.
pub fn set_active(tx: &Tx<'_>, id: &AccountId, active: bool) -> Result<(), Problem> {
    tx.execute("UPDATE account SET active = ?2, epoch = epoch + 1 WHERE id = ?1", params![id, active])?;
    Ok(())
}

/// Ends the sessions of an account.
pub fn end_sessions(tx: &Tx<'_>, id: &AccountId) -> Result<(), Problem> {
    tx.execute("UPDATE account SET epoch = epoch + 1 WHERE id = ?1", params![id])?;
    Ok(())
}

/// Stores which system roles an account has.
pub fn set_roles(tx: &Tx<'_>, id: &AccountId, roles: &[SystemRole]) -> Result<(), Problem> {
    tx.execute("DELETE FROM account_role WHERE account_id = ?1", params![id])?;
    for role in roles {
        tx.execute("INSERT INTO account_role (account_id, role) VALUES (?1, ?2)", params![id, role.as_str()])?;
    }
    Ok(())
}

/// The tokens of an account that can be used, oldest first.
pub fn list_usable_tokens(tx: &Tx<'_>, id: &AccountId) -> Result<Vec<TokenId>, Problem> {
    tx.query(
        "SELECT id FROM api_token WHERE account_id = ?1 AND revoked_at IS NULL AND expires_at > ?2 ORDER BY id",
        params![id, tx.now()],
        |r| r.get("id"),
    )
}

/// Stores another password; the account's sessions end.
pub fn set_password(tx: &Tx<'_>, id: &AccountId, hash: &str) -> Result<(), Problem> {
    tx.execute("UPDATE account SET password_hash = ?2, epoch = epoch + 1 WHERE id = ?1", params![id, hash])?;
    Ok(())
}

/// A stored API token.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The id.
    pub id: TokenId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// The subset of permissions it is limited to.
    pub scope: Option<Vec<String>>,
    /// Whether it may decide approvals.
    pub may_decide: bool,
    /// Who made it, if it was not its owner.
    pub made_by: Option<PersonId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl StoredToken {
    /// The scope as permissions; names that are no longer known allow nothing.
    pub fn permissions(&self) -> Option<Vec<Permission>> {
        self.scope.as_ref().map(|names| names.iter().filter_map(|n| Permission::parse(n)).collect())
    }
}

fn tokens(tx: &Tx<'_>, filter: &str, value: Value) -> Result<Vec<StoredToken>, Problem> {
    let sql = format!(
        "SELECT id, account_id, name, scope, may_decide, made_by, created_at, expires_at, last_used_at, revoked_at
         FROM api_token WHERE {filter} = ?1 ORDER BY id"
    );
    tx.query(&sql, &[value], |r| {
        Ok(StoredToken {
            id: r.get("id")?,
            account_id: r.get("account_id")?,
            name: r.get("name")?,
            scope: r.get::<Option<Json<Vec<String>>>>("scope")?.map(|j| j.0),
            may_decide: r.get("may_decide")?,
            made_by: r.get("made_by")?,
            created_at: r.get("created_at")?,
            expires_at: r.get("expires_at")?,
            last_used_at: r.get("last_used_at")?,
            revoked_at: r.get("revoked_at")?,
        })
    })
}

/// The token with this hash.
pub fn find_token(tx: &Tx<'_>, hash: &[u8]) -> Result<Option<StoredToken>, Problem> {
    Ok(tokens(tx, "hash", Value::Blob(hash.to_vec()))?.pop())
}

/// The token with this id.
pub fn find_token_by_id(tx: &Tx<'_>, id: &TokenId) -> Result<Option<StoredToken>, Problem> {
    Ok(tokens(tx, "id", Value::Text(id.to_string()))?.pop())
}

/// The tokens of an account.
pub fn list_tokens(tx: &Tx<'_>, account: &AccountId) -> Result<Vec<StoredToken>, Problem> {
    tokens(tx, "account_id", Value::Text(account.to_string()))
}

/// Stores a new token under its hash.
pub fn insert_token(tx: &Tx<'_>, token: &StoredToken, hash: &[u8]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO api_token (id, account_id, name, hash, scope, may_decide, created_at, expires_at, made_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            token.id,
            token.account_id,
            token.name,
            hash,
            token.scope.clone().map(Json),
            token.may_decide,
            token.created_at,
            token.expires_at,
            token.made_by
        ],
    )?;
    Ok(())
}

/// Ends a token.
pub fn revoke_token(tx: &Tx<'_>, id: &TokenId) -> Result<(), Problem> {
    tx.execute("UPDATE api_token SET revoked_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}

/// Remembers that a token was used.
pub fn touch_token(tx: &Tx<'_>, id: &TokenId) -> Result<(), Problem> {
    tx.execute("UPDATE api_token SET last_used_at = ?2 WHERE id = ?1", params![id, tx.now()])?;
    Ok(())
}
