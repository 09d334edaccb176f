package ledger

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
)

// NewID makes a UUIDv7: ids of one table are in the order in which they were made.
func NewID() string {
	id, err := uuid.NewV7()
	if err != nil {
		panic(errors.Join(errors.New("queue: no randomness"), err))
	}
	return id.String()
}

// Millis is a time as it is stored; 0 and NULL are the zero time.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// FromMillis is the time that Millis stored.
func FromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// FromNullable is FromMillis of a column that may be NULL.
func FromNullable(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return FromMillis(*ms)
}

// JoinLabels is a canonical label set as it is stored: a comma is in no label.
func JoinLabels(labels []string) string { return strings.Join(labels, ",") }

// SplitLabels is the label set that JoinLabels stored.
func SplitLabels(set string) []string {
	if set == "" {
		return nil
	}
	return strings.Split(set, ",")
}
