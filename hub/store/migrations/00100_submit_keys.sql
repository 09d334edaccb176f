-- Keys that make submitting a job idempotent. digest is of what was submitted.
-- The job's row is inserted after its key's, in the same transaction.

-- +goose Up

CREATE TABLE submit_keys (
    key    TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX submit_keys_job ON submit_keys (job_id);

-- +goose Down

DROP TABLE submit_keys;
