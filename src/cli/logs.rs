//! `tenure logs`: the system log in a terminal.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{query, with_door};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum LogsCommand {
    /// Print the newest entries, the newest last.
    #[command(after_help = "Example:\n  tenure logs tail --level warn --lines 100")]
    Tail {
        /// Only this level and worse: trace, debug, info, warn or error.
        #[arg(long)]
        level: Option<String>,
        /// Only entries that contain this text.
        #[arg(long)]
        q: Option<String>,
        /// How many, 1 to 200.
        #[arg(long, default_value_t = 50)]
        lines: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete old entries now, as Admin > Logging > Purge Now does.
    #[command(after_help = "Example:\n  tenure logs purge --older-than-days 7")]
    Purge {
        /// Entries older than this; the retention in force when absent.
        #[arg(long)]
        older_than_days: Option<u32>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(config: Config, command: LogsCommand) -> ExitCode {
    with_door(config, async |door| match command {
        LogsCommand::Tail { level, q, lines, json } => {
            let lines = lines.to_string();
            let asked = [("level", level.as_deref()), ("q", q.as_deref()), ("limit", Some(lines.as_str()))];
            let page = door.get(&query("/api/logs", &asked)).await?;
            if json {
                println!("{page}");
                return Ok(());
            }
            for entry in page["items"].as_array().into_iter().flatten().rev() {
                print_entry(entry);
            }
            Ok(())
        }
        LogsCommand::Purge { older_than_days, json } => {
            let answer = door.post("/api/logs/purge", &json!({ "olderThanDays": older_than_days })).await?;
            if json {
                println!("{answer}");
            } else {
                println!("{} entries purged", answer["purged"]);
            }
            Ok(())
        }
    })
    .await
}

fn print_entry(entry: &Value) {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    println!("{} {:5} {} {}", text("at"), text("level"), text("target"), text("message"));
}
