//! `tenure workflow`: definitions that are kept as files, beside a running server or without one.

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{ended, query, with_door};
use crate::app::door::Door;
use crate::base::problem::Problem;
use crate::config::Config;
use crate::features::workflow::definitions::Definition;
use crate::features::workflow::definitions::text::{self, Document, Fault, Format};
use crate::features::workflow::definitions::validate::{Validation, validate};

#[derive(Debug, Subcommand)]
pub(super) enum WorkflowCommand {
    /// Check files without storing anything; needs no data directory.
    #[command(after_help = "Example:\n  tenure workflow validate workflows/*.yaml")]
    Validate(ValidateArgs),
    /// Bring files in: shows what would change, asks, then stores drafts.
    #[command(after_help = "Example:\n  tenure workflow apply workflows/\n  tenure workflow apply onboarding.yaml --yes --publish")]
    Apply(ApplyArgs),
    /// Write workflows as files that apply reads: the active version of each, or its draft when it has none.
    #[command(after_help = "Example:\n  tenure workflow export onboarding\n  tenure workflow export --all --out workflows/")]
    Export(ExportArgs),
    /// Start a run of the active version.
    #[command(after_help = "Example:\n  tenure workflow start onboarding --input '{\"team\": \"genome\"}' --subject ada@example.org")]
    Start(StartArgs),
}

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Files that end in .yaml, .yml or .json, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ApplyArgs {
    /// Files that end in .yaml, .yml or .json, or folders of them.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Make the drafts the active versions.
    #[arg(long)]
    publish: bool,
    /// Print JSON; needs --yes.
    #[arg(long, requires = "yes")]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The workflow, by its key or name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    workflow: Option<String>,
    /// Every workflow that has a draft or an active version.
    #[arg(long)]
    all: bool,
    /// How files are written.
    #[arg(long, value_enum, default_value_t = FileFormat::Yaml)]
    format: FileFormat,
    /// Write KEY.yaml into this folder instead of printing; needed with --all.
    #[arg(long, required_if_eq("all", "true"))]
    out: Option<PathBuf>,
    /// Print JSON: what was written where, or the definition itself.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    Yaml,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The workflow, by its key or name.
    workflow: String,
    /// Values of variables, as a JSON object.
    #[arg(long, default_value = "{}", value_parser = object)]
    input: Value,
    /// Whom it is about: a person's address or id.
    #[arg(long)]
    subject: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err("expected a JSON object".to_owned()),
        Err(e) => Err(format!("expected a JSON object: {e}")),
    }
}

/// Checks files; no configuration and no data is needed.
pub(super) fn check(args: &ValidateArgs) -> ExitCode {
    ended(validate_files(args))
}

pub(super) async fn run(config: Config, command: WorkflowCommand) -> ExitCode {
    with_door(config, async |door| match command {
        WorkflowCommand::Validate(args) => validate_files(&args),
        WorkflowCommand::Apply(args) => apply(door, args).await,
        WorkflowCommand::Export(args) => export(door, args).await,
        WorkflowCommand::Start(args) => start(door, args).await,
    })
    .await
}

/// A file that was read.
struct File {
    path: PathBuf,
    text: String,
    document: Result<Document, Vec<Fault>>,
}

impl File {
    /// What is wrong with it, and what somebody should look at.
    fn checked(&self) -> (Vec<Fault>, Vec<Fault>) {
        match &self.document {
            Ok(document) => {
                let Validation { errors, warnings, .. } = validate(&document.definition);
                (text::placed(&self.text, errors), text::placed(&self.text, warnings))
            }
            Err(faults) => (faults.clone(), Vec::new()),
        }
    }

    fn line(&self, fault: &Fault, what: &str) -> String {
        let place = match (fault.line, fault.column) {
            (Some(line), Some(column)) => format!(":{line}:{column}"),
            _ => String::new(),
        };
        let at = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
        format!("{}{place}: {what}: {at}{}", self.path.display(), fault.message)
    }
}

/// The files that are meant, those in folders by their names.
fn files(given: &[PathBuf]) -> Result<Vec<File>, Problem> {
    let mut paths = Vec::new();
    for path in given {
        if path.is_dir() {
            let inside = std::fs::read_dir(path).map_err(|e| unreadable(path, &e))?;
            let mut found: Vec<PathBuf> = inside.filter_map(|e| Some(e.ok()?.path())).collect();
            found.retain(|p| p.is_file() && format_of(p).is_some());
            found.sort();
            if found.is_empty() {
                let shown = path.display();
                return Err(Problem::refused(format!("{shown}: expected files that end in .yaml, .yml or .json")));
            }
            paths.extend(found);
        } else {
            paths.push(path.clone());
        }
    }
    paths.into_iter().map(read).collect()
}

fn format_of(path: &Path) -> Option<Format> {
    Format::of_ending(path.extension()?.to_str()?)
}

fn unreadable(path: &Path, e: &std::io::Error) -> Problem {
    Problem::refused(format!("{}: {e}", path.display()))
}

fn read(path: PathBuf) -> Result<File, Problem> {
    let format = format_of(&path).ok_or_else(|| {
        Problem::refused(format!("{}: expected a file that ends in .yaml, .yml or .json", path.display()))
    })?;
    let text = std::fs::read_to_string(&path).map_err(|e| unreadable(&path, &e))?;
    let document = text::read(&text, format);
    Ok(File { path, text, document })
}

fn validate_files(args: &ValidateArgs) -> Result<(), Problem> {
    let mut faulty = 0;
    let mut items = Vec::new();
    for file in files(&args.files)? {
        let (errors, warnings) = file.checked();
        faulty += usize::from(!errors.is_empty());
        if args.json {
            items.push(json!({ "file": file.path, "valid": errors.is_empty(), "errors": errors, "warnings": warnings }));
            continue;
        }
        errors.iter().for_each(|f| println!("{}", file.line(f, "error")));
        warnings.iter().for_each(|f| println!("{}", file.line(f, "warning")));
        if errors.is_empty() {
            println!("{}: valid", file.path.display());
        }
    }
    if args.json {
        println!("{}", json!({ "items": items }));
    }
    if faulty == 0 { Ok(()) } else { Err(Problem::refused(format!("{faulty} of the files cannot be published"))) }
}

/// A file with what would become of it.
struct Planned {
    path: PathBuf,
    body: Value,
    plan: Value,
}

impl Planned {
    fn text(&self, key: &str) -> &str {
        self.plan[key].as_str().unwrap_or_default()
    }

    fn changes(&self) -> bool {
        self.text("outcome") != "unchanged"
    }

    /// Whether `--publish` has something to publish.
    fn waits_for_publishing(&self) -> bool {
        self.text("status") == "draft"
    }
}

async fn apply(door: &mut Door, args: ApplyArgs) -> Result<(), Problem> {
    let mut plans = Vec::new();
    for (path, body) in sound(&args.files)? {
        let plan = door.post("/api/workflows/import?dryRun=true", &body).await.map_err(|p| in_file(&path, &p))?;
        plans.push(Planned { path, body, plan });
    }
    if !args.json {
        plans.iter().for_each(|p| print_plan(p, args.publish));
    }
    let todo = |p: &Planned| p.changes() || (args.publish && p.waits_for_publishing());
    if !args.yes && plans.iter().any(todo) && !agreed()? {
        return Err(Problem::refused("Nothing was changed."));
    }
    let mut items = Vec::new();
    for planned in plans {
        let published = args.publish && planned.waits_for_publishing();
        let mut done = planned.plan.clone();
        if planned.changes() {
            done = door.post("/api/workflows/import", &planned.body).await.map_err(|p| in_file(&planned.path, &p))?;
        }
        if published {
            let id = done["id"].as_str().unwrap_or_default().to_owned();
            let active = door
                .post(&format!("/api/workflows/{id}/publish"), &json!({}))
                .await
                .map_err(|p| in_file(&planned.path, &p))?;
            done["status"] = active["status"].clone();
            done["version"] = active["version"].clone();
        }
        done["file"] = json!(planned.path);
        done["published"] = json!(published);
        if !args.json && (planned.changes() || published) {
            let status = done["status"].as_str().unwrap_or_default();
            println!("{} is {status}", done["key"].as_str().unwrap_or_default());
        }
        items.push(done);
    }
    if args.json {
        println!("{}", json!({ "items": items }));
    }
    Ok(())
}

/// The bodies of files of which every one is sound; else nothing is done.
fn sound(given: &[PathBuf]) -> Result<Vec<(PathBuf, Value)>, Problem> {
    let mut faults = Vec::new();
    let mut bodies = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files(given)? {
        let (errors, _) = file.checked();
        faults.extend(errors.iter().map(|f| file.line(f, "error")));
        let Ok(document) = file.document else { continue };
        let name = document.key.clone().unwrap_or_else(|| document.definition.name.clone());
        if let Some(other) = seen.insert(name.clone(), file.path.clone()) {
            faults.push(format!("{}: error: {name} is in {} too", file.path.display(), other.display()));
        }
        let mut body = serde_json::to_value(&document.definition).map_err(Problem::internal)?;
        if let Some(key) = document.key {
            body["key"] = Value::from(key);
        }
        bodies.push((file.path, body));
    }
    if faults.is_empty() { Ok(bodies) } else { Err(Problem::refused(format!("Nothing was changed.\n{}", faults.join("\n")))) }
}

fn in_file(path: &Path, problem: &Problem) -> Problem {
    Problem::refused(format!("{}: {problem}", path.display()))
}

fn print_plan(planned: &Planned, publish: bool) {
    let word = match planned.text("outcome") {
        "created" => "create",
        "changed" => "change",
        other => other,
    };
    let then = if publish && planned.waits_for_publishing() { ", publish" } else { "" };
    let key = planned.plan["key"].as_str().unwrap_or_else(|| planned.text("name"));
    println!("{word}{then}: {key} ({})", planned.path.display());
    for change in planned.plan["changes"].as_array().into_iter().flatten() {
        println!("  {}", change_line(change));
    }
    for warning in planned.plan["warnings"].as_array().into_iter().flatten() {
        let text = |key: &str| warning[key].as_str().unwrap_or_default().to_owned();
        println!("  warning: {}: {}", text("path"), text("message"));
    }
}

fn change_line(change: &Value) -> String {
    let path = change["path"].as_str().unwrap_or_default();
    let shown = |key: &str| shorten(&change[key]);
    match change["kind"].as_str() {
        Some("added") => format!("+ {path}: {}", shown("new")),
        Some("removed") => format!("- {path}: {}", shown("old")),
        _ => format!("~ {path}: {} -> {}", shown("old"), shown("new")),
    }
}

/// A value in few characters.
fn shorten(value: &Value) -> String {
    const MOST: usize = 80;
    let text = value.to_string();
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain("…".chars()).collect() }
}

fn agreed() -> Result<bool, Problem> {
    if !std::io::stdin().is_terminal() {
        return Err(Problem::refused("Nothing was changed: nobody can be asked here. Add --yes."));
    }
    print!("Do this? [y/N] ");
    std::io::stdout().flush().map_err(Problem::internal)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Problem::internal)?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Every version that a list has.
async fn versions(door: &mut Door, filter: &[(&str, Option<&str>)]) -> Result<Vec<Value>, Problem> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut params = vec![("limit", Some("200")), ("cursor", cursor.as_deref())];
        params.extend_from_slice(filter);
        let page = door.get(&query("/api/workflows", &params)).await?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        cursor = page["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(items);
        }
    }
}

/// The active versions and drafts of the workflow with this key, or else with this name.
async fn find(door: &mut Door, text: &str) -> Result<Vec<Value>, Problem> {
    let mut found = versions(door, &[("key", Some(text))]).await?;
    if found.is_empty() {
        found = versions(door, &[("q", Some(text))]).await?;
        found.retain(|w| w["name"] == text);
    }
    found.retain(|w| w["status"] != "deprecated");
    let mut keys: Vec<&str> = found.iter().filter_map(|w| w["key"].as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() > 1 {
        return Err(Problem::refused(format!("Several workflows are called {text}; name one by its key: {}", keys.join(", "))));
    }
    if found.is_empty() { Err(Problem::missing("workflow", text)) } else { Ok(found) }
}

/// Of each workflow the active version, or its draft when it has none.
fn newest(all: Vec<Value>) -> Vec<Value> {
    let mut chosen: BTreeMap<String, Value> = BTreeMap::new();
    for version in all.into_iter().filter(|w| w["status"] != "deprecated") {
        let key = version["key"].as_str().unwrap_or_default().to_owned();
        if version["status"] == "active" || !chosen.contains_key(&key) {
            chosen.insert(key, version);
        }
    }
    chosen.into_values().collect()
}

async fn export(door: &mut Door, args: ExportArgs) -> Result<(), Problem> {
    let found = match &args.workflow {
        Some(text) => find(door, text).await?,
        None => versions(door, &[]).await?,
    };
    let format = match args.format {
        FileFormat::Yaml => Format::Yaml,
        FileFormat::Json => Format::Json,
    };
    let mut written = Vec::new();
    for version in newest(found) {
        let (key, text) = whole(door, &version, if args.out.is_none() && args.json { Format::Json } else { format }).await?;
        let Some(folder) = &args.out else {
            print!("{text}");
            continue;
        };
        std::fs::create_dir_all(folder).map_err(|e| unreadable(folder, &e))?;
        let path = folder.join(format!("{key}.{}", format.ending()));
        std::fs::write(&path, text).map_err(|e| unreadable(&path, &e))?;
        if !args.json {
            println!("{}", path.display());
        }
        written.push(json!({ "key": key, "file": path, "version": version["version"], "status": version["status"] }));
    }
    if args.json && args.out.is_some() {
        println!("{}", json!({ "items": written }));
    }
    Ok(())
}

/// Key and text of a version.
async fn whole(door: &mut Door, version: &Value, format: Format) -> Result<(String, String), Problem> {
    let id = version["id"].as_str().unwrap_or_default();
    let workflow = door.get(&format!("/api/workflows/{id}")).await?;
    let key = workflow["key"].as_str().unwrap_or_default().to_owned();
    let definition: Definition = serde_json::from_value(workflow["definition"].clone()).map_err(Problem::internal)?;
    let text = text::write(&key, &definition, format).map_err(Problem::internal)?;
    Ok((key, text))
}

async fn start(door: &mut Door, args: StartArgs) -> Result<(), Problem> {
    let found = find(door, &args.workflow).await?;
    let Some(active) = found.iter().find(|w| w["status"] == "active") else {
        return Err(Problem::refused(format!("{} has no active version. Publish it first.", args.workflow)));
    };
    let subject = match &args.subject {
        Some(text) => Some(person(door, text).await?),
        None => None,
    };
    let path = format!("/api/workflows/{}/start", active["id"].as_str().unwrap_or_default());
    let run = door.post(&path, &json!({ "subjectId": subject, "input": args.input })).await?;
    if args.json {
        println!("{run}");
    } else {
        let text = |key: &str| run[key].as_str().unwrap_or_default().to_owned();
        println!("{} is {}", text("id"), text("status"));
    }
    Ok(())
}

/// The id of a person by id or address.
async fn person(door: &mut Door, text: &str) -> Result<String, Problem> {
    if !text.contains('@') {
        return Ok(text.to_owned());
    }
    let found = door.get(&query("/api/people", &[("q", Some(text)), ("limit", Some("200"))])).await?;
    let same = |p: &&Value| p["email"].as_str().is_some_and(|e| e.eq_ignore_ascii_case(text));
    let found = found["items"].as_array().into_iter().flatten().find(same).and_then(|p| p["id"].as_str().map(str::to_owned));
    found.ok_or_else(|| Problem::missing("person", text))
}
