-- Connected systems. The config holds no secret; secrets are sealed, one row each.
CREATE TABLE connector (
    id         TEXT PRIMARY KEY,
    -- GET /api/connectors by name; find_by_name.
    name       TEXT NOT NULL UNIQUE,
    kind       TEXT NOT NULL CHECK (kind IN ('directory', 'http', 'ldap')),
    config     TEXT NOT NULL CHECK (json_valid(config)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE connector_secret (
    connector_id TEXT NOT NULL REFERENCES connector (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    sealed       BLOB NOT NULL,
    changed_at   INTEGER NOT NULL,
    PRIMARY KEY (connector_id, name)
) STRICT, WITHOUT ROWID;

-- The directory inside Tenure: what connectors of kind `directory` hold.
CREATE TABLE directory_account (
    connector_id TEXT NOT NULL REFERENCES connector (id),
    name         TEXT NOT NULL,
    attributes   TEXT NOT NULL CHECK (json_valid(attributes)),
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (connector_id, name)
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
-- The groups an account is in, when it is deleted.
CREATE INDEX directory_member_by_account ON directory_member (connector_id, account_name);

-- Answers of commands that changed the directory, so that a repeated call changes nothing again.
CREATE TABLE directory_call (
    connector_id TEXT NOT NULL REFERENCES connector (id),
    call_key     TEXT NOT NULL,
    command      TEXT NOT NULL,
    params       TEXT NOT NULL,
    output       TEXT NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (connector_id, call_key)
) STRICT, WITHOUT ROWID;

-- Messages to people, shown in the UI and sent by mail.
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
) STRICT;
-- GET /api/notifications of one person, newest first; ids sort by time.
CREATE INDEX notification_by_person ON notification (person_id, id);
-- The number of unread ones.
CREATE INDEX notification_unread ON notification (person_id) WHERE read_at IS NULL;

-- What a connected system calls a person.
CREATE TABLE identity_link (
    person_id    TEXT NOT NULL REFERENCES person (id),
    connector_id TEXT NOT NULL REFERENCES connector (id),
    external_id  TEXT NOT NULL,
    linked_at    INTEGER NOT NULL,
    PRIMARY KEY (person_id, connector_id)
) STRICT, WITHOUT ROWID;
-- Who is this account of the connected system?
CREATE UNIQUE INDEX identity_link_by_account ON identity_link (connector_id, external_id);
