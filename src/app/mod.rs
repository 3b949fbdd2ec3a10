//! The composition root: the only place that picks concrete types.

pub mod demo;
pub mod doctor;
pub mod door;
mod openapi;
mod routes;
mod serve;
mod writes;

use std::path::Path;
use std::sync::Arc;

use crate::base::clock::SharedClock;
use crate::base::id::SharedIds;
use crate::base::problem::Problem;
use crate::config::audit::CheckpointStore;
use crate::config::{AppEnv, Config, Secret};
use crate::features::access::{self, AccessJobs};
use crate::features::audit::live::{Head, LiveJournal};
use crate::features::audit::{self, ops as audit_ops};
use crate::features::audit::note::Signer;
use crate::features::backup;
use crate::features::checkpoints;
use crate::features::audit::erasure::jobs::EraseStates;
use crate::features::checkpoints::keep::{Keep, file::Folder, s3::S3, siem::Siem};
use crate::features::checkpoints::service::Checkpoints;
use crate::features::connectors::jobs::RotateKeys;
use crate::features::connectors::{ConnectorSettings, Connectors};
use crate::features::identity::accounts::password::Passwords;
use crate::features::identity::oidc::flow::Oidc;
use crate::features::identity::oidc::provider::{Provider, ProviderSettings};
use crate::features::identity::sessions::ops::{Identity, SessionKey};
use crate::features::identity::sessions::place::EmbeddedSessions;
use crate::features::identity::sessions::redis::RedisSessions;
use crate::features::identity::setup::Setup;
use crate::features::notifications::jobs::{SendDigest, SendMail};
use crate::features::schedules::jobs::TriggerWorkflow;
use crate::features::{clock, imports, lifecycle};
use crate::features::{settings, timekeeping};
use crate::features::syslog::jobs::LogRetention;
use crate::features::workflow::{self, WorkflowJobs};
use crate::platform::blobs::BlobStore;
use crate::platform::faults::Faults;
use crate::platform::mail::Mailer;
use crate::platform::outbound::{Outbound, OutboundSettings};
use crate::platform::queue::{BulkHandler, JobHandler, Registry};
use crate::platform::redis::{Redis, RedisSettings};
use crate::platform::secrets::SecretBox;
use crate::platform::store::{Durability, Geometry, MigrationSet, Options, Store};

pub use serve::{Running, print_openapi, serve, start};
pub use writes::writes;

/// Everything that stands before the first request is taken.
#[derive(Debug, Clone)]
pub struct App {
    /// What the process was started with.
    pub config: Arc<Config>,
    /// The clock of everything.
    pub clock: SharedClock,
    /// The ids of everything.
    pub ids: SharedIds,
    /// `tenure.db`.
    pub store: Store,
    /// How far its audit log goes.
    pub head: Head,
    /// `queue.db`.
    pub queue_store: Store,
    /// `logs.db`.
    pub logs: Store,
    /// The files of documents.
    pub blobs: BlobStore,
    /// Signed statements of how far the audit log went.
    pub checkpoints: Checkpoints,
    /// Connected systems.
    pub connectors: Connectors,
    /// Who is signed in.
    pub identity: Identity,
    /// First start.
    pub setup: Setup,
    /// Sign-in with the provider that the environment names.
    pub oidc: Option<Oidc>,
    /// The one door out.
    pub outbound: Outbound,
    /// Every job handler.
    pub registry: Registry,
    /// Full-spec mode: where queue and sessions are.
    pub redis: Option<Redis>,
}

/// TLS needs its cryptography chosen once per process.
pub fn install_crypto() {
    // A second call finds it installed, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl App {
    /// Opens the stores and builds the services; nothing runs yet.
    pub async fn open(config: Config, clock: SharedClock, ids: SharedIds) -> Result<Self, Problem> {
        install_crypto();
        backup::ops::refuse_unfinished(&config.data_dir)?;
        let head = Head::default();
        let stores = Stores::open(&config, &clock, &ids, &head)?;
        let origin = origin(&config, ids.as_ref());
        let seed = master_key(config.keys.signing.as_ref())?;
        let verifier = Signer::new(&origin, &seed).verifier().to_string();
        let four_eyes = config.app_env == AppEnv::Production;
        let story = clock.tells_a_story();
        stores
            .business
            .write(move |tx| {
                // Before anything of this start is written: newer entries would hide what it is compared with.
                if !story {
                    timekeeping::ops::check_start(tx)?;
                }
                audit_ops::ensure_genesis(tx, &origin, &verifier, env!("CARGO_PKG_VERSION"))?;
                Ok(())
            })
            .await?;
        stores
            .business
            .write(move |tx| {
                audit_ops::ensure_tree(tx)?;
                audit::keys::ensure(tx, &seed)?;
                settings::ops::remember_four_eyes(tx, four_eyes)
            })
            .await?;
        let redis = redis(&config)?;
        let outbound = Outbound::new(OutboundSettings {
            allow_loopback: config.server.outbound_allow_loopback,
            extra_ca_pem: read_extra_ca(config.server.extra_ca.as_deref())?,
        })?;
        let secrets = connector_secrets(&config)?;
        let connectors =
            Connectors::new(stores.business.clone(), secrets.clone(), outbound.clone(), connector_settings(&config));
        let session = config.keys.session.as_ref().ok_or_else(|| Problem::internal("there is no SESSION_SECRET"))?;
        let identity = Identity {
            store: stores.business.clone(),
            sessions: match &redis {
                Some(redis) => Arc::new(RedisSessions::new(redis.clone())),
                None => Arc::new(EmbeddedSessions::new(stores.queue.clone())),
            },
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            session_key: SessionKey::new(session.expose()),
            passwords: Passwords::default(),
            secrets,
            throttle: Arc::default(),
        };
        let signs_in_with = oidc(&config, &identity, &outbound);
        let setup = Setup::new(identity.clone(), config.data_dir.join("setup-token"));
        let checkpoints = Checkpoints::new(stores.business.clone(), seed, keeps(&config, &outbound)?);
        let registry = Registry::new(handlers(&config, &stores, &connectors, &checkpoints, &outbound)?)
            .with_rest(timekeeping::ops::is_in_doubt);
        Ok(Self {
            config: Arc::new(config),
            clock,
            ids,
            store: stores.business,
            head,
            queue_store: stores.queue,
            logs: stores.logs,
            blobs: stores.blobs,
            checkpoints,
            connectors,
            oidc: signs_in_with,
            identity,
            setup,
            outbound,
            registry,
            redis,
        })
    }

    /// Closes the stores; nothing may use them any more.
    pub async fn close(&self) {
        self.queue_store.close().await;
        self.logs.close().await;
        self.store.close().await;
    }
}

/// Redis as configured; connects with the first command.
fn redis(config: &Config) -> Result<Option<Redis>, Problem> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    let settings = RedisSettings {
        url: url.expose().to_owned(),
        prefix: config.redis.prefix.clone(),
        extra_ca_pem: read_extra_ca(config.server.extra_ca.as_deref())?,
    };
    Redis::new(&settings).map(Some)
}

/// The provider of the environment; it is asked when somebody signs in.
fn oidc(config: &Config, identity: &Identity, outbound: &Outbound) -> Option<Oidc> {
    let given = config.server.oidc.as_ref()?;
    let settings = ProviderSettings {
        issuer: given.issuer.clone(),
        client_id: given.client_id.clone(),
        client_secret: given.client_secret.clone(),
        redirect_uri: given.redirect_uri.clone(),
    };
    Some(Oidc {
        identity: identity.clone(),
        provider: Provider::new(settings, outbound.clone(), Arc::clone(&identity.clock)),
        name: given.name.clone(),
        after_sign_out: config.server.public_url.clone(),
    })
}

struct Stores {
    business: Store,
    queue: Store,
    logs: Store,
    blobs: BlobStore,
}

impl Stores {
    fn open(config: &Config, clock: &SharedClock, ids: &SharedIds, head: &Head) -> Result<Self, Problem> {
        let file = |name: &str| config.data_dir.join(name);
        let pool = config.database;
        let faults = armed(config);
        let business = Options {
            max: pool.max,
            min: pool.min,
            idle_timeout: pool.idle_timeout,
            acquire_timeout: pool.connection_timeout,
            faults: Arc::clone(&faults),
            ..Options::small(file("tenure.db"))
        };
        let queue = Options { geometry: Geometry::Shrinking, ..Options::small(file("queue.db")) };
        let logs =
            Options { durability: Durability::Normal, geometry: Geometry::Shrinking, ..Options::small(file("logs.db")) };
        let open = |options: &Options, set: MigrationSet, journal| {
            Store::open(options, &set, Arc::clone(clock), Arc::clone(ids), journal)
        };
        Ok(Self {
            business: open(&business, MigrationSet::tenure(), Some(Arc::new(LiveJournal::new(head.clone()))))?,
            queue: open(&queue, MigrationSet::queue(), None)?,
            logs: open(&logs, MigrationSet::logs(), None)?,
            blobs: BlobStore::open(file("blobs"), faults)?,
        })
    }
}

/// The fault points that `TENURE_FAULT` arms; none in production.
fn armed(config: &Config) -> Arc<Faults> {
    let faults = Faults::default();
    for (point, fault) in &config.operation.faults {
        tracing::warn!(point, ?fault, "a fault point is armed");
        faults.arm(point, *fault);
    }
    Arc::new(faults)
}

/// The name of this log: fixed at genesis, whatever `PUBLIC_URL` says later.
fn origin(config: &Config, ids: &dyn crate::base::id::Ids) -> String {
    let host = config.server.public_url.host_str().unwrap_or("localhost").to_owned();
    format!("{host}/audit/{:016x}", ids.next_random() as u64)
}

fn master_key(secret: Option<&Secret>) -> Result<[u8; 32], Problem> {
    let text = secret.map_or("", Secret::expose);
    let bytes = hex::decode(text).map_err(|_| Problem::internal("a key is not hexadecimal"))?;
    bytes.try_into().map_err(|_| Problem::internal("a key has not 32 bytes"))
}

/// The box that connector secrets are sealed with.
fn connector_secrets(config: &Config) -> Result<SecretBox, Problem> {
    let key = master_key(config.keys.connector.as_ref())?;
    let previous = config.keys.connector_previous.as_ref().map(|k| master_key(Some(k))).transpose()?;
    Ok(SecretBox::new("connector secrets", &key, previous.as_ref()))
}

/// What the environment allows connectors.
fn connector_settings(config: &Config) -> ConnectorSettings {
    ConnectorSettings {
        allow_mocks: config.app_env == AppEnv::Development,
        programs: config.connectors.programs.clone(),
        sqlite_files: config.connectors.sqlite_files.clone(),
    }
}

fn read_extra_ca(path: Option<&Path>) -> Result<Option<Vec<u8>>, Problem> {
    path.map(|p| {
        std::fs::read(p).map_err(|e| Problem::refused(format!("EXTRA_CA_FILE: {} cannot be read: {e}", p.display())))
    })
    .transpose()
}

/// Every job handler of the product.
fn handlers(
    config: &Config,
    stores: &Stores,
    connectors: &Connectors,
    checkpoints: &Checkpoints,
    outbound: &Outbound,
) -> Result<Vec<Arc<dyn JobHandler>>, Problem> {
    let mailer = mailer(config, outbound)?;
    let mut all = access::jobs(AccessJobs { connectors: connectors.clone(), timezone: config.server.timezone.clone() });
    all.extend(workflow::jobs(WorkflowJobs {
        connectors: connectors.clone(),
        blobs: stores.blobs.clone(),
        stuck_run_timeout: routes::started_settings(config).stuck_run_timeout_minutes,
        mailer: mailer.clone(),
        public_url: config.server.public_url.to_string(),
    }));
    let (sign, verify) = (config.audit.schedule.clone(), config.audit.verify.clone());
    all.extend(checkpoints::jobs::handlers(checkpoints.clone(), sign, verify));
    all.push(Arc::new(RotateKeys { secrets: connectors.secrets().clone() }));
    all.push(Arc::new(EraseStates));
    all.push(Arc::new(TriggerWorkflow));
    all.extend(clock::jobs::handlers());
    all.extend(lifecycle::jobs());
    all.extend(imports::jobs::handlers());
    all.push(Arc::new(LogRetention {
        logs: stores.logs.clone(),
        started: routes::started_settings(config).log_retention_days,
    }));
    all.push(Arc::new(SendMail::new(mailer.clone(), config.server.public_url.as_str())));
    all.push(Arc::new(SendDigest::new(mailer, config.server.public_url.as_str())));
    all.push(Arc::new(BulkHandler));
    Ok(all)
}

/// The places that checkpoints are kept in, in the order given.
fn keeps(config: &Config, outbound: &Outbound) -> Result<Vec<Box<dyn Keep>>, Problem> {
    let keep = |place: &CheckpointStore| -> Result<Box<dyn Keep>, Problem> {
        Ok(match place {
            CheckpointStore::File(path) => Box::new(Folder::new(path)),
            CheckpointStore::S3(bucket) => Box::new(S3::new(bucket, outbound)?),
            CheckpointStore::Siem(url) => Box::new(Siem::new(url, outbound)?),
        })
    };
    config.audit.stores.iter().map(keep).collect()
}

fn mailer(config: &Config, outbound: &Outbound) -> Result<Mailer, Problem> {
    Mailer::new(
        config.mail.smtp_url.as_ref().map(Secret::expose),
        &config.mail.from,
        config.data_dir.join("outbox"),
        outbound.clone(),
    )
}
