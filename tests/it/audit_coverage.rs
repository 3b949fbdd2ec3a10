//! Every change has its entry: each operation of the API and each job is done once, and what it wrote into the log is
//! compared with what the product says that it writes.

mod access;
mod changed;
mod house;
mod operation;
mod people;
mod troubles;
mod workflows;

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use serde_json::Value;
use tenure::features::audit::{AT_RESTORE, AT_START, BY_SCIM, WHEN_NOTICED, Writes};

use crate::support::http;
use house::{House, Seen};

/// What takes more than these scenes, and the test that shows it: who writes, which action, where it is tested.
const ELSEWHERE: [(&str, &str, &str); 11] = [
    (AT_START, "audit.key_changed", "a_key_that_was_changed_signs_on_and_what_the_old_one_signed_is_believed_still"),
    (AT_RESTORE, "audit.origin_changed", "a_lost_installation_comes_back_elsewhere_from_a_backup_and_its_keys"),
    (AT_RESTORE, "backup.restored", "a_lost_installation_comes_back_elsewhere_from_a_backup_and_its_keys"),
    (BY_SCIM, "person.provisioned", "a_user_lives_as_entra_and_okta_say"),
    (BY_SCIM, "person.unprovisioned", "a_user_lives_as_entra_and_okta_say"),
    ("rotate-connector-keys", "connector.secrets_resealed", "keys_are_replaced_while_the_server_runs_and_asking_again_goes_on"),
    ("POST /api/connectors/rotate-keys", "connector.secrets_resealed", "keys_are_replaced_while_the_server_runs_and_asking_again_goes_on"),
    ("run-orphan-cleanup", "run.outputs_removed", "what_ended_runs_left_goes_and_their_history_stays"),
    ("run-orphan-cleanup", "run.waits_removed", "what_ended_runs_left_goes_and_their_history_stays"),
    ("run-orphan-cleanup", "blob.removed", "what_a_crash_left_between_row_and_file_is_mended"),
    ("run-orphan-cleanup", "blob.stray_removed", "what_a_crash_left_between_row_and_file_is_mended"),
];

/// Plays a scene; one that breaks off is told with what else was not as it should be.
async fn scene(h: &House, name: &str, scene: impl Future<Output = ()>) {
    if std::panic::AssertUnwindSafe(scene).catch_unwind().await.is_err() {
        h.seen.lock().expect("nobody panicked").faults.push(format!("{name} broke off"));
    }
}

async fn everything(h: &House) {
    scene(h, "the beginning", people::beginning(h)).await;
    scene(h, "accounts", people::accounts(h)).await;
    scene(h, "groups and settings", people::groups_and_settings(h)).await;
    let w = access::systems(h).await;
    scene(h, "documents", access::documents(h, &w)).await;
    scene(h, "definitions", workflows::definitions(h)).await;
    scene(h, "approvals", workflows::approvals(h)).await;
    scene(h, "tasks", workflows::tasks(h)).await;
    scene(h, "links", workflows::links(h)).await;
    scene(h, "steps", workflows::steps(h)).await;
    scene(h, "events", workflows::events(h, &w)).await;
    scene(h, "repairs", workflows::repairs(h)).await;
    scene(h, "schedules", workflows::schedules(h)).await;
    scene(h, "imports", people::imports(h, &w.connector)).await;
    scene(h, "assignments", access::assignments(h, &w)).await;
    scene(h, "leavers", people::leavers(h, &w.role)).await;
    scene(h, "reconciliation", access::reconciliation(h, &w)).await;
    scene(h, "side doors", access::side_doors(h, &w)).await;
    scene(h, "systems that refuse", troubles::systems_that_refuse(h, &w)).await;
    scene(h, "accounts that vanish", troubles::accounts_that_vanish(h, &w)).await;
    scene(h, "reminders", troubles::reminders(h)).await;
    scene(h, "runs that stand still", troubles::runs_that_stand_still(h)).await;
    scene(h, "notifications", people::notifications(h)).await;
    scene(h, "evidence", operation::evidence(h)).await;
    scene(h, "jobs", operation::jobs(h)).await;
    scene(h, "logs", operation::logs(h)).await;
    scene(h, "clock", operation::clock(h)).await;
    scene(h, "the end", operation::end(h)).await;
}

/// The operations of the document that change something.
async fn unsafe_operations(h: &House) -> BTreeMap<String, Value> {
    let document = http().get(format!("{}/api/openapi.json", h.running.base)).send().await.expect("an answer");
    let document: Value = document.json().await.expect("JSON");
    let mut all = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations").iter().filter(|(m, _)| *m != "get") {
            all.insert(format!("{} {path}", method.to_uppercase()), operation["x-audit-actions"].clone());
        }
    }
    all
}

/// Where the table of the product and what was seen are not the same.
fn differences(seen: &Seen, operations: &BTreeMap<String, Value>, jobs: &BTreeSet<&str>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rows: BTreeMap<&str, Vec<&Writes>> = BTreeMap::new();
    for row in tenure::app::writes() {
        rows.entry(row.by).or_default().push(row);
    }
    let anywhere: BTreeSet<&str> = rows.get(WHEN_NOTICED).into_iter().flatten().flat_map(|row| row.all()).collect();
    let start = BTreeMap::from([(AT_START.to_owned(), seen.start.clone())]);
    let done: BTreeMap<&str, &BTreeSet<String>> =
        [&seen.operations, &seen.jobs, &start].into_iter().flatten().map(|(by, actions)| (by.as_str(), actions)).collect();
    for by in operations.keys().map(String::as_str).chain(jobs.iter().copied()) {
        if !rows.contains_key(by) {
            faults.push(format!("{by} has no row that says what it writes"));
        }
        if !done.contains_key(by) && !ELSEWHERE.iter().any(|(other, ..)| *other == by) {
            faults.push(format!("{by} was never done"));
        }
    }
    for by in rows.keys() {
        let is_known = operations.contains_key(*by) || jobs.contains(by);
        if !is_known && ![AT_START, AT_RESTORE, WHEN_NOTICED, BY_SCIM].contains(by) {
            faults.push(format!("a row is about {by}, which there is not"));
        }
    }
    for (by, actions) in &done {
        let named: BTreeSet<&str> = rows.get(by).into_iter().flatten().flat_map(|row| row.all()).collect();
        for action in actions.iter().filter(|a| !named.contains(a.as_str()) && !anywhere.contains(a.as_str())) {
            faults.push(format!("{by} writes {action}, which its row does not name"));
        }
    }
    let shown = |by: &str, action: &str| ELSEWHERE.iter().any(|(b, a, _)| *b == by && *a == action);
    let all_seen: BTreeSet<&str> = done.values().copied().flatten().map(String::as_str).collect();
    for (by, row) in rows.iter().flat_map(|(by, rows)| rows.iter().map(move |row| (*by, *row))) {
        for action in row.actions {
            let seen = if by == WHEN_NOTICED { all_seen.contains(action) } else { done.get(by).is_some_and(|all| all.contains(*action)) };
            if !seen && !shown(by, action) {
                faults.push(format!("{by} was never seen to write {action}"));
            }
        }
        // What may follow is seen wherever it is.
        for action in row.then.iter().copied().flatten().filter(|a| !all_seen.contains(*a) && !shown("", a)) {
            faults.push(format!("{action}, which may follow from {by}, was never seen"));
        }
    }
    faults
}

/// The tests that [`ELSEWHERE`] names are there, beside the action.
fn wrong_places() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut texts, mut open) = (Vec::new(), vec![root.join("src"), root.join("tests/it")]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of sources").flatten() {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => texts.extend(std::fs::read_to_string(path)),
            }
        }
    }
    let is_there = |action: &str, test: &str| {
        texts.iter().any(|text| text.contains(&format!("fn {test}(")) && text.contains(&format!("\"{action}\"")))
    };
    let wrong = ELSEWHERE.iter().filter(|(_, action, test)| !is_there(action, test));
    wrong.map(|(by, action, test)| format!("{test} is no test that names {action} of {by}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_and_each_job_writes_exactly_the_entries_that_it_names() {
    let h = House::open().await;
    everything(&h).await;
    let operations = unsafe_operations(&h).await;
    let registry = h.running.app.registry.clone();
    let jobs: BTreeSet<&str> = registry.iter().map(|handler| handler.name()).collect();
    let seen = std::mem::take(&mut *h.seen.lock().expect("nobody panicked"));
    let mut faults = seen.faults.clone();
    faults.extend(differences(&seen, &operations, &jobs));
    faults.extend(wrong_places());
    let unnamed = operations.iter().filter(|(_, actions)| !actions.is_array());
    faults.extend(unnamed.map(|(by, _)| format!("the document does not say what {by} writes")));
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    h.running.stop().await;
}
