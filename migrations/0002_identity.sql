-- People ask, decide and hold access.
CREATE TABLE person (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    email        TEXT NOT NULL COLLATE NOCASE UNIQUE,
    manager_id   TEXT REFERENCES person (id),
    active       INTEGER NOT NULL DEFAULT 1,
    attributes   TEXT NOT NULL DEFAULT '{}',
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE person_group (
    id   TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE group_member (
    group_id  TEXT NOT NULL REFERENCES person_group (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    PRIMARY KEY (group_id, person_id)
) STRICT, WITHOUT ROWID;
-- Which groups is somebody in?
CREATE INDEX group_member_by_person ON group_member (person_id);

-- An account signs in and belongs to one person. Raising the epoch ends all of its sessions.
CREATE TABLE account (
    id            TEXT PRIMARY KEY,
    person_id     TEXT NOT NULL UNIQUE REFERENCES person (id),
    email         TEXT NOT NULL COLLATE NOCASE UNIQUE,
    password_hash TEXT,
    active        INTEGER NOT NULL DEFAULT 1,
    epoch         INTEGER NOT NULL DEFAULT 1,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE account_role (
    account_id TEXT NOT NULL REFERENCES account (id),
    role       TEXT NOT NULL CHECK (role IN ('admin', 'resource_manager', 'approver', 'requestor', 'auditor')),
    PRIMARY KEY (account_id, role)
) STRICT, WITHOUT ROWID;
-- Who is an administrator? (notifications, approvers by system role)
CREATE INDEX account_role_by_role ON account_role (role);

-- API tokens; only a hash is kept.
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
) STRICT;
-- GET /api/auth/tokens
CREATE INDEX api_token_by_account ON api_token (account_id, id);
