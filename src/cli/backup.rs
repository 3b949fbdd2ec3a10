//! `tenure backup`, `tenure restore`, `tenure keys`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{ended, relaxed, uid};
use crate::app::App;
use crate::app::door::Door;
use crate::base::access::Principal;
use crate::base::clock::Clock as _;
use crate::base::problem::Problem;
use crate::config::data_dir::DataDir;
use crate::config::{Config, Secret};
use crate::features::backup::ops::{self, Source};
use crate::features::backup::{About, keyring};
use crate::platform::archive::List;
use crate::platform::clock::{SystemClock, SystemIds};

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to make.
    file: PathBuf,
    /// Put the keys in too, sealed under a passphrase.
    #[arg(long, requires = "passphrase_file")]
    keys: bool,
    /// A file whose first line is the passphrase, at least 12 characters.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Make it although files of documents are lost; it says which.
    #[arg(long)]
    without_lost_files: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// What tenure backup made.
    file: PathBuf,
    /// Move what is in the data directory aside.
    #[arg(long)]
    replace: bool,
    /// The passphrase of the keys in the backup; without it they stay sealed.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Seal all keys under a passphrase (age format) and print them, or write them to a file.
    #[command(after_help = "Example:\n  tenure keys export --passphrase-file ./passphrase --out keys.age")]
    Export {
        /// A file whose first line is the passphrase, at least 12 characters.
        #[arg(long)]
        passphrase_file: PathBuf,
        /// The file to make; standard output when absent.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Seal the secrets of connectors anew under the present CONNECTOR_ENCRYPTION_KEY; the one before is
    /// CONNECTOR_ENCRYPTION_KEY_PREVIOUS. May be stopped and asked for again at any time. While the rule of the second
    /// person is on, two administrators do it on the page Connectors.
    #[command(after_help = "Example:\n  CONNECTOR_ENCRYPTION_KEY_PREVIOUS_FILE=./old-key tenure keys rotate")]
    Rotate {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Put sealed keys into the data directory; the server must be stopped.
    #[command(after_help = "Example:\n  tenure keys import keys.age --passphrase-file ./passphrase")]
    Import {
        /// What tenure keys export made.
        file: PathBuf,
        /// A file whose first line is the passphrase.
        #[arg(long)]
        passphrase_file: PathBuf,
        /// Put them in the place of other keys that are there.
        #[arg(long)]
        replace: bool,
    },
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    std::fs::read(path).map_err(|e| Problem::refused(format!("{}: {e}", path.display())))
}

fn passphrase(path: &Path) -> Result<String, Problem> {
    let text = String::from_utf8(read_file(path)?)
        .map_err(|_| Problem::refused(format!("{}: is not text", path.display())))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The folder of checkpoints; the usual one when they go elsewhere only.
fn checkpoints(config: &Config) -> PathBuf {
    config.audit.folder().map_or_else(|| config.data_dir.join("checkpoints"), Path::to_owned)
}

/// Deriving a key from a passphrase takes a second and all of a core.
async fn slowly<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

pub(super) async fn make(config: Config, args: BackupArgs) -> ExitCode {
    let result = async {
        let keys = match args.passphrase_file.as_deref().filter(|_| args.keys) {
            None => None,
            Some(path) => {
                let (phrase, keys) = (passphrase(path)?, config.keys.clone());
                Some(slowly(move || keyring::seal_keys(&keys, &phrase)).await?)
            }
        };
        let source = Source {
            data_dir: config.data_dir.clone(),
            checkpoints: checkpoints(&config),
            keys,
            without_lost: args.without_lost_files,
        };
        let list = ops::make(source, &args.file, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
        print_made(&args, &list);
        Ok(())
    };
    ended(result.await)
}

fn print_made(args: &BackupArgs, list: &List<About>) {
    let bytes: u64 = list.files.values().map(|m| m.size).sum();
    for name in &list.about.lost_files {
        eprintln!("not in it: {name}, which a document rests on, is lost");
    }
    if args.json {
        println!("{}", json!({ "file": args.file, "about": list.about, "files": list.files.len(), "bytes": bytes }));
        return;
    }
    println!(
        "{}: {} files, {bytes} bytes, {} audit entries, checked.",
        args.file.display(),
        list.files.len(),
        list.about.audit_entries
    );
    if !args.keys {
        println!("The keys are not in it. Keep them elsewhere: tenure keys export --passphrase-file F --out keys.age");
    }
}

pub(super) async fn restore(config: Config, args: RestoreArgs) -> ExitCode {
    ended(restore_into(config, args).await)
}

async fn restore_into(config: Config, args: RestoreArgs) -> Result<(), Problem> {
    let claim = DataDir::claim(&config.data_dir)?;
    if ops::is_occupied(&config.data_dir) && !args.replace {
        return Err(Problem::refused(format!(
            "{} holds data. Nothing was changed; say --replace to move it aside, or give another DATA_DIR.",
            config.data_dir.display()
        )));
    }
    let unpacked = ops::unpack(&args.file, &config.data_dir, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
    let keys = match open_keys(unpacked.sealed_keys(), args.passphrase_file.as_deref()).await {
        Ok(keys) => keys,
        Err(problem) => {
            unpacked.discard()?;
            return Err(problem);
        }
    };
    let about = unpacked.list.about.clone();
    let aside = ops::put_in_place(unpacked, &config.data_dir, &checkpoints(&config), SystemClock.now())?;
    let pairs: Vec<_> = keys.iter().map(|(name, key)| (name.as_str(), key.clone())).collect();
    let keys_written = claim.put_keys(&pairs, true)?;
    let locked = settle(&claim, &about).await?;
    print_restored(&args, &about, aside.as_deref(), &keys_written, &locked);
    hint_environment(&keys);
    Ok(())
}

async fn open_keys(
    sealed: Result<Option<Vec<u8>>, Problem>,
    phrase: Option<&Path>,
) -> Result<BTreeMap<String, Secret>, Problem> {
    match (sealed?, phrase) {
        (Some(sealed), Some(path)) => {
            let phrase = passphrase(path)?;
            slowly(move || keyring::open_keys(&sealed, &phrase)).await
        }
        (None, Some(_)) => Err(Problem::refused("The backup holds no keys, so that a passphrase opens nothing. Nothing was changed.")),
        (_, None) => Ok(BTreeMap::new()),
    }
}

/// Opens what was restored with the keys that are there now; answers the connectors whose secrets
/// those keys do not open.
async fn settle(claim: &DataDir, about: &About) -> Result<Vec<String>, Problem> {
    let (mut config, _) = Config::from_reader(relaxed())
        .map_err(|r| Problem::refused(r.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    claim.make_keys(&mut config.keys, &SystemIds)?;
    let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
    let about = about.clone();
    let by = Principal::cli(super::uid());
    let renewal = app.checkpoints.renewal().await;
    let settled = app.store.write(move |tx| ops::settle(tx, &by, &about, &renewal)).await;
    let locked = app.connectors.list_locked().await;
    app.close().await;
    settled?;
    locked
}

fn print_restored(
    args: &RestoreArgs,
    about: &About,
    aside: Option<&Path>,
    keys_written: &[&str],
    locked: &[String],
) {
    if args.json {
        let answer = json!({ "about": about, "formerFiles": aside, "keys": keys_written, "connectorsWithoutSecrets": locked });
        println!("{answer}");
        return;
    }
    println!("restored: the backup of {}, {} audit entries, checked; all sessions ended", about.created_at, about.audit_entries);
    if let Some(aside) = aside {
        println!("what was there before is in {}", aside.display());
    }
    for name in &about.lost_files {
        println!("lost already when the backup was made: {name}, which a document rests on");
    }
    if about.has_keys && args.passphrase_file.is_none() {
        println!("the keys in the backup stay sealed; say --passphrase-file to take them");
    }
    if !locked.is_empty() {
        println!("these connectors need their secrets again, the keys here do not open them: {}", locked.join(", "));
    }
}

fn hint_environment(keys: &BTreeMap<String, Secret>) {
    for name in keys.keys().filter(|n| keyring::is_for_the_environment(n)) {
        eprintln!("{name} has no file below keys/: finish the rotation with the key that is there, or set it");
    }
}

pub(super) async fn keys(config: Config, command: KeysCommand) -> ExitCode {
    let result = async {
        match command {
            KeysCommand::Export { passphrase_file, out } => export(config, &passphrase_file, out.as_deref()).await,
            KeysCommand::Import { file, passphrase_file, replace } => {
                import(&config, &file, &passphrase_file, replace).await
            }
            KeysCommand::Rotate { json } => rotate(config, json).await,
        }
    };
    ended(result.await)
}

/// Through the server that runs, which has the keys it was started with; by itself when none does.
async fn rotate(config: Config, json: bool) -> Result<(), Problem> {
    let mut door = Door::open(config, uid()).await?;
    let done = door.post("/api/connectors/rotate-keys", &json!({})).await;
    door.close().await;
    let done = done?;
    if json {
        println!("{done}");
    } else {
        println!("{} secrets: {} rotated, {} under the present key already", done["total"], done["rotated"], done["skipped"]);
    }
    match done["failed"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(Problem::refused(format!(
            "{} secrets were opened by neither key: {}. Give the key they were stored under as \
             CONNECTOR_ENCRYPTION_KEY_PREVIOUS, or enter them again.",
            done["failed"], done["failures"]
        ))),
    }
}

async fn export(config: Config, phrase: &Path, out: Option<&Path>) -> Result<(), Problem> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let phrase = passphrase(phrase)?;
    let sealed = slowly(move || keyring::seal_keys(&config.keys, &phrase)).await?;
    let Some(path) = out else {
        return std::io::stdout().write_all(&sealed).map_err(Problem::internal);
    };
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&sealed)?;
        file.sync_all()
    };
    write().map_err(|e| Problem::refused(format!("{}: {e}", path.display())))?;
    println!("{}: the keys, sealed. Keep the passphrase elsewhere.", path.display());
    Ok(())
}

async fn import(config: &Config, file: &Path, phrase: &Path, replace: bool) -> Result<(), Problem> {
    let claim = DataDir::claim(&config.data_dir)?;
    let (sealed, phrase) = (read_file(file)?, passphrase(phrase)?);
    let keys = slowly(move || keyring::open_keys(&sealed, &phrase)).await?;
    let pairs: Vec<_> = keys.iter().map(|(name, key)| (name.as_str(), key.clone())).collect();
    let written = claim.put_keys(&pairs, replace)?;
    if written.is_empty() {
        println!("{}: every key is there already.", config.data_dir.display());
    } else {
        println!("{}: wrote {}.", config.data_dir.display(), written.join(", "));
    }
    hint_environment(&keys);
    Ok(())
}
