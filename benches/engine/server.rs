//! A server on an empty data directory, with one administrator.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Connection;

const PASSWORD: &str = "a long password for a bench";

/// The server; it ends with this value.
pub struct Server {
    process: Child,
    address: String,
    head: String,
    data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts it and signs in.
    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.arg("serve").env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        command.env("DATA_DIR", data.path()).env("PORT", port.to_string()).env("LOG_LEVEL", "warn");
        for limit in ["ACCOUNT", "ADDRESS", "SIGN_IN"] {
            command.env(format!("RATE_LIMIT_{limit}_PER_MIN"), "0");
        }
        let process = command.spawn().unwrap();
        let host = format!("host: {address}\r\norigin: http://{address}\r\n");
        let mut server = Self { process, address, head: host, data };
        server.until_healthy().await;
        server.sign_in().await;
        server
    }

    async fn until_healthy(&self) {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&self.address).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the server did not start");
    }

    async fn sign_in(&mut self) {
        let token = std::fs::read_to_string(self.data.path().join("setup-token")).unwrap();
        let mut client = self.connect().await;
        let admin = json!({ "token": token.trim(), "email": "admin@example.org", "displayName": "Admin", "password": PASSWORD });
        let (status, body) = client.post("/api/setup", &admin).await;
        assert!(status == 200 || status == 201, "{status}: {body}");
        let who = json!({ "email": "admin@example.org", "password": PASSWORD });
        let (status, body, head) = client.post_for_head("/api/auth/login", &who).await;
        assert_eq!(status, 200, "{body}");
        let cookie = head
            .lines()
            .find_map(|l| l.to_ascii_lowercase().starts_with("set-cookie:").then(|| l["set-cookie:".len()..].trim().to_owned()))
            .and_then(|c| c.split(';').next().map(str::to_owned))
            .unwrap();
        let csrf = body["csrfToken"].as_str().unwrap().to_owned();
        self.head = format!("{}cookie: {cookie}\r\nx-csrf-token: {csrf}\r\n", self.head);
    }

    /// Another client.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.address, self.head.clone()).await
    }

    /// Connects the system at this address: workflows call no other.
    pub async fn connect_service(&self, url: &str) {
        let connector = json!({ "name": "Service", "kind": "http", "config": { "baseUrl": url, "auth": "none" } });
        let (status, body) = self.connect().await.post("/api/connectors", &connector).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Adds a workflow and makes it active.
    pub async fn publish(&self, definition: &Value) -> String {
        let mut client = self.connect().await;
        let (status, body) = client.post("/api/workflows", &json!({ "definition": definition })).await;
        assert!(status == 200 || status == 201, "{status}: {body}");
        let id = body["id"].as_str().unwrap().to_owned();
        let (status, body) = client.post(&format!("/api/workflows/{id}/publish"), &json!({})).await;
        assert_eq!(status, 200, "{body}");
        id
    }

    /// Whether a run of the workflow is still on its way.
    pub async fn open_runs(&self, client: &mut Connection, workflow: &str) -> bool {
        for status in ["running", "waiting"] {
            let (code, body) = client.get(&format!("/api/runs?workflowId={workflow}&status={status}&limit=1")).await;
            assert_eq!(code, 200, "{body}");
            if body["items"].as_array().is_some_and(|all| !all.is_empty()) {
                return true;
            }
        }
        false
    }

    /// The business database.
    pub fn database(&self) -> std::path::PathBuf {
        self.data.path().join("tenure.db")
    }

    /// Resident memory of the server, in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
    }
}
