//! A real OpenLDAP server on a free loopback port, with or without TLS by a private CA.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// The suffix.
pub const BASE_DN: &str = "dc=example,dc=org";
/// Who may change everything.
pub const ADMIN_DN: &str = "cn=admin,dc=example,dc=org";
/// Their password: that of the sample directory, so that the demo can be pointed here.
pub const ADMIN_PASSWORD: &str = tenure::app::demo::slapd::PASSWORD;

/// A running server with `ou=people`, `ou=groups` and the group `cn=researchers`; ends when dropped.
pub struct Slapd {
    child: Child,
    /// `ldap://127.0.0.1:PORT`.
    pub url: String,
    /// `ldaps://localhost:PORT`, when it was started with TLS.
    pub tls_url: Option<String>,
    /// The private CA in PEM, when it was started with TLS.
    pub ca_pem: Option<String>,
    folder: tempfile::TempDir,
}

impl Slapd {
    /// A server without TLS.
    pub async fn start() -> Self {
        Self::start_with(false).await
    }

    /// A server that speaks `ldaps://` and StartTLS too, with a certificate of a private CA.
    pub async fn start_tls() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_pem = tls.then(|| write_certificates(folder.path()));
        let config = write_config(folder.path(), tls);
        add_tree(folder.path(), &config);
        let url = format!("ldap://127.0.0.1:{}", free_port());
        let tls_url = tls.then(|| format!("ldaps://localhost:{}", free_port()));
        let listen = match &tls_url {
            Some(tls_url) => format!("{url} {}", tls_url.replace("localhost", "127.0.0.1")),
            None => url.clone(),
        };
        let child = Command::new(program())
            .args(["-d", "stats", "-h", &listen, "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("slapd.log")).expect("a log file"))
            .spawn()
            .expect("slapd starts");
        let mut server = Self { child, url, tls_url, ca_pem, folder };
        server.wait().await;
        server
    }

    /// How often the server carried `operation` (`ADD`, `DEL`) out on the entry `dn`, by its own log: what
    /// it refused does not count.
    pub fn carried_out(&self, operation: &str, dn: &str) -> usize {
        let log = fs::read_to_string(self.folder.path().join("slapd.log")).expect("slapd's log");
        let wanted = format!("{operation} dn=\"{dn}\"");
        log.lines()
            .filter_map(|line| line.split_once(&wanted))
            .filter(|(before, _)| {
                // `TIME conn=7 op=2 ADD dn="…"`, and later `TIME conn=7 op=2 RESULT tag=105 err=0 …`.
                let operation = &before[before.find("conn=").expect("slapd's log names the connection")..];
                let result = format!("{operation}RESULT ");
                log.lines().any(|line| line.split_once(&result).is_some_and(|(_, r)| r.contains(" err=0 ")))
            })
            .count()
    }

    /// Whether there is such an entry, by OpenLDAP's own client.
    pub fn find(&self, dn: &str) -> bool {
        let output = Command::new("ldapsearch")
            .args(["-x", "-LLL", "-H", &self.url, "-D", ADMIN_DN, "-w", ADMIN_PASSWORD, "-s", "base", "-b", dn, "dn"])
            .output()
            .expect("ldapsearch is installed (Debian package ldap-utils)");
        match output.status.code() {
            Some(0) => String::from_utf8_lossy(&output.stdout).contains("dn: "),
            // LDAP result 32: there is no such entry.
            Some(32) => false,
            _ => panic!("ldapsearch: {}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    async fn wait(&mut self) {
        let addresses: Vec<String> = [Some(&self.url), self.tls_url.as_ref()]
            .into_iter()
            .flatten()
            .map(|url| format!("127.0.0.1:{}", url.rsplit(':').next().expect("a port")))
            .collect();
        let opened = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            for address in &addresses {
                while tokio::net::TcpStream::connect(address).await.is_err() {
                    tick.tick().await;
                    assert!(self.child.try_wait().expect("a state").is_none(), "slapd ended at once");
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), opened).await.expect("slapd opens its port");
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> &'static Path {
    ["/usr/sbin/slapd", "/usr/lib/openldap/slapd", "/usr/libexec/slapd"]
        .iter()
        .map(Path::new)
        .find(|p| p.exists())
        .expect("slapd is installed (Debian package slapd)")
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

fn write_config(folder: &Path, tls: bool) -> PathBuf {
    let data = folder.join("data");
    fs::create_dir(&data).expect("a data folder");
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson", "nis"] {
        text += &format!("include /etc/ldap/schema/{schema}.schema\n");
    }
    text += "modulepath /usr/lib/ldap\nmoduleload back_mdb\n";
    text += &format!("pidfile {}\n", folder.join("slapd.pid").display());
    if tls {
        for (name, file) in [("File", "server.pem"), ("KeyFile", "server.key")] {
            text += &format!("TLSCertificate{name} {}\n", folder.join(file).display());
        }
    }
    text += &format!(
        "database mdb\nmaxsize 67108864\nsuffix \"{BASE_DN}\"\nrootdn \"{ADMIN_DN}\"\nrootpw {ADMIN_PASSWORD}\ndirectory {}\n",
        data.display()
    );
    let path = folder.join("slapd.conf");
    fs::write(&path, text).expect("the config is written");
    path
}

fn add_tree(folder: &Path, config: &Path) {
    let tree = format!(
        "dn: {BASE_DN}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
         dn: ou=people,{BASE_DN}\nobjectClass: organizationalUnit\nou: people\n\n\
         dn: ou=groups,{BASE_DN}\nobjectClass: organizationalUnit\nou: groups\n\n\
         dn: cn=researchers,ou=groups,{BASE_DN}\nobjectClass: groupOfNames\ncn: researchers\nmember: {ADMIN_DN}\n"
    );
    let ldif = folder.join("tree.ldif");
    fs::write(&ldif, tree).expect("the tree is written");
    let output = Command::new(program())
        .args(["-T", "add", "-f"])
        .arg(config)
        .arg("-l")
        .arg(&ldif)
        .output()
        .expect("slapadd runs");
    assert!(output.status.success(), "slapadd: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes the server's certificate and key; answers the CA's certificate in PEM.
fn write_certificates(folder: &Path) -> String {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("a CA").pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let server_pem = server.signed_by(&key, &issuer).expect("a certificate").pem();
    fs::write(folder.join("server.pem"), server_pem).expect("written");
    fs::write(folder.join("server.key"), key.serialize_pem()).expect("written");
    ca_pem
}
