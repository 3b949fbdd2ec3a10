//! Going down in order: the signal, the one deadline, a log line per step.
//!
//! # Invariants
//! - The steps run in the runbook's order, each at most once.
//! - Requests and jobs share one deadline: 5 s before the grace period ends.
//! - A second signal ends the process at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::base::clock::SharedClock;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// What is kept back of the grace period, for closing the stores.
const RESERVE: Duration = Duration::from_secs(5);
/// The exit status after a second signal.
const IMPATIENT: i32 = 130;

/// The steps of a shutdown, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Readiness says 503, the listener closes, event streams are told to end.
    StopAccepting,
    /// Requests in flight finish.
    FinishRequests,
    /// Nothing more is claimed; running jobs finish or are released.
    DrainWorker,
    /// The last audit checkpoint, to the local store only.
    Checkpoint,
    /// Redis and the databases are closed, write-ahead logs truncated.
    CloseStores,
}

impl Step {
    fn text(self) -> &'static str {
        match self {
            Self::StopAccepting => "no new connections are accepted",
            Self::FinishRequests => "requests in flight are finished",
            Self::DrainWorker => "the worker is drained",
            Self::Checkpoint => "the closing checkpoint is made",
            Self::CloseStores => "the databases are closed",
        }
    }
}

/// The life of one process. Clones share it.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: SharedClock,
    grace: Duration,
    stopping: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began: Option<Timestamp>,
    last: Option<Step>,
}

impl Lifecycle {
    /// A process that is given `grace` (`SHUTDOWN_GRACE_SECONDS`) to go down.
    pub fn new(clock: SharedClock, grace: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                clock,
                grace,
                stopping: CancellationToken::new(),
                state: Mutex::default(),
            }),
        }
    }

    /// Begins the shutdown at the first SIGTERM or SIGINT, ends the process at the second.
    ///
    /// To be called inside a tokio runtime, before anything is started that has to be closed.
    pub fn heed_signals(&self) -> Result<(), Problem> {
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let this = self.clone();
        tokio::spawn(async move {
            let name = next_signal(&mut terminate, &mut interrupt).await;
            this.begin(name);
            let name = next_signal(&mut terminate, &mut interrupt).await;
            tracing::warn!(signal = name, "second signal: the process ends at once");
            std::process::exit(IMPATIENT);
        });
        Ok(())
    }

    /// Begins the shutdown; a second call changes nothing.
    pub fn begin(&self, why: &str) {
        let first = {
            let mut state = self.lock();
            let first = state.began.is_none();
            state.began.get_or_insert(self.inner.clock.now());
            first
        };
        if first {
            tracing::info!(why, grace_seconds = self.inner.grace.as_secs(), "shutdown begins");
        }
        self.inner.stopping.cancel();
    }

    /// Cancelled when the shutdown begins: for readiness, the listener, event streams.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stopping.clone()
    }

    /// Whether the shutdown has begun.
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.is_cancelled()
    }

    /// Ready when the shutdown begins.
    pub async fn stopped(&self) {
        self.inner.stopping.cancelled().await;
    }

    /// Until when requests and jobs may finish: 5 s before the end of the grace period, or half of a
    /// grace period that is shorter than 10 s.
    pub fn deadline(&self) -> Timestamp {
        let began = self.lock().began.unwrap_or(self.inner.clock.now());
        let grace = self.inner.grace;
        began.plus(grace.saturating_sub(RESERVE).max(grace / 2))
    }

    /// What is left of the whole grace period.
    pub fn left(&self) -> Duration {
        let began = self.lock().began.unwrap_or(self.inner.clock.now());
        began.plus(self.inner.grace).since(self.inner.clock.now())
    }

    /// Runs one step and logs a line when it is over.
    ///
    /// # Panics
    /// When a step comes after one that should follow it: the order is part of the runbook.
    pub async fn step<T>(&self, step: Step, work: impl Future<Output = T>) -> T {
        {
            let mut state = self.lock();
            assert!(state.last < Some(step), "{step:?} after {:?}", state.last);
            state.last = Some(step);
        }
        let began = self.inner.clock.now();
        let result = work.await;
        let took = self.inner.clock.now().since(began);
        tracing::info!(step = ?step, ms = took.as_millis() as u64, "shutdown: {}", step.text());
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Problem> {
    signal(kind).map_err(|e| Problem::internal(format!("listening for signal {kind:?}: {e}")))
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::ManualClock;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// The deadline counts from the first signal, however late it is asked for.
    #[tokio::test]
    async fn requests_and_jobs_have_until_5_s_before_the_end() {
        let clock = Arc::new(ManualClock::at(at(1_000)));
        let life = Lifecycle::new(clock.clone(), Duration::from_secs(30));
        assert!(!life.is_stopping());
        life.begin("test");
        life.stopped().await;
        clock.set(at(4_000));
        life.begin("again");
        assert_eq!(life.deadline(), at(26_000));
        assert_eq!(life.left(), Duration::from_secs(27));
        let short = Lifecycle::new(clock, Duration::from_secs(4));
        short.begin("test");
        assert_eq!(short.deadline(), at(6_000));
    }

    #[tokio::test]
    #[should_panic(expected = "StopAccepting after Some(DrainWorker)")]
    async fn steps_keep_the_order_of_the_runbook() {
        let life = Lifecycle::new(Arc::new(ManualClock::at(at(0))), Duration::from_secs(30));
        life.step(Step::DrainWorker, async {}).await;
        life.step(Step::StopAccepting, async {}).await;
    }
}
