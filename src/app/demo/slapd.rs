//! A real OpenLDAP server on a free loopback port, for `tenure demo --check`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::base::problem::Problem;

/// The suffix of the sample directory.
pub const BASE_DN: &str = "dc=example,dc=org";
/// Who may change it.
pub const ADMIN_DN: &str = "cn=admin,dc=example,dc=org";
/// Their password.
pub const PASSWORD: &str = "demo-directory-password";

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Slapd {
    child: Child,
    /// `ldap://127.0.0.1:PORT`.
    pub url: String,
    /// The password of [`ADMIN_DN`].
    pub password: String,
}

/// Where Debian and others put the server.
const PROGRAMS: [&str; 3] = ["/usr/sbin/slapd", "/usr/lib/openldap/slapd", "/usr/libexec/slapd"];

impl Slapd {
    /// The server's program, when it is installed.
    pub fn program() -> Option<&'static Path> {
        PROGRAMS.iter().map(Path::new).find(|p| p.exists())
    }

    /// Starts a server with an empty tree of people and groups below [`BASE_DN`] in `folder`.
    pub async fn start(folder: &Path) -> Result<Self, Problem> {
        let program = Self::program().ok_or_else(|| {
            Problem::unavailable(
                "No OpenLDAP server (slapd) is installed. Install the package slapd, or use --without-ldap.",
                60,
            )
        })?;
        let password = PASSWORD.to_owned();
        let config = write_config(folder, &password)?;
        add_tree(program, folder, &config)?;
        let url = format!("ldap://127.0.0.1:{}", free_port()?);
        let child = Command::new(program)
            .args(["-h", &url, "-d", "0", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Problem::internal(format!("slapd did not start: {e}")))?;
        let mut server = Self { child, url, password };
        server.wait().await?;
        Ok(server)
    }

    async fn wait(&mut self) -> Result<(), Problem> {
        let port = self.url.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for _ in 0..200 {
            if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(Problem::internal(format!("slapd ended at once: {status}")));
            }
            super::pause(Duration::from_millis(50)).await;
        }
        Err(Problem::internal("slapd did not open its port within 10 s"))
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, Problem> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .map(|a| a.port())
        .map_err(|e| Problem::internal(format!("no free port: {e}")))
}

fn write_config(folder: &Path, password: &str) -> Result<PathBuf, Problem> {
    let data = folder.join("data");
    std::fs::create_dir_all(&data).map_err(Problem::internal)?;
    let schemas: String = ["core", "cosine", "inetorgperson", "nis"]
        .iter()
        .map(|s| format!("include /etc/ldap/schema/{s}.schema\n"))
        .collect();
    let modules = "/usr/lib/ldap";
    let text = format!(
        "{schemas}modulepath {modules}\nmoduleload back_mdb\npidfile {}\ndatabase mdb\nmaxsize 67108864\nsuffix \"{BASE_DN}\"\nrootdn \"{ADMIN_DN}\"\nrootpw {password}\ndirectory {}\n",
        folder.join("slapd.pid").display(),
        data.display()
    );
    let path = folder.join("slapd.conf");
    std::fs::write(&path, text).map_err(Problem::internal)?;
    Ok(path)
}

fn add_tree(program: &Path, folder: &Path, config: &Path) -> Result<(), Problem> {
    let ldif = folder.join("tree.ldif");
    std::fs::write(
        &ldif,
        format!(
            "dn: {BASE_DN}\nobjectClass: dcObject\nobjectClass: organization\no: Example\ndc: example\n\n\
             dn: ou=people,{BASE_DN}\nobjectClass: organizationalUnit\nou: people\n"
        ),
    )
    .map_err(Problem::internal)?;
    let output = Command::new(program)
        .args(["-T", "add", "-f"])
        .arg(config)
        .arg("-l")
        .arg(&ldif)
        .output()
        .map_err(|e| Problem::internal(format!("slapadd did not start: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Problem::internal(format!("slapadd failed: {}", String::from_utf8_lossy(&output.stderr))))
}
