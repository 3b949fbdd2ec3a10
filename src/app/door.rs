//! How commands reach the data: through the server that runs, or by opening the data directory.
//!
//! # Invariants
//! - A command does what the same request over HTTP does, by the same route, in either way.
//! - With no server running the data directory is claimed for as long as the command takes.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tower::Service as _;

use super::App;
use super::routes::{Live, router};
use crate::base::problem::Problem;
use crate::config::Config;
use crate::config::data_dir::DataDir;
use crate::platform::clock::{SystemClock, SystemIds};
use crate::platform::http::local::{LocalPeer, connect};

/// The largest answer a command takes, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// A way to the data.
#[derive(Debug)]
pub struct Door(Way);

enum Way {
    Running(SendRequest<Body>),
    Alone(Box<Alone>),
}

struct Alone {
    app: App,
    router: Router,
    uid: u32,
    _claim: DataDir,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Running(_) => "through the running server",
            Self::Alone(_) => "on the data directory itself",
        })
    }
}

impl Door {
    /// Finds the server that runs on the data directory; opens the directory when there is none.
    ///
    /// `uid` is the user that runs the command; the running server asks the kernel instead.
    pub async fn open(mut config: Config, uid: u32) -> Result<Self, Problem> {
        if let Some(stream) = connect(&config.data_dir).await? {
            let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Problem::internal)?;
            tokio::spawn(connection);
            return Ok(Self(Way::Running(sender)));
        }
        let claim = DataDir::claim(&config.data_dir)?;
        claim.make_keys(&mut config.keys, &SystemIds)?;
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
        let router = router(&app, &Live::none());
        Ok(Self(Way::Alone(Box::new(Alone { app, router, uid, _claim: claim }))))
    }

    /// Whether a server runs on the data directory.
    pub fn is_running(&self) -> bool {
        matches!(self.0, Way::Running(_))
    }

    /// Reads.
    pub async fn get(&mut self, path: &str) -> Result<Value, Problem> {
        self.call(Method::GET, path, None).await
    }

    /// Changes.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Value, Problem> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Ends something.
    pub async fn delete(&mut self, path: &str) -> Result<Value, Problem> {
        self.call(Method::DELETE, path, None).await
    }

    async fn call(&mut self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Problem> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
        let mut request = request.body(body).map_err(Problem::internal)?;
        let response = match &mut self.0 {
            Way::Running(sender) => {
                sender.ready().await.map_err(|e| gone(&e))?;
                sender.send_request(request).await.map_err(|e| gone(&e))?.map(Body::new)
            }
            Way::Alone(alone) => {
                request.extensions_mut().insert(LocalPeer(alone.uid));
                match alone.router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        read(response).await
    }

    /// Lets the data go.
    pub async fn close(self) {
        if let Way::Alone(alone) = self.0 {
            alone.app.close().await;
        }
    }
}

fn gone(e: &hyper::Error) -> Problem {
    Problem::refused(format!("The running server ended in the middle of it: {e}. Look at its log, then try again."))
}

async fn read(response: Response) -> Result<Value, Problem> {
    let status = response.status();
    let bytes = to_bytes(response.into_body(), MAX_ANSWER).await.map_err(Problem::internal)?;
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).map_err(Problem::internal)? };
    if status.is_success() { Ok(body) } else { Err(problem(status, &body)) }
}

/// What a problem document says, for a terminal.
fn problem(status: StatusCode, body: &Value) -> Problem {
    let detail = body["detail"].as_str().unwrap_or("The server gave no reason.").to_owned();
    if status.is_server_error() {
        let id = body["requestId"].as_str().unwrap_or("unknown");
        return Problem::refused(format!("{detail} (request {id})"));
    }
    let fields = body["errors"].as_array().into_iter().flatten();
    let lines = fields.filter_map(|e| Some(format!("{}: {}", e["field"].as_str()?, e["message"].as_str()?)));
    let lines: Vec<_> = lines.filter(|line| *line != detail).collect();
    if lines.is_empty() { Problem::refused(detail) } else { Problem::refused(format!("{detail}\n  {}", lines.join("\n  "))) }
}
