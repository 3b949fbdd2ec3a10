//! `tenure doctor`: finds what is wrong, names what mends it, changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, command, free_port};

fn doctor(data: &Path, vars: &[(&str, &str)]) -> Output {
    command(&["doctor", "--json"]).env("DATA_DIR", data).envs(vars.iter().copied()).output().expect("the binary runs")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// The findings of one check that are not well.
fn ill(report: &Value, check: &str) -> Vec<String> {
    let findings = report["findings"].as_array().expect("a list").iter();
    findings
        .filter(|f| f["check"] == check && f["status"] != "ok")
        .map(|f| {
            assert!(f["why"].is_string() && f["mend"].is_string(), "what is wrong says why and how to mend it: {f}");
            format!("{} | {}", f["detail"].as_str().expect("text"), f["mend"].as_str().expect("text"))
        })
        .collect()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changes the mode");
}

/// Beside a running server and after it ended nothing is wrong, and nothing changes by looking.
#[tokio::test]
async fn a_sound_installation_has_nothing_to_mend() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let beside = doctor(&data, &[]);
    assert_eq!(report(&beside)["sound"], true, "{}", report(&beside));
    assert!(beside.status.success());
    assert_eq!(server.terminate(), 0);
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&data).expect("reads").map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let port = free_port().to_string();
    let after = doctor(&data, &[("PORT", &port)]);
    assert_eq!(report(&after)["sound"], true, "{}", report(&after));
    assert_eq!(names(), before);
    let text = command(&["doctor"]).env("DATA_DIR", &data).env("PORT", port).output().expect("runs");
    assert!(String::from_utf8_lossy(&text.stdout).ends_with("nothing is broken\n"));
}

/// Each thing that can be wrong is named with what mends it, all at once.
#[tokio::test]
async fn what_is_wrong_is_named_with_what_mends_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let nowhere = dir.path().join("nowhere");
    assert!(ill(&report(&doctor(&nowhere, &[])), "data directory")[0].contains("tenure init"));
    assert!(!nowhere.exists());

    let data = dir.path().join("data");
    assert_eq!(Server::start(&["serve"], &data, &[]).await.terminate(), 0);
    mode(&data, 0o755);
    mode(&data.join("keys/session_secret"), 0o644);
    std::fs::write(data.join("restore-unfinished"), "").expect("writes");
    std::fs::write(data.join("logs.db"), "not a database, but long enough to look at".repeat(200)).expect("writes");
    let conn = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
    conn.execute_batch("DROP TRIGGER audit_log_no_update; UPDATE audit_log SET leaf = x'00' WHERE seq = 1;")
        .expect("tampers");
    conn.execute(
        "INSERT INTO schema_migration (version, name, sha256, applied_at) VALUES (9999, 'from_the_future', 'x', 0)",
        [],
    )
    .expect("pretends");
    drop(conn);
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = doctor(&data, &[("PORT", &port)]);
    assert_eq!(output.status.code(), Some(1));
    let report = report(&output);
    assert_eq!(report["sound"], false);
    let expected = [
        ("data directory", "chmod 700"),
        ("keys", "chmod 600"),
        ("restore", "tenure restore FILE --replace"),
        ("logs.db", "it is made again"),
        ("schema", "9999_from_the_future"),
        ("audit log", "entry 1"),
        ("server", "set HOST and PORT"),
    ];
    for (check, words) in expected {
        let found = ill(&report, check);
        assert!(found.len() == 1 && found[0].contains(words), "{check}: expected {words:?} in {found:?}");
    }
    assert_eq!(ill(&report, "tenure.db"), Vec::<String>::new(), "the pages themselves are sound");
}

/// Other keys than those the secrets were sealed with are noticed before a call fails.
#[tokio::test]
async fn secrets_that_the_keys_do_not_open_are_noticed() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let create = ["user", "create", "--email", "a@example.org", "--name", "A", "--role", "admin", "--json"];
    let made = command(&create).env("DATA_DIR", &data).output().expect("runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = command(&["token", "create", "--user", "a@example.org"]).env("DATA_DIR", &data).output().expect("runs");
    let body = json!({ "name": "HR", "kind": "http", "config": { "baseUrl": "http://127.0.0.1:9" },
        "secrets": { "token": "sesame" } });
    let made = crate::support::http()
        .post(format!("{}/api/connectors", server.base))
        .bearer_auth(String::from_utf8_lossy(&token.stdout).trim())
        .json(&body)
        .send();
    assert_eq!(made.await.expect("an answer").status(), 201);
    let other = "0f".repeat(32);
    let found = report(&doctor(&data, &[("CONNECTOR_ENCRYPTION_KEY", &other)]));
    assert!(ill(&found, "connector secrets")[0].starts_with("do not open: HR"), "{found}");
    assert_eq!(ill(&report(&doctor(&data, &[])), "connector secrets"), Vec::<String>::new());
}
