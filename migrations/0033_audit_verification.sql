-- What the last reading of the whole audit log found.
CREATE TABLE audit_verification (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    -- unknown: it could not be read to its end.
    outcome             TEXT    NOT NULL CHECK (outcome IN ('sound', 'tampered', 'unknown')),
    -- When it ended, and how long it took.
    at                  INTEGER NOT NULL,
    duration_ms         INTEGER NOT NULL,
    rows                INTEGER NOT NULL,
    erased              INTEGER NOT NULL,
    checkpoints_checked INTEGER NOT NULL,
    -- Checkpoints of entries that were left behind when the log was put back from a backup.
    left_behind         INTEGER NOT NULL,
    -- The first fault; or in detail alone why nobody can tell.
    seq                 INTEGER,
    kind                TEXT,
    detail              TEXT,
    -- Places that did not answer when they were asked for their newest checkpoint, with commas.
    silent              TEXT    NOT NULL
) STRICT;

-- A fault that no later reading has cleared: nothing is signed while it stands.
CREATE TABLE audit_fault (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    seq    INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

-- Where a reading that was stopped goes on; no row when none is under way.
CREATE TABLE audit_walk (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    position    TEXT    NOT NULL,
    begun_at    INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL
) STRICT;
