//! The jobs that mail messages: each alone, or many together.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Notification, digest, ops, store, templates};
use crate::base::id::{NotificationId, PersonId};
use crate::base::problem::Problem;
use crate::features::identity::people::{self, Person};
use crate::platform::mail::{Mail, Mailer};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};
use crate::platform::store::Tx;

/// `send-mail`: hands one message to the mail system.
#[derive(Debug, Clone)]
pub struct SendMail {
    mailer: Mailer,
    public_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    notification_id: NotificationId,
}

impl SendMail {
    /// Sends by `mailer`; links start with `public_url`.
    pub fn new(mailer: Mailer, public_url: impl Into<String>) -> Self {
        Self { mailer, public_url: public_url.into() }
    }

    async fn send(&self, cx: &JobCx, payload: Value) -> Result<(), Problem> {
        let Payload { notification_id: id } =
            serde_json::from_value(payload).map_err(|e| Problem::field("payload", e.to_string()))?;
        let (wanted, base) = (id.clone(), self.public_url.trim_end_matches('/').to_owned());
        let found = cx.store().read(move |tx| {
            let notification =
                store::find_notification(tx, &wanted)?.ok_or_else(|| Problem::missing("notification", &wanted))?;
            let person = people::store::get_person(tx, &notification.person)?;
            // What was mailed is not mailed again, and somebody who left gets no mail.
            if notification.mailed_at.is_some() || !person.active {
                return Ok(None);
            }
            compose(tx, &notification, person, &base).map(Some)
        });
        let Some(mail) = found.await? else { return Ok(()) };
        self.mailer.send(&mail).await?;
        cx.complete(move |tx| ops::mark_mailed(tx, &id)).await
    }
}

fn compose(tx: &Tx<'_>, notification: &Notification, person: Person, base: &str) -> Result<Mail, Problem> {
    let link = notification.link.as_ref().map_or_else(String::new, |link| format!("{base}{link}"));
    let values = json!({
        "subject": notification.subject, "body": notification.body, "link": link,
        "displayName": person.display_name, "email": person.email,
    });
    let text = templates::compose(tx, &notification.kind, &values)?;
    Ok(Mail {
        id: notification.id.to_string(),
        to_name: person.display_name,
        to_address: person.email,
        subject: text.subject,
        body: text.body,
        at: notification.created_at,
    })
}

impl JobHandler for SendMail {
    fn name(&self) -> &'static str {
        names::SEND_MAIL
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(self.send(cx, payload))
    }
}

/// Mails the messages of a person that wait for it.
pub const SEND_DIGEST: &str = "send-digest";
/// The most messages of one digest.
const PAGE: u32 = 500;

/// `send-digest`: mails the messages of a person that wait for it, together.
#[derive(Debug, Clone)]
pub struct SendDigest {
    mailer: Mailer,
    public_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DigestPayload {
    person_id: PersonId,
}

impl SendDigest {
    /// Sends by `mailer`; links start with `public_url`.
    pub fn new(mailer: Mailer, public_url: impl Into<String>) -> Self {
        Self { mailer, public_url: public_url.into() }
    }

    async fn send(&self, cx: &JobCx, payload: Value) -> Result<(), Problem> {
        let DigestPayload { person_id: id } =
            serde_json::from_value(payload).map_err(|e| Problem::field("payload", e.to_string()))?;
        let (wanted, base) = (id.clone(), self.public_url.trim_end_matches('/').to_owned());
        let mail_id = cx.id().to_string();
        let found = cx.store().read(move |tx| {
            let person = people::store::get_person(tx, &wanted)?;
            let messages = store::list_for_digest(tx, &wanted, PAGE)?;
            if messages.is_empty() || !person.active {
                return Ok(None);
            }
            let text = templates::compose(tx, "digest", &digest::values(&person, &messages, &base))?;
            let mail = Mail {
                id: mail_id.clone(),
                to_name: person.display_name,
                to_address: person.email,
                subject: text.subject,
                body: text.body,
                at: tx.now(),
            };
            Ok(Some((mail, messages.into_iter().map(|m| m.id).collect::<Vec<_>>())))
        });
        // Somebody who left gets no mail, and nothing of theirs waits for one.
        let Some((mail, ids)) = found.await? else { return cx.complete(move |tx| store::drop_digest(tx, &id)).await };
        self.mailer.send(&mail).await?;
        cx.complete(move |tx| digest::mark_mailed(tx, &id, &ids)).await
    }
}

impl JobHandler for SendDigest {
    fn name(&self) -> &'static str {
        SEND_DIGEST
    }

    fn calls_out(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, cx: &'a JobCx, payload: Value) -> JobFuture<'a> {
        Box::pin(self.send(cx, payload))
    }
}
