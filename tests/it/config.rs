//! The environment, through the real binary: every variable with its worst values.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::command;

mod connectors;

/// What `tenure check-config` says about these variables.
struct Verdict {
    code: i32,
    faults: Vec<String>,
    warnings: Vec<String>,
}

fn check(vars: &[(&str, &str)]) -> Verdict {
    let output = command(&["check-config"]).envs(vars.iter().copied()).output().expect("the binary runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let (warnings, faults) = text.lines().map(str::to_owned).partition(|l| l.starts_with("warning: "));
    Verdict { code: output.status.code().expect("an exit code"), faults, warnings }
}

fn assert_accepted(vars: &[(&str, &str)]) -> Verdict {
    let verdict = check(vars);
    assert_eq!((verdict.code, &verdict.faults), (0, &Vec::new()), "{vars:?}");
    verdict
}

/// Exactly these faults, in any order.
fn assert_refused(vars: &[(&str, &str)], expected: &[&str]) {
    let verdict = check(vars);
    let (mut got, mut expected) = (verdict.faults, expected.to_vec());
    got.sort();
    expected.sort_unstable();
    assert_eq!((verdict.code, got), (78, expected.into_iter().map(str::to_owned).collect()), "{vars:?}");
}

/// A folder with files that variables can name.
struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn with(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its mode");
        path
    }
}

/// 64 hex digits; `n` makes them differ.
fn key(n: u8) -> String {
    (0..32_u8).map(|i| format!("{:02x}", i.wrapping_mul(37) ^ n)).collect()
}

const URL: &str = "an absolute http or https URL such as https://tenure.example.org, without user, query and fragment";
const PREFIX: &str = "up to 64 letters, digits, dots, hyphens and underscores";
const BUCKET: &str = "3 to 63 lower-case letters, digits, hyphens and dots";
const TRIMMED: &str = "a text without blanks around it and without control characters";
const BARE_SIEM: &str = "nothing but a host and a port after syslog+tcp:// or syslog+tls://";
const SIEM: &str = "a URL that begins with syslog+tcp://, syslog+tls:// or https://";
const ORIGINS: &str = "a comma list of origins such as https://intranet.example.org";
const STORES: &str = "a comma list of file, s3 and siem";
const ARMED: &str = "a comma list of point=exit or point=error, where point is one of writer:before_commit, \
    writer:after_commit, blobs:disk_full, blobs:before_row, blobs:before_removal, relay:before_handover, \
    queue:before_attempt, queue:after_attempt";
const ZONE: &str = "an IANA time zone such as Europe/Berlin";
const HOST: &str = "an IP address or a host name";
const S3_URL: &str = "an absolute http or https URL";
const FROM: &str = "an address such as Tenure <tenure@example.org>";

/// Variables that hold a whole number: name, smallest, largest.
const NUMBERS: [(&str, u64, u64); 13] = [
    ("PORT", 1, 65_535),
    ("DB_POOL_MAX", 1, 64),
    ("DB_POOL_MIN", 0, 64),
    ("DB_POOL_IDLE_TIMEOUT_MS", 1_000, 86_400_000),
    ("DB_POOL_CONNECTION_TIMEOUT_MS", 100, 60_000),
    ("RATE_LIMIT_ACCOUNT_PER_MIN", 0, 1_000_000),
    ("RATE_LIMIT_ADDRESS_PER_MIN", 0, 1_000_000),
    ("RATE_LIMIT_SIGN_IN_PER_MIN", 0, 1_000_000),
    ("RATE_LIMIT_HOOKS_PER_MIN", 0, 1_000_000),
    ("JOB_CONCURRENCY", 1, 256),
    ("STUCK_RUN_TIMEOUT_MINUTES", 1, 10_080),
    ("LOG_RETENTION_DAYS", 1, 3_650),
    ("SHUTDOWN_GRACE_SECONDS", 1, 600),
];

/// Both ends of each range are taken; everything beyond, beside and besides is refused with the range.
#[test]
fn numbers_are_whole_and_within_their_range() {
    for (name, min, max) in NUMBERS {
        let expected = format!("a whole number from {min} to {max}");
        let over = (max + 1).to_string();
        let mut worst =
            vec!["abc", "-1", "1.5", "+5", "0x10", "1e3", "1 ", " ", "\t", "١٢", "７", "99999999999999999999999", "∞", &over];
        let under = min.wrapping_sub(1).to_string();
        if min > 0 {
            worst.extend(["0", &under]);
        }
        for value in worst {
            assert_refused(&[(name, value)], &[&format!("{name}: got {value:?}; expected {expected}")]);
        }
        for good in [min, max] {
            assert_accepted(&[("DB_POOL_MAX", "64"), (name, &good.to_string())]);
        }
    }
}

/// Set to nothing is not set: environment files list names without values.
#[test]
fn nothing_is_not_a_value() {
    let names = NUMBERS.map(|(name, ..)| name);
    let texts = ["APP_ENV", "HOST", "PUBLIC_URL", "DATA_DIR", "REDIS_URL", "ORG_TIMEZONE", "LOG_LEVEL", "TRUST_PROXY"];
    let vars: Vec<_> = names.into_iter().chain(texts).map(|n| (n, "")).collect();
    assert_accepted(&vars);
}

/// One row each: variable, value, what is expected instead.
#[test]
fn words_urls_and_lists_are_refused_with_what_would_fit() {
    let long_host = "a".repeat(64);
    let long_prefix = "p".repeat(65);
    let rows: &[(&str, &[&str], &str)] = &[
        ("APP_ENV", &["prod", "Production", " production", "1", "生产"], "development or production"),
        ("HOST", &[" ", "a b", "256.1.1.1", "localhost:80", "http://x", "-x", "x-", "a..b", "[::1]", "höst", &long_host], HOST),
        (
            "PUBLIC_URL",
            &[
                " ", "tenure", "//host", "ftp://host", "http://", "javascript:alert(1)", "https://host:99999",
                "https://host/?a=b", "https://host/#x", "https://ada@host", "data:,",
            ],
            URL,
        ),
        ("REDIS_PREFIX", &[" ", "a b", "a:b", "ü", &long_prefix], PREFIX),
        ("ORG_TIMEZONE", &["Mars/Olympus", "+01:00", " ", "../../etc/passwd", "Europe/Bérlin"], ZONE),
        ("OUTBOUND_ALLOW_LOOPBACK", &["yes", "TRUE", "1", " "], "true or false"),
        ("TRUST_PROXY", &["yes", "True", "0", "127.0.0.1"], "true or false"),
        ("ALLOWED_ORIGINS", &["*", "null", "host", " ", "https://a,", "https://a/path", "ftp://a", "https://a,,https://b"], ORIGINS),
        ("AUDIT_CHECKPOINT_STORE", &["disk", " ", "file,", "file;s3", "File"], STORES),
        ("MAIL_FROM", &["nobody", " ", "a@b@c", "Tenure <>", "a@b\nBcc: x@y"], FROM),
        ("TENURE_FAULT", &["x", "relay:before_handover=boom", "=exit", "relay:before_handover=exit,", "relay:before_handovr=exit", " "], ARMED),
        ("AUDIT_CHECKPOINT_S3_ENDPOINT", &["minio", "ftp://x", " "], S3_URL),
        ("AUDIT_CHECKPOINT_S3_BUCKET", &["ab", "Upper", "a b c", "büro"], BUCKET),
        ("AUDIT_CHECKPOINT_S3_REGION", &[" ", " eu", "eu\n"], TRIMMED),
        ("AUDIT_CHECKPOINT_S3_PREFIX", &[" ", "a\tb"], TRIMMED),
        ("AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID", &[" ", "id "], TRIMMED),
    ];
    for (name, values, expected) in rows {
        for value in *values {
            let shown = value.find("://").zip(value.rfind('@')).map_or_else(
                || (*value).to_owned(),
                |(scheme, at)| format!("{}…{}", &value[..scheme + 3], &value[at..]),
            );
            assert_refused(&[(name, value)], &[&format!("{name}: got {shown:?}; expected {expected}")]);
        }
    }
}

#[test]
fn good_values_are_taken() {
    for (name, values) in [
        ("APP_ENV", &["development"][..]),
        ("HOST", &["0.0.0.0", "::", "::1", "localhost", "tenure.example.org"]),
        ("PUBLIC_URL", &["https://tenure.example.org", "http://[::1]:7070/", "https://host/tenure"]),
        ("ORG_TIMEZONE", &["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"]),
        ("ALLOWED_ORIGINS", &["https://a.example.org, http://b.example.org:8080"]),
        ("LOG_LEVEL", &["off", "info", "TRACE", "info,tenure=debug", "warn,tenure::platform=trace"]),
        ("AUDIT_CHECKPOINT_SCHEDULE", &["0 */6 * * *", "*/5 * * * 1-5"]),
        ("AUDIT_VERIFY_SCHEDULE", &["30 3 * * *", "0 0 * * 0"]),
        ("MAIL_FROM", &["tenure@example.org", "Tenure <tenure@example.org>"]),
        ("SMTP_URL", &["smtp://mail.example.org", "smtps://u:p@mail.example.org:465"]),
        ("TENURE_FAULT", &["relay:before_handover=exit,queue:after_attempt=error"]),
    ] {
        for value in values {
            assert_accepted(&[(name, value)]);
        }
    }
}

/// The parser says what it minds; the rule stands in front of it.
#[test]
fn a_schedule_has_five_fields_and_a_log_filter_has_levels() {
    let rows: [(&str, &[&str], &str); 3] = [
        ("AUDIT_VERIFY_SCHEDULE", &["daily", "30 3 * *", "@daily"], "five cron fields such as `0 */6 * * *`: "),
        (
            "AUDIT_CHECKPOINT_SCHEDULE",
            &["hourly", "* * * *", "* * * * * *", "99 * * * *", " ", "@daily", "٠ * * * *"],
            "five cron fields such as `0 */6 * * *`: ",
        ),
        (
            "LOG_LEVEL",
            &["verbose", " ", "info,", "tenure=loud", "1.5", "ínfo", "info;debug", "info,=,"],
            "a filter such as info or info,tenure=debug (",
        ),
    ];
    for (name, values, expected) in rows {
        for value in values {
            let verdict = check(&[(name, value)]);
            assert_eq!((verdict.code, verdict.faults.len()), (78, 1), "{name}={value:?}: {:?}", verdict.faults);
            let head = format!("{name}: got {value:?}; expected {expected}");
            assert!(verdict.faults[0].starts_with(&head), "{}", verdict.faults[0]);
        }
    }
}

/// The default minimum gives way to a small maximum; a minimum that was set does not.
#[test]
fn the_pool_keeps_no_more_connections_than_it_may_have() {
    for (max, min) in [("1", "0"), ("1", "1"), ("2", "2"), ("10", "10"), ("64", "64")] {
        assert_accepted(&[("DB_POOL_MAX", max), ("DB_POOL_MIN", min)]);
    }
    assert_accepted(&[("DB_POOL_MAX", "1")]);
    let above = "DB_POOL_MIN: got \"4\"; expected at most DB_POOL_MAX, which is 3";
    assert_refused(&[("DB_POOL_MAX", "3"), ("DB_POOL_MIN", "4")], &[above]);
    assert_refused(&[("DB_POOL_MIN", "11")], &["DB_POOL_MIN: got \"11\"; expected at most DB_POOL_MAX, which is 10"]);
    // A maximum that is a fault itself says nothing about the minimum.
    let range = "DB_POOL_MAX: got \"0\"; expected a whole number from 1 to 64";
    assert_refused(&[("DB_POOL_MAX", "0"), ("DB_POOL_MIN", "20")], &[range]);
}

#[test]
fn a_folder_may_be_made_but_not_below_a_file() {
    let files = Files::new();
    let file = files.with("file", "text", 0o600);
    assert_accepted(&[("DATA_DIR", &files.path("a/b/c"))]);
    for name in ["DATA_DIR", "AUDIT_CHECKPOINT_PATH"] {
        for path in [file.clone(), format!("{file}/below")] {
            let expected = format!("{name}: got {path:?}; expected a folder, or where one can be made; {file} is a file");
            assert_refused(&[(name, &path)], &[&expected]);
        }
        assert_refused(&[(name, "  ")], &[&format!("{name}: got \"  \"; expected a path")]);
    }
}

/// Secrets: wrong in both forms, and never printed.
#[test]
fn a_secret_comes_from_its_variable_or_its_file_and_is_never_printed() {
    const HEX: &str = "64 hexadecimal digits, such as tenure init makes";
    const SMTP: &str = "a URL such as smtps://user:password@mail.example.org:465";
    const REDIS: &str = "a URL such as redis://localhost:6379 or rediss://:password@redis.example.org:6380/0";
    let files = Files::new();
    let rows: &[(&str, &[&str], &str)] = &[
        ("CONNECTOR_ENCRYPTION_KEY", &["hunter2", " ", "zz", "ü"], HEX),
        ("CONNECTOR_ENCRYPTION_KEY_PREVIOUS", &["hunter2", " "], HEX),
        ("AUDIT_SIGNING_KEY", &["hunter2", " "], HEX),
        ("SMTP_URL", &["hunter2", "http://hunter2", "smtp://", " "], SMTP),
        ("REDIS_URL", &["http://hunter2", "hunter2:6379", "redis://", "redis://localhost/hunter2", " "], REDIS),
        ("AUDIT_CHECKPOINT_SIEM_URL", &["hunter2", " ", "http://u:hunter2@x", "syslog://hunter2", "syslog+tcp://"], SIEM),
        ("AUDIT_CHECKPOINT_SIEM_URL", &["syslog+tcp://x/hunter2", "syslog+tls://x?hunter2", "syslog+tls://u:hunter2@x"], BARE_SIEM),
    ];
    for (name, values, expected) in rows {
        let fault = format!("{name}: expected {expected}");
        for value in *values {
            assert_refused(&[(name, value)], &[&fault]);
            if !value.trim().is_empty() {
                let file = files.with("secret", &format!("{value}\n"), 0o600);
                assert_refused(&[(&format!("{name}_FILE"), &file)], &[&fault]);
            }
        }
    }
}

/// A device or a pipe would keep the start waiting for ever.
#[test]
fn a_file_of_a_secret_is_there_regular_and_not_empty() {
    let files = Files::new();
    let (empty, big) = (files.with("empty", " \n", 0o600), files.with("big", &"x".repeat(1 << 21), 0o600));
    let bytes = files.path("bytes");
    std::fs::write(&bytes, [0xff, 0xfe]).expect("a file");
    for name in [
        "SESSION_SECRET", "CONNECTOR_ENCRYPTION_KEY", "CONNECTOR_ENCRYPTION_KEY_PREVIOUS", "AUDIT_SIGNING_KEY", "SMTP_URL",
        "REDIS_URL", "OIDC_CLIENT_SECRET", "AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY", "AUDIT_CHECKPOINT_SIEM_URL",
    ] {
        let name = format!("{name}_FILE");
        for (path, expected) in [
            (files.path("none"), "a file that can be read (No such file or directory (os error 2))"),
            (files.path(""), "a file that can be read (it is not a regular file)"),
            ("/dev/zero".to_owned(), "a file that can be read (it is not a regular file)"),
            (big.clone(), "a file that can be read (it has more than 1 MiB)"),
            (empty.clone(), "a file that is not empty"),
            (bytes.clone(), "a file with text in UTF-8"),
        ] {
            let fault = format!("{name}: got {path:?}; expected {expected}");
            let verdict = check(&[(&name, &path)]);
            assert_eq!(verdict.code, 78);
            assert!(verdict.faults.contains(&fault), "{fault}\n{:?}", verdict.faults);
        }
    }
    let file = files.with("good", &key(1), 0o600);
    assert_refused(
        &[("AUDIT_SIGNING_KEY", &key(2)), ("AUDIT_SIGNING_KEY_FILE", &file)],
        &["AUDIT_SIGNING_KEY: expected either AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE, not both"],
    );
}

fn certificate(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn certificates_and_their_key_are_read_before_the_start() {
    let files = Files::new();
    let (cert, key) = certificate("tenure.example.org");
    let cert = files.with("cert.pem", &cert, 0o644);
    let good = files.with("key.pem", &key, 0o600);
    let other = files.with("other.pem", &certificate("other.example.org").1, 0o600);
    let text = files.with("text", "hello", 0o600);
    assert_accepted(&[("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", &good), ("EXTRA_CA_FILE", &cert)]);
    assert_refused(&[("TLS_CERT_FILE", &cert)], &["TLS_KEY_FILE: expected the key of TLS_CERT_FILE, which is set"]);
    assert_refused(&[("TLS_KEY_FILE", &good)], &["TLS_CERT_FILE: expected the certificate of TLS_KEY_FILE, which is set"]);
    for name in ["TLS_CERT_FILE", "EXTRA_CA_FILE"] {
        let vars = [(name, text.as_str()), ("TLS_KEY_FILE", good.as_str())];
        let fault = format!("{name}: got {text:?}; expected a PEM file with a certificate in it");
        assert!(check(&vars).faults.contains(&fault), "{:?}", check(&vars).faults);
    }
    for (path, expected) in
        [(&other, "expected the key of the certificate in TLS_CERT_FILE ("), (&text, "expected a PEM file with a private key")]
    {
        let verdict = check(&[("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", path)]);
        assert_eq!((verdict.code, verdict.faults.len()), (78, 1), "{:?}", verdict.faults);
        assert!(verdict.faults[0].starts_with(&format!("TLS_KEY_FILE: got {path:?}; {expected}")), "{}", verdict.faults[0]);
    }
    let missing = files.path("none");
    let why = "a file that can be read (No such file or directory (os error 2))";
    assert_refused(&[("EXTRA_CA_FILE", &missing)], &[&format!("EXTRA_CA_FILE: got {missing:?}; expected {why}")]);
}

#[test]
fn groups_of_variables_come_whole() {
    const ALL_OR_NONE: &str = "a value, because other OIDC_* variables are set: all or none";
    let oidc = [
        ("OIDC_ISSUER", "https://id.example.org"),
        ("OIDC_CLIENT_ID", "tenure"),
        ("OIDC_CLIENT_SECRET", "hunter2"),
        ("OIDC_REDIRECT_URI", "https://tenure.example.org/api/auth/oidc/callback"),
    ];
    assert_accepted(&oidc);
    for left_out in 0..oidc.len() {
        let mut vars = oidc.to_vec();
        let (name, _) = vars.remove(left_out);
        assert_refused(&vars, &[&format!("{name}: expected {ALL_OR_NONE}")]);
    }
    // A wrong value is its own fault and not a missing one.
    for name in ["OIDC_ISSUER", "OIDC_REDIRECT_URI"] {
        let vars: Vec<_> = oidc.iter().map(|(n, v)| (*n, if *n == name { "id" } else { *v })).collect();
        assert_refused(&vars, &[&format!("{name}: got \"id\"; expected {URL}")]);
    }
    let vars: Vec<_> = oidc.iter().map(|(n, v)| (*n, if *n == "OIDC_CLIENT_ID" { " x" } else { *v })).collect();
    assert_refused(&vars, &[&format!("OIDC_CLIENT_ID: got \" x\"; expected {TRIMMED}")]);
    let named: Vec<_> = oidc.iter().copied().chain([("OIDC_NAME", "SSO ")]).collect();
    assert_refused(&named, &[&format!("OIDC_NAME: got \"SSO \"; expected {TRIMMED}")]);
    let elsewhere = "https://tenure.example.org/callback";
    let vars: Vec<_> = oidc.iter().map(|(n, v)| (*n, if *n == "OIDC_REDIRECT_URI" { elsewhere } else { *v })).collect();
    let expected = "the address that people use, followed by /api/auth/oidc/callback";
    assert_refused(&vars, &[&format!("OIDC_REDIRECT_URI: got \"{elsewhere}\"; expected {expected}")]);

    let because = "a value, because AUDIT_CHECKPOINT_STORE names s3";
    let missing = ["ENDPOINT", "REGION", "BUCKET", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"]
        .map(|n| format!("AUDIT_CHECKPOINT_S3_{n}: expected {because}"));
    assert_refused(&[("AUDIT_CHECKPOINT_STORE", "file,s3")], &missing.each_ref().map(String::as_str));
    let siem = "AUDIT_CHECKPOINT_SIEM_URL: expected a URL, because AUDIT_CHECKPOINT_STORE names siem";
    assert_refused(&[("AUDIT_CHECKPOINT_STORE", "siem")], &[siem]);
    assert_accepted(&[
        ("AUDIT_CHECKPOINT_STORE", "file, s3, siem"),
        ("AUDIT_CHECKPOINT_S3_ENDPOINT", "https://s3.example.org"),
        ("AUDIT_CHECKPOINT_S3_REGION", "eu-1"),
        ("AUDIT_CHECKPOINT_S3_BUCKET", "checkpoints"),
        ("AUDIT_CHECKPOINT_S3_PREFIX", "tenure/"),
        ("AUDIT_CHECKPOINT_S3_ACCESS_KEY_ID", "id"),
        ("AUDIT_CHECKPOINT_S3_SECRET_ACCESS_KEY", "hunter2"),
        ("AUDIT_CHECKPOINT_SIEM_URL", "syslog+tls://siem.example.org:6514"),
    ]);
}

/// `serve` says what `check-config` says, makes nothing and leaves with 78.
#[test]
fn all_faults_come_at_once_and_nothing_is_started() {
    let files = Files::new();
    let data = files.path("data");
    let vars = [
        ("DATA_DIR", data.as_str()), ("PORT", "abc"), ("DB_POOL_MAX", "0"), ("PUBLIC_URL", "x"), ("LOG_LEVEL", "loud"),
        ("REDIS_URL", "hunter2"), ("SMTP_URL", "hunter2"), ("SESION_SECRET", "hunter2"), ("ORG_TIMEZONE", "here"),
    ];
    let verdict = check(&vars);
    let mut names: Vec<_> = verdict.faults.iter().filter_map(|l| l.split(':').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["DB_POOL_MAX", "LOG_LEVEL", "ORG_TIMEZONE", "PORT", "PUBLIC_URL", "REDIS_URL", "SMTP_URL"]);
    assert_eq!(
        verdict.warnings,
        ["warning: SESION_SECRET: is not a variable of Tenure; did you mean SESSION_SECRET?"]
    );
    let serve = command(&["serve"]).envs(vars).output().expect("runs");
    assert_eq!(serve.status.code(), Some(78));
    let text = String::from_utf8(serve.stderr).expect("UTF-8");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(verdict.faults.iter().all(|f| text.contains(f)), "{text}");
    assert!(!Path::new(&data).exists());
}

#[test]
fn a_value_that_is_no_text_is_refused() {
    let output = command(&["check-config"])
        .env("DATA_DIR", std::ffi::OsStr::from_bytes(b"/tmp/\xff"))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "DATA_DIR: expected text in UTF-8; its bytes are not\n");
}

/// Variables of a production that may start.
fn production(files: &Files) -> Vec<(String, String)> {
    [
        ("APP_ENV", "production".to_owned()),
        ("DATA_DIR", files.path("data")),
        ("PUBLIC_URL", "https://tenure.example.org".to_owned()),
        ("SESSION_SECRET", "Vf3Jr9-qLw72_xTbNc81kHsAzPd4mEy6".to_owned()),
        ("CONNECTOR_ENCRYPTION_KEY", key(1)),
        ("AUDIT_SIGNING_KEY", key(2)),
    ]
    .map(|(n, v)| (n.to_owned(), v))
    .to_vec()
}

fn with<'a>(base: &'a [(String, String)], change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = base.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| !change.iter().any(|(c, _)| c == n));
    kept.chain(change.iter().copied()).collect()
}

#[test]
fn production_wants_https_unless_it_is_loopback() {
    let files = Files::new();
    let base = production(&files);
    const HTTPS: &str = "the https address that people use, as this is production and the host is not loopback";
    assert_accepted(&with(&base, &[]));
    for good in ["http://localhost:7070", "http://127.0.0.1:7070", "http://[::1]:7070", "https://a.example.org/tenure"] {
        assert_accepted(&with(&base, &[("PUBLIC_URL", good)]));
    }
    let http = format!("PUBLIC_URL: got \"http://tenure.example.org/\"; expected {HTTPS}");
    assert_refused(&with(&base, &[("PUBLIC_URL", "http://tenure.example.org")]), &[&http]);
    let none = format!("PUBLIC_URL: expected {HTTPS}");
    assert_refused(&with(&base, &[("PUBLIC_URL", ""), ("HOST", "0.0.0.0")]), &[&none]);
    let fault = "TENURE_FAULT: got \"x=exit\"; expected not to be set in production: it makes Tenure fail on purpose";
    assert_refused(&with(&base, &[("TENURE_FAULT", "x=exit")]), &[fault]);
}

/// Missing, default, weak: refused in production, whatever the form.
#[test]
fn production_refuses_missing_default_and_weak_secrets() {
    const MISSING: &str = "a secret in production: run tenure init, or set it";
    const STRONG: &str =
        "a strong secret in production: at least 32 random characters, none of the defaults; run tenure init";
    let files = Files::new();
    let base = production(&files);
    let keys = ["SESSION_SECRET", "CONNECTOR_ENCRYPTION_KEY", "AUDIT_SIGNING_KEY"];
    let missing = keys.map(|n| format!("{n}: expected {MISSING}"));
    assert_refused(&with(&base, &keys.map(|n| (n, ""))), &missing.each_ref().map(String::as_str));
    let (same, zero) = ("a".repeat(40), "0".repeat(64));
    for weak in ["short", "changeme-changeme-changeme-0123456789", "My-Default-Secret-0123456789-abcdef", &same] {
        assert_refused(&with(&base, &[("SESSION_SECRET", weak)]), &[&format!("SESSION_SECRET: expected {STRONG}")]);
    }
    for name in &keys[1..] {
        assert_refused(&with(&base, &[(name, &zero)]), &[&format!("{name}: expected {STRONG}")]);
    }
    // Development takes what it is given.
    assert_accepted(&[("SESSION_SECRET", "short"), ("AUDIT_SIGNING_KEY", &zero)]);
}

#[test]
fn production_refuses_files_that_others_can_read() {
    let files = Files::new();
    let base = production(&files);
    let open = files.with("open", "Vf3Jr9-qLw72_xTbNc81kHsAzPd4mEy6", 0o644);
    let vars = with(&base, &[("SESSION_SECRET", ""), ("SESSION_SECRET_FILE", &open)]);
    let closed = format!("a file that other users cannot read: chmod o-rwx {open}");
    assert_refused(&vars, &[&format!("SESSION_SECRET_FILE: got {open:?}; expected {closed}")]);
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o640)).expect("its mode");
    assert_accepted(&vars);

    let (cert, key) = certificate("tenure.example.org");
    let (cert, key) = (files.with("cert.pem", &cert, 0o644), files.with("key.pem", &key, 0o644));
    let tls = [("TLS_CERT_FILE", cert.as_str()), ("TLS_KEY_FILE", key.as_str())];
    let closed = format!("TLS_KEY_FILE: got {key:?}; expected a file that other users cannot read: chmod o-rwx {key}");
    assert_refused(&with(&base, &tls), &[&closed]);
    assert_accepted(&tls);
}

/// `tenure init` makes what production asks for; opened to others, emptied or lost it is refused.
#[test]
fn the_keys_of_init_are_enough_and_must_stay_whole_and_closed() {
    let files = Files::new();
    let base = production(&files);
    let data = files.path("data");
    let none = [("SESSION_SECRET", ""), ("CONNECTOR_ENCRYPTION_KEY", ""), ("AUDIT_SIGNING_KEY", "")];
    let vars = with(&base, &none);
    let init = || command(&["init", "--json"]).env("DATA_DIR", &data).output().expect("runs");
    assert!(init().status.success());
    assert_accepted(&vars);
    let keys = PathBuf::from(&data).join("keys");
    for folder in [Path::new(&data), &keys] {
        assert_eq!(folder.metadata().expect("there").permissions().mode() & 0o777, 0o700, "{}", folder.display());
    }
    let file = keys.join("session_secret");
    let before = std::fs::read_to_string(&file).expect("a key");
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert!(init().status.success());
    assert_eq!(std::fs::read_to_string(&file).expect("a key"), before, "init keeps what is there");

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("its mode");
    let chmod = format!("SESSION_SECRET: expected a file that only its owner can read: chmod 600 {}", file.display());
    assert_refused(&vars, &[&chmod]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    std::fs::write(&file, "").expect("emptied");
    let empty = format!("SESSION_SECRET: expected that {} is not empty: put the key back from a copy", file.display());
    assert_refused(&vars, &[&empty]);
    assert_eq!(init().status.code(), Some(78), "init makes no second key in its place");
}

/// What the example environment shows is known and right, the lines that are commented out too.
#[test]
fn the_example_environment_is_accepted() {
    let files = Files::new();
    let data = files.path("data");
    assert!(command(&["init"]).env("DATA_DIR", &data).output().expect("runs").status.success());
    let text = include_str!("../../appliance/tenure.env.example");
    let pair = |line: &'static str| {
        let (name, value) = line.split_once('=')?;
        (!name.is_empty() && !name.contains(' ')).then(|| (name, value.trim_matches('"')))
    };
    let active: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).filter_map(pair).collect();
    assert!(active.contains(&("APP_ENV", "production")), "{active:?}");
    let here = [("DATA_DIR", data.as_str())];
    assert!(assert_accepted(&[&active[..], &here].concat()).warnings.is_empty());
    // Files that the example names are not here.
    let shown = text.lines().filter_map(|l| pair(l.strip_prefix('#')?)).filter(|(n, _)| !n.ends_with("_FILE"));
    let all: Vec<_> = active.iter().copied().chain(shown).chain(here).collect();
    assert!(assert_accepted(&all).warnings.is_empty());
}

/// Reads the sources, so that a new variable without worst values on this page fails.
#[test]
fn every_variable_has_its_worst_values() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = include_str!("config.rs");
    let mut missing = Vec::new();
    for entry in std::fs::read_dir(root.join("src/config")).expect("src/config") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a source");
        let product = text.split("#[cfg(test)]").next().expect("a source");
        for kind in ["text", "word", "path", "folder", "file", "secret_file", "secret", "number", "flag", "choice", "is_set"] {
            for part in product.split(&format!("r.{kind}(\"")).skip(1) {
                let name = part.split('"').next().expect("a name");
                let short = name.strip_prefix("AUDIT_CHECKPOINT_S3_").unwrap_or(name);
                if !here.contains(&format!("\"{name}\"")) && !here.contains(&format!("\"{short}\"")) {
                    missing.push(name.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "no worst values for {missing:?}");
}

#[test]
fn a_data_directory_has_one_owner() {
    let files = Files::new();
    let data = files.path("data");
    let claim = tenure::config::data_dir::DataDir::claim(Path::new(&data)).expect("claims");
    let port = crate::support::free_port().to_string();
    let output = command(&["serve"]).env("DATA_DIR", &data).env("PORT", port).output().expect("runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("in use by another Tenure process"), "{text}");
    drop(claim);
}
