-- How assignments and documents stood, from when until when: what the audit log says of them, so that a page of
-- a past day is found without reading the log. The database keeps it from the entries themselves, so that the
-- two cannot differ.
CREATE TABLE access_period (
    entity    TEXT    NOT NULL CHECK (entity IN ('assignment', 'document')),
    entity_id TEXT    NOT NULL,
    -- Never before the one that came before it, whatever the clock did.
    from_at   INTEGER NOT NULL,
    -- When the next one began; null while it lasts.
    until_at  INTEGER,
    state     TEXT    NOT NULL,
    -- The entry that tells of it, with everything else that was true then.
    seq       INTEGER NOT NULL,
    -- GET /api/assignments?asOf= and GET /api/documents?asOf= newest first; how one of them stood.
    PRIMARY KEY (entity, entity_id, from_at)
) STRICT, WITHOUT ROWID;
-- GET /api/assignments?asOf=&state=, GET /api/assignments?asOf=&held=true, GET /api/documents?asOf=&state=
-- It has every column that these ask for, so that the table is not read for those that do not fit.
CREATE INDEX access_period_by_state ON access_period (entity, state, entity_id, from_at, until_at, seq);

-- GET /api/assignments?entitlementId= newest first.
CREATE INDEX grant_by_entitlement ON access_grant (entitlement_id, assignment_id);

-- Who stands behind what a run granted: steps that were passed over, which are few among its events.
CREATE INDEX run_event_skipped ON run_event (run_id) WHERE kind = 'run.step_skipped';

-- Of several entries at one instant the last one counts.
CREATE TRIGGER audit_entry_begins_a_period AFTER INSERT ON audit_state
WHEN NEW.part = 'new'
     AND EXISTS (SELECT 1 FROM audit_log l WHERE l.seq = NEW.seq AND l.entity IN ('assignment', 'document'))
     AND json_extract(CAST(NEW.state AS TEXT), '$.state') IS NOT NULL
BEGIN
    INSERT INTO access_period (entity, entity_id, from_at, state, seq)
        SELECT l.entity, l.entity_id,
               max(l.at, coalesce((SELECT max(p.from_at) FROM access_period p
                                   WHERE p.entity = l.entity AND p.entity_id = l.entity_id), l.at)),
               json_extract(CAST(NEW.state AS TEXT), '$.state'), l.seq
        FROM audit_log l WHERE l.seq = NEW.seq
        ON CONFLICT (entity, entity_id, from_at) DO UPDATE SET state = excluded.state, seq = excluded.seq;
    UPDATE access_period SET until_at = (SELECT max(n.from_at) FROM access_period n
                                         WHERE n.entity = access_period.entity AND n.entity_id = access_period.entity_id)
        WHERE (entity, entity_id) = (SELECT l.entity, l.entity_id FROM audit_log l WHERE l.seq = NEW.seq)
          AND until_at IS NULL AND seq <> NEW.seq;
END;

-- What the log tells of already.
INSERT INTO access_period (entity, entity_id, from_at, until_at, state, seq)
    WITH told (entity, entity_id, seq, at, state) AS (
        SELECT l.entity, l.entity_id, l.seq, l.at, json_extract(CAST(s.state AS TEXT), '$.state')
        FROM audit_log l JOIN audit_state s ON s.seq = l.seq AND s.part = 'new'
        WHERE l.entity IN ('assignment', 'document')
    ), begun (entity, entity_id, seq, from_at, state) AS (
        SELECT entity, entity_id, seq, max(at) OVER (PARTITION BY entity, entity_id ORDER BY seq), state
        FROM told WHERE state IS NOT NULL
    ), periods (entity, entity_id, seq, from_at, until_at, state) AS (
        SELECT entity, entity_id, seq, from_at, lead(from_at) OVER (PARTITION BY entity, entity_id ORDER BY seq), state
        FROM begun
    )
    SELECT entity, entity_id, from_at, until_at, state, seq FROM periods WHERE until_at IS NULL OR until_at > from_at;
