//! Histories of runs that are kept: a definition, the events that came, and what the engine made of each.
//!
//! A run that began on an older version of Tenure goes on with the engine of today, so the same events must
//! lead to the same states. `UPDATE_GOLDEN=1` writes them anew; look at the difference before keeping it.

use serde_json::{Value, json};
use tenure::base::time::Timestamp;
use tenure::features::workflow::definitions::Definition;
use tenure::features::workflow::engine::{Event, RunState, Scope, advance};

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/histories")
}

fn read<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> T {
    serde_path_to_error::deserialize(value).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The history with what the engine makes of each event now.
fn replayed(name: &str, history: &Value) -> Value {
    let definition: Definition = read(name, &history["definition"]);
    let vars = history["variables"].as_object().cloned().unwrap_or_default();
    let mut state = RunState { vars, ..RunState::default() };
    let mut replayed = history.clone();
    for entry in replayed["events"].as_array_mut().expect("events") {
        let event: Event = read(name, &entry["event"]);
        let now = Timestamp::from_millis(entry["at"].as_i64().expect("milliseconds"));
        let scope = Scope { values: history["values"].clone(), now };
        let (next, effects) = advance(&definition, state, event, &scope);
        // What was stored is what goes on, not what was in memory.
        state = read(name, &json!(next));
        assert_eq!(state, next, "{name}: a state is stored as it is");
        entry["state"] = json!(next);
        entry["effects"] = json!(effects);
    }
    replayed
}

#[test]
fn histories_replay_identically() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut files: Vec<_> = std::fs::read_dir(folder()).expect("histories").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    let mut kinds = std::collections::BTreeSet::new();
    for path in &files {
        let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8").to_owned();
        let stored: Value = read(&name, &serde_json::from_str(&std::fs::read_to_string(path).expect("a history")).expect("JSON"));
        let now = replayed(&name, &stored);
        if update {
            let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
            std::fs::write(path, text).expect("is written");
        } else {
            for (i, (then, now)) in stored["events"].as_array().into_iter().flatten().zip(now["events"].as_array().expect("events")).enumerate() {
                assert_eq!(now["state"], then["state"], "{name}: the state after event {i}");
                assert_eq!(now["effects"], then["effects"], "{name}: the effects of event {i}");
            }
        }
        for entry in now["events"].as_array().expect("events") {
            kinds.insert(entry["event"]["kind"].as_str().expect("a kind").to_owned());
        }
        let last = &now["events"].as_array().expect("events").last().expect("an event")["state"];
        assert_eq!(last["ended"]["status"], stored["ends"], "{name} ends so: {last}");
    }
    let all = ["computed", "correct", "failed", "finished", "goOn", "skip", "start", "stop", "stuck", "takeUp", "tick", "waits"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "the histories hold every kind of event");
}
