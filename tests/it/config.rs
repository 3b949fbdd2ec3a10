//! The environment at its worst: every variable, every fault at once, nothing started.

use std::collections::BTreeSet;
use std::path::Path;

use tenure::config::{Config, Fault, Reader};

use crate::support::command;

/// Values that must be refused, by variable; `&&` sets further variables first.
const WORST: &[(&str, &[&str])] = &[
    ("APP_ENV", &["prod", "Production", " development", "1"]),
    ("DATA_DIR", &[" ", "\t"]),
    ("HOST", &["-bad-", "a b", "256.1.1.1", "http://x", "..", "1.2.3"]),
    ("PORT", &["abc", "0", "65536", "-1", "+80", " 80", "1e3", "８０", "0x50", "80.0"]),
    ("PUBLIC_URL", &["example.org", "ftp://example.org", "http://", "https://user:pw@example.org", "/x"]),
    ("DB_POOL_MAX", &["0", "65", "abc", "-1", "1.5"]),
    ("DB_POOL_MIN", &["-1", "65", "two", "11"]),
    ("DB_POOL_IDLE_TIMEOUT_MS", &["999", "0", "1s", "99999999999999999999"]),
    ("DB_POOL_CONNECTION_TIMEOUT_MS", &["99", "60001", "fast"]),
    ("REDIS_URL", &["redis://localhost", "http://localhost", "localhost:6379"]),
    ("REDIS_PREFIX", &["a b", "a:b", "ü"]),
    ("TLS_CERT_FILE", &["/nonexistent/cert.pem"]),
    ("TLS_KEY_FILE", &["/nonexistent/key.pem"]),
    ("EXTRA_CA_FILE", &["/nonexistent/ca.pem"]),
    ("ORG_TIMEZONE", &["Berlin", "Europe/Atlantis", "+25:00"]),
    ("RATE_LIMIT_ACCOUNT_PER_MIN", &["-1", "many"]),
    ("RATE_LIMIT_ADDRESS_PER_MIN", &["-1", "1.5"]),
    ("RATE_LIMIT_SIGN_IN_PER_MIN", &["-1", ""]),
    ("RATE_LIMIT_HOOKS_PER_MIN", &["-1", "1000001"]),
    ("OUTBOUND_ALLOW_LOOPBACK", &["yes", "1", "TRUE"]),
    ("TRUST_PROXY", &["yes", "0"]),
    ("ALLOWED_ORIGINS", &["example.org", "https://a.org/path", "https://a.org,,https://b.org", "*"]),
    ("JOB_CONCURRENCY", &["0", "257", "all"]),
    ("STUCK_RUN_TIMEOUT_MINUTES", &["0", "10081", "30m"]),
    ("LOG_RETENTION_DAYS", &["0", "3651", "30d"]),
    ("LOG_LEVEL", &["loud", "info,=,", "tenure=verbose"]),
    ("AUDIT_CHECKPOINT_SCHEDULE", &["hourly", "* * * *", "0 0 * * * *", "61 * * * *"]),
    ("AUDIT_CHECKPOINT_STORE", &["disk", "file,tape", ","]),
    ("AUDIT_CHECKPOINT_PATH", &[" "]),
    ("AUDIT_CHECKPOINT_S3_ENDPOINT", &["s3.example.org", "ftp://x"]),
    ("AUDIT_CHECKPOINT_S3_BUCKET", &["AB", "a", "under_score", "ümlaut"]),
    ("AUDIT_CHECKPOINT_SIEM_URL", &["syslog://x", "udp://x", "syslog+tcp://"]),
    ("SHUTDOWN_GRACE_SECONDS", &["0", "601", "30s"]),
    ("SMTP_URL", &["mail.example.org", "http://mail", "smtp://"]),
    ("MAIL_FROM", &["nobody", "a@", "<>"]),
    ("SESSION_SECRET_FILE", &["/nonexistent/secret"]),
    ("CONNECTOR_ENCRYPTION_KEY", &["short", "zz", "0123456789abcdef"]),
    ("CONNECTOR_ENCRYPTION_KEY_PREVIOUS", &["short"]),
    ("AUDIT_SIGNING_KEY", &["short", "not hex not hex not hex not hex not hex not hex not hex not hex 1"]),
    ("OIDC_ISSUER", &["issuer"]),
    ("OIDC_REDIRECT_URI", &["/callback"]),
    ("TENURE_FAULT", &["x", "x=later"]),
];

/// Variables for which every text is well-formed; what they may not miss is tested below.
const ANY_TEXT: &[&str] = &[
    "SESSION_SECRET",
    "OIDC_CLIENT_ID",
    "OIDC_CLIENT_SECRET",
    "AUDIT_CHECKPOINT_S3_REGION",
    "AUDIT_CHECKPOINT_S3_PREFIX",
    "AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID",
    "AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY",
];

fn read(vars: &[(&str, &str)]) -> Result<(Config, Vec<String>), Vec<Fault>> {
    let owned = vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let (config, warnings) = Config::from_reader(Reader::new(owned))?;
    Ok((config, warnings.iter().map(ToString::to_string).collect()))
}

fn faulty(vars: &[(&str, &str)]) -> BTreeSet<String> {
    read(vars).err().unwrap_or_default().into_iter().map(|f| f.name).collect()
}

#[test]
fn every_variable_refuses_its_worst_values() {
    for (name, values) in WORST {
        for value in *values {
            // Set to nothing is the same as not set.
            let expected = !value.is_empty();
            assert_eq!(faulty(&[(name, value)]).contains(*name), expected, "{name}={value:?}");
        }
    }
}

/// Reads the sources, so that a new variable without a row here fails.
#[test]
fn every_variable_has_its_worst_values() {
    let known: BTreeSet<&str> = WORST.iter().map(|(n, _)| *n).chain(ANY_TEXT.iter().copied()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(folder).expect("src/config") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        for kind in ["text", "path", "secret", "number", "flag", "choice", "is_set"] {
            for part in text.split(&format!(".{kind}(\"")).skip(1) {
                let name = part.split('"').next().expect("a name");
                if !known.contains(name) {
                    missing.push(name.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "no worst values for {missing:?}");
}

#[test]
fn the_defaults_are_valid_and_a_small_maximum_lowers_the_default_minimum() {
    let (config, warnings) = read(&[]).expect("valid");
    assert_eq!((config.server.port, config.database.max, config.database.min), (7070, 10, 2));
    assert!(warnings.is_empty());
    let (small, _) = read(&[("DB_POOL_MAX", "1")]).expect("valid");
    assert_eq!((small.database.max, small.database.min), (1, 1));
    assert!(faulty(&[("DB_POOL_MAX", "3"), ("DB_POOL_MIN", "4")]).contains("DB_POOL_MIN"));
}

#[test]
fn what_belongs_together_is_asked_for_together() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let file = file.to_str().expect("text");
    assert!(faulty(&[("TLS_CERT_FILE", file)]).contains("TLS_KEY_FILE"));
    assert!(faulty(&[("TLS_KEY_FILE", file)]).contains("TLS_CERT_FILE"));
    let s3 = faulty(&[("AUDIT_CHECKPOINT_STORE", "file,s3")]);
    for name in ["ENDPOINT", "REGION", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"] {
        assert!(s3.contains(&format!("AUDIT_CHECKPOINT_S3_{name}")), "{s3:?}");
    }
    assert!(faulty(&[("AUDIT_CHECKPOINT_STORE", "siem")]).contains("AUDIT_CHECKPOINT_SIEM_URL"));
    let oidc = faulty(&[("OIDC_CLIENT_ID", "tenure")]);
    assert!(["OIDC_ISSUER", "OIDC_CLIENT_SECRET", "OIDC_REDIRECT_URI"].iter().all(|n| oidc.contains(*n)), "{oidc:?}");
    assert!(faulty(&[("SESSION_SECRET", "x"), ("SESSION_SECRET_FILE", file)]).contains("SESSION_SECRET"));
}

#[test]
fn production_refuses_missing_default_weak_and_readable_secrets() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().to_str().expect("text");
    let names = ["SESSION_SECRET", "CONNECTOR_ENCRYPTION_KEY", "AUDIT_SIGNING_KEY"];
    let production = [("APP_ENV", "production"), ("DATA_DIR", data)];
    let missing = faulty(&production);
    assert!(names.iter().all(|n| missing.contains(*n)), "{missing:?}");
    let zeros = "0".repeat(64);
    let weak = faulty(&[
        production[0],
        production[1],
        ("SESSION_SECRET", "changeme-changeme-changeme-changeme"),
        ("CONNECTOR_ENCRYPTION_KEY", &zeros),
        ("AUDIT_SIGNING_KEY", &zeros),
    ]);
    assert!(names.iter().all(|n| weak.contains(*n)), "{weak:?}");
    assert!(faulty(&[production[0], ("PUBLIC_URL", "http://tenure.example.org")]).contains("PUBLIC_URL"));

    let init = command(&["init"]).env("DATA_DIR", data).output().expect("runs");
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    assert_eq!(faulty(&production), BTreeSet::new());
    use std::os::unix::fs::PermissionsExt as _;
    let key = dir.path().join("keys/audit_signing_key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(faulty(&production).contains("AUDIT_SIGNING_KEY"));
}

#[test]
fn a_start_with_faults_prints_all_of_them_starts_nothing_and_exits_78() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    for args in [&["serve"][..], &["check-config"][..]] {
        let output = command(args)
            .env("DATA_DIR", &data)
            .env("PORT", "abc")
            .env("DB_POOL_MAX", "0")
            .env("SMTP_URL", "smtp-with-hunter2-inside")
            .env("ORG_TIMEZONE", "Mars/Olympus\nPORT: fine")
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("PORT: got \"abc\"; expected a whole number from 1 to 65535"), "{text}");
        assert!(text.contains("DB_POOL_MAX: got \"0\"; expected a whole number from 1 to 64"), "{text}");
        assert!(text.contains("SMTP_URL: expected"), "{text}");
        assert_eq!(text.lines().count(), 4, "one line for each fault:\n{text}");
        assert!(!text.contains("hunter2"), "a secret was printed: {text}");
    }
    assert!(!data.exists(), "nothing may be made");
}

#[test]
fn a_misspelt_name_is_a_warning_with_the_nearest_known_one() {
    let (_, warnings) = read(&[("DB_POOL_MAXX", "3"), ("TENURE_PORT", "80"), ("EDITOR", "vi")]).expect("valid");
    let all = warnings.join("\n");
    assert!(all.contains("DB_POOL_MAXX") && all.contains("DB_POOL_MAX?"), "{all}");
    assert!(all.contains("TENURE_PORT") && all.contains("PORT?"), "{all}");
    assert!(!all.contains("EDITOR"), "{all}");
    let output = command(&["check-config"]).env("SHUTDOWN_GRACE_SECOND", "5").output().expect("runs");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("SHUTDOWN_GRACE_SECONDS"));
}

#[test]
fn a_data_directory_has_one_owner() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("data");
    let claim = tenure::config::data_dir::DataDir::claim(&data).expect("claims");
    let port = crate::support::free_port().to_string();
    let output = command(&["serve"]).env("DATA_DIR", &data).env("PORT", port).output().expect("runs");
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("in use by another Tenure process"), "{text}");
    drop(claim);
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(&data).expect("a folder").mode() & 0o777, 0o700);
}
