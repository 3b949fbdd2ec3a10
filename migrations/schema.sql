-- The result of all migrations. Do not edit: `UPDATE_SCHEMA=1 cargo test --test it schema`.

-- tenure.db

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
    confirmed_at   INTEGER, account TEXT, changed_at INTEGER NOT NULL DEFAULT 0,
    UNIQUE (assignment_id, entitlement_id)
) STRICT;

CREATE INDEX grant_by_account ON access_grant (entitlement_id, account);

CREATE INDEX grant_by_entitlement ON access_grant (entitlement_id, assignment_id);

CREATE INDEX grant_by_need ON access_grant (person_id, entitlement_id);

CREATE INDEX grant_open ON access_grant (id) WHERE state IN ('pending', 'failed', 'deprovisioning');

CREATE TABLE access_period (
    entity    TEXT    NOT NULL CHECK (entity IN ('assignment', 'document')),
    entity_id TEXT    NOT NULL,
    -- Never before the one that came before it, whatever the clock did.
    from_at   INTEGER NOT NULL,
    -- When the next one began; null while it lasts.
    until_at  INTEGER,
    state     TEXT    NOT NULL,
    -- The entry that tells of it, with everything else that was true then.
    seq       INTEGER NOT NULL,
    -- GET /api/assignments?asOf= and GET /api/documents?asOf= newest first; how one of them stood.
    PRIMARY KEY (entity, entity_id, from_at)
) STRICT, WITHOUT ROWID;

CREATE INDEX access_period_by_state ON access_period (entity, state, entity_id, from_at, until_at, seq);

CREATE TABLE account (
    id            TEXT PRIMARY KEY,
    person_id     TEXT NOT NULL UNIQUE REFERENCES person (id),
    email         TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT,
    active        INTEGER NOT NULL DEFAULT 1,
    epoch         INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE account_flight (
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    account        TEXT NOT NULL,
    job_id         TEXT NOT NULL,
    PRIMARY KEY (entitlement_id, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE account_role (
    account_id TEXT NOT NULL REFERENCES account (id),
    role       TEXT NOT NULL CHECK (role IN ('admin', 'resource_manager', 'approver', 'requestor', 'auditor')),
    PRIMARY KEY (account_id, role)
) STRICT, WITHOUT ROWID;

CREATE INDEX account_role_by_role ON account_role (role);

CREATE TABLE api_token (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES account (id),
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    scope        TEXT,
    may_decide   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER
, made_by TEXT REFERENCES person (id)) STRICT;

CREATE INDEX api_token_by_account ON api_token (account_id, id);

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

CREATE INDEX approval_by_state ON approval (state, id);

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

CREATE INDEX approval_approver_by_person ON approval_approver (person_id, approval_id);

CREATE TRIGGER approver_sees_the_run AFTER INSERT ON approval_approver BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.person_id, a.run_id FROM approval a WHERE a.id = NEW.approval_id;
END;

CREATE TABLE approval_note (
    approval_id TEXT NOT NULL REFERENCES approval (id),
    seq         INTEGER NOT NULL,
    kind        TEXT NOT NULL CHECK (kind IN ('question', 'answer')),
    person_id   TEXT NOT NULL REFERENCES person (id),
    text        TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (approval_id, seq)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE approval_vote (
    approval_id TEXT NOT NULL REFERENCES approval (id),
    person_id   TEXT NOT NULL REFERENCES person (id),
    stage       INTEGER NOT NULL,
    approves    INTEGER NOT NULL,
    reason      TEXT,
    at          INTEGER NOT NULL,
    PRIMARY KEY (approval_id, person_id)
) STRICT, WITHOUT ROWID;

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
, remind_at INTEGER) STRICT;

CREATE INDEX assignment_by_person ON assignment (person_id, id);

CREATE INDEX assignment_by_role ON assignment (role_id, id);

CREATE INDEX assignment_by_run ON assignment (run_id) WHERE run_id IS NOT NULL;

CREATE INDEX assignment_due ON assignment (expires_at, id)
    WHERE expires_at IS NOT NULL AND state IN ('scheduled', 'provisioning', 'active', 'partially_provisioned');

CREATE INDEX assignment_remind ON assignment (remind_at, id) WHERE remind_at IS NOT NULL;

CREATE INDEX assignment_start ON assignment (starts_at, id) WHERE state = 'scheduled';

CREATE INDEX assignment_states ON assignment (ended_at, state);

CREATE TABLE assignment_document (
    assignment_id TEXT NOT NULL REFERENCES assignment (id),
    document_id   TEXT NOT NULL REFERENCES document (id),
    PRIMARY KEY (assignment_id, document_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX assignment_document_by_document ON assignment_document (document_id);

CREATE TABLE audit_fault (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    seq    INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

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

CREATE INDEX audit_log_by_action ON audit_log (action, seq);

CREATE INDEX audit_log_by_actor ON audit_log (actor_id, seq);

CREATE INDEX audit_log_by_entity ON audit_log (entity, entity_id, seq);

CREATE TRIGGER audit_log_in_sequence BEFORE INSERT ON audit_log
WHEN NEW.seq IS NULL OR NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_log)
BEGIN SELECT RAISE(ABORT, 'the audit log is appended in sequence'); END;

CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE audit_node (
    level INTEGER NOT NULL CHECK (level BETWEEN 1 AND 62),
    -- It covers the leaves idx << level up to, without, (idx + 1) << level, counted from 0.
    idx   INTEGER NOT NULL,
    hash  BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_node_in_sequence BEFORE INSERT ON audit_node
WHEN NEW.idx IS NULL OR NEW.idx <> (SELECT coalesce(max(idx), -1) + 1 FROM audit_node WHERE level = NEW.level)
BEGIN SELECT RAISE(ABORT, 'the audit log is appended in sequence'); END;

CREATE TRIGGER audit_node_no_delete BEFORE DELETE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_node_no_update BEFORE UPDATE ON audit_node
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TABLE audit_state (
    seq   INTEGER NOT NULL REFERENCES audit_log (seq),
    part  TEXT NOT NULL CHECK (part IN ('context', 'prev', 'new')),
    salt  BLOB NOT NULL,
    state BLOB,
    PRIMARY KEY (seq, part)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER audit_entry_begins_a_period AFTER INSERT ON audit_state
WHEN NEW.part = 'new'
     AND EXISTS (SELECT 1 FROM audit_log l WHERE l.seq = NEW.seq AND l.entity IN ('assignment', 'document'))
     AND json_extract(CAST(NEW.state AS TEXT), '$.state') IS NOT NULL
BEGIN
    INSERT INTO access_period (entity, entity_id, from_at, state, seq)
        SELECT l.entity, l.entity_id,
               max(l.at, coalesce((SELECT max(p.from_at) FROM access_period p
                                   WHERE p.entity = l.entity AND p.entity_id = l.entity_id), l.at)),
               json_extract(CAST(NEW.state AS TEXT), '$.state'), l.seq
        FROM audit_log l WHERE l.seq = NEW.seq
        ON CONFLICT (entity, entity_id, from_at) DO UPDATE SET state = excluded.state, seq = excluded.seq;
    UPDATE access_period SET until_at = (SELECT max(n.from_at) FROM access_period n
                                         WHERE n.entity = access_period.entity AND n.entity_id = access_period.entity_id)
        WHERE (entity, entity_id) = (SELECT l.entity, l.entity_id FROM audit_log l WHERE l.seq = NEW.seq)
          AND until_at IS NULL AND seq <> NEW.seq;
END;

CREATE TRIGGER audit_state_no_delete BEFORE DELETE ON audit_state
BEGIN SELECT RAISE(ABORT, 'a state of the audit log can be erased, not removed'); END;

CREATE TRIGGER audit_state_once BEFORE INSERT ON audit_state
WHEN EXISTS (SELECT 1 FROM audit_state WHERE seq = NEW.seq AND part = NEW.part)
BEGIN SELECT RAISE(ABORT, 'a state of the audit log is written once'); END;

CREATE TRIGGER audit_state_only_erased BEFORE UPDATE ON audit_state
WHEN NEW.seq <> OLD.seq OR NEW.part <> OLD.part OR NEW.state IS NOT NULL OR length(NEW.salt) <> 0
BEGIN SELECT RAISE(ABORT, 'a state of the audit log can be erased, not changed'); END;

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

CREATE TABLE audit_walk (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    position    TEXT    NOT NULL,
    begun_at    INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE blob (
    sha256     TEXT    NOT NULL PRIMARY KEY CHECK (length(sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    created_at INTEGER NOT NULL,
    -- When something last began or ceased to refer to it; run-orphan-cleanup counts from there.
    touched_at INTEGER NOT NULL
) STRICT;

CREATE INDEX blob_by_touch ON blob (touched_at, sha256);

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

CREATE UNIQUE INDEX break_glass_by_assignment ON break_glass (assignment_id);

CREATE INDEX break_glass_by_person ON break_glass (person_id, role_id);

CREATE INDEX break_glass_open ON break_glass (id) WHERE verdict IS NULL;

CREATE TABLE checkpoint (
    number  INTEGER PRIMARY KEY,
    size    INTEGER NOT NULL,
    root    BLOB    NOT NULL CHECK (length(root) = 32),
    origin  TEXT    NOT NULL,
    note    TEXT    NOT NULL,
    reason  TEXT    NOT NULL CHECK (reason IN ('schedule', 'manual', 'shutdown')),
    made_at INTEGER NOT NULL
) STRICT;

CREATE INDEX checkpoint_by_size ON checkpoint (size, number);

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

CREATE INDEX checkpoint_copy_pending ON checkpoint_copy (place, number) WHERE stored_at IS NULL;

CREATE TABLE checkpoint_refusal (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    kind   TEXT    NOT NULL,
    detail TEXT    NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

CREATE TABLE clock_hold (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- moved: it was set while Tenure ran; behind, ahead: at a start, of the newest audit entry.
    kind        TEXT    NOT NULL CHECK (kind IN ('moved', 'behind', 'ahead')),
    -- What the clock showed when that was noticed, and what it should have been near.
    shown_at    INTEGER NOT NULL,
    expected_at INTEGER NOT NULL
) STRICT;

CREATE TABLE connector (
    id         TEXT PRIMARY KEY,
    -- GET /api/connectors by name; find_by_name.
    name       TEXT NOT NULL UNIQUE,
    config     TEXT NOT NULL CHECK (json_valid(config)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
, kind TEXT NOT NULL DEFAULT 'directory'
    CHECK (kind IN ('directory', 'http', 'ldap', 'scim', 'sql', 'exec')), policy TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(policy)), mock INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE connector_secret (
    connector_id TEXT NOT NULL REFERENCES connector (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    sealed       BLOB NOT NULL,
    changed_at   INTEGER NOT NULL,
    PRIMARY KEY (connector_id, name)
) STRICT, WITHOUT ROWID;

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

CREATE INDEX delegation_by_delegate ON delegation (delegate_id, id);

CREATE INDEX delegation_by_person ON delegation (person_id, starts_at) WHERE revoked_at IS NULL;

CREATE TABLE directory_account (
    connector_id TEXT NOT NULL REFERENCES connector (id),
    name         TEXT NOT NULL,
    attributes   TEXT NOT NULL CHECK (json_valid(attributes)),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (connector_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE directory_call (
    connector_id TEXT NOT NULL REFERENCES connector (id),
    call_key     TEXT NOT NULL,
    command      TEXT NOT NULL,
    params       TEXT NOT NULL,
    output       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (connector_id, call_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE directory_group (
    connector_id TEXT NOT NULL REFERENCES connector (id),
    name         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (connector_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE directory_member (
    connector_id TEXT NOT NULL,
    group_name   TEXT NOT NULL,
    account_name TEXT NOT NULL,
    added_at     INTEGER NOT NULL,
    PRIMARY KEY (connector_id, group_name, account_name),
    FOREIGN KEY (connector_id, group_name) REFERENCES directory_group (connector_id, name) ON DELETE CASCADE,
    FOREIGN KEY (connector_id, account_name) REFERENCES directory_account (connector_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX directory_member_by_account ON directory_member (connector_id, account_name);

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
    created_at  INTEGER NOT NULL,
    -- Whoever handed it in; they do not review it.
    submitted_by TEXT   REFERENCES person (id),
    reviewed_by TEXT    REFERENCES person (id),
    reviewed_at INTEGER
, sha256 TEXT REFERENCES blob (sha256), token_made_by TEXT REFERENCES person (id), remind_at INTEGER) STRICT;

CREATE INDEX document_by_blob ON document (sha256) WHERE sha256 IS NOT NULL;

CREATE INDEX document_by_person ON document (person_id, type, id);

CREATE INDEX document_due ON document (expires_at, id) WHERE state IN ('submitted', 'approved');

CREATE TRIGGER document_file_is_fixed BEFORE UPDATE OF sha256, file_name, media_type ON document
WHEN OLD.state <> 'submitted'
BEGIN SELECT RAISE(ABORT, 'the file of a document is fixed once it was reviewed'); END;

CREATE INDEX document_remind ON document (remind_at, id) WHERE remind_at IS NOT NULL;

CREATE TABLE document_wait (
    run_id    TEXT NOT NULL,
    person_id TEXT NOT NULL REFERENCES person (id),
    type      TEXT NOT NULL,
    PRIMARY KEY (person_id, type, run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_wait_by_run ON document_wait (run_id);

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
, list_call TEXT, policy TEXT NOT NULL DEFAULT 'report'
    CHECK (policy IN ('report', 'repair', 'revoke_unknown')), remove_call TEXT) STRICT;

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

CREATE INDEX exception_by_run ON exception (run_id, id) WHERE run_id IS NOT NULL;

CREATE INDEX exception_by_state ON exception (state, id);

CREATE UNIQUE INDEX exception_one_open ON exception (kind, target) WHERE state = 'pending';

CREATE TABLE expiry_reminder (
    kind      TEXT NOT NULL PRIMARY KEY CHECK (kind IN ('assignment', 'document')),
    days      TEXT NOT NULL,
    cursor_at INTEGER,
    cursor_id TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE grant_flight (
    person_id      TEXT NOT NULL REFERENCES person (id),
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    job_id         TEXT NOT NULL,
    PRIMARY KEY (person_id, entitlement_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_former_name (
    name     TEXT NOT NULL PRIMARY KEY,
    group_id TEXT NOT NULL REFERENCES person_group (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX group_former_name_by_group ON group_former_name (group_id);

CREATE TABLE group_member (
    group_id  TEXT NOT NULL REFERENCES person_group (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    PRIMARY KEY (group_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_member_by_person ON group_member (person_id);

CREATE TABLE hook_seen (
    connector_id TEXT NOT NULL REFERENCES connector (id) ON DELETE CASCADE,
    signature    BLOB NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (connector_id, signature)
) STRICT, WITHOUT ROWID;

CREATE INDEX hook_seen_by_time ON hook_seen (connector_id, at);

CREATE TABLE identity_link (
    person_id    TEXT NOT NULL REFERENCES person (id),
    connector_id TEXT NOT NULL REFERENCES connector (id),
    external_id  TEXT NOT NULL,
    linked_at    INTEGER NOT NULL,
    PRIMARY KEY (person_id, connector_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX identity_link_by_account ON identity_link (connector_id, external_id);

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

CREATE TABLE job (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    -- A second job with the same key is not made while the first is open or done.
    key           TEXT,
    -- held: by our clock; handed: the queue has it; done, failed: the end.
    state         TEXT    NOT NULL CHECK (state IN ('held', 'handed', 'done', 'failed')),
    -- 1 while an attempt holds it. Left over by a crash, it counts as an attempt at the next start.
    active        INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    -- Goes up with each attempt; a result that carries an older number is discarded.
    fence         INTEGER NOT NULL DEFAULT 0,
    -- When it may start next.
    run_at        INTEGER NOT NULL,
    attempts_made INTEGER NOT NULL DEFAULT 0,
    failed_reason TEXT,
    -- The schedule whose slot this is, and whether the slot was missed first.
    schedule      TEXT,
    late          INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1)),
    created_at    INTEGER NOT NULL,
    processed_on  INTEGER,
    finished_on   INTEGER
, queue_ref TEXT, cuts INTEGER NOT NULL DEFAULT 0, due_from INTEGER) STRICT;

CREATE INDEX job_due_from ON job (id) WHERE due_from IS NOT NULL;

CREATE INDEX job_finished ON job (state, finished_on, id) WHERE state IN ('done', 'failed');

CREATE INDEX job_handed ON job (id, active, run_at) WHERE state = 'handed';

CREATE INDEX job_held ON job (run_at, id) WHERE state = 'held';

CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;

CREATE INDEX job_name ON job (name, id);

CREATE UNIQUE INDEX job_queue_ref ON job (queue_ref) WHERE queue_ref IS NOT NULL;

CREATE TABLE job_attempt (
    job_id     TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    -- The attempt's number in the ledger; never used twice.
    fence      INTEGER NOT NULL,
    -- Which attempt it was, counted from 1; a job that starts over counts from 1 again.
    attempt    INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    -- The attempts of a job, newest first.
    PRIMARY KEY (job_id, fence)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_bulk (
    id          TEXT    NOT NULL PRIMARY KEY,
    action      TEXT    NOT NULL CHECK (action IN ('retry', 'retry-once', 'remove', 'promote')),
    filter      TEXT    NOT NULL,
    requested_by TEXT   NOT NULL,
    -- Jobs that matched when it was asked for.
    total       INTEGER NOT NULL,
    seen        INTEGER NOT NULL DEFAULT 0,
    changed     INTEGER NOT NULL DEFAULT 0,
    -- The job looked at last; the next page is older.
    cursor      TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

CREATE TABLE job_queue (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- Names this installation to a Redis that others may use, too.
    instance TEXT    NOT NULL,
    -- 1 while nothing may start. For the embedded queue; in Redis BullMQ keeps it.
    paused   INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))
) STRICT;

CREATE TABLE job_schedule (
    name         TEXT    NOT NULL PRIMARY KEY,
    cron         TEXT    NOT NULL,
    timezone     TEXT    NOT NULL,
    next_slot_at INTEGER,
    last_slot_at INTEGER,
    last_job_id  TEXT,
    -- BullMQ's word for how the last slot's job stands.
    last_state   TEXT
, kind TEXT NOT NULL DEFAULT 'system' CHECK (kind IN ('system', 'workflow')), job TEXT, payload TEXT NOT NULL DEFAULT '{}', missed TEXT NOT NULL DEFAULT 'once' CHECK (missed IN ('once', 'skip')), paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)), last_run_at INTEGER, late_ms INTEGER) STRICT;

CREATE INDEX job_schedule_due ON job_schedule (next_slot_at) WHERE next_slot_at IS NOT NULL;

CREATE INDEX job_schedule_last_job ON job_schedule (last_job_id) WHERE last_job_id IS NOT NULL;

CREATE TABLE job_schedule_fired (
    name      TEXT    NOT NULL REFERENCES job_schedule (name) ON DELETE CASCADE,
    from_slot INTEGER NOT NULL,
    to_slot   INTEGER NOT NULL,
    PRIMARY KEY (name, from_slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE link (
    id              TEXT PRIMARY KEY,
    kind            TEXT NOT NULL CHECK (kind IN ('invitation', 'verify_contact')),
    run_id          TEXT NOT NULL REFERENCES run (id),
    visit           INTEGER NOT NULL,
    email           TEXT NOT NULL,
    display_name    TEXT NOT NULL,
    message         TEXT NOT NULL,
    -- Whose address is proven.
    person_id       TEXT REFERENCES person (id),
    form            TEXT NOT NULL CHECK (json_valid(form)),
    becomes_subject INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('open', 'used', 'expired', 'cancelled')),
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    mailed_at       INTEGER,
    used_at         INTEGER,
    UNIQUE (run_id, visit)
) STRICT;

CREATE TABLE link_token (
    sha256  BLOB PRIMARY KEY,
    link_id TEXT NOT NULL REFERENCES link (id),
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX link_token_by_link ON link_token (link_id);

CREATE TABLE notification (
    id        TEXT PRIMARY KEY,
    person_id TEXT NOT NULL REFERENCES person (id),
    kind      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    body      TEXT NOT NULL,
    link      TEXT,
    created_at INTEGER NOT NULL,
    read_at   INTEGER,
    mailed_at INTEGER
, in_digest INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX notification_by_person ON notification (person_id, id);

CREATE INDEX notification_by_time ON notification (person_id, created_at);

CREATE INDEX notification_for_digest ON notification (person_id) WHERE in_digest = 1 AND mailed_at IS NULL;

CREATE INDEX notification_unread ON notification (person_id) WHERE read_at IS NULL;

CREATE TABLE notification_choice (
    person_id TEXT PRIMARY KEY REFERENCES person (id),
    mail      TEXT NOT NULL CHECK (mail IN ('usual', 'each', 'together'))
) STRICT, WITHOUT ROWID;

CREATE TABLE notification_template (
    key        TEXT PRIMARY KEY,
    subject    TEXT NOT NULL,
    body       TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE oidc_attempt (
    hash      BLOB PRIMARY KEY,
    return_to TEXT NOT NULL,
    began_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX oidc_attempt_by_began ON oidc_attempt (began_at);

CREATE TABLE oidc_identity (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES account (id),
    linked_at  INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX oidc_identity_by_account ON oidc_identity (account_id);

CREATE TABLE passkey (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES account (id),
    credential   BLOB NOT NULL UNIQUE,
    -- COSE_Key of RFC 9052, as the authenticator gave it.
    public_key   BLOB NOT NULL,
    sign_count   INTEGER NOT NULL,
    name         TEXT NOT NULL,
    made_at      INTEGER NOT NULL,
    last_used_at INTEGER
) STRICT;

CREATE INDEX passkey_by_account ON passkey (account_id, id);

CREATE TABLE passkey_challenge (
    hash       BLOB PRIMARY KEY,
    account_id TEXT,
    given_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX passkey_challenge_by_given ON passkey_challenge (given_at);

CREATE TABLE person (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    email        TEXT NOT NULL COLLATE NOCASE UNIQUE,
    manager_id   TEXT REFERENCES person (id),
    active       INTEGER NOT NULL DEFAULT 1,
    attributes   TEXT NOT NULL DEFAULT '{}',
    created_at   INTEGER NOT NULL
, external_id TEXT, updated_at INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE UNIQUE INDEX person_by_external_id ON person (external_id) WHERE external_id IS NOT NULL;

CREATE INDEX person_by_manager ON person (manager_id) WHERE manager_id IS NOT NULL;

CREATE TABLE person_group (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
, description TEXT NOT NULL DEFAULT '', owner_id TEXT REFERENCES person (id), external_id TEXT, created_at INTEGER NOT NULL DEFAULT 0, updated_at INTEGER NOT NULL DEFAULT 0) STRICT;

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

CREATE INDEX person_leave_by_person ON person_leave (person_id, id);

CREATE INDEX person_leave_by_source ON person_leave (source, began_at);

CREATE INDEX person_leave_by_state ON person_leave (state, id);

CREATE UNIQUE INDEX person_leave_one_held ON person_leave (person_id) WHERE state = 'held';

CREATE TABLE reconciliation (
    id           TEXT    NOT NULL PRIMARY KEY,
    kind         TEXT    NOT NULL CHECK (kind IN ('scheduled', 'manual', 'dry_run')),
    requested_by TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('running', 'completed', 'held', 'failed')),
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE TABLE reconciliation_adoption (
    id           TEXT    NOT NULL PRIMARY KEY,
    plan_no      INTEGER NOT NULL REFERENCES reconciliation_plan (no),
    role_id      TEXT    NOT NULL REFERENCES role (id),
    reason       TEXT    NOT NULL,
    expires_at   INTEGER NOT NULL,
    -- Whoever asked and whoever agreed; they adopt nothing for themselves.
    requested_by TEXT    NOT NULL,
    mark         TEXT,
    total        INTEGER NOT NULL,
    cursor       INTEGER NOT NULL DEFAULT 0,
    adopted      INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE INDEX reconciliation_adoption_by_plan ON reconciliation_adoption (plan_no, id);

CREATE TABLE reconciliation_found (
    plan_no    INTEGER NOT NULL REFERENCES reconciliation_plan (no),
    account    TEXT    NOT NULL,
    -- Only of accounts that no grant stands behind.
    attributes TEXT,
    PRIMARY KEY (plan_no, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE reconciliation_item (
    no            INTEGER NOT NULL PRIMARY KEY,
    id            TEXT    NOT NULL UNIQUE,
    plan_no       INTEGER NOT NULL REFERENCES reconciliation_plan (no),
    account       TEXT    NOT NULL,
    action        TEXT    NOT NULL CHECK (action IN ('add', 'remove', 'adopt', 'ignore')),
    reason        TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('reported', 'planned', 'applying', 'done', 'failed', 'skipped')),
    -- The grant that it is about, and which change of what is wanted its call carries out.
    grant_id      TEXT    REFERENCES access_grant (id),
    generation    INTEGER,
    -- Whose it seems to be.
    person_id     TEXT    REFERENCES person (id),
    attributes    TEXT,
    error         TEXT,
    -- The job that removes an account without a grant.
    job_id        TEXT,
    -- What it became when it was adopted.
    assignment_id TEXT    REFERENCES assignment (id),
    changed_at    INTEGER NOT NULL,
    UNIQUE (plan_no, account)
) STRICT;

CREATE INDEX reconciliation_item_by_plan ON reconciliation_item (plan_no, no);

CREATE INDEX reconciliation_item_by_state ON reconciliation_item (plan_no, state, no);

CREATE TABLE reconciliation_plan (
    no                INTEGER NOT NULL PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    reconciliation_id TEXT    NOT NULL REFERENCES reconciliation (id),
    entitlement_id    TEXT    NOT NULL REFERENCES entitlement (id),
    connector_id      TEXT    NOT NULL REFERENCES connector (id),
    policy            TEXT    NOT NULL,
    -- How the entitlement says it is listed, and an account removed: what is carried out is what was compared.
    terms             TEXT    NOT NULL,
    dry_run           INTEGER NOT NULL,
    status            TEXT    NOT NULL CHECK (status IN ('listing', 'comparing', 'held', 'applying', 'completed',
                                                         'failed', 'rejected', 'superseded')),
    -- The job that is at it.
    job_id            TEXT    NOT NULL,
    -- Where the job goes on: the source's own cursor while listing, an account while comparing.
    pass              TEXT    NOT NULL DEFAULT 'found' CHECK (pass IN ('found', 'grants')),
    cursor            TEXT,
    -- Pages and entries that came; accounts among them; accounts that are to be there.
    pages             INTEGER NOT NULL DEFAULT 0,
    seen              INTEGER NOT NULL DEFAULT 0,
    found             INTEGER NOT NULL DEFAULT 0,
    expected          INTEGER NOT NULL DEFAULT 0,
    -- Wanted grants that do not know their account.
    nameless          INTEGER NOT NULL DEFAULT 0,
    -- Removals that were let go.
    removals          INTEGER NOT NULL DEFAULT 0,
    -- Why it is held or failed: a word for programs, a sentence for people.
    why               TEXT,
    detail            TEXT,
    started_at        INTEGER NOT NULL,
    compared_at       INTEGER,
    let_go_at         INTEGER,
    ended_at          INTEGER,
    decided_by        TEXT,
    decided_at        INTEGER,
    decision_reason   TEXT
) STRICT;

CREATE INDEX reconciliation_plan_by_entitlement ON reconciliation_plan (entitlement_id, no);

CREATE INDEX reconciliation_plan_by_run ON reconciliation_plan (reconciliation_id, no);

CREATE INDEX reconciliation_plan_let_go ON reconciliation_plan (let_go_at) WHERE let_go_at IS NOT NULL;

CREATE UNIQUE INDEX reconciliation_plan_open ON reconciliation_plan (entitlement_id)
    WHERE status IN ('listing', 'comparing', 'applying');

CREATE TABLE recovery_code (
    account_id TEXT NOT NULL REFERENCES account (id),
    hash       BLOB NOT NULL,
    PRIMARY KEY (account_id, hash)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE role_conflict (
    id         TEXT    NOT NULL PRIMARY KEY,
    -- The lesser id of the two.
    role_a     TEXT    NOT NULL REFERENCES role (id),
    role_b     TEXT    NOT NULL REFERENCES role (id) CHECK (role_b > role_a),
    reason     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    -- Whether two roles exclude each other, whenever one is granted, started or extended.
    UNIQUE (role_a, role_b)
) STRICT;

CREATE TABLE role_entitlement (
    role_id        TEXT NOT NULL REFERENCES role (id),
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    PRIMARY KEY (role_id, entitlement_id)
) STRICT, WITHOUT ROWID;

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
, mock INTEGER NOT NULL DEFAULT 0 CHECK (mock IN (0, 1))) STRICT;

CREATE INDEX run_by_parent ON run (parent_run_id) WHERE parent_run_id IS NOT NULL;

CREATE INDEX run_by_status ON run (status, id);

CREATE INDEX run_by_subject ON run (subject_id, id);

CREATE INDEX run_by_workflow ON run (workflow_id, id);

CREATE INDEX run_by_workflow_status ON run (workflow_id, status, id);

CREATE TRIGGER run_has_another_subject AFTER UPDATE OF subject_id ON run
WHEN NEW.subject_id IS NOT NULL AND NEW.subject_id IS NOT OLD.subject_id BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id) VALUES (NEW.subject_id, NEW.id);
END;

CREATE TRIGGER run_has_viewers AFTER INSERT ON run BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.started_by, NEW.id WHERE NEW.started_by IS NOT NULL;
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.subject_id, NEW.id WHERE NEW.subject_id IS NOT NULL;
END;

CREATE INDEX run_running_by_update ON run (updated_at) WHERE status = 'running';

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

CREATE INDEX run_event_skipped ON run_event (run_id) WHERE kind = 'run.step_skipped';

CREATE TABLE run_party (
    run_id    TEXT NOT NULL REFERENCES run (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    -- They made the token it was asked for with, or changed what it is about.
    how       TEXT NOT NULL CHECK (how IN ('token', 'edit')),
    PRIMARY KEY (run_id, person_id, how)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_signal (
    id          TEXT PRIMARY KEY,
    event       TEXT NOT NULL,
    key         TEXT NOT NULL,
    payload     TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

CREATE INDEX run_signal_by_age ON run_signal (received_at);

CREATE INDEX run_signal_by_key ON run_signal (event, key, received_at);

CREATE TABLE run_signal_wait (
    event  TEXT NOT NULL,
    key    TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES run (id),
    visit  INTEGER NOT NULL,
    PRIMARY KEY (event, key, run_id, visit)
) STRICT, WITHOUT ROWID;

CREATE INDEX run_signal_wait_by_run ON run_signal_wait (run_id);

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

CREATE INDEX run_step_large ON run_step (id) WHERE octet_length(output) > 16384;

CREATE TABLE run_viewer (
    person_id TEXT NOT NULL REFERENCES person (id),
    run_id    TEXT NOT NULL REFERENCES run (id),
    PRIMARY KEY (person_id, run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE schema_migration (
            version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
            applied_at INTEGER NOT NULL) STRICT;

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

CREATE TABLE scim_user (
    person_id  TEXT NOT NULL PRIMARY KEY REFERENCES person (id),
    user_name  TEXT NOT NULL COLLATE NOCASE,
    document   TEXT NOT NULL CHECK (json_valid(document)),
    -- The source deleted it: it does not see the person any more.
    deleted_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX scim_user_by_name ON scim_user (user_name) WHERE deleted_at IS NULL;

CREATE TABLE second_factor (
    account_id   TEXT PRIMARY KEY REFERENCES account (id),
    secret       BLOB NOT NULL,
    -- The newest time step whose code was used; no code counts twice.
    last_step    INTEGER NOT NULL DEFAULT 0,
    made_at      INTEGER NOT NULL,
    confirmed_at INTEGER
) STRICT;

CREATE TABLE setting (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE task (
    id           TEXT PRIMARY KEY,
    kind         TEXT NOT NULL CHECK (kind IN ('task', 'consent')),
    run_id       TEXT NOT NULL REFERENCES run (id),
    visit        INTEGER NOT NULL,
    step_name    TEXT NOT NULL,
    title        TEXT NOT NULL,
    -- How it is done; of a consent, the text that was agreed to, as it was shown.
    description  TEXT NOT NULL,
    form         TEXT NOT NULL CHECK (json_valid(form)),
    outputs      TEXT NOT NULL CHECK (json_valid(outputs)),
    state        TEXT NOT NULL CHECK (state IN ('open', 'assigned', 'held', 'done', 'cancelled')),
    subject_id   TEXT REFERENCES person (id),
    requested_by TEXT REFERENCES person (id),
    assignee_id  TEXT REFERENCES person (id),
    hold_reason  TEXT,
    created_at   INTEGER NOT NULL,
    due_at       INTEGER,
    outcome      TEXT,
    given        TEXT CHECK (given IS NULL OR json_valid(given)),
    reason       TEXT,
    done_at      INTEGER,
    done_by      TEXT REFERENCES person (id),
    UNIQUE (run_id, visit)
) STRICT;

CREATE INDEX task_by_state ON task (state, id);

CREATE TABLE task_candidate (
    task_id   TEXT NOT NULL REFERENCES task (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    PRIMARY KEY (task_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER candidate_sees_the_run AFTER INSERT ON task_candidate BEGIN
    INSERT OR IGNORE INTO run_viewer (person_id, run_id)
        SELECT NEW.person_id, t.run_id FROM task t WHERE t.id = NEW.task_id;
END;

CREATE INDEX task_candidate_by_person ON task_candidate (person_id, task_id);

CREATE TABLE task_comment (
    id        TEXT PRIMARY KEY,
    task_id   TEXT NOT NULL REFERENCES task (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    at        INTEGER NOT NULL,
    text      TEXT NOT NULL
) STRICT;

CREATE INDEX task_comment_by_task ON task_comment (task_id, id);

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
, published_by TEXT REFERENCES person (id)) STRICT;

CREATE INDEX workflow_by_event ON workflow (json_extract(definition, '$.trigger.event.name')) WHERE status = 'active';

CREATE INDEX workflow_by_key ON workflow (key, version);

CREATE INDEX workflow_by_status ON workflow (status, id);

CREATE UNIQUE INDEX workflow_one_active ON workflow (key) WHERE status = 'active';

CREATE UNIQUE INDEX workflow_one_draft ON workflow (key) WHERE status = 'draft';

CREATE TABLE workflow_author (
    workflow_id TEXT NOT NULL REFERENCES workflow (id) ON DELETE CASCADE,
    person_id   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (workflow_id, person_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE workflow_schedule (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    -- All versions of the workflow; the active one is started.
    workflow_key TEXT NOT NULL,
    input        TEXT NOT NULL,
    subject_id   TEXT REFERENCES person (id),
    -- When the run before is not over: start none, start it after that, start it beside.
    overlap      TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow')),
    created_by   TEXT REFERENCES person (id),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- The job that waits for the run before to end.
    waiting_job  TEXT,
    last_result  TEXT CHECK (last_result IN ('started', 'skipped', 'queued')),
    last_run_id  TEXT
) STRICT;

CREATE TABLE workflow_schedule_run (
    schedule_id TEXT NOT NULL REFERENCES workflow_schedule (id) ON DELETE CASCADE,
    run_id      TEXT NOT NULL,
    PRIMARY KEY (schedule_id, run_id)
) STRICT, WITHOUT ROWID;

-- queue.db

CREATE TABLE schema_migration (
            version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
            applied_at INTEGER NOT NULL) STRICT;

CREATE TABLE session (
    id           TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    account_id   TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    csrf         TEXT NOT NULL,
    address      TEXT,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
, method TEXT NOT NULL DEFAULT 'password', device TEXT, id_token BLOB) STRICT;

CREATE INDEX session_by_account ON session (account_id, created_at);

-- logs.db

CREATE TABLE schema_migration (
            version INTEGER PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL,
            applied_at INTEGER NOT NULL) STRICT;

CREATE TABLE system_log (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    level      TEXT NOT NULL,
    target     TEXT NOT NULL,
    message    TEXT NOT NULL,
    fields     TEXT NOT NULL,
    request_id TEXT
) STRICT;

CREATE INDEX system_log_by_level ON system_log (level, id);

CREATE INDEX system_log_by_time ON system_log (at);

