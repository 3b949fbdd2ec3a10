//! What the tests of access share: a store, people, roles, a connected system that can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::assignments::{Assignment, EndReason, ops as assignments, ops::NewAssignment};
use super::documents::ops::{self as documents, NewDocument};
use super::documents::{Document, DocumentState};
use super::entitlements::ops::{NewEntitlement, create_entitlement};
use super::entitlements::{Call, CallOut, Calls};
use super::roles::ops::{NewRole, create_role};
use crate::base::access::Principal;
use crate::base::clock::Clock;
use crate::base::id::{AssignmentId, ConnectorId, DocumentId, EntitlementId, PersonId, RoleId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::AuditJournal;
use crate::features::connectors::{CallFailure, Found, ListFuture, ListPage, ListRequest};
use crate::features::identity::people::{NewPerson, ops::create_person};
use crate::params;
use crate::platform::clock::{ManualClock, SeededIds};
use crate::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler, Registry, names};
use crate::platform::store::{MigrationSet, Options, Store, Tx};

/// A connected system: a set of members.
#[derive(Default)]
pub struct FakeSystem {
    members: Mutex<BTreeSet<String>>,
    pub broken: Mutex<bool>,
    pub changes: Mutex<Vec<String>>,
    /// Until when each member was last said to stay.
    pub ends: Mutex<BTreeMap<String, Value>>,
    /// When set, `add` tells that it was reached, then waits for a permit.
    pub gate: Mutex<Option<Arc<Gate>>>,
}

/// Where a call stands still until the test lets it go on.
pub struct Gate {
    pub reached: Semaphore,
    pub go: Semaphore,
}

impl Calls for FakeSystem {
    fn call<'a>(&'a self, _: &'a ConnectorId, call: &'a Call, _: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            if *self.broken.lock().unwrap() {
                return Err(Problem::unavailable("the system is down", 1));
            }
            let gate = self.gate.lock().unwrap().clone().filter(|_| call.command == "add");
            if let Some(gate) = gate {
                gate.reached.add_permits(1);
                gate.go.acquire().await.unwrap().forget();
            }
            let member = call.params["account"].as_str().unwrap().to_owned();
            if let Some(until) = call.params.get("until").filter(|_| call.command == "add") {
                self.ends.lock().unwrap().insert(member.clone(), until.clone());
            }
            let mut members = self.members.lock().unwrap();
            match call.command.as_str() {
                "has" => return Ok(json!({ "present": members.contains(&member) })),
                "add" => members.insert(member),
                _ => members.remove(&member),
            };
            self.changes.lock().unwrap().push(call.command.clone());
            Ok(json!({ "changed": true }))
        })
    }

    fn list<'a>(&'a self, _: &'a ConnectorId, _: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(async move {
            if *self.broken.lock().unwrap() {
                return Err(CallFailure::passing("unreachable", "the system is down"));
            }
            let members = self.members.lock().unwrap();
            Ok(ListPage::last(members.iter().map(|m| Found { key: m.clone(), attributes: json!({}) }).collect()))
        })
    }
}

/// Takes the place of the workflow's handler.
struct AdvanceRun;

impl JobHandler for AdvanceRun {
    fn name(&self) -> &'static str {
        names::ADVANCE_RUN
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

pub struct Bench {
    _dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub system: Arc<FakeSystem>,
    pub queue: InlineQueue,
    pub person: PersonId,
    connector: ConnectorId,
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn call(command: &str) -> Call {
    Call { command: command.to_owned(), params: json!({ "account": "{{ person.attributes.uid }}" }) }
}

impl Bench {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(at("2031-03-01T08:00:00Z")));
        let store = Store::open(
            &Options::small(dir.path().join("tenure.db")),
            &MigrationSet::tenure(),
            clock.clone(),
            Arc::new(SeededIds::new(1)),
            Some(Arc::new(AuditJournal)),
        )
        .unwrap();
        let system = Arc::new(FakeSystem::default());
        let mut handlers = super::handlers(system.clone());
        handlers.push(Arc::new(AdvanceRun));
        let queue = InlineQueue::start(store.clone(), Registry::new(handlers)).await.unwrap();
        let (person, connector) = store
            .write(|tx| {
                let new = NewPerson {
                    display_name: "Ada".into(),
                    email: "ada@example.org".into(),
                    manager_id: None,
                    attributes: json!({ "uid": "ada" }),
                };
                let person = create_person(tx, &by(), new)?.id;
                let connector: ConnectorId = tx.new_id();
                tx.execute(
                    "INSERT INTO connector (id, name, kind, config, created_at, updated_at)
                     VALUES (?1, 'Directory', 'directory', '{}', 0, 0)",
                    params![connector],
                )?;
                Ok((person, connector))
            })
            .await
            .unwrap();
        Self { _dir: dir, clock, store, system, queue, person, connector }
    }

    pub async fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.write(f).await
    }

    pub async fn entitlement(&self) -> EntitlementId {
        self.entitlement_by(call("add")).await
    }

    /// One whose command says until when.
    pub async fn entitlement_until(&self) -> EntitlementId {
        let params = json!({ "account": "{{ person.attributes.uid }}", "until": "{{ assignment.expiresAt }}" });
        self.entitlement_by(Call { command: "add".to_owned(), params }).await
    }

    async fn entitlement_by(&self, provision: Call) -> EntitlementId {
        let connector = self.connector.clone();
        self.write(move |tx| {
            let new = NewEntitlement {
                name: "Project group".into(),
                connector_id: connector.clone(),
                provision: provision.clone(),
                deprovision: call("remove"),
                check: Some(call("has")),
                list: None,
                reconcile: Default::default(),
            };
            Ok(create_entitlement(tx, &by(), new)?.id)
        })
        .await
        .unwrap()
    }

    pub async fn role(&self, name: &'static str, entitlement: &EntitlementId, needs: &[&str]) -> RoleId {
        let (entitlement, needs) = (entitlement.clone(), needs.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
        self.write(move |tx| {
            let new = NewRole {
                name: name.into(),
                description: String::new(),
                owner_id: None,
                default_duration_days: None,
                required_document_types: needs.clone(),
                entitlement_ids: vec![entitlement.clone()],
            };
            Ok(create_role(tx, &by(), new)?.id)
        })
        .await
        .unwrap()
    }

    pub async fn grant(&self, role: &RoleId, expires_at: Option<Timestamp>) -> Result<AssignmentId, Problem> {
        self.grant_from(role, self.clock.now(), expires_at).await
    }

    pub async fn grant_from(
        &self,
        role: &RoleId,
        starts_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Result<AssignmentId, Problem> {
        let (person, role) = (self.person.clone(), role.clone());
        self.write(move |tx| {
            let new = NewAssignment {
                person: person.clone(),
                role: role.clone(),
                reason: "for the test".into(),
                run: None,
                starts_at,
                expires_at,
                documents: Vec::new(),
            };
            assignments::grant(tx, &by(), new)
        })
        .await
    }

    pub async fn revoke(&self, id: &AssignmentId) {
        let id = id.clone();
        self.write(move |tx| assignments::revoke(tx, &by(), &id, EndReason::Revoked("no longer needed".into())))
            .await
            .unwrap();
    }

    pub async fn extend(&self, id: &AssignmentId, until: Timestamp) -> Result<(), Problem> {
        let id = id.clone();
        self.write(move |tx| assignments::extend(tx, &by(), &id, until, "it lasts longer")).await
    }

    pub async fn document(&self, kind: &'static str, expires_at: Timestamp) -> DocumentId {
        let person = self.person.clone();
        self.write(move |tx| {
            let new = NewDocument {
                kind: kind.into(),
                person: person.clone(),
                valid_from: tx.now(),
                expires_at,
                run: None,
            };
            let id = documents::submit(tx, &by(), new)?.id;
            documents::approve(tx, &by(), &id, None)?;
            Ok(id)
        })
        .await
        .unwrap()
    }

    pub async fn assignment(&self, id: &AssignmentId) -> Assignment {
        let id = id.clone();
        self.store.read(move |tx| super::assignments::store::get_assignment(tx, &id)).await.unwrap()
    }

    pub async fn run(&self) {
        self.queue.run_due().await.unwrap();
    }

    /// Whether the connected system holds the entitlement.
    pub fn holds(&self) -> bool {
        self.system.members.lock().unwrap().contains("ada")
    }
}

pub fn by() -> Principal {
    Principal::system("test")
}

pub fn document_of(person: &PersonId, expires_at: Timestamp) -> Document {
    Document {
        id: "doc_00000000000000000000000000".parse().unwrap(),
        kind: "certificate".into(),
        person: crate::features::identity::people::PersonRef { id: person.clone(), display_name: "Ada".into() },
        state: DocumentState::Approved,
        valid_from: Timestamp::from_millis(0),
        expires_at,
        run_id: None,
        file: None,
        submitted_by: None,
        created_at: Timestamp::from_millis(0),
    }
}
