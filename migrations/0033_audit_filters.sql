-- GET /api/audit by who did it.
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, seq);
-- GET /api/audit by when: which entries may lie in a period at all.
CREATE INDEX audit_log_by_at ON audit_log (at);
