//! Making a backup, checking one, putting one in place.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{About, FORMAT, store};
use crate::base::access::Principal;
use crate::base::clock::SharedClock;
use crate::base::id::SharedIds;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::verify::verify_chain;
use crate::features::audit::{self, Entry, encode_hash};
use crate::features::checkpoints::{self, ops::Renewal};
use crate::platform::archive::{self, List};
use crate::platform::blobs::BlobHash;
use crate::platform::store::{Store, Tx, find_damage, snapshot};

/// The database in the data directory and in the archive.
const DATABASE: &str = "tenure.db";
/// The sealed keys in the archive.
const KEYS: &str = "keys.age";
/// Where unpacked files wait in the data directory.
const WAITING: &str = "restoring";
/// Says that the data directory holds half of a restore.
const MARK: &str = "restore-unfinished";
/// What a restore replaces: the business, what hangs on it, and what is made again from it.
const REPLACED: [&str; 9] = [
    "tenure.db", "tenure.db-wal", "tenure.db-shm", "queue.db", "queue.db-wal", "queue.db-shm", "blobs", "keys.age",
    "setup-token",
];

/// What is backed up.
#[derive(Debug, Clone)]
pub struct Source {
    /// The data directory; a server may be running on it.
    pub data_dir: PathBuf,
    /// Where `file` checkpoints are.
    pub checkpoints: PathBuf,
    /// The keys, sealed already; left out when absent.
    pub keys: Option<Vec<u8>>,
    /// Whether files that are lost are left out; otherwise they are refused.
    pub without_lost: bool,
}

fn fault(path: &Path, e: &io::Error) -> Problem {
    Problem::refused(format!("{}: {e}", path.display()))
}

/// Waits until what happened in a folder is on disk.
fn sync_folder(folder: &Path) -> Result<(), Problem> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| fault(folder, &e))
}

fn new_folder(path: &Path) -> Result<(), Problem> {
    remove(path)?;
    DirBuilder::new().mode(0o700).create(path).map_err(|e| fault(path, &e))
}

/// Removes a folder with what is in it, if it is there.
fn remove(path: &Path) -> Result<(), Problem> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault(path, &e)),
        _ => Ok(()),
    }
}

/// Makes the new file `to`; beside a running server or without one.
pub async fn make(source: Source, to: &Path, clock: SharedClock, ids: SharedIds) -> Result<List<About>, Problem> {
    if to.exists() {
        return Err(Problem::refused(format!("{} exists already. Give a name that is free.", to.display())));
    }
    if !source.data_dir.join(DATABASE).is_file() {
        return Err(Problem::refused(format!(
            "DATA_DIR: {} holds no {DATABASE}. Set DATA_DIR to the directory that Tenure runs on.",
            source.data_dir.display()
        )));
    }
    let (folder, name) = match (to.parent(), to.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => (Path::new("."), name),
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err(Problem::refused(format!("{} is not the name of a file.", to.display()))),
    };
    // Beside the target, so that the last step is a rename within one file system.
    let scratch = folder.join(format!(".{}.making", name.to_string_lossy()));
    new_folder(&scratch)?;
    let made = make_in(source, &scratch, to, clock, ids).await;
    remove(&scratch)?;
    sync_folder(folder)?;
    made
}

async fn make_in(
    source: Source,
    scratch: &Path,
    to: &Path,
    clock: SharedClock,
    ids: SharedIds,
) -> Result<List<About>, Problem> {
    let copy = scratch.join(DATABASE);
    let (from, into) = (source.data_dir.join(DATABASE), copy.clone());
    let created_at = clock.now();
    blocking(move || snapshot(&from, &into)).await?;
    let (audit_entries, audit_head) = check(&copy, clock.clone(), ids.clone()).await.map_err(|p| match p {
        Problem::Internal(_) => p,
        other => Problem::refused(format!("{other} No backup was made of it; run tenure doctor.")),
    })?;
    let store = Store::open_read_only(&copy, clock, ids)?;
    let named = store.read(store::list_blobs).await?;
    store.close().await;
    let folder = source.data_dir.join("blobs");
    let (mut files, lost_files) = blocking(move || Ok(find_blobs(&folder, named))).await?;
    if !lost_files.is_empty() && !source.without_lost {
        return Err(lost(&lost_files));
    }
    files.insert(DATABASE.to_owned(), copy);
    list_files(&source.checkpoints, "checkpoints", &mut files)?;
    let has_keys = source.keys.is_some();
    if let Some(keys) = source.keys {
        let path = scratch.join(KEYS);
        std::fs::write(&path, keys).map_err(|e| fault(&path, &e))?;
        files.insert(KEYS.to_owned(), path);
    }
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let about = About { format: FORMAT, version, created_at, audit_entries, audit_head, has_keys, lost_files };
    let packed = scratch.join("packed");
    let target = packed.clone();
    let list = blocking(move || archive::pack(&target, about, &files)).await?;
    std::fs::rename(&packed, to).map_err(|e| fault(to, &e))?;
    Ok(list)
}

/// The files of what the database names, by their names in the archive; and those that are lost, or not
/// what was kept, although a document rests on them.
fn find_blobs(folder: &Path, named: Vec<(String, u64, bool)>) -> (BTreeMap<String, PathBuf>, Vec<String>) {
    let (mut files, mut lost) = (BTreeMap::new(), Vec::new());
    for (hash, size, used) in named {
        let place = BlobHash::parse(&hash).map_or(hash, |h| h.place());
        let path = folder.join(&place);
        let name = format!("blobs/{place}");
        let whole = path.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() == size);
        if whole {
            files.insert(name, path);
        } else if used {
            lost.push(name);
        }
        // What nothing rests on any more may have gone since the copy was made.
    }
    (files, lost)
}

/// Says which files are lost, the first of many.
fn lost(files: &[String]) -> Problem {
    const SHOWN: usize = 10;
    let mut shown = files.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        shown.push_str(&format!(" and {} more", files.len() - SHOWN));
    }
    Problem::refused(format!(
        "Documents rest on files that are missing in the data directory or have another size: {shown}. No backup was made. Bring them back from an older backup, or say --without-lost-files to back up the rest."
    ))
}

/// Runs what reads and writes whole files away from the threads that answer.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

/// Names every plain file below `folder`; a folder that is not there holds none.
fn list_files(folder: &Path, name: &str, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Problem> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|e| fault(folder, &e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| fault(folder, &e))?;
        let kind = entry.file_type().map_err(|e| fault(&entry.path(), &e))?;
        let name = format!("{name}/{}", entry.file_name().to_string_lossy());
        if kind.is_dir() {
            list_files(&entry.path(), &name, files)?;
        } else if kind.is_file() {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// Reads a copy from end to end; answers the size of its audit log and the hash of the newest entry.
async fn check(copy: &Path, clock: SharedClock, ids: SharedIds) -> Result<(u64, String), Problem> {
    let path = copy.to_owned();
    if let Some(damage) = blocking(move || find_damage(&path)).await? {
        return Err(Problem::refused(format!("The database is damaged: {damage}.")));
    }
    let store = Store::open_read_only(copy, clock, ids)?;
    let verdict = verify_chain(&store).await?;
    let head = store.read(audit::store::head).await?;
    store.close().await;
    if let Some(fault) = verdict.fault {
        return Err(Problem::refused(format!(
            "The audit log is not what was written: entry {} ({}): {}.",
            fault.seq, fault.kind, fault.detail
        )));
    }
    Ok((verdict.rows, head.map(|(_, hash)| encode_hash(&hash)).unwrap_or_default()))
}

/// A backup that is unpacked below the data directory and was found sound.
#[derive(Debug)]
pub struct Unpacked {
    /// What it says about itself, and its files.
    pub list: List<About>,
    folder: PathBuf,
}

impl Unpacked {
    /// The sealed keys in it.
    pub fn sealed_keys(&self) -> Result<Option<Vec<u8>>, Problem> {
        if !self.list.about.has_keys {
            return Ok(None);
        }
        let path = self.folder.join(KEYS);
        std::fs::read(&path).map(Some).map_err(|e| fault(&path, &e))
    }

    /// Lets it go; the data directory is as it was.
    pub fn discard(self) -> Result<(), Problem> {
        remove(&self.folder)
    }
}

/// Unpacks `from` below the data directory, which must be claimed, and checks all of it.
pub async fn unpack(from: &Path, data_dir: &Path, clock: SharedClock, ids: SharedIds) -> Result<Unpacked, Problem> {
    let folder = data_dir.join(WAITING);
    new_folder(&folder)?;
    let checked = unpack_into(from, &folder, clock, ids).await;
    match checked {
        Ok(list) => Ok(Unpacked { list, folder }),
        Err(problem) => {
            remove(&folder)?;
            Err(problem)
        }
    }
}

async fn unpack_into(from: &Path, folder: &Path, clock: SharedClock, ids: SharedIds) -> Result<List<About>, Problem> {
    let (source, into) = (from.to_owned(), folder.to_owned());
    let list: List<About> = blocking(move || archive::unpack(&source, &into)).await?;
    list.about.check_format()?;
    let (entries, head) = check(&folder.join(DATABASE), clock, ids).await?;
    let about = &list.about;
    if (entries, &head) != (about.audit_entries, &about.audit_head) {
        return Err(Problem::refused(format!(
            "{}: its audit log has {entries} entries and ends in {head}, its manifest says {} and {}. Nothing was changed.",
            from.display(),
            about.audit_entries,
            about.audit_head
        )));
    }
    Ok(list)
}

/// Whether the data directory holds a business already.
pub fn is_occupied(data_dir: &Path) -> bool {
    data_dir.join(DATABASE).exists() || data_dir.join(MARK).exists()
}

/// Refuses to work on half of a restore.
pub fn refuse_unfinished(data_dir: &Path) -> Result<(), Problem> {
    if data_dir.join(MARK).exists() {
        return Err(Problem::refused(format!(
            "DATA_DIR: a restore into {} was cut short. Run tenure restore FILE --replace again; what was there before is in its folders replaced-….",
            data_dir.display()
        )));
    }
    Ok(())
}

/// Moves what is there aside and puts the backup in its place; answers where the former files are.
pub fn put_in_place(
    unpacked: Unpacked,
    data_dir: &Path,
    checkpoints: &Path,
    now: Timestamp,
) -> Result<Option<PathBuf>, Problem> {
    let mark = data_dir.join(MARK);
    File::create(&mark).and_then(|f| f.sync_all()).map_err(|e| fault(&mark, &e))?;
    sync_folder(data_dir)?;
    let aside = data_dir.join(format!("replaced-{}", now.to_string().replace([':', '.'], "-")));
    let mut moved = false;
    for name in REPLACED {
        let from = data_dir.join(name);
        if from.symlink_metadata().is_err() {
            continue;
        }
        if !moved {
            new_folder(&aside)?;
            moved = true;
        }
        std::fs::rename(&from, aside.join(name)).map_err(|e| fault(&from, &e))?;
    }
    for name in [DATABASE, "blobs"] {
        let from = unpacked.folder.join(name);
        if from.exists() {
            std::fs::rename(&from, data_dir.join(name)).map_err(|e| fault(&from, &e))?;
        }
    }
    add_checkpoints(&unpacked.folder.join("checkpoints"), checkpoints)?;
    sync_folder(data_dir)?;
    std::fs::remove_file(&mark).map_err(|e| fault(&mark, &e))?;
    remove(&unpacked.folder)?;
    sync_folder(data_dir)?;
    Ok(moved.then_some(aside))
}

/// Checkpoints are evidence: those that are there stay, those that are missing come back.
fn add_checkpoints(from: &Path, to: &Path) -> Result<(), Problem> {
    let mut files = BTreeMap::new();
    list_files(from, "", &mut files)?;
    for (name, path) in files {
        let target = to.join(name.trim_start_matches('/'));
        if target.exists() {
            continue;
        }
        if let Some(folder) = target.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| fault(folder, &e))?;
        }
        std::fs::copy(&path, &target).map_err(|e| fault(&target, &e))?;
        File::open(&target).and_then(|f| f.sync_all()).map_err(|e| fault(&target, &e))?;
    }
    Ok(())
}

/// What a restored business does first: every session is over, and the log says where it comes from.
pub fn settle(tx: &Tx<'_>, by: &Principal, about: &About, renewal: &Renewal) -> Result<(), Problem> {
    store::end_all_sessions(tx)?;
    // What was signed after the backup was made is not part of what goes on from here.
    checkpoints::ops::renew_origin(tx, by, renewal)?;
    audit::append(
        tx,
        by,
        Entry {
            action: "backup.restored",
            entity: "backup",
            entity_id: about.audit_head.clone(),
            reason: None,
            prev: None,
            new: Some(json!({
                "createdAt": about.created_at,
                "version": about.version,
                "auditEntries": about.audit_entries,
                "auditHead": about.audit_head,
            })),
        },
    )
}
