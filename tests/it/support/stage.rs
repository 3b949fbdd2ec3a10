//! A server in the process of the test, with people, groups, systems and roles for the example workflows,
//! and a clock that can be moved.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::client::Client;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA, WORKFLOW};
use tenure::base::access::{Principal, SystemRole};
use tenure::base::clock::Clock as _;
use tenure::base::id::PersonId;
use tenure::config::{Config, Reader};
use tenure::features::identity::{accounts, people};
use tenure::platform::clock::ShiftedClock;

use super::systems::System;
use super::{eventually, free_port, http, outbox};

/// Decides beside Rosa.
pub const BO: &str = "bo@example.org";
/// Decides beside them.
pub const LIA: &str = "lia@example.org";
/// When a stage begins.
pub const BEGIN: &str = "2031-03-01T12:00:00Z";

/// A running server with everything the examples name.
pub struct Stage {
    pub running: Running,
    pub clock: Arc<ShiftedClock>,
    /// Who has a badge, and for which doors.
    pub badges: System,
    /// Who has a mailbox.
    pub mails: System,
    folder: tempfile::TempDir,
}

impl Stage {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let vars = [
            ("DATA_DIR", folder.path().join("data").display().to_string()),
            ("PORT", free_port().to_string()),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_ACCOUNT_PER_MIN", "0".to_owned()),
        ];
        let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
        let config = Config::from_reader(reader).expect("valid").0;
        let clock = Arc::new(ShiftedClock::default());
        clock.set(BEGIN.parse().expect("an instant"));
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        let stage = Self { running, clock, badges: System::start().await, mails: System::start().await, folder };
        stage.people().await;
        stage.systems().await;
        stage
    }

    async fn people(&self) {
        let passwords = &self.running.app.identity.passwords;
        create_people(&self.running.app.store, passwords).await.expect("people");
        let hash = passwords.hash(PASSWORD.to_owned()).await.expect("hashes");
        let work = move |tx: &tenure::platform::store::Tx<'_>| {
            let by = Principal::system("test");
            for (name, email) in [("Bo", BO), ("Lia", LIA)] {
                let new = people::NewPerson {
                    display_name: name.to_owned(),
                    email: email.to_owned(),
                    manager_id: None,
                    attributes: json!({}),
                };
                let person = people::ops::create_person(tx, &by, new)?;
                accounts::ops::create_account(tx, &by, &person.id, email, Some(hash.clone()), &[SystemRole::Approver])?;
            }
            let id = |email: &str| -> Result<PersonId, _> {
                people::store::find_by_email(tx, email).map(|p| p.expect("a person of the stage").id)
            };
            let (rosa, bo, lia, ada) = (id(ROSA)?, id(BO)?, id(LIA)?, id(ADA)?);
            people::ops::create_group(tx, &by, "people-leads", std::slice::from_ref(&rosa))?;
            people::ops::create_group(tx, &by, "data-owners", &[rosa.clone(), bo.clone(), lia])?;
            people::ops::create_group(tx, &by, "security", &[rosa, bo])?;
            people::ops::create_group(tx, &by, "all-staff", &[ada])
        };
        self.running.app.store.write(work).await.expect("groups");
    }

    async fn systems(&self) {
        let admin = self.sign_in(ADMIN).await;
        let directory = json!({ "name": "Staff directory", "kind": "directory", "config": { "createMissing": true } });
        let directory = admin.post("/api/connectors", directory).await.expect("a connector");
        let mut connected = Vec::new();
        for (name, system) in [("Badge system", &self.badges), ("Mail system", &self.mails)] {
            let config = json!({ "baseUrl": system.url, "auth": "none" });
            let body = json!({ "name": name, "kind": "http", "config": config });
            connected.push(admin.post("/api/connectors", body).await.expect("a connector")["id"].clone());
        }
        let request = |method: &str, more: Value| {
            let mut params = json!({ "method": method, "path": "/contractors/{{ person.attributes.uid }}" });
            params.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
            json!({ "command": "request", "params": params })
        };
        let badge = json!({
            "name": "Badge of a contractor", "connectorId": connected[0],
            "provision": request("PUT", Value::Null),
            "deprovision": request("DELETE", Value::Null),
            "check": request("GET", json!({ "presentStatus": [200], "absentStatus": [404] })),
        });
        let badge = admin.post("/api/entitlements", badge).await.expect("an entitlement");
        let member = json!({ "account": "{{ person.attributes.uid }}", "group": "workspace" });
        let entitlement = json!({
            "name": "Workspace group", "connectorId": directory["id"],
            "provision": { "command": "add_member", "params": member },
            "deprovision": { "command": "remove_member", "params": member },
            "check": { "command": "has_member", "params": member },
        });
        let entitlement = admin.post("/api/entitlements", entitlement).await.expect("an entitlement");
        let genome = ["data-use-agreement", "training-certificate"];
        for (name, entitlements, documents) in [
            ("Research Workspace", json!([entitlement["id"]]), json!([])),
            ("Contractor", json!([badge["id"]]), json!([])),
            ("Emergency Operator", json!([]), json!([])),
            (WORKFLOW, json!([badge["id"]]), json!(genome)),
        ] {
            let role = json!({ "name": name, "description": "", "ownerId": admin.person,
                "entitlementIds": entitlements, "requiredDocumentTypes": documents });
            admin.post("/api/roles", role).await.expect("a role");
        }
    }

    /// Somebody signed in, now: a session does not outlive every move of the clock.
    pub async fn sign_in(&self, email: &str) -> Client {
        Client::sign_in(&http(), &self.running.base, email, PASSWORD).await.expect("signs in")
    }

    pub async fn mona(&self) -> Client {
        self.sign_in(MONA).await
    }

    /// Takes an example in and publishes it; answers the id of the version.
    pub async fn publish(&self, example: &str) -> String {
        let mona = self.mona().await;
        let text = example_text(example);
        let document = tenure::features::workflow::definitions::text::value(&text, format_of(example)).expect("reads");
        let taken = mona.post("/api/workflows/import", document).await.expect("is taken in");
        assert_eq!(taken["errors"], json!([]), "{example}");
        let id = taken["id"].as_str().expect("an id").to_owned();
        if taken["status"] == "draft" {
            mona.post(&format!("/api/workflows/{id}/publish"), json!({})).await.expect("is published");
        }
        id
    }

    /// Starts a run as somebody; answers its id.
    pub async fn begin(&self, who: &Client, workflow: &str, input: Value) -> String {
        let run = who.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": input })).await.expect("starts");
        run["id"].as_str().expect("an id").to_owned()
    }

    /// The run, once it satisfies `fits`.
    pub async fn run_when(&self, run: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mona = self.mona().await;
        let path = format!("/api/runs/{run}");
        let ask = || async {
            let run = mona.get(&path).await.ok()?;
            fits(&run).then_some(run)
        };
        eventually(&format!("{run} {what}"), Duration::from_secs(30), ask).await
    }

    /// The run, once it has ended.
    pub async fn ended(&self, run: &str) -> Value {
        let over = |run: &Value| ["completed", "failed", "cancelled"].iter().any(|s| run["status"] == *s);
        self.run_when(run, "has ended", over).await
    }

    /// The run, once it waits for something of this kind.
    pub async fn waits_for(&self, run: &str, kind: &str) -> Value {
        let waits = |run: &Value| run["waitingFor"].as_array().is_some_and(|all| all.iter().any(|w| w["kind"] == kind));
        self.run_when(run, &format!("waits for: {kind}"), waits).await
    }

    /// Somebody decides the approval that a run waits for.
    pub async fn decide(&self, email: &str, run: &str, decision: &str) -> Value {
        let who = self.sign_in(email).await;
        let waiting = self.waits_for(run, "approval").await;
        let all = waiting["waitingFor"].as_array().expect("a list");
        let id = all.iter().find(|w| w["kind"] == "approval").and_then(|w| w["refId"].as_str()).expect("an approval");
        let body = json!({ "decision": decision, "reason": "Looked at it." });
        who.post(&format!("/api/approvals/{id}/decide"), body).await.expect("decides")
    }

    /// Starts a run about somebody else; answers its id.
    pub async fn begin_about(&self, who: &Client, workflow: &str, subject: &str, input: Value) -> String {
        let body = json!({ "subjectId": subject, "input": input });
        let run = who.post(&format!("/api/workflows/{workflow}/start"), body).await.expect("starts");
        run["id"].as_str().expect("an id").to_owned()
    }

    /// An event from outside; answers the run that it starts.
    pub async fn event(&self, event: &str, payload: Value) -> String {
        let body = json!({ "event": event, "key": "4711", "payload": payload });
        let answer = self.mona().await.post("/api/workflow-events", body).await.expect("is taken");
        assert_eq!(answer["kept"], false, "{answer}");
        answer["started"][0].as_str().expect("a run").to_owned()
    }

    /// The steps that a run went through, each but the end with its outcome: `grant success`, `done`.
    pub async fn path(&self, run: &str) -> Vec<String> {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let called = |s: &Value| match (s["type"] == "end", text(&s["stepId"])) {
            (true, id) => id,
            (false, id) => format!("{id} {}", text(&s["outcome"])),
        };
        self.steps(run).await.iter().map(called).collect()
    }

    /// The steps that a run went through, in order.
    pub async fn steps(&self, run: &str) -> Vec<Value> {
        self.sign_in(ADMIN).await.list(&format!("/api/runs/{run}/steps")).await.expect("a list")
    }

    /// Retires a role: it is not granted from now on.
    pub async fn retire(&self, role: &str) {
        let admin = self.sign_in(ADMIN).await;
        let all = admin.list("/api/roles?limit=200").await.expect("a list");
        let id = all.iter().find(|r| r["name"] == role).and_then(|r| r["id"].as_str()).expect("a role");
        admin.post(&format!("/api/roles/{id}/retire"), json!({})).await.expect("is retired");
    }

    /// The one task that waits for somebody.
    pub async fn task(&self, who: &Client) -> Value {
        let all = who.list("/api/tasks?mine=true").await.expect("a list");
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    }

    /// The token of the link in the mail to this address, once it is there.
    pub async fn token_for(&self, address: &str) -> String {
        outbox::token_for(&self.folder.path().join("data/outbox"), address).await
    }

    /// Moves the clock on.
    pub fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now().plus(time));
    }

    /// What a person is told of, by its subject lines.
    pub async fn told(&self, email: &str) -> Vec<String> {
        let who = self.sign_in(email).await;
        let all = who.list("/api/notifications?limit=200").await.expect("a list");
        all.iter().filter_map(|n| n["subject"].as_str().map(str::to_owned)).collect()
    }

    /// Waits until a person was told of this so many times.
    pub async fn told_of(&self, email: &str, subject: &str, times: usize) {
        let who = self.sign_in(email).await;
        let what = format!("{email} was told {times} times: {subject}");
        eventually(&what, Duration::from_secs(20), || async {
            let all = who.list("/api/notifications?limit=200").await.ok()?;
            (all.iter().filter(|n| n["subject"] == subject).count() == times).then_some(())
        })
        .await;
    }

    /// What a command of the directory answers.
    pub async fn directory(&self, command: &str, params: Value) -> Value {
        let admin = self.sign_in(ADMIN).await;
        let all = admin.list("/api/connectors?limit=200").await.expect("a list");
        let id = all.iter().find(|c| c["name"] == "Staff directory").and_then(|c| c["id"].as_str()).expect("the directory");
        let body = json!({ "command": command, "params": params });
        admin.post(&format!("/api/connectors/{id}/execute"), body).await.expect("answers")
    }

    /// The people whose name or address has this text.
    pub async fn person(&self, text: &str) -> Value {
        let admin = self.sign_in(ADMIN).await;
        let all = admin.list(&format!("/api/people?q={text}")).await.expect("a list");
        all.into_iter().next().unwrap_or(Value::Null)
    }

    /// The live assignments of a role.
    pub async fn holders(&self, role: &str) -> Vec<Value> {
        let admin = self.sign_in(ADMIN).await;
        let all = admin.list("/api/assignments?limit=200").await.expect("a list");
        all.into_iter().filter(|a| a["role"]["name"] == role && a["state"] == "active").collect()
    }

    /// Waits until so many people hold a role.
    pub async fn held_by(&self, role: &str, count: usize) -> Vec<Value> {
        let admin = self.sign_in(ADMIN).await;
        eventually(&format!("{role} is held {count} times"), Duration::from_secs(20), || async {
            let all = admin.list("/api/assignments?limit=200").await.ok()?;
            let held: Vec<Value> = all.into_iter().filter(|a| a["role"]["name"] == role && a["state"] == "active").collect();
            (held.len() == count).then_some(held)
        })
        .await
    }
}

/// Every example, by its path below `examples/workflows`.
pub fn examples() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows");
    let names = |folder: &str| {
        let inside = std::fs::read_dir(root.join(folder)).expect("a folder").map(|e| e.expect("an entry"));
        let files = inside.filter(|e| e.path().is_file()).map(|e| e.file_name().into_string().expect("UTF-8"));
        files.map(|n| format!("{folder}{n}")).collect::<Vec<_>>()
    };
    let mut all = names("");
    all.extend(names("steps/"));
    all.sort();
    all
}

/// The text of an example, by its path below `examples/workflows`.
pub fn example_text(example: &str) -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("examples/workflows").join(example)).expect("an example")
}

/// In which format an example is written.
pub fn format_of(example: &str) -> tenure::features::workflow::definitions::text::Format {
    use tenure::features::workflow::definitions::text::Format;
    if example.ends_with(".json") { Format::Json } else { Format::Yaml }
}
