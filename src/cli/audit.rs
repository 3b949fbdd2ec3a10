//! `tenure audit`: offline, no server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::audit_export::{self, ExportArgs};
use super::{refuse, with_door};
use crate::app::door::Door;
use crate::base::problem::Problem;
use crate::config::{Config, Reader};
use crate::features::audit::note::VerifierKey;
use crate::features::audit::keys::Opened;
use crate::features::audit::verify::{Fault, Verdict, verify_log};
use crate::features::audit::{encode_hash, keys, merkle, proof, store};
use crate::features::checkpoints::{self, ops};
use crate::platform::clock::{SystemClock, SystemIds};
use crate::platform::store::{Store, Tx};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Read the whole log again: exit 0 sound, 1 tampered, 2 cannot tell.
    #[command(after_help = "Example:\n  tenure audit verify --db /var/lib/tenure/tenure.db --checkpoints /mnt/evidence/checkpoints")]
    Verify(VerifyArgs),
    /// Prove that an entry is in the log that the newest checkpoint is of; prints C2SP tlog-proof.
    #[command(after_help = "Example:\n  tenure audit prove 4711 --db /var/lib/tenure/tenure.db > 4711.tlog-proof")]
    Prove {
        /// Which entry, counted from 1.
        seq: u64,
        /// The database, of a server or a backup.
        #[arg(long)]
        db: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Erase what entries stand for: who, before and after. The entries and all proofs stay, and an entry tells what was
    /// erased. Beside a running server or without one, which then erases at its next start. While the rule of the second
    /// person is on, two administrators do it on the page of the audit log.
    #[command(after_help = "Example:\n  tenure audit erase --person per_01h… --reason \"asked to be forgotten, ticket 4711\"")]
    Erase(EraseArgs),
    /// Write the log into a folder, for others to read and to check.
    #[command(after_help = "Example:\n  tenure audit export --db /var/lib/tenure/tenure.db --tiles /mnt/evidence/tiles")]
    Export(ExportArgs),
    /// Print the key that checkpoints are checked with, in the form of C2SP signed-note.
    #[command(after_help = "Example:\n  tenure audit key --db /var/lib/tenure/tenure.db")]
    Key {
        /// The database, of a server or a backup.
        #[arg(long)]
        db: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct EraseArgs {
    /// The id of a person: everything in the entries about them, and their name in those that they made.
    #[arg(long, value_name = "ID", required_unless_present = "entries")]
    person: Option<String>,
    /// Numbers of entries, such as 5-9,12: everything in them.
    #[arg(long, value_name = "NUMBERS")]
    entries: Option<String>,
    /// Why. It is kept in the audit log.
    #[arg(long)]
    reason: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The database, of a server or a backup; it and its directory stay exactly as they are.
    #[arg(long, required_unless_present = "bundle", conflicts_with = "bundle")]
    db: Option<PathBuf>,
    /// A folder instead: an export, or an evidence pack that was unpacked.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Believe this verifier key, kept from an earlier `tenure audit key`, and not what the log says of itself. May be
    /// given again for keys that were changed.
    #[arg(long, value_name = "VKEY")]
    key: Vec<VerifierKey>,
    /// Compare with every checkpoint of this folder.
    #[arg(long, value_name = "DIR")]
    checkpoints: Option<PathBuf>,
    /// Compare with this checkpoint, kept somewhere else. May be given again.
    #[arg(long, value_name = "NOTE")]
    since: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl VerifyArgs {
    /// What is looked at.
    fn place(&self) -> PathBuf {
        self.db.clone().or_else(|| self.bundle.clone()).unwrap_or_default()
    }
}

/// The verdict could not be reached.
const CANNOT_TELL: u8 = 2;

pub(super) async fn run(command: AuditCommand) -> ExitCode {
    let (shown, result) = match command {
        AuditCommand::Verify(args) => (args.place(), verify(args).await),
        AuditCommand::Export(args) => (args.db.clone(), export(args).await),
        AuditCommand::Prove { seq, db, json } => (db.clone(), prove(&db, seq, json).await),
        AuditCommand::Erase(args) => {
            return match Config::from_reader(Reader::from_process()) {
                Ok((config, _)) => with_door(config, async |door| erase(door, args).await).await,
                Err(refusal) => refuse(&refusal),
            };
        }
        AuditCommand::Key { db, json } => (db.clone(), print_key(&db, json).await),
    };
    result.unwrap_or_else(|problem| {
        match &problem {
            // What SQLite says of a damaged file is for whoever holds the file.
            Problem::Internal(cause) => eprintln!("tenure: cannot tell: {}: {cause:?}", shown.display()),
            other => eprintln!("tenure: cannot tell: {other}"),
        }
        ExitCode::from(CANNOT_TELL)
    })
}

/// Opens the file as it is; nothing beside it is made or changed.
fn open(db: &Path) -> Result<Store, Problem> {
    Store::open_read_only(db, Arc::new(SystemClock), Arc::new(SystemIds))
}

async fn verify(args: VerifyArgs) -> Result<ExitCode, Problem> {
    let mut notes = Vec::new();
    if let Some(folder) = &args.checkpoints {
        for path in checkpoints::keep::file::list(folder).map_err(|e| unreadable(folder, &e))? {
            notes.push(read_note(&path)?);
        }
        if notes.is_empty() {
            return Err(Problem::refused(format!("{} holds no checkpoint (*.note)", folder.display())));
        }
    }
    for path in &args.since {
        notes.push(read_note(path)?);
    }
    if let Some(folder) = &args.bundle {
        return audit_export::verify_bundle(folder, args.key, notes, args.json);
    }
    let store = open(&args.place())?;
    let (given, strict) = (args.key, args.checkpoints.is_some() || !args.since.is_empty());
    let found = store.read(move |tx| expected(tx, given, notes, strict)).await?;
    let verdict = match found {
        Ok(opened) => verify_log(&store, opened).await?,
        Err(fault) => Verdict::of(fault),
    };
    store.close().await;
    print_verdict(&verdict, args.json);
    Ok(if verdict.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn erase(door: &mut Door, args: EraseArgs) -> Result<(), Problem> {
    let wish = json!({ "personId": args.person, "entries": args.entries, "reason": args.reason });
    let done = door.post("/api/audit/erase", &wish).await?;
    if args.json {
        println!("{done}");
    } else {
        println!("{} states are being erased; an entry audit.erased tells which", done["states"]);
    }
    Ok(())
}

async fn export(args: ExportArgs) -> Result<ExitCode, Problem> {
    let store = open(&args.db)?;
    audit_export::export(args, store).await
}

/// What the log is compared with: the notes that were given, and those in the database itself.
fn expected(
    tx: &Tx<'_>,
    given: Vec<VerifierKey>,
    mut notes: Vec<(String, String)>,
    strict: bool,
) -> Result<Result<Opened, Fault>, Problem> {
    // A log that does not say its name any more is a matter for the walk over it, unless notes are to be judged.
    let Ok(mut known) = keys::list(tx) else {
        return if strict { Err(Problem::refused("the log does not say its name and key any more")) } else { Ok(Ok(Opened::default())) };
    };
    if !given.is_empty() {
        known = known.believing(&given);
    }
    if checkpoints::store::is_there(tx)? {
        notes.extend(ops::list_notes(tx)?);
    }
    Ok(known.open_all(notes))
}

fn read_note(path: &Path) -> Result<(String, String), Problem> {
    let note = std::fs::read_to_string(path).map_err(|e| unreadable(path, &e))?;
    Ok((path.display().to_string(), note))
}

fn unreadable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::refused(format!("{} cannot be read: {e}", path.display()))
}

fn print_verdict(verdict: &Verdict, json: bool) {
    if json {
        println!("{}", serde_json::to_string(verdict).unwrap_or_default());
        return;
    }
    let checked = verdict.checkpoints_checked;
    if verdict.left_behind > 0 {
        println!(
            "mind: the log was put back from a backup; {} checkpoints are of entries that were left behind, see audit.origin_changed",
            verdict.left_behind
        );
    }
    match &verdict.fault {
        None => println!(
            "sound: {} entries, every link holds, {} states erased, {checked} checkpoints agree",
            verdict.rows, verdict.erased
        ),
        Some(fault) if fault.seq == 0 => println!("tampered: a checkpoint ({}): {}", fault.kind, fault.detail),
        Some(fault) => println!("tampered: entry {} ({}): {}", fault.seq, fault.kind, fault.detail),
    }
}

async fn prove(db: &Path, seq: u64, json: bool) -> Result<ExitCode, Problem> {
    let store = open(db)?;
    let found = store.read(move |tx| {
        let row = store::find_leaf(tx, seq)?.ok_or_else(|| Problem::missing("audit entry", seq))?;
        let newest = checkpoints::store::find_newest(tx)?.filter(|record| record.checkpoint.size >= seq);
        let record = newest.ok_or_else(|| Problem::refused(format!("no checkpoint covers entry {seq} yet")))?;
        let path = merkle::inclusion(seq - 1, record.checkpoint.size, &store::StoredNodes(tx))?;
        Ok((row, record, path))
    });
    let (row, record, path) = found.await?;
    store.close().await;
    let text = proof::text(seq - 1, &path, &record.note);
    if json {
        let path: Vec<String> = path.iter().map(|hash| encode_hash(hash)).collect();
        let leaf_hash = encode_hash(&row.leaf_hash);
        println!("{}", json!({ "seq": seq, "size": record.checkpoint.size, "leafHash": leaf_hash, "path": path, "proof": text }));
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn print_key(db: &Path, json: bool) -> Result<ExitCode, Problem> {
    let store = open(db)?;
    let known = store.read(keys::list).await?;
    store.close().await;
    let key = known.keys.last().ok_or_else(|| Problem::refused("the log names no key"))?;
    if json {
        let all: Vec<String> = known.keys.iter().map(ToString::to_string).collect();
        println!("{}", json!({ "verifierKey": key.to_string(), "origin": known.origin, "all": all }));
    } else {
        println!("{key}");
    }
    Ok(ExitCode::SUCCESS)
}
