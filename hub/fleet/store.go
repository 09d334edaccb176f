package fleet

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Record is what must outlive the hub of one runner: that it may be on that host,
// and what of the host it takes up. It holds no secret. The names of its JSON are
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

var _ Store = (*MemoryStore)(nil)

// MemoryStore is a Store that is lost with its process: then runners on hosts
// that are away are not known until these return.
type MemoryStore struct {
	mu      sync.Mutex
	records map[string]Record
}

// NewMemoryStore makes an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{records: map[string]Record{}} }

// Load is Store's.
func (m *MemoryStore) Load(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.records)), nil
}

// Save is Store's.
func (m *MemoryStore) Save(_ context.Context, put []Record, gone []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range put {
		r.Labels, r.GPUs = maps.Clone(r.Labels), slices.Clone(r.GPUs)
		m.records[r.Runner] = r
	}
	for _, id := range gone {
		delete(m.records, id)
	}
	return nil
}
