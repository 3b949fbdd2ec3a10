//! Who had what on a past day, why, and who agreed to it: as an auditor asks.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::client::Client;
use tenure::app::demo::story::{ADA, ADMIN, MONA, PASSWORD, ROSA, WORKFLOW};

use crate::support::office::{MILO, Office, id_of};
use crate::support::stage::{LIA, Stage};
use crate::support::{eventually, http};

/// Why it is ended; a spreadsheet would take it for a formula.
const OVER: &str = "=1+1, the project is over";
const DAY: Duration = Duration::from_secs(86_400);

/// The items of a list.
async fn listed(who: &Client, query: &str) -> Vec<Value> {
    who.list(&format!("/api/assignments?{query}")).await.expect("a list")
}

/// What a request is refused with.
async fn refused(who: &Client, path: &str) -> String {
    who.get(path).await.expect_err("it is refused").to_string()
}

/// A file as somebody gets it: its status, its headers as text, its content.
async fn file(stage: &Stage, email: &str, path: &str) -> (u16, String, String) {
    let base = &stage.running.base;
    let body = json!({ "email": email, "password": PASSWORD });
    let signed = http().post(format!("{base}/api/auth/login")).json(&body).send().await.expect("an answer");
    let cookie = signed.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let answer = http().get(format!("{base}{path}")).header("cookie", cookie).send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
    (status, headers, answer.text().await.expect("text"))
}

/// The rows of a file, cell by cell, without the head.
fn rows(text: &str) -> Vec<Vec<String>> {
    let table = tenure::features::imports::csv::read(text, 10_000, 50).expect("a table");
    table.rows.into_iter().map(|(_, cells)| cells).collect()
}

/// Two owners agree on 1 March for thirty days, an administrator lets it last until May, and ends it on 12 April.
async fn a_story(stage: &Stage) -> String {
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "project": "Rare variants", "days": 30 })).await;
    stage.decide(ROSA, &run, "approve").await;
    stage.decide(LIA, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    let id = stage.held_by("Research Workspace", 1).await[0]["id"].as_str().expect("an id").to_owned();
    stage.pass(2 * DAY);
    let admin = stage.sign_in(ADMIN).await;
    let extend = json!({ "expiresAt": "2031-05-01T00:00:00Z", "reason": "the project goes on" });
    let extended = admin.post(&format!("/api/assignments/{id}/extend"), extend).await.expect("is extended");
    assert_eq!((&extended["expiresAt"], &extended["documentEndsAt"]), (&json!("2031-05-01T00:00:00.000Z"), &Value::Null));
    // Past the old end: it is still there.
    stage.pass(40 * DAY);
    let admin = stage.sign_in(ADMIN).await;
    assert_eq!(stage.held_by("Research Workspace", 1).await[0]["id"], id.as_str());
    let body = json!({ "reason": OVER });
    admin.post(&format!("/api/assignments/{id}/revoke"), body).await.expect("is revoked");
    eventually("it is revoked", Duration::from_secs(20), || async {
        let found = admin.get(&format!("/api/assignments/{id}")).await.ok()?;
        (found["state"] == "revoked").then_some(())
    })
    .await;
    stage.pass(DAY);
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_had_what_is_answered_for_any_past_day() {
    let stage = Stage::start().await;
    let id = a_story(&stage).await;
    let admin = stage.sign_in(ADMIN).await;

    assert_eq!(listed(&admin, "asOf=2031-02-28").await, Vec::<Value>::new());
    assert!(refused(&admin, &format!("/api/assignments/{id}?asOf=2031-02-28")).await.contains("404"));
    let first = listed(&admin, "asOf=2031-03-01&held=true").await;
    assert_eq!(first.len(), 1, "{first:?}");
    let first = &first[0];
    assert_eq!((&first["state"], &first["person"]["displayName"]), (&json!("active"), &json!("Ada Marchetti")));
    assert!(first["expiresAt"].as_str().is_some_and(|at| at.starts_with("2031-03-31T12:0")), "the end in force then: {first}");
    assert!(first["grantedAt"].as_str().is_some_and(|at| at.starts_with("2031-03-01T12:0")) && first["runId"].is_string());
    assert_eq!((&first["asOf"], &first["endReason"]), (&json!("2031-03-01T23:59:59.999Z"), &Value::Null));
    assert_eq!((&first["grants"][0]["state"], &first["grants"].as_array().map(Vec::len)), (&json!("provisioned"), &Some(1)));
    let agreed = |of: &Value| -> Vec<(String, String)> {
        let text = |v: &Value| v.as_str().unwrap_or("–").to_owned();
        let all = of["approvedBy"].as_array().expect("a list").iter();
        all.map(|a| (text(&a["person"]["displayName"]), text(&a["way"]))).collect()
    };
    let both = [("Rosa Lindqvist", "approval"), ("Lia", "approval")].map(|(p, w)| (p.to_owned(), w.to_owned()));
    assert_eq!(agreed(first), both);
    assert_eq!((&first["approvedBy"][0]["reason"], &first["approvedBy"][0]["step"]), (&json!("Looked at it."), &json!("Data owners decide")));

    let later = listed(&admin, "asOf=2031-04-11&state=active").await;
    assert_eq!(later[0]["expiresAt"], "2031-05-01T00:00:00.000Z", "it was extended by then");
    let last = &later[0]["approvedBy"][2];
    assert_eq!((&last["way"], &last["person"]["displayName"], &last["reason"]),
        (&json!("extension"), &json!("Ines Adler"), &json!("the project goes on")));
    let over = listed(&admin, "asOf=2031-04-12").await;
    assert_eq!((&over[0]["state"], &over[0]["endReason"]), (&json!("revoked"), &json!(OVER)));
    assert_eq!(over[0]["grants"][0]["state"], "deprovisioned");
    for nothing in ["asOf=2031-04-12&state=active", "asOf=2031-04-12&held=true", "asOf=2031-03-01&state=revoked",
                    "asOf=2031-03-01&entitlementId=ent_00000000000000000000000000"] {
        assert_eq!(listed(&admin, nothing).await, Vec::<Value>::new(), "{nothing}");
    }
    let entitlement = first["grants"][0]["entitlementId"].as_str().expect("an id");
    let (person, role) = (first["person"]["id"].as_str().expect("an id"), first["role"]["id"].as_str().expect("an id"));
    for one in [format!("entitlementId={entitlement}"), format!("personId={person}"), format!("roleId={role}&entitlementId={entitlement}")] {
        assert_eq!(listed(&admin, &format!("asOf=2031-03-01&{one}")).await.len(), 1, "{one}");
        assert_eq!(listed(&admin, &one).await.len(), 1, "now: {one}");
    }
    let then = admin.get(&format!("/api/assignments/{id}?asOf=2031-03-01T18:00:00Z")).await.expect("an answer");
    assert_eq!((&then["state"], &then["expiresAt"]), (&json!("active"), &first["expiresAt"]));
    // The day that is not over is as it is now.
    assert_eq!(listed(&admin, "asOf=2031-04-13").await[0]["state"], "revoked");

    for (query, why) in [
        ("asOf=yesterday", "expected a day such as 2031-03-01, or an instant such as 2031-03-01T12:00:00Z"),
        ("asOf=2031-04-31", "expected a day"),
        ("asOf=2031-04-15", "expected an instant up to now, 2031-04-13T"),
        ("asOf=2031-03-01&held=true&state=revoked", "nobody has anything of what is revoked"),
    ] {
        for path in ["/api/assignments", "/api/assignments/export"] {
            let answer = refused(&admin, &format!("{path}?{query}")).await;
            assert!(answer.contains("422") && answer.contains(why), "{query}: {answer}");
        }
    }
    assert!(refused(&admin, "/api/documents?asOf=2031-04-15").await.contains("up to now"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_shown_to_whoever_may_see_the_present() {
    let stage = Stage::start().await;
    let id = a_story(&stage).await;
    let (ada, rosa) = (stage.sign_in(ADA).await, stage.sign_in(ROSA).await);
    assert_eq!(listed(&ada, "asOf=2031-03-01").await.len(), 1);
    assert_eq!(listed(&ada, &format!("asOf=2031-03-01&personId={}", rosa.person)).await, Vec::<Value>::new());
    assert_eq!(listed(&rosa, "asOf=2031-03-01").await, Vec::<Value>::new());
    assert_eq!(listed(&rosa, &format!("asOf=2031-03-01&personId={}", ada.person)).await, Vec::<Value>::new());
    for path in [format!("/api/assignments/{id}?asOf=2031-03-01"), format!("/api/assignments/{id}/history")] {
        assert!(refused(&rosa, &path).await.contains("404"), "{path}");
    }
    let all = ada.list(&format!("/api/assignments/{id}/history")).await.expect("her own");
    // She was perhaps reminded of the end as well, before it was over: that changed nothing.
    let changes: Vec<_> = all.iter().filter(|c| c["action"] != "role.reminded").collect();
    let told = |key: &'static str| -> Vec<String> {
        changes.iter().map(|c| c[key].as_str().unwrap_or("–").to_owned()).collect()
    };
    assert_eq!(told("action"), ["role.granted", "grant.provisioned", "role.activated", "role.extended", "role.revoking",
                                "grant.deprovisioning", "grant.deprovisioned", "role.revoked"]);
    assert_eq!(told("state"), ["provisioning", "provisioned", "active", "active", "revoking", "deprovisioning",
                               "deprovisioned", "revoked"]);
    assert_eq!((&changes[3]["by"]["name"], &changes[3]["reason"]), (&json!("Ines Adler"), &json!("the project goes on")));
    assert_eq!(changes[1]["entitlement"], "Workspace group");
    let page = ada.get(&format!("/api/assignments/{id}/history?limit=3")).await.expect("a page");
    let next = page["nextCursor"].as_str().expect("more");
    let rest = ada.list(&format!("/api/assignments/{id}/history?limit=200&cursor={next}")).await.expect("the rest");
    assert_eq!((page["items"].as_array().map(Vec::len), rest.len()), (Some(3), all.len() - 3));

    let (status, headers, text) = file(&stage, ADMIN, "/api/assignments/export?asOf=2031-03-01&held=true&format=csv").await;
    assert_eq!(status, 200, "{text}");
    assert!(headers.contains("text/csv; charset=utf-8") && headers.contains("access-2031-03-01T235959.999Z.csv"), "{headers}");
    let found = rows(&text);
    assert_eq!(found.len(), 1, "{text}");
    let row = found[0].join("|");
    for part in ["2031-03-01T23:59:59.999Z", "Ada Marchetti", "ada@example.org", "Research Workspace", "active",
                 "Rosa Lindqvist (approval, 2031-03-01T12:0", "; Lia (approval, ", "Workspace group (Staff directory): provisioned"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    // What somebody wrote is no formula.
    let found = rows(&file(&stage, ADMIN, "/api/assignments/export").await.2);
    assert!(found[0].contains(&format!("'{OVER}")), "{found:?}");
    assert_eq!(rows(&file(&stage, ADA, "/api/assignments/export?asOf=2031-03-01").await.2).len(), 1);
    assert_eq!(rows(&file(&stage, ROSA, "/api/assignments/export?asOf=2031-03-01").await.2).len(), 0);
    assert_eq!(file(&stage, ADMIN, "/api/assignments/export?format=xlsx").await.0, 422);
    stage.running.stop().await;
}

/// Hands a document of Ada's in, and has it approved.
async fn document(stage: &Stage, kind: &str, until: &str) -> String {
    let ada = stage.sign_in(ADA).await;
    let body = json!({ "type": kind, "personId": ada.person, "validFrom": "2031-01-01T00:00:00Z", "expiresAt": until });
    let id = ada.post("/api/documents", body).await.expect("is handed in")["id"].as_str().expect("an id").to_owned();
    stage.pass(DAY);
    let approve = format!("/api/documents/{id}/approve");
    stage.sign_in(MONA).await.post(&approve, json!({})).await.expect("is approved");
    id
}

/// Extending beyond a document is allowed, and said; the access ends with the document all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_ends_earlier_is_told_when_access_is_extended() {
    let stage = Stage::start().await;
    let agreement = document(&stage, "data-use-agreement", "2031-06-01T00:00:00Z").await;
    document(&stage, "training-certificate", "2032-01-01T00:00:00Z").await;
    let mona = stage.mona().await;
    let ada = stage.sign_in(ADA).await.person;
    let roles = mona.list("/api/roles?limit=200").await.expect("a list");
    let role = roles.iter().find(|r| r["name"] == WORKFLOW).expect("the role")["id"].clone();
    let grant = json!({ "personId": ada, "roleId": role, "reason": "for the study", "expiresAt": "2031-05-01T00:00:00Z" });
    let id = mona.post("/api/assignments", grant).await.expect("is granted")["id"].as_str().expect("an id").to_owned();
    let one = format!("/api/assignments/{id}");
    let now = mona.get(&one).await.expect("an answer");
    assert_eq!((&now["documentEndsAt"], now["documents"].as_array().map(Vec::len)), (&Value::Null, Some(2)));
    assert_eq!((&now["approvedBy"][0]["way"], &now["approvedBy"][0]["person"]["displayName"]), (&json!("alone"), &json!("Mona Okafor")));
    assert_eq!(now["grantedBy"]["name"], "Mona Okafor");

    let extend = |until: &str| json!({ "expiresAt": until, "reason": "longer" });
    let path = format!("{one}/extend");
    for until in ["2031-05-01T00:00:00Z", "2031-04-01T00:00:00Z"] {
        let why = mona.post(&path, extend(until)).await.expect_err("not after its end").to_string();
        assert!(why.contains("422") && why.contains("after 2031-05-01T00:00:00.000Z"), "{why}");
    }
    let longer = mona.post(&path, extend("2031-07-01T00:00:00Z")).await.expect("is extended");
    assert_eq!((&longer["expiresAt"], &longer["documentEndsAt"]),
        (&json!("2031-07-01T00:00:00.000Z"), &json!("2031-06-01T00:00:00.000Z")));
    assert_eq!(mona.get(&one).await.expect("an answer")["documentEndsAt"], "2031-06-01T00:00:00.000Z");
    // With the rule of the second person on, whoever agrees sees it too.
    let on = json!({ "fourEyes": true });
    stage.sign_in(ADMIN).await.put("/api/settings/security", on).await.expect("is on");
    let asked = mona.post(&path, extend("2031-08-01T00:00:00Z")).await.expect("is asked for");
    assert_eq!((&asked["state"], &asked["documentEndsAt"]), (&json!("pending"), &json!("2031-06-01T00:00:00.000Z")));
    let agree = json!({ "decision": "approve", "reason": "so be it" });
    let decide = format!("/api/exceptions/{}/decide", asked["id"].as_str().expect("an id"));
    stage.sign_in(ADMIN).await.post(&decide, agree).await.expect("agrees");
    let last = mona.get(&one).await.expect("an answer")["approvedBy"][2].clone();
    assert_eq!((&last["way"], &last["person"]["displayName"], &last["askedBy"]["displayName"]),
        (&json!("extension"), &json!("Ines Adler"), &json!("Mona Okafor")));

    stage.clock.set("2031-06-01T00:00:00Z".parse().expect("an instant"));
    let mona = stage.mona().await;
    eventually("it ended with its document", Duration::from_secs(20), || async {
        let found = mona.get(&one).await.ok()?;
        (found["state"] == "revoked" && found["endReason"].as_str()?.starts_with("document expired")).then_some(())
    })
    .await;
    let gone = mona.post(&path, extend("2031-09-01T00:00:00Z")).await.expect_err("it is over").to_string();
    assert!(gone.contains("409"), "{gone}");
    // The documents themselves, as they were.
    let mut states = Vec::new();
    for day in ["2031-02-28", "2031-03-01", "2031-03-02", "2031-05-31"] {
        let all = mona.list(&format!("/api/documents?asOf={day}")).await.expect("a list");
        let found = all.iter().find(|d| d["id"] == agreement.as_str());
        states.push(found.map_or("–".to_owned(), |d| d["state"].as_str().expect("a state").to_owned()));
    }
    assert_eq!(states, ["–", "submitted", "approved", "approved"]);
    let then = mona.get(&format!("{one}?asOf=2031-05-31")).await.expect("an answer");
    let kinds: Vec<&str> = then["documents"].as_array().expect("a list").iter().filter_map(|d| d["state"].as_str()).collect();
    assert_eq!(kinds, ["approved", "approved"]);
    assert_eq!(mona.list("/api/documents?asOf=2031-05-31&state=approved").await.expect("a list").len(), 2);
    stage.running.stop().await;
}

/// The ways and people behind an assignment, with who asked: `approval Rosa Lindqvist`, `second_person Milo, asked
/// by Mona Okafor`.
fn behind(record: &Value) -> Vec<String> {
    let all = record["approvedBy"].as_array().expect("a list").iter();
    let name = |v: &Value| v["displayName"].as_str().unwrap_or("nobody").to_owned();
    all.map(|a| {
        let asked = if a["askedBy"].is_null() { String::new() } else { format!(", asked by {}", name(&a["askedBy"])) };
        format!("{} {}{asked}", a["way"].as_str().expect("a way"), name(&a["person"]))
    })
    .collect()
}

/// Around an approval, outside a run, from a file, in an emergency: the second person is named, and who asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stands_behind_access_is_named_however_it_came() {
    let office = Office::open().await;
    let (admin, _) = office.sign_in(ADMIN).await;
    let (mona, mona_id) = office.sign_in(MONA).await;
    let (milo, milo_id) = office.sign_in(MILO).await;
    let (ada, ada_id) = office.sign_in(ADA).await;
    let role = office.role(&admin, "reader").await;
    let guarded = json!({
        "name": "Guarded",
        "steps": [
            { "id": "review", "name": "Review", "type": "approval", "transitions": [{ "on": "approved", "to": "grant" }],
              "config": { "title": "May she?", "approvers": [{ "group": "genome-reviewers" }] } },
            { "id": "grant", "name": "Grant", "type": "role_grant", "config": { "role": "reader", "durationDays": 7, "reason": "asked for" } },
        ],
    });
    let workflow = office.workflow(&admin, guarded).await;
    let run = id_of(&office.does(&ada, "POST", &format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await);
    office.four_eyes(&admin).await;
    let agree = |asked: Value| {
        let (office, milo) = (&office, &milo);
        async move {
            let path = format!("/api/exceptions/{}/decide", id_of(&asked));
            office.does(milo, "POST", &path, json!({ "decision": "approve", "reason": "so be it" })).await
        }
    };
    let newest = |person: String| {
        let (office, admin) = (&office, &admin);
        async move {
            let listed = office.does(admin, "GET", &format!("/api/assignments?personId={person}"), Value::Null).await;
            let path = format!("/api/assignments/{}", id_of(&listed["items"][0]));
            office.does(admin, "GET", &path, Value::Null).await
        }
    };

    agree(office.does(&mona, "POST", &format!("/api/runs/{run}/skip-step"), json!({ "reason": "Rosa is away" })).await).await;
    office.run_that_is(&admin, &run, "completed").await;
    let passed = newest(ada_id.clone()).await;
    assert_eq!(behind(&passed), ["passed_over Milo, asked by Mona Okafor"]);
    assert_eq!((&passed["approvedBy"][0]["step"], &passed["approvedBy"][0]["reason"]), (&json!("Review"), &json!("Rosa is away")));

    let grant = json!({ "personId": ada_id, "roleId": role, "reason": "for the move" });
    agree(office.does(&mona, "POST", "/api/assignments", grant).await).await;
    assert_eq!(behind(&newest(ada_id).await), ["second_person Milo, asked by Mona Okafor"]);

    let csv = "person,role,expires at,reason\nmona@example.org,reader,2099-01-01,she had it\n";
    let import = id_of(&office.does(&mona, "POST", "/api/imports", json!({ "kind": "assignments", "csv": csv })).await);
    office.does(&milo, "POST", &format!("/api/imports/{import}/apply"), Value::Null).await;
    eventually("it came in", Duration::from_secs(20), || async {
        let all = office.does(&admin, "GET", &format!("/api/assignments?personId={mona_id}"), Value::Null).await;
        (all["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    assert_eq!(behind(&newest(mona_id).await), ["import Milo, asked by Mona Okafor"]);

    let body = json!({ "roleId": role, "reason": "The cluster is down and nobody else is here.", "hours": 1 });
    office.does(&milo, "POST", "/api/break-glass", body).await;
    assert_eq!(behind(&newest(milo_id).await), ["emergency Milo"]);
    office.running.stop().await;
}

/// An approval of the run around the one that grants counts, and so does one that nobody decided in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvals_around_a_run_and_those_that_nobody_decided_are_told() {
    let stage = Stage::start().await;
    let mona = stage.mona().await;
    let grant = json!({ "id": "grant", "name": "Grant", "type": "role_grant",
        "config": { "role": "Research Workspace", "durationDays": 7, "reason": "asked for" } });
    let inner = json!({ "name": "Only grants", "steps": [grant] });
    let outer = json!({
        "name": "Asks first",
        "steps": [
            { "id": "review", "name": "Review", "type": "approval", "transitions": [{ "on": "approved", "to": "inside" }],
              "config": { "title": "May she?", "approvers": [{ "group": "data-owners" }],
                          "escalation": { "last": { "afterMinutes": 60, "then": "approve" } } } },
            { "id": "inside", "name": "Inside", "type": "subworkflow", "config": { "workflow": "Only grants" } },
        ],
    });
    let mut published = Vec::new();
    for definition in [inner, outer] {
        let draft = mona.post("/api/workflows", json!({ "definition": definition })).await.expect("a draft");
        let id = id_of(&draft);
        mona.post(&format!("/api/workflows/{id}/publish"), json!({})).await.expect("is published");
        published.push(id);
    }
    let ada = stage.sign_in(ADA).await;
    let decided = stage.begin(&ada, &published[1], json!({})).await;
    stage.decide(LIA, &decided, "approve").await;
    assert_eq!(stage.ended(&decided).await["status"], "completed");
    let silent = stage.begin(&ada, &published[1], json!({})).await;
    stage.waits_for(&silent, "approval").await;
    stage.pass(Duration::from_secs(3660));
    assert_eq!(stage.ended(&silent).await["status"], "completed");
    let admin = stage.sign_in(ADMIN).await;
    let mut found = Vec::new();
    for one in listed(&admin, &format!("personId={}", ada.person)).await {
        assert_ne!(one["runId"], decided.as_str(), "the run inside granted it");
        let record = admin.get(&format!("/api/assignments/{}", id_of(&one))).await.expect("an answer");
        found.push(behind(&record));
    }
    assert_eq!(found, [["escalation nobody"], ["approval Lia"]]);
    stage.running.stop().await;
}
