//! One role in four real systems: OpenLDAP, PostgreSQL, a SCIM server and an HTTP service. It is given, looked at, mended
//! where somebody took it away, kept through new keys, and taken away again.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::databases::{Database, PASSWORD, USER};
use crate::support::load::administrator;
use crate::support::scim::{ScimServer, TOKEN};
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};
use crate::support::systems::System;
use crate::support::{Server, eventually, http};

const PATIENCE: Duration = Duration::from_secs(30);
const HTTP_TOKEN: &str = "a-token-of-the-service";

struct Site {
    folder: tempfile::TempDir,
    token: String,
    http: reqwest::Client,
    slapd: Slapd,
    postgres: Database,
    scim: ScimServer,
    service: System,
}

impl Site {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let postgres = Database::postgres().await;
        std::fs::write(folder.path().join("ca.pem"), postgres.ca_pem.as_deref().expect("a CA")).expect("written");
        Self {
            token: administrator(&folder.path().join("data")),
            folder,
            http: http(),
            slapd: Slapd::start().await,
            postgres,
            scim: ScimServer::start().await,
            service: System::start().await,
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    async fn serve(&self, keys: &[(&str, &str)]) -> Server {
        let ca = self.folder.path().join("ca.pem").display().to_string();
        let mut vars = vec![("EXTRA_CA_FILE", ca.as_str()), ("RATE_LIMIT_ACCOUNT_PER_MIN", "0"), ("RATE_LIMIT_ADDRESS_PER_MIN", "0")];
        vars.extend_from_slice(keys);
        Server::start(&["serve"], &self.data(), &vars).await
    }

    async fn get(&self, server: &Server, path: &str) -> Value {
        let sent = self.http.get(format!("{}{path}", server.base)).bearer_auth(&self.token).send().await;
        sent.expect("an answer").json().await.expect("JSON")
    }

    async fn post(&self, server: &Server, path: &str, body: Value) -> Value {
        let sent = self.http.post(format!("{}{path}", server.base)).bearer_auth(&self.token).json(&body).send().await;
        let answer = sent.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn id(&self, server: &Server, path: &str, body: Value) -> String {
        self.post(server, path, body).await["id"].as_str().expect("an id").to_owned()
    }

    /// The four connectors, as they are added.
    fn connectors(&self) -> [Value; 4] {
        let statements = json!({
            "grant": "INSERT INTO access (account, area) VALUES (:account, 'lab') ON CONFLICT DO NOTHING",
            "revoke": "DELETE FROM access WHERE account = :account AND area = 'lab'",
            "has": "SELECT 1 AS present FROM access WHERE account = :account AND area = 'lab'",
            "members": "SELECT account AS key FROM access WHERE area = 'lab'",
        });
        [
            json!({ "name": "OpenLDAP", "kind": "ldap", "config": { "url": self.slapd.url, "bindDn": ADMIN_DN },
                    "secrets": { "password": ADMIN_PASSWORD } }),
            json!({ "name": "PostgreSQL", "kind": "sql", "secrets": { "password": PASSWORD },
                    "config": { "engine": "postgresql", "url": self.postgres.url, "user": USER, "tls": "require", "statements": statements } }),
            json!({ "name": "SCIM", "kind": "scim", "config": { "baseUrl": self.scim.url }, "secrets": { "token": TOKEN } }),
            json!({ "name": "Service", "kind": "http", "config": { "baseUrl": self.service.url, "auth": "bearer" },
                    "secrets": { "token": HTTP_TOKEN } }),
        ]
    }

    /// What is given in each of them: provision, deprovision, check, list.
    fn entitlements() -> [Value; 4] {
        let uid = "{{ person.attributes.uid }}";
        let dn = format!("uid={uid},ou=people,{BASE_DN}");
        let attributes = json!({ "objectClass": ["inetOrgPerson"], "uid": uid, "cn": "{{ person.displayName }}", "sn": uid });
        let statement = |name: &str| json!({ "statement": name, "params": { "account": uid } });
        let path = format!("/members/{uid}");
        [
            json!({
                "provision": { "command": "add_entry", "params": { "dn": dn, "attributes": attributes } },
                "deprovision": { "command": "delete_entry", "params": { "dn": dn } },
                "check": { "command": "has_entry", "params": { "dn": dn } },
                "list": { "command": "list_entries", "params": { "baseDn": format!("ou=people,{BASE_DN}"),
                          "filter": "(objectClass=inetOrgPerson)", "keyAttribute": "uid" }, "key": "{{ provision.params.attributes.uid }}" },
            }),
            json!({
                "provision": { "command": "execute", "params": statement("grant") },
                "deprovision": { "command": "execute", "params": statement("revoke") },
                "check": { "command": "check", "params": statement("has") },
                "list": { "command": "list", "params": { "statement": "members" }, "key": "{{ provision.params.params.account }}" },
            }),
            json!({
                "provision": { "command": "create_user", "params": { "userName": uid, "attributes": { "displayName": "{{ person.displayName }}" } } },
                "deprovision": { "command": "delete_user", "params": { "userName": uid } },
                "check": { "command": "has_user", "params": { "userName": uid } },
                "list": { "command": "list_users", "params": {}, "key": "{{ provision.params.userName }}" },
            }),
            json!({
                "provision": { "command": "request", "params": { "method": "PUT", "path": path, "expectStatus": [200] } },
                "deprovision": { "command": "request", "params": { "method": "DELETE", "path": path, "expectStatus": [204] } },
                "check": { "command": "request", "params": { "method": "GET", "path": path,
                           "expectStatus": [200, 404], "presentStatus": [200], "absentStatus": [404] } },
                "list": { "command": "list", "params": { "path": "/members", "query": { "list": "all" }, "itemsPath": "/items",
                          "totalPath": "/total" }, "key": uid },
            }),
        ]
    }

    /// What each of them says about an account, asked without Tenure where it has a way to be asked.
    async fn present(&self, server: &Server, connectors: &[String], uid: &str) -> [bool; 4] {
        let in_ldap = self.slapd.find(&format!("uid={uid},ou=people,{BASE_DN}"));
        let check = json!({ "command": "check", "params": { "statement": "has", "params": { "account": uid } } });
        let in_sql = self.post(server, &format!("/api/connectors/{}/execute", connectors[1]), check).await;
        let users = self.http.get(format!("{}/Users", self.scim.url)).bearer_auth(TOKEN).send().await.expect("an answer");
        let users: Value = users.json().await.expect("JSON");
        let in_scim = users["Resources"].as_array().is_some_and(|all| all.iter().any(|u| u["userName"] == uid));
        [in_ldap, in_sql["output"]["present"] == true, in_scim, self.service.present(&format!("/members/{uid}"))]
    }

    async fn assignment_is(&self, server: &Server, id: &str, state: &str) {
        let path = format!("/api/assignments/{id}");
        eventually(&format!("the assignment is {state}"), PATIENCE, || async {
            (self.get(server, &path).await["state"] == state).then_some(())
        })
        .await;
    }

    /// Takes an account away in each of them, without Tenure knowing of it as more than a call by hand.
    async fn take_away(&self, server: &Server, connectors: &[String], uid: &str) {
        for (connector, entitlement) in connectors.iter().zip(Self::entitlements()) {
            let text = entitlement["deprovision"].to_string().replace("{{ person.attributes.uid }}", uid);
            let call: Value = serde_json::from_str(&text).expect("JSON");
            self.post(server, &format!("/api/connectors/{connector}/execute"), call).await;
        }
    }
}

fn key(n: u8) -> String {
    hex::encode([n; 32])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_given_mended_kept_through_new_keys_and_taken_away_in_four_real_systems() {
    let site = Site::start().await;
    let (old, new) = (key(1), key(2));
    let server = site.serve(&[("CONNECTOR_ENCRYPTION_KEY", &old)]).await;
    let (mut connectors, mut entitlements) = (Vec::new(), Vec::new());
    for (connector, entitlement) in site.connectors().into_iter().zip(Site::entitlements()) {
        let id = site.id(&server, "/api/connectors", connector.clone()).await;
        let tested = site.post(&server, &format!("/api/connectors/{id}/test"), json!({})).await;
        assert_eq!(tested["ok"], true, "{}: {tested}", connector["name"]);
        let mut body = entitlement;
        body["name"] = json!(format!("Access to {}", connector["name"].as_str().expect("a name")));
        body["connectorId"] = json!(id);
        body["reconcile"] = json!({ "policy": "repair" });
        connectors.push(id);
        entitlements.push(site.id(&server, "/api/entitlements", body).await);
    }
    let role = site.id(&server, "/api/roles", json!({ "name": "Researcher", "entitlementIds": entitlements })).await;
    let ada = json!({ "displayName": "Ada", "email": "ada@example.org", "attributes": { "uid": "ada" } });
    let ada = site.id(&server, "/api/people", ada).await;

    // One who is never touched: a system that has nobody at all any more is not believed.
    let bob = json!({ "displayName": "Bob", "email": "bob@example.org", "attributes": { "uid": "bob" } });
    let bob = site.id(&server, "/api/people", bob).await;
    let wanted = json!({ "personId": bob, "roleId": role, "expiresAt": "2099-01-01T00:00:00Z", "reason": "Research" });
    let untouched = site.id(&server, "/api/assignments", wanted).await;
    let wanted = json!({ "personId": ada, "roleId": role, "expiresAt": "2099-01-01T00:00:00Z", "reason": "Research" });
    let held = site.id(&server, "/api/assignments", wanted).await;
    site.assignment_is(&server, &held, "active").await;
    site.assignment_is(&server, &untouched, "active").await;
    assert_eq!(site.present(&server, &connectors, "ada").await, [true; 4], "given");

    site.take_away(&server, &connectors, "ada").await;
    assert_eq!(site.present(&server, &connectors, "ada").await, [false; 4], "somebody took it away");
    let begun = site.id(&server, "/api/reconciliations", json!({})).await;
    let done = eventually("the reconciliation ends", PATIENCE, || async {
        let now = site.get(&server, &format!("/api/reconciliations/{begun}")).await;
        (now["status"] != "running").then_some(now)
    })
    .await;
    assert_eq!(done["status"], "completed", "{done}");
    let added: u64 = done["plans"].as_array().expect("plans").iter().map(|p| p["counts"]["add"].as_u64().expect("a number")).sum();
    assert_eq!(added, 4, "{done}");
    eventually("it is there again", PATIENCE, || async {
        (site.present(&server, &connectors, "ada").await == [true; 4]).then_some(())
    })
    .await;
    assert_eq!(server.terminate(), 0);

    // The secrets are sealed anew; the key that sealed them before is gone.
    let both = [("CONNECTOR_ENCRYPTION_KEY", new.as_str()), ("CONNECTOR_ENCRYPTION_KEY_PREVIOUS", old.as_str())];
    let server = site.serve(&both).await;
    let rotated = site.post(&server, "/api/connectors/rotate-keys", json!({})).await;
    assert_eq!((&rotated["total"], &rotated["rotated"], &rotated["failed"]), (&json!(4), &json!(4), &json!(0)), "{rotated}");
    assert_eq!(server.terminate(), 0);
    let server = site.serve(&[("CONNECTOR_ENCRYPTION_KEY", &new)]).await;

    site.post(&server, &format!("/api/assignments/{held}/revoke"), json!({ "reason": "The project is over." })).await;
    site.assignment_is(&server, &held, "revoked").await;
    assert_eq!(site.present(&server, &connectors, "ada").await, [false; 4], "taken away");
    site.assignment_is(&server, &untouched, "active").await;
    assert_eq!(site.present(&server, &connectors, "bob").await, [true; 4], "his stays");
    let bearer = format!("Bearer {HTTP_TOKEN}");
    assert!(site.service.calls().iter().all(|c| c.authorization.as_ref() == Some(&bearer)));
    assert_eq!(server.terminate(), 0);
}
