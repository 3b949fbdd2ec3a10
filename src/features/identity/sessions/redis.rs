//! Sessions in Redis: one key each, which Redis forgets when the session is over.
//!
//! # Invariants
//! - A session's key lives as long as the session would without being seen again, never longer.
//! - The secret is in no key; its hash is.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::place::{PlaceFuture, SecretHash, SessionPlace};
use super::{ABSOLUTE, Method, Session};
use crate::base::id::{AccountId, SessionId, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::redis::{Redis, Value, cmd, pipe};

/// Sessions in Redis.
#[derive(Debug, Clone)]
pub struct RedisSessions {
    redis: Redis,
}

/// A session as it stands in Redis.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    id: String,
    account_id: String,
    epoch: i64,
    csrf: String,
    address: Option<String>,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    method: Method,
    /// In hexadecimal.
    #[serde(default)]
    id_token: Option<String>,
    created_at: i64,
    last_seen_at: i64,
}

impl RedisSessions {
    /// Sessions in this Redis.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn key(&self, hash: &str) -> String {
        format!("{}:tenure:session:{hash}", self.redis.prefix())
    }

    /// Which hashes an account's sessions have, by their ids.
    fn account_key(&self, account: &AccountId) -> String {
        format!("{}:tenure:sessions:{account}", self.redis.prefix())
    }

    async fn keep(&self, session: &Session, hash: &str, now: Timestamp) -> Result<(), Problem> {
        let life = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1);
        let text = serde_json::to_string(&Stored::from(session)).map_err(Problem::internal)?;
        let account = self.account_key(&session.account_id);
        let mut all = pipe();
        all.cmd("SET").arg(self.key(hash)).arg(text).arg("PX").arg(life(session.expires_at().since(now)));
        all.cmd("HSET").arg(&account).arg(session.id.as_str()).arg(hash);
        all.cmd("PEXPIRE").arg(&account).arg(life(ABSOLUTE));
        self.all(all).await
    }

    async fn all(&self, pipeline: crate::platform::redis::Pipeline) -> Result<(), Problem> {
        let answers = self.redis.query_all(pipeline).await?;
        match answers.into_iter().find(|a| matches!(a, Value::ServerError(_))) {
            Some(error) => Err(Problem::unavailable(format!("Redis does not keep sessions: {error:?}"), 5)),
            None => Ok(()),
        }
    }

    async fn read(&self, hash: &str) -> Result<Option<Session>, Problem> {
        let text: Option<String> = self.redis.query(cmd("GET").arg(self.key(hash))).await?;
        text.map(|t| serde_json::from_str::<Stored>(&t).map(Session::from).map_err(Problem::internal)).transpose()
    }

    async fn hashes(&self, account: &AccountId) -> Result<HashMap<String, String>, Problem> {
        self.redis.query(cmd("HGETALL").arg(self.account_key(account))).await
    }
}

impl SessionPlace for RedisSessions {
    fn insert(&self, session: Session, hash: SecretHash) -> PlaceFuture<'_, ()> {
        Box::pin(async move { self.keep(&session, &hex::encode(hash), session.created_at).await })
    }

    fn find(&self, hash: SecretHash) -> PlaceFuture<'_, Option<Session>> {
        Box::pin(async move { self.read(&hex::encode(hash)).await })
    }

    fn list(&self, account: AccountId) -> PlaceFuture<'_, Vec<Session>> {
        Box::pin(async move {
            let mut found = Vec::new();
            for (id, hash) in self.hashes(&account).await? {
                match self.read(&hash).await? {
                    Some(session) => found.push(session),
                    None => {
                        let gone = cmd("HDEL").arg(self.account_key(&account)).arg(id).clone();
                        self.redis.query::<Value>(&gone).await?;
                    }
                }
            }
            found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(found)
        })
    }

    fn touch(&self, session: Session, hash: SecretHash, now: Timestamp) -> PlaceFuture<'_, ()> {
        Box::pin(async move {
            let hash = hex::encode(hash);
            // One that was ended in between stays ended.
            if self.read(&hash).await?.is_none() {
                return Ok(());
            }
            self.keep(&Session { last_seen_at: now, ..session }, &hash, now).await
        })
    }

    fn remove(&self, id: SessionId, account: AccountId) -> PlaceFuture<'_, bool> {
        Box::pin(async move {
            let hash: Option<String> =
                self.redis.query(cmd("HGET").arg(self.account_key(&account)).arg(id.as_str())).await?;
            let Some(hash) = hash else { return Ok(false) };
            let ended: u64 = self.redis.query(cmd("DEL").arg(self.key(&hash))).await?;
            let gone = cmd("HDEL").arg(self.account_key(&account)).arg(id.as_str()).clone();
            self.redis.query::<Value>(&gone).await?;
            Ok(ended > 0)
        })
    }
}

impl From<&Session> for Stored {
    fn from(s: &Session) -> Self {
        Self {
            id: s.id.to_string(),
            account_id: s.account_id.to_string(),
            epoch: s.epoch,
            csrf: s.csrf.clone(),
            address: s.address.clone(),
            device: s.device.clone(),
            method: s.method,
            id_token: s.id_token.as_ref().map(hex::encode),
            created_at: s.created_at.as_millis(),
            last_seen_at: s.last_seen_at.as_millis(),
        }
    }
}

impl From<Stored> for Session {
    fn from(s: Stored) -> Self {
        Self {
            id: SessionId::from_stored(s.id),
            account_id: AccountId::from_stored(s.account_id),
            epoch: s.epoch,
            csrf: s.csrf,
            address: s.address,
            device: s.device,
            method: s.method,
            id_token: s.id_token.and_then(|text| hex::decode(text).ok()),
            created_at: Timestamp::from_millis(s.created_at),
            last_seen_at: Timestamp::from_millis(s.last_seen_at),
        }
    }
}
