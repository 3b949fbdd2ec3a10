//! The command line, as a person or a script uses it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Server, command};

fn run(data: &Path, args: &[&str], stdin: &str) -> Output {
    let mut child = command(args)
        .env("DATA_DIR", data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn commands_of(args: &[&str]) -> Vec<String> {
    let mut args = args.to_vec();
    args.push("--help");
    let output = command(&args).output().expect("runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let Some((_, list)) = text.split_once("Commands:\n") else { return Vec::new() };
    list.lines()
        .take_while(|l| l.starts_with("  "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// What is listed can be tried at once.
#[test]
fn every_command_has_help_with_an_example() {
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        let args: Vec<&str> = path.iter().map(String::as_str).collect();
        let below = commands_of(&args);
        if below.is_empty() {
            seen += 1;
            let mut help = args.clone();
            help.push("--help");
            let output = command(&help).output().expect("runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("Example:\n"), "tenure {} --help has no example:\n{text}", path.join(" "));
        }
        open.extend(below.into_iter().map(|name| path.iter().cloned().chain([name]).collect()));
    }
    assert!(seen >= 10, "{seen} commands");
}

#[test]
fn wrong_usage_ends_with_2_and_a_faulty_configuration_with_78() {
    for args in [&[][..], &["nonsense"], &["serve", "--nonsense"], &["user"], &["user", "create"], &["token", "revoke"]] {
        assert_eq!(command(args).output().expect("runs").status.code(), Some(2), "{args:?}");
    }
    for args in [&["check-config"][..], &["serve"], &["demo"], &["user", "list"], &["init"]] {
        let output = command(args).env("PORT", "abc").output().expect("runs");
        assert_eq!(output.status.code(), Some(78), "{args:?}");
    }
}

#[test]
fn check_config_answers_in_json() {
    let good = json(&command(&["check-config", "--json"]).output().expect("runs"));
    assert_eq!(good, serde_json::json!({ "valid": true, "faults": [], "warnings": [] }));
    let bad = command(&["check-config", "--json"]).env("PORT", "abc").env("PROT", "1").output().expect("runs");
    assert_eq!(bad.status.code(), Some(78));
    let bad: Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    assert_eq!(bad["faults"][0], "PORT: got \"abc\"; expected a whole number from 1 to 65535");
    assert_eq!(bad["warnings"][0], "PROT: is not a variable of Tenure; did you mean PORT?");
}

/// Accounts and tokens are made without a server and work with one.
#[tokio::test]
async fn an_account_and_a_token_made_on_the_command_line_work() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let password = "correct horse battery staple";
    let create = ["user", "create", "--email", "ada@example.org", "--name", "Ada", "--role", "admin", "--password-stdin", "--json"];
    let made = json(&run(&data, &create, &format!("{password}\n")));
    assert_eq!(made["email"], "ada@example.org");
    assert_eq!(made["password"], Value::Null, "what was given is not repeated");
    assert_eq!(run(&data, &create, &format!("{password}\n")).status.code(), Some(1), "an address is used once");
    let token = json(&run(&data, &["token", "create", "--user", "ada@example.org", "--json"], ""));
    let secret = token["token"].as_str().expect("a token").to_owned();
    assert!(secret.starts_with("tnr_"));
    assert_eq!(run(&data, &["token", "create", "--user", "nobody@example.org"], "").status.code(), Some(1));

    let server = Server::start(&["serve"], &data, &[]).await;
    let me = format!("{}/api/auth/me", server.base);
    let ask = |secret: String| crate::support::http().get(&me).bearer_auth(secret).send();
    assert_eq!(ask(secret.clone()).await.expect("an answer").status(), 200);
    let beside = json(&run(&data, &["user", "list", "--json"], ""));
    assert_eq!(beside["items"][0]["email"], "ada@example.org", "a running server answers commands");
    assert_eq!(server.terminate(), 0);

    let listed = json(&run(&data, &["user", "list", "--json"], ""));
    assert_eq!(listed["items"][0]["email"], "ada@example.org");
    let id = token["id"].as_str().expect("an id").to_owned();
    assert!(run(&data, &["token", "revoke", &id], "").status.success());
    let reset = run(&data, &["user", "reset-password", "--email", "ada@example.org"], "short\n");
    assert_eq!(reset.status.code(), Some(1), "a short password is refused");
    assert!(run(&data, &["user", "disable", "--email", "ada@example.org"], "").status.success());
    let listed = json(&run(&data, &["user", "list", "--json"], ""));
    assert_eq!(listed["items"][0]["active"], false);
    let verdict = json(&run(&data, &["audit", "verify", "--json", "--db", data.join("tenure.db").to_str().expect("UTF-8")], ""));
    assert_eq!(verdict["fault"], Value::Null, "every act on the command line is in the log");

    let server = Server::start(&["serve"], &data, &[]).await;
    let me = format!("{}/api/auth/me", server.base);
    let answer = crate::support::http().get(&me).bearer_auth(secret).send().await.expect("an answer");
    assert_eq!(answer.status(), 401);
    assert_eq!(server.terminate(), 0);
}

/// Commands work beside a running server, through its local socket, and are audited as `cli:<uid>`.
#[tokio::test]
async fn commands_work_beside_a_running_server_through_its_socket() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    let dir = tempfile::tempdir().expect("a folder");
    // Deeper than a socket's name may be long.
    let data = dir.path().join("d".repeat(120)).join("data");
    std::fs::create_dir_all(data.parent().expect("a parent")).expect("a folder");
    let mut server = Server::start(&["serve"], &data, &[]).await;
    let socket = data.join("tenure.sock");
    let meta = std::fs::metadata(&socket).expect("the socket is there");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);

    let create = ["user", "create", "--email", "ada@example.org", "--name", "Ada", "--role", "auditor", "--json"];
    let made = json(&run(&data, &create, ""));
    assert_eq!(made["password"].as_str().map(str::len), Some(24), "one is made when none is given");
    assert_eq!(run(&data, &create, "").status.code(), Some(1), "an address is used once");
    let token = json(&run(&data, &["token", "create", "--user", "ada@example.org", "--json"], ""));
    let secret = token["token"].as_str().expect("a token");
    let audit = crate::support::http().get(format!("{}/api/audit?action=account.created", server.base));
    let entries: Value = audit.bearer_auth(secret).send().await.expect("an answer").json().await.expect("JSON");
    let actor = entries["items"][0]["actor"]["id"].as_str().expect("an actor").to_owned();
    assert!(actor.starts_with("cli:"), "{actor}");
    let jobs = json(&run(&data, &["jobs", "list", "--limit", "5", "--json"], ""));
    assert!(jobs["items"].is_array(), "{jobs}");
    let unknown = run(&data, &["jobs", "retry", "job_00000000000000000000000000"], "");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("There is no job"));
    let logs = run(&data, &["logs", "tail", "--q", "Tenure is running"], "");
    assert!(logs.status.success());
    assert!(json(&run(&data, &["logs", "purge", "--json"], ""))["purged"].is_number());

    server.kill();
    assert!(socket.exists(), "a killed process leaves its socket");
    assert!(run(&data, &["user", "list"], "").status.success(), "a leftover socket is no server");
    let server = Server::start(&["serve"], &data, &[]).await;
    assert!(run(&data, &["user", "list"], "").status.success());
    assert_eq!(server.terminate(), 0);
    assert!(!socket.exists(), "an orderly end takes the socket away");
}

/// Every file of a folder with its mode and its hash.
fn listing(folder: &Path) -> Vec<(String, u32, Vec<u8>)> {
    use sha2::Digest as _;
    use std::os::unix::fs::PermissionsExt as _;
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|e| {
            let path = e.expect("an entry").path();
            let mode = path.metadata().expect("metadata").permissions().mode();
            let bytes = if path.is_file() { std::fs::read(&path).expect("reads") } else { Vec::new() };
            (path.display().to_string(), mode, sha2::Sha256::digest(bytes).to_vec())
        })
        .collect();
    all.sort();
    all
}

fn verify(db: &Path) -> Output {
    command(&["audit", "verify", "--json", "--db"]).arg(db).output().expect("runs")
}

/// Verifies, and minds that the folder is what it was; answers the number of entries.
fn sound_and_untouched(db: &Path) -> u64 {
    let folder = db.parent().expect("a folder");
    let before = listing(folder);
    let verdict = json(&verify(db));
    assert_eq!(listing(folder), before, "{}", db.display());
    assert_eq!(verdict["fault"], Value::Null);
    verdict["rows"].as_u64().expect("a number")
}

fn copy_of(from: &Path, names: &[&str], to: &Path) -> std::path::PathBuf {
    std::fs::create_dir(to).expect("a folder");
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).expect("copies");
    }
    to.join("tenure.db")
}

/// Evidence stays as it is while it is looked at: of a server that runs, one that died, one that ended,
/// and of every way in which its files are copied away.
#[tokio::test]
async fn a_verification_reads_the_write_ahead_log_and_changes_no_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let mut server = Server::start(&["serve"], &data, &[]).await;
    let token = std::fs::read_to_string(data.join("setup-token")).expect("the setup token");
    let body = serde_json::json!({ "token": token.trim(), "email": "a@example.org", "displayName": "A", "password": "a long enough password 1" });
    let made = crate::support::http().post(format!("{}/api/setup", server.base)).json(&body).send().await;
    assert_eq!(made.expect("an answer").status(), 201);
    let live = json(&verify(&data.join("tenure.db")));
    assert!(live["rows"].as_u64().expect("a number") >= 4, "{live}");
    assert_eq!(live["fault"], Value::Null);
    server.kill();

    let died = sound_and_untouched(&data.join("tenure.db"));
    assert!(died >= 4, "{died}");
    let with_log = copy_of(&data, &["tenure.db", "tenure.db-wal"], &dir.path().join("with log"));
    assert_eq!(sound_and_untouched(&with_log), died, "a log without its index is read too");
    let whole = copy_of(&data, &["tenure.db", "tenure.db-wal", "tenure.db-shm"], &dir.path().join("whole?#%"));
    let mode = |mode| std::fs::set_permissions(whole.parent().expect("a folder"), std::fs::Permissions::from_mode(mode));
    mode(0o555).expect("changes the mode");
    assert_eq!(sound_and_untouched(&whole), died);
    mode(0o755).expect("changes the mode");

    assert_eq!(Server::start(&["serve"], &data, &[]).await.terminate(), 0);
    let ended = copy_of(&data, &["tenure.db"], &dir.path().join("ended"));
    std::fs::set_permissions(&ended, std::fs::Permissions::from_mode(0o444)).expect("changes the mode");
    std::fs::set_permissions(dir.path().join("ended"), std::fs::Permissions::from_mode(0o555)).expect("changes the mode");
    assert_eq!(sound_and_untouched(&ended), died, "an orderly end folds the log into the file");
    std::fs::set_permissions(dir.path().join("ended"), std::fs::Permissions::from_mode(0o755)).expect("changes the mode");
}

#[test]
fn a_verification_of_what_holds_no_log_cannot_tell_and_says_why() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).expect("writes");
        dir.path().join(name)
    };
    let text = file("text", b"no database at all, however long it may be; and no header of one ".repeat(99).as_slice());
    let empty = file("empty", b"");
    let other = dir.path().join("other.db");
    rusqlite::Connection::open(&other).and_then(|c| c.execute_batch("CREATE TABLE t (x)")).expect("a database");
    let cases = [
        (dir.path().join("missing"), "cannot be read"),
        (dir.path().to_owned(), "is not a file"),
        (text, "is not an SQLite database"),
        (empty, "is no database of Tenure"),
        (other, "is no database of Tenure"),
    ];
    let before = listing(dir.path());
    for (path, why) in cases {
        let output = verify(&path);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{}: {text}", path.display());
        assert!(text.contains(why) && text.contains(path.to_str().expect("UTF-8")), "{text}");
    }
    assert_eq!(listing(dir.path()), before);
}

/// All that read the log again say the same of one that was emptied: even a new one has an entry.
#[tokio::test]
async fn an_emptied_log_is_sound_to_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let server = Server::start(&["serve"], &data, &[]).await;
    let create = ["user", "create", "--email", "a@example.org", "--name", "A", "--role", "admin", "--json"];
    assert!(run(&data, &create, "").status.success());
    let token = run(&data, &["token", "create", "--user", "a@example.org"], "");
    let db = rusqlite::Connection::open(data.join("tenure.db")).expect("opens");
    db.busy_timeout(std::time::Duration::from_secs(5)).expect("waits");
    db.execute_batch(
        "DROP TRIGGER audit_log_no_delete; DROP TRIGGER IF EXISTS audit_state_no_delete;
         DELETE FROM audit_state; DELETE FROM audit_log;",
    )
    .expect("tampers");
    drop(db);
    let asked = crate::support::http()
        .post(format!("{}/api/audit/verify", server.base))
        .bearer_auth(String::from_utf8_lossy(&token.stdout).trim())
        .send()
        .await
        .expect("an answer");
    assert_eq!(asked.status(), 200);
    let told: Value = asked.json().await.expect("JSON");
    let by_command = verify(&data.join("tenure.db"));
    assert_eq!(by_command.status.code(), Some(1), "{}", String::from_utf8_lossy(&by_command.stderr));
    let said: serde_json::Map<String, Value> = serde_json::from_slice(&by_command.stdout).expect("JSON");
    assert!(said.len() >= 5 && said.iter().all(|(name, value)| told[name] == *value), "{said:?}, {told}");
    assert_eq!((&told["rows"], &told["fault"]["seq"], &told["fault"]["kind"]), (&0.into(), &1.into(), &"gap".into()));
    let doctor = run(&data, &["doctor", "--json"], "");
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("entry 1 (gap)"), "{}", String::from_utf8_lossy(&doctor.stdout));
    let backup = run(&data, &["backup", dir.path().join("b").to_str().expect("UTF-8")], "");
    assert!(String::from_utf8_lossy(&backup.stderr).contains("entry 1 (gap)"), "{}", String::from_utf8_lossy(&backup.stderr));
}

/// A point that is armed is really met: the process dies there, and what was committed stays.
#[test]
fn an_armed_fault_point_ends_the_process_before_or_after_the_commit() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let accounts = || json(&run(&data, &["user", "list", "--json"], ""))["items"].as_array().expect("a list").len();
    assert_eq!(accounts(), 0);
    for (fault, code, stored) in [
        ("writer:before_commit=exit", None, 0),
        ("writer:before_commit=error", Some(1), 0),
        ("writer:after_commit=exit", None, 1),
    ] {
        let mut child = command(&["user", "create", "--email", "e@example.org", "--name", "E", "--role", "admin", "--password-stdin"])
            .env("DATA_DIR", &data)
            .env("TENURE_FAULT", fault)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        child.stdin.take().expect("a pipe").write_all(b"a long enough password 1\n").expect("writes");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), code, "{fault}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(accounts(), stored, "{fault}");
    }
    assert_eq!(verify(&data.join("tenure.db")).status.code(), Some(0));
}
