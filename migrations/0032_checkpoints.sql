-- Signed checkpoints of the audit log, in the order in which they were made.
CREATE TABLE checkpoint (
    number  INTEGER PRIMARY KEY,
    size    INTEGER NOT NULL,
    root    BLOB    NOT NULL CHECK (length(root) = 32),
    origin  TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    reason  TEXT    NOT NULL CHECK (reason IN ('schedule', 'manual', 'shutdown')),
    made_at INTEGER NOT NULL
) STRICT;
-- GET /api/audit/checkpoints/{size}, and the first checkpoint that covers an entry.
CREATE INDEX checkpoint_by_size ON checkpoint (size, number);

-- Where each checkpoint is kept, or is still to be.
CREATE TABLE checkpoint_copy (
    number          INTEGER NOT NULL REFERENCES checkpoint (number),
    place           TEXT    NOT NULL CHECK (place IN ('file', 's3', 'siem')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    -- Why the last attempt failed, and when the next is.
    error           TEXT,
    next_attempt_at INTEGER,
    stored_at       INTEGER,
    PRIMARY KEY (number, place)
) STRICT, WITHOUT ROWID;
-- What is still to be kept, by place: the health check and the state of the stores.
CREATE INDEX checkpoint_copy_pending ON checkpoint_copy (place, number) WHERE stored_at IS NULL;

-- Why the last checkpoint was not signed; no row when it was.
CREATE TABLE checkpoint_refusal (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    kind   TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
