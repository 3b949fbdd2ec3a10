//! Secrets: from the environment, or from `DATA_DIR/keys`.

use std::path::Path;

use super::reader::{mode, read_file};
use super::{AppEnv, Reader, Secret};

/// The secrets Tenure works with; absent ones are made at the first start in development.
#[derive(Debug, Clone, Default)]
pub struct Keys {
    /// `SESSION_SECRET`.
    pub session: Option<Secret>,
    /// `CONNECTOR_ENCRYPTION_KEY`, 64 hex digits.
    pub connector: Option<Secret>,
    /// `CONNECTOR_ENCRYPTION_KEY_PREVIOUS`, 64 hex digits.
    pub connector_previous: Option<Secret>,
    /// `AUDIT_SIGNING_KEY`, 64 hex digits.
    pub signing: Option<Secret>,
}

/// The variables that `tenure init` makes files for, with the names of the files.
pub const FILES: [(&str, &str); 3] = [
    ("SESSION_SECRET", "session_secret"),
    ("CONNECTOR_ENCRYPTION_KEY", "connector_encryption_key"),
    ("AUDIT_SIGNING_KEY", "audit_signing_key"),
];

/// Words that secrets in documentation and templates hold.
const DEFAULTS: [&str; 8] =
    ["changeme", "change-me", "secret", "password", "default", "example", "tenure", "development"];

pub(super) fn read(r: &mut Reader, env: AppEnv, data_dir: &Path) -> Keys {
    let keys = Keys {
        session: one(r, env, data_dir, 0),
        connector: one(r, env, data_dir, 1),
        connector_previous: r.secret("CONNECTOR_ENCRYPTION_KEY_PREVIOUS"),
        signing: one(r, env, data_dir, 2),
    };
    check_hex(r, "CONNECTOR_ENCRYPTION_KEY_PREVIOUS", keys.connector_previous.as_ref());
    keys
}

fn one(r: &mut Reader, env: AppEnv, data_dir: &Path, index: usize) -> Option<Secret> {
    let (name, file) = FILES[index];
    let set = r.is_set(name) || r.is_set(&format!("{name}_FILE"));
    let given = if set { r.secret(name) } else { kept(r, env, name, &data_dir.join("keys").join(file)) };
    match &given {
        None if env == AppEnv::Production && !set && !r.is_faulty(name) && !r.is_faulty("DATA_DIR") => {
            r.fault(name, None, "a secret in production: run tenure init, or set it");
        }
        None => {}
        Some(secret) if name == "SESSION_SECRET" => check_strength(r, name, secret, env),
        Some(secret) => {
            check_hex(r, name, Some(secret));
            check_strength(r, name, secret, env);
        }
    }
    given
}

/// What `tenure init` put into `DATA_DIR/keys`; a file that is there and cannot be used is a fault,
/// because making another key would lose what was sealed or signed with this one.
fn kept(r: &mut Reader, env: AppEnv, name: &str, path: &Path) -> Option<Secret> {
    // What is no folder holds no keys, and that is its own fault.
    if r.is_faulty("DATA_DIR") {
        return None;
    }
    match path.try_exists() {
        Ok(true) => {}
        Ok(false) => return None,
        Err(e) => {
            r.fault(name, None, format!("that {} can be looked at ({e})", path.display()));
            return None;
        }
    }
    if env == AppEnv::Production && mode(path) & 0o077 != 0 {
        r.fault(name, None, format!("a file that only its owner can read: chmod 600 {}", path.display()));
    }
    let text = read_file(path).and_then(|b| String::from_utf8(b).map_err(|_| "it is not text".to_owned()));
    match text {
        Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim())),
        Ok(_) => {
            r.fault(name, None, format!("that {} is not empty: put the key back from a copy", path.display()));
            None
        }
        Err(why) => {
            r.fault(name, None, format!("that {} can be read ({why})", path.display()));
            None
        }
    }
}

fn check_hex(r: &mut Reader, name: &str, secret: Option<&Secret>) {
    let Some(secret) = secret else { return };
    let text = secret.expose();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        r.fault(name, None, "64 hexadecimal digits, such as tenure init makes");
    }
}

fn check_strength(r: &mut Reader, name: &str, secret: &Secret, env: AppEnv) {
    if env != AppEnv::Production {
        return;
    }
    let text = secret.expose();
    let different = text.bytes().collect::<std::collections::BTreeSet<_>>().len();
    let lower = text.to_ascii_lowercase();
    if text.len() < 32 || different < 8 || DEFAULTS.iter().any(|d| lower.contains(d)) {
        r.fault(name, None, "a strong secret in production: at least 32 random characters, none of the defaults; run tenure init");
    }
}
