-- Who made a token for somebody else's account: what is asked for with it may be their own wish.
ALTER TABLE api_token ADD COLUMN made_by TEXT REFERENCES person (id);
-- Who made the token with which a document, or its file, was handed in; absent when it was the owner's own.
ALTER TABLE document ADD COLUMN token_made_by TEXT REFERENCES person (id);
-- Who published a version.
ALTER TABLE workflow ADD COLUMN published_by TEXT REFERENCES person (id);

-- Who must not decide in a run, beside whoever asked for it and whom it is about.
CREATE TABLE run_party (
    run_id    TEXT NOT NULL REFERENCES run (id),
    person_id TEXT NOT NULL REFERENCES person (id),
    -- They made the token it was asked for with, or changed what it is about.
    how       TEXT NOT NULL CHECK (how IN ('token', 'edit')),
    PRIMARY KEY (run_id, person_id, how)
) STRICT, WITHOUT ROWID;
