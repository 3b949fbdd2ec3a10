//! Systems that are called: one after the other, with what is undone, and by their address alone.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN};

use crate::support::stage::Stage;
use crate::support::systems::System;
use crate::support::{eventually, free_port};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_systems_are_set_up_one_after_the_other() {
    let stage = Stage::start().await;
    let workflow = stage.publish("provisioning.yaml").await;
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "account": "ada" })).await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.badges.changes(), ["PUT /members/ada", "PUT /doors/main/ada"]);
    assert_eq!(stage.mails.changes(), ["PUT /mailboxes/ada"]);
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_system_that_refuses_undoes_the_first_the_last_of_it_first() {
    let stage = Stage::start().await;
    let workflow = stage.publish("provisioning.yaml").await;
    let ada = stage.sign_in(ADA).await;
    stage.mails.refuse("PUT /mailboxes", 422);
    let run = stage.begin(&ada, &workflow, json!({ "account": "ada" })).await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "failed");
    let reason = ended["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("Mailbox: ") && reason.contains("Not today."), "{reason}");
    assert!(reason.ends_with("What had succeeded was undone."), "{reason}");
    let both = ["PUT /members/ada", "PUT /doors/main/ada", "DELETE /doors/main/ada", "DELETE /members/ada"];
    assert_eq!(stage.badges.changes(), both);
    assert_eq!(stage.mails.changes(), ["PUT /mailboxes/ada"], "what is refused for good is not asked for again");
    let calls = stage.badges.calls();
    let mut keys: Vec<&str> = calls.iter().map(|c| c.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4, "undoing is an intention of its own: {calls:?}");

    // What cannot be undone is named, and keeps nothing else from being undone.
    stage.badges.refuse("DELETE /doors", 403);
    let run = stage.begin(&ada, &workflow, json!({ "account": "kit" })).await;
    let reason = stage.ended(&run).await["reason"].clone();
    assert!(reason.as_str().is_some_and(|r| r.ends_with("Not undone: Door.")), "{reason}");
    assert!(stage.badges.present("/doors/main/kit") && !stage.badges.present("/members/kit"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_is_busy_is_asked_again_with_the_same_key() {
    let stage = Stage::start().await;
    let workflow = stage.publish("provisioning.yaml").await;
    stage.mails.refuse("PUT /mailboxes", 503);
    let run = stage.begin(&stage.sign_in(ADA).await, &workflow, json!({ "account": "ada" })).await;
    for tries in 1..=2 {
        let tried = || async { (stage.mails.calls().len() == tries).then_some(()) };
        eventually(&format!("the system was asked {tries} times"), Duration::from_secs(20), tried).await;
        stage.waits_for(&run, "timer").await;
        stage.pass(Duration::from_secs(5));
    }
    assert_eq!(stage.ended(&run).await["status"], "failed");
    let calls = stage.mails.calls();
    assert_eq!(calls.len(), 3, "once, and twice again: {calls:?}");
    assert!(!calls[0].key.is_empty() && calls.iter().all(|c| c.key == calls[0].key), "{calls:?}");
    assert!(!stage.badges.present("/members/ada") && !stage.badges.present("/doors/main/ada"));
    stage.running.stop().await;
}

/// The address is what somebody entered; a connector says how far it is believed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_step_calls_below_the_base_url_of_a_connector_and_nowhere_else() {
    let stage = Stage::start().await;
    let workflow = stage.publish("steps/http.yaml").await;
    let ledger = System::start().await;
    let admin = stage.sign_in(ADMIN).await;
    let config = json!({ "baseUrl": format!("{}/api", ledger.url), "auth": "bearer" });
    let connector = json!({ "name": "Ledger", "kind": "http", "config": config, "secrets": { "token": "s3cret" } });
    admin.post("/api/connectors", connector).await.expect("a connector");

    let ada = stage.sign_in(ADA).await;
    let good = stage.begin(&ada, &workflow, json!({ "url": format!("{}/api/entries?kind=x", ledger.url) })).await;
    let ended = stage.ended(&good).await;
    assert_eq!((&ended["status"], &ended["variables"]["answer"]), (&json!("completed"), &json!(200)), "{ended}");
    let calls = ledger.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((calls[0].line.as_str(), &calls[0].body), ("POST /api/entries", &json!({ "from": ADA })));
    assert_eq!(calls[0].authorization, None, "the credentials are the connector's");
    assert!(!calls[0].key.is_empty());

    let unknown = format!("http://127.0.0.1:{}", free_port());
    for (url, names) in [
        (format!("{}/apis/entries", ledger.url), &ledger.url),
        (format!("{}/api/../admin", ledger.url), &ledger.url),
        (format!("{}/api/%2E%2e/admin", ledger.url), &ledger.url),
        (format!("{unknown}/api/entries"), &unknown),
    ] {
        let run = stage.begin(&ada, &workflow, json!({ "url": url })).await;
        assert_eq!(stage.ended(&run).await["reason"], "The service did not take it.", "{url}");
        let call = stage.steps(&run).await[0].clone();
        assert_eq!((&call["error"]["code"], &call["attempt"]), (&json!("not_listed"), &json!(1)), "{url}: {call}");
        let message = call["error"]["message"].as_str().expect("a message");
        assert!(message.contains(names.as_str()) && message.contains("Add an HTTP connector"), "{url}: {message}");
    }
    let run = stage.begin(&ada, &workflow, json!({ "url": format!("{}/api/..%2Fadmin", ledger.url) })).await;
    stage.ended(&run).await;
    assert_eq!(stage.steps(&run).await[0]["error"]["code"], "bad_params");
    assert_eq!(ledger.calls().len(), 1, "nothing of it was called");

    // Busy is something else: it is asked again, with the same key.
    ledger.refuse("POST /api/busy", 503);
    let busy = stage.begin(&ada, &workflow, json!({ "url": format!("{}/api/busy", ledger.url) })).await;
    for _ in 0..2 {
        stage.waits_for(&busy, "timer").await;
        let tried = ledger.calls().len();
        stage.pass(Duration::from_secs(5));
        let again = || async { (ledger.calls().len() > tried).then_some(()) };
        eventually("it is asked again", Duration::from_secs(20), again).await;
    }
    assert_eq!(stage.ended(&busy).await["status"], "failed");
    let keys: Vec<String> = ledger.calls().into_iter().skip(1).map(|c| c.key).collect();
    assert!(keys.len() == 3 && keys.iter().all(|k| *k == keys[0]), "{keys:?}");
    assert_ne!(Value::from(keys[0].clone()), Value::from(calls[0].key.clone()));
    stage.running.stop().await;
}
