//! Reading what a pack rests on, and writing down that it was taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Asked, BY_HAND, Case, DECIDED, Decision, Event, Opened, PARTS, rules, store};
use crate::base::access::Principal;
use crate::base::id::{EvidencePackId, PersonId, TypedId as _};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::Selection;
use crate::features::audit::export::{Signed, store as export_store};
use crate::features::audit::store::{self as audit_store, StoredLeaf, StoredNodes};
use crate::features::audit::{self, Entry, Hash, Leaf, encode_hash, erasure, merkle};
use crate::features::identity::people::store::person_ref;
use crate::platform::store::Tx;

/// Entries about one thing that are read at once.
const PAGE: u32 = 1_000;
/// Roles whose entries are remembered between assignments.
const ROLES: usize = 500;
/// An instant after every entry.
const EVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// Which parts of which entries a pack opens: a bit for each.
#[derive(Debug, Default)]
pub struct Marks {
    bits: Vec<u64>,
}

impl Marks {
    /// For a log of so many entries.
    pub fn new(size: u64) -> Result<Self, Problem> {
        let words = usize::try_from((size + 1) * PARTS.len() as u64 / 64 + 1).map_err(Problem::internal)?;
        Ok(Self { bits: vec![0; words] })
    }

    fn place(seq: u64, part: usize) -> (usize, u32) {
        let bit = seq * PARTS.len() as u64 + part as u64;
        (usize::try_from(bit / 64).unwrap_or(usize::MAX), (bit % 64) as u32)
    }

    /// Has a part opened.
    pub fn set(&mut self, seq: u64, part: &str) {
        let Some(part) = PARTS.iter().position(|p| *p == part) else { return };
        let (word, bit) = Self::place(seq, part);
        if let Some(word) = self.bits.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// Whether a part is to be opened.
    pub fn has(&self, seq: u64, part: usize) -> bool {
        let (word, bit) = Self::place(seq, part);
        self.bits.get(word).is_some_and(|word| word & (1 << bit) != 0)
    }

    /// The entries after `after` up to `size` of which something is opened, at most `limit`.
    pub fn list(&self, after: u64, size: u64, limit: usize) -> Vec<u64> {
        (after + 1..=size).filter(|seq| (0..PARTS.len()).any(|part| self.has(*seq, part))).take(limit).collect()
    }
}

/// What is remembered from one page of the log to the next.
#[derive(Debug, Default)]
pub struct Reading {
    /// What is to be opened.
    pub marks: Marks,
    roles: HashMap<String, Arc<Vec<Event>>>,
}

impl Reading {
    /// Of a log of so many entries.
    pub fn of(size: u64) -> Result<Self, Problem> {
        Ok(Self { marks: Marks::new(size)?, roles: HashMap::new() })
    }
}

/// The rows of one assignment, each with its proof.
#[derive(Debug)]
pub struct Rows {
    /// That of the population.
    pub population: Value,
    /// Those of decisions.
    pub decisions: Vec<Value>,
    /// Those of exceptions.
    pub exceptions: Vec<Value>,
}

/// Part of the log, looked through for grants.
#[derive(Debug)]
pub struct Looked {
    /// The last entry that was looked at; nothing is behind it when there is none.
    pub last: Option<u64>,
    /// What belongs to the population.
    pub rows: Vec<Rows>,
    /// Grants in the period that were left closed.
    pub closed: u64,
}

/// Looks at the next grants behind `after`.
pub fn look(
    tx: &Tx<'_>,
    reading: &mut Reading,
    asked: &Asked,
    signed: &Signed,
    after: u64,
    limit: u32,
) -> Result<Looked, Problem> {
    let size = signed.checkpoint.size;
    let grants = grants(tx, after, size, limit)?;
    let mut looked = Looked { last: grants.last().map(|row| row.seq), rows: Vec::new(), closed: 0 };
    for row in grants {
        let (seq, id) = (row.seq, row.entity_id.clone());
        let assignment = events(tx, ("assignment", &id), size)?;
        let end = rules::ended(&assignment).map(|e| e.at);
        let Some(granted) = assignment.first().filter(|e| e.seq == seq) else {
            return Err(Problem::Conflict(format!("Entry {seq} grants {id}, and is not its first. Run tenure audit verify.")));
        };
        if !rules::is_in_period(granted.at, end, asked) {
            continue;
        }
        if rules::is_in_scope(granted.new.value(), asked) {
            let case = case(tx, reading, assignment, size)?;
            looked.rows.push(rows(tx, &case, asked, size)?);
        } else if asked.open_others {
            reading.marks.set(seq, "new");
        } else {
            looked.closed += 1;
        }
    }
    Ok(looked)
}

fn grants(tx: &Tx<'_>, after: u64, size: u64, limit: u32) -> Result<Vec<StoredLeaf>, Problem> {
    let selection = Selection {
        entity: Some("assignment".to_owned()),
        action: Some(super::GRANTED.to_owned()),
        ..Selection::default()
    };
    export_store::list(tx, &selection, after, size, limit)
}

/// Every entry about a thing up to `size`, in order.
fn events(tx: &Tx<'_>, thing: (&str, &str), size: u64) -> Result<Vec<Event>, Problem> {
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = audit_store::list_about(tx, &[thing], after, PAGE)?;
        let full = page.len() == PAGE as usize;
        for row in page {
            after = row.seq;
            if row.seq > size {
                return Ok(found);
            }
            found.push(event(tx, row)?);
        }
        if !full {
            return Ok(found);
        }
    }
}

fn event(tx: &Tx<'_>, row: StoredLeaf) -> Result<Event, Problem> {
    let leaf: Leaf = serde_json::from_slice(&row.leaf).map_err(Problem::internal)?;
    let states = audit_store::list_states(tx, row.seq)?;
    let opened = |part: &str| match states.iter().find(|(stored, ..)| stored == part) {
        None => Ok(Opened::Nothing),
        Some((_, _, None)) => Ok(Opened::Erased),
        Some((_, _, Some(state))) => serde_json::from_slice(state).map(Opened::Told).map_err(Problem::internal),
    };
    Ok(Event {
        seq: row.seq,
        hash: Hash::try_from(row.leaf_hash.as_slice()).map_err(Problem::internal)?,
        at: row.at,
        action: row.action,
        id: row.entity_id,
        actor: leaf.actor,
        context: opened("context")?,
        new: opened("new")?,
    })
}

/// Everything that the rows of an assignment rest on; it is opened.
fn case(tx: &Tx<'_>, reading: &mut Reading, assignment: Vec<Event>, size: u64) -> Result<Case, Problem> {
    let granted = assignment[0].new.value();
    let text = |key: &str| granted[key].as_str().map(str::to_owned);
    let (run, role) = (text("runId"), text("roleId"));
    let ids: Vec<String> =
        granted["documents"].as_array().into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned)).collect();
    let mut case = Case { assignment, ..Case::default() };
    if let Some(role) = role {
        case.role = role_events(tx, reading, &role, size)?.to_vec();
    }
    let mut documents = BTreeMap::new();
    for id in ids {
        let about = events(tx, ("document", &id), size)?;
        documents.insert(id, about);
    }
    case.documents = documents;
    if let Some(run) = run {
        for (approval, related) in store::list_approvals(tx, &run)? {
            for row in audit_store::list_actions(tx, ("approval", &approval), DECIDED, EVER)? {
                if row.seq <= size {
                    case.decisions.push(Decision { event: event(tx, row)?, related });
                }
            }
        }
        case.decisions.sort_by_key(|d| d.event.seq);
        for row in audit_store::list_actions(tx, ("run", &run), BY_HAND, EVER)? {
            if row.seq <= size {
                case.by_hand.push(event(tx, row)?);
            }
        }
    }
    mark(&mut reading.marks, &case);
    Ok(case)
}

fn role_events(tx: &Tx<'_>, reading: &mut Reading, role: &str, size: u64) -> Result<Arc<Vec<Event>>, Problem> {
    if let Some(known) = reading.roles.get(role) {
        return Ok(Arc::clone(known));
    }
    if reading.roles.len() >= ROLES {
        reading.roles.clear();
    }
    let found = Arc::new(events(tx, ("role", role), size)?);
    reading.roles.insert(role.to_owned(), Arc::clone(&found));
    Ok(found)
}

fn mark(marks: &mut Marks, case: &Case) {
    let mut open = |event: &Event, part: &str, opened: &Opened| {
        if *opened != Opened::Nothing {
            marks.set(event.seq, part);
        }
    };
    let decided = case.decisions.iter().map(|d| &d.event);
    for event in case.assignment.iter().chain(decided.clone()).chain(&case.by_hand) {
        open(event, "context", &event.context);
    }
    for event in case.assignment.iter().chain(decided).chain(&case.role).chain(case.documents.values().flatten()) {
        open(event, "new", &event.new);
    }
}

fn rows(tx: &Tx<'_>, case: &Case, asked: &Asked, size: u64) -> Result<Rows, Problem> {
    let events = case.assignment.iter().chain(case.decisions.iter().map(|d| &d.event)).chain(&case.by_hand);
    let events = events.chain(&case.role).chain(case.documents.values().flatten());
    let hashes: HashMap<u64, Hash> = events.map(|e| (e.seq, e.hash)).collect();
    let proved = |mut row: Value| -> Result<Value, Problem> {
        let seq = row["seq"].as_u64().unwrap_or(0);
        let hash = hashes.get(&seq).ok_or_else(|| Problem::internal(format!("a row rests on entry {seq}, which was not read")))?;
        row["proof"] = proof(tx, seq, hash, size)?;
        Ok(row)
    };
    let mut population = proved(rules::population(case, asked))?;
    population["shown"] = json!({ "person": name(tx, &population["personId"])? });
    let mut decisions: Vec<Value> = rules::decisions(case).into_iter().map(proved).collect::<Result<_, _>>()?;
    for row in &mut decisions {
        row["shown"] = json!({ "by": name(tx, &row["by"]["id"])? });
    }
    let exceptions = rules::exceptions(case, asked).into_iter().map(proved).collect::<Result<_, _>>()?;
    Ok(Rows { population, decisions, exceptions })
}

/// What a person is called now; nothing for what is no person.
fn name(tx: &Tx<'_>, id: &Value) -> Result<Option<String>, Problem> {
    let Some(id) = id.as_str().filter(|id| id.starts_with("per_")) else { return Ok(None) };
    Ok(person_ref(tx, &PersonId::from_stored(id.to_owned()))?.map(|p| p.display_name))
}

/// The proof that an entry is under the checkpoint.
fn proof(tx: &Tx<'_>, seq: u64, hash: &Hash, size: u64) -> Result<Value, Problem> {
    let path = merkle::inclusion(seq - 1, size, &StoredNodes(tx))?;
    let path: Vec<String> = path.iter().map(|hash| encode_hash(hash)).collect();
    Ok(json!({ "index": seq - 1, "size": size, "leafHash": encode_hash(hash), "path": path }))
}

/// Has the outcome of approvals behind `after` opened, whichever run they are of: so it can be seen that none about the
/// population is left out. The last one, if there may be more.
pub fn mark_approvals(tx: &Tx<'_>, marks: &mut Marks, size: u64, after: u64, limit: u32) -> Result<Option<u64>, Problem> {
    let mut last = None;
    for action in DECIDED {
        let selection = Selection {
            entity: Some("approval".to_owned()),
            action: Some(action.to_owned()),
            ..Selection::default()
        };
        let page = export_store::list(tx, &selection, after, size, limit)?;
        if page.len() == limit as usize {
            // Both kinds go on behind the earlier of the two ends; what is marked twice is marked once.
            let end = page.last().map(|row| row.seq);
            last = last.map_or(end, |other: u64| end.map(|end| end.min(other)));
        }
        for row in page {
            marks.set(row.seq, "new");
        }
    }
    Ok(last)
}

/// Has the entries opened that tell what was erased: so it can be seen that nothing is missing besides.
pub fn mark_erasures(tx: &Tx<'_>, marks: &mut Marks, size: u64) -> Result<(), Problem> {
    erasure::store::list_told(tx, 0, size)?.into_iter().for_each(|seq| marks.set(seq, "new"));
    Ok(())
}

/// The lines that open what is marked of these entries; refused when something was erased after the checkpoint.
pub fn openings(tx: &Tx<'_>, marks: &Marks, entries: &[u64], size: u64) -> Result<Vec<String>, Problem> {
    let (mut lines, mut gone) = (Vec::new(), Vec::new());
    for &seq in entries {
        let states = audit_store::list_states(tx, seq)?;
        for (_, part) in PARTS.iter().enumerate().filter(|(place, _)| marks.has(seq, *place)) {
            let Some((_, salt, state)) = states.iter().find(|(stored, ..)| stored == part) else { continue };
            let opening = match state {
                None => {
                    gone.push((seq, (*part).to_owned()));
                    json!({ "seq": seq, "part": part, "erased": true })
                }
                Some(state) => {
                    let text = std::str::from_utf8(state).map_err(Problem::internal)?;
                    json!({ "seq": seq, "part": part, "salt": encode_hash(salt), "state": text })
                }
            };
            lines.push(format!("{opening}\n"));
        }
    }
    erasure::ops::refuse_later(tx, size, &gone)?;
    Ok(lines)
}

/// Writes down that a pack was taken: who took what, and up to which checkpoint.
pub fn record(tx: &Tx<'_>, by: &Principal, asked: &Asked, signed: &Signed) -> Result<EvidencePackId, Problem> {
    let id: EvidencePackId = tx.new_id();
    let checkpoint = &signed.checkpoint;
    let mut new = json!(asked);
    new["checkpoint"] = json!({ "size": checkpoint.size, "root": encode_hash(&checkpoint.root) });
    let entry = Entry {
        action: "evidence_pack.taken",
        entity: "evidence_pack",
        entity_id: id.to_string(),
        reason: None,
        prev: None,
        new: Some(new),
    };
    audit::append(tx, by, entry)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_marked_is_listed_in_order_and_once() {
        let mut marks = Marks::new(1_000).unwrap();
        for (seq, part) in [(1_000, "new"), (7, "context"), (7, "new"), (31, "new"), (32, "context")] {
            marks.set(seq, part);
        }
        marks.set(9, "prev");
        marks.set(4_000_000, "new");
        assert_eq!(marks.list(0, 1_000, 10), [7, 31, 32, 1_000]);
        assert_eq!(marks.list(7, 1_000, 2), [31, 32]);
        assert!(marks.has(7, 0) && marks.has(7, 1) && !marks.has(31, 0) && marks.has(31, 1));
    }
}
