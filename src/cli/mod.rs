//! The command line.

mod audit;
mod keys;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app;
use crate::app::demo::DemoOptions;
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
    /// Check the audit log, without a server.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Manage accounts while no server runs.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Make and revoke API tokens while no server runs.
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
        Command::Audit(command) => block_on(audit::run(command)),
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
