//! BullMQ's structures in Redis: the names of its keys, and its scripts with their arguments.
//!
//! # Invariants
//! - Every change of a job's state goes through a script of BullMQ's own, so that a Node worker, a
//!   dashboard and Tenure see one queue.
//! - Times are milliseconds by Tenure's clock.

use super::pack::Pack;
use crate::base::id::TypedId as _;
use crate::base::time::Timestamp;
use crate::platform::queue::ledger::Ticket;
use crate::platform::queue::names::QUEUE;
use crate::platform::queue::retry::MAX_ATTEMPTS;
use crate::platform::redis::{Call, Script};

/// How long a lock lasts that is not extended, in milliseconds.
pub(super) const LOCK_MS: i64 = 15_000;
/// Finished jobs that are kept, as `removeOnComplete` and `removeOnFail` say.
const KEEP_COMPLETED: i64 = 1000;
const KEEP_FAILED: i64 = 5000;
/// How often a job may be found without a lock before BullMQ marks it; Tenure counts attempts itself.
const MAX_STALLED: i64 = 1;
/// Two checks for stalled jobs are at least this far apart, in milliseconds, whoever does them.
pub(super) const STALLED_EVERY_MS: i64 = 30_000;
/// The priority of jobs that call out: behind the jobs that stay inside Tenure.
const CALLS_OUT: i64 = 1;
/// A key of the queue that nothing is ever put under.
const NOWHERE: &str = "tenure-nowhere";
/// The field of a job that holds the fence of the attempt with which Tenure finished it.
pub(super) const FENCE_FIELD: &str = "tenureFence";

/// The keys of the queue.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    base: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { base: format!("{prefix}:{QUEUE}:") }
    }

    /// The key with this last part.
    pub(super) fn of(&self, last: &str) -> String {
        format!("{}{last}", self.base)
    }

    /// The hash of a job.
    pub(super) fn job(&self, id: &str) -> String {
        self.of(id)
    }

    /// The lock of a job.
    pub(super) fn lock(&self, id: &str) -> String {
        format!("{}{id}:lock", self.base)
    }

    fn all(&self, names: &[&str]) -> Vec<String> {
        names.iter().map(|n| self.of(n)).collect()
    }
}

/// The scripts, with the keys they work on.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) keys: Keys,
    add_standard: Script,
    add_prioritized: Script,
    add_delayed: Script,
    to_active: Script,
    to_finished: Script,
    to_delayed: Script,
    to_wait: Script,
    stalled: Script,
    extend: Script,
    remove: Script,
    pause: Script,
    promote: Script,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End<'a> {
    Completed,
    Failed(&'a str),
    /// Nothing of it is kept.
    Gone,
}

/// What stands in a job's hash after an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks<'a> {
    pub(super) attempts_made: u32,
    pub(super) fence: i64,
    /// Why the attempt failed, and the list of all reasons as JSON.
    pub(super) failed: Option<(&'a str, &'a str)>,
}

macro_rules! lua {
    ($name:literal) => {
        Script::new(include_str!(concat!("lua/", $name, ".lua")))
    };
}

impl Scripts {
    pub(super) fn new(keys: Keys) -> Self {
        Self {
            keys,
            add_standard: lua!("addStandardJob-9"),
            add_prioritized: lua!("addPrioritizedJob-9"),
            add_delayed: lua!("addDelayedJob-6"),
            to_active: lua!("moveToActive-11"),
            to_finished: lua!("moveToFinished-14"),
            to_delayed: lua!("moveToDelayed-11"),
            to_wait: lua!("moveJobFromActiveToWait-9"),
            stalled: lua!("moveStalledJobsToWait-9"),
            extend: lua!("extendLock-2"),
            remove: lua!("removeJob-2"),
            pause: lua!("pause-7"),
            promote: lua!("promote-9"),
        }
    }

    /// Puts a job in that is not there.
    pub(super) fn add(&self, ticket: &Ticket, now: Timestamp) -> Call<'_> {
        let delay = ticket.run_at.as_millis().saturating_sub(now.as_millis()).max(0);
        let id = ticket.id.as_str();
        let args = Pack::List(&[
            Pack::Str(&self.keys.base),
            Pack::Str(id),
            Pack::Str(&ticket.name),
            Pack::Int(if delay > 0 { now } else { ticket.created_at }.as_millis()),
            Pack::Nil,
            Pack::Nil,
            Pack::Nil,
            Pack::Nil,
            Pack::Nil,
        ]);
        let backoff = [("type", Pack::Str("exponential")), ("delay", Pack::Int(5000))];
        let (keep_done, keep_failed) = ([("count", Pack::Int(KEEP_COMPLETED))], [("count", Pack::Int(KEEP_FAILED))]);
        let mut opts = vec![
            ("attempts", Pack::Int(i64::from(MAX_ATTEMPTS))),
            ("backoff", Pack::Map(&backoff)),
            ("removeOnComplete", Pack::Map(&keep_done)),
            ("removeOnFail", Pack::Map(&keep_failed)),
            ("jobId", Pack::Str(id)),
        ];
        if delay > 0 {
            opts.push(("delay", Pack::Int(delay)));
        }
        if ticket.calls_out {
            opts.push(("priority", Pack::Int(CALLS_OUT)));
        }
        let args = vec![args.bytes(), ticket.payload.clone().into_bytes(), Pack::Map(&opts).bytes()];
        let keys = &self.keys;
        if delay > 0 {
            let keys = keys.all(&["marker", "meta", "id", "delayed", "completed", "events"]);
            Call { script: &self.add_delayed, keys, args }
        } else if ticket.calls_out {
            let keys =
                keys.all(&["marker", "meta", "id", "prioritized", "delayed", "completed", "active", "events", "pc"]);
            Call { script: &self.add_prioritized, keys, args }
        } else {
            let keys =
                keys.all(&["wait", "paused", "meta", "id", "completed", "delayed", "active", "events", "marker"]);
            Call { script: &self.add_standard, keys, args }
        }
    }

    /// Takes the next job under a lock of this token: those that stay inside come before those that call
    /// out.
    pub(super) fn take_next(&self, token: &str, worker: &str, now: Timestamp) -> Call<'_> {
        self.take(["wait", "delayed"], token, worker, now)
    }

    /// Takes the next job that calls out, if there is one. The script is made to see no others.
    pub(super) fn take_next_that_calls_out(&self, token: &str, worker: &str, now: Timestamp) -> Call<'_> {
        self.take([NOWHERE, NOWHERE], token, worker, now)
    }

    fn take(&self, [wait, delayed]: [&str; 2], token: &str, worker: &str, now: Timestamp) -> Call<'_> {
        let opts = Pack::Map(&[
            ("token", Pack::Str(token)),
            ("lockDuration", Pack::Int(LOCK_MS)),
            ("name", Pack::Str(worker)),
        ]);
        Call {
            script: &self.to_active,
            keys: self.keys.all(&[
                wait,
                "active",
                "prioritized",
                "events",
                "stalled",
                "limiter",
                delayed,
                "paused",
                "meta",
                "pc",
                "marker",
            ]),
            args: vec![self.keys.base.clone().into_bytes(), text(now.as_millis()), opts.bytes()],
        }
    }

    /// Ends a job that this token holds.
    pub(super) fn finish(&self, id: &str, token: &str, end: End<'_>, marks: Marks<'_>, now: Timestamp) -> Call<'_> {
        let (set, field, value, keep) = match end {
            End::Completed => ("completed", "returnvalue", "null", KEEP_COMPLETED),
            End::Failed(reason) => ("failed", "failedReason", reason, KEEP_FAILED),
            End::Gone => ("completed", "returnvalue", "null", 0),
        };
        let keep = [("count", Pack::Int(keep))];
        let opts = Pack::Map(&[
            ("token", Pack::Str(token)),
            ("keepJobs", Pack::Map(&keep)),
            ("lockDuration", Pack::Int(LOCK_MS)),
            ("attempts", Pack::Int(i64::from(MAX_ATTEMPTS))),
            ("maxMetricsSize", Pack::Str("")),
        ]);
        let mut keys = self.keys.all(&[
            "wait",
            "active",
            "prioritized",
            "events",
            "stalled",
            "limiter",
            "delayed",
            "paused",
            "meta",
            "pc",
            set,
        ]);
        keys.push(self.keys.job(id));
        keys.push(self.keys.of(&format!("metrics:{set}")));
        keys.push(self.keys.of("marker"));
        // The script counts one attempt more.
        let marks = Marks { attempts_made: marks.attempts_made.saturating_sub(1), ..marks };
        Call {
            script: &self.to_finished,
            keys,
            args: vec![
                id.as_bytes().to_vec(),
                text(now.as_millis()),
                field.as_bytes().to_vec(),
                value.as_bytes().to_vec(),
                set.as_bytes().to_vec(),
                b"0".to_vec(),
                self.keys.base.clone().into_bytes(),
                opts.bytes(),
                marks.bytes(true),
            ],
        }
    }

    /// Puts a job that this token holds off until `at`.
    pub(super) fn delay(&self, id: &str, token: &str, at: Timestamp, marks: Marks<'_>, now: Timestamp) -> Call<'_> {
        let mut keys = self.keys.all(&["marker", "active", "prioritized", "delayed"]);
        keys.push(self.keys.job(id));
        keys.extend(self.keys.all(&["events", "meta", "stalled", "wait", "limiter", "pc"]));
        let opts = Pack::Map(&[("token", Pack::Str(token)), ("lockDuration", Pack::Int(LOCK_MS))]);
        Call {
            script: &self.to_delayed,
            keys,
            args: vec![
                self.keys.base.clone().into_bytes(),
                text(now.as_millis()),
                id.as_bytes().to_vec(),
                token.as_bytes().to_vec(),
                text(at.as_millis().saturating_sub(now.as_millis()).max(0)),
                // The count is among the marks.
                b"1".to_vec(),
                marks.bytes(false),
                b"0".to_vec(),
                opts.bytes(),
            ],
        }
    }

    /// Lets a job go that this token holds; it is the next one then. The token `0` asks for no lock.
    pub(super) fn give_back(&self, id: &str, token: &str) -> Call<'_> {
        Call {
            script: &self.to_wait,
            keys: self.keys.all(&[
                "active",
                "wait",
                "stalled",
                "paused",
                "meta",
                "limiter",
                "prioritized",
                "marker",
                "events",
            ]),
            args: vec![id.as_bytes().to_vec(), token.as_bytes().to_vec(), self.keys.job(id).into_bytes()],
        }
    }

    /// BullMQ's check for jobs whose worker is gone.
    pub(super) fn check_stalled(&self, now: Timestamp) -> Call<'_> {
        Call {
            script: &self.stalled,
            keys: self.keys.all(&[
                "stalled",
                "wait",
                "active",
                "stalled-check",
                "meta",
                "paused",
                "marker",
                "events",
                "repeat",
            ]),
            args: vec![
                text(MAX_STALLED),
                self.keys.base.clone().into_bytes(),
                text(now.as_millis()),
                text(STALLED_EVERY_MS),
            ],
        }
    }

    /// Extends a lock; answers 1 unless it is lost.
    pub(super) fn extend(&self, id: &str, token: &str) -> Call<'_> {
        Call {
            script: &self.extend,
            keys: vec![self.keys.lock(id), self.keys.of("stalled")],
            args: vec![token.as_bytes().to_vec(), text(LOCK_MS), id.as_bytes().to_vec()],
        }
    }

    /// Removes a job that has no lock; answers 1, or 0 when it has one.
    pub(super) fn remove(&self, id: &str) -> Call<'_> {
        Call {
            script: &self.remove,
            keys: vec![self.keys.job(id), self.keys.of("repeat")],
            args: vec![id.as_bytes().to_vec(), b"0".to_vec(), self.keys.base.clone().into_bytes()],
        }
    }

    /// Holds the queue, or lets it go on.
    pub(super) fn pause(&self, paused: bool) -> Call<'_> {
        let (from, to, word) = if paused { ("wait", "paused", "paused") } else { ("paused", "wait", "resumed") };
        Call {
            script: &self.pause,
            keys: self.keys.all(&[from, to, "meta", "prioritized", "events", "delayed", "marker"]),
            args: vec![word.as_bytes().to_vec(), b"1".to_vec()],
        }
    }

    /// Lets a delayed job start now.
    pub(super) fn promote(&self, id: &str) -> Call<'_> {
        Call {
            script: &self.promote,
            keys: self.keys.all(&[
                "delayed",
                "wait",
                "paused",
                "meta",
                "prioritized",
                "active",
                "pc",
                "events",
                "marker",
            ]),
            args: vec![self.keys.base.clone().into_bytes(), id.as_bytes().to_vec()],
        }
    }
}

impl Marks<'_> {
    /// A list of field and value in turn. A finished job gets its reason by the script itself.
    fn bytes(self, finished: bool) -> Vec<u8> {
        let (made, fence) = (self.attempts_made.to_string(), self.fence.to_string());
        let mut fields = vec![Pack::Str("atm"), Pack::Str(&made)];
        if finished {
            fields.extend([Pack::Str(FENCE_FIELD), Pack::Str(&fence)]);
        }
        if let Some((reason, trace)) = self.failed {
            fields.extend([Pack::Str("stacktrace"), Pack::Str(trace)]);
            if !finished {
                fields.extend([Pack::Str("failedReason"), Pack::Str(reason)]);
            }
        }
        Pack::List(&fields).bytes()
    }
}

fn text(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
