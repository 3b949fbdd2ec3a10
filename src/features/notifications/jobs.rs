//! The job that mails a message.

use serde::Deserialize;
use serde_json::Value;

use super::{Notification, ops, store};
use crate::base::id::NotificationId;
use crate::base::problem::Problem;
use crate::features::identity::people;
use crate::platform::mail::{Mail, Mailer};
use crate::platform::queue::{JobCx, JobFuture, JobHandler, names};

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
        let found = {
            let id = id.clone();
            cx.store().read(move |tx| {
                let notification =
                    store::find_notification(tx, &id)?.ok_or_else(|| Problem::missing("notification", &id))?;
                let person = people::store::get_person(tx, &notification.person)?;
                Ok((notification, person))
            })
        };
        let (notification, person) = found.await?;
        // What was mailed is not mailed again, and somebody who left gets no mail.
        if notification.mailed_at.is_none() && person.active {
            let body = self.text(&notification);
            let mail = Mail {
                id: notification.id.to_string(),
                to_name: person.display_name,
                to_address: person.email,
                subject: notification.subject,
                body,
                at: notification.created_at,
            };
            self.mailer.send(&mail).await?;
            return cx.complete(move |tx| ops::mark_mailed(tx, &id)).await;
        }
        Ok(())
    }

    fn text(&self, notification: &Notification) -> String {
        match &notification.link {
            Some(link) => format!("{}\n\n{}{link}\n", notification.body, self.public_url.trim_end_matches('/')),
            None => format!("{}\n", notification.body),
        }
    }
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
