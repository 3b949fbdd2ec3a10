//! The example workflows, published and run to their ends through the public API.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};
use tenure::features::workflow::definitions::text::{self, Format};
use tenure::features::workflow::definitions::validate::validate;

use crate::support::http;
use crate::support::stage::{BO, Stage, example_text};

/// Every example, by its path below `examples/workflows`.
fn examples() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows");
    let names = |folder: &str| {
        let inside = std::fs::read_dir(root.join(folder)).expect("a folder");
        let all = inside.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"));
        all.filter(|n| n.ends_with(".yaml")).map(|n| format!("{folder}{n}")).collect::<Vec<_>>()
    };
    let mut all = names("");
    all.extend(names("steps/"));
    all.sort();
    all
}

/// The examples show every type of step, and nothing in them needs looking at.
#[test]
fn every_type_of_step_has_an_example_without_a_fault() {
    let mut kinds = std::collections::BTreeSet::new();
    for example in examples() {
        let document = text::read(&example_text(&example), Format::Yaml).unwrap_or_else(|f| panic!("{example}: {f:?}"));
        let found = validate(&document.definition);
        assert_eq!((found.errors, found.warnings), (Vec::new(), Vec::new()), "{example}");
        assert!(document.key.is_some(), "{example} has a key");
        kinds.extend(document.definition.steps.iter().map(|s| s.action.kind()));
    }
    let all = [
        "approval", "task", "consent", "invitation", "document_request", "verify_contact", "role_grant", "role_revoke",
        "user_create", "profile_update", "identity_link", "connector", "http", "notification", "webhook_wait", "set",
        "transform", "condition", "case", "parallel", "join", "foreach", "subworkflow", "delay", "wait_until", "end",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), { let mut all = all.to_vec(); all.sort_unstable(); all });
}

/// An event starts it; a lead agrees; account and role come side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_joins_and_leaves() {
    let stage = Stage::start().await;
    stage.publish("onboarding.yaml").await;
    stage.publish("offboarding.yaml").await;
    let mona = stage.mona().await;
    let joined = json!({ "event": "hr.person_joined", "key": "4711",
        "payload": { "email": "noor@example.org", "name": "Noor", "uid": "noor" } });
    let started = mona.post("/api/workflow-events", joined).await.expect("is taken");
    assert_eq!(started["kept"], false);
    let run = started["started"][0].as_str().expect("a run").to_owned();
    stage.decide(ROSA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let noor = stage.person("noor").await;
    assert_eq!((&noor["displayName"], &ended["subject"]["id"]), (&json!("Noor"), &noor["id"]));
    let member = json!({ "account": "noor", "group": "workspace" });
    assert_eq!(stage.directory("has_member", member.clone()).await["output"]["present"], true);
    assert_eq!(stage.holders("Research Workspace").await.len(), 1);

    let left = json!({ "event": "hr.person_left", "key": "4711", "payload": { "email": "noor@example.org" } });
    let started = mona.post("/api/workflow-events", left).await.expect("is taken");
    let run = started["started"][0].as_str().expect("a run").to_owned();
    assert_eq!(stage.ended(&run).await["status"], "completed");
    assert_eq!(stage.person("noor").await["active"], false);
    assert_eq!(stage.directory("has_account", json!({ "account": "noor" })).await["output"]["present"], false);
    assert_eq!(stage.holders("Research Workspace").await, Vec::<Value>::new());
    assert!(stage.told(ROSA).await.contains(&"Noor has left".to_owned()));
    stage.running.stop().await;
}

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

/// The second system refuses; what the first one did is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_system_that_refuses_undoes_the_first() {
    let stage = Stage::start().await;
    let workflow = stage.publish("provisioning.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "account": "ada" })).await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["status"], "failed");
    let reason = ended["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("Mailbox: ") && reason.ends_with("What had succeeded was undone."), "{reason}");
    assert_eq!((stage.badges.keys("PUT", "ada"), stage.badges.keys("DELETE", "ada")), (1, 1));
    assert!(!stage.badges.present("ada"));
    stage.running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_goes_on_for_at_most_a_year() {
    let stage = Stage::start().await;
    let workflow = stage.publish("contractor-extension.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let run = stage.begin(&ada, &workflow, json!({ "until": "2031-08-31", "why": "The study goes on" })).await;
    stage.decide(ROSA, &run, "approve").await;
    let ended = stage.ended(&run).await;
    assert_eq!((&ended["status"], &ended["variables"]["days"]), (&json!("completed"), &json!(183)), "{ended}");
    let held = stage.holders("Contractor").await;
    assert!(held[0]["expiresAt"].as_str().is_some_and(|at| at.starts_with("2031-08-31T12:0")), "{held:?}");
    assert_eq!(stage.person("ada").await["attributes"], json!({ "uid": "ada", "contractEnd": "2031-08-31" }));
    let run = stage.begin(&ada, &workflow, json!({ "until": "2033-01-01", "why": "For ever" })).await;
    let ended = stage.ended(&run).await;
    assert_eq!(ended["reason"], "The new end has to lie within the next 366 days.");
    let body = json!({ "input": { "until": "soon", "why": "x" } });
    let refused = ada.post(&format!("/api/workflows/{workflow}/start"), body).await.expect_err("no date");
    assert!(refused.to_string().contains("input.until"), "{refused}");
    stage.running.stop().await;
}

/// Owners are told at once, access ends after eight hours, and somebody else looks at it afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_access_ends_after_eight_hours_and_is_reviewed() {
    let stage = Stage::start().await;
    let workflow = stage.publish("break-glass.yaml").await;
    let ada = stage.sign_in(ADA).await;
    let without = ada.post(&format!("/api/workflows/{workflow}/start"), json!({ "input": {} })).await;
    assert!(without.is_err(), "a reason is needed");
    let run = stage.begin(&ada, &workflow, json!({ "why": "The freezer is warm" })).await;
    assert!(stage.told(BO).await.contains(&"Ada Marchetti takes emergency access".to_owned()));
    let waiting = stage.waits_for(&run, "timer").await;
    assert_eq!(stage.holders("Emergency Operator").await.len(), 1);
    stage.pass(Duration::from_secs(8 * 3600 - 120));
    assert_eq!(stage.waits_for(&run, "timer").await["waitingFor"], waiting["waitingFor"]);
    assert_eq!(stage.holders("Emergency Operator").await.len(), 1);
    stage.pass(Duration::from_secs(120));
    stage.waits_for(&run, "approval").await;
    assert_eq!(stage.holders("Emergency Operator").await, Vec::<Value>::new());
    stage.decide(BO, &run, "approve").await;
    assert_eq!(stage.ended(&run).await["status"], "completed");
    stage.running.stop().await;
}

/// Steps that need nobody: input, how the run ends, and what its variables are then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_type_of_step_does_what_its_example_says() {
    let stage = Stage::start().await;
    let ada = stage.sign_in(ADA).await;
    let rows = [
        ("set", json!({ "who": "Ada" }), "completed", json!({ "greeting": "Hello, Ada" })),
        ("transform", json!({ "amounts": [1, 2, 3.5] }), "completed", json!({ "sum": 6.5 })),
        ("condition", json!({ "amount": 1000 }), "completed", json!({ "size": "large" })),
        ("condition", json!({ "amount": 999 }), "completed", json!({ "size": "small" })),
        ("case", json!({ "country": "FR" }), "completed", json!({ "region": "union" })),
        ("case", json!({ "country": "CH" }), "completed", json!({ "region": "neighbour" })),
        ("case", json!({ "country": "JP" }), "completed", json!({ "region": null })),
        ("parallel-join", json!({}), "completed", json!({ "both": "LR" })),
        ("foreach", json!({ "people": [ROSA, "nobody@example.org", BO] }), "completed", json!({ "told": 2 })),
        ("subworkflow", json!({}), "completed", json!({ "greeting": "Hello, from inside" })),
        // Without a connector that lists it no address inside is called: the example's error edge is followed.
        ("http", json!({ "url": stage.badges.url }), "failed", json!({ "answer": null })),
        ("connector", json!({ "account": "kit" }), "completed", json!({})),
        ("notification", json!({ "text": "It snows" }), "completed", json!({})),
        ("role-grant", json!({ "days": 3 }), "completed", json!({})),
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
