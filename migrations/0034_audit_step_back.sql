-- Where the instants of the log go back: the entries that tell an earlier instant than the one before them.
-- Between two of them instants only go forward, so that the entries of a period are found by bisection.
CREATE TABLE audit_step_back (
    seq INTEGER PRIMARY KEY
) STRICT;

INSERT INTO audit_step_back (seq)
SELECT seq FROM (SELECT seq, at, lag(at) OVER (ORDER BY seq) AS before FROM audit_log) WHERE at < before;

CREATE TRIGGER audit_log_steps_back AFTER INSERT ON audit_log
WHEN NEW.at < (SELECT at FROM audit_log WHERE seq = NEW.seq - 1)
BEGIN INSERT INTO audit_step_back (seq) VALUES (NEW.seq); END;
