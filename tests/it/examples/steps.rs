//! The small examples, one for each type of step.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ROSA};

use crate::support::stage::{BO, Stage};

/// Steps that need nobody: input, how the run ends, and what its variables are then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_type_of_step_does_what_its_example_says() {
    let stage = Stage::start().await;
    let ada = stage.sign_in(ADA).await;
    let rows = [
        ("set", json!({ "who": "Ada" }), "completed", json!({ "greeting": "Hello, Ada" })),
        ("transform", json!({ "amounts": [1, 2, 3.5] }), "completed", json!({ "sum": 6.5 })),
        ("transform", json!({ "amounts": ["x"] }), "failed", json!({ "sum": null })),
        ("condition", json!({ "amount": 1000 }), "completed", json!({ "size": "large" })),
        ("condition", json!({ "amount": 999 }), "completed", json!({ "size": "small" })),
        ("case", json!({ "country": "FR" }), "completed", json!({ "region": "union" })),
        ("case", json!({ "country": "CH" }), "completed", json!({ "region": "neighbour" })),
        ("case", json!({ "country": "JP" }), "completed", json!({ "region": null })),
        ("parallel-join", json!({}), "completed", json!({ "both": "LR" })),
        ("foreach", json!({ "people": [ROSA, "nobody@example.org", BO] }), "completed", json!({ "told": 2 })),
        ("subworkflow", json!({}), "completed", json!({ "greeting": "Hello, from inside" })),
        ("http", json!({ "url": format!("{}/entries", stage.badges.url) }), "completed", json!({ "answer": 200 })),
        ("connector", json!({ "account": "kit" }), "completed", json!({})),
        ("notification", json!({ "text": "It snows" }), "completed", json!({})),
        ("role-grant", json!({ "days": 3 }), "completed", json!({})),
        ("role-grant", json!({ "days": 0 }), "failed", json!({})),
        ("role-revoke", json!({}), "completed", json!({})),
        ("user-create", json!({ "email": "kim@example.org", "fullName": "Kim" }), "completed", json!({})),
        ("profile-update", json!({ "room": "B 12" }), "completed", json!({})),
        ("identity-link", json!({ "account": "ada" }), "completed", json!({})),
        ("wait-until", json!({ "day": "2031-03-01" }), "completed", json!({})),
        ("end", json!({}), "failed", json!({})),
    ];
    for (name, input, status, variables) in rows {
        let workflow = stage.publish(&format!("steps/{name}.yaml")).await;
        let run = stage.begin(&ada, &workflow, input).await;
        let ended = stage.ended(&run).await;
        assert_eq!(ended["status"], status, "{name}: {ended}");
        for (variable, value) in variables.as_object().expect("an object") {
            assert_eq!(&ended["variables"][variable], value, "{name}");
        }
    }
    assert_eq!(stage.directory("has_account", json!({ "account": "kit" })).await["output"]["present"], true);
    assert!(stage.told(ADA).await.contains(&"A message".to_owned()));
    assert!(stage.told(ROSA).await.contains(&"You are number 1".to_owned()));
    assert!(stage.told(BO).await.contains(&"You are number 3".to_owned()));
    assert_eq!(stage.person("kim").await["displayName"], "Kim");
    assert_eq!(stage.person("ada").await["attributes"]["room"], "B 12");
    assert_eq!(stage.holders("Contractor").await, Vec::<Value>::new(), "granted, then taken away");
    assert!(stage.badges.changes().starts_with(&["POST /entries".to_owned(), "PUT /contractors/ada".to_owned()]));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_that_wait_go_on_at_their_instant_or_event() {
    let stage = Stage::start().await;
    let ada = stage.sign_in(ADA).await;
    let delay = stage.publish("steps/delay.yaml").await;
    let day = stage.publish("steps/wait-until.yaml").await;
    let hook = stage.publish("steps/webhook-wait.yaml").await;
    let delayed = stage.begin(&ada, &delay, json!({})).await;
    let dated = stage.begin(&ada, &day, json!({ "day": "2031-03-02" })).await;
    let [first, second] = [stage.begin(&ada, &hook, json!({ "order": "7" })).await, stage.begin(&ada, &hook, json!({ "order": "8" })).await];
    for run in [&delayed, &dated] {
        stage.waits_for(run, "timer").await;
    }
    stage.waits_for(&first, "event").await;
    let shipped = json!({ "event": "order.shipped", "key": "7", "payload": { "carrier": "Falcon" } });
    let answer = stage.mona().await.post("/api/workflow-events", shipped).await.expect("is taken");
    assert_eq!(answer["resumed"], json!([first]));
    assert_eq!(stage.ended(&first).await["variables"]["carrier"], "Falcon");
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.ended(&delayed).await["status"], "completed");
    stage.waits_for(&dated, "timer").await;
    stage.pass(Duration::from_secs(11 * 3600));
    assert_eq!(stage.ended(&dated).await["status"], "completed");
    stage.pass(Duration::from_secs(7 * 86_400));
    assert_eq!(stage.ended(&second).await["reason"], "Nothing was shipped within a week.");
    stage.running.stop().await;
}
