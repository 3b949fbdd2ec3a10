//! The job that mails a link.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Link, ops, store};
use crate::base::access::Principal;
use crate::base::id::LinkId;
use crate::base::problem::Problem;
use crate::features::notifications::templates;
use crate::features::workflow::{definitions, runs};
use crate::platform::mail::{Mail, Mailer};
use crate::platform::queue::{JobCx, JobFuture, JobHandler};
use crate::platform::store::Tx;

/// Mails one link.
pub const SEND_LINK: &str = "send-link";

/// `send-link`: makes the token of a link, stores its hash, and mails it. In clear the token is in memory
/// and in the mail; a repeated attempt makes another one, and the ones before stay good.
#[derive(Debug, Clone)]
pub struct SendLink {
    mailer: Mailer,
    public_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    link_id: LinkId,
}

impl SendLink {
    /// Sends by `mailer`; links start with `public_url`.
    pub fn new(mailer: Mailer, public_url: impl Into<String>) -> Self {
        Self { mailer, public_url: public_url.into() }
    }

    async fn send(&self, cx: &JobCx, payload: Value) -> Result<(), Problem> {
        let Payload { link_id: id } =
            serde_json::from_value(payload).map_err(|e| Problem::field("payload", e.to_string()))?;
        let base = self.public_url.trim_end_matches('/').to_owned();
        let wanted = id.clone();
        let mail = cx.page(move |tx| {
            let Some((link, token)) = ops::new_token(tx, &wanted)? else { return Ok(None) };
            compose(tx, &link, &format!("{base}/i/{token}")).map(Some)
        });
        let Some(mail) = mail.await? else { return Ok(()) };
        let by = Principal::system(SEND_LINK);
        match self.mailer.send(&mail).await {
            Ok(()) => cx.complete(move |tx| store::mark_mailed(tx, &id)).await,
            // What is refused for good is not better later; the run goes on with the failure.
            Err(problem) if (400..500).contains(&problem.status()) => {
                cx.complete(move |tx| ops::refused(tx, &by, &id, &problem.to_string())).await
            }
            Err(problem) => Err(problem),
        }
    }
}

fn compose(tx: &Tx<'_>, link: &Link, address: &str) -> Result<Mail, Problem> {
    let run = runs::store::get_run(tx, &link.run_id)?;
    let workflow = definitions::store::get_workflow(tx, &run.workflow_id)?;
    let name = if link.display_name.is_empty() { &link.email } else { &link.display_name };
    let values = json!({
        "displayName": name, "email": link.email, "workflow": workflow.definition.name, "message": link.message,
        "link": address, "expiresAt": link.expires_at,
    });
    let text = templates::compose(tx, link.kind.as_str(), &values)?;
    Ok(Mail {
        id: link.id.to_string(),
        to_name: link.display_name.clone(),
        to_address: link.email.clone(),
        subject: text.subject,
        body: text.body,
        at: link.created_at,
    })
}

impl JobHandler for SendLink {
    fn name(&self) -> &'static str {
        SEND_LINK
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(self.send(cx, payload))
    }
}
