//! The handlers of this process, found by the name of the job.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::JobHandler;
use crate::base::problem::Problem;
use crate::platform::store::Tx;

/// Whether the schedules of people rest at present. It is asked where slots are looked at, and changes nothing.
pub type Rest = fn(&Tx<'_>) -> Result<bool, Problem>;

/// Every handler by its name. Clones share them.
#[derive(Clone, Default)]
pub struct Registry {
    handlers: Arc<BTreeMap<&'static str, Arc<dyn JobHandler>>>,
    rest: Option<Rest>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.handlers.keys()).finish()
    }
}

impl Registry {
    /// The registry of these handlers.
    ///
    /// # Panics
    /// When two handlers have one name: only one of them would ever run.
    pub fn new(handlers: impl IntoIterator<Item = Arc<dyn JobHandler>>) -> Self {
        let mut map = BTreeMap::new();
        for handler in handlers {
            let name = handler.name();
            assert!(map.insert(name, handler).is_none(), "two handlers for the job {name}");
        }
        Self { handlers: Arc::new(map), rest: None }
    }

    /// The same handlers; the schedules of people rest while `rest` says so.
    pub fn with_rest(self, rest: Rest) -> Self {
        Self { rest: Some(rest), ..self }
    }

    /// Whether the schedules of people rest.
    pub(super) fn is_resting(&self, tx: &Tx<'_>) -> Result<bool, Problem> {
        self.rest.map_or(Ok(false), |rest| rest(tx))
    }

    /// The handler of jobs with this name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn JobHandler>> {
        self.handlers.get(name)
    }

    /// Every handler, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn JobHandler>> {
        self.handlers.values()
    }

    /// Whether jobs of this name wait for other systems.
    pub fn calls_out(&self, name: &str) -> bool {
        self.find(name).is_some_and(|h| h.calls_out())
    }
}
