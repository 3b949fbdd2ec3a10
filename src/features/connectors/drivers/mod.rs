//! Drivers: one file per kind of connected system, and what is known of each without calling it.

mod active_directory;
pub mod directory;
pub mod exec;
mod exec_strays;
pub mod http;
mod http_list;
pub mod ldap;
mod ldap_list;
mod ldap_wire;
mod plain;
pub mod scim;
pub mod sql;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CallAnswer, CallFailure, CommandSpec, ConnectorSettings, Driver, Kind, ParamSpec, PlainCall};
use crate::base::problem::FieldError;
use crate::platform::outbound::Outbound;
use crate::platform::store::Store;

/// One driver of each kind.
pub(super) struct Drivers {
    directory: directory::DirectoryDriver,
    http: http::HttpDriver,
    ldap: ldap::LdapDriver,
    scim: scim::ScimDriver,
    sql: sql::SqlDriver,
    exec: exec::ExecDriver,
}

impl Drivers {
    pub(super) fn new(store: Store, outbound: Outbound, settings: &ConnectorSettings) -> Self {
        Self {
            directory: directory::DirectoryDriver::new(store),
            http: http::HttpDriver::new(outbound.clone()),
            ldap: ldap::LdapDriver::new(outbound.clone()),
            scim: scim::ScimDriver::new(outbound.clone()),
            sql: sql::SqlDriver::new(outbound, settings.sqlite_files.clone()),
            exec: exec::ExecDriver::new(settings.programs.clone()),
        }
    }

    /// What a config needs that this process is not allowed.
    pub(super) fn allowed(&self, kind: Kind, config: &Value) -> Vec<FieldError> {
        match kind {
            Kind::Sql => self.sql.allowed(config),
            Kind::Exec => self.exec.allowed(config),
            _ => Vec::new(),
        }
    }

    /// Makes a call without a connector's credentials; `most` is how many bytes it may answer.
    pub(super) async fn call_plain(
        &self,
        to: &plain::Destination,
        call: &PlainCall,
        key: &str,
        most: usize,
    ) -> Result<CallAnswer, CallFailure> {
        self.http.call_plain(to, call, key, most).await
    }

    pub(super) fn of(&self, kind: Kind) -> &dyn Driver {
        match kind {
            Kind::Directory => &self.directory,
            Kind::Http => &self.http,
            Kind::Ldap => &self.ldap,
            Kind::Scim => &self.scim,
            Kind::Sql => &self.sql,
            Kind::Exec => &self.exec,
        }
    }
}

/// Where a call without a connector's credentials goes; `connectors` are the settings of the HTTP connectors.
pub(super) fn plain_destination(url: &str, connectors: &[&Value]) -> Result<plain::Destination, CallFailure> {
    plain::destination(url, connectors)
}

/// The commands of a kind.
pub fn commands(kind: Kind) -> &'static [CommandSpec] {
    match kind {
        Kind::Directory => directory::COMMANDS,
        Kind::Http => http::COMMANDS,
        Kind::Ldap => ldap::COMMANDS,
        Kind::Scim => scim::COMMANDS,
        Kind::Sql => sql::COMMANDS,
        Kind::Exec => exec::COMMANDS,
    }
}

/// The names of the secrets that a kind may have.
pub fn secret_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Directory => &[],
        Kind::Http => http::SECRETS,
        Kind::Ldap => ldap::SECRETS,
        Kind::Scim => scim::SECRETS,
        Kind::Sql => sql::SECRETS,
        Kind::Exec => exec::SECRETS,
    }
}

/// The faults of a config, field by field.
pub fn check_config(kind: Kind, config: &Value) -> Vec<FieldError> {
    match kind {
        Kind::Directory => directory::check_config(config),
        Kind::Http => http::check_config(config),
        Kind::Ldap => ldap::check_config(config),
        Kind::Scim => scim::check_config(config),
        Kind::Sql => sql::check_config(config),
        Kind::Exec => exec::check_config(config),
    }
}

/// Where secrets of this connector would be sent: scheme, host and port.
pub fn destination(kind: Kind, config: &Value) -> Option<String> {
    match kind {
        Kind::Directory => None,
        Kind::Http => http::destination(config),
        Kind::Ldap => ldap::destination(config),
        Kind::Scim => scim::destination(config),
        Kind::Sql => sql::destination(config),
        Kind::Exec => exec::destination(config),
    }
}

const fn param(name: &'static str, kind: &'static str, required: bool, description: &'static str) -> ParamSpec {
    ParamSpec { name, kind, required, description }
}

const fn command(name: &'static str, changes: bool, description: &'static str, params: &'static [ParamSpec]) -> CommandSpec {
    CommandSpec { name, description, changes, lists: false, params }
}

const fn listing(name: &'static str, description: &'static str, params: &'static [ParamSpec]) -> CommandSpec {
    CommandSpec { name, description, changes: false, lists: true, params }
}

/// Reads a config; the fault names the field as far as the parser knows it.
fn read_config<T: DeserializeOwned>(config: &Value) -> Result<T, FieldError> {
    T::deserialize(config).map_err(|e| FieldError { field: "config".to_owned(), message: e.to_string() })
}

fn fault(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { field: format!("config.{field}"), message: message.into() }
}

/// Seconds a call may take: 1 to 60, 10 when absent.
fn check_timeout(seconds: Option<u64>) -> Option<FieldError> {
    match seconds {
        None | Some(1..=60) => None,
        Some(n) => Some(fault("timeoutSeconds", format!("got {n}; expected 1 to 60"))),
    }
}
