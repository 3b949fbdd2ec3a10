-- While the clock is in doubt, nothing ends or begins by itself until an administrator confirmed the time.
-- There is a row exactly that long.
CREATE TABLE clock_hold (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    -- moved: it was set while Tenure ran; behind, ahead: at a start, of the newest audit entry.
    kind        TEXT    NOT NULL CHECK (kind IN ('moved', 'behind', 'ahead')),
    -- What the clock showed when that was noticed, and what it should have been near.
    shown_at    INTEGER NOT NULL,
    expected_at INTEGER NOT NULL
) STRICT;

-- The instant for which a job came while the clock was in doubt; it goes on from there afterwards.
ALTER TABLE job ADD COLUMN due_from INTEGER;
-- After the confirmation: the jobs that stand back.
CREATE INDEX job_due_from ON job (id) WHERE due_from IS NOT NULL;
