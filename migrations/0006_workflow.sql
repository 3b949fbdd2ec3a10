-- Workflow definitions: one row per version; versions share a key.
CREATE TABLE workflow (
    id           TEXT PRIMARY KEY,
    key          TEXT NOT NULL,
    version      INTEGER NOT NULL DEFAULT 0,
    name         TEXT NOT NULL,
    description  TEXT NOT NULL,
    category     TEXT NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('draft', 'active', 'deprecated')),
    definition   TEXT NOT NULL,
    created_by   TEXT REFERENCES person (id),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    published_at INTEGER
) STRICT;
-- GET /api/workflows/{id}/versions, and the number of the next version.
CREATE INDEX workflow_by_key ON workflow (key, version);
-- At most one active version and one draft of a workflow.
CREATE UNIQUE INDEX workflow_one_active ON workflow (key) WHERE status = 'active';
CREATE UNIQUE INDEX workflow_one_draft ON workflow (key) WHERE status = 'draft';
-- GET /api/workflows?status=active
CREATE INDEX workflow_by_status ON workflow (status, id);
-- Which workflows an event starts.
CREATE INDEX workflow_by_event ON workflow (json_extract(definition, '$.trigger.event.name')) WHERE status = 'active';

-- One execution of a workflow version.
CREATE TABLE run (
    id           TEXT PRIMARY KEY,
    workflow_id  TEXT NOT NULL REFERENCES workflow (id),
    status       TEXT NOT NULL CHECK (status IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled')),
    reason       TEXT,
    started_by   TEXT REFERENCES person (id),
    subject_id   TEXT REFERENCES person (id),
    state        TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    events       INTEGER NOT NULL DEFAULT 0,
    -- The run that this one is part of, and how many it is inside of.
    parent_run_id TEXT REFERENCES run (id),
    depth        INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;
-- GET /api/runs?status= newest first.
CREATE INDEX run_by_status ON run (status, id);
-- GET /api/runs?workflowId=
CREATE INDEX run_by_workflow ON run (workflow_id, id);
-- GET /api/runs?workflowId=&status=
CREATE INDEX run_by_workflow_status ON run (workflow_id, status, id);
-- GET /api/runs?subjectId=
CREATE INDEX run_by_subject ON run (subject_id, id);
-- stuck-run-recovery: running runs that were not touched for long.
CREATE INDEX run_running_by_update ON run (updated_at) WHERE status = 'running';

-- Who sees a run as their own: whoever started it, whom it is about, and whoever is asked for something in it.
CREATE TABLE run_viewer (
    person_id TEXT NOT NULL REFERENCES person (id),
    run_id    TEXT NOT NULL REFERENCES run (id),
    PRIMARY KEY (person_id, run_id)
) STRICT, WITHOUT ROWID;

-- Kept by the database, so that it is true whichever part of Tenure asks somebody.
CREATE TRIGGER run_has_viewers AFTER INSERT ON run BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.started_by, NEW.id WHERE NEW.started_by IS NOT NULL;
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.subject_id, NEW.id WHERE NEW.subject_id IS NOT NULL;
END;
CREATE TRIGGER run_has_another_subject AFTER UPDATE OF subject_id ON run
WHEN NEW.subject_id IS NOT NULL AND NEW.subject_id IS NOT OLD.subject_id BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id) VALUES (NEW.subject_id, NEW.id);
END;

-- One execution of a step.
CREATE TABLE run_step (
    id            TEXT PRIMARY KEY,
    run_id        TEXT NOT NULL REFERENCES run (id),
    visit         INTEGER NOT NULL,
    step_id       TEXT NOT NULL,
    name          TEXT NOT NULL,
    type          TEXT NOT NULL,
    status        TEXT NOT NULL,
    outcome       TEXT,
    attempt       INTEGER NOT NULL,
    output        TEXT,
    error_code    TEXT,
    error_message TEXT,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER,
    UNIQUE (run_id, visit)
) STRICT;

-- Runs that wait for an event from outside.
CREATE TABLE run_signal_wait (
    event  TEXT NOT NULL,
    key    TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES run (id),
    visit  INTEGER NOT NULL,
    PRIMARY KEY (event, key, run_id, visit)
) STRICT, WITHOUT ROWID;
-- A run that ends waits for nothing.
CREATE INDEX run_signal_wait_by_run ON run_signal_wait (run_id);

-- Events that came before anybody waited for them; kept for a day.
CREATE TABLE run_signal (
    id          TEXT PRIMARY KEY,
    event       TEXT NOT NULL,
    key         TEXT NOT NULL,
    payload     TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
-- The oldest event that a run could take.
CREATE INDEX run_signal_by_key ON run_signal (event, key, received_at);
-- Events that nobody took go after a day.
CREATE INDEX run_signal_by_age ON run_signal (received_at);

-- What happened in a run, in order.
CREATE TABLE run_event (
    run_id  TEXT NOT NULL REFERENCES run (id),
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    step_id TEXT,
    text    TEXT NOT NULL,
    data    TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) STRICT, WITHOUT ROWID;

-- A decision that somebody owes, with its settings as they were when it was opened.
CREATE TABLE approval (
    id              TEXT PRIMARY KEY,
    run_id          TEXT NOT NULL REFERENCES run (id),
    visit           INTEGER NOT NULL,
    step_name       TEXT NOT NULL,
    config          TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'failed', 'cancelled')),
    subject_id      TEXT REFERENCES person (id),
    requested_by    TEXT REFERENCES person (id),
    role_id         TEXT REFERENCES role (id),
    -- Counted from 1.
    stage           INTEGER NOT NULL,
    stage_opened_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    due_at          INTEGER,
    decided_at      INTEGER,
    decided_by      TEXT REFERENCES person (id),
    -- Whether the escalation decided, because nobody had.
    by_escalation   INTEGER NOT NULL DEFAULT 0,
    -- Whether it was approved without anybody having approved.
    exception       INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    UNIQUE (run_id, visit)
) STRICT;
-- GET /api/approvals?state=pending newest first.
CREATE INDEX approval_by_state ON approval (state, id);

-- Who decides in a stage, or has passed it on.
CREATE TABLE approval_approver (
    approval_id  TEXT NOT NULL REFERENCES approval (id),
    stage        INTEGER NOT NULL,
    person_id    TEXT NOT NULL REFERENCES person (id),
    -- Whether they decide for themselves, and for whom else.
    own          INTEGER NOT NULL,
    on_behalf_of TEXT NOT NULL,
    -- How often it was passed on until it came to them.
    hops         INTEGER NOT NULL,
    left_at      INTEGER,
    PRIMARY KEY (approval_id, stage, person_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER approver_sees_the_run AFTER INSERT ON approval_approver BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.person_id, a.run_id FROM approval a WHERE a.id = NEW.approval_id;
END;
-- GET /api/approvals?mine=true
CREATE INDEX approval_approver_by_person ON approval_approver (person_id, approval_id);
