//! Redis: one connection that mends itself, scripts, and what a server must be like.
//!
//! # Invariants
//! - Nothing here waits longer than [`PATIENCE`]: a Redis that hangs is a Redis that is down.
//! - A connection that failed once is not used again; the next caller opens another.
//! - The password in the URL is in no message.

mod owner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, ServerErrorKind, TlsCertificates};
use tokio::sync::{Mutex, Notify};

use crate::base::problem::Problem;

pub use owner::{Owner, OwnerLease};
pub use redis::{Cmd, FromRedisValue, Pipeline, Value, cmd, pipe};

/// Connecting, or an answer, takes at most this long.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// A health check waits this long, so that with the second for which results are shared a Redis that
/// is gone shows within two.
const PING_PATIENCE: Duration = Duration::from_millis(900);
/// A server that starts together with Tenure may take this long.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// After a connection could not be made, callers get the same answer for this long.
const REST: Duration = Duration::from_millis(200);
/// Below this version commands are missing that BullMQ's structures need.
const OLDEST: (u32, u32) = (6, 2);

/// Where Redis is and how Tenure's keys begin.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://…` or `rediss://…`; may hold a password.
    pub url: String,
    /// How every key begins.
    pub prefix: String,
    /// What `EXTRA_CA_FILE` holds.
    pub extra_ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A Redis server. Clones share the connection.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    prefix: String,
    live: Mutex<Live>,
    connected: Arc<Notify>,
}

#[derive(Default)]
struct Live {
    connection: Option<MultiplexedConnection>,
    /// Goes up with each connection, so that one that failed is dropped and a newer one kept.
    generation: u64,
    failed: Option<(Instant, Problem)>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.inner.prefix).finish_non_exhaustive()
    }
}

impl Redis {
    /// Reads the settings; connects with the first command.
    pub fn new(settings: &RedisSettings) -> Result<Self, Problem> {
        let bad = |e: RedisError| Problem::refused(format!("REDIS_URL cannot be used: {}", words(&e)));
        let client = match settings.extra_ca_pem.as_deref().filter(|_| settings.url.starts_with("rediss://")) {
            Some(extra) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(roots(extra)) };
                Client::build_with_tls(settings.url.as_str(), certificates).map_err(bad)?
            }
            None => Client::open(settings.url.as_str()).map_err(bad)?,
        };
        let inner = Inner {
            client,
            prefix: settings.prefix.clone(),
            live: Mutex::default(),
            connected: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How every key begins, without the colon.
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// Rung whenever a connection was made: the server may have forgotten everything in between. For
    /// one listener.
    pub fn connected(&self) -> Arc<Notify> {
        Arc::clone(&self.inner.connected)
    }

    /// One command.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, Problem> {
        let (mut connection, generation) = self.connection().await?;
        match cmd.query_async(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(&error, generation).await),
        }
    }

    /// Several commands in one round trip, answered in order; an error of one is its own answer.
    pub async fn query_all(&self, mut pipeline: Pipeline) -> Result<Vec<Value>, Problem> {
        let (mut connection, generation) = self.connection().await?;
        pipeline.ignore_errors();
        match pipeline.query_async(&mut connection).await {
            Ok(values) => Ok(values),
            Err(error) => Err(self.failed(&error, generation).await),
        }
    }

    /// Runs scripts in one round trip, answered in order. A server that does not know them is told.
    pub async fn run_all(&self, calls: &[Call<'_>]) -> Result<Vec<Value>, Problem> {
        let mut answers = self.query_all(pipeline_of(calls)).await?;
        let unknown: Vec<usize> =
            answers.iter().enumerate().filter(|(_, v)| is_unknown_script(v)).map(|(n, _)| n).collect();
        if !unknown.is_empty() {
            let mut load = pipe();
            for n in &unknown {
                load.cmd("SCRIPT").arg("LOAD").arg(calls[*n].script.lua);
            }
            self.query_all(load).await?;
            let again: Vec<Call<'_>> = unknown.iter().map(|n| calls[*n].clone()).collect();
            for (n, answer) in unknown.into_iter().zip(self.query_all(pipeline_of(&again)).await?) {
                answers[n] = answer;
            }
        }
        match answers.iter().find_map(server_error) {
            Some(error) => Err(self.failed(&error, 0).await),
            None => Ok(answers),
        }
    }

    /// Runs one script.
    pub async fn run(&self, call: Call<'_>) -> Result<Value, Problem> {
        let mut answers = self.run_all(std::slice::from_ref(&call)).await?;
        answers.pop().ok_or_else(|| Problem::internal("Redis gave no answer to a script"))
    }

    /// Whether it answers, quickly.
    pub async fn ping(&self) -> Result<(), Problem> {
        let ping = cmd("PING");
        within(PING_PATIENCE, self.query::<Value>(&ping)).await.map(drop)
    }

    /// Waits for a server that starts at the same time as Tenure.
    pub async fn wait_until_up(&self) -> Result<(), Problem> {
        let began = now();
        loop {
            match self.ping().await {
                Err(_) if began.elapsed() < START_PATIENCE => pause(REST).await,
                Err(problem) => {
                    return Err(Problem::refused(format!(
                        "REDIS_URL: {problem} Start Redis first, or unset REDIS_URL to use the embedded queue."
                    )));
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// A connection of its own for a command that waits; it has no limit, so the caller sets one.
    pub async fn waiting_connection(&self) -> Result<MultiplexedConnection, Problem> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(None);
        let connecting = self.inner.client.get_multiplexed_async_connection_with_config(&config);
        within(PATIENCE, async { connecting.await.map_err(|e| problem(&e)) }).await
    }

    /// Refuses a server that is too old, or that drops data when it is full.
    pub async fn check_server(&self, production: bool) -> Result<(), Problem> {
        let info: String = self.query(cmd("INFO").arg("server")).await?;
        let version = info.lines().find_map(|l| l.strip_prefix("redis_version:")).unwrap_or("").trim();
        let mut parts = version.split('.').map(|p| p.parse::<u32>().unwrap_or(0));
        let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if found < OLDEST {
            return Err(Problem::refused(format!(
                "REDIS_URL: the server is Redis {version}; expected {}.{} or newer. Upgrade it, or unset REDIS_URL.",
                OLDEST.0, OLDEST.1
            )));
        }
        let info: String = self.query(cmd("INFO").arg("memory")).await?;
        let policy = info.lines().find_map(|l| l.strip_prefix("maxmemory_policy:")).unwrap_or("").trim();
        if policy != "noeviction" && !policy.is_empty() {
            let detail = format!(
                "REDIS_URL: the server's maxmemory-policy is {policy}, so a full Redis drops jobs and sessions; \
                 expected noeviction. Set it in redis.conf."
            );
            if production {
                return Err(Problem::refused(detail));
            }
            tracing::warn!("{detail}");
        }
        Ok(())
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64), Problem> {
        let mut live = self.inner.live.lock().await;
        if let Some(connection) = &live.connection {
            return Ok((connection.clone(), live.generation));
        }
        if let Some((at, problem)) = &live.failed
            && at.elapsed() < REST
        {
            return Err(problem.clone());
        }
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let connecting = self.inner.client.get_multiplexed_async_connection_with_config(&config);
        match within(PATIENCE, async { connecting.await.map_err(|e| problem(&e)) }).await {
            Ok(connection) => {
                live.generation += 1;
                live.failed = None;
                live.connection = Some(connection.clone());
                self.inner.connected.notify_one();
                Ok((connection, live.generation))
            }
            Err(problem) => {
                live.failed = Some((now(), problem.clone()));
                Err(problem)
            }
        }
    }

    async fn failed(&self, error: &RedisError, generation: u64) -> Problem {
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_unrecoverable_error() {
            let mut live = self.inner.live.lock().await;
            if live.generation == generation {
                live.connection = None;
            }
        }
        problem(error)
    }
}

/// A script of the server's language, known by its hash.
#[derive(Debug, Clone)]
pub struct Script {
    lua: &'static str,
    hash: String,
}

impl Script {
    /// The script with this text.
    pub fn new(lua: &'static str) -> Self {
        Self { lua, hash: redis::Script::new(lua).get_hash().to_owned() }
    }
}

/// A script with what it is called with.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// Which.
    pub script: &'a Script,
    /// Its keys.
    pub keys: Vec<String>,
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
}

fn pipeline_of(calls: &[Call<'_>]) -> Pipeline {
    let mut pipeline = pipe();
    for call in calls {
        let cmd = pipeline.cmd("EVALSHA").arg(&call.script.hash).arg(call.keys.len());
        for key in &call.keys {
            cmd.arg(key);
        }
        for arg in &call.args {
            cmd.arg(arg.as_slice());
        }
    }
    pipeline
}

fn server_error(value: &Value) -> Option<RedisError> {
    match value {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    }
}

fn is_unknown_script(value: &Value) -> bool {
    server_error(value).is_some_and(|e| e.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
}

/// What a caller is told; a fault of a script is a defect of ours, everything else is the server's state.
fn problem(error: &RedisError) -> Problem {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoScript)
        | ErrorKind::UnexpectedReturnType
        | ErrorKind::Parse => Problem::internal(format!("Redis: {error}")),
        _ => Problem::unavailable(format!("Redis does not answer: {}.", words(error)), 5),
    }
}

/// The error without what a server or a URL might add to it.
fn words(error: &RedisError) -> String {
    match error.code() {
        Some(code) => format!("{} ({code})", error.category()),
        None => error.category().to_owned(),
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a server may take is no rule's time")]
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(Problem::unavailable(format!("Redis does not answer within {} ms.", limit.as_millis()), 5)),
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a server may take is no rule's time")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

#[allow(clippy::disallowed_methods, reason = "monotonic, for the rest after a failure")]
fn now() -> Instant {
    Instant::now()
}

/// The machine's trusted certificates and the private CA in one PEM: the client takes either its own
/// or a list, not both.
fn roots(extra: &[u8]) -> Vec<u8> {
    let mut pem = Vec::new();
    for certificate in rustls_native_certs::load_native_certs().certs {
        pem.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
        let text = base64::engine::general_purpose::STANDARD.encode(&certificate);
        for line in text.as_bytes().chunks(64) {
            pem.extend_from_slice(line);
            pem.push(b'\n');
        }
        pem.extend_from_slice(b"-----END CERTIFICATE-----\n");
    }
    pem.extend_from_slice(extra);
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> RedisSettings {
        RedisSettings { url: url.to_owned(), prefix: "bull".to_owned(), extra_ca_pem: None }
    }

    /// Nothing listens on the discard port; the message names neither password nor address.
    #[tokio::test]
    async fn a_redis_that_is_not_there_is_unavailable_and_no_secret_is_told() {
        let redis = Redis::new(&settings("redis://:hunter2@127.0.0.1:9/")).unwrap();
        let problem = redis.ping().await.expect_err("nobody listens");
        assert!(matches!(problem, Problem::Unavailable { .. }), "{problem:?}");
        assert!(!format!("{problem} {problem:?} {redis:?}").contains("hunter2"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_it() {
        let problem = Redis::new(&settings("redis://hunter2:x:y")).expect_err("no URL");
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}
