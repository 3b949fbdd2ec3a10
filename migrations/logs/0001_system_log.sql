-- What Tenure says about itself. AUTOINCREMENT: a purged id never comes back, so a cursor stays true.
CREATE TABLE system_log (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    level      TEXT NOT NULL CHECK (level IN ('error', 'warn', 'info', 'debug', 'trace')),
    target     TEXT NOT NULL,
    message    TEXT NOT NULL,
    fields     TEXT NOT NULL,
    request_id TEXT
) STRICT;
-- Purge: DELETE … WHERE at < ? ORDER BY at LIMIT ?
CREATE INDEX system_log_by_time ON system_log (at);
-- GET /api/logs?level=
CREATE INDEX system_log_by_level ON system_log (level, id);
-- GET /api/logs?q=req_…
CREATE INDEX system_log_by_request ON system_log (request_id) WHERE request_id IS NOT NULL;
