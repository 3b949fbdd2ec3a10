//! `tenure audit`: offline, no server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use crate::base::problem::Problem;
use crate::features::audit::verify::{Verdict, verify_chain};
use crate::platform::clock::{SystemClock, SystemIds};
use crate::platform::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Read the whole log again: exit 0 sound, 1 tampered, 2 cannot tell.
    #[command(after_help = "Example:\n  tenure audit verify --db /var/lib/tenure/tenure.db")]
    Verify {
        /// The database, of a server or a backup; it and its directory stay exactly as they are.
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
    let shown = db.clone();
    match verify(db).await {
        Ok(verdict) => {
            print_verdict(&verdict, json);
            if verdict.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            match &problem {
                // What SQLite says of a damaged file is for whoever holds the file.
                Problem::Internal(cause) => eprintln!("tenure: cannot tell: {}: {cause:?}", shown.display()),
                other => eprintln!("tenure: cannot tell: {other}"),
            }
            ExitCode::from(CANNOT_TELL)
        }
    }
}

/// Reads the file as it is; nothing beside it is made or changed.
async fn verify(db: PathBuf) -> Result<Verdict, Problem> {
    let store = Store::open_read_only(&db, Arc::new(SystemClock), Arc::new(SystemIds))?;
    let verdict = verify_chain(&store).await?;
    store.close().await;
    Ok(verdict)
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
