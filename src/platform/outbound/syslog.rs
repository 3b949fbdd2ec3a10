//! Messages for a receiver of security events: RFC 5424 over TCP or TLS, or JSON over HTTPS.
//!
//! # Invariants
//! - A message counts as sent only when the receiver read to its end: after the last byte our half of the connection is
//!   closed, and the receiver closes its own. Syslog has no receipt; this is as near as it comes.
//! - A message that is sent again has the same bytes, so a receiver can tell it from another one.
//! - No error or log of this module holds more of the URL than its scheme, host and port.

use std::fmt;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use futures::FutureExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::{Loopback, Origin, Outbound, OutboundError, Request, TIME_LIMIT, io_text, pause, within};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

/// Facility "log audit" (13), severity "notice" (5): RFC 5424, 6.2.1.
const PRIORITY: u8 = 13 * 8 + 5;
/// The longest name of a host: RFC 5424, 6.
const HOST_MAX: usize = 255;
/// How many bytes a receiver may answer; it should not at all.
const CHATTER_LIMIT: usize = 64 * 1024;
/// How long a refusal may be under way after the receiver closed its half.
const AFTERMATH: Duration = Duration::from_millis(100);
/// After how many seconds another try makes sense.
const RETRY_AFTER: u32 = 60;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Of which message this is: the same whenever it is sent again. Also in `body`, for receivers of syslog.
    pub id: String,
    /// What kind of message it is, as syslog's MSGID: at most 32 printable letters.
    pub kind: &'static str,
    /// When what it tells of happened.
    pub at: Timestamp,
    /// Where.
    pub host: String,
    /// What it says.
    pub body: Value,
}

impl Message {
    /// As RFC 5424 has it; in the body only ASCII, so no mark of an encoding is needed.
    fn line(&self) -> String {
        let host: String = self.host.chars().filter(char::is_ascii_graphic).take(HOST_MAX).collect();
        let host = if host.is_empty() { "-" } else { &host };
        format!("<{PRIORITY}>1 {} {host} tenure - {} - {}", self.at, self.kind, ascii(&self.body))
    }

    /// With its length in front of it, so that where it ends does not depend on what it says: RFC 6587, 3.4.1.
    fn frame(&self) -> Vec<u8> {
        let line = self.line();
        format!("{} {line}", line.len()).into_bytes()
    }
}

/// JSON of ASCII alone, on one line.
fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A text takes whatever is written to it.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// A receiver of messages. Clones share what they know.
#[derive(Clone)]
pub struct Receiver {
    origin: Origin,
    way: Way,
    outbound: Outbound,
}

#[derive(Clone)]
enum Way {
    Tcp,
    Tls(ServerName<'static>),
    Https(Url),
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Receiver {
    /// The receiver at `syslog+tcp://` (port 514), `syslog+tls://` (6514) or `https://`; nothing is called yet.
    pub fn new(url: &Url, outbound: Outbound) -> Result<Self, Problem> {
        let fault = |why: &str| Problem::field("AUDIT_CHECKPOINT_SIEM_URL", why);
        let origin = Origin::of(url).ok_or_else(|| fault("expected a URL with a host"))?;
        let is_bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let way = match origin.scheme.as_str() {
            "syslog+tcp" | "syslog+tls" if !is_bare => {
                return Err(fault("expected nothing but a host and a port after syslog+tcp:// or syslog+tls://"));
            }
            "syslog+tcp" => Way::Tcp,
            "syslog+tls" => {
                let name = ServerName::try_from(origin.host.clone());
                Way::Tls(name.map_err(|_| fault("expected a host that a certificate can name"))?)
            }
            "https" => Way::Https(url.clone()),
            _ => return Err(fault("expected a URL that begins with syslog+tcp://, syslog+tls:// or https://")),
        };
        Ok(Self { origin, way, outbound })
    }

    /// Where it is, for people: neither who we are there nor what the URL asks for.
    pub fn place(&self) -> String {
        self.origin.to_string()
    }

    /// Hands a message over.
    pub async fn send(&self, message: &Message) -> Result<(), Problem> {
        let sent = match &self.way {
            Way::Tcp => within(&self.origin, TIME_LIMIT, self.over_tcp(message)).await,
            Way::Tls(name) => within(&self.origin, TIME_LIMIT, self.over_tls(name, message)).await,
            Way::Https(url) => return self.over_https(url, message).await,
        };
        sent.map_err(|e| self.out(&e))
    }

    async fn over_tcp(&self, message: &Message) -> Result<(), OutboundError> {
        let mut stream = self.outbound.connect_to(&self.origin, Loopback::Allowed, TIME_LIMIT).await?;
        self.hand_over(&mut stream, |stream| stream, message).await
    }

    async fn over_tls(&self, name: &ServerName<'static>, message: &Message) -> Result<(), OutboundError> {
        let stream = self.outbound.connect_to(&self.origin, Loopback::Allowed, TIME_LIMIT).await?;
        let connecting = TlsConnector::from(self.outbound.tls()).connect(name.clone(), stream);
        let mut stream = connecting.await.map_err(|e| self.tls_fault(&e))?;
        self.hand_over(&mut stream, |stream| stream.get_ref().0, message).await
    }

    /// Writes, closes our half, and waits until the receiver closes its own.
    async fn hand_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        socket: fn(&S) -> &TcpStream,
        message: &Message,
    ) -> Result<(), OutboundError> {
        let broken = |e: &io::Error| self.broken(&io_text(e));
        stream.write_all(&message.frame()).await.map_err(|e| broken(&e))?;
        stream.flush().await.map_err(|e| broken(&e))?;
        // Closed already: it goes down, and never read this.
        if let Some(Ok(0)) = socket(stream).peek(&mut [0]).now_or_never() {
            return Err(self.broken("it closed the connection before the message was through"));
        }
        stream.shutdown().await.map_err(|e| broken(&e))?;
        let (mut piece, mut came) = ([0; 1024], 0);
        loop {
            match stream.read(&mut piece).await {
                Ok(0) => break,
                // Receivers of syslog over TLS often close without the farewell of TLS.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                Ok(n) if came + n > CHATTER_LIMIT => {
                    return Err(OutboundError::TooLarge { host: self.origin.host.clone(), limit: CHATTER_LIMIT });
                }
                Ok(n) => came += n,
                Err(e) => return Err(broken(&e)),
            }
        }
        // One that closed as the message was on its way answers it by a reset, which comes a moment later.
        pause(AFTERMATH).await;
        match socket(stream).take_error() {
            Ok(None) => Ok(()),
            Ok(Some(e)) | Err(e) => Err(broken(&e)),
        }
    }

    async fn over_https(&self, url: &Url, message: &Message) -> Result<(), Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = HeaderValue::from_str(&message.id).map_err(Problem::internal)?;
        headers.insert(HeaderName::from_static("idempotency-key"), id);
        let request = Request {
            method: Method::POST,
            url: url.clone(),
            headers,
            body: Some(ascii(&message.body).into()),
            time_limit: None,
            answer_limit: None,
        };
        let sent = self.outbound.send_to(std::slice::from_ref(&self.origin), Loopback::Allowed, request).await;
        let status = sent.map_err(|e| self.out(&e))?.status;
        let detail = |advice: &str| format!("{} answered {status}. {advice}", self.place());
        match status {
            200..=299 => Ok(()),
            401 | 403 => Err(Problem::refused(detail("Check who AUDIT_CHECKPOINT_SIEM_URL says that we are."))),
            300..=399 => Err(Problem::refused(detail("It leads elsewhere; give AUDIT_CHECKPOINT_SIEM_URL the address it leads to."))),
            408 | 425 | 429 | 500.. => Err(Problem::unavailable(detail("That may pass."), RETRY_AFTER)),
            _ => Err(Problem::refused(detail("Check that AUDIT_CHECKPOINT_SIEM_URL takes JSON by POST."))),
        }
    }

    fn broken(&self, why: &str) -> OutboundError {
        OutboundError::Broken { host: self.origin.host.clone(), why: why.to_owned() }
    }

    fn tls_fault(&self, error: &io::Error) -> OutboundError {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => OutboundError::Tls { host: self.origin.host.clone(), why: tls.to_string() },
            None => self.broken(&io_text(error)),
        }
    }

    fn out(&self, error: &OutboundError) -> Problem {
        Problem::unavailable(format!("{} cannot be used: {error}.", self.place()), RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::platform::outbound::OutboundSettings;

    fn message() -> Message {
        Message {
            id: "tenure.example/audit/1/7".to_owned(),
            kind: "checkpoint",
            at: "2026-12-01T02:03:04.005Z".parse().unwrap(),
            host: "tenure.example\n evil".to_owned(),
            body: json!({ "note": "one\n\u{2014} \u{1f600}" }),
        }
    }

    fn receiver(url: &str) -> Result<Receiver, Problem> {
        Receiver::new(&url.parse().unwrap(), Outbound::new(OutboundSettings::default()).unwrap())
    }

    #[test]
    fn a_message_is_one_line_of_ascii_behind_its_length() {
        let line = "<109>1 2026-12-01T02:03:04.005Z tenure.exampleevil tenure - checkpoint - \
                    {\"note\":\"one\\n\\u2014 \\ud83d\\ude00\"}";
        assert_eq!(String::from_utf8(message().frame()).unwrap(), format!("{} {line}", line.len()));
        let read: Value = serde_json::from_str(&ascii(&message().body)).unwrap();
        assert_eq!(read, message().body);
    }

    #[test]
    fn a_url_says_how_and_keeps_its_secrets() {
        assert_eq!(receiver("syslog+tcp://Siem.example").unwrap().place(), "syslog+tcp://siem.example:514");
        assert_eq!(receiver("syslog+tls://[fd12::1]").unwrap().place(), "syslog+tls://[fd12::1]:6514");
        let https = receiver("https://tenure:hunter2@siem.example/in?token=hunter3").unwrap();
        let shown = format!("{https:?} {}", https.place());
        assert!(!shown.contains("hunter") && shown.contains("https://siem.example:443"), "{shown}");
        for bad in ["syslog+tcp://u:hunter2@siem.example", "syslog+tls://siem.example/x", "http://siem.example", "syslog+tcp:x"] {
            let fault = receiver(bad).unwrap_err().to_string();
            assert!(fault.starts_with("AUDIT_CHECKPOINT_SIEM_URL") && !fault.contains("hunter"), "{fault}");
        }
    }

    /// What a receiver on this machine does with a connection, and what becomes of the message.
    async fn sent<F: Future<Output = ()> + Send + 'static>(receive: fn(TcpStream) -> F) -> Result<(), Problem> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let receiver = receiver(&format!("syslog+tcp://{}", listener.local_addr().unwrap())).unwrap();
        let taking = tokio::spawn(async move { receive(listener.accept().await.unwrap().0).await });
        let sent = receiver.send(&message()).await;
        taking.await.unwrap();
        sent
    }

    #[tokio::test]
    async fn a_message_is_sent_when_the_receiver_read_it_to_its_end() {
        let whole = sent(|mut stream| async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, message().frame());
        });
        whole.await.unwrap();
    }

    #[tokio::test]
    async fn a_message_that_was_not_read_to_its_end_is_not_sent() {
        let unread = sent(|stream| async move { drop(stream) }).await.unwrap_err();
        assert!(matches!(&unread, Problem::Unavailable { detail, .. } if detail.contains("connection")), "{unread}");
        let half = sent(|mut stream| async move {
            let _ = stream.read(&mut [0; 10]).await;
        });
        assert!(matches!(half.await, Err(Problem::Unavailable { .. })));
    }
}
