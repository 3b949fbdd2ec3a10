//! Programs that are run: allowed by name, without a shell, ended with their children.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::base::id::ConnectorId;
use tenure::features::connectors::{CallFailure, ConnectorSettings, Kind};
use tenure::platform::outbound::{Outbound, OutboundSettings};

use crate::support::connectors::Bench;
use crate::support::eventually;

/// A program of many minds: its first argument says which.
const PROGRAM: &str = r#"#!/bin/sh
case "$1" in
  echo) cat ;;
  args) printf '["%s","%s"]' "$2" "$#" ;;
  env) printf '{"env":"%s"}' "$(env | cut -d= -f1 | sort | tr '\n' ' ')" ;;
  present) printf '{"present":true}' ;;
  unclear) printf '{"present":"yes"}' ;;
  list) printf '{"items":[{"key":"ada","attributes":{"n":1}},{"key":"bob"}]}' ;;
  half) printf '{"items":[{"key":"ada"}'; exit 0 ;;
  text) echo hello ;;
  fail) echo "no such badge" >&2; exit 3 ;;
  leak) cat >&2; exit 4 ;;
  cut) printf '%0290d s3cret-badge' 0 >&2; exit 4 ;;
  later) exit 75 ;;
  flood) yes x ;;
  chatty) yes warning | head -c 1000000 >&2; printf '{}' ;;
  children) sleep 60 & echo $! > "$2"; wait ;;
  away) setsid sleep 60 >/dev/null 2>&1 & echo $! > "$2"; wait ;;
  daemon) setsid sh -c 'echo $$ > "$0"; exec sleep 60' "$2" & while [ ! -s "$2" ]; do :; done; printf '{}' ;;
  orphan) sleep 60 & echo $! > "$2"; printf '{}' ;;
esac
"#;

struct Shop {
    bench: Bench,
    folder: tempfile::TempDir,
    id: ConnectorId,
}

impl Shop {
    async fn open(config: Value) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("badges");
        std::fs::write(&path, PROGRAM).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
        let settings =
            ConnectorSettings { programs: BTreeMap::from([("badges".to_owned(), path)]), ..ConnectorSettings::default() };
        let bench = Bench::with(Outbound::new(OutboundSettings::default()).expect("opens"), settings).await;
        let id = bench.connector(Kind::Exec, config, &[("secret", "s3cret-badge")]).await;
        Self { bench, folder, id }
    }

    async fn run(&self, arguments: Value) -> Result<Value, CallFailure> {
        self.bench.call(&self.id, "run", &json!({ "arguments": arguments, "input": { "a": 1 } })).await
    }
}

fn is_alive(pid: &str) -> bool {
    // A zombie has ended.
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn a_program_gets_json_and_gives_json_and_sees_nothing_else() {
    let shop = Shop::open(json!({ "program": "badges" })).await;
    assert_eq!(shop.bench.connectors.test(&shop.id).await.expect("tested").output, json!({ "ok": true }));
    let got = shop.bench.call_with(&shop.id, "run", &json!({ "arguments": ["echo"], "input": { "a": [1] } }), "key-1").await;
    // It got the secret, and whoever asked does not.
    assert_eq!(got, Ok(json!({ "command": "run", "input": { "a": [1] }, "key": "key-1", "secret": "[secret]" })));
    // No shell reads what an argument says.
    let odd = "$(touch x); `id` | & * ' \\";
    let got = shop.run(json!(["args", odd.replace('\\', "")])).await.expect("run");
    assert_eq!(got, json!([odd.replace('\\', ""), "2"]));
    let seen = shop.run(json!(["env"])).await.expect("run");
    assert_eq!(seen["env"], "LANG PATH PWD TENURE_CALL ", "{seen}");

    let check = |word: &str| json!({ "arguments": [word] });
    let present = shop.bench.call(&shop.id, "check", &check("present")).await;
    assert_eq!(present, Ok(json!({ "present": true })));
    for unclear in ["unclear", "echo", "text"] {
        assert_eq!(shop.bench.call(&shop.id, "check", &check(unclear)).await.expect_err(unclear).code, "bad_answer");
    }
    let all = shop.bench.connectors.list_all(&shop.id, "list", &check("list"), 9).await.expect("listed");
    assert_eq!((all.len(), all[0].key.as_str(), &all[0].attributes), (2, "ada", &json!({ "n": 1 })));
    assert_eq!(shop.bench.connectors.list_all(&shop.id, "list", &check("half"), 9).await.expect_err("half").code, "bad_answer");
}

#[tokio::test]
async fn a_program_that_fails_says_why_and_not_the_secret() {
    let shop = Shop::open(json!({ "program": "badges" })).await;
    for (word, code, retryable, text) in [
        ("fail", "exit_3", false, "no such badge"), ("leak", "exit_4", false, "ended with 4"), ("cut", "exit_4", false, "ended with 4"), ("later", "exit_75", true, "75"),
        ("text", "bad_answer", false, "JSON"), ("flood", "too_large", false, "bytes"),
    ] {
        let failure = shop.run(json!([word])).await.expect_err(word);
        assert_eq!((failure.code.as_str(), failure.retryable), (code, retryable), "{failure:?}");
        assert!(failure.message.contains(text) && !failure.message.contains("s3cret"), "{failure:?}");
    }
    assert_eq!(shop.run(json!(["chatty"])).await, Ok(json!({})));
    for arguments in [json!("echo"), json!([1]), json!(["a\0b"])] {
        assert_eq!(shop.run(arguments).await.expect_err("refused").code, "bad_params");
    }
    let config = json!({ "program": "shell" });
    assert_eq!(shop.bench.connectors.check_allowed(Kind::Exec, &config, false).expect_err("not allowed").status(), 422);
    let other = shop.bench.connector(Kind::Exec, config, &[]).await;
    assert_eq!(shop.bench.call(&other, "run", &json!({})).await.expect_err("not allowed").code, "not_listed");
}

/// A limit that leaves children behind is none.
#[tokio::test]
async fn a_program_ends_with_its_children() {
    let shop = Shop::open(json!({ "program": "badges", "timeoutSeconds": 1 })).await;
    // Away and as a daemon they have a session and a group of their own.
    for (word, ends_well) in [("children", false), ("orphan", true), ("away", false), ("daemon", true)] {
        let file = shop.folder.path().join(word).display().to_string();
        let answer = tokio::time::timeout(Duration::from_secs(5), shop.run(json!([word, file]))).await.expect("ends");
        match answer {
            Ok(_) => assert!(ends_well),
            Err(failure) => assert!(!ends_well && failure.code == "timeout" && failure.retryable, "{failure:?}"),
        }
        let pid = std::fs::read_to_string(&file).expect("a child").trim().to_owned();
        eventually("the child has ended", Duration::from_secs(5), || async { (!is_alive(&pid)).then_some(()) }).await;
    }
    // Whoever asks goes away: so does the program.
    let file = shop.folder.path().join("given-up").display().to_string();
    let asked = shop.run(json!(["children", file]));
    let begun = eventually("it runs", Duration::from_secs(5), || async {
        std::fs::read_to_string(&file).ok().filter(|t| t.ends_with('\n'))
    });
    let pid = tokio::select! {
        pid = begun => pid.trim().to_owned(),
        answer = asked => panic!("{answer:?}"),
    };
    eventually("the child has ended", Duration::from_secs(5), || async { (!is_alive(&pid)).then_some(()) }).await;
}
