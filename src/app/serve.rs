//! Starting and ending in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::routes::{Live, openapi_json, router};
use super::App;
use crate::base::clock::SharedClock;
use crate::base::id::Ids as _;
use crate::base::problem::Problem;
use crate::config::data_dir::DataDir;
use crate::config::{AppEnv, Config};
use crate::features::{syslog, timekeeping, workflow};
use crate::platform::clock::{SystemClock, SystemIds, WatchedClock};
use crate::platform::http::local::LocalServer;
use crate::platform::http::{Server, tls};
use crate::platform::lifecycle::{Lifecycle, Step};
use crate::platform::queue::{Parts, QueueRuntime};
use crate::platform::store::Store;
use crate::platform::telemetry::Telemetry;

/// How often the clock is compared with a steady one. Whatever ends something compares them itself: this is
/// for administrators to be told although nothing ends.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// The exit status of a start that the configuration or the data directory does not allow.
const EX_CONFIG: u8 = 78;

/// `tenure openapi`: the document of this version, made on an empty data directory that goes again.
pub async fn print_openapi(mut config: Config) -> ExitCode {
    let folder = std::env::temp_dir().join(format!("tenure-openapi-{}", std::process::id()));
    config.data_dir.clone_from(&folder);
    let result = async {
        let claim = DataDir::claim(&config.data_dir)?;
        claim.make_keys(&mut config.keys, &SystemIds)?;
        let app = App::open(config, Arc::new(SystemClock), Arc::new(SystemIds)).await?;
        println!("{}", openapi_json(&app));
        app.close().await;
        Ok(())
    }
    .await;
    if let Err(e) = std::fs::remove_dir_all(&folder) {
        tracing::warn!(error = %e, "the temporary data directory was not removed");
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => refuse(&problem),
    }
}

/// A process that takes requests.
#[derive(Debug)]
pub struct Running {
    /// The parts.
    pub app: App,
    /// `http://host:port` or `https://…`, with the real port.
    pub base: String,
    server: Server,
    local: LocalServer,
    queue: Arc<QueueRuntime>,
    life: Lifecycle,
    _claim: DataDir,
}

/// `tenure serve`: starts, prints where it listens, runs until a signal, ends in order.
pub async fn serve(config: Config) -> ExitCode {
    let running = match start(config, Arc::new(WatchedClock::default())).await {
        Ok(running) => running,
        Err(problem) => return refuse(&problem),
    };
    match running.app.setup.token().await {
        Ok(Some(token)) => {
            println!("Tenure is running at {}\n\nFirst start: create the administrator with this one-time token:\n  {token}", running.base);
        }
        Ok(None) => println!("Tenure is running at {}", running.base),
        Err(problem) => tracing::error!(?problem, "the setup token could not be made"),
    }
    running.until_stopped().await
}

/// Says why a start is refused.
pub(super) fn refuse(problem: &Problem) -> ExitCode {
    match problem {
        Problem::Internal(cause) => {
            eprintln!("tenure: {cause:?}");
            ExitCode::FAILURE
        }
        other => {
            eprintln!("tenure: {other}");
            ExitCode::from(EX_CONFIG)
        }
    }
}

/// Claims the data directory, opens everything, begins to listen and to work.
pub async fn start(mut config: Config, clock: SharedClock) -> Result<Running, Problem> {
    let claim = DataDir::claim(&config.data_dir)?;
    if config.app_env == AppEnv::Development {
        claim.make_keys(&mut config.keys, &SystemIds)?;
    }
    let (telemetry, records) = Telemetry::start(&config.operation.log_level.0);
    let life = Lifecycle::new(Arc::new(SystemClock), config.operation.shutdown_grace);
    life.heed_signals()?;
    let tls = config.server.tls.as_ref().map(|(cert, key)| tls::server_config(cert, key)).transpose()?;
    let app = App::open(config, clock, Arc::new(SystemIds)).await?;
    tokio::spawn(syslog::ops::collect(app.logs.clone(), records));
    if let Some(redis) = &app.redis {
        redis.wait_until_up().await?;
        redis.check_server(app.config.app_env == AppEnv::Production).await?;
    }
    // Downtime is not lack of progress: every running run is taken up again before a schedule fires.
    let boot = app.clock.now();
    while app.store.write(move |tx| workflow::runs::ops::resume_page(tx, boot)).await? > 0 {}
    let queue = Arc::new(
        QueueRuntime::start(Parts {
            store: app.store.clone(),
            queue_store: app.queue_store.clone(),
            registry: app.registry.clone(),
            concurrency: app.config.operation.job_concurrency,
            redis: app.redis.clone(),
        })
        .await?,
    );
    tokio::spawn(watch_clock(app.store.clone(), life.stopping()));
    let live = Live::new(&app, &queue, &telemetry, life.stopping());
    let host = &app.config.server.host;
    let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let address = format!("{shown}:{}", app.config.server.port);
    let scheme = if tls.is_some() { "https" } else { "http" };
    // Before the first request: whoever finds the server healthy finds the token too.
    app.setup.token().await?;
    let router = router(&app, &live);
    // The commands' way in comes first: one that runs because the server was found healthy finds it open.
    let local = LocalServer::start(&app.config.data_dir, router.clone())?;
    let server = match Server::start(&address, tls, router).await {
        Ok(server) => server,
        Err(problem) => {
            local.stop(Duration::ZERO).await;
            return Err(problem);
        }
    };
    app.outbound.set_own_listeners(vec![server.local_addr]);
    let base = format!("{scheme}://{shown}:{}", server.local_addr.port());
    tracing::info!(base, version = env!("CARGO_PKG_VERSION"), boot = %boot_id(), "Tenure is running");
    // Outside systemd there is nobody to notify.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(Running { app, base, server, local, queue, life, _claim: claim })
}

/// Has a clock that was set noticed within seconds.
async fn watch_clock(store: Store, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = SystemClock.sleep_until(SystemClock.now().plus(WATCH_EVERY)) => {}
        }
        let clock = store.clock();
        if timekeeping::judge_drift(clock.now(), clock.drift_ms()).is_none() {
            continue;
        }
        if let Err(problem) = store.write(timekeeping::ops::is_held).await {
            tracing::warn!(?problem, "that the clock is in doubt could not be written down yet");
        }
    }
}

/// How long the closing checkpoint may take, at least a second and at most ten.
fn patience_left(life: &Lifecycle) -> Duration {
    life.deadline().since(SystemClock.now()).clamp(Duration::from_secs(1), Duration::from_secs(10))
}

/// The closing checkpoint; without it the next start's covers the same.
async fn close_log(app: &App, patience: Duration) {
    match tokio::time::timeout(patience, app.checkpoints.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => tracing::warn!(%problem, "the closing checkpoint was not made"),
        Err(_) => tracing::warn!("the closing checkpoint did not come in time"),
    }
}

fn boot_id() -> String {
    format!("{:08x}", SystemIds.next_random() as u32)
}

impl Running {
    /// Waits for a signal, then ends in the runbook's order.
    pub async fn until_stopped(self) -> ExitCode {
        self.life.stopped().await;
        self.stop().await
    }

    /// Ends in the runbook's order: connections, requests, worker, stores.
    pub async fn stop(self) -> ExitCode {
        let Self { app, server, local, queue, life, .. } = self;
        life.begin("stop");
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let patience = life.deadline().since(SystemClock.now());
        let stopping = life.step(Step::StopAccepting, async { server.stop_accepting() }).await;
        let finish = async { tokio::join!(stopping.finish(patience), local.stop(patience)).0 };
        let whole = life.step(Step::FinishRequests, finish).await;
        let drained = life.step(Step::DrainWorker, queue.drain(life.deadline())).await;
        if !whole || drained.released > 0 {
            tracing::warn!(requests_cut = !whole, jobs_released = drained.released, "not everything finished in time");
        }
        life.step(Step::Checkpoint, close_log(&app, patience_left(&life))).await;
        life.step(Step::CloseStores, app.close()).await;
        ExitCode::SUCCESS
    }
}

use crate::base::clock::Clock as _;
