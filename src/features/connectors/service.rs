//! The service that calls connected systems.

use std::sync::Arc;

use serde_json::Value;

use super::drivers::Drivers;
use super::{CallAnswer, CallFailure, CommandSpec, Kind, PlainCall, Target, drivers, ops};
use crate::base::id::ConnectorId;
use crate::base::problem::Problem;
use crate::platform::outbound::Outbound;
use crate::platform::secrets::SecretBox;
use crate::platform::store::Store;

/// Calls connected systems. Clones share everything.
#[derive(Clone)]
pub struct Connectors {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    secrets: SecretBox,
    drivers: Drivers,
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors").finish_non_exhaustive()
    }
}

impl Connectors {
    /// The service over the business database, the box its secrets are sealed with, and the one door out.
    pub fn new(store: Store, secrets: SecretBox, outbound: Outbound) -> Self {
        let drivers = Drivers::new(store.clone(), outbound);
        Self { inner: Arc::new(Inner { store, secrets, drivers }) }
    }

    /// The box that connector secrets are sealed with.
    pub fn secrets(&self) -> &SecretBox {
        &self.inner.secrets
    }

    /// The commands of a kind.
    pub fn commands(kind: Kind) -> &'static [CommandSpec] {
        drivers::commands(kind)
    }

    /// Runs a command. No transaction may be open.
    ///
    /// `key` is the same for every repetition of one intended call and different for another intent:
    /// a grant that is provisioned, taken away and provisioned again uses three keys.
    pub async fn call(
        &self,
        connector: &ConnectorId,
        command: &str,
        params: &Value,
        key: &str,
    ) -> Result<CallAnswer, CallFailure> {
        let (kind, target) = self.target(connector).await?;
        check_command(kind, command, params)?;
        let answer = self.inner.drivers.of(kind).execute(&target, command, params, key).await;
        if let Err(failure) = &answer {
            tracing::warn!(%connector, command, code = failure.code, "a connector call failed: {}", failure.message);
        }
        answer
    }

    /// Calls an HTTP service that is no connector and needs no secret. No transaction may be open.
    pub async fn call_plain(&self, call: PlainCall, key: &str) -> Result<CallAnswer, CallFailure> {
        self.inner.drivers.call_plain(call, key).await
    }

    /// Whether the connected system is there and lets Tenure in.
    pub async fn test(&self, connector: &ConnectorId) -> Result<CallAnswer, CallFailure> {
        let (kind, target) = self.target(connector).await?;
        self.inner.drivers.of(kind).test(&target).await
    }

    /// The names of the connectors whose secrets the present key does not open.
    pub async fn list_locked(&self) -> Result<Vec<String>, Problem> {
        let secrets = self.inner.secrets.clone();
        self.inner.store.read(move |tx| ops::list_locked(tx, &secrets)).await
    }

    async fn target(&self, connector: &ConnectorId) -> Result<(Kind, Target), CallFailure> {
        let (id, secrets) = (connector.clone(), self.inner.secrets.clone());
        Ok(self.inner.store.read(move |tx| ops::target(tx, &id, &secrets)).await?)
    }
}

fn check_command(kind: Kind, command: &str, params: &Value) -> Result<(), CallFailure> {
    let commands = drivers::commands(kind);
    let Some(spec) = commands.iter().find(|c| c.name == command) else {
        let known: Vec<_> = commands.iter().map(|c| c.name).collect();
        return Err(CallFailure::lasting(
            "unknown_command",
            format!("no command \"{command}\"; a connector of kind {} has {}", kind.as_str(), known.join(", ")),
        ));
    };
    let Some(given) = params.as_object() else {
        return Err(CallFailure::lasting("bad_params", "params: expected an object"));
    };
    if let Some(name) = given.keys().find(|name| spec.params.iter().all(|p| p.name != **name)) {
        let known: Vec<_> = spec.params.iter().map(|p| p.name).collect();
        return Err(CallFailure::param(name, format!("unknown; expected {}", known.join(", "))));
    }
    for param in spec.params.iter().filter(|p| p.required) {
        if given.get(param.name).is_none_or(Value::is_null) {
            return Err(CallFailure::param(param.name, format!("is missing; expected {}", param.description)));
        }
    }
    Ok(())
}
