//! A private CA and a certificate for `localhost`, for servers that tests start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Writes `server.pem` and `server.key` into `folder`; answers the CA's certificate in PEM.
pub fn write_certificates(folder: &Path) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let server_pem = server.signed_by(&key, &issuer).expect("a certificate").pem();
    fs::write(folder.join("server.pem"), server_pem).expect("written");
    let path = folder.join("server.key");
    fs::write(&path, key.serialize_pem()).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("closed");
    ca_pem
}
