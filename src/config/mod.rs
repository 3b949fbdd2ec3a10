//! Configuration: the environment, read once, checked whole.
//!
//! # Invariants
//! - All faults are found in one pass; a start with faults starts nothing.
//! - A secret's value never appears in a fault, a warning or `Debug`.
//! - Nothing else in Tenure reads the environment.
//!
//! # Not here
//! Settings that an administrator may save while Tenure runs ([`crate::features::settings`]).

pub mod audit;
pub mod connectors;
pub mod data_dir;
pub mod database;
pub mod keys;
pub mod mail;
pub mod operation;
pub mod reader;
pub mod redis;
pub mod secret;
pub mod server;
mod tls;

use std::path::PathBuf;

pub use keys::Keys;
pub use reader::{Fault, Reader, Refusal, Warning};
pub use secret::Secret;

/// Where Tenure runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppEnv {
    /// On somebody's own machine: secrets are made on the fly.
    Development,
    /// For real: secrets must be there and strong.
    Production,
}

/// Everything the environment says.
#[derive(Debug, Clone)]
pub struct Config {
    /// `APP_ENV`.
    pub app_env: AppEnv,
    /// `DATA_DIR`.
    pub data_dir: PathBuf,
    /// Listener, addresses, limits.
    pub server: server::ServerConfig,
    /// `DB_POOL_*`.
    pub database: database::DatabaseConfig,
    /// `REDIS_*`.
    pub redis: redis::RedisConfig,
    /// Jobs, logs, shutdown.
    pub operation: operation::OperationConfig,
    /// `AUDIT_CHECKPOINT_*`.
    pub audit: audit::AuditConfig,
    /// `SMTP_URL`, `MAIL_FROM`.
    pub mail: mail::MailConfig,
    /// `CONNECTOR_EXEC_PROGRAMS`, `CONNECTOR_SQLITE_FILES`.
    pub connectors: connectors::ConnectorConfig,
    /// Secrets.
    pub keys: Keys,
}

impl Config {
    /// Reads and checks every variable; warnings are for what may be meant otherwise.
    pub fn from_reader(mut reader: Reader) -> Result<(Self, Vec<Warning>), Refusal> {
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    fn read(reader: &mut Reader) -> Self {
        let app_env = reader.choice(
            "APP_ENV",
            AppEnv::Development,
            &[("development", AppEnv::Development), ("production", AppEnv::Production)],
        );
        if app_env == AppEnv::Production {
            reader.demand_closed_files();
        }
        let data_dir = reader.folder("DATA_DIR").unwrap_or_else(|| PathBuf::from("./data"));
        Self {
            app_env,
            server: server::read(reader, app_env),
            database: database::read(reader),
            redis: redis::read(reader),
            operation: operation::read(reader, app_env),
            audit: audit::read(reader, &data_dir),
            mail: mail::read(reader),
            connectors: connectors::read(reader, app_env, &data_dir),
            keys: keys::read(reader, app_env, &data_dir),
            data_dir,
        }
    }

    /// Whether the public address is HTTPS.
    pub fn is_secure(&self) -> bool {
        self.server.public_url.scheme() == "https"
    }
}
