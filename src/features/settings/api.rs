//! Settings over HTTP: Admin > Security Settings and Admin > Logging.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    BuiltIn, Effective, FOUR_EYES, LOG_LEVEL, LOG_RETENTION, MAX_REMOVAL_PERCENT, MAX_REMOVALS, NumberSetting, REASON_POLICY,
    ReasonPolicy, STUCK_RUN_TIMEOUT, SavedBy, Source, Started, ops,
};
use crate::base::access::may;
use crate::base::problem::Problem;
use crate::base::time::Timestamp;
use crate::platform::http::{Allowed, Body, Failure, Routes, nullable};
use crate::platform::store::{Store, Tx};

/// Judges a log filter and puts it into force.
pub type LevelPort = std::sync::Arc<dyn Fn(&str, bool) -> Result<(), String> + Send + Sync>;

/// What the routes need.
#[derive(Clone)]
pub struct SettingsApi {
    /// The business database.
    pub store: Store,
    /// What the process was started with.
    pub started: StartedSettings,
    /// Checks a filter (`false`) or puts it into force (`true`).
    pub level: LevelPort,
}

/// Values of the environment.
#[derive(Debug, Clone)]
pub struct StartedSettings {
    /// Whether the rule of the second person is on: in production.
    pub four_eyes: Started<bool>,
    /// `STUCK_RUN_TIMEOUT_MINUTES`.
    pub stuck_run_timeout_minutes: Started<u32>,
    /// `LOG_RETENTION_DAYS`.
    pub log_retention_days: Started<u32>,
    /// `LOG_LEVEL`.
    pub log_level: Started<String>,
}

/// The routes of settings.
pub fn routes(state: SettingsApi) -> Routes {
    OpenApiRouter::new()
        .routes(routes!(get_security, put_security))
        .routes(routes!(get_logging, put_logging))
        .with_state(state)
}

/// A whole number in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NumberInForce {
    /// The value.
    value: u32,
    /// Where it comes from.
    source: Source,
    /// Smallest value taken.
    min: u32,
    /// Largest value taken.
    max: u32,
    /// Who saved it.
    changed_by: Option<ChangedBy>,
    /// When it was saved.
    changed_at: Option<Timestamp>,
}

/// A text in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct TextInForce {
    /// The value.
    value: String,
    /// Where it comes from.
    source: Source,
    /// Who saved it.
    changed_by: Option<ChangedBy>,
    /// When it was saved.
    changed_at: Option<Timestamp>,
}

/// When a decision needs a reason, as it is in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReasonPolicyInForce {
    /// The value.
    value: ReasonPolicy,
    /// Where it comes from.
    source: Source,
    /// Who saved it.
    changed_by: Option<ChangedBy>,
    /// When it was saved.
    changed_at: Option<Timestamp>,
}

/// A switch in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct FlagInForce {
    /// The value.
    value: bool,
    /// Where it comes from.
    source: Source,
    /// Who saved it.
    changed_by: Option<ChangedBy>,
    /// When it was saved.
    changed_at: Option<Timestamp>,
}

/// Days in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct DaysInForce {
    /// The days, the most first; none means off.
    value: Vec<u32>,
    /// Where they come from.
    source: Source,
    /// Who saved them.
    changed_by: Option<ChangedBy>,
    /// When they were saved.
    changed_at: Option<Timestamp>,
}

/// Who saved a setting.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChangedBy {
    /// The actor's id.
    id: String,
    /// The person's name; of an actor who is no person, the id.
    display_name: String,
}

/// Admin > Security Settings.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct SecuritySettings {
    /// Minutes without progress after which a running run is failed.
    stuck_run_timeout_minutes: NumberInForce,
    /// When a decision about an approval needs a reason.
    reason_policy: ReasonPolicyInForce,
    /// Whether what opens a way around an approval needs a second person.
    four_eyes: FlagInForce,
    /// Of a hundred accounts, so many may go by reconciliations in a day without an approval.
    reconciliation_max_removal_percent: NumberInForce,
    /// So many accounts may go by reconciliations in a day without an approval.
    reconciliation_max_removals: NumberInForce,
    /// So many days before access or a document ends, its person is reminded.
    expiry_reminder_days: DaysInForce,
}

/// Admin > Logging.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
struct LoggingSettings {
    /// Days that log entries are kept.
    retention_days: NumberInForce,
    /// The filter of the log.
    level: TextInForce,
}

/// Any subset; null goes back to environment or default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SecurityChange {
    /// 1 to 10080.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    stuck_run_timeout_minutes: Option<Option<u32>>,
    /// `reject` or `both`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ReasonPolicy>)]
    reason_policy: Option<Option<ReasonPolicy>>,
    /// Nobody switches it off alone; see `POST /api/exceptions`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<bool>)]
    four_eyes: Option<Option<bool>>,
    /// 0 to 100.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    reconciliation_max_removal_percent: Option<Option<u32>>,
    /// 0 to 1000000.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    reconciliation_max_removals: Option<Option<u32>>,
    /// At most 5 different whole days, each 1 to 365; none switches reminders off.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<u32>>)]
    expiry_reminder_days: Option<Option<Vec<u32>>>,
}

/// Any subset; null goes back to environment or default.
#[derive(Debug, Clone, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoggingChange {
    /// 1 to 3650.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    retention_days: Option<Option<u32>>,
    /// A filter such as `info` or `info,tenure=debug`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    level: Option<Option<String>>,
}

/// The security settings in force.
#[utoipa::path(get, path = "/api/settings/security", tag = "settings",
    responses((status = 200, body = SecuritySettings)))]
async fn get_security(_: Allowed<may::SettingsRead>, State(api): State<SettingsApi>) -> Result<Json<SecuritySettings>, Failure> {
    let started = api.started.clone();
    Ok(Json(api.store.read(move |tx| security(tx, &started)).await?))
}

/// Changes any subset of the security settings.
#[utoipa::path(put, path = "/api/settings/security", tag = "settings", request_body = SecurityChange,
    responses((status = 200, body = SecuritySettings), (status = 409), (status = 422)))]
async fn put_security(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<SettingsApi>,
    Body(change): Body<SecurityChange>,
) -> Result<Json<SecuritySettings>, Failure> {
    let started = api.started.clone();
    let answer = api.store.write(move |tx| {
        if let Some(days) = &change.expiry_reminder_days {
            ops::set_reminder_days(tx, &caller.principal, days.clone())?;
        }
        if let Some(value) = change.stuck_run_timeout_minutes {
            ops::set_number(tx, &caller.principal, STUCK_RUN_TIMEOUT, value)?;
        }
        if let Some(value) = change.reason_policy {
            ops::set(tx, &caller.principal, REASON_POLICY, value.map(ReasonPolicy::as_str))?;
        }
        if let Some(value) = change.four_eyes {
            ops::set_four_eyes(tx, &caller.principal, value, &started.four_eyes)?;
        }
        for (of, value) in [
            (MAX_REMOVAL_PERCENT, change.reconciliation_max_removal_percent),
            (MAX_REMOVALS, change.reconciliation_max_removals),
        ] {
            if let Some(value) = value {
                ops::set_number(tx, &caller.principal, of.setting, value)?;
            }
        }
        security(tx, &started)
    });
    Ok(Json(answer.await?))
}

/// The logging settings in force.
#[utoipa::path(get, path = "/api/settings/logging", tag = "settings",
    responses((status = 200, body = LoggingSettings)))]
async fn get_logging(_: Allowed<may::SettingsRead>, State(api): State<SettingsApi>) -> Result<Json<LoggingSettings>, Failure> {
    let started = api.started.clone();
    Ok(Json(api.store.read(move |tx| logging(tx, &started)).await?))
}

/// Changes any subset of the logging settings.
#[utoipa::path(put, path = "/api/settings/logging", tag = "settings", request_body = LoggingChange,
    responses((status = 200, body = LoggingSettings), (status = 422)))]
async fn put_logging(
    caller: Allowed<may::SettingsWrite>,
    State(api): State<SettingsApi>,
    Body(change): Body<LoggingChange>,
) -> Result<Json<LoggingSettings>, Failure> {
    if let Some(Some(level)) = &change.level {
        (api.level)(level, false).map_err(|e| Problem::field("level", e))?;
    }
    let started = api.started.clone();
    let answer = api
        .store
        .write(move |tx| {
            if let Some(value) = change.retention_days {
                ops::set_number(tx, &caller.principal, LOG_RETENTION, value)?;
            }
            if let Some(value) = &change.level {
                ops::set(tx, &caller.principal, LOG_LEVEL, value.as_deref())?;
            }
            logging(tx, &started)
        })
        .await?;
    if let Err(error) = (api.level)(&answer.level.value, true) {
        tracing::warn!(error, "the log filter was saved but not put into force");
    }
    Ok(Json(answer))
}

fn security(tx: &Tx<'_>, started: &StartedSettings) -> Result<SecuritySettings, Problem> {
    let timeout = ops::number(tx, STUCK_RUN_TIMEOUT, &started.stuck_run_timeout_minutes)?;
    let policy = ops::reason_policy(tx)?;
    let four_eyes = ops::flag(tx, FOUR_EYES, &started.four_eyes)?;
    let days = ops::reminder_days(tx)?;
    Ok(SecuritySettings {
        stuck_run_timeout_minutes: number_in_force(timeout, STUCK_RUN_TIMEOUT.min, STUCK_RUN_TIMEOUT.max),
        reason_policy: ReasonPolicyInForce {
            value: policy.value,
            source: policy.source,
            changed_by: policy.changed_by.map(changed_by),
            changed_at: policy.changed_at,
        },
        four_eyes: FlagInForce {
            value: four_eyes.value,
            source: four_eyes.source,
            changed_by: four_eyes.changed_by.map(changed_by),
            changed_at: four_eyes.changed_at,
        },
        reconciliation_max_removal_percent: built_in(tx, MAX_REMOVAL_PERCENT)?,
        reconciliation_max_removals: built_in(tx, MAX_REMOVALS)?,
        expiry_reminder_days: DaysInForce {
            value: days.value.days().to_vec(),
            source: days.source,
            changed_by: days.changed_by.map(changed_by),
            changed_at: days.changed_at,
        },
    })
}

fn logging(tx: &Tx<'_>, started: &StartedSettings) -> Result<LoggingSettings, Problem> {
    let days = ops::number(tx, LOG_RETENTION, &started.log_retention_days)?;
    let level = ops::text(tx, LOG_LEVEL, &started.log_level)?;
    Ok(LoggingSettings {
        retention_days: number_in_force(days, LOG_RETENTION.min, LOG_RETENTION.max),
        level: TextInForce {
            value: level.value,
            source: level.source,
            changed_by: level.changed_by.map(changed_by),
            changed_at: level.changed_at,
        },
    })
}

impl NumberInForce {
    /// A setting as it stands.
    pub fn of(effective: Effective<u32>, setting: NumberSetting) -> Self {
        number_in_force(effective, setting.min, setting.max)
    }
}

fn built_in(tx: &Tx<'_>, of: BuiltIn) -> Result<NumberInForce, Problem> {
    Ok(NumberInForce::of(ops::built_in_number(tx, of)?, of.setting))
}

fn number_in_force(effective: Effective<u32>, min: u32, max: u32) -> NumberInForce {
    NumberInForce {
        value: effective.value,
        source: effective.source,
        min,
        max,
        changed_by: effective.changed_by.map(changed_by),
        changed_at: effective.changed_at,
    }
}

fn changed_by(by: SavedBy) -> ChangedBy {
    ChangedBy { id: by.id, display_name: by.name }
}
