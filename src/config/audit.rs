//! Audit checkpoints: when, and where they are kept; when the whole log is verified.

use std::path::{Path, PathBuf};

use url::Url;

use super::{Reader, Secret};
use crate::base::cron::Schedule;

/// `AUDIT_CHECKPOINT_*`.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// When a checkpoint is made, UTC.
    pub schedule: Schedule,
    /// When the whole log is read again and compared, UTC.
    pub verify: Schedule,
    /// Where checkpoints go, in the order given.
    pub stores: Vec<CheckpointStore>,
}

impl AuditConfig {
    /// The folder that checkpoints are kept in, if one is.
    pub fn folder(&self) -> Option<&Path> {
        self.stores.iter().find_map(|s| match s {
            CheckpointStore::File(path) => Some(path.as_path()),
            CheckpointStore::S3(_) | CheckpointStore::Siem(_) => None,
        })
    }
}

/// A place for checkpoints.
#[derive(Debug, Clone)]
pub enum CheckpointStore {
    /// A folder.
    File(PathBuf),
    /// A bucket.
    S3(S3Config),
    /// A receiver of security events: its URL, which may hold a password.
    Siem(Secret),
}

/// An S3-compatible bucket.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Where the service is.
    pub endpoint: Url,
    /// Its region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// What object names begin with.
    pub prefix: String,
    /// Who we are.
    pub access_key_id: String,
    /// The proof.
    pub secret_access_key: Secret,
}

pub(super) fn read(r: &mut Reader, data_dir: &Path) -> AuditConfig {
    let sign = schedule(r, "AUDIT_CHECKPOINT_SCHEDULE", "0 */6 * * *");
    let verify = schedule(r, "AUDIT_VERIFY_SCHEDULE", "30 3 * * *");
    let folder = r.folder("AUDIT_CHECKPOINT_PATH").unwrap_or_else(|| data_dir.join("checkpoints"));
    let s3 = s3(r);
    let siem = siem(r);
    let kinds = r.text("AUDIT_CHECKPOINT_STORE").unwrap_or_else(|| "file".to_owned());
    let mut stores = Vec::new();
    for kind in kinds.split(',').map(str::trim) {
        match kind {
            "file" => stores.push(CheckpointStore::File(folder.clone())),
            "s3" => stores.extend(need_s3(r, s3.clone())),
            "siem" => match &siem {
                Some(url) => stores.push(CheckpointStore::Siem(url.clone())),
                None if r.is_faulty("AUDIT_CHECKPOINT_SIEM_URL") || r.is_faulty("AUDIT_CHECKPOINT_SIEM_URL_FILE") => {}
                None => r.fault("AUDIT_CHECKPOINT_SIEM_URL", None, "a URL, because AUDIT_CHECKPOINT_STORE names siem"),
            },
            _ => {
                r.fault("AUDIT_CHECKPOINT_STORE", Some(&kinds), "a comma list of file, s3 and siem");
                break;
            }
        }
    }
    AuditConfig { schedule: sign, verify, stores }
}

fn schedule(r: &mut Reader, name: &str, usual: &str) -> Schedule {
    let text = r.text(name).unwrap_or_else(|| usual.to_owned());
    Schedule::utc(&text).unwrap_or_else(|e| {
        r.fault(name, Some(&text), e.to_string().trim_start_matches("expected ").to_owned());
        Schedule::utc(usual).expect("a constant schedule")
    })
}

/// The values as they are set; which are missing matters only when s3 is wanted.
#[derive(Clone)]
struct RawS3 {
    endpoint: Option<Url>,
    region: Option<String>,
    bucket: Option<String>,
    prefix: String,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
}

fn s3(r: &mut Reader) -> RawS3 {
    let endpoint = r.text("AUDIT_CHECKPOINT_S3_ENDPOINT").and_then(|text| match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() && names_nobody(&url) => Some(url),
        _ => {
            r.fault("AUDIT_CHECKPOINT_S3_ENDPOINT", shown(&text), "an absolute http or https URL");
            None
        }
    });
    let bucket = r.text("AUDIT_CHECKPOINT_S3_BUCKET");
    if let Some(name) = &bucket
        && (!(3..=63).contains(&name.len())
            || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)))
    {
        r.fault("AUDIT_CHECKPOINT_S3_BUCKET", Some(name), "3 to 63 lower-case letters, digits, hyphens and dots");
    }
    RawS3 {
        endpoint,
        region: r.word("AUDIT_CHECKPOINT_S3_REGION"),
        bucket,
        prefix: r.word("AUDIT_CHECKPOINT_S3_PREFIX").unwrap_or_default(),
        access_key_id: r.word("AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID"),
        secret_access_key: r.secret("AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY"),
    }
}

fn need_s3(r: &mut Reader, raw: RawS3) -> Option<CheckpointStore> {
    for (suffix, missing) in [
        ("ENDPOINT", raw.endpoint.is_none()),
        ("REGION", raw.region.is_none()),
        ("BUCKET", raw.bucket.is_none()),
        ("ACCESS_KEY_ID", raw.access_key_id.is_none()),
        ("SECRET_ACCESS_KEY", raw.secret_access_key.is_none()),
    ] {
        let name = format!("AUDIT_CHECKPOINT_S3_{suffix}");
        if missing && !r.is_faulty(&name) && !r.is_faulty(&format!("{name}_FILE")) {
            r.fault(&name, None, "a value, because AUDIT_CHECKPOINT_STORE names s3");
        }
    }
    Some(CheckpointStore::S3(S3Config {
        endpoint: raw.endpoint?,
        region: raw.region?,
        bucket: raw.bucket?,
        prefix: raw.prefix,
        access_key_id: raw.access_key_id?,
        secret_access_key: raw.secret_access_key?,
    }))
}

fn siem(r: &mut Reader) -> Option<Secret> {
    let secret = r.secret("AUDIT_CHECKPOINT_SIEM_URL")?;
    let url = Url::parse(secret.expose()).ok().filter(|url| url.host_str().is_some());
    let expected = match url {
        Some(url) if url.scheme() == "https" || (is_syslog(&url) && is_bare(&url)) => return Some(secret),
        Some(url) if is_syslog(&url) => "nothing but a host and a port after syslog+tcp:// or syslog+tls://",
        _ => "a URL that begins with syslog+tcp://, syslog+tls:// or https://",
    };
    r.fault("AUDIT_CHECKPOINT_SIEM_URL", None, expected);
    None
}

fn is_syslog(url: &Url) -> bool {
    matches!(url.scheme(), "syslog+tcp" | "syslog+tls")
}

fn is_bare(url: &Url) -> bool {
    matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none() && names_nobody(url)
}

fn names_nobody(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// A URL that may hold a password is not repeated.
fn shown(text: &str) -> Option<&str> {
    (!text.contains('@')).then_some(text)
}
