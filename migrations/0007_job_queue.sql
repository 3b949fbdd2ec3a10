-- The queue itself, one row.
CREATE TABLE job_queue (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- Names this installation to a Redis that others may use, too.
    instance TEXT    NOT NULL,
    -- 1 while nothing may start. For the embedded queue; in Redis BullMQ keeps it.
    paused   INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1))
) STRICT;

-- A job that somebody else put into Redis: BullMQ's id and timestamp of it, `17@1900000000000`.
ALTER TABLE job ADD COLUMN queue_ref TEXT;
-- The worker, when it takes such a job again.
CREATE UNIQUE INDEX job_queue_ref ON job (queue_ref) WHERE queue_ref IS NOT NULL;

-- Attempts that failed or were cut short. The one that succeeded is the job's own row.
CREATE TABLE job_attempt (
    job_id     TEXT    NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    -- The attempt's number in the ledger; never used twice.
    fence      INTEGER NOT NULL,
    -- Which attempt it was, counted from 1; a job that starts over counts from 1 again.
    attempt    INTEGER NOT NULL,
    started_at INTEGER,
    ended_at   INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    -- The attempts of a job, newest first.
    PRIMARY KEY (job_id, fence)
) STRICT, WITHOUT ROWID;

-- What was asked for all jobs that match a filter, and how far it is. Worked off page by page.
CREATE TABLE job_bulk (
    id          TEXT    NOT NULL PRIMARY KEY,
    action      TEXT    NOT NULL CHECK (action IN ('retry', 'retry-once', 'remove', 'promote')),
    filter      TEXT    NOT NULL,
    requested_by TEXT   NOT NULL,
    -- Jobs that matched when it was asked for.
    total       INTEGER NOT NULL,
    seen        INTEGER NOT NULL DEFAULT 0,
    changed     INTEGER NOT NULL DEFAULT 0,
    -- The job looked at last; the next page is older.
    cursor      TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
