//! Making a checkpoint: what is kept is asked for first, then it is signed, then it goes to its places.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::keep::Keep;
use super::ops::{self, Kept};
use super::verification::{self, Finding};
use super::{Reason, Record, store};
use crate::base::problem::Problem;
use crate::features::audit;
use crate::features::audit::verify::{PAGE, Verdict};
use crate::platform::metrics::Stopwatch;
use crate::platform::store::Store;

/// How long a place is waited for before a checkpoint is signed without having asked it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes checkpoints. Clones share everything.
#[derive(Clone)]
pub struct Checkpoints {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    seed: Zeroizing<[u8; 32]>,
    keeps: Vec<Box<dyn Keep>>,
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints").field("keeps", &self.inner.keeps).finish_non_exhaustive()
    }
}

impl Checkpoints {
    /// Signs with the seed of `AUDIT_SIGNING_KEY`, for the log in `store`, to be kept in these places.
    pub fn new(store: Store, seed: [u8; 32], keeps: Vec<Box<dyn Keep>>) -> Self {
        Self { inner: Arc::new(Inner { store, seed: Zeroizing::new(seed), keeps }) }
    }

    /// The places, in the order of `AUDIT_CHECKPOINT_STORE`.
    pub fn keeps(&self) -> &[Box<dyn Keep>] {
        &self.inner.keeps
    }

    /// Makes a checkpoint and has it put into every place; a log that is not what a kept one says is a conflict.
    pub async fn make(&self, reason: Reason) -> Result<Record, Problem> {
        let kept = self.ask().await.kept;
        let places = self.places();
        let seed = self.inner.seed.clone();
        let made = self.inner.store.write(move |tx| {
            let made = ops::sign(tx, &seed, &kept, reason, &places)?;
            if let Ok(record) = &made {
                ops::ask_to_keep(tx, record, &places)?;
            }
            Ok(made)
        });
        made.await?.map_err(|refusal| Problem::Conflict(format!("Nothing was signed. {}", refusal.detail)))
    }

    /// The last checkpoint of a process that goes down: into the folder only, and only if there is something new.
    pub async fn close(&self) -> Result<(), Problem> {
        let Some(folder) = self.inner.keeps.iter().find(|keep| keep.name() == "file") else { return Ok(()) };
        let kept = self.ask_one(folder.as_ref()).await.unwrap_or_default();
        let seed = self.inner.seed.clone();
        let made = self.inner.store.write(move |tx| {
            let size = audit::store::head(tx)?.map(|(size, _)| size);
            if let Some(newest) = store::find_newest(tx)?.filter(|newest| Some(newest.checkpoint.size) == size) {
                // Nothing is new; but what was signed last may still be on its way.
                let copies = store::list_copies(tx, newest.number)?;
                let lacks = copies.iter().any(|copy| copy.place == "file" && copy.stored_at.is_none());
                return Ok(lacks.then_some(newest));
            }
            Ok(ops::sign(tx, &seed, kept.as_slice(), Reason::Shutdown, &["file"])?.ok())
        });
        let Some(record) = made.await? else { return Ok(()) };
        folder.put(&record).await?;
        self.inner.store.write(move |tx| store::mark_stored(tx, record.number, "file")).await
    }

    /// What it takes to go on under another name.
    pub async fn renewal(&self) -> ops::Renewal {
        ops::Renewal { seed: self.inner.seed.clone(), kept: self.ask().await.kept }
    }

    /// The names of the places, in the order of `AUDIT_CHECKPOINT_STORE`.
    pub fn places(&self) -> Vec<&'static str> {
        self.inner.keeps.iter().map(|keep| keep.name()).collect()
    }

    /// Puts a checkpoint into a place; `None` when that is not named any more.
    pub async fn put(&self, place: &str, record: &Record) -> Option<Result<(), Problem>> {
        let keep = self.inner.keeps.iter().find(|keep| keep.name() == place)?;
        Some(keep.put(record).await)
    }

    /// Reads the whole log, compares it with every checkpoint that was made and with the newest of each place, and
    /// remembers what was found.
    pub async fn verify(&self) -> Result<Finding, Problem> {
        let (watch, Asked { kept, silent }) = (Stopwatch::start(), self.ask().await);
        let read = self.read(kept).await;
        let (verdict, unknown) = match &read {
            Ok(verdict) => (verdict.clone(), None),
            Err(problem) => (Verdict::default(), Some(shown(problem))),
        };
        let duration = Duration::from_secs_f64(watch.seconds());
        let finding = Finding { verdict, unknown, silent, duration };
        let found = finding.clone();
        self.inner.store.write(move |tx| verification::ops::conclude(tx, &found)).await?;
        read.map(|_| finding)
    }

    async fn read(&self, kept: Vec<Kept>) -> Result<Verdict, Problem> {
        let store = &self.inner.store;
        let (mut walk, left_behind) = match store.read(move |tx| verification::ops::begin(tx, &kept)).await? {
            Ok(reading) => (reading.walk, reading.left_behind),
            Err(fault) => return Ok(Verdict::of(fault)),
        };
        loop {
            let page = store.read(move |tx| {
                let more = walk.page(tx, PAGE)?;
                Ok((walk, more))
            });
            let more;
            (walk, more) = page.await?;
            if !more {
                return Ok(Verdict { left_behind, ..walk.verdict() });
            }
        }
    }

    /// What the places hold as newest. One that does not answer is not asked further: the others and our own
    /// newest are compared all the same, and it is when it answers again.
    pub async fn ask(&self) -> Asked {
        let asked = self.inner.keeps.iter().map(|keep| self.ask_one(keep.as_ref()));
        let mut answers = Asked::default();
        for (keep, answer) in self.inner.keeps.iter().zip(futures::future::join_all(asked).await) {
            match answer {
                Some(kept) => answers.kept.extend(kept),
                None => answers.silent.push(keep.name().to_owned()),
            }
        }
        answers
    }

    /// Nothing when it did not answer.
    async fn ask_one(&self, keep: &dyn Keep) -> Option<Option<Kept>> {
        match tokio::time::timeout(PATIENCE, keep.newest()).await {
            Ok(Ok(note)) => Some(note.map(|note| Kept { place: keep.name(), note })),
            Ok(Err(problem)) => {
                tracing::warn!(place = keep.name(), %problem, "the newest checkpoint there could not be read");
                None
            }
            Err(_) => {
                tracing::warn!(place = keep.name(), "the newest checkpoint there did not come in time");
                None
            }
        }
    }
}

/// What the places answered.
#[derive(Debug, Default)]
pub struct Asked {
    /// The newest note of each that has one and can be read.
    pub kept: Vec<Kept>,
    /// Those that did not answer.
    pub silent: Vec<String>,
}

/// A problem for those who look at the state; what only the log of the system tells is there.
pub fn shown(problem: &Problem) -> String {
    match problem {
        Problem::Internal(_) => "it failed for a reason that is in the system log".to_owned(),
        other => other.to_string(),
    }
}
