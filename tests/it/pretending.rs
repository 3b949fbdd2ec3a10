//! Runs that only pretend: nobody is given anything, and everybody can see that.

use serde_json::{Value, json};
use tenure::app::demo::client::Client;
use tenure::app::demo::story::{ADA, ADMIN};

use crate::support::load::administrator;
use crate::support::stage::{BO, LIA, Stage};
use crate::support::{Server, command, http};

async fn pretend(who: &Client, workflow: &str, input: Value) -> String {
    let body = json!({ "input": input, "mock": true });
    let run = who.post(&format!("/api/workflows/{workflow}/start"), body).await.expect("starts");
    assert_eq!(run["mock"], true, "{run}");
    run["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_only_pretends_asks_people_and_gives_nothing() {
    let stage = Stage::start().await;
    let workflow = stage.publish("access-request.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = pretend(&ada, &workflow, json!({ "project": "Rare variants" })).await;

    let waiting = stage.waits_for(&run, "approval").await;
    assert_eq!(waiting["mock"], true);
    let id = waiting["waitingFor"][0]["refId"].as_str().expect("an approval").to_owned();
    let seen = stage.sign_in(BO).await.get(&format!("/api/approvals/{id}")).await.expect("an approval");
    assert_eq!(seen["mock"], true, "whoever decides sees that nothing comes of it");
    stage.decide(BO, &run, "approve").await;
    stage.decide(LIA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(stage.badges.changes(), Vec::<String>::new());
    assert_eq!(stage.mails.changes(), Vec::<String>::new());
    let admin = stage.sign_in(ADMIN).await;
    assert_eq!(admin.list("/api/assignments").await.expect("a list"), Vec::<Value>::new());
    let events = admin.list(&format!("/api/runs/{run}/events?limit=200")).await.expect("a list");
    assert!(events.iter().any(|e| e["kind"] == "effect.pretended"), "{events:?}");
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_only_pretends_calls_no_connected_system_and_undoes_nothing_in_it() {
    let stage = Stage::start().await;
    let workflow = stage.publish("provisioning.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = pretend(&ada, &workflow, json!({ "account": "ada" })).await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!((stage.badges.calls().len(), stage.mails.calls().len()), (0, 0));
    let steps = stage.steps(&run).await;
    assert!(steps.iter().any(|s| s["output"]["mocked"] == true), "{steps:?}");
    // The same workflow, started without it, is for real.
    let real = stage.begin(&ada, &workflow, json!({ "account": "ada" })).await;
    let ended = stage.ended(&real).await;
    assert_eq!((&ended["mock"], &ended["status"]), (&json!(false), &json!("completed")), "{ended}");
    assert!(stage.badges.present("/members/ada"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn production_starts_no_run_that_only_pretends() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let made = command(&["init"]).env("DATA_DIR", &data).output().expect("runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = administrator(&data);
    let server = Server::start(&["serve"], &data, &[("APP_ENV", "production")]).await;
    let url = format!("{}/api/workflows/wfl_00000000000000000000000000/start", server.base);
    let answer = http().post(url).bearer_auth(token).json(&json!({ "mock": true })).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("mock")), "{problem}");
    assert_eq!(server.terminate(), 0);
}
