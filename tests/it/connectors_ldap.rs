//! The LDAP driver against a real OpenLDAP server.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::features::connectors::{CallFailure, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::connectors::Bench;
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};

const GROUP: &str = "cn=researchers,ou=groups,dc=example,dc=org";

fn ada() -> String {
    format!("uid=ada,ou=people,{BASE_DN}")
}

async fn ldap(bench: &Bench, config: Value, password: &str) -> tenure::base::id::ConnectorId {
    bench.connector(Kind::Ldap, config, &[("password", password)]).await
}

fn changed(answer: Result<Value, CallFailure>) -> bool {
    answer.expect("done")["changed"].as_bool().expect("a boolean")
}

fn present(answer: Result<Value, CallFailure>) -> bool {
    answer.expect("looked")["present"].as_bool().expect("a boolean")
}

/// What is there already, or gone already, is success; the answer says that nothing changed.
#[tokio::test]
async fn entries_and_members_come_and_go_and_every_command_may_be_repeated() {
    let slapd = Slapd::start().await;
    let bench = Bench::start(None).await;
    let id = ldap(&bench, json!({ "url": slapd.url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    assert_eq!(bench.connectors.test(&id).await.expect("tested").output["ok"], true);

    let entry = json!({
        "dn": ada(),
        "attributes": { "objectClass": ["inetOrgPerson"], "uid": "ada", "cn": "Ada", "sn": "Lovelace" },
    });
    let dn = json!({ "dn": ada() });
    assert!(!present(bench.call(&id, "has_entry", &dn).await));
    assert!(changed(bench.call(&id, "add_entry", &entry).await));
    assert!(!changed(bench.call(&id, "add_entry", &entry).await));
    assert!(present(bench.call(&id, "has_entry", &dn).await));
    let mail = json!({ "dn": ada(), "attributes": { "mail": "ada@example.org" } });
    assert!(changed(bench.call(&id, "set_attributes", &mail).await));

    let member = json!({ "groupDn": GROUP, "memberDn": ada() });
    assert!(!present(bench.call(&id, "has_member", &member).await));
    assert!(changed(bench.call(&id, "add_member", &member).await));
    assert!(!changed(bench.call(&id, "add_member", &member).await));
    assert!(present(bench.call(&id, "has_member", &member).await));
    assert!(changed(bench.call(&id, "remove_member", &member).await));
    assert!(!changed(bench.call(&id, "remove_member", &member).await));
    assert!(!present(bench.call(&id, "has_member", &member).await));

    assert!(changed(bench.call(&id, "delete_entry", &dn).await));
    assert!(!changed(bench.call(&id, "delete_entry", &dn).await));
    assert!(!present(bench.call(&id, "has_entry", &dn).await));
}

/// Two attempts of one job can meet; one of them is told by the server that it came second.
#[tokio::test]
async fn commands_that_race_all_succeed() {
    let slapd = Slapd::start().await;
    let bench = Bench::start(None).await;
    let id = ldap(&bench, json!({ "url": slapd.url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let member = json!({ "groupDn": GROUP, "memberDn": ada() });
    for command in ["add_member", "remove_member"] {
        let calls = (0..8).map(|_| bench.call(&id, command, &member));
        let answers = futures::future::join_all(calls).await;
        assert_eq!(answers.into_iter().filter(|a| changed(a.clone())).count(), 1, "{command}");
    }
}

#[tokio::test]
async fn a_failure_says_what_to_mend_and_holds_no_secret() {
    let slapd = Slapd::start().await;
    let bench = Bench::start(None).await;
    let wrong = ldap(&bench, json!({ "url": slapd.url, "bindDn": ADMIN_DN }), "wrong-password").await;
    let failure = bench.call(&wrong, "has_entry", &json!({ "dn": BASE_DN })).await.expect_err("refused");
    assert_eq!(failure.code, "ldap_49");
    assert!(!failure.retryable);
    assert!(failure.message.contains("password is wrong") && !failure.message.contains("wrong-password"));

    let id = ldap(&bench, json!({ "url": slapd.url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let cases = [
        ("add_entry", json!({ "dn": "uid=x,ou=nowhere,dc=example,dc=org", "attributes": { "objectClass": "account" } }), "ldap_32"),
        ("add_entry", json!({ "dn": "no dn at all", "attributes": { "objectClass": "account" } }), "ldap_34"),
        ("add_entry", json!({ "dn": ada(), "attributes": { "objectClass": "inetOrgPerson" } }), "ldap_65"),
        ("remove_member", json!({ "groupDn": GROUP, "memberDn": ADMIN_DN }), "ldap_65"),
        ("delete_entry", json!({ "dn": format!("ou=groups,{BASE_DN}") }), "ldap_66"),
        ("add_entry", json!({ "dn": ada() }), "bad_params"),
        ("add_entry", json!({ "dn": ada(), "attributes": {}, "more": 1 }), "bad_params"),
        ("drop_everything", json!({}), "unknown_command"),
    ];
    for (command, params, code) in cases {
        let failure = bench.call(&id, command, &params).await.expect_err(code);
        assert_eq!((failure.code.as_str(), failure.retryable), (code, false), "{params}");
    }

    let url = slapd.url.clone();
    drop(slapd);
    let gone = ldap(&bench, json!({ "url": url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let failure = bench.call(&gone, "has_entry", &json!({ "dn": BASE_DN })).await.expect_err("gone");
    assert_eq!((failure.code.as_str(), failure.retryable), ("unreachable", true));
}

/// The certificate is judged by the host's name, and trusted through `EXTRA_CA_FILE` alone.
#[tokio::test]
async fn a_private_ca_is_trusted_only_when_it_is_given() {
    let slapd = Slapd::start_tls().await;
    let ldaps = slapd.tls_url.clone().expect("with TLS");
    let start_tls = slapd.url.replace("127.0.0.1", "localhost");
    let by_address = ldaps.replace("localhost", "127.0.0.1");
    let configs = [json!({ "url": ldaps, "bindDn": ADMIN_DN }), json!({ "url": start_tls, "bindDn": ADMIN_DN, "startTls": true })];
    let dn = json!({ "dn": BASE_DN });

    let strict = Bench::start(None).await;
    let trusting = Bench::start(slapd.ca_pem.as_deref()).await;
    for config in configs {
        let id = ldap(&strict, config.clone(), ADMIN_PASSWORD).await;
        let failure = strict.call(&id, "has_entry", &dn).await.expect_err("not trusted");
        assert_eq!((failure.code.as_str(), failure.retryable), ("tls", false), "{}", failure.message);
        let id = ldap(&trusting, config, ADMIN_PASSWORD).await;
        assert!(present(trusting.call(&id, "has_entry", &dn).await));
        let tested = trusting.connectors.test(&id).await.expect("tested");
        assert_eq!(tested.output["warning"], Value::Null);
    }
    let id = ldap(&trusting, json!({ "url": by_address, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let failure = trusting.call(&id, "has_entry", &dn).await.expect_err("another name");
    assert_eq!(failure.code, "tls", "{}", failure.message);
}

/// Accounts of Active Directory: one bit says whether they may sign in, and the others stay.
#[tokio::test]
async fn an_account_is_enabled_and_disabled_and_its_other_bits_stay() {
    let slapd = Slapd::start_tls().await;
    let bench = Bench::start(slapd.ca_pem.as_deref()).await;
    let plain = ldap(&bench, json!({ "url": slapd.url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let url = slapd.tls_url.clone().expect("with TLS");
    let id = ldap(&bench, json!({ "url": url, "bindDn": ADMIN_DN }), ADMIN_PASSWORD).await;
    let dn = json!({ "dn": ada() });
    assert!(!present(bench.call(&id, "is_enabled", &dn).await));
    assert!(!changed(bench.call(&id, "disable_account", &dn).await), "what is gone does not sign in");
    assert_eq!(bench.call(&id, "enable_account", &dn).await.expect_err("gone").code, "no_account");

    // 514 is an ordinary account (512) that is disabled (2).
    let attributes = json!({ "objectClass": ["inetOrgPerson", "adAccount"], "uid": "ada", "cn": "Ada", "sn": "L", "userAccountControl": 514 });
    assert!(changed(bench.call(&id, "add_entry", &json!({ "dn": ada(), "attributes": attributes })).await));
    let list = json!({ "baseDn": ada(), "attributes": ["userAccountControl"] });
    for (command, is_changed, enabled, bits) in [
        ("disable_account", false, false, "514"), ("enable_account", true, true, "512"), ("enable_account", false, true, "512"),
        ("disable_account", true, false, "514"),
    ] {
        assert_eq!(changed(bench.call(&id, command, &dn).await), is_changed, "{command}");
        assert_eq!(present(bench.call(&id, "is_enabled", &dn).await), enabled, "{command}");
        let found = bench.connectors.list_all(&id, "list_entries", &list, 9).await.expect("listed");
        assert_eq!(found[0].attributes["userAccountControl"], json!([bits]), "{command}");
    }
    assert!(changed(bench.call(&id, "set_random_password", &dn).await));
    let failure = bench.call(&plain, "set_random_password", &dn).await.expect_err("not encrypted");
    assert_eq!(failure.code, "bad_config");
    let no_account = json!({ "dn": BASE_DN });
    assert_eq!(bench.call(&id, "is_enabled", &no_account).await.expect_err("no account").code, "bad_answer");
}

/// Asks a directory in the hands of somebody who means harm: it answers with this, then with that again and again.
async fn ask_hostile(command: &str, params: &Value, answer: Vec<u8>, then: Vec<u8>) -> (CallFailure, u64) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("ldap://{}", listener.local_addr().expect("an address"));
    let sending = async {
        let (mut stream, _) = listener.accept().await.expect("somebody");
        assert!(stream.read(&mut [0; 4096]).await.expect("a request") > 0);
        let (mut sent, mut piece) = (0_u64, &answer);
        while stream.write_all(piece).await.is_ok() {
            sent += piece.len() as u64;
            piece = &then;
        }
        sent
    };
    let bench = Bench::start(None).await;
    // By its size and not by its time.
    let id = bench.connector(Kind::Ldap, json!({ "url": url, "timeoutSeconds": 20 }), &[]).await;
    let asking = async {
        match command {
            "list_entries" => bench.connectors.list_all(&id, command, params, 9).await.map(drop),
            _ => bench.call(&id, command, params).await.map(drop),
        }
    };
    let both = async { tokio::join!(asking, sending) };
    let (answer, sent) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("it is broken off");
    (answer.expect_err("nothing good came"), sent)
}

/// A message is read whole before it is looked at, and a search is collected before it is given.
#[tokio::test]
async fn a_directory_that_sends_without_end_is_broken_off() {
    let dn = json!({ "dn": BASE_DN });
    let spaces = vec![b' '; 65_536];
    let two_gigabytes = vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff];
    let (failure, sent) = ask_hostile("has_entry", &dn, two_gigabytes, spaces).await;
    assert_eq!((failure.code.as_str(), failure.retryable), ("too_large", false), "{failure:?}");
    assert!(failure.message.contains("maxAnswerBytes"), "{failure:?}");
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes went out");

    // Message 1, an entry without attributes.
    let entry = vec![0x30, 0x0d, 0x02, 0x01, 0x01, 0x64, 0x08, 0x04, 0x04, b'd', b'c', b'=', b'x', 0x30, 0x00];
    let entries = entry.repeat(4096);
    let list = json!({ "baseDn": BASE_DN });
    for (command, params) in [("has_entry", &dn), ("list_entries", &list)] {
        let (failure, sent) = ask_hostile(command, params, entry.clone(), entries.clone()).await;
        assert_eq!((failure.code.as_str(), failure.retryable), ("too_large", false), "{command}: {failure:?}");
        assert!(sent < 16 * 1024 * 1024, "{command}: {sent} bytes went out");
    }
}

/// Whoever reads a message goes as deep as its elements are nested.
#[tokio::test]
async fn a_directory_that_nests_elements_without_end_is_broken_off() {
    const DEPTH: u32 = 100_000;
    let nested: Vec<u8> = (0..DEPTH)
        .flat_map(|level| {
            let [a, b, c, d] = (6 * (DEPTH - 1 - level)).to_be_bytes();
            [0x30, 0x84, a, b, c, d]
        })
        .collect();
    let (failure, _) = ask_hostile("has_entry", &json!({ "dn": BASE_DN }), nested, b" ".to_vec()).await;
    assert_eq!((failure.code.as_str(), failure.retryable), ("bad_answer", false), "{failure:?}");
}
