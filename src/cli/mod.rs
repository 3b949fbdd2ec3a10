//! The command line.

mod audit;
mod audit_export;
mod backup;
mod doctor;
mod jobs;
mod keys;
mod logs;
mod user;
mod workflow;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::app::door::Door;
use crate::app::demo::DemoOptions;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::config::{Config, Reader, Refusal, Warning};

/// The exit status of a faulty configuration.
const EX_CONFIG: u8 = 78;

/// Access that ends on time: requests, approvals, time-limited roles, and an audit log that an outsider can verify.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: UI, API, workflow engine, scheduler and worker.
    #[command(after_help = "Example:\n  DATA_DIR=/var/lib/tenure PORT=7070 tenure serve")]
    Serve,
    /// Make the data directory and the keys in it.
    #[command(after_help = "Example:\n  DATA_DIR=/var/lib/tenure tenure init")]
    Init {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the configuration without starting anything.
    #[command(after_help = "Example:\n  PORT=abc DB_POOL_MAX=0 tenure check-config")]
    CheckConfig {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run with a sample organisation on an empty data directory.
    #[command(after_help = "Example:\n  tenure demo --data-dir ./demo-data\n  tenure demo --check")]
    Demo(DemoArgs),
    /// Copy the business into one file, beside a running server or without one.
    #[command(after_help = "Example:\n  tenure backup /mnt/stick/tenure.backup\n  tenure backup /mnt/stick/tenure.backup --keys --passphrase-file ./passphrase")]
    Backup(backup::BackupArgs),
    /// Put a backup in the place of what is in the data directory; the server must be stopped.
    #[command(after_help = "Example:\n  tenure restore /mnt/stick/tenure.backup --passphrase-file ./passphrase")]
    Restore(backup::RestoreArgs),
    /// Look at the installation: what is wrong, why it matters, and the command that mends it.
    #[command(after_help = "Example:\n  tenure doctor --json")]
    Doctor {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Seal the keys into one file, and bring them back.
    #[command(subcommand)]
    Keys(backup::KeysCommand),
    /// Check the audit log, without a server.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check, bring in, export and start workflows that are kept as files.
    #[command(subcommand)]
    Workflow(workflow::WorkflowCommand),
    /// List, retry and remove background jobs.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Read and purge the system log.
    #[command(subcommand)]
    Logs(logs::LogsCommand),
    /// Manage accounts.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make and revoke API tokens.
    #[command(subcommand)]
    Token(user::TokenCommand),
    /// Print the OpenAPI document of this version.
    #[command(after_help = "Example:\n  tenure openapi > openapi.json")]
    Openapi,
}

#[derive(Debug, clap::Args)]
struct DemoArgs {
    /// Where the data goes; a new folder below the system's temporary one when absent.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Go through the sample story to its end, print a report, exit.
    #[arg(long)]
    check: bool,
    /// Check without an LDAP server.
    #[arg(long)]
    without_ldap: bool,
    /// Use this laboratory instead of starting one.
    #[arg(long, hide = true)]
    lab_url: Option<String>,
    /// Use this LDAP server too.
    #[arg(long, hide = true)]
    ldap_url: Option<String>,
    /// Show this time at the start.
    #[arg(long)]
    now: Option<Timestamp>,
}

/// Reads the arguments and does what they say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Init { json } => keys::init(json),
        Command::CheckConfig { json } => check_config(json),
        Command::Serve => with_config(Reader::from_process(), app::serve),
        Command::Demo(args) => demo(args),
        Command::Backup(args) => with_config(relaxed(), |config| backup::make(config, args)),
        Command::Restore(args) => with_config(relaxed(), |config| backup::restore(config, args)),
        Command::Doctor { json } => with_config(relaxed(), |config| doctor::run(config, json)),
        Command::Keys(command) => with_config(relaxed(), |config| backup::keys(config, command)),
        Command::Audit(command) => block_on(audit::run(command)),
        Command::Workflow(workflow::WorkflowCommand::Validate(args)) => workflow::check(&args),
        Command::Workflow(command) => with_config(Reader::from_process(), |config| workflow::run(config, command)),
        Command::Jobs(command) => with_config(Reader::from_process(), |config| jobs::run(config, command)),
        Command::Logs(command) => with_config(Reader::from_process(), |config| logs::run(config, command)),
        Command::User(command) => with_config(Reader::from_process(), |config| user::run_user(config, command)),
        Command::Token(command) => with_config(Reader::from_process(), |config| user::run_token(config, command)),
        Command::Openapi => with_config(Reader::new([]), app::print_openapi),
    }
}

fn demo(args: DemoArgs) -> ExitCode {
    let mut reader = Reader::from_process();
    let given = args.data_dir.or_else(|| reader.path("DATA_DIR"));
    let temporary = given.is_none().then(|| std::env::temp_dir().join(format!("tenure-demo-{}", std::process::id())));
    if let Some(folder) = given.or(temporary) {
        reader.set("DATA_DIR", &folder.to_string_lossy());
    }
    let options = DemoOptions {
        check: args.check,
        without_ldap: args.without_ldap,
        lab_url: args.lab_url,
        ldap_url: args.ldap_url,
        now: args.now,
    };
    with_config(reader, |config| app::demo::run(config, options))
}

/// The environment for commands that look after the data or the keys: what production demands of a
/// server would keep them from mending it.
fn relaxed() -> Reader {
    let mut reader = Reader::from_process();
    reader.set("APP_ENV", "development");
    reader
}

fn with_config<F, Fut>(reader: Reader, run: F) -> ExitCode
where
    F: FnOnce(Config) -> Fut,
    Fut: Future<Output = ExitCode>,
{
    match Config::from_reader(reader) {
        Ok((config, warnings)) => {
            print_warnings(&warnings);
            block_on(run(config))
        }
        Err(refusal) => refuse(&refusal),
    }
}

/// Does `work` through the server that runs, or on the data directory itself.
async fn with_door(config: Config, work: impl AsyncFnOnce(&mut Door) -> Result<(), Problem>) -> ExitCode {
    let result = async {
        let mut door = Door::open(config, uid()).await?;
        let result = work(&mut door).await;
        door.close().await;
        result
    };
    ended(result.await)
}

/// The exit code of a command; a failure is said on standard error.
fn ended(result: Result<(), Problem>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Internal(cause)) => {
            eprintln!("tenure: {cause:?}");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("tenure: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// A path with the parameters that are given.
fn query(path: &str, params: &[(&str, Option<&str>)]) -> String {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params {
        if let Some(value) = value {
            text.append_pair(name, value);
        }
    }
    format!("{path}?{}", text.finish())
}

/// The user that runs the command: who owns its process directory.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(0, |m| m.uid())
}

fn block_on(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(work);
            // A reader that hangs must not hold the exit up.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            code
        }
        Err(e) => {
            eprintln!("tenure: no runtime could be started: {e}");
            ExitCode::FAILURE
        }
    }
}

fn print_warnings(warnings: &[Warning]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

fn refuse(refusal: &Refusal) -> ExitCode {
    print_warnings(&refusal.warnings);
    for fault in &refusal.faults {
        eprintln!("{fault}");
    }
    ExitCode::from(EX_CONFIG)
}

fn check_config(json: bool) -> ExitCode {
    let result = Config::from_reader(Reader::from_process());
    if json {
        fn texts<T: ToString>(all: &[T]) -> Vec<String> {
            all.iter().map(ToString::to_string).collect()
        }
        let (faults, warnings) = match &result {
            Ok((_, warnings)) => (Vec::new(), texts(warnings)),
            Err(refusal) => (texts(&refusal.faults), texts(&refusal.warnings)),
        };
        println!("{}", serde_json::json!({ "valid": faults.is_empty(), "faults": faults, "warnings": warnings }));
        return if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EX_CONFIG) };
    }
    match result {
        Ok((_, warnings)) => {
            print_warnings(&warnings);
            println!("The configuration is valid.");
            ExitCode::SUCCESS
        }
        Err(refusal) => refuse(&refusal),
    }
}
