//! Access: who may what, for how long, resting on which evidence.
//!
//! # Invariants
//! - Revoking, auditing and queueing the call that takes access away commit together or not at all.
//! - An assignment ends only when every entitlement of it was confirmed gone.
//! - Calls for one entitlement of one person never overlap.
//!
//! # Not here
//! How a connected system is spoken to (`connectors`); who decides about a request (`workflow`).

pub mod assignments;
pub mod conflicts;
pub mod documents;
pub mod entitlements;
pub mod grants;
pub mod history;
pub mod reconciliation;
pub mod reminders;
pub mod roles;
pub mod writes;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use crate::features::connectors::Connectors;
use crate::platform::blobs::BlobStore;
use crate::platform::http::Routes;
use crate::platform::queue::JobHandler;
use crate::platform::store::Store;
use entitlements::SharedCalls;
use history::Decisions;
pub use writes::COMES_AND_GOES;

/// Jobs that only this feature knows.
pub mod names {
    /// Starts an assignment whose start lay in the future.
    pub const START_ASSIGNMENT: &str = "start-assignment";
    /// Ends an assignment at its instant.
    pub const END_ASSIGNMENT: &str = "end-assignment";
    /// Takes one grant out of the connected system.
    pub const DEPROVISION_GRANT: &str = "deprovision-grant";
    /// Lists, compares and carries out one plan of a reconciliation.
    pub const RECONCILE_ENTITLEMENT: &str = "reconcile-entitlement";
    /// Removes an account that no assignment ever stood behind.
    pub const REMOVE_ACCOUNT: &str = "remove-account";
    /// Makes assignments of accounts that were found.
    pub const ADOPT_ACCOUNTS: &str = "adopt-accounts";
    /// Ends a document at its instant.
    pub const EXPIRE_DOCUMENT: &str = "expire-document";
}

/// What the jobs need.
#[derive(Debug, Clone)]
pub struct AccessJobs {
    /// The way out to connected systems.
    pub connectors: Connectors,
    /// The zone that messages name instants in.
    pub timezone: jiff::tz::TimeZone,
}

/// Every job handler of this feature.
pub fn jobs(parts: AccessJobs) -> Vec<Arc<dyn JobHandler>> {
    handlers_in(Arc::new(parts.connectors), &parts.timezone)
}

/// The handlers over any way out, with messages in UTC.
pub fn handlers(calls: SharedCalls) -> Vec<Arc<dyn JobHandler>> {
    handlers_in(calls, &jiff::tz::TimeZone::UTC)
}

fn handlers_in(calls: SharedCalls, zone: &jiff::tz::TimeZone) -> Vec<Arc<dyn JobHandler>> {
    let mut handlers = grants::jobs::handlers(Arc::clone(&calls));
    handlers.extend(reconciliation::jobs::handlers(calls));
    handlers.extend(assignments::jobs::handlers(zone));
    handlers.extend(documents::jobs::handlers(zone));
    handlers
}

/// What the routes need.
#[derive(Debug, Clone)]
pub struct AccessApi {
    /// The business database.
    pub store: Store,
    /// The files of documents.
    pub blobs: BlobStore,
    /// Where a day of the organisation ends.
    pub timezone: jiff::tz::TimeZone,
    /// What was decided in runs: they stand above access.
    pub decisions: Decisions,
}

/// Every route of this feature.
pub fn routes(state: AccessApi) -> Routes {
    Routes::new()
        .merge(roles::api::routes(state.clone()))
        .merge(conflicts::api::routes(state.clone()))
        .merge(entitlements::api::routes(state.clone()))
        .merge(assignments::api::routes(state.clone()))
        .merge(history::api::routes(state.clone()))
        .merge(reconciliation::api::routes(state.clone()))
        .merge(documents::api::routes(state))
}

/// Gives a state its names on the wire and in the database.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire and in the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads what the database holds.
            pub(crate) fn stored(text: &str) -> Result<Self, $crate::base::problem::Problem> {
                Self::ALL.iter().copied().find(|s| s.as_str() == text).ok_or_else(|| {
                    $crate::base::problem::Problem::internal(format!(
                        concat!("{:?} is no ", stringify!($name)), text
                    ))
                })
            }
        }
    };
}
pub(crate) use states;
