//! Keeping what is ours in Redis: the owner's lease, the locks of running jobs, the wake-ups, and
//! what older boots left behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::scripts::STALLED_EVERY_MS;
use super::{Inner, lock, pause_for};
use crate::base::problem::Problem;
use crate::platform::queue::names::QUEUE;
use crate::platform::redis::{Call, FromRedisValue, PATIENCE, Value, cmd, pipe};

/// A third of a lock's life.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
/// How long to wait for Redis before asking again.
const RETRY: Duration = Duration::from_millis(250);
/// A blocking wait for a marker, in seconds.
const BLOCK_SECONDS: u64 = 5;

/// Starts the parts that keep; they end with the drain.
pub(super) fn spawn(inner: &Arc<Inner>) {
    let parts = [Part::Lease, Part::Locks, Part::Stalled, Part::Marker, Part::Connection];
    for part in parts {
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            let ended = inner.stop.cut.clone();
            tokio::select! {
                () = ended.cancelled() => {}
                () = inner.keep(part) => {}
            }
        });
    }
}

#[derive(Debug, Clone, Copy)]
enum Part {
    Lease,
    Locks,
    Stalled,
    Marker,
    Connection,
}

impl Inner {
    async fn keep(&self, part: Part) {
        match part {
            Part::Lease => self.keep_lease().await,
            Part::Locks => self.keep_locks().await,
            Part::Stalled => self.check_stalled().await,
            Part::Marker => self.heed_marker().await,
            Part::Connection => self.heed_reconnect().await,
        }
    }

    async fn keep_lease(&self) {
        loop {
            pause_for(self.lease.renew_every()).await;
            // Redis that is away is told by the claims.
            if let Ok(other) = self.lease.renew().await {
                if let Some(other) = &other {
                    tracing::error!(host = other.host, data_dir = other.data_dir, "another Tenure took the queue; nothing is claimed");
                }
                let before = std::mem::replace(&mut *lock(&self.taken_by), other);
                if before.is_some() {
                    self.wake.notify_one();
                }
            }
        }
    }

    /// Extends the locks of what runs. A lock that is gone is no reason to stop: the ledger knows who
    /// runs the job, and whoever takes it from Redis meanwhile is told so.
    async fn keep_locks(&self) {
        loop {
            pause_for(EXTEND_EVERY).await;
            let held: Vec<(String, String)> =
                lock(&self.held).iter().map(|(id, held)| (id.clone(), held.token.clone())).collect();
            if held.is_empty() {
                continue;
            }
            let calls: Vec<Call<'_>> = held.iter().map(|(id, token)| self.scripts.extend(id, token)).collect();
            match self.redis.run_all(&calls).await {
                Ok(answers) => {
                    let lost = answers.iter().filter(|a| !matches!(a, Value::Int(1))).count();
                    if lost > 0 {
                        tracing::info!(lost, "locks of running jobs were gone in Redis; the jobs go on");
                    }
                }
                Err(problem) => tracing::warn!(%problem, "locks of running jobs could not be extended"),
            }
        }
    }

    async fn check_stalled(&self) {
        loop {
            if let Ok(Value::Array(stalled)) = self.redis.run(self.scripts.check_stalled(self.now())).await
                && !stalled.is_empty()
            {
                tracing::warn!(jobs = stalled.len(), "jobs whose worker is gone wait again");
                self.wake.notify_one();
            }
            pause_for(Duration::from_millis(STALLED_EVERY_MS.unsigned_abs())).await;
        }
    }

    /// Waits for the marker that BullMQ's scripts set when there is something to do.
    async fn heed_marker(&self) {
        loop {
            let Ok(mut connection) = self.redis.waiting_connection().await else {
                pause_for(RETRY).await;
                continue;
            };
            // By this name BullMQ's clients find the workers of a queue. Some servers refuse names.
            let name = format!("{}:{}:w:tenure", self.redis.prefix(), BASE64.encode(QUEUE));
            let _ = cmd("CLIENT").arg("SETNAME").arg(name).query_async::<Value>(&mut connection).await;
            loop {
                let mut wait = cmd("BZPOPMIN");
                wait.arg(self.scripts.keys.of("marker")).arg(BLOCK_SECONDS);
                let answer = limited(wait.query_async::<Value>(&mut connection)).await;
                match answer {
                    Some(Ok(Value::Nil)) => {}
                    Some(Ok(_)) => self.wake.notify_one(),
                    Some(Err(_)) | None => break,
                }
            }
            pause_for(RETRY).await;
            // Lets the shared connection find out, too.
            let _ = self.redis.ping().await;
        }
    }

    /// After every new connection: Redis may have lost what it held.
    async fn heed_reconnect(&self) {
        let connected = self.redis.connected();
        loop {
            connected.notified().await;
            self.doubt();
        }
    }

    /// Gives back what lies in Redis as running under our name and does not run.
    pub(super) async fn sweep(&self) -> Result<(), Problem> {
        self.sweep.store(false, Ordering::Release);
        let result = self.give_back_orphans().await;
        if result.is_err() {
            self.sweep.store(true, Ordering::Release);
        }
        result
    }

    async fn give_back_orphans(&self) -> Result<(), Problem> {
        let keys = &self.scripts.keys;
        let active: Vec<String> = self.redis.query(cmd("LRANGE").arg(keys.of("active")).arg(0).arg(-1)).await?;
        let ids: Vec<&String> = {
            let held = lock(&self.held);
            active.iter().filter(|id| !held.contains_key(*id)).collect()
        };
        if ids.is_empty() {
            return Ok(());
        }
        let mut ask = pipe();
        for id in &ids {
            ask.cmd("GET").arg(keys.lock(id)).cmd("HGET").arg(keys.job(id)).arg("pb");
        }
        let answers = self.redis.query_all(ask).await?;
        let mut calls = Vec::new();
        for (id, answer) in ids.iter().zip(answers.chunks(2)) {
            let [token, worker] = answer else { continue };
            let (token, worker) = (text(token)?, text(worker)?);
            match token {
                Some(token) if token.starts_with(&self.our_tokens()) => calls.push(self.scripts.give_back(id, &token)),
                None if worker.is_some_and(|w| w == self.worker_name()) => calls.push(self.scripts.give_back(id, "0")),
                _ => {}
            }
        }
        if !calls.is_empty() {
            tracing::info!(jobs = calls.len(), "jobs that lay in Redis as running and did not run wait again");
            self.redis.run_all(&calls).await?;
            self.wake.notify_one();
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<Option<String>, Problem> {
    FromRedisValue::from_redis_value(value.clone()).map_err(Problem::internal)
}

/// The answer; `None` when it does not come in the time of the command and some patience.
#[allow(clippy::disallowed_methods, reason = "a connection that hangs must not hold the wake-ups for ever")]
async fn limited<T>(answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(BLOCK_SECONDS) + PATIENCE, answer).await.ok()
}
