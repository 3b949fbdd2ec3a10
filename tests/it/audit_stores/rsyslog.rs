//! A real receiver of syslog, rsyslog, over TCP and TLS; and one of JSON over HTTPS.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tenure::base::problem::Problem;
use tenure::platform::outbound::syslog::{Message, Receiver};
use tenure::platform::outbound::{Outbound, OutboundSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::authority::write_certificates;
use crate::support::{eventually, free_port};

/// A running rsyslog, as nobody in particular; ended when dropped.
pub struct Rsyslog {
    child: Option<Child>,
    folder: tempfile::TempDir,
    /// The port without TLS.
    pub port: u16,
    /// The port with TLS, by a certificate of a private CA for `localhost`.
    pub tls_port: u16,
    /// That CA in PEM.
    pub ca_pem: String,
}

/// A message as rsyslog read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Priority, time, host, program and kind.
    pub head: Vec<String>,
    pub body: Value,
}

impl Rsyslog {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_pem = write_certificates(folder.path());
        fs::write(folder.path().join("ca.pem"), &ca_pem).expect("written");
        let (port, tls_port) = (free_port(), free_port());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            r#"global(workDirectory="{work}" defaultNetstreamDriverCAFile="{ca}"
                defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
            module(load="imtcp")
            template(name="all" type="string"
                string="%pri% %timereported:::date-rfc3339% %hostname% %app-name% %msgid% %msg%\n")
            ruleset(name="keep") {{ action(type="omfile" file="{out}" template="all") }}
            input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="keep")
            input(type="imtcp" address="127.0.0.1" port="{tls_port}" ruleset="keep"
                streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
            "#,
            work = folder.path().display(),
            ca = file("ca.pem"),
            cert = file("server.pem"),
            key = file("server.key"),
            out = file("all.log"),
        );
        fs::write(folder.path().join("rsyslog.conf"), config).expect("written");
        if is_root() {
            let given = Command::new("chown").args(["-R", "65534:65534"]).arg(folder.path()).status();
            assert!(given.expect("chown runs").success());
        }
        let mut server = Self { child: None, folder, port, tls_port, ca_pem };
        server.begin().await;
        server
    }

    /// Starts it, with what it had.
    pub async fn begin(&mut self) {
        let folder = self.folder.path();
        let program = Path::new("/usr/sbin/rsyslogd");
        assert!(program.exists(), "rsyslog is installed (Debian packages rsyslog and rsyslog-gnutls)");
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.arg("-n").arg("-f").arg(folder.join("rsyslog.conf")).arg("-i").arg(folder.join("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(self.log()).expect("a log file"));
        let mut child = command.spawn().expect("rsyslogd starts");
        for port in [self.port, self.tls_port] {
            let opened = async {
                let mut tick = tokio::time::interval(Duration::from_millis(20));
                while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tick.tick().await;
                    let log = || fs::read_to_string(self.log()).unwrap_or_default();
                    assert!(child.try_wait().expect("a state").is_none(), "rsyslogd ended at once: {}", log());
                }
            };
            tokio::time::timeout(Duration::from_secs(10), opened).await.expect("rsyslogd opens its port");
        }
        self.child = Some(child);
    }

    /// Ends it in order; what it has stays.
    pub async fn end(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        tokio::task::spawn_blocking(move || child.wait()).await.expect("waits").expect("it ends");
    }

    /// What it has, in the order of its coming.
    pub fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.folder.path().join("all.log")).unwrap_or_default();
        text.lines().map(line).collect()
    }

    /// How often it has the message of each id.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for line in self.lines() {
            *counts.entry(line.body["id"].as_str().expect("an id").to_owned()).or_default() += 1;
        }
        counts
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("rsyslogd.log")
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

fn line(text: &str) -> Line {
    let mut words = text.splitn(6, ' ').map(str::to_owned).collect::<Vec<_>>();
    let body = words.pop().expect("a body");
    Line { head: words, body: serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {text}")) }
}

/// A connector could not call this machine; what the operator names is called.
fn receiver(url: &str, ca_pem: Option<&str>) -> Receiver {
    tenure::app::install_crypto();
    let extra_ca_pem = ca_pem.map(|pem| pem.as_bytes().to_vec());
    let door = Outbound::new(OutboundSettings { allow_loopback: false, extra_ca_pem }).expect("opens");
    Receiver::new(&url.parse().expect("a URL"), door).expect("a receiver")
}

fn message(id: &str) -> Message {
    Message {
        id: id.to_owned(),
        kind: "checkpoint",
        at: "2026-12-01T02:03:04.005Z".parse().expect("an instant"),
        host: "tenure.example".to_owned(),
        body: json!({ "id": id, "note": "one\ntwo\n\n\u{2014} signed" }),
    }
}

#[tokio::test]
async fn a_message_comes_to_a_receiver_of_syslog_over_tcp_and_over_tls() {
    let server = Rsyslog::start().await;
    let tls = format!("syslog+tls://localhost:{}", server.tls_port);
    receiver(&format!("syslog+tcp://localhost:{}", server.port), None).send(&message("plain")).await.expect("sent");
    receiver(&tls, Some(&server.ca_pem)).send(&message("tls")).await.expect("sent");
    let lines = eventually("both are there", Duration::from_secs(10), || async {
        Some(server.lines()).filter(|lines| lines.len() == 2)
    })
    .await;
    let head = ["109", "2026-12-01T02:03:04.005Z", "tenure.example", "tenure", "checkpoint"];
    for (line, id) in lines.iter().zip(["plain", "tls"]) {
        assert_eq!(line.head, head);
        assert_eq!(line.body, message(id).body);
    }
    // Whoever has no certificate that is trusted gets nothing.
    let untrusted = receiver(&tls, None).send(&message("untrusted")).await.expect_err("is not trusted");
    assert!(untrusted.to_string().contains("the TLS connection to localhost failed"), "{untrusted}");
    let by_address = receiver(&tls.replace("localhost", "127.0.0.1"), Some(&server.ca_pem));
    by_address.send(&message("misnamed")).await.expect_err("has another name");
    assert_eq!(server.lines().len(), 2);
}

/// Sends until it is sent; answers how often it was tried.
async fn insist(receiver: &Receiver, message: &Message) -> usize {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for attempt in 1.. {
        tick.tick().await;
        match receiver.send(message).await {
            Ok(()) => return attempt,
            Err(problem) => assert!(matches!(problem, Problem::Unavailable { .. }), "{problem}"),
        }
    }
    unreachable!("it insists");
}

/// What comes twice is what could not be known to have come.
#[tokio::test]
async fn over_a_receiver_that_comes_and_goes_no_message_is_lost_and_none_that_was_taken_comes_twice() {
    let mut server = Rsyslog::start().await;
    let ca = server.ca_pem.clone();
    let receivers = [
        receiver(&format!("syslog+tcp://localhost:{}", server.port), None),
        receiver(&format!("syslog+tls://localhost:{}", server.tls_port), Some(&ca)),
    ];
    let sending = tokio::spawn(async move {
        let sends = (0..160).map(|n| {
            let receiver = receivers[n % 2].clone();
            async move {
                let id = format!("m{n}");
                let attempts = insist(&receiver, &message(&id)).await;
                (id, attempts)
            }
        });
        futures::stream::iter(sends).buffer_unordered(6).collect::<HashMap<_, _>>().await
    });
    let mut outages = 0;
    while !sending.is_finished() && outages < 8 {
        let before = server.lines().len();
        let more = || async { (sending.is_finished() || server.lines().len() > before + 5).then_some(()) };
        eventually("messages come", Duration::from_secs(10), more).await;
        server.end().await;
        server.begin().await;
        outages += 1;
    }
    let attempts = sending.await.expect("all are sent");
    server.end().await;
    let counts = server.counts();
    assert_eq!((attempts.len(), outages), (160, 8));
    assert!(attempts.values().any(|n| *n > 1), "no outage was met");
    for (id, attempts) in &attempts {
        let came = counts.get(id).copied().unwrap_or(0);
        assert!((1..=*attempts).contains(&came), "{id} came {came} times in {attempts} attempts");
    }
}

/// A server of HTTPS that answers each request with the next status and keeps what it was sent.
async fn collector(folder: &Path, statuses: &'static [u16]) -> (u16, Arc<tokio::sync::Mutex<Vec<String>>>) {
    let certificate = CertificateDer::from_pem_file(folder.join("server.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let taken = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let (kept, next) = (taken.clone(), AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut text = String::new();
            let mut piece = [0; 4096];
            // The body is the last of it, and ends with its object.
            while !text.ends_with('}') {
                let n = stream.read(&mut piece).await.expect("reads");
                text += std::str::from_utf8(&piece[..n]).expect("ASCII");
            }
            kept.lock().await.push(text);
            let status = statuses[next.fetch_add(1, Ordering::Relaxed) as usize];
            let answer = format!("HTTP/1.1 {status} X\r\nlocation: https://elsewhere/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("writes");
            let _ = stream.shutdown().await;
        }
    });
    (port, taken)
}

#[tokio::test]
async fn a_message_is_posted_as_json_and_only_a_clear_yes_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca_pem = write_certificates(folder.path());
    let (port, taken) = collector(folder.path(), &[200, 503, 302, 401, 204]).await;
    let url = format!("https://tenure:hunter2@localhost:{port}/in?token=hunter3");
    let receiver = receiver(&url, Some(&ca_pem));
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(receiver.send(&message("a/b")).await);
    }
    assert!(answers[0].is_ok() && answers[4].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(Problem::Unavailable { .. })), "{answers:?}");
    assert!(matches!((&answers[2], &answers[3]), (Err(Problem::Invalid { .. }), Err(Problem::Invalid { .. }))), "{answers:?}");
    assert!(!format!("{answers:?} {receiver:?}").contains("hunter"), "{answers:?}");
    let taken = taken.lock().await;
    assert_eq!(taken.len(), 5, "no redirect is followed");
    for text in &*taken {
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("POST /in?token=hunter3 HTTP/1.1\r\n"), "{head}");
        // The user and password of the URL, in base64.
        for line in ["content-type: application/json", "idempotency-key: a/b", "authorization: Basic dGVudXJlOmh1bnRlcjI="] {
            assert!(head.to_lowercase().contains(&line.to_lowercase()), "{head}");
        }
        assert_eq!(serde_json::from_str::<Value>(body).expect("JSON"), message("a/b").body);
    }
}
