//! TLS for the listener: a certificate chain and its key, from PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::base::problem::Problem;

/// Reads both files and checks that they belong together.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Problem> {
    let fault = |variable: &str, path: &Path, why: String| {
        Problem::refused(format!("{variable}: {} {why}", path.display()))
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|e| fault("TLS_CERT_FILE", certificate, format!("cannot be read as PEM: {e}")))?;
    if chain.is_empty() {
        return Err(fault("TLS_CERT_FILE", certificate, "holds no certificate".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| fault("TLS_KEY_FILE", key, format!("cannot be read as a PEM key: {e}")))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Problem::internal)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| fault("TLS_KEY_FILE", key, format!("does not belong to the certificate: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
