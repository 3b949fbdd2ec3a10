//! Entitlements: what a role gives in one connected system, as commands with parameters.
//!
//! # Invariants
//! - Parameters are templates; they are rendered once per provisioning and the rendered calls are
//!   kept, so that what is taken away is what was given.
//! - The commands of an entitlement that somebody holds do not change: two grants of one entitlement
//!   would otherwise mean different things in the connected system.
//! - A retired entitlement is not given any more; who holds it keeps it until the end of the assignment.
//!
//! # Not here
//! Whether somebody should have it ([`super::assignments`]).

pub mod api;
pub mod ops;
pub mod store;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::id::{ConnectorId, EntitlementId};
use crate::base::problem::Problem;
use crate::features::connectors::Connectors;

super::states! {
    /// Whether an entitlement is given.
    EntitlementStatus {
        /// It is.
        Active = "active",
        /// No more.
        Retired = "retired",
    }
}

/// A command with its parameters; texts inside are templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// The connector's command, such as `add_member`.
    pub command: String,
    /// Its parameters, an object.
    #[schema(value_type = Object)]
    pub params: Value,
}

/// What a role gives in one connected system.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entitlement {
    /// The id.
    pub id: EntitlementId,
    /// How it is called.
    pub name: String,
    /// Where it is given.
    pub connector_id: ConnectorId,
    /// How that system is called.
    pub connector_name: String,
    /// Gives it.
    pub provision: Call,
    /// Takes it away.
    pub deprovision: Call,
    /// Answers `{present: bool}`; without it the other commands' success has to do.
    pub check: Option<Call>,
    /// Whether it is given.
    pub status: EntitlementStatus,
}

/// An entitlement in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementRef {
    /// The id.
    pub id: EntitlementId,
    /// How it is called.
    pub name: String,
    /// How the connected system is called.
    pub connector_name: String,
    /// Whether it is given.
    pub status: EntitlementStatus,
}

/// The calls of an entitlement for one grant, ready to go out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderedCalls {
    /// Where they go.
    pub connector_id: ConnectorId,
    /// Gives it.
    pub provision: Call,
    /// Takes it away.
    pub deprovision: Call,
    /// Answers whether it is there.
    pub check: Option<Call>,
}

/// The future of a call: the command's output.
pub type CallOut<'a> = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send + 'a>>;

/// The way out to connected systems, as this feature needs it.
pub trait Calls: Send + Sync + 'static {
    /// Runs `call`; `key` is the same for each try of the same intention.
    fn call<'a>(&'a self, connector: &'a ConnectorId, call: &'a Call, key: &'a str) -> CallOut<'a>;
}

/// A way out that many handlers share.
pub type SharedCalls = Arc<dyn Calls>;

impl Calls for Connectors {
    fn call<'a>(&'a self, connector: &'a ConnectorId, call: &'a Call, key: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            let answer = Connectors::call(self, connector, &call.command, &call.params, key).await?;
            Ok(answer.output)
        })
    }
}

/// What a check's output says; anything but a clear yes or no is a failure, never a "no".
pub fn presence(output: &Value) -> Result<bool, Problem> {
    output.get("present").and_then(Value::as_bool).ok_or_else(|| {
        Problem::refused(
            "The check command did not say whether the entitlement is there; expected the output {\"present\": true or false}. \
             Use a check command, or set presentStatus and absentStatus of an http request.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// An answer that says nothing must never count as "gone".
    #[test]
    fn only_a_clear_answer_counts() {
        assert!(presence(&json!({"present": true})).unwrap());
        assert!(!presence(&json!({"present": false})).unwrap());
        for unclear in [json!({}), json!(null), json!({"present": "no"}), json!({"status": 404})] {
            assert!(presence(&unclear).is_err(), "{unclear}");
        }
    }
}
