//! Jobs, logs, shutdown.

use std::time::Duration;

use tracing_subscriber::filter::Targets;

use super::{AppEnv, Reader};
use crate::platform::faults::{Fault, POINTS};

/// How Tenure works in the background.
#[derive(Debug, Clone)]
pub struct OperationConfig {
    /// `JOB_CONCURRENCY`.
    pub job_concurrency: u32,
    /// `STUCK_RUN_TIMEOUT_MINUTES`, and whether it was set.
    pub stuck_run_timeout_minutes: (u32, bool),
    /// `LOG_RETENTION_DAYS`, and whether it was set.
    pub log_retention_days: (u32, bool),
    /// `LOG_LEVEL`, and whether it was set.
    pub log_level: (String, bool),
    /// `SHUTDOWN_GRACE_SECONDS`.
    pub shutdown_grace: Duration,
    /// `TENURE_FAULT`: points armed for a test.
    pub faults: Vec<(String, Fault)>,
}

pub(super) fn read(r: &mut Reader, env: AppEnv) -> OperationConfig {
    let stuck_set = r.is_set("STUCK_RUN_TIMEOUT_MINUTES");
    let retention_set = r.is_set("LOG_RETENTION_DAYS");
    let level = r.text("LOG_LEVEL");
    if let Some(level) = &level
        && let Err(e) = parse_filter(level)
    {
        r.fault("LOG_LEVEL", Some(level), e.trim_start_matches("expected "));
    }
    OperationConfig {
        job_concurrency: r.number("JOB_CONCURRENCY", 16, 1, 256),
        stuck_run_timeout_minutes: (r.number("STUCK_RUN_TIMEOUT_MINUTES", 30, 1, 10_080), stuck_set),
        log_retention_days: (r.number("LOG_RETENTION_DAYS", 30, 1, 3_650), retention_set),
        log_level: (level.clone().unwrap_or_else(|| "info".to_owned()), level.is_some()),
        shutdown_grace: Duration::from_secs(r.number("SHUTDOWN_GRACE_SECONDS", 30, 1, 600)),
        faults: faults(r, env),
    }
}

/// Reads a filter such as `info,tenure=debug`.
///
/// A bare word must be a level: a misspelt one would be taken for a module and silence the log.
pub fn parse_filter(text: &str) -> Result<Targets, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let expected = |why: String| format!("expected a filter such as info or info,tenure=debug ({why})");
    let unknown = text.split(',').map(str::trim).find(|part| {
        !part.contains('=') && !part.contains("::") && !LEVELS.contains(&part.to_ascii_lowercase().as_str())
    });
    if let Some(word) = unknown {
        return Err(expected(format!("{word:?} is no level")));
    }
    text.parse().map_err(|e: tracing_subscriber::filter::ParseError| expected(e.to_string()))
}

fn faults(r: &mut Reader, env: AppEnv) -> Vec<(String, Fault)> {
    let Some(text) = r.text("TENURE_FAULT") else { return Vec::new() };
    if env == AppEnv::Production {
        r.fault("TENURE_FAULT", Some(&text), "not to be set in production: it makes Tenure fail on purpose");
        return Vec::new();
    }
    let mut armed = Vec::new();
    for part in text.split(',') {
        let fault = match part.split_once('=') {
            Some((point, "exit")) if POINTS.contains(&point) => Some((point, Fault::Exit)),
            Some((point, "error")) if POINTS.contains(&point) => Some((point, Fault::Error)),
            _ => None,
        };
        let Some((point, fault)) = fault else {
            let points = POINTS.join(", ");
            let expected = format!("a comma list of point=exit or point=error, where point is one of {points}");
            r.fault("TENURE_FAULT", Some(&text), expected);
            return Vec::new();
        };
        armed.push((point.to_owned(), fault));
    }
    armed
}
