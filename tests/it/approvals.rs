//! Approvals over HTTP, from the request to the decision.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tenure::app::Running;
use tenure::app::demo::organisation::create_people;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA};
use tenure::config::{Config, Reader};
use tenure::platform::clock::SystemClock;

use crate::support::{free_port, http};

/// Somebody signed in.
struct Person {
    base: String,
    cookie: String,
    csrf: String,
    id: String,
}

impl Person {
    async fn sign_in(running: &Running, email: &str) -> Self {
        let base = running.base.clone();
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = http().post(format!("{base}/api/auth/login")).json(&body).send().await.expect("an answer");
        let cookie =
            answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
        let me: Value = answer.json().await.expect("JSON");
        let text = |pointer: &str| me.pointer(pointer).and_then(Value::as_str).expect("text").to_owned();
        Self { csrf: text("/csrfToken"), id: text("/person/id"), base, cookie }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let answer = http()
            .request(method, format!("{}{path}", self.base))
            .header("cookie", &self.cookie)
            .header("x-csrf-token", &self.csrf)
            .json(&body)
            .send()
            .await
            .expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(Method::POST, path, body).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// The one approval that waits for this person.
    async fn waiting(&self) -> Value {
        let page = self.get("/api/approvals?mine=true").await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
        page["items"][0].clone()
    }
}

async fn start(dir: &tempfile::TempDir) -> Running {
    let vars = [("DATA_DIR", dir.path().join("data").display().to_string()), ("PORT", free_port().to_string())];
    let config = Config::from_reader(Reader::new(vars.map(|(k, v)| (k.to_owned(), v)))).expect("valid").0;
    let running = tenure::app::start(config, Arc::new(SystemClock)).await.expect("starts");
    create_people(&running.app.store, &running.app.identity.passwords).await.expect("people");
    running
}

async fn everybody(running: &Running) -> [Person; 4] {
    [
        Person::sign_in(running, ADMIN).await,
        Person::sign_in(running, MONA).await,
        Person::sign_in(running, ROSA).await,
        Person::sign_in(running, ADA).await,
    ]
}

async fn published(admin: &Person, config: Value) -> String {
    let definition = json!({ "name": "Access", "steps": [
        { "id": "review", "name": "Review", "type": "approval", "config": config } ] });
    let draft = admin.post("/api/workflows", json!({ "definition": definition })).await;
    let id = draft["id"].as_str().expect("an id");
    admin.post(&format!("/api/workflows/{id}/publish"), json!({})).await;
    id.to_owned()
}

/// Two stages with a quorum, a question, a hand-over: each turn is seen by those whom it concerns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_with_a_question_and_a_hand_over_is_decided_over_http() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(&dir).await;
    let [admin, mona, rosa, ada] = everybody(&running).await;
    let config = json!({ "title": "Archive", "pattern": "sequential", "stages": [
        { "name": "Line", "approvers": [{ "person": ROSA }] },
        { "name": "Owners", "approvers": [{ "person": MONA }, { "person": ADMIN }], "rule": { "quorum": 1 } } ],
        "escalation": { "remindAfterMinutes": [60], "last": { "afterMinutes": 120, "then": "reject" } } });
    let workflow = published(&admin, config).await;
    let run = ada.post(&format!("/api/workflows/{workflow}/start"), json!({})).await;
    let seen = rosa.waiting().await;
    let path = format!("/api/approvals/{}", seen["id"].as_str().expect("an id"));
    assert_eq!(
        (&seen["pattern"], &seen["stage"], &seen["canDecide"]),
        (&json!("sequential"), &json!(1), &json!(true))
    );
    assert_eq!(seen["stages"][0]["needed"], 1);
    assert_eq!((&seen["stages"][1]["name"], &seen["stages"][1]["state"]), (&json!("Owners"), &json!("coming")));
    assert_eq!(seen["escalation"]["endsWith"], "reject");
    assert_eq!(seen["escalation"]["remindsAt"].as_array().map(Vec::len), Some(1));

    rosa.post(&format!("{path}/ask"), json!({ "question": "For how long?" })).await;
    let answered = ada.post(&format!("{path}/answer"), json!({ "text": "Ten days" })).await;
    assert_eq!(
        (&answered["questions"][0]["kind"], &answered["questions"][1]["text"]),
        (&json!("question"), &json!("Ten days"))
    );
    assert_eq!((&answered["canAnswer"], &answered["canDecide"]), (&json!(true), &json!(false)));
    let (status, refused) =
        ada.ask(Method::POST, &format!("{path}/decide"), json!({ "decision": "approve" })).await;
    assert_eq!(status, 403, "{refused}");

    rosa.post(&format!("{path}/decide"), json!({ "decision": "approve" })).await;
    let second = mona.waiting().await;
    assert_eq!((&second["stage"], &second["votes"][0]["person"]["id"]), (&json!(2), &json!(rosa.id)));
    // Rosa has voted; Ada asked.
    for to in [&rosa.id, &ada.id] {
        let (status, refused) =
            mona.ask(Method::POST, &format!("{path}/delegate"), json!({ "to": to, "reason": "away" })).await;
        assert_eq!(status, 422, "{refused}");
    }
    let (status, done) =
        admin.ask(Method::POST, &format!("{path}/decide"), json!({ "decision": "approve" })).await;
    assert_eq!((status, &done["state"]), (200, &json!("approved")), "{done}");
    assert_eq!(done["stages"][1]["state"], "passed");
    assert_eq!(done["escalation"], Value::Null);
    let run = ada.get(&format!("/api/runs/{}", run["id"].as_str().expect("an id"))).await;
    assert_eq!(run["status"], "completed", "{run}");
    let told = ada.get("/api/notifications").await;
    let subjects: Vec<&str> =
        told["items"].as_array().expect("items").iter().filter_map(|n| n["subject"].as_str()).collect();
    assert_eq!(subjects, ["Decided: Archive", "Stage 1 of 2 is passed: Archive", "A question about: Archive"]);
    assert_eq!(told["items"][2]["link"], json!(path.replace("/api/approvals/", "/inbox?id=")), "where it is answered");
    running.stop().await;
}

/// A delegation is made, shown to both, followed, and ended; an administrator reassigns; the policy asks for
/// a reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delegations_and_reassignment_work_over_http() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(&dir).await;
    let [admin, mona, rosa, ada] = &everybody(&running).await;
    let (status, past) = rosa
        .ask(
            Method::POST,
            "/api/delegations",
            json!({ "delegateId": mona.id, "from": "2020-01-01T00:00:00Z",
            "to": "2020-01-02T00:00:00Z", "reason": "leave" }),
        )
        .await;
    assert_eq!(status, 422, "{past}");
    let now = tenure::base::clock::Clock::now(&SystemClock);
    let until = now.plus(std::time::Duration::from_secs(86_400));
    let body = json!({ "delegateId": mona.id, "from": now, "to": until, "reason": "leave" });
    let delegation = rosa.post("/api/delegations", body).await;
    assert_eq!((&delegation["inForce"], &delegation["delegate"]["id"]), (&json!(true), &json!(mona.id)));
    for (who, sees) in [(rosa, 1), (mona, 1), (ada, 0), (admin, 1)] {
        let list = who.get("/api/delegations").await;
        assert_eq!(list["items"].as_array().map(Vec::len), Some(sees), "{list}");
    }

    let workflow = published(admin, json!({ "title": "Archive", "approvers": [{ "person": ROSA }] })).await;
    ada.post(&format!("/api/workflows/{workflow}/start"), json!({})).await;
    let seen = mona.waiting().await;
    assert_eq!(seen["onBehalfOf"][0]["id"], json!(rosa.id), "{seen}");
    let ended = format!("/api/delegations/{}", delegation["id"].as_str().expect("an id"));
    assert_eq!(ada.ask(Method::DELETE, &ended, Value::Null).await.0, 403);
    assert_eq!(mona.ask(Method::DELETE, &ended, Value::Null).await.0, 404, "it is not hers");
    assert_eq!(rosa.ask(Method::DELETE, &ended, Value::Null).await.0, 204);

    let path = format!("/api/approvals/{}", seen["id"].as_str().expect("an id"));
    let reassigned =
        admin.post(&format!("{path}/reassign"), json!({ "to": [rosa.id], "reason": "she is back" })).await;
    assert_eq!(reassigned["approvers"][0]["id"], json!(rosa.id), "{reassigned}");
    let (status, settings) =
        admin.ask(Method::PUT, "/api/settings/security", json!({ "reasonPolicy": "both" })).await;
    assert_eq!((status, &settings["reasonPolicy"]["value"]), (200, &json!("both")), "{settings}");
    let decide = format!("{path}/decide");
    let (status, refused) = rosa.ask(Method::POST, &decide, json!({ "decision": "approve" })).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("reason")), "{refused}");
    let done = rosa.post(&decide, json!({ "decision": "approve", "reason": "known" })).await;
    assert_eq!(done["state"], "approved");
    assert_eq!(done["stages"][0]["approvers"].as_array().map(Vec::len), Some(2), "also who passed it on");
    running.stop().await;
}

/// An administrator has somebody decide for a person who is away: neither the person themselves nor the
/// administrator, and both are told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_names_who_decides_for_somebody_who_is_away() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(&dir).await;
    let [admin, mona, rosa, ada] = &everybody(&running).await;
    let listed = rosa.get("/api/deciders?q=a").await;
    let names: Vec<&str> =
        listed["items"].as_array().expect("items").iter().filter_map(|p| p["displayName"].as_str()).collect();
    assert!(names.is_sorted() && !names.is_empty(), "{names:?}");
    assert!(listed["items"].as_array().expect("items").iter().all(|p| p["id"] != json!(ada.id)), "Ada decides nothing");
    assert_eq!(rosa.get("/api/deciders?q=nobody").await["items"], json!([]));
    assert_eq!(ada.ask(Method::GET, "/api/deciders", Value::Null).await.0, 403);

    let now = tenure::base::clock::Clock::now(&SystemClock);
    let until = now.plus(std::time::Duration::from_secs(86_400));
    let body = |of: &Person, to: Option<&Person>| {
        json!({ "personId": of.id, "delegateId": to.map(|p| &p.id), "from": now, "to": until, "reason": "ill" })
    };
    for (who, sent, expected) in [
        (mona, body(rosa, Some(mona)), 403),
        (admin, body(rosa, Some(admin)), 422),
        (admin, body(rosa, Some(rosa)), 422),
        (admin, body(ada, Some(mona)), 422),
    ] {
        let (status, answer) = who.ask(Method::POST, "/api/delegations", sent).await;
        assert_eq!(status, expected, "{answer}");
    }
    // Whose manager is the administrator is not passed to their manager by that administrator.
    let reports = json!({ "managerId": admin.id });
    assert_eq!(admin.ask(Method::PATCH, &format!("/api/people/{}", rosa.id), reports).await.0, 200);
    let (status, refused) = admin.ask(Method::POST, "/api/delegations", body(rosa, None)).await;
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("delegateId")), "{refused}");

    let made = admin.post("/api/delegations", body(rosa, Some(mona))).await;
    assert_eq!((&made["person"]["id"], &made["delegate"]["id"]), (&json!(rosa.id), &json!(mona.id)));
    for (who, subject) in [(rosa, "Somebody else decides for you"), (mona, "You decide for Rosa Lindqvist")] {
        let told = who.get("/api/notifications").await;
        assert_eq!((&told["items"][0]["subject"], &told["items"][0]["link"]), (&json!(subject), &json!("/delegations")));
    }
    let path = format!("/api/delegations/{}", made["id"].as_str().expect("an id"));
    assert_eq!(admin.ask(Method::DELETE, &path, Value::Null).await.0, 204);
    assert_eq!(rosa.get("/api/notifications").await["items"][0]["subject"], "You decide for yourself again");
    running.stop().await;
}
