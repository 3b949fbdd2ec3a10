//! The long runs: a load of real jobs through the real binary, which is killed, stopped and left standing.
//!
//! Without further ado they run in a size that fits every build. `TENURE_SOAK=full` (`make soak`) makes
//! them as large as the promise they prove; `TENURE_SEED` sets other moments.

mod ends;
mod kills;
mod ledger;
mod retries;
mod signed;
mod standstill;
mod stops;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Mutex, MutexGuard};

use crate::support::load::{SlowService, Tally, Target, administrator, client, publish, tell};
use crate::support::{Server, command, eventually};

/// Starts of runs a second; each makes two jobs, `advance-run` and `send-mail`.
const RATE: u32 = 80;
/// The load that is promised to be survived, in jobs a second.
const PROMISED_RATE: f64 = 50.0;
/// Jobs that must be active when the process ends.
const PROMISED_ACTIVE: usize = 10;
/// So many are waited for: until the end comes, a few of them are done.
const BUSY: u64 = 13;
/// A restarted process has to be back at work within this time.
const PROMISED_PICK_UP: Duration = Duration::from_secs(2);

/// Each of them takes a whole machine: one at a time.
static MACHINE: Mutex<()> = Mutex::const_new(());

async fn the_machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// How large the soak is: `full` when `TENURE_SOAK=full`, else `short`.
pub fn size(short: u32, full: u32) -> u32 {
    match std::env::var("TENURE_SOAK").as_deref() {
        Ok("full") => full,
        Ok(other) => panic!("TENURE_SOAK: got \"{other}\"; expected full, or nothing"),
        Err(_) => short,
    }
}

/// A seeded sequence of moments, so that a failure can be repeated.
pub struct Moments(u64);

impl Moments {
    pub fn seeded() -> Self {
        let seed = std::env::var("TENURE_SEED").ok().map_or(2031, |s| s.parse().expect("TENURE_SEED is a number"));
        println!("seed {seed}");
        Self(seed)
    }

    /// A moment from `low` to `high` milliseconds.
    fn next(&mut self, low: u64, high: u64) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(low + (z ^ (z >> 31)) % (high - low))
    }
}

/// One data directory with an administrator and a workflow, and the service that its runs call.
struct World {
    folder: tempfile::TempDir,
    /// What the mode adds to the environment.
    vars: Vec<(String, String)>,
    service: SlowService,
    token: String,
    workflow: String,
    client: reqwest::Client,
    numbers: Arc<AtomicU64>,
    tally: Tally,
}

impl World {
    /// Without more variables it is embedded mode.
    async fn start(vars: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token = administrator(&folder.path().join("data"));
        let mut world = Self {
            folder,
            vars: vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            service: SlowService::start().await,
            token,
            workflow: String::new(),
            client: client(),
            numbers: Arc::default(),
            tally: Tally::default(),
        };
        let server = world.spawn();
        server.healthy().await;
        world.workflow = publish(&server.base, &world.token, &world.service.url, &[tell("end")]).await;
        assert_eq!(server.terminate(), 0);
        world
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the server without waiting for it.
    fn spawn(&self) -> Server {
        let mut vars = vec![
            ("RATE_LIMIT_ACCOUNT_PER_MIN", "0"),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0"),
            ("JOB_CONCURRENCY", "32"),
        ];
        vars.extend(self.vars.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        Server::spawn(&["serve"], &self.data(), &vars)
    }

    fn target(&self, server: &Server) -> Target {
        Target {
            base: server.base.clone(),
            token: self.token.clone(),
            workflow: self.workflow.clone(),
            client: self.client.clone(),
        }
    }

    async fn get(&self, server: &Server, path: &str) -> Option<Value> {
        let url = format!("{}{path}", server.base);
        self.client.get(url).bearer_auth(&self.token).send().await.ok()?.json().await.ok()
    }

    /// Waits until more jobs are active than promised.
    async fn until_busy(&self, server: &Server) {
        eventually("enough jobs are active", Duration::from_secs(20), || async {
            let counts = self.get(server, "/api/jobs/counts").await?;
            (counts["active"].as_u64()? >= BUSY).then_some(())
        })
        .await;
    }

    /// Lets everything that was started end, stops, and looks at what is there.
    async fn settle(&self) {
        let server = self.spawn();
        server.healthy().await;
        until_done(async || self.get(&server, "/api/jobs/counts").await).await;
        assert_eq!(server.terminate(), 0);
        assert_whole(&self.data(), &self.service, &self.tally.accepted);
    }
}

/// While no process runs: every start that was answered is a run that went its way once, in the
/// database and outside.
fn assert_whole(data: &Path, service: &SlowService, accepted: &BTreeSet<u64>) {
    let db = ledger::open(data);
    let runs = ledger::number(&db, "SELECT count(*) FROM run");
    ledger::assert_everything_happened_once(&db, runs);
    assert_eq!(service.doubled(), [0; 0], "work that was carried out twice");
    let worked = service.numbers();
    assert_eq!(worked.len() as u64, runs, "every run called the service");
    assert_eq!(accepted.difference(&worked).collect::<Vec<_>>(), [&0; 0], "starts that were answered and are lost");
    let letters = std::fs::read_dir(data.join("outbox")).expect("the outbox").count() as u64;
    assert_eq!(letters, runs, "one letter for each run");
    let verified = command(&["audit", "verify", "--db"]).arg(data.join("tenure.db")).output().expect("runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

/// Waits until no job is left that could run now or later.
async fn until_done(ask: impl AsyncFn() -> Option<Value>) {
    eventually("everything is done", Duration::from_secs(120), || async {
        let counts = ask().await?;
        let open = ["waiting", "delayed", "active"].iter().map(|s| counts[*s].as_u64()).sum::<Option<u64>>()?;
        (open == 0).then_some(())
    })
    .await;
}

/// The middle, the 99th of a hundred, and the largest.
fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
    format!("p50 {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100))
}
