//! A store, people, roles and a connected system that can be made to fail in every way, moved by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::access::{Principal, SystemRole};
use tenure::base::id::{AssignmentId, ConnectorId, EntitlementId, PersonId, ReconciliationId, RoleId};
use tenure::base::problem::Problem;
use tenure::base::time::Timestamp;
use tenure::features::access;
use tenure::features::access::assignments::ops::{self as assignments, NewAssignment};
use tenure::features::access::assignments::{Assignment, EndReason};
use tenure::features::access::entitlements::ops::{NewEntitlement, create_entitlement, update_entitlement};
use tenure::features::access::entitlements::store::get_entitlement;
use tenure::features::access::entitlements::{Call, CallOut, Calls, ListCall, Policy, Reconcile, SharedCalls};
use tenure::features::access::reconciliation::items::store::{self as items, ItemFilter};
use tenure::features::access::reconciliation::{Action, Counts, Item, Kind, Plan, PlanStatus, Status, ops, store as plans};
use tenure::features::access::roles::ops::{NewRole, create_role};
use tenure::features::audit::AuditJournal;
use tenure::features::connectors::{CallFailure, Found, ListFuture, ListPage, ListRequest};
use tenure::features::identity::accounts::ops::create_account;
use tenure::features::identity::people::{NewPerson, ops::create_person};
use tenure::params;
use tenure::platform::clock::{ManualClock, SeededIds};
use tenure::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler, Registry, names};
use tenure::platform::store::{MigrationSet, Options, Store, Tx};

/// What a list is answered with instead of the truth.
pub type Lie = Box<dyn FnMut(&BTreeSet<String>, &ListRequest) -> Result<ListPage, CallFailure> + Send>;

/// How a call fails.
pub enum Failure {
    /// Nothing was done.
    Before(Problem),
    /// It was done, and the answer was lost.
    After(Problem),
}

/// Says whether the next call fails.
pub type Fails = Box<dyn FnMut() -> Option<Failure> + Send>;

/// Looks at an account.
pub type Witness = Box<dyn FnMut(&str) + Send>;

/// A connected system: a set of members, with what is said about them.
#[derive(Default)]
pub struct System {
    pub members: Mutex<BTreeSet<String>>,
    pub attributes: Mutex<BTreeMap<String, Value>>,
    /// What changed it, in order: command and account.
    pub changes: Mutex<Vec<(String, String)>>,
    /// The pages that were asked for.
    pub asked: Mutex<Vec<Option<String>>>,
    /// Fails calls, when it says so.
    pub fails: Mutex<Option<Fails>>,
    /// Looks at every account that is removed, in the moment before.
    pub witness: Mutex<Option<Witness>>,
    pub lie: Mutex<Option<Lie>>,
    pub page: Mutex<usize>,
}

impl Calls for System {
    fn call<'a>(&'a self, _: &'a ConnectorId, call: &'a Call, _: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            let failure = self.fails.lock().unwrap().as_mut().and_then(|fails| fails());
            if let Some(Failure::Before(problem)) = failure {
                return Err(problem);
            }
            let account = call.params["account"].as_str().unwrap().to_owned();
            let mut members = self.members.lock().unwrap();
            let changed = match call.command.as_str() {
                "has" => return Ok(json!({ "present": members.contains(&account) })),
                "add" => members.insert(account.clone()),
                "remove" => {
                    if let Some(witness) = self.witness.lock().unwrap().as_mut() {
                        witness(&account);
                    }
                    members.remove(&account)
                }
                other => panic!("no command {other}"),
            };
            self.changes.lock().unwrap().push((call.command.clone(), account));
            match failure {
                Some(Failure::After(problem)) => Err(problem),
                _ => Ok(json!({ "changed": changed })),
            }
        })
    }

    fn list<'a>(&'a self, _: &'a ConnectorId, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(request.cursor.clone());
            let members = self.members.lock().unwrap();
            match self.lie.lock().unwrap().as_mut() {
                Some(lie) => lie(&members, request),
                None => Ok(self.honest(&members, request.cursor.as_deref())),
            }
        })
    }
}

impl System {
    /// The page behind a cursor.
    pub fn honest(&self, members: &BTreeSet<String>, cursor: Option<&str>) -> ListPage {
        let attributes = self.attributes.lock().unwrap();
        page_of(members, &attributes, cursor, (*self.page.lock().unwrap()).max(1))
    }

    pub fn has(&self, account: &str) -> bool {
        self.members.lock().unwrap().contains(account)
    }

    /// Somebody changes it without Tenure.
    pub fn put(&self, account: &str) {
        self.members.lock().unwrap().insert(account.to_owned());
    }

    pub fn drop_behind_our_back(&self, account: &str) {
        self.members.lock().unwrap().remove(account);
    }

    pub fn changes(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.changes.lock().unwrap())
    }

    pub fn lies(&self, lie: impl FnMut(&BTreeSet<String>, &ListRequest) -> Result<ListPage, CallFailure> + Send + 'static) {
        *self.lie.lock().unwrap() = Some(Box::new(lie));
    }

    pub fn is_honest_again(&self) {
        *self.lie.lock().unwrap() = None;
    }

    /// It takes no call and answers no list.
    pub fn is_down(&self) {
        *self.fails.lock().unwrap() = Some(Box::new(|| Some(Failure::Before(Problem::unavailable("the system is down", 1)))));
        self.lies(|_, _| Err(CallFailure::passing("unreachable", "the system is down")));
    }

    pub fn is_up(&self) {
        *self.fails.lock().unwrap() = None;
        self.is_honest_again();
    }
}

/// The accounts after `cursor`, `size` at once.
pub fn page_of(
    members: &BTreeSet<String>,
    attributes: &BTreeMap<String, Value>,
    cursor: Option<&str>,
    size: usize,
) -> ListPage {
    let after = cursor.unwrap_or("");
    let mut found: Vec<Found> = members
        .range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
        .take(size + 1)
        .map(|key| Found { key: key.clone(), attributes: attributes.get(key).cloned().unwrap_or_else(|| json!({})) })
        .collect();
    if found.len() <= size {
        return ListPage::last(found);
    }
    found.truncate(size);
    let next = found.last().map(|f| f.key.clone()).unwrap();
    ListPage::more(found, next)
}

/// Takes the place of a handler of another feature.
struct Stub(&'static str);

impl JobHandler for Stub {
    fn name(&self) -> &'static str {
        self.0
    }

    fn run<'a>(&'a self, _: &'a JobCx, _: Value) -> JobFuture<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

pub struct World {
    _dir: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub store: Store,
    pub system: Arc<System>,
    pub queue: InlineQueue,
    pub connector: ConnectorId,
    pub entitlement: EntitlementId,
    pub role: RoleId,
    pub admin: PersonId,
}

pub fn by() -> Principal {
    Principal::system("test")
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn call(command: &str, account: &str) -> Call {
    Call { command: command.to_owned(), params: json!({ "account": account }) }
}

/// An entitlement whose key is taken from the call that gives it.
pub fn listed(name: &str, connector: &ConnectorId, policy: Policy) -> NewEntitlement {
    let account = "{{ person.attributes.uid }}";
    NewEntitlement {
        name: name.to_owned(),
        connector_id: connector.clone(),
        provision: call("add", account),
        deprovision: call("remove", account),
        check: Some(call("has", account)),
        list: Some(ListCall {
            command: "list".to_owned(),
            params: json!({}),
            key: "{{ provision.params.account }}".to_owned(),
            ignore_case: false,
        }),
        reconcile: Reconcile { policy, remove: Some(call("remove", "{{ account.key }}")) },
    }
}

impl World {
    /// With one entitlement of this policy and a role that gives it.
    pub async fn start(policy: Policy) -> Self {
        Self::over(policy, |_, system| Arc::clone(system) as SharedCalls).await
    }

    /// The same over another way out.
    pub async fn over(policy: Policy, way_out: impl FnOnce(&Store, &Arc<System>) -> SharedCalls) -> Self {
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
        let system = Arc::new(System::default());
        *system.page.lock().unwrap() = 3;
        let mut handlers = access::handlers(way_out(&store, &system));
        let elsewhere = [names::ADVANCE_RUN, names::SEND_MAIL, tenure::features::notifications::jobs::SEND_DIGEST];
        handlers.extend(elsewhere.into_iter().map(|name| Arc::new(Stub(name)) as Arc<dyn JobHandler>));
        let queue = InlineQueue::start(store.clone(), Registry::new(handlers)).await.unwrap();
        let made = store.write(move |tx| {
            let connector = connector(tx, "Directory")?;
            let entitlement = create_entitlement(tx, &by(), listed("Project group", &connector, policy))?.id;
            let admin = person(tx, "root")?;
            create_account(tx, &by(), &admin, "root@example.org", None, &[SystemRole::Admin])?;
            Ok((connector, entitlement, admin))
        });
        let (connector, entitlement, admin) = made.await.unwrap();
        let mut world = Self {
            _dir: dir,
            clock,
            store,
            system,
            queue,
            connector,
            entitlement,
            role: "rol_00000000000000000000000000".parse().unwrap(),
            admin,
        };
        world.role = world.role_of("reader", &[world.entitlement.clone()]).await;
        world
    }

    pub async fn write<T: Send + 'static>(
        &self,
        f: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.write(f).await
    }

    pub async fn read<T: Send + 'static>(&self, f: impl FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static) -> T {
        self.store.read(f).await.unwrap()
    }

    pub async fn role_of(&self, name: &'static str, entitlements: &[EntitlementId]) -> RoleId {
        let entitlement_ids = entitlements.to_vec();
        let made = self.write(move |tx| {
            let new = NewRole {
                name: name.to_owned(),
                description: String::new(),
                owner_id: None,
                default_duration_days: None,
                required_document_types: Vec::new(),
                entitlement_ids: entitlement_ids.clone(),
            };
            Ok(create_role(tx, &by(), new)?.id)
        });
        made.await.unwrap()
    }

    pub async fn person(&self, uid: &str) -> PersonId {
        let uid = uid.to_owned();
        self.write(move |tx| person(tx, &uid)).await.unwrap()
    }

    pub async fn grant(&self, person: &PersonId, role: &RoleId, expires_at: Option<Timestamp>) -> AssignmentId {
        let (person, role) = (person.clone(), role.clone());
        let granted = self.write(move |tx| {
            let new = NewAssignment {
                person: person.clone(),
                role: role.clone(),
                reason: "for the test".to_owned(),
                run: None,
                starts_at: tx.now(),
                expires_at,
                documents: Vec::new(),
            };
            assignments::grant(tx, &by(), new)
        });
        granted.await.unwrap()
    }

    /// New people who hold the role, each with their account in the system.
    pub async fn holders(&self, uids: &[&str]) -> Vec<(PersonId, AssignmentId)> {
        let mut all = Vec::new();
        for uid in uids {
            let person = self.person(uid).await;
            let assignment = self.grant(&person, &self.role, None).await;
            all.push((person, assignment));
        }
        self.run().await;
        self.system.changes();
        all
    }

    pub async fn revoke(&self, id: &AssignmentId) {
        let id = id.clone();
        let revoked = self
            .write(move |tx| assignments::revoke(tx, &by(), &id, EndReason::Revoked("no longer needed".to_owned())));
        revoked.await.unwrap();
    }

    pub async fn assignment(&self, id: &AssignmentId) -> Assignment {
        let id = id.clone();
        self.read(move |tx| access::assignments::store::get_assignment(tx, &id)).await
    }

    pub async fn run(&self) {
        self.queue.run_due().await.unwrap();
    }

    pub async fn change(&self, change: impl Fn(&mut NewEntitlement) + Send + 'static) {
        let id = self.entitlement.clone();
        let changed = self.write(move |tx| {
            let old = get_entitlement(tx, &id)?;
            let mut new = NewEntitlement {
                name: old.name,
                connector_id: old.connector_id,
                provision: old.provision,
                deprovision: old.deprovision,
                check: old.check,
                list: old.list,
                reconcile: old.reconcile,
            };
            change(&mut new);
            update_entitlement(tx, &by(), &id, new)
        });
        changed.await.unwrap();
    }

    /// Begins a reconciliation of everything.
    pub async fn begin(&self, kind: Kind) -> ReconciliationId {
        let begun = self.write(move |tx| ops::start(tx, &by(), kind, None));
        begun.await.unwrap().expect("there is something to reconcile").id
    }

    /// Runs and waits until a reconciliation came to rest.
    pub async fn rest(&self, id: &ReconciliationId) -> Status {
        for _ in 0..60 {
            self.run().await;
            let wanted = id.clone();
            let status = self.read(move |tx| Ok(plans::get_reconciliation(tx, &wanted)?.status)).await;
            if status != Status::Running {
                self.run().await;
                return status;
            }
            self.clock.advance(Duration::from_secs(5));
        }
        let plan = self.plan(id).await;
        panic!("the reconciliation {id} does not come to rest: {plan:?}");
    }

    pub async fn reconcile(&self) -> (Status, Plan, Vec<Item>) {
        let id = self.begin(Kind::Manual).await;
        let status = self.rest(&id).await;
        let plan = self.plan(&id).await;
        let items = self.items(&plan).await;
        (status, plan, items)
    }

    /// Reconciles the entitlement of this world alone.
    pub async fn reconcile_directory(&self) -> (Status, Plan, Vec<Item>) {
        let id = self.entitlement.clone();
        let begun = self.write(move |tx| ops::start(tx, &by(), Kind::Manual, Some(std::slice::from_ref(&id))));
        let id = begun.await.unwrap().expect("begun").id;
        let status = self.rest(&id).await;
        let plan = self.plan(&id).await;
        let items = self.items(&plan).await;
        (status, plan, items)
    }

    /// The first plan of a reconciliation.
    pub async fn plan(&self, id: &ReconciliationId) -> Plan {
        let id = id.clone();
        self.read(move |tx| Ok(plans::list_plans(tx, &id)?.remove(0))).await
    }

    pub async fn items(&self, plan: &Plan) -> Vec<Item> {
        let no = plan.no;
        let all = self.read(move |tx| items::list_items(tx, no, &ItemFilter::default(), 0, 10_000)).await;
        all.into_iter().map(|(item, _)| item).collect()
    }

    pub async fn counts(&self, plan: &Plan) -> Counts {
        let no = plan.no;
        self.read(move |tx| items::counts(tx, no)).await
    }

    pub async fn decide(&self, plan: &Plan, approve: bool) -> Result<(), Problem> {
        let plan = plan.clone();
        self.write(move |tx| ops::decide(tx, &by(), (&plan.reconciliation_id, &plan.id), approve, "looked at it")).await
    }

    pub async fn set(&self, setting: tenure::features::settings::BuiltIn, value: u32) {
        let set = self.write(move |tx| tenure::features::settings::ops::set_number(tx, &by(), setting.setting, Some(value)));
        set.await.unwrap();
    }

    /// No threshold, for tests about something else.
    pub async fn lift_threshold(&self) {
        self.set(tenure::features::settings::MAX_REMOVAL_PERCENT, 100).await;
        self.set(tenure::features::settings::MAX_REMOVALS, 1_000_000).await;
    }

    /// How often an action stands in the audit log.
    pub async fn audited(&self, action: &'static str) -> u32 {
        self.read(move |tx| tx.scalar("SELECT count(*) FROM audit_log WHERE action = ?1", params![action])).await
    }

    pub async fn number(&self, sql: &'static str) -> u32 {
        self.read(move |tx| tx.scalar(sql, params![])).await
    }
}

pub fn connector(tx: &Tx<'_>, name: &str) -> Result<ConnectorId, Problem> {
    let connector: ConnectorId = tx.new_id();
    tx.execute(
        "INSERT INTO connector (id, name, kind, config, created_at, updated_at) VALUES (?1, ?2, 'directory', '{}', 0, 0)",
        params![connector, name],
    )?;
    Ok(connector)
}

pub fn person(tx: &Tx<'_>, uid: &str) -> Result<PersonId, Problem> {
    let new = NewPerson {
        display_name: uid.to_owned(),
        email: format!("{uid}@example.org"),
        manager_id: None,
        attributes: json!({ "uid": uid }),
    };
    Ok(create_person(tx, &by(), new)?.id)
}

/// Account, action, reason and state of each item.
pub fn told(items: &[Item]) -> Vec<(&str, Action, &'static str, &'static str)> {
    items.iter().map(|i| (i.account.as_str(), i.action, i.reason.as_str(), i.state.as_str())).collect()
}

pub fn is_over(plan: &Plan) -> bool {
    !plan.status.is_open() && plan.status != PlanStatus::Held
}
