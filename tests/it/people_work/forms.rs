//! What a run is started with.

use serde_json::{Value, json};

use super::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_form_of_a_workflow_is_a_schema_and_a_start_is_judged_by_it() {
    let w = World::new().await;
    let workflow = w.example("task.json").await;
    let form = w.ada.get(&format!("/api/workflows/{workflow}/form")).await.ok(200);
    let names: Vec<&str> = form["fields"].as_array().expect("fields").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["site", "days", "room"]);
    let schema = &form["schema"];
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["days"]["maximum"], 5);
    assert_eq!(schema["properties"]["site"]["enum"], json!(["Berlin", "Lyon"]));

    let start = format!("/api/workflows/{workflow}/start");
    let faults = w.ada.post(&start, json!({ "input": { "site": "Rome", "days": 6, "desk": true } })).await.faults();
    assert_eq!(
        faults,
        ["input.days: expected at most 5", "input.desk: there is no such field", "input.site: expected one of Berlin, Lyon"]
    );
    assert_eq!(w.ada.post(&start, json!({})).await.faults(), ["input.site: is required"]);
    let run = w.ada.post(&start, json!({ "input": { "site": "Lyon" } })).await.ok(201);
    assert_eq!(run["variables"], json!({ "site": "Lyon", "days": 5, "room": Value::Null }));
    w.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_cannot_be_used_is_not_published() {
    let w = World::new().await;
    let definition = json!({ "name": "Bad", "variables": [
            { "name": "a", "type": "string", "pattern": "(" },
            { "name": "b", "type": "number", "min": 2, "max": 1 },
            { "name": "n", "type": "number" },
        ], "steps": [{ "id": "t", "name": "T", "type": "task", "config": {
            "title": "T", "assignees": [{ "systemRole": "admin" }], "outputs": ["n"],
            "form": [{ "name": "n", "type": "string", "options": ["x", "x"] }] } }] });
    let found = w.admin.post("/api/workflows/validate", json!({ "definition": definition })).await.ok(200);
    let paths: Vec<&str> = found["errors"].as_array().expect("errors").iter().filter_map(|e| e["path"].as_str()).collect();
    for path in ["variables[0].pattern", "variables[1].max", "steps[0].config.form[0].options", "steps[0].config.outputs[0]"] {
        assert!(paths.contains(&path), "{path} is missing in {paths:?}");
    }
    w.stop().await;
}
