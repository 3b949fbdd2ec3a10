//! TLS of outbound connections: the machine's trusted certificates and the private CA.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::base::problem::Problem;

/// The settings: TLS 1.2 and 1.3 by ring.
pub(super) fn client_config(extra_ca_pem: Option<&[u8]>) -> Result<ClientConfig, Problem> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a trusted certificate of this machine could not be read");
    }
    // One that cannot be used is no reason to trust none.
    roots.add_parsable_certificates(native.certs);
    if let Some(pem) = extra_ca_pem {
        for certificate in extra_certificates(pem)? {
            roots.add(certificate).map_err(|e| bad_ca(&e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Problem::internal)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn extra_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| bad_ca(&e.to_string()))?;
    if found.is_empty() {
        return Err(bad_ca("it holds no certificate"));
    }
    Ok(found)
}

fn bad_ca(why: &str) -> Problem {
    Problem::field("EXTRA_CA_FILE", format!("expected certificates in PEM: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_ca_that_is_none_is_refused() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(client_config(Some(pem)).is_err());
        }
        assert!(client_config(None).is_ok());
    }
}
