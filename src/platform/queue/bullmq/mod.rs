//! The queue in Redis: BullMQ's structures, worked by hand.
//!
//! Jobs go in, out and back by BullMQ's own scripts (`lua/`), so that Node workers, Node clients and
//! dashboards share the queue. What a job is and how it ended is in the ledger; Redis shows it.
//!
//! # Invariants
//! - A job is given back, put off or finished in Redis only as the ledger says it stands.
//! - A job that an older boot of ours holds in Redis waits again as soon as we start or reconnect.
//! - Nothing is claimed without the owner's lease.
//!
//! # Not here
//! The connection is [`crate::platform::redis`]; what the ledger makes of a job that was found is
//! [`super::pickup`].

mod holding;
mod pack;
mod scripts;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use self::scripts::{FENCE_FIELD, Keys, Scripts};
use super::ledger::Ticket;
use super::pickup;
use super::port::{Condition, Drained, Known, Queue, QueueCounts, QueueFuture, Trouble};
use super::registry::Registry;
use super::runner::{Runner, Stop};
use super::slots::{Slots, let_go};
use crate::base::clock::SharedClock;
use crate::base::id::{JobId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::redis::{Call, FromRedisValue, Owner, OwnerLease, Redis, Value, cmd, pipe};
use crate::platform::store::Store;

/// The queue in Redis. Clones share it.
#[derive(Clone)]
pub(super) struct BullQueue {
    inner: Arc<Inner>,
}

struct Inner {
    redis: Redis,
    scripts: Scripts,
    lease: OwnerLease,
    owner: Owner,
    ledger: Store,
    runner: Runner,
    registry: Registry,
    clock: SharedClock,
    stop: Stop,
    slots: Slots,
    wake: Arc<Notify>,
    forgot: Arc<Notify>,
    /// What this process holds in Redis, by BullMQ's id.
    held: Mutex<HashMap<String, Held>>,
    /// Whether jobs of ours may lie in Redis as running that do not run.
    sweep: AtomicBool,
    taken_by: Mutex<Option<Owner>>,
    trouble: Trouble,
    tokens: AtomicU64,
    claims: AtomicU64,
}

/// A job that this process holds in Redis.
struct Held {
    /// The lock's.
    token: String,
    /// The ledger handed it over meanwhile: its attempt is over there, and Redis is not told yet.
    again: Option<Ticket>,
}

/// What the queue is made of.
pub(super) struct Setup {
    pub(super) redis: Redis,
    pub(super) owner: Owner,
    pub(super) ledger: Store,
    pub(super) runner: Runner,
    pub(super) registry: Registry,
    pub(super) clock: SharedClock,
    pub(super) stop: Stop,
    pub(super) concurrency: u32,
}

impl BullQueue {
    /// Takes the queue, or says who has it; then takes over what older boots held. Nothing runs yet.
    pub(super) async fn open(setup: Setup) -> Result<Self, Problem> {
        let lease = OwnerLease::take(&setup.redis, setup.owner.clone()).await?;
        let wake = Arc::new(Notify::new());
        let queue = Self {
            inner: Arc::new(Inner {
                scripts: Scripts::new(Keys::new(setup.redis.prefix())),
                redis: setup.redis,
                lease,
                owner: setup.owner,
                ledger: setup.ledger,
                runner: setup.runner,
                registry: setup.registry,
                clock: setup.clock,
                stop: setup.stop,
                slots: Slots::new(setup.concurrency, Arc::clone(&wake)),
                wake,
                forgot: Arc::default(),
                held: Mutex::default(),
                sweep: AtomicBool::new(false),
                taken_by: Mutex::default(),
                trouble: Trouble::default(),
                tokens: AtomicU64::default(),
                claims: AtomicU64::default(),
            }),
        };
        queue.inner.sweep().await?;
        Ok(queue)
    }

    /// Starts claiming and working.
    pub(super) fn run(&self) {
        worker::spawn(&self.inner);
        holding::spawn(&self.inner);
    }

    async fn drain_until(&self, deadline: Timestamp) -> Drained {
        let inner = &self.inner;
        inner.stop.stopping.cancel();
        tokio::select! {
            biased;
            () = inner.slots.idle() => {}
            () = inner.clock.sleep_until(deadline) => {
                inner.stop.cut.cancel();
                let _ = let_go(inner.slots.idle()).await;
            }
        }
        inner.stop.cut.cancel();
        inner.lease.release().await;
        Drained { released: inner.slots.released() }
    }
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn next_token(&self) -> String {
        let n = self.tokens.fetch_add(1, Ordering::Relaxed);
        format!("tenure:{}:{}:{n}", self.owner.instance, self.owner.boot)
    }

    /// How locks of this installation begin.
    fn our_tokens(&self) -> String {
        format!("tenure:{}:", self.owner.instance)
    }

    /// The worker's name in `pb` of a job.
    fn worker_name(&self) -> String {
        format!("tenure:{}", self.owner.instance)
    }

    /// Something may have been lost on the way to Redis: look again, soon.
    fn doubt(&self) {
        self.sweep.store(true, Ordering::Release);
        self.forgot.notify_one();
        self.wake.notify_one();
    }

    /// Adds a job again that the ledger handed over while it was held.
    async fn add_again(&self, ticket: Ticket) {
        if let Err(problem) = self.add(&[ticket]).await {
            tracing::warn!(%problem, "a job that was moved by hand could not be added; the ledger is compared");
            self.doubt();
        }
        self.wake.notify_one();
    }

    /// Adds the jobs; those that are there are brought to what the ledger says.
    async fn add(&self, tickets: &[Ticket]) -> Result<(), Problem> {
        let keys = &self.scripts.keys;
        let mut ask = pipe();
        for ticket in tickets {
            ask.cmd("EXISTS").arg(keys.job(ticket.id.as_str()));
        }
        let there = self.redis.query_all(ask).await?;
        let mut fresh: Vec<&Ticket> = Vec::new();
        for (ticket, there) in tickets.iter().zip(&there) {
            if matches!(there, Value::Int(0)) || !self.settle_existing(ticket).await? {
                fresh.push(ticket);
            }
        }
        let now = self.now();
        let calls: Vec<Call<'_>> = fresh.iter().map(|t| self.scripts.add(t, now)).collect();
        for page in calls.chunks(500) {
            self.redis.run_all(page).await?;
        }
        let mut counts = pipe();
        for ticket in fresh.iter().filter(|t| t.attempts_made > 0) {
            counts.cmd("HSET").arg(keys.job(ticket.id.as_str())).arg("atm").arg(ticket.attempts_made);
        }
        if counts.cmd_iter().next().is_some() {
            self.redis.query_all(counts).await?;
        }
        Ok(())
    }

    /// Where a job lies: completed, failed, delayed, prioritized, active, wait, paused; then how it ended.
    async fn locate(&self, id: &str) -> Result<Vec<Value>, Problem> {
        let keys = &self.scripts.keys;
        let mut ask = pipe();
        for set in ["completed", "failed", "delayed", "prioritized"] {
            ask.cmd("ZSCORE").arg(keys.of(set)).arg(id);
        }
        for list in ["active", "wait", "paused"] {
            ask.cmd("LPOS").arg(keys.of(list)).arg(id);
        }
        ask.cmd("HMGET").arg(keys.job(id)).arg(FENCE_FIELD).arg("failedReason");
        self.redis.query_all(ask).await
    }

    /// Keeps the ticket of a job that this process holds until Redis is told of its attempt.
    fn keep_for_later(&self, ticket: &Ticket) -> bool {
        let mut held = lock(&self.held);
        let Some(held) = held.get_mut(ticket.id.as_str()) else { return false };
        held.again = Some(ticket.clone());
        true
    }

    /// Brings a job that is in Redis to what the ledger says. False when it has to be added anew.
    async fn settle_existing(&self, ticket: &Ticket) -> Result<bool, Problem> {
        let id = ticket.id.as_str();
        let has = |answers: &[Value], n: usize| answers.get(n).is_some_and(|v| !matches!(v, Value::Nil));
        let mut answers = self.locate(id).await?;
        if has(&answers, 4) {
            if self.keep_for_later(ticket) {
                return Ok(true);
            }
            // Its attempt may have let go of it just now.
            answers = self.locate(id).await?;
        }
        let has = |n: usize| has(&answers, n);
        if has(4) || has(3) || has(5) || has(6) {
            return Ok(true);
        }
        if has(0) || has(1) {
            let (fence, reason): (Option<i64>, Option<String>) =
                answers.last().map(|v| FromRedisValue::from_redis_value(v.clone())).transpose()
                    .map_err(Problem::internal)?.unwrap_or_default();
            if fence != Some(ticket.fence) {
                let (id, failed) = (ticket.id.clone(), has(1).then(|| reason.unwrap_or_default()));
                tracing::info!(job = %id, "the queue says that somebody else's worker ended this job");
                self.ledger
                    .write_in_background(move |tx| pickup::note_ended_elsewhere(tx, &id, failed.as_deref()))
                    .await?;
                return Ok(true);
            }
        } else if has(2) && ticket.run_at <= self.now() {
            self.redis.run(self.scripts.promote(id)).await?;
            return Ok(true);
        }
        self.redis.run(self.scripts.remove(id)).await?;
        Ok(false)
    }

    async fn list_known(&self) -> Result<Vec<Known>, Problem> {
        let keys = &self.scripts.keys;
        let mut ask = pipe();
        for list in ["wait", "paused", "active"] {
            ask.cmd("LRANGE").arg(keys.of(list)).arg(0).arg(-1);
        }
        ask.cmd("ZRANGE").arg(keys.of("prioritized")).arg(0).arg(-1);
        ask.cmd("ZRANGE").arg(keys.of("delayed")).arg(0).arg(-1).arg("WITHSCORES");
        let mut answers = self.redis.query_all(ask).await?;
        let texts = |answer: Value| -> Result<Vec<String>, Problem> {
            FromRedisValue::from_redis_value(answer).map_err(Problem::internal)
        };
        let delayed = texts(answers.pop().unwrap_or(Value::Nil))?;
        let mut known: Vec<Known> = delayed
            .chunks(2)
            .filter_map(|pair| Some(Known { id: pair.first()?.clone(), not_before: worker::instant(pair.get(1)?) }))
            .collect();
        for answer in answers {
            known.extend(texts(answer)?.into_iter().map(|id| Known { id, not_before: None }));
        }
        Ok(known)
    }

    async fn counts(&self) -> Result<QueueCounts, Problem> {
        let mut ask = pipe();
        for (command, key) in
            [("LLEN", "wait"), ("LLEN", "paused"), ("ZCARD", "prioritized"), ("ZCARD", "delayed"), ("LLEN", "active")]
        {
            ask.cmd(command).arg(self.scripts.keys.of(key));
        }
        let answers: Vec<u64> = self
            .redis
            .query_all(ask)
            .await?
            .into_iter()
            .map(|v| FromRedisValue::from_redis_value(v).map_err(Problem::internal))
            .collect::<Result<_, _>>()?;
        let of = |n: usize| answers.get(n).copied().unwrap_or(0);
        Ok(QueueCounts { waiting: of(0) + of(1) + of(2), delayed: of(3), active: of(4) })
    }
}

impl Queue for BullQueue {
    fn add(&self, tickets: Vec<Ticket>) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            if !tickets.is_empty() {
                self.inner.add(&tickets).await?;
                self.inner.wake.notify_one();
            }
            Ok(())
        })
    }

    fn remove(&self, id: JobId) -> QueueFuture<'_, bool> {
        Box::pin(async move {
            let keys = &self.inner.scripts.keys;
            let there: bool = self.inner.redis.query(cmd("EXISTS").arg(keys.job(id.as_str()))).await?;
            let removed = self.inner.redis.run(self.inner.scripts.remove(id.as_str())).await?;
            Ok(there && matches!(removed, Value::Int(1)))
        })
    }

    fn list_known(&self) -> QueueFuture<'_, Vec<Known>> {
        Box::pin(self.inner.list_known())
    }

    fn may_reopen(&self) -> bool {
        true
    }

    fn forgot(&self) -> Option<Arc<Notify>> {
        Some(Arc::clone(&self.inner.forgot))
    }

    fn counts(&self) -> QueueFuture<'_, QueueCounts> {
        Box::pin(self.inner.counts())
    }

    fn pause(&self, paused: bool) -> QueueFuture<'_, ()> {
        Box::pin(async move {
            // An older client's list of held jobs comes back in portions.
            loop {
                match self.inner.redis.run(self.inner.scripts.pause(paused)).await? {
                    Value::Int(left) if left > 0 => {}
                    _ => break,
                }
            }
            self.inner.wake.notify_one();
            Ok(())
        })
    }

    fn is_paused(&self) -> QueueFuture<'_, bool> {
        Box::pin(async move {
            let meta = self.inner.scripts.keys.of("meta");
            self.inner.redis.query(cmd("HEXISTS").arg(meta).arg("paused")).await
        })
    }

    fn drain(&self, deadline: Timestamp) -> QueueFuture<'_, Drained> {
        Box::pin(async move { Ok(self.drain_until(deadline).await) })
    }

    fn condition(&self) -> Condition {
        match &*lock(&self.inner.taken_by) {
            Some(other) => Condition::down(self.inner.lease.taken(other).to_string()),
            None => self.inner.trouble.condition(self.inner.now()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "Redis measures locks and leases by its own clock")]
async fn pause_for(time: Duration) {
    tokio::time::sleep(time).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
