//! `tenure doctor`: what is wrong with an installation, why that matters, and what mends it.
//!
//! # Invariants
//! - Looking changes nothing: no file is made, migrated or locked, beside a running server or not.
//! - A finding that is not well names the command or the act that mends it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::door::Door;
use super::{connector_secrets, install_crypto};
use crate::base::problem::Problem;
use crate::config::keys::FILES;
use crate::config::{Config, Secret};
use crate::features::audit::verify::verify_chain;
use crate::features::backup::ops as backup;
use crate::features::connectors::{ConnectorSettings, Connectors};
use crate::features::health::CheckStatus;
use crate::features::health::checks::judge_free;
use crate::features::timekeeping::{self, DoubtKind};
use crate::platform::clock::{SystemClock, SystemIds};
use crate::platform::http::local;
use crate::platform::outbound::{Outbound, OutboundSettings};
use crate::platform::queue::views;
use crate::platform::store::migrations::{Standing, standing};
use crate::platform::store::{MigrationSet, Store, find_damage};

/// A write-ahead log larger than this says that checkpoints do not get through, in bytes.
const LARGE_LOG: u64 = 256 * 1024 * 1024;
/// Failed jobs that are kept; the oldest leave when there are more.
const FAILED_KEPT: u64 = 5000;

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What.
    pub check: &'static str,
    /// How it is.
    pub status: CheckStatus,
    /// What was seen.
    pub detail: String,
    /// Why that matters; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'static str>,
    /// What mends it; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

fn well(check: &'static str, detail: impl Into<String>) -> Finding {
    Finding { check, status: CheckStatus::Ok, detail: detail.into(), why: None, mend: None }
}

fn warn(check: &'static str, detail: impl Into<String>, why: &'static str, mend: impl Into<String>) -> Finding {
    Finding { check, status: CheckStatus::Warning, detail: detail.into(), why: Some(why), mend: Some(mend.into()) }
}

fn bad(check: &'static str, detail: impl Into<String>, why: &'static str, mend: impl Into<String>) -> Finding {
    Finding { status: CheckStatus::Down, ..warn(check, detail, why, mend) }
}

/// Looks at everything; `uid` is who runs the command.
pub async fn examine(config: &Config, uid: u32) -> Vec<Finding> {
    install_crypto();
    let dir = &config.data_dir;
    if !dir.is_dir() {
        return vec![bad(
            "data directory",
            format!("{} is not there", dir.display()),
            "Tenure keeps everything in it.",
            "tenure init, or set DATA_DIR to the directory that Tenure runs on",
        )];
    }
    let mut found = vec![folder(dir, uid), room(dir)];
    found.extend(keys(dir));
    if let Err(problem) = backup::refuse_unfinished(dir) {
        let why = "Half of a restore is neither the old business nor the new one.";
        found.push(bad("restore", problem.to_string(), why, "tenure restore FILE --replace"));
    }
    for name in ["tenure.db", "queue.db", "logs.db"] {
        found.extend(database(dir, name).await);
    }
    found.extend(business(config).await);
    found.push(server(config, uid).await);
    found
}

fn folder(dir: &Path, uid: u32) -> Finding {
    let check = "data directory";
    let meta = match std::fs::metadata(dir) {
        Ok(meta) => meta,
        Err(e) => return bad(check, format!("{}: {e}", dir.display()), "Tenure keeps everything in it.", "see DATA_DIR"),
    };
    let shown = dir.display();
    if meta.mode() & 0o077 != 0 {
        let detail = format!("{shown} has mode {:04o}", meta.mode() & 0o7777);
        return bad(check, detail, "Others on this machine can read keys and personal data.", format!("chmod 700 {shown}"));
    }
    if meta.uid() != uid && uid != 0 {
        let detail = format!("{shown} belongs to user {}, this is user {uid}", meta.uid());
        return bad(check, detail, "Tenure cannot write there as this user.", format!("run this as user {}", meta.uid()));
    }
    well(check, format!("{shown}, mode 0700, user {}", meta.uid()))
}

fn room(dir: &Path) -> Finding {
    let why = "A full disk stops every change; what was answered stays stored.";
    let mend = "free space on that file system, or move DATA_DIR to a larger one";
    match rustix::fs::statvfs(dir) {
        Err(e) => bad("disk", format!("{}: {e}", dir.display()), why, mend),
        Ok(s) => {
            let free = s.f_bavail.saturating_mul(s.f_frsize);
            let judged = judge_free(free);
            let detail = judged.detail.unwrap_or_else(|| format!("{} MiB free", free / (1024 * 1024)));
            match judged.status {
                CheckStatus::Ok => well("disk", detail),
                CheckStatus::Warning => warn("disk", detail, why, mend),
                CheckStatus::Down => bad("disk", detail, why, mend),
            }
        }
    }
}

fn keys(dir: &Path) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, file) in FILES {
        let path = dir.join("keys").join(file);
        if let Ok(meta) = std::fs::metadata(&path)
            && meta.mode() & 0o077 != 0
        {
            let detail = format!("{name}: {} has mode {:04o}", path.display(), meta.mode() & 0o7777);
            let why = "Whoever reads it can open secrets or sign in Tenure's name.";
            found.push(bad("keys", detail, why, format!("chmod 600 {}", path.display())));
        }
    }
    if found.is_empty() {
        found.push(well("keys", "none is open to others"));
    }
    found
}

async fn database(dir: &Path, name: &'static str) -> Vec<Finding> {
    let path = dir.join(name);
    let Ok(meta) = std::fs::metadata(&path) else {
        let detail = format!("{} is not there yet", path.display());
        return match name {
            "tenure.db" => vec![bad(name, detail, "It holds the whole business.", "tenure serve makes it; tenure restore brings it back")],
            // These two are filled again by the server.
            _ => vec![well(name, detail)],
        };
    };
    let mut found = Vec::new();
    let looked = path.clone();
    match tokio::task::spawn_blocking(move || find_damage(&looked)).await {
        Ok(Ok(None)) => found.push(well(name, format!("sound, {} KiB", meta.len() / 1024))),
        Ok(Ok(Some(damage))) => found.push(bad(
            name,
            format!("damaged: {damage}"),
            "What is damaged may spread, and a backup of it is refused.",
            mend_database(name),
        )),
        Ok(Err(problem)) => found.push(bad(name, shown(&problem), "It cannot be looked at.", mend_database(name))),
        Err(e) => found.push(bad(name, e.to_string(), "It cannot be looked at.", mend_database(name))),
    }
    if let Ok(log) = std::fs::metadata(dir.join(format!("{name}-wal")))
        && log.len() > LARGE_LOG
    {
        let detail = format!("its write-ahead log has {} MiB", log.len() / (1024 * 1024));
        let why = "A reader that never ends keeps the log from being folded in.";
        found.push(warn(name, detail, why, "restart tenure; the log is folded in at an orderly end"));
    }
    found
}

fn mend_database(name: &str) -> String {
    match name {
        "tenure.db" => "stop tenure, then tenure restore FILE --replace with the newest backup".to_owned(),
        // The ledger fills the queue again; logs are no evidence.
        other => format!("stop tenure, move {other}* out of the data directory, start tenure: it is made again"),
    }
}

fn shown(problem: &Problem) -> String {
    match problem {
        Problem::Internal(cause) => format!("{cause:?}"),
        other => other.to_string(),
    }
}

/// What only the contents of `tenure.db` tell.
async fn business(config: &Config) -> Vec<Finding> {
    let path = config.data_dir.join("tenure.db");
    if !path.is_file() {
        return Vec::new();
    }
    let store = match Store::open_read_only(&path, Arc::new(SystemClock), Arc::new(SystemIds)) {
        Ok(store) => store,
        Err(problem) => return vec![bad("tenure.db", shown(&problem), "It cannot be read.", mend_database("tenure.db"))],
    };
    let mut found = vec![schema(&store).await, chain(&store).await, clock(&store).await, jobs(&store).await];
    found.push(secrets(config, &store).await);
    store.close().await;
    found
}

async fn schema(store: &Store) -> Finding {
    match store.read(|tx| standing(tx, &MigrationSet::tenure())).await {
        Ok(Standing::Current) => well("schema", format!("as Tenure {} has it", env!("CARGO_PKG_VERSION"))),
        Ok(Standing::Behind(files)) => warn(
            "schema",
            format!("{} files are not applied: {}", files.len(), files.join(", ")),
            "They are applied when this version starts; an older version does not start afterwards.",
            "tenure backup FILE, then start tenure",
        ),
        Ok(Standing::Foreign(file)) => bad(
            "schema",
            format!("{file} is not known to Tenure {}", env!("CARGO_PKG_VERSION")),
            "This version would not understand what it reads, and refuses to start.",
            "start the version that made it, or restore a backup of this version",
        ),
        Err(problem) => bad("schema", shown(&problem), "The schema cannot be read.", mend_database("tenure.db")),
    }
}

async fn chain(store: &Store) -> Finding {
    let why = "The log is the evidence; an auditor will find the same.";
    let mend = "keep the file as it is, find out who could write it, compare with a backup by tenure audit verify";
    match verify_chain(store).await {
        Ok(verdict) => match verdict.fault {
            None => well("audit log", format!("{} entries, every link holds", verdict.rows)),
            Some(f) => bad("audit log", format!("entry {} ({}): {}", f.seq, f.kind, f.detail), why, mend),
        },
        Err(problem) => bad("audit log", shown(&problem), why, mend),
    }
}

async fn clock(store: &Store) -> Finding {
    let looked = store.read(|tx| {
        // A database of an older version has nothing to say about its clock yet.
        let current = standing(tx, &MigrationSet::tenure())? == Standing::Current;
        let held = if current { timekeeping::ops::find_doubt(tx)? } else { None };
        Ok((tx.now(), held, timekeeping::ops::newest_entry(tx)?))
    });
    let why = "Access ends by this clock: one that is wrong ends it too early or too late.";
    match looked.await {
        Ok((_, Some(held), _)) => warn(
            "clock",
            format!("{} Nothing ends by itself until an administrator confirms the time.", held.why()),
            why,
            "set the machine's clock right (timedatectl), then confirm the time on the overview page",
        ),
        Ok((now, None, Some((_, newest)))) => match timekeeping::judge_start(now, newest) {
            Some(doubt) if doubt.kind == DoubtKind::Behind => bad(
                "clock",
                format!("now is {now}, the newest audit entry is of {newest}"),
                why,
                "set the machine's clock (timedatectl), then start tenure",
            ),
            Some(_) => warn(
                "clock",
                format!("now is {now}, the newest audit entry is of {newest}"),
                why,
                "check the machine's clock (timedatectl) before tenure is started; it then asks an administrator",
            ),
            None => well("clock", format!("now is {now}, the newest audit entry is of {newest}")),
        },
        Ok((now, None, None)) => well("clock", format!("now is {now}")),
        Err(problem) => bad("clock", shown(&problem), why, mend_database("tenure.db")),
    }
}

async fn jobs(store: &Store) -> Finding {
    match store.read(views::count_jobs).await {
        Ok(counts) if counts.failed == 0 => well("jobs", "none has failed for good"),
        Ok(counts) => warn(
            "jobs",
            format!("{} of {FAILED_KEPT} kept failed jobs", counts.failed),
            "What they were to do is not done; beyond that number the oldest are forgotten.",
            "tenure jobs list --state failed, mend the reason, tenure jobs retry --all",
        ),
        Err(problem) => bad("jobs", shown(&problem), "Jobs cannot be counted.", mend_database("tenure.db")),
    }
}

async fn secrets(config: &Config, store: &Store) -> Finding {
    let why = "Calls to these systems fail: access is neither given nor taken away there.";
    let mend = "tenure keys import FILE with the keys they were sealed with, or enter the secrets again";
    let outbound = OutboundSettings { allow_loopback: false, extra_ca_pem: None };
    let connectors = match (connector_secrets(config), Outbound::new(outbound)) {
        (Ok(secrets), Ok(outbound)) => Connectors::new(store.clone(), secrets, outbound, ConnectorSettings::default()),
        (Err(_), _) if config.keys.connector.as_ref().map_or("", Secret::expose).is_empty() => {
            return bad("connector secrets", "there is no CONNECTOR_ENCRYPTION_KEY", why, mend);
        }
        (Err(problem), _) | (_, Err(problem)) => return bad("connector secrets", shown(&problem), why, mend),
    };
    match connectors.list_locked().await {
        Ok(locked) if locked.is_empty() => well("connector secrets", "all open"),
        Ok(locked) => bad("connector secrets", format!("do not open: {}", locked.join(", ")), why, mend),
        Err(problem) => bad("connector secrets", shown(&problem), why, mend),
    }
}

/// What the running server says of itself; whether one could start when none runs.
async fn server(config: &Config, uid: u32) -> Finding {
    match local::connect(&config.data_dir).await {
        Ok(Some(_)) => running(config, uid).await,
        Ok(None) => {
            let address = (config.server.host.trim_matches(['[', ']']), config.server.port);
            match std::net::TcpListener::bind(address) {
                Ok(_) => well("server", format!("does not run; {}:{} is free for it", address.0, address.1)),
                Err(e) => bad(
                    "server",
                    format!("does not run, and {}:{} cannot be listened on: {e}", address.0, address.1),
                    "It will not start.",
                    "end what listens there, or set HOST and PORT",
                ),
            }
        }
        Err(problem) => bad("server", shown(&problem), "Commands cannot reach it.", "run this as the user of the server"),
    }
}

async fn running(config: &Config, uid: u32) -> Finding {
    let why = "Something it needs is out.";
    let asked = async { Door::open(config.clone(), uid).await?.get("/api/health").await };
    match asked.await {
        Ok(health) => {
            let checks = health["checks"].as_object().into_iter().flatten();
            let faults: Vec<_> = checks
                .filter(|(_, c)| c["status"] != "ok")
                .map(|(name, c)| format!("{name}: {}", c["detail"].as_str().unwrap_or("down")))
                .collect();
            if faults.is_empty() {
                well("server", format!("runs, {} s, all checks well", health["uptime"]))
            } else {
                warn("server", format!("runs; {}", faults.join("; ")), why, "see each check, and tenure logs tail --level warn")
            }
        }
        // A degraded server answers 503, and its words are the detail.
        Err(problem) => bad("server", shown(&problem), why, "tenure logs tail --level warn"),
    }
}
