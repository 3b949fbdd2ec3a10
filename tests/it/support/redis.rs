//! A real redis-server of a test's own, which can be stopped, killed, held and started again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::{Client, FromRedisValue};

use super::{eventually, free_port};

/// A redis-server on a free port of the loopback, with its files in a folder of its own.
pub struct RedisServer {
    dir: tempfile::TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps what it was told in its append-only file.
    pub async fn start() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "everysec"]).await
    }

    /// Starts one that forgets everything when it ends.
    pub async fn forgetful() -> Self {
        Self::with(&["--appendonly", "no"]).await
    }

    /// Starts one with these options.
    pub async fn with(options: &[&str]) -> Self {
        let mut server = Self {
            dir: tempfile::tempdir().expect("a folder"),
            port: free_port(),
            options: options.iter().map(|o| (*o).to_owned()).collect(),
            child: None,
        };
        server.restart().await;
        server
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port with the same files.
    pub async fn restart(&mut self) {
        self.kill();
        let log = self.file("redis.log");
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""])
            .arg("--dir")
            .arg(self.dir.path())
            .arg("--logfile")
            .arg(&log)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        let client = self.client();
        eventually("Redis answers", Duration::from_secs(10), || async {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// Holds it: it keeps its connections and answers nothing.
    pub fn hold(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// One command.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.client().get_multiplexed_async_connection().await.expect("Redis is up");
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut connection).await.expect("Redis does as told")
    }

    fn client(&self) -> Client {
        Client::open(self.url()).expect("a URL")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
