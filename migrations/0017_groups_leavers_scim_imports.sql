-- Groups with owners, people who leave, SCIM 2.0 inbound, imports.

ALTER TABLE person ADD COLUMN external_id TEXT;
ALTER TABLE person ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
-- The source's own id of a person; what is imported again is matched by it.
CREATE UNIQUE INDEX person_by_external_id ON person (external_id) WHERE external_id IS NOT NULL;
-- Who reports to somebody.
CREATE INDEX person_by_manager ON person (manager_id) WHERE manager_id IS NOT NULL;

ALTER TABLE person_group ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE person_group ADD COLUMN owner_id TEXT REFERENCES person (id);
ALTER TABLE person_group ADD COLUMN external_id TEXT;
ALTER TABLE person_group ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE person_group ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;

-- A name that workflows still use after the group was renamed.
CREATE TABLE group_former_name (
    name     TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL REFERENCES person_group (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX group_former_name_by_group ON group_former_name (group_id);

-- Somebody leaves: 'held' waits for an administrator, 'open' is being carried out.
CREATE TABLE person_leave (
    id          TEXT PRIMARY KEY,
    person_id   TEXT NOT NULL REFERENCES person (id),
    -- Who said so: what is counted together against the threshold.
    source      TEXT NOT NULL,
    source_name TEXT NOT NULL,
    reason      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('held', 'open', 'done', 'dismissed', 'withdrawn')),
    held_because TEXT,
    -- The run that closed the person; it is not cancelled by that.
    run_id      TEXT REFERENCES run (id),
    created_at  INTEGER NOT NULL,
    began_at    INTEGER,
    done_at     INTEGER,
    decided_by  TEXT REFERENCES person (id),
    decided_at  INTEGER,
    decision_reason TEXT,
    -- What was ended and handed over, and what nobody could take.
    result      TEXT NOT NULL CHECK (json_valid(result))
) STRICT;
-- GET /api/leavers?state=
CREATE INDEX person_leave_by_state ON person_leave (state, id);
CREATE INDEX person_leave_by_person ON person_leave (person_id, id);
-- How many left by one source lately.
CREATE INDEX person_leave_by_source ON person_leave (source, began_at);
-- One at a time.
CREATE UNIQUE INDEX person_leave_one_held ON person_leave (person_id) WHERE state = 'held';

CREATE TABLE scim_token (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    created_by   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

-- What a source said of a person by SCIM. People without a row are shown to it from what Tenure knows.
CREATE TABLE scim_user (
    person_id  TEXT NOT NULL PRIMARY KEY REFERENCES person (id),
    user_name  TEXT NOT NULL COLLATE NOCASE,
    document   TEXT NOT NULL CHECK (json_valid(document)),
    -- The source deleted it: it does not see the person any more.
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX scim_user_by_name ON scim_user (user_name) WHERE deleted_at IS NULL;

CREATE TABLE import (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('people', 'assignments')),
    name        TEXT NOT NULL,
    -- 'csv', or the connector whose people were listed.
    origin      TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('reviewed', 'applying', 'applied', 'cancelled')),
    created_by  TEXT REFERENCES person (id),
    created_by_name TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    applied_by  TEXT REFERENCES person (id),
    applied_at  INTEGER,
    finished_at INTEGER,
    -- How many rows there are of each verdict, as the review found them.
    counts      TEXT NOT NULL CHECK (json_valid(counts)),
    -- The row that was applied last.
    cursor      INTEGER NOT NULL DEFAULT 0,
    done        INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    job_id      TEXT
) STRICT;

CREATE TABLE import_row (
    import_id TEXT NOT NULL REFERENCES import (id) ON DELETE CASCADE,
    -- The line of the file, counted from 1.
    line      INTEGER NOT NULL,
    verdict   TEXT NOT NULL CHECK (verdict IN ('new', 'changed', 'unchanged', 'conflict', 'fault')),
    matched_by TEXT,
    person_id TEXT REFERENCES person (id),
    -- What stands in the file, by column.
    given     TEXT NOT NULL CHECK (json_valid(given)),
    -- What would change: field, before, after.
    changes   TEXT NOT NULL CHECK (json_valid(changes)),
    -- What is wrong: column, message.
    faults    TEXT NOT NULL CHECK (json_valid(faults)),
    state     TEXT NOT NULL CHECK (state IN ('open', 'done', 'skipped', 'failed')),
    error     TEXT,
    PRIMARY KEY (import_id, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX import_row_by_verdict ON import_row (import_id, verdict, line);
