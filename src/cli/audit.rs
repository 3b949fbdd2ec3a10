//! `tenure audit`: offline, no server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use crate::base::problem::Problem;
use crate::features::audit::verify::{Verdict, verify_chain};
use crate::platform::clock::{SystemClock, SystemIds};
use crate::platform::store::{MigrationSet, Options, Store};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Read the whole log again: exit 0 sound, 1 tampered, 2 cannot tell.
    #[command(after_help = "Example:\n  tenure audit verify --db /var/lib/tenure/tenure.db")]
    Verify {
        /// The database, of a stopped server or a backup.
        #[arg(long)]
        db: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// The verdict could not be reached.
const CANNOT_TELL: u8 = 2;

pub(super) async fn run(command: AuditCommand) -> ExitCode {
    let AuditCommand::Verify { db, json } = command;
    match verify(db).await {
        Ok(verdict) => {
            print_verdict(&verdict, json);
            if verdict.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("tenure: cannot tell: {problem}");
            ExitCode::from(CANNOT_TELL)
        }
    }
}

async fn verify(db: PathBuf) -> Result<Verdict, Problem> {
    if !db.is_file() {
        return Err(Problem::missing("file", db.display()));
    }
    let store = Store::open(
        &Options::small(db),
        &MigrationSet::tenure(),
        Arc::new(SystemClock),
        Arc::new(SystemIds),
        None,
    )?;
    let verdict = verify_chain(&store).await;
    store.close().await;
    verdict
}

fn print_verdict(verdict: &Verdict, json: bool) {
    if json {
        println!("{}", serde_json::to_string(verdict).unwrap_or_default());
        return;
    }
    match &verdict.fault {
        None => println!("sound: {} entries, every link holds, {} states erased", verdict.rows, verdict.erased),
        Some(fault) => println!("tampered: entry {} ({}): {}", fault.seq, fault.kind, fault.detail),
    }
}
