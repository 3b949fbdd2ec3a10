//! The readers: an r2d2 pool behind a semaphore.
//!
//! The semaphore is taken before a blocking thread is, so that a starved pool never eats the
//! runtime's blocking threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{self, Durability};
use super::readonly::{self, Opening};
use super::tx::Tx;
use super::work::Work;
use super::{Options, error};
use crate::base::clock::SharedClock;
use crate::base::id::SharedIds;
use crate::base::problem::Problem;
use crate::platform::metrics::{Metrics, Stopwatch};

/// Figures of the pool; the writer counts as one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PoolStats {
    /// `DB_POOL_MAX`.
    pub max: u32,
    /// `DB_POOL_MIN`.
    pub min: u32,
    /// Connections in use now.
    pub active: u32,
    /// Connections open and free now.
    pub idle: u32,
    /// Callers that wait for a connection or for the writer.
    pub waiting: u32,
    /// Callers that gave up since the start.
    pub timeouts: u64,
}

/// Hands out connections that are set up like every other one.
#[derive(Debug)]
struct Manager {
    inner: SqliteConnectionManager,
}

impl Manager {
    fn new(path: PathBuf, durability: Durability) -> Self {
        let inner = SqliteConnectionManager::file(path)
            .with_init(move |conn| connection::configure(conn, durability, false));
        Self { inner }
    }

    fn read_only(opening: &Opening) -> Self {
        let inner = SqliteConnectionManager::file(&opening.uri)
            .with_flags(readonly::flags_of(opening))
            .with_init(|conn| readonly::configure(conn));
        Self { inner }
    }
}

impl r2d2::ManageConnection for Manager {
    type Connection = Connection;
    type Error = rusqlite::Error;

    fn connect(&self) -> Result<Connection, rusqlite::Error> {
        self.inner.connect()
    }

    fn is_valid(&self, conn: &mut Connection) -> Result<(), rusqlite::Error> {
        self.inner.is_valid(conn)
    }

    /// A connection that still has a transaction open must not be handed to the next caller;
    /// the inner manager would say that nothing is ever broken.
    fn has_broken(&self, conn: &mut Connection) -> bool {
        !conn.is_autocommit()
    }
}

pub(super) struct Readers {
    pool: r2d2::Pool<Manager>,
    gate: Arc<Semaphore>,
    size: u32,
    timeout: Duration,
    waiting: AtomicU32,
    timeouts: AtomicU64,
    metrics: Metrics,
}

impl Readers {
    pub(super) fn open(options: &Options, size: u32) -> Self {
        Self::with(Manager::new(options.path.clone(), options.durability), options, size)
    }

    /// One reader of a file that is only looked at.
    pub(super) fn open_read_only(options: &Options, opening: &Opening) -> Self {
        Self::with(Manager::read_only(opening), options, 1)
    }

    fn with(manager: Manager, options: &Options, size: u32) -> Self {
        let pool = r2d2::Pool::builder()
            .max_size(size)
            // The writer, which is always open, is one of `min`.
            .min_idle(Some(options.min.saturating_sub(1).min(size)))
            .idle_timeout(Some(options.idle_timeout))
            .max_lifetime(None)
            .connection_timeout(options.acquire_timeout)
            .test_on_check_out(false)
            .build_unchecked(manager);
        Self {
            pool,
            gate: Arc::new(Semaphore::new(size as usize)),
            size,
            timeout: options.acquire_timeout,
            waiting: AtomicU32::new(0),
            timeouts: AtomicU64::new(0),
            metrics: options.metrics.clone(),
        }
    }

    pub(super) async fn run(&self, clock: SharedClock, ids: SharedIds, work: Work) -> Result<(), Problem> {
        let permit = {
            let _waits = Waits::start(&self.waiting);
            let (began, acquire) = (Stopwatch::start(), Arc::clone(&self.gate).acquire_owned());
            let acquired = tokio::time::timeout(self.timeout, acquire).await;
            self.metrics.waited("read", began.seconds());
            if let Ok(permit) = acquired {
                permit.map_err(|_| Problem::unavailable("Tenure is shutting down.", 5))?
            } else {
                self.timeouts.fetch_add(1, Ordering::Relaxed);
                return Err(pool_out(self.timeout));
            }
        };
        self.run_with(permit, clock, ids, work).await
    }

    /// A permit, if a reader is free right now.
    pub(super) fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.gate).try_acquire_owned().ok()
    }

    /// Like [`Readers::run`], with a permit in hand.
    pub(super) async fn run_with(
        &self,
        permit: OwnedSemaphorePermit,
        clock: SharedClock,
        ids: SharedIds,
        mut work: Work,
    ) -> Result<(), Problem> {
        let pool = self.pool.clone();
        let timeout = self.timeout;
        let reading = move || {
            let _permit = permit;
            let conn = pool.get().map_err(|e| {
                tracing::warn!(error = %e, "no database connection could be opened");
                pool_out(timeout)
            })?;
            in_snapshot(&conn, &clock, &ids, &mut work)
        };
        tokio::task::spawn_blocking(reading)
            .await
            .map_err(|e| Problem::internal(format!("a read ended early: {e}")))?
    }

    /// In use, idle, waiting, timeouts.
    pub(super) fn figures(&self) -> (u32, u32, u32, u64) {
        let free = u32::try_from(self.gate.available_permits()).unwrap_or(self.size);
        let active = self.size.saturating_sub(free);
        let open = self.pool.state().connections;
        (
            active,
            open.saturating_sub(active),
            self.waiting.load(Ordering::Relaxed),
            self.timeouts.load(Ordering::Relaxed),
        )
    }
}

/// One reader's view of one consistent state.
pub(super) fn in_snapshot(
    conn: &Connection,
    clock: &SharedClock,
    ids: &SharedIds,
    work: &mut Work,
) -> Result<(), Problem> {
    conn.execute_batch("BEGIN DEFERRED").map_err(|e| error::from_sqlite(&e, "BEGIN"))?;
    let tx = Tx::new(conn, clock.as_ref(), ids.as_ref());
    let result = tx.enter(work);
    // Nothing was written, so ending the snapshot either way is the same.
    if let Err(e) = conn.execute_batch("COMMIT") {
        tracing::warn!(error = %e, "a read transaction did not end");
    }
    result
}

fn pool_out(timeout: Duration) -> Problem {
    Problem::unavailable(
        format!("No database connection was free within {} ms.", timeout.as_millis()),
        1,
    )
}

/// Counts a caller as waiting until it is dropped, even when the caller's future is.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn start(counter: &'a AtomicU32) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
