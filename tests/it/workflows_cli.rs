//! `tenure workflow`, with a server and without one.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::people::set_up;
use crate::support::stage::example_text;
use crate::support::{Server, command, http};

fn run(data: &Path, args: &[&str]) -> Output {
    let mut all = vec!["workflow"];
    all.extend_from_slice(args);
    command(&all).env("DATA_DIR", data).stdin(Stdio::null()).output().expect("it ends")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&done(output)).expect("JSON and nothing else")
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir(place.files()).expect("a folder");
        place
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn files(&self) -> std::path::PathBuf {
        self.folder.path().join("workflows")
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files().join(name);
        std::fs::write(&path, text).expect("is written");
        path.to_str().expect("UTF-8").to_owned()
    }
}

/// Checking needs neither data nor configuration, and names file, line and column.
#[test]
fn files_are_checked_where_there_is_no_tenure() {
    let place = Place::new();
    let good = place.file("good.yaml", &example_text("steps/set.yaml"));
    let bad = place.file("bad.yaml", &example_text("steps/set.yaml").replace("to: done", "to: nowhere"));
    let broken = place.file("broken.json", "{ \"name\": ");
    let none = place.data();
    assert!(done(&run(&none, &["validate", &good])).contains("good.yaml: valid"));
    let found = run(&none, &["validate", &good, &bad]);
    assert_eq!(found.status.code(), Some(1));
    assert!(text(&found).contains("bad.yaml:16:28: error: steps[0].transitions[0].to: there is no step nowhere"), "{}", text(&found));
    let found = run(&none, &["validate", &broken, "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let items: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    assert_eq!((&items["items"][0]["valid"], &items["items"][0]["errors"][0]["line"]), (&json!(false), &json!(1)), "{items}");
    assert_eq!(run(&none, &["validate"]).status.code(), Some(2));
    assert_eq!(run(&none, &["validate", "nowhere.yaml"]).status.code(), Some(1));
    assert!(!none.exists(), "nothing was made");
}

/// Without a server: a folder is applied, nothing changes the second time, and what goes out comes in unchanged.
#[test]
fn a_folder_of_workflows_is_applied_once_and_comes_back_unchanged() {
    let place = Place::new();
    let data = place.data();
    let files = place.files();
    let folder = files.to_str().expect("UTF-8");
    place.file("a.yaml", &example_text("access-request.yaml"));
    place.file("b.yaml", &example_text("steps/set.yaml"));
    place.file("notes.txt", "no workflow");
    let refused = run(&data, &["apply", folder]);
    assert_eq!(refused.status.code(), Some(1), "nobody can be asked");
    assert!(text(&refused).contains("create: access-request") && text(&refused).contains("Add --yes"), "{}", text(&refused));
    assert!(json_of(&run(&data, &["apply", folder, "--yes", "--json"]))["items"].as_array().is_some_and(|i| i.len() == 2));
    let second = json_of(&run(&data, &["apply", folder, "--yes", "--json"]));
    assert!(second["items"].as_array().expect("a list").iter().all(|i| i["outcome"] == "unchanged" && i["status"] == "draft"), "{second}");
    assert!(done(&run(&data, &["apply", folder, "--yes", "--publish"])).contains("unchanged, publish: access-request"));
    let third = json_of(&run(&data, &["apply", folder, "--yes", "--publish", "--json"]));
    assert!(third["items"].as_array().expect("a list").iter().all(|i| i["published"] == false && i["status"] == "active"), "{third}");

    for format in ["yaml", "json"] {
        let out = place.folder.path().join(format);
        let out = out.to_str().expect("UTF-8");
        done(&run(&data, &["export", "--all", "--format", format, "--out", out]));
        let again = json_of(&run(&data, &["apply", out, "--yes", "--json"]));
        let outcomes: Vec<&Value> = again["items"].as_array().expect("a list").iter().map(|i| &i["outcome"]).collect();
        assert_eq!(outcomes, [&json!("unchanged"), &json!("unchanged")], "{again}");
    }
    assert!(done(&run(&data, &["export", "Greeting"])).starts_with("key: example-set\nname: Greeting\n"));
    assert_eq!(json_of(&run(&data, &["export", "example-set", "--json"]))["key"], "example-set");
    assert_eq!(run(&data, &["export", "nobody"]).status.code(), Some(1));
    assert_eq!(run(&data, &["export"]).status.code(), Some(2));
    assert_eq!(run(&data, &["apply", folder, "--json"]).status.code(), Some(2), "JSON is for those who do not ask");
}

/// Beside a server: the plan shows what changes, faults of one file keep all of them out, a run is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_takes_what_is_applied_and_started() {
    let place = Place::new();
    let data = place.data();
    let server = Server::start(&["serve"], &data, &[]).await;
    let token = set_up(&server, &data).await;
    let file = place.file("set.yaml", &example_text("steps/set.yaml"));
    done(&run(&data, &["apply", &file, "--yes", "--publish"]));
    place.file("set.yaml", &example_text("steps/set.yaml").replace("default: world", "default: everybody"));
    let plan = text(&run(&data, &["apply", &file]));
    assert!(plan.contains("change: example-set") && plan.contains("~ variables[who].default: \"world\" -> \"everybody\""), "{plan}");
    let bad = place.file("z.yaml", "name: T\nsteps: []\n");
    let refused = run(&data, &["apply", &file, &bad, "--yes"]);
    assert!(text(&refused).contains("z.yaml:2:8: error: steps: expected 1 to 500 steps"), "{}", text(&refused));
    let twice = place.file("y.yaml", &example_text("steps/set.yaml"));
    assert!(text(&run(&data, &["apply", &file, &twice, "--yes"])).contains("example-set is in"));
    let started = json_of(&run(&data, &["start", "example-set", "--input", "{\"who\": \"Ada\"}", "--subject", "admin@example.org", "--json"]));
    assert_eq!((&started["status"], &started["variables"]["greeting"]), (&json!("completed"), &json!("Hello, Ada")));
    assert_eq!(started["subject"]["displayName"], "Admin");
    let by_default = json_of(&run(&data, &["start", "Greeting", "--json"]));
    assert_eq!(by_default["variables"]["greeting"], "Hello, world", "nothing was applied with a fault beside it");
    assert_eq!(run(&data, &["start", "example-set", "--input", "[]"]).status.code(), Some(2));
    assert_eq!(run(&data, &["start", "example-set", "--input", "{\"whom\": 1}"]).status.code(), Some(1));
    assert_eq!(run(&data, &["start", "example-set", "--subject", "nobody@example.org"]).status.code(), Some(1));
    let audit = http().get(format!("{}/api/audit?limit=200", server.base)).bearer_auth(&token).send().await.expect("an answer");
    let audit: Value = audit.json().await.expect("JSON");
    let by_cli = |e: &&Value| e["action"] == "run.started" && e["actor"]["id"].as_str().is_some_and(|a| a.starts_with("cli:"));
    assert_eq!(audit["items"].as_array().expect("a list").iter().filter(by_cli).count(), 2, "{audit}");
    assert_eq!(server.terminate(), 0);
}
