//! Appending: features stage entries, the journal links them in one pass per batch.

use serde_json::{Value, json};

use super::store::{StoredLeaf, StoredNodes};
use super::{Actor, Hash, Leaf, MAX_LEAF, OPENED, SealedState, canonical, leaf_hash, leaf_of, merkle, seal, store};
use crate::base::access::{ExceptionMark, Principal};
use crate::base::id::{AuditId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::store::{Draft, Journal, Sealed, Tx};

/// What a feature tells the log about a change.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `<entity>.<verb>`, such as `role.granted`.
    pub action: &'static str,
    /// The kind of thing that changed.
    pub entity: &'static str,
    /// Which one.
    pub entity_id: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// The object before the change; never a secret.
    pub prev: Option<Value>,
    /// The object after the change; never a secret.
    pub new: Option<Value>,
}

/// Stages an entry; it is written with the transaction, or not at all.
pub fn append(tx: &Tx<'_>, by: &Principal, entry: Entry) -> Result<(), Problem> {
    let (actor_type, actor_id) = by.actor();
    let mut context = json!({ "name": by.name, "address": by.address, "reason": entry.reason });
    if let Some(exception) = &by.exception {
        context["exception"] = json!(exception);
    }
    tx.stage(Draft {
        id: tx.new_id::<AuditId>().as_str().to_owned(),
        at: tx.now(),
        actor_type,
        actor_id,
        action: entry.action,
        entity: entry.entity,
        entity_id: entry.entity_id,
        request_id: by.request_id.as_ref().map(ToString::to_string),
        context: Sealed(Some(context)),
        prev_state: Sealed(entry.prev),
        new_state: Sealed(entry.new),
    });
    Ok(())
}

/// An entry as it is told to people.
#[derive(Debug, Clone)]
pub struct Told {
    /// Place in the log.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Their name at that time, unless it was erased.
    pub name: Option<String>,
    /// What, `<entity>.<verb>`.
    pub action: String,
    /// To what kind of thing.
    pub entity: String,
    /// To which one.
    pub entity_id: String,
    /// Why, in the actor's words.
    pub reason: Option<String>,
    /// Who stands behind it, where the rules let nobody do it alone.
    pub exception: Option<ExceptionMark>,
    /// The object after the change, unless it was erased.
    pub new: Option<Value>,
}

/// Reads a row with what its commitments stand for.
pub fn tell(tx: &Tx<'_>, row: StoredLeaf) -> Result<Told, Problem> {
    let leaf: Leaf = serde_json::from_slice(&row.leaf).map_err(Problem::internal)?;
    let mut context = state_of(tx, row.seq, "context")?.unwrap_or_default();
    let text = |key: &str| context.get(key).and_then(Value::as_str).map(str::to_owned);
    let (name, reason) = (text("name"), text("reason"));
    let exception = context.get_mut("exception").map(Value::take);
    Ok(Told {
        seq: row.seq,
        at: row.at,
        actor: leaf.actor,
        name,
        action: row.action,
        entity: row.entity,
        entity_id: row.entity_id,
        reason,
        exception: exception.and_then(|mark| serde_json::from_value(mark).ok()),
        new: state_of(tx, row.seq, "new")?,
    })
}

/// The entries about a thing with one of these actions that are not from after `at`, oldest first.
pub fn list_of(
    tx: &Tx<'_>,
    thing: (&str, &str),
    actions: [&str; 2],
    at: Timestamp,
) -> Result<Vec<Told>, Problem> {
    store::list_actions(tx, thing, actions, at)?.into_iter().map(|row| tell(tx, row)).collect()
}

/// What a commitment of a row stands for, unless it was erased.
pub fn state_of(tx: &Tx<'_>, seq: u64, part: &str) -> Result<Option<Value>, Problem> {
    let bytes = store::find_state(tx, seq, part)?;
    bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(Problem::internal)).transpose()
}

/// Gives the entries of a batch their place and their link.
#[derive(Debug, Default)]
pub struct AuditJournal;

impl Journal for AuditJournal {
    fn append(&self, tx: &Tx<'_>, drafts: Vec<Draft>) -> Result<(), Problem> {
        // The head is read in this transaction: one kept in memory would be wrong after a rollback.
        let (mut seq, mut prev): (u64, Hash) = store::head(tx)?.unwrap_or((0, [0; 32]));
        complete_tree(tx, seq)?;
        for draft in drafts {
            seq += 1;
            prev = append_one(tx, &draft, seq, &prev)?;
        }
        Ok(())
    }
}

fn append_one(tx: &Tx<'_>, draft: &Draft, seq: u64, prev: &Hash) -> Result<Hash, Problem> {
    let salt = || tx.random().to_be_bytes();
    let sealed: [Option<SealedState>; 3] = [
        seal(draft.context.0.as_ref(), salt)?,
        seal(draft.prev_state.0.as_ref(), salt)?,
        seal(draft.new_state.0.as_ref(), salt)?,
    ];
    let commitments = [0, 1, 2].map(|i: usize| sealed[i].as_ref().map(|s| s.commitment.clone()));
    let leaf = canonical(&leaf_of(draft, seq, prev, commitments))?;
    if leaf.len() > MAX_LEAF {
        return Err(Problem::refused(format!(
            "The audit entry for {} would have {} bytes; at most {MAX_LEAF} fit. Use shorter ids.",
            draft.action,
            leaf.len()
        )));
    }
    let hash = leaf_hash(&leaf);
    store::insert_leaf(tx, draft, seq, &leaf, &hash)?;
    grow_tree(tx, seq, &hash)?;
    for (part, state) in ["context", "prev", "new"].into_iter().zip(sealed) {
        if let Some(state) = state {
            store::insert_state(tx, seq, part, &state)?;
        }
    }
    Ok(hash)
}

/// Stores the subtrees that leaf `seq` completes.
fn grow_tree(tx: &Tx<'_>, seq: u64, hash: &Hash) -> Result<(), Problem> {
    for node in merkle::completed(seq - 1, hash, &StoredNodes(tx))? {
        store::insert_node(tx, node)?;
    }
    Ok(())
}

/// Makes the tree of entries that are older than it, if there are some: before the first checkpoint is asked for.
pub fn ensure_tree(tx: &Tx<'_>) -> Result<(), Problem> {
    let head = store::head(tx)?.map_or(0, |(seq, _)| seq);
    complete_tree(tx, head)
}

/// Makes the tree of entries that are older than it: of a log from before there was one.
fn complete_tree(tx: &Tx<'_>, head: u64) -> Result<(), Problem> {
    const PAGE: u32 = 10_000;
    let mut after = 2 * store::count_pairs(tx)?;
    while after + 1 < head {
        for (seq, hash) in store::list_hashes(tx, after, PAGE)? {
            grow_tree(tx, seq, &hash)?;
            after = seq;
        }
    }
    Ok(())
}

/// Writes row 1, which names the log, unless it is there.
pub fn ensure_genesis(tx: &Tx<'_>, origin: &str, verifier_key: &str, version: &str) -> Result<(), Problem> {
    if store::head(tx)?.is_some() {
        return Ok(());
    }
    append(
        tx,
        &Principal::system("audit"),
        Entry {
            action: OPENED,
            entity: "audit_log",
            entity_id: origin.to_owned(),
            reason: None,
            prev: None,
            new: Some(json!({ "origin": origin, "verifierKey": verifier_key, "version": version })),
        },
    )
}
