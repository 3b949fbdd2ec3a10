-- Schedules of people beside Tenure's own, and what is shown of either.
ALTER TABLE job_schedule ADD COLUMN kind TEXT NOT NULL DEFAULT 'system' CHECK (kind IN ('system', 'workflow'));
-- The job that a slot makes: its name, which for Tenure's own is the schedule's name, and its payload.
ALTER TABLE job_schedule ADD COLUMN job TEXT;
ALTER TABLE job_schedule ADD COLUMN payload TEXT NOT NULL DEFAULT '{}';
-- What becomes of slots that passed while nobody looked: the latest fires, or none.
ALTER TABLE job_schedule ADD COLUMN missed TEXT NOT NULL DEFAULT 'once' CHECK (missed IN ('once', 'skip'));
ALTER TABLE job_schedule ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));
-- When the last job was made, by a slot or by hand, and how long after its slot if it came late.
ALTER TABLE job_schedule ADD COLUMN last_run_at INTEGER;
ALTER TABLE job_schedule ADD COLUMN late_ms INTEGER;
-- The scheduler: what is due, and when the next slot is.
CREATE INDEX job_schedule_due ON job_schedule (next_slot_at) WHERE next_slot_at IS NOT NULL;
-- The end of a slot's job.
CREATE INDEX job_schedule_last_job ON job_schedule (last_job_id) WHERE last_job_id IS NOT NULL;

-- Slots that fired, as runs of slots that follow each other: an outage or a clock that was set begins a new one.
-- A clock that goes back meets its slots here and fires none of them again.
CREATE TABLE job_schedule_fired (
    name      TEXT    NOT NULL REFERENCES job_schedule (name) ON DELETE CASCADE,
    from_slot INTEGER NOT NULL,
    to_slot   INTEGER NOT NULL,
    PRIMARY KEY (name, from_slot)
) STRICT, WITHOUT ROWID;

-- When a workflow is started by itself. Its slots are those of the row of job_schedule with the same name.
CREATE TABLE workflow_schedule (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    -- All versions of the workflow; the active one is started.
    workflow_key TEXT NOT NULL,
    input        TEXT NOT NULL,
    subject_id   TEXT REFERENCES person (id),
    -- When the run before is not over: start none, start it after that, start it beside.
    overlap      TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow')),
    created_by   TEXT REFERENCES person (id),
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    -- The job that waits for the run before to end.
    waiting_job  TEXT,
    last_result  TEXT CHECK (last_result IN ('started', 'skipped', 'queued')),
    last_run_id  TEXT
) STRICT;

-- Runs that a schedule started.
CREATE TABLE workflow_schedule_run (
    schedule_id TEXT NOT NULL REFERENCES workflow_schedule (id) ON DELETE CASCADE,
    run_id      TEXT NOT NULL,
    PRIMARY KEY (schedule_id, run_id)
) STRICT, WITHOUT ROWID;
