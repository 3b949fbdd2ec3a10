//! A SCIM 2.0 server, scim2-server of PyPI, on a free loopback port; ended when dropped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::free_port;

/// The bearer token that it takes.
pub const TOKEN: &str = "scim-t0ken";

/// A running server that holds nothing.
pub struct ScimServer {
    child: Child,
    /// The base URL.
    pub url: String,
}

impl ScimServer {
    pub async fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/venv/bin/scim2-server");
        let port = free_port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bearer-token", TOKEN])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scim2-server is installed; run scripts/python-peers.sh");
        let mut server = Self { child, url: format!("http://127.0.0.1:{port}/v2") };
        let opened = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tick.tick().await;
                assert!(server.child.try_wait().expect("a state").is_none(), "scim2-server ended at once");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), opened).await.expect("scim2-server opens its port");
        server
    }
}

impl Drop for ScimServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
