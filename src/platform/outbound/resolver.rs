//! Names to addresses: the hosts file and DNS, in this process, without the C library's modules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::TokioResolver;

use super::OutboundError;
use crate::base::problem::Problem;

/// Resolves names.
pub(super) struct Names {
    /// Absent on a machine that names no server; the hosts file and addresses still work there.
    resolver: Option<TokioResolver>,
}

impl Names {
    /// As `/etc/resolv.conf` and `/etc/hosts` say.
    pub(super) fn of_this_machine() -> Result<Self, Problem> {
        let resolver = match TokioResolver::builder_tokio() {
            Ok(builder) => Some(builder.build().map_err(|e| Problem::internal(format!("name resolver: {e}")))?),
            Err(error) => {
                tracing::warn!(%error, "no name server is set; only addresses and localhost can be called");
                None
            }
        };
        Ok(Self { resolver })
    }

    /// All addresses of `host`; an address is its own.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, OutboundError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![ip]);
        }
        // RFC 6761: these names are this machine, whatever a name server says.
        let bare = host.trim_end_matches('.');
        if bare == "localhost" || bare.ends_with(".localhost") {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let missing = || OutboundError::NoSuchName(host.to_owned());
        let resolver = self.resolver.as_ref().ok_or_else(missing)?;
        let found = resolver.lookup_ip(host).await.map_err(|error| {
            tracing::debug!(host, %error, "a name was not resolved");
            missing()
        })?;
        Ok(found.iter().collect())
    }
}
