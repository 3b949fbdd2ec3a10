//! Names to addresses: the hosts file and DNS, in this process, without the C library's modules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;

use hickory_resolver::TokioResolver;

use super::OutboundError;
use crate::base::problem::Problem;

/// The future of a look-up.
pub type LookupFuture<'a> = Pin<Box<dyn Future<Output = Vec<IpAddr>> + Send + 'a>>;

/// A way from names to addresses.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name; none when there is no such name.
    fn lookup<'a>(&'a self, name: &'a str) -> LookupFuture<'a>;
}

/// Resolves names.
pub(super) struct Names {
    /// Absent on a machine that names no server; addresses and localhost still work there.
    lookup: Option<Arc<dyn Lookup>>,
}

/// The name servers of this machine and its hosts file.
struct Dns(TokioResolver);

impl Lookup for Dns {
    fn lookup<'a>(&'a self, name: &'a str) -> LookupFuture<'a> {
        Box::pin(async move {
            match self.0.lookup_ip(name).await {
                Ok(found) => found.iter().collect(),
                Err(error) => {
                    tracing::debug!(host = name, %error, "a name was not resolved");
                    Vec::new()
                }
            }
        })
    }
}

impl Names {
    /// As `/etc/resolv.conf` and `/etc/hosts` say.
    pub(super) fn of_this_machine() -> Result<Self, Problem> {
        let lookup = match TokioResolver::builder_tokio() {
            Ok(builder) => {
                let resolver = builder.build().map_err(|e| Problem::internal(format!("name resolver: {e}")))?;
                Some(Arc::new(Dns(resolver)) as Arc<dyn Lookup>)
            }
            Err(error) => {
                tracing::warn!(%error, "no name server is set; only addresses and localhost can be called");
                None
            }
        };
        Ok(Self { lookup })
    }

    /// By another way.
    pub(super) fn of(lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup: Some(lookup) }
    }

    /// All addresses of `host`, at least one; an address is its own.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutboundError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![ip]);
        }
        // RFC 6761: these names are this machine, whatever a name server says.
        let bare = host.trim_end_matches('.');
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let found = match &self.lookup {
            Some(lookup) => lookup.lookup(host).await,
            None => Vec::new(),
        };
        if found.is_empty() { Err(OutboundError::NoSuchName(host.to_owned())) } else { Ok(found) }
    }
}
