-- The Merkle tree over audit_log: the hash of each complete subtree of two leaves and more. A leaf's own hash stands in
-- audit_log. A root or a proof over any number of entries reads about 30 of these.
CREATE TABLE audit_node (
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 62),
    -- It covers the leaves idx << level up to, without, (idx + 1) << level, counted from 0.
    idx   INTEGER NOT NULL,
    hash  BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Guard rails, as on audit_log. INSERT OR REPLACE fires no trigger of DELETE; being out of sequence stops it.
CREATE TRIGGER audit_node_no_update BEFORE UPDATE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_node_no_delete BEFORE DELETE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_node_in_sequence BEFORE INSERT ON audit_node
WHEN NEW.idx IS NULL OR NEW.idx <> (SELECT coalesce(max(idx), -1) + 1 FROM audit_node WHERE level = NEW.level)
BEGIN SELECT RAISE(ABORT, 'the audit log is appended in sequence'); END;

-- A state may be erased, with its salt, and nothing else.
CREATE TRIGGER audit_state_only_erased BEFORE UPDATE ON audit_state
WHEN NEW.seq <> OLD.seq OR NEW.part <> OLD.part OR NEW.state IS NOT NULL OR length(NEW.salt) <> 0
BEGIN SELECT RAISE(ABORT, 'a state of the audit log can be erased, not changed'); END;
CREATE TRIGGER audit_state_no_delete BEFORE DELETE ON audit_state
BEGIN SELECT RAISE(ABORT, 'a state of the audit log can be erased, not removed'); END;
CREATE TRIGGER audit_state_once BEFORE INSERT ON audit_state
WHEN EXISTS (SELECT 1 FROM audit_state WHERE seq = NEW.seq AND part = NEW.part)
BEGIN SELECT RAISE(ABORT, 'a state of the audit log is written once'); END;

-- GET /api/audit?actorId= newest first.
CREATE INDEX audit_log_by_actor ON audit_log (actor_id, seq);
