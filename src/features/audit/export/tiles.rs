//! The log as C2SP `tlog-tiles`: `checkpoint`, `tile/<level>/…`, `tile/entries/…`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{About, CHECKPOINT, FORMAT, KEYS, Kind, Selection, Signed, TILE, TILE_LEVELS, entries_path, push_entry, tile_path};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::merkle::Frontier;
use crate::features::audit::store::StoredLeaf;
use crate::features::audit::{Hash, leaf_hash, store as audit_store};
use crate::platform::pieces::{Next, Piece, Pieces};
use crate::platform::store::Store;

/// Bundles of entries that are read at once.
const BUNDLES: u64 = 8;

/// Makes the tiles of the log as it was at a checkpoint.
#[derive(Debug)]
pub struct Tiles {
    store: Store,
    signed: Signed,
    frontier: Frontier,
    /// Hashes of the levels of tiles above the lowest that fill no tile yet: the number of the tile, and what is in it.
    above: BTreeMap<u8, (u64, Vec<u8>)>,
    created_at: Timestamp,
    done: bool,
}

impl Tiles {
    /// The tiles of what `signed` was signed for.
    pub fn new(store: Store, signed: Signed, created_at: Timestamp) -> Self {
        Self { store, signed, frontier: Frontier::default(), above: BTreeMap::new(), created_at, done: false }
    }

    /// The checkpoint that they lead to.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The next tiles, then the checkpoint; nothing when all are there.
    pub async fn step(&mut self) -> Result<Option<Vec<Piece>>, Problem> {
        if self.done {
            return Ok(None);
        }
        let (after, size) = (self.frontier.size(), self.signed.checkpoint.size);
        if after < size {
            let to = size.min(after + BUNDLES * TILE);
            let limit = u32::try_from(to - after).map_err(Problem::internal)?;
            let leaves = self.store.read(move |tx| audit_store::list_from(tx, after, limit)).await?;
            return self.bundles(&leaves, to).map(Some);
        }
        self.done = true;
        self.end().map(Some)
    }

    fn bundles(&mut self, leaves: &[StoredLeaf], to: u64) -> Result<Vec<Piece>, Problem> {
        let mut pieces = Vec::new();
        for bundle in leaves.chunks(usize::try_from(TILE).map_err(Problem::internal)?) {
            let index = self.frontier.size() / TILE;
            let (mut entries, mut hashes) = (Vec::new(), Vec::new());
            for leaf in bundle {
                if leaf.seq != self.frontier.size() + 1 {
                    return Err(unsound());
                }
                push_entry(&mut entries, &leaf.leaf)?;
                let hash = leaf_hash(&leaf.leaf);
                hashes.extend_from_slice(&hash);
                self.grow(&hash, &mut pieces);
            }
            let width = bundle.len() as u64;
            pieces.push(Piece::unlisted(entries_path(index, width), entries));
            pieces.push(Piece::unlisted(tile_path(0, index, width), hashes));
        }
        if self.frontier.size() == to { Ok(pieces) } else { Err(unsound()) }
    }

    fn grow(&mut self, leaf: &Hash, pieces: &mut Vec<Piece>) {
        let above = &mut self.above;
        self.frontier.push_each(leaf, |level, index, hash| {
            if level % TILE_LEVELS != 0 {
                return;
            }
            let level = level / TILE_LEVELS;
            let (tile, hashes) = above.entry(level).or_default();
            *tile = index / TILE;
            hashes.extend_from_slice(hash);
            if index % TILE == TILE - 1 {
                pieces.push(Piece::unlisted(tile_path(level, *tile, TILE), std::mem::take(hashes)));
            }
        });
    }

    fn end(&mut self) -> Result<Vec<Piece>, Problem> {
        if self.frontier.root() != self.signed.checkpoint.root {
            return Err(unsound());
        }
        let partial = std::mem::take(&mut self.above).into_iter().filter(|(_, (_, hashes))| !hashes.is_empty());
        let mut pieces: Vec<Piece> = partial
            .map(|(level, (tile, hashes))| {
                let width = (hashes.len() / size_of::<Hash>()) as u64;
                Piece::unlisted(tile_path(level, tile, width), hashes)
            })
            .collect();
        pieces.extend(self.signed.continued.iter().map(|(name, note)| Piece::listed(name.clone(), note.clone())));
        pieces.push(Piece::listed(KEYS, self.signed.key_lines()));
        // Whoever follows an export that grows sees the checkpoint once everything under it is there.
        pieces.push(Piece::listed(CHECKPOINT, self.signed.note.as_str()));
        Ok(pieces)
    }
}

fn unsound() -> Problem {
    Problem::Conflict(
        "The audit log is not what its newest checkpoint was signed for, so there is nothing to export as evidence. \
         Run tenure audit verify, which says where it differs."
            .to_owned(),
    )
}

impl Pieces for Tiles {
    fn next(&mut self) -> Next<'_> {
        Box::pin(self.step())
    }

    fn about(&self) -> Result<Value, Problem> {
        let checkpoint = &self.signed.checkpoint;
        serde_json::to_value(About {
            format: FORMAT,
            kind: Kind::Tiles,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.created_at,
            origin: checkpoint.origin.clone(),
            entries: checkpoint.size,
            up_to: checkpoint.size,
            filter: Selection::default(),
            checkpoint: Some(self.signed.note.clone()),
            verifier_keys: self.signed.keys.iter().map(ToString::to_string).collect(),
        })
        .map_err(Problem::internal)
    }
}
