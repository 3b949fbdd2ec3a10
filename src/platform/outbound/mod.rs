//! The one door out: every connection to another system is checked here.
//!
//! # Invariants
//! - Only a scheme, host and port that the caller lists is called, and no redirect is followed.
//! - The address that is connected to is the address that was checked: names are resolved once, here.
//! - Metadata services and Tenure's own listeners are never called; loopback only where
//!   `OUTBOUND_ALLOW_LOOPBACK` says so and the list names it.
//! - No proxy variable, cookie or credential of the process goes along.
//! - A call ends in its time limit, and an answer within its size limit.
//!
//! # Not here
//! What is called and what an answer means; that is a connector's driver.

pub mod address;
mod http;
pub mod metered;
pub mod relay;
mod resolver;
pub mod s3;
pub mod syslog;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use url::Url;

use crate::base::problem::Problem;
use address::Class;

pub use http::{Answer, Request};
pub use resolver::{Lookup, LookupFuture};

/// How long a call may take unless its caller says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How many bytes an answer may have.
pub const ANSWER_LIMIT: usize = 1024 * 1024;

/// What the process allows.
#[derive(Debug, Clone, Default)]
pub struct OutboundSettings {
    /// `OUTBOUND_ALLOW_LOOPBACK`.
    pub allow_loopback: bool,
    /// What `EXTRA_CA_FILE` holds: certificates in PEM, trusted beside the machine's.
    pub extra_ca_pem: Option<Vec<u8>>,
}

/// A scheme, host and port that may be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Lower case, such as `https`.
    pub scheme: String,
    /// A name in lower case, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Origin {
    /// The origin of a URL; `None` when it has no host, or no port that is known for its scheme.
    pub fn of(url: &Url) -> Option<Self> {
        let known = match url.scheme() {
            "http" => Some(80),
            "https" => Some(443),
            "ldap" => Some(389),
            "ldaps" => Some(636),
            "smtp" => Some(587),
            "smtps" => Some(465),
            "syslog+tcp" => Some(514),
            "syslog+tls" => Some(6514),
            _ => None,
        };
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return None;
        }
        Some(Self { scheme: url.scheme().to_owned(), host, port: url.port().or(known)? })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
    }
}

/// Whether a call may go to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Loopback {
    /// As `OUTBOUND_ALLOW_LOOPBACK` says.
    AsSet,
    /// Yes: the operator named the host in the process's own settings.
    Allowed,
}

/// Why a call did not work; names the host, never a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The call goes somewhere that is not listed.
    #[error("{0} is not where this connector may call; it may call the host and port of its settings only")]
    NotListed(String),
    /// The address may not be called.
    #[error("{host} leads to {ip}, which {why}")]
    Refused {
        /// The host as it was given.
        host: String,
        /// The address it leads to.
        ip: IpAddr,
        /// Why it is refused and what would help.
        why: &'static str,
    },
    /// The name has no address.
    #[error("the name {0} has no address; check its spelling and the name server")]
    NoSuchName(String),
    /// Nobody took the connection.
    #[error("{0}")]
    Unreachable(String),
    /// The certificate is not trusted, or TLS failed otherwise.
    #[error("the TLS connection to {host} failed: {why}")]
    Tls {
        /// The host.
        host: String,
        /// What TLS says.
        why: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {seconds} s")]
    Timeout {
        /// The host.
        host: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer has too many bytes.
    #[error("the answer of {host} is larger than {limit} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit: usize,
    },
    /// The connection broke, or what came back was no answer.
    #[error("the connection to {host} failed: {why}")]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        why: String,
    },
}

impl OutboundError {
    /// What happened, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotListed(_) => "not_listed",
            Self::Refused { .. } => "address_refused",
            Self::NoSuchName(_) => "no_such_name",
            Self::Unreachable(_) => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Broken { .. } => "broken",
        }
    }

    /// Whether the same call may work later without anybody mending anything.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NoSuchName(_) | Self::Unreachable(_) | Self::Timeout { .. } | Self::Broken { .. })
    }

    /// Whether it is certain that nothing of the request was sent.
    pub fn is_before_sending(&self) -> bool {
        matches!(
            self,
            Self::NotListed(_) | Self::Refused { .. } | Self::NoSuchName(_) | Self::Unreachable(_) | Self::Tls { .. }
        )
    }
}

/// The door. Clones share it.
#[derive(Clone)]
pub struct Outbound {
    inner: Arc<Inner>,
}

struct Inner {
    rules: Arc<Rules>,
    tls: Arc<ClientConfig>,
    extra_ca_pem: Option<Vec<u8>>,
    clients: http::Clients,
}

/// What is checked for every connection.
struct Rules {
    allow_loopback: bool,
    listeners: RwLock<Vec<SocketAddr>>,
    resolver: resolver::Names,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("allow_loopback", &self.inner.rules.allow_loopback).finish_non_exhaustive()
    }
}

impl Outbound {
    /// Opens the door; fails on an extra CA that is no certificate.
    pub fn new(settings: OutboundSettings) -> Result<Self, Problem> {
        Self::with_names(settings, resolver::Names::of_this_machine()?)
    }

    /// Opens the door with another way from names to addresses, for tests.
    pub fn with_lookup(settings: OutboundSettings, lookup: Arc<dyn Lookup>) -> Result<Self, Problem> {
        Self::with_names(settings, resolver::Names::of(lookup))
    }

    fn with_names(settings: OutboundSettings, names: resolver::Names) -> Result<Self, Problem> {
        let tls = tls::client_config(settings.extra_ca_pem.as_deref())?;
        let rules = Arc::new(Rules {
            allow_loopback: settings.allow_loopback,
            listeners: RwLock::new(Vec::new()),
            resolver: names,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                rules,
                tls: Arc::new(tls),
                extra_ca_pem: settings.extra_ca_pem,
                clients: http::Clients::default(),
            }),
        })
    }

    /// Tells which addresses Tenure listens on; they are never called.
    pub fn set_own_listeners(&self, listeners: Vec<SocketAddr>) {
        *self.inner.rules.listeners.write().unwrap_or_else(std::sync::PoisonError::into_inner) = listeners;
    }

    /// The TLS settings of every outbound connection, the private CA included.
    pub fn tls(&self) -> Arc<ClientConfig> {
        self.inner.tls.clone()
    }

    /// The private CA in PEM, for a library that cannot take [`Outbound::tls`].
    pub fn extra_ca_pem(&self) -> Option<&[u8]> {
        self.inner.extra_ca_pem.as_deref()
    }

    /// The addresses of `origin` that may be called, at least one.
    pub async fn addresses(&self, origin: &Origin, loopback: Loopback) -> Result<Vec<SocketAddr>, OutboundError> {
        self.inner.rules.addresses(origin, loopback).await
    }

    /// A connection to one of the checked addresses of `origin`.
    pub async fn connect(&self, origin: &Origin, limit: Duration) -> Result<TcpStream, OutboundError> {
        self.connect_to(origin, Loopback::AsSet, limit).await
    }

    /// The same, with a word on whether that may be this machine.
    pub async fn connect_to(
        &self,
        origin: &Origin,
        loopback: Loopback,
        limit: Duration,
    ) -> Result<TcpStream, OutboundError> {
        let attempt = async {
            let mut last = OutboundError::NoSuchName(origin.host.clone());
            for address in self.addresses(origin, loopback).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(e) => last = unreachable(origin, &e),
                }
            }
            Err(last)
        };
        within(origin, limit, attempt).await
    }

    /// Sends an HTTP request to one of the `listed` origins and reads the whole answer.
    pub async fn send(&self, listed: &[Origin], request: Request) -> Result<Answer, OutboundError> {
        self.send_to(listed, Loopback::AsSet, request).await
    }

    /// The same, with a word on whether that may be this machine.
    pub async fn send_to(
        &self,
        listed: &[Origin],
        loopback: Loopback,
        request: Request,
    ) -> Result<Answer, OutboundError> {
        let origin = Origin::of(&request.url).ok_or_else(|| OutboundError::NotListed(request.url.to_string()))?;
        if !listed.contains(&origin) || !matches!(origin.scheme.as_str(), "http" | "https") {
            return Err(OutboundError::NotListed(origin.to_string()));
        }
        let limit = request.time_limit.unwrap_or(TIME_LIMIT);
        let client = self.inner.clients.of(&origin, loopback, &self.inner.rules, &self.inner.tls)?;
        within(&origin, limit, async {
            // An address in the URL never reaches the resolver of the client; it is checked here.
            if origin.host.parse::<IpAddr>().is_ok() {
                self.addresses(&origin, loopback).await?;
            }
            http::exchange(&client, &origin, request).await
        })
        .await
    }
}

impl Rules {
    async fn addresses(&self, origin: &Origin, loopback: Loopback) -> Result<Vec<SocketAddr>, OutboundError> {
        let found = self.resolver.addresses(&origin.host).await?;
        let mut refused = None;
        let mut good = Vec::new();
        for ip in found {
            match self.judge(ip, origin.port, loopback) {
                Ok(()) => good.push(SocketAddr::new(ip, origin.port)),
                Err(why) => refused = Some(OutboundError::Refused { host: origin.host.clone(), ip, why }),
            }
        }
        match (good.is_empty(), refused) {
            (false, _) => Ok(good),
            (true, Some(refused)) => Err(refused),
            (true, None) => Err(OutboundError::NoSuchName(origin.host.clone())),
        }
    }

    fn judge(&self, ip: IpAddr, port: u16, loopback: Loopback) -> Result<(), &'static str> {
        match address::class(ip) {
            Class::Never(why) => return Err(why),
            Class::Loopback if loopback == Loopback::AsSet && !self.allow_loopback => {
                return Err("is this machine; set OUTBOUND_ALLOW_LOOPBACK=true to allow that");
            }
            Class::Loopback | Class::Ordinary => {}
        }
        let listeners = self.listeners.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if address::is_own_listener(&listeners, SocketAddr::new(ip, port)) {
            return Err("is where Tenure itself listens");
        }
        Ok(())
    }
}

fn unreachable(origin: &Origin, error: &std::io::Error) -> OutboundError {
    OutboundError::Unreachable(format!("{}:{} cannot be reached: {}", origin.host, origin.port, io_text(error)))
}

/// The kind of an I/O error in plain words, without the operating system's number.
fn io_text(error: &std::io::Error) -> String {
    error.kind().to_string()
}

/// Does `work`, for at most `limit`.
#[allow(clippy::disallowed_methods, reason = "a limit of a call in progress is real time, also when the clock is moved")]
pub(crate) async fn within<T>(
    origin: &Origin,
    limit: Duration,
    work: impl Future<Output = Result<T, OutboundError>>,
) -> Result<T, OutboundError> {
    let seconds = limit.as_secs().max(1);
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(OutboundError::Timeout { host: origin.host.clone(), seconds }))
}

/// Waits; real time, also when the clock is moved, because somebody waits for the outcome of a call.
#[allow(clippy::disallowed_methods, reason = "a wait within a call in progress is real time")]
pub(crate) async fn pause(time: Duration) {
    // A future that is never ready makes the limit a wait.
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(&url.parse().expect("a URL")).expect("an origin")
    }

    fn door(allow_loopback: bool) -> Outbound {
        Outbound::new(OutboundSettings { allow_loopback, extra_ca_pem: None }).expect("opens")
    }

    #[test]
    fn an_origin_has_the_port_of_its_scheme() {
        assert_eq!(origin("https://A.example/x").to_string(), "https://a.example:443");
        assert_eq!(origin("ldaps://[fd12::1]").to_string(), "ldaps://[fd12::1]:636");
        assert_eq!(origin("http://127.1:8080/").to_string(), "http://127.0.0.1:8080");
        assert!(Origin::of(&"file:///etc/passwd".parse().expect("a URL")).is_none());
    }

    #[tokio::test]
    async fn loopback_is_called_only_where_it_is_allowed() {
        for host in ["127.0.0.1", "localhost", "printer.localhost", "[::1]"] {
            let target = origin(&format!("http://{host}:9/"));
            let refused = door(false).addresses(&target, Loopback::AsSet).await.expect_err(host);
            assert_eq!(refused.code(), "address_refused", "{host}");
            assert!(door(true).addresses(&target, Loopback::AsSet).await.is_ok(), "{host}");
            assert!(door(false).addresses(&target, Loopback::Allowed).await.is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn metadata_and_our_own_listener_are_never_called() {
        let door = door(true);
        door.set_own_listeners(vec!["127.0.0.1:7070".parse().expect("an address")]);
        for url in ["http://169.254.169.254/", "http://[fd00:ec2::254]/", "http://localhost:7070/", "http://0.0.0.0:1/"] {
            let listed = [origin(url)];
            let refused = door.send(&listed, Request::get(url.parse().expect("a URL"))).await.expect_err(url);
            assert_eq!(refused.code(), if url.contains("localhost") { "unreachable" } else { "address_refused" }, "{url}");
        }
    }

    #[tokio::test]
    async fn what_is_not_listed_is_not_called() {
        let listed = [origin("https://a.example/")];
        for url in ["https://a.example:8443/", "http://a.example/", "https://b.example/", "ftp://a.example/"] {
            let error = door(true).send(&listed, Request::get(url.parse().expect("a URL"))).await.expect_err(url);
            assert_eq!(error.code(), "not_listed", "{url}");
        }
    }
}
