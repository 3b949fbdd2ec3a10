//! SQLite behind two doors: [`Store::read`] and [`Store::write`].
//!
//! Many readers, one writer. Writes that wait together are committed together (group commit): each
//! closure runs in its own savepoint, then one COMMIT and one fsync answer all of them.
//!
//! # Invariants
//! - Nobody is answered before the COMMIT that holds their change has returned.
//! - A closure that fails takes only its own changes back.
//! - A request that got 503 for waiting too long is never carried out later.
//! - Reads cannot write: their connections are `query_only`.
//!
//! # Not here
//! SQL of a feature; that stands in the feature's `store.rs` and sees only [`Tx`], [`Row`], [`Value`].

mod connection;
mod error;
mod journal;
pub mod migrations;
mod pool;
mod readonly;
mod snapshot;
#[cfg(test)]
mod tests;
mod tx;
mod value;
mod work;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::base::clock::SharedClock;
use crate::base::id::SharedIds;
use crate::base::problem::Problem;
use crate::platform::faults::Faults;
use crate::platform::metrics::Metrics;

pub use connection::{Durability, Geometry};
pub use error::is_unique_violation;
pub use journal::{Draft, Journal, Sealed};
pub use migrations::{Migration, MigrationSet};
pub use pool::PoolStats;
pub use snapshot::{find_damage, snapshot};
pub use tx::{Row, Tx};
pub use value::{FromValue, Json, ToValue, Value};
pub use writer::WriterStats;
use work::Work;
use writer::Lane;

/// How a database file is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file.
    pub path: PathBuf,
    /// Most connections, the writer counted; 1 to 64.
    pub max: u32,
    /// Connections kept open when idle, the writer counted; at most `max`.
    pub min: u32,
    /// Idle readers above `min` close after this time.
    pub idle_timeout: Duration,
    /// How long a caller waits for a connection or the writer.
    pub acquire_timeout: Duration,
    /// After this time without work the writer folds the write-ahead log into the file and empties it.
    pub idle_fold: Duration,
    /// What a COMMIT waits for.
    pub durability: Durability,
    /// Whether a new file gives freed pages back (incremental vacuum).
    pub geometry: Geometry,
    /// Points where a test makes the writer fail or the process die.
    pub faults: Arc<Faults>,
    /// Where it counts how long callers wait, and what else the process does.
    pub metrics: Metrics,
}

impl Options {
    /// Settings that fit a small side file such as `logs.db`.
    pub fn small(path: PathBuf) -> Self {
        Self {
            path,
            max: 2,
            min: 2,
            idle_timeout: Duration::from_secs(30),
            acquire_timeout: Duration::from_secs(5),
            idle_fold: Duration::from_secs(2),
            durability: Durability::Full,
            geometry: Geometry::Plain,
            faults: Arc::default(),
            metrics: Metrics::default(),
        }
    }
}

/// One database file with its pool and its writer. Clones share them.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    readers: Option<pool::Readers>,
    /// None when the file is only looked at.
    writer: Option<writer::Writer>,
    /// Removed after the readers, which stand above it.
    _copy: Option<readonly::PrivateCopy>,
    closed: AtomicBool,
    shape: (u32, u32),
    clock: SharedClock,
    ids: SharedIds,
    doorbell: Arc<Notify>,
    faults: Arc<Faults>,
    metrics: Metrics,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish()
    }
}

impl Store {
    /// Opens (or creates) the file, applies what is missing of `migrations`, starts the writer.
    ///
    /// Fails when the file is corrupt, newer than this binary, or when WAL or the wanted durability
    /// did not take. `journal` is called once per batch, just before its COMMIT.
    pub fn open(
        options: &Options,
        migrations: &MigrationSet,
        clock: SharedClock,
        ids: SharedIds,
        journal: Option<Arc<dyn Journal>>,
    ) -> Result<Self, Problem> {
        let conn = connection::open(&options.path, options.durability, options.geometry, true)?;
        migrations::apply(&conn, migrations, clock.now())?;
        let doorbell = Arc::new(Notify::new());
        let writer = writer::Writer::start(
            conn,
            writer::Setup {
                clock: clock.clone(),
                ids: ids.clone(),
                journal,
                acquire_timeout: options.acquire_timeout,
                idle_fold: options.idle_fold,
                doorbell: Arc::clone(&doorbell),
                faults: Arc::clone(&options.faults),
                metrics: options.metrics.clone(),
            },
        )?;
        let readers = match options.max.saturating_sub(1) {
            0 => None,
            n => Some(pool::Readers::open(options, n)),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                path: options.path.clone(),
                readers,
                writer: Some(writer),
                _copy: None,
                closed: AtomicBool::new(false),
                shape: (options.max, options.min),
                clock,
                ids,
                doorbell,
                faults: Arc::clone(&options.faults),
                metrics: options.metrics.clone(),
            }),
        })
    }

    /// Opens a file to look at it: nothing is created, migrated, checkpointed or locked away, and
    /// nothing in its directory changes. Every write is refused.
    ///
    /// Fails with a sentence about the file when it is none of ours or cannot be read.
    pub fn open_read_only(path: &Path, clock: SharedClock, ids: SharedIds) -> Result<Self, Problem> {
        let opening = readonly::prepare(path, ids.as_ref())?;
        let options = Options::small(path.to_owned());
        let readers = pool::Readers::open_read_only(&options, &opening);
        Ok(Self {
            inner: Arc::new(Inner {
                path: options.path,
                readers: Some(readers),
                writer: None,
                _copy: opening.copy,
                closed: AtomicBool::new(false),
                shape: (1, 1),
                clock,
                ids,
                doorbell: Arc::default(),
                faults: Arc::default(),
                metrics: options.metrics,
            }),
        })
    }

    /// Runs `f` on a reader in one consistent snapshot.
    ///
    /// Waits at most the acquire timeout for a connection, then answers [`Problem::Unavailable`].
    pub async fn read<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let (work, slot) = work::once(f);
        self.run_read(work).await?;
        slot.take()
    }

    /// Like [`Store::read`], and when every reader is taken, on the writer between two batches.
    ///
    /// For the short reads without which nobody could look at a starved pool: who is signed in, and
    /// the figures themselves.
    pub async fn read_first<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let (work, slot) = work::once(f);
        self.run_read_first(work).await?;
        slot.take()
    }

    /// Runs `f` on the writer in a transaction of its own and answers after the COMMIT.
    ///
    /// `f` may run more than once and must touch nothing but the [`Tx`].
    pub async fn write<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let (work, slot) = work::repeatable(f);
        self.run_write(Lane::Request, work).await?;
        slot.take()
    }

    /// Like [`Store::write`], behind every waiting request; for background jobs.
    pub async fn write_in_background<T, F>(&self, f: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let (work, slot) = work::repeatable(f);
        self.run_write(Lane::Background, work).await?;
        slot.take()
    }

    async fn run_read(&self, work: Work) -> Result<(), Problem> {
        self.check_open()?;
        match &self.inner.readers {
            Some(readers) => readers.run(self.inner.clock.clone(), self.inner.ids.clone(), work).await,
            None => self.writer()?.run(Lane::Read, work).await,
        }
    }

    async fn run_read_first(&self, work: Work) -> Result<(), Problem> {
        self.check_open()?;
        if let Some(readers) = &self.inner.readers
            && let Some(permit) = readers.try_permit()
        {
            return readers.run_with(permit, self.inner.clock.clone(), self.inner.ids.clone(), work).await;
        }
        match (&self.inner.writer, &self.inner.readers) {
            (None, Some(readers)) => readers.run(self.inner.clock.clone(), self.inner.ids.clone(), work).await,
            _ => self.writer()?.run(Lane::Read, work).await,
        }
    }

    async fn run_write(&self, lane: Lane, work: Work) -> Result<(), Problem> {
        self.check_open()?;
        self.writer()?.run(lane, work).await
    }

    /// Folds the WAL into the file before the next batch, so that the file shrinks by what was given
    /// back. Waits for nothing, and for no reader.
    pub fn fold_wal(&self) -> Result<(), Problem> {
        self.check_open()?;
        self.writer()?.fold();
        Ok(())
    }

    /// Connections in use, idle, waited for.
    pub fn pool_stats(&self) -> PoolStats {
        let (max, min) = self.inner.shape;
        let writer = self.inner.writer.as_ref();
        let busy = u32::from(writer.is_some_and(writer::Writer::is_busy));
        let (reading, idle, waiting, timeouts) =
            self.inner.readers.as_ref().map_or((0, 0, 0, 0), pool::Readers::figures);
        PoolStats {
            max,
            min,
            active: reading + busy,
            idle: idle + u32::from(writer.is_some()) - busy,
            waiting: waiting + writer.map_or(0, writer::Writer::queued),
            timeouts: timeouts + writer.map_or(0, writer::Writer::timeouts),
        }
    }

    /// What the writer did so far.
    pub fn writer_stats(&self) -> WriterStats {
        self.inner.writer.as_ref().map(writer::Writer::stats).unwrap_or_default()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The clock transactions take their `now` from.
    pub fn clock(&self) -> &SharedClock {
        &self.inner.clock
    }

    /// Rung after each COMMIT that asked for it; the one listener is the relay of the job queue.
    pub fn doorbell(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.doorbell)
    }

    /// The fault points of the process it belongs to.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// What the process it belongs to counts.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Whether it still takes work.
    pub fn is_open(&self) -> bool {
        !self.inner.closed.load(Ordering::Acquire)
    }

    /// Takes no more work, finishes what is queued, truncates the WAL, closes the file.
    pub async fn close(&self) {
        if self.inner.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(writer) = &self.inner.writer {
            writer.close().await;
        }
    }

    fn writer(&self) -> Result<&writer::Writer, Problem> {
        let only_looked_at = || Problem::refused(format!("{} is open for reading only.", self.inner.path.display()));
        self.inner.writer.as_ref().ok_or_else(only_looked_at)
    }

    fn check_open(&self) -> Result<(), Problem> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Problem::unavailable("Tenure is shutting down.", 5));
        }
        if tx::inside_closure() {
            return Err(Problem::internal("read or write called inside a transaction"));
        }
        Ok(())
    }
}
