//! The way under the MySQL library, which connects by itself: it is led to a place on this machine, behind which a
//! relay speaks to the checked address, with TLS, and looks at what comes.
//!
//! # Invariants
//! - What a server sends is limited in bytes, and a packet that would have the library make room for millions of
//!   columns does not reach it.
//! - A password is sent to nobody but the server: the place takes one connection and stays Tenure's until the
//!   library is through.
//! - With TLS nothing but the wish for it is sent before it stands, and what was sent before it is not taken for
//!   what came under it.
//!
//! Packets: three bytes of length, low byte first, a number that counts up from 0 with each command, the payload.
//! The source is "Client/Server Protocol" of the MySQL documentation; MariaDB's is the same here.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsConnector;

use super::super::super::CallFailure;
use super::super::http::from_outbound;
use super::{Server, TALK, Work};
use crate::base::id::Ids as _;
use crate::platform::clock::SystemIds;
use crate::platform::outbound::metered::Metered;
use crate::platform::outbound::relay::{Both, Relay, pass_on};

/// What servers can do (`CLIENT_…`), as far as it is looked at here.
const COMPRESS: u32 = 1 << 5;
const LOCAL_FILES: u32 = 1 << 7;
const TLS: u32 = 1 << 11;
/// Where a result ends in a packet that looks like others.
const DEPRECATE_EOF: u32 = 1 << 24;
/// The longest payload; one that has it goes on in the next packet.
const LONGEST: usize = 0xff_ffff;
/// What a wish for TLS has of the answer to a greeting.
const WISH: usize = 32;

/// Where the library finds the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At a port of this machine.
    Port(u16),
    /// At a socket with this name, which begins with a NUL and is in no folder. To the library it is as good as
    /// TLS, so that behind it there is TLS.
    Socket(String),
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not offer TLS.
    NoTls,
    /// It sent what may not come.
    Packet,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTls => "the server does not offer TLS",
            Self::Packet => "the server sent a packet that may not come there",
        })
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// The way to a server.
pub(super) struct Wire {
    place: Place,
    relay: Relay,
    /// The place stays taken as long as this is there.
    _door: Door,
}

/// How many connections come to a place.
#[derive(Clone)]
enum Door {
    Port(Arc<TcpListener>),
    Socket(Arc<UnixListener>),
}

impl Wire {
    /// Connects to the server, and opens a place for the library.
    pub(super) async fn dial(server: &Server<'_>, work: &Work) -> Result<Self, CallFailure> {
        let far = server.outbound.connect(server.origin, work.limit).await.map_err(from_outbound)?;
        let far = Metered::new(far, 2 * work.max_bytes + TALK);
        let tls = match server.tls {
            false => None,
            true => {
                let name = ServerName::try_from(server.origin.host.clone()).map_err(|_| {
                    server.untrusted("the host of the settings is no name that a certificate can have")
                })?;
                Some((TlsConnector::from(server.outbound.tls()), name))
            }
        };
        let (place, door) = open(tls.is_some()).await.map_err(|e| server.broken(e.kind()))?;
        let opened = door.clone();
        let relay = Relay::start(async move {
            match opened.first().await {
                Ok(mut near) => (converse(&mut near, far, tls).await, Some(near)),
                Err(error) => (Err(error), None),
            }
        });
        Ok(Self { place, relay, _door: door })
    }

    /// Where the library finds the server.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Why it broke, when it did not end in good order.
    pub(super) fn broke(&self) -> Option<&io::Error> {
        self.relay.broke()
    }

    /// Lets go of it once what was said last is out.
    pub(super) fn close(self) {
        self.relay.finish();
    }
}

async fn open(socket: bool) -> io::Result<(Place, Door)> {
    if socket {
        let name = format!("\0tenure-{:032x}", SystemIds.next_random());
        let listener = UnixListener::bind(&name)?;
        return Ok((Place::Socket(name), Door::Socket(Arc::new(listener))));
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok((Place::Port(listener.local_addr()?.port()), Door::Port(Arc::new(listener))))
}

impl Door {
    /// The first that comes. At a port that may be somebody else on this machine: they get no more than by calling
    /// the server themselves, and the library nothing. At a socket it is this process.
    async fn first(&self) -> io::Result<Box<dyn Both>> {
        match self {
            Self::Port(listener) => {
                let (stream, _): (TcpStream, _) = listener.accept().await?;
                Ok(Box::new(stream))
            }
            Self::Socket(listener) => loop {
                let (stream, _): (UnixStream, _) = listener.accept().await?;
                if stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id()) {
                    return Ok(Box::new(stream));
                }
            },
        }
    }
}

/// Passes on what the library and the server say to each other, from the greeting to the end.
async fn converse<N: Both, F: Both>(
    near: &mut N,
    mut far: F,
    tls: Option<(TlsConnector, ServerName<'static>)>,
) -> io::Result<()> {
    let mut greeting = Packet::read(&mut far).await?;
    // A server that wants nobody says so in place of a greeting.
    let refuses = greeting.payload.first() == Some(&0xff);
    let offers = if refuses { 0 } else { greeting.withhold(COMPRESS | LOCAL_FILES | TLS | DEPRECATE_EOF)? };
    let (Some((connector, name)), false) = (tls, refuses) else {
        greeting.write(near).await?;
        return pass_on(near, &mut Passed::new(far, Packets::of_server(0))).await;
    };
    if offers & TLS == 0 {
        return Err(Fault::NoTls.into());
    }
    greeting.write(near).await?;
    // What the library answers begins with what is said in a wish for TLS, and has its number.
    let mut answer = Packet::read(near).await?;
    if answer.payload.len() < WISH {
        return Err(Fault::Packet.into());
    }
    answer.payload[1] |= (TLS >> 8) as u8;
    let wish = Packet { number: answer.number, payload: answer.payload[..WISH].to_vec() };
    wish.write(&mut far).await?;
    let mut far = connector.connect(name, far).await?;
    // From here to the end of the sign-in the server has counted one packet more than the library.
    answer.number = answer.number.wrapping_add(1);
    answer.write(&mut far).await?;
    pass_on(&mut Passed::new(near, Packets::of_library(1)), &mut Passed::new(far, Packets::of_server(1))).await
}

/// A packet of the sign-in, read whole.
#[derive(Debug)]
struct Packet {
    number: u8,
    payload: Vec<u8>,
}

impl Packet {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut header = [0; 4];
        from.read_exact(&mut header).await?;
        let [low, middle, high, number] = header;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        if length > TALK {
            return Err(Fault::Packet.into());
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        Ok(Self { number, payload })
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = vec![length[0], length[1], length[2], self.number];
        bytes.extend_from_slice(&self.payload);
        to.write_all(&bytes).await?;
        to.flush().await
    }

    /// Takes out of a greeting (version 10) what the library shall not ask for; answers what the server offers.
    fn withhold(&mut self, flags: u32) -> io::Result<u32> {
        let end = self.payload.iter().skip(1).position(|byte| *byte == 0).map(|at| at + 1);
        // Behind the name of the version: a number of four bytes, eight of a challenge, a NUL; the low half; a
        // character set, two bytes of a state; the high half.
        let places = end.map(|end| [end + 14, end + 15, end + 19, end + 20]);
        let known = places.filter(|places| self.payload.first() == Some(&10) && places[3] < self.payload.len());
        let places = known.ok_or(Fault::Packet)?;
        // Behind the length of the challenge: ten bytes that MariaDB uses for more; they may say that columns are
        // left out, which the library does not read rightly beside marks of an end.
        if let Some(more) = self.payload.get_mut(places[3] + 2..places[3] + 12) {
            more.fill(0);
        }
        let mut offers = [0; 4];
        for ((place, flag), offer) in places.into_iter().zip(flags.to_le_bytes()).zip(&mut offers) {
            *offer = self.payload[place];
            self.payload[place] &= !flag;
        }
        Ok(u32::from_le_bytes(offers))
    }
}

/// Whose packets these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Each command begins to count anew.
    Library,
    /// The first good answer ends the sign-in.
    Server { signed_in: bool },
}

/// Packets that pass by: they are looked at, and counted as the other side counts.
#[derive(Debug)]
struct Packets {
    side: Side,
    /// By how much the server is ahead.
    ahead: u8,
    /// Bytes of a header that came.
    header: u8,
    length: usize,
    missing: usize,
    /// Whether the next packet is the rest of this one.
    goes_on: bool,
}

impl Packets {
    fn of_library(ahead: u8) -> Self {
        Self { side: Side::Library, ahead, header: 0, length: 0, missing: 0, goes_on: false }
    }

    fn of_server(ahead: u8) -> Self {
        Self { side: Side::Server { signed_in: false }, ..Self::of_library(ahead) }
    }

    fn pass(&mut self, bytes: &mut [u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = match self.header {
                0..3 => {
                    self.length |= usize::from(rest[0]) << (8 * self.header);
                    self.header += 1;
                    1
                }
                3 => {
                    self.number(&mut rest[0]);
                    self.header = 4;
                    self.missing = self.length;
                    1
                }
                _ => {
                    if self.missing == self.length && !self.goes_on {
                        self.judge(rest[0])?;
                    }
                    let here = self.missing.min(rest.len());
                    self.missing -= here;
                    here
                }
            };
            rest = &mut rest[taken..];
            if self.header == 4 && self.missing == 0 {
                self.goes_on = self.length == LONGEST;
                (self.header, self.length) = (0, 0);
            }
        }
        Ok(())
    }

    fn number(&mut self, number: &mut u8) {
        match self.side {
            Side::Library => {
                if *number == 0 {
                    self.ahead = 0;
                }
                *number = number.wrapping_add(self.ahead);
            }
            Side::Server { .. } => *number = number.wrapping_sub(self.ahead),
        }
    }

    /// Where a result begins, a server says how many columns it has; the library makes room for as many at once.
    /// There are at most 4,096, so that a number in three or eight bytes is none; nothing else that comes after the
    /// sign-in begins like it: the mark of an end is shorter.
    fn judge(&mut self, first: u8) -> Result<(), Fault> {
        match (self.side, first) {
            (Side::Server { signed_in: false }, 0x00) => {
                self.side = Side::Server { signed_in: true };
                self.ahead = 0;
                Ok(())
            }
            (Side::Server { signed_in: true }, 0xfd) => Err(Fault::Packet),
            (Side::Server { signed_in: true }, 0xfe) if self.length >= 9 => Err(Fault::Packet),
            _ => Ok(()),
        }
    }
}

/// A stream whose packets are looked at as they come.
struct Passed<S> {
    inner: S,
    packets: Packets,
}

impl<S> Passed<S> {
    fn new(inner: S, packets: Packets) -> Self {
        Self { inner, packets }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Passed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        Poll::Ready(self.packets.pass(&mut buf.filled_mut()[before..]).map_err(io::Error::from))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Passed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
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

    fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        [&length[..3], &[number], payload].concat()
    }

    /// What passes, whatever the pieces are in which it comes.
    fn passed(packets: impl Fn() -> Packets, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut whole = bytes.to_vec();
        let at_once = packets().pass(&mut whole).map(|()| whole);
        let (mut pieces, mut one_by_one) = (bytes.to_vec(), packets());
        let pieces = pieces.iter_mut().try_for_each(|b| one_by_one.pass(std::slice::from_mut(b))).map(|()| pieces);
        assert_eq!(at_once, pieces);
        at_once
    }

    #[test]
    fn the_numbers_of_a_sign_in_are_shifted_and_those_of_commands_are_not() {
        let both = [(packet(1, b"hello"), 2), (packet(3, b""), 4), (packet(0, b"command"), 0), (packet(1, b"more"), 1)];
        let said = both.iter().flat_map(|(bytes, _)| bytes.clone()).collect::<Vec<_>>();
        let heard = passed(|| Packets::of_library(1), &said).unwrap();
        let expected: Vec<u8> = both.iter().flat_map(|(bytes, number)| [&bytes[..3], &[*number], &bytes[4..]].concat()).collect();
        assert_eq!(heard, expected);
        // A request for another way to sign in, the good answer, and the answer to a command.
        let said = [packet(3, b"\xfemysql_native_password\0"), packet(5, b"\0\0\0\x02\0\0\0"), packet(1, b"\x01"), packet(2, b"\x03def")].concat();
        let heard = [packet(2, b"\xfemysql_native_password\0"), packet(4, b"\0\0\0\x02\0\0\0"), packet(1, b"\x01"), packet(2, b"\x03def")].concat();
        assert_eq!(passed(|| Packets::of_server(1), &said), Ok(heard));
    }

    #[test]
    fn a_number_of_columns_that_nothing_has_does_not_pass() {
        let signed_in = packet(2, b"\0\0\0\x02\0\0\0");
        let then = |payload: &[u8]| passed(|| Packets::of_server(0), &[signed_in.clone(), packet(1, payload)].concat()).map(drop);
        for good in [&b"\x01"[..], b"\xfc\xff\xff", b"\xfe\0\0\x02\0", b"\xff\x15\x04#42000no", b""] {
            assert_eq!(then(good), Ok(()), "{good:x?}");
        }
        for wrong in [&b"\xfd\xff\xff\xff"[..], b"\xfe\xff\xff\xff\xff\xff\0\0\0", b"\xfe\0\0\0\0\x01\0\0\0\0"] {
            assert_eq!(then(wrong), Err(Fault::Packet), "{wrong:x?}");
        }
    }

    /// A long value is cut into packets, and the second begins with whatever stands there.
    #[test]
    fn the_rest_of_a_long_packet_is_no_packet_of_its_own() {
        let mut packets = Packets::of_server(0);
        packets.pass(&mut packet(2, b"\0")).unwrap();
        packets.pass(&mut packet(1, &vec![0x61; LONGEST])).unwrap();
        packets.pass(&mut packet(2, &[0xfd; 20])).unwrap();
        assert_eq!(packets.pass(&mut packet(3, &[0xfd; 20])), Err(Fault::Packet));
    }

    #[test]
    fn a_greeting_loses_what_the_library_shall_not_ask_for() {
        let greeting = |low: u16, high: u16, more: u8| {
            let mut payload = b"\x0a10.11.6-MariaDB\0\x01\0\0\0salt1234\0".to_vec();
            payload.extend(low.to_le_bytes());
            payload.extend(b"\x2d\x02\0");
            payload.extend(high.to_le_bytes());
            payload.extend(b"\x15");
            payload.extend([more; 10]);
            payload.extend(b"saltsaltsalt\0");
            payload
        };
        let mut packet = Packet { number: 0, payload: greeting(0xffff, 0xffff, 0x1d) };
        assert_eq!(packet.withhold(COMPRESS | LOCAL_FILES | TLS | DEPRECATE_EOF).unwrap(), u32::MAX);
        assert_eq!(packet.payload, greeting(0xf75f, 0xfeff, 0));
        for wrong in [&b""[..], b"\x0a", b"\x0a5.7\0", b"\x095.7\0\x01\0\0\0salt1234\0\xff\xff\x2d\x02\0\xff\xff"] {
            assert!(Packet { number: 0, payload: wrong.to_vec() }.withhold(TLS).is_err(), "{wrong:x?}");
        }
    }
}
