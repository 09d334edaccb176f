-- Users of image registries.

-- +goose Up

-- secret is the sealed JSON of the user's name and password, bound to the row's
-- id. registry is in its canonical form.
CREATE TABLE registry_credentials (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    registry   TEXT NOT NULL,
    username   TEXT NOT NULL,
    secret     BLOB NOT NULL, -- sealed
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE registry_credentials;
