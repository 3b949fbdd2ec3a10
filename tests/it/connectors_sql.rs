//! The SQL driver against real servers: PostgreSQL and MariaDB, and a SQLite file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::id::ConnectorId;
use tenure::features::connectors::{CallFailure, ConnectorSettings, Kind};
use tenure::platform::outbound::{Outbound, OutboundSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::connectors::Bench;
use crate::support::databases::{Database, PASSWORD, USER};

fn statements(insert: &str) -> Value {
    json!({
        "grant": format!("{insert} INTO access (account, area) VALUES (:account, :area)"),
        "grant_once": format!("{insert} INTO access (account, area) VALUES (:account, :area) ON CONFLICT DO NOTHING"),
        "revoke": "DELETE FROM access WHERE account = :account AND area = :area",
        "has": "SELECT account FROM access WHERE account = :account AND area = :area",
        "counted": "SELECT count(*) AS present FROM access WHERE account = :account AND area = :area",
        "members": "SELECT account AS key, area FROM access WHERE area = :area ORDER BY account",
        "nameless": "SELECT account FROM access",
        "everything": "DELETE FROM access",
        "wrong": "SELECT nothing FROM nowhere",
    })
}

fn server(database: &Database, engine: &str, insert: &str) -> Value {
    let tls = if database.ca_pem.is_some() { "require" } else { "off" };
    json!({ "engine": engine, "url": database.url, "user": USER, "tls": tls, "statements": statements(insert), "maxRows": 3 })
}

fn access(statement: &str, account: &str) -> Value {
    json!({ "statement": statement, "params": { "account": account, "area": "lab" } })
}

async fn members(bench: &Bench, id: &ConnectorId) -> Result<Vec<String>, CallFailure> {
    let params = json!({ "statement": "members", "params": { "area": "lab" } });
    Ok(bench.connectors.list_all(id, "list", &params, 100).await?.into_iter().map(|f| f.key).collect())
}

async fn present(bench: &Bench, id: &ConnectorId, statement: &str, account: &str) -> bool {
    let answer = bench.call(id, "check", &access(statement, account)).await.expect("looked");
    answer["present"].as_bool().expect("a boolean")
}

/// Given, looked at, listed, taken away: in each engine the same.
async fn gives_and_takes(bench: &Bench, id: &ConnectorId, grant: &str) {
    assert_eq!(members(bench, id).await, Ok(Vec::new()));
    assert!(!present(bench, id, "has", "ada").await && !present(bench, id, "counted", "ada").await);
    for changed in [true, false] {
        let answer = bench.call(id, "execute", &access(grant, "ada")).await.expect("given");
        assert_eq!(answer["changed"], changed, "{answer}");
    }
    assert!(present(bench, id, "has", "ada").await && present(bench, id, "counted", "ada").await);
    // What looks like SQL is a value like any other.
    for odd in ["x'); DELETE FROM access; --", "\" OR ''='", "Ünïcode \u{1f600} \\", ":area"] {
        bench.call(id, "execute", &access(grant, odd)).await.expect("given");
        assert!(present(bench, id, "has", odd).await, "{odd}");
        if odd.starts_with("x'") {
            assert_eq!(members(bench, id).await.expect("listed"), ["ada", odd]);
        }
        bench.call(id, "execute", &access("revoke", odd)).await.expect("taken");
    }
    for changed in [true, false] {
        let answer = bench.call(id, "execute", &access("revoke", "ada")).await.expect("taken");
        assert_eq!(answer["changed"], changed);
    }
    assert!(!present(bench, id, "has", "ada").await);
    // More than is allowed is no list.
    for account in ["a", "b", "c", "d"] {
        assert_eq!(members(bench, id).await.expect("listed").len(), usize::from(account.as_bytes()[0] - b'a'));
        bench.call(id, "execute", &access(grant, account)).await.expect("given");
    }
    assert_eq!(members(bench, id).await.expect_err("too many").code, "too_many");
    // Looking changes nothing, whatever the statement says.
    let sneaky = bench.call(id, "check", &json!({ "statement": "everything" })).await.expect_err("it writes");
    assert!(sneaky.code.starts_with("sql_"), "{sneaky:?}");
    assert!(present(bench, id, "has", "a").await);
    for (params, code) in [
        (json!({ "statement": "none" }), "bad_params"),
        (json!({ "statement": "has", "params": { "account": "a" } }), "bad_params"),
        (json!({ "statement": "has", "params": { "account": "a", "area": "lab", "more": 1 } }), "bad_params"),
    ] {
        assert_eq!(bench.call(id, "check", &params).await.expect_err(code).code, code);
    }
    let wrong = bench.call(id, "check", &json!({ "statement": "wrong" })).await.expect_err("no such table");
    assert!(wrong.code.starts_with("sql_") && !wrong.retryable, "{wrong:?}");
    let nameless = bench.connectors.list_all(id, "list", &json!({ "statement": "nameless" }), 100).await;
    assert!(["bad_answer", "too_many"].contains(&nameless.expect_err("no key").code.as_str()));
    assert_eq!(bench.connectors.test(id).await.expect("tested").output["ok"], true);
}

/// A wrong password, a name that is no good, nobody there: each says what it is, and none the password.
async fn says_what_is_wrong(bench: &Bench, config: Value) {
    let id = bench.connector(Kind::Sql, config.clone(), &[("password", "hunter2-hunter2")]).await;
    let failure = bench.connectors.test(&id).await.expect_err("a wrong password");
    assert!(failure.code.starts_with("sql_") && !failure.retryable, "{failure:?}");
    assert!(!failure.message.contains("hunter2"), "{failure:?}");
    let mut nowhere = config;
    let url = nowhere["url"].as_str().expect("a URL").replace("/hr", "/none");
    nowhere["url"] = url.into();
    let id = bench.connector(Kind::Sql, nowhere.clone(), &[("password", PASSWORD)]).await;
    assert!(bench.connectors.test(&id).await.expect_err("no such database").code.starts_with("sql_"));
    let port = crate::support::free_port();
    let engine = nowhere["engine"].as_str().expect("an engine").to_owned();
    nowhere["url"] = format!("{engine}://127.0.0.1:{port}/hr").into();
    let id = bench.connector(Kind::Sql, nowhere, &[("password", PASSWORD)]).await;
    let failure = bench.connectors.test(&id).await.expect_err("nobody is there");
    assert_eq!((failure.code.as_str(), failure.retryable), ("unreachable", true));
}

#[tokio::test]
async fn postgresql_is_given_and_taken_by_bound_statements_over_tls() {
    let database = Database::postgres().await;
    let bench = Bench::start(database.ca_pem.as_deref()).await;
    let config = server(&database, "postgresql", "INSERT");
    let id = bench.connector(Kind::Sql, config.clone(), &[("password", PASSWORD)]).await;
    gives_and_takes(&bench, &id, "grant_once").await;
    assert_eq!(bench.connectors.test(&id).await.expect("tested").output["warning"], Value::Null);
    says_what_is_wrong(&bench, config.clone()).await;

    // Types that a statement has in the server are what a value is read as.
    let mut typed = config.clone();
    typed["statements"] = json!({
        "typed": "SELECT (:n::int8 + 1) AS n, :b::bool AS b, :d::date::text AS d, :j::jsonb AS j, :u::uuid AS u, :x::text AS key",
        "time": "SELECT now() AS key", "slow": "SELECT pg_sleep(30)",
    });
    typed["timeoutSeconds"] = 1.into();
    let id = bench.connector(Kind::Sql, typed, &[("password", PASSWORD)]).await;
    let uuid = "0189dd4e-57a2-7c3f-8e11-22334455aabb";
    let params = json!({ "n": 41, "b": true, "d": "2031-02-03", "j": { "a": [1] }, "u": uuid, "x": null });
    let failure = bench.connectors.list_all(&id, "list", &json!({ "statement": "typed", "params": params }), 9).await;
    assert_eq!(failure.expect_err("null is no key").code, "bad_answer");
    let params = json!({ "n": 41, "b": true, "d": "2031-02-03", "j": { "a": [1] }, "u": uuid, "x": "k" });
    let found = bench.connectors.list_all(&id, "list", &json!({ "statement": "typed", "params": params }), 9).await.expect("listed");
    assert_eq!(found[0].attributes, json!({ "n": 42, "b": true, "d": "2031-02-03", "j": { "a": [1] }, "u": uuid, "key": "k" }));
    let time = bench.connectors.list_all(&id, "list", &json!({ "statement": "time" }), 9).await.expect_err("a time");
    assert!(time.message.contains("cast it to text"), "{time:?}");
    let slow = bench.call(&id, "check", &json!({ "statement": "slow" })).await.expect_err("slow");
    assert!(slow.code == "timeout" || slow.code == "sql_57014", "{slow:?}");

    // A CA that was not given is not trusted, and nothing is sent in the clear instead.
    let strict = Bench::start(None).await;
    let id = strict.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
    let failure = strict.connectors.test(&id).await.expect_err("not trusted");
    assert_eq!((failure.code.as_str(), failure.retryable), ("tls", false), "{failure:?}");
}

/// A server that lets everybody in and then says nothing: whoever gave up on it has let go of it.
#[tokio::test]
async fn a_database_that_hangs_keeps_no_connection() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("postgresql://{}/hr", listener.local_addr().expect("an address"));
    let hanging = async {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        let length = stream.read_u32().await.expect("a start");
        stream.read_exact(&mut vec![0; length as usize - 4]).await.expect("a start");
        // Signed in; ready.
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.expect("told");
        stream.read_to_end(&mut Vec::new()).await
    };
    let bench = Bench::start(None).await;
    let config = json!({
        "engine": "postgresql", "url": url, "user": USER, "tls": "off", "timeoutSeconds": 1, "statements": { "has": "SELECT 1" },
    });
    let id = bench.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
    let asked = json!({ "statement": "has" });
    let both = async { tokio::join!(bench.call(&id, "check", &asked), hanging) };
    let (answer, let_go) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it lets go");
    assert_eq!(answer.expect_err("it hangs").code, "timeout");
    assert!(let_go.is_ok() || let_go.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
}

/// A message is read whole before it is looked at: one that goes on and on is broken off, by its size and not by its time.
#[tokio::test]
async fn a_database_that_sends_without_end_is_broken_off() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("postgresql://{}/hr", listener.local_addr().expect("an address"));
    let flooding = async {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        let length = stream.read_u32().await.expect("a start");
        stream.read_exact(&mut vec![0; length as usize - 4]).await.expect("a start");
        // Signed in; ready; and a message of a gigabyte begins.
        stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05ID\x40\0\0\0").await.expect("told");
        let mut sent = 0_u64;
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {
            sent += 65_536;
        }
        sent
    };
    let bench = Bench::start(None).await;
    let config = json!({
        "engine": "postgresql", "url": url, "user": USER, "tls": "off", "timeoutSeconds": 20, "statements": { "has": "SELECT 1" },
    });
    let id = bench.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
    let asked = json!({ "statement": "has" });
    let both = async { tokio::join!(bench.call(&id, "check", &asked), flooding) };
    let (answer, sent) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is broken off");
    assert_eq!(answer.expect_err("too much").code, "too_large");
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes went out");
}

#[tokio::test]
async fn mariadb_is_given_and_taken_by_bound_statements() {
    let database = Database::mariadb().await;
    let bench = Bench::start(None).await;
    let mut config = server(&database, "mysql", "INSERT IGNORE");
    config["statements"].as_object_mut().expect("statements").remove("grant_once");
    // A word of its own there.
    config["statements"]["members"] = "SELECT account AS `key`, area FROM access WHERE area = :area ORDER BY account".into();
    let id = bench.connector(Kind::Sql, config.clone(), &[("password", PASSWORD)]).await;
    gives_and_takes(&bench, &id, "grant").await;
    let tested = bench.connectors.test(&id).await.expect("tested");
    assert!(tested.output["warning"].as_str().is_some_and(|w| w.contains("not encrypted")), "{tested:?}");
    says_what_is_wrong(&bench, config.clone()).await;
    // A server without TLS gets no password.
    config["tls"] = "require".into();
    let id = bench.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
    assert_eq!(bench.connectors.test(&id).await.expect_err("no TLS").code, "tls");
}

/// The certificate is judged by the host's name, and trusted through `EXTRA_CA_FILE` alone.
#[tokio::test]
async fn mariadb_is_reached_over_tls_by_a_private_ca_and_not_without_it() {
    let database = Database::mariadb_tls().await;
    let bench = Bench::start(database.ca_pem.as_deref()).await;
    let mut config = server(&database, "mysql", "INSERT IGNORE");
    assert_eq!(config["tls"], "require");
    config["statements"].as_object_mut().expect("statements").remove("grant_once");
    config["statements"]["members"] = "SELECT account AS `key`, area FROM access WHERE area = :area ORDER BY account".into();
    config["statements"]["version"] =
        "SELECT variable_value AS `key` FROM information_schema.session_status WHERE variable_name = 'Ssl_version'".into();
    let id = bench.connector(Kind::Sql, config.clone(), &[("password", PASSWORD)]).await;
    let version = bench.connectors.list_all(&id, "list", &json!({ "statement": "version" }), 9).await.expect("asked");
    assert!(version[0].key.starts_with("TLSv1."), "{version:?}");
    gives_and_takes(&bench, &id, "grant").await;
    assert_eq!(bench.connectors.test(&id).await.expect("tested").output["warning"], Value::Null);
    says_what_is_wrong(&bench, config.clone()).await;

    let refused = async |bench: &Bench, config: Value| {
        let id = bench.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
        let failure = bench.connectors.test(&id).await.expect_err("not trusted");
        assert_eq!((failure.code.as_str(), failure.retryable), ("tls", false), "{failure:?}");
    };
    refused(&Bench::start(None).await, config.clone()).await;
    let mut by_address = config;
    by_address["url"] = by_address["url"].as_str().expect("a URL").replace("localhost", "127.0.0.1").into();
    refused(&bench, by_address).await;
}

/// A packet of MySQL.
fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
    [&length[..3], &[number], payload].concat()
}

/// A server that lets everybody in and answers the first command with this, then goes on with that.
async fn hostile_mysql(answer: Vec<u8>, then: impl Fn(u8) -> Vec<u8>) -> (CallFailure, u64) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("mysql://{}/hr", listener.local_addr().expect("an address"));
    let sending = async {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        // Version 10, a challenge, what it can do, and how it wants people to sign in.
        let greeting = b"\x0a5.7.44\0\x01\0\0\0saltsalt\0\x09\xa2\x2d\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0saltsaltsalt\0mysql_native_password\0";
        stream.write_all(&packet(0, greeting)).await.expect("greeted");
        assert!(stream.read(&mut [0; 4096]).await.expect("somebody signs in") > 0);
        stream.write_all(&packet(2, b"\0\0\0\x02\0\0\0")).await.expect("let in");
        assert!(stream.read(&mut [0; 4096]).await.expect("a command") > 0);
        let (mut sent, mut number, mut piece) = (0_u64, 1_u8, packet(1, &answer));
        while stream.write_all(&piece).await.is_ok() {
            sent += piece.len() as u64;
            number = number.wrapping_add(1);
            piece = packet(number, &then(number));
        }
        sent
    };
    let bench = Bench::start(None).await;
    let config = json!({
        "engine": "mysql", "url": url, "user": USER, "tls": "off", "timeoutSeconds": 20, "statements": { "has": "SELECT 1" },
    });
    let id = bench.connector(Kind::Sql, config, &[("password", PASSWORD)]).await;
    let asked = json!({ "statement": "has" });
    let both = async { tokio::join!(bench.call(&id, "check", &asked), sending) };
    let (answer, sent) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is broken off");
    (answer.expect_err("nothing good came"), sent)
}

/// Columns are collected before the first row: those of a server that never comes to their end are broken off by
/// their size, and one that says how many there will be does not have room made for them.
#[tokio::test]
async fn a_mysql_server_that_sends_without_end_is_broken_off() {
    let column = |_| {
        let name = [&b"\xfc\x60\xea"[..], &[b'x'; 60_000]].concat();
        [&b"\x03def\0\0\0"[..], &name, b"\0\x0c\x21\0\xff\0\0\0\xfd\0\0\0\0\0"].concat()
    };
    let (failure, sent) = hostile_mysql(b"\xfc\xff\xff".to_vec(), column).await;
    assert_eq!((failure.code.as_str(), failure.retryable), ("too_large", false), "{failure:?}");
    assert!(sent < 64 * 1024 * 1024, "{sent} bytes went out");
    // Room for a million times a million columns.
    let many = [&b"\xfe"[..], &(1_u64 << 40).to_le_bytes()].concat();
    let (failure, _) = hostile_mysql(many, column).await;
    assert_eq!((failure.code.as_str(), failure.retryable), ("bad_answer", false), "{failure:?}");
}

#[tokio::test]
async fn a_sqlite_file_is_opened_by_the_name_that_was_allowed_and_reaches_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (folder.path().join("hr.db"), folder.path().join("other.db"));
    for file in [&path, &other] {
        let connection = rusqlite::Connection::open(file).expect("a database");
        connection.execute_batch("CREATE TABLE access (account TEXT, area TEXT, PRIMARY KEY (account, area))").expect("a table");
    }
    let settings = ConnectorSettings {
        sqlite_files: BTreeMap::from([("hr".to_owned(), path.clone())]),
        ..ConnectorSettings::default()
    };
    let outbound = Outbound::new(OutboundSettings::default()).expect("opens");
    let bench = Bench::with(outbound, settings).await;
    let mut config = json!({ "engine": "sqlite", "file": "hr", "statements": statements("INSERT OR IGNORE"), "maxRows": 3 });
    let id = bench.connector(Kind::Sql, config.clone(), &[]).await;
    gives_and_takes(&bench, &id, "grant").await;

    config["timeoutSeconds"] = 1.into();
    config["statements"] = json!({
        "attach": format!("ATTACH '{}' AS other", other.display()),
        "settings": "PRAGMA writable_schema = 1",
        "copy": format!("VACUUM INTO '{}'", folder.path().join("copy.db").display()),
        "slow": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
    });
    let id = bench.connector(Kind::Sql, config.clone(), &[]).await;
    for (statement, command) in [("attach", "execute"), ("settings", "execute"), ("copy", "execute"), ("copy", "check")] {
        let failure = bench.call(&id, command, &json!({ "statement": statement })).await.expect_err(statement);
        assert_eq!(failure.code, "sql_failed", "{failure:?}");
    }
    assert!(!folder.path().join("copy.db").exists());
    let slow = json!({ "statement": "slow" });
    let ending = bench.call(&id, "check", &slow);
    let failure = tokio::time::timeout(Duration::from_secs(5), ending).await.expect("ends").expect_err("slow");
    assert_eq!((failure.code.as_str(), failure.retryable), ("timeout", true));

    config["file"] = "other".into();
    assert_eq!(bench.connectors.check_allowed(Kind::Sql, &config, false).expect_err("not allowed").status(), 422);
    let id = bench.connector(Kind::Sql, config, &[]).await;
    assert_eq!(bench.connectors.test(&id).await.expect_err("not allowed").code, "not_listed");
}
