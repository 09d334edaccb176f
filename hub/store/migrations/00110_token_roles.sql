-- What a token of kind api may do: admin, operator or viewer; empty for others.

-- +goose Up

ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT '';

-- +goose Down

ALTER TABLE tokens DROP COLUMN role;
