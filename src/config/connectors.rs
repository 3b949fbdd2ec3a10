//! What connectors may use of this machine: programs and database files, each by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::reader::mode;
use super::{AppEnv, Reader};

/// What connectors may use of this machine; nothing unless it is set.
#[derive(Debug, Clone, Default)]
pub struct ConnectorConfig {
    /// `CONNECTOR_EXEC_PROGRAMS`.
    pub programs: BTreeMap<String, PathBuf>,
    /// `CONNECTOR_SQLITE_FILES`.
    pub sqlite_files: BTreeMap<String, PathBuf>,
}

const EXPECTED: &str = "a comma list of name=/absolute/path, each name of up to 40 letters, digits, hyphens and underscores";

pub(super) fn read(r: &mut Reader, env: AppEnv, data_dir: &Path) -> ConnectorConfig {
    let programs = list(r, "CONNECTOR_EXEC_PROGRAMS");
    for path in programs.values() {
        let shown = path.display();
        if !path.is_file() || mode(path) & 0o111 == 0 {
            r.fault("CONNECTOR_EXEC_PROGRAMS", None, format!("that {shown} is a program"));
        } else if env == AppEnv::Production && mode(path) & 0o022 != 0 {
            r.fault("CONNECTOR_EXEC_PROGRAMS", None, format!("a program that only its owner can change: chmod go-w {shown}"));
        }
    }
    let sqlite_files = list(r, "CONNECTOR_SQLITE_FILES");
    for path in sqlite_files.values() {
        let shown = path.display();
        if !path.is_file() {
            r.fault("CONNECTOR_SQLITE_FILES", None, format!("that {shown} is a file"));
        } else if is_below(path, data_dir) {
            r.fault("CONNECTOR_SQLITE_FILES", None, format!("no file of Tenure itself, as {shown} is"));
        }
    }
    ConnectorConfig { programs, sqlite_files }
}

fn list(r: &mut Reader, name: &str) -> BTreeMap<String, PathBuf> {
    let Some(text) = r.text(name) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for part in text.split(',') {
        let (word, path) = part.trim().split_once('=').unwrap_or_default();
        let good = (1..=40).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && Path::new(path).is_absolute()
            && found.insert(word.to_owned(), PathBuf::from(path)).is_none();
        if !good {
            r.fault(name, Some(&text), EXPECTED);
            return BTreeMap::new();
        }
    }
    found
}

/// By what the paths lead to, whatever links are in between.
fn is_below(path: &Path, folder: &Path) -> bool {
    match (path.canonicalize(), folder.canonicalize()) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}
