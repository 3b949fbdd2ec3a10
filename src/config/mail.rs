//! Mail.

use url::Url;

use super::{Reader, Secret};

/// `SMTP_URL` and `MAIL_FROM`; without a server, mails are files in `DATA_DIR/outbox`.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// Where mail is handed over.
    pub smtp_url: Option<Secret>,
    /// Who mail comes from.
    pub from: String,
}

pub(super) fn read(r: &mut Reader) -> MailConfig {
    let smtp_url = r.secret("SMTP_URL");
    if let Some(secret) = &smtp_url {
        let fits = Url::parse(secret.expose())
            .is_ok_and(|u| matches!(u.scheme(), "smtp" | "smtps") && u.host_str().is_some_and(|h| !h.is_empty()));
        if !fits {
            r.fault("SMTP_URL", None, "a URL such as smtps://user:password@mail.example.org:465");
        }
    }
    let from = r.text("MAIL_FROM").unwrap_or_else(|| "tenure@localhost".to_owned());
    if from.parse::<lettre::message::Mailbox>().is_err() {
        r.fault("MAIL_FROM", Some(&from), "an address such as Tenure <tenure@example.org>");
    }
    MailConfig { smtp_url, from }
}
