//! The connection under the LDAP library: dialled, encrypted and measured here.
//!
//! The library reads a message whole before it looks at it, collects what a search gives, and goes as deep into
//! a message as that is nested. So what a directory sends is judged before the library has it.
//!
//! # Invariants
//! - A message that says that it is too long is refused before the rest of it comes.
//! - An answer, which is all that comes between two requests, has at most as many bytes as the policy says, and a
//!   conversation at most [`CONVERSATION`].
//! - Elements of a message are nested at most [`DEEPEST`] deep.
//! - With `startTls` not a byte behind the answer to it is taken for one that came under TLS.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, StdStream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::super::CallFailure;
use super::http::from_outbound;
use super::ldap::refused;
use crate::platform::outbound::relay::{Both, Relay, pass_on};
use crate::platform::outbound::{Origin, Outbound, OutboundError};

/// Bytes that may come in one conversation, which is a list with all of its pages.
const CONVERSATION: usize = 64 * 1024 * 1024;
/// How deep elements are nested: a message has about half of this.
const DEEPEST: usize = 16;
/// The longest answer to a request for TLS.
const MOST_ABOUT_TLS: usize = 4096;

/// How a directory is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Not encrypted.
    Plain,
    /// `ldaps://`.
    Tls,
    /// Asked for on a plain connection.
    StartTls,
}

/// A connection in use.
pub(super) struct Wire {
    origin: Origin,
    relay: Relay,
    most: usize,
}

impl Wire {
    /// Connects; an answer may have `most` bytes.
    pub(super) async fn dial(
        outbound: &Outbound,
        origin: Origin,
        security: Security,
        limit: Duration,
        most: usize,
    ) -> Result<(Self, Ldap), CallFailure> {
        let mut stream = outbound.connect(&origin, limit).await.map_err(from_outbound)?;
        if security == Security::StartTls {
            match start_tls(&mut stream).await {
                Ok(0) => {}
                Ok(code) => return Err(refused("StartTLS", code)),
                Err(error) => return Err(broken(&origin, most, &error)),
            }
        }
        let stream: Box<dyn Both> = match security {
            Security::Plain => Box::new(stream),
            Security::Tls | Security::StartTls => {
                let name = ServerName::try_from(origin.host.clone()).map_err(|_| {
                    let host = &origin.host;
                    CallFailure::lasting("tls", format!("{host} is no name that a certificate can have; use a host name"))
                })?;
                let connecting = TlsConnector::from(outbound.tls()).connect(name, stream).await;
                Box::new(connecting.map_err(|e| broken(&origin, most, &e))?)
            }
        };
        let (wire, library) = Self::over(stream, origin, most)?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Unix(library));
        // The address is that of the socket that it is given.
        let (connection, ldap) = LdapConnAsync::with_settings(settings, "ldapi:///")
            .await
            .map_err(|e| CallFailure::passing("broken", format!("no LDAP connection could be made: {e}")))?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "an LDAP connection ended");
            }
        });
        Ok((wire, ldap))
    }

    /// The connection, and the socket at which a library finds it.
    fn over(
        stream: Box<dyn Both>,
        origin: Origin,
        most: usize,
    ) -> Result<(Self, std::os::unix::net::UnixStream), CallFailure> {
        let made = UnixStream::pair().and_then(|(near, library)| Ok((near, library.into_std()?)));
        let (near, library) =
            made.map_err(|e| CallFailure::passing("broken", format!("no socket could be made: {}", e.kind())))?;
        let (mut near, mut far) = (near, Measured { inner: stream, measure: Measure::new(most) });
        let relay = Relay::start(async move { (pass_on(&mut near, &mut far).await, near) });
        Ok((Self { origin, relay, most }, library))
    }

    /// Why it broke, when the library cannot know.
    pub(super) fn failure(&self) -> Option<CallFailure> {
        self.relay.broke().map(|error| broken(&self.origin, self.most, error))
    }

    /// Lets go of it once what was said last is out.
    pub(super) fn close(self) {
        self.relay.finish();
    }
}

/// Why a connection broke.
fn broken(origin: &Origin, most: usize, error: &io::Error) -> CallFailure {
    let host = origin.host.clone();
    let inner = error.get_ref();
    if let Some(tls) = inner.and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return from_outbound(OutboundError::Tls { host, why: tls.to_string() });
    }
    match inner.and_then(|e| e.downcast_ref::<Excess>()) {
        Some(Excess::Answer) => {
            let message = format!(
                "an answer of {host} is larger than {most} bytes; ask for less, or raise maxAnswerBytes in the policy"
            );
            CallFailure::lasting("too_large", message)
        }
        Some(Excess::Conversation) => {
            let message = format!("the list of {host} is larger than {CONVERSATION} bytes; narrow the filter");
            CallFailure::lasting("too_large", message)
        }
        Some(Excess::Form) => CallFailure::bad_answer(format!("{host} sent what is no LDAP message")),
        None => from_outbound(OutboundError::Broken { host, why: error.kind().to_string() }),
    }
}

/// Asks for TLS (RFC 4511, section 4.14); answers the result code.
async fn start_tls(stream: &mut TcpStream) -> io::Result<u32> {
    // A message with the number 1 that holds an extended request with a name and no value.
    const NAME: &[u8] = b"1.3.6.1.4.1.1466.20037";
    let mut request = vec![0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16];
    request.extend_from_slice(NAME);
    stream.write_all(&request).await?;
    let no_message = || io::Error::new(io::ErrorKind::InvalidData, Excess::Form);
    let mut answer = vec![0; 2];
    stream.read_exact(&mut answer).await?;
    // The length of a length, when that is not the length itself.
    let more = if answer[1] < 0x80 { 0 } else { usize::from(answer[1] & 0x7f) };
    if more > 4 {
        return Err(no_message());
    }
    answer.resize(2 + more, 0);
    stream.read_exact(&mut answer[2..]).await?;
    let length = match more {
        0 => usize::from(answer[1]),
        _ => answer[2..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    if length > MOST_ABOUT_TLS {
        return Err(io::Error::new(io::ErrorKind::InvalidData, Excess::Answer));
    }
    let begin = answer.len();
    answer.resize(begin + length, 0);
    stream.read_exact(&mut answer[begin..]).await?;
    code_of(&answer).ok_or_else(no_message)
}

/// The result code of a message that holds an extended response.
fn code_of(message: &[u8]) -> Option<u32> {
    let (0x30, inside, []) = element(message)? else { return None };
    let (0x02, _, rest) = element(inside)? else { return None };
    let (0x78, response, _) = element(rest)? else { return None };
    match element(response)? {
        (0x0a, code, _) if (1..=4).contains(&code.len()) => {
            Some(code.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)))
        }
        _ => None,
    }
}

/// Tag and content of the first element, and what stands behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match *first {
        0..0x80 => (usize::from(*first), rest),
        _ => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(l, _)| l.len() <= 4)?;
            (length.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// What came is too much, or nothing that may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excess {
    /// More bytes than an answer may have.
    Answer,
    /// More bytes than a conversation may have.
    Conversation,
    /// No element of a message, or one that is nested too deep.
    Form,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answer => "an answer is too large",
            Self::Conversation => "a conversation is too large",
            Self::Form => "it is no LDAP message",
        })
    }
}

impl std::error::Error for Excess {}

/// Which part of an element comes next. Lengths are definite (RFC 4511, section 5.1), and no tag of LDAP has a
/// number above 30.
#[derive(Debug, Clone, Copy)]
enum Part {
    Tag,
    Length { constructed: bool },
    LongLength { constructed: bool, missing: u8, length: u64 },
    Content { missing: u64 },
}

/// How much came, and where in which element it stands.
#[derive(Debug)]
struct Measure {
    most: usize,
    answer: usize,
    conversation: usize,
    part: Part,
    /// Bytes of this message so far.
    at: u64,
    /// Where each of the elements ends that are open, the outermost first.
    ends: Vec<u64>,
}

impl Measure {
    fn new(most: usize) -> Self {
        Self { most, answer: 0, conversation: 0, part: Part::Tag, at: 0, ends: Vec::with_capacity(DEEPEST) }
    }

    /// A request goes out: what comes from now on answers it.
    fn request(&mut self) {
        self.answer = 0;
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Excess> {
        self.answer = self.answer.saturating_add(bytes.len());
        self.conversation = self.conversation.saturating_add(bytes.len());
        if self.answer > self.most {
            return Err(Excess::Answer);
        }
        if self.conversation > CONVERSATION {
            return Err(Excess::Conversation);
        }
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            if let Part::Content { missing } = self.part {
                let here = usize::try_from(missing).unwrap_or(usize::MAX).min(rest.len());
                rest = &rest[here..];
                self.at += here as u64;
                self.content(missing - here as u64);
            } else {
                rest = others;
                self.at += 1;
                self.header(*first)?;
            }
        }
        Ok(())
    }

    fn header(&mut self, byte: u8) -> Result<(), Excess> {
        if self.ends.last().is_some_and(|end| self.at > *end) {
            return Err(Excess::Form);
        }
        match self.part {
            Part::Tag if byte & 0x1f == 0x1f => Err(Excess::Form),
            Part::Tag => {
                self.part = Part::Length { constructed: byte & 0x20 != 0 };
                Ok(())
            }
            Part::Length { constructed } if byte < 0x80 => self.begin(constructed, byte.into()),
            Part::Length { constructed } => match byte & 0x7f {
                missing @ 1..=8 => {
                    self.part = Part::LongLength { constructed, missing, length: 0 };
                    Ok(())
                }
                _ => Err(Excess::Form),
            },
            Part::LongLength { constructed, missing, length } => {
                let length = length << 8 | u64::from(byte);
                if missing == 1 {
                    return self.begin(constructed, length);
                }
                self.part = Part::LongLength { constructed, missing: missing - 1, length };
                Ok(())
            }
            Part::Content { .. } => Err(Excess::Form),
        }
    }

    /// The content of an element begins.
    fn begin(&mut self, constructed: bool, length: u64) -> Result<(), Excess> {
        let end = self.at.checked_add(length).ok_or(Excess::Answer)?;
        match self.ends.last() {
            None if end > self.most as u64 => return Err(Excess::Answer),
            Some(outer) if end > *outer => return Err(Excess::Form),
            _ => {}
        }
        if !constructed {
            self.content(length);
        } else if self.ends.len() == DEEPEST {
            return Err(Excess::Form);
        } else {
            self.ends.push(end);
            self.close();
        }
        Ok(())
    }

    /// So many bytes are missing from the content of an element that holds no others.
    fn content(&mut self, missing: u64) {
        if missing == 0 {
            self.close();
        } else {
            self.part = Part::Content { missing };
        }
    }

    /// An element ends, and with it those whose last part it is.
    fn close(&mut self) {
        self.part = Part::Tag;
        while self.ends.last().is_some_and(|end| *end == self.at) {
            self.ends.pop();
        }
        if self.ends.is_empty() {
            self.at = 0;
        }
    }
}

/// A connection whose answers are measured as they come.
struct Measured {
    inner: Box<dyn Both>,
    measure: Measure,
}

impl AsyncRead for Measured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let taken = self.measure.take(&buf.filled()[before..]);
        Poll::Ready(taken.map_err(|excess| io::Error::new(io::ErrorKind::InvalidData, excess)))
    }
}

impl AsyncWrite for Measured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.measure.request();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element: a tag and what it holds, with its length in four bytes as Active Directory writes it.
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    }

    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(Vec::new(), |inside, _| tlv(0x30, &inside))
    }

    /// Whatever the pieces are in which it comes.
    fn measured(most: usize, bytes: &[u8]) -> Result<(), Excess> {
        let whole = Measure::new(most).take(bytes);
        let mut measure = Measure::new(most);
        let one_by_one = bytes.iter().try_for_each(|byte| measure.take(&[*byte]));
        assert_eq!(whole.is_ok(), one_by_one.is_ok());
        if whole.is_ok() {
            assert!(measure.ends.is_empty() && measure.at == 0, "{measure:?}");
        }
        one_by_one
    }

    #[test]
    fn messages_as_directories_send_them_pass_in_whichever_pieces_they_come() {
        let entry = tlv(0x64, &[tlv(0x04, b"uid=ada"), tlv(0x30, &tlv(0x30, &[tlv(0x04, b"member"), tlv(0x31, b"")].concat()))].concat());
        let message = tlv(0x30, &[&[0x02, 0x01, 0x02][..], &entry].concat());
        let short = [0x30, 0x0c, 0x02, 0x01, 0x01, 0x61, 0x07, 0x0a, 0x01, 0x00, 0x04, 0x00, 0x04, 0x00];
        for passes in [message.clone(), short.to_vec(), [message.clone(), short.to_vec(), message].concat(), nested(DEEPEST), vec![0x30, 0x00]] {
            assert_eq!(measured(4096, &passes), Ok(()), "{passes:x?}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_by_what_it_says_of_itself() {
        // Two gigabytes; the most that eight bytes can say; a whole answer and a byte.
        for announced in [&[0x30, 0x84, 0x80, 0, 0, 0][..], &[0x30, 0x88, 255, 255, 255, 255, 255, 255, 255, 255], &[0x30, 0x82, 0x10, 0x00]] {
            assert_eq!(measured(4096, announced), Err(Excess::Answer), "{announced:x?}");
        }
    }

    #[test]
    fn what_comes_between_two_requests_is_one_answer() {
        let message = [0x30, 0x03, 0x02, 0x01, 0x01];
        let mut measure = Measure::new(20);
        for _ in 0..3 {
            for _ in 0..4 {
                measure.take(&message).unwrap();
            }
            measure.request();
        }
        for _ in 0..4 {
            measure.take(&message).unwrap();
        }
        assert_eq!(measure.take(&message), Err(Excess::Answer));
        // Pages without end are a list without end.
        let (mut endless, page) = (Measure::new(1024 * 1024), tlv(0x04, &[0; 1024 * 1000]));
        let pages = (0..100).position(|_| {
            endless.request();
            endless.take(&page) == Err(Excess::Conversation)
        });
        assert_eq!(pages, Some(CONVERSATION / page.len()));
    }

    #[test]
    fn what_is_nested_too_deep_or_no_message_is_refused() {
        assert_eq!(measured(1_000_000, &nested(DEEPEST + 1)), Err(Excess::Form));
        assert_eq!(measured(1_000_000, &nested(3_000)), Err(Excess::Form));
        for wrong in [
            // A tag in many bytes, a length without an end, one in too many bytes, a child that outgrows its parent.
            &[0x3f, 0x81, 0x00][..], &[0x30, 0x80, 0x00, 0x00], &[0x30, 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 1], &[0x30, 0x02, 0x04, 0x05],
            &[0x30, 0x01, 0x04, 0x00],
        ] {
            assert_eq!(measured(4096, wrong), Err(Excess::Form), "{wrong:x?}");
        }
    }

    #[test]
    fn the_answer_to_a_request_for_tls_is_read_or_is_none() {
        let response = |code: &[u8]| tlv(0x78, &[tlv(0x0a, code), tlv(0x04, b""), tlv(0x04, b"no")].concat());
        let message = |inside: &[u8]| tlv(0x30, &[&[0x02, 0x01, 0x01][..], inside].concat());
        assert_eq!(code_of(&message(&response(&[0]))), Some(0));
        assert_eq!(code_of(&message(&response(&[53]))), Some(53));
        let behind = [message(&response(&[0])), vec![0]].concat();
        for wrong in [&behind[..], b"", &message(b""), &message(&tlv(0x61, b"")), &message(&response(b"")), &message(&response(&[0; 5]))] {
            assert_eq!(code_of(wrong), None, "{wrong:x?}");
        }
    }

    proptest::proptest! {
        /// Nothing that comes makes it panic, and what it keeps is small.
        #[test]
        fn any_bytes_are_measured(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let mut measure = Measure::new(200);
            let _ = measure.take(&bytes);
            proptest::prop_assert!(measure.ends.len() <= DEEPEST);
        }
    }
}
