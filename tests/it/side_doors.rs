//! Nobody opens a way around an approval alone: whatever their role, however they signed in.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD};
use tenure::base::access::SystemRole;
use tenure::params;
use tenure::platform::store::Tx;

use crate::support::office::{MILO, Office, Who, id_of};
use crate::support::people::set_up;
use crate::support::{Server, command, eventually, http};

/// What stands for access and for the ways to it.
async fn access(office: &Office) -> Vec<(String, u32)> {
    let count = |sql: &'static str| move |tx: &Tx<'_>| tx.scalar::<u32>(sql, params![]);
    let mut found = vec![
        ("assignments".to_owned(), office.read(count("SELECT count(*) FROM assignment")).await),
        ("grants".to_owned(), office.read(count("SELECT count(*) FROM access_grant")).await),
        ("ends".to_owned(), office.read(count("SELECT coalesce(sum(expires_at) / 1000 % 4000000000, 0) FROM assignment")).await),
        ("active versions".to_owned(), office.read(count("SELECT count(*) FROM workflow WHERE status = 'active'")).await),
        ("decided approvals".to_owned(), office.read(count("SELECT count(*) FROM approval WHERE state <> 'pending'")).await),
    ];
    for action in ["role.granted", "role.extended", "run.step_skipped", "run.variables_changed", "workflow.published",
                   "approval.decided", "exception.approved", "setting.changed", "break_glass.used", "connector.keys_rotated"] {
        let sql = "SELECT count(*) FROM audit_log WHERE action = ?1";
        found.push((action.to_owned(), office.read(move |tx| tx.scalar(sql, params![action])).await));
    }
    found
}

/// A run that waits for Rosa, whose approval grants the role.
fn guarded() -> Value {
    json!({
        "name": "Guarded", "variables": [{ "name": "days", "type": "number", "default": 7 }],
        "steps": [
            { "id": "review", "name": "Review", "type": "approval", "transitions": [{ "on": "approved", "to": "grant" }],
              "config": { "title": "For {{ vars.days }} days?", "approvers": [{ "group": "genome-reviewers" }] } },
            { "id": "grant", "name": "Grant", "type": "role_grant",
              "config": { "role": "reader", "durationDays": "{{ vars.days }}", "reason": "asked for" } },
        ],
    })
}

struct World {
    office: Office,
    admin: Who,
    run: String,
    forked: String,
    role: String,
    assignment: String,
    approval: String,
}

/// Everything is set up while one person may; then the rule is switched on.
async fn world() -> World {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let role = office.role(&admin, "reader").await;
    let workflow = office.workflow(&admin, guarded()).await;
    let start = |id: String| format!("/api/workflows/{id}/start");
    let run = id_of(&office.does(&ada, "POST", &start(workflow), json!({ "input": {} })).await);
    // The approval stands inside a branch: passing over the fork would pass over it.
    let mut forked = guarded();
    forked["name"] = json!("Forked");
    let steps = forked["steps"].as_array_mut().expect("steps");
    steps[0]["transitions"] = json!([]);
    steps.insert(0, json!({ "id": "fork", "name": "Fork", "type": "parallel", "config": { "branches": ["review", "nap"] },
                            "transitions": [{ "on": "success", "to": "grant" }] }));
    steps.push(json!({ "id": "nap", "name": "Nap", "type": "delay", "config": { "seconds": 86400 } }));
    let workflow = office.workflow(&admin, forked).await;
    let forked = id_of(&office.does(&ada, "POST", &start(workflow), json!({ "input": {} })).await);
    let body = json!({ "personId": ada_id, "roleId": role, "reason": "a beginning", "expiresAt": "2099-01-01T00:00:00Z" });
    let (status, made) = office.ask(&admin, "POST", "/api/assignments", body).await;
    assert_eq!(status, 201, "{made}");
    let pending = office.does(&admin, "GET", "/api/approvals?state=pending", Value::Null).await;
    let approval = id_of(pending["items"].as_array().expect("items").last().expect("one"));
    office.four_eyes(&admin).await;
    World { office, admin, run, forked, role, assignment: id_of(&made), approval }
}

impl World {
    /// Every side door, tried by `who`, who is or speaks for the person `id`; answers what each answered.
    async fn try_doors(&self, who: &Who, id: &str, uncertain: bool) -> Vec<(&'static str, u16)> {
        let (run, forked) = (&self.run, &self.forked);
        let why = "because I want it";
        let mut tried: Vec<(&'static str, &str, String, Value)> = vec![
            ("skip", "POST", format!("/api/runs/{run}/skip-step"), json!({ "stepId": "review", "reason": why })),
            ("skip fork", "POST", format!("/api/runs/{forked}/skip-step"), json!({ "stepId": "fork", "reason": why })),
            ("skip branch", "POST", format!("/api/runs/{forked}/skip-step"), json!({ "stepId": "review", "reason": why })),
            ("variables", "PUT", format!("/api/runs/{run}/variables"), json!({ "values": { "days": 3000 }, "reason": why })),
            ("grant", "POST", "/api/assignments".to_owned(), json!({ "personId": id, "roleId": self.role, "reason": why })),
            ("extend", "POST", format!("/api/assignments/{}/extend", self.assignment),
             json!({ "expiresAt": "2099-06-01T00:00:00Z", "reason": why })),
            ("rule off", "PUT", "/api/settings/security".to_owned(), json!({ "fourEyes": false })),
            ("rule back", "PUT", "/api/settings/security".to_owned(), json!({ "fourEyes": null })),
            ("rotate keys", "POST", "/api/connectors/rotate-keys".to_owned(), json!({ "reason": why })),
            ("erase", "POST", "/api/audit/erase".to_owned(), json!({ "personId": id, "reason": why })),
            ("ask rule off", "POST", "/api/exceptions".to_owned(), json!({ "kind": "four_eyes_off", "reason": why })),
        ];
        if uncertain {
            // Whoever decides an approval as themselves goes through no side door.
            tried.push(("decide", "POST", format!("/api/approvals/{}/decide", self.approval), json!({ "decision": "approve" })));
        }
        let mut found = Vec::new();
        for (door, method, path, body) in tried {
            found.push((door, self.office.ask(who, method, &path, body).await.0));
        }
        let (status, draft) = self.office.ask(who, "POST", "/api/workflows", json!({ "definition": guarded() })).await;
        if status == 201 {
            let path = format!("/api/workflows/{}/publish", id_of(&draft));
            found.push(("publish", self.office.ask(who, "POST", &path, json!({ "reason": why })).await.0));
        }
        found
    }

    /// Agrees to everything that waits, by every means; answers what was answered.
    async fn agree_to_all(&self, means: &[(&'static str, Who)]) -> Vec<(&'static str, u16)> {
        let pending = self.office.does(&self.admin, "GET", "/api/exceptions?state=pending&limit=200", Value::Null).await;
        let mut found = Vec::new();
        for exception in pending["items"].as_array().expect("items") {
            let path = format!("/api/exceptions/{}/decide", id_of(exception));
            for (name, who) in means {
                let body = json!({ "decision": "approve", "reason": "I agree with myself" });
                found.push((*name, self.office.ask(who, "POST", &path, body).await.0));
            }
        }
        found
    }

    async fn forget_what_waits(&self) {
        let forget = |tx: &Tx<'_>| tx.execute("UPDATE exception SET state = 'expired' WHERE state = 'pending'", params![]);
        self.office.running.app.store.write(forget).await.expect("writes");
    }
}

/// Each side door, tried as every role with every kind of sign-in, gives nobody anything alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_side_door_opens_to_one_person_alone() {
    let world = world().await;
    let office = &world.office;
    let before = access(office).await;
    let mut asked = 0;
    for email in Office::everybody() {
        let (session, id) = office.sign_in(email).await;
        let own = office.own_token(&session).await;
        // An administrator's token is made at the machine; the others' by the administrator.
        let maker = if email == ADMIN { Who::Machine } else { world.admin.clone() };
        let foreign = office.foreign_token(&maker, email).await;
        // Whoever may make tokens speaks for somebody else as well.
        let mut means = vec![("session", session), ("own token", own), ("foreign token", foreign), ("machine", Who::Machine)];
        if email == ADMIN {
            means.push(("token for another", office.foreign_token(&world.admin, MONA).await));
        }
        for (name, who) in &means {
            let uncertain = !matches!(*name, "session" | "own token");
            for (door, status) in world.try_doors(who, &id, uncertain).await {
                let expected: &[u16] = if uncertain { &[401, 403, 404, 409] } else { &[202, 403, 404, 409] };
                assert!(expected.contains(&status), "{email} with {name}: {door} answers {status}");
                asked += u32::from(status == 202);
            }
        }
        for (name, status) in world.agree_to_all(&means).await {
            assert!([403, 404].contains(&status), "{email} with {name} agrees: {status}");
        }
        assert_eq!(access(office).await, before, "{email}");
        world.forget_what_waits().await;
    }
    assert!(asked >= 12, "the doors were there: {asked}");
    let waiting = office.does(&world.admin, "GET", &format!("/api/runs/{}", world.run), Value::Null).await;
    assert_eq!(waiting["status"], "waiting");
    world.office.running.stop().await;
}

/// What one asks for and another agrees to is done, once, and the audit log names both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_person_opens_a_side_door_and_both_are_written_down() {
    let world = world().await;
    let office = &world.office;
    let (mona, mona_id) = office.sign_in(MONA).await;
    let (milo, milo_id) = office.sign_in(MILO).await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let ask = async |method: &str, path: String, body: Value| {
        let (status, asked) = office.ask(&mona, method, &path, body).await;
        assert_eq!(status, 202, "{path}: {asked}");
        assert_eq!((&asked["state"], &asked["canDecide"]), (&json!("pending"), &json!(false)));
        id_of(&asked)
    };
    let agree = async |id: &str| {
        let body = json!({ "decision": "approve", "reason": "I looked at it" });
        let decided = office.does(&milo, "POST", &format!("/api/exceptions/{id}/decide"), body.clone()).await;
        assert_eq!(decided["state"], "approved");
        assert_eq!(office.ask(&milo, "POST", &format!("/api/exceptions/{id}/decide"), body).await.0, 409, "once");
    };
    let path = format!("/api/runs/{}/variables", world.run);
    let variables = ask("PUT", path.clone(), json!({ "values": { "days": 9 }, "reason": "a slip" })).await;
    let again = office.ask(&mona, "PUT", &path, json!({ "values": { "days": 8 }, "reason": "a slip" })).await;
    assert_eq!(again.0, 409, "one wish at a time");
    let mine = office.does(&milo, "GET", "/api/exceptions?mine=true", Value::Null).await;
    assert_eq!(id_of(&mine["items"][0]), variables);
    let hers = office.does(&mona, "GET", "/api/exceptions?mine=true", Value::Null).await;
    assert_eq!(hers["items"], json!([]));
    agree(&variables).await;
    let run = office.does(&ada, "GET", &format!("/api/runs/{}", world.run), Value::Null).await;
    assert_eq!((&run["variables"]["days"], &run["exception"]), (&json!(9), &json!(true)));

    let skip = ask("POST", format!("/api/runs/{}/skip-step", world.run), json!({ "reason": "Rosa is away" })).await;
    let told = office.does(&ada, "GET", "/api/notifications", Value::Null).await;
    assert!(told["items"].to_string().contains("pass over “Review”"), "the requestor is told: {told}");
    agree(&skip).await;
    office.run_that_is(&ada, &world.run, "completed").await;

    let extend = json!({ "expiresAt": "2099-06-01T00:00:00Z", "reason": "the project lasts longer" });
    agree(&ask("POST", format!("/api/assignments/{}/extend", world.assignment), extend).await).await;
    let assignment = office.does(&ada, "GET", &format!("/api/assignments/{}", world.assignment), Value::Null).await;
    assert_eq!(assignment["expiresAt"], "2099-06-01T00:00:00.000Z");
    let grant = json!({ "personId": ada_id, "roleId": world.role, "reason": "for the move" });
    agree(&ask("POST", "/api/assignments".to_owned(), grant).await).await;

    for (action, count) in [("run.variables_changed", 1), ("run.step_skipped", 1), ("role.extended", 1), ("role.granted", 2)] {
        let sql = "SELECT s.state FROM audit_log l JOIN audit_state s ON s.seq = l.seq AND s.part = 'context'
                   WHERE l.action = ?1 AND CAST(s.state AS TEXT) LIKE '%\"exception\":{\"decidedBy\":\"per%'";
        let found = office.read(move |tx| tx.query(sql, params![action], |r| r.get::<Vec<u8>>("state"))).await;
        assert_eq!(found.len(), count, "{action}");
        let context = String::from_utf8_lossy(&found[0]).into_owned();
        assert!(context.contains(&mona_id) && context.contains(&milo_id), "{context}");
    }
    world.office.running.stop().await;
}

/// What is done is what was asked for: a draft that changed since is not published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_since_it_was_asked_for_is_not_done() {
    let world = world().await;
    let office = &world.office;
    let (mona, _) = office.sign_in(MONA).await;
    let (milo, _) = office.sign_in(MILO).await;
    let draft = id_of(&office.does(&mona, "POST", "/api/workflows", json!({ "definition": guarded() })).await);
    let publish = format!("/api/workflows/{draft}/publish");
    assert_eq!(office.ask(&mona, "POST", &publish, Value::Null).await.0, 422, "a reason is needed");
    let asked = office.does(&mona, "POST", &publish, json!({ "reason": "it is ready" })).await;
    let mut other = guarded();
    other["steps"][0]["config"]["approvers"] = json!([{ "systemRole": "requestor" }]);
    office.does(&mona, "PUT", &format!("/api/workflows/{draft}"), json!({ "definition": other })).await;
    let decide = format!("/api/exceptions/{}/decide", id_of(&asked));
    let agree = json!({ "decision": "approve", "reason": "looks good" });
    let (status, why) = office.ask(&milo, "POST", &decide, agree.clone()).await;
    assert_eq!(status, 409, "{why}");
    let refuse = json!({ "decision": "reject", "reason": "it changed" });
    assert_eq!(office.does(&milo, "POST", &decide, refuse).await["state"], "rejected");
    assert_eq!(office.does(&mona, "GET", &format!("/api/workflows/{draft}"), Value::Null).await["status"], "draft");
    // Somebody who did not write it publishes it alone; a token that somebody else made does not.
    let foreign = office.foreign_token(&world.admin, MILO).await;
    assert_eq!(office.ask(&foreign, "POST", &publish, json!({ "reason": "x" })).await.0, 403);
    assert_eq!(office.does(&milo, "POST", &publish, Value::Null).await["status"], "active");
    // What a token wrote that somebody else made may be anybody's: nobody publishes it alone.
    let draft = id_of(&office.does(&foreign, "POST", "/api/workflows", json!({ "definition": guarded() })).await);
    let publish = format!("/api/workflows/{draft}/publish");
    assert_eq!(office.ask(&world.admin, "POST", &publish, json!({ "reason": "x" })).await.0, 202);
    world.office.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_is_switched_off_by_two_and_on_by_one() {
    let world = world().await;
    let office = &world.office;
    let body = json!({ "kind": "four_eyes_off", "reason": "we are too few" });
    let (status, alone) = office.ask(&world.admin, "POST", "/api/exceptions", body.clone()).await;
    assert_eq!(status, 409, "there is one administrator only: {alone}");
    // Whoever makes a second account is still one person.
    let second = json!({ "email": "me@example.org", "displayName": "Me again", "password": PASSWORD, "roles": ["admin"] });
    office.does(&world.admin, "POST", "/api/accounts", second).await;
    assert_eq!(office.ask(&world.admin, "POST", "/api/exceptions", body.clone()).await.0, 409);
    office.add("Iris", "iris@example.org", SystemRole::Admin).await;
    let asked = office.does(&world.admin, "POST", "/api/exceptions", body).await;
    let deciders = asked["deciders"].as_array().expect("people");
    assert_eq!((deciders.len(), &deciders[0]["displayName"]), (1, &json!("Iris")));
    let (mona, _) = office.sign_in(MONA).await;
    let decide = format!("/api/exceptions/{}/decide", id_of(&asked));
    let agree = json!({ "decision": "approve", "reason": "so be it" });
    assert_eq!(office.ask(&mona, "POST", &decide, agree.clone()).await.0, 404, "who may not change settings does not see it");
    let (again, _) = office.sign_in("me@example.org").await;
    assert_eq!(office.ask(&again, "POST", &decide, agree.clone()).await.0, 403, "it may be the same person");
    let (iris, _) = office.sign_in("iris@example.org").await;
    office.does(&iris, "POST", &decide, agree).await;
    let rule = office.does(&iris, "GET", "/api/settings/security", Value::Null).await;
    assert_eq!((&rule["fourEyes"]["value"], &rule["fourEyes"]["source"]), (&json!(false), &json!("saved")));
    office.four_eyes(&iris).await;
    world.office.running.stop().await;
}

/// Once somebody else agreed a job seals the secrets anew, in the name of both, and tells both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_by_two() {
    let world = world().await;
    let office = &world.office;
    let secret = json!({
        "name": "API", "kind": "http", "config": { "baseUrl": "https://api.example.org", "auth": "bearer" },
        "secrets": { "token": "hunter2-hunter2" },
    });
    office.does(&world.admin, "POST", "/api/connectors", secret).await;
    let (path, body) = ("/api/connectors/rotate-keys", json!({ "reason": "the old key was seen" }));
    let (status, alone) = office.ask(&world.admin, "POST", path, body.clone()).await;
    assert_eq!(status, 409, "there is one administrator only: {alone}");
    office.add("Iris", "iris@example.org", SystemRole::Admin).await;
    let (iris, iris_id) = office.sign_in("iris@example.org").await;
    let (mona, _) = office.sign_in(MONA).await;
    assert_eq!(office.ask(&world.admin, "POST", path, Value::Null).await.0, 422, "a reason is needed");
    assert_eq!(office.ask(&Who::Machine, "POST", path, body.clone()).await.0, 403, "a command is nobody in particular");
    let (status, asked) = office.ask(&world.admin, "POST", path, body.clone()).await;
    assert_eq!((status, &asked["kind"], &asked["targetId"]), (202, &json!("rotate_keys"), &json!("connectors")), "{asked}");
    assert_eq!(office.ask(&iris, "POST", path, body).await.0, 409, "it is asked for once at a time");
    assert_eq!(access(office).await.last(), Some(&("connector.keys_rotated".to_owned(), 0)));
    let decide = format!("/api/exceptions/{}/decide", id_of(&asked));
    let agree = json!({ "decision": "approve", "reason": "I saw it, too" });
    assert_eq!(office.ask(&mona, "POST", &decide, agree.clone()).await.0, 404, "who may not rotate does not see it");
    assert_eq!(office.ask(&world.admin, "POST", &decide, agree.clone()).await.0, 403, "not by oneself");
    assert_eq!(office.does(&iris, "POST", &decide, agree).await["state"], "approved");
    for who in [&world.admin, &iris] {
        eventually("both are told", Duration::from_secs(10), || async {
            let told = office.does(who, "GET", "/api/notifications", Value::Null).await;
            let told = told["items"].to_string();
            told.contains("1 secrets: 0 sealed anew, 1 under the present key already").then_some(())
        })
        .await;
    }
    let sql = "SELECT s.state FROM audit_log l JOIN audit_state s ON s.seq = l.seq AND s.part = 'context'
               WHERE l.action = 'connector.keys_rotated'";
    let found = office.read(move |tx| tx.query(sql, params![], |r| r.get::<Vec<u8>>("state"))).await;
    let context = String::from_utf8_lossy(&found[0]).into_owned();
    assert!(found.len() == 1 && context.contains("\"requestedBy\":\"per") && context.contains(&iris_id), "{context}");
    world.office.running.stop().await;
}

/// The glass is broken for oneself, for a few hours, with everybody looking, and reviewed by somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_glass_is_short_seen_and_reviewed_by_somebody_else() {
    let world = world().await;
    let office = &world.office;
    let (mona, mona_id) = office.sign_in(MONA).await;
    let (milo, _) = office.sign_in(MILO).await;
    let (ada, _) = office.sign_in(ADA).await;
    let body = |reason: &str, hours: u32| json!({ "roleId": world.role, "reason": reason, "hours": hours });
    let good = "The cluster is down and nobody else is here.";
    let foreign = office.foreign_token(&world.admin, MONA).await;
    for (who, sent, expected) in [
        (&mona, body("Help!", 1), 422), (&mona, body(good, 9), 422), (&mona, body(good, 0), 422),
        (&ada, body(good, 1), 403), (&foreign, body(good, 1), 403), (&Who::Machine, body(good, 1), 403),
    ] {
        let (status, answer) = office.ask(who, "POST", "/api/break-glass", sent).await;
        assert_eq!(status, expected, "{answer}");
    }
    let broken = office.does(&mona, "POST", "/api/break-glass", body(good, 8)).await;
    assert_eq!(broken["person"]["id"], mona_id.as_str());
    assert_eq!(office.ask(&mona, "POST", "/api/break-glass", body(good, 8)).await.0, 409, "it is not prolonged");
    let told = office.does(&world.admin, "GET", "/api/notifications", Value::Null).await;
    assert!(told["items"].to_string().contains("broke the glass"), "administrators are told at once: {told}");
    assert_eq!(told["items"][0]["link"], format!("/break-glass?id={}", id_of(&broken)));
    let one = format!("/api/break-glass/{}", id_of(&broken));
    assert_eq!(office.does(&world.admin, "GET", &one, Value::Null).await["canReview"], true);
    assert_eq!(office.does(&mona, "GET", &one, Value::Null).await["canReview"], false);
    assert_eq!(office.ask(&ada, "GET", &one, Value::Null).await.0, 403);
    let assignment = broken["assignmentId"].as_str().expect("an id");
    let extend = json!({ "expiresAt": "2099-06-01T00:00:00Z", "reason": "longer" });
    assert_eq!(office.ask(&milo, "POST", &format!("/api/assignments/{assignment}/extend"), extend).await.0, 409);
    let review = format!("/api/break-glass/{}/review", id_of(&broken));
    let verdict = json!({ "verdict": "unjustified", "reason": "somebody was there" });
    assert_eq!(office.ask(&mona, "POST", &review, verdict.clone()).await.0, 403, "not by oneself");
    let open = office.does(&milo, "GET", "/api/break-glass?open=true", Value::Null).await;
    assert_eq!(id_of(&open["items"][0]), id_of(&broken));
    assert_eq!(office.does(&milo, "POST", &review, verdict.clone()).await["verdict"], "unjustified");
    assert_eq!(office.ask(&world.admin, "POST", &review, verdict).await.0, 409, "once");
    let left = office.does(&mona, "GET", &format!("/api/assignments/{assignment}"), Value::Null).await;
    assert!(["revoking", "revoked"].contains(&left["state"].as_str().expect("a state")), "{left}");
    world.office.running.stop().await;
}

/// The ways to a side door go through one file, so that none is forgotten.
#[test]
fn side_doors_have_one_way_in() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut faults = Vec::new();
    let rules: [(&str, &[&str]); 11] = [
        ("repair::skip(", &["workflow/exceptions/ops.rs"]),
        ("repair::correct(", &["workflow/exceptions/ops.rs"]),
        ("definitions::ops::publish(", &["workflow/exceptions/ops.rs"]),
        ("assignments::ops::grant(",
         &["workflow/exceptions/ops.rs", "workflow/exceptions/break_glass/ops.rs", "workflow/runs/effects.rs",
           "imports/assignments.rs", "access/reconciliation/adoption/ops.rs"]),
        ("adoptions::adopt_one(", &["workflow/exceptions/ops.rs"]),
        ("adoptions::begin(", &["workflow/exceptions/ops.rs"]),
        ("assignments::ops::extend(", &["workflow/exceptions/ops.rs"]),
        ("rotation::begin(", &["workflow/exceptions/ops.rs"]),
        ("erasure::ops::begin(", &["workflow/exceptions/ops.rs"]),
        ("rotation::rotate_keys(", &["workflow/exceptions/rotation/api.rs"]),
        ("Event::Skip {", &["workflow/runs/repair.rs", "workflow/engine/"]),
    ];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let shown = path.display().to_string();
            if !shown.ends_with(".rs") || shown.ends_with("tests.rs") || shown.ends_with("testing.rs") || shown.contains("/tests/") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source");
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (call, allowed) in rules {
                if product.contains(call) && !allowed.iter().any(|a| shown.contains(a)) {
                    faults.push(format!("{shown} has {call}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "what opens a way around an approval is done by exceptions/ops.rs alone:\n{}", faults.join("\n"));
}

/// In production the rule is on without anybody saying so.
#[tokio::test]
async fn in_production_it_takes_two_from_the_start() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let init = command(&["init"]).env("DATA_DIR", &data).output().expect("runs");
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let server = Server::start(&["serve"], &data, &[("APP_ENV", "production")]).await;
    let token = set_up(&server, &data).await;
    let settings = format!("{}/api/settings/security", server.base);
    let found: Value =
        http().get(settings).bearer_auth(token).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!((&found["fourEyes"]["value"], &found["fourEyes"]["source"]), (&json!(true), &json!("default")));
}
