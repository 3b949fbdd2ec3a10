//! Content that is kept under its SHA-256: `DATA_DIR/blobs/ab/abcd…`, one file per content.
//!
//! # Invariants
//! - A file has its name only once all of it is on the disk: it is written beside, synced, renamed,
//!   and the folder is synced. What failed or was cut off leaves nothing behind; what a crash left in
//!   `tmp` goes at the next start.
//! - A file that has its name is never written again.
//! - Content passes through in pieces; none is ever held whole.
//! - A file is removed only under a [`Sweep`], and no content is placed and not yet referred to while
//!   one is under way: whoever refers to content holds [`Placed`] until that is committed.
//!
//! # Not here
//! What content is good for, who refers to it and when it may go; that is a feature's. Reading checks
//! the size alone; the hash is in the name, so a check of everything can be made at any time.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::faults::Faults;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// How much is read from a file at once.
const PIECE: usize = 64 * 1024;
/// The folder of files that are not whole yet.
const TMP: &str = "tmp";
/// The fault point of a disk that is full, met by every piece that is written.
pub const DISK_FULL: &str = "blobs:disk_full";

/// The SHA-256 of content, in lower-case hex: the name it is kept under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(String);

impl BlobHash {
    /// Reads 64 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let right = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        right.then(|| Self(text.to_owned()))
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the file is below the folder of blobs.
    pub fn place(&self) -> String {
        format!("{}/{}", &self.0[..2], self.0)
    }
}

/// The files of one data directory, which has one owner.
#[derive(Debug, Clone)]
pub struct BlobStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    faults: Arc<Faults>,
    /// Shared by those who refer to content, held alone by whoever removes it.
    gate: Arc<RwLock<()>>,
    /// Two uploads of the same content give it its name one after the other.
    naming: Mutex<()>,
    serial: AtomicU64,
}

/// Content that came in whole and has no name yet; gone when dropped.
#[derive(Debug)]
pub struct Received {
    hash: BlobHash,
    size: u64,
    file: Temporary,
}

impl Received {
    /// How many bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// Content that is kept, and stays while this is held. Drop it once what refers to it is committed.
#[derive(Debug)]
pub struct Placed {
    /// The name it is kept under.
    pub hash: BlobHash,
    /// How many bytes.
    pub size: u64,
    _gate: OwnedRwLockReadGuard<()>,
}

/// The right to remove files: nothing is placed while it is held.
#[derive(Debug)]
pub struct Sweep {
    blobs: BlobStore,
    _gate: OwnedRwLockWriteGuard<()>,
}

/// A file that goes when this is dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Not there after the rename; what cannot be removed now goes at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

impl BlobStore {
    /// Opens `dir`, makes it if there is none (0700), and clears away what a crash left half-written.
    pub fn open(dir: PathBuf, faults: Arc<Faults>) -> Result<Self, Problem> {
        let tmp = dir.join(TMP);
        let prepare = || -> io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(&tmp)?;
            for entry in fs::read_dir(&tmp)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        prepare().map_err(|e| {
            Problem::refused(format!(
                "DATA_DIR: {} cannot be used: {e}. Give a directory that this user may write.",
                tmp.display()
            ))
        })?;
        Ok(Self(Arc::new(Inner {
            dir,
            faults,
            gate: Arc::default(),
            naming: Mutex::default(),
            serial: AtomicU64::new(0),
        })))
    }

    fn path(&self, hash: &BlobHash) -> PathBuf {
        self.0.dir.join(hash.place())
    }

    /// Writes what comes to the disk, piece by piece, at most `limit` bytes of it.
    pub async fn receive<S, E>(&self, mut pieces: S, limit: u64) -> Result<Received, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let serial = self.0.serial.fetch_add(1, Ordering::Relaxed);
        let file = Temporary(self.0.dir.join(TMP).join(format!("{serial}.part")));
        let fault = |e: io::Error| cannot_write(&e);
        let mut open = tokio::fs::OpenOptions::new();
        let mut out = open.write(true).create_new(true).mode(0o600).open(&file.0).await.map_err(fault)?;
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::Malformed("The file did not come whole. Send it again.".to_owned()))?;
            size += piece.len() as u64;
            if size > limit {
                return Err(too_large(limit));
            }
            hash.update(&piece);
            self.check_room().map_err(fault)?;
            out.write_all(&piece).await.map_err(fault)?;
        }
        out.flush().await.map_err(fault)?;
        out.sync_all().await.map_err(fault)?;
        Ok(Received { hash: BlobHash(hex::encode(hash.finalize())), size, file })
    }

    /// A named point where a test can make Tenure fail or die.
    pub fn pass(&self, point: &str) -> Result<(), Problem> {
        self.0.faults.hit(point)
    }

    fn check_room(&self) -> io::Result<()> {
        self.0.faults.hit(DISK_FULL).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }

    /// Gives content its name, unless it is kept already. Waits while a [`Sweep`] is under way.
    pub async fn place(&self, received: Received) -> Result<Placed, Problem> {
        let gate = Arc::clone(&self.0.gate).read_owned().await;
        let this = self.clone();
        let (hash, size) = (received.hash.clone(), received.size);
        tokio::task::spawn_blocking(move || this.name(&received)).await.map_err(Problem::internal)??;
        Ok(Placed { hash, size, _gate: gate })
    }

    fn name(&self, received: &Received) -> Result<(), Problem> {
        let fault = |e: io::Error| cannot_write(&e);
        let path = self.path(&received.hash);
        let _alone = self.0.naming.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::metadata(&path) {
            Ok(there) if there.len() == received.size => return Ok(()),
            Ok(there) => return Err(damaged(&received.hash, there.len(), received.size)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(fault(e)),
        }
        let folder = self.0.dir.join(&received.hash.0[..2]);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => sync_folder(&self.0.dir).map_err(fault)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(fault(e)),
        }
        fs::rename(&received.file.0, &path).map_err(fault)?;
        sync_folder(&folder).map_err(fault)
    }

    /// The content, in pieces; its size is checked before the first of them.
    pub async fn read(
        &self,
        hash: &BlobHash,
        size: u64,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Problem> {
        let missing = |e: io::Error| Problem::internal(format!("blob {}: {e}", hash.0));
        let file = tokio::fs::File::open(self.path(hash)).await.map_err(missing)?;
        let found = file.metadata().await.map_err(missing)?.len();
        if found != size {
            return Err(damaged(hash, found, size));
        }
        Ok(futures::stream::try_unfold(file, |mut file| async move {
            let mut piece = BytesMut::with_capacity(PIECE);
            let read = file.read_buf(&mut piece).await?;
            Ok((read > 0).then(|| (piece.freeze(), file)))
        }))
    }

    /// The content whose hash begins with `prefix` and which was stored at `until` or before.
    pub async fn list(&self, prefix: u8, until: Timestamp) -> Result<Vec<BlobHash>, Problem> {
        let folder = self.0.dir.join(format!("{prefix:02x}"));
        let look = move || -> io::Result<Vec<BlobHash>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                // A file that is no blob is not ours to remove.
                let Some(hash) = entry.file_name().to_str().and_then(BlobHash::parse) else { continue };
                if stored_at(&entry.metadata()?)? <= until {
                    found.push(hash);
                }
            }
            found.sort();
            Ok(found)
        };
        match tokio::task::spawn_blocking(look).await.map_err(Problem::internal)? {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            found => found.map_err(|e| Problem::internal(format!("blobs/{prefix:02x}: {e}"))),
        }
    }

    /// Waits until nothing is placed and not yet referred to, and keeps it so.
    pub async fn sweep(&self) -> Sweep {
        Sweep { blobs: self.clone(), _gate: Arc::clone(&self.0.gate).write_owned().await }
    }
}

impl Sweep {
    /// Removes content; false when it was not there, which is just as well.
    pub async fn remove(&self, hash: &BlobHash) -> Result<bool, Problem> {
        match tokio::fs::remove_file(self.blobs.path(hash)).await {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Problem::internal(format!("blob {} cannot be removed: {e}", hash.0))),
        }
    }
}

fn stored_at(meta: &fs::Metadata) -> io::Result<Timestamp> {
    let since = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// A name in a folder lasts once the folder is on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// What is said of content that is larger than what is taken.
pub fn too_large(limit: u64) -> Problem {
    Problem::TooLarge(format!("The file is larger than {} MiB. Hand in a smaller one.", limit / (1024 * 1024)))
}

fn damaged(hash: &BlobHash, found: u64, expected: u64) -> Problem {
    Problem::internal(format!(
        "blob {} has {found} bytes; expected {expected}. Bring the file back from a backup.",
        hash.0
    ))
}

fn cannot_write(error: &io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::unavailable(
            "The disk that holds the data directory is full. Nothing was stored; free some space and try again.",
            30,
        ),
        io::ErrorKind::ReadOnlyFilesystem => Problem::unavailable(
            "The disk that holds the data directory is read-only. Nothing was stored; mend it and try again.",
            30,
        ),
        _ => Problem::internal(format!("a blob cannot be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::platform::faults::Fault;

    /// Of the empty content and of `abc`, from FIPS 180-4.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    struct Bench {
        dir: tempfile::TempDir,
        faults: Arc<Faults>,
        blobs: BlobStore,
    }

    impl Bench {
        fn start() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let faults = Arc::new(Faults::default());
            let blobs = BlobStore::open(dir.path().join("blobs"), faults.clone()).unwrap();
            Self { dir, faults, blobs }
        }

        /// Every file, relative to the folder of blobs.
        fn files(&self) -> Vec<String> {
            let root = self.dir.path().join("blobs");
            let mut found = Vec::new();
            for folder in fs::read_dir(&root).unwrap() {
                for file in fs::read_dir(folder.unwrap().path()).unwrap() {
                    let path = file.unwrap().path();
                    found.push(path.strip_prefix(&root).unwrap().display().to_string());
                }
            }
            found.sort();
            found
        }

        async fn receive(&self, pieces: &[&'static str], limit: u64) -> Result<Received, Problem> {
            let pieces: Vec<Result<Bytes, ()>> = pieces.iter().map(|p| Ok(Bytes::from_static(p.as_bytes()))).collect();
            self.blobs.receive(futures::stream::iter(pieces), limit).await
        }

        async fn store(&self, pieces: &[&'static str]) -> Placed {
            let received = self.receive(pieces, 100).await.unwrap();
            self.blobs.place(received).await.unwrap()
        }
    }

    #[tokio::test]
    async fn content_is_kept_once_under_its_hash_and_comes_back_as_it_was() {
        let bench = Bench::start();
        let placed = bench.store(&["a", "bc"]).await;
        assert_eq!((placed.hash.as_str(), placed.size), (ABC, 3));
        let path = bench.dir.path().join("blobs/ba").join(ABC);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::metadata(&path).unwrap().modified().unwrap();
        drop(bench.store(&["abc"]).await);
        assert_eq!(bench.files(), [format!("ba/{ABC}")]);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first, "never written again");
        let stream = bench.blobs.read(&placed.hash, 3).await.unwrap();
        let pieces: Vec<_> = stream.collect().await;
        let whole: Vec<u8> = pieces.into_iter().flat_map(|p| p.unwrap().to_vec()).collect();
        assert_eq!(whole, b"abc");
    }

    #[tokio::test]
    async fn what_fails_or_is_too_large_leaves_nothing() {
        let bench = Bench::start();
        assert!(matches!(bench.receive(&["abc", "d"], 3).await, Err(Problem::TooLarge(_))));
        assert!(bench.receive(&["abc"], 3).await.is_ok(), "exactly the limit is taken");
        let cut: [Result<Bytes, ()>; 2] = [Ok(Bytes::from_static(b"abc")), Err(())];
        let found = bench.blobs.receive(futures::stream::iter(cut), 100).await;
        assert!(matches!(found, Err(Problem::Malformed(_))));
        bench.faults.arm(DISK_FULL, Fault::Error);
        assert!(matches!(bench.receive(&["abc"], 100).await, Err(Problem::Unavailable { .. })));
        assert_eq!(bench.files(), Vec::<String>::new());
        bench.faults.disarm(DISK_FULL);
        drop(bench.store(&["abc"]).await);
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_goes_at_the_next_start() {
        let bench = Bench::start();
        fs::write(bench.dir.path().join("blobs/tmp/0.part"), "half").unwrap();
        let again = BlobStore::open(bench.dir.path().join("blobs"), Arc::default()).unwrap();
        assert_eq!(bench.files(), Vec::<String>::new());
        drop(again);
    }

    #[tokio::test]
    async fn a_file_of_another_size_is_neither_served_nor_overwritten() {
        let bench = Bench::start();
        let hash = bench.store(&["abc"]).await.hash;
        fs::write(bench.dir.path().join("blobs/ba").join(ABC), "ab").unwrap();
        assert!(bench.blobs.read(&hash, 3).await.is_err());
        let received = bench.receive(&["abc"], 100).await.unwrap();
        assert!(bench.blobs.place(received).await.is_err());
        assert_eq!(fs::read(bench.dir.path().join("blobs/ba").join(ABC)).unwrap(), b"ab");
    }

    #[tokio::test]
    async fn nothing_is_removed_between_being_placed_and_being_referred_to() {
        let bench = Bench::start();
        let placed = bench.store(&["abc"]).await;
        let hash = placed.hash.clone();
        let blobs = bench.blobs.clone();
        let mut sweeping = Box::pin(async move { blobs.sweep().await });
        assert!(futures::poll!(&mut sweeping).is_pending(), "it waits for whoever refers");
        drop(placed);
        let sweep = sweeping.await;
        assert!(sweep.remove(&hash).await.unwrap());
        assert!(!sweep.remove(&hash).await.unwrap(), "a second time does nothing");
        let received = bench.receive(&["abc"], 100).await.unwrap();
        let mut placing = Box::pin(bench.blobs.place(received));
        assert!(futures::poll!(&mut placing).is_pending(), "and whoever places waits for it");
        drop(sweep);
        drop(placing.await.unwrap());
        assert_eq!(bench.files(), [format!("ba/{ABC}")]);
    }

    #[tokio::test]
    async fn old_content_is_listed_by_the_beginning_of_its_hash() {
        let bench = Bench::start();
        let hash = bench.store(&["abc"]).await.hash;
        let meta = fs::metadata(bench.dir.path().join("blobs/ba").join(ABC)).unwrap();
        let at = stored_at(&meta).unwrap();
        assert_eq!(bench.blobs.list(0xba, at).await.unwrap(), [hash]);
        let before = Timestamp::from_millis(at.as_millis() - 1);
        assert_eq!(bench.blobs.list(0xba, before).await.unwrap(), []);
        assert_eq!(bench.blobs.list(0x00, at).await.unwrap(), []);
    }
}
