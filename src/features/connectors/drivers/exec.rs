//! Programs on this machine, each allowed by name when Tenure is started.
//!
//! # Invariants
//! - Only a program in `CONNECTOR_EXEC_PROGRAMS` is run; nothing inside Tenure adds one.
//! - There is no shell: arguments are a list, and what a call brings comes as JSON on standard input. The
//!   secret does as well, so that no list of processes shows it.
//! - A program sees nothing of Tenure's environment, and its children end with it, in whatever group they are by
//!   then ([`super::exec_strays`]).
//! - Output that is too large, no JSON, or of the wrong form is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::super::{
    CallAnswer, CallFailure, CallFuture, CommandSpec, Driver, Found, ListFuture, ListPage, ListRequest, ParamSpec, Target,
};
use super::{check_timeout, command, exec_strays, fault, listing, param, read_config};
use crate::base::id::Ids;
use crate::base::problem::FieldError;
use crate::platform::clock::SystemIds;

const ARGUMENTS: ParamSpec = param("arguments", "array", false, "texts; each is one argument of the program");
const INPUT: ParamSpec = param("input", "any", false, "what the program gets as `input` on its standard input");

/// What a program understands.
pub const COMMANDS: &[CommandSpec] = &[
    command("run", true, "Runs the program; running it again with the same key must change nothing more.", &[ARGUMENTS, INPUT]),
    command("check", false, "Runs the program, which prints {\"present\": true} or {\"present\": false}.", &[ARGUMENTS, INPUT]),
    listing("list", "Runs the program, which prints {\"items\": [{\"key\": …, \"attributes\": {…}}], \"next\": …}.", &[ARGUMENTS, INPUT]),
];

/// What the program gets as `secret` on its standard input.
pub const SECRETS: &[&str] = &["secret"];

/// The most arguments of a call, and the most bytes of one.
const MAX_ARGUMENTS: usize = 64;
const MAX_ARGUMENT: usize = 4096;
/// How much of what a program complains about is read.
const MAX_COMPLAINT: usize = 32 * 1024;
/// The exit status by which a program says that it may work later: `EX_TEMPFAIL`.
const TRY_LATER: i32 = 75;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Config {
    /// The name of an allowed program.
    program: String,
    /// The arguments before those of a call.
    #[serde(default)]
    arguments: Vec<String>,
    timeout_seconds: Option<u64>,
}

pub(super) fn destination(config: &Value) -> Option<String> {
    // By its arguments a program may be told where to take the secret.
    read_config::<Config>(config).ok().map(|c| format!("program {} {:?}", c.program, c.arguments))
}

pub(super) fn check_config(config: &Value) -> Vec<FieldError> {
    let config: Config = match read_config(config) {
        Ok(config) => config,
        Err(fault) => return vec![fault],
    };
    let mut faults = Vec::new();
    if config.program.is_empty() {
        faults.push(fault("program", "expected the name of a program that CONNECTOR_EXEC_PROGRAMS allows"));
    }
    if let Err(why) = check_arguments(&config.arguments) {
        faults.push(fault("arguments", why));
    }
    faults.extend(check_timeout(config.timeout_seconds));
    faults
}

fn check_arguments(arguments: &[String]) -> Result<(), String> {
    if arguments.len() > MAX_ARGUMENTS {
        return Err(format!("expected at most {MAX_ARGUMENTS}"));
    }
    if arguments.iter().any(|a| a.len() > MAX_ARGUMENT || a.contains('\0')) {
        return Err(format!("expected texts of at most {MAX_ARGUMENT} bytes without NUL"));
    }
    Ok(())
}

/// Runs programs.
pub(in super::super) struct ExecDriver {
    programs: BTreeMap<String, PathBuf>,
}

impl ExecDriver {
    pub(super) fn new(programs: BTreeMap<String, PathBuf>) -> Self {
        Self { programs }
    }

    /// What the settings need that whoever started Tenure did not allow.
    pub(super) fn allowed(&self, config: &Value) -> Vec<FieldError> {
        let Ok(config) = read_config::<Config>(config) else { return Vec::new() };
        if self.programs.contains_key(&config.program) {
            return Vec::new();
        }
        let message = format!(
            "{:?} is no name in CONNECTOR_EXEC_PROGRAMS, by which programs are allowed when Tenure is started",
            config.program
        );
        vec![fault("program", message)]
    }

    async fn run(&self, target: &Target, input: Map<String, Value>, more: &[String]) -> Result<Value, CallFailure> {
        let config: Config = read_config(&target.config).map_err(|e| CallFailure::lasting("bad_config", e.message))?;
        let path = self.programs.get(&config.program).ok_or_else(|| {
            let name = &config.program;
            CallFailure::lasting("not_listed", format!("{name:?} is no program that CONNECTOR_EXEC_PROGRAMS allows"))
        })?;
        let mut input = input;
        if let Some(secret) = target.secrets.get("secret") {
            input.insert("secret".to_owned(), secret.as_str().into());
        }
        let text = Value::Object(input).to_string().into_bytes();
        let arguments = config.arguments.iter().chain(more);
        let running = Running::start(path, arguments, &SystemIds)?;
        let limit = Duration::from_secs(config.timeout_seconds.unwrap_or(10));
        let ended = tokio::time::timeout(limit, running.finish(text, target.policy.max_answer_bytes)).await;
        let ended = ended.map_err(|_| {
            CallFailure::passing("timeout", format!("the program did not end within {} s and was ended", limit.as_secs()))
        })??;
        ended.judge(target)
    }
}

impl Driver for ExecDriver {
    /// Nothing is run: nobody knows what a program does that is only tried.
    fn test<'a>(&'a self, target: &'a Target) -> CallFuture<'a> {
        Box::pin(async move {
            match self.allowed(&target.config).pop() {
                Some(fault) => Err(CallFailure::lasting("not_listed", fault.message)),
                None => Ok(CallAnswer { output: json!({ "ok": true }) }),
            }
        })
    }

    fn execute<'a>(&'a self, target: &'a Target, command: &'a str, params: &'a Value, key: &'a str) -> CallFuture<'a> {
        Box::pin(async move {
            let mut input = input_of(command, params);
            input.insert("key".to_owned(), key.into());
            let output = self.run(target, input, &arguments_of(params)?).await?;
            if command != "check" {
                return Ok(CallAnswer { output });
            }
            match output.get("present").and_then(Value::as_bool) {
                Some(present) => Ok(CallAnswer { output: json!({ "present": present }) }),
                None => Err(CallFailure::bad_answer("expected {\"present\": true} or {\"present\": false}")),
            }
        })
    }

    fn list<'a>(&'a self, target: &'a Target, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(async move {
            let mut input = input_of("list", &request.params);
            input.insert("limit".to_owned(), request.limit.into());
            input.insert("cursor".to_owned(), json!(request.cursor));
            page(self.run(target, input, &arguments_of(&request.params)?).await?)
        })
    }
}

fn input_of(command: &str, params: &Value) -> Map<String, Value> {
    let input = params.get("input").cloned().unwrap_or_default();
    Map::from_iter([("command".to_owned(), command.into()), ("input".to_owned(), input)])
}

fn arguments_of(params: &Value) -> Result<Vec<String>, CallFailure> {
    let given = match params.get("arguments") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(given) => given.as_array().and_then(|all| all.iter().map(|v| v.as_str().map(str::to_owned)).collect()),
    };
    let given: Vec<String> = given.ok_or_else(|| CallFailure::param("arguments", "expected a list of texts"))?;
    check_arguments(&given).map_err(|why| CallFailure::param("arguments", why))?;
    Ok(given)
}

/// What a program prints for a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Printed {
    items: Vec<PrintedItem>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrintedItem {
    key: String,
    #[serde(default)]
    attributes: Map<String, Value>,
}

fn page(output: Value) -> Result<ListPage, CallFailure> {
    let printed: Printed = serde_json::from_value(output).map_err(CallFailure::bad_answer)?;
    let items = printed.items.into_iter().map(|i| Found { key: i.key, attributes: i.attributes.into() }).collect();
    Ok(match printed.next {
        Some(next) => ListPage::more(items, next),
        None => ListPage::last(items),
    })
}

/// A program that runs, with all that it started; ended when dropped.
struct Running {
    child: Child,
    group: Group,
}

/// The processes that a program started, itself included; none once they were ended, because the number of
/// a group is given to others afterwards.
struct Group {
    leader: Mutex<Option<Pid>>,
    mark: String,
}

impl Group {
    fn end(&self) {
        if let Some(leader) = self.leader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // None may be left, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
            exec_strays::end(self.mark.clone());
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a program ended.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Running {
    fn start<'a>(
        path: &Path,
        arguments: impl Iterator<Item = &'a String>,
        ids: &dyn Ids,
    ) -> Result<Self, CallFailure> {
        let mark = format!("{:032x}", ids.next_random());
        let child = Command::new(path)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env(exec_strays::VARIABLE, &mark)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| CallFailure::lasting("cannot_run", format!("the program cannot be run: {}", e.kind())))?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: Group { leader: Mutex::new(leader), mark } })
    }

    async fn finish(mut self, input: Vec<u8>, most: usize) -> Result<Ended, CallFailure> {
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let group = &self.group;
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not want to read it need not.
                let _ = stdin.write_all(&input).await;
            }
        };
        let output = async {
            let read = read(stdout, most, false).await;
            if read.len() > most {
                group.end();
            }
            read
        };
        let waiting = async {
            let status = self.child.wait().await;
            // What it left behind would hold the pipes open.
            group.end();
            status
        };
        let ((), output, complaint, status) = tokio::join!(feed, output, read(stderr, MAX_COMPLAINT, true), waiting);
        if output.len() > most {
            return Err(CallFailure::lasting("too_large", format!("the program printed more than {most} bytes")));
        }
        let status = status.map_err(|e| CallFailure::passing("broken", format!("the program was lost: {}", e.kind())))?;
        Ok(Ended { status, output, complaint })
    }
}

/// What comes, and one byte more than `most` where more comes; the rest is thrown away if `drain` says so.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize, drain: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let mut limited = from.take(most as u64 + 1);
        // What came before it broke off is judged as it is.
        let _ = limited.read_to_end(&mut bytes).await;
        if drain {
            let _ = tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink()).await;
        }
    }
    bytes
}

impl Ended {
    fn judge(&self, target: &Target) -> Result<Value, CallFailure> {
        if self.status.success() {
            return serde_json::from_slice(&self.output).map_err(|_| CallFailure::bad_answer("it is no JSON"));
        }
        let said = String::from_utf8_lossy(&self.complaint);
        // All of it: a part of a secret may be left where a text is cut.
        let hidden = said.trim().is_empty() || target.secrets.values().any(|s| said.contains(s.as_str()));
        let said = if hidden { String::new() } else { format!(": {}", said.trim().chars().take(300).collect::<String>()) };
        match self.status.code() {
            Some(code) => Err(CallFailure {
                message: format!("the program ended with {code}{said}"),
                code: format!("exit_{code}"),
                retryable: code == TRY_LATER,
            }),
            None => Err(CallFailure::passing("killed", format!("the program was ended by a signal{said}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_list_has_its_form_or_is_none() {
        assert!(page(json!({ "items": [] })).unwrap().complete);
        let more = page(json!({ "items": [{ "key": "a", "attributes": { "b": 1 } }], "next": "2" })).unwrap();
        assert_eq!((more.items[0].attributes["b"].as_i64(), more.complete), (Some(1), false));
        for wrong in [json!([]), json!({}), json!({ "items": ["a"] }), json!({ "items": [{}] }), json!({ "items": [], "nxt": "2" }), json!({ "items": [], "next": 2 })] {
            assert_eq!(page(wrong.clone()).unwrap_err().code, "bad_answer", "{wrong}");
        }
    }

    #[test]
    fn the_secret_is_for_a_program_with_its_arguments() {
        let to = |config: Value| destination(&config).expect("a destination");
        let here = to(json!({ "program": "badges", "arguments": ["--host", "a"] }));
        assert_eq!(here, to(json!({ "program": "badges", "arguments": ["--host", "a"], "timeoutSeconds": 3 })));
        assert_ne!(here, to(json!({ "program": "badges", "arguments": ["--host", "b"] })));
    }

    #[tokio::test]
    async fn a_group_is_ended_once_because_its_number_is_given_to_others() {
        let running = Running::start(Path::new("/bin/sleep"), [&"60".to_owned()].into_iter(), &SystemIds).expect("it runs");
        let Running { mut child, group } = running;
        assert!(group.leader.lock().unwrap().is_some());
        group.end();
        assert!(!child.wait().await.expect("ended").success());
        assert_eq!(*group.leader.lock().unwrap(), None);
    }

    #[test]
    fn arguments_are_texts_in_a_list() {
        assert_eq!(arguments_of(&json!({ "arguments": ["a b", "$(c)", "; d"] })).unwrap(), ["a b", "$(c)", "; d"]);
        for wrong in [json!("a"), json!([1]), json!(["a\0"]), json!(vec!["a"; 65]), json!(["a".repeat(5000)])] {
            assert!(arguments_of(&json!({ "arguments": wrong })).is_err());
        }
    }
}
