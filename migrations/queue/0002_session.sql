-- Signed-in browsers. The token is kept as a hash; epoch must equal the account's.
CREATE TABLE session (
    id           TEXT PRIMARY KEY,
    hash         BLOB NOT NULL UNIQUE,
    account_id   TEXT NOT NULL,
    epoch        INTEGER NOT NULL,
    csrf         TEXT NOT NULL,
    address      TEXT,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL
) STRICT;
-- GET /api/auth/sessions
CREATE INDEX session_by_account ON session (account_id, created_at);
