-- What Tenure says about itself; purged after LOG_RETENTION_DAYS.
CREATE TABLE system_log (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    level      TEXT NOT NULL,
    target     TEXT NOT NULL,
    message    TEXT NOT NULL,
    fields     TEXT NOT NULL,
    request_id TEXT
) STRICT;
-- The purge: DELETE … WHERE at < ?
CREATE INDEX system_log_by_time ON system_log (at);
-- GET /api/logs?level=error newest first.
CREATE INDEX system_log_by_level ON system_log (level, id);
