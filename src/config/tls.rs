//! Certificates: our own, and those of others that are trusted besides the system's.

use std::path::PathBuf;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::Reader;

/// `TLS_CERT_FILE` and `TLS_KEY_FILE`: a chain and its key.
pub(super) fn own(r: &mut Reader) -> Option<(PathBuf, PathBuf)> {
    let (cert_set, key_set) = (r.is_set("TLS_CERT_FILE"), r.is_set("TLS_KEY_FILE"));
    let chain = certificates(r, "TLS_CERT_FILE");
    let key = key(r);
    match (cert_set, key_set) {
        (true, false) => r.fault("TLS_KEY_FILE", None, "the key of TLS_CERT_FILE, which is set"),
        (false, true) => r.fault("TLS_CERT_FILE", None, "the certificate of TLS_KEY_FILE, which is set"),
        _ => {}
    }
    let ((cert_path, chain), (key_path, key)) = (chain?, key?);
    if let Err(e) = CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        let expected = format!("the key of the certificate in TLS_CERT_FILE ({e})");
        r.fault("TLS_KEY_FILE", Some(&key_path.to_string_lossy()), expected);
    }
    Some((cert_path, key_path))
}

/// `EXTRA_CA_FILE`.
pub(super) fn extra_ca(r: &mut Reader) -> Option<PathBuf> {
    certificates(r, "EXTRA_CA_FILE").map(|(path, _)| path)
}

fn certificates(r: &mut Reader, name: &str) -> Option<(PathBuf, Vec<CertificateDer<'static>>)> {
    let (path, bytes) = r.file(name)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(all) if !all.is_empty() => Some((path, all)),
        Ok(_) => {
            r.fault(name, Some(&path.to_string_lossy()), "a PEM file with a certificate in it");
            None
        }
        Err(e) => {
            r.fault(name, Some(&path.to_string_lossy()), format!("a PEM file with certificates ({e})"));
            None
        }
    }
}

fn key(r: &mut Reader) -> Option<(PathBuf, PrivateKeyDer<'static>)> {
    let (path, bytes) = r.secret_file("TLS_KEY_FILE")?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Some((path, key)),
        Err(e) => {
            let expected = format!("a PEM file with a private key, not encrypted ({e})");
            r.fault("TLS_KEY_FILE", Some(&path.to_string_lossy()), expected);
            None
        }
    }
}
