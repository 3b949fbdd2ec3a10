-- The audit log: one row, one leaf. The leaf's bytes are kept verbatim and hashed as stored.
CREATE TABLE audit_log (
    seq       INTEGER PRIMARY KEY,
    leaf      BLOB NOT NULL,
    leaf_hash BLOB NOT NULL CHECK (length(leaf_hash) = 32),
    -- Copies for filters; verification reads only the leaf and compares these with it.
    at        INTEGER NOT NULL,
    actor_id  TEXT NOT NULL,
    action    TEXT NOT NULL,
    entity    TEXT NOT NULL,
    entity_id TEXT NOT NULL
) STRICT;

-- GET /api/audit?entity=&entityId= newest first.
CREATE INDEX audit_log_by_entity ON audit_log (entity, entity_id, seq);
-- GET /api/audit?action= newest first.
CREATE INDEX audit_log_by_action ON audit_log (action, seq);

-- What the leaf's commitments stand for. Erasing a state leaves the proof whole.
CREATE TABLE audit_state (
    seq   INTEGER NOT NULL REFERENCES audit_log (seq),
    part  TEXT NOT NULL CHECK (part IN ('context', 'prev', 'new')),
    salt  BLOB NOT NULL,
    state BLOB,
    PRIMARY KEY (seq, part)
) STRICT, WITHOUT ROWID;

-- Guard rails; the evidence is the hash chain and the checkpoints kept elsewhere.
CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_log_in_sequence BEFORE INSERT ON audit_log
WHEN NEW.seq IS NULL OR NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'the audit log is appended in sequence'); END;

-- Settings that an administrator saved; they win over variables and defaults.
CREATE TABLE setting (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
