//! Real database servers on free loopback ports, each in a folder of its own, ended when dropped.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{authority, free_port};

/// Who Tenure is there.
pub const USER: &str = "tenure";
/// Their password.
pub const PASSWORD: &str = "correct horse";

/// What the tests give and take: an account has an area.
const TABLE: &str = "CREATE TABLE access (account VARCHAR(100) NOT NULL, area VARCHAR(100) NOT NULL, PRIMARY KEY (account, area))";

/// A running server with the database `hr` and its table `access`.
pub struct Database {
    child: Child,
    /// Where it is, as the settings of a connector have it.
    pub url: String,
    /// The private CA in PEM, when it was started with TLS.
    pub ca_pem: Option<String>,
    _folder: tempfile::TempDir,
}

impl Drop for Database {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Database {
    /// PostgreSQL, with TLS by a certificate of a private CA for `localhost`.
    pub async fn postgres() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, bin) = (folder.path().join("data"), postgres_programs());
        let ca_pem = authority::write_certificates(folder.path());
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).expect("written");
        give_away(folder.path());
        run(as_nobody(&bin.join("initdb")).arg("-D").arg(&data).arg("--pwfile").arg(&secret).args([
            "-A", "scram-sha-256", "-U", USER, "--no-sync", "--locale=C", "-E", "UTF8",
        ]));
        let boot = as_nobody(&bin.join("postgres")).args(["--single", "-D"]).arg(&data).arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        feed(boot.expect("postgres starts"), "CREATE DATABASE hr;\n", None);
        let boot = as_nobody(&bin.join("postgres")).args(["--single", "-D"]).arg(&data).arg("hr").stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        feed(boot.expect("postgres starts"), &format!("{TABLE};\n"), None);
        let port = free_port();
        let file = |name: &str| folder.path().join(name).display().to_string();
        let child = as_nobody(&bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"])
            .args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={}", file("server.pem"))])
            .args(["-c", &format!("ssl_key_file={}", file("server.key"))])
            .arg("-k")
            .arg(folder.path())
            .stderr(fs::File::create(folder.path().join("server.log")).expect("a log file"))
            .spawn()
            .expect("postgres starts");
        let url = format!("postgresql://localhost:{port}/hr");
        let mut server = Self { child, url, ca_pem: Some(ca_pem), _folder: folder };
        server.wait(port).await;
        server
    }

    /// MariaDB, without TLS.
    pub async fn mariadb() -> Self {
        Self::mariadb_with(false).await
    }

    /// MariaDB, with TLS by a certificate of a private CA for `localhost`.
    pub async fn mariadb_tls() -> Self {
        Self::mariadb_with(true).await
    }

    async fn mariadb_with(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_pem = tls.then(|| authority::write_certificates(folder.path()));
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let read = |name: &str| {
            let path = Path::new("/usr/share/mysql").join(name);
            fs::read_to_string(path).expect("MariaDB is installed (Debian package mariadb-server-core)")
        };
        let setup = format!(
            "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n{}{}FLUSH PRIVILEGES;\nCREATE DATABASE hr CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n\
             CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON hr.* TO {USER}@'%';\nUSE hr;\n{TABLE};\n",
            read("mysql_system_tables.sql"),
            read("mysql_system_tables_data.sql"),
        );
        give_away(folder.path());
        let begin = || {
            let mut command = as_nobody(Path::new("/usr/sbin/mariadbd"));
            command.arg("--no-defaults").arg("--datadir").arg(&data);
            // A server that starts removes what others have in a common folder.
            command.arg(format!("--tmpdir={}", folder.path().display()));
            command.args(["--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0"]);
            command.stdout(Stdio::null());
            command
        };
        let log = |name: &str| fs::File::create(folder.path().join(name)).expect("a log file");
        let boot = begin().arg("--bootstrap").stdin(Stdio::piped()).stderr(log("boot.log")).spawn();
        let boot = boot.expect("mariadbd starts (Debian package mariadb-server-core)");
        feed(boot, &setup, Some(&folder.path().join("boot.log")));
        let port = free_port();
        let certificate = |option: &str, name: &str| format!("--{option}={}", folder.path().join(name).display());
        let security = match tls {
            true => vec![certificate("ssl-cert", "server.pem"), certificate("ssl-key", "server.key")],
            false => vec!["--skip-ssl".to_owned()],
        };
        let child = begin()
            .args(security)
            .args(["--port", &port.to_string(), "--bind-address=127.0.0.1", "--skip-name-resolve"])
            .arg(format!("--socket={}", folder.path().join("socket").display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .stderr(log("server.log"))
            .spawn()
            .expect("mariadbd starts");
        let url = format!("mysql://localhost:{port}/hr");
        let mut server = Self { child, url, ca_pem, _folder: folder };
        server.wait(port).await;
        server
    }

    async fn wait(&mut self, port: u16) {
        let opened = async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tick.tick().await;
                assert!(self.child.try_wait().expect("a state").is_none(), "the database ended at once");
            }
        };
        tokio::time::timeout(Duration::from_secs(10), opened).await.expect("the database opens its port");
    }
}

/// Debian keeps the programs of each version apart.
fn postgres_programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect("PostgreSQL is installed (Debian package postgresql)")
}

/// Databases refuse to be run by root; `nobody` owns what they are given.
fn as_nobody(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

fn give_away(folder: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(folder));
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Feeds a program that ends at the end of its input; `log` is where it complains when not to us.
fn feed(mut child: Child, text: &str, log: Option<&Path>) {
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("fed");
    let output = child.wait_with_output().expect("it ends");
    let logged = || log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
    assert!(output.status.success(), "{}: {}{}", output.status, String::from_utf8_lossy(&output.stderr), logged());
}
