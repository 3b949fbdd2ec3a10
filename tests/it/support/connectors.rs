//! Connectors over a real store, without the rest of the application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use tenure::base::access::Principal;
use tenure::base::id::ConnectorId;
use tenure::features::audit::AuditJournal;
use tenure::features::connectors::{CallFailure, ConnectorSettings, Connectors, Kind, NewConnector, Policy, ops};
use tenure::platform::clock::{SystemClock, SystemIds};
use tenure::platform::outbound::{Outbound, OutboundSettings};
use tenure::platform::secrets::SecretBox;
use tenure::platform::store::{MigrationSet, Options, Store};

/// A store in a folder of its own with the service over it.
pub struct Bench {
    pub store: Store,
    pub connectors: Connectors,
    pub outbound: Outbound,
    next: AtomicU64,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Loopback may be called; `ca_pem` is what `EXTRA_CA_FILE` holds.
    pub async fn start(ca_pem: Option<&str>) -> Self {
        let outbound = OutboundSettings { allow_loopback: true, extra_ca_pem: ca_pem.map(|pem| pem.as_bytes().to_vec()) };
        let allowed = ConnectorSettings { allow_mocks: true, ..ConnectorSettings::default() };
        Self::with(Outbound::new(outbound).expect("the door opens"), allowed).await
    }

    /// With this way out and these programs and files.
    pub async fn with(outbound: Outbound, settings: ConnectorSettings) -> Self {
        tenure::app::install_crypto();
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = Options::small(folder.path().join("tenure.db"));
        options.max = 4;
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let store = Store::open(&options, &MigrationSet::tenure(), clock, ids, Some(Arc::new(AuditJournal)))
            .expect("the store opens");
        let secrets = SecretBox::new("connector secrets", &[7; 32], None);
        let connectors = Connectors::new(store.clone(), secrets, outbound.clone(), settings);
        Self { store, connectors, outbound, next: AtomicU64::new(0), _folder: folder }
    }

    /// A new connector.
    pub async fn connector(&self, kind: Kind, config: Value, secrets: &[(&str, &str)]) -> ConnectorId {
        let secrets: BTreeMap<_, _> = secrets.iter().map(|(n, s)| ((*n).to_owned(), (*s).to_owned())).collect();
        let name = format!("connector {}", self.number());
        let new = NewConnector { name, kind, config, policy: Policy::default(), mock: false, secrets };
        let sealer = self.connectors.secrets().clone();
        self.store
            .write(move |tx| ops::create_connector(tx, &Principal::system("test"), new.clone(), &sealer))
            .await
            .expect("a connector")
            .id
    }

    /// A call with a key of its own.
    pub async fn call(&self, id: &ConnectorId, command: &str, params: &Value) -> Result<Value, CallFailure> {
        let key = format!("call-{}", self.number());
        self.call_with(id, command, params, &key).await
    }

    /// A call with this key.
    pub async fn call_with(
        &self,
        id: &ConnectorId,
        command: &str,
        params: &Value,
        key: &str,
    ) -> Result<Value, CallFailure> {
        self.connectors.call(id, command, params, key).await.map(|answer| answer.output)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
