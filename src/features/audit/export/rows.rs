//! The log for reading: JSON Lines and a table.
//!
//! A line of JSON holds the leaf and what its digests stand for as they are stored. They are canonical JSON, so whoever
//! writes them canonically again (RFC 8785) has the very bytes that were hashed.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::ops::{self, Row};
use super::{About, FORMAT, Kind, Newest, Selection, Signed};
use crate::base::csv;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::{Leaf, encode_hash, keys, store as audit_store};
use crate::platform::pieces::{Next, Piece, Pieces};
use crate::platform::store::Store;

/// Rows that are read at once.
const PAGE: u32 = 512;
/// Where a file ends and the next begins, in bytes.
const PART: usize = 4 * 1024 * 1024;

/// The names of the columns.
const COLUMNS: [&str; 14] = [
    "seq", "at", "actor_type", "actor_id", "actor", "action", "entity", "entity_id", "request_id", "reason",
    "prev_state", "new_state", "erased", "leaf_hash",
];

/// The parts of an entry that its leaf has digests of, with their names in the leaf.
const PARTS: [(&str, &str); 3] = [("context", "context"), ("prev", "prevState"), ("new", "newState")];

/// Makes the lines of an export.
#[derive(Debug)]
pub struct Lines {
    store: Store,
    kind: Kind,
    selection: Selection,
    created_at: Timestamp,
    origin: String,
    signed: Option<Signed>,
    up_to: u64,
    /// The last entry that can be selected.
    last: u64,
    after: u64,
    entries: u64,
    begun: bool,
}

impl Lines {
    /// The selected entries of the log as it is now.
    pub async fn begin(store: Store, newest: Newest, kind: Kind, selection: Selection) -> Result<Self, Problem> {
        let (from, to) = (selection.from, selection.to);
        let (up_to, span, origin, signed) = store
            .read(move |tx| {
                let up_to = audit_store::head(tx)?.map_or(0, |(seq, _)| seq);
                let span = audit_store::span(tx, from, to)?;
                Ok((up_to, span, keys::list(tx)?.origin, ops::signed(tx, &newest)?))
            })
            .await?;
        let (after, last) = span.map_or((up_to, up_to), |(first, last)| (first - 1, last));
        let created_at = store.clock().now();
        Ok(Self { store, kind, selection, created_at, origin, signed, up_to, last, after, entries: 0, begun: false })
    }

    /// The next lines; nothing when all are told. They may be none while there are more to come.
    pub async fn lines(&mut self) -> Result<Option<String>, Problem> {
        let mut lines = String::new();
        if !std::mem::replace(&mut self.begun, true) && self.kind == Kind::Csv {
            lines = csv::head(COLUMNS);
        } else if self.after >= self.last {
            return Ok(None);
        }
        let (selection, after, last) = (self.selection.clone(), self.after, self.last);
        let (rows, next) = self.store.read(move |tx| ops::rows(tx, &selection, after, last, PAGE)).await?;
        self.after = next;
        self.entries += rows.len() as u64;
        for row in &rows {
            match self.kind {
                Kind::Csv => lines.push_str(&table_line(row)?),
                _ => lines.push_str(&json_line(row)?),
            }
        }
        Ok(Some(lines))
    }

    fn about(&self) -> About {
        About {
            format: FORMAT,
            kind: self.kind,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.created_at,
            origin: self.origin.clone(),
            entries: self.entries,
            up_to: self.up_to,
            filter: self.selection.clone(),
            checkpoint: self.signed.as_ref().map(|signed| signed.note.clone()),
            verifier_keys: self.signed.iter().flat_map(|s| &s.keys).map(ToString::to_string).collect(),
        }
    }
}

/// The same lines as files of a few megabytes each, with a manifest.
#[derive(Debug)]
pub struct Parts {
    lines: Lines,
    waiting: String,
    number: u32,
    done: bool,
}

impl Parts {
    /// These lines as files.
    pub fn new(lines: Lines) -> Self {
        Self { lines, waiting: String::new(), number: 0, done: false }
    }

    async fn step(&mut self) -> Result<Option<Vec<Piece>>, Problem> {
        if self.done {
            return Ok(None);
        }
        match self.lines.lines().await? {
            Some(lines) => self.waiting.push_str(&lines),
            None => self.done = true,
        }
        // A log of which nothing was selected has one file that says so.
        let last = self.done && (self.number == 0 || !self.waiting.is_empty());
        if !last && self.waiting.len() < PART {
            return Ok(Some(Vec::new()));
        }
        self.number += 1;
        let ending = if self.lines.kind == Kind::Csv { "csv" } else { "jsonl" };
        let mut content = std::mem::take(&mut self.waiting);
        if self.lines.kind == Kind::Csv && self.number > 1 {
            content.insert_str(0, &csv::head(COLUMNS));
        }
        Ok(Some(vec![Piece::listed(format!("audit-{:04}.{ending}", self.number), content)]))
    }
}

impl Pieces for Parts {
    fn next(&mut self) -> Next<'_> {
        Box::pin(self.step())
    }

    fn about(&self) -> Result<Value, Problem> {
        serde_json::to_value(self.lines.about()).map_err(Problem::internal)
    }
}

/// Stored JSON as a part of a line.
fn raw(seq: u64, bytes: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains(['\n', '\r']));
    let text = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    text.ok_or_else(|| {
        Problem::Conflict(format!("Entry {seq} of the audit log is not what was written. Run tenure audit verify."))
    })
}

/// The line of an entry: `seq`, `leafHash`, `leaf`, `context`, `prevState`, `newState`, `salts`, `erased`.
fn json_line((leaf, states): &Row) -> Result<String, Problem> {
    let seq = leaf.seq;
    let mut line = format!("{{\"seq\":{seq},\"leafHash\":\"{}\",\"leaf\":{}", encode_hash(&leaf.leaf_hash), raw(seq, &leaf.leaf)?);
    let (mut salts, mut erased) = (Vec::new(), Vec::new());
    for (part, name) in PARTS {
        let state = match states.iter().find(|(stored, ..)| stored == part) {
            None => "null",
            Some((_, _, None)) => {
                erased.push(format!("\"{name}\""));
                "null"
            }
            Some((_, salt, Some(state))) => {
                salts.push(format!("\"{name}\":\"{}\"", encode_hash(salt)));
                raw(seq, state)?
            }
        };
        line.push_str(&format!(",\"{name}\":{state}"));
    }
    line.push_str(&format!(",\"salts\":{{{}}},\"erased\":[{}]}}\n", salts.join(","), erased.join(",")));
    Ok(line)
}

fn table_line((stored, states): &Row) -> Result<String, Problem> {
    let seq = stored.seq;
    let leaf: Leaf = serde_json::from_str(raw(seq, &stored.leaf)?).map_err(Problem::internal)?;
    let state = |part: &str| -> Result<&str, Problem> {
        let found = states.iter().find(|(stored, ..)| stored == part).and_then(|(_, _, state)| state.as_ref());
        found.map_or(Ok(""), |state| raw(seq, state))
    };
    let context: Value = serde_json::from_str(state("context")?).unwrap_or_default();
    let told = |key: &str| context[key].as_str().unwrap_or_default().to_owned();
    let erased: Vec<&str> = PARTS.into_iter().filter_map(|(part, name)| {
        states.iter().any(|(stored, _, state)| stored == part && state.is_none()).then_some(name)
    }).collect();
    Ok(csv::line([
        seq.to_string(),
        leaf.ts,
        leaf.actor.kind,
        leaf.actor.id,
        told("name"),
        leaf.action,
        leaf.entity,
        leaf.entity_id,
        leaf.request_id.unwrap_or_default(),
        told("reason"),
        state("prev")?.to_owned(),
        state("new")?.to_owned(),
        erased.join(csv::BETWEEN),
        encode_hash(&stored.leaf_hash),
    ]))
}
