-- Separation of duties: two roles that nobody holds at the same time.
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
