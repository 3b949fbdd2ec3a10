//! SQL of connectors and of the directory inside Tenure.

use serde_json::Value;

use super::{Connector, Found, Kind, Policy};
use crate::base::id::{ConnectorId, PersonId, TypedId};
use crate::base::page::{Page, PageRequest};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::params;
use crate::platform::store::{Json, Row, Tx};

const COLUMNS: &str = "SELECT c.id, c.name, c.kind, c.config, c.created_at, c.updated_at, c.policy, c.mock, \
     (SELECT coalesce(json_group_array(s.name ORDER BY s.name), '[]') \
        FROM connector_secret s WHERE s.connector_id = c.id) AS secrets_set FROM connector c ";

fn connector(row: &Row<'_>) -> Result<Connector, Problem> {
    let kind: String = row.get("kind")?;
    Ok(Connector {
        id: row.get("id")?,
        name: row.get("name")?,
        kind: Kind::parse(&kind).ok_or_else(|| Problem::internal(format!("connector kind {kind}")))?,
        config: row.get::<Json<Value>>("config")?.0,
        policy: row.get::<Json<Policy>>("policy")?.0,
        mock: row.get("mock")?,
        secrets_set: row.get::<Json<Vec<String>>>("secrets_set")?.0,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

/// The connector with this id.
pub fn find_connector(tx: &Tx<'_>, id: &ConnectorId) -> Result<Option<Connector>, Problem> {
    tx.query_opt(&format!("{COLUMNS} WHERE c.id = ?1"), params![id], connector)
}

/// The connector with this id; none is a problem.
pub fn get_connector(tx: &Tx<'_>, id: &ConnectorId) -> Result<Connector, Problem> {
    find_connector(tx, id)?.ok_or_else(|| Problem::missing("connector", id))
}

/// The connector with this name.
pub fn find_by_name(tx: &Tx<'_>, name: &str) -> Result<Option<Connector>, Problem> {
    tx.query_opt(&format!("{COLUMNS} WHERE c.name = ?1"), params![name], connector)
}

/// The connector with this id or name.
pub fn find_by_id_or_name(tx: &Tx<'_>, text: &str) -> Result<Option<Connector>, Problem> {
    match text.parse::<ConnectorId>() {
        Ok(id) => find_connector(tx, &id),
        Err(_) => find_by_name(tx, text),
    }
}

/// A page of connectors by name.
pub fn list_connectors(tx: &Tx<'_>, page: &PageRequest) -> Result<Page<Connector>, Problem> {
    let limit = page.limit()?;
    let rows = tx.query(
        &format!("{COLUMNS} WHERE ?1 IS NULL OR c.name > ?1 ORDER BY c.name LIMIT ?2"),
        params![page.cursor, limit + 1],
        connector,
    )?;
    Ok(Page::cut(rows, limit, |c| c.name.clone()))
}

/// Every connector of a kind, by name.
pub(super) fn list_of_kind(tx: &Tx<'_>, kind: Kind) -> Result<Vec<Connector>, Problem> {
    tx.query(&format!("{COLUMNS} WHERE c.kind = ?1 ORDER BY c.name"), params![kind.as_str()], connector)
}

/// Stores a new connector.
pub(super) fn insert_connector(tx: &Tx<'_>, c: &Connector) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO connector (id, name, kind, config, policy, mock, created_at, updated_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        params![c.id, c.name, c.kind.as_str(), Json(&c.config), Json(&c.policy), c.mock, tx.now()],
    )
    .map(drop)
}

/// Stores what may change of a connector.
pub(super) fn update_connector(tx: &Tx<'_>, c: &Connector) -> Result<(), Problem> {
    tx.execute(
        "UPDATE connector SET name = ?2, config = ?3, policy = ?4, mock = ?5, updated_at = ?6 WHERE id = ?1",
        params![c.id, c.name, Json(&c.config), Json(&c.policy), c.mock, tx.now()],
    )
    .map(drop)
}

pub(super) fn put_secret(tx: &Tx<'_>, id: &ConnectorId, name: &str, sealed: &[u8]) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO connector_secret (connector_id, name, sealed, changed_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (connector_id, name) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        params![id, name, sealed, tx.now()],
    )
    .map(drop)
}

pub(super) fn delete_secret(tx: &Tx<'_>, id: &ConnectorId, name: &str) -> Result<(), Problem> {
    tx.execute("DELETE FROM connector_secret WHERE connector_id = ?1 AND name = ?2", params![id, name]).map(drop)
}

/// The sealed secrets of a connector, by name.
pub(super) fn list_secrets(tx: &Tx<'_>, id: &ConnectorId) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    tx.query(
        "SELECT name, sealed FROM connector_secret WHERE connector_id = ?1 ORDER BY name",
        params![id],
        |row| Ok((row.get("name")?, row.get("sealed")?)),
    )
}

/// Sealed secrets after `after`, of all connectors: by connector and name.
pub(super) fn list_all_secrets(
    tx: &Tx<'_>,
    after: &(String, String),
    limit: u32,
) -> Result<Vec<(ConnectorId, String, Vec<u8>)>, Problem> {
    tx.query(
        "SELECT connector_id, name, sealed FROM connector_secret WHERE (connector_id, name) > (?1, ?2)
         ORDER BY connector_id, name LIMIT ?3",
        params![after.0, after.1, limit],
        |row| Ok((row.get("connector_id")?, row.get("name")?, row.get("sealed")?)),
    )
}

/// Remembers a hook; false when it came before.
pub(super) fn insert_hook(tx: &Tx<'_>, id: &ConnectorId, signature: &[u8]) -> Result<bool, Problem> {
    let n = tx.execute(
        "INSERT INTO hook_seen (connector_id, signature, at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![id, signature, tx.now()],
    )?;
    Ok(n > 0)
}

/// Forgets hooks that came before an instant; a thousand at most, so that no hook waits for many.
pub(super) fn delete_hooks_before(tx: &Tx<'_>, id: &ConnectorId, before: Timestamp) -> Result<usize, Problem> {
    tx.execute(
        "DELETE FROM hook_seen WHERE connector_id = ?1 AND signature IN
             (SELECT signature FROM hook_seen WHERE connector_id = ?1 AND at < ?2 ORDER BY at LIMIT 1000)",
        params![id, before],
    )
}

/// A remembered change of the directory.
#[derive(Debug)]
pub(super) struct DirectoryCall {
    pub(super) command: String,
    pub(super) params: Value,
    pub(super) output: Value,
}

pub(super) fn find_directory_call(tx: &Tx<'_>, id: &ConnectorId, key: &str) -> Result<Option<DirectoryCall>, Problem> {
    tx.query_opt(
        "SELECT command, params, output FROM directory_call WHERE connector_id = ?1 AND call_key = ?2",
        params![id, key],
        |row| {
            Ok(DirectoryCall {
                command: row.get("command")?,
                params: row.get::<Json<Value>>("params")?.0,
                output: row.get::<Json<Value>>("output")?.0,
            })
        },
    )
}

pub(super) fn insert_directory_call(tx: &Tx<'_>, id: &ConnectorId, key: &str, call: &DirectoryCall) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO directory_call (connector_id, call_key, command, params, output, at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, key, call.command, Json(&call.params), Json(&call.output), tx.now()],
    )
    .map(drop)
}

pub(super) fn has_account(tx: &Tx<'_>, id: &ConnectorId, account: &str) -> Result<bool, Problem> {
    exists(tx, "SELECT 1 FROM directory_account WHERE connector_id = ?1 AND name = ?2", &[id.as_str(), account])
}

/// False when it was there already; its attributes are then the new ones.
pub(super) fn put_account(tx: &Tx<'_>, id: &ConnectorId, account: &str, attributes: &Value) -> Result<bool, Problem> {
    let existed = has_account(tx, id, account)?;
    tx.execute(
        "INSERT INTO directory_account (connector_id, name, attributes, created_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (connector_id, name) DO UPDATE SET attributes = excluded.attributes",
        params![id, account, Json(attributes), tx.now()],
    )?;
    Ok(!existed)
}

/// Its memberships go with it.
pub(super) fn delete_account(tx: &Tx<'_>, id: &ConnectorId, account: &str) -> Result<bool, Problem> {
    let n = tx.execute("DELETE FROM directory_account WHERE connector_id = ?1 AND name = ?2", params![id, account])?;
    Ok(n > 0)
}

pub(super) fn has_group(tx: &Tx<'_>, id: &ConnectorId, group: &str) -> Result<bool, Problem> {
    exists(tx, "SELECT 1 FROM directory_group WHERE connector_id = ?1 AND name = ?2", &[id.as_str(), group])
}

pub(super) fn put_group(tx: &Tx<'_>, id: &ConnectorId, group: &str) -> Result<bool, Problem> {
    let n = tx.execute(
        "INSERT INTO directory_group (connector_id, name, created_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![id, group, tx.now()],
    )?;
    Ok(n > 0)
}

/// Its memberships go with it.
pub(super) fn delete_group(tx: &Tx<'_>, id: &ConnectorId, group: &str) -> Result<bool, Problem> {
    let n = tx.execute("DELETE FROM directory_group WHERE connector_id = ?1 AND name = ?2", params![id, group])?;
    Ok(n > 0)
}

pub(super) fn has_member(tx: &Tx<'_>, id: &ConnectorId, group: &str, account: &str) -> Result<bool, Problem> {
    exists(
        tx,
        "SELECT 1 FROM directory_member WHERE connector_id = ?1 AND group_name = ?2 AND account_name = ?3",
        &[id.as_str(), group, account],
    )
}

pub(super) fn put_member(tx: &Tx<'_>, id: &ConnectorId, group: &str, account: &str) -> Result<bool, Problem> {
    let n = tx.execute(
        "INSERT INTO directory_member (connector_id, group_name, account_name, added_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT DO NOTHING",
        params![id, group, account, tx.now()],
    )?;
    Ok(n > 0)
}

pub(super) fn delete_member(tx: &Tx<'_>, id: &ConnectorId, group: &str, account: &str) -> Result<bool, Problem> {
    let n = tx.execute(
        "DELETE FROM directory_member WHERE connector_id = ?1 AND group_name = ?2 AND account_name = ?3",
        params![id, group, account],
    )?;
    Ok(n > 0)
}

/// Accounts of the directory after `after` by name.
pub(super) fn list_accounts(tx: &Tx<'_>, id: &ConnectorId, after: &str, limit: u32) -> Result<Vec<Found>, Problem> {
    tx.query(
        "SELECT name, attributes FROM directory_account WHERE connector_id = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
        params![id, after, limit],
        found,
    )
}

/// Accounts in a group of the directory after `after` by name.
pub(super) fn list_members(
    tx: &Tx<'_>,
    id: &ConnectorId,
    group: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Found>, Problem> {
    tx.query(
        "SELECT a.name, a.attributes FROM directory_member m
         JOIN directory_account a ON a.connector_id = m.connector_id AND a.name = m.account_name
         WHERE m.connector_id = ?1 AND m.group_name = ?2 AND m.account_name > ?3 ORDER BY m.account_name LIMIT ?4",
        params![id, group, after, limit],
        found,
    )
}

fn found(row: &Row<'_>) -> Result<Found, Problem> {
    Ok(Found { key: row.get("name")?, attributes: row.get::<Json<Value>>("attributes")?.0 })
}

fn exists(tx: &Tx<'_>, sql: &str, args: &[&str]) -> Result<bool, Problem> {
    let args: Vec<_> = args.iter().map(crate::platform::store::ToValue::to_value).collect();
    tx.query_opt(sql, &args, |_| Ok(())).map(|found| found.is_some())
}

/// Whose account this is in a connected system.
pub fn find_link_owner(tx: &Tx<'_>, connector: &ConnectorId, external_id: &str) -> Result<Option<PersonId>, Problem> {
    tx.query_opt(
        "SELECT person_id FROM identity_link WHERE connector_id = ?1 AND external_id = ?2",
        params![connector, external_id],
        |r| r.get("person_id"),
    )
}

/// What a connected system calls a person.
pub fn find_link(tx: &Tx<'_>, person: &PersonId, connector: &ConnectorId) -> Result<Option<String>, Problem> {
    tx.query_opt(
        "SELECT external_id FROM identity_link WHERE person_id = ?1 AND connector_id = ?2",
        params![person, connector],
        |r| r.get("external_id"),
    )
}

/// Stores what a connected system calls a person.
pub(super) fn set_link(
    tx: &Tx<'_>,
    person: &PersonId,
    connector: &ConnectorId,
    external_id: &str,
) -> Result<(), Problem> {
    tx.execute(
        "INSERT INTO identity_link (person_id, connector_id, external_id, linked_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (person_id, connector_id) DO UPDATE SET external_id = ?3, linked_at = ?4",
        params![person, connector, external_id, tx.now()],
    )
    .map(drop)
}

/// What connected systems call a person, by the names of the connectors.
pub fn list_links(tx: &Tx<'_>, person: &PersonId) -> Result<Vec<(String, String)>, Problem> {
    tx.query(
        "SELECT c.name, l.external_id FROM identity_link l JOIN connector c ON c.id = l.connector_id
         WHERE l.person_id = ?1",
        params![person],
        |r| Ok((r.get("name")?, r.get("external_id")?)),
    )
}
