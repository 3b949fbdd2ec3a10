//! Health: whether this process can do its work, for people and load balancers.
//!
//! # Invariants
//! - `status` is decided by the checks that say so ([`HealthSource::decides`]): database, redis,
//!   worker, scheduler. The others inform.
//! - A check takes at most 2 s; one that hangs is down.
//! - Results are shared for 1 s, so that being asked often costs nothing.
//!
//! # Not here
//! What a part does to stay healthy; it only tells its condition through a [`HealthSource`].

pub mod api;
pub mod sources;
pub mod store;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::time::Timestamp;

/// How long a check may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a report is shared.
const FRESH: Duration = Duration::from_secs(1);
/// The longest detail, in characters.
const MAX_DETAIL: usize = 200;

/// How one part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Down,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// How it is.
    pub status: Status,
    /// How long the round trip took, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// What is wrong, in few words; holds no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What stands behind it, where there is a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<&'static str>,
}

impl Check {
    fn new(status: Status, detail: Option<String>) -> Self {
        let detail = detail.map(|d| d.chars().take(MAX_DETAIL).collect());
        Self { status, latency_ms: None, detail, backend: None }
    }

    /// It works.
    pub fn ok() -> Self {
        Self::new(Status::Ok, None)
    }

    /// It works, and somebody should look at it.
    pub fn warning(detail: impl Into<String>) -> Self {
        Self::new(Status::Warning, Some(detail.into()))
    }

    /// It does not work.
    pub fn down(detail: impl Into<String>) -> Self {
        Self::new(Status::Down, Some(detail.into()))
    }

    /// Names what stands behind it.
    #[must_use]
    pub fn on(self, backend: &'static str) -> Self {
        Self { backend: Some(backend), ..self }
    }
}

/// The future of a check.
pub type CheckFuture<'a> = Pin<Box<dyn Future<Output = Check> + Send + 'a>>;

/// A part that can tell how it is.
pub trait HealthSource: Send + Sync + 'static {
    /// Its key in the report.
    fn name(&self) -> &'static str;

    /// Whether being down makes the whole degraded.
    fn decides(&self) -> bool;

    /// Whether asking is a round trip whose time is worth telling.
    fn is_round_trip(&self) -> bool {
        false
    }

    /// What stands behind it, where there is a choice.
    fn backend(&self) -> Option<&'static str> {
        None
    }

    /// Looks.
    fn check(&self) -> CheckFuture<'_>;
}

/// Whether everything that decides works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// All of it.
    Ok,
    /// Tenure runs, and some of it does not work.
    Degraded,
}

/// The whole picture.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Report {
    /// Whether everything that decides works.
    pub status: Overall,
    /// Tenure's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime: f64,
    /// The parts.
    #[schema(value_type = std::collections::HashMap<String, Check>)]
    pub checks: BTreeMap<&'static str, Check>,
}

/// The health of one process. Clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    clock: SharedClock,
    started_at: Timestamp,
    stopping: CancellationToken,
    sources: Vec<Arc<dyn HealthSource>>,
    limits: Limits,
    last: Mutex<Option<(Instant, Overall, BTreeMap<&'static str, Check>)>>,
}

/// How long a check may take and a report is shared.
#[derive(Debug, Clone, Copy)]
struct Limits {
    patience: Duration,
    fresh: Duration,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.inner.sources.iter().map(|s| s.name()).collect();
        f.debug_struct("Health").field("sources", &names).finish_non_exhaustive()
    }
}

impl Health {
    /// The health of a process that starts now and is ready until `stopping` is cancelled.
    pub fn new(clock: SharedClock, stopping: CancellationToken, sources: Vec<Arc<dyn HealthSource>>) -> Self {
        Self::with_limits(clock, stopping, sources, Limits { patience: PATIENCE, fresh: FRESH })
    }

    fn with_limits(
        clock: SharedClock,
        stopping: CancellationToken,
        sources: Vec<Arc<dyn HealthSource>>,
        limits: Limits,
    ) -> Self {
        let started_at = clock.now();
        Self { inner: Arc::new(Inner { clock, started_at, stopping, sources, limits, last: Mutex::default() }) }
    }

    /// When the process started.
    pub fn started_at(&self) -> Timestamp {
        self.inner.started_at
    }

    /// Whether new requests should go elsewhere because the process goes down.
    pub fn is_draining(&self) -> bool {
        self.inner.stopping.is_cancelled()
    }

    /// The whole picture, at most 1 s old.
    pub async fn report(&self) -> Report {
        let (status, checks) = self.look().await;
        let uptime = self.inner.clock.now().since(self.inner.started_at).as_secs_f64();
        Report { status, version: env!("CARGO_PKG_VERSION"), uptime, checks }
    }

    async fn look(&self) -> (Overall, BTreeMap<&'static str, Check>) {
        // Whoever comes while somebody looks waits here and gets the same answer.
        let mut last = self.inner.last.lock().await;
        if let Some((at, status, checks)) = last.as_ref()
            && at.elapsed() < self.inner.limits.fresh
        {
            return (*status, checks.clone());
        }
        let patience = self.inner.limits.patience;
        let asked = self.inner.sources.iter().map(|s| ask(s.as_ref(), patience));
        let found = futures::future::join_all(asked).await;
        let mut status = Overall::Ok;
        let mut checks = BTreeMap::new();
        for (source, check) in self.inner.sources.iter().zip(found) {
            if source.decides() && check.status == Status::Down {
                status = Overall::Degraded;
            }
            checks.insert(source.name(), check);
        }
        *last = Some((Instant::now(), status, checks.clone()));
        (status, checks)
    }
}

async fn ask(source: &dyn HealthSource, patience: Duration) -> Check {
    // The machine's time: this measures a round trip, no rule depends on it.
    let began = Instant::now();
    let mut check = tokio::time::timeout(patience, source.check())
        .await
        .unwrap_or_else(|_| Check::down(format!("no answer within {} s", patience.as_secs_f32())));
    if source.is_round_trip() {
        check.latency_ms = Some((began.elapsed().as_secs_f64() * 100_000.0).round() / 100.0);
    }
    check.backend = check.backend.or(source.backend());
    check
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::sources::Told;
    use super::*;
    use crate::platform::clock::ManualClock;

    struct Hangs;

    impl HealthSource for Hangs {
        fn name(&self) -> &'static str {
            "redis"
        }
        fn decides(&self) -> bool {
            true
        }
        fn is_round_trip(&self) -> bool {
            true
        }
        fn check(&self) -> CheckFuture<'_> {
            Box::pin(std::future::pending())
        }
    }

    fn health(fresh: Duration, sources: Vec<Arc<dyn HealthSource>>) -> Health {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let limits = Limits { patience: Duration::from_millis(20), fresh };
        Health::with_limits(clock, CancellationToken::new(), sources, limits)
    }

    #[tokio::test]
    async fn a_dependency_that_hangs_is_down() {
        let report = health(FRESH, vec![Arc::new(Hangs)]).report().await;
        assert_eq!(report.status, Overall::Degraded);
        assert_eq!(report.checks["redis"].detail.as_deref(), Some("no answer within 0.02 s"));
        assert!(report.checks["redis"].latency_ms.is_some());
    }

    #[tokio::test]
    async fn a_part_that_only_informs_leaves_the_status_alone() {
        let mail = Told::informing("mail", || Check::down("refused"));
        let report = health(FRESH, vec![Arc::new(mail)]).report().await;
        assert_eq!(report.status, Overall::Ok);
        assert_eq!(report.checks["mail"].status, Status::Down);
    }

    #[tokio::test]
    async fn a_report_is_shared_while_it_is_fresh() {
        for (fresh, times) in [(Duration::MAX, 1), (Duration::ZERO, 3)] {
            let asked = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&asked);
            let worker = Told::deciding("worker", move || {
                count.fetch_add(1, Ordering::Relaxed);
                Check::ok()
            });
            let health = health(fresh, vec![Arc::new(worker)]);
            for _ in 0..3 {
                health.report().await;
            }
            assert_eq!(asked.load(Ordering::Relaxed), times);
        }
    }
}
