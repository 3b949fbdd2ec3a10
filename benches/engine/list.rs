//! Lists of runs beside a million of them.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tenure::base::Timestamp;
use tenure::base::id::encode;

use super::server::Server;

/// People whom the stored runs are about.
const PEOPLE: usize = 10_000;
/// The first instant of the stored runs, 2026-01-01.
const FIRST: i64 = 1_767_225_600_000;
/// Between two of them.
const STEP: i64 = 20_000;
/// Requests for each combination of filters.
const ASKED: usize = 100;

/// Stores runs and asks for them; tells the slowest combinations.
pub async fn measure(server: &Server, workflow: &str, runs: usize) -> String {
    store(server, workflow, runs);
    let mut client = server.connect().await;
    let mut rows = Vec::new();
    for filters in combinations(workflow, runs) {
        let mut times = Vec::with_capacity(ASKED);
        let (mut path, mut found) = (format!("/api/runs?limit=50{filters}"), 0);
        for _ in 0..ASKED {
            let at = Instant::now();
            let (status, body) = client.get(&path).await;
            times.push(at.elapsed());
            assert_eq!(status, 200, "{path}: {body}");
            found += body["items"].as_array().map_or(0, Vec::len);
            // On to the next page, or from the beginning again.
            path = match body["nextCursor"].as_str() {
                Some(cursor) => format!("/api/runs?limit=50{filters}&cursor={cursor}"),
                None => format!("/api/runs?limit=50{filters}"),
            };
        }
        times.sort();
        rows.push((times[ASKED * 99 / 100], times[ASKED / 2], found / ASKED, filters));
    }
    rows.sort();
    let ms = |d: &Duration| d.as_secs_f64() * 1_000.0;
    let (worst, best) = (rows.last().unwrap(), rows.first().unwrap());
    let mut text = format!("lists beside {runs} runs, {} combinations of filters: p99 {:.2} to {:.2} ms", rows.len(), ms(&best.0), ms(&worst.0));
    for (p99, p50, found, filters) in rows.iter().rev().take(4) {
        text.push_str(&format!("\n  p50 {:.2} ms, p99 {:.2} ms, {found} rows a page:{filters}", ms(p50), ms(p99)));
    }
    text
}

fn combinations(workflow: &str, runs: usize) -> Vec<String> {
    let at = |n: usize| Timestamp::from_millis(FIRST + STEP * n as i64).to_string();
    let subject = format!("&subjectId={}", person(7));
    let mut all = Vec::new();
    for status in ["", "&status=completed", "&status=failed", "&status=waiting", "&status=running", "&status=pending"] {
        for workflow in [String::new(), format!("&workflowId={workflow}")] {
            for subject in ["", subject.as_str()] {
                for time in [
                    String::new(),
                    format!("&from={}", at(runs / 2)),
                    format!("&to={}", at(runs / 2)),
                    format!("&from={}&to={}", at(runs / 3), at(runs / 2)),
                ] {
                    all.push(format!("{status}{workflow}{subject}{time}"));
                }
            }
        }
    }
    all
}

fn person(n: usize) -> String {
    format!("per_{}", encode(Timestamp::from_millis(FIRST), n as u128))
}

fn store(server: &Server, workflow: &str, runs: usize) {
    let mut db = Connection::open(server.database()).unwrap();
    db.busy_timeout(Duration::from_secs(60)).unwrap();
    let tx = db.transaction().unwrap();
    for n in 0..PEOPLE {
        tx.execute(
            "INSERT OR IGNORE INTO person (id, display_name, email, created_at) VALUES (?1, ?2, ?3, ?4)",
            params![person(n), format!("Person {n}"), format!("p{n}@bench.example"), FIRST],
        )
        .unwrap();
    }
    let mut insert = tx
        .prepare(
            "INSERT INTO run (id, workflow_id, status, started_by, subject_id, state, revision, events, created_at,
                              updated_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?4, ?5, 2, 12, ?6, ?6, ?6)",
        )
        .unwrap();
    for n in 0..runs {
        let at = FIRST + STEP * n as i64;
        let status = match n % 100 {
            0..90 => "completed",
            90..96 => "failed",
            96..99 => "waiting",
            _ => "cancelled",
        };
        let state = format!(r#"{{"vars":{{"days":{n},"text":"Person {n}: {n} days"}},"visits":5,"ended":{{"status":"completed","reason":null}}}}"#);
        let id = format!("run_{}", encode(Timestamp::from_millis(at), n as u128));
        insert.execute(params![id, workflow, status, person(n % PEOPLE), state, at]).unwrap();
    }
    drop(insert);
    tx.commit().unwrap();
}
