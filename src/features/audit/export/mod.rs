//! Export: the log as files that others read: as C2SP `tlog-tiles`, as JSON Lines, as a table.
//!
//! The tiles are the evidence: every leaf, byte by byte, the tree over them and the signed checkpoint that it leads to.
//! They hold ids and digests and nothing that was written by people. JSON Lines and the table are for reading and for
//! other programs; they open what the digests stand for, unless it was erased.
//!
//! # Invariants
//! - The tiles of a checkpoint lead to its root, or there is no end to the export.
//! - Whatever the size of the log, an export keeps a few megabytes in memory.
//!
//! # Not here
//! Which checkpoint is the newest: `app` plugs that in ([`Newest`]), for checkpoints stand above the log.

pub mod api;
pub mod bundle;
pub mod lines;
mod names;
pub mod ops;
pub mod rows;
pub mod store;
pub mod tiles;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Selection;
use super::note::{Checkpoint, VerifierKey};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::Tx;

/// The layout of the manifest that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// Hashes in a whole tile, and entries in a whole bundle of them.
pub const TILE: u64 = 256;
/// Levels of the tree that one level of tiles stands for.
pub const TILE_LEVELS: u8 = 8;
/// The file with the signed checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// The file with the keys that the log names, one a line, the present one last.
pub const KEYS: &str = "verifier.key";

/// What a bundle of files is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// C2SP `tlog-tiles`.
    Tiles,
    /// JSON Lines.
    Jsonl,
    /// A table.
    Csv,
    /// An evidence pack: tiles, and what is derived from them.
    Pack,
}

/// The number of a tile as the steps of a path: `1234067` is `x001/x234/067` (C2SP `tlog-tiles`).
fn steps(index: u64) -> String {
    let mut path = format!("{:03}", index % 1_000);
    let mut rest = index / 1_000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1_000);
        rest /= 1_000;
    }
    path
}

/// Behind the path of a tile that is not full yet.
fn partial(width: u64) -> String {
    if width == TILE { String::new() } else { format!(".p/{width}") }
}

/// Where the hashes of a tile stand.
pub fn tile_path(level: u8, index: u64, width: u64) -> String {
    format!("tile/{level}/{}{}", steps(index), partial(width))
}

/// Where the entries of a tile of level 0 stand.
pub fn entries_path(index: u64, width: u64) -> String {
    format!("tile/entries/{}{}", steps(index), partial(width))
}

/// Adds an entry to a bundle: its length in two bytes, the high one first, then its bytes.
pub fn push_entry(bundle: &mut Vec<u8>, leaf: &[u8]) -> Result<(), Problem> {
    let length = u16::try_from(leaf.len()).map_err(|_| Problem::internal("a leaf is too long for a bundle of entries"))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(leaf);
    Ok(())
}

/// The next entry of a bundle, and what is behind it; nothing at its end, or when it is cut off.
pub fn pop_entry(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// What the manifest of an export says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// [`FORMAT`].
    pub format: u32,
    /// What it is.
    pub kind: Kind,
    /// The version of Tenure that made it.
    pub version: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// The name of the log.
    pub origin: String,
    /// How many entries are in it.
    pub entries: u64,
    /// The last entry that was looked at.
    pub up_to: u64,
    /// What it was narrowed by.
    pub filter: Selection,
    /// The newest checkpoint, as it is signed.
    pub checkpoint: Option<String>,
    /// Who signs, the present key last. Compare it with what you were told on another way.
    pub verifier_keys: Vec<String>,
}

/// The newest checkpoint with what it takes to believe it.
#[derive(Debug, Clone)]
pub struct Signed {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// It as it is signed.
    pub note: String,
    /// The keys that the log names.
    pub keys: Vec<VerifierKey>,
    /// The notes by which the log goes on under another name, with the name of a file for each.
    pub continued: Vec<(String, String)>,
}

impl Signed {
    /// The keys, one a line.
    pub fn key_lines(&self) -> String {
        self.keys.iter().map(|key| format!("{key}\n")).collect()
    }
}

/// The newest checkpoint of the log, as it is signed; nothing before the first.
#[derive(Clone)]
pub struct Newest(pub Arc<NewestOf>);

/// The function behind [`Newest`].
pub type NewestOf = dyn Fn(&Tx<'_>) -> Result<Option<String>, Problem> + Send + Sync;

impl fmt::Debug for Newest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the C2SP specification of tlog-tiles.
    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0, 1_234_067, TILE), "tile/0/x001/x234/067");
        assert_eq!(tile_path(1, 1, 8), "tile/1/001.p/8");
        assert_eq!(entries_path(0, 112), "tile/entries/000.p/112");
        assert_eq!(entries_path(999, TILE), "tile/entries/999");
        assert_eq!(entries_path(1_000, TILE), "tile/entries/x001/000");
    }

    #[test]
    fn entries_come_out_of_a_bundle_as_they_went_in() {
        let mut bundle = Vec::new();
        let long = vec![7; 65_535];
        for leaf in [b"one".as_slice(), b"", &long] {
            push_entry(&mut bundle, leaf).unwrap();
        }
        assert!(push_entry(&mut Vec::new(), &vec![0; 65_536]).is_err());
        let (one, rest) = pop_entry(&bundle).unwrap();
        let (none, rest) = pop_entry(rest).unwrap();
        let (last, end) = pop_entry(rest).unwrap();
        assert_eq!((one, none, last.len(), end.len()), (b"one".as_slice(), b"".as_slice(), 65_535, 0));
        assert_eq!(pop_entry(end), None);
        assert_eq!(pop_entry(&bundle[..4]), None, "it is cut off");
    }
}
