//! The sample story, told through the public API: a researcher asks, a reviewer decides, access comes
//! and ends with the document it rests on.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Client, text};
use super::pause;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// The password of every sample account.
pub const PASSWORD: &str = "tenure-demo-2026";
/// The researcher.
pub const ADA: &str = "ada@example.org";
/// The reviewer.
pub const ROSA: &str = "rosa@example.org";
/// Runs roles, workflows and connectors.
pub const MONA: &str = "mona@example.org";
/// Administers Tenure.
pub const ADMIN: &str = "admin@example.org";
/// The workflow, and the role it grants.
pub const WORKFLOW: &str = "Genome Access Participant";
/// Ada's name in the connected systems.
pub const ADA_UID: &str = "ada";

/// The two documents, with how long each is valid.
const DOCUMENTS: [(&str, u64); 2] = [("data-use-agreement", 365), ("training-certificate", 730)];
const DAY: Duration = Duration::from_secs(86_400);

/// Who takes part, signed in.
#[derive(Debug)]
pub struct Cast {
    /// The researcher.
    pub ada: Client,
    /// The reviewer.
    pub rosa: Client,
    /// The resource manager.
    pub mona: Client,
}

impl Cast {
    /// Signs everybody in, once the demo has put them into the server.
    pub async fn sign_in(http: &reqwest::Client, base: &str) -> Result<Self, Problem> {
        eventually("the sample people can sign in", || async {
            Ok(Client::sign_in(http, base, ADMIN, PASSWORD).await.ok())
        })
        .await?;
        Ok(Self {
            ada: Client::sign_in(http, base, ADA, PASSWORD).await?,
            rosa: Client::sign_in(http, base, ROSA, PASSWORD).await?,
            mona: Client::sign_in(http, base, MONA, PASSWORD).await?,
        })
    }
}

/// Ada's run, started unless it was started before.
pub async fn request_access(cast: &Cast) -> Result<String, Problem> {
    if let Some(run) = cast.ada.list("/api/runs").await?.first() {
        return text(run, "/id");
    }
    // The server is healthy before the demo has put everything into it.
    let workflow = eventually("the sample workflow is published", || async {
        let workflows = cast.ada.list("/api/workflows?status=active").await?;
        Ok(workflows.into_iter().find(|w| w["name"] == WORKFLOW))
    })
    .await?;
    let path = format!("/api/workflows/{}/start", text(&workflow, "/id")?);
    let run = cast.ada.post(&path, json!({ "input": { "project": "Rare variants in heart disease" } })).await?;
    text(&run, "/id")
}

/// Hands in what is missing of Ada's documents and has Mona approve it.
pub async fn hand_in_documents(cast: &Cast, now: Timestamp) -> Result<(), Problem> {
    let known = cast.ada.list("/api/documents").await?;
    for (kind, days) in DOCUMENTS {
        let document = match known.iter().find(|d| d["type"] == kind) {
            Some(document) => document.clone(),
            None => {
                let body = json!({
                    "type": kind, "personId": cast.ada.person,
                    "validFrom": now, "expiresAt": now.plus(DAY * u32::try_from(days).unwrap_or(365)),
                });
                cast.ada.post("/api/documents", body).await?
            }
        };
        if document["state"] == "submitted" {
            let path = format!("/api/documents/{}/approve", text(&document, "/id")?);
            cast.mona.post(&path, json!({ "reason": "Signed and checked against the register." })).await?;
        }
    }
    Ok(())
}

/// Rosa's pending approval, once it is there.
pub async fn wait_for_approval(cast: &Cast) -> Result<Value, Problem> {
    eventually("an approval waits for Rosa", || async {
        Ok(cast.rosa.list("/api/approvals?state=pending&mine=true").await?.into_iter().next())
    })
    .await
}

/// Rosa approves, unless she has.
pub async fn approve(cast: &Cast) -> Result<(), Problem> {
    let approval = wait_for_approval(cast).await?;
    let path = format!("/api/approvals/{}/decide", text(&approval, "/id")?);
    let body = json!({ "decision": "approve", "reason": "Project and training fit the data." });
    cast.rosa.post(&path, body).await.map(drop)
}

/// Ada's assignment, once it is in one of `states`.
pub async fn wait_for_assignment(who: &Client, states: &[&str]) -> Result<Value, Problem> {
    let wanted = format!("the assignment is {}", states.join(" or "));
    eventually(&wanted, || async {
        let assignments = who.list("/api/assignments").await?;
        Ok(assignments.into_iter().find(|a| a["state"].as_str().is_some_and(|s| states.contains(&s))))
    })
    .await
}

/// The run, once it has ended.
pub async fn wait_for_end(who: &Client, run: &str) -> Result<Value, Problem> {
    let path = format!("/api/runs/{run}");
    eventually("the run has ended", || async {
        let run = who.get(&path).await?;
        let ended = run["status"].as_str().is_some_and(|s| ["completed", "failed", "cancelled"].contains(&s));
        Ok(ended.then_some(run))
    })
    .await
}

/// Asks until there is an answer, for at most a minute.
async fn eventually<T, F, Fut>(what: &str, ask: F) -> Result<T, Problem>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<Option<T>, Problem>>,
{
    for _ in 0..600 {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        pause(Duration::from_millis(100)).await;
    }
    Err(Problem::internal(format!("waited a minute in vain until {what}")))
}
