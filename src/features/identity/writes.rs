//! What identity writes into the log.

use crate::features::audit::Writes;

/// What its operations write.
pub const WRITES: &[Writes] = &[
    Writes::of("POST /api/setup", &["person.created", "account.created", "session.started"]),
    Writes::of("POST /api/auth/login", &["session.started"]),
    Writes::of("POST /api/auth/logout", &["session.ended"]),
    Writes::of("DELETE /api/auth/sessions/{id}", &["session.ended"]),
    Writes::of("POST /api/auth/tokens", &["token.created"]),
    Writes::of("DELETE /api/auth/tokens/{id}", &["token.revoked"]),
    Writes::of("POST /api/accounts", &["person.created", "account.created"]),
    Writes::of("POST /api/accounts/{id}/disable", &["account.disabled"]),
    Writes::of("POST /api/accounts/{id}/enable", &["account.enabled", "token.revoked"]),
    Writes::of("POST /api/accounts/{id}/reset-password", &["account.password_reset"]),
    Writes::of("POST /api/accounts/{id}/tokens", &["token.created"]),
    Writes::of("POST /api/people", &["person.created"]),
    Writes::of("PATCH /api/people/{id}", &["person.changed"]),
    Writes::of("POST /api/groups", &["group.created"]),
    Writes::of("PATCH /api/groups/{id}", &["group.changed"]),
    Writes::of("DELETE /api/groups/{id}", &["group.deleted"]),
    Writes::of("POST /api/groups/{id}/members", &["group.member_added", "group.member_removed"]),
];
