//! The small directory inside Tenure: accounts, groups, members.
//!
//! # Invariants
//! - A command is one transaction; a change and the memory of its answer commit together.
//! - A repeated key answers what the first call answered and changes nothing, even if the directory
//!   has changed since: a call that comes late does not bring back what was taken away.
//! - A key that comes back with another command or other parameters is refused.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, Found, ListFuture, ListPage, ListRequest, ParamSpec, Target,
    store, text_param,
};
use super::{command, listing, read_config};
use crate::base::id::ConnectorId;
use crate::base::problem::{FieldError, Problem};
use crate::platform::store::{Store, Tx};

const ACCOUNT: ParamSpec =
    ParamSpec { name: "account", kind: "string", required: true, description: "the name of an account" };
const GROUP: ParamSpec =
    ParamSpec { name: "group", kind: "string", required: true, description: "the name of a group" };
const ATTRIBUTES: ParamSpec =
    ParamSpec { name: "attributes", kind: "object", required: false, description: "what is known of the account" };

/// What the directory understands.
pub const COMMANDS: &[CommandSpec] = &[
    command("create_account", true, "Creates an account, or sets its attributes.", &[ACCOUNT, ATTRIBUTES]),
    command("delete_account", true, "Deletes an account and its memberships.", &[ACCOUNT]),
    command("has_account", false, "Whether there is such an account.", &[ACCOUNT]),
    command("create_group", true, "Creates a group.", &[GROUP]),
    command("delete_group", true, "Deletes a group and its memberships.", &[GROUP]),
    command("has_group", false, "Whether there is such a group.", &[GROUP]),
    command("add_member", true, "Puts an account into a group.", &[ACCOUNT, GROUP]),
    command("remove_member", true, "Takes an account out of a group.", &[ACCOUNT, GROUP]),
    command("has_member", false, "Whether an account is in a group.", &[ACCOUNT, GROUP]),
    listing("list_accounts", "The accounts, by name.", &[]),
    listing("list_members", "The accounts in a group, by name.", &[GROUP]),
];

const MAX_NAME: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// Whether `add_member` creates the account and the group that it names.
    #[serde(default = "yes")]
    create_missing: bool,
}

fn yes() -> bool {
    true
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    read_config::<Config>(config).err().into_iter().collect()
}

/// Drives directories inside Tenure.
pub(in super::super) struct DirectoryDriver {
    store: Store,
}

impl DirectoryDriver {
    pub(super) fn new(store: Store) -> Self {
        Self { store }
    }

    async fn run(&self, target: &Target, command: &str, params: &Value, key: &str) -> Result<CallAnswer, CallFailure> {
        let config: Config =
            read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))?;
        let call = Call {
            connector: target.id.clone(),
            command: command.to_owned(),
            params: params.clone(),
            create_missing: config.create_missing,
        };
        call.check_names()?;
        let changes = COMMANDS.iter().any(|c| c.name == command && c.changes);
        let key = key.to_owned();
        let answer = if changes {
            self.store.write_in_background(move |tx| call.change_once(tx, &key)).await
        } else {
            self.store.read(move |tx| call.look(tx)).await
        };
        // A failure decided inside the transaction travels as data, so that its code survives.
        answer?.map(|output| CallAnswer { output })
    }
}

impl DirectoryDriver {
    async fn page(&self, target: &Target, request: &ListRequest) -> Result<ListPage, CallFailure> {
        let config: Config =
            read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))?;
        let group = match request.command.as_str() {
            "list_members" => Some(text_param(&request.params, "group")?.to_owned()),
            _ => None,
        };
        let (id, after, limit) = (target.id.clone(), request.cursor.clone().unwrap_or_default(), request.limit.max(1));
        let found = self.store.read(move |tx| {
            let Some(group) = &group else { return store::list_accounts(tx, &id, &after, limit + 1).map(Ok) };
            // A group that is made by its first member has none before it.
            if !config.create_missing && !store::has_group(tx, &id, group)? {
                return Ok(Err(CallFailure::lasting("no_group", format!("there is no group \"{group}\""))));
            }
            store::list_members(tx, &id, group, &after, limit + 1).map(Ok)
        });
        let mut found: Vec<Found> = found.await??;
        if found.len() <= limit as usize {
            return Ok(ListPage::last(found));
        }
        found.truncate(limit as usize);
        let next = found.last().map(|f| f.key.clone()).unwrap_or_default();
        Ok(ListPage::more(found, next))
    }
}

impl Driver for DirectoryDriver {
    fn test<'a>(&'a self, _target: &'a Target) -> CallFuture<'a> {
        Box::pin(async { Ok(CallAnswer { output: json!({ "ok": true }) }) })
    }

    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, key: &'a str) -> CallFuture<'a> {
        Box::pin(self.run(target, command, params, key))
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(self.page(target, request))
    }
}

type Outcome = Result<Value, CallFailure>;

struct Call {
    connector: ConnectorId,
    command: String,
    params: Value,
    create_missing: bool,
}

impl Call {
    fn text(&self, name: &str) -> &str {
        self.params.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn check_names(&self) -> Result<(), CallFailure> {
        for name in ["account", "group"] {
            let Some(spec) = COMMANDS.iter().find(|c| c.name == self.command) else { continue };
            if spec.params.iter().any(|p| p.name == name) && text_param(&self.params, name)?.len() > MAX_NAME {
                return Err(CallFailure::param(name, format!("expected at most {MAX_NAME} bytes")));
            }
        }
        match self.params.get("attributes") {
            None | Some(Value::Null | Value::Object(_)) => Ok(()),
            Some(_) => Err(CallFailure::param("attributes", "expected an object")),
        }
    }

    fn look(&self, tx: &Tx<'_>) -> Result<Outcome, Problem> {
        let (account, group) = (self.text("account"), self.text("group"));
        let present = match self.command.as_str() {
            "has_account" => store::has_account(tx, &self.connector, account)?,
            "has_group" => store::has_group(tx, &self.connector, group)?,
            _ => store::has_member(tx, &self.connector, group, account)?,
        };
        Ok(Ok(json!({ "present": present })))
    }

    fn change_once(&self, tx: &Tx<'_>, key: &str) -> Result<Outcome, Problem> {
        if let Some(before) = store::find_directory_call(tx, &self.connector, key)? {
            let same = before.command == self.command && before.params == self.params;
            return Ok(if same {
                Ok(before.output)
            } else {
                Err(CallFailure::lasting(
                    "key_reused",
                    format!("this call's key was used for another call ({}); use a new key", before.command),
                ))
            });
        }
        let changed = match self.change(tx)? {
            Ok(changed) => changed,
            Err(failure) => return Ok(Err(failure)),
        };
        let output = json!({ "changed": changed });
        let call = store::DirectoryCall {
            command: self.command.clone(),
            params: self.params.clone(),
            output: output.clone(),
        };
        store::insert_directory_call(tx, &self.connector, key, &call)?;
        Ok(Ok(output))
    }

    fn change(&self, tx: &Tx<'_>) -> Result<Result<bool, CallFailure>, Problem> {
        let (id, account, group) = (&self.connector, self.text("account"), self.text("group"));
        let changed = match self.command.as_str() {
            "create_account" => {
                let attributes = self.params.get("attributes").filter(|a| a.is_object()).cloned();
                store::put_account(tx, id, account, &attributes.unwrap_or_else(|| json!({})))?
            }
            "delete_account" => store::delete_account(tx, id, account)?,
            "create_group" => store::put_group(tx, id, group)?,
            "delete_group" => store::delete_group(tx, id, group)?,
            "remove_member" => store::delete_member(tx, id, group, account)?,
            "add_member" => {
                if let Err(failure) = self.ready_for_member(tx)? {
                    return Ok(Err(failure));
                }
                store::put_member(tx, id, group, account)?
            }
            other => return Err(Problem::internal(format!("directory command {other} has no code"))),
        };
        Ok(Ok(changed))
    }

    fn ready_for_member(&self, tx: &Tx<'_>) -> Result<Result<(), CallFailure>, Problem> {
        let (id, account, group) = (&self.connector, self.text("account"), self.text("group"));
        if !store::has_account(tx, id, account)? {
            if !self.create_missing {
                return Ok(Err(CallFailure::lasting("no_account", format!("there is no account \"{account}\""))));
            }
            store::put_account(tx, id, account, &json!({}))?;
        }
        if !store::has_group(tx, id, group)? {
            if !self.create_missing {
                return Ok(Err(CallFailure::lasting("no_group", format!("there is no group \"{group}\""))));
            }
            store::put_group(tx, id, group)?;
        }
        Ok(Ok(()))
    }
}
