//! Full-spec mode: a queue in Redis that others use, too, and a Redis that goes away.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenure::base::clock::Clock as _;
use tenure::base::problem::Problem;
use tenure::platform::clock::{ManualClock, SystemClock};
use tenure::platform::queue::views::{self, JobFilter, JobState};
use tenure::platform::queue::{JobDraft, enqueue};

use crate::support::queue::{Bench, Mode, PROBE, SOON, act};
use crate::support::redis::RedisServer;
use crate::support::{Server, command, eventually, free_port};

const QUEUE: &str = "bull:workflow-scheduler";

fn key(last: &str) -> String {
    format!("{QUEUE}:{last}")
}

/// What a dashboard reads of a job.
async fn field(redis: &RedisServer, id: &str, name: &str) -> Option<String> {
    redis.ask(&["HGET", &key(id), name]).await
}

async fn state(redis: &RedisServer, id: &str) -> &'static str {
    for set in ["completed", "failed", "delayed", "prioritized"] {
        if redis.ask::<Option<f64>>(&["ZSCORE", &key(set), id]).await.is_some() {
            return set;
        }
    }
    for list in ["active", "wait"] {
        if redis.ask::<Option<i64>>(&["LPOS", &key(list), id]).await.is_some() {
            return list;
        }
    }
    "unknown"
}

/// As a BullMQ client does it, id by counter.
async fn add_as_client(redis: &RedisServer, name: &str, data: &str) -> String {
    let n: i64 = redis.ask(&["INCR", &key("id")]).await;
    let id = n.to_string();
    let opts = r#"{"attempts":0}"#;
    let now = SystemClock.now().as_millis().to_string();
    let words = ["HSET", &key(&id), "name", name, "data", data, "opts", opts, "timestamp", &now, "delay", "0", "priority", "0"];
    redis.ask::<i64>(&words).await;
    redis.ask::<i64>(&["LPUSH", &key("wait"), &id]).await;
    redis.ask::<i64>(&["ZADD", &key("marker"), "0", "0"]).await;
    id
}

/// As BullMQ's `job.retry()`, which is what Bull Board's button calls.
async fn retry_as_dashboard(redis: &RedisServer, id: &str) {
    assert_eq!(redis.ask::<i64>(&["ZREM", &key("failed"), id]).await, 1);
    redis.ask::<i64>(&["HDEL", &key(id), "finishedOn", "processedOn", "failedReason"]).await;
    redis.ask::<i64>(&["LPUSH", &key("wait"), id]).await;
    redis.ask::<i64>(&["ZADD", &key("marker"), "0", "0"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_shows_jobs_as_the_ledger_has_them() {
    let b = Bench::manual(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let done = b.add(act("ok")).await;
    let fails = b.add(json!({ "act": "fail", "why": "no such door" })).await;
    for n in 1..=4 {
        b.eventually("an attempt failed", async |b| b.job(&fails).await.attempts_made == n).await;
        b.until_quiet().await;
        let wanted = if n < 4 { "delayed" } else { "failed" };
        assert_eq!(state(redis, &fails.to_string()).await, wanted);
        assert_eq!(field(redis, &fails.to_string(), "atm").await, Some(n.to_string()));
        assert_eq!(field(redis, &fails.to_string(), "failedReason").await.as_deref(), Some("no such door"));
        b.advance(Duration::from_secs(21));
    }
    let trace: Vec<String> =
        serde_json::from_str(&field(redis, &fails.to_string(), "stacktrace").await.unwrap()).unwrap();
    assert_eq!(trace.len(), 4);
    assert!(field(redis, &fails.to_string(), "finishedOn").await.is_some());
    assert_eq!(state(redis, &done.to_string()).await, "completed");
    assert_eq!(field(redis, &done.to_string(), "returnvalue").await.as_deref(), Some("null"));
    assert_eq!(field(redis, &done.to_string(), "name").await.as_deref(), Some(PROBE));
    assert_eq!(field(redis, &done.to_string(), "data").await.as_deref(), Some(r#"{"act":"ok"}"#));
    let opts: serde_json::Value =
        serde_json::from_str(&field(redis, &done.to_string(), "opts").await.unwrap()).unwrap();
    assert_eq!(
        opts,
        json!({
            "attempts": 4, "backoff": { "type": "exponential", "delay": 5000 }, "jobId": done.to_string(),
            "removeOnComplete": { "count": 1000 }, "removeOnFail": { "count": 5000 },
        })
    );
    assert_eq!(redis.ask::<i64>(&["LLEN", &key("active")]).await, 0);
    assert!(redis.ask::<Vec<String>>(&["KEYS", "*:lock"]).await.is_empty());
}

/// A job without a row gets one when it is taken; an unknown name fails like any other.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_client_is_worked_off_and_gets_a_row() {
    let b = Bench::real(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let id = add_as_client(redis, PROBE, r#"{"act":"ok","from":"elsewhere"}"#).await;
    let unknown = add_as_client(redis, "nobody-knows", "{}").await;
    b.eventually("one is done, one waits for its second attempt", async |b| {
        let counts = b.counts().await;
        counts.completed == 1 && counts.delayed == 1 && b.runtime().counts().await.unwrap().delayed == 1
    })
    .await;
    assert_eq!(state(redis, &id).await, "completed");
    assert_eq!(state(redis, &unknown).await, "delayed");
    let rows = b.store.read(|tx| views::list_jobs(tx, &JobFilter::default(), None, 10)).await.unwrap();
    let mine = rows.iter().find(|j| j.name == PROBE).unwrap();
    assert_eq!((&mine.payload, mine.attempts_made), (&json!({ "act": "ok", "from": "elsewhere" }), 1));
    // The counter of a Redis that lost its memory starts again; another job with the same id is another.
    redis.ask::<String>(&["SET", &key("id"), "0"]).await;
    redis.ask::<i64>(&["DEL", &key(&id)]).await;
    redis.ask::<i64>(&["ZREM", &key("completed"), &id]).await;
    assert_eq!(add_as_client(redis, PROBE, r#"{"act":"ok"}"#).await, id);
    b.eventually("the second job with that id is done", async |b| b.counts().await.completed == 2).await;
    assert_eq!(b.diary.count(), 2);
}

/// The dashboard's button is one more attempt, as in BullMQ; and another press another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_from_a_dashboard_runs_the_job_again() {
    let b = Bench::manual(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let id = b.add(json!({ "act": "fail", "until": 5 })).await;
    for n in 1..=4 {
        b.until_seen(n).await;
        b.until_quiet().await;
        b.advance(Duration::from_secs(21));
    }
    for n in [5, 6] {
        assert_eq!(b.job(&id).await.state, JobState::Failed);
        retry_as_dashboard(redis, &id.to_string()).await;
        b.until_seen(n).await;
        b.until_quiet().await;
    }
    let job = b.job(&id).await;
    assert_eq!((job.state, job.attempts_made), (JobState::Completed, 6));
    assert_eq!(state(redis, &id.to_string()).await, "completed");
    assert_eq!(b.diary.count(), 6);
}

/// The worker of another program took the job and ended it; the ledger learns it by comparing.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_worker_ended_is_not_run_again() {
    let mut b = Bench::real(Mode::Redis).await;
    b.runtime().pause().await.unwrap();
    let ids = b.add_many(2, act("ok")).await;
    b.eventually("Redis has them", async |b| b.runtime().counts().await.unwrap().waiting == 2).await;
    let redis = b.redis.as_ref().unwrap();
    for (id, set, field, value) in
        [(&ids[0], "completed", "returnvalue", "1"), (&ids[1], "failed", "failedReason", "not there")]
    {
        redis.ask::<i64>(&["LREM", &key("wait"), "1", &id.to_string()]).await;
        redis.ask::<i64>(&["ZADD", &key(set), "1900000000000", &id.to_string()]).await;
        redis.ask::<i64>(&["HSET", &key(&id.to_string()), field, value]).await;
    }
    b.runtime().resume().await.unwrap();
    b.stop(SOON).await;
    b.start().await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 0);
    assert_eq!(b.job(&ids[0]).await.state, JobState::Completed);
    let failed = b.job(&ids[1]).await;
    assert_eq!((failed.state, failed.failed_reason.as_deref()), (JobState::Failed, Some("not there")));
}

/// The ledger had the end, Redis was not told: the job lies there as running, and is not run again.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ended_while_redis_was_away_is_not_run_again() {
    let mut b = Bench::real(Mode::Redis).await;
    let ids = b.add_many(5, act("wait")).await;
    b.until_seen(5).await;
    b.redis.as_mut().unwrap().kill();
    b.diary.gate.add_permits(5);
    b.eventually("the ledger has the ends", async |b| b.counts().await.completed == 5).await;
    b.redis.as_mut().unwrap().restart().await;
    b.until_quiet().await;
    let redis = b.redis.as_ref().unwrap();
    for id in &ids {
        assert_eq!(state(redis, &id.to_string()).await, "completed");
    }
    assert_eq!(b.diary.count(), 5);
    b.stop(SOON).await;
}

/// Jobs that were added while Redis was away, and those it forgot, run once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_without_its_memory_loses_no_job() {
    let redis = RedisServer::forgetful().await;
    let mut b = Bench::stopped(Mode::Redis, Arc::new(SystemClock), None, Some(redis)).await;
    b.start().await;
    b.runtime().pause().await.unwrap();
    b.add_many(50, act("ok")).await;
    b.eventually("Redis has them", async |b| b.runtime().counts().await.unwrap().waiting == 50).await;
    b.redis.as_mut().unwrap().kill();
    b.add_many(50, act("ok")).await;
    b.redis.as_mut().unwrap().restart().await;
    eventually("all hundred have run", Duration::from_secs(10), || async {
        (b.counts().await.completed == 100).then_some(())
    })
    .await;
    assert_eq!(b.diary.count(), 100);
    b.stop(SOON).await;
}

/// A lock that ran out while Redis hung, and the check for stalled jobs: the attempt goes on and counts
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_lost_neither_ends_nor_doubles_the_attempt() {
    let b = Bench::real(Mode::Redis).await;
    let redis = b.redis.as_ref().unwrap();
    let id = b.add(act("wait")).await;
    b.until_seen(1).await;
    // As the check for stalled jobs of another worker leaves it.
    redis.ask::<i64>(&["DEL", &key(&format!("{id}:lock"))]).await;
    redis.ask::<i64>(&["LREM", &key("active"), "1", &id.to_string()]).await;
    redis.ask::<i64>(&["RPUSH", &key("wait"), &id.to_string()]).await;
    redis.ask::<i64>(&["ZADD", &key("marker"), "0", "0"]).await;
    b.eventually("it was taken again and put off", async |b| b.runtime().counts().await.unwrap().delayed == 1).await;
    b.diary.gate.add_permits(1);
    b.eventually("it is done", async |b| b.job(&id).await.state == JobState::Completed).await;
    b.eventually("Redis shows it", async |b| state(b.redis.as_ref().unwrap(), &id.to_string()).await == "completed").await;
    assert_eq!((b.diary.count(), b.job(&id).await.attempts_made), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_delayed_jobs_survive_a_switch_to_redis_and_back_each_runs_once() {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let redis = RedisServer::start().await;
    let mut b = Bench::stopped(Mode::Embedded, clock.clone(), Some(clock.clone()), Some(redis)).await;
    b.start().await;
    let start = clock.now();
    b.store
        .write(move |tx| {
            (0..1000).try_for_each(|n| {
                let at = start.plus(Duration::from_secs(60 + n));
                enqueue(tx, JobDraft::at(PROBE, act("ok"), at)).map(drop)
            })
        })
        .await
        .unwrap();
    // Held back while due, so that they lie in the queue itself when it is switched.
    b.runtime().pause().await.unwrap();
    b.advance(Duration::from_secs(60 + 299));
    b.eventually("the embedded queue has some", async |b| b.runtime().counts().await.unwrap().waiting == 300).await;
    b.switch_to(Mode::Redis).await;
    b.eventually("they ran in Redis", async |b| b.counts().await.completed == 300).await;
    b.runtime().pause().await.unwrap();
    b.advance(Duration::from_secs(300));
    b.eventually("Redis has some", async |b| b.runtime().counts().await.unwrap().waiting == 300).await;
    b.runtime().resume().await.unwrap();
    b.stop(Duration::ZERO).await;
    let ran = b.diary.count();
    b.mode = Mode::Embedded;
    b.start().await;
    b.runtime().resume().await.unwrap();
    b.eventually("they ran embedded", async |b| b.counts().await.waiting == 0 && b.counts().await.active == 0).await;
    b.advance(Duration::from_secs(3600));
    b.eventually("all have run", async |b| b.diary.count() == 1000).await;
    assert!(ran <= 600);
    b.until_quiet().await;
    // What is left in Redis is discarded when it is found.
    b.switch_to(Mode::Redis).await;
    b.until_quiet().await;
    assert_eq!(b.diary.count(), 1000);
    assert!(b.diary.by_job().values().all(|attempts| attempts.len() == 1));
    b.stop(SOON).await;
}

/// Another data directory on the same queue is told whose it is, and may have one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_belongs_to_a_running_tenure_is_refused_by_name() {
    let first = Bench::real(Mode::Redis).await;
    let mut second = Bench::stopped(Mode::Redis, Arc::new(SystemClock), None, None).await;
    second.redis = Some(RedisServer::start().await);
    second.start().await;
    second.stop(SOON).await;
    let url = first.redis.as_ref().unwrap().url();
    let data = second.dir.path().join("data");
    let run = |prefix: &'static str| {
        let (url, data) = (url.clone(), data.clone());
        tokio::task::spawn_blocking(move || {
            command(&["serve"])
                .env("DATA_DIR", &data)
                .env("PORT", free_port().to_string())
                .env("REDIS_URL", url)
                .env("REDIS_PREFIX", prefix)
                .output()
                .expect("runs")
        })
    };
    let refused = run("bull").await.unwrap();
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let folder = first.dir.path().canonicalize().unwrap();
    assert!(said.contains("REDIS_URL") && said.contains(folder.to_str().unwrap()), "{said}");
    let own = Server::start(&["serve"], &data, &[("REDIS_URL", &url), ("REDIS_PREFIX", "other")]).await;
    assert_eq!(own.terminate(), 0);
}

/// Production refuses a Redis that drops data; development starts and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_refused_in_production() {
    let redis = RedisServer::with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let b = Bench::stopped(Mode::Redis, Arc::new(SystemClock), None, Some(redis)).await;
    let client = b.client().unwrap();
    let refused = client.check_server(true).await;
    assert!(matches!(&refused, Err(p @ Problem::Invalid { .. }) if p.to_string().contains("allkeys-lru")), "{refused:?}");
    client.check_server(false).await.unwrap();
    let kept = Bench::stopped(Mode::Redis, Arc::new(SystemClock), None, Some(RedisServer::start().await)).await;
    kept.client().unwrap().check_server(true).await.unwrap();
}

/// Health tells within two seconds, the API goes on without what needs Redis, all is well within ten,
/// and a shutdown does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn health_follows_a_redis_that_hangs_or_ends() {
    let mut redis = RedisServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(&["serve"], &dir.path().join("data"), &[("REDIS_URL", &redis.url())]).await;
    let shows = async |status: &str, within: u64| {
        eventually(&format!("redis is {status}"), Duration::from_secs(within), || async {
            let (code, health) = server.get("/api/health").await;
            let check = &health["checks"]["redis"];
            assert_eq!(check["backend"], "redis");
            let overall = if status == "ok" { (200, "ok") } else { (503, "degraded") };
            (check["status"] == status && (code, health["status"].as_str()?) == overall).then_some(())
        })
        .await;
    };
    shows("ok", 2).await;
    redis.hold();
    shows("down", 2).await;
    assert_eq!(server.get("/api/health/ready").await.0, 200);
    assert_eq!(server.get("/api/setup").await.0, 200);
    redis.go_on();
    shows("ok", 10).await;
    redis.kill();
    shows("down", 2).await;
    redis.restart().await;
    shows("ok", 10).await;
    redis.hold();
    shows("down", 2).await;
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let code = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("a Redis that hangs holds up nothing");
    assert_eq!(code.unwrap(), 0);
}

/// The cookie is recognised over restarts of Tenure; the key in Redis has an end and holds no secret.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_in_redis_and_end_there() {
    let redis = RedisServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let url = redis.url();
    let vars = [("REDIS_URL", url.as_str())];
    let server = Server::start(&["serve"], &data, &vars).await;
    let token = std::fs::read_to_string(data.join("setup-token")).unwrap();
    let http = crate::support::http();
    let body = json!({
        "token": token.trim(), "email": "ada@example.org", "displayName": "Ada", "password": "correct horse battery",
    });
    let answer = http.post(format!("{}/api/setup", server.base)).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = async |base: &str| {
        http.get(format!("{base}/api/auth/me")).header("cookie", &cookie).send().await.unwrap().status().as_u16()
    };
    assert_eq!(me(&server.base).await, 200);
    let keys: Vec<String> = redis.ask(&["KEYS", "bull:tenure:session:*"]).await;
    assert_eq!(keys.len(), 1);
    let secret = cookie.split('=').nth(1).unwrap();
    let kept: String = redis.ask(&["GET", &keys[0]]).await;
    assert!(!keys[0].contains(secret) && !kept.contains(secret));
    let life: i64 = redis.ask(&["PTTL", &keys[0]]).await;
    assert!((1_700_000..=1_800_000).contains(&life), "{life}");
    assert_eq!(server.terminate(), 0);
    let server = Server::start(&["serve"], &data, &vars).await;
    assert_eq!(me(&server.base).await, 200);
    // Redis ends a session by forgetting it.
    redis.ask::<i64>(&["PEXPIRE", &keys[0], "1"]).await;
    eventually("nobody is signed in", Duration::from_secs(5), || async { (me(&server.base).await == 401).then_some(()) })
        .await;
    assert_eq!(server.terminate(), 0);
}

/// A job that waits between two attempts keeps its instant over a Redis that lost its memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_not_early_when_redis_forgot_it() {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let redis = RedisServer::start().await;
    let mut b = Bench::stopped(Mode::Redis, clock.clone(), Some(clock), Some(redis)).await;
    b.start().await;
    let id = b.add(json!({ "act": "fail", "until": 1 })).await;
    b.eventually("it waits", async |b| b.runtime().counts().await.unwrap().delayed == 1).await;
    b.redis.as_ref().unwrap().ask::<String>(&["FLUSHALL"]).await;
    b.stop(SOON).await;
    b.start().await;
    b.advance(Duration::from_millis(4_999));
    b.add(act("ok")).await;
    b.eventually("the other ran", async |b| b.counts().await.completed == 1).await;
    assert_eq!(b.diary.by_job()[&id].len(), 1);
    b.advance(Duration::from_millis(1));
    b.eventually("it is done", async |b| b.job(&id).await.state == JobState::Completed).await;
    b.until_quiet().await;
    assert_eq!(field(b.redis.as_ref().unwrap(), &id.to_string(), "atm").await.as_deref(), Some("2"));
    b.stop(SOON).await;
}
