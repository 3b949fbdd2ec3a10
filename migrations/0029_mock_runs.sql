-- Whether the run only pretends: it calls no connected system and changes nobody's access.
ALTER TABLE run ADD COLUMN mock INTEGER NOT NULL DEFAULT 0 CHECK (mock IN (0, 1));
