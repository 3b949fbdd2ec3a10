//! The runbook's section "BullMQ Job Processing".
//!
//! A job that a later part of the product brings stands in [`LATER`] until it is there.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{MONA, ROSA};
use tenure::base::id::{ApprovalId, JobId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::access::assignments::AssignmentState;
use tenure::features::schedules::ops as schedules;
use tenure::features::schedules::{Overlap, ScheduleDraft, read_when};
use tenure::features::access::entitlements::ops::{NewEntitlement, create_entitlement};
use tenure::features::access::entitlements::{Call, ListCall};
use tenure::features::connectors::{Kind, NewConnector, ops::create_connector};
use tenure::features::identity::people::store::get_person;
use tenure::features::workflow::runs::{Beginning, RunStatus, ops as runs};
use tenure::features::workflow::{approvals, definitions};
use tenure::params;
use tenure::platform::clock::SystemClock;
use tenure::platform::queue::schedule::MissedRuns;
use tenure::platform::queue::views::{self, JobState};
use tenure::platform::queue::{JobDraft, enqueue, names};

use super::bench::{Bench, Mode, SOON, at, by, config, modes};
use crate::support::eventually;

/// Jobs of the runbook that a later part brings: the job, the runbook's words, the part.
const LATER: [(&str, &str, &str); 1] = [
    ("deliver-scheduled-report", "Generate and email scheduled reports", "reports"),
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

/// "`entitlement-reconciliation` | Daily 02:00 UTC | Reconcile entitlements with connectors": what a
/// connector has and nobody was given is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nightly_reconciliation_compares_entitlements_with_their_connectors() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let sealer = bench.running.app.connectors.secrets().clone();
        bench
            .write(move |tx| {
                let new = NewConnector {
                    name: "Directory".to_owned(),
                    kind: Kind::Directory,
                    config: json!({}),
                    policy: Default::default(),
                    mock: false,
                    secrets: Default::default(),
                };
                let connector = create_connector(tx, &by(), new, &sealer)?.id;
                for sql in [
                    "INSERT INTO directory_account (connector_id, name, attributes, created_at) VALUES (?1, 'ghost', '{}', 0)",
                    "INSERT INTO directory_group (connector_id, name, created_at) VALUES (?1, 'readers', 0)",
                    "INSERT INTO directory_member (connector_id, group_name, account_name, added_at) VALUES (?1, 'readers', 'ghost', 0)",
                ] {
                    tx.execute(sql, params![connector])?;
                }
                let member = json!({ "account": "{{ person.attributes.uid }}", "group": "readers" });
                let call = |command: &str| Call { command: command.to_owned(), params: member.clone() };
                let new = NewEntitlement {
                    name: "Readers".to_owned(),
                    connector_id: connector,
                    provision: call("add_member"),
                    deprovision: call("remove_member"),
                    check: Some(call("has_member")),
                    list: Some(ListCall {
                        command: "list_members".to_owned(),
                        params: json!({ "group": "readers" }),
                        key: "{{ provision.params.account }}".to_owned(),
                        ignore_case: false,
                    }),
                    reconcile: Default::default(),
                };
                create_entitlement(tx, &by(), new)
            })
            .await;
        bench.slot("entitlement-reconciliation", "2031-03-02T02:00:00Z").await;
        let found = eventually("the reconciliation is over", SOON, || async {
            let read = bench.read(|tx| {
                let sql = "SELECT r.kind || ' ' || r.status || ' ' || i.account || ' ' || i.action || ' ' || i.state AS told
                           FROM reconciliation r JOIN reconciliation_plan p ON p.reconciliation_id = r.id
                           JOIN reconciliation_item i ON i.plan_no = p.no WHERE r.status <> 'running'";
                tx.query_opt(sql, params![], |r| r.get::<String>("told"))
            });
            read.await
        })
        .await;
        assert_eq!(found, "scheduled completed ghost adopt reported", "{}", mode.name);
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

/// An approval that waits for Rosa, opened now.
async fn overdue(bench: &Bench, escalation: Value) -> ApprovalId {
    create_people(&bench.running.app.store, &bench.running.app.identity.passwords).await.expect("people");
    bench
        .write(move |tx| {
            let review = json!({ "name": "Review", "steps": [{ "id": "a", "name": "A", "type": "approval",
                "config": { "title": "Please", "approvers": [{ "person": ROSA }], "escalation": escalation } }] });
            let draft = definitions::ops::create(tx, &by(), serde_json::from_value(review).expect("a definition"))?;
            let workflow = definitions::ops::publish(tx, &by(), &draft.id)?.id;
            runs::start(tx, &by(), &workflow, Beginning::default())?;
            Ok(approvals::store::list_approvals(tx, &Default::default(), None, 1)?.remove(0).id)
        })
        .await
}

/// "`escalation-reminder` | Delayed | Send approval reminders": at its minute, to who has not decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approver_is_reminded_at_the_minute() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        overdue(&bench, json!({ "remindAfterMinutes": [30] })).await;
        bench.clock.set(at("2031-03-01T12:19:59.999Z"));
        bench.clock.set(at("2031-03-01T12:20:00Z"));
        let told: Vec<(String, Timestamp)> = eventually("Rosa is reminded", SOON, || async {
            let told = bench
                .read(|tx| {
                    let sql = "SELECT p.email, n.created_at FROM notification n JOIN person p ON p.id = n.person_id
                               WHERE n.subject LIKE 'Reminder%'";
                    tx.query(sql, params![], |r| Ok((r.get("email")?, r.get("created_at")?)))
                })
                .await;
            Some(told).filter(|t| !t.is_empty())
        })
        .await;
        assert_eq!(told, [(ROSA.to_owned(), at("2031-03-01T12:20:00Z"))], "{}", mode.name);
        bench.running.stop().await;
    }
}

/// "`escalation-reassignment` | Delayed | Reassign overdue approvals".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overdue_approval_is_reassigned() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        let to = json!({ "reassign": { "afterMinutes": 60, "to": [{ "person": MONA }] } });
        let id = overdue(&bench, to).await;
        bench.clock.set(at("2031-03-01T12:50:00Z"));
        let holders: Vec<String> = eventually("it is passed on", SOON, || async {
            let id = id.clone();
            let holders = bench
                .read(move |tx| {
                    let approval = approvals::store::get_approval(tx, &id)?;
                    let names = approval.open_seats().map(|s| Ok(get_person(tx, &s.person)?.email));
                    names.collect::<Result<Vec<String>, Problem>>()
                })
                .await;
            Some(holders).filter(|names| names != &[ROSA])
        })
        .await;
        assert_eq!(holders, [MONA], "{}", mode.name);
        bench.running.stop().await;
    }
}

/// An id that there is not fails with a clear reason and takes its four attempts like any failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_escalation_of_nothing_fails_after_four_attempts_and_says_why() {
    for mode in modes().await {
        let bench = Bench::start(&mode, &[]).await;
        for name in [names::ESCALATION_REMINDER, names::ESCALATION_REASSIGNMENT] {
            let payload = json!({ "approvalId": "apr_00000000000000000000000000", "level": 1 });
            let id = bench.write(move |tx| enqueue(tx, JobDraft::now(name, payload.clone()))).await;
            let job = eventually("the job failed", SOON, || async {
                bench.clock.advance(Duration::from_secs(1));
                let job = bench.job(&id).await;
                (job.state == JobState::Failed).then_some(job)
            })
            .await;
            assert_eq!(job.attempts_made, 4, "{} {name}", mode.name);
            let reason = job.failed_reason.expect("a reason");
            assert!(reason.contains("There is no approval apr_00000000000000000000000000"), "{reason}");
        }
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
