//! A server whose jobs run one by one, when asked: what each request and each job writes into the log can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::{Principal, SystemRole};
use tenure::base::clock::Clock as _;
use tenure::base::cron::Schedule;
use tenure::base::problem::Problem;
use tenure::config::{Config, Reader};
use tenure::features::identity::{accounts, people};
use tenure::platform::clock::ManualClock;
use tenure::platform::queue::{InlineQueue, JobCx, JobFuture, JobHandler, Registry};
use tenure::platform::store::Tx;

use super::changed::{Objects, objects};
use crate::support::office::{MILO, UMA};
use crate::support::{free_port, http, outbox};

/// When the house opens.
pub const BEGIN: &str = "2031-03-01T12:00:00Z";

/// An entry, as far as it matters here: action, kind of object, object, and what that is from now on.
pub type Told = (String, String, String, String);

/// What was seen to be written.
#[derive(Default)]
pub struct Seen {
    /// By operations of the API, `POST /api/roles`, also those that wrote nothing.
    pub operations: BTreeMap<String, BTreeSet<String>>,
    /// By jobs.
    pub jobs: BTreeMap<String, BTreeSet<String>>,
    /// At the start.
    pub start: BTreeSet<String>,
    /// What was not as it should be.
    pub faults: Vec<String>,
}

/// A running server with people of every role.
pub struct House {
    pub running: tenure::app::Running,
    pub clock: Arc<ManualClock>,
    pub seen: Mutex<Seen>,
    data: PathBuf,
    ran: Arc<Mutex<Vec<&'static str>>>,
    _dir: tempfile::TempDir,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    cookie: String,
    csrf: String,
}

/// A handler of the product that notes when it runs.
struct Noted {
    inner: Arc<dyn JobHandler>,
    ran: Arc<Mutex<Vec<&'static str>>>,
}

impl JobHandler for Noted {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn schedule(&self) -> Option<Schedule> {
        self.inner.schedule()
    }

    fn calls_out(&self) -> bool {
        self.inner.calls_out()
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        self.ran.lock().expect("nobody panicked").push(self.inner.name());
        self.inner.run(cx, payload)
    }
}

impl House {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let vars = [
            ("DATA_DIR", data.display().to_string()),
            ("PORT", free_port().to_string()),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_ACCOUNT_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
        ];
        let config = Config::from_reader(Reader::new(vars.map(|(k, v)| (k.to_owned(), v)))).expect("valid").0;
        let clock = Arc::new(ManualClock::at(BEGIN.parse().expect("an instant")));
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        let house = Self { running, clock, seen: Mutex::default(), data, ran: Arc::default(), _dir: dir };
        let begun = house.entries_after(0).await.into_iter().map(|(_, (action, ..))| action).collect();
        house.seen.lock().expect("nobody panicked").start = begun;
        house
    }

    /// The people of the sample, and one of each other role.
    pub async fn settle(&self) {
        let app = &self.running.app;
        create_people(&app.store, &app.identity.passwords).await.expect("people");
        self.add("Uma", UMA, SystemRole::Auditor).await;
        self.add("Milo", MILO, SystemRole::ResourceManager).await;
    }

    /// Adds a person with an account.
    pub async fn add(&self, name: &'static str, email: &'static str, role: SystemRole) {
        let hash = self.running.app.identity.passwords.hash(PASSWORD.to_owned()).await.expect("hashes");
        self.write(move |tx| {
            let by = Principal::system("test");
            let new = people::NewPerson {
                display_name: name.to_owned(),
                email: email.to_owned(),
                manager_id: None,
                attributes: json!({ "uid": name.to_lowercase() }),
            };
            let person = people::ops::create_person(tx, &by, new)?;
            accounts::ops::create_account(tx, &by, &person.id, email, Some(hash.clone()), &[role]).map(drop)
        })
        .await;
    }

    pub async fn write<T: Send + 'static>(
        &self,
        write: impl Fn(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> T {
        self.running.app.store.write(write).await.expect("writes")
    }

    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> T {
        self.running.app.store.read(read).await.expect("reads")
    }

    /// The four who do most.
    pub async fn cast(&self) -> [Person; 5] {
        let [admin, mona, rosa, ada, milo] = [ADMIN, MONA, ROSA, ADA, MILO].map(|email| self.sign_in(email));
        tokio::join!(admin, mona, rosa, ada, milo).into()
    }

    /// Signs in, and notes what that writes.
    pub async fn sign_in(&self, email: &str) -> Person {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = http().post(format!("{}/api/auth/login", self.running.base)).json(&body).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{email} signs in");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        Person { id: text("/person/id"), cookie, csrf: text("/csrfToken") }
    }

    /// Entries after `seq`, each with its request.
    async fn entries_after(&self, seq: u64) -> Vec<(Option<String>, Told)> {
        self.read(move |tx| {
            tx.query(
                "SELECT l.leaf, l.action, l.entity, l.entity_id, coalesce(CAST(s.state AS TEXT), '') FROM audit_log l
                 LEFT JOIN audit_state s ON s.seq = l.seq AND s.part = 'new' WHERE l.seq > ?1 ORDER BY l.seq",
                tenure::params![seq],
                |r| {
                    let leaf: Vec<u8> = r.at(0)?;
                    let leaf: Value = serde_json::from_slice(&leaf).map_err(Problem::internal)?;
                    Ok((leaf["requestId"].as_str().map(str::to_owned), (r.at(1)?, r.at(2)?, r.at(3)?, r.at(4)?)))
                },
            )
        })
        .await
    }

    pub async fn head(&self) -> u64 {
        self.read(|tx| tx.scalar("SELECT coalesce(max(seq), 0) FROM audit_log", tenure::params![])).await
    }

    async fn objects(&self) -> Objects {
        self.read(objects).await
    }

    fn fault(&self, fault: String) {
        self.seen.lock().expect("nobody panicked").faults.push(fault);
    }

    /// One entry for each changed object, and no entry twice.
    fn compare(&self, what: &str, told: &[Told], before: &Objects, after: &Objects) {
        let mut once = BTreeSet::new();
        for entry in told {
            if !once.insert(entry) {
                self.fault(format!("{what} wrote {entry:?} twice"));
            }
        }
        for (entity, id) in before.changed(after) {
            if !told.iter().any(|(_, e, i, _)| *e == entity && *i == id) {
                self.fault(format!("{what} changed {entity} {id} and wrote no entry of it: {told:?}"));
            }
        }
    }

    /// Asks: `POST /api/roles/{id}` with what stands for the words in braces. Answers status and body.
    pub async fn ask(&self, who: Option<&Person>, operation: &str, ids: &[&str], body: Value) -> (u16, Value) {
        self.ask_with(who, operation, ids, body, &[]).await
    }

    /// The same with more headers; a body that is a text goes as it is.
    pub async fn ask_with(
        &self,
        who: Option<&Person>,
        operation: &str,
        ids: &[&str],
        body: Value,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let path = filled(path, ids);
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http().request(method.clone(), format!("{}{path}", self.running.base));
        if let Some(who) = who {
            request = request.header("cookie", &who.cookie).header("x-csrf-token", &who.csrf);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = match body {
            Value::Null => request,
            Value::String(text) => request.body(text),
            body => request.json(&body),
        };
        let without_log = match method {
            reqwest::Method::GET => None,
            _ => Some(self.without_a_log(operation, request.try_clone().expect("a body in memory")).await),
        };
        let (seq, before) = tokio::join!(self.head(), self.objects());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let id = answer.headers()["x-request-id"].to_str().expect("text").to_owned();
        let text = answer.text().await.unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let (entries, after) = tokio::join!(self.entries_after(seq), self.objects());
        let told: Vec<Told> = entries.iter().map(|(_, told)| told.clone()).collect();
        // What the engine does within the request is in nobody's name.
        if let Some((by, stranger)) = entries.iter().find(|(by, _)| by.as_ref().is_some_and(|by| *by != id)) {
            self.fault(format!("while {operation} was asked, {stranger:?} was written by {by:?}"));
        }
        if status >= 400 || method == reqwest::Method::GET {
            if !told.is_empty() {
                self.fault(format!("{operation} answers {status} and writes {told:?}"));
            }
            return (status, body);
        }
        if !told.is_empty() && without_log.is_some_and(|status| status < 400) {
            self.fault(format!("{operation} writes {told:?}, and answers {without_log:?} when they cannot be written"));
        }
        self.compare(operation, &told, &before, &after);
        let operation = operation.split('?').next().unwrap_or(operation);
        let mut seen = self.seen.lock().expect("nobody panicked");
        let actions = seen.operations.entry(operation.to_owned()).or_default();
        actions.extend(told.into_iter().map(|(action, ..)| action));
        drop(seen);
        (status, body)
    }

    /// Asks while nothing can be written into the log: then nothing that is audited may change. Answers the status.
    async fn without_a_log(&self, operation: &str, request: reqwest::RequestBuilder) -> u16 {
        let before = self.objects().await;
        let broken = "CREATE TRIGGER the_log_is_broken BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'broken'); END";
        self.write(move |tx| tx.execute(broken, tenure::params![]).map(drop)).await;
        let status = request.send().await.expect("an answer").status().as_u16();
        self.write(|tx| tx.execute("DROP TRIGGER the_log_is_broken", tenure::params![]).map(drop)).await;
        let changed = before.changed(&self.objects().await);
        if !changed.is_empty() {
            self.fault(format!("{operation} changed {changed:?} without an entry, which could not be written"));
        }
        status
    }

    /// Asks for what must succeed. What does not is told at the end, with what follows from it.
    pub async fn does(&self, who: &Person, operation: &str, ids: &[&str], body: Value) -> Value {
        let (status, answer) = self.ask(Some(who), operation, ids, body).await;
        if !(200..300).contains(&status) {
            self.fault(format!("{operation} {ids:?} answers {status} {answer}"));
        }
        answer
    }

    /// Runs what is due, one job after the other, and notes what each writes.
    pub async fn work(&self) {
        loop {
            let inner = self.running.app.registry.iter();
            let noted = inner.map(|h| Arc::new(Noted { inner: h.clone(), ran: self.ran.clone() }) as Arc<dyn JobHandler>);
            let store = self.running.app.store.clone();
            let queue = InlineQueue::start(store, Registry::new(noted)).await.expect("a queue");
            while self.one_job(&queue).await {}
            let now = self.clock.now();
            let left = self.read(move |tx| {
                let sql = "SELECT count(*) FROM job WHERE state IN ('held', 'handed') AND run_at <= ?1";
                tx.scalar::<u64>(sql, tenure::params![now])
            });
            if left.await == 0 {
                return;
            }
        }
    }

    async fn one_job(&self, queue: &InlineQueue) -> bool {
        let (seq, before) = tokio::join!(self.head(), self.objects());
        if queue.run_at_most(1).await.expect("the queue works") == 0 {
            return false;
        }
        let Some(name) = self.ran.lock().expect("nobody panicked").pop() else { return true };
        let (entries, after) = tokio::join!(self.entries_after(seq), self.objects());
        let told: Vec<Told> = entries.into_iter().map(|(_, told)| told).collect();
        self.compare(name, &told, &before, &after);
        let mut seen = self.seen.lock().expect("nobody panicked");
        seen.jobs.entry(name.to_owned()).or_default().extend(told.into_iter().map(|(action, ..)| action));
        true
    }

    /// Lets time pass and runs what became due; whoever is signed in may have to sign in again.
    pub async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.work().await;
    }

    /// The token of the link in the mail to this address.
    pub async fn token_for(&self, address: &str) -> String {
        outbox::token_for(&self.data.join("outbox"), address).await
    }

    /// What stands in a file of the data directory.
    pub fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.data.join(name)).expect("a file")
    }
}

/// The id of an object; of one that there should be, words that no object is called.
pub fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap_or("nothing-was-answered").to_owned()
}

/// A path with what stands for the words in braces, in their order.
pub fn filled(path: &str, ids: &[&str]) -> String {
    let mut ids = ids.iter();
    let fill = |part: &str| match part.starts_with('{') {
        true => (*ids.next().unwrap_or_else(|| panic!("an id for {part} of {path}"))).to_owned(),
        false => part.to_owned(),
    };
    let (path, query) = path.split_once('?').map_or((path, String::new()), |(p, q)| (p, format!("?{q}")));
    path.split('/').map(fill).collect::<Vec<_>>().join("/") + &query
}
