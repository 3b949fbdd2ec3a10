//! Entitlements: what a role gives in one connected system, as commands with parameters.
//!
//! # Invariants
//! - Parameters are templates; they are rendered once per provisioning and the rendered calls are
//!   kept, so that what is taken away is what was given.
//! - The commands of an entitlement that somebody holds do not change: two grants of one entitlement
//!   would otherwise mean different things in the connected system.
//! - How one asks who has it may change at any time: it gives and takes nothing. Grants are then asked
//!   anew what their account is called.
//! - Commands that say until when access lasts say the last end of all assignments that give it; whoever was told
//!   an earlier one is told again.
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
use crate::base::time::Timestamp;
use crate::features::connectors::{Connectors, ListFuture, ListRequest};

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

/// How one asks the connected system who has an entitlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListCall {
    /// The connector's listing command, such as `list_members`.
    pub command: String,
    /// Its parameters, an object; the same for everybody, so no templates.
    #[schema(value_type = Object)]
    pub params: Value,
    /// What a person is called in the list: a template like those of the other calls, such as
    /// `uid={{ person.attributes.uid }},ou=people,dc=example,dc=org`.
    pub key: String,
    /// Whether capitals make no difference in keys, as in distinguished names.
    #[serde(default)]
    pub ignore_case: bool,
}

impl ListCall {
    /// A key as it is compared.
    pub fn comparable(&self, key: &str) -> String {
        if self.ignore_case { key.to_lowercase() } else { key.to_owned() }
    }
}

super::states! {
    /// What is done about differences between what should be and what is there.
    Policy {
        /// They are told.
        Report = "report",
        /// What is missing is given again, what ended is taken away; what is unknown is told.
        Repair = "repair",
        /// What is unknown is taken away, too.
        RevokeUnknown = "revoke_unknown",
    }
}

/// What a reconciliation does about an entitlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reconcile {
    /// What is done about differences.
    pub policy: Policy,
    /// Removes an account that no assignment stands behind; `{{ account.key }}` and
    /// `{{ account.attributes.… }}` are what the list says of it.
    #[serde(default)]
    pub remove: Option<Call>,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { policy: Policy::Report, remove: None }
    }
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
    /// Asks who has it there; without it nobody can tell who has it beside those whom Tenure gave it.
    pub list: Option<ListCall>,
    /// What is done when the list differs from what should be there.
    pub reconcile: Reconcile,
    /// Whether it is given.
    pub status: EntitlementStatus,
}

impl Entitlement {
    /// What a comparison with its connected system rests on, as one text: where it is given, how it is
    /// listed, what is done about differences.
    pub fn terms(&self) -> String {
        let terms = serde_json::json!({ "connectorId": self.connector_id, "list": self.list, "reconcile": self.reconcile });
        terms.to_string()
    }
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
    /// What the person is called in the list of those who have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_key: Option<String>,
    /// The end that they carry, where they may carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Carried>,
    /// Whether what gives it goes out although it is there: it was given with an earlier end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gives_again: bool,
}

/// Until when access lasts, as the calls that give it say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Absent when it has no end.
    pub until: Option<Timestamp>,
}

/// The future of a call: the command's output.
pub type CallOut<'a> = Pin<Box<dyn Future<Output = Result<Value, Problem>> + Send + 'a>>;

/// The way out to connected systems, as this feature needs it.
pub trait Calls: Send + Sync + 'static {
    /// Runs `call`; `key` is the same for each try of the same intention.
    fn call<'a>(&'a self, connector: &'a ConnectorId, call: &'a Call, key: &'a str) -> CallOut<'a>;

    /// A page of those who have an entitlement in the connected system.
    fn list<'a>(&'a self, connector: &'a ConnectorId, request: &'a ListRequest) -> ListFuture<'a>;
}

/// A way out that many handlers share.
pub type SharedCalls = Arc<dyn Calls>;

impl Calls for Connectors {
    fn call<'a>(&'a self, connector: &'a ConnectorId, call: &'a Call, key: &'a str) -> CallOut<'a> {
        Box::pin(async move {
            let answer = Connectors::call(self, connector, &call.command, &call.params, key).await?;
            // What was only pretended says nothing about who has access.
            if answer.is_mocked() {
                return Err(Problem::refused(
                    "The connector is in mock mode, so nothing was given or taken away. Switch its mock mode off.",
                ));
            }
            Ok(answer.output)
        })
    }

    fn list<'a>(&'a self, connector: &'a ConnectorId, request: &'a ListRequest) -> ListFuture<'a> {
        Box::pin(Connectors::list(self, connector, request))
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
