//! Tenure with people of every system role, asked in every way in which one can be there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::base::access::{Principal, SystemRole};
use tenure::base::problem::Problem;
use tenure::config::{Config, Reader};
use tenure::features::identity::{accounts, people};
use tenure::platform::clock::SystemClock;
use tenure::platform::store::Tx;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{eventually, free_port, http};

/// Reads everything, changes nothing.
pub const UMA: &str = "uma@example.org";
/// A second resource manager.
pub const MILO: &str = "milo@example.org";

/// A running Tenure.
pub struct Office {
    pub running: tenure::app::Running,
    data: PathBuf,
    _dir: tempfile::TempDir,
}

/// How somebody is there.
#[derive(Clone)]
pub enum Who {
    /// In a browser.
    Session { cookie: String, csrf: String },
    /// With a token.
    Token(String),
    /// At the machine, through the admin socket.
    Machine,
}

impl Office {
    /// Starts it with its people.
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
        let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
        let config = Config::from_reader(reader).expect("valid").0;
        let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
        let office = Self { running, data, _dir: dir };
        let app = &office.running.app;
        create_people(&app.store, &app.identity.passwords).await.expect("people");
        office.add("Uma", UMA, SystemRole::Auditor).await;
        office.add("Milo", MILO, SystemRole::ResourceManager).await;
        office
    }

    /// Adds a person with an account.
    pub async fn add(&self, name: &'static str, email: &'static str, role: SystemRole) {
        let hash = self.running.app.identity.passwords.hash(PASSWORD.to_owned()).await.expect("hashes");
        let add = move |tx: &Tx<'_>| {
            let by = Principal::system("test");
            let new = people::NewPerson {
                display_name: name.to_owned(),
                email: email.to_owned(),
                manager_id: None,
                attributes: json!({ "uid": name.to_lowercase() }),
            };
            let person = people::ops::create_person(tx, &by, new)?;
            accounts::ops::create_account(tx, &by, &person.id, email, Some(hash.clone()), &[role]).map(drop)
        };
        self.running.app.store.write(add).await.expect("an account");
    }

    /// Everybody, the widest role first.
    pub fn everybody() -> [&'static str; 5] {
        [ADMIN, MONA, ROSA, ADA, UMA]
    }

    /// Signs somebody in; answers how they are there and their id.
    pub async fn sign_in(&self, email: &str) -> (Who, String) {
        let answer = http()
            .post(format!("{}/api/auth/login", self.running.base))
            .json(&json!({ "email": email, "password": PASSWORD }))
            .send()
            .await
            .expect("an answer");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        (Who::Session { cookie, csrf: text("/csrfToken") }, text("/person/id"))
    }

    /// A token that somebody makes for themselves.
    pub async fn own_token(&self, who: &Who) -> Who {
        let made = self.does(who, "POST", "/api/auth/tokens", json!({ "name": "own" })).await;
        Who::Token(made["token"].as_str().expect("a token").to_owned())
    }

    /// A token that somebody else makes for the account with this address.
    pub async fn foreign_token(&self, maker: &Who, email: &str) -> Who {
        let accounts = self.does(maker, "GET", "/api/accounts", Value::Null).await;
        let all = accounts["items"].as_array().expect("items");
        let id = all.iter().find(|a| a["email"] == email).expect("an account")["id"].as_str().expect("an id").to_owned();
        let made = self.does(maker, "POST", &format!("/api/accounts/{id}/tokens"), json!({ "name": "foreign" })).await;
        Who::Token(made["token"].as_str().expect("a token").to_owned())
    }

    /// Asks; answers status and body.
    pub async fn ask(&self, who: &Who, method: &str, path: &str, body: Value) -> (u16, Value) {
        if let Who::Machine = who {
            return self.ask_at_the_machine(method, path, &body).await;
        }
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http().request(method, format!("{}{path}", self.running.base));
        request = match who {
            Who::Session { cookie, csrf } => request.header("cookie", cookie).header("x-csrf-token", csrf),
            Who::Token(token) => request.bearer_auth(token),
            Who::Machine => request,
        };
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn ask_at_the_machine(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream =
            tenure::platform::http::local::connect(&self.data).await.expect("connects").expect("a server runs");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("is sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("is answered");
        let text = String::from_utf8_lossy(&answer);
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let (_, body) = text.split_once("\r\n\r\n").expect("a body");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Asks for what must succeed.
    pub async fn does(&self, who: &Who, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(who, method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Reads the database.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Tx<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> T {
        self.running.app.store.read(read).await.expect("reads")
    }

    /// Switches the rule of the second person on.
    pub async fn four_eyes(&self, admin: &Who) {
        let on = self.does(admin, "PUT", "/api/settings/security", json!({ "fourEyes": true })).await;
        assert_eq!(on["fourEyes"]["value"], true);
    }

    /// A published workflow with these steps, written and published by `who` while one person may.
    pub async fn workflow(&self, who: &Who, definition: Value) -> String {
        let draft = self.does(who, "POST", "/api/workflows", json!({ "definition": definition })).await;
        let id = id_of(&draft);
        self.does(who, "POST", &format!("/api/workflows/{id}/publish"), Value::Null).await;
        id
    }

    /// A run, once it has this status.
    pub async fn run_that_is(&self, who: &Who, run: &str, status: &str) -> Value {
        let path = format!("/api/runs/{run}");
        eventually(&format!("the run is {status}"), Duration::from_secs(20), || async {
            let (_, run) = self.ask(who, "GET", &path, Value::Null).await;
            Some(run).filter(|r| r["status"] == status)
        })
        .await
    }

    /// A role that gives a place in the directory inside Tenure.
    pub async fn role(&self, admin: &Who, name: &str) -> String {
        let config = json!({ "createMissing": true });
        let (_, known) = self.ask(admin, "GET", "/api/connectors", Value::Null).await;
        let connector = match known["items"].as_array().and_then(|all| all.first()) {
            Some(connector) => connector.clone(),
            None => {
                let body = json!({ "name": "Directory", "kind": "directory", "config": config });
                self.does(admin, "POST", "/api/connectors", body).await
            }
        };
        let member = json!({ "account": "{{ person.attributes.uid }}", "group": name });
        let body = json!({
            "name": name, "connectorId": connector["id"],
            "provision": { "command": "add_member", "params": member },
            "deprovision": { "command": "remove_member", "params": member },
        });
        let entitlement = self.does(admin, "POST", "/api/entitlements", body).await;
        let body = json!({ "name": name, "description": "For tests.", "defaultDurationDays": 30,
                           "requiredDocumentTypes": [], "entitlementIds": [entitlement["id"]] });
        id_of(&self.does(admin, "POST", "/api/roles", body).await)
    }
}

/// The id of an object.
pub fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap_or_else(|| panic!("an id in {object}")).to_owned()
}
