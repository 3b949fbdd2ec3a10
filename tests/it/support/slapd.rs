//! A real OpenLDAP server on a free loopback port, with or without TLS by a private CA.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::authority::write_certificates;

/// The suffix.
pub const BASE_DN: &str = "dc=example,dc=org";
/// Who may change everything.
pub const ADMIN_DN: &str = "cn=admin,dc=example,dc=org";
/// Their password: that of the sample directory, so that the demo can be pointed here.
pub const ADMIN_PASSWORD: &str = tenure::app::demo::slapd::PASSWORD;

/// What accounts of Active Directory have, as far as Tenure uses it; entries may have it by `adAccount`.
const ACTIVE_DIRECTORY: &str = "\
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch \
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )\n\
attributetype ( 1.2.840.113556.1.4.90 NAME 'unicodePwd' EQUALITY octetStringMatch \
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )\n\
objectclass ( 1.3.6.1.4.1.4203.666.100 NAME 'adAccount' SUP top AUXILIARY MAY ( userAccountControl $ unicodePwd ) )\n";

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
    config: PathBuf,
    listen: String,
}

impl Slapd {
    /// A server without TLS.
    pub async fn start() -> Self {
        Self::start_with(false, None).await
    }

    /// A server that gives nobody but its administrator more than `most` entries for a search.
    pub async fn start_limited(most: u32) -> Self {
        Self::start_with(false, Some(most)).await
    }

    /// A server that speaks `ldaps://` and StartTLS too, with a certificate of a private CA.
    pub async fn start_tls() -> Self {
        Self::start_with(true, None).await
    }

    async fn start_with(tls: bool, most: Option<u32>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_pem = tls.then(|| write_certificates(folder.path()));
        let config = write_config(folder.path(), tls, most);
        add_tree(folder.path(), &config);
        let url = format!("ldap://127.0.0.1:{}", free_port());
        let tls_url = tls.then(|| format!("ldaps://localhost:{}", free_port()));
        let listen = match &tls_url {
            Some(tls_url) => format!("{url} {}", tls_url.replace("localhost", "127.0.0.1")),
            None => url.clone(),
        };
        let child = launch(folder.path(), &config, &listen);
        let mut server = Self { child, url, tls_url, ca_pem, folder, config, listen };
        server.wait().await;
        server
    }

    /// Ends it at once; what it has stays.
    pub fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Starts it at the same address with what it had.
    pub async fn start_again(&mut self) {
        self.child = launch(self.folder.path(), &self.config, &self.listen);
        self.wait().await;
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

fn launch(folder: &Path, config: &Path, listen: &str) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("slapd.log"));
    Command::new(program())
        .args(["-d", "stats", "-h", listen, "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("a log file"))
        .spawn()
        .expect("slapd starts")
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

fn write_config(folder: &Path, tls: bool, most: Option<u32>) -> PathBuf {
    let data = folder.join("data");
    fs::create_dir(&data).expect("a data folder");
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson", "nis"] {
        text += &format!("include /etc/ldap/schema/{schema}.schema\n");
    }
    text += ACTIVE_DIRECTORY;
    text += "modulepath /usr/lib/ldap\nmoduleload back_mdb\n";
    text += &format!("pidfile {}\n", folder.join("slapd.pid").display());
    if tls {
        for (name, file) in [("File", "server.pem"), ("KeyFile", "server.key")] {
            text += &format!("TLSCertificate{name} {}\n", folder.join(file).display());
        }
    }
    if let Some(most) = most {
        text += &format!("sizelimit size={most} size.prtotal={most}\n");
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
