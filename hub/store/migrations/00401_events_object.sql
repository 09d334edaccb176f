-- What was told of an object last: each runner's end is told once.

-- +goose Up

CREATE INDEX events_object ON events (object, seq);

-- +goose Down

DROP INDEX events_object;
