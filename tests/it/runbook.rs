//! The operations runbook, sentence by sentence and row by row, with each backend of the queue.
//!
//! The sentence that a test holds stands in its doc comment, as the runbook has it. What a later part of
//! the product brings stands in [`LATER`] until it is there.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tenure::app::Running;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADMIN, PASSWORD};
use tenure::base::access::Principal;
use tenure::base::clock::Clock as _;
use tenure::base::id::{AssignmentId, JobId, PersonId, RunId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::config::{Config, Reader};
use tenure::features::access::assignments::{AssignmentState, ops as assignments, store as assignment_store};
use tenure::features::access::documents::ops as documents;
use tenure::features::access::roles::ops::{NewRole, create_role};
use tenure::features::identity::people::store::list_people;
use tenure::features::schedules::ops as schedules;
use tenure::features::schedules::{Overlap, ScheduleDraft, read_when};
use tenure::features::settings::{self, STUCK_RUN_TIMEOUT};
use tenure::features::workflow::definitions::{self, Definition};
use tenure::features::workflow::runs::{RunStatus, ops as runs, store as run_store};
use tenure::params;
use tenure::platform::clock::{ManualClock, SystemClock};
use tenure::platform::queue::schedule::{MissedRuns, get_schedule};
use tenure::platform::queue::views::{self, JobState, JobView};
use tenure::platform::queue::{JobDraft, enqueue, names};
use tenure::platform::store::Tx;

use crate::support::redis::RedisServer;
use crate::support::{Server, command, eventually, free_port, http};

/// What stands behind queue and sessions.
struct Mode {
    name: &'static str,
    vars: Vec<(&'static str, String)>,
    /// The server that the variables name; it ends with the mode.
    redis: Option<RedisServer>,
}

/// Every backend that Tenure has, with nothing in it yet.
async fn modes() -> [Mode; 2] {
    let redis = RedisServer::start().await;
    [
        Mode { name: "embedded", vars: Vec::new(), redis: None },
        Mode { name: "redis", vars: vec![("REDIS_URL", redis.url())], redis: Some(redis) },
    ]
}

/// Jobs of the runbook that a later part brings: the job, the runbook's words, the part.
const LATER: [(&str, &str, &str); 5] = [
    ("entitlement-reconciliation", "Reconcile entitlements with connectors", "access"),
    ("audit-checkpoint", "Create signed audit checkpoint; file, s3 and siem stores", "audit"),
    ("deliver-scheduled-report", "Generate and email scheduled reports", "reports"),
    ("escalation-reminder", "Send approval reminders", "workflow"),
    ("escalation-reassignment", "Reassign overdue approvals", "workflow"),
];

/// The table "Job Types": job and schedule; none for what no clock of its own makes.
const JOBS: [(&str, Option<&str>); 10] = [
    ("role-expiry-check", Some("0 * * * *")),
    ("document-expiry-check", Some("0 * * * *")),
    ("entitlement-reconciliation", Some("0 2 * * *")),
    ("run-orphan-cleanup", Some("30 2 * * *")),
    ("stuck-run-recovery", Some("*/15 * * * *")),
    ("audit-checkpoint", Some("0 */6 * * *")),
    ("deliver-scheduled-report", None),
    ("trigger-workflow", None),
    ("escalation-reminder", None),
    ("escalation-reassignment", None),
];

const SOON: Duration = Duration::from_secs(20);

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn by() -> Principal {
    Principal::system("test")
}

fn config(data: &Path, mode: &Mode, more: &[(&'static str, &str)]) -> Config {
    let own = [("DATA_DIR", data.display().to_string()), ("PORT", free_port().to_string())];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let vars = own.into_iter().chain(mode.vars.clone()).chain(more);
    Config::from_reader(Reader::new(vars.map(|(name, value)| (name.to_owned(), value)))).expect("valid").0
}

/// A whole server in this process, by a clock that the test sets.
struct Bench {
    _dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    running: Running,
}

impl Bench {
    async fn start(mode: &Mode, vars: &[(&'static str, &str)]) -> Self {
        if let Some(redis) = &mode.redis {
            // Each installation finds a queue of its own.
            redis.ask::<String>(&["FLUSHALL"]).await;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(at("2031-03-01T11:50:00Z")));
        let config = config(&dir.path().join("data"), mode, vars);
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        Self { _dir: dir, clock, running }
    }

    async fn write<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.write(f).await.expect("writes")
    }

    async fn read<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.read(f).await.expect("reads")
    }

    /// The slot of a system schedule comes; waits until its job is done.
    async fn slot(&self, name: &'static str, slot: &str) {
        self.clock.set(at(slot));
        eventually("the slot's job is done", SOON, || async {
            let row = self.running.app.store.read(move |tx| get_schedule(tx, name)).await.ok()?;
            (row.last_slot_at == Some(at(slot)) && row.last_state.as_deref() == Some("completed")).then_some(())
        })
        .await;
    }

    async fn admin(&self) -> Client {
        create_people(&self.running.app.store, &self.running.app.identity.passwords).await.expect("people");
        Client::sign_in(&http(), &self.running.base, ADMIN, PASSWORD).await.expect("signs in")
    }

    async fn health(&self) -> (u16, Value) {
        let answer = http().get(format!("{}/api/health", self.running.base)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// A run in status `running` that last made progress at `updated_at`.
    async fn running_run(&self, updated_at: Timestamp) -> RunId {
        self.write(move |tx| {
            let call = json!({ "name": "Call", "steps": [{ "id": "call", "name": "Call", "type": "connector",
                               "config": { "connector": "x", "command": "y" } }] });
            let definition: Definition = serde_json::from_value(call).expect("a definition");
            let draft = definitions::ops::create(tx, &by(), definition)?;
            let workflow = definitions::ops::publish(tx, &by(), &draft.id)?.id;
            let run = runs::start(tx, &by(), &workflow, None, Map::new())?.id;
            // Its worker died on the way.
            tx.execute("DELETE FROM job WHERE name = 'advance-run'", params![])?;
            tx.execute("UPDATE run SET updated_at = ?2 WHERE id = ?1", params![run, updated_at])?;
            Ok(run)
        })
        .await
    }

    async fn run(&self, id: &RunId) -> (RunStatus, Option<String>) {
        let id = id.clone();
        let run = self.read(move |tx| run_store::get_run(tx, &id)).await;
        (run.status, run.reason)
    }

    async fn job(&self, id: &JobId) -> JobView {
        let id = id.clone();
        self.read(move |tx| views::get_job(tx, &id)).await
    }

    /// Somebody, and a role of theirs that ends at `expires_at`; no job of its own will end it.
    async fn assignment(&self, expires_at: Option<Timestamp>, document: Option<Timestamp>) -> AssignmentId {
        create_people(&self.running.app.store, &self.running.app.identity.passwords).await.expect("people");
        self.write(move |tx| {
            let person: PersonId = list_people(tx, None, None, 1)?.remove(0).id;
            let required = if document.is_some() { vec!["certificate".to_owned()] } else { Vec::new() };
            let role = create_role(
                tx,
                &by(),
                NewRole {
                    name: "Reader".to_owned(),
                    description: String::new(),
                    owner_id: None,
                    default_duration_days: None,
                    required_document_types: required,
                    entitlement_ids: Vec::new(),
                },
            )?;
            if let Some(until) = document {
                let new = documents::NewDocument {
                    kind: "certificate".to_owned(),
                    person: person.clone(),
                    valid_from: tx.now(),
                    expires_at: until,
                    run: None,
                };
                let id = documents::submit(tx, &by(), new)?.id;
                documents::approve(tx, &by(), &id, None)?;
            }
            let new = assignments::NewAssignment {
                person,
                role: role.id,
                reason: "for the test".to_owned(),
                run: None,
                starts_at: tx.now(),
                expires_at,
                documents: Vec::new(),
            };
            let id = assignments::grant(tx, &by(), new)?;
            tx.execute("DELETE FROM job WHERE name IN ('end-assignment', 'expire-document')", params![])?;
            Ok(id)
        })
        .await
    }

    async fn state(&self, id: &AssignmentId) -> AssignmentState {
        let id = id.clone();
        self.read(move |tx| assignment_store::get_assignment(tx, &id)).await.state
    }
}

// --- Health Check ---

/// "`GET /api/health` returns the status of the database and Redis", in the shape that is shown;
/// "`ok`: Both database and Redis are healthy"; "Use this endpoint for load balancer health checks".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_ok_in_the_shape_of_the_runbook() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let (status, health) = bench.health().await;
        assert_eq!((status, &health["status"]), (200, &json!("ok")), "{}: {health}", mode.name);
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
        assert!(health["uptime"].is_f64(), "{health}");
        for check in ["database", "redis"] {
            assert_eq!(health["checks"][check]["status"], "ok", "{health}");
            assert!(health["checks"][check]["latencyMs"].is_number(), "{health}");
        }
        assert_eq!(health["checks"]["redis"]["backend"], mode.name);
        bench.running.stop().await;
    }
}

/// "`degraded`: One or both dependencies are down"; "A `degraded` status means the server is running but
/// some functionality (sessions, job scheduling) may be impaired." A balancer sees 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_degraded_while_a_dependency_is_down() {
    for mut mode in modes().await {
        for (check, other) in [("database", "redis"), ("redis", "database")] {
            let bench = Bench::start(&mode, &[]).await;
            let live = format!("{}/api/health/live", bench.running.base);
            match (check, &mut mode.redis) {
                ("redis", Some(redis)) => redis.kill(),
                ("redis", None) => bench.running.app.queue_store.close().await,
                _ => bench.running.app.store.close().await,
            }
            let (status, health) = eventually("health is degraded", SOON, || async {
                // Results are shared for a second.
                bench.clock.advance(Duration::from_secs(2));
                Some(bench.health().await).filter(|(status, _)| *status == 503)
            })
            .await;
            assert_eq!((status, &health["status"]), (503, &json!("degraded")), "{}: {health}", mode.name);
            assert_eq!(health["checks"][check]["status"], "down", "{}: {health}", mode.name);
            assert_eq!(health["checks"][other]["status"], "ok", "{}: {health}", mode.name);
            let live = http().get(live).send().await.expect("an answer");
            assert_eq!(live.status(), 200, "the server is running");
            bench.running.stop().await;
        }
    }
}

// --- Stuck Run Recovery ---

/// "Workflow runs that remain in `running` status without progress are automatically failed by a periodic
/// job." "A run is considered stuck if its `updated_at` timestamp is older than the timeout. The run is
/// marked as `failed` with reason \"Run timed out (no progress for N minutes)\"." Timeout: default 30,
/// check interval: every 15 minutes. Exactly 30 minutes is not older; one millisecond more is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_progress_for_longer_than_the_timeout_is_failed() {
    for mode in modes().await {
        for (vars, minutes) in [(&[][..], 30), (&[("STUCK_RUN_TIMEOUT_MINUTES", "45")][..], 45)] {
            let bench = Bench::start(&mode, vars).await;
            let slot = at("2031-03-01T12:00:00Z");
            let limit = slot.minus(Duration::from_secs(minutes * 60));
            let stays = bench.running_run(limit).await;
            let goes = bench.running_run(limit.minus(Duration::from_millis(1))).await;
            bench.slot("stuck-run-recovery", "2031-03-01T12:00:00Z").await;
            assert_eq!(bench.run(&stays).await, (RunStatus::Running, None), "{}", mode.name);
            let reason = format!("Run timed out (no progress for {minutes} minutes)");
            assert_eq!(bench.run(&goes).await, (RunStatus::Failed, Some(reason)), "{}", mode.name);
            bench.slot("stuck-run-recovery", "2031-03-01T12:15:00Z").await;
            assert_eq!(bench.run(&stays).await.0, RunStatus::Failed, "the check comes every 15 minutes");
            bench.running.stop().await;
        }
    }
}

/// "The timeout can also be configured via Admin > Security Settings in the web UI." What is saved there
/// beats the variable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_timeout_beats_the_variable() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[("STUCK_RUN_TIMEOUT_MINUTES", "45")]).await;
        bench.write(|tx| settings::ops::set_number(tx, &by(), STUCK_RUN_TIMEOUT, Some(5))).await;
        let slot = at("2031-03-01T12:00:00Z");
        let stays = bench.running_run(slot.minus(Duration::from_secs(300))).await;
        let goes = bench.running_run(slot.minus(Duration::from_millis(300_001))).await;
        bench.slot("stuck-run-recovery", "2031-03-01T12:00:00Z").await;
        assert_eq!(bench.run(&stays).await.0, RunStatus::Running, "{}", mode.name);
        let reason = "Run timed out (no progress for 5 minutes)".to_owned();
        assert_eq!(bench.run(&goes).await, (RunStatus::Failed, Some(reason)));
        bench.running.stop().await;
    }
}

// --- BullMQ Job Processing ---

/// "All background jobs use a single BullMQ queue named `workflow-scheduler`."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_one_queue_and_it_is_called_workflow_scheduler() {
    for mode in modes().await {
        assert_eq!(names::QUEUE, "workflow-scheduler");
        let bench = Bench::start(&mode, &[]).await;
        let id = bench.write(|tx| enqueue(tx, JobDraft::now("no-such-job", json!({})))).await;
        let queues = eventually("the job waits for its retry in the queue", SOON, || async {
            (bench.job(&id).await.attempts_made == 1).then_some(())?;
            let queues: Vec<String> = match &mode.redis {
                None => bench
                    .running
                    .app
                    .queue_store
                    .read(|tx| tx.query("SELECT DISTINCT job_type FROM Jobs", params![], |r| r.get("job_type")))
                    .await
                    .ok()?,
                Some(redis) => {
                    let delayed: Vec<String> = redis.ask(&["KEYS", "bull:*:delayed"]).await;
                    delayed.iter().map(|key| key.split(':').nth(1).unwrap_or_default().to_owned()).collect()
                }
            };
            Some(queues).filter(|q| !q.is_empty())
        })
        .await;
        assert_eq!(queues, ["workflow-scheduler"], "{}", mode.name);
        bench.running.stop().await;
    }
}

/// "Jobs are retried up to 3 times with exponential backoff (5s, 10s, 20s)." By wall time; each retry
/// comes at most a second and a half late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_retried_three_times_after_5_10_and_20_seconds() {
    // Each takes 35 s: both at once.
    let [embedded, redis] = modes().await;
    tokio::join!(retried_after_5_10_and_20_seconds(embedded), retried_after_5_10_and_20_seconds(redis));
}

async fn retried_after_5_10_and_20_seconds(mode: Mode) {
    let dir = tempfile::tempdir().expect("a folder");
    let running = tenure::app::start(config(&dir.path().join("data"), &mode, &[]), Arc::new(SystemClock)).await.expect("starts");
    let store = running.app.store.clone();
    let id = store.write(|tx| enqueue(tx, JobDraft::now("no-such-job", json!({})))).await.expect("stored");
    let mut began: Vec<Timestamp> = Vec::new();
    for attempt in 1..=4 {
        let (store, id) = (store.clone(), id.clone());
        let job = eventually("the next attempt has ended", SOON * 2, || async {
            let id = id.clone();
            let job = store.read(move |tx| views::get_job(tx, &id)).await.ok()?;
            Some(job).filter(|job| job.attempts_made == attempt)
        })
        .await;
        began.push(job.processed_on.expect("it ran"));
        let last = attempt == 4;
        assert_eq!(job.state == JobState::Failed, last, "{}: {job:?}", mode.name);
    }
    for (pair, seconds) in began.windows(2).zip([5, 10, 20]) {
        let waited = pair[1].since(pair[0]);
        let most = Duration::from_millis(seconds * 1000 + 1500);
        assert!(waited >= Duration::from_secs(seconds) && waited <= most, "{}: {seconds} s: {waited:?}", mode.name);
    }
    running.stop().await;
}

/// "Failed jobs are retained for inspection (up to 5000)." The 5001st evicts the oldest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_failed_job_5001_evicts_the_oldest() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        bench
            .write(|tx| {
                for n in 0..5000_i64 {
                    let id: JobId = tx.new_id();
                    tx.execute(
                        "INSERT INTO job (id, name, payload, state, run_at, created_at, finished_on, attempts_made)
                         VALUES (?1, ?2, '{}', 'failed', 0, 0, ?3, 4)",
                        params![id, format!("old-{n}"), n],
                    )?;
                }
                Ok(())
            })
            .await;
        let last = bench
            .write(|tx| {
                let id = enqueue(tx, JobDraft::now("no-such-job", json!({})))?;
                tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![id])?;
                Ok(id)
            })
            .await;
        eventually("the last attempt failed and the oldest job is gone", SOON, || async {
            bench.clock.advance(Duration::from_secs(1));
            // The job first: 5000 failed ones were there before it.
            let ended = bench.job(&last).await.state == JobState::Failed;
            (ended && bench.read(views::count_jobs).await.failed == 5000).then_some(())
        })
        .await;
        let kept: Vec<String> = bench
            .read(|tx| {
                let sql = "SELECT name FROM job WHERE state = 'failed' ORDER BY finished_on LIMIT 1";
                tx.query(sql, params![], |r| r.get("name"))
            })
            .await;
        assert_eq!(kept, ["old-1"], "{}", mode.name);
        bench.running.stop().await;
    }
}

/// The table "Job Types": every row is registered with its schedule, or stands in [`LATER`] and is not
/// registered. The schedules are UTC.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_of_the_table_is_there_with_its_schedule_or_comes_later() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let registry = &bench.running.app.registry;
        let mut faults = Vec::new();
        for (name, schedule) in JOBS {
            let later = LATER.iter().any(|(job, ..)| *job == name);
            match registry.find(name) {
                None if later => {}
                None => faults.push(format!("{name} is not registered and does not stand in LATER")),
                Some(_) if later => faults.push(format!("{name} is registered: take it out of LATER and test its rows")),
                Some(handler) => {
                    let found = handler.schedule().map(|s| (s.text().to_owned(), s.zone_name().to_owned()));
                    let wanted = schedule.map(|cron| (cron.to_owned(), "UTC".to_owned()));
                    if found != wanted {
                        faults.push(format!("{name} has the schedule {found:?}; the runbook says {wanted:?}"));
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        assert!(LATER.iter().all(|(job, ..)| JOBS.iter().any(|(name, _)| name == job)), "LATER has rows of the table");
        bench.running.stop().await;
    }
}

/// "`run-orphan-cleanup` | Daily 02:30 UTC | Clean up orphaned run artifacts": what nothing refers to
/// goes after 24 hours, what is younger stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_cleanup_removes_what_nothing_refers_to() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let folder = bench.running.app.config.data_dir.join("blobs/ab");
        std::fs::create_dir_all(&folder).expect("a folder");
        let stray = |last: char, modified: &str| {
            let path = folder.join(format!("ab{}{last}", "0".repeat(61)));
            let file = std::fs::File::create(&path).expect("a file");
            let since = Duration::from_millis(u64::try_from(at(modified).as_millis()).expect("after 1970"));
            file.set_modified(std::time::UNIX_EPOCH + since).expect("a time");
            path
        };
        let old = stray('1', "2031-03-01T02:29:59Z");
        let young = stray('2', "2031-03-01T02:30:01Z");
        bench.slot("run-orphan-cleanup", "2031-03-02T02:30:00Z").await;
        assert!(!old.exists(), "{}", mode.name);
        assert!(young.exists(), "{}", mode.name);
        bench.running.stop().await;
    }
}

/// "`role-expiry-check` | Hourly | Revoke expired role assignments": also one whose own end was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hourly_role_check_revokes_expired_assignments() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let id = bench.assignment(Some(at("2031-03-01T12:30:00Z")), None).await;
        bench.slot("role-expiry-check", "2031-03-01T12:00:00Z").await;
        assert_eq!(bench.state(&id).await, AssignmentState::Active, "{}", mode.name);
        bench.slot("role-expiry-check", "2031-03-01T13:00:00Z").await;
        assert_eq!(bench.state(&id).await, AssignmentState::Expired, "{}", mode.name);
        bench.running.stop().await;
    }
}

/// "`document-expiry-check` | Hourly | Revoke roles with expired documents".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hourly_document_check_revokes_roles_with_expired_documents() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let id = bench.assignment(None, Some(at("2031-03-01T12:30:00Z"))).await;
        bench.slot("document-expiry-check", "2031-03-01T12:00:00Z").await;
        assert_eq!(bench.state(&id).await, AssignmentState::Active, "{}", mode.name);
        bench.slot("document-expiry-check", "2031-03-01T13:00:00Z").await;
        let state = bench.state(&id).await;
        assert!(matches!(state, AssignmentState::Expired | AssignmentState::Revoked), "{}: {state:?}", mode.name);
        bench.running.stop().await;
    }
}

/// "`trigger-workflow` | Per-schedule cron | Start scheduled workflow runs".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_is_started_by_its_own_schedule() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let id = bench
            .write(|tx| {
                let end = json!({ "name": "Weekly", "steps": [{ "id": "a", "name": "A", "type": "end", "config": {} }] });
                let draft = definitions::ops::create(tx, &by(), serde_json::from_value(end).expect("a definition"))?;
                let workflow_id = definitions::ops::publish(tx, &by(), &draft.id)?.id;
                let draft = ScheduleDraft {
                    name: "Weekly".to_owned(),
                    workflow_id,
                    // Saturday noon in UTC, one in the afternoon in Berlin.
                    schedule: read_when("0 13 * * 6", "Europe/Berlin", tx.now())?,
                    input: Map::new(),
                    subject_id: None,
                    overlap: Overlap::Skip,
                    missed: MissedRuns::Once,
                };
                Ok(schedules::create(tx, &by(), &draft, false)?.row.name)
            })
            .await;
        bench.clock.set(at("2031-03-01T12:00:00Z"));
        eventually("the run is there", SOON, || async {
            let id = id.clone();
            let run = bench.read(move |tx| schedules::get(tx, &id)).await.workflow?.last_run_id?;
            (bench.run(&run).await.0 == RunStatus::Completed).then_some(())
        })
        .await;
        bench.running.stop().await;
    }
}

/// "Use the BullMQ dashboard or query Redis directly to inspect failed jobs": here without either tool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_jobs_can_be_inspected_and_retried_over_http() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let admin = bench.admin().await;
        let id = bench
            .write(|tx| {
                let id = enqueue(tx, JobDraft::now("no-such-job", json!({ "runId": "run_7" })))?;
                tx.execute("UPDATE job SET attempts_made = 3 WHERE id = ?1", params![id])?;
                Ok(id)
            })
            .await;
        let failed = eventually("the job failed", SOON, || async {
            admin.list("/api/jobs?state=failed").await.ok()?.into_iter().find(|job| job["id"] == id.to_string())
        })
        .await;
        assert_eq!((&failed["name"], &failed["payload"]["runId"]), (&json!("no-such-job"), &json!("run_7")), "{failed}");
        assert!(failed["failedReason"].as_str().expect("a reason").contains("no handler"), "{failed}");
        let again = admin.post(&format!("/api/jobs/{id}/retry"), json!({})).await.expect("retries");
        assert_ne!(again["state"], "failed", "{}: {again}", mode.name);
        bench.running.stop().await;
    }
}

// --- Graceful Shutdown ---

/// "The server handles SIGTERM and SIGINT signals": stops accepting, completes requests, drains the
/// worker, closes the stores, exits; in this order in its log, with status 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_signals_end_the_process_in_five_steps() {
    const STEPS: [&str; 5] = [
        "shutdown begins",
        "no new connections are accepted",
        "requests in flight are finished",
        "the worker is drained",
        "the databases are closed",
    ];
    for mode in modes().await {
        for signal in ["-TERM", "-INT"] {
            let dir = tempfile::tempdir().expect("a folder");
            let data = dir.path().join("data");
            let vars: Vec<(&str, &str)> = mode.vars.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let server = Server::start(&["serve"], &data, &vars).await;
            let port = server.port;
            let code = server.end(signal);
            assert_eq!(code, 0, "{} {signal}", mode.name);
            let log = std::fs::read_to_string(data.with_extension(format!("{port}.log"))).expect("the log");
            let places: Vec<usize> = STEPS.iter().map(|step| log.find(step).unwrap_or_else(|| panic!("{step}: {log}"))).collect();
            assert!(places.is_sorted(), "{} {signal}: {log}", mode.name);
            let open = std::net::TcpStream::connect(("127.0.0.1", port));
            assert!(open.is_err(), "nobody listens any more");
        }
    }
}

/// "The default grace period should be at least 30 seconds."
#[tokio::test]
async fn the_grace_period_is_30_seconds_unless_said_otherwise() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let config = config(&dir.path().join("data"), &mode, &[]);
        assert_eq!(config.operation.shutdown_grace, Duration::from_secs(30));
    }
}

// --- Database Pool Tuning ---

/// `DB_POOL_MAX` 10, `DB_POOL_MIN` 2, `DB_POOL_IDLE_TIMEOUT_MS` 30000, `DB_POOL_CONNECTION_TIMEOUT_MS` 5000.
#[tokio::test]
async fn the_pool_has_the_defaults_of_the_table() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let pool = config(&dir.path().join("data"), &mode, &[]).database;
        assert_eq!((pool.max, pool.min), (10, 2));
        assert_eq!((pool.idle_timeout, pool.connection_timeout), (Duration::from_secs(30), Duration::from_secs(5)));
    }
}

/// `DB_POOL_MAX`: "Maximum number of connections"; `DB_POOL_CONNECTION_TIMEOUT_MS`: "Fail if connection
/// cannot be acquired"; `DB_POOL_IDLE_TIMEOUT_MS`: "Close idle connections after this time", down to
/// `DB_POOL_MIN`: "Minimum idle connections"; "Monitor active connections with": the pool's figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_variable_of_the_pool_does_what_the_table_says() {
    // Connections are closed by wall time: both at once.
    let [embedded, redis] = modes().await;
    tokio::join!(the_pool_obeys_its_variables(embedded), the_pool_obeys_its_variables(redis));
}

async fn the_pool_obeys_its_variables(mode: Mode) {
    let vars = [
        ("DB_POOL_MAX", "5"),
        ("DB_POOL_MIN", "3"),
        ("DB_POOL_IDLE_TIMEOUT_MS", "1000"),
        ("DB_POOL_CONNECTION_TIMEOUT_MS", "300"),
    ];
    let dir = tempfile::tempdir().expect("a folder");
    let running = tenure::app::start(config(&dir.path().join("data"), &mode, &vars), Arc::new(SystemClock)).await.expect("starts");
    let store = running.app.store.clone();
    let open = || {
        let figures = store.pool_stats();
        figures.active + figures.idle
    };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let reads: Vec<_> = (0..4)
        .map(|_| {
            let (store, held) = (store.clone(), Arc::clone(&held));
            tokio::spawn(async move {
                store
                    .read(move |_| {
                        // Ends when the other end is dropped.
                        let _ = held.lock().expect("not poisoned").recv();
                        Ok(())
                    })
                    .await
            })
        })
        .collect();
    eventually("four readers are taken", SOON, || async { (store.pool_stats().active >= 4).then_some(()) }).await;
    assert!(open() <= 5, "{}: {:?}", mode.name, store.pool_stats());
    let began = SystemClock.now();
    let refused = store.read(|_| Ok(())).await;
    let waited = SystemClock.now().since(began);
    assert!(matches!(refused, Err(Problem::Unavailable { .. })), "{refused:?}");
    assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(3), "{waited:?}");
    drop(release);
    for read in reads {
        // The one that could not be served in time has said so.
        let _ = read.await.expect("joins");
    }
    eventually("idle connections close down to the minimum", Duration::from_secs(45), || async {
        (open() == 3).then_some(())
    })
    .await;
    running.stop().await;
}

// --- Log Retention ---

/// "System logs are stored in the `system_log` table. A daily cleanup job purges entries older than
/// `LOG_RETENTION_DAYS` (default: 30)." Exactly as old stays; one millisecond more goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_purge_takes_entries_older_than_the_retention() {
    for mode in modes().await {
        for (vars, days) in [(&[][..], 30), (&[("LOG_RETENTION_DAYS", "7")][..], 7)] {
            let bench = Bench::start(&mode, vars).await;
            // The slot's own instant is when the job runs: the clock stands.
            let limit = at("2031-03-02T03:00:00Z").minus(Duration::from_secs(days * 86_400));
            add_log_entries(&bench, limit).await;
            bench.slot("log-retention", "2031-03-02T03:00:00Z").await;
            assert_eq!(log_entries(&bench).await, ["younger", "as old"], "{}", mode.name);
            bench.running.stop().await;
        }
    }
}

async fn add_log_entries(bench: &Bench, limit: Timestamp) {
    bench
        .running
        .app
        .logs
        .write(move |tx| {
            for (message, at) in [("older", limit.minus(Duration::from_millis(1))), ("as old", limit), ("younger", limit.plus(Duration::from_millis(1)))] {
                tx.execute(
                    "INSERT INTO system_log (at, level, target, message, fields) VALUES (?1, 'info', 'runbook', ?2, '{}')",
                    params![at, message],
                )?;
            }
            Ok(())
        })
        .await
        .expect("stored");
}

async fn log_entries(bench: &Bench) -> Vec<String> {
    let sql = "SELECT message FROM system_log WHERE target = 'runbook' ORDER BY at DESC";
    bench.running.app.logs.read(move |tx| tx.query(sql, params![], |r| r.get("message"))).await.expect("reads")
}

/// "Manual purge is available via Admin > Logging > Purge Now in the web UI", which asks this route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purge_now_takes_the_same_entries_at_once() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let admin = bench.admin().await;
        add_log_entries(&bench, bench.clock.now().minus(Duration::from_secs(30 * 86_400))).await;
        let answer = admin.post("/api/logs/purge", json!({})).await.expect("purges");
        assert_eq!(answer["purged"], 1, "{}: {answer}", mode.name);
        assert_eq!(log_entries(&bench).await, ["younger", "as old"]);
        bench.running.stop().await;
    }
}

// --- Configuration Validation ---

/// "The server validates all configuration at startup. Invalid values (e.g., `PORT=abc`, `DB_POOL_MAX=0`)
/// produce clear error messages and prevent startup."
#[tokio::test]
async fn invalid_values_prevent_a_start_and_say_why() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let output = serve(&data, &mode, &[("PORT", "abc"), ("DB_POOL_MAX", "0")]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        for line in ["PORT: got \"abc\"; expected ", "DB_POOL_MAX: got \"0\"; expected "] {
            assert!(text.lines().any(|l| l.contains(line)), "{}: {text}", mode.name);
        }
        assert!(!data.exists(), "nothing was started");
    }
}

/// "In production, the server also validates that required secrets are not using default/fallback values."
#[tokio::test]
async fn production_refuses_default_and_missing_secrets() {
    for mode in modes().await {
        let dir = tempfile::tempdir().expect("a folder");
        let vars = [("APP_ENV", "production"), ("SESSION_SECRET", "changeme-changeme-changeme-0123456789")];
        let output = serve(&dir.path().join("data"), &mode, &vars);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        for name in ["SESSION_SECRET", "CONNECTOR_ENCRYPTION_KEY", "AUDIT_SIGNING_KEY"] {
            assert!(text.contains(&format!("{name}: expected ")), "{}: {text}", mode.name);
        }
        assert!(!text.contains("changeme"), "no secret is printed: {text}");
    }
}

fn serve(data: &Path, mode: &Mode, vars: &[(&str, &str)]) -> std::process::Output {
    let mut serve: Command = command(&["serve"]);
    serve.env("DATA_DIR", data).envs(mode.vars.iter().map(|(n, v)| (*n, v.as_str()))).envs(vars.iter().copied());
    serve.output().expect("runs")
}
