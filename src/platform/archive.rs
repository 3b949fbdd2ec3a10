//! One file that holds several: the container of a backup.
//!
//! The format is POSIX tar, uncompressed, so that any system can look inside. The first member is
//! [`LIST`]: JSON with the size and the SHA-256 of each of the others.
//!
//! # Invariants
//! - A name that leads out of the folder it is unpacked into is refused, and so is anything that is
//!   not a plain file.
//! - What is unpacked is exactly what the list names, with the size and the hash it names.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::problem::Problem;

/// The member that lists the others.
const LIST: &str = "manifest.json";
/// The largest list that is read, in bytes.
const MAX_LIST: u64 = 64 * 1024 * 1024;

/// What the list says of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Bytes.
    pub size: u64,
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
}

/// The members of an archive by name, and what its maker says about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List<T> {
    /// The maker's own words.
    #[serde(flatten)]
    pub about: T,
    /// Every other member.
    pub files: BTreeMap<String, Member>,
}

fn fault(path: &Path, e: &io::Error) -> Problem {
    Problem::refused(format!("{}: {e}", path.display()))
}

/// Writes `files` (name in the archive → where it is) into the new file `to` and waits for the disk.
pub fn pack<T: Serialize>(to: &Path, about: T, files: &BTreeMap<String, std::path::PathBuf>) -> Result<List<T>, Problem> {
    let mut list = List { about, files: BTreeMap::new() };
    for (name, path) in files {
        list.files.insert(name.clone(), measure(path).map_err(|e| fault(path, &e))?);
    }
    let text = serde_json::to_vec_pretty(&list).map_err(Problem::internal)?;
    let write = || -> io::Result<()> {
        let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        let mut tar = tar::Builder::new(BufWriter::new(out));
        append(&mut tar, LIST, text.len() as u64, &mut text.as_slice())?;
        for (name, path) in files {
            let size = list.files.get(name).map_or(0, |m| m.size);
            append(&mut tar, name, size, &mut File::open(path)?.take(size))?;
        }
        let mut out = tar.into_inner()?;
        out.flush()?;
        out.get_ref().sync_all()
    };
    write().map_err(|e| fault(to, &e))?;
    Ok(list)
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, data: &mut impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, data)
}

fn measure(path: &Path) -> io::Result<Member> {
    let mut hash = Sha256::new();
    let size = io::copy(&mut BufReader::new(File::open(path)?), &mut HashWriter(&mut hash))?;
    Ok(Member { size, sha256: hex::encode(hash.finalize()) })
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks everything into the folder `into`, which must be empty, and checks it against the list.
pub fn unpack<T: for<'a> Deserialize<'a>>(from: &Path, into: &Path) -> Result<List<T>, Problem> {
    let broken = |why: String| Problem::refused(format!("{}: {why}. Nothing was changed.", from.display()));
    let mut tar = tar::Archive::new(BufReader::new(File::open(from).map_err(|e| fault(from, &e))?));
    let mut list: Option<List<T>> = None;
    let mut found = BTreeMap::new();
    let not_tar = |e: io::Error| broken(format!("is not a whole backup of Tenure: {e}"));
    for entry in tar.entries().map_err(not_tar)? {
        let mut entry = entry.map_err(not_tar)?;
        let name = plain_name(&entry).ok_or_else(|| broken("holds a member that is no plain file below it".to_owned()))?;
        let Some(known) = &list else {
            if name != LIST || entry.size() > MAX_LIST {
                return Err(broken(format!("does not begin with its {LIST}; it is not a backup of Tenure")));
            }
            let read = serde_json::from_reader(&mut entry);
            list = Some(read.map_err(|e| broken(format!("its {LIST} cannot be read: {e}")))?);
            continue;
        };
        let Some(promised) = known.files.get(&name) else {
            return Err(broken(format!("holds {name}, which its {LIST} does not name")));
        };
        let path = into.join(&name);
        let got = unpack_one(&mut entry, &path).map_err(|e| fault(&path, &e))?;
        if got != *promised {
            return Err(broken(format!("{name} is not what was backed up: its size or its hash differs")));
        }
        if found.insert(name.clone(), ()).is_some() {
            return Err(broken(format!("holds {name} twice")));
        }
    }
    let list = list.ok_or_else(|| broken("is empty".to_owned()))?;
    match list.files.keys().find(|name| !found.contains_key(*name)) {
        None => Ok(list),
        Some(missing) => Err(broken(format!("{missing} is missing; the file was cut short"))),
    }
}

/// The name of a member, if it is a plain file below the archive's root.
fn plain_name(entry: &tar::Entry<'_, impl Read>) -> Option<String> {
    let path = entry.path().ok()?;
    let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    (plain && entry.header().entry_type().is_file()).then(|| path.to_str().map(str::to_owned)).flatten()
}

fn unpack_one(entry: &mut impl Read, path: &Path) -> io::Result<Member> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let n = entry.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        out.write_all(&buffer[..n])?;
        size += n as u64;
    }
    out.sync_all()?;
    Ok(Member { size, sha256: hex::encode(hash.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(dir: &Path) -> std::path::PathBuf {
        std::fs::write(dir.join("a"), b"alpha").unwrap();
        std::fs::write(dir.join("b"), vec![7; 300_000]).unwrap();
        let files = BTreeMap::from([("x/a".to_owned(), dir.join("a")), ("b".to_owned(), dir.join("b"))]);
        let to = dir.join("archive");
        pack(&to, serde_json::json!({ "made": "now" }), &files).unwrap();
        to
    }

    fn unpack_into(from: &Path, dir: &Path, name: &str) -> Result<List<serde_json::Value>, Problem> {
        let into = dir.join(name);
        std::fs::create_dir(&into).unwrap();
        unpack(from, &into)
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let dir = tempfile::tempdir().unwrap();
        let list = unpack_into(&packed(dir.path()), dir.path(), "out").unwrap();
        assert_eq!(list.about["made"], "now");
        assert_eq!(std::fs::read(dir.path().join("out/x/a")).unwrap(), b"alpha");
        assert_eq!(std::fs::read(dir.path().join("out/b")).unwrap(), vec![7; 300_000]);
    }

    /// Wherever a byte of a member's contents changes, or the file ends early, unpacking refuses.
    #[test]
    fn a_changed_byte_and_a_cut_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let whole = std::fs::read(packed(dir.path())).unwrap();
        let at = whole.windows(5).position(|w| w == b"alpha").unwrap();
        let damaged = dir.path().join("damaged");
        for (i, change) in [at, whole.len() / 2].into_iter().enumerate() {
            let mut bytes = whole.clone();
            bytes[change] ^= 1;
            std::fs::write(&damaged, &bytes).unwrap();
            let got = unpack_into(&damaged, dir.path(), &format!("changed{i}"));
            assert!(got.unwrap_err().to_string().contains("differs"), "byte {change}");
        }
        for (i, end) in [0, 100, at + 2, whole.len() / 2].into_iter().enumerate() {
            std::fs::write(&damaged, &whole[..end]).unwrap();
            assert!(unpack_into(&damaged, dir.path(), &format!("cut{i}")).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_name_that_leads_out_and_a_link_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for (i, kind) in [tar::EntryType::Regular, tar::EntryType::Symlink].into_iter().enumerate() {
            let path = dir.path().join(format!("evil{i}"));
            let mut tar = tar::Builder::new(File::create(&path).unwrap());
            let list = br#"{"files":{"../out":{"size":1,"sha256":""}}}"#;
            append(&mut tar, LIST, list.len() as u64, &mut list.as_slice()).unwrap();
            let mut header = tar::Header::new_gnu();
            // The builder refuses such names, so the bytes are put there by hand.
            header.as_gnu_mut().unwrap().name[..6].copy_from_slice(b"../out");
            header.set_size(0);
            header.set_entry_type(kind);
            header.set_cksum();
            tar.append(&header, io::empty()).unwrap();
            tar.into_inner().unwrap();
            let refused = unpack_into(&path, dir.path(), &format!("in{i}")).unwrap_err();
            assert!(refused.to_string().contains("no plain file below it"), "{refused}");
        }
        assert!(!dir.path().join("out").exists());
    }
}
