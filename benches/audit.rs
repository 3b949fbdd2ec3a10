//! The audit log: what an entry costs, how fast it is verified and in how much memory, what a checkpoint costs.
//!
//! `make bench`; `--long` verifies 5,000,000 entries and signs over 10,000,000, which takes 8 GB of disk; `--rows N` and
//! `--signed N` choose others. Absolute figures belong to the machine. The log is made by the product's own code in
//! batches of 1,000 entries with `synchronous=NORMAL`: what is measured is not the disk.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the machine's clock")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tenure::base::access::Principal;
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::audit::merkle::{self, Frontier};
use tenure::features::audit::note::Signer;
use tenure::features::audit::ops::ensure_genesis;
use tenure::features::audit::verify::verify_chain;
use tenure::features::audit::{AuditJournal, Entry, append, leaf_hash, store as log};
use tenure::features::checkpoints::{Reason, ops as checkpoints};
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::store::{Draft, Durability, MigrationSet, Options, Sealed, Store, Tx};

/// Entries of one transaction: what a busy batch has.
const BATCH: u64 = 1_000;
/// Whose log it is.
const ORIGIN: &str = "tenure.example/audit/00";
const SEED: [u8; 32] = [7; 32];

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let value = |word: &str| args.iter().position(|a| a == word).and_then(|at| args.get(at + 1));
    if let Some(path) = value("--verify") {
        return verify(Path::new(path)).await;
    }
    let has = |word: &str| args.iter().any(|a| a == word);
    let number = |word: &str, test: u64, usual: u64, long: u64| match value(word) {
        Some(text) => text.replace(['_', ','], "").parse().unwrap(),
        None if has("--test") => test,
        None if has("--long") => long,
        None => usual,
    };
    let (rows, signed) = (number("--rows", 2_000, 300_000, 5_000_000), number("--signed", 2_000, 1_000_000, 10_000_000));
    // Beside the build, not in /tmp: a memory file system would make every fsync free.
    let base = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    std::fs::create_dir_all(&base).unwrap();
    let dir = tempfile::tempdir_in(base).unwrap();
    println!("| figure, synchronous=NORMAL | value |\n|---|---:|");

    let path = dir.path().join("verified.db");
    let store = open(path.clone());
    let spent = fill(&store, rows).await;
    store.close().await;
    let size = std::fs::metadata(&path).unwrap().len();
    println!("| CPU of an entry, its states, its nodes and its share of the commit, over {rows} entries | {:.1} µs |", micros(spent, rows));
    println!("| size of the file, for each entry | {} bytes |", size / rows);
    // A process of its own: what it takes in memory is the verifier's alone.
    let verifier = Command::new(std::env::current_exe().unwrap()).arg("--verify").arg(&path).status().unwrap();
    assert!(verifier.success());
    std::fs::remove_file(&path).unwrap();

    let path = dir.path().join("signed.db");
    let store = open(path);
    fill_bare(&store, signed).await;
    // The first touches what no cache has yet.
    let mut took = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        let made = store.write(move |tx| checkpoints::sign(tx, &SEED, &[], Reason::Manual, &[])).await.unwrap();
        assert_eq!(made.unwrap().checkpoint.size, signed);
        took.push(format!("{:.2}", began.elapsed().as_secs_f64() * 1_000.0));
    }
    println!("| a checkpoint over {signed} entries, signed and stored, three times | {} ms |", took.join(", "));
    store.close().await;
}

fn open(path: PathBuf) -> Store {
    let journal = Some(Arc::new(AuditJournal) as Arc<_>);
    let options = Options { durability: Durability::Normal, ..Options::small(path) };
    Store::open(&options, &MigrationSet::tenure(), Arc::new(SystemClock), Arc::new(SystemIds), journal).unwrap()
}

/// As `tenure audit verify` does.
async fn verify(path: &Path) {
    let store = Store::open_read_only(path, Arc::new(SystemClock), Arc::new(SystemIds)).unwrap();
    let (began, before) = (Instant::now(), cpu());
    let verdict = verify_chain(&store).await.unwrap();
    assert_eq!(verdict.fault, None);
    let (wall, spent) = (began.elapsed(), cpu() - before);
    let rate = |time: Duration| verdict.rows as f64 / time.as_secs_f64();
    println!("| {} entries verified by a process of its own | {:.0} rows/s, {:.0} rows per second of CPU |", verdict.rows, rate(wall), rate(spent));
    println!("| its peak of resident memory | {} |", peak());
    store.close().await;
}

fn genesis(tx: &Tx<'_>) -> Result<(), Problem> {
    ensure_genesis(tx, ORIGIN, &Signer::new(ORIGIN, &SEED).verifier().to_string(), "1")
}

/// Appends up to `rows` entries as changes of assignments have them; answers the CPU time it took.
async fn fill(store: &Store, rows: u64) -> Duration {
    store.write(genesis).await.unwrap();
    let spent = cpu();
    let mut next = 2;
    while next <= rows {
        let last = rows.min(next + BATCH - 1);
        let batch = store.write(move |tx| {
            let by = Principal::system("bench");
            for n in next..=last {
                let state = |what: &str| {
                    Some(json!({ "id": format!("asg_{n:026}"), "state": what, "personId": format!("per_{n:026}"),
                                 "roleId": "rol_00000000000000000000000000", "expiresAt": "2031-03-01T12:00:00.000Z" }))
                };
                append(tx, &by, Entry {
                    action: "bench.changed",
                    entity: "bench",
                    entity_id: format!("asg_{n:026}"),
                    reason: None,
                    prev: state("active"),
                    new: state("revoked"),
                })?;
            }
            Ok(())
        });
        batch.await.unwrap();
        next = last + 1;
    }
    cpu() - spent
}

/// Adds rows with leaves of a few bytes, and the whole tree over them: a checkpoint reads nothing else of a log.
async fn fill_bare(store: &Store, rows: u64) {
    store.write(genesis).await.unwrap();
    let first = store.read(|tx| Ok(log::head(tx)?.unwrap().1)).await.unwrap();
    let mut frontier = Frontier::default();
    frontier.push(&first);
    while frontier.size() < rows {
        let begin = frontier.clone();
        let last = rows.min(begin.size() + 10 * BATCH);
        let batch = store.write(move |tx| {
            let mut frontier = begin.clone();
            for seq in begin.size() + 1..=last {
                let leaf = seq.to_be_bytes();
                let hash = leaf_hash(&leaf);
                log::insert_leaf(tx, &draft(tx.now()), seq, &leaf, &hash)?;
                let mut made = Vec::new();
                frontier.push_each(&hash, |level, index, node| made.push((level, index, *node)));
                made.into_iter().try_for_each(|node| log::insert_node(tx, node))?;
            }
            Ok(frontier)
        });
        frontier = batch.await.unwrap();
    }
    let root = frontier.root();
    let stored = store.read(move |tx| merkle::root(rows, &log::StoredNodes(tx))).await.unwrap();
    assert_eq!(stored, root);
}

fn draft(at: Timestamp) -> Draft {
    Draft {
        id: String::new(),
        at,
        actor_type: "system",
        actor_id: "bench".to_owned(),
        action: "bench.changed",
        entity: "bench",
        entity_id: "bench".to_owned(),
        request_id: None,
        context: Sealed(None),
        prev_state: Sealed(None),
        new_state: Sealed(None),
    }
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn micros(time: Duration, rows: u64) -> f64 {
    time.as_secs_f64() * 1e6 / rows as f64
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "not told by this kernel".to_owned(), |text| text.trim().to_owned())
}
