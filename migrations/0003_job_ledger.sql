-- The ledger of background jobs: one row per job, written with the change that wants it.
CREATE TABLE job (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    payload       TEXT    NOT NULL,
    -- A second job with the same key is not made while the first is open or done.
    key           TEXT,
    -- held: by our clock; handed: the queue has it; done, failed: the end.
    state         TEXT    NOT NULL CHECK (state IN ('held', 'handed', 'done', 'failed')),
    -- 1 while an attempt holds it. Left over by a crash, it counts as an attempt at the next start.
    active        INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    -- Goes up with each attempt; a result that carries an older number is discarded.
    fence         INTEGER NOT NULL DEFAULT 0,
    -- When it may start next.
    run_at        INTEGER NOT NULL,
    attempts_made INTEGER NOT NULL DEFAULT 0,
    failed_reason TEXT,
    -- The schedule whose slot this is, and whether the slot was missed first.
    schedule      TEXT,
    late          INTEGER NOT NULL DEFAULT 0 CHECK (late IN (0, 1)),
    created_at    INTEGER NOT NULL,
    processed_on  INTEGER,
    finished_on   INTEGER
) STRICT;

-- Deduplication by key.
CREATE UNIQUE INDEX job_key ON job (key) WHERE key IS NOT NULL;
-- The relay: what is due, and when the next one is.
CREATE INDEX job_held ON job (run_at, id) WHERE state = 'held';
-- Reconciliation with the queue, recovery after a crash, counts of what is open.
CREATE INDEX job_handed ON job (id, active, run_at) WHERE state = 'handed';
-- Retention: the newest finished jobs of each kind.
CREATE INDEX job_finished ON job (state, finished_on, id) WHERE state IN ('done', 'failed');
-- The job list, filtered by name, newest first.
CREATE INDEX job_name ON job (name, id);

-- Where each scheduled job stands. One row per registered job with a schedule.
CREATE TABLE job_schedule (
    name         TEXT    NOT NULL PRIMARY KEY,
    cron         TEXT    NOT NULL,
    timezone     TEXT    NOT NULL,
    next_slot_at INTEGER,
    last_slot_at INTEGER,
    last_job_id  TEXT,
    -- BullMQ's word for how the last slot's job stands.
    last_state   TEXT
) STRICT;
