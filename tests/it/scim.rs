//! SCIM 2.0 inbound, as identity providers speak it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN};

use crate::support::office::{Office, Who, id_of};
use crate::support::people::set_up;
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};
use crate::support::{Server, eventually, http};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// An identity provider with its token.
struct Provider {
    base: String,
    token: String,
}

impl Provider {
    async fn of(office: &Office, admin: &Who, name: &str) -> Self {
        let made = office.does(admin, "POST", "/api/scim-tokens", json!({ "name": name })).await;
        let token = made["secret"].as_str().expect("a secret").to_owned();
        Self { base: format!("{}/scim/v2", office.running.base), token }
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = http().request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if !body.is_null() {
            request = request.header("content-type", "application/scim+json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").map(|v| v.to_str().expect("text").to_owned());
        assert_eq!(kind.as_deref(), Some("application/scim+json"), "{path}");
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    async fn does(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn patch(&self, path: &str, operations: Value) -> Value {
        self.does("PATCH", path, json!({ "schemas": [PATCH], "Operations": operations })).await
    }

    async fn user(&self, name: &str) -> String {
        let body = json!({ "schemas": [USER], "userName": format!("{name}@corp.example"), "displayName": name, "active": true,
                           "emails": [{ "value": format!("{name}@corp.example"), "type": "work", "primary": true }] });
        id_of(&self.does("POST", "/Users", body).await)
    }
}

/// A filter in a query.
fn filter(text: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("filter", text).finish()
}

/// The tester of SCIM servers from PyPI finds nothing wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tester_of_scim_servers_finds_no_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = tokio::process::Command::new(root.join("scripts/scim-tester.sh")).output().await.expect("bash");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let made: Value = http()
        .post(format!("{}/api/scim-tokens", server.base))
        .bearer_auth(token)
        .json(&json!({ "name": "scim2-tester" }))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let checked = tokio::process::Command::new(root.join("tests/scim/.venv/bin/python"))
        .arg(root.join("tests/scim/check.py"))
        .args([format!("{}/scim/v2", server.base), made["secret"].as_str().expect("a secret").to_owned()])
        .output()
        .await
        .expect("python runs");
    let told = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{told}");
}

/// A SCIM token opens SCIM and nothing else; nothing else opens SCIM. It is shown once and revoked at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scim_token_opens_scim_and_nothing_else() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    assert_eq!(provider.ask("GET", "/Users?count=1", Value::Null).await.0, 200);
    let listed = office.does(&admin, "GET", "/api/scim-tokens", Value::Null).await;
    assert!(!listed.to_string().contains(&provider.token), "the secret is not shown again");
    assert!(listed["baseUrl"].as_str().expect("text").ends_with("/scim/v2"));
    let as_token = Who::Token(provider.token.clone());
    for path in ["/api/people", "/api/auth/me", "/api/scim-tokens"] {
        assert_eq!(office.ask(&as_token, "GET", path, Value::Null).await.0, 401, "{path}");
    }
    let Who::Token(own) = office.own_token(&admin).await else { panic!("a token") };
    for token in [own.as_str(), "tns_0", "", "nonsense"] {
        let other = Provider { base: provider.base.clone(), token: token.to_owned() };
        let (status, answer) = other.ask("GET", "/Users", Value::Null).await;
        assert_eq!((status, &answer["status"]), (401, &json!("401")), "{answer}");
    }
    let Who::Session { cookie, .. } = &admin else { panic!("a session") };
    let by_cookie = http().get(format!("{}/Users", provider.base)).header("cookie", cookie).send().await.expect("an answer");
    assert_eq!(by_cookie.status(), 401);
    let id = id_of(&listed["items"][0]);
    assert!(listed["items"][0]["lastUsedAt"].is_string());
    office.ask(&admin, "DELETE", &format!("/api/scim-tokens/{id}"), Value::Null).await;
    assert_eq!(provider.ask("GET", "/Users", Value::Null).await.0, 401);
    office.running.stop().await;
}

/// What Entra ID and Okta send in a life of a user: found, made, changed in their ways, moved, gone, back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_lives_as_entra_and_okta_say() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    let found = provider.does("GET", &format!("/Users?{}", filter("userName eq \"zoe@corp.example\"")), Value::Null).await;
    assert_eq!((&found["totalResults"], &found["Resources"]), (&json!(0), &json!([])));
    let boss = provider.user("boss").await;
    let body = json!({
        "schemas": [USER, ENTERPRISE], "userName": "zoe@corp.example", "externalId": "00u1", "active": "True",
        "name": { "givenName": "Zoe", "familyName": "Ng" }, "password": "never kept",
        "emails": [{ "primary": true, "type": "work", "value": "zoe@corp.example" }],
        ENTERPRISE: { "department": "Research", "manager": { "value": boss } },
    });
    let zoe = provider.does("POST", "/Users", body.clone()).await;
    let id = id_of(&zoe);
    assert!(zoe.get("password").is_none() && zoe["meta"]["location"].as_str().expect("text").ends_with(&id), "{zoe}");
    let (status, taken) = provider.ask("POST", "/Users", body).await;
    assert_eq!((status, &taken["scimType"]), (409, &json!("uniqueness")));
    let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
    assert_eq!((&person["displayName"], &person["managerId"], &person["externalId"]), (&json!("Zoe Ng"), &json!(boss), &json!("00u1")));
    assert_eq!(person["attributes"]["department"], "Research");
    for text in ["externalId eq \"00u1\"", "emails[type eq \"work\" and value eq \"ZOE@corp.example\"]", "name.familyName sw \"n\" and active eq true",
                 "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"research\""] {
        let found = provider.does("GET", &format!("/Users?{}", filter(text)), Value::Null).await;
        assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &json!(id)), "{text}");
    }
    let path = format!("/Users/{id}");
    // Entra ID.
    provider.patch(&path, json!([
        { "op": "Replace", "path": "displayName", "value": "Zoe N." },
        { "op": "Add", "path": "phoneNumbers[type eq \"work\"].value", "value": "+41 1" },
        { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "zoe.ng@corp.example" },
        { "op": "Add", "path": format!("{ENTERPRISE}:department"), "value": "IT" },
        { "op": "Remove", "path": format!("{ENTERPRISE}:manager") },
    ])).await;
    let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
    assert_eq!((&person["displayName"], &person["email"], &person["managerId"]), (&json!("Zoe N."), &json!("zoe.ng@corp.example"), &Value::Null));
    assert_eq!(person["attributes"]["department"], "IT");
    // Okta.
    let gone = provider.patch(&path, json!([{ "op": "replace", "value": { "active": false } }])).await;
    assert_eq!(gone["active"], false);
    let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
    assert_eq!(person["active"], false);
    provider.patch(&path, json!([{ "op": "replace", "value": { "active": true } }])).await;
    let put = json!({ "schemas": [USER], "id": id, "userName": "zoe@corp.example", "emails": [{ "value": "zoe@corp.example" }] });
    let put = provider.does("PUT", &path, put).await;
    assert_eq!((&put["active"], put.get("displayName"), put.get(ENTERPRISE)), (&json!(true), None, None), "{put}");
    let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
    assert_eq!((&person["email"], person["attributes"].get("department")), (&json!("zoe@corp.example"), None), "{person}");
    assert_eq!(provider.ask("DELETE", &path, Value::Null).await.0, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(provider.ask(method, &path, Value::Null).await.0, 404);
    }
    // The same person comes back as themselves.
    assert_eq!(provider.user("zoe").await, id);
    let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
    assert_eq!(person["active"], true);
    let told = office.does(&admin, "GET", "/api/audit?entity=person&limit=200", Value::Null).await.to_string();
    for word in ["person.provisioned", "person.unprovisioned", "person.left", "person.reactivated", "scim"] {
        assert!(told.contains(word), "{word}");
    }
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_lives_as_entra_and_okta_say() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Okta").await;
    let (a, b) = (provider.user("a").await, provider.user("b").await);
    let body = json!({ "schemas": [GROUP], "displayName": "Analysts", "externalId": "g1", "members": [{ "value": a }] });
    let group = provider.does("POST", "/Groups", body.clone()).await;
    let path = format!("/Groups/{}", id_of(&group));
    assert_eq!(group["members"][0]["type"], "User");
    assert_eq!(provider.ask("POST", "/Groups", body).await.0, 409);
    let members = async || {
        let group = provider.does("GET", &path, Value::Null).await;
        group["members"].as_array().map_or(0, Vec::len)
    };
    provider.patch(&path, json!([{ "op": "Add", "path": "members", "value": [{ "value": b }, { "value": a }] }])).await;
    assert_eq!(members().await, 2);
    provider.patch(&path, json!([{ "op": "Remove", "path": "members", "value": [{ "value": a }] }])).await;
    provider.patch(&path, json!([{ "op": "remove", "path": format!("members[value eq \"{b}\"]") }])).await;
    assert_eq!(members().await, 0);
    let renamed = provider.patch(&path, json!([{ "op": "replace", "value": { "id": "x", "displayName": "Readers" } }])).await;
    assert_eq!(renamed["displayName"], "Readers");
    provider.patch(&path, json!([{ "op": "replace", "path": "members", "value": [{ "value": a }] }])).await;
    let user = provider.does("GET", &format!("/Users/{a}"), Value::Null).await;
    assert_eq!(user["groups"][0]["display"], "Readers");
    let found = provider.does("GET", &format!("/Groups?excludedAttributes=members&{}", filter("displayName eq \"readers\"")), Value::Null).await;
    assert_eq!((&found["totalResults"], found["Resources"][0].get("members")), (&json!(1), None));
    let found = provider.does("GET", &format!("/Groups?{}", filter(&format!("members[value eq \"{a}\"]"))), Value::Null).await;
    assert_eq!(found["totalResults"], 1);
    for wrong in [json!("per_00000000000000000000000000"), json!("nobody"), json!("grp_1")] {
        let body = json!({ "schemas": [PATCH], "Operations": [{ "op": "add", "path": "members", "value": [{ "value": wrong }] }] });
        let (status, fault) = provider.ask("PATCH", &path, body).await;
        assert_eq!((status, &fault["scimType"]), (400, &json!("invalidValue")), "{fault}");
    }
    let groups = office.does(&admin, "GET", "/api/groups?q=readers", Value::Null).await;
    assert_eq!((&groups["items"][0]["externalId"], &groups["items"][0]["members"]), (&json!("g1"), &json!(1)));
    assert_eq!(provider.ask("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(provider.ask("GET", &path, Value::Null).await.0, 404);
    office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_have_pages_and_an_order() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Okta").await;
    for name in ["uma1", "uma3", "uma2"] {
        provider.user(name).await;
    }
    let names = async |query: &str| -> Vec<String> {
        let found = provider.does("GET", &format!("/Users?{query}"), Value::Null).await;
        found["Resources"].as_array().expect("a list").iter().map(|u| u["userName"].as_str().expect("text")[..4].to_owned()).collect()
    };
    let only = filter("userName sw \"uma\" and userName ew \"corp.example\"");
    assert_eq!(names(&format!("{only}&sortBy=userName&sortOrder=descending")).await, ["uma3", "uma2", "uma1"]);
    assert_eq!(names(&format!("{only}&sortBy=userName&startIndex=2&count=1")).await, ["uma2"]);
    assert_eq!(names(&format!("{only}&startIndex=3")).await, ["uma2"]);
    assert!(names("count=0").await.is_empty());
    let all = provider.does("GET", "/Users?startIndex=2&count=2&attributes=userName", Value::Null).await;
    assert_eq!((&all["startIndex"], &all["itemsPerPage"]), (&json!(2), &json!(2)));
    assert!(all["totalResults"].as_u64().expect("a number") > 8 && all["Resources"][0].get("emails").is_none(), "{all}");
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "userName sw \"uma1\"" });
    for path in ["/Users/.search", "/.search"] {
        assert_eq!(provider.does("POST", path, search.clone()).await["totalResults"], 1, "{path}");
    }
    office.running.stop().await;
}

/// Whatever a source sends, it is told what is wrong in the words of SCIM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_a_scim_error_and_never_a_5xx() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    let (a, b) = (provider.user("a").await, provider.user("b").await);
    let path = format!("/Users/{a}");
    let user = path.as_str();
    let op = |op: Value| json!({ "schemas": [PATCH], "Operations": [op] });
    let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
    let cases = [
        ("POST", "/Users", json!([]), 400, "invalidSyntax"),
        ("POST", "/Users", deep, 400, "invalidSyntax"),
        ("POST", "/Users", json!({ "schemas": [USER] }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "schemas": [USER], "userName": "no-address" }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "schemas": [USER], "userName": "x", "emails": [{ "value": "not one" }] }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "schemas": ["urn:other"], "userName": "x@y.z" }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "userName": "x@y.z", "name": 7 }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "userName": "x@y.z", "displayName": "n".repeat(300) }), 400, "invalidValue"),
        ("POST", "/Users", json!({ "userName": "x@y.z", ENTERPRISE: { "manager": "nobody" } }), 400, "invalidValue"),
        ("PUT", user, json!({ "schemas": [USER], "userName": "b@corp.example" }), 409, "uniqueness"),
        ("PATCH", user, json!({}), 400, "invalidSyntax"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "id", "value": "x" })), 400, "mutability"),
        ("PATCH", user, op(json!({ "op": "remove" })), 400, "noTarget"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" })), 400, "noTarget"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "colour", "value": "x" })), 400, "invalidPath"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "emails[type zz].value", "value": "x" })), 400, "invalidFilter"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "active", "value": "maybe" })), 400, "invalidValue"),
        ("PATCH", user, op(json!({ "op": "replace", "path": "userName", "value": "B@corp.example" })), 409, "uniqueness"),
        ("PATCH", user, op(json!({ "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": a })), 400, "invalidValue"),
        ("GET", "/Users?filter=userName", Value::Null, 400, "invalidFilter"),
        ("GET", "/Users?count=many", Value::Null, 400, "invalidValue"),
        ("GET", "/Users?attributes=a&excludedAttributes=b", Value::Null, 400, "invalidValue"),
        ("POST", "/Groups", json!({ "displayName": " " }), 400, "invalidValue"),
        ("POST", "/Groups", json!({ "displayName": "g", "members": [{ "type": "User" }] }), 400, "invalidValue"),
        ("POST", "/.search", json!({ "count": "x" }), 400, "invalidSyntax"),
    ];
    for (method, path, body, status, kind) in cases {
        let (found, fault) = provider.ask(method, path, body.clone()).await;
        assert_eq!((found, &fault["scimType"]), (status, &json!(kind)), "{method} {path} {body}: {fault}");
        assert_eq!(fault["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    }
    for (method, path, status) in [
        ("GET", "/Users/per_00000000000000000000000000", 404), ("GET", "/Users/%00", 404), ("PUT", "/Users/x", 404),
        ("GET", "/Nothing", 404), ("GET", "/Schemas/x", 404), ("POST", "/Schemas", 405), ("DELETE", "/Users", 405), ("POST", "/Bulk", 501),
    ] {
        let body = if method == "GET" { Value::Null } else { json!({ "schemas": [USER], "userName": "q@q.q" }) };
        assert_eq!(provider.ask(method, path, body).await.0, status, "{method} {path}");
    }
    let garbage = http().post(format!("{}/Users", provider.base)).bearer_auth(&provider.token);
    let answer = garbage.header("content-type", "application/scim+json").body("{").send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    let other = http().post(format!("{}/Users", provider.base)).bearer_auth(&provider.token).body("userName=x");
    assert_eq!(other.send().await.expect("an answer").status(), 415);
    // A circle of managers is refused, too.
    provider.patch(user, json!([{ "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": b }])).await;
    let circle = op(json!({ "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": a }));
    assert_eq!(provider.ask("PATCH", &format!("/Users/{b}"), circle).await.0, 400);
    office.running.stop().await;
}

/// A source that empties itself takes nobody's access away: it sees what it said, and an administrator decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_says_that_everybody_left_is_held() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    let mut ids = Vec::new();
    for i in 0..8 {
        ids.push(provider.user(&format!("staff{i}")).await);
    }
    for (i, id) in ids.iter().enumerate() {
        let shown = provider.patch(&format!("/Users/{id}"), json!([{ "op": "Replace", "path": "active", "value": "False" }])).await;
        assert_eq!(shown["active"], false, "{i}");
        let person = office.does(&admin, "GET", &format!("/api/people/{id}"), Value::Null).await;
        assert_eq!(person["active"], i >= 5, "{i}");
    }
    let held = office.does(&admin, "GET", "/api/leavers?state=held", Value::Null).await;
    assert_eq!((held["items"].as_array().expect("items").len(), &held["items"][0]["sourceName"]), (3, &json!("SCIM: Entra")));
    // One was a mistake of the source, one is deleted there, one stays because an administrator says so.
    provider.patch(&format!("/Users/{}", ids[5]), json!([{ "op": "replace", "path": "active", "value": true }])).await;
    assert_eq!(provider.ask("DELETE", &format!("/Users/{}", ids[6]), Value::Null).await.0, 204);
    assert_eq!(provider.ask("GET", &format!("/Users/{}", ids[6]), Value::Null).await.0, 404);
    let held = office.does(&admin, "GET", "/api/leavers?state=held", Value::Null).await;
    let waiting: Vec<String> = held["items"].as_array().expect("items").iter().map(id_of).collect();
    assert_eq!(waiting.len(), 2);
    let body = json!({ "ids": waiting, "decision": "dismiss", "reason": "the directory was wrong" });
    office.does(&admin, "POST", "/api/leavers/decide", body).await;
    let shown = provider.does("GET", &format!("/Users/{}", ids[7]), Value::Null).await;
    assert_eq!(shown["active"], true, "the source sees that they are there");
    office.running.stop().await;
}

/// The last administrator does not leave, whatever a source says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_does_not_lock_the_last_administrator_out() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    let found = provider.does("GET", &format!("/Users?{}", filter(&format!("userName eq \"{ADMIN}\""))), Value::Null).await;
    provider.patch(&format!("/Users/{}", id_of(&found["Resources"][0])), json!([{ "op": "replace", "path": "active", "value": false }])).await;
    let held = office.does(&admin, "GET", "/api/leavers?state=held", Value::Null).await;
    assert!(held["items"][0]["heldBecause"].as_str().expect("text").contains("only administrator"), "{held}");
    // Somebody whom no source spoke of is found by their address, and is theirs from then on.
    let found = provider.does("GET", &format!("/Users?{}", filter(&format!("userName eq \"{ADA}\""))), Value::Null).await;
    let ada = id_of(&found["Resources"][0]);
    provider.patch(&format!("/Users/{ada}"), json!([{ "op": "replace", "path": "title", "value": "Countess" }])).await;
    let person = office.does(&admin, "GET", &format!("/api/people/{ada}"), Value::Null).await;
    assert_eq!((&person["attributes"]["title"], &person["attributes"]["uid"]), (&json!("Countess"), &json!("ada")));
    office.running.stop().await;
}

/// From `active: false` to a directory without the account it takes seconds, of which 60 are allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_active_in_scim_is_gone_from_slapd() {
    let slapd = Slapd::start().await;
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let provider = Provider::of(&office, &admin, "Entra").await;
    let connector = office
        .does(&admin, "POST", "/api/connectors", json!({
            "name": "LDAP", "kind": "ldap", "config": { "url": slapd.url, "bindDn": ADMIN_DN }, "secrets": { "password": ADMIN_PASSWORD },
        }))
        .await;
    let dn = format!("uid={{{{ person.attributes.employeeNumber }}}},ou=people,{BASE_DN}");
    let attributes = json!({ "objectClass": ["inetOrgPerson"], "uid": "{{ person.attributes.employeeNumber }}", "cn": "{{ person.displayName }}", "sn": "{{ person.displayName }}" });
    let entitlement = office
        .does(&admin, "POST", "/api/entitlements", json!({
            "name": "Account", "connectorId": connector["id"],
            "provision": { "command": "add_entry", "params": { "dn": dn, "attributes": attributes } },
            "deprovision": { "command": "delete_entry", "params": { "dn": dn } },
            "check": { "command": "has_entry", "params": { "dn": dn } },
        }))
        .await;
    let role = json!({ "name": "staff", "description": "", "requiredDocumentTypes": [], "entitlementIds": [entitlement["id"]] });
    let role = id_of(&office.does(&admin, "POST", "/api/roles", role).await);
    let body = json!({ "schemas": [USER, ENTERPRISE], "userName": "zoe@corp.example", "displayName": "Zoe", ENTERPRISE: { "employeeNumber": "zoe7" } });
    let zoe = id_of(&provider.does("POST", "/Users", body).await);
    office.does(&admin, "POST", "/api/assignments", json!({ "personId": zoe, "roleId": role, "reason": "staff" })).await;
    let entry = format!("uid=zoe7,ou=people,{BASE_DN}");
    let there = |wanted: bool| {
        let (slapd, entry) = (&slapd, &entry);
        async move { (slapd.find(entry) == wanted).then_some(()) }
    };
    eventually("the account is there", Duration::from_secs(20), || there(true)).await;
    provider.patch(&format!("/Users/{zoe}"), json!([{ "op": "Replace", "path": "active", "value": "False" }])).await;
    eventually("the account is gone", Duration::from_secs(20), || there(false)).await;
    eventually("Tenure knows it", Duration::from_secs(20), || async {
        let held = office.does(&admin, "GET", &format!("/api/assignments?personId={zoe}"), Value::Null).await;
        (held["items"][0]["state"] == "revoked").then_some(())
    })
    .await;
    office.running.stop().await;
}
