//! Asking the parts how they are, each within its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::{Check, CheckStatus, Health, overall};
use crate::base::cron::Schedule;
use crate::base::problem::Problem;
use crate::features::access::reconciliation;
use crate::features::audit;
use crate::features::checkpoints::{self, Trouble};
use crate::features::timekeeping;
use crate::params;
use crate::platform::redis::Redis;
use crate::platform::store::Store;

/// A check that takes longer is down.
const PATIENCE: Duration = Duration::from_secs(2);
/// Results are shared this long.
const SHARED: Duration = Duration::from_secs(1);

/// Free space below which the disk is a warning, in bytes.
const DISK_LOW: u64 = 512 * 1024 * 1024;
/// Free space below which writing is about to fail, in bytes.
const DISK_OUT: u64 = 32 * 1024 * 1024;

/// Free space below which the disk counts as full. One write may still find room in what the
/// write-ahead log already owns; the next one will not.
const DISK_FULL: u64 = 256 * 1024;

/// A check that another part supplies; it answers at once.
pub type Probe = Arc<dyn Fn() -> Check + Send + Sync>;

/// What stands behind `redis`: where the queue and the sessions are.
#[derive(Debug, Clone)]
pub enum Backing {
    /// `queue.db`.
    Embedded(Store),
    /// A Redis server.
    Redis(Redis),
}

impl Backing {
    #[allow(clippy::disallowed_methods, reason = "latency is monotonic")]
    async fn check(&self) -> Check {
        match self {
            Self::Embedded(store) => Check { backend: Some("embedded"), ..round_trip(store).await },
            Self::Redis(redis) => {
                let began = Instant::now();
                let answer = redis.ping().await;
                let fault = answer.err().map(|p| match p {
                    Problem::Internal(_) => "Redis answers with an error; see the log".to_owned(),
                    other => other.to_string(),
                });
                Check { backend: Some("redis"), latency_ms: Some(millis(began)), ..Check::of(fault) }
            }
        }
    }
}

/// To a tenth.
fn millis(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

/// What checkpoints of the audit log should come to.
#[derive(Debug, Clone)]
pub struct Watch {
    /// `AUDIT_CHECKPOINT_SCHEDULE`.
    pub schedule: Schedule,
    /// The places of `AUDIT_CHECKPOINT_STORE`.
    pub places: Vec<&'static str>,
}

/// Asks the parts.
#[derive(Clone)]
pub struct Checks {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    watch: Watch,
    backing: Backing,
    probes: Vec<(&'static str, Probe)>,
    started: Instant,
    last: Mutex<Option<(Instant, Health)>>,
}

impl Checks {
    /// Checks of the database, of the audit log with its checkpoints, of what backs queue and sessions, and of what `probes` say.
    #[allow(clippy::disallowed_methods, reason = "uptime and latency are monotonic")]
    pub fn new(store: Store, watch: Watch, backing: Backing, probes: Vec<(&'static str, Probe)>) -> Self {
        let inner = Inner { store, watch, backing, probes, started: Instant::now(), last: Mutex::new(None) };
        Self { inner: Arc::new(inner) }
    }

    /// How Tenure is; asked again when the last answer is older than a second.
    #[allow(clippy::disallowed_methods, reason = "uptime and latency are monotonic")]
    pub async fn health(&self) -> Health {
        let mut last = self.inner.last.lock().await;
        if let Some((at, health)) = &*last
            && at.elapsed() < SHARED
        {
            return health.clone();
        }
        let health = self.ask().await;
        *last = Some((Instant::now(), health.clone()));
        health
    }

    /// Whether the database answers, for readiness.
    pub async fn database_is_up(&self) -> bool {
        self.health().await.checks.get("database").is_some_and(|c| c.status == CheckStatus::Ok)
    }

    async fn ask(&self) -> Health {
        let (mut database, backing, audit, (disk, full), access, clock) = tokio::join!(
            round_trip(&self.inner.store),
            self.inner.backing.check(),
            audit_log(&self.inner.store, &self.inner.watch),
            disk(&self.inner.store),
            access(&self.inner.store),
            clock(&self.inner.store),
        );
        if full && database.status == CheckStatus::Ok {
            let detail = "the disk that holds the data directory is full; free some space".to_owned();
            database = Check { latency_ms: database.latency_ms, ..Check::of(Some(detail)) };
        }
        let mut checks = BTreeMap::from([
            ("database", database),
            ("redis", backing),
            ("audit", audit),
            ("disk", disk),
            ("access", access),
            ("clock", clock),
        ]);
        for (name, probe) in &self.inner.probes {
            checks.insert(name, probe());
        }
        Health {
            status: overall(&checks),
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.inner.started.elapsed().as_secs_f64(),
            checks,
        }
    }
}

/// A write through the writer that changes a page, and a read; a full disk fails the first.
#[allow(clippy::disallowed_methods, reason = "latency is monotonic")]
async fn round_trip(store: &Store) -> Check {
    let began = Instant::now();
    let trip = async {
        store
            .write(|tx| tx.execute("UPDATE schema_migration SET applied_at = applied_at WHERE version = 1", params![]))
            .await?;
        store.read(|tx| tx.scalar::<i64>("SELECT count(*) FROM schema_migration", params![])).await
    };
    let fault = match tokio::time::timeout(PATIENCE, trip).await {
        Ok(Ok(_)) => None,
        Ok(Err(problem)) => Some(short(&problem)),
        Err(_) => Some("no answer within 2 s".to_owned()),
    };
    let mut check = Check::of(fault);
    check.latency_ms = Some(millis(began));
    check
}

/// Whether the audit log is what was written and signed, as far as that is known; the whole log is read by
/// `audit verify`.
async fn audit_log(store: &Store, watch: &Watch) -> Check {
    let watch = watch.clone();
    let trouble = store.read(move |tx| {
        let newest = match audit::store::head(tx)? {
            Some((seq, _)) => audit::store::find_leaf(tx, seq)?,
            None => None,
        };
        if let Some(row) = newest.filter(|row| row.leaf_hash != audit::leaf_hash(&row.leaf)) {
            let detail = format!("entry {} is not what was written; run tenure audit verify", row.seq);
            return Ok(Check::of(Some(detail)));
        }
        checkpoints::ops::trouble(tx, &watch.schedule, &watch.places).map(|trouble| match trouble {
            None => Check::of(None),
            Some(Trouble::Refused(detail)) => Check::of(Some(detail)),
            Some(Trouble::Late(detail)) => Check { status: CheckStatus::Warning, ..Check::of(Some(detail)) },
        })
    });
    match tokio::time::timeout(PATIENCE, trouble).await {
        Ok(Ok(check)) => check,
        Ok(Err(problem)) => Check::of(Some(short(&problem))),
        Err(_) => Check::of(Some("no answer within 2 s".to_owned())),
    }
}

/// Whether connected systems have what they should have: a warning, which somebody should look at.
async fn access(store: &Store) -> Check {
    match tokio::time::timeout(PATIENCE, store.read(reconciliation::ops::trouble)).await {
        Ok(Ok(None)) => Check::of(None),
        Ok(Ok(Some(trouble))) => Check { status: CheckStatus::Warning, ..Check::of(Some(trouble)) },
        Ok(Err(problem)) => Check::of(Some(short(&problem))),
        Err(_) => Check::of(Some("no answer within 2 s".to_owned())),
    }
}

/// Whether the clock is believed: a warning, which an administrator settles.
async fn clock(store: &Store) -> Check {
    match tokio::time::timeout(PATIENCE, store.read(timekeeping::ops::find_doubt)).await {
        Ok(Ok(None)) => Check::of(None),
        Ok(Ok(Some(doubt))) => {
            let detail = format!("{} Nothing ends by itself until an administrator confirms the time.", doubt.why());
            Check { status: CheckStatus::Warning, ..Check::of(Some(detail)) }
        }
        Ok(Err(problem)) => Check::of(Some(short(&problem))),
        Err(_) => Check::of(Some("no answer within 2 s".to_owned())),
    }
}

/// How much room the file system of the data directory has, and whether that is none.
async fn disk(store: &Store) -> (Check, bool) {
    let folder = store.path().parent().map(std::path::Path::to_owned).unwrap_or_default();
    // A file system that hangs must not hold a thread of the runtime.
    let free = tokio::task::spawn_blocking(move || {
        rustix::fs::statvfs(&folder).map(|s| s.f_bavail.saturating_mul(s.f_frsize))
    });
    match tokio::time::timeout(PATIENCE, free).await {
        Ok(Ok(Ok(free))) => (judge_free(free), free < DISK_FULL),
        _ => (Check::of(Some("the data directory cannot be looked at".to_owned())), false),
    }
}

/// What so many free bytes mean for the data directory.
pub fn judge_free(free: u64) -> Check {
    let mib = free / (1024 * 1024);
    match free {
        0..DISK_OUT => Check::of(Some(format!("{mib} MiB free; writing is about to fail"))),
        DISK_OUT..DISK_LOW => Check {
            status: CheckStatus::Warning,
            ..Check::of(Some(format!("{mib} MiB free; expected at least 512 MiB")))
        },
        _ => Check::of(None),
    }
}

fn short(problem: &Problem) -> String {
    match problem {
        Problem::Internal(_) => "the database answers with an error; see the log".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_warns_before_it_is_full() {
        assert_eq!(judge_free(DISK_LOW).status, CheckStatus::Ok);
        assert_eq!(judge_free(DISK_LOW - 1).status, CheckStatus::Warning);
        assert_eq!(judge_free(DISK_OUT - 1).status, CheckStatus::Down);
    }
}
