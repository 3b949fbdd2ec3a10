//! Checking a folder that was exported: without a server, without a database, with nothing but the folder and a key.
//!
//! # Invariants
//! - What is missing is a fault like what is wrong: nothing is passed over.
//! - The list of files guards against damage. What guards against people is the checkpoint, and the key that was told
//!   on another way than with the folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::names::Names;
use super::{About, CHECKPOINT, FORMAT, KEYS, Kind, Selection, TILE, TILE_LEVELS, entries_path, pop_entry, tile_path};
use crate::base::problem::Problem;
use crate::features::audit::merkle::Frontier;
use crate::features::audit::note::{Checkpoint, VerifierKey, open_note};
use crate::features::audit::verify::{Expected, Fault};
use crate::features::audit::{Hash, Leaf, encode_hash, leaf_hash};
use crate::platform::archive::{List, Member};
use crate::platform::pieces::MANIFEST;

/// What a folder is compared with.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The keys that were told on another way; without any, those in the folder are taken, and that is said.
    pub keys: Vec<VerifierKey>,
    /// Notes that were kept elsewhere, with where they are from.
    pub notes: Vec<(String, String)>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleVerdict {
    /// What the folder holds.
    pub kind: Kind,
    /// The name of the log.
    pub origin: String,
    /// Entries that were read.
    pub entries: u64,
    /// States that were compared with their digests.
    pub opened: u64,
    /// States that were erased; the proof of their entries holds.
    pub erased: u64,
    /// Rows of tables that were compared with the entries, and their proofs with the checkpoint.
    pub rows: u64,
    /// Signed checkpoints that the entries were compared with.
    pub checkpoints_checked: u64,
    /// Signed checkpoints of entries that were left behind when the log was put back.
    pub left_behind: u64,
    /// What the reader has to know to believe it.
    pub warnings: Vec<String>,
    /// The first fault, if there is one.
    pub fault: Option<Fault>,
}

/// Why checking ended early.
#[derive(Debug)]
pub enum Stop {
    /// Something is not what it should be.
    Fault(Fault),
    /// It could not be found out.
    CannotTell(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::CannotTell(problem)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A fault.
pub fn fault(seq: u64, kind: &'static str, detail: impl Into<String>) -> Stop {
    Stop::Fault(Fault { seq, kind, detail: detail.into() })
}

/// A folder that was exported.
#[derive(Debug)]
pub struct Bundle {
    folder: PathBuf,
    /// What its manifest says; tiles by others have none.
    pub list: Option<List<Value>>,
    /// What it holds.
    pub kind: Kind,
    /// The counts so far.
    pub verdict: BundleVerdict,
    /// Checkpoints in earlier names.
    names: Names,
}

/// An entry of the tiles.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Its place, counted from 1.
    pub seq: u64,
    /// What its bytes say.
    pub leaf: &'a Leaf,
    /// Their hash.
    pub hash: Hash,
}

/// What is done with each entry on the way.
pub type Visit<'a> = &'a mut dyn FnMut(&Entry<'_>) -> Result<(), Stop>;

impl Bundle {
    /// Opens a folder.
    pub fn open(folder: &Path) -> Result<Self, Problem> {
        let manifest = folder.join(MANIFEST);
        let list: Option<List<Value>> = if manifest.is_file() {
            let text = read(&manifest)?;
            let list = serde_json::from_slice(&text)
                .map_err(|e| Problem::refused(format!("{} cannot be read: {e}", manifest.display())))?;
            Some(list)
        } else if folder.join(CHECKPOINT).is_file() {
            None
        } else {
            return Err(Problem::refused(format!(
                "{} holds neither {MANIFEST} nor {CHECKPOINT}. Give the folder of an export; unpack a tar first.",
                folder.display()
            )));
        };
        let about = list.as_ref().map(|list| about_of(&list.about, &manifest)).transpose()?;
        let kind = about.as_ref().map_or(Kind::Tiles, |about| about.kind);
        let verdict = BundleVerdict {
            kind,
            origin: about.map(|about| about.origin).unwrap_or_default(),
            entries: 0,
            opened: 0,
            erased: 0,
            rows: 0,
            checkpoints_checked: 0,
            left_behind: 0,
            warnings: Vec::new(),
            fault: None,
        };
        Ok(Self { folder: folder.to_owned(), list, kind, verdict, names: Names::default() })
    }

    /// What the manifest says about an export.
    pub fn about(&self) -> Result<Option<About>, Problem> {
        let manifest = self.folder.join(MANIFEST);
        self.list.as_ref().map(|list| about_of(&list.about, &manifest)).transpose()
    }

    /// The names of listed files that begin so, in order.
    pub fn named(&self, begin: &str) -> Vec<String> {
        let files = self.list.iter().flat_map(|list| list.files.keys());
        files.filter(|name| name.starts_with(begin)).cloned().collect()
    }

    /// The lines of the listed JSON Lines that begin so, one after the other: where each stands, and its JSON.
    pub fn lines(&self, begin: &str) -> impl Iterator<Item = Result<(String, Value), Stop>> + use<> {
        let folder = self.folder.clone();
        self.named(begin).into_iter().filter(|name| name.ends_with(".jsonl")).flat_map(move |name| {
            let path = folder.join(&name);
            let lines = File::open(&path).map(|file| BufReader::new(file).lines().enumerate());
            let (failed, lines) = match lines {
                Ok(lines) => (None, Some(lines)),
                Err(e) => (Some(Err(Stop::CannotTell(unreadable(&path, &e)))), None),
            };
            let parsed = lines.into_iter().flatten().map(move |(number, line)| {
                let place = format!("{name}:{}", number + 1);
                let line = line.map_err(|e| Stop::CannotTell(unreadable(&path, &e)))?;
                match serde_json::from_str(&line) {
                    Ok(value) => Ok((place, value)),
                    Err(e) => Err(fault(0, "file", format!("{place} is not JSON: {e}"))),
                }
            });
            failed.into_iter().chain(parsed)
        })
    }

    /// Compares every listed file with its size and its hash.
    pub fn check_files(&self) -> Result<(), Stop> {
        for (name, promised) in self.list.iter().flat_map(|list| &list.files) {
            if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(fault(0, "file", format!("{MANIFEST} names {name}, which is not below the folder")));
            }
            let path = self.folder.join(name);
            if !path.is_file() {
                return Err(fault(0, "file", format!("{name} is missing")));
            }
            if measure(&path)? != *promised {
                return Err(fault(0, "file", format!("{name} is not what {MANIFEST} says: its size or its hash differs")));
            }
        }
        Ok(())
    }

    /// The checkpoint, its signature checked, and every other checkpoint that there is to compare with.
    pub fn checkpoints(&mut self, given: &Given) -> Result<(Checkpoint, Vec<Expected>), Stop> {
        let mut keys = self.keys(given)?;
        let note = self.text(CHECKPOINT)?;
        let mut all = vec![(CHECKPOINT.to_owned(), note)];
        for name in self.named("checkpoints/") {
            let note = self.text(&name)?;
            all.push((name, note));
        }
        all.extend(given.notes.iter().cloned());
        // A key that is believed is believed under whichever name of the log.
        let believed = keys.iter().map(|key| key.name().to_owned()).collect();
        let origins: std::collections::BTreeSet<String> = all.iter().filter_map(|(_, note)| note.lines().next().map(str::to_owned)).collect();
        let named: Vec<VerifierKey> = keys.iter().flat_map(|key| origins.iter().map(|origin| key.named(origin))).collect();
        keys.extend(named);
        let mut expected = Vec::new();
        let mut foreign = Vec::new();
        for (place, note) in all {
            match open_note(&note, &keys) {
                Ok(checkpoint) if expected.first().is_some_and(|own: &Expected| own.checkpoint.origin != checkpoint.origin) => {
                    foreign.push((Expected { place, checkpoint }, note));
                }
                Ok(checkpoint) => expected.push(Expected { place, checkpoint }),
                Err(why) => return Err(fault(0, "note", format!("the checkpoint in {place} was not signed by this log: {why}"))),
            }
        }
        let own = expected[0].checkpoint.clone();
        self.names = Names::new(foreign, believed);
        if self.list.is_some() && self.verdict.origin != own.origin {
            return Err(fault(0, "note", format!("{MANIFEST} names another log than {CHECKPOINT}")));
        }
        self.verdict.origin.clone_from(&own.origin);
        expected.sort_by_key(|e| std::cmp::Reverse(e.checkpoint.size));
        if let Some(beyond) = expected.first().filter(|e| e.checkpoint.size > own.size) {
            let detail = format!("the checkpoint in {} was signed for {} entries; here are {}", beyond.place, beyond.checkpoint.size, own.size);
            return Err(fault(own.size + 1, "short", detail));
        }
        Ok((own, expected))
    }

    fn keys(&mut self, given: &Given) -> Result<Vec<VerifierKey>, Stop> {
        if !given.keys.is_empty() {
            return Ok(given.keys.clone());
        }
        let text = self.text(KEYS)?;
        let keys: Result<Vec<VerifierKey>, String> = text.lines().map(str::parse).collect();
        let keys = keys.map_err(|why| fault(0, "note", format!("{KEYS}: {why}")))?;
        if let Some(last) = keys.last() {
            self.verdict.warnings.push(format!(
                "the key came with the folder; compare it with what you were told on another way: {last}"
            ));
        }
        Ok(keys)
    }

    /// The text of a file.
    pub fn text(&self, name: &str) -> Result<String, Stop> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Err(fault(0, "file", format!("{name} is missing")));
        }
        let bytes = read(&path)?;
        String::from_utf8(bytes).map_err(|_| fault(0, "file", format!("{name} is not text")))
    }

    /// Goes through all entries of the tiles: each has its place, names the one before it, and is under its hash in the
    /// tree that the checkpoints were signed for.
    pub fn walk(&mut self, own: &Checkpoint, expected: Vec<Expected>, visit: Visit<'_>) -> Result<(), Stop> {
        let names = std::mem::take(&mut self.names);
        let mut walk = Walk { frontier: Frontier::default(), prev: [0; 32], above: BTreeMap::new(), expected, checked: 0, names };
        // A checkpoint of nothing says nothing.
        walk.expected.retain(|e| e.checkpoint.size > 0);
        while walk.frontier.size() < own.size {
            let index = walk.frontier.size() / TILE;
            let width = (own.size - walk.frontier.size()).min(TILE);
            let (entries, hashes) = (self.entries(index, width)?, self.hashes(0, index, width)?);
            let mut rest = entries.as_slice();
            for place in 0..width {
                let seq = walk.frontier.size() + 1;
                let cut = || fault(seq, "gap", format!("{} ends before it", entries_path(index, width)));
                let (bytes, behind) = pop_entry(rest).ok_or_else(cut)?;
                rest = behind;
                let at = usize::try_from(place).map_err(Problem::internal)? * size_of::<Hash>();
                self.step(&mut walk, seq, bytes, &hashes[at..at + size_of::<Hash>()], visit)?;
            }
        }
        for (level, (index, hashes)) in std::mem::take(&mut walk.above) {
            let width = (hashes.len() / size_of::<Hash>()) as u64;
            if width > 0 {
                self.compare(level, index, width, &hashes, own.size)?;
            }
        }
        self.verdict.entries = own.size;
        let (agree, behind) = walk.names.check(&own.origin)?;
        self.verdict.checkpoints_checked = walk.checked + agree;
        self.left_behind(behind);
        Ok(())
    }

    /// Notes how many checkpoints are of entries that a restore left behind.
    pub(super) fn left_behind(&mut self, behind: u64) {
        self.verdict.left_behind = behind;
        if behind > 0 {
            self.verdict.warnings.push(format!(
                "the log was put back from a backup; {behind} checkpoints are of entries that were left behind"
            ));
        }
    }

    fn step(&self, walk: &mut Walk, seq: u64, bytes: &[u8], stored: &[u8], visit: Visit<'_>) -> Result<(), Stop> {
        let hash = leaf_hash(bytes);
        if stored != hash {
            return Err(fault(seq, "hash", "the hash in its tile is not the hash of the entry"));
        }
        let leaf: Leaf = serde_json::from_slice(bytes).map_err(|e| fault(seq, "leaf", format!("cannot be read: {e}")))?;
        if leaf.seq != seq {
            return Err(fault(seq, "gap", format!("found entry {} instead", leaf.seq)));
        }
        if leaf.prev != encode_hash(&walk.prev) {
            return Err(fault(seq, "link", "does not name the hash of the entry before"));
        }
        visit(&Entry { seq, leaf: &leaf, hash })?;
        walk.prev = hash;
        let (mut full, above) = (Vec::new(), &mut walk.above);
        walk.frontier.push_each(&hash, |level, index, hash| {
            if level % TILE_LEVELS == 0 {
                let level = level / TILE_LEVELS;
                let (tile, hashes) = above.entry(level).or_default();
                *tile = index / TILE;
                hashes.extend_from_slice(hash);
                if index % TILE == TILE - 1 {
                    full.push((level, *tile, std::mem::take(hashes)));
                }
            }
        });
        for (level, index, hashes) in full {
            self.compare(level, index, TILE, &hashes, seq)?;
        }
        let Walk { names, frontier, .. } = walk;
        names.take(&leaf, || frontier.root());
        walk.agrees(seq)
    }

    fn compare(&self, level: u8, index: u64, width: u64, hashes: &[u8], seq: u64) -> Result<(), Stop> {
        if self.hashes(level, index, width)? == hashes {
            return Ok(());
        }
        let path = tile_path(level, index, width);
        Err(fault(seq, "node", format!("{path} does not hold the hashes of the tiles below it")))
    }

    fn entries(&self, index: u64, width: u64) -> Result<Vec<u8>, Stop> {
        self.tile(index * TILE + 1, &entries_path(index, width), &entries_path(index, TILE))
    }

    fn hashes(&self, level: u8, index: u64, width: u64) -> Result<Vec<u8>, Stop> {
        let path = tile_path(level, index, width);
        let seq = ((index * TILE) << (TILE_LEVELS * level)) + 1;
        let mut hashes = self.tile(seq, &path, &tile_path(level, index, TILE))?;
        let length = usize::try_from(width).map_err(Problem::internal)? * size_of::<Hash>();
        if hashes.len() < length {
            return Err(fault(seq, "node", format!("{path} is cut off")));
        }
        hashes.truncate(length);
        Ok(hashes)
    }

    /// A tile; the whole one stands for a part of it.
    fn tile(&self, seq: u64, path: &str, whole: &str) -> Result<Vec<u8>, Stop> {
        let found = [path, whole].into_iter().map(|name| self.folder.join(name)).find(|path| path.is_file());
        let found = found.ok_or_else(|| fault(seq, "gap", format!("{path} is missing")))?;
        Ok(read(&found)?)
    }
}

/// Where a walk over tiles stands.
struct Walk {
    frontier: Frontier,
    prev: Hash,
    above: BTreeMap<u8, (u64, Vec<u8>)>,
    /// By size, the smallest last.
    expected: Vec<Expected>,
    checked: u64,
    names: Names,
}

impl Walk {
    fn agrees(&mut self, seq: u64) -> Result<(), Stop> {
        while let Some(next) = self.expected.pop_if(|next| next.checkpoint.size <= seq) {
            if next.checkpoint.root != self.frontier.root() {
                let detail = format!("the first {seq} entries are not those that the checkpoint in {} was signed for", next.place);
                return Err(fault(seq, "root", detail));
            }
            self.checked += 1;
        }
        Ok(())
    }
}

fn about_of(about: &Value, path: &Path) -> Result<About, Problem> {
    let format = about["format"].as_u64().unwrap_or(0);
    if format > u64::from(FORMAT) {
        return Err(Problem::refused(format!(
            "{} has format {format}; this is Tenure {} and reads up to {FORMAT}. Check it with a newer version.",
            path.display(),
            env!("CARGO_PKG_VERSION"),
        )));
    }
    serde_json::from_value(about.clone()).map_err(|e| Problem::refused(format!("{} is not of an export: {e}", path.display())))
}

fn unreadable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::refused(format!("{} cannot be read: {e}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|e| unreadable(path, &e))
}

fn measure(path: &Path) -> Result<Member, Problem> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 128 * 1024]);
    loop {
        let n = file.read(&mut buffer).map_err(|e| unreadable(path, &e))?;
        if n == 0 {
            return Ok(Member { size, sha256: hex::encode(hash.finalize()) });
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
}

/// Checks an export of whichever kind, but for what only a pack has.
pub fn check(folder: &Path, given: &Given) -> Result<BundleVerdict, Problem> {
    let mut bundle = Bundle::open(folder)?;
    let checked = check_in(&mut bundle, given);
    conclude(bundle, checked)
}

/// The verdict of a check that ended so.
pub fn conclude(mut bundle: Bundle, checked: Result<(), Stop>) -> Result<BundleVerdict, Problem> {
    match checked {
        Ok(()) => {}
        Err(Stop::Fault(fault)) => bundle.verdict.fault = Some(fault),
        Err(Stop::CannotTell(problem)) => return Err(problem),
    }
    Ok(bundle.verdict)
}

fn check_in(bundle: &mut Bundle, given: &Given) -> Result<(), Stop> {
    bundle.check_files()?;
    match bundle.kind {
        Kind::Tiles | Kind::Pack => {
            let (own, expected) = bundle.checkpoints(given)?;
            bundle.walk(&own, expected, &mut |_| Ok(()))
        }
        Kind::Jsonl => super::lines::check(bundle, given),
        Kind::Csv => {
            bundle.verdict.warnings.push(
                "a table was compared with its list of files only; export tiles or JSON Lines for evidence".to_owned(),
            );
            bundle.verdict.entries = bundle.about()?.map_or(0, |about| about.entries);
            Ok(())
        }
    }
}

/// Whether a selection leaves nothing out.
pub(super) fn is_whole(selection: &Selection) -> bool {
    *selection == Selection::default()
}
