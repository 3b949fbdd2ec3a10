//! A wrong clock revokes nobody: what time would bring about waits until an administrator confirms the time.

mod purges;
mod starts;
mod waits;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, PASSWORD};
use tenure::base::access::Principal;
use tenure::base::clock::Clock as _;
use tenure::base::id::{AssignmentId, JobId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::config::{Config, Reader};
use tenure::features::access::assignments::ops::{NewAssignment, grant};
use tenure::features::access::documents::ops::{NewDocument, approve, submit};
use tenure::features::access::roles::ops::{NewRole, create_role};
use tenure::features::identity::people;
use tenure::params;
use tenure::platform::clock::ShiftedClock;
use tenure::platform::queue::views::{JobState, get_job};
use tenure::platform::queue::{JobDraft, enqueue, names};
use tenure::platform::store::Tx;

use crate::support::redis::RedisServer;
use crate::support::{eventually, free_port, http};

const BEGIN: &str = "2031-03-01T12:00:00Z";
const DAY: Duration = Duration::from_secs(86_400);
const SOON: Duration = Duration::from_secs(30);
/// What administrators are told of a doubt.
const TOLD: &str = "The clock is in doubt: no access ends by itself";

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// A server in the process of the test, whose clock can be moved and set wrong.
struct World {
    running: Running,
    clock: Arc<ShiftedClock>,
    folder: tempfile::TempDir,
    redis: Option<RedisServer>,
}

fn config(data: &Path, redis: Option<&RedisServer>) -> Config {
    let mut vars = vec![
        ("DATA_DIR".to_owned(), data.display().to_string()),
        ("PORT".to_owned(), free_port().to_string()),
    ];
    for rate in ["ADDRESS", "SIGN_IN", "ACCOUNT"] {
        vars.push((format!("RATE_LIMIT_{rate}_PER_MIN"), "0".to_owned()));
    }
    vars.extend(redis.map(|r| ("REDIS_URL".to_owned(), r.url())));
    Config::from_reader(Reader::new(vars)).expect("valid").0
}

fn clock_at(now: Timestamp) -> Arc<ShiftedClock> {
    let clock = Arc::new(ShiftedClock::default());
    clock.set(now);
    clock
}

impl World {
    async fn start(redis: Option<RedisServer>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = clock_at(at(BEGIN));
        let config = config(&folder.path().join("data"), redis.as_ref());
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        Self { running, clock, folder, redis }
    }

    /// Ends the server and starts it again with a clock that shows `now`, by which nothing was set.
    async fn restart_at(self, now: Timestamp) -> Self {
        let Self { running, folder, redis, .. } = self;
        running.stop().await;
        let clock = clock_at(now);
        let config = config(&folder.path().join("data"), redis.as_ref());
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        Self { running, clock, folder, redis }
    }

    fn outbox(&self) -> PathBuf {
        self.folder.path().join("data/outbox")
    }

    async fn write<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.write(f).await.expect("stored")
    }

    async fn read<T: Send + 'static>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.read(f).await.expect("read")
    }

    async fn count(&self, sql: &'static str) -> u64 {
        self.read(move |tx| tx.scalar(sql, params![])).await
    }

    /// Waits until a count is what it should be.
    async fn counts(&self, what: &str, sql: &'static str, wanted: u64) {
        let wanted_is = || async { (self.count(sql).await == wanted).then_some(()) };
        eventually(&format!("{wanted} {what}"), SOON, wanted_is).await;
    }

    /// Somebody signed in, now: a session does not outlive every move of the clock.
    async fn admin(&self) -> Client {
        Client::sign_in(&http(), &self.running.base, ADMIN, PASSWORD).await.expect("signs in")
    }

    async fn clock_shown(&self) -> Value {
        self.admin().await.get("/api/clock").await.expect("the clock")
    }

    async fn confirm(&self) -> Value {
        let body = json!({ "reason": "Compared with the wall." });
        self.admin().await.post("/api/clock/confirm", body).await.expect("is confirmed")
    }

    /// Runs a job to its end.
    async fn run(&self, name: &'static str) {
        let id: JobId = self.write(move |tx| enqueue(tx, JobDraft::now(name, json!({})))).await;
        eventually(&format!("{name} is complete"), SOON, || async {
            let id = id.clone();
            (self.read(move |tx| get_job(tx, &id)).await.state == JobState::Completed).then_some(())
        })
        .await;
    }

    /// Gives Ada a role until an instant, resting on a document that ends then if `document` says when.
    async fn given(&self, starts_at: Timestamp, expires_at: Option<Timestamp>, document: Option<Timestamp>) -> AssignmentId {
        self.write(move |tx| {
            let by = Principal::system("test");
            let ada = people::store::find_by_email(tx, ADA)?.expect("Ada").id;
            let mut documents = Vec::new();
            if let Some(expires_at) = document {
                let new = NewDocument {
                    kind: "certificate".to_owned(),
                    person: ada.clone(),
                    valid_from: tx.now(),
                    expires_at,
                    run: None,
                };
                let document = submit(tx, &by, new)?;
                documents.push(approve(tx, &by, &document.id, None)?.id);
            }
            let role = create_role(
                tx,
                &by,
                NewRole {
                    name: format!("Role {}", tx.random()),
                    description: String::new(),
                    owner_id: None,
                    default_duration_days: None,
                    required_document_types: if document.is_some() { vec!["certificate".to_owned()] } else { Vec::new() },
                    entitlement_ids: Vec::new(),
                },
            )?;
            let new = NewAssignment {
                person: ada,
                role: role.id,
                reason: "test".to_owned(),
                run: None,
                starts_at,
                expires_at,
                documents,
            };
            grant(tx, &by, new)
        })
        .await
    }

    async fn state_of(&self, id: &AssignmentId) -> String {
        let id = id.clone();
        self.read(move |tx| tx.scalar("SELECT state FROM assignment WHERE id = ?1", params![id])).await
    }

    async fn becomes(&self, id: &AssignmentId, state: &str) {
        let there = || async { (self.state_of(id).await == state).then_some(()) };
        eventually(&format!("{id} is {state}"), SOON, there).await;
    }

    async fn audited(&self, action: &'static str) -> u64 {
        self.read(move |tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = ?1", params![action])).await
    }
}

const LIVE: &str = "SELECT count(*) FROM assignment WHERE state = 'active'";
const APPROVED: &str = "SELECT count(*) FROM document WHERE state = 'approved'";
const STANDING_BACK: &str = "SELECT count(*) FROM job WHERE due_from IS NOT NULL AND active = 0";

/// Fifty people's access, half of it resting on documents, and one that is to begin.
struct Fifty {
    ends_soon: AssignmentId,
    begins: AssignmentId,
}

async fn fifty(world: &World) -> Fifty {
    for _ in 0..24 {
        world.given(at(BEGIN), Some(at("2031-06-01T00:00:00Z")), None).await;
    }
    for _ in 0..25 {
        world.given(at(BEGIN), None, Some(at("2031-05-01T00:00:00Z"))).await;
    }
    let ends_soon = world.given(at(BEGIN), Some(at("2031-03-02T12:00:00Z")), None).await;
    let begins = world.given(at("2031-03-03T12:00:00Z"), None, None).await;
    Fifty { ends_soon, begins }
}

async fn health(world: &World) -> (u16, Value) {
    let answer = http().get(format!("{}/api/health", world.running.base)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn nobody_is_revoked(world: &World) {
    world.counts("jobs stand back", STANDING_BACK, 25 + 25 + 1).await;
    for check in [names::ROLE_EXPIRY_CHECK, names::DOCUMENT_EXPIRY_CHECK, names::STUCK_RUN_RECOVERY] {
        world.run(check).await;
    }
    assert_eq!((world.count(LIVE).await, world.count(APPROVED).await), (50, 25));
}

async fn an_administrator_is_asked(world: &World) {
    let admin = world.admin().await;
    eventually("the administrator is told", SOON, || async {
        let all = admin.list("/api/notifications?limit=200").await.ok()?;
        (all.iter().filter(|n| n["subject"] == TOLD).count() == 1).then_some(())
    })
    .await;
    eventually("the administrator has a mail", SOON, || async {
        let mails = std::fs::read_dir(world.outbox()).ok()?.filter_map(|e| std::fs::read_to_string(e.ok()?.path()).ok());
        mails.into_iter().any(|mail| mail.contains("The clock is in doubt") && mail.contains(ADMIN)).then_some(())
    })
    .await;
    let shown = world.clock_shown().await;
    assert_eq!((&shown["held"], &shown["kind"]), (&json!(true), &json!("moved")), "{shown}");
    let why = shown["why"].as_str().expect("a reason");
    assert!(why.contains("2099-01-01T00:00") && why.contains("2031-03-01T12:0"), "{why}");
    let (status, health) = health(world).await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")), "{health}");
    assert_eq!(health["checks"]["clock"]["status"], "warning", "{health}");
    assert_eq!(world.audited("clock.doubted").await, 1);
}

/// What people do goes on while the clock is in doubt.
async fn a_revocation_by_hand_works(world: &World) {
    let id = world.given(world.clock.now(), None, None).await;
    let path = format!("/api/assignments/{id}/revoke");
    world.admin().await.post(&path, json!({ "reason": "left the project" })).await.expect("is revoked");
    world.becomes(&id, "revoked").await;
}

async fn back_in_2031(world: &World, fifty: &Fifty) {
    world.clock.jump(at("2031-03-01T12:10:00Z"));
    assert_eq!(world.clock_shown().await["held"], true, "it takes an administrator's word");
    let confirmed = world.confirm().await;
    assert_eq!(confirmed["held"], false, "{confirmed}");
    let again = world.admin().await.post("/api/clock/confirm", json!({ "reason": "twice" })).await;
    assert!(matches!(&again, Err(p) if p.to_string().contains("not in doubt")), "{again:?}");
    world.counts("jobs stand back", STANDING_BACK, 0).await;
    for check in [names::ROLE_EXPIRY_CHECK, names::DOCUMENT_EXPIRY_CHECK] {
        world.run(check).await;
    }
    assert_eq!((world.count(LIVE).await, world.count(APPROVED).await), (50, 25));
    // Each at its instant from here on, and by a job of its own: the hourly checks are hours away.
    world.clock.set(at("2031-03-02T11:59:58Z"));
    world.becomes(&fifty.ends_soon, "expired").await;
    let ended_at: Timestamp = world
        .read({
            let id = fifty.ends_soon.clone();
            move |tx| tx.scalar("SELECT ended_at FROM assignment WHERE id = ?1", params![id])
        })
        .await;
    let late = ended_at.since(at("2031-03-02T12:00:00Z"));
    assert!(ended_at >= at("2031-03-02T12:00:00Z") && late < Duration::from_secs(60), "{ended_at}");
    world.clock.set(at("2031-03-03T12:00:30Z"));
    world.becomes(&fifty.begins, "active").await;
    world.clock.set(at("2031-05-01T00:00:30Z"));
    world.counts("documents count", APPROVED, 0).await;
    world.counts("assignments are left", LIVE, 25).await;
    world.clock.set(at("2031-06-01T00:00:30Z"));
    world.counts("assignments are left", LIVE, 1).await;
    assert_eq!(world.audited("clock.doubted").await, 1, "time that passes casts no doubt");
}

async fn set_to_2099_and_back(redis: Option<RedisServer>) {
    let world = World::start(redis).await;
    let fifty = fifty(&world).await;
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    nobody_is_revoked(&world).await;
    an_administrator_is_asked(&world).await;
    a_revocation_by_hand_works(&world).await;
    // What was made in that future is not lost in it.
    let later = world.clock.now().plus(Duration::from_secs(3600));
    let made: JobId = world.write(move |tx| enqueue(tx, JobDraft::at(names::ROLE_EXPIRY_CHECK, json!({}), later))).await;
    back_in_2031(&world, &fifty).await;
    assert_eq!(world.read(move |tx| get_job(tx, &made)).await.state, JobState::Completed);
    world.running.stop().await;
}

/// "A clock set to 2099: nobody revoked, an administrator asked."
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_set_to_2099_and_back_revokes_nobody() {
    set_to_2099_and_back(None).await;
}

/// The same with jobs in Redis, which holds those that are due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_redis_a_clock_that_is_set_to_2099_and_back_revokes_nobody() {
    set_to_2099_and_back(Some(RedisServer::start().await)).await;
}

/// An administrator who says that it is 2099 is believed: everything that ended until then ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_that_is_confirmed_ends_what_was_to_end_by_then() {
    let world = World::start(None).await;
    let fifty = fifty(&world).await;
    world.clock.jump(at("2099-01-01T00:00:00Z"));
    nobody_is_revoked(&world).await;
    world.confirm().await;
    world.counts("documents count", APPROVED, 0).await;
    // What was to begin does not end: it has no end.
    world.counts("assignments are left", LIVE, 1).await;
    world.becomes(&fifty.begins, "active").await;
    assert_eq!(world.clock_shown().await["held"], false, "the drift was accepted with it");
    let (_, health) = health(&world).await;
    assert_eq!(health["checks"]["clock"]["status"], "ok", "{health}");
    world.running.stop().await;
}
