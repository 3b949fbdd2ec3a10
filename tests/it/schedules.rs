//! Schedules: a whole year of them, and what people do with them over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tenure::app::App;
use tenure::base::clock::Clock as _;
use tenure::base::cron::Schedule;
use tenure::base::time::Timestamp;
use tenure::config::{Config, Reader};
use tenure::params;
use tenure::platform::clock::{ManualClock, SeededIds, SystemClock};
use tenure::platform::queue::schedule::{MissedRuns, ScheduleKind, SchedulePlan, put};
use tenure::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler, Registry, names};
use tenure::platform::store::{Durability, MigrationSet, Options, Store};

use crate::support::{Server, http};
use crate::support::people::set_up;

/// A job of the product, without its work.
struct Stand {
    name: &'static str,
    schedule: Option<Schedule>,
}

impl JobHandler for Stand {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schedule(&self) -> Option<Schedule> {
        self.schedule.clone()
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// Schedules of people, with the zones that make trouble.
const MADE: [(&str, &str, &str); 9] = [
    ("sch_berlin_gap", "30 2 * * *", "Europe/Berlin"),
    ("sch_berlin_hours", "0,20,40 1-3 * * *", "Europe/Berlin"),
    ("sch_berlin_hourly", "15 * * * *", "Europe/Berlin"),
    ("sch_new_york_sunday", "0 2 * * 0", "America/New_York"),
    ("sch_new_york_night", "45 1,2 * * *", "America/New_York"),
    ("sch_kolkata", "5 6 1,15 * *", "Asia/Kolkata"),
    ("sch_lord_howe", "15,45 1-2 * * *", "Australia/Lord_Howe"),
    ("sch_lord_howe_new_year", "0 0 1 1 *", "Australia/Lord_Howe"),
    ("sch_utc_leap", "59 23 28-31 2,12 *", "UTC"),
];

/// The values of a field of a cron expression; written apart from the product's reader.
fn values(field: &str) -> [bool; 60] {
    let mut fits = [false; 60];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(r, s)| (r, s.parse().expect("a step")));
        let number = |text: &str| text.parse::<usize>().expect("a number");
        let (from, to) = match range.split_once('-') {
            Some((a, b)) => (number(a), number(b)),
            None if range == "*" => (0, 59),
            None => (number(range), number(range)),
        };
        (from..=to).step_by(step).for_each(|value| fits[value] = true);
    }
    fits
}

/// Every minute that the wall clock of a zone goes by, counted from 1970, with the instant at which it first
/// shows it or, when it leaps over it, a later one.
fn minutes(zone: &str, from: Timestamp, to: Timestamp) -> Vec<(i64, Timestamp)> {
    let zone = TimeZone::get(zone).expect("a zone");
    let offset_at = |at: Timestamp| i64::from(zone.to_offset(at.to_jiff()).seconds()) / 60;
    let mut offset = offset_at(from);
    let mut reached = from.as_millis() / 60_000 + offset;
    let mut found = Vec::new();
    for at in (from.as_millis()..to.as_millis()).step_by(60_000).map(Timestamp::from_millis) {
        // Clocks change on a quarter hour.
        if at.as_millis() % 900_000 == 0 {
            offset = offset_at(at);
        }
        let shown = at.as_millis() / 60_000 + offset;
        while reached < shown {
            reached += 1;
            found.push((reached, at));
        }
    }
    found
}

/// The instants of the minutes that a cron expression names.
fn expected(cron: &str, minutes: &[(i64, Timestamp)]) -> Vec<Timestamp> {
    let fields: Vec<[bool; 60]> = cron.split(' ').map(values).collect();
    let is = |field: usize, value: i64| fields[field][usize::try_from(value).expect("not negative")];
    let is_day = |day: i64| {
        let date = jiff::civil::date(1970, 1, 1) + jiff::SignedDuration::from_hours(24 * day);
        let weekday = date.weekday().to_sunday_zero_offset();
        is(2, date.day().into()) && is(3, date.month().into()) && is(4, weekday.into())
    };
    let named = minutes.iter().filter(|(m, _)| is(0, m % 60) && is(1, m / 60 % 24) && is_day(m / 1440));
    let mut slots: Vec<Timestamp> = named.map(|(_, at)| *at).collect();
    slots.dedup();
    slots
}

/// Every schedule that Tenure itself has, as the product registers it.
async fn system_schedules() -> BTreeMap<&'static str, Schedule> {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let reader = Reader::new([("DATA_DIR".to_owned(), data.display().to_string())]);
    let mut config = Config::from_reader(reader).expect("valid").0;
    let ids = Arc::new(SeededIds::new(1));
    let claim = tenure::config::data_dir::DataDir::claim(&config.data_dir).expect("a data directory");
    claim.make_keys(&mut config.keys, ids.as_ref()).expect("keys");
    let app = App::open(config, Arc::new(SystemClock), ids).await.expect("opens");
    let found = app.registry.iter().filter_map(|h| Some((h.name(), h.schedule()?))).collect();
    app.close().await;
    found
}

fn registry(system: &BTreeMap<&'static str, Schedule>) -> Registry {
    let own = system.iter().map(|(name, schedule)| Stand { name, schedule: Some(schedule.clone()) });
    let all = own.chain([Stand { name: names::TRIGGER_WORKFLOW, schedule: None }]);
    Registry::new(all.map(|stand| Arc::new(stand) as Arc<dyn JobHandler>))
}

/// Moments of restarts, the same in every run of the test.
fn seeded_moments(from: Timestamp, to: Timestamp, count: usize) -> BTreeSet<Timestamp> {
    let span = u64::try_from(to.as_millis() - from.as_millis()).expect("a span");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut moments = BTreeSet::new();
    while moments.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut offset = (state >> 16) % span;
        if moments.len() % 3 == 0 {
            // On the quarter hour itself, where most slots are.
            offset -= offset % 900_000;
        }
        moments.insert(Timestamp::from_millis(from.as_millis() + i64::try_from(offset).expect("fits")));
    }
    moments
}

async fn make_schedules(store: &Store) {
    store
        .write(|tx| {
            for (name, cron, zone) in MADE {
                let schedule = Schedule::in_zone(cron, TimeZone::get(zone).expect("a zone")).expect("valid");
                put(
                    tx,
                    &SchedulePlan {
                        name,
                        kind: ScheduleKind::Workflow,
                        job: names::TRIGGER_WORKFLOW,
                        payload: &json!({ "scheduleId": name }),
                        schedule: &schedule,
                        missed: MissedRuns::Once,
                        paused: false,
                    },
                )?;
            }
            Ok(())
        })
        .await
        .expect("stored");
}

/// 2031, with a hundred restarts, some of them on a slot's own instant.
#[tokio::test]
async fn in_a_year_with_a_hundred_restarts_each_slot_fires_exactly_once() {
    let (from, to): (Timestamp, Timestamp) =
        ("2031-01-01T00:00:00Z".parse().expect("valid"), "2032-01-01T00:00:00Z".parse().expect("valid"));
    let system = system_schedules().await;
    assert!(system.contains_key(names::STUCK_RUN_RECOVERY), "{system:?}");
    // In memory where that is possible: 37,000 moments with a commit each.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
    let clock = Arc::new(ManualClock::at(from));
    let options = Options { durability: Durability::Normal, ..Options::small(dir.path().join("tenure.db")) };
    let store = Store::open(&options, &MigrationSet::tenure(), clock.clone(), Arc::new(SeededIds::new(1)), None)
        .expect("opens");
    let mut queue = InlineQueue::start(store.clone(), registry(&system)).await.expect("starts");
    make_schedules(&store).await;

    let mut restarts = seeded_moments(from, to, 100);
    let mut restarted = 0;
    loop {
        let slot: Option<Timestamp> =
            store.read(|tx| tx.scalar("SELECT min(next_slot_at) FROM job_schedule", params![])).await.expect("reads");
        let slot = slot.expect("there is always a next slot");
        let restart = restarts.first().copied().filter(|at| *at <= slot);
        let now = restart.unwrap_or(slot);
        if now >= to {
            break;
        }
        clock.set(now.max(clock.now()));
        if restart.is_none() {
            queue.next_instant().await.expect("fires what is due");
            continue;
        }
        restarts.pop_first();
        restarted += 1;
        // Now and then jobs run between restarts; otherwise they are left to the next process.
        if restarted <= 5 {
            queue.run_due().await.expect("runs what fired");
        }
        drop(queue);
        queue = InlineQueue::start(store.clone(), registry(&system)).await.expect("starts again");
    }
    assert_eq!(restarted, 100);

    let rows: Vec<(String, Timestamp, bool)> = store
        .read(|tx| {
            tx.query("SELECT schedule, run_at, late FROM job", params![], |r| {
                Ok((r.get("schedule")?, r.get("run_at")?, r.get("late")?))
            })
        })
        .await
        .expect("reads");
    assert!(rows.iter().all(|(.., late)| !late), "nothing was missed");
    let mut fired: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    for (name, slot, _) in rows {
        fired.entry(name).or_default().push(slot);
    }
    let own = system.iter().map(|(name, s)| (*name, s.text().to_owned(), "UTC"));
    let made = MADE.into_iter().map(|(name, cron, zone)| (name, cron.to_owned(), zone));
    let mut zones = BTreeMap::new();
    for (name, cron, zone) in own.chain(made) {
        let mut found = fired.remove(name).unwrap_or_default();
        found.sort_unstable();
        let minutes = zones.entry(zone).or_insert_with(|| minutes(zone, from, to));
        let expected: Vec<Timestamp> = expected(&cron, minutes);
        let differs = found.iter().zip(&expected).find(|(a, b)| a != b);
        assert!(found == expected, "{name}: {} slots fired, {} expected; first difference {differs:?}", found.len(), expected.len());
    }
    assert!(fired.is_empty(), "{:?}", fired.keys());
    store.close().await;
}

async fn ask(server: &Server, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = http().request(method, format!("{}{path}", server.base)).bearer_auth(token);
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_are_made_shown_run_and_removed_over_http() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let definition = json!({ "name": "Review", "steps": [{ "id": "a", "name": "A", "type": "end", "config": {} }] });
    let (_, draft) = ask(&server, &token, "POST", "/api/workflows", json!({ "definition": definition })).await;
    let workflow = draft["id"].as_str().expect("an id").to_owned();
    let body = json!({ "name": "Weekly", "workflowId": workflow, "cron": "0 9 * * 1", "timezone": "Europe/Berlin" });
    let (status, refused) = ask(&server, &token, "POST", "/api/schedules", body.clone()).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("workflowId")), "{refused}");
    let (status, _) = ask(&server, &token, "POST", &format!("/api/workflows/{workflow}/publish"), json!({})).await;
    assert_eq!(status, 200);
    let (status, made) = ask(&server, &token, "POST", "/api/schedules", body.clone()).await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("sch_") && made["nextRunAt"].is_string() && made["late"].is_null(), "{made}");
    assert_eq!((&made["kind"], &made["workflow"]["workflowName"]), (&json!("workflow"), &json!("Review")));

    for (kind, name) in [("system", names::STUCK_RUN_RECOVERY), ("workflow", "Weekly")] {
        let (_, list) = ask(&server, &token, "GET", &format!("/api/schedules?kind={kind}"), Value::Null).await;
        let items = list["items"].as_array().expect("items");
        assert!(items.iter().all(|i| i["kind"] == kind) && items.iter().any(|i| i["name"] == name), "{list}");
    }
    let preview = "/api/schedules/preview?cron=30%202%20*%20*%20*&timezone=Europe%2FBerlin";
    let (_, ahead) = ask(&server, &token, "GET", preview, Value::Null).await;
    assert_eq!(ahead["items"].as_array().map(Vec::len), Some(5), "{ahead}");
    for (query, field, words) in [
        ("cron=61%20*%20*%20*%20*", "cron", "expected five cron fields"),
        ("cron=0%200%2030%202%20*", "cron", "there is no such day"),
        ("cron=0%200%20*%20*%20*&timezone=Mars", "timezone", "IANA"),
        ("timezone=UTC", "query", "cron"),
    ] {
        let (status, problem) = ask(&server, &token, "GET", &format!("/api/schedules/preview?{query}"), Value::Null).await;
        let error = &problem["errors"][0];
        assert_eq!((status, &error["field"]), (422, &json!(field)), "{problem}");
        assert!(error["message"].as_str().expect("text").contains(words), "{problem}");
    }

    let path = format!("/api/schedules/{id}");
    let (_, rests) = ask(&server, &token, "POST", &format!("{path}/pause"), json!({})).await;
    assert_eq!((&rests["paused"], &rests["nextRunAt"]), (&json!(true), &Value::Null));
    let changed = json!({ "name": "Daily", "workflowId": workflow, "cron": "0 9 * * *", "overlap": "queue", "missed": "skip" });
    let (status, changed) = ask(&server, &token, "PUT", &path, changed).await;
    assert_eq!((status, &changed["name"], &changed["timezone"], &changed["paused"]), (200, &json!("Daily"), &json!("UTC"), &json!(true)));
    let (_, goes_on) = ask(&server, &token, "POST", &format!("{path}/resume"), json!({})).await;
    assert!(goes_on["nextRunAt"].as_str().expect("text").ends_with("T09:00:00.000Z"), "{goes_on}");

    for of in [id.as_str(), names::ROLE_EXPIRY_CHECK] {
        let (status, job) = ask(&server, &token, "POST", &format!("/api/schedules/{of}/run"), json!({})).await;
        assert_eq!(status, 202, "{job}");
        let shown = format!("/api/schedules/{of}");
        let done = crate::support::eventually("the job by hand is done", std::time::Duration::from_secs(10), || async {
            let (_, row) = ask(&server, &token, "GET", &shown, Value::Null).await;
            Some(row).filter(|row| row["lastState"] == "completed")
        });
        assert_eq!(done.await["lastJobId"], job["jobId"]);
    }
    let (_, shown) = ask(&server, &token, "GET", &path, Value::Null).await;
    assert_eq!(shown["workflow"]["lastResult"], "started", "{shown}");
    let (_, run) = ask(&server, &token, "GET", &format!("/api/runs/{}", shown["workflow"]["lastRunId"].as_str().expect("an id")), Value::Null).await;
    assert_eq!(run["status"], "completed", "{run}");

    for (method, what, expected) in [("POST", "/pause", 409), ("DELETE", "", 409)] {
        let own = format!("/api/schedules/{}{what}", names::ROLE_EXPIRY_CHECK);
        let (status, problem) = ask(&server, &token, method, &own, json!({})).await;
        assert_eq!(status, expected, "{problem}");
    }
    assert_eq!(ask(&server, &token, "DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(ask(&server, &token, "GET", &path, Value::Null).await.0, 404);
    let (_, audit) = ask(&server, &token, "GET", "/api/audit?limit=200", Value::Null).await;
    let actions: Vec<&str> = audit["items"].as_array().expect("items").iter().filter_map(|e| e["action"].as_str()).collect();
    for action in ["created", "paused", "updated", "resumed", "run", "triggered", "deleted"] {
        assert!(actions.contains(&format!("schedule.{action}").as_str()), "{action}: {actions:?}");
    }
}
