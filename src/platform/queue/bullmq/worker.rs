//! Taking jobs out of Redis, running them, telling Redis how the ledger stands to them afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::scripts::{End, FENCE_FIELD, Marks};
use super::{Held, Inner, lock};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::queue::ledger;
use crate::platform::queue::pickup::{self, Found, Standing, Verdict};
use crate::platform::queue::runner::{Outcome, PAUSE};
use crate::platform::queue::slots::Slot;
use crate::platform::redis::{Call, FromRedisValue, Value, pipe};

/// One claim in so many looks for jobs that call out before the others.
const CALLING_FIRST: u64 = 4;

/// Starts the claimer.
pub(super) fn spawn(inner: &Arc<Inner>) {
    let inner = Arc::clone(inner);
    tokio::spawn(async move { claim_until_stopped(&inner).await });
}

/// What the claimer does next.
enum Next {
    /// Look again at once, for this many.
    More(u32),
    /// Sleep until then, or until something changes.
    At(Option<Timestamp>),
}

async fn claim_until_stopped(inner: &Arc<Inner>) {
    let mut wish = 1;
    while !inner.stop.stopping.is_cancelled() {
        let wake_at = match claim(inner, wish).await {
            Ok(Next::More(more)) => {
                wish = more;
                continue;
            }
            Ok(Next::At(at)) => {
                inner.trouble.clear();
                at
            }
            Err(problem) => {
                tracing::warn!(?problem, "jobs could not be claimed; trying again");
                let now = inner.now();
                inner.trouble.note(now, format!("Jobs cannot be claimed: {problem}"));
                // A claim may have arrived whose answer did not.
                inner.sweep.store(true, Ordering::Release);
                Some(now.plus(PAUSE))
            }
        };
        wish = 1;
        let sleep = async {
            match wake_at {
                Some(at) => inner.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = inner.stop.stopping.cancelled() => return,
            () = inner.wake.notified() => {}
            () = sleep => {}
        }
    }
}

/// Takes up to `wish` jobs, no more than slots are free.
async fn claim(inner: &Arc<Inner>, wish: u32) -> Result<Next, Problem> {
    if inner.sweep.load(Ordering::Acquire) {
        inner.sweep().await?;
    }
    let free = inner.slots.free();
    if free.all == 0 || lock(&inner.taken_by).is_some() {
        return Ok(Next::At(None));
    }
    if free.calling == 0 && !inner.has_inside_jobs().await? {
        return Ok(Next::At(inner.next_delayed().await?));
    }
    let wish = wish.min(free.all);
    // The kind that comes last by its priority comes first at every fourth claim.
    let calling_first = free.calling > 0 && inner.claims.fetch_add(1, Ordering::Relaxed).is_multiple_of(CALLING_FIRST);
    let tokens: Vec<String> = (0..wish).map(|_| inner.next_token()).collect();
    let (worker, now) = (inner.worker_name(), inner.now());
    let take = |(n, token): (usize, &String)| match n {
        0 if calling_first => inner.scripts.take_next_that_calls_out(token, &worker, now),
        _ => inner.scripts.take_next(token, &worker, now),
    };
    let calls: Vec<Call<'_>> = tokens.iter().enumerate().map(take).collect();
    let answers = inner.redis.run_all(&calls).await?;
    let mut next = Next::More((wish * 2).min(64));
    for (n, (token, answer)) in tokens.into_iter().zip(answers).enumerate() {
        match Taken::read(answer)? {
            Taken::Job(found) => start(inner, found, token).await?,
            // Others may wait all the same.
            Taken::Nothing { .. } if n == 0 && calling_first => {}
            Taken::Nothing { until } => next = Next::At(until.map(|until| until.after(now))),
        }
    }
    Ok(next)
}

/// Runs a job that was taken, or gives it back when no slot is left for its kind.
async fn start(inner: &Arc<Inner>, found: Found, token: String) -> Result<(), Problem> {
    let calls_out = inner.registry.calls_out(&found.name);
    if calls_out && inner.slots.free().calling == 0 {
        let mut demote = pipe();
        demote.cmd("HSET").arg(inner.scripts.keys.job(&found.queue_id)).arg("priority").arg(1);
        inner.redis.query_all(demote).await?;
        inner.redis.run(inner.scripts.give_back(&found.queue_id, &token)).await?;
        return Ok(());
    }
    let slot = inner.slots.take(calls_out);
    lock(&inner.held).insert(found.queue_id.clone(), Held { token: token.clone(), again: None });
    let inner = Arc::clone(inner);
    tokio::spawn(async move { inner.work(found, token, slot).await });
    Ok(())
}

impl Inner {
    /// Whether a job that stays inside Tenure may be waiting.
    async fn has_inside_jobs(&self) -> Result<bool, Problem> {
        let keys = &self.scripts.keys;
        let mut ask = pipe();
        ask.cmd("LLEN").arg(keys.of("wait"));
        ask.cmd("ZCOUNT").arg(keys.of("delayed")).arg("-inf").arg(score(self.now()));
        let answers = self.redis.query_all(ask).await?;
        Ok(answers.iter().any(|a| matches!(a, Value::Int(n) if *n > 0)))
    }

    async fn next_delayed(&self) -> Result<Option<Timestamp>, Problem> {
        let mut ask = pipe();
        ask.cmd("ZRANGE").arg(self.scripts.keys.of("delayed")).arg(0).arg(0).arg("WITHSCORES");
        let answer = self.redis.query_all(ask).await?.pop().unwrap_or(Value::Nil);
        let first: Vec<String> = FromRedisValue::from_redis_value(answer).map_err(Problem::internal)?;
        Ok(first.get(1).and_then(|score| instant(score)))
    }

    async fn work(&self, found: Found, token: String, slot: Slot) {
        let found = Arc::new(found);
        let outcome = self.runner.attempt_found(Arc::clone(&found)).await;
        self.settle(&found, &token, &outcome).await;
        if let Outcome::Snoozed(claim) = outcome {
            let release = move |tx: &crate::platform::store::Tx<'_>| ledger::release(tx, &claim);
            if self.runner.insist(release).await.is_none() {
                tracing::warn!("a snoozed job is released by the next start");
            }
        } else if matches!(outcome, Outcome::Released) {
            self.slots.count_released();
        }
        let held = lock(&self.held).remove(&found.queue_id);
        drop(slot);
        if let Some(ticket) = held.and_then(|h| h.again) {
            self.add_again(ticket).await;
        }
    }

    /// Tells Redis how the ledger stands to a job. What does not arrive is mended by a sweep: the job
    /// is taken again, and the ledger asked again.
    async fn settle(&self, found: &Arc<Found>, token: &str, outcome: &Outcome) {
        let asked = Arc::clone(found);
        let verdict = self.runner.insist_reading(move |tx| pickup::judge(tx, &asked)).await;
        let Some(verdict) = verdict else { return };
        let trace = trace(&verdict);
        let marks = Marks {
            attempts_made: verdict.attempts_made,
            fence: verdict.fence,
            failed: verdict.failed_reason.as_deref().zip(trace.as_deref()),
        };
        let (id, now) = (found.queue_id.as_str(), self.now());
        let call = match (&verdict.standing, outcome) {
            (Standing::Unwanted, _) => self.scripts.finish(id, token, End::Gone, marks, now),
            (Standing::Done, _) => {
                self.scripts.finish(id, token, End::Completed, Marks { failed: None, ..marks }, now)
            }
            (Standing::Failed, _) => {
                let reason = verdict.failed_reason.as_deref().unwrap_or_default();
                self.scripts.finish(id, token, End::Failed(reason), marks, now)
            }
            (Standing::Waiting(at), Outcome::Again(not_before)) => {
                let at = (*at).max(*not_before);
                self.scripts.delay(id, token, at, marks, now)
            }
            (Standing::Waiting(at), _) if *at > now => self.scripts.delay(id, token, *at, marks, now),
            (Standing::Waiting(_), _) => self.scripts.give_back(id, token),
            // Another attempt of this process has it.
            (Standing::Running, _) => self.scripts.delay(id, token, now.plus(PAUSE), marks, now),
        };
        match self.redis.run(call).await {
            Ok(Value::Int(code)) if code < 0 => {
                tracing::info!(job = id, code, "Redis no longer had this job as ours; the ledger is compared");
                self.doubt();
            }
            Ok(_) => {}
            Err(problem) => {
                tracing::warn!(job = id, %problem, "Redis was not told how an attempt ended; it is after reconnecting");
                self.sweep.store(true, Ordering::Release);
            }
        }
    }
}

/// The reasons of a job's attempts as BullMQ's `stacktrace`.
fn trace(verdict: &Verdict) -> Option<String> {
    verdict.failed_reason.as_ref()?;
    serde_json::to_string(&verdict.reasons).ok()
}

/// The instant that a score of the delayed set stands for.
pub(super) fn instant(score: &str) -> Option<Timestamp> {
    score.parse::<f64>().ok().map(|s| Timestamp::from_millis((s / 4096.0) as i64))
}

/// The highest score of the delayed set that is due at `now`.
fn score(now: Timestamp) -> i64 {
    (now.as_millis() + 1).saturating_mul(4096) - 1
}

/// The answer of the script that takes a job.
enum Taken {
    Job(Found),
    /// Nothing to do; look again then.
    Nothing { until: Option<Until> },
}

/// Milliseconds: of an instant, or from now.
enum Until {
    At(i64),
    In(i64),
}

impl Until {
    fn after(&self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => Timestamp::from_millis(*at),
            Self::In(wait) => Timestamp::from_millis(now.as_millis().saturating_add(*wait)),
        }
    }
}

impl Taken {
    fn read(answer: Value) -> Result<Self, Problem> {
        let unexpected = |v: &Value| Problem::internal(format!("the queue gave {v:?} as the next job"));
        let Value::Array(parts) = answer else { return Err(unexpected(&answer)) };
        let number = |n: usize| match parts.get(n) {
            Some(Value::Int(n)) => *n,
            _ => 0,
        };
        let Some(job @ (Value::Array(_) | Value::Map(_))) = parts.first() else {
            let until = match (number(2), number(3)) {
                (0, 0) => None,
                (0, at) => Some(Until::At(at)),
                (wait, _) => Some(Until::In(wait)),
            };
            return Ok(Self::Nothing { until });
        };
        let fields: HashMap<String, String> =
            FromRedisValue::from_redis_value(job.clone()).map_err(Problem::internal)?;
        let id: String = match parts.get(1) {
            Some(id) => FromRedisValue::from_redis_value(id.clone()).map_err(Problem::internal)?,
            None => return Err(Problem::internal("the queue gave a job without an id")),
        };
        let of = |name: &str| fields.get(name).cloned();
        let int = |name: &str| fields.get(name).and_then(|v| v.parse::<i64>().ok());
        Ok(Self::Job(Found {
            queue_id: id,
            timestamp: int("timestamp").unwrap_or(0),
            name: of("name").unwrap_or_default(),
            payload: of("data").unwrap_or_else(|| "{}".to_owned()),
            attempts_made: int("atm").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            fence: int(FENCE_FIELD),
        }))
    }
}
