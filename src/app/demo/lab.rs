//! A small outside system with an HTTP interface: the laboratory's access list.
//!
//! It stands for any system that Tenure provisions over HTTP. It remembers who was put on the list how
//! often, so that the check can show that nothing was provisioned twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::base::problem::Problem;

/// The access list.
#[derive(Debug, Clone, Default)]
pub struct Lab {
    members: Arc<Mutex<BTreeMap<String, Member>>>,
}

/// One line of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Member {
    /// Whether they are on the list now.
    pub present: bool,
    /// How often they were put on it while they were not.
    pub added: u32,
    /// How often they were taken off while they were on it.
    pub removed: u32,
}

impl Lab {
    /// Serves the list on a free port of the loopback interface.
    pub async fn start() -> Result<(Self, SocketAddr), Problem> {
        let lab = Self::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|e| Problem::internal(format!("no port for the sample laboratory: {e}")))?;
        let address = listener.local_addr().map_err(Problem::internal)?;
        let router = Router::new()
            .route("/members/{uid}", get(find).put(add).delete(remove))
            .with_state(lab.clone());
        tokio::spawn(async move {
            if let Err(e) = axum::serve(listener, router).await {
                tracing::error!(error = %e, "the sample laboratory ended");
            }
        });
        Ok((lab, address))
    }

    /// What the list says about somebody.
    pub fn member(&self, uid: &str) -> Member {
        self.lock().get(uid).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn find(State(lab): State<Lab>, Path(uid): Path<String>) -> (StatusCode, Json<Value>) {
    let present = lab.member(&uid).present;
    let status = if present { StatusCode::OK } else { StatusCode::NOT_FOUND };
    (status, Json(json!({ "uid": uid, "present": present })))
}

async fn add(State(lab): State<Lab>, Path(uid): Path<String>) -> (StatusCode, Json<Value>) {
    let mut members = lab.lock();
    let member = members.entry(uid.clone()).or_default();
    if !member.present {
        member.present = true;
        member.added += 1;
    }
    (StatusCode::OK, Json(json!({ "uid": uid, "present": true })))
}

async fn remove(State(lab): State<Lab>, Path(uid): Path<String>) -> StatusCode {
    let mut members = lab.lock();
    let member = members.entry(uid).or_default();
    if member.present {
        member.present = false;
        member.removed += 1;
    }
    StatusCode::NO_CONTENT
}
