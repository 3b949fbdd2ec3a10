//! Making a pack, file by file, while it is sent.

use serde_json::Value;

use super::ops::{self, Looked, Reading};
use super::tables::{self, DECISIONS, EXCEPTIONS, POPULATION, Table};
use super::{Asked, PackAbout};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::export::tiles::Tiles;
use crate::features::audit::Selection;
use crate::features::audit::export::{About, FORMAT, Kind, Signed};
use crate::features::checkpoints;
use crate::platform::pieces::{Next, Piece, Pieces};
use crate::platform::store::Store;

/// Grants that are looked at in one read.
const GRANTS: u32 = 64;
/// Approvals, entries that are opened and checkpoints that are read at once.
const PAGE: u32 = 512;
/// What the reader of a pack begins with.
const README: &str = include_str!("pack-readme.md");

/// What is made next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Readme,
    Tiles,
    Population,
    Approvals,
    Openings,
    Checkpoints,
    Done,
}

/// A pack that is being made.
#[derive(Debug)]
pub struct Pack {
    store: Store,
    asked: Asked,
    id: String,
    created_at: Timestamp,
    signed: Signed,
    tiles: Tiles,
    reading: Reading,
    phase: Phase,
    /// Where the phase goes on.
    after: u64,
    closed: u64,
    population: [Table; 2],
    decisions: [Table; 2],
    exceptions: [Table; 2],
    openings: Table,
}

impl Pack {
    /// A pack of what was asked for, over the log as `signed` says; `id` is that of the entry about it.
    pub fn new(store: Store, asked: Asked, id: String, signed: Signed, created_at: Timestamp) -> Result<Self, Problem> {
        Ok(Self {
            tiles: Tiles::new(store.clone(), signed.clone(), created_at),
            store,
            asked,
            id,
            created_at,
            reading: Reading::of(signed.checkpoint.size)?,
            signed,
            phase: Phase::Readme,
            after: 0,
            closed: 0,
            population: [Table::json("population"), Table::csv("population", POPULATION)],
            decisions: [Table::json("decisions"), Table::csv("decisions", DECISIONS)],
            exceptions: [Table::json("exceptions"), Table::csv("exceptions", EXCEPTIONS)],
            openings: Table::json("openings"),
        })
    }

    async fn step(&mut self) -> Result<Option<Vec<Piece>>, Problem> {
        match self.phase {
            Phase::Readme => {
                self.phase = Phase::Tiles;
                self.erasures().await?;
                Ok(Some(vec![Piece::listed("README.md", README)]))
            }
            Phase::Tiles => match self.tiles.step().await? {
                Some(pieces) => Ok(Some(pieces)),
                None => Ok(Some(self.go_on(Phase::Population))),
            },
            Phase::Population => self.look().await.map(Some),
            Phase::Approvals => self.approvals().await.map(Some),
            Phase::Openings => self.open().await.map(Some),
            Phase::Checkpoints => self.checkpoints().await.map(Some),
            Phase::Done => Ok(None),
        }
    }

    fn go_on(&mut self, phase: Phase) -> Vec<Piece> {
        (self.phase, self.after) = (phase, 0);
        Vec::new()
    }

    /// What tells of erasures is opened.
    async fn erasures(&mut self) -> Result<(), Problem> {
        let (mut marks, size) = (std::mem::take(&mut self.reading.marks), self.signed.checkpoint.size);
        let read = self.store.read(move |tx| {
            ops::mark_erasures(tx, &mut marks, size)?;
            Ok(marks)
        });
        self.reading.marks = read.await?;
        Ok(())
    }

    async fn look(&mut self) -> Result<Vec<Piece>, Problem> {
        let (mut reading, asked, signed, after) =
            (std::mem::take(&mut self.reading), self.asked.clone(), self.signed.clone(), self.after);
        let read = self.store.read(move |tx| {
            let looked = ops::look(tx, &mut reading, &asked, &signed, after, GRANTS)?;
            Ok((reading, looked))
        });
        let (reading, Looked { last, rows, closed }) = read.await?;
        self.reading = reading;
        self.closed += closed;
        for row in rows {
            push(&mut self.population, &row.population, tables::population_line(&row.population));
            for decision in &row.decisions {
                push(&mut self.decisions, decision, tables::decision_line(decision));
            }
            for exception in &row.exceptions {
                push(&mut self.exceptions, exception, tables::exception_line(exception, &row.population));
            }
        }
        let is_end = last.is_none();
        let tables = [&mut self.population, &mut self.decisions, &mut self.exceptions];
        let pieces = tables.into_iter().flatten().filter_map(|table| table.cut(is_end)).collect();
        match last {
            Some(last) => self.after = last,
            None => drop(self.go_on(Phase::Approvals)),
        }
        Ok(pieces)
    }

    async fn approvals(&mut self) -> Result<Vec<Piece>, Problem> {
        if !self.asked.open_others && !self.asked.is_all() {
            return Ok(self.go_on(Phase::Openings));
        }
        let (mut marks, size, after) =
            (std::mem::take(&mut self.reading.marks), self.signed.checkpoint.size, self.after);
        let read = self.store.read(move |tx| {
            let last = ops::mark_approvals(tx, &mut marks, size, after, PAGE)?;
            Ok((marks, last))
        });
        let (marks, last) = read.await?;
        self.reading.marks = marks;
        match last {
            Some(last) => self.after = last,
            None => drop(self.go_on(Phase::Openings)),
        }
        Ok(Vec::new())
    }

    async fn open(&mut self) -> Result<Vec<Piece>, Problem> {
        let entries = self.reading.marks.list(self.after, self.signed.checkpoint.size, PAGE as usize);
        let Some(last) = entries.last().copied() else {
            let piece = self.openings.cut(true);
            self.go_on(Phase::Checkpoints);
            return Ok(piece.into_iter().collect());
        };
        let (marks, size) = (std::mem::take(&mut self.reading.marks), self.signed.checkpoint.size);
        let read = self.store.read(move |tx| {
            let lines = ops::openings(tx, &marks, &entries, size)?;
            Ok((marks, lines))
        });
        let (marks, lines) = read.await?;
        self.reading.marks = marks;
        self.after = last;
        lines.iter().for_each(|line| self.openings.push(line));
        Ok(self.openings.cut(false).into_iter().collect())
    }

    /// Every checkpoint of the log so far, so that the reader sees how it grew.
    async fn checkpoints(&mut self) -> Result<Vec<Piece>, Problem> {
        let before = (self.after > 0).then_some(self.after);
        let page = self.store.read(move |tx| checkpoints::store::list(tx, before, PAGE)).await?;
        let Some(last) = page.last().map(|record| record.number) else { return Ok(self.go_on(Phase::Done)) };
        self.after = last;
        if last == 1 {
            self.phase = Phase::Done;
        }
        let checkpoint = &self.signed.checkpoint;
        let ours = page.into_iter().filter(|record| {
            record.checkpoint.origin == checkpoint.origin && record.checkpoint.size <= checkpoint.size
        });
        Ok(ours.map(|record| Piece::listed(format!("checkpoints/{}", record.file_name()), record.note)).collect())
    }

    fn manifest(&self) -> Result<Value, Problem> {
        let checkpoint = &self.signed.checkpoint;
        let about = About {
            format: FORMAT,
            kind: Kind::Pack,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created_at: self.created_at,
            origin: checkpoint.origin.clone(),
            entries: checkpoint.size,
            up_to: checkpoint.size,
            filter: Selection::default(),
            checkpoint: Some(self.signed.note.clone()),
            verifier_keys: self.signed.keys.iter().map(ToString::to_string).collect(),
        };
        let pack = PackAbout {
            asked: self.asked.clone(),
            id: self.id.clone(),
            population: self.population[0].count,
            decisions: self.decisions[0].count,
            exceptions: self.exceptions[0].count,
            closed: self.closed,
        };
        let mut about = serde_json::to_value(about).map_err(Problem::internal)?;
        about["pack"] = serde_json::to_value(pack).map_err(Problem::internal)?;
        Ok(about)
    }
}

fn push(tables: &mut [Table; 2], row: &Value, line: String) {
    tables[0].push(&format!("{row}\n"));
    tables[1].push(&line);
}

impl Pieces for Pack {
    fn next(&mut self) -> Next<'_> {
        Box::pin(self.step())
    }

    fn about(&self) -> Result<Value, Problem> {
        self.manifest()
    }
}
