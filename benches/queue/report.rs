//! The figures of all rounds as tables, with the machine and the goals.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Size, TRIES, percentile};

/// One value per round.
pub(super) struct Rounds {
    pub(super) port: Vec<Value>,
    pub(super) whole: Vec<Value>,
    /// BullMQ with `appendfsync everysec`.
    pub(super) theirs: Vec<Value>,
    /// BullMQ with `appendfsync always`.
    pub(super) strict: Vec<Value>,
    /// Single syncs of the disk, between the rounds.
    pub(super) syncs: Vec<Duration>,
}

#[derive(Clone, Copy)]
enum Best {
    Highest,
    Lowest,
}

const LINES: [(&str, &str, Best); 8] = [
    ("adds/s, bulk of 500", "addsPerSecond", Best::Highest),
    ("jobs/s, 64 at once", "jobsPerSecond", Best::Highest),
    ("enqueue to start, idle, p50, ms", "idleP50", Best::Lowest),
    ("enqueue to start, idle, p99, ms", "idleP99", Best::Lowest),
    ("enqueue to start, 1,000 jobs/s, p50, ms", "loadP50", Best::Lowest),
    ("enqueue to start, 1,000 jobs/s, p99, ms", "loadP99", Best::Lowest),
    ("idle CPU, % of one core", "idleCpuPercent", Best::Lowest),
    ("peak memory, MiB", "memoryMb", Best::Lowest),
];

pub(super) fn print(size: &Size, rounds: &Rounds) {
    let mut syncs = rounds.syncs.clone();
    println!("{}", machine());
    let (half, most) = (percentile(&mut syncs, 50), percentile(&mut syncs, 99));
    println!("One sync of the disk between the rounds: p50 {half:.2} ms, p99 {most:.2} ms.");
    println!("Best of {} rounds, in turn; {} jobs in each.\n", size.rounds, size.jobs);
    if let Some(peer) = rounds.theirs.first() {
        let text = |name: &str| peer[name].as_str().unwrap_or("?").to_owned();
        println!("BullMQ {}, Node.js {}, Redis {}.\n", text("bullmq"), text("node"), text("redis"));
    }
    println!("| figure | Tenure, port | Tenure, whole way | BullMQ, everysec | BullMQ, always |");
    println!("|---|---:|---:|---:|---:|");
    for (label, field, best) in LINES {
        let columns = [&rounds.port, &rounds.whole, &rounds.theirs, &rounds.strict];
        let cells = columns.map(|c| shown(best_of(c, field, best)));
        println!("| {label} | {} |", cells.join(" | "));
    }
    println!();
    goals(rounds);
    after(rounds);
}

fn goals(rounds: &Rounds) {
    println!("| goal | found |  |");
    println!("|---|---:|---|");
    let jobs = |rounds: &[Value]| best_of(rounds, "jobsPerSecond", Best::Highest);
    if let (Some(ours), Some(theirs)) = (jobs(&rounds.port), jobs(&rounds.theirs)) {
        goal("at the port, jobs/s: at least 1.8 × BullMQ (everysec)", ours / theirs, |r| r >= 1.8);
        let pairs = rounds.port.iter().zip(&rounds.theirs);
        let ratios = pairs.filter_map(|(a, b)| Some(a["jobsPerSecond"].as_f64()? / b["jobsPerSecond"].as_f64()?));
        println!("| the same, median of the rounds' ratios | {:.2} | |", median(ratios.collect()));
    }
    let whole = |field: &str, best| best_of(&rounds.whole, field, best).unwrap_or(f64::NAN);
    goal("the whole way, jobs/s: at least 5,000", whole("jobsPerSecond", Best::Highest), |r| r >= 5_000.0);
    goal("wake-up p99, ms: under 20", whole("idleP99", Best::Lowest), |ms| ms < 20.0);
    goal("idle CPU, %: under 0.5", whole("idleCpuPercent", Best::Lowest), |p| p < 0.5);
    println!();
}

fn goal(text: &str, found: f64, met: impl Fn(f64) -> bool) {
    println!("| {text} | {found:.2} | {} |", if met(found) { "met" } else { "**missed**" });
}

/// `--long`: the last round's process measured itself twice.
fn after(rounds: &Rounds) {
    let measured = [("port", &rounds.port), ("whole way", &rounds.whole)];
    let twice: Vec<_> = measured
        .iter()
        .filter_map(|(way, r)| Some((way, r.last()?)))
        .filter(|(_, last)| last["after"].is_object())
        .collect();
    if twice.is_empty() {
        return;
    }
    println!("Best of {TRIES} before and after, in one process on the same files.\n");
    println!("| after 1,000,000 jobs | before | after | change |");
    println!("|---|---:|---:|---:|");
    for (way, last) in twice {
        for (label, field, _) in LINES {
            if let (Some(a), Some(b)) = (last[field].as_f64(), last["after"][field].as_f64()) {
                println!("| {way}: {label} | {} | {} | {:+.1} % |", shown(Some(a)), shown(Some(b)), (b / a - 1.0) * 100.0);
            }
        }
    }
}

/// The best of several tries, each figure by itself.
pub(super) fn best(tries: &[Value]) -> Value {
    let mut found = json!({});
    for (_, field, best) in LINES {
        if let Some(value) = best_of(tries, field, best) {
            found[field] = json!(value);
        }
    }
    found
}

fn best_of(rounds: &[Value], field: &str, best: Best) -> Option<f64> {
    let values = rounds.iter().filter_map(|r| r[field].as_f64());
    match best {
        Best::Highest => values.max_by(f64::total_cmp),
        Best::Lowest => values.min_by(f64::total_cmp),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(v) if v >= 1000.0 => {
            let whole = format!("{v:.0}");
            let (thousands, rest) = whole.split_at(whole.len() - 3);
            format!("{thousands},{rest}")
        }
        Some(v) => format!("{v:.2}"),
    }
}

/// What the figures belong to.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gib = memory.split(' ').next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "Machine: {cpu}, {cores} cores, {gib:.0} GiB, Linux {}, {}; other work at the start: load {}.",
        kernel.trim(),
        file_system(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    )
}

/// The type of the file system that holds the databases.
fn file_system() -> String {
    let here = std::fs::canonicalize(super::beside_the_build()).unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|l| {
            let mut words = l.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(at, _)| here.starts_with(at))
        .max_by_key(|(at, _)| at.len())
        .map_or_else(|| "unknown file system".to_owned(), |(_, kind)| kind.to_owned())
}
