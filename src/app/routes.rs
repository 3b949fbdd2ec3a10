//! All routes in one place, and the document that describes them.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::writes::describe;
use crate::config::{AppEnv, Config};
use crate::features::health::{Check, CheckStatus};
use crate::features::jobs::queue::QueueBackend;
use crate::features::health::checks::{Backing, Checks, Probe, Watch};
use crate::features::settings::api::StartedSettings;
use crate::features::settings::{Source, Started};
use crate::features::{
    access, audit, checkpoints, clock, connectors, evidence, health, identity, imports, jobs, lifecycle, notifications, schedules, scim, settings, syslog,
    workflow,
};
use crate::platform::http::limits::{Limits, Rates};
use crate::platform::http::middleware::{BODY_TIME, Frame, wrap};
use crate::platform::http::ui;
use crate::platform::queue::QueueRuntime;
use crate::platform::telemetry::{Telemetry, parse_filter};

#[derive(OpenApi)]
#[openapi(info(title = "Tenure", description = "Access that ends on time."))]
struct Document;

/// What is known only once the parts run.
pub(super) struct Live {
    pub(super) probes: Vec<(&'static str, Probe)>,
    pub(super) level: settings::api::LevelPort,
    pub(super) stopping: CancellationToken,
    /// The worker, when one runs.
    pub(super) queue: Option<Arc<QueueRuntime>>,
}

impl Live {
    /// The running parts of a server.
    pub(super) fn new(app: &App, queue: &Arc<QueueRuntime>, telemetry: &Telemetry, stopping: CancellationToken) -> Self {
        let telemetry = telemetry.clone();
        let level: settings::api::LevelPort = Arc::new(move |filter, apply| {
            if apply { telemetry.set_filter(filter) } else { parse_filter(filter).map(drop) }
        });
        Self { probes: probes(app, queue), level, stopping, queue: Some(Arc::clone(queue)) }
    }

    /// Nothing runs; for the description of the routes.
    pub(super) fn none() -> Self {
        Self { probes: Vec::new(), level: Arc::new(|_, _| Ok(())), stopping: CancellationToken::new(), queue: None }
    }
}

/// The document that describes every route.
pub(super) fn openapi_json(app: &App) -> String {
    document(features(app, &Live::none()).into_openapi())
}

fn document(mut document: utoipa::openapi::OpenApi) -> String {
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    describe(&mut document);
    document.to_json().unwrap_or_else(|_| "{}".to_owned())
}

/// What the environment says about settings.
pub(super) fn started_settings(config: &Config) -> StartedSettings {
    fn started<T: Clone>((value, set): &(T, bool)) -> Started<T> {
        Started { value: value.clone(), source: if *set { Source::Environment } else { Source::Default } }
    }
    let operation = &config.operation;
    StartedSettings {
        four_eyes: Started { value: config.app_env == AppEnv::Production, source: Source::Default },
        stuck_run_timeout_minutes: started(&operation.stuck_run_timeout_minutes),
        log_retention_days: started(&operation.log_retention_days),
        log_level: started(&operation.log_level),
    }
}

/// The whole HTTP service.
pub(super) fn router(app: &App, live: &Live) -> Router {
    let (api, description) = features(app, live).split_for_parts();
    let text = Arc::new(document(description));
    let api = api.route(
        "/api/openapi.json",
        get(move || {
            let text = text.as_str().to_owned();
            async move { ([("content-type", "application/json")], text) }
        }),
    );
    let server = &app.config.server;
    let limits = limits(app);
    let api = api.nest("/scim/v2", scim::api::router(scim_api(app, &limits)));
    let frame = Frame {
        authenticate: Arc::new(app.identity.clone()),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        secure: app.config.is_secure(),
        origins: server.allowed_origins.clone().into(),
        trust_proxy: server.trust_proxy,
        limits,
        body_time: BODY_TIME,
        stopping: live.stopping.clone(),
        metrics: app.store.metrics().clone(),
    };
    wrap(api.fallback(ui::serve), frame)
}

/// How many requests are taken from whom, by any of the doors.
fn limits(app: &App) -> Arc<Limits> {
    let server = &app.config.server;
    let rates = Rates {
        account: server.rates.account,
        address: server.rates.address,
        sign_in: server.rates.sign_in,
        hooks: server.rates.hooks,
    };
    Arc::new(Limits::new(rates, Arc::clone(&app.clock)))
}

/// Where SCIM is, as an identity provider is told.
fn scim_base(app: &App) -> String {
    format!("{}/scim/v2", app.config.server.public_url.as_str().trim_end_matches('/'))
}

fn scim_api(app: &App, limits: &Arc<Limits>) -> scim::api::ScimApi {
    scim::api::ScimApi {
        store: app.store.clone(),
        base: scim_base(app).into(),
        uses: group_uses(),
        limits: Arc::clone(limits),
    }
}

/// Which workflows use a group: they stand above identity.
fn group_uses() -> identity::groups::Uses {
    identity::groups::Uses(Arc::new(workflow::definitions::store::list_using_group))
}

/// What was decided in runs: they stand above access.
fn decisions() -> access::history::Decisions {
    access::history::Decisions(Arc::new(workflow::approvals::store::list_decisions))
}

/// What exports of the audit log lead to: checkpoints stand above it.
fn newest() -> audit::export::Newest {
    audit::export::Newest(Arc::new(|tx| Ok(checkpoints::store::find_newest(tx)?.map(|record| record.note))))
}

/// The audit log, what is signed of it, and what happens as it happens.
fn evidence(app: &App, live: &Live) -> OpenApiRouter {
    let store = app.store.clone();
    OpenApiRouter::new()
        .merge(audit::api::routes(audit::api::AuditApi { store: store.clone() }))
        .merge(audit::export::api::routes(audit::export::api::ExportApi { store: store.clone(), newest: newest() }))
        .merge(evidence::api::routes(evidence::api::EvidenceApi {
            store: store.clone(),
            checkpoints: app.checkpoints.clone(),
            timezone: app.config.server.timezone.clone(),
        }))
        .merge(checkpoints::api::routes(checkpoints::api::CheckpointsApi {
            store: store.clone(),
            checkpoints: app.checkpoints.clone(),
            schedule: app.config.audit.schedule.clone(),
        }))
        .merge(audit::live::api::routes(audit::live::api::EventsApi {
            store: store.clone(),
            head: app.head.clone(),
            stopping: live.stopping.clone(),
        }))
}

fn features(app: &App, live: &Live) -> OpenApiRouter {
    let store = app.store.clone();
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(identity::api::routes(identity::api::IdentityApi {
            identity: app.identity.clone(),
            setup: app.setup.clone(),
            secure: app.config.is_secure(),
        }))
        .merge(identity::accounts::api::routes(identity::accounts::api::AccountsApi { identity: app.identity.clone() }))
        .merge(identity::people::api::routes(identity::people::api::PeopleApi { store: store.clone() }))
        .merge(identity::groups::api::routes(identity::groups::api::GroupsApi { store: store.clone(), uses: group_uses() }))
        .merge(lifecycle::api::routes(lifecycle::api::LifecycleApi { store: store.clone() }))
        .merge(scim::tokens::api::routes(scim::tokens::api::TokensApi {
            store: store.clone(),
            ids: Arc::clone(&app.ids),
            base_url: scim_base(app),
        }))
        .merge(imports::api::routes(imports::api::ImportsApi {
            store: store.clone(),
            connectors: app.connectors.clone(),
            four_eyes: started_settings(&app.config).four_eyes,
            timezone: app.config.server.timezone.clone(),
        }))
        .merge(health::api::routes(health::api::HealthApi {
            checks: Checks::new(store.clone(), watch(app), backing(app), live.probes.clone()),
            stopping: live.stopping.clone(),
            store: store.clone(),
            started_at: app.clock.now(),
        }))
        .merge(health::metrics::api::routes(health::metrics::api::MetricsApi::new(
            store.clone(),
            app.connectors.clone(),
            app.registry.clone(),
        )))
        .merge(evidence(app, live))
        .merge(settings::api::routes(settings::api::SettingsApi {
            store: store.clone(),
            started: started_settings(&app.config),
            level: Arc::clone(&live.level),
        }))
        .merge(syslog::api::routes(syslog::api::SyslogApi { logs: app.logs.clone() }))
        .merge(syslog::api::purge_routes(syslog::api::PurgeApi {
            store: store.clone(),
            logs: app.logs.clone(),
            started: started_settings(&app.config).log_retention_days,
        }))
        .merge(jobs::api::routes(jobs::api::JobsApi { store: store.clone() }))
        .merge(jobs::bulk::api::routes(jobs::bulk::api::BulkApi { store: store.clone() }))
        .merge(jobs::queue::api::routes(jobs::queue::api::QueueApi {
            store: store.clone(),
            queue: live.queue.clone(),
            backend: if app.redis.is_some() { QueueBackend::Redis } else { QueueBackend::Embedded },
        }))
        .merge(connectors::api::routes(connectors::api::ConnectorsApi {
            store: store.clone(),
            connectors: app.connectors.clone(),
        }))
        .merge(notifications::api::routes(notifications::api::NotificationsApi { store: store.clone() }))
        .merge(access::routes(access::AccessApi {
            store: store.clone(),
            blobs: app.blobs.clone(),
            timezone: app.config.server.timezone.clone(),
            decisions: decisions(),
        }))
        .merge(workflow::events::hooks::api::routes(workflow::events::hooks::api::HooksApi {
            store: store.clone(),
            secrets: app.connectors.secrets().clone(),
        }))
        .merge(clock::api::routes(clock::api::ClockApi { store: store.clone() }))
        .merge(schedules::api::routes(schedules::api::SchedulesApi { store: store.clone(), registry: app.registry.clone() }))
        .merge(workflow::routes(workflow_api(app)))
}

fn workflow_api(app: &App) -> workflow::WorkflowApi {
    workflow::WorkflowApi {
        store: app.store.clone(),
        four_eyes: started_settings(&app.config).four_eyes,
        allow_mocks: app.config.app_env == AppEnv::Development,
        connectors: app.connectors.clone(),
    }
}

/// What checkpoints should come to.
fn watch(app: &App) -> Watch {
    Watch { schedule: app.config.audit.schedule.clone(), places: app.checkpoints.places() }
}

fn backing(app: &App) -> Backing {
    match &app.redis {
        Some(redis) => Backing::Redis(redis.clone()),
        None => Backing::Embedded(app.queue_store.clone()),
    }
}

/// Worker and scheduler decide; the others only tell.
fn probes(app: &App, queue: &Arc<QueueRuntime>) -> Vec<(&'static str, Probe)> {
    let (worker, scheduler) = (Arc::clone(queue), Arc::clone(queue));
    let of = |c: crate::platform::queue::Condition| {
        Check::of((!c.ok).then(|| c.detail.unwrap_or_else(|| "stopped".to_owned())))
    };
    let mail = app.config.mail.smtp_url.is_some();
    let connectors = app.connectors.clone();
    vec![
        ("worker", Arc::new(move || of(worker.health().worker)) as Probe),
        ("scheduler", Arc::new(move || of(scheduler.health().scheduler)) as Probe),
        ("connectors", Arc::new(move || connectors_check(&connectors.list_broken())) as Probe),
        (
            "mail",
            Arc::new(move || {
                let mut check = Check::of(None);
                check.backend = Some(if mail { "smtp" } else { "outbox" });
                check
            }) as Probe,
        ),
    ]
}

/// One system that cannot be reached is a warning: the others are called all the same.
fn connectors_check(broken: &[String]) -> Check {
    if broken.is_empty() {
        return Check::of(None);
    }
    let detail = format!("nobody calls {} at present, because they failed", broken.join(", "));
    Check { status: CheckStatus::Warning, ..Check::of(Some(detail)) }
}
