//! Files that are made one after the other: sent as a tar while they are made, or written into a folder.
//!
//! Nothing is kept but what is on its way, so that an export may be larger than memory and disk. The last file is
//! [`MANIFEST`]: what the maker says about the export, with size and SHA-256 of each file that is listed.
//!
//! # Invariants
//! - What breaks off has no manifest, and a tar no end: it cannot be taken for a whole one.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::archive::{List, Member};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// The file that lists the others.
pub const MANIFEST: &str = "manifest.json";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name below the folder of the export.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// Whether the manifest names it. What can be checked by something better, such as a tile, needs no place there.
    pub listed: bool,
}

impl Piece {
    /// A file that the manifest names.
    pub fn listed(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), content: content.into(), listed: true }
    }

    /// One that it does not name.
    pub fn unlisted(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), content: content.into(), listed: false }
    }
}

/// The next files; nothing when all are there.
pub type Next<'a> = Pin<Box<dyn Future<Output = Result<Option<Vec<Piece>>, Problem>> + Send + 'a>>;

/// Who makes the files.
pub trait Pieces: Send {
    /// Makes the next ones. None of them may be a step that took work and has no file to show yet.
    fn next(&mut self) -> Next<'_>;

    /// What the manifest says about the whole, once all files were made.
    fn about(&self) -> Result<Value, Problem>;
}

/// What the manifest lists so far.
#[derive(Default)]
struct Listed(BTreeMap<String, Member>);

impl Listed {
    fn note(&mut self, piece: &Piece) {
        if piece.listed {
            let sha256 = hex::encode(Sha256::digest(&piece.content));
            self.0.insert(piece.name.clone(), Member { size: piece.content.len() as u64, sha256 });
        }
    }

    fn manifest(self, about: Value) -> Result<Piece, Problem> {
        let list = List { about, files: self.0 };
        let mut text = serde_json::to_vec_pretty(&list).map_err(Problem::internal)?;
        text.push(b'\n');
        Ok(Piece::unlisted(MANIFEST, text))
    }
}

/// What goes on while a tar is sent.
struct Sending {
    pieces: Box<dyn Pieces>,
    folder: String,
    at: Timestamp,
    listed: Listed,
    tar: tar::Builder<Vec<u8>>,
}

impl Sending {
    fn append(&mut self, piece: &Piece) -> Result<(), Problem> {
        let mut header = tar::Header::new_gnu();
        header.set_size(piece.content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(self.at.as_millis() / 1_000).unwrap_or(0));
        let name = format!("{}/{}", self.folder, piece.name);
        self.tar.append_data(&mut header, name, piece.content.as_slice()).map_err(Problem::internal)?;
        self.listed.note(piece);
        Ok(())
    }

    /// The bytes up to the next files, and whether there may be more.
    async fn step(&mut self) -> Result<(Vec<u8>, bool), Problem> {
        let found = self.pieces.next().await?;
        for piece in found.iter().flatten() {
            self.append(piece)?;
        }
        if found.is_none() {
            let manifest = std::mem::take(&mut self.listed).manifest(self.pieces.about()?)?;
            self.append(&manifest)?;
            self.tar.finish().map_err(Problem::internal)?;
        }
        Ok((std::mem::take(self.tar.get_mut()), found.is_some()))
    }
}

/// The files as a POSIX tar, each below `folder`, with `at` as the time of each.
pub fn as_tar(
    pieces: Box<dyn Pieces>,
    folder: String,
    at: Timestamp,
) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    let sending = Sending { pieces, folder, at, listed: Listed::default(), tar: tar::Builder::new(Vec::new()) };
    futures::stream::try_unfold(Some(sending), |sending| async move {
        let Some(mut sending) = sending else { return Ok(None) };
        let (bytes, more) = sending.step().await?;
        Ok(Some((Bytes::from(bytes), more.then_some(sending))))
    })
}

fn fault(path: &Path, e: &io::Error) -> Problem {
    Problem::refused(format!("{}: {e}", path.display()))
}

/// The files in a folder, which is made, or is there and empty.
pub async fn into_folder(mut pieces: Box<dyn Pieces>, folder: &Path) -> Result<(), Problem> {
    prepare(folder)?;
    let mut listed = Listed::default();
    while let Some(found) = pieces.next().await? {
        found.iter().for_each(|piece| listed.note(piece));
        write_all(folder.to_owned(), found).await?;
    }
    let manifest = listed.manifest(pieces.about()?)?;
    write_all(folder.to_owned(), vec![manifest]).await
}

fn prepare(folder: &Path) -> Result<(), Problem> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| fault(folder, &e))?;
    let mut there = std::fs::read_dir(folder).map_err(|e| fault(folder, &e))?;
    if there.next().is_some() {
        return Err(Problem::refused(format!("{} is not empty. Give a folder that is new or empty.", folder.display())));
    }
    Ok(())
}

async fn write_all(folder: PathBuf, pieces: Vec<Piece>) -> Result<(), Problem> {
    let work = move || {
        pieces.iter().try_for_each(|piece| {
            let path = folder.join(&piece.name);
            write(&path, &piece.content).map_err(|e| fault(&path, &e))
        })
    };
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    // The manifest is the last; once it is on disk, so is everything before it.
    if path.ends_with(MANIFEST) {
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            rustix::fs::syncfs(File::open(folder)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt as _;
    use std::io::Read as _;

    struct Three(u8);

    impl Pieces for Three {
        fn next(&mut self) -> Next<'_> {
            self.0 += 1;
            let number = self.0;
            Box::pin(async move {
                match number {
                    1 => Ok(Some(vec![Piece::listed("a/one", "1"), Piece::unlisted("a/x001/two", "22")])),
                    2 => Ok(Some(Vec::new())),
                    3 => Ok(Some(vec![Piece::listed("three", vec![7; 5_000])])),
                    _ => Ok(None),
                }
            })
        }

        fn about(&self) -> Result<Value, Problem> {
            Ok(serde_json::json!({ "made": self.0 }))
        }
    }

    #[tokio::test]
    async fn a_tar_is_sent_while_it_is_made_and_ends_with_its_manifest() {
        let at = Timestamp::from_millis(1_000_000);
        let chunks: Vec<Bytes> = as_tar(Box::new(Three(0)), "top".to_owned(), at).try_collect().await.unwrap();
        assert_eq!(chunks.len(), 4);
        let whole = chunks.concat();
        let mut tar = tar::Archive::new(whole.as_slice());
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.push((entry.path().unwrap().display().to_string(), content));
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["top/a/one", "top/a/x001/two", "top/three", "top/manifest.json"]);
        let manifest: Value = serde_json::from_slice(&found[3].1).unwrap();
        assert_eq!(manifest["made"], 4);
        assert_eq!(manifest["files"]["three"]["size"], 5_000);
        assert_eq!(manifest["files"]["a/one"]["sha256"], hex::encode(Sha256::digest("1")));
        assert_eq!(manifest["files"].as_object().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_folder_gets_the_same_and_has_to_be_empty() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep/export");
        into_folder(Box::new(Three(0)), &folder).await.unwrap();
        assert_eq!(std::fs::read(folder.join("a/x001/two")).unwrap(), b"22");
        assert!(folder.join(MANIFEST).is_file());
        let again = into_folder(Box::new(Three(0)), &folder).await.unwrap_err();
        assert!(again.to_string().contains("is not empty"), "{again}");
    }
}
