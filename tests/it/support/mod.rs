//! What the tests share: the real binary as a process, waiting for facts.

pub mod authority;
pub mod connectors;
pub mod counter;
pub mod databases;
pub mod queue;
pub mod redis;
pub mod load;
pub mod log_site;
pub mod office;
pub mod outbox;
pub mod people;
pub mod scim;
pub mod slapd;
pub mod stage;
pub mod systems;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Asks until there is an answer; fails the test with `what` after `deadline`.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, ask: F) -> T
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let asking = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(deadline, asking)
        .await
        .unwrap_or_else(|_| panic!("waited {deadline:?} in vain until {what}"))
}

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tenure"))
}

/// A command with nothing of the tests' own environment that Tenure would read.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port()
}

/// A client for loopback without proxies.
pub fn http() -> reqwest::Client {
    tenure::app::install_crypto();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

/// A running `tenure` process; killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub base: String,
}

impl Server {
    /// Starts `tenure ARGS` on `data` with more variables, and waits until it is healthy.
    pub async fn start(args: &[&str], data: &Path, vars: &[(&str, &str)]) -> Self {
        let server = Self::spawn(args, data, vars);
        server.healthy().await;
        server
    }

    /// Starts without waiting.
    pub fn spawn(args: &[&str], data: &Path, vars: &[(&str, &str)]) -> Self {
        let port = free_port();
        let child = command(args)
            .env("DATA_DIR", data)
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .envs(vars.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(data.with_extension(format!("{port}.log"))).expect("a log file"))
            .spawn()
            .expect("the binary starts");
        Self { child, port, base: format!("http://127.0.0.1:{port}") }
    }

    /// Waits until it is healthy.
    pub async fn healthy(&self) {
        let http = http();
        let url = format!("{}/api/health", self.base);
        let ready = eventually("the server is healthy", Duration::from_secs(20), || async {
            Some(http.get(&url).send().await.ok()?.status().is_success()).filter(|ok| *ok)
        });
        ready.await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process ends");
    }

    /// SIGTERM; answers the exit code.
    pub fn terminate(self) -> i32 {
        self.end("-TERM")
    }

    /// A signal that ends it; answers the exit code.
    pub fn end(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(sent.success());
        self.child.wait().expect("the process ends").code().unwrap_or(-1)
    }

    /// GET without signing in.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = http().get(format!("{}{path}", self.base)).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
