//! Who owns the queue in Redis: one data directory, as long as its lease is renewed.
//!
//! # Invariants
//! - A lease that another data directory holds is never taken before it has ended.
//! - A predecessor on this machine and in this data directory is dead when we start (the directory has
//!   a lock of its own), so its lease is taken over at once.
//! - One elsewhere with our name is waited for as long as a lease lasts.

use std::time::Duration;

use redis::Value;
use serde::{Deserialize, Serialize};

use super::{Call, Redis, Script, cmd};
use crate::base::problem::Problem;

/// How long a lease lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// What the owner says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The installation, fixed when its database was made.
    pub instance: String,
    /// This process.
    pub boot: String,
    /// The machine's name.
    pub host: String,
    /// Where its data is.
    pub data_dir: String,
    /// The process on that machine.
    pub pid: u32,
}

impl Owner {
    fn is_predecessor_of(&self, other: &Self) -> bool {
        self.instance == other.instance && self.host == other.host && self.data_dir == other.data_dir
    }
}

/// The right to work the queue.
#[derive(Debug)]
pub struct OwnerLease {
    redis: Redis,
    key: String,
    owner: Owner,
    text: String,
    renew: Script,
    release: Script,
}

/// Keeps what is ours, takes what is nobody's, answers who else has it.
const RENEW: &str = "local held = redis.call('GET', KEYS[1])
if held == false or held == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ''
end
return held";

const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";

impl OwnerLease {
    /// Takes the queue, or says who has it.
    pub async fn take(redis: &Redis, owner: Owner) -> Result<Self, Problem> {
        let text = serde_json::to_string(&owner).map_err(Problem::internal)?;
        let lease = Self {
            redis: redis.clone(),
            key: format!("{}:tenure:owner", redis.prefix()),
            owner,
            text,
            renew: Script::new(RENEW),
            release: Script::new(RELEASE),
        };
        let mut left = LEASE + RENEW_EVERY;
        let other = loop {
            let Some(other) = lease.renew().await? else { return Ok(lease) };
            // The same installation under another name of machine or folder: a container that was
            // replaced. The lease of a dead one ends by itself.
            let moved = other.instance == lease.owner.instance && !other.is_predecessor_of(&lease.owner);
            if !moved || left.is_zero() {
                break other;
            }
            super::pause(RENEW_EVERY).await;
            left = left.saturating_sub(RENEW_EVERY);
        };
        if !other.is_predecessor_of(&lease.owner) {
            return Err(lease.taken(&other));
        }
        let set = cmd("SET").arg(&lease.key).arg(&lease.text).arg("PX").arg(LEASE.as_millis() as u64).clone();
        lease.redis.query::<Value>(&set).await?;
        Ok(lease)
    }

    /// Renews it; the other owner when there is one.
    pub async fn renew(&self) -> Result<Option<Owner>, Problem> {
        let call = Call {
            script: &self.renew,
            keys: vec![self.key.clone()],
            args: vec![self.text.clone().into_bytes(), LEASE.as_millis().to_string().into_bytes()],
        };
        let held: String = match self.redis.run(call).await? {
            Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => return Err(Problem::internal(format!("the owner key holds {other:?}"))),
        };
        if held.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&held).unwrap_or_else(|_| Owner {
            instance: "unknown".to_owned(),
            boot: String::new(),
            host: "unknown".to_owned(),
            data_dir: held,
            pid: 0,
        })))
    }

    /// What is said when somebody else has the queue.
    pub fn taken(&self, other: &Owner) -> Problem {
        Problem::refused(format!(
            "REDIS_URL: the queue under {} belongs to another Tenure that runs: host {}, data directory {}, process {}, \
             instance {}. One data directory per queue: stop that one, or give this one a REDIS_PREFIX of its own.",
            self.key, other.host, other.data_dir, other.pid, other.instance
        ))
    }

    /// How long to wait between two renewals.
    pub fn renew_every(&self) -> Duration {
        RENEW_EVERY
    }

    /// Gives it up, so that the next start need not wait.
    pub async fn release(&self) {
        let call = Call {
            script: &self.release,
            keys: vec![self.key.clone()],
            args: vec![self.text.clone().into_bytes()],
        };
        if let Err(problem) = self.redis.run(call).await {
            tracing::info!(%problem, "the queue's owner key was not given up; it ends by itself");
        }
    }
}
