//! Mail: to the SMTP server of `SMTP_URL`, or as `.eml` files into an outbox folder.
//!
//! # Invariants
//! - A file in the outbox is whole: it is written beside and renamed.
//! - Credentials go over TLS only, except to this machine or where the URL says `?tls=none`.
//! - No error or log of this module holds the URL's user or password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use url::Url;
use zeroize::Zeroizing;

use super::outbound::address::{Class, class};
use super::outbound::{Loopback, Origin, Outbound};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// How long handing over one mail may take.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// One mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Unique; the same when the mail is sent again, so that receivers can see that.
    pub id: String,
    /// The receiver's name.
    pub to_name: String,
    /// The receiver's address.
    pub to_address: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub body: String,
    /// When it was written.
    pub at: Timestamp,
}

/// Where mail goes. Clones share it.
#[derive(Clone)]
pub struct Mailer {
    inner: Arc<Inner>,
}

struct Inner {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp { server: Server, outbound: Outbound },
    Outbox(PathBuf),
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer").field("from", &self.inner.from).field("way", &self.way()).finish()
    }
}

impl Mailer {
    /// Mail from `from`, by `smtp_url` or else into the folder `outbox`.
    ///
    /// `smtps://` is TLS from the start; `smtp://` becomes TLS where the server offers it, and must
    /// when there are credentials; `?tls=required|opportunistic|none` says otherwise.
    pub fn new(smtp_url: Option<&str>, from: &str, outbox: PathBuf, outbound: Outbound) -> Result<Self, Problem> {
        let from = from.parse().map_err(|_| {
            Problem::field("MAIL_FROM", "expected an address such as Tenure <tenure@example.org>")
        })?;
        let way = match smtp_url {
            Some(url) => Way::Smtp { server: Server::read(url)?, outbound },
            None => Way::Outbox(outbox),
        };
        Ok(Self { inner: Arc::new(Inner { from, way }) })
    }

    /// Where mail goes, for people: a server or a folder, without credentials.
    pub fn way(&self) -> String {
        match &self.inner.way {
            Way::Smtp { server, .. } => server.origin.to_string(),
            Way::Outbox(folder) => folder.display().to_string(),
        }
    }

    /// The folder that mails are written to, when no server is set.
    pub fn outbox(&self) -> Option<&Path> {
        match &self.inner.way {
            Way::Smtp { .. } => None,
            Way::Outbox(folder) => Some(folder),
        }
    }

    /// Hands one mail over. [`Problem::Unavailable`] may pass; other problems stay.
    pub async fn send(&self, mail: &Mail) -> Result<(), Problem> {
        let message = compose(&self.inner.from, mail)?;
        match &self.inner.way {
            Way::Smtp { server, outbound } => server.send(outbound, message).await,
            Way::Outbox(folder) => write_file(folder, &mail.id, message.formatted()).await,
        }
    }
}

fn compose(from: &Mailbox, mail: &Mail) -> Result<Message, Problem> {
    let address = mail
        .to_address
        .parse()
        .map_err(|_| Problem::refused(format!("\"{}\" is no mail address.", mail.to_address)))?;
    let name = Some(one_line(&mail.to_name)).filter(|n| !n.is_empty());
    let seconds = u64::try_from(mail.at.as_millis() / 1000).unwrap_or(0);
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(name, address))
        .subject(one_line(&mail.subject))
        .date(UNIX_EPOCH + Duration::from_secs(seconds))
        .message_id(Some(format!("<{}@{}>", mail.id, from.email.domain())))
        .header(ContentType::TEXT_PLAIN)
        .body(mail.body.clone())
        .map_err(|e| Problem::refused(format!("The mail could not be written: {e}.")))
}

/// A header is one line, whatever a subject or name brings.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

async fn write_file(folder: &Path, id: &str, bytes: Vec<u8>) -> Result<(), Problem> {
    // Ids are ours; a caller's own must not leave the folder either.
    let name: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).collect();
    let folder = folder.to_owned();
    let write = move || -> std::io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let beside = folder.join(format!(".{name}.part"));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, folder.join(format!("{name}.eml")))
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(Problem::internal)?
        .map_err(|e| Problem::unavailable(format!("The outbox folder cannot be written ({}).", e.kind()), 60))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Security {
    FromTheStart,
    Required,
    Opportunistic,
    None,
}

/// What an SMTP URL says.
struct Server {
    origin: Origin,
    security: Option<Security>,
    user: Option<(String, Zeroizing<String>)>,
}

impl Server {
    fn read(text: &str) -> Result<Self, Problem> {
        let fault = |why: &str| Problem::field("SMTP_URL", format!("expected smtp:// or smtps:// with a host: {why}"));
        let url: Url = text.parse().map_err(|_| fault("it is no URL"))?;
        let origin = Origin::of(&url).ok_or_else(|| fault("the host is missing"))?;
        let wish = url.query_pairs().find(|(k, _)| k == "tls").map(|(_, v)| v.into_owned());
        let security = match (url.scheme(), wish.as_deref()) {
            ("smtps", None) => Some(Security::FromTheStart),
            ("smtp", None) => None,
            ("smtp", Some("required")) => Some(Security::Required),
            ("smtp", Some("opportunistic")) => Some(Security::Opportunistic),
            ("smtp", Some("none")) => Some(Security::None),
            _ => return Err(fault("tls is one of required, opportunistic, none, and goes with smtp:// only")),
        };
        let user = match (url.username(), url.password()) {
            ("", None) => None,
            (name, password) => Some((
                decode(name).ok_or_else(|| fault("the user is not UTF-8"))?,
                decode(password.unwrap_or_default()).map(Zeroizing::new).ok_or_else(|| fault("the password is not UTF-8"))?,
            )),
        };
        Ok(Self { origin, security, user })
    }

    async fn send(&self, outbound: &Outbound, message: Message) -> Result<(), Problem> {
        let out = |why: String| Problem::unavailable(format!("The mail server {}: {why}.", self.origin), 60);
        let addresses =
            outbound.addresses(&self.origin, Loopback::Allowed).await.map_err(|e| out(e.to_string()))?;
        let Some(address) = addresses.first() else { return Err(out("has no address".to_owned())) };
        let here = class(address.ip()) == Class::Loopback;
        let security = self.security.unwrap_or(match (&self.user, here) {
            (Some(_), false) => Security::Required,
            _ => Security::Opportunistic,
        });
        // The checked address is what is connected to; the certificate is judged by the name.
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string())
            .port(self.origin.port)
            .timeout(Some(TIME_LIMIT))
            .tls(self.tls(security, outbound)?);
        if let Some((name, password)) = &self.user {
            builder = builder.credentials(Credentials::new(name.clone(), password.to_string()));
        }
        let transport: AsyncSmtpTransport<Tokio1Executor> = builder.build();
        let sent = transport.send(message).await;
        transport.shutdown().await;
        match sent {
            Ok(_) => Ok(()),
            Err(e) if e.is_permanent() => Err(Problem::refused(format!(
                "The mail server {} refused the mail for good{}.",
                self.origin,
                e.status().map(|s| format!(" ({s})")).unwrap_or_default()
            ))),
            Err(e) if e.is_timeout() => Err(out("it did not answer in time".to_owned())),
            Err(e) if e.is_tls() => Err(out("TLS failed; check its certificate and EXTRA_CA_FILE".to_owned())),
            Err(e) => Err(out(e.status().map_or_else(|| "the connection failed".to_owned(), |s| format!("it answered {s}")))),
        }
    }

    fn tls(&self, security: Security, outbound: &Outbound) -> Result<Tls, Problem> {
        if security == Security::None {
            return Ok(Tls::None);
        }
        let mut parameters = TlsParameters::builder(self.origin.host.clone());
        if let Some(pem) = outbound.extra_ca_pem() {
            parameters = parameters.add_root_certificate(Certificate::from_pem(pem).map_err(Problem::internal)?);
        }
        let parameters = parameters.build_rustls().map_err(Problem::internal)?;
        Ok(match security {
            Security::FromTheStart => Tls::Wrapper(parameters),
            Security::Required => Tls::Required(parameters),
            Security::Opportunistic | Security::None => Tls::Opportunistic(parameters),
        })
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let digits = bytes.get(i + 1..i + 3).filter(|_| bytes[i] == b'%').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::outbound::OutboundSettings;

    fn mail() -> Mail {
        Mail {
            id: "ntf_01".to_owned(),
            to_name: "Ada\r\nBcc: eve@example.org".to_owned(),
            to_address: "ada@example.org".to_owned(),
            subject: "Access\nX-Evil: yes".to_owned(),
            body: "Grüße".to_owned(),
            at: Timestamp::from_millis(1_900_000_000_000),
        }
    }

    fn mailer(url: Option<&str>, folder: &Path) -> Result<Mailer, Problem> {
        let outbound = Outbound::new(OutboundSettings::default()).expect("opens");
        Mailer::new(url, "Tenure <tenure@example.org>", folder.to_owned(), outbound)
    }

    #[tokio::test]
    async fn without_a_server_a_mail_is_one_whole_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("outbox");
        let mailer = mailer(None, &folder).expect("a mailer");
        mailer.send(&mail()).await.expect("sent");
        mailer.send(&mail()).await.expect("sent again");
        let names: Vec<_> = std::fs::read_dir(&folder).expect("a folder").map(|f| f.expect("a file").file_name()).collect();
        assert_eq!(names, ["ntf_01.eml"]);
        let text = std::fs::read_to_string(folder.join("ntf_01.eml")).expect("text");
        assert!(text.contains("Message-ID: <ntf_01@example.org>\r\n"), "{text}");
        assert!(text.contains("Date: Sun, 17 Mar 2030 17:46:40 +0000\r\n"), "{text}");
        // A line break in a name or a subject starts no header of its own.
        assert!(!text.contains("\nX-Evil") && !text.contains("\nBcc"), "{text}");
    }

    #[test]
    fn a_url_says_how_and_keeps_its_secrets() {
        let dir = tempfile::tempdir().expect("a folder");
        let read = |url: &str| Server::read(url).expect("a server");
        assert!(read("smtps://u:p%40ss@mail.example").security == Some(Security::FromTheStart));
        assert_eq!(read("smtps://u:p%40ss@mail.example").user.expect("a user").1.as_str(), "p@ss");
        assert!(read("smtp://mail.example").security.is_none());
        assert_eq!(read("smtp://mail.example:2525?tls=required").origin.port, 2525);
        for bad in ["http://mail.example", "smtp:", "smtp://mail.example?tls=maybe", "smtps://mail.example?tls=none"] {
            assert!(Server::read(bad).is_err(), "{bad}");
        }
        let shown = format!("{:?}", mailer(Some("smtps://user:hunter2@mail.example"), dir.path()).expect("a mailer"));
        assert!(!shown.contains("hunter2") && !shown.contains("user"), "{shown}");
    }

    /// Speaks SMTP to one client and answers what it said; refuses receivers named `gone`.
    async fn server(listener: tokio::net::TcpListener) -> String {
        use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
        let (stream, _) = listener.accept().await.expect("a client");
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        let (mut said, mut in_data) = (String::new(), false);
        writing.write_all(b"220 test\r\n").await.expect("writes");
        while let Ok(Some(line)) = lines.next_line().await {
            said += &format!("{line}\n");
            let answer = match line.as_str() {
                "." => "250 taken\r\n",
                _ if in_data => continue,
                "DATA" => "354 go on\r\n",
                "QUIT" => "221 bye\r\n",
                l if l.starts_with("EHLO") => "250-test\r\n250 AUTH PLAIN\r\n",
                l if l.starts_with("RCPT TO:<gone") => "550 nobody of that name\r\n",
                l if l.starts_with("AUTH") => "235 welcome\r\n",
                _ => "250 ok\r\n",
            };
            in_data = line == "DATA" || (in_data && line != ".");
            writing.write_all(answer.as_bytes()).await.expect("writes");
        }
        said
    }

    #[tokio::test]
    async fn a_server_takes_the_mail_or_refuses_it_for_good() {
        let dir = tempfile::tempdir().expect("a folder");
        for (to, taken) in [("ada@example.org", true), ("gone@example.org", false)] {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let url = format!("smtp://tenure:hunter2@{}", listener.local_addr().expect("an address"));
            let talk = tokio::spawn(server(listener));
            let mailer = mailer(Some(&url), dir.path()).expect("a mailer");
            let sent = mailer.send(&Mail { to_address: to.to_owned(), ..mail() }).await;
            match sent {
                Ok(()) => assert!(taken),
                Err(Problem::Invalid { detail, .. }) => assert!(!taken && detail.contains("for good (550"), "{detail}"),
                Err(other) => panic!("{other:?}"),
            }
            let said = talk.await.expect("a talk");
            assert!(said.contains(&format!("RCPT TO:<{to}>")), "{said}");
            assert_eq!(said.contains("Message-ID: <ntf_01@example.org>"), taken, "{said}");
        }
    }
}
