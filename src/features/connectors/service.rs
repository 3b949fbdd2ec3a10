//! The service that calls connected systems.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::drivers::Drivers;
use super::veil::Veil;
use super::guard::{BreakerView, Gates, delay_before};
use super::{CallAnswer, CallFailure, CommandSpec, Connector, Found, Kind, ListPage, ListRequest, PlainCall, Target, drivers, ops, store};
use crate::base::id::{ConnectorId, Ids as _};
use crate::base::problem::Problem;
use crate::platform::clock::SystemIds;
use crate::platform::outbound::{Outbound, pause};
use crate::platform::secrets::SecretBox;
use crate::platform::store::Store;

/// What whoever starts the process allows connectors; nothing of it can be changed from inside.
#[derive(Debug, Clone, Default)]
pub struct ConnectorSettings {
    /// Whether commands may be pretended; never in production.
    pub allow_mocks: bool,
    /// `CONNECTOR_EXEC_PROGRAMS`: the programs that may be run, by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// `CONNECTOR_SQLITE_FILES`: the database files that may be opened, by name.
    pub sqlite_files: BTreeMap<String, PathBuf>,
}

/// Calls connected systems. Clones share everything.
#[derive(Clone)]
pub struct Connectors {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    secrets: SecretBox,
    drivers: Drivers,
    gates: Gates,
    settings: ConnectorSettings,
}

impl std::fmt::Debug for Connectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connectors").finish_non_exhaustive()
    }
}

/// How many are asked for at once when a whole list is read.
const PAGE: u32 = 200;

impl Connectors {
    /// The service over the business database, the box its secrets are sealed with, the one door out, and
    /// what is allowed.
    pub fn new(store: Store, secrets: SecretBox, outbound: Outbound, settings: ConnectorSettings) -> Self {
        let drivers = Drivers::new(store.clone(), outbound, &settings);
        let gates = Gates::new(Arc::clone(store.clock()));
        Self { inner: Arc::new(Inner { store, secrets, drivers, gates, settings }) }
    }

    /// The box that connector secrets are sealed with.
    pub fn secrets(&self) -> &SecretBox {
        &self.inner.secrets
    }

    /// The commands of a kind.
    pub fn commands(kind: Kind) -> &'static [CommandSpec] {
        drivers::commands(kind)
    }

    /// Whether the settings of a connector need nothing that this process is not allowed.
    pub fn check_allowed(&self, kind: Kind, config: &Value, mock: bool) -> Result<(), Problem> {
        let mut faults = self.inner.drivers.allowed(kind, config);
        if mock && !self.inner.settings.allow_mocks {
            let message = "production pretends nothing; expected false".to_owned();
            faults.push(crate::base::problem::FieldError { field: "mock".to_owned(), message });
        }
        Problem::from_fields(faults)
    }

    /// Where the breaker of a connector stands.
    pub fn breaker(&self, connector: &ConnectorId) -> BreakerView {
        self.inner.gates.view(connector)
    }

    /// The names of the connectors that nobody calls at present because they failed.
    pub fn list_broken(&self) -> Vec<String> {
        self.inner.gates.list_open()
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
        let spec = check_command(kind, command, params, false)?;
        if self.pretends(&target)? {
            tracing::warn!(%connector, command, "a connector call is only pretended: the connector is in mock mode");
            return Ok(CallAnswer::mocked());
        }
        let driver = self.inner.drivers.of(kind);
        let reads = !spec.changes || is_http_read(kind, params);
        let answer = self.guarded(kind, &target, reads, || driver.execute(&target, command, params, key)).await;
        let answer = answer.map(|CallAnswer { output }| CallAnswer { output: Veil::of(&target).over(output) });
        if let Err(failure) = &answer {
            tracing::warn!(%connector, command, code = failure.code, "a connector call failed: {}", failure.message);
        }
        answer
    }

    /// A page of what is there. No transaction may be open.
    pub async fn list(&self, connector: &ConnectorId, request: &ListRequest) -> Result<ListPage, CallFailure> {
        let (kind, target) = self.target(connector).await?;
        check_command(kind, &request.command, &request.params, true)?;
        if self.pretends(&target)? {
            return Err(CallFailure::lasting("mocked", "the connector is in mock mode, and nothing can be listed there"));
        }
        let driver = self.inner.drivers.of(kind);
        let page = self.guarded(kind, &target, true, || driver.list(&target, request)).await.and_then(checked);
        let page = page.map(|mut page| {
            let veil = Veil::of(&target);
            for found in &mut page.items {
                found.attributes = veil.over(std::mem::take(&mut found.attributes));
            }
            page
        });
        if let Err(failure) = &page {
            tracing::warn!(%connector, command = request.command, code = failure.code, "a list failed: {}", failure.message);
        }
        page
    }

    /// Everything that is there, page by page; at most `most`, because a list of which the rest is missing
    /// says nothing about what is not in it. No transaction may be open.
    pub async fn list_all(
        &self,
        connector: &ConnectorId,
        command: &str,
        params: &Value,
        most: usize,
    ) -> Result<Vec<Found>, CallFailure> {
        let mut request =
            ListRequest { command: command.to_owned(), params: params.clone(), cursor: None, limit: PAGE };
        let (mut all, mut keys, mut cursors) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        loop {
            let page = self.list(connector, &request).await?;
            for found in page.items {
                if !keys.insert(found.key.clone()) {
                    return Err(doubled(&found.key));
                }
                all.push(found);
            }
            if all.len() > most {
                return Err(CallFailure::lasting("too_many", format!("the list has more than {most} items")));
            }
            let Some(next) = page.next else { return Ok(all) };
            if !cursors.insert(next.clone()) {
                return Err(CallFailure::incomplete("the system leads back to a page that was read already"));
            }
            request.cursor = Some(next);
        }
    }

    /// Calls an address below the base URL of an HTTP connector, without that connector's credentials.
    /// No transaction may be open.
    pub async fn call_plain(&self, call: PlainCall, key: &str) -> Result<CallAnswer, CallFailure> {
        let answer = self.called_plain(&call, key).await;
        if let Err(failure) = &answer {
            tracing::warn!(code = failure.code, "an http call failed: {}", failure.message);
        }
        answer
    }

    /// In the turn of the connector that the address lies below, and by its rules.
    async fn called_plain(&self, call: &PlainCall, key: &str) -> Result<CallAnswer, CallFailure> {
        let mut connectors = self.inner.store.read(|tx| store::list_of_kind(tx, Kind::Http)).await?;
        let configs: Vec<&Value> = connectors.iter().map(|c| &c.config).collect();
        let to = drivers::plain_destination(&call.url, &configs)?;
        let Connector { id, name, config, policy, mock, .. } = connectors.swap_remove(to.at);
        let target = Target { id, name, config, policy, mock, secrets: BTreeMap::new() };
        if self.pretends(&target)? {
            tracing::warn!(connector = %target.id, "an http call is only pretended: the connector is in mock mode");
            return Ok(CallAnswer::mocked());
        }
        let (drivers, most) = (&self.inner.drivers, target.policy.max_answer_bytes);
        let reads = is_read(&call.method);
        self.guarded(Kind::Http, &target, reads, || drivers.call_plain(&to, call, key, most)).await
    }

    /// Whether the connected system is there and lets Tenure in.
    pub async fn test(&self, connector: &ConnectorId) -> Result<CallAnswer, CallFailure> {
        let (kind, target) = self.target(connector).await?;
        let pass = self.inner.gates.enter(&target, true).await?;
        let answer = self.inner.drivers.of(kind).test(&target).await;
        pass.settle(answer.as_ref().map(drop));
        answer
    }

    /// Makes a call in its turn, and again where that is safe.
    async fn guarded<T, F>(
        &self,
        kind: Kind,
        target: &Target,
        reads: bool,
        work: impl Fn() -> F,
    ) -> Result<T, CallFailure>
    where
        F: Future<Output = Result<T, CallFailure>>,
    {
        // The directory stands in Tenure's own database, which has its own way of refusing.
        if kind == Kind::Directory {
            return work().await;
        }
        let pass = self.inner.gates.enter(target, false).await?;
        let mut repeated = 0;
        let answer = loop {
            match work().await {
                Err(failure) if target.policy.repeats(&failure, reads, repeated) => {
                    repeated += 1;
                    pause(delay_before(repeated, SystemIds.next_random())).await;
                    // The failure that there was says more than that the minute is spoken for.
                    if self.inner.gates.repeat(target).await.is_err() {
                        break Err(failure);
                    }
                }
                other => break other,
            }
        };
        pass.settle(answer.as_ref().map(drop));
        answer
    }

    /// What somebody is told who only pretends to call; it says so. Refused where pretending is not allowed.
    pub fn pretend(&self, mut output: Map<String, Value>) -> Result<CallAnswer, CallFailure> {
        if !self.inner.settings.allow_mocks {
            let message = "production pretends nothing; take mock out of the step";
            return Err(CallFailure::lasting("mock_refused", message));
        }
        tracing::warn!("a connector call is only pretended: the step is in mock mode");
        output.insert("mocked".to_owned(), true.into());
        Ok(CallAnswer { output: output.into() })
    }

    /// Whether a call is only pretended; refused where pretending is not allowed.
    fn pretends(&self, target: &Target) -> Result<bool, CallFailure> {
        if target.mock && !self.inner.settings.allow_mocks {
            let message = "the connector is in mock mode, and production pretends nothing; switch it off";
            return Err(CallFailure::lasting("mock_refused", message));
        }
        Ok(target.mock)
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

fn doubled(key: &str) -> CallFailure {
    CallFailure::incomplete(format!("\"{key}\" is in it twice; it may have changed while it was read"))
}

/// What holds for every page, whatever driver read it.
fn checked(page: ListPage) -> Result<ListPage, CallFailure> {
    if page.complete == page.next.is_some() {
        return Err(CallFailure::bad_answer("it is not clear whether the list goes on"));
    }
    if page.items.iter().any(|found| found.key.is_empty()) {
        return Err(CallFailure::bad_answer("an item has an empty key"));
    }
    let mut keys = BTreeSet::new();
    match page.items.iter().find(|found| !keys.insert(found.key.as_str())) {
        Some(twice) => Err(doubled(&twice.key)),
        None => Ok(page),
    }
}

fn check_command(kind: Kind, command: &str, params: &Value, lists: bool) -> Result<&'static CommandSpec, CallFailure> {
    let commands = drivers::commands(kind);
    let Some(spec) = commands.iter().find(|c| c.name == command && c.lists == lists) else {
        let known: Vec<_> = commands.iter().filter(|c| c.lists == lists).map(|c| c.name).collect();
        return Err(CallFailure::lasting(
            "unknown_command",
            format!("no command \"{command}\" that {}; a connector of kind {} has {}", if lists { "lists" } else { "acts" }, kind.as_str(), known.join(", ")),
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
    Ok(spec)
}

/// A request that by the rules of HTTP changes nothing.
fn is_http_read(kind: Kind, params: &Value) -> bool {
    kind == Kind::Http && params.get("method").and_then(Value::as_str).is_some_and(is_read)
}

fn is_read(method: &str) -> bool {
    method.eq_ignore_ascii_case("GET") || method.eq_ignore_ascii_case("HEAD")
}
