//! The job queue against BullMQ on Redis, in one run on one machine: `make bench`.
//!
//! Each measurement is a process of its own, ours and theirs in turn, so that a machine that slows
//! down slows both and memory is each one's own. Ratios are what counts, and the best of a few rounds:
//! other work on the machine can only make a round worse. Options, after `--`:
//!
//! - `--long`: 1,000,000 jobs pass through, then everything is measured once more;
//! - `--ours`: without the peer, so without Node.js and Redis.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the machine's clock")]

mod port;
mod report;
mod whole;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tenure::params;
use tenure::platform::store::{MigrationSet, Options, Store};

/// Jobs at once, here and there.
const CONCURRENCY: u32 = 64;
/// Jobs of one call of `add`, here and there.
const BULK: usize = 500;
/// Before and after 1,000,000 jobs each figure is the best of so many.
const TRIES: usize = 3;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Size {
    rounds: usize,
    /// Per round.
    jobs: usize,
    /// Jobs that pass through before the second measurement of `--long`; 0 for none.
    passes: usize,
    /// Seconds at a steady 1,000 jobs/s.
    load: u64,
    /// Seconds of doing nothing.
    idle: u64,
}

impl Size {
    fn of(args: &[String]) -> Self {
        let has = |name: &str| args.iter().any(|a| a == name);
        if is_quick(args) {
            return Self { rounds: 1, jobs: 600, passes: 0, load: 1, idle: 1 };
        }
        let passes = if has("--long") { 1_000_000 } else { 0 };
        Self { rounds: 4, jobs: 40_000, passes, load: 5, idle: 20 }
    }
}

/// `cargo bench` says so; under `cargo test --benches` only the wiring is checked.
fn is_quick(args: &[String]) -> bool {
    !args.iter().any(|a| a == "--bench")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, way, size] = args.as_slice()
        && flag == "--measure"
    {
        println!("{}", measure(way, &serde_json::from_str(size).unwrap()));
        return;
    }
    let size = Size::of(&args);
    let peer = !is_quick(&args) && !args.iter().any(|a| a == "--ours");
    let (mut port, mut whole, mut theirs, mut strict) = (vec![], vec![], vec![], vec![]);
    let mut syncs = vec![];
    for round in 0..size.rounds {
        eprintln!("round {} of {}", round + 1, size.rounds);
        syncs.extend(sync_times());
        let last = round + 1 == size.rounds;
        let passes = if last { size.passes } else { 0 };
        let idle = if last { size.idle } else { 0 };
        let asked = |passes| json!({ "jobs": size.jobs, "passes": passes, "load": size.load, "idle": idle });
        port.push(ours("port", &asked(passes)));
        if peer {
            theirs.push(bullmq("everysec", &size, idle));
        }
        whole.push(ours("whole", &asked(passes)));
        if peer {
            strict.push(bullmq("always", &size, 0));
        }
    }
    report::print(&size, &report::Rounds { port, whole, theirs, strict, syncs });
}

/// One measurement, in this process.
fn measure(way: &str, asked: &Value) -> Value {
    let number = |name: &str| usize::try_from(asked[name].as_u64().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir_in(beside_the_build()).unwrap();
    let mut found = runtime.block_on(async {
        match way {
            "port" => port::measure(dir.path(), number("jobs"), number("passes")).await,
            _ => whole::measure(dir.path(), asked).await,
        }
    });
    found["memoryMb"] = json!(status_kb("VmHWM:") / 1024.0);
    found
}

/// A measurement in a process of its own.
fn ours(way: &str, asked: &Value) -> Value {
    let this = std::env::current_exe().unwrap();
    run(Command::new(this).args(["--measure", way, &asked.to_string()]))
}

fn bullmq(fsync: &str, size: &Size, idle: u64) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/bullmq.mjs");
    let (jobs, idle, load) = (size.jobs.to_string(), idle.to_string(), size.load.to_string());
    let mut node = Command::new("node");
    node.arg(script).arg("--dir").arg(beside_the_build());
    run(node.args(["--fsync", fsync, "--jobs", &jobs, "--latency", "yes", "--load", &load, "--idle", &idle]))
}

fn run(command: &mut Command) -> Value {
    let shown = format!("{command:?}");
    let output = command.stderr(std::process::Stdio::inherit()).output();
    let output = output.unwrap_or_else(|e| panic!("{shown} did not start: {e}"));
    assert!(output.status.success(), "{shown} ended with {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().last().unwrap_or_else(|| panic!("{shown} printed nothing"));
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{shown} printed no result: {e}: {line}"))
}

/// Beside the build, not in /tmp: a memory file system would make every fsync free.
fn beside_the_build() -> PathBuf {
    let base = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    std::fs::create_dir_all(&base).unwrap();
    PathBuf::from(base)
}

/// A database as the server opens it: WAL, `synchronous=FULL`.
fn open(dir: &Path, file: &str, set: &MigrationSet) -> Store {
    use tenure::platform::clock::{SystemClock, SystemIds};
    let options = Options { max: 10, ..Options::small(dir.join(file)) };
    let (clock, ids) = (std::sync::Arc::new(SystemClock), std::sync::Arc::new(SystemIds));
    Store::open(&options, set, clock, ids, None).unwrap()
}

/// Rows of a table.
async fn count(store: &Store, table: &'static str) -> u64 {
    let sql = format!("SELECT count(*) FROM {table}");
    store.read(move |tx| tx.scalar(&sql, params![])).await.unwrap()
}

fn rate(jobs: usize, began: Instant) -> f64 {
    jobs as f64 / began.elapsed().as_secs_f64()
}

/// In milliseconds.
fn percentile(times: &mut [Duration], p: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * p / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(f64::NAN, |t| t.as_secs_f64() * 1000.0)
}

/// What one sync of the disk takes now: every COMMIT waits for one.
fn sync_times() -> Vec<Duration> {
    const SYNCS: u64 = 200;
    const PAGE: [u8; 4096] = [7; 4096];
    let mut file = tempfile::tempfile_in(beside_the_build()).unwrap();
    file.write_all(&PAGE.repeat(64)).unwrap();
    file.sync_all().unwrap();
    let one = |n: u64| {
        let began = Instant::now();
        file.seek(SeekFrom::Start(n % 64 * PAGE.len() as u64)).unwrap();
        file.write_all(&PAGE).unwrap();
        file.sync_data().unwrap();
        began.elapsed()
    };
    (0..SYNCS).map(one).collect()
}

/// CPU that this process used so far, all threads.
fn cpu() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn status_kb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
