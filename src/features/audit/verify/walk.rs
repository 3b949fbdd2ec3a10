//! One walk over the log, from its first row to its last.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Expected, Fault, Position, Verdict};
use crate::base::problem::Problem;
use crate::features::audit::erasure::{self, Claims};
use crate::features::audit::merkle::{self, Frontier, node_hash};
use crate::features::audit::store::{self, SeenLeaf, StoredNodes};
use crate::features::audit::{Hash, leaf_hash};
use crate::platform::store::Tx;

/// The parts of a row that commitments stand for, as they are stored, in the order of the alphabet.
const PARTS: [&str; 3] = [erasure::PARTS[0].0, erasure::PARTS[1].0, erasure::PARTS[2].0];

/// A leaf as it is checked: its texts where they stand.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leaf<'a> {
    v: u32,
    seq: u64,
    #[serde(borrow)]
    ts: Cow<'a, str>,
    #[serde(borrow)]
    actor: Actor<'a>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow)]
    entity: Cow<'a, str>,
    #[serde(borrow)]
    entity_id: Cow<'a, str>,
    #[serde(borrow)]
    context: Option<Commitment<'a>>,
    #[serde(borrow)]
    prev_state: Option<Commitment<'a>>,
    #[serde(borrow)]
    new_state: Option<Commitment<'a>>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Actor<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Commitment<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    len: u64,
}

/// What the database keeps for a commitment: its digest, so that a page of large states is not held.
struct Kept {
    seq: u64,
    /// Its place in [`PARTS`], or beyond.
    part: usize,
    /// Nothing when it was erased.
    state: Option<(Hash, u64)>,
}

/// What a page was found to hold, besides its rows.
struct Page {
    kept: Vec<Kept>,
    /// How many of them were looked at.
    used: usize,
    /// The subtrees that its rows complete, by level, from level 1.
    made: Vec<Vec<Hash>>,
    /// An instant as text.
    instant: String,
}

/// Whether base64 `text` stands for these bytes.
fn says(text: &str, hash: &Hash) -> bool {
    let mut buffer = [0; 44];
    STANDARD.encode_slice(hash, &mut buffer) == Ok(44) && text.as_bytes() == buffer
}

/// Where a walk over the log stands.
#[derive(Debug, Clone, Default)]
pub struct Walk {
    rows: u64,
    erased: u64,
    /// The hash of the last row, and of the one before it.
    last: [Hash; 2],
    frontier: Frontier,
    /// By size, the smallest last.
    expected: Vec<Expected>,
    /// Entries of the last checkpoint that agreed.
    agreed: u64,
    checked: u64,
    /// What entries say was erased, up to the one that was looked at last.
    claims: (Claims, u64),
    fault: Option<Fault>,
}

impl Walk {
    /// A walk from the beginning that compares with these checkpoints on the way.
    pub fn new(mut expected: Vec<Expected>) -> Self {
        expected.sort_by_key(|e| std::cmp::Reverse(e.checkpoint.size));
        Self { expected, ..Self::default() }
    }

    /// Where it stands, for another one to go on from there; nothing to go on from once there is a fault.
    pub fn position(&self) -> Option<Position> {
        self.fault.is_none().then(|| Position {
            rows: self.rows,
            erased: self.erased,
            last: self.last,
            edge: self.frontier.edge().to_vec(),
        })
    }

    /// A walk that goes on where another stood. Nothing when the log there is not what that one read, or does not agree
    /// with a checkpoint of what lies behind it: then only a walk from the beginning tells where the fault is.
    pub fn resume(tx: &Tx<'_>, at: Position, expected: Vec<Expected>) -> Result<Option<Self>, Problem> {
        let stands = store::find_leaf(tx, at.rows)?.is_some_and(|row| row.leaf_hash == at.last[0]);
        let Some(frontier) = Frontier::at(at.rows, at.edge).filter(|_| stands) else { return Ok(None) };
        let mut walk = Self { rows: at.rows, erased: at.erased, last: at.last, frontier, ..Self::new(expected) };
        while let Some(next) = walk.expected.pop_if(|next| next.checkpoint.size <= at.rows) {
            // The nodes were compared with the rows on the way there.
            let root = merkle::root(next.checkpoint.size, &StoredNodes(tx));
            if !root.is_ok_and(|root| root == next.checkpoint.root) {
                return Ok(None);
            }
            walk.agreed = next.checkpoint.size;
            walk.checked += 1;
        }
        Ok(Some(walk))
    }

    /// Checks the next `limit` rows, and after the last row the end; answers whether there is more to check.
    pub fn page(&mut self, tx: &Tx<'_>, limit: u32) -> Result<bool, Problem> {
        let from = self.rows;
        let mut page = Page::read(tx, (from, from + u64::from(limit)))?;
        self.learn_claims(tx, &page)?;
        let mut seen = 0;
        store::each_leaf(tx, from, limit, |row| {
            seen += 1;
            match self.step(tx, &row, &mut page)? {
                Ok(()) => Ok(ControlFlow::Continue(())),
                Err(fault) => {
                    self.fault = Some(fault);
                    Ok(ControlFlow::Break(()))
                }
            }
        })?;
        self.check_nodes(tx, from, &page.made)?;
        if self.fault.is_none() && seen < limit {
            self.fault = self.check_end(tx)?;
            return Ok(false);
        }
        Ok(self.fault.is_none())
    }

    /// What was found so far.
    pub fn verdict(&self) -> Verdict {
        Verdict {
            rows: self.rows,
            erased: self.erased,
            checkpoints_checked: self.checked,
            left_behind: 0,
            fault: self.fault.clone(),
        }
    }

    /// Checks the next row.
    fn step(&mut self, tx: &Tx<'_>, row: &SeenLeaf<'_>, page: &mut Page) -> Result<Result<(), Fault>, Problem> {
        let seq = self.rows + 1;
        let fault = |kind, detail: String| Ok(Err(Fault { seq, kind, detail }));
        if row.seq != seq {
            return fault("gap", format!("found row {} instead", row.seq));
        }
        let hash = leaf_hash(row.leaf);
        if row.leaf_hash != hash {
            return fault("hash", "the stored hash is not the hash of the leaf".to_owned());
        }
        let leaf: Leaf<'_> = match serde_json::from_slice(row.leaf) {
            Ok(leaf) => leaf,
            Err(e) => return fault("leaf", format!("cannot be read: {e}")),
        };
        if leaf.v != 1 {
            return fault("leaf", format!("has the layout {}, which this version does not know", leaf.v));
        }
        if leaf.seq != seq {
            return Ok(Err(self.misplaced(seq, &leaf, &hash)));
        }
        if !says(&leaf.prev, &self.last[0]) {
            return self.blame(tx, seq, &leaf.prev, &hash).map(Err);
        }
        page.instant.clear();
        if write!(page.instant, "{}", row.at).is_err()
            || leaf.ts != page.instant
            || leaf.actor.id != row.actor_id
            || leaf.action != row.action
            || leaf.entity != row.entity
            || leaf.entity_id != row.entity_id
        {
            return fault("copy", "a column differs from the leaf".to_owned());
        }
        if let Err((kind, detail)) = self.check_states(&leaf, page) {
            return fault(kind, detail);
        }
        self.last = [hash, self.last[0]];
        self.rows = seq;
        self.frontier.push_each(&hash, |level, _, node| {
            let level = usize::from(level) - 1;
            if page.made.len() == level {
                page.made.push(Vec::new());
            }
            page.made[level].push(*node);
        });
        Ok(self.compare())
    }

    /// An entry that is not in its place: in the place of one that is gone, or behind one that was put in.
    fn misplaced(&self, seq: u64, leaf: &Leaf<'_>, hash: &Hash) -> Fault {
        let before = seq.saturating_sub(1);
        if leaf.seq == before && before > self.agreed && *hash != self.last[0] && says(&leaf.prev, &self.last[1]) {
            let detail = "was put in before the entry that has its number".to_owned();
            return Fault { seq: before, kind: "gap", detail };
        }
        Fault { seq, kind: "gap", detail: format!("has the place of entry {}", leaf.seq) }
    }

    /// A link that does not hold: which of the two rows is not what was written? The one that nobody else confirms.
    fn blame(&self, tx: &Tx<'_>, seq: u64, prev: &str, hash: &Hash) -> Result<Fault, Problem> {
        let here = || Fault { seq, kind: "link", detail: "does not name the hash of the row before".to_owned() };
        if seq == 1 || seq - 1 <= self.agreed {
            return Ok(here());
        }
        // The row after names this one, or the tree has the two as this one has them: the row before was changed.
        let next = store::find_leaf(tx, seq + 1)?;
        let next: Option<Leaf<'_>> = next.as_ref().and_then(|row| serde_json::from_slice(&row.leaf).ok());
        let named = next.is_some_and(|next| says(&next.prev, hash));
        let paired = || -> Result<bool, Problem> {
            let prev = STANDARD.decode(prev).ok().and_then(|bytes| bytes.try_into().ok());
            let Some(prev) = prev else { return Ok(false) };
            if seq % 2 == 1 || !store::has_tree(tx)? {
                return Ok(false);
            }
            Ok(store::find_node(tx, 1, seq / 2 - 1)? == Some(node_hash(&prev, hash)))
        };
        if named || paired()? {
            let detail = format!("is not the entry that entry {seq} names");
            return Ok(Fault { seq: seq - 1, kind: "link", detail });
        }
        Ok(here())
    }

    /// Reads what entries say was erased, if something on this page was and none that is known says so: an entry tells
    /// of it in the transaction that erases, so whoever sees the one sees the other.
    fn learn_claims(&mut self, tx: &Tx<'_>, page: &Page) -> Result<(), Problem> {
        let (claims, last) = &mut self.claims;
        if page.kept.iter().any(|kept| kept.state.is_none() && !claims.has(kept.part, kept.seq)) {
            *last = erasure::ops::add_claims(tx, claims, *last, u64::MAX >> 1)?;
        }
        Ok(())
    }

    fn check_states(&mut self, leaf: &Leaf<'_>, page: &mut Page) -> Result<(), (&'static str, String)> {
        let commitments = [&leaf.context, &leaf.new_state, &leaf.prev_state];
        let mut found: [Option<&Kept>; 3] = [None; 3];
        while let Some(kept) = page.kept.get(page.used).filter(|kept| kept.seq <= leaf.seq) {
            page.used += 1;
            match found.get_mut(kept.part) {
                Some(place) => *place = Some(kept),
                None => return Err(("state", "there is a state of a kind that no leaf names".to_owned())),
            }
        }
        let state = |detail: String| Err(("state", detail));
        for (place, (commitment, kept)) in commitments.into_iter().zip(found).enumerate() {
            let part = PARTS[place];
            match (commitment, kept.map(|kept| &kept.state)) {
                (None, None) => {}
                (None, Some(_)) => return state(format!("there is a {part} state that the leaf does not name")),
                (Some(_), None) => return state(format!("the {part} state is gone without a trace")),
                (Some(_), Some(None)) if erasure::is_kept(&leaf.action, part) => {
                    let detail = format!("the {part} state was erased, which that of an entry about the log never is");
                    return Err(("erased", detail));
                }
                (Some(_), Some(None)) if !self.claims.0.has(place, leaf.seq) => {
                    return Err(("erased", format!("the {part} state was erased, and no entry says so")));
                }
                (Some(_), Some(None)) => self.erased += 1,
                (Some(c), Some(Some((digest, len))))
                    if c.alg == "sha256" && c.len == *len && says(&c.digest, digest) => {}
                (Some(_), Some(Some(_))) => return state(format!("the {part} state is not what was sealed")),
            }
        }
        Ok(())
    }

    /// Compares the tree of the rows so far with the checkpoints of just so many.
    fn compare(&mut self) -> Result<(), Fault> {
        while let Some(next) = self.expected.last().filter(|next| next.checkpoint.size <= self.rows) {
            let Expected { place, checkpoint } = next;
            if checkpoint.size == self.rows && checkpoint.root != self.frontier.root() {
                let (first, size) = (self.agreed + 1, checkpoint.size);
                let detail =
                    format!("entries {first} to {size} are not those that the checkpoint in {place} was signed for");
                return Err(Fault { seq: first, kind: "root", detail });
            }
            self.agreed = self.rows;
            self.expected.pop();
            self.checked += 1;
        }
        Ok(())
    }

    /// Compares the subtrees that the rows after `from` completed with those that are stored; one that is wrong and
    /// ends before the fault that is known is the first.
    fn check_nodes(&mut self, tx: &Tx<'_>, from: u64, made: &[Vec<Hash>]) -> Result<(), Problem> {
        if made.is_empty() || !store::is_grown(tx)? {
            return Ok(());
        }
        for (level, made) in (1_u8..).zip(made) {
            let first = from >> level;
            let mut right = 0;
            store::each_node(tx, level, (first, first + made.len() as u64), |index, hash| {
                let expected = made.get(right).is_some_and(|node| node.as_slice() == hash);
                if index != first + right as u64 || !expected {
                    return ControlFlow::Break(());
                }
                right += 1;
                ControlFlow::Continue(())
            })?;
            let index = first + right as u64;
            let seq = (index + 1) << level;
            // A root says only from where on nothing is known; a node says which row.
            let place = |fault: &Fault| if fault.kind == "root" { self.rows + 1 } else { fault.seq };
            let known = self.fault.as_ref().map_or(u64::MAX, place);
            // The tree tells of a row at once, a link only with the row after it.
            if right < made.len() && seq <= known {
                let detail = format!("node {index} of level {level} of the tree is not the hash of the two below it");
                self.fault = Some(Fault { seq, kind: "node", detail });
            }
        }
        Ok(())
    }

    /// Checks the end: that there was a row at all, for what was emptied has no link that could be broken; that no
    /// checkpoint knows of more; and that nothing is left of rows that are not there.
    fn check_end(&self, tx: &Tx<'_>) -> Result<Option<Fault>, Problem> {
        let fault = |kind, detail| Ok(Some(Fault { seq: self.rows + 1, kind, detail }));
        if self.rows == 0 {
            return fault("gap", "the log is empty; even a new one has an entry that names it".to_owned());
        }
        if let Some(Expected { place, checkpoint }) = self.expected.first() {
            let (size, rows) = (checkpoint.size, self.rows);
            let detail = format!("the checkpoint in {place} was signed for {size} entries; here are {rows}");
            return fault("short", detail);
        }
        let (early, late) = store::has_strays(tx, self.rows)?;
        if early {
            return Ok(Some(Fault { seq: 1, kind: "gap", detail: "there are rows before the first".to_owned() }));
        }
        if late {
            return fault("state", "is gone, and what was kept of it is still there".to_owned());
        }
        if store::has_tree(tx)? && store::tree_reach(tx)? > self.rows {
            return fault("node", "is gone, and the tree still has it".to_owned());
        }
        Ok(None)
    }
}

impl Page {
    fn read(tx: &Tx<'_>, range: (u64, u64)) -> Result<Self, Problem> {
        let mut kept = Vec::new();
        store::each_state(tx, range, |seq, part, salt, state| {
            let digest = |state: &[u8]| {
                let mut hasher = Sha256::new();
                hasher.update(salt);
                hasher.update(state);
                (hasher.finalize().into(), state.len() as u64)
            };
            let part = PARTS.iter().position(|p| *p == part).unwrap_or(PARTS.len());
            kept.push(Kept { seq, part, state: state.map(digest) });
        })?;
        Ok(Self { kept, used: 0, made: Vec::new(), instant: String::new() })
    }
}
