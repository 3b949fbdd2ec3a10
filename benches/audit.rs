//! The audit log: what an entry costs, how fast it is verified and in how much memory, what a checkpoint costs.
//!
//! `make bench`; `--long` takes 5,000,000 entries. Absolute figures belong to the machine.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the machine's clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tenure::base::access::Principal;
use tenure::features::audit::note::{Checkpoint, Signer};
use tenure::features::audit::ops::ensure_genesis;
use tenure::features::audit::store::StoredNodes;
use tenure::features::audit::verify::verify_chain;
use tenure::features::audit::{AuditJournal, Entry, append, merkle};
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::store::{Durability, MigrationSet, Options, Store};

/// Entries of one transaction: what a busy batch has.
const BATCH: u64 = 1_000;

#[tokio::main]
async fn main() {
    let has = |word: &str| std::env::args().any(|a| a == word);
    let rows: u64 = if has("--test") { 2_000 } else if has("--long") { 5_000_000 } else { 300_000 };
    // Beside the build, not in /tmp: a memory file system would make every fsync free.
    let base = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    std::fs::create_dir_all(&base).unwrap();
    let dir = tempfile::tempdir_in(base).unwrap();
    let path = dir.path().join("tenure.db");
    let options = Options { durability: Durability::Normal, ..Options::small(path.clone()) };
    let journal = Some(Arc::new(AuditJournal) as Arc<_>);
    let store = Store::open(&options, &MigrationSet::tenure(), Arc::new(SystemClock), Arc::new(SystemIds), journal).unwrap();
    store.write(|tx| ensure_genesis(tx, "tenure.example/audit/00", "key", "1")).await.unwrap();
    println!("| {rows} entries | |\n|---|---:|");
    let spent = fill(&store, rows).await;
    println!("| CPU of an entry, its states, its nodes and its share of the commit | {:.1} µs |", micros(spent, rows));

    let (began, seed) = (Instant::now(), [7; 32]);
    let note = store.read(move |tx| {
        let root = merkle::root(rows, &StoredNodes(tx))?;
        let origin = "tenure.example/audit/00".to_owned();
        Ok(Signer::new(&origin, &seed).sign(&Checkpoint { origin: origin.clone(), size: rows, root }))
    });
    assert!(note.await.unwrap().contains(&format!("\n{rows}\n")));
    println!("| a checkpoint over all of them | {:.2} ms |", began.elapsed().as_secs_f64() * 1_000.0);
    store.close().await;

    // As tenure audit verify does, in a process of its own if its memory is to be told.
    let store = Store::open_read_only(&path, Arc::new(SystemClock), Arc::new(SystemIds)).unwrap();
    forget_peak();
    let (began, spent) = (Instant::now(), cpu());
    let verdict = verify_chain(&store).await.unwrap();
    assert_eq!((verdict.rows, verdict.fault), (rows, None));
    let (wall, spent) = (began.elapsed(), cpu() - spent);
    let rate = |time: Duration| rows as f64 / time.as_secs_f64();
    println!("| verified | {:.0} rows/s, {:.0} rows per second of CPU |", rate(wall), rate(spent));
    println!("| memory of the process meanwhile | {} |", peak());
    store.close().await;
}

/// Appends up to `rows` entries as changes of assignments have them; answers the CPU time it took.
async fn fill(store: &Store, rows: u64) -> Duration {
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

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap(), u32::try_from(now.tv_nsec).unwrap())
}

fn micros(time: Duration, rows: u64) -> f64 {
    time.as_secs_f64() * 1e6 / rows as f64
}

/// Begins to count the peak of resident memory anew, where the kernel lets us.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "not told by this kernel".to_owned(), |text| text.trim().to_owned())
}
