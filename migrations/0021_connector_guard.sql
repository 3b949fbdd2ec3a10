-- More kinds; a check of a column cannot be changed in place.
ALTER TABLE connector ADD COLUMN kind_wide TEXT NOT NULL DEFAULT 'directory'
    CHECK (kind_wide IN ('directory', 'http', 'ldap', 'scim', 'sql', 'exec'));
UPDATE connector SET kind_wide = kind;
ALTER TABLE connector DROP COLUMN kind;
ALTER TABLE connector RENAME COLUMN kind_wide TO kind;
-- How calls are repeated, limited and broken off, and which events its hook may bring.
ALTER TABLE connector ADD COLUMN policy TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(policy));
-- Whether its commands are only pretended.
ALTER TABLE connector ADD COLUMN mock INTEGER NOT NULL DEFAULT 0;

-- Hooks that came within their window, so that none comes twice.
CREATE TABLE hook_seen (
    connector_id TEXT NOT NULL REFERENCES connector (id) ON DELETE CASCADE,
    signature    BLOB NOT NULL,
    at           INTEGER NOT NULL,
    PRIMARY KEY (connector_id, signature)
) STRICT, WITHOUT ROWID;
-- The purge of those whose window is over.
CREATE INDEX hook_seen_by_time ON hook_seen (connector_id, at);
