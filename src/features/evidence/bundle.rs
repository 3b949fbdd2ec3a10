//! Checking a pack without a server: its files and its log as every export, and its tables by the rules.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Asked, BY_HAND, Case, DECIDED, Decision, Event, Opened, PARTS, PackAbout, rules};
use crate::base::problem::Problem;
use crate::features::audit::export::bundle::{self, Bundle, BundleVerdict, Entry, Given, Stop, fault};
use crate::features::audit::export::Kind;
use crate::features::audit::erasure::{self, ERASED};
use crate::features::audit::export::lines::{Erasures, is_opened_by};
use crate::features::audit::note::Checkpoint;
use crate::features::audit::{Commitment, Hash, encode_hash, merkle};

/// Checks an exported folder of whichever kind.
pub fn check(folder: &Path, given: &Given) -> Result<BundleVerdict, Problem> {
    let mut found = Bundle::open(folder)?;
    if found.kind != Kind::Pack {
        return bundle::check(folder, given);
    }
    let checked = check_pack(&mut found, given);
    bundle::conclude(found, checked)
}

fn check_pack(found: &mut Bundle, given: &Given) -> Result<(), Stop> {
    found.check_files()?;
    let pack = found.list.as_ref().map_or(&Value::Null, |list| &list.about["pack"]);
    let pack: PackAbout = serde_json::from_value(pack.clone())
        .map_err(|e| fault(0, "file", format!("the manifest does not say what the pack is about: {e}")))?;
    let (own, expected) = found.checkpoints(given)?;
    let mut log = Log::default();
    let mut openings = Openings::of(found);
    found.walk(&own, expected, &mut |entry| log.take(entry, &mut openings))?;
    openings.finish()?;
    found.verdict.opened = openings.opened;
    found.verdict.erased = openings.erased;
    Tables::read(found)?.compare(found, &log, &pack, &own)
}

/// What opens entries, in their order.
struct Openings {
    lines: Box<dyn Iterator<Item = Result<(String, Value), Stop>>>,
    next: Option<(u64, Value)>,
    last: u64,
    opened: u64,
    erased: u64,
    erasures: Erasures,
}

impl Openings {
    fn of(found: &Bundle) -> Self {
        Self { lines: Box::new(found.lines("openings-")), next: None, last: 0, opened: 0, erased: 0, erasures: Erasures::default() }
    }

    fn peek(&mut self) -> Result<Option<u64>, Stop> {
        if self.next.is_none()
            && let Some(line) = self.lines.next()
        {
            let (place, line) = line?;
            let seq = line["seq"].as_u64().filter(|seq| *seq >= self.last && *seq > 0);
            let seq = seq.ok_or_else(|| fault(0, "state", format!("{place} opens no entry, or not in order")))?;
            self.last = seq;
            self.next = Some((seq, line));
        }
        Ok(self.next.as_ref().map(|(seq, _)| *seq))
    }

    /// What opens this entry, compared with its digests, by [`PARTS`].
    fn take(&mut self, entry: &Entry<'_>) -> Result<[Opened; 2], Stop> {
        let digests = [&entry.leaf.context, &entry.leaf.new_state];
        let mut opened = digests.map(|digest| if digest.is_some() { Opened::Closed } else { Opened::Nothing });
        while self.peek()? == Some(entry.seq) {
            let Some((seq, line)) = self.next.take() else { break };
            let part = PARTS.iter().position(|part| line["part"] == *part);
            let digest = part.and_then(|part| Some((part, digests[part].as_ref()?)));
            let (part, digest) = digest.ok_or_else(|| fault(seq, "state", "something is opened that its leaf does not have"))?;
            opened[part] = self.open(seq, digest, &line)?;
            if opened[part] == Opened::Erased {
                self.erasures.miss(seq, &entry.leaf.action, erasure::PARTS[part].1)?;
            }
        }
        if entry.leaf.action == ERASED {
            if opened[1] == Opened::Closed {
                return Err(fault(entry.seq, "closed", "what tells of an erasure is not opened"));
            }
            self.erasures.claims.take(opened[1].value());
        }
        Ok(opened)
    }

    fn open(&mut self, seq: u64, digest: &Commitment, line: &Value) -> Result<Opened, Stop> {
        if line["erased"] == true {
            self.erased += 1;
            return Ok(Opened::Erased);
        }
        let (salt, state) = (line["salt"].as_str().unwrap_or_default(), line["state"].as_str().unwrap_or_default());
        if !is_opened_by(digest, salt, state.as_bytes()) {
            return Err(fault(seq, "state", "what is opened is not what was sealed"));
        }
        self.opened += 1;
        let told = serde_json::from_str(state).map_err(|e| fault(seq, "state", format!("cannot be read: {e}")))?;
        Ok(Opened::Told(told))
    }

    fn finish(&mut self) -> Result<(), Stop> {
        match self.peek()? {
            None => self.erasures.check(),
            Some(seq) => Err(fault(seq, "state", "an entry is opened that is not in the log")),
        }
    }
}

/// The entries that tables can rest on, by kind and by the thing that they are about.
#[derive(Default)]
struct Log {
    assignments: HashMap<String, Vec<Event>>,
    roles: HashMap<String, Vec<Event>>,
    documents: HashMap<String, Vec<Event>>,
    by_hand: HashMap<String, Vec<Event>>,
    decided: BTreeMap<u64, Event>,
    /// Those that say their run, by it.
    decided_in: HashMap<String, Vec<u64>>,
    /// The hash of each of these entries.
    hashes: HashMap<u64, Hash>,
    /// The grants, in their order.
    grants: Vec<(u64, String)>,
}

impl Log {
    fn take(&mut self, entry: &Entry<'_>, openings: &mut Openings) -> Result<(), Stop> {
        let [context, new] = openings.take(entry)?;
        let leaf = entry.leaf;
        let (entity, action) = (leaf.entity.as_str(), leaf.action.as_str());
        let kind = match entity {
            "assignment" => Some(&mut self.assignments),
            "role" => Some(&mut self.roles),
            "document" => Some(&mut self.documents),
            "run" if BY_HAND.contains(&action) => Some(&mut self.by_hand),
            "approval" if DECIDED.contains(&action) => None,
            _ => return Ok(()),
        };
        let at = leaf.ts.parse().map_err(|_| fault(entry.seq, "leaf", "its instant is none"))?;
        let event = Event {
            seq: entry.seq,
            hash: entry.hash,
            at,
            action: action.to_owned(),
            id: leaf.entity_id.clone(),
            actor: leaf.actor.clone(),
            context,
            new,
        };
        self.hashes.insert(entry.seq, entry.hash);
        let Some(kind) = kind else {
            if let Some(run) = event.new.value()["run"].as_str() {
                self.decided_in.entry(run.to_owned()).or_default().push(entry.seq);
            }
            self.decided.insert(entry.seq, event);
            return Ok(());
        };
        kind.entry(leaf.entity_id.clone()).or_default().push(event);
        if rules::begins(entity, action) {
            self.grants.push((entry.seq, leaf.entity_id.clone()));
        }
        Ok(())
    }

    /// What the rows of an assignment rest on. `named` are decisions that its rows name and whose run the log does not
    /// tell, with whether they are said to be of another run.
    fn case(&self, id: &str, named: &[(u64, bool)]) -> Result<Case, Stop> {
        let about = |kind: &HashMap<String, Vec<Event>>, id: &Value| {
            id.as_str().and_then(|id| kind.get(id)).cloned().unwrap_or_default()
        };
        let assignment = self.assignments.get(id).cloned().unwrap_or_default();
        let granted = assignment.first().map_or(Value::Null, |e| e.new.value().clone());
        let documents = granted["documents"].as_array().into_iter().flatten();
        let run = &granted["runId"];
        let own = run.as_str().and_then(|run| self.decided_in.get(run)).into_iter().flatten();
        let mut decisions = Vec::new();
        for (seq, related) in own.map(|seq| (*seq, false)).chain(named.iter().copied()) {
            let event = self.decided.get(&seq).ok_or_else(|| fault(seq, "row", "a decision is named that is none"))?;
            decisions.push(Decision { event: event.clone(), related });
        }
        decisions.sort_by_key(|d| d.event.seq);
        let case = Case {
            role: about(&self.roles, &granted["roleId"]),
            documents: documents.filter_map(|id| Some((id.as_str()?.to_owned(), about(&self.documents, id)))).collect(),
            by_hand: about(&self.by_hand, run),
            decisions,
            assignment,
        };
        closed(&case).map_or(Ok(case), |seq| Err(fault(seq, "closed", "an entry that the tables rest on is not opened")))
    }

    /// Whether the log cannot tell which run a decision fell in.
    fn is_erased(&self, seq: u64) -> bool {
        self.decided.get(&seq).is_some_and(|e| e.new == Opened::Erased)
    }
}

/// An entry of a case that is not opened although it has to be.
fn closed(case: &Case) -> Option<u64> {
    let decided = || case.decisions.iter().map(|d| &d.event);
    let context = case.assignment.iter().chain(decided()).chain(&case.by_hand).filter(|e| e.context == Opened::Closed);
    let new = case.assignment.iter().chain(decided()).chain(&case.role).chain(case.documents.values().flatten());
    context.chain(new.filter(|e| e.new == Opened::Closed)).map(|e| e.seq).min()
}

/// The rows of the pack, by the assignment that they are about.
#[derive(Default)]
struct Tables {
    population: HashMap<String, Vec<Value>>,
    decisions: HashMap<String, Vec<Value>>,
    exceptions: HashMap<String, Vec<Value>>,
}

impl Tables {
    fn read(found: &Bundle) -> Result<Self, Stop> {
        let read = |begin: &str| {
            let mut rows: HashMap<String, Vec<Value>> = HashMap::new();
            for line in found.lines(begin) {
                let (place, row) = line?;
                let id = row["assignmentId"].as_str().ok_or_else(|| fault(0, "row", format!("{place} is about no assignment")))?;
                rows.entry(id.to_owned()).or_default().push(row);
            }
            Ok::<_, Stop>(rows)
        };
        Ok(Self { population: read("population-")?, decisions: read("decisions-")?, exceptions: read("exceptions-")? })
    }

    fn compare(mut self, found: &mut Bundle, log: &Log, pack: &PackAbout, own: &Checkpoint) -> Result<(), Stop> {
        let asked = &pack.asked;
        let must_be_open = asked.open_others || asked.is_all();
        if let Some(event) = log.decided.values().find(|e| must_be_open && e.new == Opened::Closed) {
            return Err(fault(event.seq, "closed", "an outcome of an approval is not opened"));
        }
        let (mut left_closed, mut checked) = (0, 0);
        for (seq, id) in &log.grants {
            let events = log.assignments.get(id).map(Vec::as_slice).unwrap_or_default();
            let Some(granted) = events.first().filter(|e| e.seq == *seq) else {
                return Err(fault(*seq, "row", format!("{id} is granted, and not for the first time")));
            };
            if !rules::is_in_period(granted.at, rules::ended(events).map(|e| e.at), asked) {
                continue;
            }
            let is_row = self.population.contains_key(id);
            match (&granted.new, is_row) {
                (Opened::Closed, false) if !asked.open_others => {
                    left_closed += 1;
                    continue;
                }
                (Opened::Closed, _) => return Err(fault(*seq, "closed", "a grant in the period is not opened")),
                (new, _) if !rules::is_in_scope(new.value(), asked) => continue,
                (_, false) => return Err(fault(*seq, "left_out", format!("{id} belongs to the population and has no row"))),
                (_, true) => {}
            }
            checked += self.compare_one(log, id, asked, own)?;
        }
        self.finish(pack, left_closed, checked)?;
        found.verdict.rows = checked;
        if left_closed > 0 {
            found.verdict.warnings.push(format!(
                "{left_closed} grants in the period were left closed; whether they belong to the population cannot be told"
            ));
        }
        Ok(())
    }

    /// Compares the rows of one assignment with what follows from the log; how many they are.
    fn compare_one(&mut self, log: &Log, id: &str, asked: &Asked, own: &Checkpoint) -> Result<u64, Stop> {
        let decisions = self.decisions.remove(id).unwrap_or_default();
        let named = decisions.iter().filter_map(|row| Some((row["seq"].as_u64()?, row["related"] == true)));
        let named: Vec<(u64, bool)> = named.filter(|(seq, related)| *related || log.is_erased(*seq)).collect();
        let case = log.case(id, &named)?;
        let population = self.population.remove(id).unwrap_or_default();
        let mut count = 0;
        for (rows, follow) in [
            (population, vec![rules::population(&case, asked)]),
            (decisions, rules::decisions(&case)),
            (self.exceptions.remove(id).unwrap_or_default(), rules::exceptions(&case, asked)),
        ] {
            count += rows.len() as u64;
            compare_rows(log, rows, &follow, own)?;
        }
        Ok(count)
    }

    /// Nothing may be left, and the counts have to be right.
    fn finish(&self, pack: &PackAbout, closed: u64, rows: u64) -> Result<(), Stop> {
        let left = [&self.population, &self.decisions, &self.exceptions];
        if let Some(row) = left.into_iter().flat_map(|rows| rows.values()).flatten().next() {
            let (seq, id) = (row["seq"].as_u64().unwrap_or(0), &row["assignmentId"]);
            return Err(fault(seq, "row", format!("a row is about {id}, which does not belong to the population")));
        }
        let promised = pack.population + pack.decisions + pack.exceptions;
        if promised != rows {
            return Err(fault(0, "row", format!("the manifest speaks of {promised} rows; there are {rows}")));
        }
        if pack.closed != closed {
            return Err(fault(0, "row", format!("{} grants are said to be closed; there are {closed}", pack.closed)));
        }
        Ok(())
    }
}

fn compare_rows(log: &Log, rows: Vec<Value>, follow: &[Value], own: &Checkpoint) -> Result<(), Stop> {
    if let Some(missing) = follow.get(rows.len()) {
        let seq = missing["seq"].as_u64().unwrap_or(0);
        return Err(fault(seq, "left_out", format!("a row about {} is missing that follows from the log", missing["assignmentId"])));
    }
    for (place, mut row) in rows.into_iter().enumerate() {
        let proof = row["proof"].take();
        if let Some(row) = row.as_object_mut() {
            row.remove("proof");
            row.remove("shown");
        }
        let seq = row["seq"].as_u64().unwrap_or(0);
        if follow.get(place) != Some(&row) {
            let expected = follow.get(place).map_or_else(|| "no row".to_owned(), Value::to_string);
            return Err(fault(seq, "row", format!("a row does not follow from the log: got {row}; expected {expected}")));
        }
        if !log.hashes.get(&seq).is_some_and(|hash| is_proved(&proof, seq, hash, own)) {
            return Err(fault(seq, "proof", "the proof of a row does not lead from its entry to the checkpoint"));
        }
    }
    Ok(())
}

fn is_proved(proof: &Value, seq: u64, hash: &Hash, own: &Checkpoint) -> bool {
    let path: Option<Vec<Hash>> = proof["path"].as_array().and_then(|path| {
        path.iter().map(|one| STANDARD.decode(one.as_str()?).ok()?.try_into().ok()).collect()
    });
    let told = (proof["index"].as_u64(), proof["size"].as_u64(), proof["leafHash"].as_str());
    told == (Some(seq - 1), Some(own.size), Some(encode_hash(hash).as_str()))
        && path.is_some_and(|path| merkle::verify_inclusion(hash, seq - 1, own.size, &own.root, &path))
}
