//! The OpenAPI document is complete and true: by itself, on its page, and in the eyes of Schemathesis.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tenure::app::demo::story::{ADA, ADMIN, MONA, ROSA};
use tokio::process::Command;

use crate::support::http;
use crate::support::office::{Office, UMA, Who};

async fn document(office: &Office) -> Value {
    http().get(format!("{}/api/openapi.json", office.running.base)).send().await.expect("an answer").json().await.expect("JSON")
}

/// Every operation with its method and path.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            found.push((method.as_str(), path.as_str(), operation));
        }
    }
    found
}

fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_parameter_is_where_it_is_said_to_be() {
    let office = Office::open().await;
    let document = document(&office).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 1_000, "{}", found.len());
    let mut faults = Vec::new();
    for reference in found {
        if document.pointer(reference.trim_start_matches('#')).is_none() {
            faults.push(format!("{reference} leads nowhere"));
        }
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let here = format!("{method} {path}");
        if !ids.insert(operation["operationId"].as_str().unwrap_or_default()) || operation["summary"].as_str().is_none() {
            faults.push(format!("{here} has no summary or an id that another has"));
        }
        let in_path: BTreeSet<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let said: BTreeSet<&str> =
            parameters.iter().filter(|p| p["in"] == "path").filter_map(|p| p["name"].as_str()).collect();
        if in_path != said {
            faults.push(format!("{here} says that {said:?} are in its path"));
        }
        faults.extend(parameters.iter().filter(|p| p["in"] == "query" && p["required"] == true && p["name"] != "cron"
            && p["name"] != "timezone" && p["name"] != "with" && p["name"] != "q" && p["name"] != "name").map(|p| format!("{here} needs {}", p["name"])));
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            if answer["description"].as_str().is_none_or(str::is_empty) {
                faults.push(format!("{here} does not say what {status} means"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    office.running.stop().await;
}

/// Fields that hold what others define: the form of a workflow, the settings of a connector, a profile.
const OPEN: [&str; 24] = [
    "after", "attributes", "before", "body", "config", "data", "default", "definition", "equals", "fields", "input", "mock",
    "new", "newState", "old", "options", "output", "params", "payload", "prevState", "result", "schema", "values", "variables",
];

fn free_form(schema: &Value, name: &str, at: &str, faults: &mut Vec<String>) {
    let Some(fields) = schema.as_object() else { return };
    let says = ["$ref", "enum", "const", "oneOf", "anyOf", "allOf", "properties", "additionalProperties", "items"];
    let is_object = fields.get("type").is_none_or(|kind| kind == "object" || kind.as_array().is_some_and(|k| k.contains(&"object".into())));
    if is_object && !says.iter().any(|word| fields.contains_key(*word)) && !OPEN.contains(&name) {
        faults.push(format!("{at} is of any shape"));
    }
    for (field, schema) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
        free_form(schema, field, &format!("{at}.{field}"), faults);
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get(word) {
            free_form(inner, name, at, faults);
        }
    }
    for inner in ["oneOf", "anyOf", "allOf"].iter().filter_map(|word| fields.get(*word)).flat_map(|ways| ways.as_array()).flatten() {
        free_form(inner, name, at, faults);
    }
}

#[tokio::test]
async fn no_answer_is_of_any_shape() {
    let office = Office::open().await;
    let document = document(&office).await;
    let mut faults = Vec::new();
    for (method, path, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().expect("answers") {
            let contents = answer["content"].as_object();
            if contents.is_none() && !matches!(status.as_str(), "204" | "303") {
                faults.push(format!("{method} {path} {status} says nothing of its body"));
            }
            for (media, content) in contents.into_iter().flatten() {
                free_form(&content["schema"], "", &format!("{method} {path} {status} {media}"), &mut faults);
                if status.starts_with(['4', '5']) && media != "application/problem+json" && path != "/api/health" {
                    faults.push(format!("{method} {path} {status} is {media}"));
                }
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        free_form(schema, "", name, &mut faults);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    office.running.stop().await;
}

#[tokio::test]
async fn every_operation_stands_on_a_page_that_asks_for_nothing_from_elsewhere() {
    let office = Office::open().await;
    let document = document(&office).await;
    let get = |path: &'static str| http().get(format!("{}{path}", office.running.base)).send();
    let answer = get("/api/docs").await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    let html = answer.text().await.expect("a page");
    let anchor = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
    };
    for (method, path, _) in operations(&document) {
        let id = anchor(&format!("{method} {path}"));
        assert!(html.contains(&format!("id=\"{id}\"")) && html.contains(&format!("href=\"#{id}\"")), "{method} {path}");
    }
    for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
        assert!(html.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    assert!(!html.contains("<script") && !html.contains("://") && !html.contains(" style="));
    let style = get("/api/docs/style.css").await.expect("an answer");
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    assert!(!style.text().await.expect("a style").contains("url("));
    office.running.stop().await;
}

/// Operations that end the sign-in of whoever asks, or what somebody else of these tests signs in with. They are asked
/// last, when nothing depends on it.
const ENDING: &str = "^/api/auth/(logout|tokens|sessions)|^/api/accounts/";

/// How many examples of each operation are asked for.
fn examples() -> &'static str {
    if is_soak() { "100" } else { "10" }
}

fn is_soak() -> bool {
    std::env::var("TENURE_SOAK").is_ok_and(|v| v == "full")
}

/// What Schemathesis finds, signed in with `token` or not at all.
async fn asked(office: &Office, token: Option<&str>, narrowed: &[&str]) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(folder.join("venv/bin/schemathesis"));
    command.arg("--config-file").arg(folder.join("schemathesis.toml")).arg("run");
    command.arg(format!("{}/api/openapi.json", office.running.base));
    // Live events do not end.
    command.args(["--exclude-path", "/api/events"]).args(narrowed);
    command.args(["--checks", "all", "--max-examples", examples(), "--seed", "20260101", "--no-color"]);
    command.args(["--continue-on-failure", "--phases", if is_soak() { "examples,coverage,fuzzing" } else { "examples,fuzzing" }]);
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.current_dir(dir.path()).kill_on_drop(true).output().await.expect("run scripts/python-peers.sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cases = text.lines().find_map(|line| line.trim().split_once(" generated").map(|(count, _)| count.to_owned()));
    println!("{} cases", cases.as_deref().unwrap_or("no"));
    if output.status.success() && cases.is_some() { Vec::new() } else { vec![text] }
}

/// One of them at a time: each is as much work as a machine has for it, and others measure time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The operations of one half of the alphabet, so that no test takes long.
async fn holds_for(email: Option<&str>, half: &str) {
    let _turn = TURN.lock().await;
    let office = Office::open().await;
    let mut token = None;
    if let Some(email) = email {
        let (who, _) = office.sign_in(email).await;
        let Who::Token(own) = office.own_token(&who).await else { panic!("a token") };
        token = Some(own);
    }
    let mut faults = asked(&office, token.as_deref(), &["--include-path-regex", half, "--exclude-path-regex", ENDING]).await;
    if half == A_TO_I {
        faults.extend(asked(&office, token.as_deref(), &["--include-path-regex", ENDING]).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    office.running.stop().await;
}

const A_TO_I: &str = "^/api/[a-i]";
const J_TO_Z: &str = "^(/api/[j-z]|/metrics)";

/// What each of them is answered stands in the document.
mod answers {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_nobody_from_a_to_i() {
        holds_for(None, A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_nobody_from_j_to_z() {
        holds_for(None, J_TO_Z).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_administrator_from_a_to_i() {
        holds_for(Some(ADMIN), A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_administrator_from_j_to_z() {
        holds_for(Some(ADMIN), J_TO_Z).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_a_resource_manager_from_a_to_i() {
        holds_for(Some(MONA), A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_a_resource_manager_from_j_to_z() {
        holds_for(Some(MONA), J_TO_Z).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_approver_from_a_to_i() {
        holds_for(Some(ROSA), A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_approver_from_j_to_z() {
        holds_for(Some(ROSA), J_TO_Z).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_a_requestor_from_a_to_i() {
        holds_for(Some(ADA), A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_a_requestor_from_j_to_z() {
        holds_for(Some(ADA), J_TO_Z).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_auditor_from_a_to_i() {
        holds_for(Some(UMA), A_TO_I).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn to_an_auditor_from_j_to_z() {
        holds_for(Some(UMA), J_TO_Z).await;
    }
}

/// Two types of one name would be one schema, and the one that is met last would stand for both.
#[test]
fn no_two_types_have_one_name_in_the_document() {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in crate::tidy::sources("src") {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if !(line.starts_with("#[derive(") && line.contains("ToSchema")) {
                continue;
            }
            let mut given = None;
            for line in lines.by_ref() {
                if let Some(rest) = line.split_once("schema(as = ").map(|(_, rest)| rest) {
                    given = rest.split([')', ',']).next().map(str::to_owned);
                }
                let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
                let named = words.iter().position(|word| matches!(*word, "struct" | "enum"));
                if let Some(name) = named.filter(|_| !line.trim_start().starts_with("//")).and_then(|at| words.get(at + 1)) {
                    let name = given.unwrap_or_else(|| (*name).to_owned());
                    names.entry(name).or_default().push(path.display().to_string());
                    break;
                }
            }
        }
    }
    assert!(names.len() > 200, "{}", names.len());
    names.retain(|_, places| places.len() > 1);
    assert!(names.is_empty(), "name one of each otherwise with #[schema(as = …)]: {names:#?}");
}
