-- Keys of what is encrypted at rest. Sealed columns begin with the id of the key
-- that opens them; hub/vault lists them all.

-- +goose Up

-- The master keys that something here is sealed with, by id. The keys themselves
-- are not in the database.
CREATE TABLE vault_keys (
    id       TEXT PRIMARY KEY,
    first_at INTEGER NOT NULL -- milliseconds
) STRICT, WITHOUT ROWID;

-- The hub's own secrets, which outlive a change of the master key.
CREATE TABLE vault_secrets (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL -- sealed
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE vault_secrets;
DROP TABLE vault_keys;
