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

-- Passkeys (WebAuthn): the public halves of keys that an authenticator keeps.
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
-- GET /api/auth/passkeys
CREATE INDEX passkey_by_account ON passkey (account_id, id);

-- Challenges that were given and not used yet, by their hash; for whom, when somebody is signed in.
CREATE TABLE passkey_challenge (
    hash       BLOB PRIMARY KEY,
    account_id TEXT,
    given_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Challenges that nobody used
CREATE INDEX passkey_challenge_by_given ON passkey_challenge (given_at);
