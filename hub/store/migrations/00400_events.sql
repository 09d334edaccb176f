-- What happened on the hub, and who asked for it. Times are milliseconds since
-- 1970 by the hub's clock.

-- +goose Up

-- Events of hosts, scale sets, runners and tokens. Those of jobs are in
-- job_events. Both take their numbers from one sequence: whoever inserts here
-- takes the next number of both and moves the sequence of job_events on, in the
-- same transaction. So one number says where a reader of all events is.
CREATE TABLE events (
    seq    INTEGER PRIMARY KEY,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL, -- host-online
    object TEXT NOT NULL, -- host/builder-01
    text   TEXT NOT NULL  -- for people
) STRICT;
CREATE INDEX events_at ON events (at);

INSERT INTO sqlite_sequence (name, seq)
    SELECT 'job_events', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'job_events');

-- Who asked for which change, from where, and how it ended.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    token_id   TEXT NOT NULL, -- empty: done on the hub's own machine
    token_name TEXT NOT NULL,
    role       TEXT NOT NULL,
    address    TEXT NOT NULL,
    request_id TEXT NOT NULL,
    method     TEXT NOT NULL,
    route      TEXT NOT NULL,
    action     TEXT NOT NULL, -- edit-host
    object     TEXT NOT NULL, -- host/builder-01
    status     INTEGER NOT NULL, -- of the answer
    outcome    TEXT NOT NULL, -- done, or the code of the problem
    detail     TEXT NOT NULL, -- for people
    changes    TEXT NOT NULL, -- JSON: field, before, after; no secrets
    skipped    INTEGER NOT NULL, -- refusals of this token before this one that were not recorded
    routine    INTEGER NOT NULL  -- 1: of jobs, where there are very many
) STRICT;
CREATE INDEX audit_object ON audit (object, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_token ON audit (token_id, seq);
CREATE INDEX audit_routine ON audit (routine, seq);
CREATE INDEX audit_at ON audit (at);

-- Rows are added and never changed. They go when they are old: those of jobs at
-- any age, since there are so many, all others after 30 days at the earliest.

-- +goose StatementBegin
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is never changed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.routine = 0 AND OLD.at > (unixepoch() - 30 * 86400) * 1000 BEGIN
    SELECT RAISE(ABORT, 'the audit log is kept for 30 days');
END;
-- +goose StatementEnd

-- +goose Down

DROP TABLE audit;
DROP TABLE events;
