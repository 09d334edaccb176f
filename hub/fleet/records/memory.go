package records

import (
	"context"
	"maps"
	"slices"
	"sync"
)

var _ Store = (*Memory)(nil)

// Memory is a Store that is lost with its process: then runners on hosts
// that are away are not known until these return.
type Memory struct {
	mu      sync.Mutex
	records map[string]Record
}

// NewMemory makes an empty store.
func NewMemory() *Memory { return &Memory{records: map[string]Record{}} }

// Load is Store's.
func (m *Memory) Load(context.Context) ([]Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.records)), nil
}

// Save is Store's.
func (m *Memory) Save(_ context.Context, put []Record, gone []string) error {
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
