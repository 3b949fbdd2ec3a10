//! The Merkle tree over the leaves: roots, inclusion and consistency proofs (RFC 6962 section 2.1, RFC 9162 section 2.1).
//!
//! # Invariants
//! - A node is the hash of a complete subtree and never changes: what grows is only the right edge.
//! - A proof has at most 64 hashes on each side, whatever the size of the log.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::Hash;
use crate::base::problem::Problem;

/// RFC 6962 node hash: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x01]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// Where the hashes of complete subtrees come from.
///
/// The subtree `(level, index)` covers the leaves `index << level` up to, without, `(index + 1) << level`, counted
/// from 0; level 0 is the leaf hash itself.
pub trait Nodes {
    /// The hash of a complete subtree; one that is not there is an error.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Problem>;
}

/// The root of the tree over the first `size` leaves.
pub fn root(size: u64, nodes: &impl Nodes) -> Result<Hash, Problem> {
    if size == 0 { Ok(empty_root()) } else { range(0, size, nodes) }
}

/// The audit path of leaf `index`, counted from 0, in the tree of `size` leaves, from the leaf upwards.
pub fn inclusion(index: u64, size: u64, nodes: &impl Nodes) -> Result<Vec<Hash>, Problem> {
    if index >= size {
        return Err(Problem::refused(format!("Entry {} is not in a tree of {size} entries.", index + 1)));
    }
    // From the root downwards; what is not on the way is part of the path.
    let (mut low, mut high, mut path) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range(middle, high, nodes)?);
            high = middle;
        } else {
            path.push(range(low, middle, nodes)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The proof that the tree of `new` leaves begins with the tree of `old` leaves; empty when the two are the same, or
/// the old one is empty.
pub fn consistency(old: u64, new: u64, nodes: &impl Nodes) -> Result<Vec<Hash>, Problem> {
    if old > new {
        return Err(Problem::refused(format!("A tree of {new} entries does not contain one of {old}.")));
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut low, mut high, mut proof) = (0, new, Vec::new());
    // Whether the part that is looked at is still the whole old tree, whose root the reader has.
    let mut whole = true;
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range(low, middle, nodes)?);
            low = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range(low, high, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that the leaf hash `leaf` stands at `index`, counted from 0, in the tree with this root.
///
/// The algorithm of RFC 9162 section 2.1.3.2.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves begins with the one of `old` leaves.
///
/// The algorithm of RFC 9162 section 2.1.4.2. Every tree begins with the empty one, if that has the empty root.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == 0 || old == new {
        let same = if old == new { old_root == new_root } else { *old_root == empty_root() };
        return old <= new && same && proof.is_empty();
    }
    if old > new {
        return false;
    }
    // A complete old tree is the first hash of its own proof, and is left out.
    let mut proof = proof.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { proof.next() };
    let Some(first) = first else { return false };
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            from_old = node_hash(sibling, &from_old);
            from_new = node_hash(sibling, &from_new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node_hash(&from_new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == *old_root && from_new == *new_root
}

/// The subtrees that leaf number `index`, counted from 0, completes, from low to high, its own hash left out.
///
/// What has to be stored beside the leaf so that every complete subtree is there: one node a leaf on the average.
pub fn completed(index: u64, leaf: &Hash, nodes: &impl Nodes) -> Result<Vec<(u8, u64, Hash)>, Problem> {
    let (mut level, mut place, mut hash, mut made) = (0_u8, index, *leaf, Vec::new());
    while place & 1 == 1 {
        hash = node_hash(&nodes.node(level, place - 1)?, &hash);
        place >>= 1;
        level += 1;
        made.push((level, place, hash));
    }
    Ok(made)
}

/// The largest power of two that is smaller than `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The hash of the leaves `low` up to, without, `high`: `low` is where a subtree of that width begins.
fn range(low: u64, high: u64, nodes: &impl Nodes) -> Result<Hash, Problem> {
    let width = high - low;
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        return nodes.node(u8::try_from(level).map_err(Problem::internal)?, low >> level);
    }
    let middle = low + split(width);
    Ok(node_hash(&range(low, middle, nodes)?, &range(middle, high, nodes)?))
}

/// Takes leaves in their order and knows the root of what it took; keeps one hash for each level.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    size: u64,
    /// The complete subtrees on the right edge, from wide to narrow.
    edge: Vec<Hash>,
}

impl Frontier {
    /// Takes the next leaf hash.
    pub fn push(&mut self, leaf: &Hash) {
        self.push_each(leaf, |_, _, _| {});
    }

    /// The same, and tells of each subtree that the leaf completes: its level, its index and its hash.
    pub fn push_each(&mut self, leaf: &Hash, mut told: impl FnMut(u8, u64, &Hash)) {
        let (mut hash, mut level, mut index) = (*leaf, 0_u8, self.size);
        while index & 1 == 1 {
            let left = self.edge.pop().expect("each one bit of the size stands for a subtree");
            hash = node_hash(&left, &hash);
            (level, index) = (level + 1, index >> 1);
            told(level, index, &hash);
        }
        self.edge.push(hash);
        self.size += 1;
    }

    /// One that goes on where another stood: what that one took, and its [`Frontier::edge`]; nothing when the two do
    /// not fit.
    pub fn at(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    /// The complete subtrees on the right edge, from wide to narrow.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// How many leaves it took.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them.
    pub fn root(&self) -> Hash {
        let mut edge = self.edge.iter().rev();
        let Some(first) = edge.next() else { return empty_root() };
        edge.fold(*first, |right, left| node_hash(left, &right))
    }
}

/// All complete subtrees in memory: for exports, and for whoever has nothing but leaves.
#[derive(Debug, Clone, Default)]
pub struct MemoryNodes {
    levels: BTreeMap<u8, Vec<Hash>>,
}

impl From<Vec<Hash>> for MemoryNodes {
    fn from(leaves: Vec<Hash>) -> Self {
        let (mut levels, mut below, mut level) = (BTreeMap::new(), leaves, 0_u8);
        while !below.is_empty() {
            let above = below.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            levels.insert(level, std::mem::replace(&mut below, above));
            level += 1;
        }
        Self { levels }
    }
}

impl Nodes for MemoryNodes {
    fn node(&self, level: u8, index: u64) -> Result<Hash, Problem> {
        let found = usize::try_from(index).ok().and_then(|index| self.levels.get(&level)?.get(index));
        found.copied().ok_or_else(|| Problem::internal(format!("node {index} of level {level} is not there")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::audit::leaf_hash;
    use proptest::prelude::*;

    fn tree(size: u64) -> MemoryNodes {
        MemoryNodes::from((0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect::<Vec<_>>())
    }

    /// The eight leaves of the test vectors of the Certificate Transparency project, with the roots it gives.
    #[test]
    fn roots_are_those_of_the_known_vectors() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let nodes = MemoryNodes::from(leaves.iter().map(|l| leaf_hash(l)).collect::<Vec<_>>());
        let known = [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        for (size, expected) in known {
            assert_eq!(hex::encode(root(size, &nodes).unwrap()), expected, "{size} leaves");
        }
    }

    #[test]
    fn a_frontier_has_the_root_of_every_size() {
        let nodes = tree(300);
        let mut frontier = Frontier::default();
        assert_eq!(frontier.root(), root(0, &nodes).unwrap());
        for i in 0..300_u64 {
            frontier.push(&leaf_hash(&i.to_be_bytes()));
            assert_eq!((frontier.size(), frontier.root()), (i + 1, root(i + 1, &nodes).unwrap()));
        }
    }

    #[test]
    fn what_leaves_complete_is_every_node() {
        let nodes = tree(70);
        let mut made = 0;
        for i in 0..70_u64 {
            for (level, index, hash) in completed(i, &leaf_hash(&i.to_be_bytes()), &nodes).unwrap() {
                assert_eq!(nodes.node(level, index).unwrap(), hash, "level {level}, node {index}");
                made += 1;
            }
        }
        let all: usize = nodes.levels.iter().filter(|(level, _)| **level > 0).map(|(_, row)| row.len()).sum();
        assert_eq!(made, all);
    }

    #[test]
    fn every_leaf_of_small_trees_is_proved_and_no_other_place_of_it() {
        let nodes = tree(40);
        for size in 1..=40_u64 {
            let root = root(size, &nodes).unwrap();
            for index in 0..size {
                let (proof, leaf) = (inclusion(index, size, &nodes).unwrap(), leaf_hash(&index.to_be_bytes()));
                assert!(verify_inclusion(&leaf, index, size, &root, &proof), "{index} of {size}");
                for other in (0..size + 2).filter(|other| *other != index) {
                    assert!(!verify_inclusion(&leaf, other, size, &root, &proof), "{index} as {other} of {size}");
                }
            }
        }
    }

    #[test]
    fn every_pair_of_small_trees_is_consistent() {
        let nodes = tree(40);
        for new in 0..=40_u64 {
            let new_root = root(new, &nodes).unwrap();
            for old in 0..=new {
                let (proof, old_root) = (consistency(old, new, &nodes).unwrap(), root(old, &nodes).unwrap());
                assert!(verify_consistency(old, &old_root, new, &new_root, &proof), "{old} in {new}");
                let other = leaf_hash(b"another tree");
                assert!(!verify_consistency(old, &other, new, &new_root, &proof), "a wrong {old} in {new}");
                // Every tree begins with the empty one, whatever its root.
                assert!(old == 0 || !verify_consistency(old, &old_root, new, &other, &proof), "{old} in a wrong {new}");
            }
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_proved() {
        let nodes = tree(5);
        assert!(inclusion(5, 5, &nodes).is_err());
        assert!(consistency(6, 5, &nodes).is_err());
        assert!(inclusion(0, 9, &nodes).is_err(), "the nodes of the other leaves are missing");
    }

    proptest! {
        /// A proof that was touched anywhere proves nothing any more.
        #[test]
        fn a_proof_that_was_changed_is_refused(size in 2_u64..600, at in any::<u64>(), bit in 0_usize..256, cut in any::<bool>()) {
            let nodes = tree(size);
            let (index, whole) = (at % size, root(size, &nodes).unwrap());
            let leaf = leaf_hash(&index.to_be_bytes());
            let mut proof = inclusion(index, size, &nodes).unwrap();
            if cut {
                proof.pop();
            } else {
                let place = bit % proof.len();
                proof[place][bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert!(!verify_inclusion(&leaf, index, size, &whole, &proof));

            let old = 1 + at % (size - 1);
            let old_root = root(old, &nodes).unwrap();
            let mut proof = consistency(old, size, &nodes).unwrap();
            if cut {
                proof.push(leaf);
            } else {
                let place = bit % proof.len();
                proof[place][bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert!(!verify_consistency(old, &old_root, size, &whole, &proof));
        }
    }
}
