//! Sign-in: with an OpenID provider, a real one and one that lies.

mod browser;
mod liar;
mod local;
mod passkeys;
mod passwords;
mod provider;
mod second_factor;

use std::sync::Arc;

use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADMIN, PASSWORD};
use tenure::config::{Config, Reader};
use tenure::platform::clock::SystemClock;
use url::Url;

use crate::support::free_port;
use browser::{Browser, place};

const SECRET: &str = "a secret of: the client+";

/// A running server that signs people in with a provider.
struct Office {
    running: Running,
    base: String,
    _folder: tempfile::TempDir,
}

impl Office {
    async fn start(port: u16, issuer: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let base = format!("http://127.0.0.1:{port}");
        let vars = [
            ("DATA_DIR", folder.path().join("data").display().to_string()),
            ("PORT", port.to_string()),
            ("PUBLIC_URL", base.clone()),
            ("RATE_LIMIT_ADDRESS_PER_MIN", "0".to_owned()),
            ("RATE_LIMIT_SIGN_IN_PER_MIN", "0".to_owned()),
            ("OIDC_ISSUER", issuer.to_owned()),
            ("OIDC_CLIENT_ID", "tenure".to_owned()),
            ("OIDC_CLIENT_SECRET", SECRET.to_owned()),
            ("OIDC_REDIRECT_URI", callback(port)),
            ("OIDC_NAME", "Example SSO".to_owned()),
        ];
        let reader = Reader::new(vars.map(|(k, v)| (k.to_owned(), v)));
        let config = Config::from_reader(reader).expect("valid").0;
        let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
        create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
        Self { running, base, _folder: folder }
    }

    /// An administrator with a local account changes how people sign in.
    async fn set(&self, change: Value) {
        let mut admin = Browser::new();
        assert_eq!(admin.sign_in(&self.base, ADMIN, PASSWORD).await, 200);
        let (status, answer) = admin.call("PUT", &self.base, "/api/settings/sign-in", change).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Where a browser that wants to sign in begins.
    fn begin(&self) -> Url {
        format!("{}/api/auth/oidc/login?returnTo=%2Fruns%3Fstatus%3Dwaiting", self.base).parse().expect("a URL")
    }

    fn is_callback(&self, url: &Url) -> bool {
        url.as_str().starts_with(&format!("{}/api/auth/oidc/callback", self.base))
    }

    /// Goes to the provider and back, up to the address that Tenure sends the browser to.
    async fn come_in(&self, browser: &mut Browser) -> String {
        let back = browser.until(self.begin(), |url| self.is_callback(url) || url.path() == "/sign-in").await;
        if back.path() == "/sign-in" {
            return shown(&back);
        }
        let answer = browser.get(&back).await;
        shown(&place(&back, &answer).expect("a redirect"))
    }

    /// The entries of the audit log with this action.
    async fn entries(&self, action: &'static str) -> i64 {
        let count = "SELECT count(*) FROM audit_log WHERE action = ?1";
        self.running.app.store.read(move |tx| tx.scalar(count, tenure::params![action])).await.expect("reads")
    }
}

fn callback(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/auth/oidc/callback")
}

/// Path and query of a place.
fn shown(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// Where somebody who was let in goes on.
const IN: &str = "/runs?status=waiting";

fn refused(kind: &str) -> String {
    format!("/sign-in?failed={kind}")
}

fn roles(me: &Value) -> Vec<&str> {
    me["roles"].as_array().expect("roles").iter().filter_map(Value::as_str).collect()
}

fn port_and_server() -> (u16, u16) {
    (free_port(), free_port())
}

fn person(sub: &str, email: &str, verified: Value, groups: &[&str]) -> Value {
    json!({ "sub": sub, "email": email, "email_verified": verified, "name": "Nora Newman", "groups": groups })
}
