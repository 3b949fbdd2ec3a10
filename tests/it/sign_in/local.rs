//! A server with local accounts and a clock that can be moved.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::PASSWORD;
use tenure::base::clock::Clock as _;
use tenure::config::{Config, Reader};
use tenure::platform::clock::ShiftedClock;

use super::browser::Browser;
use crate::support::{free_port, http};

/// A running server with the people of the sample organisation.
pub struct Local {
    pub running: Running,
    pub base: String,
    pub clock: Arc<ShiftedClock>,
    _folder: tempfile::TempDir,
}

impl Local {
    pub async fn start() -> Self {
        Self::at("127.0.0.1").await
    }

    /// People use it by a name, as passkeys need.
    pub async fn named() -> Self {
        Self::at("localhost").await
    }

    /// The origin that browsers see.
    pub fn origin(&self) -> String {
        self.running.app.config.server.public_url.origin().ascii_serialization()
    }

    async fn at(host: &str) -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let vars = [
            ("DATA_DIR", folder.path().join("data").display().to_string()),
            ("PORT", port.to_string()),
            ("PUBLIC_URL", format!("http://{host}:{port}")),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
        ];
        let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
        let config = Config::from_reader(reader).expect("valid").0;
        let clock = Arc::new(ShiftedClock::default());
        clock.set("2031-03-01T12:00:00Z".parse().expect("an instant"));
        let running = tenure::app::start(config, clock.clone()).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        let base = running.base.clone();
        Self { running, base, clock, _folder: folder }
    }

    /// Lets time pass.
    pub fn pass(&self, seconds: u64) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(seconds)));
    }

    /// Tries to sign in with everything that is asked for; status and answer.
    pub async fn try_sign_in(&self, email: &str, password: &str, code: Option<&str>) -> (u16, Value) {
        let body = json!({ "email": email, "password": password, "code": code });
        let answer = http().post(format!("{}/api/auth/login", self.base)).json(&body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Somebody's browser, signed in with the password alone.
    pub async fn browser(&self, email: &str) -> Browser {
        let mut browser = Browser::new();
        assert_eq!(browser.sign_in(&self.base, email, PASSWORD).await, 200, "{email}");
        browser
    }

    /// The account of somebody, by an administrator's eyes.
    pub async fn account(&self, admin: &mut Browser, email: &str) -> String {
        let (_, found) = admin.call("GET", &self.base, &format!("/api/accounts?email={email}"), Value::Null).await;
        found["items"][0]["id"].as_str().expect("an account").to_owned()
    }

    /// How many entries of the audit log have this action.
    pub async fn entries(&self, action: &'static str) -> i64 {
        let count = "SELECT count(*) FROM audit_log WHERE action = ?1";
        self.running.app.store.read(move |tx| tx.scalar(count, tenure::params![action])).await.expect("reads")
    }
}
