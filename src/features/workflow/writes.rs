//! What workflows write into the log.

use crate::features::access;
use crate::features::audit::Writes;

/// What is written as a run goes on to its next wait or its end, whatever moved it.
pub const GOES_ON: &[&str] = &[
    "run.started", "run.completed", "run.failed", "run.cancelled", "run.undoing", "connector.called", "approval.opened",
    "approval.cancelled", "task.opened", "task.cancelled", "consent.asked", "link.made", "link.cancelled",
    "link.expired", "person.created", "person.changed", "person.linked", "group.member_added",
    "group.member_removed", "role.granted", "role.revoking", "role.revoked", "grant.deprovisioning",
    "grant.deprovisioned",
];

/// What is written where one person may not do it alone: it is asked for instead.
const ASKED: &[&str] = &["exception.requested"];

/// What is done once a second person agreed.
const AGREED: &[&str] = &[
    "role.granted", "role.extended", "account.adopted", "reconciliation.adopting", "workflow.published",
    "workflow.deprecated", "run.step_skipped", "run.variables_changed", "connector.keys_rotated", "setting.changed",
];

/// What its operations and jobs write.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/workflows", &["workflow.created"]),
    Writes::of("POST /api/workflows/import", &["workflow.created", "workflow.updated"]),
    Writes::of("POST /api/workflows/validate", &[]),
    Writes::of("PUT /api/workflows/{id}", &["workflow.updated"]),
    Writes::of("DELETE /api/workflows/{id}", &["workflow.deleted"]),
    Writes::of("POST /api/workflows/{id}/create-version", &["workflow.created"]),
    Writes::of("POST /api/workflows/{id}/duplicate", &["workflow.created"]),
    Writes::of("POST /api/workflows/{id}/deprecate", &["workflow.deprecated"]),
    Writes::with("POST /api/workflows/{id}/publish", &["workflow.published", "workflow.deprecated"], &[ASKED]),
    Writes::with("POST /api/workflows/{id}/start", &["run.started"], &[GOES_ON]),
    Writes::with("POST /api/workflow-events", &["run.event_received"], &[GOES_ON]),
    Writes::with("POST /api/hooks/{connectorId}", &["run.event_received"], &[GOES_ON]),
    Writes::with("POST /api/runs/{id}/cancel", &["run.cancelled"], &[GOES_ON]),
    Writes::with("POST /api/runs/{id}/retry", &["run.retried"], &[GOES_ON]),
    Writes::with("POST /api/runs/{id}/skip-step", &["run.step_skipped"], &[ASKED, GOES_ON]),
    Writes::with("POST /api/runs/{id}/start-again", &["run.started_again", "run.started"], &[GOES_ON]),
    Writes::with("PUT /api/runs/{id}/variables", &["run.variables_changed"], &[ASKED, GOES_ON]),
    Writes::with(
        "POST /api/approvals/{id}/decide",
        &["approval.decided", "approval.voted", "approval.stage_opened"],
        &[GOES_ON],
    ),
    Writes::of("POST /api/approvals/{id}/ask", &["approval.asked"]),
    Writes::of("POST /api/approvals/{id}/answer", &["approval.answered"]),
    Writes::of("POST /api/approvals/{id}/delegate", &["approval.delegated"]),
    Writes::of("POST /api/approvals/{id}/reassign", &["approval.reassigned"]),
    Writes::of("POST /api/delegations", &["delegation.created"]),
    Writes::of("DELETE /api/delegations/{id}", &["delegation.ended"]),
    Writes::of("POST /api/tasks/{id}/claim", &["task.claimed"]),
    Writes::of("POST /api/tasks/{id}/release", &["task.released"]),
    Writes::of("POST /api/tasks/{id}/hold", &["task.held"]),
    Writes::of("POST /api/tasks/{id}/resume", &["task.resumed"]),
    Writes::of("POST /api/tasks/{id}/comment", &["task.commented"]),
    Writes::of("POST /api/tasks/{id}/assign", &["task.assigned"]),
    Writes::with("POST /api/tasks/{id}/complete", &["task.completed"], &[GOES_ON]),
    Writes::with("POST /api/tasks/{id}/answer", &["consent.agreed", "consent.declined"], &[GOES_ON]),
    Writes::with("POST /api/links/{token}/accept", &["link.used", "person.created"], &[GOES_ON]),
    Writes::with("POST /api/assignments", &["role.granted"], &[ASKED]),
    Writes::with("POST /api/assignments/{id}/extend", &["role.extended"], &[ASKED]),
    Writes::with("POST /api/reconciliations/{id}/items/{itemId}/adopt", &["account.adopted", "role.granted"], &[ASKED]),
    Writes::with("POST /api/reconciliations/{id}/plans/{planId}/adopt", &["reconciliation.adopting"], &[ASKED]),
    Writes::with(
        "POST /api/connectors/rotate-keys",
        &["connector.keys_rotated", "connector.secrets_resealed"],
        &[ASKED],
    ),
    Writes::with("POST /api/exceptions", &[], &[ASKED]),
    Writes::with("POST /api/exceptions/{id}/decide", &["exception.approved", "exception.rejected"], &[AGREED, GOES_ON]),
    Writes::of("POST /api/break-glass", &["break_glass.used", "role.granted"]),
    Writes::with("POST /api/break-glass/{id}/review", &["break_glass.reviewed"], &[access::COMES_AND_GOES]),
    Writes::with("advance-run", &["run.completed"], &[GOES_ON]),
    Writes::with("stuck-run-recovery", &["run.step_timed_out"], &[GOES_ON]),
    Writes::of(
        "run-orphan-cleanup",
        &["run.outputs_removed", "run.waits_removed", "blob.removed", "blob.stray_removed"],
    ),
    Writes::of("escalation-reminder", &["approval.reminded"]),
    Writes::with("escalation-reassignment", &["approval.escalated", "approval.decided", "approval.failed"], &[GOES_ON]),
    Writes::of("expire-exception", &["exception.expired"]),
    Writes::of("break-glass-review", &[]),
    Writes::of("send-link", &[]),
];
