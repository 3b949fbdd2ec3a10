//! `tenure audit export` and `tenure audit verify --bundle`: the log as files, and files that are checked.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::features::audit::export::bundle::{BundleVerdict, Given};
use crate::features::audit::export::rows::{Lines, Parts};
use crate::features::audit::export::tiles::Tiles;
use crate::features::audit::Selection;
use crate::features::audit::export::{Kind, Newest, ops};
use crate::features::audit::note::VerifierKey;
use crate::features::checkpoints;
use crate::features::evidence;
use crate::platform::pieces::{Pieces, into_folder};
use crate::platform::store::Store;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("format").required(true).args(["tiles", "jsonl", "csv"])))]
pub(super) struct ExportArgs {
    /// The database, of a server or a backup; it and its directory stay exactly as they are.
    #[arg(long)]
    pub(super) db: PathBuf,
    /// Everything up to the newest checkpoint as C2SP tlog-tiles, into this folder: the evidence.
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Entries with what they stand for as JSON Lines, into this folder.
    #[arg(long, value_name = "DIR")]
    jsonl: Option<PathBuf>,
    /// Entries as a table, into this folder.
    #[arg(long, value_name = "DIR")]
    csv: Option<PathBuf>,
    /// Only of this kind of thing, such as assignment.
    #[arg(long, conflicts_with = "tiles")]
    entity: Option<String>,
    /// Only from this instant on.
    #[arg(long, conflicts_with = "tiles")]
    from: Option<Timestamp>,
    /// Only before this instant.
    #[arg(long, conflicts_with = "tiles")]
    to: Option<Timestamp>,
}

/// The newest checkpoint that the database knows.
fn newest() -> Newest {
    Newest(Arc::new(|tx| {
        if !checkpoints::store::is_there(tx)? {
            return Ok(None);
        }
        Ok(checkpoints::store::find_newest(tx)?.map(|record| record.note))
    }))
}

pub(super) async fn export(args: ExportArgs, store: Store) -> Result<ExitCode, Problem> {
    let selection = Selection { entity: args.entity, from: args.from, to: args.to, ..Selection::default() };
    let (pieces, folder): (Box<dyn Pieces>, PathBuf) = match (args.tiles, args.jsonl, args.csv) {
        (Some(folder), ..) => {
            let newest = newest();
            let signed = store.read(move |tx| ops::signed(tx, &newest)).await?.ok_or_else(ops::unsigned)?;
            let now = store.clock().now();
            (Box::new(Tiles::new(store.clone(), signed, now)), folder)
        }
        (_, Some(folder), _) => (lines(&store, Kind::Jsonl, selection).await?, folder),
        (_, _, Some(folder)) => (lines(&store, Kind::Csv, selection).await?, folder),
        (None, None, None) => return Err(Problem::refused("give --tiles, --jsonl or --csv with a folder")),
    };
    into_folder(pieces, &folder).await?;
    store.close().await;
    println!("exported to {}", folder.display());
    Ok(ExitCode::SUCCESS)
}

async fn lines(store: &Store, kind: Kind, selection: Selection) -> Result<Box<dyn Pieces>, Problem> {
    Ok(Box::new(Parts::new(Lines::begin(store.clone(), newest(), kind, selection).await?)))
}

/// Checks an export or an evidence pack in a folder.
pub(super) fn verify_bundle(
    folder: &Path,
    keys: Vec<VerifierKey>,
    notes: Vec<(String, String)>,
    json: bool,
) -> Result<ExitCode, Problem> {
    let verdict = evidence::bundle::check(folder, &Given { keys, notes })?;
    print(&verdict, json);
    Ok(if verdict.fault.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(verdict: &BundleVerdict, json: bool) {
    if json {
        println!("{}", serde_json::to_string(verdict).unwrap_or_default());
        return;
    }
    for warning in &verdict.warnings {
        println!("mind: {warning}");
    }
    match &verdict.fault {
        None => println!(
            "sound: {} entries, {} states opened, {} erased, {} rows proved, {} checkpoints agree",
            verdict.entries, verdict.opened, verdict.erased, verdict.rows, verdict.checkpoints_checked
        ),
        Some(fault) if fault.seq == 0 => println!("tampered: the folder ({}): {}", fault.kind, fault.detail),
        Some(fault) => println!("tampered: entry {} ({}): {}", fault.seq, fault.kind, fault.detail),
    }
}
