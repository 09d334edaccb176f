// Package records is what of its runners a fleet must find again after a restart: which
// may be on which host, and what of the host is theirs. A Store keeps the records, and a
// Saver writes what has changed, of many runners at once. Labels of the runners
// themselves say the same, for a hub that has lost its store.
package records

import (
	"context"
	"time"
)

// Record is what must outlive the hub of one runner: that it may be on that host,
// what of the host it takes up, and how it ended. It holds no secret. The names of its JSON are
// stored: add at the end only.
type Record struct {
	// Runner is the id.
	Runner string `json:"runner"`
	// Host is the id of the host it was launched on, or was found on.
	Host string `json:"host"`
	// Labels are those it was launched with. Nobody changes the map.
	Labels map[string]string `json:"labels,omitempty"`
	// Doomed: it was asked to be removed while its host was away.
	Doomed bool `json:"doomed,omitempty"`
	// CPU is how many virtual CPUs it was launched with, Memory how many bytes;
	// 0: without a limit, or nobody knows.
	CPU    float64 `json:"cpu,omitempty"`
	Memory int64   `json:"memory,omitempty"`
	// GPUs are the ids of the devices that are its own.
	GPUs []string `json:"gpus,omitempty"`
	// Created is when it was launched; zero: nobody knows.
	Created time.Time `json:"created,omitzero"`
	// End is how it ended; nil: it has not, or nobody knows.
	End *End `json:"end,omitempty"`
}

// Store keeps records. One goroutine at a time calls it.
//
// One that is to survive the hub must have written, and synced, all of it when
// Save returns nil, in one transaction: a launch is not sent before that, so that
// no runner is ever on a host that the hub has no record of.
type Store interface {
	// Load gives every record.
	Load(ctx context.Context) ([]Record, error)
	// Save puts records, by their Runner, and deletes those of the ids in gone. Of
	// an error nothing may be left behind.
	Save(ctx context.Context, put []Record, gone []string) error
}
