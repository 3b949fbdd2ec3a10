//! What access writes into the log.

use crate::features::audit::Writes;

/// What is written as access comes and goes, whoever sets it going.
pub const COMES_AND_GOES: &[&str] = &[
    "role.granted", "role.started", "role.activated", "role.partially_provisioned", "role.expiring", "role.revoking",
    "role.expired", "role.revoked", "grant.provisioned", "grant.failed", "grant.deprovisioning", "grant.deprovisioned",
    "grant.missing", "grant.still_there", "grant.lasts_longer", "grant.end_not_told",
];

/// What its operations and jobs write.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/entitlements", &["entitlement.created"]),
    Writes::of("PUT /api/entitlements/{id}", &["entitlement.updated"]),
    Writes::of("POST /api/entitlements/{id}/retire", &["entitlement.retired"]),
    Writes::of("POST /api/roles", &["role.created"]),
    Writes::of("PUT /api/roles/{id}", &["role.updated"]),
    Writes::of("POST /api/roles/{id}/retire", &["role.retired"]),
    Writes::of("POST /api/role-conflicts", &["role_conflict.created"]),
    Writes::of("POST /api/role-conflicts/{id}/remove", &["role_conflict.removed"]),
    Writes::with("POST /api/assignments/{id}/revoke", &["role.revoking"], &[COMES_AND_GOES]),
    Writes::of("POST /api/documents", &["document.submitted"]),
    Writes::of("PUT /api/documents/{id}/content", &["document.file_attached"]),
    Writes::of("POST /api/documents/{id}/approve", &["document.approved"]),
    Writes::of("POST /api/documents/{id}/reject", &["document.rejected"]),
    Writes::with("POST /api/documents/{id}/withdraw", &["document.withdrawn"], &[COMES_AND_GOES]),
    Writes::of("POST /api/reconciliations", &["reconciliation.started"]),
    Writes::of(
        "POST /api/reconciliations/{id}/plans/{planId}/approve",
        &["reconciliation.approved", "reconciliation.resumed"],
    ),
    Writes::of(
        "POST /api/reconciliations/{id}/plans/{planId}/reject",
        &["reconciliation.rejected", "reconciliation.ended"],
    ),
    Writes::with("start-assignment", &["role.started"], &[COMES_AND_GOES]),
    Writes::with("end-assignment", &["role.expiring"], &[COMES_AND_GOES]),
    Writes::with("provision-grant", &["grant.provisioned"], &[COMES_AND_GOES]),
    Writes::with("deprovision-grant", &["grant.deprovisioned"], &[COMES_AND_GOES]),
    Writes::with("role-expiry-check", &["role.reminded"], &[COMES_AND_GOES]),
    Writes::with("expire-document", &["document.expired"], &[COMES_AND_GOES]),
    Writes::with("document-expiry-check", &["document.expired", "document.reminded"], &[COMES_AND_GOES]),
    Writes::of("entitlement-reconciliation", &["reconciliation.started"]),
    Writes::with(
        "reconcile-entitlement",
        &["reconciliation.compared", "reconciliation.applied", "reconciliation.ended", "reconciliation.superseded", "reconciliation.failed"],
        &[COMES_AND_GOES],
    ),
    Writes::of("remove-account", &["account.removed", "account.removal_failed"]),
    Writes::with("adopt-accounts", &["account.adopted"], &[COMES_AND_GOES]),
];
