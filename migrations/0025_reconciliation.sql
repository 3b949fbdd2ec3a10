-- What is done about differences between Tenure and the connected system, and how an account that no
-- assignment stands behind is removed: {command, params} with {{ account.key }}.
ALTER TABLE entitlement ADD COLUMN policy TEXT NOT NULL DEFAULT 'report'
    CHECK (policy IN ('report', 'repair', 'revoke_unknown'));
ALTER TABLE entitlement ADD COLUMN remove_call TEXT;

-- What the connected system's list calls it, as rendered with its calls. NULL: not asked yet; empty: it
-- cannot be told.
ALTER TABLE access_grant ADD COLUMN account TEXT;
-- When its row last changed.
ALTER TABLE access_grant ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
-- Reconciliation: who stands behind an account; grants without one; how often an entitlement is held.
CREATE INDEX grant_by_account ON access_grant (entitlement_id, account);

-- Which job removes an account that no grant stands behind: nothing is given there meanwhile.
CREATE TABLE account_flight (
    entitlement_id TEXT NOT NULL REFERENCES entitlement (id),
    account        TEXT NOT NULL,
    job_id         TEXT NOT NULL,
    PRIMARY KEY (entitlement_id, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE reconciliation (
    id           TEXT    NOT NULL PRIMARY KEY,
    kind         TEXT    NOT NULL CHECK (kind IN ('scheduled', 'manual', 'dry_run')),
    requested_by TEXT    NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('running', 'completed', 'held', 'failed')),
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

-- One entitlement of a reconciliation.
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
-- One job at a time is at an entitlement.
CREATE UNIQUE INDEX reconciliation_plan_open ON reconciliation_plan (entitlement_id)
    WHERE status IN ('listing', 'comparing', 'applying');
-- The plans of a reconciliation.
CREATE INDEX reconciliation_plan_by_run ON reconciliation_plan (reconciliation_id, no);
-- The newest plan of an entitlement.
CREATE INDEX reconciliation_plan_by_entitlement ON reconciliation_plan (entitlement_id, no);
-- The threshold: what was let go in the 24 hours before.
CREATE INDEX reconciliation_plan_let_go ON reconciliation_plan (let_go_at) WHERE let_go_at IS NOT NULL;

-- What a listing found so far; emptied once it was compared.
CREATE TABLE reconciliation_found (
    plan_no    INTEGER NOT NULL REFERENCES reconciliation_plan (no),
    account    TEXT    NOT NULL,
    -- Only of accounts that no grant stands behind.
    attributes TEXT,
    PRIMARY KEY (plan_no, account)
) STRICT, WITHOUT ROWID;

-- A difference.
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
-- The items of a plan, all or in one state.
CREATE INDEX reconciliation_item_by_plan ON reconciliation_item (plan_no, no);
CREATE INDEX reconciliation_item_by_state ON reconciliation_item (plan_no, state, no);

-- Making assignments of the accounts of a plan whose person is known.
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
