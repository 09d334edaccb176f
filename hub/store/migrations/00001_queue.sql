-- The embedded job queue. Times are milliseconds since 1970 by the hub's clock,
-- unless a column says otherwise; a label set is its canonical labels joined
-- with commas. Ids are UUIDs, seq columns keep the order of arrival.

-- +goose Up

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who asks for demand and launches runners. generation is that of its API:
-- head, ert or pr.
CREATE TABLE provisioners (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    generation   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER
) STRICT, WITHOUT ROWID;

-- Every bearer token, as a digest. One-use tokens are consumed in one step:
-- UPDATE … WHERE consumed_at IS NULL.
CREATE TABLE tokens (
    id             TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,
    digest         TEXT NOT NULL UNIQUE,
    prefix         TEXT NOT NULL,
    name           TEXT NOT NULL DEFAULT '',
    provisioner_id TEXT REFERENCES provisioners (id),
    runner_id      TEXT REFERENCES runners (id) ON DELETE CASCADE,
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER,
    revoked_at     INTEGER,
    consumed_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_runner ON tokens (runner_id) WHERE runner_id IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_at) WHERE expires_at IS NOT NULL;

-- A promise of units (runners) of one label set to one provisioner.
-- granted - released is what a mint may cover, minted what it has covered.
CREATE TABLE reservations (
    id             TEXT PRIMARY KEY,
    provisioner_id TEXT NOT NULL REFERENCES provisioners (id),
    kind           TEXT NOT NULL, -- launch, or bound: an idle runner was adopted
    label_set      TEXT NOT NULL,
    granted        INTEGER NOT NULL,
    released       INTEGER NOT NULL DEFAULT 0,
    minted         INTEGER NOT NULL DEFAULT 0,
    told           INTEGER NOT NULL DEFAULT 1, -- bound ones are told to the next poll
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reservations_live ON reservations (provisioner_id, expires_at);
CREATE INDEX reservations_untold ON reservations (provisioner_id) WHERE told = 0;
CREATE INDEX reservations_expiry ON reservations (expires_at);

-- Runners, from the mint (or the first report of an unknown one) on.
CREATE TABLE runners (
    id                 TEXT PRIMARY KEY,
    provisioner_id     TEXT NOT NULL REFERENCES provisioners (id),
    provider_runner_id TEXT,
    template           TEXT NOT NULL DEFAULT '',
    label_set          TEXT NOT NULL DEFAULT '',
    provider_kind      TEXT NOT NULL DEFAULT '',
    state              TEXT NOT NULL,
    reason             TEXT NOT NULL DEFAULT '',
    reported_at        INTEGER, -- the provisioner's clock, never above ours
    seen_at            INTEGER NOT NULL,
    intended_id        TEXT, -- the reservation it was minted for
    reservation_id     TEXT, -- the reservation it is assigned to
    session_id         TEXT,
    enrolled_at        INTEGER,
    retired_at         INTEGER, -- it will never get a job
    intent             TEXT NOT NULL DEFAULT '', -- why it should end
    created_at         INTEGER NOT NULL,
    ended_at           INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX runners_provider ON runners (provisioner_id, provider_runner_id);
CREATE INDEX runners_intent ON runners (provisioner_id, intent) WHERE intent <> '' AND ended_at IS NULL;
CREATE INDEX runners_idle ON runners (enrolled_at)
    WHERE enrolled_at IS NOT NULL AND reservation_id IS NULL AND session_id IS NULL AND retired_at IS NULL AND ended_at IS NULL;
CREATE INDEX runners_ended ON runners (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX runners_live ON runners (provisioner_id, seen_at) WHERE ended_at IS NULL;

-- Registered runners that may claim jobs.
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    mode       TEXT NOT NULL, -- manual, ephemeral or activation
    runner_id  TEXT REFERENCES runners (id) ON DELETE CASCADE,
    label_set  TEXT NOT NULL,
    max_claims INTEGER, -- NULL: no bound
    claims     INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE jobs (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  TEXT NOT NULL UNIQUE,
    name                TEXT NOT NULL,
    label_set           TEXT NOT NULL,
    run                 TEXT NOT NULL, -- a script, or
    command             TEXT NOT NULL, -- an argv as JSON
    env                 BLOB,          -- sealed JSON; NULL: none
    env_names           TEXT NOT NULL, -- JSON
    timeout             INTEGER NOT NULL, -- milliseconds
    retries             INTEGER NOT NULL,
    state               TEXT NOT NULL,
    reason              TEXT NOT NULL DEFAULT '',
    attempt             INTEGER NOT NULL DEFAULT 0, -- claims so far
    exit_code           INTEGER,
    log_bytes           INTEGER NOT NULL DEFAULT 0,
    reservation_id      TEXT,
    reserved_until      INTEGER,
    runner_id           TEXT, -- the runner it is meant for, or runs on
    lease_id            TEXT,
    created_at          INTEGER NOT NULL,
    queued_at           INTEGER NOT NULL,
    started_at          INTEGER,
    finished_at         INTEGER,
    cancel_requested_at INTEGER
) STRICT;
CREATE INDEX jobs_waiting ON jobs (label_set, state, seq);
CREATE INDEX jobs_state ON jobs (state, seq);
CREATE INDEX jobs_reservation ON jobs (reservation_id, seq) WHERE state IN ('reserved', 'launched');
CREATE INDEX jobs_runner ON jobs (runner_id) WHERE state IN ('reserved', 'launched', 'running');
CREATE INDEX jobs_reserved_until ON jobs (reserved_until) WHERE state IN ('reserved', 'launched');
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;

-- Who may run a job. At most one lease of a job has not ended. Renewals are kept
-- in memory: after a restart every lease gets a full life first.
CREATE TABLE leases (
    id         TEXT PRIMARY KEY,
    job_id     TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    session_id TEXT NOT NULL,
    runner_id  TEXT,
    attempt    INTEGER NOT NULL,
    ours       INTEGER NOT NULL, -- the runner keeps the promises of a Slipway runner
    taken_at   INTEGER,          -- when the runner asked what to run; NULL: it never began
    created_at INTEGER NOT NULL,
    ended_at   INTEGER,
    ended_by   TEXT NOT NULL DEFAULT '' -- result, lost or cancel
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX leases_one ON leases (job_id) WHERE ended_at IS NULL;
CREATE INDEX leases_job ON leases (job_id);
CREATE INDEX leases_session ON leases (session_id) WHERE ended_at IS NULL;
CREATE INDEX leases_runner ON leases (runner_id);

-- What became of each job, for its history.
CREATE TABLE job_events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id  TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    state   TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    runner  TEXT NOT NULL DEFAULT '',
    reason  TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX job_events_job ON job_events (job_id, seq);
CREATE INDEX job_events_at ON job_events (at);

-- Counts per label set, kept by the triggers below: queued jobs are free to
-- grant, reserved ones are granted and not yet claimed, running ones are claimed.
-- last_granted orders label sets by how long ago they got something.
CREATE TABLE label_sets (
    label_set    TEXT PRIMARY KEY,
    queued       INTEGER NOT NULL DEFAULT 0,
    reserved     INTEGER NOT NULL DEFAULT 0,
    running      INTEGER NOT NULL DEFAULT 0,
    last_granted INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX label_sets_waiting ON label_sets (label_set) WHERE queued > 0 OR reserved > 0;

-- +goose StatementBegin
CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
    INSERT INTO label_sets (label_set) VALUES (NEW.label_set) ON CONFLICT DO NOTHING;
    UPDATE label_sets SET
        queued = queued + (NEW.state = 'queued'),
        reserved = reserved + (NEW.state IN ('reserved', 'launched')),
        running = running + (NEW.state = 'running')
    WHERE label_set = NEW.label_set;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN OLD.state <> NEW.state BEGIN
    UPDATE label_sets SET
        queued = queued + (NEW.state = 'queued') - (OLD.state = 'queued'),
        reserved = reserved + (NEW.state IN ('reserved', 'launched')) - (OLD.state IN ('reserved', 'launched')),
        running = running + (NEW.state = 'running') - (OLD.state = 'running')
    WHERE label_set = NEW.label_set;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
    UPDATE label_sets SET
        queued = queued - (OLD.state = 'queued'),
        reserved = reserved - (OLD.state IN ('reserved', 'launched')),
        running = running - (OLD.state = 'running')
    WHERE label_set = OLD.label_set;
END;
-- +goose StatementEnd

-- +goose Down

DROP TABLE job_events;
DROP TABLE leases;
DROP TABLE jobs;
DROP TABLE sessions;
DROP TABLE tokens;
DROP TABLE runners;
DROP TABLE reservations;
DROP TABLE label_sets;
DROP TABLE provisioners;
DROP TABLE settings;
