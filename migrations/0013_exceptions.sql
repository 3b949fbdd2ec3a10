-- Something that nobody does alone: who asked, what exactly, who agreed.
CREATE TABLE exception (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL,
    -- What it is done to; one open exception per kind and target.
    target          TEXT NOT NULL,
    -- What is done when somebody agrees, as it was when it was asked for.
    payload         TEXT NOT NULL,
    run_id          TEXT REFERENCES run (id),
    subject_id      TEXT REFERENCES person (id),
    -- Who asked for the run.
    requestor_id    TEXT REFERENCES person (id),
    reason          TEXT NOT NULL,
    requested_by    TEXT NOT NULL REFERENCES person (id),
    state           TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'expired')),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    decided_by      TEXT REFERENCES person (id),
    decided_at      INTEGER,
    decision_reason TEXT
) STRICT;
-- GET /api/exceptions?state=pending newest first.
CREATE INDEX exception_by_state ON exception (state, id);
-- What waits for a second person in a run.
CREATE INDEX exception_by_run ON exception (run_id, id) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX exception_one_open ON exception (kind, target) WHERE state = 'pending';

-- Who wrote a version, so that nobody publishes their own alone. Without a person: a command, or a token
-- that somebody else made, so that nobody can say who it was.
CREATE TABLE workflow_author (
    workflow_id TEXT NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    person_id   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (workflow_id, person_id)
) STRICT, WITHOUT ROWID;

-- A role that somebody took in an emergency.
CREATE TABLE break_glass (
    id            TEXT PRIMARY KEY,
    person_id     TEXT NOT NULL REFERENCES person (id),
    role_id       TEXT NOT NULL REFERENCES role (id),
    assignment_id TEXT NOT NULL REFERENCES assignment (id),
    reason        TEXT NOT NULL,
    hours         INTEGER NOT NULL CHECK (hours BETWEEN 1 AND 8),
    created_at    INTEGER NOT NULL,
    ends_at       INTEGER NOT NULL,
    verdict       TEXT CHECK (verdict IN ('justified', 'unjustified')),
    review_reason TEXT,
    reviewed_by   TEXT REFERENCES person (id),
    reviewed_at   INTEGER
) STRICT;
-- GET /api/break-glass?open=true
CREATE INDEX break_glass_open ON break_glass (id) WHERE verdict IS NULL;
-- Whether an assignment came by breaking the glass: it is not extended.
CREATE UNIQUE INDEX break_glass_by_assignment ON break_glass (assignment_id);
-- Whether somebody has broken it for this role already.
CREATE INDEX break_glass_by_person ON break_glass (person_id, role_id);
-- Runs inside a run: whether anybody was asked to decide in one of them.
CREATE INDEX run_by_parent ON run (parent_run_id) WHERE parent_run_id IS NOT NULL;
