-- When the next reminder of an end is due; NULL when there is none (any more).
ALTER TABLE assignment ADD COLUMN remind_at INTEGER;
ALTER TABLE document ADD COLUMN remind_at INTEGER;
-- role-expiry-check: assignments whose reminder is due, in order.
CREATE INDEX assignment_remind ON assignment (remind_at, id) WHERE remind_at IS NOT NULL;
-- document-expiry-check: documents whose reminder is due, in order.
CREATE INDEX document_remind ON document (remind_at, id) WHERE remind_at IS NOT NULL;

-- By which days the reminders of a kind of ends are set, and how far that has come since the days changed:
-- ends up to (cursor_at, cursor_id) are done; both NULL once all are.
CREATE TABLE expiry_reminder (
    kind      TEXT NOT NULL PRIMARY KEY CHECK (kind IN ('assignment', 'document')),
    days      TEXT NOT NULL,
    cursor_at INTEGER,
    cursor_id TEXT
) STRICT, WITHOUT ROWID;
-- What is there already is set by the first check, page by page.
INSERT INTO expiry_reminder (kind, days, cursor_at, cursor_id) VALUES ('assignment', '30,7,1', 0, ''),
                                                                      ('document', '30,7,1', 0, '');

-- GET /metrics: how many assignments are in each state, by this index alone. It does not begin with the state,
-- so that no query for what is due takes it for its own.
CREATE INDEX assignment_states ON assignment (ended_at, state);
