-- A piece of work or a consent that somebody owes.
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
-- GET /api/tasks?state= newest first.
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
-- GET /api/tasks?mine=true
CREATE INDEX task_candidate_by_person ON task_candidate (person_id, task_id);

-- What people wrote about a task; ids sort by time.
CREATE TABLE task_comment (
    id        TEXT PRIMARY KEY,
    task_id   TEXT NOT NULL REFERENCES task (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    at        INTEGER NOT NULL,
    text      TEXT NOT NULL
) STRICT;
-- The comments of a task, oldest first.
CREATE INDEX task_comment_by_task ON task_comment (task_id, id);

-- A link that can be followed once, sent to an address.
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

-- A link is only known by the SHA-256 of its token; each mail of a link has a token of its own.
CREATE TABLE link_token (
    sha256  BLOB PRIMARY KEY,
    link_id TEXT NOT NULL REFERENCES link (id),
    made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX link_token_by_link ON link_token (link_id);

-- Mails that an administrator worded anew.
CREATE TABLE notification_template (
    key        TEXT PRIMARY KEY,
    subject    TEXT NOT NULL,
    body       TEXT NOT NULL,
    changed_by TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages that are mailed together with others.
ALTER TABLE notification ADD COLUMN in_digest INTEGER NOT NULL DEFAULT 0;
-- How many mails a person got lately.
CREATE INDEX notification_by_time ON notification (person_id, created_at);
-- What goes into the next mail of a person.
CREATE INDEX notification_for_digest ON notification (person_id) WHERE in_digest = 1 AND mailed_at IS NULL;
