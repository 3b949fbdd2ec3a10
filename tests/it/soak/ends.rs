//! Very many ends at one instant, and ends at random ones: what is over goes in time, what is not stays, and people are
//! served meanwhile.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::{Moments, ledger, size, spread, the_machine};
use crate::support::load::administrator;
use crate::support::{Server, eventually, http};

/// What is over has to be gone from the connected system within this time.
const PROMISED_END: Duration = Duration::from_secs(60);
/// So long may people wait for an answer meanwhile, 99 times of 100.
const PROMISED_ANSWER: Duration = Duration::from_millis(100);
/// Questions a second that people ask meanwhile.
const QUESTIONS: u64 = 40;
/// An end that is not meant to come during the test.
const FAR: i64 = 365 * 86_400_000;

fn millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// A data directory with people who hold one role, which the built-in directory confirmed.
struct Site {
    folder: tempfile::TempDir,
    token: String,
    http: reqwest::Client,
    role: String,
    entitlement: String,
    connector: String,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let token = administrator(&folder.path().join("data"));
        let empty = String::new;
        let mut site = Self { folder, token, http: http(), role: empty(), entitlement: empty(), connector: empty() };
        let server = site.serve().await;
        let config = json!({ "name": "Directory", "kind": "directory", "config": { "createMissing": true } });
        site.connector = site.post(&server, "/api/connectors", config).await;
        let member = json!({ "account": "{{ person.attributes.uid }}", "group": "project" });
        let entitlement = json!({
            "name": "Project group", "connectorId": site.connector,
            "provision": { "command": "add_member", "params": member },
            "deprovision": { "command": "remove_member", "params": member },
            "check": { "command": "has_member", "params": member },
        });
        site.entitlement = site.post(&server, "/api/entitlements", entitlement).await;
        let role = json!({ "name": "Project member", "description": "", "entitlementIds": [site.entitlement] });
        site.role = site.post(&server, "/api/roles", role).await;
        assert_eq!(server.terminate(), 0);
        site
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn serve(&self) -> Server {
        let vars = [("RATE_LIMIT_ACCOUNT_PER_MIN", "0"), ("RATE_LIMIT_ADDRESS_PER_MIN", "0")];
        let server = Server::start(&["serve"], &self.data(), &vars).await;
        server.healthy().await;
        server
    }

    async fn post(&self, server: &Server, path: &str, body: Value) -> String {
        let sent = self.http.post(format!("{}{path}", server.base)).bearer_auth(&self.token).json(&body).send().await;
        let answer = sent.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        let made: Value = serde_json::from_str(&text).expect("JSON");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// While no process runs: so many people hold the role until [`FAR`], each with the job that ends it.
    fn fill(&self, people: u32) {
        let mut db = Connection::open(self.data().join("tenure.db")).expect("the database opens");
        let tx = db.transaction().expect("a transaction");
        let numbers = "WITH RECURSIVE k (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i + 1 < ?1)";
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            tx.execute(&format!("{numbers} {sql}"), values).unwrap_or_else(|e| panic!("{sql}: {e}"));
        };
        let (now, far) = (millis(), millis() + FAR);
        run(
            "INSERT INTO person (id, display_name, email, created_at, attributes)
             SELECT printf('per_%026d', i), printf('Person %d', i), printf('u%d@example.org', i), ?2,
                    json_object('uid', printf('u%d', i)) FROM k",
            params![people, now],
        );
        run(
            "INSERT INTO assignment (id, person_id, role_id, state, reason, granted_by, starts_at, expires_at, created_at)
             SELECT printf('asg_%026d', i), printf('per_%026d', i), ?3, 'active', 'for the project', 'test', ?2, ?4, ?2 FROM k",
            params![people, now, self.role, far],
        );
        let call = |command: &str| {
            format!("json_object('command', '{command}', 'params', json_object('account', printf('u%d', i), 'group', 'project'))")
        };
        run(
            &format!(
                "INSERT INTO access_grant (id, assignment_id, person_id, entitlement_id, state, wanted, generation, calls,
                                           confirmed_at, account)
                 SELECT printf('grt_%026d', i), printf('asg_%026d', i), printf('per_%026d', i), ?2, 'provisioned', 'present', 1,
                        json_object('connectorId', ?3, 'provision', {}, 'deprovision', {}, 'check', {}), 0, '' FROM k",
                call("add_member"),
                call("remove_member"),
                call("has_member"),
            ),
            params![people, self.entitlement, self.connector],
        );
        run(
            "INSERT INTO job (id, name, payload, state, run_at, created_at)
             SELECT printf('job_%026d', i), 'end-assignment', json_object('assignmentId', printf('asg_%026d', i)), 'held', ?2, 0
             FROM k",
            params![people, far],
        );
        tx.execute("INSERT INTO directory_group (connector_id, name, created_at) VALUES (?1, 'project', 0)", [&self.connector])
            .expect("a group");
        run(
            "INSERT INTO directory_account (connector_id, name, attributes, created_at) SELECT ?2, printf('u%d', i), '{}', 0 FROM k",
            params![people, self.connector],
        );
        run(
            "INSERT INTO directory_member (connector_id, group_name, account_name, added_at)
             SELECT ?2, 'project', printf('u%d', i), 0 FROM k",
            params![people, self.connector],
        );
        tx.commit().expect("is stored");
    }

    /// Lets the first of them end at these instants instead.
    fn end_at(&self, ends: &[i64]) {
        let mut db = Connection::open(self.data().join("tenure.db")).expect("the database opens");
        let tx = db.transaction().expect("a transaction");
        for (i, end) in (0_i64..).zip(ends) {
            tx.execute("UPDATE assignment SET expires_at = ?2 WHERE id = printf('asg_%026d', ?1)", params![i, end]).expect("is set");
            tx.execute("UPDATE job SET run_at = ?2 WHERE id = printf('job_%026d', ?1)", params![i, end]).expect("is set");
        }
        tx.commit().expect("is stored");
    }

    /// Waits until so many assignments are confirmed gone.
    async fn until_gone(&self, count: u64) {
        let file = self.data();
        eventually("everything that is over is confirmed gone", Duration::from_secs(300), || async {
            let gone = "SELECT count(*) FROM assignment WHERE state = 'expired'";
            (ledger::number(&ledger::open(&file), gone) == count).then_some(())
        })
        .await;
    }
}

/// Only what was over went, everything of it, and nothing was tried in vain.
fn assert_right(data: &Path, people: u64, ended: u64) {
    let db = ledger::open(data);
    let of = |sql: &str| ledger::number(&db, sql);
    assert_eq!(of("SELECT count(*) FROM assignment WHERE state = 'expired'"), ended);
    assert_eq!(of("SELECT count(*) FROM assignment WHERE state = 'active'"), people - ended);
    assert_eq!(of("SELECT count(*) FROM directory_member"), people - ended);
    assert_eq!(of("SELECT count(*) FROM assignment WHERE state = 'expired' AND ended_at < expires_at"), 0, "ended too early");
    let left = "SELECT count(*) FROM directory_member m JOIN assignment a
                ON a.id = printf('asg_%026d', CAST(substr(m.account_name, 2) AS INTEGER)) WHERE a.state = 'expired'";
    assert_eq!(of(left), 0, "accounts of those whose access ended");
    assert_eq!(of("SELECT count(*) FROM job WHERE attempts_made > 1 OR state = 'failed'"), 0, "tried in vain");
    for action in ["role.expiring", "grant.deprovisioned", "role.expired"] {
        assert_eq!(of(&format!("SELECT count(*) FROM audit_log WHERE action = '{action}'")), ended, "{action}");
    }
}

/// People who ask and change something, at a steady rate, until they are told to stop.
async fn people_at_work(site: &Site, server: &Server, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut tick = tokio::time::interval(Duration::from_millis(1000 / QUESTIONS));
    let mut asked = tokio::task::JoinSet::new();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        number += 1;
        let (http, token, base) = (site.http.clone(), site.token.clone(), server.base.clone());
        asked.spawn(async move {
            let person = format!("per_{:026}", number * 37 % 1000);
            let began = Instant::now();
            let sent = match number % 5 {
                0 => http.get(format!("{base}/api/assignments?personId={person}")),
                1 => http.get(format!("{base}/api/people?limit=50")),
                2 => http.get(format!("{base}/api/audit?limit=50")),
                3 => http.get(format!("{base}/api/assignments?limit=50")),
                _ => http.post(format!("{base}/api/groups")).json(&json!({ "name": format!("Group {number}") })),
            };
            let answer = sent.bearer_auth(token).send().await.expect("an answer");
            let status = answer.status();
            let text = answer.text().await.expect("a text");
            assert!(status.is_success(), "{}: {status} {text}", number % 5);
            began.elapsed()
        });
    }
    let mut times = Vec::new();
    while let Some(time) = asked.join_next().await {
        times.push(time.expect("is answered"));
    }
    times
}

/// `TENURE_SOAK=full` takes 20,000 of 100,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_ends_at_one_instant_go_within_a_minute_and_people_are_served() {
    let _machine = the_machine().await;
    let (people, ending) = (size(5_000, 100_000), size(1_000, 20_000));
    let site = Site::start().await;
    site.fill(people);
    let due = millis() + 3_000;
    site.end_at(&vec![due; ending as usize]);
    let server = site.serve().await;
    let stop = Arc::new(AtomicBool::new(false));
    let gone = async {
        site.until_gone(u64::from(ending)).await;
        stop.store(true, Ordering::Relaxed);
        Duration::from_millis(u64::try_from(millis() - due).expect("none went before its end"))
    };
    let (took, mut answers) = tokio::join!(gone, people_at_work(&site, &server, Arc::clone(&stop)));
    assert_eq!(server.terminate(), 0);
    assert_right(&site.data(), u64::from(people), u64::from(ending));
    println!("{ending} of {people} ended at one instant: gone after {took:?}; {} answers, {}", answers.len(), spread(&mut answers));
    assert!(took <= PROMISED_END, "{took:?}");
    if ending == 20_000 {
        let at = answers[(answers.len() * 99).div_ceil(100) - 1];
        assert!(at < PROMISED_ANSWER, "{at:?}");
    }
}

/// `TENURE_SOAK=full` takes 10,000, over half a minute. The hourly checks do not run meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_random_ends_begins_in_time_without_the_hourly_checks() {
    let _machine = the_machine().await;
    let ending = size(500, 10_000);
    let (site, mut moments) = (Site::start().await, Moments::seeded());
    site.fill(ending + 100);
    let first = millis() + 2_000;
    let within = u64::from(size(3_000, 30_000));
    let ends: Vec<i64> =
        (0..ending).map(|_| first + i64::try_from(moments.next(0, within).as_millis()).expect("seconds")).collect();
    site.end_at(&ends);
    let before = "SELECT count(*) FROM job WHERE name IN ('role-expiry-check', 'document-expiry-check')";
    let checks = ledger::number(&ledger::open(&site.data()), before);
    let server = site.serve().await;
    site.until_gone(u64::from(ending)).await;
    assert_eq!(server.terminate(), 0);
    assert_right(&site.data(), u64::from(ending) + 100, u64::from(ending));
    let db = ledger::open(&site.data());
    assert_eq!(ledger::number(&db, before), checks, "an hourly check came between; run it again");
    let late = "SELECT CAST(l.at - a.expires_at AS TEXT) FROM audit_log l JOIN assignment a ON a.id = l.entity_id
                WHERE l.action = 'role.expiring'";
    let late: Vec<i64> = ledger::texts(&db, late).iter().map(|t| t.parse().expect("milliseconds")).collect();
    assert!(late.len() == ending as usize && late.iter().all(|l| *l >= 0), "none began before its end");
    let mut late: Vec<_> = late.into_iter().map(|l| Duration::from_millis(l.unsigned_abs())).collect();
    println!("{ending} random ends: revocation began late by {}", spread(&mut late));
    let at = late[(late.len() * 99).div_ceil(100) - 1];
    assert!(at <= PROMISED_END, "{at:?}");
}
