//! Creating and changing connectors; every change is audited without its secrets.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Connector, ConnectorChange, Kind, NewConnector, Target, drivers, hooks, store};
use crate::base::access::Principal;
use crate::base::id::{ConnectorId, TypedId};
use crate::base::page::PageRequest;
use crate::base::problem::{FieldError, Problem};
use crate::features::audit::{self, Entry};
use crate::platform::secrets::{Place, SecretBox};
use crate::platform::store::{Tx, is_unique_violation};

const MAX_NAME: usize = 100;
const MAX_SECRET: usize = 8 * 1024;
/// Shorter ones can be guessed by whoever has seen a hook.
const MIN_HOOK_SECRET: usize = 24;
const MAX_CONFIG: usize = 32 * 1024;

/// Connects a system.
pub fn create_connector(
    tx: &Tx<'_>,
    by: &Principal,
    new: NewConnector,
    secrets: &SecretBox,
) -> Result<Connector, Problem> {
    let mut faults = check(&new.name, new.kind, &new.config);
    faults.extend(new.policy.faults());
    faults.extend(check_secrets(new.kind, new.secrets.iter().map(|(n, s)| (n, Some(s)))));
    Problem::from_fields(faults)?;
    let connector = Connector {
        id: tx.new_id(),
        name: new.name.trim().to_owned(),
        kind: new.kind,
        config: new.config,
        policy: new.policy,
        mock: new.mock,
        secrets_set: Vec::new(),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let id = connector.id.clone();
    store::insert_connector(tx, &connector).map_err(|e| name_taken(e, &connector.name))?;
    for (secret_name, secret) in &new.secrets {
        put_secret(tx, &id, secret_name, secret.as_bytes(), secrets)?;
    }
    let connector = store::get_connector(tx, &id)?;
    audit::append(tx, by, Entry {
        action: "connector.created",
        entity: "connector",
        entity_id: id.to_string(),
        reason: None,
        prev: None,
        new: Some(state(&connector, new.secrets.keys())),
    })?;
    Ok(connector)
}

/// Changes name, settings or secrets of a connector.
///
/// A secret is bound to where it is sent: whoever points a connector at another host enters its
/// secrets again, so that nobody can have a secret that they cannot read sent to a host of theirs.
pub fn update_connector(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ConnectorId,
    change: ConnectorChange,
    secrets: &SecretBox,
) -> Result<Connector, Problem> {
    let before = store::get_connector(tx, id)?;
    let name = change.name.as_deref().unwrap_or(&before.name).trim();
    let config = change.config.as_ref().unwrap_or(&before.config);
    let wanted = Connector {
        name: name.to_owned(),
        config: config.clone(),
        policy: change.policy.clone().unwrap_or_else(|| before.policy.clone()),
        mock: change.mock.unwrap_or(before.mock),
        ..before.clone()
    };
    let mut faults = check(name, before.kind, config);
    faults.extend(wanted.policy.faults());
    faults.extend(check_secrets(before.kind, change.secrets.iter().map(|(n, s)| (n, s.as_ref()))));
    if drivers::destination(before.kind, config) != drivers::destination(before.kind, &before.config) {
        // What hooks are signed with is sent nowhere.
        let sent = before.secrets_set.iter().filter(|s| *s != hooks::SECRET);
        faults.extend(sent.filter(|s| !change.secrets.contains_key(*s)).map(|s| FieldError {
            field: format!("secrets.{s}"),
            message: "the connector now points somewhere else; enter this secret again, or null to remove it".to_owned(),
        }));
    }
    Problem::from_fields(faults)?;
    store::update_connector(tx, &wanted).map_err(|e| name_taken(e, name))?;
    for (secret_name, secret) in &change.secrets {
        match secret {
            Some(secret) => put_secret(tx, id, secret_name, secret.as_bytes(), secrets)?,
            None => store::delete_secret(tx, id, secret_name)?,
        }
    }
    let after = store::get_connector(tx, id)?;
    audit::append(tx, by, Entry {
        action: "connector.changed",
        entity: "connector",
        entity_id: id.to_string(),
        reason: None,
        prev: Some(state(&before, [].into_iter())),
        new: Some(state(&after, change.secrets.keys())),
    })?;
    Ok(after)
}

/// Records that somebody ran a command by hand; parameters may be personal and stay out of the leaf
/// by the log's own commitments.
pub fn record_call(
    tx: &Tx<'_>,
    by: &Principal,
    id: &ConnectorId,
    command: &str,
    params: &Value,
    outcome: &str,
) -> Result<(), Problem> {
    audit::append(tx, by, Entry {
        action: "connector.executed",
        entity: "connector",
        entity_id: id.to_string(),
        reason: None,
        prev: None,
        new: Some(json!({ "command": command, "params": params, "outcome": outcome })),
    })
}

/// What a driver needs to call: the settings with the secrets opened.
pub(super) fn target(tx: &Tx<'_>, id: &ConnectorId, secrets: &SecretBox) -> Result<(Kind, Target), Problem> {
    let connector = store::get_connector(tx, id)?;
    let mut opened = BTreeMap::new();
    for (name, sealed) in store::list_secrets(tx, id)? {
        let plain = secrets.open(place(id, &name), &sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| Problem::internal("a connector secret is not text"))?;
        opened.insert(name, Zeroizing::new(text.to_owned()));
    }
    // It is sent to nobody, so no driver needs it.
    opened.remove(hooks::SECRET);
    let target = Target {
        id: connector.id,
        name: connector.name,
        config: connector.config,
        policy: connector.policy,
        mock: connector.mock,
        secrets: opened,
    };
    Ok((connector.kind, target))
}

/// One secret of a connector, when it is set.
pub(super) fn open_secret(
    tx: &Tx<'_>,
    id: &ConnectorId,
    name: &str,
    secrets: &SecretBox,
) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
    let found = store::list_secrets(tx, id)?.into_iter().find(|(n, _)| n == name);
    found.map(|(name, sealed)| secrets.open(place(id, &name), &sealed)).transpose()
}

/// The names of the connectors with a secret that does not open, by name.
pub(super) fn list_locked(tx: &Tx<'_>, secrets: &SecretBox) -> Result<Vec<String>, Problem> {
    let mut locked = Vec::new();
    let mut page = PageRequest::default();
    loop {
        let connectors = store::list_connectors(tx, &page)?;
        for connector in connectors.items {
            let sealed = store::list_secrets(tx, &connector.id)?;
            if sealed.iter().any(|(name, bytes)| secrets.open(place(&connector.id, name), bytes).is_err()) {
                locked.push(connector.name);
            }
        }
        match connectors.next_cursor {
            Some(next) => page.cursor = Some(next),
            None => return Ok(locked),
        }
    }
}

/// Seals a secret and stores it.
pub(super) fn put_secret(
    tx: &Tx<'_>,
    id: &ConnectorId,
    name: &str,
    secret: &[u8],
    secrets: &SecretBox,
) -> Result<(), Problem> {
    let mut nonce = [0_u8; 12];
    // An id source promises 80 random bits a draw, in the low end; the nonce takes 48 of each.
    nonce[..6].copy_from_slice(&tx.random().to_be_bytes()[10..]);
    nonce[6..].copy_from_slice(&tx.random().to_be_bytes()[10..]);
    let sealed = secrets.seal(place(id, name), secret, nonce)?;
    store::put_secret(tx, id, name, &sealed)
}

/// Where a secret is kept.
pub(super) fn place<'a>(id: &'a ConnectorId, name: &'a str) -> Place<'a> {
    Place { table: "connector_secret", row: id.as_str(), column: name }
}

fn state<'a>(connector: &Connector, changed: impl Iterator<Item = &'a String>) -> Value {
    json!({
        "name": connector.name,
        "kind": connector.kind,
        "config": connector.config,
        "policy": connector.policy,
        "mock": connector.mock,
        "secretsSet": connector.secrets_set,
        "secretsChanged": changed.collect::<Vec<_>>(),
    })
}

fn check(name: &str, kind: Kind, config: &Value) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let length = name.trim().chars().count();
    if length == 0 || length > MAX_NAME {
        let message = format!("got {length} characters; expected 1 to {MAX_NAME}");
        faults.push(FieldError { field: "name".to_owned(), message });
    }
    if config.to_string().len() > MAX_CONFIG {
        let message = format!("expected at most {MAX_CONFIG} bytes");
        faults.push(FieldError { field: "config".to_owned(), message });
    } else {
        faults.extend(drivers::check_config(kind, config));
    }
    faults
}

fn check_secrets<'a>(kind: Kind, secrets: impl Iterator<Item = (&'a String, Option<&'a String>)>) -> Vec<FieldError> {
    let known = [drivers::secret_names(kind), &[hooks::SECRET]].concat();
    let mut faults = Vec::new();
    for (name, secret) in secrets {
        let message = if !known.contains(&name.as_str()) {
            format!("no such secret; a connector of kind {} has {}", kind.as_str(), known.join(", "))
        } else if name == hooks::SECRET && secret.is_some_and(|s| s.len() < MIN_HOOK_SECRET) {
            format!("expected at least {MIN_HOOK_SECRET} random characters")
        } else if secret.is_some_and(|s| s.is_empty() || s.len() > MAX_SECRET) {
            format!("expected 1 to {MAX_SECRET} bytes")
        } else {
            continue;
        };
        faults.push(FieldError { field: format!("secrets.{name}"), message });
    }
    faults
}

fn name_taken(problem: Problem, name: &str) -> Problem {
    if is_unique_violation(&problem) {
        return Problem::Conflict(format!("There is a connector named \"{name}\" already. Choose another name."));
    }
    problem
}
