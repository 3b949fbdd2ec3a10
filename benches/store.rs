//! The store against bare rusqlite, in one run on one machine: `make bench`.
//!
//! Three ways to commit one row at a time at `synchronous=FULL`, measured in turn so that a machine
//! that slows down slows all of them: bare rusqlite, one caller through the store, 64 callers through
//! the store (group commit). Ratios are what counts; absolute figures belong to the machine.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark reads the machine's clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tenure::params;
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::store::{Migration, MigrationSet, Options, Store};

const ROUNDS: usize = 5;
const SLICE: Duration = Duration::from_millis(1_500);
const CALLERS: usize = 64;
const SQL: &str = "INSERT INTO t (body) VALUES (?1)";
const BODY: &str = "a row of about the size of a small change in an access system, one hundred bytes or so in all";

fn main() {
    // Under `cargo test --benches` only the wiring is checked.
    let quick = std::env::args().any(|a| a == "--test");
    let (rounds, slice) = if quick { (1, Duration::from_millis(50)) } else { (ROUNDS, SLICE) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut rows = Vec::new();
    for _ in 0..rounds {
        let bare = bare(slice);
        let one = runtime.block_on(through_store(1, slice));
        let many = runtime.block_on(through_store(CALLERS, slice));
        rows.push([bare, one, many]);
    }
    println!("commits/s at synchronous=FULL, median of {rounds} rounds");
    println!("| way | commits/s | ratio |");
    println!("|---|---:|---:|");
    let bare = median(rows.iter().map(|r| r[0]));
    let one = median(rows.iter().map(|r| r[1]));
    let many = median(rows.iter().map(|r| r[2]));
    println!("| bare rusqlite | {bare:.0} | 1.00 |");
    println!("| store, 1 caller | {one:.0} | {:.2} of bare |", median(rows.iter().map(|r| r[1] / r[0])));
    println!("| store, {CALLERS} callers | {many:.0} | {:.2} of 1 caller |", median(rows.iter().map(|r| r[2] / r[1])));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn folder() -> tempfile::TempDir {
    // Beside the build, not in /tmp: a memory file system would make every fsync free.
    let base = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

fn bare(slice: Duration) -> f64 {
    let dir = folder();
    let conn = Connection::open(dir.path().join("bare.db")).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
         CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;",
    )
    .unwrap();
    let start = Instant::now();
    let mut count = 0_u32;
    while start.elapsed() < slice {
        conn.execute_batch("BEGIN IMMEDIATE").unwrap();
        conn.prepare_cached(SQL).unwrap().execute([BODY]).unwrap();
        conn.execute_batch("COMMIT").unwrap();
        count += 1;
    }
    f64::from(count) / start.elapsed().as_secs_f64()
}

async fn through_store(callers: usize, slice: Duration) -> f64 {
    let dir = folder();
    let migrations = MigrationSet::of(vec![Migration {
        version: 1,
        name: "t".to_owned(),
        sql: "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;".to_owned(),
    }]);
    let store = Store::open(
        &Options::small(dir.path().join("store.db")),
        &migrations,
        Arc::new(SystemClock),
        Arc::new(SystemIds),
        None,
    )
    .unwrap();
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut count = 0_u32;
                while start.elapsed() < slice {
                    store.write(|tx| tx.execute(SQL, params![BODY])).await.unwrap();
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut total = 0;
    for task in tasks {
        total += task.await.unwrap();
    }
    let rate = f64::from(total) / start.elapsed().as_secs_f64();
    store.close().await;
    rate
}
