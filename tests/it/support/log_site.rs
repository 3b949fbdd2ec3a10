//! An installation whose audit log is signed, looked at and tampered with.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tenure::features::audit::note::{Checkpoint, Signer, VerifierKey};

use super::people::set_up;
use super::{Server, command, eventually, http};

/// An installation with an administrator.
pub struct Site {
    /// The folder around everything.
    pub dir: tempfile::TempDir,
    /// `DATA_DIR`.
    pub data: PathBuf,
    /// The process.
    pub server: Server,
    /// A token of the administrator.
    pub token: String,
}

impl Site {
    /// A new one.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A new one with these variables.
    pub async fn with(vars: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("data");
        let server = Server::start(&["serve"], &data, vars).await;
        let token = set_up(&server, &data).await;
        Self { dir, data, server, token }
    }

    /// Asks as the administrator.
    pub async fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = http().request(method, format!("{}{path}", self.server.base)).bearer_auth(&self.token);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Makes a checkpoint.
    pub async fn make(&self) -> Value {
        let (status, made) = self.ask("POST", "/api/audit/checkpoints").await;
        assert_eq!(status, 200, "{made}");
        made
    }

    /// Makes a checkpoint and waits until it is in its folder.
    pub async fn kept(&self) -> Value {
        let size = self.make().await["size"].as_u64().expect("a size");
        let path = format!("/api/audit/checkpoints/{size}");
        eventually("the checkpoint is kept", Duration::from_secs(10), || async {
            let (_, found) = self.ask("GET", &path).await;
            (found["stores"][0]["state"] == "stored").then_some(found)
        })
        .await
    }

    /// Where checkpoints are kept.
    pub fn folder(&self) -> PathBuf {
        self.data.join("checkpoints")
    }

    /// The database, as somebody opens it who can write the file.
    pub fn database(&self) -> rusqlite::Connection {
        let db = rusqlite::Connection::open(self.data.join("tenure.db")).expect("opens");
        db.busy_timeout(Duration::from_secs(5)).expect("waits");
        db
    }

    /// `tenure audit verify`: its exit code and its verdict.
    pub fn verify(&self, more: &[&str]) -> (i32, Value) {
        verify(&self.data.join("tenure.db"), more)
    }

    /// A note over so many entries in the name of the log as it is, by its own key.
    pub fn sign(&self, size: u64, root: [u8; 32]) -> String {
        let printed = command(&["audit", "key", "--db"]).arg(self.data.join("tenure.db")).output().expect("runs");
        let key: VerifierKey = String::from_utf8_lossy(&printed.stdout).parse().expect("a key");
        let seed = std::fs::read_to_string(self.data.join("keys/audit_signing_key")).expect("a seed");
        let seed: [u8; 32] = hex::decode(seed.trim()).expect("hex").try_into().expect("32 bytes");
        Signer::new(key.name(), &seed).sign(&Checkpoint { origin: key.name().to_owned(), size, root })
    }

    /// A command in the data directory: its exit code, and what it said.
    pub fn command(&self, args: &[&str]) -> (i32, String) {
        let output = command(args).env("DATA_DIR", &self.data).output().expect("runs");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&said).into_owned())
    }

    /// The text of `/metrics`.
    pub async fn figures(&self) -> String {
        let asked = http().get(format!("{}/metrics", self.server.base)).bearer_auth(&self.token).send().await;
        asked.expect("an answer").text().await.expect("text")
    }

    /// Kills the process and starts it again.
    pub async fn crash(self) -> Self {
        let Self { dir, data, mut server, token } = self;
        server.kill();
        drop(server);
        let server = Server::start(&["serve"], &data, &[]).await;
        Self { dir, data, server, token }
    }
}

/// `tenure audit verify` over a file: its exit code and its verdict.
pub fn verify(db: &Path, more: &[&str]) -> (i32, Value) {
    let output = command(&["audit", "verify", "--json", "--db"]).arg(db).args(more).output().expect("runs");
    let verdict = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.stderr).into_owned()));
    (output.status.code().expect("it ends by itself"), verdict)
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
