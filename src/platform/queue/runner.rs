//! One attempt of one job: start it in the ledger, run the handler, record how it went.
//!
//! # Invariants
//! - While a job runs that may end the process, no other does: a job that only ran beside it is not
//!   taken for it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use super::cx::{JobCx, Told};
use super::ledger::{self, AfterFailure, Claim, Start, Started};
use super::pickup::{self, Found};
use super::registry::Registry;
use crate::base::clock::SharedClock;
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::faults::{QUEUE_AFTER_ATTEMPT, QUEUE_BEFORE_ATTEMPT};
use crate::platform::metrics::{AttemptEnd, Stopwatch};
use crate::platform::store::{Store, Tx};

/// How long to wait before the database is asked again after it failed.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How long a job that is to run alone waits for the others to end, and then for its next turn.
const ALONE_WITHIN: Duration = Duration::from_secs(30);

/// Whether an attempt has begun.
enum Begun {
    Started(Started),
    Alone,
    Not(Outcome),
}

/// What the queue does with a job after an attempt. The ledger knows already.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Done, failed for good, or nobody's any more: forget it.
    Over,
    /// The next attempt, not before this instant.
    Again(Timestamp),
    /// Forget it, then release the claim: the ledger holds it until a later instant.
    Snoozed(Claim),
    /// Not counted: it waits as before.
    Released,
}

/// The two steps of stopping.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Start nothing more; handlers see it through [`JobCx::stopping`].
    pub(super) stopping: CancellationToken,
    /// What still runs is dropped.
    pub(super) cut: CancellationToken,
}

/// Carries out the attempts of jobs that a queue gives out.
pub(super) trait Attempts: Send + Sync + 'static {
    /// One attempt; the queue is to do with the job what it answers.
    fn attempt<'a>(&'a self, id: &'a JobId) -> Attempt<'a>;
}

/// An attempt on its way.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

impl Attempts for Runner {
    fn attempt<'a>(&'a self, id: &'a JobId) -> Attempt<'a> {
        Box::pin(Runner::attempt(self, id))
    }
}

/// Runs attempts. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    store: Store,
    registry: Registry,
    clock: SharedClock,
    stop: Stop,
    /// Read by every attempt while it runs, written by one that runs alone.
    company: Arc<RwLock<()>>,
}

impl Runner {
    pub(super) fn new(store: Store, registry: Registry, clock: SharedClock, stop: Stop) -> Self {
        Self { store, registry, clock, stop, company: Arc::default() }
    }

    /// Runs one attempt of a job that the queue gave out.
    pub(super) async fn attempt(&self, id: &JobId) -> Outcome {
        let job = id.clone();
        self.attempt_if(id.as_str(), move |tx, alone| ledger::start(tx, &job, alone)).await
    }

    /// Runs one attempt of a job that was found in a queue which others may write to.
    pub(super) async fn attempt_found(&self, found: Arc<Found>) -> Outcome {
        let job = Arc::clone(&found);
        self.attempt_if(&found.queue_id, move |tx, alone| pickup::pick_up(tx, &job, alone)).await
    }

    async fn attempt_if<F>(&self, id: &str, start: F) -> Outcome
    where
        F: Fn(&Tx<'_>, bool) -> Result<Start, Problem> + Send + Sync + 'static,
    {
        let start = Arc::new(start);
        let company = tokio::select! {
            biased;
            () = self.stop.stopping.cancelled() => return Outcome::Released,
            company = self.company.read() => company,
        };
        match self.begin(id, &start, false).await {
            Begun::Started(started) => self.run_to_end(started).await,
            Begun::Not(outcome) => outcome,
            Begun::Alone => {
                drop(company);
                self.attempt_alone(id, &start).await
            }
        }
    }

    /// Waits until nothing else runs, lets nothing else begin, and runs the attempt.
    async fn attempt_alone<F>(&self, id: &str, start: &Arc<F>) -> Outcome
    where
        F: Fn(&Tx<'_>, bool) -> Result<Start, Problem> + Send + Sync + 'static,
    {
        tracing::info!(job = id, "this job was running each time the process ended; it runs alone now");
        let later = self.clock.now().plus(ALONE_WITHIN);
        let _alone = tokio::select! {
            biased;
            () = self.stop.stopping.cancelled() => return Outcome::Released,
            alone = self.company.write() => alone,
            // What runs takes long. The others are not held up for ever.
            () = self.clock.sleep_until(later) => return Outcome::Again(later.plus(ALONE_WITHIN)),
        };
        match self.begin(id, start, true).await {
            Begun::Started(started) => self.run_to_end(started).await,
            Begun::Not(outcome) => outcome,
            Begun::Alone => Outcome::Over,
        }
    }

    async fn begin<F>(&self, id: &str, start: &Arc<F>, alone: bool) -> Begun
    where
        F: Fn(&Tx<'_>, bool) -> Result<Start, Problem> + Send + Sync + 'static,
    {
        let start = Arc::clone(start);
        let begun = async {
            self.store.faults().pass(QUEUE_BEFORE_ATTEMPT).await?;
            self.store.write_in_background(move |tx| start(tx, alone)).await
        };
        match begun.await {
            Ok(Start::Begun(started)) => Begun::Started(started),
            Ok(Start::Alone) => Begun::Alone,
            Ok(Start::NotBefore(at)) => Begun::Not(Outcome::Again(at)),
            Ok(Start::Gone) => Begun::Not(Outcome::Over),
            Err(problem) => {
                tracing::warn!(job = id, ?problem, "a job could not be started; it is tried again");
                Begun::Not(Outcome::Again(self.clock.now().plus(PAUSE)))
            }
        }
    }

    async fn run_to_end(&self, started: Started) -> Outcome {
        let outcome = self.run(started).await;
        match (outcome, self.store.faults().pass(QUEUE_AFTER_ATTEMPT).await) {
            // The ledger says what becomes of the job when the queue gives it out again.
            (Outcome::Over | Outcome::Again(_), Err(_)) => Outcome::Released,
            (outcome, _) => outcome,
        }
    }

    async fn run(&self, started: Started) -> Outcome {
        let Started { claim, name, payload } = started;
        let cx = JobCx::new(claim.clone(), self.store.clone(), self.stop.stopping.clone());
        let Some(handler) = self.registry.find(&name) else {
            let reason = format!("This version of Tenure has no handler for jobs named `{name}`.");
            return self.fail(claim, reason).await;
        };
        let began = Stopwatch::start();
        let count = |end| self.store.metrics().attempt(handler.name(), end, began.seconds());
        let attempt = AssertUnwindSafe(async { handler.run(&cx, payload).await }).catch_unwind();
        let result = tokio::select! {
            biased;
            result = attempt => result,
            () = self.stop.cut.cancelled() => {
                count(AttemptEnd::Released);
                tracing::info!(job = %claim.id, name, "released at the shutdown deadline; the attempt does not count");
                return self.release(claim).await;
            }
        };
        count(match (cx.told(), &result) {
            (Told::Completed, _) | (Told::Nothing, Ok(Ok(()))) => AttemptEnd::Completed,
            (Told::Snoozed, _) => AttemptEnd::PutOff,
            (Told::Nothing, Ok(Err(_))) if self.stop.stopping.is_cancelled() => AttemptEnd::Released,
            (Told::Nothing, _) => AttemptEnd::Failed,
        });
        match (cx.told(), result) {
            (Told::Completed, _) => Outcome::Over,
            (Told::Snoozed, _) => Outcome::Snoozed(claim),
            (Told::Nothing, Ok(Ok(()))) => self.finish(claim).await,
            (Told::Nothing, Ok(Err(_))) if self.stop.stopping.is_cancelled() => {
                // The handler stopped between pages because it was asked to.
                self.release(claim).await
            }
            (Told::Nothing, Ok(Err(problem))) => {
                tracing::warn!(job = %claim.id, name, attempt = claim.attempt, ?problem, "a job's attempt failed");
                let reason = reason_of(&problem, &claim);
                self.fail(claim, reason).await
            }
            (Told::Nothing, Err(panic)) => {
                let text = panic_text(panic.as_ref());
                tracing::error!(job = %claim.id, name, attempt = claim.attempt, panic = text, "a job's handler panicked");
                let reason = format!("The handler panicked; the system log names the place under job {}.", claim.id);
                self.fail(claim, reason).await
            }
        }
    }

    async fn finish(&self, claim: Claim) -> Outcome {
        let id = claim.id.clone();
        let done = self
            .insist(move |tx| match ledger::mark_done(tx, &claim) {
                // Somebody else's by now: nothing to record.
                Err(Problem::Conflict(_)) => Ok(()),
                other => other,
            })
            .await;
        match done {
            Some(()) => Outcome::Over,
            None => self.unrecorded(&id),
        }
    }

    async fn fail(&self, claim: Claim, reason: String) -> Outcome {
        let id = claim.id.clone();
        let after =
            self.insist(move |tx| ledger::mark_attempt_failed(tx, &claim, &reason)).await;
        match after {
            Some(AfterFailure::Again(at)) => Outcome::Again(at),
            Some(AfterFailure::Failed | AfterFailure::Lost) => Outcome::Over,
            None => self.unrecorded(&id),
        }
    }

    async fn release(&self, claim: Claim) -> Outcome {
        let id = claim.id.clone();
        match self.insist(move |tx| ledger::release(tx, &claim)).await {
            Some(()) => Outcome::Released,
            None => self.unrecorded(&id),
        }
    }

    /// Writes until it is written or the process goes down; the next start sees to the rest.
    pub(super) async fn insist<T, F>(&self, f: F) -> Option<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        loop {
            let g = Arc::clone(&f);
            match self.store.write_in_background(move |tx| g(tx)).await {
                Ok(value) => return Some(value),
                Err(problem) if self.stop.cut.is_cancelled() => {
                    tracing::warn!(?problem, "how a job's attempt ended is not recorded");
                    return None;
                }
                Err(problem) => {
                    tracing::warn!(?problem, "how a job's attempt ended could not be recorded yet");
                    self.clock.sleep_until(self.clock.now().plus(PAUSE)).await;
                }
            }
        }
    }

    /// Reads until it is read or the process goes down.
    pub(super) async fn insist_reading<T, F>(&self, f: F) -> Option<T>
    where
        T: Send + 'static,
        F: Fn(&Tx<'_>) -> Result<T, Problem> + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        loop {
            let g = Arc::clone(&f);
            match self.store.read(move |tx| g(tx)).await {
                Ok(value) => return Some(value),
                Err(problem) => {
                    tracing::warn!(?problem, "how a job stands could not be read yet");
                    if self.stop.cut.is_cancelled() {
                        return None;
                    }
                    self.clock.sleep_until(self.clock.now().plus(PAUSE)).await;
                }
            }
        }
    }

    /// The ledger still shows the attempt as running; the next start counts it.
    fn unrecorded(&self, id: &JobId) -> Outcome {
        tracing::warn!(job = %id, "left to the next start");
        Outcome::Released
    }
}

/// What the job list shows: the problem's own words, or where to look when they say nothing.
fn reason_of(problem: &Problem, claim: &Claim) -> String {
    match problem {
        Problem::Internal(_) => {
            format!("A fault inside Tenure; the system log has the cause under job {}.", claim.id)
        }
        other => other.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
