-- Who somebody is at the OpenID provider. A subject is one person for ever; an address is not.
CREATE TABLE oidc_identity (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    account_id TEXT NOT NULL REFERENCES account (id),
    linked_at  INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
-- Is this account somebody's at the provider already?
CREATE INDEX oidc_identity_by_account ON oidc_identity (account_id);

-- Browsers that were sent to the provider and are not back yet, by a keyed hash of their cookie. State, nonce and
-- PKCE verifier follow from the cookie, so none of them is kept.
CREATE TABLE oidc_attempt (
    hash      BLOB PRIMARY KEY,
    return_to TEXT NOT NULL,
    began_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Attempts that nobody came back from
CREATE INDEX oidc_attempt_by_began ON oidc_attempt (began_at);
