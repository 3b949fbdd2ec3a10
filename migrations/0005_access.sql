-- What a role gives in one connected system.
CREATE TABLE entitlement (
    id           TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL UNIQUE,
    connector_id TEXT    NOT NULL REFERENCES connector (id),
    -- {command, params} with templates.
    provision    TEXT    NOT NULL,
    deprovision  TEXT    NOT NULL,
    check_call   TEXT,
    -- Retired ones are not given any more; what was given stays until its end.
    status       TEXT    NOT NULL CHECK (status IN ('active', 'retired')),
    created_at   INTEGER NOT NULL
) STRICT;

-- Business roles.
CREATE TABLE role (
    id                      TEXT    NOT NULL PRIMARY KEY,
    name                    TEXT    NOT NULL UNIQUE,
    description             TEXT    NOT NULL,
    owner_id                TEXT    REFERENCES person (id),
    status                  TEXT    NOT NULL CHECK (status IN ('active', 'retired')),
    default_duration_days   INTEGER CHECK (default_duration_days > 0),
    required_document_types TEXT    NOT NULL,
    created_at              INTEGER NOT NULL
) STRICT;

CREATE TABLE role_entitlement (
    role_id        TEXT NOT NULL REFERENCES role (id),
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    PRIMARY KEY (role_id, entitlement_id)
) STRICT, WITHOUT ROWID;

-- Evidence that assignments rest on.
CREATE TABLE document (
    id          TEXT    NOT NULL PRIMARY KEY,
    type        TEXT    NOT NULL,
    person_id   TEXT    NOT NULL REFERENCES person (id),
    state       TEXT    NOT NULL CHECK (state IN ('submitted', 'approved', 'rejected', 'withdrawn', 'expired')),
    valid_from  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL CHECK (expires_at > valid_from),
    run_id      TEXT,
    file_name   TEXT,
    media_type  TEXT,
    size_bytes  INTEGER,
    sha256      TEXT,
    created_at  INTEGER NOT NULL,
    -- Whoever handed it in; they do not review it.
    submitted_by TEXT   REFERENCES person (id),
    reviewed_by TEXT    REFERENCES person (id),
    reviewed_at INTEGER
) STRICT;
-- document-expiry-check: open documents that are due, in order.
CREATE INDEX document_due ON document (expires_at, id) WHERE state IN ('submitted', 'approved');
-- GET /api/documents?personId=; the live document of a type for a person.
CREATE INDEX document_by_person ON document (person_id, type, id);

-- A role held by a person for a time.
CREATE TABLE assignment (
    id          TEXT    NOT NULL PRIMARY KEY,
    person_id   TEXT    NOT NULL REFERENCES person (id),
    role_id     TEXT    NOT NULL REFERENCES role (id),
    state       TEXT    NOT NULL CHECK (state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned',
                                                  'expiring', 'revoking', 'expired', 'revoked')),
    reason      TEXT    NOT NULL,
    end_reason  TEXT,
    run_id      TEXT,
    granted_by  TEXT    NOT NULL,
    starts_at   INTEGER NOT NULL,
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
-- role-expiry-check: assignments that are due, in order.
CREATE INDEX assignment_due ON assignment (expires_at, id)
    WHERE expires_at IS NOT NULL AND state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned');
-- role-expiry-check: assignments whose start was missed.
CREATE INDEX assignment_start ON assignment (starts_at, id) WHERE state = 'scheduled';
-- GET /api/assignments?personId=
CREATE INDEX assignment_by_person ON assignment (person_id, id);
-- GET /api/assignments?roleId=
CREATE INDEX assignment_by_role ON assignment (role_id, id);
-- What did a run grant?
CREATE INDEX assignment_by_run ON assignment (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE assignment_document (
    assignment_id TEXT NOT NULL REFERENCES assignment (id),
    document_id   TEXT NOT NULL REFERENCES document (id),
    PRIMARY KEY (assignment_id, document_id)
) STRICT, WITHOUT ROWID;
-- Which assignments rest on this document?
CREATE INDEX assignment_document_by_document ON assignment_document (document_id);

-- One entitlement of an assignment, as provisioned.
CREATE TABLE access_grant (
    id             TEXT    NOT NULL PRIMARY KEY,
    assignment_id  TEXT    NOT NULL REFERENCES assignment (id),
    person_id      TEXT    NOT NULL REFERENCES person (id),
    entitlement_id TEXT    NOT NULL REFERENCES entitlement (id),
    state          TEXT    NOT NULL CHECK (state IN ('pending', 'provisioned', 'failed', 'deprovisioning',
                                                     'deprovisioned', 'orphaned')),
    -- What is wanted: 'present' until the assignment ends, 'absent' from then on.
    wanted         TEXT    NOT NULL CHECK (wanted IN ('present', 'absent')),
    -- Goes up whenever what is wanted changes; an outcome that names an older one is discarded.
    generation     INTEGER NOT NULL,
    -- The calls as rendered when it was provisioned, so that the same account is taken away again.
    calls          TEXT,
    last_error     TEXT,
    confirmed_at   INTEGER,
    UNIQUE (assignment_id, entitlement_id)
) STRICT;
-- Overlap: which other grants of this person need the entitlement?
CREATE INDEX grant_by_need ON access_grant (person_id, entitlement_id);
-- The hourly checks: grants that are not where they should be.
CREATE INDEX grant_open ON access_grant (id) WHERE state IN ('pending', 'failed', 'deprovisioning');

-- Which job is calling out for an entitlement of a person: calls for the same target never overlap.
CREATE TABLE grant_flight (
    person_id      TEXT NOT NULL REFERENCES person (id),
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    job_id         TEXT NOT NULL,
    PRIMARY KEY (person_id, entitlement_id)
) STRICT, WITHOUT ROWID;

-- Runs that wait for a document of a person.
CREATE TABLE document_wait (
    run_id    TEXT NOT NULL,
    person_id TEXT NOT NULL REFERENCES person (id),
    type      TEXT NOT NULL,
    PRIMARY KEY (person_id, type, run_id)
) STRICT, WITHOUT ROWID;
-- stop_waiting of a run.
CREATE INDEX document_wait_by_run ON document_wait (run_id);
