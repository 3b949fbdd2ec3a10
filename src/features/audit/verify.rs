//! Reading the log again and saying whether it is what was written and what was signed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::merkle::Frontier;
use super::note::Checkpoint;
use super::store::{self, StoredLeaf, StoredState};
use super::{Commitment, Hash, Leaf, commit, encode_hash, leaf_hash};
use crate::base::problem::Problem;
use crate::platform::store::{Store, Tx};

/// How many rows one read transaction covers; a power of two, so that the subtrees of a page are its own.
const PAGE: u32 = 1_024;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Rows read.
    pub rows: u64,
    /// States that were erased; the proof of their rows holds.
    pub erased: u64,
    /// Signed checkpoints that the rows were compared with.
    pub checkpoints_checked: u64,
    /// The first fault, if there is one.
    pub fault: Option<Fault>,
}

/// The first row that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// Which row.
    pub seq: u64,
    /// `gap`, `hash`, `link`, `leaf`, `copy`, `state`, `node`, `root`, `short` or `note`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
}

/// A signed checkpoint that the log is compared with.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Where it is from, for people.
    pub place: String,
    /// What it says, its signature checked.
    pub checkpoint: Checkpoint,
}

/// Walks the whole log, page by page.
pub async fn verify_chain(store: &Store) -> Result<Verdict, Problem> {
    verify_log(store, Vec::new()).await
}

/// Walks the whole log, page by page, and compares its tree with these checkpoints on the way.
pub async fn verify_log(store: &Store, expected: Vec<Expected>) -> Result<Verdict, Problem> {
    let mut walk = Walk::new(expected);
    loop {
        let after = walk.rows;
        let page = store.read(move |tx| Page::read(tx, after)).await?;
        if let Err(fault) = walk.page(&page) {
            return Ok(walk.verdict(Some(fault)));
        }
        if page.rows.len() < PAGE as usize {
            let beyond = store.read(store::count_pairs_if_any).await?;
            let fault = walk.finish(beyond).err();
            return Ok(walk.verdict(fault));
        }
    }
}

/// Rows with what their commitments stand for, and the subtrees that they complete.
struct Page {
    rows: Vec<(StoredLeaf, Vec<StoredState>)>,
    nodes: Option<BTreeMap<(u8, u64), Hash>>,
}

impl Page {
    fn read(tx: &Tx<'_>, after: u64) -> Result<Self, Problem> {
        let leaves = store::list_from(tx, after, PAGE)?;
        let mut states: BTreeMap<u64, Vec<StoredState>> = BTreeMap::new();
        for (seq, state) in store::list_states_from(tx, after, after + u64::from(PAGE))? {
            states.entry(seq).or_default().push(state);
        }
        let rows = leaves.into_iter().map(|leaf| {
            let states = states.remove(&leaf.seq).unwrap_or_default();
            (leaf, states)
        });
        let rows = rows.collect();
        if !store::has_tree(tx)? {
            return Ok(Self { rows, nodes: None });
        }
        let mut nodes = BTreeMap::new();
        let to = after + u64::from(PAGE);
        for level in 1..=62_u8 {
            let (from, to) = (after >> level, to >> level);
            if to == 0 {
                break;
            }
            nodes.extend(store::list_nodes(tx, level, from, to)?.into_iter().map(|(index, hash)| ((level, index), hash)));
        }
        Ok(Self { rows, nodes: Some(nodes) })
    }
}

/// Where a walk over the log stands.
#[derive(Debug, Default)]
pub struct Walk {
    rows: u64,
    erased: u64,
    prev: Hash,
    frontier: Frontier,
    /// By size, the smallest last.
    expected: Vec<Expected>,
    checked: u64,
}

impl Walk {
    /// A walk from the beginning that compares with these checkpoints on the way.
    pub fn new(mut expected: Vec<Expected>) -> Self {
        expected.sort_by_key(|e| std::cmp::Reverse(e.checkpoint.size));
        Self { expected, ..Self::default() }
    }

    fn page(&mut self, page: &Page) -> Result<(), Fault> {
        for (leaf, states) in &page.rows {
            self.step(leaf, states)?;
            self.grow(page.nodes.as_ref())?;
        }
        Ok(())
    }

    /// Checks the next row.
    pub fn step(&mut self, row: &StoredLeaf, states: &[StoredState]) -> Result<(), Fault> {
        let expected = self.rows + 1;
        let fault = |kind, detail: String| Fault { seq: expected, kind, detail };
        if row.seq != expected {
            return Err(fault("gap", format!("found row {} instead", row.seq)));
        }
        let hash = leaf_hash(&row.leaf);
        if row.leaf_hash != hash {
            return Err(fault("hash", "the stored hash is not the hash of the leaf".to_owned()));
        }
        let leaf: Leaf =
            serde_json::from_slice(&row.leaf).map_err(|e| fault("leaf", format!("cannot be read: {e}")))?;
        if leaf.prev != encode_hash(&self.prev) {
            return Err(fault("link", "does not name the hash of the row before".to_owned()));
        }
        if leaf.seq != row.seq
            || leaf.ts != row.at.to_string()
            || leaf.actor.id != row.actor_id
            || leaf.action != row.action
            || leaf.entity != row.entity
            || leaf.entity_id != row.entity_id
        {
            return Err(fault("copy", "a column differs from the leaf".to_owned()));
        }
        for (part, commitment) in
            [("context", &leaf.context), ("prev", &leaf.prev_state), ("new", &leaf.new_state)]
        {
            self.check_state(part, commitment.as_ref(), states).map_err(|d| fault("state", d))?;
        }
        self.prev = hash;
        self.rows = expected;
        Ok(())
    }

    /// Lets the tree grow by the row that was checked, and compares it with what is stored and what was signed.
    fn grow(&mut self, stored: Option<&BTreeMap<(u8, u64), Hash>>) -> Result<(), Fault> {
        let mut wrong = None;
        self.frontier.push_each(&self.prev, |level, index, hash| {
            if stored.is_some_and(|stored| stored.get(&(level, index)) != Some(hash)) {
                wrong.get_or_insert((level, index));
            }
        });
        let seq = self.rows;
        if let Some((level, index)) = wrong {
            let detail = format!("node {index} of level {level} of the tree is not the hash of the two below it");
            return Err(Fault { seq, kind: "node", detail });
        }
        while let Some(next) = self.expected.last().filter(|next| next.checkpoint.size <= seq) {
            if next.checkpoint.size == seq && next.checkpoint.root != self.frontier.root() {
                let place = &next.place;
                let detail = format!("the first {seq} entries are not those that the checkpoint in {place} was signed for");
                return Err(Fault { seq, kind: "root", detail });
            }
            self.expected.pop();
            self.checked += 1;
        }
        Ok(())
    }

    /// Checks the end: that there was a row at all, for what was emptied has no link that could be broken; that no
    /// checkpoint knows of more; and that the tree has nothing of rows that are not there.
    fn finish(&self, pairs: Option<u64>) -> Result<(), Fault> {
        let fault = |kind, detail| Err(Fault { seq: self.rows + 1, kind, detail });
        if self.rows == 0 {
            return fault("gap", "the log is empty; even a new one has an entry that names it".to_owned());
        }
        if let Some(Expected { place, checkpoint }) = self.expected.first() {
            let detail = format!("the checkpoint in {place} was signed for {} entries; here are {}", checkpoint.size, self.rows);
            return fault("short", detail);
        }
        match pairs {
            Some(pairs) if pairs > self.rows / 2 => fault("node", "the tree has nodes of entries that are gone".to_owned()),
            _ => Ok(()),
        }
    }

    fn verdict(&self, fault: Option<Fault>) -> Verdict {
        Verdict { rows: self.rows, erased: self.erased, checkpoints_checked: self.checked, fault }
    }

    fn check_state(
        &mut self,
        part: &str,
        commitment: Option<&Commitment>,
        states: &[StoredState],
    ) -> Result<(), String> {
        let stored = states.iter().find(|(p, ..)| p == part);
        match (commitment, stored) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(format!("there is a {part} state that the leaf does not name")),
            (Some(_), None) => Err(format!("the {part} state is gone without a trace")),
            (Some(_), Some((_, _, None))) => {
                self.erased += 1;
                Ok(())
            }
            (Some(c), Some((_, salt, Some(state)))) if *c == commit(salt, state) => Ok(()),
            (Some(_), Some(_)) => Err(format!("the {part} state is not what was sealed")),
        }
    }
}
