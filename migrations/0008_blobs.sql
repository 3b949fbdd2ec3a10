-- Content that is kept in blobs/, one row and one file each. The row is written after the file.
CREATE TABLE blob (
    sha256     TEXT    NOT NULL PRIMARY KEY CHECK (length(sha256) = 64),
    size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
    created_at INTEGER NOT NULL,
    -- When something last began or ceased to refer to it; run-orphan-cleanup counts from there.
    touched_at INTEGER NOT NULL
) STRICT;
-- run-orphan-cleanup: the oldest first.
CREATE INDEX blob_by_touch ON blob (touched_at, sha256);

-- The file of a document. Its size is the blob's.
ALTER TABLE document DROP COLUMN size_bytes;
ALTER TABLE document DROP COLUMN sha256;
ALTER TABLE document ADD COLUMN sha256 TEXT REFERENCES blob (sha256);
-- Is there a document that refers to this blob?
CREATE INDEX document_by_blob ON document (sha256) WHERE sha256 IS NOT NULL;

-- What was reviewed does not change any more.
CREATE TRIGGER document_file_is_fixed BEFORE UPDATE OF sha256, file_name, media_type ON document
WHEN OLD.state <> 'submitted'
BEGIN SELECT RAISE(ABORT, 'the file of a document is fixed once it was reviewed'); END;

-- run-orphan-cleanup: large outputs of steps. The same size stands in the job's query.
CREATE INDEX run_step_large ON run_step (id) WHERE octet_length(output) > 16384;
