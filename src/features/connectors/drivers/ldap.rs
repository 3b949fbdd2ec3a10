//! LDAP directories: entries and members of groups.
//!
//! # Invariants
//! - A change looks first and then acts, and takes the server's "there already" and "gone already" as
//!   success: repeating is safe, also after an answer that was lost.
//! - The connection goes to a checked address; the certificate is judged by the name in the settings.
//! - With `startTls` or `ldaps://` no password is sent before TLS stands.
//! - What a directory sends is measured before it is read ([`super::ldap_wire`]).

use std::collections::HashSet;
use std::time::Duration;

use ldap3::{Ldap, LdapError, LdapResult, Mod, Scope};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, ListFuture, ListRequest, ParamSpec, Target, text_param,
};
use super::http::from_outbound;
use super::ldap_list::{LIST_ENTRIES, LIST_MEMBERS};
use super::ldap_wire::{Security, Wire};
use super::{active_directory, check_timeout, command, fault, read_config};
use crate::base::problem::FieldError;
use crate::platform::clock::SystemIds;
use crate::platform::outbound::{Origin, Outbound, within};

pub(super) const DN: ParamSpec =
    ParamSpec { name: "dn", kind: "string", required: true, description: "the distinguished name of the entry" };
const ATTRIBUTES: ParamSpec = ParamSpec {
    name: "attributes",
    kind: "object",
    required: true,
    description: "attributes by name; each a text or a list of texts",
};
pub(super) const GROUP_DN: ParamSpec =
    ParamSpec { name: "groupDn", kind: "string", required: true, description: "the distinguished name of the group" };
const MEMBER_DN: ParamSpec =
    ParamSpec { name: "memberDn", kind: "string", required: true, description: "the distinguished name of the member" };

/// What an LDAP directory understands.
pub const COMMANDS: &[CommandSpec] = &[
    command("add_entry", true, "Adds an entry, unless it is there.", &[DN, ATTRIBUTES]),
    command("delete_entry", true, "Deletes an entry, unless it is gone.", &[DN]),
    command("has_entry", false, "Whether there is such an entry.", &[DN]),
    command("set_attributes", true, "Replaces attributes of an entry.", &[DN, ATTRIBUTES]),
    command("add_member", true, "Puts a member into a group.", &[GROUP_DN, MEMBER_DN]),
    command("remove_member", true, "Takes a member out of a group.", &[GROUP_DN, MEMBER_DN]),
    command("has_member", false, "Whether a member is in a group.", &[GROUP_DN, MEMBER_DN]),
    LIST_ENTRIES,
    LIST_MEMBERS,
    active_directory::ENABLE,
    active_directory::DISABLE,
    active_directory::IS_ENABLED,
    active_directory::SET_RANDOM_PASSWORD,
];

/// The password of `bindDn`.
pub const SECRETS: &[&str] = &["password"];

const COMPARE_FALSE: u32 = 5;
const COMPARE_TRUE: u32 = 6;
const NO_SUCH_ATTRIBUTE: u32 = 16;
const VALUE_EXISTS: u32 = 20;
pub(super) const NO_SUCH_OBJECT: u32 = 32;
const ENTRY_EXISTS: u32 = 68;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Config {
    /// `ldap://host:389` or `ldaps://host:636`.
    url: Url,
    /// Who Tenure is there; nobody when absent.
    bind_dn: Option<String>,
    #[serde(default)]
    start_tls: bool,
    /// The attribute that holds a group's members: `member`, `uniqueMember`.
    member_attribute: Option<String>,
    timeout_seconds: Option<u64>,
}

impl Config {
    pub(super) fn is_plain(&self) -> bool {
        self.url.scheme() == "ldap" && !self.start_tls
    }

    fn security(&self) -> Security {
        match (self.url.scheme(), self.start_tls) {
            ("ldaps", _) => Security::Tls,
            (_, true) => Security::StartTls,
            (_, false) => Security::Plain,
        }
    }

    pub(super) fn time_limit(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.unwrap_or(10))
    }

    pub(super) fn member_attribute(&self) -> &str {
        self.member_attribute.as_deref().unwrap_or("member")
    }
}

pub(super) fn destination(config: &Value) -> Option<String> {
    let config = read_config::<Config>(config).ok()?;
    let origin = Origin::of(&config.url)?;
    // Turning TLS off sends the password somewhere else: to whoever listens on the way.
    Some(format!("{origin} startTls={}", config.start_tls))
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    let config: Config = match read_config(config) {
        Ok(config) => config,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    let url = &config.url;
    if !matches!(url.scheme(), "ldap" | "ldaps") || Origin::of(url).is_none() {
        faults.push(fault("url", "expected ldap://host:port or ldaps://host:port"));
    } else if !matches!(url.path(), "" | "/") || url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
        faults.push(fault("url", "expected a host and a port only"));
    }
    if config.start_tls && url.scheme() == "ldaps" {
        faults.push(fault("startTls", "expected ldap:// with startTls, or ldaps:// without"));
    }
    if config.bind_dn.as_deref().is_some_and(str::is_empty) {
        faults.push(fault("bindDn", "is empty; leave it out to connect as nobody"));
    }
    let attribute = config.member_attribute();
    if attribute.is_empty() || !attribute.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        faults.push(fault("memberAttribute", "expected the name of an attribute, such as member"));
    }
    faults.extend(check_timeout(config.timeout_seconds));
    faults
}

/// Drives LDAP directories.
pub(in super::super) struct LdapDriver {
    outbound: Outbound,
}

impl LdapDriver {
    pub(super) fn new(outbound: Outbound) -> Self {
        Self { outbound }
    }

    pub(super) async fn open(&self, target: &Target, config: Config, origin: Origin) -> Result<Session, CallFailure> {
        let (limit, most) = (config.time_limit(), target.policy.max_answer_bytes);
        let (wire, ldap) = Wire::dial(&self.outbound, origin.clone(), config.security(), limit, most).await?;
        let mut session = Session { ldap, config, origin, limit, wire };
        if let Some(bind_dn) = session.config.bind_dn.clone() {
            let password = target.secret("password")?;
            let result = session.ldap.with_timeout(limit).simple_bind(&bind_dn, password).await;
            let result = result.map_err(|e| session.failure(&e))?;
            if result.rc != 0 {
                return Err(refused("the bind", result.rc));
            }
        }
        Ok(session)
    }

    async fn run(&self, target: &Target, command: &str, params: &Value) -> Result<CallAnswer, CallFailure> {
        let call = Call::read(command, params)?;
        let (config, origin) = settings(target)?;
        limited(config.time_limit(), &origin.clone(), async {
            let mut session = self.open(target, config, origin).await?;
            let output = session.run(&call).await;
            session.close().await;
            output.map(|output| CallAnswer { output })
        })
        .await
    }

    async fn try_out(&self, target: &Target) -> Result<CallAnswer, CallFailure> {
        let (config, origin) = settings(target)?;
        let plain = config.is_plain();
        let (limit, host) = (config.time_limit(), origin.clone());
        let found = limited(limit, &host, async {
            let mut session = self.open(target, config, origin).await?;
            // The root entry can be read by everybody; an answer shows that the server works.
            let found = session.has_entry("").await;
            session.close().await;
            found
        });
        found.await?;
        let warning = plain.then_some("the connection is not encrypted; use ldaps:// or startTls");
        Ok(CallAnswer { output: json!({ "ok": true, "warning": warning }) })
    }
}

pub(super) fn settings(target: &Target) -> Result<(Config, Origin), CallFailure> {
    let config: Config = read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))?;
    let origin = Origin::of(&config.url).ok_or_else(|| CallFailure::lasting("bad_config", "url has no host"))?;
    Ok((config, origin))
}

/// One limit over the whole conversation; what is given up closes its connection.
pub(super) async fn limited<T>(
    limit: Duration,
    origin: &Origin,
    work: impl Future<Output = Result<T, CallFailure>>,
) -> Result<T, CallFailure> {
    within(origin, limit, async { Ok(work.await) }).await.map_err(from_outbound)?
}

impl Driver for LdapDriver {
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a> {
        Box::pin(self.try_out(target))
    }

    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, _key: &'a str) -> CallFuture<'a> {
        Box::pin(self.run(target, command, params))
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(self.page(target, request))
    }
}

type Attributes = Vec<(String, HashSet<String>)>;

/// A command with its parameters read.
enum Call {
    AddEntry(String, Attributes),
    DeleteEntry(String),
    HasEntry(String),
    SetAttributes(String, Attributes),
    AddMember(String, String),
    RemoveMember(String, String),
    HasMember(String, String),
    SetEnabled(String, bool),
    IsEnabled(String),
    SetRandomPassword(String),
}

impl Call {
    fn read(command: &str, params: &Value) -> Result<Self, CallFailure> {
        let text = |name: &str| text_param(params, name).map(str::to_owned);
        Ok(match command {
            "add_entry" => Self::AddEntry(text("dn")?, attributes(params, false)?),
            "delete_entry" => Self::DeleteEntry(text("dn")?),
            "has_entry" => Self::HasEntry(text("dn")?),
            "set_attributes" => Self::SetAttributes(text("dn")?, attributes(params, true)?),
            "add_member" => Self::AddMember(text("groupDn")?, text("memberDn")?),
            "remove_member" => Self::RemoveMember(text("groupDn")?, text("memberDn")?),
            "has_member" => Self::HasMember(text("groupDn")?, text("memberDn")?),
            "enable_account" => Self::SetEnabled(text("dn")?, true),
            "disable_account" => Self::SetEnabled(text("dn")?, false),
            "is_enabled" => Self::IsEnabled(text("dn")?),
            "set_random_password" => Self::SetRandomPassword(text("dn")?),
            other => return Err(CallFailure::lasting("unknown_command", format!("no command \"{other}\""))),
        })
    }
}

fn attributes(params: &Value, may_be_empty: bool) -> Result<Attributes, CallFailure> {
    let fields = params
        .get("attributes")
        .and_then(Value::as_object)
        .ok_or_else(|| CallFailure::param("attributes", "expected an object"))?;
    let mut out = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let values: Option<HashSet<String>> = items
            .iter()
            .map(|item| match item {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                Value::Bool(yes) => Some(if *yes { "TRUE" } else { "FALSE" }.to_owned()),
                _ => None,
            })
            .collect();
        match values {
            Some(values) if may_be_empty || !values.is_empty() => out.push((name.clone(), values)),
            _ => {
                return Err(CallFailure::param(
                    &format!("attributes.{name}"),
                    "expected a text that is not empty, or a list of such texts",
                ));
            }
        }
    }
    Ok(out)
}

/// A bound connection.
pub(super) struct Session {
    pub(super) ldap: Ldap,
    pub(super) config: Config,
    origin: Origin,
    pub(super) limit: Duration,
    wire: Wire,
}

impl Session {
    async fn run(&mut self, call: &Call) -> Result<Value, CallFailure> {
        match call {
            Call::HasEntry(dn) => Ok(json!({ "present": self.has_entry(dn).await? })),
            Call::SetEnabled(dn, enabled) => self.set_enabled(dn, *enabled).await,
            Call::IsEnabled(dn) => self.is_enabled(dn).await,
            Call::SetRandomPassword(dn) => self.set_random_password(dn, &SystemIds).await,
            Call::HasMember(group, member) => Ok(json!({ "present": self.has_member(group, member).await? })),
            Call::AddEntry(dn, attributes) => {
                if self.has_entry(dn).await? {
                    return Ok(changed(false));
                }
                let result = self.ldap.with_timeout(self.limit).add(dn, attributes.clone()).await;
                self.decide("adding the entry", result, &[ENTRY_EXISTS])
            }
            Call::DeleteEntry(dn) => {
                if !self.has_entry(dn).await? {
                    return Ok(changed(false));
                }
                let result = self.ldap.with_timeout(self.limit).delete(dn).await;
                self.decide("deleting the entry", result, &[NO_SUCH_OBJECT])
            }
            Call::SetAttributes(dn, attributes) => {
                let mods = attributes.iter().map(|(name, values)| Mod::Replace(name.clone(), values.clone())).collect();
                let result = self.ldap.with_timeout(self.limit).modify(dn, mods).await;
                self.decide("setting the attributes", result, &[])
            }
            Call::AddMember(group, member) => {
                if self.has_member(group, member).await? {
                    return Ok(changed(false));
                }
                let mods = vec![Mod::Add(self.config.member_attribute().to_owned(), HashSet::from([member.clone()]))];
                let result = self.ldap.with_timeout(self.limit).modify(group, mods).await;
                self.decide("adding the member", result, &[VALUE_EXISTS])
            }
            Call::RemoveMember(group, member) => {
                if !self.has_member(group, member).await? {
                    return Ok(changed(false));
                }
                let mods = vec![Mod::Delete(self.config.member_attribute().to_owned(), HashSet::from([member.clone()]))];
                let result = self.ldap.with_timeout(self.limit).modify(group, mods).await;
                self.decide("removing the member", result, &[NO_SUCH_ATTRIBUTE, NO_SUCH_OBJECT])
            }
        }
    }

    async fn has_entry(&mut self, dn: &str) -> Result<bool, CallFailure> {
        let found = self.ldap.with_timeout(self.limit).search(dn, Scope::Base, "(objectClass=*)", vec!["1.1"]).await;
        let found = found.map_err(|e| self.failure(&e))?;
        match found.1.rc {
            0 => Ok(!found.0.is_empty()),
            NO_SUCH_OBJECT => Ok(false),
            code => Err(refused("looking for the entry", code)),
        }
    }

    /// Of a group that is not there nobody is a member.
    async fn has_member(&mut self, group: &str, member: &str) -> Result<bool, CallFailure> {
        let attribute = self.config.member_attribute().to_owned();
        let result = self.ldap.with_timeout(self.limit).compare(group, &attribute, member).await;
        let result = result.map_err(|e| self.failure(&e))?.0;
        match result.rc {
            COMPARE_TRUE => Ok(true),
            COMPARE_FALSE | NO_SUCH_ATTRIBUTE | NO_SUCH_OBJECT => Ok(false),
            code => Err(refused("looking for the member", code)),
        }
    }

    /// `unchanged` are the codes by which the server says that there was nothing to do.
    fn decide(
        &self,
        doing: &str,
        result: Result<LdapResult, LdapError>,
        unchanged: &[u32],
    ) -> Result<Value, CallFailure> {
        let result = result.map_err(|e| self.failure(&e))?;
        match result.rc {
            0 => Ok(changed(true)),
            rc if unchanged.contains(&rc) => Ok(changed(false)),
            code => Err(refused(doing, code)),
        }
    }

    /// There was no answer.
    pub(super) fn failure(&self, error: &LdapError) -> CallFailure {
        self.wire.failure().unwrap_or_else(|| failure(&self.origin, self.limit, error))
    }

    pub(super) async fn close(mut self) {
        if let Err(error) = self.ldap.unbind().await {
            tracing::debug!(%error, "an LDAP connection was not closed in order");
        }
        self.wire.close();
    }
}

pub(super) fn changed(changed: bool) -> Value {
    json!({ "changed": changed })
}

/// The server answered, and the answer is no.
pub(super) fn refused(doing: &str, code: u32) -> CallFailure {
    let why = match code {
        10 => "it refers to another server, which is not followed",
        13 => "it wants an encrypted connection; use ldaps:// or startTls",
        17 => "it knows no such attribute",
        19 => "a value breaks a rule of the directory",
        21 => "a value has the wrong form",
        32 => "there is no such entry",
        34 => "a distinguished name has the wrong form",
        48 | 49 => "the bind DN or the password is wrong",
        50 => "the bind DN may not do that",
        51 | 52 => "it is busy or not available",
        53 => "it is unwilling",
        65 => "the entry would break its object class; a group may need at least one member",
        66 => "the entry has entries below it",
        _ => "see the code",
    };
    let passing = matches!(code, 3 | 51 | 52);
    CallFailure {
        message: format!("the directory refused {doing}: {why}"),
        code: format!("ldap_{code}"),
        retryable: passing,
    }
}

fn failure(origin: &Origin, limit: Duration, error: &LdapError) -> CallFailure {
    let host = &origin.host;
    match error {
        LdapError::Timeout { .. } => {
            CallFailure::passing("timeout", format!("{host} did not answer within {} s", limit.as_secs()))
        }
        LdapError::FilterParsing => CallFailure::param("filter", "is no LDAP filter, such as (objectClass=person)"),
        LdapError::AddNoValues => CallFailure::param("attributes", "expected at least one value each"),
        _ => CallFailure::passing("broken", format!("the connection to {host} ended early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_with_faults_names_each() {
        let fields = |config: Value| check_config(&config).into_iter().map(|f| f.field).collect::<Vec<_>>();
        assert!(fields(json!({ "url": "ldap://a.example", "bindDn": "cn=x", "startTls": true })).is_empty());
        assert_eq!(fields(json!({ "url": "http://a.example" })), ["config.url"]);
        assert_eq!(fields(json!({ "url": "ldap://a.example/dc=x??sub" })), ["config.url"]);
        assert_eq!(
            fields(json!({ "url": "ldaps://a", "startTls": true, "bindDn": "", "memberAttribute": "m)(", "timeoutSeconds": 99 })),
            ["config.startTls", "config.bindDn", "config.memberAttribute", "config.timeoutSeconds"]
        );
        assert_eq!(fields(json!({ "url": "ldap://a", "password": "x" })), ["config"]);
    }

    #[test]
    fn attributes_are_texts_or_lists_of_texts() {
        let read = |value: Value| attributes(&json!({ "attributes": value }), false);
        let good = read(json!({ "cn": "Ada", "uidNumber": 7, "objectClass": ["top", "person"] })).expect("good");
        assert_eq!(good.len(), 3);
        for bad in [json!({ "cn": "" }), json!({ "cn": [] }), json!({ "cn": null }), json!({ "cn": { "a": 1 } })] {
            assert_eq!(read(bad).expect_err("bad").code, "bad_params");
        }
    }
}
