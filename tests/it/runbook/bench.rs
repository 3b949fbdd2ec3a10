//! A whole server in the test's process with each backend, by a clock that the test sets.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADMIN, PASSWORD};
use tenure::base::access::Principal;
use tenure::base::id::{AssignmentId, JobId, PersonId, RunId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::config::{Config, Reader};
use tenure::features::access::assignments::{AssignmentState, ops as assignments, store as assignment_store};
use tenure::features::access::documents::ops as documents;
use tenure::features::access::roles::ops::{NewRole, create_role};
use tenure::features::identity::people::store::list_people;
use tenure::features::workflow::definitions::{self, Definition};
use tenure::features::workflow::runs::{Beginning, RunStatus, ops as runs, store as run_store};
use tenure::params;
use tenure::platform::clock::ManualClock;
use tenure::platform::queue::schedule::get_schedule;
use tenure::platform::queue::views::{self, JobView};
use tenure::platform::store::Tx;

use crate::support::redis::RedisServer;
use crate::support::{command, eventually, free_port, http};

/// What stands behind queue and sessions.
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) vars: Vec<(&'static str, String)>,
    /// The server that the variables name; it ends with the mode.
    pub(super) redis: Option<RedisServer>,
}

/// Every backend that Tenure has, with nothing in it yet.
pub(super) async fn modes() -> [Mode; 2] {
    let redis = RedisServer::start().await;
    [
        Mode { name: "embedded", vars: Vec::new(), redis: None },
        Mode { name: "redis", vars: vec![("REDIS_URL", redis.url())], redis: Some(redis) },
    ]
}

pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub(super) fn by() -> Principal {
    Principal::system("test")
}

pub(super) fn config(data: &Path, mode: &Mode, more: &[(&'static str, &str)]) -> Config {
    let own = [("DATA_DIR", data.display().to_string()), ("PORT", free_port().to_string())];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let vars = own.into_iter().chain(mode.vars.clone()).chain(more);
    Config::from_reader(Reader::new(vars.map(|(name, value)| (name.to_owned(), value)))).expect("valid").0
}

/// A whole server in this process, by a clock that the test sets.
pub(super) struct Bench {
    _dir: tempfile::TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) running: Running,
}

impl Bench {
    pub(super) async fn start(mode: &Mode, vars: &[(&'static str, &str)]) -> Self {
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

    pub(super) async fn write<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.write(f).await.expect("writes")
    }

    pub(super) async fn read<T: Send + 'static>(&self, f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.running.app.store.read(f).await.expect("reads")
    }

    /// The slot of a system schedule comes; waits until its job is done.
    pub(super) async fn slot(&self, name: &'static str, slot: &str) {
        self.clock.set(at(slot));
        eventually("the slot's job is done", SOON, || async {
            let row = self.running.app.store.read(move |tx| get_schedule(tx, name)).await.ok()?;
            (row.last_slot_at == Some(at(slot)) && row.last_state.as_deref() == Some("completed")).then_some(())
        })
        .await;
    }

    pub(super) async fn admin(&self) -> Client {
        create_people(&self.running.app.store, &self.running.app.identity.passwords).await.expect("people");
        Client::sign_in(&http(), &self.running.base, ADMIN, PASSWORD).await.expect("signs in")
    }

    pub(super) async fn health(&self) -> (u16, Value) {
        let answer = http().get(format!("{}/api/health", self.running.base)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// A run in status `running` that last made progress at `updated_at`.
    pub(super) async fn running_run(&self, updated_at: Timestamp) -> RunId {
        self.write(move |tx| {
            let call = json!({ "name": "Call", "steps": [{ "id": "call", "name": "Call", "type": "connector",
                               "config": { "connector": "x", "command": "y" } }] });
            let definition: Definition = serde_json::from_value(call).expect("a definition");
            let draft = definitions::ops::create(tx, &by(), definition)?;
            let workflow = definitions::ops::publish(tx, &by(), &draft.id)?.id;
            let run = runs::start(tx, &by(), &workflow, Beginning::default())?.id;
            // Its worker died on the way.
            tx.execute("DELETE FROM job WHERE name = 'advance-run'", params![])?;
            tx.execute("UPDATE run SET updated_at = ?2 WHERE id = ?1", params![run, updated_at])?;
            Ok(run)
        })
        .await
    }

    pub(super) async fn run(&self, id: &RunId) -> (RunStatus, Option<String>) {
        let id = id.clone();
        let run = self.read(move |tx| run_store::get_run(tx, &id)).await;
        (run.status, run.reason)
    }

    pub(super) async fn job(&self, id: &JobId) -> JobView {
        let id = id.clone();
        self.read(move |tx| views::get_job(tx, &id)).await
    }

    /// Somebody, and a role of theirs that ends at `expires_at`; no job of its own will end it.
    pub(super) async fn assignment(&self, expires_at: Option<Timestamp>, document: Option<Timestamp>) -> AssignmentId {
        create_people(&self.running.app.store, &self.running.app.identity.passwords).await.expect("people");
        self.write(move |tx| {
            let person: PersonId = list_people(tx, None, None, None, 1)?.remove(0).id;
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

    pub(super) async fn state(&self, id: &AssignmentId) -> AssignmentState {
        let id = id.clone();
        self.read(move |tx| assignment_store::get_assignment(tx, &id)).await.state
    }
}

pub(super) fn serve(data: &Path, mode: &Mode, vars: &[(&str, &str)]) -> std::process::Output {
    let mut serve: Command = command(&["serve"]);
    serve.env("DATA_DIR", data).envs(mode.vars.iter().map(|(n, v)| (*n, v.as_str()))).envs(vars.iter().copied());
    serve.output().expect("runs")
}
