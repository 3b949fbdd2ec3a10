-- The second factor of an account: a TOTP secret (RFC 6238), sealed. Until it is confirmed by a code it asks nobody.
CREATE TABLE second_factor (
    account_id   TEXT PRIMARY KEY REFERENCES account (id),
    secret       BLOB NOT NULL,
    -- The newest time step whose code was used; no code counts twice.
    last_step    INTEGER NOT NULL DEFAULT 0,
    made_at      INTEGER NOT NULL,
    confirmed_at INTEGER
) STRICT;

-- Codes for whoever lost their device; only hashes are kept, and a code that was used is gone.
CREATE TABLE recovery_code (
    account_id TEXT NOT NULL REFERENCES account (id),
    hash       BLOB NOT NULL,
    PRIMARY KEY (account_id, hash)
) STRICT, WITHOUT ROWID;
