-- Attempts that ended with the process and did not count, because other jobs ran as well. A job that has
-- three of them runs alone from then on.
ALTER TABLE job ADD COLUMN cuts INTEGER NOT NULL DEFAULT 0;
