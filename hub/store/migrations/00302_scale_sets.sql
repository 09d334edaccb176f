-- Scale sets.

-- +goose Up

-- spec is the scale set as JSON, its hosts by their ids. version is the value that
-- scale_set_clock had after the last edit, so none comes twice.
CREATE TABLE scale_sets (
    name          TEXT PRIMARY KEY,
    control_plane TEXT NOT NULL,
    credential    TEXT NOT NULL DEFAULT '', -- the name of one of registry_credentials
    spec          TEXT NOT NULL,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX scale_sets_credential ON scale_sets (credential) WHERE credential <> '';

-- One row, which counts the edits of scale sets and of credentials.
CREATE TABLE scale_set_clock (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO scale_set_clock (one, version) VALUES (1, 1);

-- +goose Down

DROP TABLE scale_set_clock;
DROP TABLE scale_sets;
