//! `tenure jobs`: background jobs in a terminal, without a browser or Redis tools.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{query, with_door};
use crate::app::door::Door;
use crate::base::id::JobId;
use crate::base::problem::Problem;
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// List jobs, newest first.
    #[command(after_help = "Example:\n  tenure jobs list --state failed --name role-expiry-check --json")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let failed jobs start over: those with these ids, or all that match.
    #[command(after_help = "Example:\n  tenure jobs retry job_01j…\n  tenure jobs retry --all --name send-mail --q 'connection refused'")]
    Retry(Which),
    /// Remove jobs that do not run: those with these ids, or all that match.
    #[command(after_help = "Example:\n  tenure jobs remove job_01j…\n  tenure jobs remove --all --state failed --name send-mail")]
    Remove(Which),
}

#[derive(Debug, Args)]
pub(super) struct Filter {
    /// waiting, delayed, active, completed or failed.
    #[arg(long, value_parser = ["waiting", "delayed", "active", "completed", "failed"])]
    state: Option<String>,
    /// Only jobs of this name.
    #[arg(long)]
    name: Option<String>,
    /// Only where id, name, payload or reason contain this text.
    #[arg(long)]
    q: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Jobs by their ids.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<JobId>,
    /// Every job that matches the filter instead; failed ones unless --state says otherwise.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(config: Config, command: JobsCommand) -> ExitCode {
    with_door(config, async |door| match command {
        JobsCommand::List { filter, limit, json } => list(door, &filter, limit, json).await,
        JobsCommand::Retry(which) => change(door, which, "retry").await,
        JobsCommand::Remove(which) => change(door, which, "remove").await,
    })
    .await
}

async fn list(door: &mut Door, filter: &Filter, limit: u32, json: bool) -> Result<(), Problem> {
    let limit = limit.to_string();
    let path = query(
        "/api/jobs",
        &[
            ("state", filter.state.as_deref()),
            ("name", filter.name.as_deref()),
            ("q", filter.q.as_deref()),
            ("limit", Some(&limit)),
        ],
    );
    let page = door.get(&path).await?;
    if json {
        println!("{page}");
        return Ok(());
    }
    for job in page["items"].as_array().into_iter().flatten() {
        print_job(job);
    }
    if page["nextCursor"].is_string() {
        eprintln!("there are more; narrow the list, or raise --limit (200 at most)");
    }
    Ok(())
}

fn print_job(job: &Value) {
    let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
    let reason = job["failedReason"].as_str().map(|r| format!("  {r}")).unwrap_or_default();
    println!("{}  {:9}  {:28} attempts {}{reason}", text("id"), text("state"), text("name"), job["attemptsMade"]);
}

async fn change(door: &mut Door, which: Which, action: &str) -> Result<(), Problem> {
    let mut items = Vec::new();
    for id in &which.ids {
        let job = door.post(&format!("/api/jobs/{id}/{action}"), &Value::Null).await?;
        if !which.json {
            println!("{} {}", job["id"].as_str().unwrap_or_default(), done(action));
        }
        items.push(job);
    }
    if which.all {
        return change_all(door, which.filter, which.json, action).await;
    }
    if which.json {
        println!("{}", json!({ "items": items }));
    }
    Ok(())
}

fn done(action: &str) -> &'static str {
    if action == "retry" { "starts over" } else { "is removed" }
}

/// Asks how many match, then acts on exactly so many.
async fn change_all(door: &mut Door, filter: Filter, json: bool, action: &str) -> Result<(), Problem> {
    let state = filter.state.or_else(|| Some("failed".to_owned()));
    let filter = json!({ "state": state, "name": filter.name, "q": filter.q });
    let preview = door.post("/api/jobs/bulk", &json!({ "action": action, "filter": filter, "dryRun": true })).await?;
    let body = json!({ "action": action, "filter": filter, "expectedCount": preview["matched"] });
    let started = door.post("/api/jobs/bulk", &body).await?;
    if json {
        println!("{started}");
    } else {
        println!("{} jobs matched; job {} works them off", preview["matched"], started["id"].as_str().unwrap_or("-"));
    }
    Ok(())
}
