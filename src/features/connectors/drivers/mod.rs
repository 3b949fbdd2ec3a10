//! Drivers: one file per kind of connected system, and what is known of each without calling it.

pub mod directory;
pub mod http;
pub mod ldap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{CallAnswer, CallFailure, CommandSpec, Driver, Kind, PlainCall};
use crate::base::problem::FieldError;
use crate::platform::outbound::Outbound;
use crate::platform::store::Store;

/// One driver of each kind.
pub(super) struct Drivers {
    directory: directory::DirectoryDriver,
    http: http::HttpDriver,
    ldap: ldap::LdapDriver,
}

impl Drivers {
    pub(super) fn new(store: Store, outbound: Outbound) -> Self {
        Self {
            directory: directory::DirectoryDriver::new(store),
            http: http::HttpDriver::new(outbound.clone()),
            ldap: ldap::LdapDriver::new(outbound),
        }
    }

    pub(super) async fn call_plain(&self, call: PlainCall, key: &str) -> Result<CallAnswer, CallFailure> {
        self.http.call_plain(call, key).await
    }

    pub(super) fn of(&self, kind: Kind) -> &dyn Driver {
        match kind {
            Kind::Directory => &self.directory,
            Kind::Http => &self.http,
            Kind::Ldap => &self.ldap,
        }
    }
}

/// The commands of a kind.
pub fn commands(kind: Kind) -> &'static [CommandSpec] {
    match kind {
        Kind::Directory => directory::COMMANDS,
        Kind::Http => http::COMMANDS,
        Kind::Ldap => ldap::COMMANDS,
    }
}

/// The names of the secrets that a kind may have.
pub fn secret_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Directory => &[],
        Kind::Http => http::SECRETS,
        Kind::Ldap => ldap::SECRETS,
    }
}

/// The faults of a config, field by field.
pub fn check_config(kind: Kind, config: &Value) -> Vec<FieldError> {
    match kind {
        Kind::Directory => directory::check_config(config),
        Kind::Http => http::check_config(config),
        Kind::Ldap => ldap::check_config(config),
    }
}

/// Where secrets of this connector would be sent: scheme, host and port.
pub fn destination(kind: Kind, config: &Value) -> Option<String> {
    match kind {
        Kind::Directory => None,
        Kind::Http => http::destination(config),
        Kind::Ldap => ldap::destination(config),
    }
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
