//! Tasks and consents.

use std::time::Duration;

use serde_json::{Value, json};

use super::World;
use crate::support::http;

fn offered(to: Value) -> Value {
    json!({ "name": "Prepare", "variables": [{ "name": "room", "type": "string" }], "steps": [
        { "id": "prepare", "name": "Prepare it", "type": "task", "transitions": [{ "on": "success", "to": "end" }],
          "config": { "title": "Prepare a room", "assignees": to, "outputs": ["room"],
                      "form": [{ "name": "room", "type": "string", "required": true, "maxLength": 5 },
                               { "name": "note", "type": "string" }] } },
        { "id": "end", "name": "End", "type": "end", "config": {} },
    ] })
}

fn two() -> Value {
    json!([{ "systemRole": "approver" }, { "systemRole": "resource_manager" }])
}

fn can(task: &Value) -> Vec<&str> {
    task["actions"].as_array().expect("actions").iter().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_claimed_and_done_and_what_was_filled_in_goes_into_the_run() {
    let w = World::new().await;
    let run = w.ada.start(&w.published(offered(two())).await, json!({})).await;
    let task = w.rosa.task().await;
    assert_eq!((task["state"].as_str(), can(&task)), (Some("open"), vec!["claim", "comment"]));
    assert_eq!(w.mona.told().await, ["A task for you: Prepare a room"]);
    assert_eq!(w.rosa.act(&task, "complete", json!({ "values": { "room": "B-1" } })).await.status, 409, "not claimed");

    let claimed = w.rosa.act(&task, "claim", json!({})).await.ok(200);
    assert_eq!(claimed["assignee"]["id"], w.rosa.id.as_str());
    assert_eq!(w.mona.told().await[0], "Taken: Prepare a room");
    assert_eq!(w.mona.act(&task, "claim", json!({})).await.status, 409);
    assert_eq!(w.mona.get("/api/tasks?mine=true").await.ok(200)["items"], json!([]), "somebody has it");
    assert_eq!(w.rosa.act(&task, "release", json!({})).await.ok(200)["state"], "open");
    assert_eq!(w.mona.told().await[0], "Free again: Prepare a room");
    w.rosa.act(&task, "claim", json!({})).await.ok(200);

    assert_eq!(w.rosa.act(&task, "hold", json!({ "reason": " " })).await.status, 422);
    let held = w.rosa.act(&task, "hold", json!({ "reason": "No key yet" })).await.ok(200);
    assert_eq!((held["state"].as_str(), held["holdReason"].as_str()), (Some("held"), Some("No key yet")));
    assert_eq!(w.ada.told().await[0], "On hold: Prepare a room");
    assert_eq!(w.rosa.act(&task, "complete", json!({ "values": { "room": "B-1" } })).await.status, 409, "on hold");
    assert_eq!(w.rosa.act(&task, "resume", json!({})).await.ok(200)["holdReason"], Value::Null);

    w.ada.act(&task, "comment", json!({ "text": "By the window, please." })).await.ok(200);
    let shown = w.rosa.act(&task, "comment", json!({ "text": "Fine." })).await.ok(200);
    let words: Vec<&str> = shown["comments"].as_array().expect("comments").iter().filter_map(|c| c["text"].as_str()).collect();
    assert_eq!(words, ["By the window, please.", "Fine."]);
    assert_eq!(w.ada.told().await[0], "Rosa Lindqvist wrote about: Prepare a room");

    let bad = w.rosa.act(&task, "complete", json!({ "values": { "room": "B-20400", "more": 1 } })).await.faults();
    assert_eq!(bad, ["values.more: there is no such field", "values.room: expected at most 5 characters"]);
    assert_eq!(w.run_is(&run, "waiting").await["variables"]["room"], Value::Null);
    let done = w.rosa.act(&task, "complete", json!({ "values": { "room": "B-204" } })).await.ok(200);
    assert_eq!((done["state"].as_str(), done["outcome"].as_str()), (Some("done"), Some("completed")));
    assert_eq!(w.run_is(&run, "completed").await["variables"]["room"], "B-204");
    assert_eq!(w.steps(&run).await[0]["output"], json!({ "room": "B-204", "note": null }));
    assert_eq!(w.rosa.act(&task, "complete", json!({ "values": { "room": "B-204" } })).await.status, 409, "once");
    assert_eq!(w.ada.told().await[0], "Done: Prepare a room");
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_done_by_whoever_has_it_and_given_away_by_who_manages() {
    let w = World::new().await;
    let alone = json!([{ "person": "rosa@example.org" }]);
    w.ada.start(&w.published(offered(alone)).await, json!({})).await;
    let task = w.rosa.task().await;
    assert_eq!((task["state"].as_str(), task["assignee"]["id"].as_str()), (Some("assigned"), Some(w.rosa.id.as_str())));
    assert_eq!(w.rosa.act(&task, "release", json!({})).await.status, 409, "nobody else can do it");

    let values = json!({ "values": { "room": "B-204" } });
    for who in [&w.ada, &w.admin, &w.mona] {
        assert_eq!(who.act(&task, "complete", values.clone()).await.status, 403, "not theirs");
        assert_eq!(who.act(&task, "claim", json!({})).await.status, 403, "not offered to them");
    }
    // A token that an administrator made for Rosa is not Rosa.
    let accounts = w.admin.get("/api/accounts").await.ok(200);
    let account = accounts["items"].as_array().expect("items").iter().find(|a| a["email"] == "rosa@example.org").expect("hers");
    let path = format!("/api/accounts/{}/tokens", account["id"].as_str().expect("an id"));
    let token = w.admin.post(&path, json!({ "name": "t" })).await.ok(201);
    let by_token = http()
        .post(format!("{}/api/tasks/{}/complete", w.running.base, task["id"].as_str().expect("an id")))
        .bearer_auth(token["token"].as_str().expect("a token"))
        .json(&values);
    assert_eq!(by_token.send().await.expect("an answer").status(), 403);

    assert_eq!(w.rosa.act(&task, "assign", json!({ "personId": w.ada.id })).await.status, 403);
    let nobody = w.admin.post("/api/people", json!({ "displayName": "Nia", "email": "nia@example.org" })).await.ok(201);
    assert_eq!(w.mona.act(&task, "assign", json!({ "personId": nobody["id"] })).await.status, 422, "no sign-in");
    let given = w.mona.act(&task, "assign", json!({ "personId": w.ada.id, "reason": "Rosa is away" })).await.ok(200);
    assert_eq!(given["assignee"]["id"], w.ada.id.as_str());
    assert_eq!(w.rosa.told().await[0], "Given to somebody else: Prepare a room");
    assert_eq!(w.rosa.act(&task, "complete", values.clone()).await.status, 403, "not hers any more");
    w.ada.act(&task, "complete", values).await.ok(200);
    w.stop().await;
}

/// Nobody outside sees a task; the people of the run do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_nobody_can_do_fails_at_once_and_one_that_is_not_needed_is_closed() {
    let mut w = World::new().await;
    w.admin.post("/api/people", json!({ "displayName": "Nia", "email": "nia@example.org" })).await.ok(201);
    let run = w.ada.start(&w.published(offered(json!([{ "person": "nia@example.org" }]))).await, json!({})).await;
    let failed = w.run_is(&run, "failed").await;
    assert!(failed["reason"].as_str().is_some_and(|r| r.contains("Nobody can do it")), "{failed}");

    let mut limited = offered(json!([{ "person": "rosa@example.org" }]));
    limited["steps"][0]["timeout"] = json!({ "seconds": 3600 });
    let run = w.mona.start(&w.published(limited).await, json!({})).await;
    let task = w.rosa.task().await;
    let path = format!("/api/tasks/{}", task["id"].as_str().expect("an id"));
    assert_eq!(w.ada.get(&path).await.status, 404, "it is none of hers");
    assert_eq!(w.rosa.get(&format!("/api/runs/{run}")).await.status, 200, "whoever does it sees the run");
    w.pass_and_sign_in(Duration::from_secs(3600)).await;
    w.run_is(&run, "failed").await;
    assert_eq!(w.admin.get(&path).await.ok(200)["state"], "cancelled");
    assert_eq!(w.rosa.told().await[0], "Not needed any more: Prepare a room");

    let run = w.ada.start(&w.published(offered(two())).await, json!({})).await;
    let task = w.rosa.task().await;
    w.ada.post(&format!("/api/runs/{run}/cancel"), json!({ "reason": "not needed" })).await.ok(200);
    let path = format!("/api/tasks/{}", task["id"].as_str().expect("an id"));
    assert_eq!(w.admin.get(&path).await.ok(200)["state"], "cancelled");
    assert_eq!(w.rosa.act(&task, "claim", json!({})).await.status, 409);
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_is_given_or_declined_by_the_person_alone_and_its_text_is_kept() {
    let w = World::new().await;
    let workflow = w.example("consent.json").await;
    let text = "I wear protective glasses. I log every sample. I take no sample home.";
    for (agree, outcome, status) in [(true, "agreed", "completed"), (false, "declined", "failed")] {
        let run = w.ada.start(&workflow, json!({})).await;
        let task = w.ada.task().await;
        assert_eq!((task["kind"].as_str(), task["description"].as_str()), (Some("consent"), Some(text)));
        assert_eq!(task["actions"], json!(["answer", "comment"]));
        for who in [&w.admin, &w.mona, &w.rosa] {
            let refused = who.act(&task, "answer", json!({ "agree": true })).await.status;
            assert!(refused == 403 || refused == 404, "{refused}");
        }
        assert_eq!(w.mona.act(&task, "assign", json!({ "personId": w.mona.id })).await.status, 409);
        assert_eq!(w.ada.act(&task, "complete", json!({})).await.status, 409, "it is answered, not completed");
        let done = w.ada.act(&task, "answer", json!({ "agree": agree, "reason": "I read it" })).await.ok(200);
        assert_eq!((done["outcome"].as_str(), done["reason"].as_str()), (Some(outcome), Some("I read it")));
        assert_eq!(done["description"], text);
        w.run_is(&run, status).await;
        assert_eq!(w.ada.act(&task, "answer", json!({ "agree": true })).await.status, 409, "once");
        let step = &w.steps(&run).await[0];
        assert_eq!(step["outcome"], outcome);
        use sha2::Digest as _;
        let sha256 = hex::encode(sha2::Sha256::digest(text));
        assert_eq!(step["output"]["textSha256"], sha256.as_str());
        let id = task["id"].as_str().expect("an id").to_owned();
        let action = format!("consent.{outcome}");
        let entries = w.admin.get(&format!("/api/audit?entityId={id}&limit=50")).await.ok(200);
        let entry = entries["items"].as_array().expect("items").iter().find(|e| e["action"] == action.as_str()).cloned();
        let seq = entry.expect("it is audited")["seq"].clone();
        let whole = w.admin.get(&format!("/api/audit/{seq}")).await.ok(200).to_string();
        assert!(whole.contains(&sha256), "{whole}");
    }
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_of_a_task_runs_to_its_end() {
    let w = World::new().await;
    let run = w.ada.start(&w.example("task.json").await, json!({ "site": "Berlin" })).await;
    let task = w.rosa.task().await;
    assert_eq!(task["title"], "Prepare a workplace in Berlin for Ada Marchetti");
    w.rosa.act(&task, "claim", json!({})).await.ok(200);
    let values = json!({ "room": "B-204", "ready": "2031-03-01", "equipment": ["screen"] });
    w.rosa.act(&task, "complete", json!({ "values": values })).await.ok(200);
    w.run_is(&run, "completed").await;
    assert!(w.ada.told().await.contains(&"Your workplace is B-204".to_owned()));
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_counted_and_listed_by_how_they_stand() {
    async fn listed(w: &World, path: &str) -> Vec<Value> {
        w.rosa.get(path).await.ok(200)["items"].as_array().expect("items").clone()
    }
    let mut w = World::new().await;
    let mut definition = offered(two());
    definition["steps"][0]["config"]["dueHours"] = json!(1);
    let workflow = w.published(definition).await;
    for _ in 0..3 {
        w.ada.start(&workflow, json!({})).await;
    }
    let all = listed(&w, "/api/tasks?mine=true").await;
    w.rosa.act(&all[0], "claim", json!({})).await.ok(200);
    w.rosa.act(&all[0], "hold", json!({ "reason": "the key" })).await.ok(200);
    w.mona.act(&all[1], "claim", json!({})).await.ok(200);
    let counts = |open, free, taken, held, overdue| {
        json!({ "open": open, "free": free, "taken": taken, "held": held, "overdue": overdue })
    };
    assert_eq!(w.rosa.get("/api/tasks/counts?mine=true").await.ok(200), counts(2, 1, 1, 1, 0));
    assert_eq!(w.admin.get("/api/tasks/counts").await.ok(200), counts(3, 1, 2, 1, 0));
    assert_eq!(w.ada.get("/api/tasks/counts").await.ok(200), counts(3, 1, 2, 1, 0), "those of her runs");
    for (which, items) in [("free", vec![&all[2]]), ("taken", vec![&all[0]]), ("held", vec![&all[0]]), ("overdue", vec![])] {
        let found = listed(&w, &format!("/api/tasks?mine=true&which={which}")).await;
        let ids = |all: &[Value]| all.iter().map(|t| t["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&found), items.iter().map(|t| t["id"].clone()).collect::<Vec<_>>(), "{which}");
    }
    assert_eq!(w.rosa.get("/api/tasks?which=late").await.status, 422);
    w.pass_and_sign_in(Duration::from_secs(3601)).await;
    assert_eq!(w.rosa.get("/api/tasks/counts?mine=true").await.ok(200)["overdue"], 2);
    assert_eq!(listed(&w, "/api/tasks?mine=true&which=overdue").await.len(), 2);
    w.stop().await;
}
