-- What each approver decided; everybody once, in whichever stage.
CREATE TABLE approval_vote (
    approval_id TEXT NOT NULL REFERENCES approval (id),
    person_id   TEXT NOT NULL REFERENCES person (id),
    stage       INTEGER NOT NULL,
    approves    INTEGER NOT NULL,
    reason      TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (approval_id, person_id)
) STRICT, WITHOUT ROWID;

-- What approvers asked and what they were answered.
CREATE TABLE approval_note (
    approval_id TEXT NOT NULL REFERENCES approval (id),
    seq         INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('question', 'answer')),
    person_id   TEXT NOT NULL REFERENCES person (id),
    text        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (approval_id, seq)
) STRICT, WITHOUT ROWID;

-- What happens while nobody decides: each rung has a job that waits for its instant.
CREATE TABLE approval_rung (
    approval_id TEXT NOT NULL REFERENCES approval (id),
    level       INTEGER NOT NULL,
    stage       INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('remind', 'reassign', 'last')),
    due_at      INTEGER NOT NULL,
    job_id      TEXT NOT NULL,
    -- When it was carried out, or was not needed any more.
    over_at     INTEGER,
    PRIMARY KEY (approval_id, level)
) STRICT, WITHOUT ROWID;

-- Who decides instead of somebody for a while; without a delegate it is an absence.
CREATE TABLE delegation (
    id          TEXT PRIMARY KEY,
    person_id   TEXT NOT NULL REFERENCES person (id),
    delegate_id TEXT REFERENCES person (id),
    starts_at   INTEGER NOT NULL,
    ends_at     INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    -- When somebody ended it before its time.
    revoked_at  INTEGER
) STRICT;
-- What is in force for a person; GET /api/delegations
CREATE INDEX delegation_by_person ON delegation (person_id, starts_at) WHERE revoked_at IS NULL;
CREATE INDEX delegation_by_delegate ON delegation (delegate_id, id);
