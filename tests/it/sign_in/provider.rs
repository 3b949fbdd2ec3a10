//! The certified provider of Node.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use url::Url;

use super::{Browser, IN, Office, SECRET, callback, person, place, port_and_server, refused, roles, shown};
use crate::support::http;

/// The provider; it ends when this is dropped.
struct Peer {
    _child: Child,
    /// A pipe that nobody reads would end it.
    _said: Lines<BufReader<ChildStdout>>,
    issuer: String,
}

impl Peer {
    async fn start(port: u16, tenure: u16) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/node");
        assert!(folder.join("node_modules/oidc-provider").is_dir(), "oidc-provider is not there: run npm ci in tests/node");
        let client = json!({
            "client_id": "tenure", "client_secret": SECRET, "redirect_uris": [callback(tenure)],
            "post_logout_redirect_uris": [format!("http://127.0.0.1:{tenure}/")],
            "grant_types": ["authorization_code"], "response_types": ["code"],
        });
        let mut child = Command::new("node")
            .current_dir(&folder)
            .args(["oidc.mjs", &port.to_string(), &client.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let ready = tokio::time::timeout(Duration::from_secs(30), async {
            while let Some(line) = lines.next_line().await.expect("text") {
                if line == "ready" {
                    return true;
                }
            }
            false
        });
        assert!(ready.await.expect("the provider starts in time"), "the provider ended; see its errors above");
        Self { _child: child, _said: lines, issuer: format!("http://127.0.0.1:{port}") }
    }

    /// Says who signs in from now on.
    async fn is(&self, person: Value) {
        let answer = http().put(format!("{}/test/person", self.issuer)).json(&person).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_with_a_certified_provider_and_out_there_as_well() {
    let (port, tenure) = port_and_server();
    let peer = Peer::start(port, tenure).await;
    let office = Office::start(tenure, &peer.issuer).await;
    let methods: Value = http().get(format!("{}/api/auth/methods", office.base)).send().await.unwrap().json().await.unwrap();
    assert_eq!(methods, json!({ "oidc": { "name": "Example SSO" }, "passkeys": false }));
    office.set(json!({ "roleMapping": [{ "group": "staff", "role": "requestor" }, { "group": "deciders", "role": "approver" }] })).await;

    peer.is(person("n-1", "nora@example.org", json!(true), &["staff", "deciders", "chess"])).await;
    let mut nora = Browser::new();
    assert_eq!(office.come_in(&mut nora).await, IN);
    let me = nora.me(&office.base).await.expect("signed in");
    assert_eq!((me["person"]["email"].as_str(), me["person"]["displayName"].as_str()), (Some("nora@example.org"), Some("Nora Newman")));
    assert_eq!(roles(&me), ["approver", "requestor"]);
    let (_, sessions) = nora.call("GET", &office.base, "/api/auth/sessions", Value::Null).await;
    assert_eq!((&sessions["items"][0]["method"], &sessions["items"][0]["current"]), (&json!("oidc"), &json!(true)));
    // The administrator who set the mapping signed in as well.
    for (action, count) in [("account.linked", 1), ("account.roles_changed", 1), ("session.started", 2)] {
        assert_eq!(office.entries(action).await, count, "{action}");
    }

    // Out here, and out there; the provider asks once and sends the browser back.
    let (status, out) = nora.call("POST", &office.base, "/api/auth/logout", json!({})).await;
    assert_eq!(status, 200, "{out}");
    assert_eq!(nora.me(&office.base).await, Err(401));
    let end: Url = out["endSessionUrl"].as_str().expect("a place").parse().expect("a URL");
    let page = nora.get(&end).await;
    assert_eq!(page.status(), 200, "{end}");
    let text = page.text().await.expect("a page");
    let hidden = text.split("name=\"xsrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let confirm: Url = end.join("/session/end/confirm").expect("a place");
    let answer = nora.post_form(&confirm, &[("xsrf", hidden), ("logout", "yes")]).await;
    assert_eq!(place(&confirm, &answer).expect("a way back").as_str(), format!("{}/", office.base));

    // The provider forgot them: it is asked again, and it is the same account.
    let account = me["accountId"].clone();
    peer.is(person("n-1", "nora.changed@example.org", json!(true), &["staff"])).await;
    assert_eq!(office.come_in(&mut nora).await, IN);
    let me = nora.me(&office.base).await.expect("signed in");
    assert_eq!((&me["accountId"], roles(&me)), (&account, vec!["requestor"]));
    assert_eq!(office.entries("account.linked").await, 1);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_and_a_state_count_once_and_in_one_browser() {
    let (port, tenure) = port_and_server();
    let peer = Peer::start(port, tenure).await;
    let office = Office::start(tenure, &peer.issuer).await;
    peer.is(person("n-1", "nora@example.org", json!(true), &[])).await;
    let mut nora = Browser::new();
    let back = nora.until(office.begin(), |url| office.is_callback(url)).await;

    // Somebody else's browser, without a cookie and with the cookie of an attempt of its own.
    let mut other = Browser::new();
    assert_eq!(shown(&place(&back, &other.get(&back).await).unwrap()), refused("again"));
    let first = other.get(&office.begin()).await;
    assert_eq!(first.status(), 303);
    assert_eq!(shown(&place(&back, &other.get(&back).await).unwrap()), refused("again"));
    assert_eq!(other.me(&office.base).await, Err(401));

    // The right one, and the same once more.
    assert_eq!(shown(&place(&back, &nora.get(&back).await).unwrap()), IN);
    assert_eq!(shown(&place(&back, &nora.get(&back).await).unwrap()), refused("again"));

    // The used code with the state of a new attempt: the provider does not give tokens for it twice.
    let pair = |url: &Url, name: &str| url.query_pairs().find(|(k, _)| k == name).map(|(_, v)| v.into_owned());
    let again = nora.until(office.begin(), |url| office.is_callback(url)).await;
    let mut mixed = back.clone();
    mixed.query_pairs_mut().clear().append_pair("code", &pair(&back, "code").unwrap()).append_pair("state", &pair(&again, "state").unwrap());
    assert_eq!(shown(&place(&mixed, &nora.get(&mixed).await).unwrap()), refused("again"));
    office.running.stop().await;
}
