//! The data directory: private, and owned by exactly one process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::keys::FILES;
use super::{Keys, Secret};
use crate::base::id::Ids;
use crate::base::problem::Problem;

/// A claimed data directory; the claim ends when this is dropped, or with the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if there is none (0700) and claims it.
    pub fn claim(path: &Path) -> Result<Self, Problem> {
        let fault = |e: std::io::Error| {
            Problem::refused(format!(
                "DATA_DIR: {} cannot be used: {e}. Give a directory that this user may write.",
                path.display()
            ))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(fault)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Problem::refused(format!(
                "DATA_DIR: {} is in use by another Tenure process. Stop it first, or use another directory.",
                path.display()
            ))),
            Err(TryLockError::Error(e)) => Err(fault(e)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes each key that is missing into `keys/` (0600, the folder 0700); answers the names made.
    pub fn make_keys(&self, keys: &mut Keys, ids: &dyn Ids) -> Result<Vec<&'static str>, Problem> {
        let folder = self.path.join("keys");
        let fault = |e: std::io::Error| Problem::refused(format!("DATA_DIR: {} cannot be written: {e}", folder.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fault)?;
        let mut made = Vec::new();
        for (i, (name, file)) in FILES.into_iter().enumerate() {
            let slot = match i {
                0 => &mut keys.session,
                1 => &mut keys.connector,
                _ => &mut keys.signing,
            };
            if slot.is_none() {
                let text = format!("{:032x}{:032x}", ids.next_random(), ids.next_random());
                write_key(&folder, file, &text).map_err(fault)?;
                *slot = Some(Secret::new(text));
                made.push(name);
            }
        }
        Ok(made)
    }

    /// Puts keys that are known into `keys/`; answers the names written.
    ///
    /// A key that is there and differs is refused unless `replace`: what was sealed with it could not be
    /// opened any more.
    pub fn put_keys(&self, keys: &[(&str, Secret)], replace: bool) -> Result<Vec<&'static str>, Problem> {
        let folder = self.path.join("keys");
        let fault = |e: std::io::Error| Problem::refused(format!("DATA_DIR: {} cannot be written: {e}", folder.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(fault)?;
        let mut wanted = Vec::new();
        for (name, file) in FILES {
            let Some((_, key)) = keys.iter().find(|(n, _)| *n == name) else { continue };
            let there = std::fs::read_to_string(folder.join(file)).ok();
            match there.as_deref().map(str::trim) {
                Some(text) if text == key.expose() => continue,
                Some(_) if !replace => {
                    return Err(Problem::refused(format!(
                        "{} holds another key. Nothing was changed; say --replace to put the new one in its place.",
                        folder.join(file).display()
                    )));
                }
                _ => wanted.push((name, file, key)),
            }
        }
        for (_, file, key) in &wanted {
            write_key(&folder, file, key.expose()).map_err(fault)?;
        }
        Ok(wanted.into_iter().map(|(name, ..)| name).collect())
    }
}

/// Writes beside and renames, so that a key is whole or not there at all, however the process ends.
fn write_key(folder: &Path, file: &str, text: &str) -> std::io::Result<()> {
    let beside = folder.join(format!("{file}.new"));
    // What a process that died left behind; only the owner of the claim is here.
    match std::fs::remove_file(&beside) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(out, "{text}")?;
    out.sync_all()?;
    std::fs::rename(&beside, folder.join(file))?;
    File::open(folder)?.sync_all()
}
