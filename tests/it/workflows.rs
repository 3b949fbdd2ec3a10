//! Workflows as files and over the API: events that start them, export, import, comparison, faults.

use serde_json::{Value, json};
use tenure::app::demo::story::{ADMIN, MONA};

use crate::support::http;
use crate::support::stage::{Stage, example_text};

/// What an event does not bring keeps one workflow from starting, and is told to whoever sent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_fits_no_workflow_is_told_and_kept() {
    let stage = Stage::start().await;
    stage.publish("offboarding.yaml").await;
    stage.publish("steps/webhook-wait.yaml").await;
    let mona = stage.mona().await;
    let left = json!({ "event": "hr.person_left", "key": "1", "payload": { "email": "nobody@example.org" } });
    let answer = mona.post("/api/workflow-events", left).await.expect("is taken");
    assert_eq!((&answer["started"], &answer["kept"]), (&json!([]), &json!(true)));
    assert!(answer["refused"][0]["reason"].as_str().is_some_and(|r| r.contains("nobody@example.org")), "{answer}");
    let other = json!({ "event": "nobody.listens", "key": "1" });
    let answer = mona.post("/api/workflow-events", other).await.expect("is taken");
    assert_eq!((&answer["refused"], &answer["kept"]), (&json!([]), &json!(true)));
    assert!(mona.post("/api/workflow-events", json!({ "event": " ", "key": "1" })).await.is_err());
    stage.running.stop().await;
}

/// A definition goes out and comes in again as the same one; another one becomes a draft with its changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_goes_out_and_comes_in_unchanged_and_two_are_compared() {
    let stage = Stage::start().await;
    let id = stage.publish("access-request.yaml").await;
    let mona = stage.mona().await;
    let raw = |path: String| {
        let (base, http) = (stage.running.base.clone(), http());
        async move { http.get(format!("{base}{path}")).send().await.expect("an answer") }
    };
    assert_eq!(raw(format!("/api/workflows/{id}/export")).await.status(), 401);
    let exported = mona.get(&format!("/api/workflows/{id}/export?format=json")).await.expect("JSON");
    assert_eq!(exported["key"], "access-request");
    let again = mona.post("/api/workflows/import", exported.clone()).await.expect("is taken in");
    assert_eq!((&again["outcome"], &again["id"], &again["status"]), (&json!("unchanged"), &json!(id), &json!("active")));

    let mut changed = exported;
    changed["steps"][0]["config"]["rule"] = json!({ "quorum": 3 });
    let planned = mona.post("/api/workflows/import?dryRun=true", changed.clone()).await.expect("a plan");
    assert_eq!(planned["outcome"], "changed");
    let versions = |all: Value| all["items"].as_array().map_or(0, Vec::len);
    assert_eq!(versions(mona.get(&format!("/api/workflows/{id}/versions")).await.expect("a list")), 1, "a plan stores nothing");
    let stored = mona.post("/api/workflows/import", changed.clone()).await.expect("is taken in");
    assert_eq!((&stored["status"], &stored["changes"]), (&json!("draft"), &planned["changes"]));
    let draft = stored["id"].as_str().expect("an id");
    let compared = mona.get(&format!("/api/workflows/{draft}/diff?with={id}")).await.expect("a comparison");
    let expected = json!([{ "part": "step", "kind": "changed", "path": "steps[review].config.rule.quorum",
        "step": "review", "old": 2, "new": 3 }]);
    assert_eq!(compared["changes"], expected);
    let repeated = mona.post("/api/workflows/import", changed).await.expect("is taken in");
    assert_eq!((&repeated["outcome"], &repeated["id"]), (&json!("unchanged"), &json!(draft)));
    stage.running.stop().await;
}

/// What is wrong with a file is told with its place, and never as our own fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_with_faults_is_refused_with_their_places() {
    let stage = Stage::start().await;
    let admin = stage.sign_in(ADMIN).await;
    let token = admin.post("/api/auth/tokens", json!({ "name": "t" })).await.expect("a token");
    let token = token["token"].as_str().expect("a token").to_owned();
    let send = async |kind: &'static str, text: String| {
        let request = http().post(format!("{}/api/workflows/import", stage.running.base)).bearer_auth(&token);
        let answer = request.header("content-type", kind).body(text).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let good = example_text("steps/set.yaml");
    let (status, body) = send("application/yaml", good.replace("name: Greeting", "name: [Greeting")).await;
    assert_eq!(status, 400, "{body}");
    assert!(body["detail"].as_str().is_some_and(|d| d.contains("line ") && d.contains("column ")), "{body}");
    let (status, body) = send("application/yaml", good.replace("type: set", "type: sit")).await;
    assert_eq!((status, &body["errors"][0]["field"]), (422, &json!("steps[0].type")), "{body}");
    assert!(body["errors"][0]["message"].as_str().is_some_and(|m| m.contains("(line 11, column 11)")), "{body}");
    let bomb = "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\n\
        d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]\n";
    assert_eq!(send("application/yaml", bomb.to_owned()).await.0, 400);
    assert_eq!(send("application/json", "{\"name\": }".to_owned()).await.0, 400);
    assert_eq!(send("text/plain", good.clone()).await.0, 415);
    assert_eq!(send("application/yaml", format!("{good}# {}", "x".repeat(1_100_000))).await.0, 413);
    assert_eq!(send("application/yaml", good).await.0, 200);
    let mona = stage.sign_in(MONA).await;
    let wrong = json!({ "definition": { "name": "T", "steps": [{ "id": "a", "name": "A", "type": "delay", "config": { "secs": 1 } }] } });
    let found = mona.post("/api/workflows/validate", wrong).await.expect("an answer");
    assert_eq!((&found["valid"], &found["errors"][0]["path"]), (&json!(false), &json!("steps[0].config.secs")), "{found}");
    stage.running.stop().await;
}
