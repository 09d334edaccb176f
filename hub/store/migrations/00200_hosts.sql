-- Hosts, who may be one, and what must be known of their runners. Times are
-- milliseconds since 1970 by the hub's clock. Digests are SHA-256 in hexadecimal:
-- no token is stored.

-- +goose Up

-- A removed host stays as a row: its id and its credentials are refused for ever.
CREATE TABLE hosts (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL,
    labels        TEXT NOT NULL,              -- JSON: {"key": "value"}
    max_runners   INTEGER NOT NULL,           -- 0: its CPUs
    cordoned      INTEGER NOT NULL,
    draining      INTEGER NOT NULL DEFAULT 0, -- until nothing runs there
    drain_until   INTEGER,                    -- then what runs is ended
    isolated      INTEGER NOT NULL,           -- it was asked to have an isolated runtime
    local         INTEGER NOT NULL DEFAULT 0, -- its agent was started beside the hub
    agent         TEXT NOT NULL DEFAULT '',   -- the agent's id and
    engine        TEXT NOT NULL DEFAULT '',   -- its engine's: the pair that the host is
    agent_version TEXT NOT NULL DEFAULT '',
    facts         TEXT NOT NULL DEFAULT '{}', -- JSON, as the agent told them last
    version       INTEGER NOT NULL DEFAULT 1, -- counts the changes of what can be set
    created_at    INTEGER NOT NULL,
    seen_at       INTEGER,
    removed_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX hosts_name ON hosts (name) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX hosts_engine ON hosts (engine) WHERE engine <> '' AND removed_at IS NULL;
CREATE INDEX hosts_draining ON hosts (id) WHERE draining <> 0 AND removed_at IS NULL;

-- What agents authenticate with. During a rotation a host has two: the next one
-- becomes the only one when it is used.
CREATE TABLE host_credentials (
    digest     TEXT PRIMARY KEY,
    host_id    TEXT NOT NULL REFERENCES hosts (id),
    next       INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX host_credentials_host ON host_credentials (host_id);

-- One-time invitations. Consumed in one step: UPDATE … WHERE consumed_at IS NULL.
CREATE TABLE host_enrolments (
    id           TEXT PRIMARY KEY,
    host_id      TEXT NOT NULL REFERENCES hosts (id),
    digest       TEXT NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    consumed_at  INTEGER,
    agent        TEXT NOT NULL DEFAULT '', -- who consumed it, with
    agent_digest TEXT NOT NULL DEFAULT ''  -- which credential
) STRICT, WITHOUT ROWID;
CREATE INDEX host_enrolments_host ON host_enrolments (host_id);
CREATE INDEX host_enrolments_expiry ON host_enrolments (expires_at);

-- The records of the fleet: a runner that may be on a host, written before its
-- launch is sent.
CREATE TABLE host_runners (
    runner  TEXT PRIMARY KEY,
    host_id TEXT NOT NULL,
    record  TEXT NOT NULL -- JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX host_runners_host ON host_runners (host_id);

-- Orders to become another version of the agent, in the order of place; those of
-- one order share a rollout. One that is done is deleted, one that failed stays to
-- be seen.
CREATE TABLE host_updates (
    host_id  TEXT PRIMARY KEY REFERENCES hosts (id),
    rollout  TEXT NOT NULL,
    place    INTEGER NOT NULL,
    canary   INTEGER NOT NULL, -- goes first, and the others wait for it
    version  TEXT NOT NULL,
    state    TEXT NOT NULL,    -- waiting, asked, failed or stopped
    problem  TEXT NOT NULL DEFAULT '',
    asked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX host_updates_rollout ON host_updates (rollout, place);

-- +goose Down

DROP TABLE host_updates;
DROP TABLE host_runners;
DROP TABLE host_enrolments;
DROP TABLE host_credentials;
DROP TABLE hosts;
