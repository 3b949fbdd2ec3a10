//! A folder: each checkpoint a file of its own, and `checkpoint`, which is the newest.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Keep, KeepFuture, Record};
use crate::base::problem::Problem;

/// The name of the newest one, as C2SP `tlog-tiles` has it.
const NEWEST: &str = "checkpoint";

/// A folder of checkpoints. Clones share whose turn it is to write.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf, Arc<Mutex<()>>);

impl Folder {
    /// This folder; it is made with the first checkpoint.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into(), Arc::default())
    }

    fn fault(&self, e: &io::Error) -> Problem {
        let folder = self.0.display();
        let detail = format!("AUDIT_CHECKPOINT_PATH: {folder} cannot be used: {e}. Give a folder that this user may write, with room.");
        Problem::unavailable(detail, 60)
    }

    fn put_now(&self, name: &str, note: &str) -> io::Result<()> {
        // Two at once would move each other's unfinished file into place, and move the pointer back.
        let _turn = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o750).create(&self.0)?;
        let target = self.0.join(name);
        if !target.exists() {
            write_whole(&self.0, &target, note)?;
        }
        // The pointer only goes forward: copies may come in any order after an outage.
        let newest = newest_name(&self.0)?;
        if newest.is_none_or(|newest| newest.as_str() <= name) {
            write_whole(&self.0, &self.0.join(NEWEST), note)?;
        }
        File::open(&self.0)?.sync_all()
    }

    /// The file with the greatest name: the pointer is for others, and could be older.
    fn newest_now(&self) -> io::Result<Option<String>> {
        let name = match newest_name(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        name.map(|name| fs::read_to_string(self.0.join(name))).transpose()
    }
}

impl Keep for Folder {
    fn name(&self) -> &'static str {
        "file"
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn put<'a>(&'a self, record: &'a Record) -> KeepFuture<'a, ()> {
        let (folder, name, note) = (self.clone(), record.file_name(), record.note.clone());
        Box::pin(async move {
            let put = tokio::task::spawn_blocking(move || folder.put_now(&name, &note).map_err(|e| folder.fault(&e)));
            put.await.map_err(Problem::internal)?
        })
    }

    fn newest(&self) -> KeepFuture<'_, Option<String>> {
        let folder = self.clone();
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || folder.newest_now().map_err(|e| folder.fault(&e)));
            read.await.map_err(Problem::internal)?
        })
    }
}

/// The checkpoints of a folder, by size and time.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| name.ends_with(".note")));
    }
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

fn newest_name(folder: &Path) -> io::Result<Option<String>> {
    let mut newest = None;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().ok().filter(|name| name.ends_with(".note"));
        newest = newest.max(name);
    }
    Ok(newest)
}

/// A file is there as a whole or not at all, also after the power went.
fn write_whole(folder: &Path, target: &Path, text: &str) -> io::Result<()> {
    let temporary = folder.join(".part");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o440).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_told_whichever_came_last() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().join("deep/checkpoints"));
        assert_eq!(folder.newest_now().unwrap(), None);
        folder.put_now("00000000000000000007-b.note", "seven").unwrap();
        folder.put_now("00000000000000000005-a.note", "five").unwrap();
        assert_eq!(folder.newest_now().unwrap().as_deref(), Some("seven"));
        assert_eq!(fs::read_to_string(root.path().join("deep/checkpoints/checkpoint")).unwrap(), "seven");
        assert_eq!(fs::read_dir(root.path().join("deep/checkpoints")).unwrap().count(), 3, "nothing else is left there");
    }

    #[test]
    fn a_kept_checkpoint_is_not_written_again_and_can_only_be_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        folder.put_now("1.note", "one").unwrap();
        folder.put_now("1.note", "another one").unwrap();
        assert_eq!(fs::read_to_string(root.path().join("1.note")).unwrap(), "one");
        let mode = fs::metadata(root.path().join("1.note")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o440);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_its_variable() {
        let root = tempfile::tempdir().unwrap();
        let blocked = root.path().join("file");
        fs::write(&blocked, "").unwrap();
        let folder = Folder::new(blocked.join("checkpoints"));
        let fault = folder.fault(&folder.put_now("1.note", "one").unwrap_err()).to_string();
        assert!(fault.contains("AUDIT_CHECKPOINT_PATH") && fault.contains("file/checkpoints"), "{fault}");
    }

    #[test]
    fn checkpoints_that_come_at_once_are_all_there_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let name = |n: usize| format!("{n:020}-20260101T000000.000Z.note");
        let note = |n: usize| format!("note {n}\n").repeat(100);
        std::thread::scope(|threads| {
            for first in 0..8 {
                let folder = folder.clone();
                threads.spawn(move || (first..200).step_by(8).for_each(|n| folder.put_now(&name(n), &note(n)).unwrap()));
            }
        });
        for n in 0..200 {
            assert_eq!(fs::read_to_string(dir.path().join(name(n))).unwrap(), note(n), "checkpoint {n}");
        }
        assert_eq!(fs::read_to_string(dir.path().join(NEWEST)).unwrap(), note(199));
    }
}
